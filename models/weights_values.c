/* Where a tensor's values come from. Files are read a strip of rows at a time: beside the arena that is filled,
 * a tensor of any size takes a few megabytes. */
#include "models/weights_parts.h"
#include "tensor/half.h"
#include "tensor/rng.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STRIP = 1 << 20 /* values; a multiple of every 4-bit type's block */ };

void weights_turn(const WeightSpec *s, const float *from, float *to, bool to_file)
{
    int64_t O = s->dim[0], P = s->dim[1] * s->dim[2], I = s->dim[3];
    for (int64_t o = 0; o < O; o++)
        for (int64_t p = 0; p < P; p++)
            for (int64_t i = 0; i < I; i++) {
                int64_t memory = (o * P + p) * I + i, file = (o * I + i) * P + p;
                if (to_file)
                    to[file] = from[memory];
                else
                    to[memory] = from[file];
            }
}

/* ---- without a file ---- */

/* The rule's a: standard deviation, or half the width. */
static double rule_width(const WeightSpec *s)
{
    int64_t out = s->dim[0], area = spec_turned(s) ? s->dim[1] * s->dim[2] : 1, fan_in = spec_len(s) / out;
    if (s->init == INIT_KAIMING) return sqrt(2.0 / (double)(out * area));
    if (s->init == INIT_LINEAR) return 1 / sqrt(s->a > 0 ? (double)s->a : (double)fan_in);
    return s->a;
}

static void initialise(const Weights *w, const WeightSpec *s, const char *name, float *x)
{
    Rng rng = rng_open(w->seed, name);
    double a = rule_width(s);
    for (int64_t i = 0, n = spec_len(s); i < n; i++) switch (s->init) {
        case INIT_ZEROS: x[i] = 0; break;
        case INIT_ONES: x[i] = 1; break;
        case INIT_CONSTANT: x[i] = s->a; break;
        case INIT_NORMAL:
        case INIT_KAIMING: x[i] = (float)(a * rng_normal(&rng)); break;
        case INIT_UNIFORM:
        case INIT_LINEAR: x[i] = (float)rng_range(&rng, -a, a); break;
        }
}

void weights_range(const WeightSpec *s, float *middle, float *width)
{
    double a = rule_width(s), by_sd = sqrt(3.0);
    *middle = s->init == INIT_ONES ? 1 : s->init == INIT_CONSTANT ? s->a : 0;
    switch (s->init) {
    case INIT_ZEROS: a = 0.02 * by_sd; break;
    case INIT_ONES: a = 0.2; break;
    case INIT_CONSTANT: a = 0; break;
    case INIT_NORMAL:
    case INIT_KAIMING: a *= by_sd; break;
    case INIT_UNIFORM:
    case INIT_LINEAR: break;
    }
    *width = (float)a;
}

static bool no_memory(Weights *w, const char *name)
{
    return error_set(&w->error, ERROR_MEMORY, "out of host memory for tensor %s", name);
}

/* From generator or rule, in memory layout. */
static bool make_values(Weights *w, const WeightSpec *s, const char *name, float *x)
{
    int64_t dim[TENSOR_DIMS];
    int n = spec_file_dims(s, dim);
    bool turned = spec_turned(s);
    float *file = turned ? malloc((size_t)spec_len(s) * sizeof *file) : x;
    if (!file) return no_memory(w, name);
    if (w->generator)
        w->generator(w->user, name, n, dim, file);
    else
        initialise(w, s, name, file);
    if (!turned) return true;
    weights_turn(s, file, x, false);
    free(file);
    return true;
}

/* ---- from a file ---- */

/* Values of a row: what is read at once is a whole number of them. It is whole blocks of whatever type: a
 * file's last dim is. */
static int64_t row_len(const WeightSpec *s) { return spec_turned(s) ? spec_len(s) / s->dim[0] : 1; }
static int64_t strip_rows(const WeightSpec *s)
{
    int64_t row = row_len(s), rows = spec_len(s) / row;
    return STRIP / row < 1 ? 1 : STRIP / row < rows ? STRIP / row : rows;
}

/* Rows [from, from + rows) in memory layout; file: room for them where they are turned. */
static bool read_rows(Weights *w, const WeightSpec *s, const TensorEntry *entry, int64_t from, int64_t rows,
                      float *x, float *file)
{
    int64_t row = row_len(s);
    WeightSpec part = *s;
    part.dim[0] = rows;
    if (!spec_turned(s)) return tensor_file_read_f32_part(w->file, entry, from, rows, x, &w->error);
    if (!tensor_file_read_f32_part(w->file, entry, from * row, rows * row, file, &w->error)) return false;
    weights_turn(&part, file, x, false);
    return true;
}

bool weights_read_values(Weights *w, const WeightSpec *s, const char *name, float *x)
{
    if (!weights_check_shape(w, s, name)) return false;
    const TensorEntry *entry = weights_find(w, name);
    if (!entry) return make_values(w, s, name, x);
    int64_t row = row_len(s), step = strip_rows(s), rows = spec_len(s) / row;
    if (!spec_turned(s)) return tensor_file_read_f32(w->file, entry, x, &w->error);
    float *file = malloc((size_t)(step * row) * sizeof *file);
    bool ok = file || no_memory(w, name);
    for (int64_t from = 0; ok && from < rows; from += step)
        ok = read_rows(w, s, entry, from, rows - from < step ? rows - from : step, x + from * row, file);
    free(file);
    return ok;
}

/* In place; the halves are in the first half of the floats' room. */
static void to_bf16(float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint16_t half = bf16_from_float(x[i]);
        memcpy((char *)x + (size_t)i * sizeof half, &half, sizeof half);
    }
}

/* Whether x is kept as the file has it. */
static bool as_it_is(const WeightSpec *s, const TensorEntry *entry, const Tensor *x)
{
    return !spec_turned(s) && ((x->dtype == DTYPE_f32 && entry->dtype == ST_F32) ||
                               (x->dtype == DTYPE_bf16 && entry->dtype == ST_BF16));
}

static bool load_file(Weights *w, const WeightSpec *s, const TensorEntry *entry, Tensor *x)
{
    bool same = as_it_is(s, entry, x);
    if (same && x->backend == &backend_cpu) return tensor_file_read(w->file, entry, x->data, &w->error);
    int64_t row = row_len(s), step = strip_rows(s), rows = spec_len(s) / row;
    float *strip = malloc((size_t)(step * row) * sizeof *strip);
    float *file = spec_turned(s) ? malloc((size_t)(step * row) * sizeof *file) : NULL;
    bool ok = (strip && (file || !spec_turned(s))) || no_memory(w, entry->name);
    for (int64_t from = 0; ok && from < rows; from += step) {
        int64_t n = rows - from < step ? rows - from : step;
        size_t at = dtype_bytes(x->dtype, from * row), bytes = dtype_bytes(x->dtype, n * row);
        ok = same ? tensor_file_read_part(w->file, entry, at, bytes, strip, &w->error)
                  : read_rows(w, s, entry, from, n, strip, file);
        if (ok && !same && x->dtype == DTYPE_bf16) to_bf16(strip, n * row);
        if (ok) x->backend->upload((char *)x->data + at, strip, bytes);
    }
    free(strip);
    free(file);
    return ok;
}

/* ---- tensors ---- */

/* Whether nobody will read the values, or somebody else makes them. */
static bool is_unfilled(const Weights *w, const Backend *b)
{
    return b->kernels == kernels_plan || (w->unfilled && !w->file);
}

bool weights_load(Weights *w, const WeightSpec *s, const char *name, Tensor *x)
{
    if (is_unfilled(w, x->backend)) return true;
    if (!weights_check_shape(w, s, name)) return false;
    const TensorEntry *entry = weights_find(w, name);
    if (entry) return load_file(w, s, entry, x);
    float *host = malloc((size_t)spec_len(s) * sizeof *host);
    if (!host) return no_memory(w, name);
    bool ok = make_values(w, s, name, host);
    if (ok && x->dtype == DTYPE_bf16) to_bf16(host, spec_len(s));
    if (ok) tensor_upload(x, host);
    free(host);
    return ok;
}

/* What a frozen tensor is kept in where it is not 4-bit. Products and look-ups take bf16 as it is. */
static DType plain_type(Weights *w, const WeightSpec *s, const char *name)
{
    const TensorEntry *entry = weights_find(w, name);
    if (s->kind != WEIGHT_TABLE && s->kind != WEIGHT_LINEAR) return DTYPE_f32;
    return !entry ? w->table : entry->dtype == ST_BF16 ? DTYPE_bf16 : DTYPE_f32;
}

typedef struct QuantFrom {
    Weights *w;
    const TensorEntry *entry;
} QuantFrom;

static bool quant_values(void *context, int64_t from, int64_t n, float *x)
{
    const QuantFrom *q = context;
    return tensor_file_read_f32_part(q->w->file, q->entry, from, n, x, &q->w->error);
}

/* Quantised while it is read. */
static Tensor *load_quant(Weights *w, const WeightSpec *s, const char *name)
{
    QuantFrom from = {w, weights_find(w, name)};
    if (is_unfilled(w, w->weights->backend))
        return quant_tensor(w->weights, w->quant, s->dim[0], s->dim[1], NULL, w->nested);
    if (from.entry)
        return quant_tensor_strips(w->weights, w->quant, s->dim[0], s->dim[1], w->nested, STRIP, quant_values,
                                   &from);
    float *host = malloc((size_t)spec_len(s) * sizeof *host);
    if (!host) no_memory(w, name);
    Tensor *x = NULL;
    if (host && make_values(w, s, name, host))
        x = quant_tensor(w->weights, w->quant, s->dim[0], s->dim[1], host, w->nested);
    free(host);
    return x;
}

Tensor *weights_load_frozen(Weights *w, const WeightSpec *s, const char *name)
{
    if (s->kind == WEIGHT_LINEAR) {
        const TensorEntry *entry = weights_find(w, name);
        if (weights_is_quant(w, name)) return weights_read_quant(w, name, s->dim[0], s->dim[1]);
        if (entry && entry->dtype == ST_Q4_0) return weights_read_blocks(w, name, s->dim[0], s->dim[1]);
        if (dtype_is_quant(w->quant)) return load_quant(w, s, name);
    }
    Tensor *x = tensor_new(w->weights, plain_type(w, s, name), spec_dims(s), s->dim);
    return weights_load(w, s, name, x) ? x : NULL;
}
