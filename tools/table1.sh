#!/bin/sh
# tools/table1.sh BIN MODEL WORK LLAMA3: a row of the paper's Table 1 for MODEL, on TEST phantoms that no training has seen, and
# one for each control, with the words of jieba and with the tokens of LLaMA-3 (LLAMA3, its tokenizer.model). The
# controls that need training reports take those of TRAIN patients. Every call makes all of it anew, but for phantoms that
# are as they are wanted: nothing of an earlier call's settings is left.
set -eu
bin=$1 model=$2 work=$3 llama3=$4
: "${SIZE:=128}" "${TRAIN:=3000}" "${TRAIN_SEED:=0}" "${TEST:=300}" "${TEST_SEED:=1000000}"
. "$(dirname "$0")/arms.sh"
mkdir -p "$work"
rm -f "$work/jieba.json" "$work/llama3.json"
say "$TEST phantoms, and the reports of $TRAIN others"
"$bin/pcrl-synth" --out "$work/test" --n "$TEST" --seed-base "$TEST_SEED" --size "$SIZE" >/dev/null
"$bin/pcrl-synth" --reports --n "$TRAIN" --seed-base "$TRAIN_SEED" |
    awk -F '\t' '{ printf "{\"id\": \"%s\", \"report\": \"%s\"}\n", $1, $2 }' >"$work/train.jsonl"
say "Reports: of their images, of another patient's, of blank ones"
report() { "$bin/pcrl-report" --device cpu --model "$model" --out "$work/$1.jsonl" $2 "$work/test"; }
report test ""
report shuffled "--control shuffle"
report blank "--control blank"
score() {
    out=$1
    shift
    "$bin/pcrl-score" --json --truth "$work/test" --reports "$work/test.jsonl" --train "$work/train.jsonl" "$@" \
        --control shuffled="$work/shuffled.jsonl" --control blank="$work/blank.jsonl" >"$work/$out.new"
    mv "$work/$out.new" "$work/$out.json"
}
say "Scores"
score jieba --split jieba
if [ -e "$llama3" ]; then
    score llama3 --split llama3 --tokenizer "$llama3"
else
    echo "SKIPPED: the rows with LLaMA-3's tokens: $llama3 is not here"
fi
