/* Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011). The same numbers on every backend, thread count and machine; state is only (key, counter). */
#ifndef TENSOR_RNG_H
#define TENSOR_RNG_H
#include <stdint.h>
#ifdef __CUDACC__
#define RNG_FUNCTION static inline __host__ __device__
#else
#define RNG_FUNCTION static inline
#endif

typedef struct Philox {
    uint32_t v[4];
} Philox;

/* Ten rounds on counter c under key k. */
RNG_FUNCTION Philox philox4x32(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1)
{
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    Philox r = {{c0, c1, c2, c3}};
    return r;
}
/* u32 -> [0,1) with 24 bits: exact in float. */
RNG_FUNCTION float philox_unit(uint32_t u) { return (float)(u >> 8) * 0x1p-24f; }

/* The mask of inverted dropout for element i of call `call` under `seed`: 1/(1-p) or 0. Four neighbours share
 * one Philox block; kernels and oracles on every backend use this one function. */
RNG_FUNCTION float dropout_scale(uint64_t seed, uint64_t call, uint64_t i, float p)
{
    uint64_t block = i >> 2;
    Philox r = philox4x32((uint32_t)block, (uint32_t)(block >> 32), (uint32_t)call, (uint32_t)(call >> 32),
                          (uint32_t)seed, (uint32_t)(seed >> 32));
    return philox_unit(r.v[i & 3]) < p ? 0.0f : 1.0f / (1.0f - p);
}

#ifdef __cplusplus
extern "C" {
#endif

/* A sequential stream on top, for everything that is not a kernel (data order, phantoms, initial weights).
 * Copying the struct copies the position; a checkpoint stores it as it is. */
typedef struct Rng {
    uint32_t key[2];
    uint64_t counter; /* number of u32 taken so far */
} Rng;

uint32_t fnv1a32(const char *s);

/* The stream `name` under `seed`: key = (low word of seed, FNV-1a of name xor high word of seed). */
Rng rng_open(uint64_t seed, const char *name);
uint32_t rng_u32(Rng *r);
double rng_unit(Rng *r);                           /* [0,1), 53 bits */
double rng_range(Rng *r, double low, double high); /* [low,high) */
int64_t rng_below(Rng *r, int64_t n);              /* 0..n-1, unbiased; n > 0 */
double rng_normal(Rng *r);                         /* mean 0, sd 1 (polar method) */

/* The shared generator of tests/golden: x[i] uniform in [-a,a), x[i] = a * ((u >> 8) * 2^-23 - 1), u = word i&3
 * of Philox block i>>2 under key (seed, FNV-1a of name). Bit-equal to tests/golden/philox.py. */
void rng_fill(float *x, int64_t n, uint32_t seed, const char *name, float a);

#ifdef __cplusplus
}
#endif
#endif
