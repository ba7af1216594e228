/* Small products by tiles of 4 x 32 in registers, for the kernels of attention. Arrays have room for whole
 * tiles. */
#ifndef KERNELS_TILES_H
#define KERNELS_TILES_H
#include "kernels/vec.h"
#include <stdbool.h>

enum { TILE_ROWS = 4, TILE = 2 * VEC };

static inline int64_t whole_tiles(int64_t n) { return (n + TILE - 1) / TILE * TILE; }

/* C (4,32) (+)= A (4,K) B (K,32): A's element (i,k) is at i * rs + k * cs, rows of B and C ldb and ldc apart.
 */
VEC_BODY(tile,
         (const float *a, int64_t rs, int64_t cs, const float *b, int64_t ldb, int64_t K, float *c, int64_t ldc,
          bool add),
         {
             Vec c00 = {0}, c01 = {0}, c10 = {0}, c11 = {0}, c20 = {0}, c21 = {0}, c30 = {0}, c31 = {0};
             for (int64_t k = 0; k < K; k++) {
                 Vec b0 = VEC_LOAD(b + k * ldb), b1 = VEC_LOAD(b + k * ldb + VEC);
                 const float *x = a + k * cs;
                 c00 += x[0] * b0, c01 += x[0] * b1;
                 c10 += x[rs] * b0, c11 += x[rs] * b1;
                 c20 += x[2 * rs] * b0, c21 += x[2 * rs] * b1;
                 c30 += x[3 * rs] * b0, c31 += x[3 * rs] * b1;
             }
             float *c1 = c + ldc, *c2 = c1 + ldc, *c3 = c2 + ldc;
             if (add) {
                 c00 += VEC_LOAD(c), c01 += VEC_LOAD(c + VEC);
                 c10 += VEC_LOAD(c1), c11 += VEC_LOAD(c1 + VEC);
                 c20 += VEC_LOAD(c2), c21 += VEC_LOAD(c2 + VEC);
                 c30 += VEC_LOAD(c3), c31 += VEC_LOAD(c3 + VEC);
             }
             VEC_STORE(c, c00), VEC_STORE(c + VEC, c01);
             VEC_STORE(c1, c10), VEC_STORE(c1 + VEC, c11);
             VEC_STORE(c2, c20), VEC_STORE(c2 + VEC, c21);
             VEC_STORE(c3, c30), VEC_STORE(c3 + VEC, c31);
         })

/* C (M,N) (+)= A (M,K) B (K,N) by tiles; M is rounded up to 4, N to 32. Columns j..j+31 of B, j a multiple of
 * 32, begin at b + j * step: step 1 where rows are whole, K where B is in panels (N/32,K,32) with ldb 32. */
VEC_BODY(product,
         (int64_t M, int64_t N, int64_t K, const float *a, int64_t rs, int64_t cs, const float *b, int64_t ldb,
          int64_t step, float *c, int64_t ldc, bool add),
         {
             for (int64_t j = 0; j < N; j += TILE)
                 for (int64_t i = 0; i < M; i += TILE_ROWS)
                     tile_body(a + i * rs, rs, cs, b + j * step, ldb, K, c + i * ldc + j, ldc, add);
         })
VEC_FUNCTION(product,
             (int64_t M, int64_t N, int64_t K, const float *a, int64_t rs, int64_t cs, const float *b,
              int64_t ldb, int64_t step, float *c, int64_t ldc, bool add),
             (M, N, K, a, rs, cs, b, ldb, step, c, ldc, add))
#endif
