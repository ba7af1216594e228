#include "kernels/patches.h"
#include "kernels/vec.h"
#include <string.h>

enum { PATCH_ROWS = 2048 };

int64_t patches_step(const ConvShape *s)
{
    int64_t step = PATCH_ROWS / (s->OH * s->OW) + 1;
    return step > s->N ? s->N : step;
}

void patches_make(const ConvShape *s, const float *x, int64_t image, int64_t count, float *patches)
{
    int64_t K = s->kh * s->kw * s->C, line = s->kw * s->C;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < count * s->OH * s->OW; r++) {
        int64_t n = image + r / (s->OH * s->OW), h = r / s->OW % s->OH * s->stride - s->pad;
        int64_t w = r % s->OW * s->stride - s->pad, left = w < 0 ? -w : 0;
        int64_t right = w + s->kw > s->W ? s->W - w : s->kw; /* columns left..right-1 lie inside */
        float *out = patches + r * K;
        for (int64_t i = 0; i < s->kh; i++, out += line) {
            bool inside = h + i >= 0 && h + i < s->H && left < right;
            if (!inside || left > 0 || right < s->kw) memset(out, 0, (size_t)line * sizeof *out);
            if (inside)
                memcpy(out + left * s->C, x + ((n * s->H + h + i) * s->W + w + left) * s->C,
                       (size_t)((right - left) * s->C) * sizeof *out);
        }
    }
}

VEC_BODY(add_row, (float *y, const float *x, int64_t n), {
    int64_t i = 0;
    for (; i + VEC <= n; i += VEC) VEC_STORE(y + i, VEC_LOAD(y + i) + VEC_LOAD(x + i));
    for (; i < n; i++) y[i] += x[i];
})
VEC_FUNCTION(add_row, (float *y, const float *x, int64_t n), (y, x, n))

/* By pixels of dx, so that no two threads write the same place. */
void patches_gather(const ConvShape *s, const float *patches, int64_t image, int64_t count, float *dx)
{
    int64_t K = s->kh * s->kw * s->C;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < count * s->H; r++) {
        int64_t n = r / s->H, h = r % s->H;
        for (int64_t w = 0; w < s->W; w++) {
            float *out = dx + (((image + n) * s->H + h) * s->W + w) * s->C;
            for (int64_t ij = 0; ij < s->kh * s->kw; ij++) {
                int64_t top = h + s->pad - ij / s->kw, left = w + s->pad - ij % s->kw;
                int64_t oh = top / s->stride, ow = left / s->stride;
                if (top < 0 || left < 0 || oh * s->stride != top || ow * s->stride != left || oh >= s->OH ||
                    ow >= s->OW)
                    continue;
                const float *from = patches + ((n * s->OH + oh) * s->OW + ow) * K + ij * s->C;
                add_row(out, from, s->C);
            }
        }
    }
}
