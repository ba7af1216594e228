#!/bin/bash
# tests/gate/gate.sh FOLDER [--write]: holds what ptxas said of every kernel on every architecture (FOLDER/**/*.log, from
# nvcc -Xptxas -v) against budget.txt beside this script. A line of it: registers on sm_80, 86, 89, 90, bytes of static
# shared memory, kernel. More than that, a kernel that has no line, a line that has no kernel: an error. So is a spill,
# unless a line "spill sm_NN KERNEL: measured reason" allows it. --write makes the lines anew, keeping the spill lines.
set -euo pipefail
budget=$(dirname "$0")/budget.txt
found=$(mktemp)
trap 'rm -f "$found"' EXIT
# One line a kernel and architecture: arch, registers, shared, spilled bytes, name without its parameters.
find "$1" -name '*.log' -print0 | sort -z | xargs -0 cat | c++filt | awk '
    function name(s, depth, i, c) { # up to the bracket that the last one closes
        sub(/^void /, "", s)
        for (i = length(s); i > 0; i--) {
            c = substr(s, i, 1)
            if (c == ")") depth++
            if (c == "(" && --depth == 0) return substr(s, 1, i - 1)
        }
        return s
    }
    /Compiling entry function/ { split($0, q, "\047"); kernel = name(q[2]); arch = substr(q[4], 4); spill = 0 }
    /bytes spill stores/ { for (i = 2; i <= NF; i++) if ($i == "spill") spill += $(i - 2) }
    /Used [0-9]+ registers/ {
        shared = 0
        for (i = 1; i <= NF; i++) if ($i == "bytes" && $(i + 1) ~ /^smem/) shared = $(i - 1)
        for (i = 1; i <= NF; i++) if ($i == "Used") print arch, $(i + 1), shared, spill, kernel
    }' >"$found"
[ -s "$found" ] || { echo "gate: no kernel in the logs under $1" >&2; exit 1; }

if [ "${2-}" = --write ]; then
    { [ ! -f "$budget" ] || grep '^spill' "$budget" || true; } >"$found.spills"
    awk '{ k = $5; for (i = 6; i <= NF; i++) k = k " " $i
           if ($2 > r[k, $1]) r[k, $1] = $2; if ($3 > s[k]) s[k] = $3; seen[k] = 1 }
         END { for (k in seen) printf "%3d %3d %3d %3d %6d  %s\n", r[k, 80], r[k, 86], r[k, 89], r[k, 90], s[k], k }' "$found" |
        LC_ALL=C sort -k6 >"$budget"
    cat "$found.spills" >>"$budget"
    rm "$found.spills"
fi
awk '
    FNR == NR && $1 == "spill" { k = $3; for (i = 4; i <= NF; i++) k = k " " $i; sub(/:.*/, "", k); allowed[substr($2, 4), k] = 1; next }
    FNR == NR { k = $6; for (i = 7; i <= NF; i++) k = k " " $i
                r[80, k] = $1; r[86, k] = $2; r[89, k] = $3; r[90, k] = $4; s[k] = $5; lines[k] = 0; next }
    { k = $5; for (i = 6; i <= NF; i++) k = k " " $i; n++
      if (!(k in lines)) { if (!(k in new)) print "gate: " k ": not in the budget"; new[k] = 1; bad = 1; next }
      lines[k] = 1
      if ($2 > r[$1, k]) { print "gate: " k ": " $2 " registers on sm_" $1 ", at most " r[$1, k]; bad = 1 }
      if ($3 > s[k]) { print "gate: " k ": " $3 " bytes of shared memory on sm_" $1 ", at most " s[k]; bad = 1 }
      if ($4 && !(($1, k) in allowed)) { print "gate: " k ": spills " $4 " bytes on sm_" $1; bad = 1 } }
    END { for (k in lines) if (!lines[k]) { print "gate: " k ": in the budget, but no longer a kernel"; bad = 1 }
          print "gate: " n " kernels compiled (a kernel counts for each architecture), " (bad ? "over the budget" : "within the budget")
          exit bad }' "$budget" "$found"
