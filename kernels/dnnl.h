/* Everything that touches oneDNN. Built without it (make DNNL=0), every function here says that it did nothing
 * and its caller uses our own loops. */
#ifndef KERNELS_DNNL_H
#define KERNELS_DNNL_H
#include <stdbool.h>
#include <stdint.h>

/* As gemm() in kernels/gemm.h. false: not built in. */
bool onednn_gemm(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, float alpha,
                 const float *A, int64_t lda, const float *B, int64_t ldb, float beta, float *C, int64_t ldc);
#endif
