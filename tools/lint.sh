#!/bin/bash
# tools/lint.sh BUILD: what the compiler does not check. Every finding is one line "file: what"; any finding fails.
#   includes   who may include whom (the picture is in the table below)
#   format     .clang-format
#   sizes      files over 500 lines and functions over 60 are listed, over 600 and 90 refused
#   headers    those of tensor/ and kernels/ compile alone, as C17 and as C++17: plug-ins include them
#   objects    a library object that can end the process (only tensor/error.c may)
#   words      what is not finished, machines' own paths, left-over files
# BUILD holds the objects of the last build.
set -uo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/release}
findings=0
say() {
    echo "$1"
    findings=$((findings + 1))
}
# What git knows or would add; in an unpacked archive, everything but the builds.
list() { git ls-files --cached --others --exclude-standard 2>/dev/null || find . -type f -not -path './build/*' -printf '%P\n'; }
mapfile -t files < <(list | while read -r f; do [ -f "$f" ] && echo "$f"; done)
mapfile -t sources < <(printf '%s\n' "${files[@]}" | grep -E '\.(c|h|cpp|cu|cuh)$')

# folder: the folders whose headers it may include, or single headers
declare -A may=(
    [tensor]="tensor"
    [kernels]="tensor kernels"
    [losses]="tensor kernels losses"
    [models]="tensor kernels models data/safetensors.h data/tensor_file.h data/json.h data/image.h data/resample.h data/rle.h data/gallery.h"
    [tokenizer]="tensor tokenizer data/json.h data/file.h data/gguf.h data/tensor_file.h"
    [data]="tensor data"
    [tools]="tensor kernels losses models tokenizer data tools"
    [tests]="tensor kernels losses models tokenizer data tools tests"
)
while IFS=: read -r file line text; do
    header=$(sed -E 's/.*"(.*)".*/\1/' <<<"$text")
    from=${file%%/*}
    # pcrl-bench and pcrl-gpu time what the kernel tests test.
    [[ "$file $header" =~ ^tools/(pcrl-bench|gpu_kernels)\.c\ tests/kernels/kernel_case\.h$ ]] && continue
    # The plug-in's backend has its kernels' launches.
    [ "$file $header" = "tensor/backend_cuda.cu kernels/cuda.cuh" ] && continue
    # The host's builds of the CUDA kernels run on the tests' machinery.
    [[ "$file $header" =~ ^kernels/cuda\.cuh\ tests/(emu/emu|ptx/ptx)\.h$ ]] && continue
    case " ${may[$from]-} " in
    *" ${header%%/*} "* | *" $header "*) [ -f "$header" ] || say "$file:$line: includes $header, which is not a path from the root" ;;
    *) say "$file:$line: $from/ may not include $header" ;;
    esac
done < <(grep -nE '^ *# *include *"[^"]*\.(h|cuh)"' "${sources[@]}")
for f in $(grep -lE '^ *# *include *"tests/' "${sources[@]}" | grep -vE '^tests/|^tools/(pcrl-bench|gpu_kernels).c|^kernels/cuda.cuh'); do say "$f: includes a test's header"; done

while read -r line; do say "$line"; done < <(clang-format --dry-run --Werror "${sources[@]}" 2>&1 |
    sed -nE 's/^([^:]+):([0-9]+):.*clang-format-violations.*/\1/p' | sort | uniq -c | awk '{print $2 ": " $1 " places not as .clang-format has them"}')

# A function begins with a line "{" and ends with a line "}", both in the first column.
sizes=$(awk '
    FNR == 1 { start = 0 }
    { lines[FILENAME] = FNR }
    /^{/ { start = FNR }
    /^}/ && start { n = FNR - start - 1; if (n > 60) print (n > 90 ? "!" : "-"), FILENAME ":" start ": function of " n " lines"; start = 0 }
    END { for (f in lines) if (lines[f] > 500) print (lines[f] > 600 ? "!" : "-"), f ": file of " lines[f] " lines" }
' "${sources[@]}" | sort -k2)
while read -r grade text; do
    [ "$grade" = "!" ] && say "$text"
    [ "$grade" = "-" ] && echo "note: $text"
done <<<"$sizes"

for h in tensor/*.h kernels/*.h; do
    for as in "c -std=c17" "c++ -std=c++17"; do
        # shellcheck disable=SC2086
        out=$(printf '#include "%s"\n' "$h" | ${CC:-cc} -x $as -D_GNU_SOURCE -Wall -Wextra -I. -fopenmp -fsyntax-only - 2>&1) ||
            say "$h: does not compile alone as ${as##*=}: $(grep -m1 error <<<"$out")"
    done
done

for folder in tensor kernels models losses tokenizer data; do
    for o in "$build/$folder"/*.o; do
        [ -f "$o" ] || { say "$build/$folder: no objects; build first"; continue; }
        [ "$o" = "$build/tensor/error.o" ] && continue
        for symbol in $(nm -u "$o" | awk '{print $2}' | sed 's/@.*//' | grep -xE '_?exit|_Exit|quick_exit|abort|__assert_fail|err|errx'); do
            say "${o#"$build"/}: calls $symbol"
        done
    done
done

unfinished='TO''DO|FIX''ME|\bst''ub\b|for no''w\b'
while read -r line; do say "$line"; done < <(grep -nIE "$unfinished" "${files[@]}" | cut -c1-160)
while read -r line; do say "$line: a path of one machine"; done < <(grep -nIoE '(^|[^a-zA-Z0-9_.])/(work|home|root|Users)/[a-zA-Z0-9_]*' "${files[@]}")
for f in "${files[@]}"; do
    case $f in *.tmp | *.tmp-* | *.orig | *.rej | *~ | *.o | *.so) say "$f: left over" ;; esac
done

echo "ops without a CUDA twin: $(grep -cE '^OP_CPU(_NODIFF)?\(' kernels/ops.def) of $(grep -cE '^OP(_CPU)?(_NODIFF)?\(' kernels/ops.def)"
echo "lint: ${#sources[@]} sources, $findings findings"
[ "$findings" = 0 ]
