#!/bin/bash
# The folder of make gpu, run on emu with the small sizes (BUILD/pcrl-gpu with emu's plug-in): every line of the table is
# there, and what it says are numbers; what fails, ends or is not there is said.
set -uo pipefail
folder=$(realpath "${BUILD:-build/release}")/pcrl-gpu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export DEVICE=emu SIZES=mini OUT=$work CHECKS=test_kernels OP=probe
checks=0 failures=0
table=$work/gpu-results.md

expect() { # WHAT COMMAND...
    local what=$1
    shift
    checks=$((checks + 1))
    "$@" && return
    failures=$((failures + 1))
    echo "FAIL gpu: $what"
}
has() { grep -qE "$1" "${2:-$table}"; }
lacks() { ! has "$@"; }

# Rows of times: "| what | case | ms | least to most | runs | GB/s | TFLOP/s | ...". Prints how many are sound, and the rest.
sound() {
    awk -F ' *\\| *' '
        function number(x) { return x ~ /^[0-9.e+-]+$/ && x + 0 > 0 && x + 0 < 1e12 }
        NF == 12 && $2 != "what" && $2 != "memory" && $2 !~ /^-/ {
            split($5, ends, " to ")
            rate = number($7) || number($8) || number($9)
            if (number($4) && number(ends[1]) && number(ends[2]) && ends[1] <= $4 * 1.001 && $4 <= ends[2] * 1.001 && $6 >= 5 &&
                (rate || $2 ~ /^(select|embed|max_pool|reduce_max), backward/)) n++
            else print "not sound: " $0
        }
        END { print n + 0 }' "$table"
}
rows() { awk -F ' *\\| *' -v what="$1" 'NF == 12 && $2 == what { n++ } END { print n + 0 }' "$table"; }

# A run of everything in one type of activations.
check_run() { # COMPUTE SECTION...
    local compute=$1 found op row
    shift
    COMPUTE=$compute "$folder/gpu" "$@" >"$work/said" 2>&1
    expect "$compute: exit code 0: $(tail -3 "$work/said")" [ $? = 0 ]
    expect "$compute: nothing failed" has '^Nothing failed'
    expect "$compute: the card" has '^Card: emulated sm_89'
    expect "$compute: what is computed in" has "^## Kernels, .*computing in $compute"
    while read -r op; do
        expect "$compute: a row of $op" [ "$(rows "$op")" = 1 ]
    done < <(sed -nE 's/^OP[A-Z_]*\(([a-z0-9_]+)\).*/\1/p' kernels/ops.def)
    for row in "decode, batch 1" "decode, batch 2" "decode, batch 3" "prompt of 9 tokens" "2 slices of 56x56" "training step"; do
        expect "$compute: $row" [ "$(rows "$row")" = 1 ]
    done
    found=$(sound)
    expect "$compute: sound rows, not '$found'" [ "${found##*$'\n'}" = "$found" ]
    expect "$compute: at least 60 rows" [ "${found##*$'\n'}" -ge 60 ]
}
check_run f32 checks kernels llama resnet train
expect "the probe's cases" has '^\| test_kernels \| ok \| 11 passed, 0 failed'
check_run bf16 kernels llama resnet train

# At the paper's sizes, nothing done: what a training step asks of a card of 128 multiprocessors, scratch included.
EMU_DRY=128 "$folder/bin/pcrl-gpu" --device emu --compute bf16 --sizes paper --only train --table "$work/dry" 2>"$work/said"
bytes=$(awk '$2 == "memory" { printf "%.0f", $5 + $11 }' "$work/dry")
expect "zeros are no losses" has 'losses 0 0 0 0' "$work/said"
expect "a step of 9 to 16 GB, not ${bytes:-none}" [ $((${bytes:-0} / 1000000000)) -ge 9 -a "${bytes:-0}" -le 16000000000 ]

# No time; no program; a device that is not there; a section that is not there.
LIMIT_resnet=0 "$folder/gpu" resnet >"$work/said" 2>&1
expect "no time, no row" [ "$(sound)" = 0 ]
CHECKS=test_nothing "$folder/gpu" checks >"$work/said" 2>&1
expect "a check that fails ends with 1" [ $? = 1 ]
expect "a check that fails" has '^\| test_nothing \| FAILED, status 127'
expect "something failed" has '^Something FAILED'
DEVICE=none "$folder/gpu" >"$work/said" 2>&1
expect "no device ends with 2" [ $? = 2 ]
expect "no device is one line" [ "$(wc -l <"$work/said")" = 1 ]
expect "no device is named" has "'none'" "$work/said"
"$folder/gpu" nothing >"$work/said" 2>&1
expect "no such section" [ $? = 1 ]

# A kernel that ends the program: the ops behind it are still timed.
cp -r "$folder" "$work/copy"
mv "$work/copy/bin/pcrl-gpu" "$work/copy/bin/real"
cat >"$work/copy/bin/pcrl-gpu" <<'END'
#!/bin/bash
case "$*" in *"--only kernels"*) case "$*" in *--after*) ;; *) echo "kernels: sqnorm" >&2; exit 134 ;; esac ;; esac
exec "${0%/*}/real" "$@"
END
chmod +x "$work/copy/bin/pcrl-gpu"
"$work/copy/gpu" kernels >"$work/said" 2>&1
expect "a kernel that ends the program ends with 1" [ $? = 1 ]
expect "it is named" has '^kernels, sqnorm: ended with status 134'
expect "the next op's row" has '^\| argmax \|'
expect "not the rows before" lacks '^\| matmul \|'
echo "$((100 * (checks - failures) / checks))%: Checks: $checks, Failures: $failures, Errors: 0"
[ $failures = 0 ]
