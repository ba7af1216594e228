#!/bin/sh
# tools/mini.sh BIN MODEL WORK: trains the mini model from nothing and writes it, its log and its scores to MODEL.
# Seeds and counts come from the Makefile, fixed before training: choices are made on VALIDATION, TEST is only scored.
# Every stage can be interrupted and goes on where it stopped when called again.
set -eu
bin=$1 model=$2 work=$3
: "${TRAIN:=3000}" "${TRAIN_SEED:=0}" "${VALIDATION:=200}" "${VALIDATION_SEED:=500000}" "${TEST:=300}" "${TEST_SEED:=1000000}"
: "${SIZE:=128}" "${RESNET_STEPS:=2400}" "${TEXT_STEPS:=1000}" "${SLOT_STEPS:=1000}" "${WARMUP_STEPS:=1000}" "${PCRL_STEPS:=1200}"
say() { printf '\n== %s\n' "$*"; }
stage() { "$bin/pcrl-train" "$@" --device cpu --model "$model" --data "$work/train"; }

mkdir -p "$work" "$model"
say "Phantoms: $TRAIN to train on, $VALIDATION to choose by, $TEST held out"
"$bin/pcrl-synth" --out "$work/train" --n "$TRAIN" --seed-base "$TRAIN_SEED" --size "$SIZE" >/dev/null
"$bin/pcrl-synth" --out "$work/validation" --n "$VALIDATION" --seed-base "$VALIDATION_SEED" --size "$SIZE" >/dev/null
"$bin/pcrl-synth" --out "$work/test" --n "$TEST" --seed-base "$TEST_SEED" --size "$SIZE" >/dev/null

say "Side by side, a thread each: ResNet on grid cells; language model on report text, then on label slots"
stage resnet --threads 1 --out "$work/resnet" --steps "$RESNET_STEPS" &
resnet=$!
stage llama --threads 1 --out "$work/llama" --steps "$TEXT_STEPS" --slot-steps "$SLOT_STEPS" ||
    { kill "$resnet"; wait "$resnet" || true; exit 1; }
wait "$resnet"
"$bin/pcrl-convert" --nf4 "$work/llama/llama.safetensors" "$model/llama.safetensors"
say "Report generation: head warmed up, then head and LoRA"
stage pcrl --out "$work/pcrl" --slots "$work/llama/slots.safetensors" --cache "$work/cache" --warmup-steps "$WARMUP_STEPS" \
    --steps "$PCRL_STEPS"

report() { "$bin/pcrl-report" --device cpu --model "$model" "$@"; }
# pairs NAME N SEED: the same patients with one lesion changed, and under other noise, and their reports.
pairs() {
    "$bin/pcrl-synth" --out "$work/$1" --n "$2" --seed-base "$3" --size "$SIZE" --counterfactual --twins 1 >/dev/null
    report --out "$work/$1.jsonl" "$work/$1"
}
say "Counterfactual pairs and twins"
pairs pairs "$VALIDATION" "$VALIDATION_SEED"
pairs test-pairs "$TEST" "$TEST_SEED"
for set in validation test; do
    say "Scores on $set"
    pairs=pairs
    [ $set = validation ] || pairs=test-pairs
    report --out "$work/$set.jsonl" --masks "$work/$set-masks.safetensors" "$work/$set"
    report --control shuffle --out "$work/$set-shuffled.jsonl" --masks "$work/$set-shuffled-masks.safetensors" "$work/$set"
    report --control blank --out "$work/$set-blank.jsonl" "$work/$set"
    for form in txt json; do
        "$bin/pcrl-score" $(test $form = json && echo --json) --truth "$work/$set" --reports "$work/$set.jsonl" --train "$work/train" \
            --bootstrap 1000 --pairs "$work/$pairs=$work/$pairs.jsonl" \
            --masks "$work/$set-masks.safetensors" --mask-control shuffled="$work/$set-shuffled-masks.safetensors" \
            --control shuffled="$work/$set-shuffled.jsonl" --control blank="$work/$set-blank.jsonl" \
            >"$model/scores-$set.$form"
    done
    cat "$model/scores-$set.txt"
done
cat "$work/resnet/log.jsonl" "$work/llama/llama/log.jsonl" "$work/llama/slots/log.jsonl" "$work/pcrl/warmup/log.jsonl" \
    "$work/pcrl/pcrl/log.jsonl" >"$model/log.jsonl"
du -sk "$model"
