#include "kernels/dnnl.h"
#ifndef HAVE_DNNL
bool onednn_gemm(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, float alpha,
                 const float *A, int64_t lda, const float *B, int64_t ldb, float beta, float *C, int64_t ldc)
{
    (void)transpose_a, (void)transpose_b, (void)M, (void)N, (void)K, (void)alpha, (void)A, (void)lda, (void)B;
    (void)ldb, (void)beta, (void)C, (void)ldc;
    return false;
}
#else
#include "tensor/error.h"
#include <dnnl.h>

static void check(dnnl_status_t status, const char *what)
{
    if (status != dnnl_success) die("oneDNN: %s failed with status %d", what, (int)status);
}

bool onednn_gemm(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, float alpha,
                 const float *A, int64_t lda, const float *B, int64_t ldb, float beta, float *C, int64_t ldc)
{
    check(dnnl_sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', M, N, K, alpha, A, lda, B, ldb, beta, C,
                     ldc),
          "sgemm");
    return true;
}
#endif
