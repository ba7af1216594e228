#!/bin/bash
# tools/gpu_bundle.sh FOLDER PLUGIN TEST... -- TOOL...: the folder that make gpu runs and make gpu-bundle packs: tests and tools
# stripped, the plug-in, the mini model, the goldens' data, the shared libraries that ldd names (but for those of the C
# library, which every system has), and tools/gpu.sh as "gpu".
set -euo pipefail
folder=$1 plugin=$2
shift 2
rm -rf "$folder"
mkdir -p "$folder"/{bin,lib,data/mini,tests/golden}
tests=() programs=()
while [ "$1" != -- ]; do
    tests+=("$(basename "$1")") programs+=("$1")
    shift
done
shift
for p in "${programs[@]}" "$@" "$plugin"; do
    [ ! -e "$folder/bin/$(basename "$p")" ] || { echo "gpu_bundle: two programs are called $(basename "$p")" >&2; exit 1; }
    strip --strip-unneeded -o "$folder/bin/$(basename "$p")" "$p"
done
printf '%s\n' "${tests[@]}" >"$folder/checks"
# What the programs load, but for the C library's own.
libraries() {
    ldd "$folder"/bin/* | awk '$2 == "=>" { print $3 == "not" ? $1 " (not found)" : $3 }' | sort -u |
        grep -vE '/(libc|libm|libpthread|libdl|librt|libresolv|libanl|libutil)\.so'
}
libraries | while read -r library; do cp -L "$library" "$folder/lib/"; done
others=$(LD_LIBRARY_PATH=$folder/lib libraries | grep -v "^$folder/lib/" || true)
[ -z "$others" ] || { echo "gpu_bundle: still loaded from elsewhere: $others" >&2; exit 1; }
cp data/mini/{resnet,llama,adapter_model,pcrl_heads}.safetensors data/mini/adapter_config.json data/mini/tokenizer.json \
    "$folder/data/mini/" # what writes reports
cp -r tests/golden/*.safetensors tests/golden/*.json tests/golden/bnb tests/golden/peft "$folder/tests/golden/"
cp tools/gpu.sh "$folder/gpu"
cp tools/gpu_torch.py tools/gpu_torch_models.py LICENSE "$folder/"
chmod +x "$folder/gpu"
