/* BERT against transformers' BertForMaskedLM: every hidden state, the head, loss and gradients; texts of
 * several lengths; sizes from files; faults. */
#include "models/bert.h"
#include "tests/golden/golden.h"
#include "tests/models/main.h"

enum { V = 100, D = 64, B = 2, T = 17, R = 5 };
static const BertConfig small = {V, D, 2, 4, 128, 20, 2};
static const BertConfig public = {28996, 768, 12, 12, 3072, 512, 2};

typedef struct Model {
    Rig rig;
    Weights w;
    Bert m;
    BertHead head;
} Model;

static void model_open(Model *o, BertConfig c)
{
    Error e = {0};
    rig_open(&o->rig, test_device());
    weights_init(&o->w, &o->rig.weights, &o->rig.state, &o->rig.params, 1);
    o->w.trainable = true;
    o->w.generator = golden_weight;
    o->w.prefix = "bert.";
    ck_assert_msg(bert_create(&o->m, &o->w, c, &e), "%s", e.msg);
    ck_assert_msg(bert_head_create(&o->head, &o->m, &o->w, &e), "%s", e.msg);
    ck_assert_str_eq(o->w.prefix, "bert.");
    params_alloc(&o->rig.params);
    ck_assert_msg(weights_fill(&o->w, &e), "%s", e.msg);
}

static void model_close(Model *o)
{
    weights_close(&o->w);
    rig_close(&o->rig);
}

static Tensor *integers(Arena *a, int ndim, const int64_t *dim, const int32_t *host)
{
    Tensor *x = tensor_new(a, DTYPE_i32, ndim, dim);
    tensor_upload(x, host);
    return x;
}

/* make_medclip.py's ids(). */
static void golden_ids(int32_t *id, int64_t n, const char *name, int64_t vocab)
{
    float *u = malloc((size_t)n * sizeof *u);
    rng_fill(u, n, GOLDEN_INPUTS, name, 1);
    for (int64_t i = 0; i < n; i++) id[i] = (int32_t)((u[i] + 1.0f) * (float)(vocab / 2));
    free(u);
}

static Tensor *golden_text(Arena *a)
{
    int32_t id[B * T];
    golden_ids(id, B * T, "ids", V);
    return integers(a, 2, (int64_t[]){B, T}, id);
}

typedef struct Listener {
    TensorFile *golden;
    int seen;
} Listener;

static void listen(void *user, const char *name, Tensor *x)
{
    Listener *l = user;
    golden_compare(l->golden, name, x, false, GOLDEN_MAX, test_tolerance(TOL_BERT));
    l->seen++;
}

/* The second text's logits, and the loss of the masked places; its gradients. */
static void check_head(Model *o, const TensorFile *g, Tensor *h)
{
    Tape *t = &o->rig.tape;
    int32_t place[R], label[R], label_of[B * T], at[B * T];
    int n = 0;
    golden_ids(place, R, "places", 2 * T);
    golden_ids(label, R, "labels", V);
    for (int i = 0; i < B * T; i++) label_of[i] = -1;
    for (int i = 0; i < R; i++) label_of[place[i]] = label[i];
    h = tensor_reshape(t->step, h, 2, (int64_t[]){B * T, D});
    t->recording = false;
    Tensor *logits = bert_head_logits(t, &o->m, &o->head, tensor_slice(t->step, h, T, T));
    golden_compare(g, "logits", logits, false, GOLDEN_MAX, test_tolerance(TOL_BERT));
    t->recording = true;
    for (int i = 0; i < B * T; i++)
        if (label_of[i] >= 0) at[n] = i, label_of[n++] = label_of[i];
    const int64_t rows = n;
    Tensor *h_rows = op_select(t, h, integers(t->step, 1, &rows, at));
    Tensor *loss = bert_head_loss(t, &o->m, &o->head, h_rows, integers(t->step, 1, &rows, label_of));
    golden_compare(g, "loss", loss, false, GOLDEN_MAX, test_tolerance(TOL_BERT));
    tape_backward(t, loss);
    for (int i = 0; i < o->w.n; i++) {
        const WeightsItem *item = &o->w.item[i];
        char name[192];
        if (strstr(item->name, "key.bias")) continue; /* moves a query's scores alike: 0 but for rounding */
        snprintf(name, sizeof name, "d.%s", item->name);
        golden_compare(g, name, item->tensor->grad, false, GOLDEN_L2, test_tolerance(TOL_BERT));
    }
}

START_TEST(golden)
{
    Model o;
    Listener l = {golden_open("tests/golden/bert.safetensors"), 0};
    model_open(&o, small);
    Tape *t = &o.rig.tape;
    t->tap = listen;
    t->tap_user = &l;
    t->recording = true;
    Tensor *h = bert_forward(t, &o.m, golden_text(&o.rig.state), NULL);
    ck_assert_int_eq(l.seen, 1 + 2);
    t->tap = NULL;
    check_head(&o, l.golden, h);
    tensor_file_close(l.golden);
    model_close(&o);
}
END_TEST

START_TEST(pooled)
{
    Model o;
    Listener l = {golden_open("tests/golden/bert.safetensors"), 0};
    model_open(&o, small);
    o.rig.tape.tap = listen;
    o.rig.tape.tap_user = &l;
    bert_pool(&o.rig.tape, &o.m, golden_text(&o.rig.state), NULL);
    ck_assert_int_eq(l.seen, 1 + 2 + 1);
    tensor_file_close(l.golden);
    model_close(&o);
}
END_TEST

/* A length masks the keys behind it; a row pooled to its length is the text alone. */
START_TEST(padded)
{
    Model o;
    TensorFile *g = golden_open("tests/golden/bert.safetensors");
    model_open(&o, small);
    Tape *t = &o.rig.tape;
    const int32_t length[B] = {T, 11};
    Tensor *ids = golden_text(&o.rig.state), *lengths = integers(&o.rig.state, 1, (int64_t[]){B}, length);
    float *h = host_copy(bert_forward(t, &o.m, ids, lengths));
    const Tensor eleven = {.dtype = DTYPE_f32, .ndim = 2, .dim = {11, D}};
    golden_compare_host(g, "masked", &eleven, h + T * D, false, GOLDEN_MAX, test_tolerance(TOL_BERT));
    free(h);
    int32_t id[B * T];
    tensor_download(ids, id);
    Tensor *alone = integers(&o.rig.state, 2, (int64_t[]){1, 11}, id + T);
    float *both = host_copy(bert_pool(t, &o.m, ids, length)), *one = host_copy(bert_pool(t, &o.m, alone, NULL));
    for (int i = 0; i < D; i++) ck_assert_float_eq_tol(both[D + i], one[i], (float)test_tolerance(TOL_BERT));
    id[T + 11] = (id[T + 11] + 1) % V; /* behind the length: nothing reads it */
    tensor_upload(ids, id);
    float *again = host_copy(bert_pool(t, &o.m, ids, length));
    ck_assert_mem_eq(again, both, B * D * sizeof *both);
    free(again);
    free(both);
    free(one);
    tensor_file_close(g);
    model_close(&o);
}
END_TEST

/* Padded texts give gradients too: a step along them lowers the loss. */
START_TEST(training)
{
    Model o;
    model_open(&o, small);
    Tape *t = &o.rig.tape;
    float loss[2];
    for (int pass = 0; pass < 2; pass++) {
        t->recording = true;
        Tensor *y = bert_pool(t, &o.m, golden_text(t->step), (const int32_t[]){T, 9});
        Tensor *sum = op_sum(t, op_mul(t, y, y), 1);
        loss[pass] = host_get(sum, 0);
        params_zero_grad(&o.rig.params);
        tape_backward(t, sum);
        tape_reset(t);
        float *x = host_copy(o.rig.params.weight), *g = host_copy(o.rig.params.grad);
        for (int64_t i = 0; i < o.rig.params.len; i++) x[i] -= 1e-4f * g[i];
        tensor_upload(o.rig.params.weight, x);
        free(x);
        free(g);
    }
    ck_assert_float_lt(loss[1], loss[0]);
    model_close(&o);
}
END_TEST

/* Sizes and heads come back from a file; values can be taken over where sizes agree. */
START_TEST(file)
{
    Model o, other;
    Weights frozen;
    Bert from_file;
    Error e = {0};
    float y[3][B * D];
    model_open(&o, small);
    ck_assert_msg(weights_save((Weights *[]){&o.w}, 1, false, NULL, test_path(), &e), "%s", e.msg);
    weights_init(&frozen, &o.rig.weights, &o.rig.state, NULL, 0);
    frozen.prefix = "bert.";
    ck_assert_msg(weights_open(&frozen, test_path(), &e) && bert_open(&from_file, &frozen, &e), "%s", e.msg);
    ck_assert_mem_eq(&from_file.config, &small, sizeof small);
    Tensor *ids = golden_text(&o.rig.state);
    tensor_download(bert_pool(&o.rig.tape, &o.m, ids, NULL), y[0]);
    tensor_download(bert_pool(&o.rig.tape, &from_file, ids, NULL), y[1]);
    ck_assert_mem_eq(y[0], y[1], sizeof y[0]);
    model_open(&other, small);
    params_zero_grad(&other.rig.params);
    tensor_fill(other.rig.params.weight, 0);
    ck_assert(bert_copy(&other.m, &from_file, &e));
    tensor_download(bert_pool(&other.rig.tape, &other.m, golden_text(&other.rig.state), NULL), y[2]);
    ck_assert_mem_eq(y[0], y[2], sizeof y[0]);
    other.m.config.layers = 1;
    ck_assert(!bert_copy(&other.m, &from_file, &e));
    ck_assert_str_eq(e.msg, "BERT: expected vocabulary 100, width 64, 1 layers, 4 heads, feed-forward 128, 20 "
                            "positions, found 100, 64, 2, 4, 128, 20");
    unlink(test_path());
    weights_close(&frozen);
    model_close(&other);
    model_close(&o);
}
END_TEST

static void expect_open_error(const char *drop, const char *key, const char *value, const char *message)
{
    Model o;
    Weights w;
    Bert m;
    Error e = {0};
    model_open(&o, small);
    for (int i = o.w.n - 1; drop && i >= 0; i--)
        if (strstr(o.w.item[i].name, drop)) o.w.item[i] = o.w.item[--o.w.n];
    const char *const meta[] = {key, value, NULL};
    ck_assert(weights_save((Weights *[]){&o.w}, 1, false, meta, test_path(), &e));
    weights_init(&w, &o.rig.weights, &o.rig.state, NULL, 1);
    w.prefix = "bert.";
    ck_assert(weights_open(&w, test_path(), &e));
    ck_assert(!bert_open(&m, &w, &e));
    ck_assert_str_eq(after_path(e.msg), message);
    ck_assert_int_eq(e.code, ERROR_INPUT);
    weights_close(&w);
    unlink(test_path());
    model_close(&o);
}

START_TEST(file_faults)
{
    expect_open_error("word_embeddings", "x", "y", "tensor bert.embeddings.word_embeddings.weight is missing");
    expect_open_error("layer.1.output.LayerNorm.bias", "x", "y",
                      "tensor bert.encoder.layer.1.output.LayerNorm.bias is missing: expected shape [64]");
    expect_open_error("encoder.layer.0.intermediate.dense.weight", "x", "y",
                      "tensor bert.encoder.layer.0.intermediate.dense.weight is missing");
    expect_open_error(NULL, "bert.heads", "4x",
                      "metadata bert.heads: expected a whole number from 1 to 65536, found \"4x\"");
    expect_open_error(NULL, "bert.heads", "5",
                      "BERT of vocabulary 100, width 64, 2 layers, 5 heads, feed-forward 128, 20 positions, 2 "
                      "types: sizes must be positive, the width a multiple of the heads");
}
END_TEST

/* BioClinicalBERT without its pooler; deeper ones need no more memory to run. */
START_TEST(public_size)
{
    size_t peak[2];
    for (int i = 0; i < 2; i++) {
        Rig r;
        Weights w;
        Bert m;
        BertConfig c = public;
        if (i) c.layers = 20;
        rig_open(&r, &backend_plan);
        weights_init(&w, &r.weights, &r.state, &r.params, 1);
        w.trainable = true;
        ck_assert(bert_create(&m, &w, c, NULL));
        if (!i) ck_assert_int_eq(params_count(&r.params), 108310272 - (768 * 768 + 768));
        params_alloc(&r.params);
        bert_pool(&r.tape, &m, tensor_new(&r.state, DTYPE_i32, 2, (int64_t[]){4, 77}), NULL);
        peak[i] = r.step.peak;
        weights_close(&w);
        rig_close(&r);
    }
    ck_assert_uint_eq(peak[0], peak[1]);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {golden, pooled, padded, training, file, file_faults, public_size};
    return run_tests("bert", tests, sizeof tests / sizeof *tests);
}
