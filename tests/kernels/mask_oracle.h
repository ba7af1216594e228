/* Pixel by pixel, as ops.h says. Every pixel is compared with a threshold, so that its rounding counts: the
 * weights are those of kernels/mask_taps.h (which tests/models/test_sam_masks.c holds against the reference),
 * and sums are made in f32 in the op's order. */
#ifndef TESTS_KERNELS_MASK_ORACLE_H
#define TESTS_KERNELS_MASK_ORACLE_H
#include "kernels/mask_taps.h"
#include "tests/kernels/kernel_test.h"

/* Without fused multiply-adds: a product that is stored is rounded. */
static inline float mask_pixel(const double *x, int64_t h, int64_t w, const MaskParams *p, int64_t i, int64_t j)
{
    MaskTap row = mask_tap((int)h, p->side, p->input_height, p->height, (int)i);
    MaskTap column = mask_tap((int)w, p->side, p->input_width, p->width, (int)j);
    volatile float sum = 0, line, product;
    for (int r = 0; r < 3 && row.k[r] != 0; r++) {
        line = 0;
        for (int c = 0; c < 3; c++) {
            product = column.k[c] * (float)x[row.at[r] * w + column.at[c]];
            line = line + product;
        }
        product = row.k[r] * line;
        sum = sum + product;
    }
    return sum;
}
#endif
