#!/bin/bash
# gpu: what this machine's GPU does with PCRL. Lies as "gpu" in the folder that make gpu and make gpu-bundle make, and needs
# beside it only bash, coreutils and the driver. First whether results are right, then how fast kernels and models
# are; everything goes into gpu-results.md, line by line, so that a run cut short keeps what it had; what the programs said
# is in gpu-logs. Exit code: 0 all right, 1 something failed, 2 no GPU to be had.
#   gpu [SECTION...]       checks kernels llama resnet train torch sanitizer (default: all, in this order)
# Environment: OUT (where results go; the current folder), DEVICE (cuda), SIZES (paper, or mini: for DEVICE=emu), COMPUTE (the
# type of activations: auto; a model that fails in it is tried in f32), CHECKS (the programs of section checks),
# LIMIT_<section> (seconds; together at most ten minutes as they are).
set -uo pipefail
started=$SECONDS
out=$(realpath "${OUT:-.}")
cd "$(dirname "$(realpath "$0")")" || exit 1
sections=${*:-checks kernels llama resnet train torch sanitizer}
device=${DEVICE:-cuda} sizes=${SIZES:-paper}
export DEVICE=$device BUILD=. LD_LIBRARY_PATH=$PWD/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
declare -A limit=([checks]=${LIMIT_checks:-150} [kernels]=${LIMIT_kernels:-80} [llama]=${LIMIT_llama:-60}
    [resnet]=${LIMIT_resnet:-30} [train]=${LIMIT_train:-70} [torch]=${LIMIT_torch:-80} [sanitizer]=${LIMIT_sanitizer:-60})
table=$out/gpu-results.md logs=$out/gpu-logs
failed=0

line() { printf '%s\n' "$*" >>"$table"; }
progress() { printf '[%3d s] %s\n' $((SECONDS - started)) "$*"; }
fail() {
    failed=1
    progress "FAILED: $*"
}

# What nvidia-smi says of the clocks.
clocks() {
    local fields=name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.draw,power.limit,temperature.gpu
    [ "$device" = cuda ] || return
    line ""
    if command -v nvidia-smi >/dev/null; then
        line "nvidia-smi $1: $(nvidia-smi --query-gpu=$fields --format=csv,noheader 2>&1 | head -1) (name, driver, clocks of" \
            "multiprocessors and memory now and at most, power now and at most, degrees)."
    else
        line "nvidia-smi $1: not there, so the clocks at run time are not known."
    fi
}

# A program under a time limit, what it says into a log. Its status; 124: the time was spent.
limited() {
    local seconds=$1 log=$2
    shift 2
    timeout -k 5 "$seconds" "$@" >>"$log" 2>&1 </dev/null
}

# ---- is there a GPU?

bin/pcrl-gpu --version >/dev/null || { echo "gpu: the programs do not run here (see above)"; exit 2; }
mkdir -p "$logs" && : >"$table" || exit 1
{
    echo "# PCRL on a GPU"
    echo
    echo "$(date -u '+%Y-%m-%d %H:%M UTC'), $(nproc) CPU cores, device $device, sizes $sizes, $(bin/pcrl-gpu --version | head -1)."
    echo
} >>"$table"
if ! error=$(bin/pcrl-gpu --device "$device" --sizes "$sizes" --only card --table "$table" 2>&1 >/dev/null); then
    echo "${error%%$'\n'*}"
    line "No GPU: ${error%%$'\n'*}"
    exit 2
fi
clocks before
progress "results: $table"

# ---- are its results right?

# What a test program counted, from Check's closing lines or the kernel tests' own.
counts() {
    local good=0 bad=0 text
    while read -r text; do
        if [[ $text =~ ^[0-9]+%:\ Checks:\ ([0-9]+),\ Failures:\ ([0-9]+),\ Errors:\ ([0-9]+) ]]; then
            bad=$((bad + BASH_REMATCH[2] + BASH_REMATCH[3]))
            good=$((good + BASH_REMATCH[1] - BASH_REMATCH[2] - BASH_REMATCH[3]))
        elif [[ $text =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
            good=$((good + BASH_REMATCH[1])) bad=$((bad + BASH_REMATCH[2]))
        fi
    done <"$1"
    echo "$good passed, $bad failed"
}

# The first lines of a log that say what went wrong.
show_faults() {
    local text n=0
    while read -r text && [ $n -lt 5 ]; do
        [[ $text =~ ^FAIL|fatal|:[FE]:|ERROR ]] && echo "    $text" && n=$((n + 1))
    done <"$1"
}

# check SECONDS NAME LOG COMMAND...: a line of the table.
check() {
    local seconds=$1 name=$2 log=$logs/$3 from=$SECONDS status=0 verdict=ok
    shift 3
    progress "checks: $name"
    : >"$log"
    limited "$seconds" "$log" "$@" || status=$?
    if [ $status != 0 ]; then
        verdict="FAILED, status $status"
        [ $status = 124 ] && verdict="FAILED: its $seconds s are spent"
        fail "$name (status $status): $log"
        show_faults "$log"
    fi
    line "| $name | $verdict | $(counts "$log") | $((SECONDS - from)) |"
}

check_head() {
    line ""
    line "## $1"
    line ""
    line "| program | verdict | cases | seconds |"
    line "|---|---|---|---|"
}

section_checks() {
    local until=$((SECONDS + limit[checks])) left
    check_head "Correctness on $device: kernels against double precision, models against the reference's values and the CPU"
    for name in ${CHECKS:-$(cat checks)}; do
        if [ $SECONDS -ge $until ]; then
            line "| $name | not run: the time for this part is spent | | |"
            fail "$name was not run"
            continue
        fi
        left=$((until - SECONDS)) # no program takes the time of all the others
        [ $left -lt $((limit[checks] / 2)) ] || left=$((limit[checks] / 2))
        check $left "$name" "$name.log" "bin/$name"
    done
}

section_sanitizer() {
    local until=$((SECONDS + limit[sanitizer])) tool op
    local program
    program=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
    check_head "compute-sanitizer"
    if [ -z "$program" ]; then
        line "| compute-sanitizer | not installed here | | |"
        return
    fi
    for tool in memcheck racecheck; do
        for op in softmax matmul_q attention conv2d matmul cross_entropy; do
            [ $SECONDS -lt $until ] || { line "| $tool, $op | not run: the time for this part is spent | | |"; continue; }
            OP=$op check $((until - SECONDS)) "$tool, $op" "$tool-$op.log" \
                "$program" --tool $tool --error-exitcode 9 bin/test_kernels
        done
    done
}

# ---- how fast is it?

# bench PART: pcrl-gpu's part. After a kernel that ends the program, the ops behind it; a model once more, in f32.
bench() {
    local part=$1 until=$((SECONDS + limit[$1])) log=$logs/$1.log status last='' after=() compute=${COMPUTE:-auto}
    : >"$log"
    while [ $SECONDS -lt $until ]; do
        status=0
        limited $((until - SECONDS + 5)) "$log" bin/pcrl-gpu --device "$device" --sizes "$sizes" --only "$part" --compute "$compute" \
            --table "$table" --limit $((until - SECONDS)) "${after[@]}" || status=$?
        [ $status = 0 ] && return
        local at='' text
        while read -r text; do [[ $text == "$part: "* ]] && at=${text#"$part: "}; done <"$log"
        line ""
        line "$part${at:+, $at}: ended with status $status: $(tail -1 "$log")"
        fail "$part${at:+, $at} (status $status): $log"
        if [ "$part" != kernels ]; then
            [ "$compute" != f32 ] || return
            compute=f32
        else
            [ -n "$at" ] && [ "$at" != "$last" ] || return
            last=$at after=(--after "$at")
        fi
    done
}

section_kernels() {
    bench kernels
    clocks "after the kernels"
}
section_llama() { bench llama; }
section_resnet() { bench resnet; }
section_train() {
    bench train
    clocks "after the training steps"
}

section_torch() {
    if ! python3 -c 'import torch' 2>/dev/null; then
        line ""
        line "PyTorch: not installed for python3 here, so there is no comparison."
        return
    fi
    bin/pcrl-gpu --sizes "$sizes" --list >"$logs/cases.tsv"
    torch_rows "$logs/torch.log" gpu_torch.py "$logs/cases.tsv"
    torch_rows "$logs/torch-models.log" gpu_torch_models.py "$sizes"
}

# Half of the section's time for one of the scripts, which keeps to it but for its last row.
torch_rows() {
    local log=$1 seconds=$((limit[torch] / 2)) status=0
    : >"$log"
    limited $((seconds + 10)) "$log" env -u LD_LIBRARY_PATH python3 "$2" "$3" "$table" $seconds || status=$?
    [ $status = 0 ] || line "PyTorch, $2: ended with status $status: $(tail -1 "$log")"
}

for section in $sections; do
    [ -n "${limit[$section]-}" ] || { echo "gpu: there is no section '$section'"; exit 1; }
    progress "$section"
    "section_$section"
done
line ""
line "$([ $failed = 0 ] && echo 'Nothing failed.' || echo 'Something FAILED, see above.') $((SECONDS - started)) s in all."
progress "$(tail -1 "$table")"
exit $failed
