#include "tensor/tensor.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The header is a pair: the tensor and, behind it, the header its gradient will use (see tape_grad). */
static Tensor *header(Arena *a, DType dtype, int ndim, const int64_t *dim)
{
    if (ndim < 1 || ndim > TENSOR_DIMS) die("a tensor has 1 to %d dims, not %d", TENSOR_DIMS, ndim);
    Tensor *x = arena_push_host(a, 2 * sizeof *x);
    x->dtype = dtype;
    x->ndim = ndim;
    x->backend = a->backend;
    for (int i = 0; i < ndim; i++) {
        if (dim[i] < 1) die("a tensor's dim %d is %lld: dims start at 1", i, (long long)dim[i]);
        x->dim[i] = dim[i];
    }
    return x;
}

Tensor *tensor_new(Arena *a, DType dtype, int ndim, const int64_t *dim)
{
    Tensor *x = header(a, dtype, ndim, dim);
    x->data = arena_push(a, tensor_bytes(x));
    return x;
}

Tensor *tensor_zeros(Arena *a, DType dtype, int ndim, const int64_t *dim)
{
    Tensor *x = tensor_new(a, dtype, ndim, dim);
    x->backend->zero(x->data, tensor_bytes(x));
    return x;
}

Tensor *tensor_like(Arena *a, const Tensor *x) { return tensor_new(a, DTYPE_f32, x->ndim, x->dim); }

Tensor *tensor_f32(Arena *a, int64_t d0, int64_t d1, int64_t d2, int64_t d3)
{
    const int64_t dim[TENSOR_DIMS] = {d0, d1, d2, d3};
    int n = 0;
    while (n < TENSOR_DIMS && dim[n]) n++;
    return tensor_new(a, DTYPE_f32, n, dim);
}

size_t tensor_bytes(const Tensor *x) { return dtype_bytes(x->dtype, tensor_len(x)); }

bool tensor_same_shape(const Tensor *x, const Tensor *y)
{
    if (x->ndim != y->ndim) return false;
    for (int i = 0; i < x->ndim; i++)
        if (x->dim[i] != y->dim[i]) return false;
    return true;
}

const char *tensor_text(const Tensor *x)
{
    static _Thread_local char ring[8][96];
    static _Thread_local unsigned turn;
    char *s = ring[turn++ & 7];
    if (!x) return "none";
    size_t room = sizeof ring[0], at = (size_t)snprintf(s, room, "%s (", dtype_name(x->dtype));
    for (int i = 0; i < x->ndim && at < room; i++)
        at += (size_t)snprintf(s + at, room - at, "%s%lld", i ? "," : "", (long long)x->dim[i]);
    if (at < room) snprintf(s + at, room - at, ")");
    return s;
}

static Tensor *view(Arena *a, Tensor *x, int ndim, const int64_t *dim, int64_t offset)
{
    if (dtype_is_quant(x->dtype)) die("a 4-bit weight %s has no views", tensor_text(x));
    Tensor *y = header(a, x->dtype, ndim, dim);
    y->backend = x->backend;
    y->data = (char *)x->data + dtype_bytes(x->dtype, offset);
    y->needs_grad = x->needs_grad;
    y->base = x->base ? x->base : x;
    y->base_offset = x->base_offset + offset;
    return y;
}

Tensor *tensor_reshape(Arena *a, Tensor *x, int ndim, const int64_t *dim)
{
    Tensor *y = view(a, x, ndim, dim, 0);
    if (tensor_len(y) != tensor_len(x)) die("reshape: %s to %s", tensor_text(x), tensor_text(y));
    return y;
}

Tensor *tensor_slice(Arena *a, Tensor *x, int64_t from, int64_t count)
{
    if (from < 0 || count < 1 || from + count > x->dim[0])
        die("slice: rows %lld..%lld of %s", (long long)from, (long long)(from + count), tensor_text(x));
    int64_t dim[TENSOR_DIMS];
    memcpy(dim, x->dim, sizeof dim);
    dim[0] = count;
    return view(a, x, x->ndim, dim, from * (tensor_len(x) / x->dim[0]));
}

/* Whether x lies on its backend as in no file: a buffer for one of the two forms, else NULL. */
static void *packing_room(const Tensor *x)
{
    if (!x->backend->pack || !dtype_is_quant(x->dtype) || dtype_is_planar(x->dtype)) return NULL;
    void *room = malloc(tensor_bytes(x));
    if (!room) die_memory("repacking %s", tensor_text(x));
    return room;
}

void tensor_upload(Tensor *x, const void *host)
{
    void *packed = packing_room(x);
    if (packed) x->backend->pack(x->dtype, tensor_len(x), host, packed);
    x->backend->upload(x->data, packed ? packed : host, tensor_bytes(x));
    free(packed);
}

void tensor_download(const Tensor *x, void *host)
{
    void *packed = packing_room(x);
    x->backend->download(packed ? packed : host, x->data, tensor_bytes(x));
    if (packed) x->backend->unpack(x->dtype, tensor_len(x), packed, host);
    free(packed);
}

void tensor_fill(Tensor *x, float value)
{
    float chunk[1024];
    for (int i = 0; i < 1024; i++) chunk[i] = value;
    if (x->dtype != DTYPE_f32) die("fill: %s is not f32", tensor_text(x));
    for (int64_t i = 0, n = tensor_len(x); i < n; i += 1024)
        x->backend->upload((float *)x->data + i, chunk, sizeof(float) * (size_t)(n - i < 1024 ? n - i : 1024));
}
