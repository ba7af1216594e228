/* The tensors of pcrl-forward's input: shapes and types that are checked before anything is done with them. */
#include "tools/forward.h"
#include <stdlib.h>
#include <string.h>

bool forward_has(const Forward *f, const char *name) { return tensor_file_find(f->input, name); }

/* "(n,3,H,W)" */
static void wanted(char *text, size_t room, int ndim, const int64_t *dim)
{
    size_t at = (size_t)snprintf(text, room, "(");
    for (int i = 0; i < ndim && at < room; i++) {
        const char *comma = i ? "," : "";
        at += dim[i] < 0 ? (size_t)snprintf(text + at, room - at, "%s%c", comma, (char)-dim[i])
                         : (size_t)snprintf(text + at, room - at, "%s%lld", comma, (long long)dim[i]);
    }
    if (at < room) snprintf(text + at, room - at, ")");
}

static const TensorEntry *find(const Forward *f, const char *name, int ndim, int64_t *dim, Error *e)
{
    char expected[128], found[128];
    const TensorEntry *t = tensor_file_find(f->input, name);
    wanted(expected, sizeof expected, ndim, dim);
    if (!t) {
        error_set(e, ERROR_INPUT, "%s: tensor \"%s\" %s is missing", f->input->path, name, expected);
        return NULL;
    }
    bool same = t->ndim == ndim;
    for (int i = 0; same && i < ndim; i++) same = dim[i] < 0 ? t->dim[i] > 0 : t->dim[i] == dim[i];
    if (!same) {
        error_set(e, ERROR_INPUT, "%s: tensor \"%s\": expected shape %s, found %s", f->input->path, name,
                  expected, tensor_file_shape(t->ndim, t->dim, found, sizeof found));
        return NULL;
    }
    memcpy(dim, t->dim, (size_t)ndim * sizeof *dim);
    return t;
}

static int64_t count(int ndim, const int64_t *dim)
{
    int64_t n = 1;
    for (int i = 0; i < ndim; i++) n *= dim[i];
    return n;
}

static bool wrong_type(const Forward *f, const TensorEntry *t, const char *expected, Error *e)
{
    return error_set(e, ERROR_INPUT, "%s: tensor \"%s\": expected %s, found %s", f->input->path, t->name,
                     expected, st_dtype_name(t->dtype));
}

static bool is_float(StDType d) { return d == ST_F32 || d == ST_F16 || d == ST_BF16 || d == ST_F64; }

bool forward_floats(Forward *f, const char *name, int ndim, int64_t *dim, float **x, Error *e)
{
    const TensorEntry *t = find(f, name, ndim, dim, e);
    if (!t) return false;
    if (!is_float(t->dtype)) return wrong_type(f, t, "F32, F16, BF16 or F64", e);
    *x = forward_room(f, (size_t)count(ndim, dim) * sizeof **x);
    return tensor_file_read_f32(f->input, t, *x, e);
}

bool forward_doubles(Forward *f, const char *name, int ndim, int64_t *dim, double **x, Error *e)
{
    const TensorEntry *t = find(f, name, ndim, dim, e);
    float *single;
    if (!t) return false;
    int64_t n = count(ndim, dim);
    *x = forward_room(f, (size_t)n * sizeof **x);
    if (t->dtype == ST_F64) return tensor_file_read(f->input, t, *x, e);
    if (!forward_floats(f, name, ndim, dim, &single, e)) return false;
    for (int64_t i = 0; i < n; i++) (*x)[i] = (double)single[i];
    return true;
}

bool forward_ints(Forward *f, const char *name, int ndim, int64_t *dim, int64_t low, int64_t high, int32_t **x,
                  Error *e)
{
    const TensorEntry *t = find(f, name, ndim, dim, e);
    if (!t) return false;
    if (t->dtype != ST_I32 && t->dtype != ST_I64) return wrong_type(f, t, "I32 or I64", e);
    int64_t n = count(ndim, dim);
    *x = forward_room(f, (size_t)n * sizeof **x);
    void *raw = t->dtype == ST_I32 ? (void *)*x : forward_room(f, (size_t)n * sizeof(int64_t));
    if (!tensor_file_read(f->input, t, raw, e)) return false;
    for (int64_t i = 0; i < n; i++) {
        int64_t v = t->dtype == ST_I32 ? (*x)[i] : ((const int64_t *)raw)[i];
        if (v < low || v > high)
            return error_set(e, ERROR_INPUT, "%s: tensor \"%s\": expected %lld to %lld, found %lld at %lld",
                             f->input->path, name, (long long)low, (long long)high, (long long)v, (long long)i);
        (*x)[i] = (int32_t)v;
    }
    return true;
}

Tensor *forward_image(Forward *f, const char *name, int ndim, int64_t *dim, Error *e)
{
    float *file;
    if (!forward_floats(f, name, ndim, dim, &file, e)) return NULL;
    const int64_t *last = dim + ndim - 3, N = count(ndim - 3, dim), C = last[0], P = last[1] * last[2];
    float *memory = malloc((size_t)(N * C * P) * sizeof *memory);
    if (!memory) die_memory("tensor %s", name);
    for (int64_t i = 0; i < N; i++)
        for (int64_t c = 0; c < C; c++)
            for (int64_t p = 0; p < P; p++) memory[(i * P + p) * C + c] = file[(i * C + c) * P + p];
    Tensor *x = tape_tensor(&f->tape, DTYPE_f32, 4, (int64_t[]){N, last[1], last[2], C});
    tensor_upload(x, memory);
    free(memory);
    return x;
}

Tensor *forward_upload(Forward *f, int ndim, const int64_t *dim, const int32_t *x)
{
    Tensor *y = tape_tensor(&f->tape, DTYPE_i32, ndim, dim);
    tensor_upload(y, x);
    return y;
}

bool forward_blame(const Forward *f, const char *name, Error *e)
{
    const Error why = *e;
    return error_set(e, why.code, "%s: tensor \"%s\": %.400s", f->input->path, name, why.msg);
}
