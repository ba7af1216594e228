/* LLaMA against its equations in double (hidden states, logits, loss, gradients, LoRA), the key/value cache,
 * generation, exact memory plans, 4-bit files. */
#include "losses/report.h"
#include "models/llama.h"
#include "models/sampler.h"
#include "tests/golden/golden.h"
#include "tests/models/main.h"
#include <unistd.h>

static const LlamaConfig small = {512, 64, 2, 4, 2, 16, 160, 1e-5f, 500000, false};
static const char golden_path[] = "tests/golden/llama.safetensors";

typedef struct Model {
    Rig rig;
    Weights base, adapter;
    Llama m;
} Model;

static void model_open(Model *o, const Backend *backend, LlamaConfig c, bool trainable, bool lora,
                       float dropout)
{
    Error e = {0};
    rig_open(&o->rig, backend);
    weights_init(&o->base, &o->rig.weights, &o->rig.state, &o->rig.params, 1);
    weights_init(&o->adapter, &o->rig.weights, &o->rig.state, &o->rig.params, 1);
    o->base.generator = o->adapter.generator = golden_weight;
    o->base.trainable = trainable;
    o->adapter.trainable = true;
    ck_assert_msg(llama_create(&o->m, &o->base, c, &e), "%s", e.msg);
    if (lora) ck_assert_msg(llama_add_lora(&o->m, &o->adapter, 8, 32, dropout, &e), "%s", e.msg);
    params_alloc(&o->rig.params);
    ck_assert_msg(weights_fill(&o->base, &e) && weights_fill(&o->adapter, &e), "%s", e.msg);
}

static void model_close(Model *o)
{
    weights_close(&o->base);
    weights_close(&o->adapter);
    rig_close(&o->rig);
}

static Tensor *integers(Arena *a, int ndim, const int64_t *dim, const int32_t *host)
{
    Tensor *x = tensor_new(a, DTYPE_i32, ndim, dim);
    tensor_upload(x, host);
    return x;
}

/* make_llama.py's ids(). */
static void golden_ids(int32_t *id, int64_t n, const char *name, int64_t vocab)
{
    float *u = malloc((size_t)n * sizeof *u);
    rng_fill(u, n, GOLDEN_INPUTS, name, 1);
    for (int64_t i = 0; i < n; i++) id[i] = (int32_t)((u[i] + 1.0f) * (float)(vocab / 2));
    free(u);
}

/* ---- goldens ---- */

enum { B = 2, T = 33 };
static const int32_t real_length[B] = {33, 21};

typedef struct Listener {
    TensorFile *golden;
    const char *prefix;
    int seen;
} Listener;

/* Compares a tap with its padded rows zeroed, as the reference does. */
static void listen(void *user, const char *name, Tensor *x)
{
    Listener *l = user;
    char full[64];
    float *host = host_copy(x);
    int64_t D = x->dim[2];
    for (int b = 0; b < B; b++)
        for (int64_t i = real_length[b]; i < T; i++)
            memset(host + (b * T + i) * D, 0, (size_t)D * sizeof *host);
    snprintf(full, sizeof full, "%s%s", l->prefix, name);
    golden_compare_host(l->golden, full, x, host, false, GOLDEN_MAX, test_tolerance(TOL_LLAMA));
    free(host);
    l->seen++;
}

/* One row of x (n,D). */
static void compare_row(const TensorFile *g, const char *name, const Tensor *x, int row)
{
    Tensor shape = {.dtype = DTYPE_f32, .ndim = 1, .dim = {x->dim[1]}};
    float *host = host_copy(x);
    golden_compare_host(g, name, &shape, host + row * x->dim[1], false, GOLDEN_MAX, test_tolerance(TOL_LLAMA));
    free(host);
}

static void check_golden(bool lora, Recompute recompute)
{
    Model o;
    int32_t id[B * T], label[B * T];
    const char *prefix = lora ? "lora." : "plain.";
    model_open(&o, test_device(), small, !lora, lora, 0);
    o.m.recompute = recompute;
    Tape *t = &o.rig.tape;
    golden_ids(id, B * T, "ids", small.vocab);
    for (int b = 0; b < B; b++)
        for (int i = 0; i < T; i++) label[b * T + i] = i + 1 < real_length[b] ? id[b * T + i + 1] : -1;
    Tensor *ids = integers(&o.rig.state, 2, (int64_t[]){B, T}, id);
    Tensor *x = tensor_f32(&o.rig.state, B, T, small.dim, 0),
           *dx = tensor_f32(&o.rig.state, B, T, small.dim, 0);
    Tensor *length = integers(&o.rig.state, 1, (int64_t[]){B}, real_length);
    Tensor *labels = integers(&o.rig.state, 1, (int64_t[]){B * T}, label);
    x->backend->move(x->data, llama_embed(t, &o.m, ids)->data, tensor_bytes(x));
    tensor_fill(dx, 0);
    x->needs_grad = true;
    x->grad = dx;
    Listener l = {golden_open(golden_path), prefix, 0};
    t->tap = listen;
    t->tap_user = &l;
    t->recording = true;
    Tensor *h = llama_forward(t, &o.m, x, length, NULL, NULL);
    ck_assert_int_eq(l.seen, 5);
    t->tap = NULL;
    h = tensor_reshape(&o.rig.step, h, 2, (int64_t[]){B * T, small.dim});
    Tensor *logits = llama_logits(t, &o.m, h);
    char name[64];
    snprintf(name, sizeof name, "%slogits", prefix);
    compare_row(l.golden, name, logits, T + 20);
    Tensor *loss = report_loss(t, h, o.m.head, labels, true);
    snprintf(name, sizeof name, "%sloss", prefix);
    golden_compare(l.golden, name, loss, false, GOLDEN_MAX, test_tolerance(TOL_LLAMA));
    tape_backward(t, loss);
    snprintf(name, sizeof name, "%sdx", prefix);
    golden_compare(l.golden, name, dx, false, GOLDEN_L2, test_tolerance(TOL_LLAMA));
    const struct {
        const char *tap;
        const Tensor *w;
    } grads[] = {
        {"lora.d.0.q.A", o.m.layer[0].q_lora.A},
        {"lora.d.0.q.B", o.m.layer[0].q_lora.B},
        {"lora.d.1.v.A", o.m.layer[1].v_lora.A},
        {"lora.d.1.v.B", o.m.layer[1].v_lora.B},
        {"plain.d.0.self_attn.q_proj", o.m.layer[0].q},
        {"plain.d.1.self_attn.v_proj", o.m.layer[1].v},
        {"plain.d.1.mlp.down_proj", o.m.layer[1].down},
        {"plain.d.0.input_layernorm", o.m.layer[0].input_norm},
        {"plain.d.norm", o.m.norm},
        {"plain.d.head", o.m.head},
    };
    for (size_t i = 0; i < sizeof grads / sizeof *grads; i++)
        if (!strncmp(grads[i].tap, prefix, strlen(prefix)))
            golden_compare(l.golden, grads[i].tap, grads[i].w->grad, false, GOLDEN_L2,
                           test_tolerance(TOL_LLAMA));
    tensor_file_close(l.golden);
    model_close(&o);
}

START_TEST(golden_plain) { check_golden(false, RECOMPUTE_NONE); }
END_TEST
START_TEST(golden_plain_recompute) { check_golden(false, RECOMPUTE_FULL); }
END_TEST
START_TEST(golden_lora_medium) { check_golden(true, RECOMPUTE_MEDIUM); }
END_TEST
START_TEST(golden_lora) { check_golden(true, RECOMPUTE_NONE); }
END_TEST

/* Recompute changes no bit of any gradient, dropout included. */
START_TEST(recompute_same_bits)
{
    float *grad[3];
    int64_t len = 0;
    for (int pass = 0; pass < 3; pass++) {
        Model o;
        model_open(&o, test_device(), small, false, true, 0.3f);
        o.m.recompute = (Recompute)pass;
        Tape *t = &o.rig.tape;
        t->recording = true;
        Tensor *x = golden_fill(tensor_f32(&o.rig.step, 2, 9, small.dim, 0), "x", GOLDEN_INPUTS, 1, false);
        Tensor *h = llama_forward(t, &o.m, x, NULL, NULL, NULL);
        tape_backward(t, op_sum(t, op_mul(t, h, h), 1));
        len = o.rig.params.len;
        grad[pass] = malloc((size_t)len * sizeof(float));
        tensor_download(o.rig.params.grad, grad[pass]);
        model_close(&o);
    }
    ck_assert_mem_eq(grad[0], grad[1], (size_t)len * sizeof(float));
    ck_assert_mem_eq(grad[0], grad[2], (size_t)len * sizeof(float));
    for (int pass = 0; pass < 3; pass++) free(grad[pass]);
}
END_TEST

/* ---- cache and generation ---- */

/* x (B,t,D) from (B,all,D) on the host: of row b what begins at position from[b]. */
static void rows_upload(Tensor *x, const float *host, int64_t all, const int32_t from[B])
{
    int64_t n = x->dim[1] * x->dim[2];
    for (int b = 0; b < B; b++)
        x->backend->upload((float *)x->data + b * n, host + (b * all + from[b]) * x->dim[2],
                           (size_t)n * sizeof *host);
}

/* The cache's places: B positions, then B lengths. */
static void check_places(const LlamaCache *c, const int32_t want[2 * B])
{
    int32_t got[2 * B];
    tensor_download(c->place, got);
    ck_assert_mem_eq(got, want, sizeof got);
}

/* A prefill of rows of different lengths, then single steps, against one pass over everything. */
START_TEST(cache)
{
    enum { PREFIX = 20, STEPS = 12, ALL = PREFIX + STEPS };
    Model o;
    model_open(&o, test_device(), small, false, true, 0.5f); /* dropout must not act here */
    Tape *t = &o.rig.tape;
    const int32_t start[B] = {20, 13};
    int64_t D = small.dim;
    Tensor *x = golden_fill(tensor_f32(&o.rig.state, B, ALL, D, 0), "x", GOLDEN_INPUTS, 1, false);
    Tensor *prefix = tensor_f32(&o.rig.state, B, PREFIX, D, 0), *one = tensor_f32(&o.rig.state, B, 1, D, 0);
    float *host = host_copy(x), *want = host_copy(llama_forward(t, &o.m, x, NULL, NULL, NULL));
    rows_upload(prefix, host, ALL, (const int32_t[B]){0});
    LlamaCache c = llama_cache(&o.rig.state, &o.m, B, ALL, DTYPE_f32);
    Tensor *length = integers(&o.rig.state, 1, (int64_t[]){B}, start);
    llama_forward(t, &o.m, prefix, length, &c, start);
    double worst = 0;
    check_places(&c, (const int32_t[]){19, 12, 20, 13});
    for (int step = 0; step < STEPS; step++) {
        llama_place(&c, (int32_t[]){start[0] + step, start[1] + step});
        rows_upload(one, host, ALL, (const int32_t[B]){start[0] + step, start[1] + step});
        float *y = host_copy(llama_step(t, &o.m, one, &c));
        for (int b = 0; b < B; b++)
            for (int64_t i = 0; i < D; i++)
                worst =
                    fmax(worst, fabs((double)y[b * D + i] - (double)want[(b * ALL + start[b] + step) * D + i]));
        free(y);
    }
    ck_assert_double_le(worst, test_tolerance(TOL_LLAMA));
    check_places(&c, (const int32_t[]){31, 24, 32, 25});
    free(want);
    free(host);
    model_close(&o);
}
END_TEST

/* The id after x (1,T,D) without a cache. */
static int32_t next_without_cache(Model *o, const float *x, int64_t n)
{
    ArenaMark mark = arena_mark(&o->rig.step);
    Tensor *in = tensor_f32(&o->rig.step, 1, n, small.dim, 0);
    tensor_upload(in, x);
    Tensor *h = llama_forward(&o->rig.tape, &o->m, in, NULL, NULL, NULL);
    h = tensor_slice(&o->rig.step, tensor_reshape(&o->rig.step, h, 2, (int64_t[]){n, small.dim}), n - 1, 1);
    int32_t id;
    tensor_download(op_argmax(&o->rig.tape, llama_logits(&o->rig.tape, &o->m, h)), &id);
    arena_pop(&o->rig.step, mark);
    return id;
}

START_TEST(greedy_equals_full_forward)
{
    enum { ROWS = 3, PREFIX = 11, MOST = 14 };
    Model o;
    model_open(&o, test_device(), small, false, false, 0);
    const int32_t lengths[ROWS] = {11, 4, 7}, stop[] = {-7};
    int32_t out[ROWS * MOST];
    int n[ROWS];
    Tensor *x = golden_fill(tensor_f32(&o.rig.state, ROWS, PREFIX, small.dim, 0), "x", GOLDEN_INPUTS, 1, false);
    LlamaCache c = llama_cache(&o.rig.state, &o.m, ROWS, PREFIX + MOST, DTYPE_f32);
    SamplerOptions options = {0, 1, 1, MOST, stop, 1, NULL};
    size_t used = o.rig.step.used;
    sampler_generate(&o.rig.tape, &o.m, &c, x, lengths, &options, out, n);
    ck_assert_uint_eq(o.rig.step.used, used);
    float *row = malloc((PREFIX + MOST) * (size_t)small.dim * sizeof *row);
    float *host = host_copy(x), *embed = host_copy(o.m.embed);
    int32_t end = -1;
    for (int b = 0; b < ROWS; b++) {
        ck_assert_int_eq(n[b], MOST);
        memcpy(row, host + b * PREFIX * small.dim, (size_t)(lengths[b] * small.dim) * sizeof *row);
        for (int i = 0; i < MOST; i++) {
            ck_assert_int_eq(out[b * MOST + i], next_without_cache(&o, row, lengths[b] + i));
            memcpy(row + (lengths[b] + i) * small.dim, embed + out[b * MOST + i] * small.dim,
                   (size_t)small.dim * sizeof *row);
        }
    }
    free(row);
    free(host);
    free(embed);
    /* A stop id ends its row and is not part of it; the other rows go on as before. */
    int32_t again[ROWS * MOST];
    end = out[5];
    options.stop = &end;
    sampler_generate(&o.rig.tape, &o.m, &c, x, lengths, &options, again, n);
    int first = 0;
    while (out[first] != end) first++;
    ck_assert_int_eq(n[0], first);
    ck_assert_mem_eq(again, out, (size_t)first * sizeof *out);
    for (int b = 1; b < ROWS; b++)
        ck_assert_mem_eq(again + b * MOST, out + b * MOST, (size_t)n[b] * sizeof *out);
    model_close(&o);
}
END_TEST

START_TEST(sampling)
{
    enum { ROWS = 4, PREFIX = 5, MOST = 12 };
    Model o;
    model_open(&o, test_device(), small, false, false, 0);
    int32_t out[3][ROWS * MOST];
    int n[ROWS];
    Tensor *x = golden_fill(tensor_f32(&o.rig.state, ROWS, PREFIX, small.dim, 0), "x", GOLDEN_INPUTS, 1, false);
    LlamaCache c = llama_cache(&o.rig.state, &o.m, ROWS, PREFIX + MOST, DTYPE_f32);
    for (int i = 0; i < 3; i++) {
        SamplerOptions options = {1, 0.9f, i == 2 ? 8 : 7, MOST, NULL, 0, NULL};
        sampler_generate(&o.rig.tape, &o.m, &c, x, NULL, &options, out[i], n);
    }
    ck_assert_mem_eq(out[0], out[1], sizeof out[0]); /* same seed, same text */
    ck_assert_mem_ne(out[0], out[2], sizeof out[0]);
    SamplerOptions cold = {1e-4f, 0.9f, 7, MOST, NULL, 0, NULL}, greedy = {0, 1, 7, MOST, NULL, 0, NULL};
    sampler_generate(&o.rig.tape, &o.m, &c, x, NULL, &cold, out[0], n);
    sampler_generate(&o.rig.tape, &o.m, &c, x, NULL, &greedy, out[1], n);
    ck_assert_mem_eq(out[0], out[1], sizeof out[0]);
    model_close(&o);
}
END_TEST

/* ---- memory ---- */

static size_t training_peak(const Backend *backend, Recompute recompute)
{
    Model o;
    LlamaConfig c = {97, 24, 5, 3, 1, 8, 40, 1e-5f, 10000, true};
    model_open(&o, backend, c, true, true, 0.05f);
    o.m.recompute = recompute;
    Tape *t = &o.rig.tape;
    int32_t id[3 * 17], label[3 * 17];
    golden_ids(id, 3 * 17, "ids", c.vocab);
    for (int i = 0; i < 3 * 17; i++) label[i] = id[(i + 1) % (3 * 17)];
    for (int step = 0; step < 2; step++) {
        t->recording = true;
        Tensor *x = llama_embed(t, &o.m, integers(&o.rig.step, 2, (int64_t[]){3, 17}, id)); /* (3,17,24) */
        Tensor *h = llama_forward(t, &o.m, x, NULL, NULL, NULL);
        h = tensor_reshape(&o.rig.step, h, 2, (int64_t[]){3 * 17, c.dim});
        Tensor *loss = report_loss(t, h, o.m.head, integers(&o.rig.step, 1, (int64_t[]){3 * 17}, label), true);
        tape_backward(t, loss);
        tape_reset(t);
    }
    size_t peak = o.rig.step.peak;
    ck_assert_uint_gt(peak, 0);
    model_close(&o);
    return peak;
}

START_TEST(plan_is_exact)
{
    size_t peak[3];
    for (int i = 0; i < 3; i++) {
        peak[i] = training_peak(test_device(), (Recompute)i);
        ck_assert_uint_eq(training_peak(&backend_plan, (Recompute)i), peak[i]);
    }
    ck_assert_uint_lt(peak[RECOMPUTE_MEDIUM], peak[RECOMPUTE_NONE] * 3 / 4);
    ck_assert_uint_lt(peak[RECOMPUTE_FULL], peak[RECOMPUTE_MEDIUM]);
    ck_assert_uint_lt(peak[RECOMPUTE_FULL], peak[RECOMPUTE_NONE] / 2);
}
END_TEST

static size_t inference_peak(const Backend *backend, int64_t layers)
{
    Model o;
    LlamaConfig c = {50, 32, layers, 4, 2, 8, 96, 1e-5f, 10000, true};
    model_open(&o, backend, c, false, false, 0);
    Tensor *x = tensor_f32(&o.rig.state, 2, 16, c.dim, 0);
    if (backend != &backend_plan) golden_fill(x, "x", GOLDEN_INPUTS, 1, false);
    llama_forward(&o.rig.tape, &o.m, x, NULL, NULL, NULL);
    size_t peak = o.rig.step.peak;
    model_close(&o);
    return peak;
}

/* One block and the input it keeps, whatever the depth. */
START_TEST(inference_peaks_at_one_block)
{
    size_t one = inference_peak(&backend_plan, 1), many = inference_peak(&backend_plan, 32);
    ck_assert_uint_eq(inference_peak(test_device(), 32), many);
    ck_assert_uint_eq(inference_peak(&backend_plan, 2), many);
    ck_assert_uint_eq(many, one + 2 * 16 * 32 * sizeof(float));
}
END_TEST

/* ---- files ---- */

static void forward_bits(Llama *m, Rig *r, float *y)
{
    tape_reset(&r->tape);
    Tensor *x = golden_fill(tensor_f32(&r->step, 2, 5, small.dim, 0), "x", GOLDEN_INPUTS, 1, false);
    tensor_download(llama_forward(&r->tape, m, x, NULL, NULL, NULL), y);
}

/* f32 -> nf4 at load -> file in bitsandbytes' layout -> the same bits; sizes come from the file. */
START_TEST(four_bit_files)
{
    for (int nested = 0; nested < 2; nested++) {
        Rig r;
        Weights w;
        Llama m;
        Error e = {0};
        float y[2][2 * 5 * 64];
        rig_open(&r, test_device());
        weights_init(&w, &r.weights, &r.state, NULL, 1);
        w.generator = golden_weight;
        w.quant = DTYPE_nf4;
        w.nested = nested;
        ck_assert_msg(llama_create(&m, &w, small, &e), "%s", e.msg);
        ck_assert_int_eq(m.layer[1].down->dtype, DTYPE_nf4);
        ck_assert_int_eq(m.embed->dtype, DTYPE_f32);
        forward_bits(&m, &r, y[0]);
        ck_assert_msg(weights_save((Weights *[]){&w}, 1, true, NULL, test_path(), &e), "%s", e.msg);
        weights_close(&w);
        weights_init(&w, &r.weights, &r.state, NULL, 1);
        ck_assert_msg(weights_open(&w, test_path(), &e) && llama_open(&m, &w, &e), "%s", e.msg);
        ck_assert_int_eq(m.layer[1].down->dtype, DTYPE_nf4);
        ck_assert_mem_eq(&m.config, &small, sizeof small);
        forward_bits(&m, &r, y[1]);
        ck_assert_mem_eq(y[0], y[1], sizeof y[0]);
        weights_close(&w);
        unlink(test_path());
        rig_close(&r);
    }
}
END_TEST

/* PEFT's names, and the adapter comes back. */
START_TEST(adapter_file)
{
    Model o;
    Weights w;
    Error e = {0};
    float y[2][2 * 5 * 64];
    model_open(&o, test_device(), small, false, true, 0.05f);
    forward_bits(&o.m, &o.rig, y[0]);
    ck_assert_msg(weights_save((Weights *[]){&o.adapter}, 1, false, NULL, test_path(), &e), "%s", e.msg);
    TensorFile *file = safetensors_open(test_path(), &e);
    ck_assert_int_eq(file->n, 4 * (int)small.layers);
    for (int i = 0; i < file->n; i++) {
        char name[128];
        snprintf(name, sizeof name, "base_model.model.model.layers.%d.self_attn.%c_proj.lora_%c.weight", i / 4,
                 i / 2 % 2 ? 'v' : 'q', i % 2 ? 'B' : 'A');
        ck_assert_str_eq(file->entry[i].name, name);
    }
    tensor_file_close(file);
    for (int i = 0; i < small.layers; i++) o.m.layer[i].q_lora = o.m.layer[i].v_lora = (Lora){0};
    weights_init(&w, &o.rig.weights, &o.rig.state, NULL, 1);
    ck_assert_msg(weights_open(&w, test_path(), &e) && llama_add_lora(&o.m, &w, 0, 1, 0, &e), "%s", e.msg);
    ck_assert_float_eq(o.m.layer[0].q_lora.scale, 4);
    forward_bits(&o.m, &o.rig, y[1]);
    ck_assert_mem_eq(y[0], y[1], sizeof y[0]);
    weights_close(&w);
    unlink(test_path());
    model_close(&o);
}
END_TEST

/* LLaMA 3 8B and its adapter, counted without memory. */
START_TEST(public_sizes)
{
    Rig r;
    Weights w, adapter;
    Llama m;
    LlamaConfig c = {128256, 4096, 32, 32, 8, 128, 14336, 1e-5f, 500000, false};
    rig_open(&r, &backend_plan);
    weights_init(&w, &r.weights, &r.state, &r.params, 1);
    weights_init(&adapter, &r.weights, &r.state, &r.params, 1);
    w.trainable = adapter.trainable = true;
    ck_assert(llama_create(&m, &w, c, NULL));
    ck_assert_int_eq(r.params.n, 291);
    ck_assert_int_eq(params_count(&r.params), 8030261248);
    ck_assert(llama_add_lora(&m, &adapter, 8, 32, 0.05f, NULL));
    ck_assert_int_eq(adapter.n, 128);
    ck_assert_int_eq(params_count(&r.params), 8030261248 + 3407872);
    weights_close(&w);
    weights_close(&adapter);
    rig_close(&r);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {golden_plain,
                                  golden_plain_recompute,
                                  golden_lora_medium,
                                  golden_lora,
                                  recompute_same_bits,
                                  cache,
                                  greedy_equals_full_forward,
                                  sampling,
                                  plan_is_exact,
                                  inference_peaks_at_one_block,
                                  four_bit_files,
                                  adapter_file,
                                  public_sizes};
    return run_tests("llama", tests, sizeof tests / sizeof *tests);
}
