/* oneDNN: products, and convolutions with NHWC activations and a weight layout of the library's choice. A
 * weight kept as (O,kh,kw,C) is reordered before each call (a frozen one once); a weight gradient is reordered
 * back. Primitives are created once for each shape, pass and number of threads, and kept. */
#include "kernels/dnnl.h"
#ifndef HAVE_DNNL
bool onednn_gemm(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, float alpha,
                 const float *A, int64_t lda, const float *B, int64_t ldb, float beta, float *C, int64_t ldc)
{
    (void)transpose_a, (void)transpose_b, (void)M, (void)N, (void)K, (void)alpha, (void)A, (void)lda, (void)B;
    (void)ldb, (void)beta, (void)C, (void)ldc;
    return false;
}

bool onednn_conv_forward(const ConvShape *s, const float *x, const float *w, const float *bias, float *y,
                         bool frozen)
{
    (void)s, (void)x, (void)w, (void)bias, (void)y, (void)frozen;
    return false;
}

bool onednn_conv_data(const ConvShape *s, const float *dy, const float *w, float *dx, bool frozen)
{
    (void)s, (void)dy, (void)w, (void)dx, (void)frozen;
    return false;
}

bool onednn_conv_weights(const ConvShape *s, const float *x, const float *dy, float *dw)
{
    (void)s, (void)x, (void)dy, (void)dw;
    return false;
}
#else
#include "tensor/error.h"
#include <dnnl.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

static void check(dnnl_status_t status, const char *what)
{
    if (status == dnnl_out_of_memory) die_memory("oneDNN: %s", what);
    if (status != dnnl_success) die("oneDNN: %s failed with status %d", what, (int)status);
}

bool onednn_gemm(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, float alpha,
                 const float *A, int64_t lda, const float *B, int64_t ldb, float beta, float *C, int64_t ldc)
{
    check(dnnl_sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', M, N, K, alpha, A, lda, B, ldb, beta, C,
                     ldc),
          "sgemm");
    return true;
}

/* ---- what differs between versions 2 and 3: a memory descriptor is a struct or a handle ---- */

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t Desc;
#define DESC(md) (md)

static void desc_make(dnnl_memory_desc_t *md, int ndims, const int64_t *dims, dnnl_format_tag_t tag)
{
    check(dnnl_memory_desc_create_with_tag(md, ndims, dims, dnnl_f32, tag), "memory descriptor");
}

static void desc_drop(dnnl_memory_desc_t *md) { dnnl_memory_desc_destroy(*md); }
#else
typedef const dnnl_memory_desc_t *Desc;
#define DESC(md) (&(md))

static void desc_make(dnnl_memory_desc_t *md, int ndims, const int64_t *dims, dnnl_format_tag_t tag)
{
    check(dnnl_memory_desc_init_by_tag(md, ndims, dims, dnnl_f32, tag), "memory descriptor");
}

static void desc_drop(dnnl_memory_desc_t *md) { (void)md; }
#endif

/* The descriptors of one convolution, dims in the library's logical order (N,C,H,W), (O,C,kh,kw). */
typedef struct {
    dnnl_memory_desc_t x, w, bias, y, w_any;
    dnnl_dims_t stride, pad_low, pad_high, dilation;
} ConvDesc;

static void conv_desc(ConvDesc *d, const ConvShape *s)
{
    const dnnl_dims_t x = {s->N, s->C, s->H, s->W}, w = {s->O, s->C, s->kh, s->kw};
    const dnnl_dims_t y = {s->N, s->O, s->OH, s->OW}, bias = {s->O};
    memset(d, 0, sizeof *d);
    desc_make(&d->x, 4, x, dnnl_nhwc);
    desc_make(&d->w, 4, w, dnnl_ohwi);
    desc_make(&d->w_any, 4, w, dnnl_format_tag_any);
    desc_make(&d->y, 4, y, dnnl_nhwc);
    desc_make(&d->bias, 1, bias, dnnl_x);
    d->stride[0] = d->stride[1] = s->stride;
    d->pad_low[0] = d->pad_low[1] = s->pad;
    d->pad_high[0] = (s->OH - 1) * s->stride + s->kh - s->H - s->pad;
    d->pad_high[1] = (s->OW - 1) * s->stride + s->kw - s->W - s->pad;
}

static void conv_desc_drop(ConvDesc *d)
{
    desc_drop(&d->x);
    desc_drop(&d->w);
    desc_drop(&d->w_any);
    desc_drop(&d->y);
    desc_drop(&d->bias);
}

#if DNNL_VERSION_MAJOR >= 3
static dnnl_primitive_desc_t forward_make(const ConvDesc *d, bool bias, dnnl_engine_t engine)
{
    dnnl_primitive_desc_t pd;
    check(dnnl_convolution_forward_primitive_desc_create(
              &pd, engine, dnnl_forward_training, dnnl_convolution_direct, d->x, d->w_any,
              bias ? d->bias : NULL, d->y, d->stride, d->dilation, d->pad_low, d->pad_high, NULL),
          "convolution forward");
    return pd;
}

static dnnl_primitive_desc_t data_make(const ConvDesc *d, dnnl_primitive_desc_t hint, dnnl_engine_t engine)
{
    dnnl_primitive_desc_t pd;
    check(dnnl_convolution_backward_data_primitive_desc_create(&pd, engine, dnnl_convolution_direct, d->x,
                                                               d->w_any, d->y, d->stride, d->dilation,
                                                               d->pad_low, d->pad_high, hint, NULL),
          "convolution backward data");
    return pd;
}

static dnnl_primitive_desc_t weights_make(const ConvDesc *d, dnnl_primitive_desc_t hint, dnnl_engine_t engine)
{
    dnnl_primitive_desc_t pd;
    check(dnnl_convolution_backward_weights_primitive_desc_create(&pd, engine, dnnl_convolution_direct, d->x,
                                                                  d->w_any, NULL, d->y, d->stride, d->dilation,
                                                                  d->pad_low, d->pad_high, hint, NULL),
          "convolution backward weights");
    return pd;
}
#else
static dnnl_primitive_desc_t forward_make(const ConvDesc *d, bool bias, dnnl_engine_t engine)
{
    dnnl_convolution_desc_t c;
    dnnl_primitive_desc_t pd;
    check(dnnl_convolution_forward_desc_init(&c, dnnl_forward_training, dnnl_convolution_direct, &d->x,
                                             &d->w_any, bias ? &d->bias : NULL, &d->y, d->stride, d->pad_low,
                                             d->pad_high),
          "convolution forward descriptor");
    check(dnnl_primitive_desc_create(&pd, &c, NULL, engine, NULL), "convolution forward");
    return pd;
}

static dnnl_primitive_desc_t data_make(const ConvDesc *d, dnnl_primitive_desc_t hint, dnnl_engine_t engine)
{
    dnnl_convolution_desc_t c;
    dnnl_primitive_desc_t pd;
    check(dnnl_convolution_backward_data_desc_init(&c, dnnl_convolution_direct, &d->x, &d->w_any, &d->y,
                                                   d->stride, d->pad_low, d->pad_high),
          "convolution backward data descriptor");
    check(dnnl_primitive_desc_create(&pd, &c, NULL, engine, hint), "convolution backward data");
    return pd;
}

static dnnl_primitive_desc_t weights_make(const ConvDesc *d, dnnl_primitive_desc_t hint, dnnl_engine_t engine)
{
    dnnl_convolution_desc_t c;
    dnnl_primitive_desc_t pd;
    check(dnnl_convolution_backward_weights_desc_init(&c, dnnl_convolution_direct, &d->x, &d->w_any, NULL,
                                                      &d->y, d->stride, d->pad_low, d->pad_high),
          "convolution backward weights descriptor");
    check(dnnl_primitive_desc_create(&pd, &c, NULL, engine, hint), "convolution backward weights");
    return pd;
}
#endif

/* ---- primitives, kept ---- */

typedef enum { PASS_FORWARD, PASS_FORWARD_BIAS, PASS_DATA, PASS_WEIGHTS } Pass;

/* A frozen weight in the library's layout. */
typedef struct Frozen {
    const float *w;
    uint64_t sum;
    float *data;
    struct Frozen *next;
} Frozen;

typedef struct Conv {
    ConvShape shape;
    Pass pass;
    int threads;
    dnnl_primitive_t run, reorder; /* reorder: of w before, of dw after; NULL where the layouts agree */
    dnnl_memory_t x, w, w_inside, bias, y;
    size_t inside_bytes; /* of a weight or its gradient in the library's layout; 0 without reorder */
    Frozen *frozen;
    struct Conv *next;
} Conv;

enum { CONVS = 1024 /* kept; beyond that all are dropped and made again when needed */ };

static struct {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    Conv *first;
    int count;
    float *inside; /* where weights lie reordered while a primitive runs, one room for all */
    size_t inside_bytes;
} cache;

static float *inside_new(size_t bytes)
{
    float *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!p) die_memory("convolution weight of %zu bytes", bytes);
    return p;
}

/* Room for c's weight, its contents lost. */
static float *inside_room(const Conv *c)
{
    if (c->inside_bytes > cache.inside_bytes) {
        free(cache.inside);
        cache.inside = inside_new(c->inside_bytes);
        cache.inside_bytes = c->inside_bytes;
    }
    return cache.inside;
}

static void conv_drop(Conv *c)
{
    for (Frozen *f = c->frozen, *next; f; f = next) {
        next = f->next;
        free(f->data);
        free(f);
    }
    dnnl_primitive_destroy(c->run);
    if (c->reorder) dnnl_primitive_destroy(c->reorder);
    const dnnl_memory_t memory[] = {c->x, c->w, c->w_inside, c->bias, c->y};
    for (int i = 0; i < 5; i++)
        if (memory[i]) dnnl_memory_destroy(memory[i]);
    free(c);
}

static void cache_drop(void)
{
    for (Conv *c = cache.first, *next; c; c = next) {
        next = c->next;
        conv_drop(c);
    }
    cache.first = NULL;
    cache.count = 0;
}

static dnnl_memory_t memory_make(Desc md)
{
    dnnl_memory_t m;
    check(dnnl_memory_create(&m, md, cache.engine, DNNL_MEMORY_NONE), "memory");
    return m;
}

static dnnl_primitive_t reorder_make(Desc from, Desc to)
{
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t p;
    check(dnnl_reorder_primitive_desc_create(&pd, from, cache.engine, to, cache.engine, NULL), "reorder");
    check(dnnl_primitive_create(&p, pd), "reorder");
    dnnl_primitive_desc_destroy(pd);
    return p;
}

static dnnl_primitive_desc_t pass_make(const ConvDesc *d, Pass pass)
{
    if (pass <= PASS_FORWARD_BIAS) return forward_make(d, pass == PASS_FORWARD_BIAS, cache.engine);
    dnnl_primitive_desc_t hint = forward_make(d, false, cache.engine);
    dnnl_primitive_desc_t pd =
        pass == PASS_DATA ? data_make(d, hint, cache.engine) : weights_make(d, hint, cache.engine);
    dnnl_primitive_desc_destroy(hint);
    return pd;
}

static Conv *conv_make(const ConvShape *s, Pass pass, int threads)
{
    Conv *c = calloc(1, sizeof *c);
    if (!c) die_memory("a convolution's description");
    ConvDesc d;
    conv_desc(&d, s);
    dnnl_primitive_desc_t pd = pass_make(&d, pass);
    Desc inside = dnnl_primitive_desc_query_md(
        pd, pass == PASS_WEIGHTS ? dnnl_query_diff_weights_md : dnnl_query_weights_md, 0);
    c->shape = *s;
    c->pass = pass;
    c->threads = threads;
    check(dnnl_primitive_create(&c->run, pd), "convolution");
    c->x = memory_make(DESC(d.x));
    c->w = memory_make(DESC(d.w));
    c->w_inside = memory_make(inside);
    c->bias = memory_make(DESC(d.bias));
    c->y = memory_make(DESC(d.y));
    if (!dnnl_memory_desc_equal(inside, DESC(d.w))) {
        c->reorder = pass == PASS_WEIGHTS ? reorder_make(inside, DESC(d.w)) : reorder_make(DESC(d.w), inside);
        c->inside_bytes = dnnl_memory_desc_get_size(inside);
    }
    dnnl_primitive_desc_destroy(pd);
    conv_desc_drop(&d);
    return c;
}

static Conv *conv_find(const ConvShape *s, Pass pass)
{
    int threads = omp_get_max_threads();
    if (!cache.engine) {
        check(dnnl_engine_create(&cache.engine, dnnl_cpu, 0), "engine");
        check(dnnl_stream_create(&cache.stream, cache.engine, dnnl_stream_default_flags), "stream");
    }
    for (Conv **link = &cache.first, *c; (c = *link); link = &c->next) {
        if (c->pass != pass || c->threads != threads || memcmp(&c->shape, s, sizeof *s)) continue;
        *link = c->next; /* recently used ones are found first */
        c->next = cache.first;
        return cache.first = c;
    }
    if (cache.count == CONVS) cache_drop();
    Conv *c = conv_make(s, pass, threads);
    c->next = cache.first;
    cache.first = c;
    cache.count++;
    return c;
}

/* ---- running ---- */

static void handle(dnnl_memory_t m, const void *data)
{
    check(dnnl_memory_set_data_handle(m, (void *)(uintptr_t)data), "data handle");
}

static void execute(dnnl_primitive_t p, int n, const dnnl_exec_arg_t *args)
{
    check(dnnl_primitive_execute(p, cache.stream, n, args), "execution");
    check(dnnl_stream_wait(cache.stream), "stream");
}

static void reorder(const Conv *c, dnnl_memory_t from, dnnl_memory_t to)
{
    execute(c->reorder, 2, (dnnl_exec_arg_t[]){{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
}

/* 64-bit checksum of n floats: eight lanes of multiply and exclusive or. */
static uint64_t checksum(const float *w, int64_t n)
{
    enum { LANES = 8 };
    const uint64_t prime = 0x9E3779B97F4A7C15u;
    uint64_t h[LANES] = {1, 2, 3, 4, 5, 6, 7, 8}, sum = (uint64_t)n, part[LANES];
    int64_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        memcpy(part, w + i, sizeof part);
        for (int k = 0; k < LANES; k++) h[k] = (h[k] ^ part[k]) * prime;
    }
    memset(part, 0, sizeof part);
    memcpy(part, w + i, (size_t)(n - i) * sizeof *w);
    for (int k = 0; k < LANES; k++) {
        h[k] = (h[k] ^ part[k]) * prime;
        sum = (sum ^ h[k] ^ h[k] >> 29) * prime;
    }
    return sum ^ sum >> 32;
}

/* Larger frozen weights are reordered each time, which is little beside their convolution: copies of all would
 * double what the largest models take. */
enum { KEPT = 16 << 20 };

/* The library's copy of a frozen weight. Its checksum is compared each time, because memory is used again: a
 * model that was opened where another had been has other weights at the same place. */
static void bring_frozen(Conv *c, const float *w)
{
    uint64_t sum = checksum(w, c->shape.O * c->shape.kh * c->shape.kw * c->shape.C);
    Frozen *f = c->frozen;
    while (f && f->w != w) f = f->next;
    bool known = f && f->sum == sum;
    if (!f) {
        f = malloc(sizeof *f);
        if (!f) die_memory("a convolution's description");
        *f = (Frozen){w, sum, inside_new(c->inside_bytes), c->frozen};
        c->frozen = f;
    }
    f->sum = sum;
    handle(c->w_inside, f->data);
    if (known) return;
    handle(c->w, w);
    reorder(c, c->w, c->w_inside);
}

/* Puts w where the primitive reads it. */
static void bring_weight(Conv *c, const float *w, bool frozen)
{
    if (!c->reorder) {
        handle(c->w_inside, w);
    } else if (frozen && c->inside_bytes <= KEPT) {
        bring_frozen(c, w);
    } else {
        handle(c->w, w);
        handle(c->w_inside, inside_room(c));
        reorder(c, c->w, c->w_inside);
    }
}

bool onednn_conv_forward(const ConvShape *s, const float *x, const float *w, const float *bias, float *y,
                         bool frozen)
{
    Conv *c = conv_find(s, bias ? PASS_FORWARD_BIAS : PASS_FORWARD);
    bring_weight(c, w, frozen);
    handle(c->x, x);
    handle(c->y, y);
    if (bias) handle(c->bias, bias);
    execute(c->run, bias ? 4 : 3,
            (dnnl_exec_arg_t[]){{DNNL_ARG_SRC, c->x},
                                {DNNL_ARG_WEIGHTS, c->w_inside},
                                {DNNL_ARG_DST, c->y},
                                {DNNL_ARG_BIAS, c->bias}});
    return true;
}

bool onednn_conv_data(const ConvShape *s, const float *dy, const float *w, float *dx, bool frozen)
{
    Conv *c = conv_find(s, PASS_DATA);
    bring_weight(c, w, frozen);
    handle(c->x, dx);
    handle(c->y, dy);
    execute(c->run, 3,
            (dnnl_exec_arg_t[]){
                {DNNL_ARG_DIFF_DST, c->y}, {DNNL_ARG_WEIGHTS, c->w_inside}, {DNNL_ARG_DIFF_SRC, c->x}});
    return true;
}

bool onednn_conv_weights(const ConvShape *s, const float *x, const float *dy, float *dw)
{
    Conv *c = conv_find(s, PASS_WEIGHTS);
    handle(c->x, x);
    handle(c->y, dy);
    handle(c->w_inside, c->reorder ? inside_room(c) : dw);
    execute(c->run, 3,
            (dnnl_exec_arg_t[]){
                {DNNL_ARG_SRC, c->x}, {DNNL_ARG_DIFF_DST, c->y}, {DNNL_ARG_DIFF_WEIGHTS, c->w_inside}});
    if (!c->reorder) return true;
    handle(c->w, dw);
    reorder(c, c->w_inside, c->w);
    return true;
}
#endif
