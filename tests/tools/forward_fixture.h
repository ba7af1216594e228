/* pcrl-forward under test: weights of the goldens' generator in a file under their public names, inputs in
 * another, and what comes out against the goldens' taps. */
#ifndef TESTS_TOOLS_FORWARD_FIXTURE_H
#define TESTS_TOOLS_FORWARD_FIXTURE_H
#include "models/llama.h"
#include "tests/golden/golden.h"
#include "tests/tools/run.h"
#include <stdarg.h>

static char folder[] = "/tmp/test-forward-XXXXXX";
static Run r;

static inline const char *in_folder(const char *name)
{
    static char path[8][128];
    static int next;
    char *p = path[next++ % 8];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static inline void remove_folder(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    if (system(command)) fprintf(stderr, "%s: not removed\n", folder);
}

/* ---- weights ---- */

/* Where models are made that are only written: memory is planned, not taken. */
typedef struct Maker {
    Rig rig;
    Weights w;
} Maker;

static inline void maker_open(Maker *m)
{
    rig_open(&m->rig, &backend_plan);
    weights_init(&m->w, &m->rig.weights, &m->rig.state, &m->rig.params, 1);
    m->w.trainable = true;
}

static inline void maker_close(Maker *m)
{
    weights_close(&m->w);
    rig_close(&m->rig);
}

/* One tensor more, or in the place of one: shape (n), zeros. */
typedef struct Odd {
    const char *name;
    int64_t n; /* 0: the tensor is left out */
} Odd;

/* Writes what was opened, with the goldens' values, in the files' layout; odd (NULL name ends it) last. */
static inline void write_weights(const char *path, const Weights *w, const Odd *odd)
{
    static const float zeros[64];
    Error e = {0};
    StWriter *s = st_writer_new();
    float **values = calloc((size_t)w->n + 1, sizeof *values);
    for (int i = 0; i < w->n_meta; i++) st_writer_meta(s, w->meta[i].key, w->meta[i].value);
    for (int i = 0; i < w->n; i++) {
        const WeightsItem *item = &w->item[i];
        const int64_t *d = item->spec.dim;
        bool turned = item->spec.kind == WEIGHT_CONV || item->spec.kind == WEIGHT_DECONV, left = false;
        int64_t dim[4] = {d[0], turned ? d[3] : d[1], turned ? d[1] : d[2], turned ? d[2] : d[3]};
        for (const Odd *o = odd; o && o->name; o++) left |= !strcmp(o->name, item->name);
        if (left) continue;
        values[i] = malloc((size_t)tensor_len(item->tensor) * sizeof(float));
        golden_weight(NULL, item->name, item->tensor->ndim, dim, values[i]);
        st_writer_add(s, item->name, ST_F32, item->tensor->ndim, dim, values[i]);
    }
    for (; odd && odd->name; odd++)
        if (odd->n) st_writer_add(s, odd->name, ST_F32, 1, &odd->n, zeros);
    ck_assert_msg(st_writer_save(s, path, &e), "%s", e.msg);
    st_writer_free(s);
    for (int i = 0; i < w->n; i++) free(values[i]);
    free(values);
}

/* ---- inputs ---- */

typedef struct Input {
    const char *name;
    StDType dtype;
    int ndim;
    int64_t dim[5];
    const void *data; /* NULL: F32 values of the goldens' generator, in [-a,a) under `from` or its own name */
    float a;
    const char *from;
} Input;

static inline int64_t input_len(const Input *in)
{
    int64_t n = 1;
    for (int i = 0; i < in->ndim; i++) n *= in->dim[i];
    return n;
}

static inline void write_inputs(const Input *in, int n)
{
    Error e = {0};
    StWriter *s = st_writer_new();
    float *values[32] = {0};
    for (int i = 0; i < n; i++) {
        const void *data = in[i].data;
        if (!data) {
            data = values[i] = malloc((size_t)input_len(&in[i]) * sizeof(float));
            rng_fill(values[i], input_len(&in[i]), GOLDEN_INPUTS, in[i].from ? in[i].from : in[i].name,
                     in[i].a);
        }
        st_writer_add(s, in[i].name, in[i].dtype, in[i].ndim, in[i].dim, data);
    }
    ck_assert_msg(st_writer_save(s, in_folder("in"), &e), "%s", e.msg);
    st_writer_free(s);
    for (int i = 0; i < n; i++) free(values[i]);
}

/* The ids of tests/golden/make_*.py. */
static inline void golden_ids(int32_t *id, int64_t n, const char *name, int64_t vocab)
{
    float *u = malloc((size_t)n * sizeof *u);
    rng_fill(u, n, GOLDEN_INPUTS, name, 1);
    for (int64_t i = 0; i < n; i++) id[i] = (int32_t)((u[i] + 1.0f) * (float)(vocab / 2));
    free(u);
}

/* ---- the run ---- */

/* Model and options, NULL at the end. Weights, input and output are in the folder. */
static inline void run_forward(const char *model, ...)
{
    const char *args[24] = {model,           "--device",  test_device()->name, "--compute",
                            "f32",           "--weights", in_folder("w"),      "--input",
                            in_folder("in"), "--output",  in_folder("out")};
    int n = 11;
    va_list more;
    va_start(more, model);
    while ((args[n] = va_arg(more, const char *))) n++;
    va_end(more);
    run_tool(&r, "pcrl-forward", args);
}

static inline TensorFile *output(void)
{
    Error e = {0};
    ck_assert_msg(r.code == 0, "exit code %d: %s", r.code, r.err);
    TensorFile *out = safetensors_open(in_folder("out"), &e);
    ck_assert_msg(out != NULL, "%s", e.msg);
    return out;
}

/* ---- comparison ---- */

/* Output against golden. */
typedef enum {
    OUT_SAME,   /* the same shape */
    OUT_NCHW,   /* [N,C,H,W]; the golden is [N,H,W,C] */
    OUT_FLAT,   /* the same elements in the same order */
    OUT_SQUARE, /* [N,s*s,C]; the golden is [N,C,s,s] */
} OutLayout;

static inline float *read_output(const TensorFile *out, const char *name, Tensor *shape)
{
    Error e = {0};
    const TensorEntry *entry = tensor_file_find(out, name);
    ck_assert_msg(entry && entry->dtype == ST_F32 && entry->ndim <= 4, "%s is not in the output", name);
    *shape = (Tensor){.dtype = DTYPE_f32, .ndim = entry->ndim};
    memcpy(shape->dim, entry->dim, (size_t)entry->ndim * sizeof *entry->dim);
    float *x = malloc(entry->size);
    ck_assert_msg(tensor_file_read_f32(out, entry, x, &e), "%s", e.msg);
    return x;
}

static inline void check_shape(const TensorFile *g, const char *tap, const Tensor *x)
{
    char full[256];
    int64_t dim[8];
    Error e = {0};
    snprintf(full, sizeof full, "%s.shape", tap);
    const TensorEntry *entry = tensor_file_find(g, full);
    ck_assert_msg(entry && entry->size <= sizeof dim && tensor_file_read(g, entry, dim, &e), "%s", full);
    if (!entry->dim[0]) dim[0] = 1; /* a scalar */
    ck_assert_msg((entry->dim[0] ? entry->dim[0] : 1) == x->ndim &&
                      !memcmp(dim, x->dim, (size_t)x->ndim * sizeof *dim),
                  "%s: another shape: %s", full, tensor_text(x));
}

/* Output `name` against PREFIX.name, or against PREFIX.tap where that is another. */
static inline void compare_as(const TensorFile *out, const TensorFile *g, const char *prefix, const char *tap,
                              const char *name, OutLayout layout, GoldenNorm norm, double tol)
{
    char full[224];
    Tensor x;
    snprintf(full, sizeof full, "%s%s", prefix, tap);
    float *host = read_output(out, name, &x);
    int64_t n = tensor_len(&x), s = layout == OUT_SQUARE ? (int64_t)lround(sqrt((double)x.dim[1])) : 0;
    if (layout == OUT_SAME) check_shape(g, full, &x);
    if (layout == OUT_SQUARE) x = (Tensor){.ndim = 4, .dim = {x.dim[0], s, s, x.dim[2]}};
    if (layout == OUT_NCHW) {
        float *turned = malloc((size_t)n * sizeof *turned);
        const Tensor there = {.ndim = 4, .dim = {x.dim[0], x.dim[2], x.dim[3], x.dim[1]}};
        for (int64_t i = 0; i < n; i++) turned[golden_turned(&there, i)] = host[i];
        free(host);
        host = turned;
    }
    golden_compare_host(g, full, &x, host, layout == OUT_SQUARE, norm, tol);
    free(host);
}

static inline void compare(const TensorFile *out, const TensorFile *g, const char *prefix, const char *name,
                           double tol)
{
    compare_as(out, g, prefix, name, name, OUT_SAME, GOLDEN_MAX, tol);
}
#endif
