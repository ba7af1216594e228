#!/bin/sh
# An op of which any one function is missing does not link, and the linker names it. BUILD: the build folder; LINK
# and LIBS: how the kernel tests are linked. Functions are taken away by renaming them in copies of the objects.
set -eu
build=${BUILD:-build/release}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

symbols() { # of the rows in ops.def, or of the one named
    sed -n 's/^\(OP[A-Z_]*\)(\([a-z0-9_]*\)).*/\1 \2/p' kernels/ops.def | while read -r kind name; do
        [ "${1:-$name}" = "$name" ] || continue
        echo "${name}_shape" && echo "${name}_forward_cpu" && echo "${name}_test"
        case $kind in *NODIFF) ;; *) echo "${name}_backward_cpu" ;; esac
    done
}

# Links without the symbols in $work/gone; what the linker says goes to $work/said.
link_without() {
    sed 's/.*/& taken_away_&/' "$work/gone" >"$work/map"
    rm -rf "$work/o" && mkdir "$work/o"
    for o in "$build"/tests/kernels/test_*.o; do
        objcopy --redefine-syms="$work/map" "$o" "$work/o/${o##*/}"
    done
    # References stay: only definitions move.
    cp "$build/tests/kernels/harness.o" "$build/tests/kernels/kernel_case.o" "$build/tests/kernels/probe.o" "$work/o"
    for o in "$build"/kernels/*.o; do
        case $o in
        */ops.o) cp "$o" "$work/o" ;;
        *) objcopy --redefine-syms="$work/map" "$o" "$work/o/kernel_${o##*/}" ;;
        esac
    done
    ${LINK:-cc -fopenmp} -o "$work/program" "$work"/o/*.o "$work/rest.a" \
        ${LIBS:--ldnnl -ldl -lm} >"$work/said" 2>&1
}

fail() {
    echo "FAIL link: $1"
    tail -5 "$work/said"
    exit 1
}

ar rcs "$work/rest.a" "$build"/tensor/*.o
: >"$work/gone"
link_without || fail "the complete program does not link"
checked=0
for symbol in $(symbols select) all; do
    if [ "$symbol" = all ]; then symbols >"$work/gone"; else echo "$symbol" >"$work/gone"; fi
    if link_without; then fail "linked without $symbol"; fi
    while read -r name; do
        grep -q "undefined reference to \`$name'" "$work/said" || fail "the linker did not name $name"
        checked=$((checked + 1))
    done <"$work/gone"
done
echo "$checked missing functions named by the linker"
