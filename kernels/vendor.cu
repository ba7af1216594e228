/* libcublas.so of CUDA 13 or 12 by dlopen, its few entry points declared here: the headers need not be there
 * (tests/vendor/fake_cublas.c, which stands in for it where there is no GPU, holds them against its header).
 * PCRL_VENDOR=0 turns it off, PCRL_CUBLAS=FILE names another library; on emu nothing else is opened, as a real
 * one would be given host memory. TENSOR_TRACE=1 says what was found.
 *
 * Matrices there are column by column: what it sees is C^T (N,M) = op(b)^T op(a)^T. Workspace comes from
 * scratch, atomics and sums in bf16 are ruled out. Log: never run on a GPU. */
#include "kernels/vendor.h"
#include <dlfcn.h>
#include <library_types.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WORKSPACE = 32 << 20,
    FEWEST = 128,
    COMPUTE_32F = 68,
    DEFAULT_ALGORITHM = -1,
    NO_ATOMICS = 0,
    SUMS_F32 = 16
};
enum { NOT_TRANSPOSED, TRANSPOSED };

static struct Cublas {
    bool asked;
    void *handle; /* NULL: there is none */
    int (*create)(void **);
    int (*set_stream)(void *, cudaStream_t);
    int (*set_workspace)(void *, void *, size_t);
    int (*set_atomics)(void *, int);
    int (*set_math)(void *, int);
    int (*gemm)(void *, int, int, int, int, int, const void *, const void *, cudaDataType, int, const void *,
                cudaDataType, int, const void *, void *, cudaDataType, int, int, int);
} cublas;

static bool find(void *library, const char *name, void *to)
{
    void *p = dlsym(library, name);
    memcpy(to, &p, sizeof p);
    return p != NULL;
}

static bool open_library(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) return false;
    void *handle = NULL;
    if (!find(library, "cublasCreate_v2", &cublas.create) ||
        !find(library, "cublasSetStream_v2", &cublas.set_stream) ||
        !find(library, "cublasSetWorkspace_v2", &cublas.set_workspace) ||
        !find(library, "cublasSetAtomicsMode", &cublas.set_atomics) ||
        !find(library, "cublasSetMathMode", &cublas.set_math) || !find(library, "cublasGemmEx", &cublas.gemm) ||
        cublas.create(&handle)) {
        dlclose(library);
        return false;
    }
    cublas.handle = handle;
    return true;
}

static void open_first(void)
{
    const char *off = getenv("PCRL_VENDOR"), *named = getenv("PCRL_CUBLAS"), *trace = getenv("TENSOR_TRACE");
    bool found = false;
    cublas.asked = true;
    if (off && !strcmp(off, "0")) return;
    if (named) found = open_library(named);
#ifdef __CUDACC__
    else
        found = open_library("libcublas.so.13") || open_library("libcublas.so.12");
#endif
    if (trace && *trace && strcmp(trace, "0"))
        fprintf(stderr, "cublas: %s\n", found ? "used for large products" : "none: our own kernels instead");
}

static void check(int status, const char *call)
{
    if (status) host.die("cuda: %s: status %d", call, status);
}

/* 16 bytes at every row's start. */
static bool aligned(const void *p, int64_t ld, size_t size)
{
    return gemm_aligned(p, 16) && ld * (int64_t)size % 16 == 0;
}

bool vendor_gemm(Tape *t, int M, int N, int K, const GemmMatrix &a, const GemmMatrix &b, const GemmOutput &c)
{
    if (M <= FEWEST || c.bias || c.plus || !aligned(a.p, a.ld, 2) || !aligned(b.p, b.ld, 2) ||
        !aligned(c.p, c.ld, c.bf16 ? 2 : 4))
        return false;
    if (!cublas.asked) open_first();
    if (!cublas.handle) return false;
    void *workspace = scratch(t, WORKSPACE);
    auto product = [=] {
        float alpha = c.alpha, beta = c.add;
        check(cublas.set_stream(cublas.handle, cuda_stream), "cublasSetStream");
        check(cublas.set_workspace(cublas.handle, workspace, WORKSPACE), "cublasSetWorkspace");
        check(cublas.set_atomics(cublas.handle, NO_ATOMICS), "cublasSetAtomicsMode");
        check(cublas.set_math(cublas.handle, SUMS_F32), "cublasSetMathMode");
        check(cublas.gemm(cublas.handle, b.transposed ? TRANSPOSED : NOT_TRANSPOSED,
                          a.transposed ? TRANSPOSED : NOT_TRANSPOSED, N, M, K, &alpha, b.p, CUDA_R_16BF,
                          gemm_int(b.ld), a.p, CUDA_R_16BF, gemm_int(a.ld), &beta, c.p,
                          c.bf16 ? CUDA_R_16BF : CUDA_R_32F, gemm_int(c.ld), COMPUTE_32F, DEFAULT_ALGORITHM),
              "cublasGemmEx");
    };
#ifdef __CUDACC__
    product();
#else
    emu::enqueue([=] {
        emu::Access access;
        product();
    });
#endif
    return true;
}
