#!/bin/sh
# tools/demo.sh BIN MODEL OUT: the main job from end to end. Draws held-out phantoms, imports them and a real head
# CT, writes their reports, scores them beside controls that cannot have seen the images, and makes a page of it.
# Then SAM cuts masks, and MedCLIP finds the one that belongs to each sentence of the reports.
# Settings: SIZE and MASK_SIZE pixels of a slice and the seeds TEST_SEED and TRAIN_SEED as in the mini model's recipe;
# STUDIES, how many phantoms, the first of its held-out ones; MASKED, of how many of those masks are made. DEPS=0
# downloads nothing.
set -eu
bin=$1 model=$2 out=$3
: "${SIZE:=128}" "${MASK_SIZE:=224}" "${STUDIES:=16}" "${MASKED:=3}" "${TEST_SEED:=1000000}" "${TRAIN_SEED:=0}"
real=/usr/share/doc/invesalius-examples/examples/Cranium.inv3
say() { printf '\n== %s\n' "$*"; }

if [ ! -e "$model/llama.safetensors" ]; then
    echo "demo: no model in $model; 'make mini' trains one" >&2
    exit 2
fi
rm -rf "$out/evidence" "$out/phantoms" "$out/real" "$out/scan" "$out/package" "$out/large" "$out/gallery" "$out/retrieved"
mkdir -p "$out"
# Where the model has a segmentation head its masks are written, drawn over the slices and scored.
segment=
if "$bin/pcrl-inspect" --tensor local_seg. "$model/pcrl_heads.safetensors" | grep -q 'local_seg\.'; then segment=yes; fi
# report NAME ARGUMENT...: NAME.jsonl and its masks.
report() {
    name=$1
    shift
    "$bin/pcrl-report" --model "$model" --out "$out/$name.jsonl" ${segment:+--masks "$out/$name.safetensors"} "$@"
}
[ "$segment" ] || echo "demo: $model has no segmentation head; on without its masks"
seeing=
if [ -e "$model/sam.safetensors" ] && [ -e "$model/medclip.safetensors" ]; then seeing=yes; fi
[ "$seeing" ] || echo "demo: $model has no SAM or no MedCLIP; on without retrieved evidence"
# retrieve NAME: masks of the studies $out/large/NAME, and those for the sentences of NAME.jsonl.
retrieve() {
    "$bin/pcrl-masks" --model "$model" --out "$out/gallery/$1" "$out/large/$1"
    "$bin/pcrl-retrieve" --model "$model" --gallery "$out/gallery/$1" --reports "$out/$1.jsonl" --overlay "$out/retrieved" \
        --out "$out/$1-clues.json" "$out/large/$1"
}

say "$STUDIES synthetic head CT that no training has seen"
"$bin/pcrl-synth" --out "$out/phantoms" --n "$STUDIES" --seed-base "$TEST_SEED" --size "$SIZE"
report phantoms ${segment:+--evidence "$out/evidence"} "$out/phantoms"
report shuffled --control shuffle "$out/phantoms"
report blank --control blank "$out/phantoms"

# Small images of Debian leave /usr/share/doc out when they install: unpack the package here instead.
if [ ! -r "$real" ] && [ "${DEPS:-1}" != 0 ] && command -v apt-get >/dev/null; then
    mkdir -p "$out/package"
    if (cd "$out/package" && apt-get download -q invesalius-examples && dpkg-deb -x ./*.deb .) >/dev/null 2>&1; then
        real=$out/package$real
    fi
fi
pages='' masks='' clues=''
if [ -r "$real" ]; then
    say "A real head CT: $real"
    mkdir -p "$out/scan"
    tar -xzf "$real" -C "$out/scan" --strip-components=1 --wildcards '*/main.plist' '*/matrix.dat'
    # main.plist: int16, 108 x 256 x 256, 0.957 x 0.957 x 1.5 mm; rows run from back to front, slices to the head.
    import() {
        "$bin/pcrl-import" --id 1 --dtype i16 --dims 256,256,108 --spacing 0.9570312,0.9570312,1.5 --axes LAS "$@" \
            "$out/scan/matrix.dat"
    }
    import --out "$out/real" --size "$SIZE" --hu --montage "$out/real.png" >"$out/real.tsv"
    report real ${segment:+--evidence "$out/evidence"} "$out/real"
    pages="$out/real $out/real.jsonl"
    masks=${segment:+"--masks $out/real.safetensors"}
    echo "slices chosen: $out/real.tsv, picture: $out/real.png${segment:+, segmentation: $out/evidence/1.png}"
    echo "report (the model has learnt from synthetic scans only):"
    "$bin/pcrl-page" --text "$out/real" "$out/real.jsonl"
    if [ "$seeing" ]; then
        echo "masks, and the one that belongs to each sentence:"
        import --out "$out/large/real" --size "$MASK_SIZE" >/dev/null
        retrieve real
        clues="--clues $out/real-clues.json"
    fi
else
    say "The real head CT is skipped: $real is not here (Debian package invesalius-examples)"
fi

say "Report beside truth (✓ named, ○ missed, ✗ not there)"
"$bin/pcrl-page" --text --studies 3 "$out/phantoms" "$out/phantoms.jsonl"

say "Scores beside their controls, on these $STUDIES studies ($model/scores-test.txt: on all held-out ones)"
"$bin/pcrl-synth" --out "$out/training" --n 400 --seed-base "$TRAIN_SEED" --size 64 2>/dev/null
score() {
    "$bin/pcrl-score" --truth "$out/phantoms" --reports "$out/phantoms.jsonl" --train "$out/training" \
        --control shuffled="$out/shuffled.jsonl" --control blank="$out/blank.jsonl" \
        ${segment:+--masks "$out/phantoms.safetensors" --mask-control shuffled="$out/shuffled.safetensors"} "$@"
}
score --json >"$out/scores.json"
score >"$out/scores.txt"
sed '/^By lesion radius/,$d' "$out/scores.txt"
sed -n '/^Segmentation/,/^$/p' "$out/scores.txt"
echo "by size, by finding and of the text: $out/scores.txt"

if [ "$seeing" ]; then
    say "Masks of the first $MASKED phantoms, and the one that belongs to each sentence of their reports"
    "$bin/pcrl-synth" --out "$out/large/phantoms" --n "$MASKED" --seed-base "$TEST_SEED" --size "$MASK_SIZE" 2>/dev/null
    retrieve phantoms
    clues="$clues --clues $out/phantoms-clues.json"
    "$bin/pcrl-masks" --model "$model" --id "$TEST_SEED" --overlay "$out/masks.png" --out "$out/gallery/phantoms" "$out/large/phantoms"
    echo "all masks of the first: $out/masks.png; evidence with its sentences: $out/retrieved/ID.html, and on the page"
fi

scores=$out/scores.json
[ ! -r "$model/scores-test.json" ] || scores=$model/scores-test.json
"$bin/pcrl-page" --out "$out/index.html" --scores "$scores" --studies 8 $masks ${segment:+--masks "$out/phantoms.safetensors"} \
    $clues $pages "$out/phantoms" "$out/phantoms.jsonl"
say "Open $out/index.html in a browser. Research use only, not a medical device."
