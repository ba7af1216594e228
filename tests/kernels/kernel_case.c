#include "tests/kernels/kernel_case.h"
#include "kernels/quant.h"
#include "tensor/half.h"
#include "tensor/rng.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const KernelTest *const kernel_tests[] = {
#define OP(name)            &name##_test,
#define OP_NODIFF(name)     &name##_test,
#define OP_CPU(name)        &name##_test,
#define OP_CPU_NODIFF(name) &name##_test,
#include "kernels/ops.def"
#undef OP
#undef OP_NODIFF
#undef OP_CPU
#undef OP_CPU_NODIFF
    NULL,
};

static void *take(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);
    if (!p) die("out of memory for %zu test values", n);
    return p;
}

static int dims(const KernelInput *in)
{
    int n = 0;
    while (n < TENSOR_DIMS && in->dim[n]) n++;
    return n;
}

/* Value j of a stream, in [0,1) with 24 bits. */
static float unit(uint64_t seed, uint32_t stream, int64_t j)
{
    uint64_t block = (uint64_t)j >> 2;
    Philox p =
        philox4x32((uint32_t)block, (uint32_t)(block >> 32), stream, 0, (uint32_t)seed, (uint32_t)(seed >> 32));
    return philox_unit(p.v[j & 3]);
}

void case_uniform(float *x, int64_t n, uint64_t seed, const char *name)
{
    uint32_t stream = fnv1a32(name);
#pragma omp parallel for schedule(static) if (n > 1 << 16)
    for (int64_t j = 0; j < n; j++) x[j] = 2 * unit(seed, stream, j) - 1;
}

static bool is_integer(Fill f) { return f == FILL_IDS || f == FILL_LABELS || f == FILL_LENGTHS; }
static bool is_nested(Fill f) { return f == FILL_NF4_NESTED || f == FILL_FP4_NESTED; }

/* The 4-bit type of a fill; f32 where it is not one. */
static DType quant_type(Fill f)
{
    if (f == FILL_NF4 || f == FILL_NF4_NESTED) return DTYPE_nf4;
    if (f == FILL_FP4 || f == FILL_FP4_NESTED) return DTYPE_fp4;
    return f == FILL_Q4_0 ? DTYPE_q4_0 : DTYPE_f32;
}

/* u in [0,1) made into a value of the kind. */
static double shaped(const KernelInput *in, float u)
{
    switch (in->fill) {
    case FILL_PROB: return (double)u;
    case FILL_POSITIVE: return (double)(0.5f + u);
    case FILL_WIDE: return (double)(16 * u - 8);
    case FILL_HOLES: return (unsigned)(u * 4096) % 2 ? NAN : (double)(2 * u - 1);
    case FILL_MASK01: return u < 0.5f ? 0 : 1;
    case FILL_IDS: return (double)(int64_t)((double)u * (double)in->n);
    case FILL_LABELS: return (double)(int64_t)((double)u * (double)(in->n + 1)) - 1;
    case FILL_LENGTHS: return 1 + (double)(int64_t)((double)u * (double)in->n);
    case FILL_UNIFORM:
    case FILL_NONE:
    case FILL_NF4:
    case FILL_NF4_NESTED:
    case FILL_FP4:
    case FILL_FP4_NESTED:
    case FILL_Q4_0: break;
    }
    return (double)(2 * u - 1);
}

/* What the packed weight stands for. */
static void dequantised(double *value, const float *raw, const KernelInput *in)
{
    Error e = {0};
    Arena a;
    if (!arena_open(&a, "quantised", &backend_cpu, (size_t)(in->dim[0] * in->dim[1]) * 4 + (1 << 20), &e))
        die("%s", e.msg);
    DType type = quant_type(in->fill);
    int64_t len = in->dim[0] * in->dim[1], blocks = (len + 63) / 64;
    Tensor *w = quant_tensor(&a, type, in->dim[0], in->dim[1], raw, is_nested(in->fill));
    float *absmax = take((size_t)blocks, sizeof *absmax), *flat = take((size_t)len, sizeof *flat);
    for (int64_t b = 0; w->quant && b < blocks; b++) absmax[b] = quant_absmax(w->quant, b);
    quant_decode(type, w->data, absmax, len, flat);
    for (int64_t j = 0; j < len; j++) value[j] = (double)flat[j];
    free(absmax);
    free(flat);
    arena_close(&a);
}

/* n values of x to the nearest that bf16 has; value: what they are now. half: to bf16 itself, in place. */
static void round_to_bf16(float *x, int64_t n, double *value, bool half)
{
    for (int64_t j = 0; j < n; j++) {
        uint16_t h = bf16_from_float(x[j]);
        float f = bf16_to_float(h);
        if (half)
            memcpy((char *)x + (size_t)j * sizeof h, &h, sizeof h);
        else
            x[j] = f;
        if (value) value[j] = (double)f;
    }
}

void case_inputs_make(CaseInputs *c, const KernelTest *test, const KernelCase *kase, uint64_t seed,
                      unsigned bf16, bool with_values)
{
    *c = (CaseInputs){.test = test, .kase = kase, .bf16 = bf16};
    for (int i = 0; i < test->n_in; i++) {
        const KernelInput *in = &kase->in[i];
        if (in->fill == FILL_NONE) continue;
        int64_t n = 1;
        for (int d = 0; d < dims(in); d++) n *= in->dim[d];
        c->len[i] = n;
        if (kase->twin && i == 1) {
            c->raw[1] = c->raw[0];
            c->value[1] = c->value[0];
            continue;
        }
        char name[200];
        snprintf(name, sizeof name, "%s/%s/%d", test->op->name, kase->what, i);
        uint32_t stream = fnv1a32(name);
        float *f = c->raw[i] = take((size_t)n, sizeof *f);
        int32_t *integer = c->raw[i];
        double *value = c->value[i] = with_values ? take((size_t)n, sizeof *value) : NULL;
#pragma omp parallel for schedule(static) if (n > 1 << 16)
        for (int64_t j = 0; j < n; j++) {
            double v = shaped(in, unit(seed, stream, j));
            if (is_integer(in->fill))
                integer[j] = (int32_t)v;
            else
                f[j] = (float)v;
            if (value) value[j] = v;
        }
        if (value && dtype_is_quant(quant_type(in->fill))) dequantised(value, f, in);
        if (bf16 && !is_integer(in->fill) && !dtype_is_quant(quant_type(in->fill)))
            round_to_bf16(f, n, value, bf16 >> i & 1);
    }
}

void case_inputs_free(CaseInputs *c)
{
    for (int i = 0; i < NODE_INPUTS; i++) {
        if (c->kase->twin && i == 1) continue;
        free(c->raw[i]);
        free(c->value[i]);
    }
    memset(c, 0, sizeof *c);
}

Tensor *case_view(Arena *a, DType dtype, int ndim, const int64_t *dim)
{
    int64_t longer[TENSOR_DIMS];
    memcpy(longer, dim, (size_t)ndim * sizeof *dim);
    longer[0]++;
    return tensor_slice(a, tensor_new(a, dtype, ndim, longer), 1, dim[0]);
}

Tensor *case_tensor(const CaseInputs *c, int i, Arena *a)
{
    const KernelInput *in = &c->kase->in[i];
    if (!c->raw[i]) return NULL;
    DType quant = quant_type(in->fill);
    if (dtype_is_quant(quant))
        return quant_tensor(a, quant, in->dim[0], in->dim[1], c->raw[i], is_nested(in->fill));
    DType dtype = is_integer(in->fill) ? DTYPE_i32 : c->bf16 >> i & 1 ? DTYPE_bf16 : DTYPE_f32;
    Tensor *x =
        c->kase->view ? case_view(a, dtype, dims(in), in->dim) : tensor_new(a, dtype, dims(in), in->dim);
    tensor_upload(x, c->raw[i]);
    return x;
}
