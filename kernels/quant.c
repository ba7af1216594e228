/* 4-bit weights: see quant.h. A planar block's x = w * (1/absmax) is computed in f32 as bitsandbytes does, so
 * codes are byte-equal. A block of zeros has absmax 0 and the code of 0. */
#include "kernels/quant.h"
#include "kernels/quant_fp4.h"
#include "kernels/quant_nf4.h"
#include "kernels/quant_q4_0.h"
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { NESTED_BLOCK = 256, MAP_LENGTH = 256, MAP_EXPONENTS = 7 };

static int64_t blocks_of(int64_t n, int64_t block) { return (n + block - 1) / block; }

static void check_dtype(DType dtype)
{
    if (!dtype_is_quant(dtype)) die("quant: %s is not a 4-bit type", dtype_name(dtype));
}

/* ---- the dynamic map ---- */

static float map[MAP_LENGTH];

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* For exponent i = 0..6: the 2^i midpoints of linspace(0.1, 1, 2^i + 1) times 10^(i-6), with both signs; and 0
 * and 1. Rounded once, from double: PyTorch's f32 linspace, which bitsandbytes uses, is within one unit in the
 * last place and differs between machines. */
static void make_map(void)
{
    int n = 0;
    for (int i = 0; i < MAP_EXPONENTS; i++)
        for (int j = 0, parts = 1 << i; j < parts; j++) {
            double value = (0.1 + 0.9 * (j + 0.5) / parts) * pow(10, i - MAP_EXPONENTS + 1);
            map[n++] = (float)value;
            map[n++] = (float)-value;
        }
    map[n++] = 0;
    map[n++] = 1;
    qsort(map, MAP_LENGTH, sizeof *map, by_value);
}

const float *quant_dynamic_map(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_map);
    return map;
}

/* ---- codes and planes ---- */

const float *quant_levels(DType dtype)
{
    static const float nf4[] = NF4_LEVEL_TABLE, fp4[] = FP4_LEVEL_TABLE;
    if (!dtype_is_planar(dtype)) die("quant: %s has no levels", dtype_name(dtype));
    return dtype == DTYPE_nf4 ? nf4 : fp4;
}

/* The n (1 to 64) values of a planar block. Returns its absmax. */
static float encode_planar(DType dtype, const float *w, int64_t n, uint8_t *codes)
{
    int (*encode)(float) = dtype == DTYPE_nf4 ? nf4_encode : fp4_encode;
    float top = 0;
    for (int64_t i = 0; i < n; i++) top = fmaxf(top, fabsf(w[i]));
    float inverse = top > 0 ? 1 / top : 0;
    for (int64_t i = 0; i < n; i += 2) {
        int even = encode(fminf(fmaxf(w[i] * inverse, -1), 1));
        int odd = encode(i + 1 < n ? fminf(fmaxf(w[i + 1] * inverse, -1), 1) : 0);
        codes[i / 2] = (uint8_t)(even << 4 | odd);
    }
    return top;
}

void quant_encode(DType dtype, const float *w, int64_t n, uint8_t *codes, float *absmax)
{
    check_dtype(dtype);
    int64_t block = dtype_block(dtype);
#pragma omp parallel for schedule(static) if (n > 1 << 14)
    for (int64_t b = 0; b < blocks_of(n, block); b++) {
        int64_t from = b * block, count = n - from < block ? n - from : block;
        if (dtype_is_planar(dtype))
            absmax[b] = encode_planar(dtype, w + from, count, codes + from / 2);
        else
            q4_0_encode(w + from, (int)count, codes + b * Q4_0_BYTES);
    }
}

void quant_decode(DType dtype, const uint8_t *codes, const float *absmax, int64_t n, float *w)
{
    check_dtype(dtype);
    const float *level = dtype_is_planar(dtype) ? quant_levels(dtype) : NULL;
#pragma omp parallel for schedule(static) if (n > 1 << 14)
    for (int64_t i = 0; i < n; i++)
        w[i] = level ? level[nf4_code(codes, i)] * absmax[i / NF4_BLOCK] : q4_0_decode(codes, i);
}

void quant_nest(const float *absmax, int64_t blocks, uint8_t *nested, float *nested_absmax, float *offset)
{
    const float *value = quant_dynamic_map();
    double sum = 0;
    for (int64_t b = 0; b < blocks; b++) sum += (double)absmax[b];
    *offset = (float)(sum / (double)blocks);
    for (int64_t from = 0; from < blocks; from += NESTED_BLOCK) {
        int64_t to = from + NESTED_BLOCK < blocks ? from + NESTED_BLOCK : blocks;
        float top = 0;
        for (int64_t b = from; b < to; b++) top = fmaxf(top, fabsf(absmax[b] - *offset));
        float inverse = top > 0 ? 1 / top : 0;
        nested_absmax[from / NESTED_BLOCK] = top;
        for (int64_t b = from; b < to; b++) {
            float x = (absmax[b] - *offset) * inverse;
            int low = 0, high = MAP_LENGTH - 1; /* value[low] <= x <= value[high], as far as the map goes */
            while (high - low > 1) {
                int middle = (low + high) / 2;
                *(x < value[middle] ? &high : &low) = middle;
            }
            nested[b] = (uint8_t)(x - value[low] <= value[high] - x ? low : high);
        }
    }
}

void quant_unnest(const uint8_t *nested, const float *nested_absmax, float offset, int64_t blocks,
                  float *absmax)
{
    const float *value = quant_dynamic_map();
    for (int64_t b = 0; b < blocks; b++)
        absmax[b] = value[nested[b]] * nested_absmax[b / NESTED_BLOCK] + offset;
}

float quant_absmax(const Quant *q, int64_t b)
{
    if (q->absmax) return q->absmax[b];
    return quant_dynamic_map()[q->nested[b]] * q->nested_absmax[b / NESTED_BLOCK] + q->offset;
}

/* ---- tensors ---- */

static void *push_copy(Arena *a, const void *host, size_t bytes)
{
    void *p = arena_push(a, bytes);
    a->backend->upload(p, host, bytes);
    return p;
}

static Quant *push_planes(Arena *a, int64_t blocks, const Quant *planes)
{
    Quant *q = arena_push_host(a, sizeof *q);
    if (planes->absmax) {
        q->absmax = push_copy(a, planes->absmax, (size_t)blocks * sizeof *q->absmax);
    } else {
        q->nested = push_copy(a, planes->nested, (size_t)blocks);
        q->nested_absmax = push_copy(a, planes->nested_absmax,
                                     (size_t)blocks_of(blocks, NESTED_BLOCK) * sizeof *q->nested_absmax);
        q->offset = planes->offset;
    }
    return q;
}

Tensor *quant_tensor_from(Arena *a, DType dtype, int64_t out, int64_t in, const uint8_t *codes,
                          const Quant *planes)
{
    check_dtype(dtype);
    if (dtype_is_planar(dtype) != (planes != NULL))
        die("quant: %s %s planes", dtype_name(dtype), planes ? "has no" : "needs its");
    Tensor *x = tensor_new(a, dtype, 2, (int64_t[]){out, in});
    tensor_upload(x, codes);
    if (planes) x->quant = push_planes(a, blocks_of(out * in, dtype_block(dtype)), planes);
    return x;
}

/* Codes and planes before they go to their arena. */
typedef struct HostPlanes {
    uint8_t *codes, *nested;
    float *absmax, *nested_absmax;
} HostPlanes;

static HostPlanes host_open(DType dtype, int64_t out, int64_t in, bool nested)
{
    check_dtype(dtype);
    if (nested && !dtype_is_planar(dtype)) die("quant: %s has no scales to nest", dtype_name(dtype));
    int64_t n = out * in, blocks = blocks_of(n, dtype_block(dtype));
    HostPlanes h = {malloc(dtype_bytes(dtype, n)), malloc((size_t)blocks),
                    malloc((size_t)blocks * sizeof *h.absmax),
                    malloc((size_t)blocks_of(blocks, NESTED_BLOCK) * sizeof *h.nested_absmax)};
    if (!h.codes || !h.nested || !h.absmax || !h.nested_absmax)
        die_memory("a 4-bit weight of %lld x %lld", (long long)out, (long long)in);
    return h;
}

static void host_close(HostPlanes *h)
{
    free(h->codes);
    free(h->nested);
    free(h->absmax);
    free(h->nested_absmax);
}

/* filled: codes and absmax have values. */
static Tensor *host_tensor(Arena *a, DType dtype, int64_t out, int64_t in, const HostPlanes *h, bool nested,
                           bool filled)
{
    Quant planes = {.absmax = h->absmax};
    if (nested) {
        planes = (Quant){.nested = h->nested, .nested_absmax = h->nested_absmax};
        if (filled)
            quant_nest(h->absmax, blocks_of(out * in, dtype_block(dtype)), h->nested, h->nested_absmax,
                       &planes.offset);
    }
    return quant_tensor_from(a, dtype, out, in, h->codes, dtype_is_planar(dtype) ? &planes : NULL);
}

Tensor *quant_tensor(Arena *a, DType dtype, int64_t out, int64_t in, const float *w, bool nested)
{
    HostPlanes h = host_open(dtype, out, in, nested);
    if (w) quant_encode(dtype, w, out * in, h.codes, h.absmax);
    Tensor *x = host_tensor(a, dtype, out, in, &h, nested, w);
    host_close(&h);
    return x;
}

Tensor *quant_tensor_strips(Arena *a, DType dtype, int64_t out, int64_t in, bool nested, int64_t strip,
                            QuantValues *values, void *context)
{
    if (strip < 1 || strip % 64) die("quant: strips of %lld values", (long long)strip);
    HostPlanes h = host_open(dtype, out, in, nested);
    int64_t n = out * in, block = dtype_block(dtype);
    if (strip > n) strip = n;
    float *w = malloc((size_t)strip * sizeof *w);
    if (!w) die_memory("a strip of a 4-bit weight of %lld x %lld", (long long)out, (long long)in);
    bool ok = true;
    for (int64_t from = 0; ok && from < n; from += strip) {
        int64_t count = n - from < strip ? n - from : strip;
        ok = values(context, from, count, w);
        if (ok) quant_encode(dtype, w, count, h.codes + dtype_bytes(dtype, from), h.absmax + from / block);
    }
    free(w);
    Tensor *x = ok ? host_tensor(a, dtype, out, in, &h, nested, true) : NULL;
    host_close(&h);
    return x;
}
