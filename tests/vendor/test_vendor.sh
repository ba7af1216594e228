#!/bin/sh
# tests/vendor/test_vendor.sh SUITE LIBRARY: the kernel suite's products on emu, the large ones in bf16 by the library that
# stands in for cuBLAS, which must have been called; without it (PCRL_VENDOR=0) never.
set -eu
[ $# = 2 ] || { echo "usage: test_vendor.sh SUITE LIBRARY" >&2; exit 1; }
calls=$(mktemp)
trap 'rm -f "$calls"' EXIT
OP=matmul DEVICE=emu PCRL_CUBLAS=$2 FAKE_CUBLAS_CALLS=$calls "$1"
n=$(cat "$calls")
[ "${n:-0}" -gt 0 ] || { echo "test_vendor: cuBLAS was never called"; exit 1; }
: >"$calls"
OP=matmul DEVICE=emu PCRL_VENDOR=0 PCRL_CUBLAS=$2 FAKE_CUBLAS_CALLS=$calls "$1"
[ ! -s "$calls" ] || { echo "test_vendor: PCRL_VENDOR=0 opened cuBLAS"; exit 1; }
echo "test_vendor: $n products by cuBLAS's stand-in, none with PCRL_VENDOR=0"
