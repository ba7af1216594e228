#!/bin/sh
# tools/mini.sh BIN MODEL WORK: trains the mini model from nothing and writes it, its logs and its scores to MODEL.
#
# A ResNet and a small language model are trained once. With each of SEEDS the head is then warmed up and trained with
# LoRA on equation 1 alone (start), and from there trained on in several ways (ARMS): the two presets of the paper's
# training, the baseline without its alignment losses, or with one of them (segment, entity, theme). Of the presets, which
# train the segmentation head too, the one with the best mean tuple F1 on VALIDATION is taken, and of its seeds the best
# there; the other ways are for comparison. TEST is only scored. Seeds and counts come from the Makefile, fixed before
# training.
# Seeing: SAM, BERT and MedCLIP are trained on phantoms of SEE_SIZE pixels and scored on SEE_TEST held-out ones; with their
# clues of the first CLUE_TRAIN training patients the shipped way is trained once more, beside the exact clues of the same.
# Every stage can be interrupted and goes on where it stopped when called again.
set -eu
bin=$1 model=$2 work=$3
: "${TRAIN:=8000}" "${TRAIN_SEED:=0}" "${VALIDATION:=200}" "${VALIDATION_SEED:=500000}" "${TEST:=300}" "${TEST_SEED:=1000000}"
: "${SIZE:=128}" "${RESNET_STEPS:=5000}" "${TEXT_STEPS:=1000}" "${SLOT_STEPS:=3600}" "${WARMUP_STEPS:=2400}"
: "${SEE_SIZE:=224}" "${SEE_TRAIN:=600}" "${SEE_VALIDATION:=40}" "${SEE_TEST:=200}" "${CLUE_TRAIN:=200}"
: "${SAM_STEPS:=8000}" "${BERT_STEPS:=1500}" "${MEDCLIP_STEPS:=2500}"
: "${START_STEPS:=2800}" "${PCRL_STEPS:=300}" "${ARMS:=baseline paper release}" "${SEEDS:=1}"
case " $ARMS " in *" paper "* | *" release "*) ;; *) echo "mini: ARMS needs paper or release, to ship" >&2; exit 1 ;; esac
base=$work/base
stage() { "$bin/pcrl-train" "$@" --device cpu --threads 1 --data "$work/train"; }
report() { folder=$1; shift; "$bin/pcrl-report" --device cpu --model "$folder/model" "$@"; }

. "$(dirname "$0")/arms.sh"
sam_settings="--patch 8 --window 7 --dim 64 --layers 4 --heads 2 --ffn 256 --decoder-dim 64 --decoder-ffn 256 --decoder-heads 2
    --batch 2 --prompts 8 --dense-steps 300 --lr 1e-3 --warm 100 --validate-every 400
    --points-per-side 16 --pred-iou-thresh 0.3 --stability-score-thresh 0.5"
bert_settings="--studies 4000 --dim 64 --layers 3 --heads 4 --ffn 256"
medclip_settings="--image 64 --patch 4 --window 4 --stages 3 --depths 2,2,1,1 --dim 24 --heads 1 --embed 64 --batch 64
    --regions 0.25 --lr 1e-3 --warm 100 --validate-every 500"

# arm NAME SEED: trains one; but for the start, scores it on the validation set.
arm() {
    run=$work/$1-$2
    mkdir -p "$run"
    copy "$base" "$run/model"
    settings=$(arm_settings "$1")
    if [ "$1" = start ]; then
        begin="--warmup-steps $WARMUP_STEPS --slots $work/llama/slots.safetensors --steps $START_STEPS --validate-every 400"
    else
        begin="--init $work/start-$2/model --lr 5e-4 --steps $PCRL_STEPS --validate-every 250"
    fi
    # shellcheck disable=SC2086
    stage pcrl $common $settings $begin --seed "$2" --model "$run/model" --out "$run" --cache "$work/cache" \
        --validation "$work/validation"
    [ "$1" != start ] || return 0
    report "$run" --threads 1 --out "$run/validation.jsonl" "$work/validation"
    "$bin/pcrl-score" --truth "$work/validation" --reports "$run/validation.jsonl" >"$run/validation.txt"
}
if [ $# = 5 ]; then
    arm "$4" "$5"
    exit
fi

# score RUN SET PAIRS OUT: reports of a set and of its pairs, with controls, as OUT.txt and OUT.json.
score() {
    run=$1 set=$2 pairs=$3 out=$4
    report "$run" --out "$run/$set.jsonl" --masks "$run/$set-masks.safetensors" "$work/$set"
    report "$run" --control shuffle --out "$run/$set-shuffled.jsonl" --masks "$run/$set-shuffled-masks.safetensors" "$work/$set"
    report "$run" --control blank --out "$run/$set-blank.jsonl" "$work/$set"
    report "$run" --out "$run/$pairs.jsonl" "$work/$pairs"
    for form in txt json; do
        # shellcheck disable=SC2046
        "$bin/pcrl-score" $(test $form = json && echo --json) --truth "$work/$set" --reports "$run/$set.jsonl" --train "$work/train" \
            --split jieba --bootstrap 1000 --pairs "$work/$pairs=$run/$pairs.jsonl" \
            --masks "$run/$set-masks.safetensors" --mask-control shuffled="$run/$set-shuffled-masks.safetensors" \
            --control shuffled="$run/$set-shuffled.jsonl" --control blank="$run/$set-blank.jsonl" >"$out.$form"
    done
}
# The F1 of a score's first table.
f1() { awk '$1 == "model" { print $2; exit }' "$1"; }
# row FILE: a score's headline numbers: F1, macro, side, exact, focal F1, macro and side, pairs that follow, twins that differ.
row() {
    awk '$1 == "model" && n < 2 { n++; if (n == 1) a = $2 " " $6 " " $8 " " $10; else b = $2 " " $6 " " $8 }
         /^Counterfactual pairs/ { p = 1 } p && $1 == "all" { c = $3; p = 0 }
         /^Twins/ { for (i = 1; i <= NF; i++) if ($i == "in") t = $(i + 1) }
         END { print a, b, c, t }' "$1"
}

mkdir -p "$work" "$model" "$base"
say "Phantoms: $TRAIN to train on, $VALIDATION to choose by, $TEST held out"
synth() { "$bin/pcrl-synth" --out "$work/$1" --n "$2" --seed-base "$3" --size "${5:-$SIZE}" $4 >/dev/null; }
synth train "$TRAIN" "$TRAIN_SEED" ""
synth validation "$VALIDATION" "$VALIDATION_SEED" ""
synth test "$TEST" "$TEST_SEED" ""
synth validation-pairs "$VALIDATION" "$VALIDATION_SEED" "--counterfactual --twins 1"
synth test-pairs "$TEST" "$TEST_SEED" "--counterfactual --twins 1"

say "Side by side, a thread each: ResNet on grid cells; language model on report text, then on label slots"
# Half of the studies (4000 of 8000) were enough for the ResNet; the head and its decoder overfit on so few.
stage resnet --model "$base" --out "$work/resnet" --steps "$RESNET_STEPS" --studies "$((TRAIN / 2))" &
resnet=$!
stage llama --model "$base" --out "$work/llama" --steps "$TEXT_STEPS" --slot-steps "$SLOT_STEPS" ||
    { kill "$resnet"; wait "$resnet" || true; exit 1; }
wait "$resnet"
"$bin/pcrl-convert" --nf4 "$work/llama/llama.safetensors" "$base/llama.safetensors"

say "Features of all studies, once"
mkdir -p "$work/features"
copy "$base" "$work/features/model"
# shellcheck disable=SC2086
"$bin/pcrl-train" pcrl $common --device cpu --data "$work/train" --model "$work/features/model" --out "$work/features" \
    --cache "$work/cache" --steps 1 --validation "$work/validation" --validate-every 1

say "Report generation, then the paper's training, a thread each: $ARMS; seeds $SEEDS"
for seed in $SEEDS; do echo "start $seed"; done | xargs -P "$(nproc)" -L 1 "$0" "$bin" "$model" "$work"
for seed in $SEEDS; do for a in $ARMS; do echo "$a $seed"; done; done >"$work/arms"
xargs -P "$(nproc)" -L 1 "$0" "$bin" "$model" "$work" <"$work/arms"

# F1 on the validation set: every run's, each arm's mean; the best arm, and its best seed.
while read -r a seed; do echo "$a $seed $(f1 "$work/$a-$seed/validation.txt")"; done <"$work/arms" >"$work/choice"
best=$(awk '$1 == "paper" || $1 == "release" { sum[$1] += $3; n[$1]++ }
    END { for (a in sum) if (best == "" || sum[a] / n[a] > top) { top = sum[a] / n[a]; best = a } print best }' "$work/choice")
chosen=$(awk -v a="$best" '$1 == a && (seed == "" || $3 > top) { top = $3; seed = $2 } END { print seed }' "$work/choice")
say "Best on the validation set: $best, seed $chosen"
cp "$work/$best-$chosen/model/"* "$work/llama/slots.safetensors" "$model/"

for seed in $SEEDS; do
    score "$work/$best-$seed" test test-pairs "$work/$best-$seed/scores-test"
done
score "$work/$best-$chosen" validation validation-pairs "$model/scores-validation"
cp "$work/$best-$chosen/scores-test.txt" "$work/$best-$chosen/scores-test.json" "$model/"
{
    echo "Tuple F1 on the validation set ($VALIDATION studies), by arm and seed"
    awk '{ printf "%-12s seed %s  %.3f\n", $1, $2, $3 }' "$work/choice"
    awk '{ s[$1] += $3; n[$1]++; if (!($1 in lo) || $3 < lo[$1]) lo[$1] = $3; if ($3 > hi[$1]) hi[$1] = $3 }
         END { for (a in s) printf "%-12s mean %.3f  range %.3f to %.3f\n", a, s[a] / n[a], lo[a], hi[a] }' "$work/choice" | sort
    echo
    echo "Shipped: $best, seed $chosen. That arm on the test set ($TEST studies, their pairs and twins), by seed"
    columns="F1 macro side exact focal focal-macro focal-side pairs-follow twins-differ"
    # shellcheck disable=SC2086
    printf '%-12s' ""; printf ' %12s' $columns; echo
    for seed in $SEEDS; do printf 'seed %-7s' "$seed"; printf ' %12s' $(row "$work/$best-$seed/scores-test.txt"); echo; done
    for seed in $SEEDS; do row "$work/$best-$seed/scores-test.txt"; done |
        awk '{ for (i = 1; i <= NF; i++) { s[i] += $i; if (NR == 1 || $i < lo[i]) lo[i] = $i; if (NR == 1 || $i > hi[i]) hi[i] = $i } n = NF }
             END { printf "%-12s", "mean"; for (i = 1; i <= n; i++) printf " %12.3f", s[i] / NR
                   printf "\n%-12s", "range"; for (i = 1; i <= n; i++) printf " %12s", lo[i] "-" hi[i]; print "" }'
} >"$model/arms.txt"
cat "$model/scores-test.txt" "$model/arms.txt"

say "Seeing: phantoms of $SEE_SIZE px, $SEE_TRAIN to train on, $SEE_VALIDATION to choose by, $SEE_TEST held out"
see=$work/see
synth see/train "$SEE_TRAIN" "$TRAIN_SEED" "" "$SEE_SIZE"
synth see/validation "$SEE_VALIDATION" "$VALIDATION_SEED" "" "$SEE_SIZE"
synth see/test "$SEE_TEST" "$TEST_SEED" "" "$SEE_SIZE"

say "Side by side, a thread each: SAM; BERT on reports and queries, then MedCLIP"
see_stage() { "$bin/pcrl-train" "$@" --device cpu --threads 1 --model "$see/model" --log-every 50; }
see_data="--data $see/train --validation $see/validation --validation-studies $SEE_VALIDATION"
# shellcheck disable=SC2086
see_stage sam $see_data --out "$see/sam" --steps "$SAM_STEPS" --image "$SEE_SIZE" $sam_settings &
sam=$!
# shellcheck disable=SC2086
{ see_stage bert --data "$work/train" --out "$see/bert" --steps "$BERT_STEPS" $bert_settings &&
    see_stage medclip $see_data --out "$see/medclip" --bert "$see/bert/bert.safetensors" --steps "$MEDCLIP_STEPS" $medclip_settings; } ||
    { kill "$sam"; wait "$sam" || true; exit 1; }
wait "$sam"

say "Galleries and clues: of the test set, scored; of $CLUE_TRAIN patients, to train on"
clues() { "$bin/pcrl-retrieve" --device cpu --model "$see/model" --gallery "$see/galleries-$1" --out "$see/$2" "$see/$1" $3; }
"$bin/pcrl-masks" --device cpu --model "$see/model" --out "$see/galleries-test" "$see/test"
"$bin/pcrl-masks" --device cpu --model "$see/model" --out "$see/galleries-train" --studies "$CLUE_TRAIN" "$see/train"
clues test size.json ""
clues test release.json "--filter release"
clues test random.json "--control random"
clues train clues.json "--studies $CLUE_TRAIN"
for form in txt json; do
    # shellcheck disable=SC2046
    "$bin/pcrl-score" $(test $form = json && echo --json) --truth "$see/test" --gallery "$see/galleries-test" --clues "$see/size.json" \
        --clue-control release="$see/release.json" --clue-control random="$see/random.json" >"$model/scores-masks.$form"
done

say "The shipped way once more on $CLUE_TRAIN patients: exact clues, and those that were found"
# clue_arm NAME OPTION...
clue_arm() {
    run=$work/clues-$1
    mkdir -p "$run"
    copy "$base" "$run/model"
    shift
    # shellcheck disable=SC2046,SC2086
    stage pcrl $common $(arm_settings "$best") --init "$work/start-$chosen/model" --lr 5e-4 --steps "$PCRL_STEPS" --seed "$chosen" \
        --model "$run/model" --out "$run" --cache "$work/clue-cache" --studies "$CLUE_TRAIN" "$@"
    report "$run" --out "$run/test.jsonl" "$work/test"
    "$bin/pcrl-score" --truth "$work/test" --reports "$run/test.jsonl" >"$run/test.txt"
}
clue_arm exact
clue_arm found --clues "$see/clues.json"
{
    echo
    echo "Trained with clues of $CLUE_TRAIN patients: tuple F1 on the test set"
    for a in exact found; do printf '%-12s %s\n' "$a" "$(f1 "$work/clues-$a/test.txt")"; done
} >>"$model/arms.txt"
cp "$see/model/"* "$model/"
cat "$model/scores-masks.txt" "$model/arms.txt"

for log in resnet llama/llama llama/slots "start-$chosen/warmup" "start-$chosen/pcrl" see/sam see/bert see/medclip; do cat "$work/$log/log.jsonl"; done >"$model/log.jsonl"
for a in $ARMS; do
    sed "s/^{/{\"arm\": \"$a\", /" "$work/$a-$chosen/pcrl/log.jsonl"
done >>"$model/log.jsonl"
du -sk "$model"
