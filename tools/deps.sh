#!/bin/sh
# tools/deps.sh [--optional] PACKAGE...: installs the Debian packages that are missing, saying so; nothing is done
# when all are there. DEPS=0 only names them. With --optional a package that cannot be had is no failure.
set -eu
optional=
if [ "${1-}" = --optional ]; then
    optional=1
    shift
fi
if ! command -v dpkg-query >/dev/null; then
    echo "deps: not a Debian system; expected the counterparts of: $*" >&2
    exit 0
fi
missing=
for package; do
    case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
    "install ok installed") ;;
    *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

if [ "${DEPS:-1}" = 0 ]; then
    echo "deps: missing:$missing (apt-get install$missing)" >&2
    [ -n "$optional" ] && exit 0
    exit 1
fi
root=
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "deps: missing:$missing; run as root or install sudo (apt-get install$missing)" >&2
        [ -n "$optional" ] && exit 0
        exit 1
    fi
    root=sudo
fi
echo "deps: installing$missing" >&2
install() {
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >/dev/null
}
# The package lists of a fresh system are empty or old: read them and try again.
if install 2>/dev/null || { $root apt-get update -q >/dev/null && install; }; then
    exit 0
fi
echo "deps: apt-get could not install$missing" >&2
[ -n "$optional" ]
