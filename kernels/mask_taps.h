/* Where a pixel of a mask lies among low-resolution logits, along one side. Two bilinear steps (PyTorch's rule,
 * align_corners false, positions in f32 as there): `low` logits to `side`, and the first `input` of those to
 * `out` pixels. Together each pixel is a sum of at most three neighbours, as side >= low; a weight is rounded
 * to f32 once. */
#ifndef KERNELS_MASK_TAPS_H
#define KERNELS_MASK_TAPS_H
#include <stdint.h>

typedef struct MaskTap {
    int32_t at[3]; /* ascending, in range */
    float k[3];    /* the first is above 0; from the first 0 on all are */
} MaskTap;

/* Between *at and *at + 1 (or the last), *k of the latter. */
static inline void mask_step(int64_t from, int64_t to, int64_t i, int64_t *at, float *k)
{
    *at = i;
    *k = 0;
    if (from == to) return;
    float s = (float)from / (float)to * ((float)i + 0.5f) - 0.5f;
    if (s <= 0) s = 0;
    *at = (int64_t)s < from ? (int64_t)s : from - 1;
    *k = *at + 1 < from ? s - (float)*at : 0;
}

static inline MaskTap mask_tap(int64_t low, int64_t side, int64_t input, int64_t out, int64_t i)
{
    MaskTap tap;
    double sum[3] = {0, 0, 0};
    int64_t first = 0, p;
    float share;
    mask_step(input, out, i, &p, &share);
    for (int64_t step = 0; step < 2; step++) {
        float part = step ? share : 1 - share, k;
        int64_t at;
        if (part == 0) continue;
        mask_step(low, side, p + step, &at, &k);
        if (step == 0) first = at;
        sum[at - first] += (double)part * (double)(1 - k);
        if (k != 0) sum[at - first + 1] += (double)part * (double)k;
    }
    for (int64_t j = 0; j < 3; j++) {
        tap.at[j] = (int32_t)(first + j < low ? first + j : low - 1);
        tap.k[j] = (float)sum[j];
    }
    return tap;
}
#endif
