/* Where a pixel of a mask lies among low-resolution logits, along one side. Two bilinear steps (PyTorch's rule,
 * align_corners false, positions in f32 as there): `low` logits to `side`, and the first `input` of those to
 * `out` pixels. Together each pixel is a sum of at most three neighbours, as side >= low; a weight is rounded
 * to f32 once. */
#ifndef KERNELS_MASK_TAPS_H
#define KERNELS_MASK_TAPS_H
#include <stdint.h>

#ifdef __CUDACC__
#define MASK_FUNCTION static inline __host__ __device__
#else
#define MASK_FUNCTION static inline
#endif

typedef struct MaskTap {
    int32_t at[3]; /* ascending, in range */
    float k[3];    /* the first is above 0; from the first 0 on all are */
} MaskTap;

/* a b - c, the product rounded on every device. */
MASK_FUNCTION float mask_less(float a, float b, float c)
{
#ifdef __CUDA_ARCH__
    return __fsub_rn(__fmul_rn(a, b), c);
#else
    return a * b - c;
#endif
}

/* Between *at and *at + 1 (or the last), *k of the latter. */
MASK_FUNCTION void mask_step(int from, int to, int i, int *at, float *k)
{
    *at = i;
    *k = 0;
    if (from == to) return;
    float s = mask_less((float)from / (float)to, (float)i + 0.5f, 0.5f);
    if (s <= 0) s = 0;
    *at = (int)s < from ? (int)s : from - 1;
    *k = *at + 1 < from ? s - (float)*at : 0;
}

MASK_FUNCTION MaskTap mask_tap(int low, int side, int input, int out, int i)
{
    MaskTap tap;
    double sum[3] = {0, 0, 0};
    int first = 0, p;
    float share;
    mask_step(input, out, i, &p, &share);
    for (int step = 0; step < 2; step++) {
        float part = step ? share : 1 - share, k;
        int at;
        if (part == 0) continue;
        mask_step(low, side, p + step, &at, &k);
        if (step == 0) first = at;
        for (int j = 0; j < 3; j++) { /* j written out: no indexing of registers */
            if (j == at - first) sum[j] += (double)part * (double)(1 - k);
            if (j == at - first + 1 && k != 0) sum[j] += (double)part * (double)k;
        }
    }
    for (int j = 0; j < 3; j++) {
        tap.at[j] = first + j < low ? first + j : low - 1;
        tap.k[j] = (float)sum[j];
    }
    return tap;
}
#endif
