#!/bin/sh
# tools/table2.sh BIN MODEL WORK: the rows of the paper's Table 2 at mini size, each trained with each of SEEDS and scored on
# TEST phantoms that no training has seen, with its controls, and on UNSEEN ones that have a combination of lesion, place
# and side which this training has not (data/held_out.def). One finished run is WORK/ROW-SEED/result.json; what is finished
# is not done again. WORK/settings says what all of it was made with: SEEDS and ROWS may grow, all else must stay. Every row
# has the ResNet, the language model, the cached features and the clues (exact masks) in common, and for a seed the head that
# is warmed up to speak in MODEL/slots.safetensors; report generation begins in the row.
set -eu
bin=$1 model=$2 work=$3
: "${SIZE:=128}" "${TRAIN:=3000}" "${TRAIN_SEED:=0}" "${TEST:=300}" "${TEST_SEED:=1000000}" "${UNSEEN:=100}" "${UNSEEN_SEED:=2000000}"
: "${WARMUP_STEPS:=900}" "${STEPS:=300}" "${SEEDS:=1 2 3}" "${ROWS:=baseline a b c d e paper release}"
. "$(dirname "$0")/arms.sh"
base=$work/base parts="resnet.safetensors llama.safetensors medclip.safetensors tokenizer.json vocab.txt"
# Table 2's row of a way of training, and the way of a row; the last row, the whole of it, is there in both presets.
way() {
    case $1 in
    a) echo segment ;; b) echo entity ;; c) echo theme ;; d) echo segment-entity ;; e) echo bert ;; *) echo "$1" ;;
    esac
}
# What they print goes to the run's train.log; how it ended where it failed is said.
quietly() { "$@" >>"$run/train.log" 2>&1 || { tail -n 1 "$run/train.log" >&2; exit 1; }; }
train() { quietly "$bin/pcrl-train" pcrl "$@" --device cpu --data "$work/train" --cache "$work/cache"; }
report() { quietly "$bin/pcrl-report" --device cpu --threads 1 --model "$run/model" "$@"; }
score() { "$bin/pcrl-score" --threads 1 --json --split jieba --train "$work/train" "$@"; }

# run ROW SEED: trains, writes the reports, and scores them; WORK/ROW-SEED/trained says that the first two are done.
run() {
    row=$1 seed=$2 run=$work/$1-$2 begun=$(date +%s) pairs=''
    [ ! -e "$run/result.json" ] || return 0
    mkdir -p "$run"
    copy "$base" "$run/model"
    echo "$row, seed $seed: begun"
    settings=$(arm_settings "$(way "$row")")
    if [ "$row" = start ]; then
        # shellcheck disable=SC2086
        train $common $settings --threads 1 --warmup-steps "$WARMUP_STEPS" --slots "$model/slots.safetensors" --steps 1 \
            --seed "$seed" --model "$run/model" --out "$run"
        return
    fi
    case $row in paper | release) name=ours preset=$row ;; *) name=$row preset=paper ;; esac
    if [ ! -e "$run/trained" ]; then
        # shellcheck disable=SC2086
        train $common $settings --threads 1 --init "$work/start-$seed/model" --steps "$STEPS" --seed "$seed" \
            --model "$run/model" --out "$run"
        report --out "$run/test.jsonl" --masks "$run/masks.safetensors" "$work/test"
        report --control shuffle --out "$run/shuffled.jsonl" --masks "$run/shuffled-masks.safetensors" "$work/test"
        report --control blank --out "$run/blank.jsonl" "$work/test"
        report --out "$run/unseen.jsonl" "$work/unseen"
        seconds=$(($(date +%s) - begun))
        [ $name != ours ] || report --out "$run/pairs.jsonl" "$work/pairs"
        printf '"commit": "%s", "seconds": %s' "$COMMIT" "$seconds" >"$run/trained"
        rm -rf "$run/pcrl"
    fi
    [ $name != ours ] || pairs="--pairs $work/pairs=$run/pairs.jsonl"
    # shellcheck disable=SC2086
    score --truth "$work/test" --reports "$run/test.jsonl" --masks "$run/masks.safetensors" \
        --mask-control shuffled="$run/shuffled-masks.safetensors" $pairs \
        --control shuffled="$run/shuffled.jsonl" --control blank="$run/blank.jsonl" >"$run/scores.json"
    score --truth "$work/unseen" --reports "$run/unseen.jsonl" >"$run/scores-unseen.json"
    {
        printf '{"row": "%s", "preset": "%s", "seed": %s, %s,\n"train": ' $name $preset "$seed" "$(cat "$run/trained")"
        cat "$run/run.json"
        printf ',\n"scores": '
        cat "$run/scores.json"
        printf ',\n"held_out": '
        cat "$run/scores-unseen.json"
        printf '}\n'
    } >"$run/result.new"
    mv "$run/result.new" "$run/result.json"
    echo "$row, seed $seed: done, $(($(date +%s) - begun)) s"
}
if [ $# = 5 ]; then
    run "$4" "$5"
    exit
fi

# What the runs of this call are made with.
made_with() {
    for name in SIZE TRAIN TRAIN_SEED TEST TEST_SEED UNSEEN UNSEEN_SEED WARMUP_STEPS STEPS; do
        eval "printf '%s\t%s\n' $name \"\$$name\""
    done
    for part in $parts slots.safetensors; do
        [ ! -e "$model/$part" ] || printf 'MODEL/%s\t%.16s\n' "$part" "$(sha256sum <"$model/$part")"
    done
    for row in start $ROWS; do
        options=$(arm_settings "$(way "$row")")
        printf 'row %s\t%s %s\n' "$row" "$common" "$options"
    done
}

COMMIT=$(git -C "$(dirname "$0")" describe --always --dirty 2>/dev/null || echo unknown)
export SIZE WARMUP_STEPS STEPS COMMIT
mkdir -p "$work"
settle "$work" "$(made_with)"
mkdir -p "$base"
say "Phantoms: $TRAIN to train on, without the held-out combinations; $TEST to score, their pairs and twins; $UNSEEN with such a combination"
synth() { "$bin/pcrl-synth" --out "$work/$1" --n "$2" --seed-base "$3" --size "$SIZE" $4 >/dev/null; }
synth train "$TRAIN" "$TRAIN_SEED" "--held-out skip"
synth test "$TEST" "$TEST_SEED" ""
synth pairs "$TEST" "$TEST_SEED" "--counterfactual --twins 1"
synth unseen "$UNSEEN" "$UNSEEN_SEED" "--held-out only"
for part in $parts; do cp "$model/$part" "$base/"; done

say "Features of the training studies, once"
run=$work/features
mkdir -p "$run"
copy "$base" "$run/model"
settings=$(arm_settings start)
# shellcheck disable=SC2086
train $common $settings --steps 1 --model "$run/model" --out "$run"

say "For each seed ($SEEDS) a head that speaks to the language model, a thread each"
again() { xargs -P "$(nproc)" -L 1 "$0" "$bin" "$model" "$work"; }
for seed in $SEEDS; do echo "start $seed"; done | again
say "Rows $ROWS, seeds $SEEDS, a thread each"
for seed in $SEEDS; do for row in $ROWS; do echo "$row $seed"; done; done | again
