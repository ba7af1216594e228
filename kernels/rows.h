/* Row loops that softmax-like kernels share. A row's memory reaches up to `room`, its length rounded up to VEC.
 */
#ifndef KERNELS_ROWS_H
#define KERNELS_ROWS_H
#include "kernels/vec.h"
#include <math.h>

/* *top = max of the first n, -inf when there is none. */
VEC_BODY(row_max, (const float *s, int64_t n, float *top), {
    float most = -INFINITY;
    int64_t j = 0;
    if (n >= VEC) {
        Vec m = VEC_LOAD(s);
        for (j = VEC; j + VEC <= n; j += VEC) {
            Vec x = VEC_LOAD(s + j);
            vec_max(&m, &x);
        }
        for (int i = 0; i < VEC; i++) most = m[i] > most ? m[i] : most;
    }
    for (; j < n; j++) most = s[j] > most ? s[j] : most;
    *top = most;
})
VEC_FUNCTION(row_max, (const float *s, int64_t n, float *top), (s, n, top))

/* y = exp(scale x - shift) for the first n, 0 up to `room`; *sum is their sum. y may be x. */
VEC_BODY(row_exp, (const float *x, float *y, int64_t n, int64_t room, float scale, float shift, float *sum), {
    Vec total = {0};
    int64_t j = 0;
    for (; j + VEC <= n; j += VEC) {
        Vec e = VEC_LOAD(x + j) * scale - shift;
        vec_exp(&e);
        VEC_STORE(y + j, e);
        total += e;
    }
    *sum = vec_sum(&total);
    if (j < n) {
        float rest[VEC] = {0};
        for (int i = 0; i < n - j; i++) rest[i] = x[j + i];
        Vec e = VEC_LOAD(rest) * scale - shift;
        vec_exp(&e);
        for (int i = 0; i < n - j; i++) *sum += y[j + i] = e[i];
    }
    for (j = n; j < room; j++) y[j] = 0;
})
VEC_FUNCTION(row_exp, (const float *x, float *y, int64_t n, int64_t room, float scale, float shift, float *sum),
             (x, y, n, room, scale, shift, sum))
#endif
