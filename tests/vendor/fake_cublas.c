/* Stands in for libcublas where there is no GPU: the few entry points that kernels/vendor.cu calls, by their
 * documented column-major meaning, on host memory. What a real one would refuse is an error here too, and what
 * keeps results the same from run to run is demanded. FAKE_CUBLAS_CALLS=FILE: how many products there were. */
#include "tensor/half.h"
#include <cublas_v2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cublasContext {
    unsigned magic;
    int stream, workspace, atomics, math;
};
enum { MAGIC = 0xb1a5, WORKSPACE_LEAST = 4 << 20 };
static int calls;

static void report(void)
{
    const char *path = getenv("FAKE_CUBLAS_CALLS");
    FILE *f = path ? fopen(path, "w") : NULL;
    if (!f) return;
    fprintf(f, "%d\n", calls);
    fclose(f);
}

/* What vendor.cu declares by number. */
_Static_assert(CUBLAS_OP_N == 0 && CUBLAS_OP_T == 1 && CUBLAS_COMPUTE_32F == 68 && CUBLAS_GEMM_DEFAULT == -1 &&
                   CUBLAS_ATOMICS_NOT_ALLOWED == 0 && CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION == 16,
               "as in the header");

static cublasStatus_t known(cublasHandle_t h)
{
    return h && h->magic == MAGIC ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_INITIALIZED;
}

cublasStatus_t cublasCreate_v2(cublasHandle_t *h)
{
    *h = calloc(1, sizeof **h);
    if (!*h) return CUBLAS_STATUS_ALLOC_FAILED;
    (*h)->magic = MAGIC;
    atexit(report);
    return CUBLAS_STATUS_SUCCESS;
}

/* Drops the workspace, as the real one does. */
cublasStatus_t cublasSetStream_v2(cublasHandle_t h, cudaStream_t stream)
{
    (void)stream;
    if (known(h)) return known(h);
    h->stream = 1;
    h->workspace = 0;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t h, void *p, size_t bytes)
{
    if (known(h)) return known(h);
    if (!p || (uintptr_t)p % 256 || bytes < WORKSPACE_LEAST) return CUBLAS_STATUS_INVALID_VALUE;
    memset(p, 0xFF, bytes);
    h->workspace = 1;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetAtomicsMode(cublasHandle_t h, cublasAtomicsMode_t mode)
{
    if (known(h)) return known(h);
    h->atomics = mode == CUBLAS_ATOMICS_NOT_ALLOWED;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t h, cublasMath_t mode)
{
    if (known(h)) return known(h);
    h->math = mode == CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
    return CUBLAS_STATUS_SUCCESS;
}

/* Element (row,column) of op(x), x column by column. */
static double element(const void *x, int ld, cublasOperation_t op, int row, int column)
{
    int64_t at = op == CUBLAS_OP_N ? (int64_t)column * ld + row : (int64_t)row * ld + column;
    return (double)bf16_to_float(((const uint16_t *)x)[at]);
}

static int least(int a) { return a > 1 ? a : 1; }

cublasStatus_t cublasGemmEx(cublasHandle_t h, cublasOperation_t opa, cublasOperation_t opb, int m, int n, int k,
                            const void *alpha, const void *A, cudaDataType ta, int lda, const void *B,
                            cudaDataType tb, int ldb, const void *beta, void *C, cudaDataType tc, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t algorithm)
{
    if (known(h)) return known(h);
    if (!h->stream || !h->workspace || !h->atomics || !h->math) return CUBLAS_STATUS_NOT_INITIALIZED;
    if (ta != CUDA_R_16BF || tb != CUDA_R_16BF || (tc != CUDA_R_16BF && tc != CUDA_R_32F) ||
        compute != CUBLAS_COMPUTE_32F || algorithm != CUBLAS_GEMM_DEFAULT)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if ((opa != CUBLAS_OP_N && opa != CUBLAS_OP_T) || (opb != CUBLAS_OP_N && opb != CUBLAS_OP_T) || m < 0 ||
        n < 0 || k < 0 || lda < least(opa == CUBLAS_OP_N ? m : k) || ldb < least(opb == CUBLAS_OP_N ? k : n) ||
        ldc < least(m))
        return CUBLAS_STATUS_INVALID_VALUE;
    calls++;
    float scale = *(const float *)alpha, keep = *(const float *)beta;
    for (int j = 0; j < n; j++)
        for (int i = 0; i < m; i++) {
            double sum = 0;
            for (int l = 0; l < k; l++) sum += element(A, lda, opa, i, l) * element(B, ldb, opb, l, j);
            float *f = (float *)C + (int64_t)j * ldc + i;
            uint16_t *half = (uint16_t *)C + (int64_t)j * ldc + i;
            float y = scale * (float)sum;
            if (keep != 0) y += keep * (tc == CUDA_R_32F ? *f : bf16_to_float(*half));
            if (tc == CUDA_R_32F)
                *f = y;
            else
                *half = bf16_from_float(y);
        }
    return CUBLAS_STATUS_SUCCESS;
}
