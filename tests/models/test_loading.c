/* What loading costs beside what is loaded, counted at malloc; that strips give the values that a tensor read
 * whole has; random weights that are made while they are written. */
#include "kernels/quant.h"
#include "models/llama.h"
#include "tensor/half.h"
#include "tests/golden/golden.h"
#include "tests/models/main.h"
#include <malloc.h>
#include <unistd.h>

/* ---- live bytes of our own allocations (linked with --wrap, see the Makefile) ---- */

static struct {
    size_t live, peak;
} heap;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void __wrap_free(void *p);

static void *count(void *p)
{
    heap.live += malloc_usable_size(p);
    if (heap.live > heap.peak) heap.peak = heap.live;
    return p;
}
void *__wrap_malloc(size_t n) { return count(__real_malloc(n)); }
void *__wrap_calloc(size_t n, size_t size) { return count(__real_calloc(n, size)); }
void *__wrap_realloc(void *p, size_t n)
{
    size_t before = malloc_usable_size(p);
    p = __real_realloc(p, n);
    if (p) heap.live -= before;
    return p ? count(p) : NULL;
}
/* Blocks of libraries come here too. */
void __wrap_free(void *p)
{
    size_t n = malloc_usable_size(p);
    heap.live -= n < heap.live ? n : heap.live;
    __real_free(p);
}

/* ---- files ---- */

enum { OUT = 2048, IN = 4096, CONV = 700 };
static const WeightSpec linear = {{OUT, IN}, WEIGHT_LINEAR, INIT_NORMAL, 0.02f};
static const WeightSpec table = {{OUT, IN}, WEIGHT_TABLE, INIT_NORMAL, 0.02f};
static const WeightSpec conv = {{CONV, 3, 3, CONV}, WEIGHT_CONV, INIT_KAIMING, 0};
static const WeightSpec deconv = {{CONV, 2, 2, CONV}, WEIGHT_DECONV, INIT_LINEAR, 0};

typedef struct Plan {
    Arena weights, state;
    Params params;
    Weights w;
} Plan;

static void plan_open(Plan *p, bool trainable, DType quant, bool nested, DType plain)
{
    Error e = {0};
    memset(p, 0, sizeof *p);
    ck_assert(arena_open(&p->weights, "weights", &backend_plan, (size_t)1 << 40, &e) &&
              arena_open(&p->state, "state", &backend_plan, (size_t)1 << 40, &e));
    params_init(&p->params, &p->state);
    weights_init(&p->w, &p->weights, &p->state, &p->params, 0);
    p->w.trainable = trainable;
    p->w.quant = quant;
    p->w.nested = nested;
    p->w.table = plain;
}

static void plan_close(Plan *p)
{
    weights_close(&p->w);
    params_close(&p->params);
    arena_close(&p->state);
    arena_close(&p->weights);
}

/* The big file of that many bytes a value: a Linear, a table, and (4 bytes only) convs. */
static void write_big(DType plain, uint64_t seed)
{
    Plan p;
    Error e = {0};
    WeightsDraw draw = {.seed = seed};
    plan_open(&p, plain == DTYPE_f32, DTYPE_f32, false, plain);
    weights_get(&p.w, linear, "linear.weight");
    weights_get(&p.w, table, "table.weight");
    if (plain == DTYPE_f32) {
        weights_get(&p.w, conv, "conv.weight");
        weights_get(&p.w, deconv, "deconv.weight");
    }
    ck_assert_msg(weights_draw((Weights *[]){&p.w}, 1, &draw, test_path(), &e), "%s", e.msg);
    plan_close(&p);
}

static float *read_whole(const char *name, int64_t *n)
{
    Error e = {0};
    TensorFile *f = safetensors_open(test_path(), &e);
    const TensorEntry *entry = f ? tensor_file_find(f, name) : NULL;
    ck_assert(entry);
    *n = (int64_t)(entry->size / st_dtype_size(entry->dtype));
    float *x = malloc((size_t)*n * sizeof *x);
    ck_assert(tensor_file_read_f32(f, entry, x, &e));
    tensor_file_close(f);
    return x;
}

/* x, of the file's values `whole`. */
static void ck_values(const Tensor *x, const WeightSpec *s, const float *whole, int64_t n)
{
    void *host = malloc(tensor_bytes(x));
    tensor_download(x, host);
    ck_assert_int_eq(tensor_len(x), n);
    int64_t I = s->dim[3], P = s->dim[1] * s->dim[2];
    for (int64_t i = 0; i < n; i++) {
        int64_t at = s->kind == WEIGHT_CONV || s->kind == WEIGHT_DECONV
                         ? i / (P * I) * (P * I) + i % I * P + i / I % P
                         : i;
        float v = x->dtype == DTYPE_bf16 ? bf16_to_float(((uint16_t *)host)[i]) : ((float *)host)[i];
        if (v != whole[at]) ck_abort_msg("%lld: %g, not %g", (long long)i, (double)v, (double)whole[at]);
    }
    free(host);
}

/* Loads one tensor; what the heap held at most beside what it held before. */
static Tensor *load(Rig *r, Weights *w, bool trainable, DType quant, bool nested, WeightSpec s,
                    const char *name, size_t *most)
{
    Error e = {0};
    rig_open(r, test_device());
    weights_init(w, &r->weights, &r->state, &r->params, 0);
    w->trainable = trainable;
    w->quant = quant;
    w->nested = nested;
    ck_assert_msg(weights_open(w, test_path(), &e), "%s", e.msg);
    size_t before = heap.peak = heap.live;
    Tensor *x = weights_get(w, s, "%s", name);
    if (trainable) params_alloc(&r->params);
    ck_assert_msg(weights_fill(w, &e), "%s", e.msg);
    *most = heap.peak - before;
    return x;
}

static void unload(Rig *r, Weights *w)
{
    weights_close(w);
    rig_close(r);
}

/* Tensors of 16 to 33 MB take at most two strips of 4 MB, and lists. */
START_TEST(plain)
{
    enum { MOST = (2 << 22) + (1 << 18) };
    static const struct {
        const char *name;
        const WeightSpec *spec;
    } cases[] = {{"linear.weight", &linear},
                 {"table.weight", &table},
                 {"conv.weight", &conv},
                 {"deconv.weight", &deconv}};
    for (int half = 0; half < 2; half++) {
        write_big(half ? DTYPE_bf16 : DTYPE_f32, 1);
        for (int i = 0; i < (half ? 2 : 4); i++)
            for (int trainable = 0; trainable < 2; trainable++) {
                Rig r;
                Weights w;
                size_t most;
                int64_t n;
                Tensor *x = load(&r, &w, trainable, DTYPE_f32, false, *cases[i].spec, cases[i].name, &most);
                ck_assert_int_eq(x->dtype, half && !trainable ? DTYPE_bf16 : DTYPE_f32);
                ck_assert_msg(most <= MOST, "%s: %zu bytes, at most %d", cases[i].name, most, MOST);
                float *whole = read_whole(cases[i].name, &n);
                ck_values(x, cases[i].spec, whole, n);
                free(whole);
                unload(&r, &w);
            }
    }
    unlink(test_path());
}
END_TEST

/* 4-bit weights take what they are themselves and one strip, however they are stored; a device that packs them
 * twice that. */
static void ck_quant(DType quant, bool nested)
{
    const bool packs = !dtype_is_planar(quant) && test_device()->pack;
    const size_t values = (size_t)OUT * IN, scales = values / 64 * 5;
    const size_t four = dtype_bytes(quant, (int64_t)values) * (packs ? 2 : 1);
    Rig r;
    Weights w;
    size_t most;
    int64_t n;
    Error e = {0};
    Tensor *x = load(&r, &w, false, quant, nested, linear, "linear.weight", &most);
    ck_assert_msg(most <= four + 2 * scales + (1 << 22) + (1 << 18), "%s: %zu bytes", dtype_name(quant), most);
    float *whole = read_whole("linear.weight", &n);
    Tensor *y = quant_tensor(&r.weights, quant, OUT, IN, whole, nested);
    uint8_t *a = malloc(tensor_bytes(x)), *b = malloc(tensor_bytes(x));
    tensor_download(x, a);
    tensor_download(y, b);
    ck_assert_mem_eq(a, b, tensor_bytes(x));
    for (int64_t i = 0; x->quant && test_device() == &backend_cpu && i < n / 64; i++)
        ck_assert(quant_absmax(x->quant, i) == quant_absmax(y->quant, i));
    ck_assert_msg(weights_save((Weights *[]){&w}, 1, true, NULL, test_path(), &e), "%s", e.msg);
    unload(&r, &w);
    Tensor *z = load(&r, &w, false, DTYPE_f32, false, linear, "linear.weight", &most);
    ck_assert_msg(most <= four + 2 * scales + (1 << 18), "stored %s: %zu bytes", dtype_name(quant), most);
    tensor_download(z, b);
    ck_assert(z->dtype == quant && !memcmp(a, b, tensor_bytes(z)));
    unload(&r, &w);
    free(a);
    free(b);
    free(whole);
}

START_TEST(quantised)
{
    static const struct {
        DType quant;
        bool nested;
    } cases[] = {{DTYPE_nf4, true}, {DTYPE_nf4, false}, {DTYPE_fp4, false}, {DTYPE_q4_0, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_big(i % 2 ? DTYPE_bf16 : DTYPE_f32, 2);
        ck_quant(cases[i].quant, cases[i].nested);
    }
    unlink(test_path());
}
END_TEST

/* ---- random weights ---- */

static void ck_moments(const char *what, const float *x, int64_t n, double mean, double sd, double most)
{
    double sum = 0, squares = 0, top = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)x[i];
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
        top = fmax(top, fabs((double)x[i] - mean));
    }
    ck_assert_msg(fabs(sum / (double)n - mean) < 5 * sd / sqrt((double)n) + 1e-9 &&
                      fabs(sqrt(squares / (double)n) / sd - 1) < 0.03 && top <= most,
                  "%s: mean %g, sd %g, most %g: expected %g, %g, %g", what, sum / (double)n,
                  sqrt(squares / (double)n), top, mean, sd, most);
}

START_TEST(drawn_plain)
{
    static const struct {
        const char *name;
        WeightSpec spec;
        double mean, sd;
    } cases[] = {
        {"zeros", {{4000}, .init = INIT_ZEROS}, 0, 0.02},
        {"ones", {{4000}, .init = INIT_ONES}, 1, 0.2 / 1.7320508},
        {"normal", {{4000}, .init = INIT_NORMAL, .a = 0.5f}, 0, 0.5},
        {"kaiming", {{16, 3, 3, 32}, WEIGHT_CONV, INIT_KAIMING, 0}, 0, 0.11785113},
        {"uniform", {{4000}, .init = INIT_UNIFORM, .a = 0.5f}, 0, 0.5 / 1.7320508},
        {"linear", {{40, 100}, .init = INIT_LINEAR}, 0, 0.1 / 1.7320508},
    };
    Plan p;
    Error e = {0};
    WeightsDraw draw = {.seed = 3};
    plan_open(&p, true, DTYPE_f32, false, DTYPE_f32);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        weights_get(&p.w, cases[i].spec, "%s", cases[i].name);
    weights_get(&p.w, (WeightSpec){{1}, .init = INIT_CONSTANT, .a = 2.5f}, "constant");
    weights_set_meta(&p.w, "key", "value");
    uint64_t bytes;
    ck_assert(weights_draw_size((Weights *[]){&p.w}, 1, test_path(), &bytes, &e) &&
              weights_draw((Weights *[]){&p.w}, 1, &draw, test_path(), &e));
    plan_close(&p);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t n;
        float *x = read_whole(cases[i].name, &n);
        ck_moments(cases[i].name, x, n, cases[i].mean, cases[i].sd, cases[i].sd * 1.7320508 * 1.0001);
        free(x);
    }
    int64_t n;
    float *x = read_whole("constant", &n);
    ck_assert(n == 1 && *x == 2.5f);
    free(x);
    TensorFile *f = safetensors_open(test_path(), &e);
    ck_assert_str_eq(tensor_file_meta(f, "key"), "value");
    ck_assert_uint_eq(bytes, f->part[0].size);
    tensor_file_close(f);
    unlink(test_path());
}
END_TEST

/* Bytes of the file that is made of a small LLaMA. */
static uint64_t draw_llama(DType quant, bool nested, uint64_t seed, WeightsDraw *draw, Error *e)
{
    static const LlamaConfig config = {.vocab = 128,
                                       .dim = 192,
                                       .layers = 2,
                                       .heads = 6,
                                       .kv_heads = 2,
                                       .head_dim = 32,
                                       .ffn = 320,
                                       .norm_eps = 1e-5f,
                                       .rope_theta = 1e4f};
    Plan p;
    Llama m;
    uint64_t hash = 0;
    draw->seed = seed;
    plan_open(&p, false, quant, nested, DTYPE_bf16);
    ck_assert(llama_create(&m, &p.w, config, e));
    if (weights_draw((Weights *[]){&p.w}, 1, draw, test_path(), e)) {
        FILE *f = fopen(test_path(), "rb");
        for (int c; (c = getc(f)) != EOF;) hash = (hash ^ (uint64_t)c) * 1099511628211u + 1;
        fclose(f);
    }
    plan_close(&p);
    return hash;
}

/* The model opens it; its 4-bit weights have the rule's standard deviation. */
START_TEST(drawn_llama)
{
    static const struct {
        DType quant;
        bool nested;
    } cases[] = {
        {DTYPE_nf4, true}, {DTYPE_nf4, false}, {DTYPE_fp4, false}, {DTYPE_q4_0, false}, {DTYPE_f32, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error e = {0};
        Rig r;
        Weights w;
        Llama m;
        WeightsDraw draw = {0};
        uint64_t again = draw_llama(cases[i].quant, cases[i].nested, 5, &draw, &e),
                 other = draw_llama(cases[i].quant, cases[i].nested, 6, &draw, &e),
                 first = draw_llama(cases[i].quant, cases[i].nested, 5, &draw, &e);
        ck_assert(first && first == again && first != other);
        rig_open(&r, &backend_cpu);
        weights_init(&w, &r.weights, &r.state, NULL, 0);
        ck_assert_msg(weights_open(&w, test_path(), &e) && llama_open(&m, &w, &e), "%s", e.msg);
        ck_assert(m.config.vocab == 128 && m.config.heads == 6 && m.config.kv_heads == 2 &&
                  m.embed->dtype == DTYPE_bf16);
        const Tensor *x = m.layer[1].down;
        int64_t n = tensor_len(x);
        float *values = malloc((size_t)n * sizeof *values), *absmax = malloc((size_t)(n / 64) * sizeof *absmax);
        ck_assert_int_eq(x->dtype, cases[i].quant == DTYPE_f32 ? DTYPE_bf16 : cases[i].quant);
        if (x->quant)
            for (int64_t b = 0; b < n / 64; b++) absmax[b] = quant_absmax(x->quant, b);
        if (cases[i].quant == DTYPE_f32)
            for (int64_t k = 0; k < n; k++) values[k] = bf16_to_float(((uint16_t *)x->data)[k]);
        else
            quant_decode(x->dtype, x->data, absmax, n, values);
        double squares = 0;
        for (int64_t k = 0; k < n; k++) squares += (double)values[k] * (double)values[k] / (double)n;
        ck_assert_msg(fabs(sqrt(squares) / 0.02 - 1) < 0.02, "%s: %g", dtype_name(x->dtype), sqrt(squares));
        free(values);
        free(absmax);
        weights_close(&w);
        rig_close(&r);
    }
    unlink(test_path());
}
END_TEST

/* Hidden states of a few tokens, of the model in the file. */
static void hidden(const char *path, bool bf16, float *h)
{
    enum { T = 9 };
    static const int32_t ids[T] = {5, 1, 99, 127, 0, 64, 33, 2, 77};
    Rig r;
    Weights w;
    Llama m;
    Error e = {0};
    rig_open(&r, test_device());
    weights_init(&w, &r.weights, &r.state, NULL, 0);
    ck_assert_msg(weights_open(&w, path, &e) && llama_open(&m, &w, &e), "%s", e.msg);
    ck_assert_int_eq(m.layer[0].q->dtype, bf16 ? DTYPE_bf16 : DTYPE_f32);
    Tensor *x = tape_tensor(&r.tape, DTYPE_i32, 2, (const int64_t[]){1, T});
    tensor_upload(x, ids);
    tensor_download(llama_forward(&r.tape, &m, llama_embed(&r.tape, &m, x), NULL, NULL, NULL), h);
    weights_close(&w);
    rig_close(&r);
}

/* Linears that stay in bf16 are the same numbers as in f32. */
START_TEST(bf16_linears)
{
    enum { N = 9 * 192 };
    float half[N], whole[N];
    char path[80];
    Rig r;
    Weights w;
    Llama m;
    Error e = {0};
    WeightsDraw draw = {0};
    ck_assert(draw_llama(DTYPE_f32, false, 9, &draw, &e));
    rig_open(&r, test_device());
    weights_init(&w, &r.weights, &r.state, &r.params, 0);
    w.trainable = true; /* f32, whatever the file has */
    ck_assert(weights_open(&w, test_path(), &e) && llama_open(&m, &w, &e));
    params_alloc(&r.params);
    snprintf(path, sizeof path, "%s.f32", test_path());
    ck_assert(weights_fill(&w, &e) && weights_save((Weights *[]){&w}, 1, false, NULL, path, &e));
    weights_close(&w);
    rig_close(&r);
    hidden(test_path(), true, half);
    hidden(path, false, whole);
    double worst = 0;
    for (int i = 0; i < N; i++) worst = fmax(worst, fabs((double)half[i] - (double)whole[i]));
    ck_assert_msg(worst < test_tolerance(TOL_LLAMA), "%g", worst);
    unlink(path);
    unlink(test_path());
}
END_TEST

static bool stop(void *context, uint64_t bytes, Error *e)
{
    uint64_t *left = context;
    if (bytes > *left) return error_set(e, ERROR_INTERRUPTED, "enough");
    *left -= bytes;
    return true;
}

START_TEST(drawn_in_part)
{
    Error e = {0};
    uint64_t left = 50000;
    WeightsDraw draw = {.tick = stop, .context = &left};
    ck_assert_uint_eq(draw_llama(DTYPE_nf4, true, 1, &draw, &e), 0);
    ck_assert_int_eq(e.code, ERROR_INTERRUPTED);
    ck_assert(access(test_path(), F_OK) != 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {plain, quantised, drawn_plain, drawn_llama, bf16_linears, drawn_in_part};
    return run_tests("loading", tests, sizeof tests / sizeof *tests);
}
