#include "tensor/rng.h"
#include <math.h>

uint32_t fnv1a32(const char *s)
{
    uint32_t h = 2166136261u;
    for (; *s; s++) h = (h ^ (unsigned char)*s) * 16777619u;
    return h;
}

Rng rng_open(uint64_t seed, const char *name)
{
    Rng r = {{(uint32_t)seed, fnv1a32(name) ^ (uint32_t)(seed >> 32)}, 0};
    return r;
}

uint32_t rng_u32(Rng *r)
{
    uint64_t block = r->counter >> 2;
    Philox p = philox4x32((uint32_t)block, (uint32_t)(block >> 32), 0, 0, r->key[0], r->key[1]);
    return p.v[r->counter++ & 3];
}

double rng_unit(Rng *r)
{
    uint64_t high = rng_u32(r) >> 5, low = rng_u32(r) >> 6;
    return (double)(high << 26 | low) * 0x1p-53;
}

double rng_range(Rng *r, double low, double high) { return low + (high - low) * rng_unit(r); }

int64_t rng_below(Rng *r, int64_t n)
{
    uint64_t N = (uint64_t)n, limit = UINT64_MAX - UINT64_MAX % N, u;
    do {
        u = (uint64_t)rng_u32(r) << 32 | rng_u32(r);
    } while (u >= limit);
    return (int64_t)(u % N);
}

double rng_normal(Rng *r)
{
    double u, v, s;
    do {
        u = 2 * rng_unit(r) - 1;
        v = 2 * rng_unit(r) - 1;
        s = u * u + v * v;
    } while (s >= 1 || s == 0);
    return u * sqrt(-2 * log(s) / s);
}

void rng_fill(float *x, int64_t n, uint32_t seed, const char *name, float a)
{
    uint32_t key = fnv1a32(name);
    for (int64_t i = 0; i < n; i += 4) {
        uint64_t block = (uint64_t)i >> 2;
        Philox p = philox4x32((uint32_t)block, (uint32_t)(block >> 32), 0, 0, seed, key);
        for (int64_t j = 0; j < 4 && i + j < n; j++) x[i + j] = a * ((float)(p.v[j] >> 8) * 0x1p-23f - 1.0f);
    }
}
