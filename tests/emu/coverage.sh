#!/bin/bash
# tests/emu/coverage.sh PLUGIN FILE: every kernel in PLUGIN must be in FILE, to which processes with EMU_COVERAGE=FILE
# added what they ran, and with more than one block unless its launch says one. Names those that are not.
# Of one element whatever the shapes:
single=InfonceScaleGradient
set -euo pipefail
[ $# = 2 ] || { echo "usage: coverage.sh PLUGIN FILE" >&2; exit 1; }
nm "$1" | awk -v file="$2" -v single="$single" '
    BEGIN {
        while ((getline line < file) > 0) {
            split(line, ran, " ")
            if (!(ran[1] in most) || ran[2] > most[ran[1]]) most[ran[1]] = ran[2] + 0
        }
    }
    # functions, not what lies in them; offsets are compared as text
    $3 ~ /^_ZL?[0-9]+[a-z0-9_]*_kernel/ {
        at = $1
        sub(/^0+/, "", at)
        all++
        if (!(at in most)) print "never run: " $3
        else if (most[at] == 1 && $3 !~ single) print "never run with two blocks: " $3
        else { good++; several += most[at] > 1 }
    }
    END {
        printf "%d of %d kernels ran, %d of them with several blocks\n", good, all, several
        exit !all || good < all
    }' | c++filt
