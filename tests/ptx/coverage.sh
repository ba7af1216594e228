#!/bin/sh
# tests/ptx/coverage.sh FOLDER FILE: every entry of the PTX in FOLDER must be in FILE, to which processes with
# PTX_COVERAGE=FILE added the names of the entries they ran. Names those that never ran.
set -eu
[ $# = 2 ] || { echo "usage: coverage.sh FOLDER FILE" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sed -n 's/^.*\.entry \([A-Za-z0-9_$]*\).*/\1/p' "$1"/*.ptx | sort -u >"$work/all"
sort -u "$2" >"$work/ran"
comm -23 "$work/all" "$work/ran" | c++filt | sed 's/^/never run: /'
all=$(wc -l <"$work/all")
ran=$(comm -12 "$work/all" "$work/ran" | wc -l)
echo "$ran of $all kernels ran"
[ "$all" -gt 0 ] && [ "$ran" = "$all" ]
