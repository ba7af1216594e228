/* Writing weights: each tensor and plane is fetched from its backend, or drawn, while it is written. Beside the
 * arenas a conv (whose layout is turned) and a 4-bit weight that its backend packs take memory for one tensor.
 */
#include "kernels/quant.h"
#include "models/weights_parts.h"
#include "tensor/half.h"
#include "tensor/rng.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Save Save;

/* What the bytes of one name in the file are made from. */
typedef struct Source {
    struct Source *next;
    const Save *save;
    const WeightsItem *item;
    WeightsPlane plane;
    const void *data; /* in the backend's memory; NULL: drawn */
    void *whole;      /* the tensor as the file has it, while it is being written */
    uint64_t bytes;
    Rng rng; /* its key; words are taken by their place */
} Source;

struct Save {
    StWriter *writer;
    WeightsBuffers buffers; /* small planes */
    Source *first;
    const WeightsDraw *draw; /* NULL: the tensors' own values */
    const WeightsItem *item; /* of the planes that are being added */
};

/* ---- fetched ---- */

/* The whole tensor in the file's layout. */
static bool fetch_whole(Source *s, Error *e)
{
    const Tensor *x = s->item->tensor;
    const WeightSpec *spec = &s->item->spec;
    void *host = malloc(tensor_bytes(x));
    s->whole = spec_turned(spec) ? malloc(tensor_bytes(x)) : host;
    if (!host || !s->whole) {
        if (s->whole != host) free(s->whole);
        free(host);
        s->whole = NULL;
        return error_set(e, ERROR_MEMORY, "out of host memory to write tensor %s", s->item->name);
    }
    tensor_download(x, host);
    if (s->whole == host) return true;
    weights_turn(spec, host, s->whole, true);
    free(host);
    return true;
}

static bool fetch(Source *s, uint64_t from, size_t n, void *to, Error *e)
{
    const Tensor *x = s->item->tensor;
    bool packed = s->plane == PLANE_CODES && !dtype_is_planar(x->dtype) && x->backend->unpack;
    if (!packed && !(s->plane == PLANE_VALUES && spec_turned(&s->item->spec))) {
        x->backend->download(to, (const char *)s->data + from, n);
        return true;
    }
    if (!s->whole && !fetch_whole(s, e)) return false;
    memcpy(to, (const char *)s->whole + from, n);
    if (from + n < s->bytes) return true;
    free(s->whole);
    s->whole = NULL;
    return true;
}

/* ---- drawn ---- */

enum { Q4_0_SCALE = 2, WORDS = 4 /* of a Philox block */ };

/* Standard deviation of codes that are drawn evenly, under scale 1. */
static double codes_sd(DType dtype)
{
    double sum = 0;
    for (int i = 0; i < 16; i++) {
        double level = dtype_is_planar(dtype) ? (double)quant_levels(dtype)[i] : i - 8;
        sum += level * level / 16;
    }
    return sqrt(sum);
}

/* Mean scale of a 4-bit weight's blocks: what gives the weights the standard deviation of their rule. */
static double mean_scale(const WeightsItem *item)
{
    float middle, width;
    weights_range(&item->spec, &middle, &width);
    return (double)width / sqrt(3.0) / codes_sd(item->tensor->dtype);
}

/* Word i of the source's stream, four at a time. */
static Philox words(const Source *s, uint64_t block)
{
    return philox4x32((uint32_t)block, (uint32_t)(block >> 32), 0, 0, s->rng.key[0], s->rng.key[1]);
}

static void draw_bytes(const Source *s, uint64_t from, size_t n, uint8_t *to)
{
    const uint64_t size = sizeof(Philox);
#pragma omp parallel for schedule(static)
    for (uint64_t at = 0; at < n; at += size) {
        Philox p = words(s, (from + at) / size);
        memcpy(to + at, &p, n - at < size ? n - at : size);
    }
}

/* n / 4 values, or n / 2 of bf16. */
static void draw_values(const Source *s, uint64_t from, size_t n, char *to, double middle, double width)
{
    bool half = s->item->tensor->dtype == DTYPE_bf16 && s->plane == PLANE_VALUES;
    const uint64_t size = half ? sizeof(uint16_t) : sizeof(float), first = from / size, count = n / size;
#pragma omp parallel for schedule(static)
    for (uint64_t i = 0; i < count; i += WORDS) {
        Philox p = words(s, (first + i) / WORDS);
        for (uint64_t j = 0; j < WORDS && i + j < count; j++) {
            float v = (float)(middle + width * (2 * (double)philox_unit(p.v[j]) - 1));
            uint16_t b = bf16_from_float(v);
            memcpy(to + (i + j) * size, half ? (const void *)&b : (const void *)&v, size);
        }
    }
}

static void draw(const Source *s, uint64_t from, size_t n, void *to)
{
    const WeightsItem *item = s->item;
    float middle, width;
    weights_range(&item->spec, &middle, &width);
    double scale = dtype_is_quant(item->tensor->dtype) ? mean_scale(item) : 0;
    switch (s->plane) {
    case PLANE_VALUES: draw_values(s, from, n, to, (double)middle, (double)width); return;
    case PLANE_ABSMAX: draw_values(s, from, n, to, scale, 0.2 * scale); return;
    case PLANE_NESTED_ABSMAX: draw_values(s, from, n, to, 0.2 * scale, 0); return;
    case PLANE_NESTED: draw_bytes(s, from, n, to); return;
    case PLANE_CODES: break;
    }
    draw_bytes(s, from, n, to);
    if (dtype_is_planar(item->tensor->dtype)) return;
    uint16_t half = half_from_float((float)scale);
    const size_t block = dtype_bytes(item->tensor->dtype, 1);
    for (size_t i = 0; i < n; i++)
        if ((from + i) % block < Q4_0_SCALE) memcpy((char *)to + i, (char *)&half + (from + i) % block, 1);
}

/* ---- both ---- */

static bool source(void *context, uint64_t from, size_t n, void *to, Error *e)
{
    Source *s = context;
    const WeightsDraw *d = s->save->draw;
    if (!d) return fetch(s, from, n, to, e);
    draw(s, from, n, to);
    return !d->tick || d->tick(d->context, n, e);
}

static bool add_source(void *context, const char *name, WeightsPlane plane, StDType dtype, int ndim,
                       const int64_t *dim, const void *data)
{
    Save *save = context;
    Source *s = calloc(1, sizeof *s);
    if (!s) return false;
    *s = (Source){.next = save->first, .save = save, .item = save->item, .plane = plane, .data = data};
    save->first = s;
    s->bytes = st_dtype_size(dtype);
    for (int i = 0; i < ndim; i++) s->bytes *= (uint64_t)dim[i];
    if (save->draw) s->rng = rng_open(save->draw->seed, name);
    st_writer_add_from(save->writer, name, dtype, ndim, dim, source, s);
    return true;
}

static bool add_item(Save *save, const WeightsItem *item)
{
    const Tensor *x = item->tensor;
    int64_t dim[TENSOR_DIMS];
    save->item = item;
    if (dtype_is_quant(x->dtype)) {
        float offset = save->draw ? (float)mean_scale(item) : x->quant ? x->quant->offset : 0;
        return weights_write_quant(save->writer, item->name, x, offset, &save->buffers, add_source, save);
    }
    int n = spec_file_dims(&item->spec, dim);
    return add_source(save, item->name, PLANE_VALUES, x->dtype == DTYPE_bf16 ? ST_BF16 : ST_F32, n, dim,
                      x->data);
}

static bool save_open(Save *save, Weights *const *part, int n, bool frozen, const char *const *meta,
                      const WeightsDraw *draw, const char *path, Error *e)
{
    *save = (Save){.writer = st_writer_new(), .draw = draw};
    bool ok = save->writer;
    for (int p = 0; ok && p < n; p++) {
        for (int i = 0; i < part[p]->n_meta; i++)
            st_writer_meta(save->writer, part[p]->meta[i].key, part[p]->meta[i].value);
        for (int i = 0; ok && i < part[p]->n; i++)
            if (frozen || !part[p]->item[i].frozen) ok = add_item(save, &part[p]->item[i]);
    }
    for (; ok && meta && meta[0]; meta += 2) st_writer_meta(save->writer, meta[0], meta[1]);
    return ok || error_set(e, ERROR_MEMORY, "%s: out of host memory while collecting the weights", path);
}

static void save_close(Save *save)
{
    for (Source *s = save->first, *next; s; s = next) {
        next = s->next;
        free(s->whole);
        free(s);
    }
    weights_buffers_free(&save->buffers);
    st_writer_free(save->writer);
}

bool weights_save(Weights *const *part, int n, bool frozen, const char *const *meta, const char *path, Error *e)
{
    Save save;
    bool ok = save_open(&save, part, n, frozen, meta, NULL, path, e) && st_writer_save(save.writer, path, e);
    save_close(&save);
    return ok;
}

bool weights_save_shards(Weights *const *part, int n, bool frozen, const char *const *meta, const char *folder,
                         uint64_t limit, Error *e)
{
    Save save;
    bool ok = save_open(&save, part, n, frozen, meta, NULL, folder, e) &&
              st_writer_save_shards(save.writer, folder, limit, e);
    save_close(&save);
    return ok;
}

bool weights_draw(Weights *const *part, int n, const WeightsDraw *draw, const char *path, Error *e)
{
    Save save;
    bool ok = save_open(&save, part, n, true, NULL, draw, path, e) && st_writer_save(save.writer, path, e);
    save_close(&save);
    return ok;
}

bool weights_draw_size(Weights *const *part, int n, const char *path, uint64_t *bytes, Error *e)
{
    static const WeightsDraw draw;
    Save save;
    bool ok =
        save_open(&save, part, n, true, NULL, &draw, path, e) && st_writer_size(save.writer, path, bytes, e);
    save_close(&save);
    return ok;
}
