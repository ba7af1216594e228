/* A small LLaMA as a GGUF file and as Hugging Face's folder: the same logits as transformers has; what both say
 * of themselves is checked. */
#include "data/file.h"
#include "data/json.h"
#include "models/llama.h"
#include "models/llama_names.h"
#include "tests/golden/golden.h"
#include "tests/models/main.h"
#include "tests/data/fail_alloc.h"
#include "tests/models/config_bad.h"

enum { ROWS = 2, IDS = 11 };
static const char fixture[] = "tests/golden/llama_gguf.gguf";
static char folder[] = "/tmp/test-llama-names-XXXXXX";
static json_t *golden;

static const char *in_folder(const char *name)
{
    static char path[2][64];
    static int next;
    next = !next;
    snprintf(path[next], sizeof path[0], "%s/%s", folder, name);
    return path[next];
}

typedef struct Model {
    Rig rig;
    Weights w;
    Llama m;
} Model;

static bool model_open(Model *o, const char *path, DType quant, Error *e)
{
    rig_open(&o->rig, &backend_cpu);
    weights_init(&o->w, &o->rig.weights, &o->rig.state, &o->rig.params, 1);
    o->w.quant = quant;
    return weights_open(&o->w, path, e) && llama_open(&o->m, &o->w, e);
}

static void model_close(Model *o)
{
    weights_close(&o->w);
    rig_close(&o->rig);
}

/* The last token's logits against transformers'. */
static void check_logits(Model *o, double tol)
{
    Tape *t = &o->rig.tape;
    int32_t id[ROWS * IDS];
    const int64_t dim[2] = {ROWS, IDS}, V = o->m.config.vocab;
    for (size_t i = 0; i < ROWS * IDS; i++)
        id[i] = (int32_t)json_integer_value(
            json_array_get(json_array_get(json_object_get(golden, "ids"), i / IDS), i % IDS));
    Tensor *ids = tensor_new(t->step, DTYPE_i32, 2, dim);
    tensor_upload(ids, id);
    Tensor *h = llama_forward(t, &o->m, llama_embed(t, &o->m, ids), NULL, NULL, NULL);
    h = tensor_reshape(t->step, h, 2, (int64_t[]){ROWS * IDS, o->m.config.dim});
    float *y = host_copy(llama_logits(t, &o->m, h));
    for (size_t b = 0; b < ROWS; b++)
        for (size_t v = 0; v < (size_t)V; v++) {
            double want =
                json_number_value(json_array_get(json_array_get(json_object_get(golden, "logits"), b), v));
            double got = (double)y[(b * IDS + IDS - 1) * (size_t)V + v];
            ck_assert_msg(fabs(got - want) <= tol, "row %zu, logit %zu: %.6f, transformers has %.6f", b, v, got,
                          want);
        }
    free(y);
}

START_TEST(gguf_file)
{
    Model o;
    Error e = {0};
    ck_assert_msg(model_open(&o, fixture, DTYPE_f32, &e), "%s", e.msg);
    const LlamaConfig *c = &o.m.config;
    ck_assert(c->layers == 2 && c->heads == 4 && c->kv_heads == 2 && c->head_dim == 16 && c->ffn == 96);
    ck_assert(c->norm_eps == 1e-6f && c->rope_theta == 20000 && !c->tied);
    /* its blocks, not ours made anew */
    ck_assert(o.m.layer[0].q->dtype == DTYPE_q4_0 && o.m.layer[1].down->dtype == DTYPE_q4_0);
    ck_assert(o.m.layer[0].v->dtype == DTYPE_f32 && o.m.layer[0].gate->dtype == DTYPE_f32);
    ck_assert(o.m.head->dtype == DTYPE_f32);
    check_logits(&o, 2e-5);
    ck_assert_msg(llama_adopt(o.w.file, NULL, &e), "%s", e.msg); /* once more changes nothing */
    const TensorEntry *q = tensor_file_find(o.w.file, "model.layers.1.self_attn.q_proj.weight");
    ck_assert(q && q->heads == 4);
    model_close(&o);
    /* what does not come in 4 bits is quantised if asked, what does stays as it is */
    ck_assert_msg(model_open(&o, fixture, DTYPE_nf4, &e), "%s", e.msg);
    ck_assert(o.m.layer[0].q->dtype == DTYPE_q4_0 && o.m.layer[0].v->dtype == DTYPE_nf4);
    model_close(&o);
}
END_TEST

/* ---- Hugging Face's folder ---- */

/* model.safetensors with the fixture's values, all but `without`. */
static void write_weights(const char *without)
{
    Error e = {0};
    TensorFile *f = tensor_file_open(fixture, &e);
    ck_assert_msg(f && llama_adopt(f, NULL, &e), "%s", e.msg);
    StWriter *w = st_writer_new();
    float *x[32];
    ck_assert_int_le(f->n, 32);
    for (int i = 0; i < f->n; i++) {
        const TensorEntry *t = &f->entry[i];
        int64_t n = 1;
        for (int k = 0; k < t->ndim; k++) n *= t->dim[k];
        x[i] = malloc((size_t)n * sizeof **x);
        ck_assert_msg(tensor_file_read_f32(f, t, x[i], &e), "%s", e.msg);
        if (strcmp(t->name, without)) st_writer_add(w, t->name, ST_F32, t->ndim, t->dim, x[i]);
    }
    ck_assert_msg(st_writer_save(w, in_folder("model.safetensors"), &e), "%s", e.msg);
    st_writer_free(w);
    for (int i = 0; i < f->n; i++) free(x[i]);
    tensor_file_close(f);
}

/* config.json with one member replaced; value NULL: taken out. */
static void write_config(const char *which, const char *key, const char *value)
{
    Error e = {0};
    json_t *o = json_deep_copy(json_object_get(golden, which));
    json_t *v = value ? json_loads(value, JSON_DECODE_ANY, NULL) : NULL;
    ck_assert(o && (!value || v));
    if (key && value) json_object_set_new(o, key, v);
    if (key && !value) json_object_del(o, key);
    ck_assert_msg(json_write(in_folder("config.json"), o, &e), "%s", e.msg);
    json_decref(o);
}

START_TEST(hugging_face_folder)
{
    static const char *const configs[] = {"config", "config before 5"};
    static const char *const unsaid[] = {NULL, "head_dim", "hidden_act", "attention_bias"};
    Model o;
    Error e = {0};
    write_weights("");
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 4; k++)
            for (int file = 0; file < 2; file++) {
                write_config(configs[i], unsaid[k], NULL);
                ck_assert_msg(model_open(&o, file ? in_folder("model.safetensors") : folder, DTYPE_f32, &e),
                              "%s", e.msg);
                ck_assert(o.m.config.norm_eps == 1e-6f && o.m.config.rope_theta == 20000);
                check_logits(&o, 2e-5);
                model_close(&o);
            }
    /* a head that is there, but said to be the embedding */
    write_config("config", "tie_word_embeddings", "true");
    ck_assert_msg(model_open(&o, folder, DTYPE_f32, &e), "%s", e.msg);
    ck_assert(o.m.config.tied && o.m.head == o.m.embed);
    model_close(&o);
    /* without a config: as before, sizes from shapes and LLaMA-3's constants */
    unlink(in_folder("config.json"));
    TensorFile *f = tensor_file_open(folder, &e);
    ck_assert_msg(f && llama_adopt(f, NULL, &e), "%s", e.msg);
    ck_assert_ptr_null(tensor_file_meta(f, "llama.heads"));
    /* named by hand, it is read again */
    write_config("config", "rope_theta", "7");
    rename(in_folder("config.json"), in_folder("other.json"));
    ck_assert_msg(llama_adopt(f, in_folder("other.json"), &e), "%s", e.msg);
    ck_assert_str_eq(tensor_file_meta(f, "llama.heads"), "4");
    ck_assert_str_eq(tensor_file_meta(f, "llama.kv_heads"), "2");
    ck_assert_str_eq(tensor_file_meta(f, "llama.rope_theta"), "20000"); /* rope_parameters wins */
    tensor_file_close(f);
    unlink(in_folder("other.json"));
}
END_TEST

static bool adopt(const char *path, Error *e)
{
    TensorFile *f = tensor_file_open(path, e);
    bool ok = f && llama_adopt(f, NULL, e);
    tensor_file_close(f);
    return ok;
}

static void must_refuse(const char *path, const char *where, const char *message)
{
    Error e = {0};
    char expected[600];
    TensorFile *f = tensor_file_open(path, &e);
    ck_assert_msg(f != NULL, "%s", e.msg);
    bool ok = llama_adopt(f, NULL, &e);
    tensor_file_close(f);
    ck_assert_msg(!ok, "adopted; expected: %s", message);
    snprintf(expected, sizeof expected, "%s: %s", where, message);
    ck_assert_str_eq(e.msg, expected);
    ck_assert_int_eq(e.code, ERROR_INPUT);
}

/* As file_write, but not as far as the disk. */
static void write_bytes(const char *name, const void *bytes, size_t n)
{
    FILE *f = fopen(in_folder(name), "wb");
    ck_assert(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

static const char *with_quotes(const char *text)
{
    static char quoted[1000];
    size_t n = strlen(text);
    ck_assert(n < sizeof quoted);
    for (size_t i = 0; i <= n; i++) quoted[i] = text[i] == '\'' ? '"' : text[i];
    return quoted;
}

START_TEST(refused_configs)
{
    write_weights("");
    for (size_t i = 0; i < sizeof bad_configs / sizeof *bad_configs; i++) {
        const BadConfig *bad = &bad_configs[i];
        const char *value = bad->value ? with_quotes(bad->value) : NULL;
        char expected[600];
        Model o;
        Error e = {0};
        if (bad->key)
            write_config("config", bad->key, value);
        else
            write_bytes("config.json", value, strlen(value));
        bool ok = model_open(&o, folder, DTYPE_f32, &e);
        ck_assert_msg(!ok, "%s %s: opened; expected: %s", bad->key ? bad->key : "", bad->value, bad->message);
        model_close(&o);
        bool json = strstr(bad->message, ": not JSON") != NULL;
        snprintf(expected, sizeof expected, "%s%s%s%s", folder,
                 *bad->message == '/' ? "" : "/config.json:", *bad->message == '/' || json ? "" : " ",
                 bad->message);
        ck_assert_str_eq(e.msg, expected);
        ck_assert_int_eq(e.code, ERROR_INPUT);
    }
    write_config("config", NULL, NULL);
    write_weights("lm_head.weight");
    must_refuse(folder, in_folder("model.safetensors"),
                "tensor lm_head.weight is missing, and the head is not tied to the embedding");
    unlink(in_folder("config.json"));
}
END_TEST

/* 4-bit weights: the feed-forward's size is not in their shape, (bytes, 1), and is not compared with it. */
START_TEST(packed)
{
    static const float x[96 * 64];
    Error e = {0};
    StWriter *w = st_writer_new();
    st_writer_add(w, "model.embed_tokens.weight", ST_F32, 2, (int64_t[]){96, 64}, x);
    st_writer_add(w, "lm_head.weight", ST_F32, 2, (int64_t[]){96, 64}, x);
    st_writer_add(w, "model.layers.0.input_layernorm.weight", ST_F32, 1, (int64_t[]){64}, x);
    st_writer_add(w, "model.layers.1.input_layernorm.weight", ST_F32, 1, (int64_t[]){64}, x);
    st_writer_add(w, "model.layers.0.mlp.gate_proj.weight", ST_U8, 2, (int64_t[]){96 * 32, 1}, x);
    ck_assert_msg(st_writer_save(w, in_folder("model.safetensors"), &e), "%s", e.msg);
    st_writer_free(w);
    write_config("config", "quantization_config",
                 "{\"quant_method\":\"bitsandbytes\",\"load_in_4bit\":true,\"load_in_8bit\":false}");
    ck_assert_msg(adopt(folder, &e), "%s", e.msg);
    unlink(in_folder("config.json"));
}
END_TEST

/* Of both ways of writing one. */
START_TEST(config_prefixes)
{
    static const char *const which[] = {"config", "config before 5"};
    write_weights("");
    for (int i = 0; i < 2; i++) {
        uint8_t *text;
        size_t n;
        Error e = {0};
        write_config(which[i], NULL, NULL);
        ck_assert(file_read(in_folder("config.json"), 1 << 20, &text, &n, &e));
        ck_assert(text[n - 1] == '\n' && text[n - 2] == '}');
        for (size_t k = 0; k <= n; k++) {
            Error part = {0};
            write_bytes("config.json", text, k);
            bool ok = adopt(folder, &part);
            ck_assert_msg(ok == (k >= n - 1), "%zu of %zu bytes: %s", k, n, part.msg);
            ck_assert(ok || (part.code == ERROR_INPUT && strstr(part.msg, "/config.json:") &&
                             strstr(part.msg, ": not JSON: ")));
        }
        free(text);
    }
    unlink(in_folder("config.json"));
}
END_TEST

/* ---- GGUF's keys and names ---- */

/* The fixture with some bytes replaced by as many. */
static void write_edited(const char *from, const char *to, size_t n)
{
    Error e = {0};
    uint8_t *bytes;
    size_t size;
    ck_assert(file_read(fixture, 1 << 20, &bytes, &size, &e));
    uint8_t *at = memmem(bytes, size, from, n);
    ck_assert_msg(at != NULL, "%s is not in the file", from);
    memcpy(at, to, n);
    write_bytes("t.gguf", bytes, size);
    free(bytes);
}

START_TEST(refused_gguf)
{
#define EDIT(from, to) from, to, sizeof from - 1
#define U32(digit)     digit "\0\0\0"
    static const struct {
        const char *from, *to;
        size_t n;
        const char *message;
    } cases[] = {
        {EDIT(U32("\x5") "\0\0\0\0llama", U32("\x5") "\0\0\0\0qwen2"),
         "key general.architecture: expected llama, found qwen2"},
        {EDIT("general.architecture", "general.architectura"),
         "key general.architecture: expected llama, found none"},
        {EDIT("head_count\4", "head_counx\4"),
         "key llama.attention.head_count is missing (expected one number)"},
        {EDIT("head_count" U32("\4") U32("\4"), "head_count" U32("\4") U32("\0")),
         "key llama.attention.head_count: expected a number from 1 to 1.07374e+09, found \"0\""},
        {EDIT("head_count" U32("\4") U32("\4"), "head_count" U32("\4") U32("\3")),
         "heads of 21 keys, 21 values and 16 turned by position; expected one size"},
        {EDIT("head_count_kv" U32("\4") U32("\2"), "head_count_kv" U32("\4") U32("\3")),
         "tensor blk.0.attn_k.weight: its rows do not divide into 3 heads of pairs"},
        {EDIT("layer_norm_rms_epsilon", "layer_norm_rms_epsilox"),
         "key llama.attention.layer_norm_rms_epsilon is missing (expected one number)"},
        {EDIT("layer_norm_rms_epsilon" U32("\6") "\xbd\x37\x86\x35",
              "layer_norm_rms_epsilon" U32("\6") "\0\0\xc0\x7f"),
         "key llama.attention.layer_norm_rms_epsilon: expected a number from 0 to 1, found \"nan\""},
        {EDIT("dimension_count" U32("\4") "\x10", "dimension_count" U32("\4") "\x0f"),
         "heads of 16 keys, 16 values and 15 turned by position; expected one size"},
        {EDIT("vocab_size" U32("\4") "\x60", "vocab_size" U32("\4") "\x61"),
         "the vocabulary is said to be 97, tensor model.embed_tokens.weight has 96"},
        {EDIT("embedding_length" U32("\4") "\x40", "embedding_length" U32("\4") "\x44"),
         "heads of 17 keys, 17 values and 16 turned by position; expected one size"},
        {EDIT("embedding_length" U32("\4") "\x40", "embedding_length" U32("\4") "\x41"),
         "the width is said to be 65, tensor model.embed_tokens.weight has 64"},
        {EDIT("block_count" U32("\4") "\2", "block_count" U32("\4") "\1"),
         "1 layers are said to be there, its tensors have 2"},
        {EDIT("feed_forward_length" U32("\4") "\x60", "feed_forward_length" U32("\4") "\x61"),
         "the feed-forward is said to be 97, tensor model.layers.0.mlp.gate_proj.weight has 96"},
        {EDIT("blk.1.attn_norm.weight", "blk.1.attn_norm.biases"),
         "tensor blk.1.attn_norm.biases is not one of a LLaMA (no biases are computed here)"},
        {EDIT("blk.1.attn_q.weight", "blk.01.attn_q.weigt"),
         "tensor blk.01.attn_q.weigt is not one of a LLaMA (no biases are computed here)"},
        {EDIT("token_embd.weight", "rope_freqs.weight"),
         "tensor rope_freqs.weight: positions are scaled as in LLaMA 3.1, which is not computed here"},
    };
#undef EDIT
    char where[80];
    snprintf(where, sizeof where, "%s/t.gguf", folder);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_edited(cases[i].from, cases[i].to, cases[i].n);
        must_refuse(where, where, cases[i].message);
    }
    Error e = {0};
    TensorFile *f = tensor_file_open(fixture, &e);
    ck_assert(f && !llama_adopt(f, "config.json", &e));
    ck_assert_str_eq(e.msg, "tests/golden/llama_gguf.gguf: a GGUF file says itself what config.json would");
    tensor_file_close(f);
    unlink(where);
}
END_TEST

/* Keys that the fixture has not: set after opening, as the file would. */
START_TEST(refused_graphs)
{
    static const struct {
        const char *key, *value, *message;
    } cases[] = {
        {"split.count", "3", "one of 3 files of a model; expected them merged into one"},
        {"llama.expert_count", "8", "a mixture of 8 experts; expected a plain feed-forward"},
        {"llama.rope.scaling.type", "linear", "positions are scaled (linear), which is not computed here"},
        {"llama.rope.scaling.type", "yarn", "positions are scaled (yarn), which is not computed here"},
        {"llama.rope.scale_linear", "4", "positions are scaled (linear), which is not computed here"},
        {"llama.rope.scaling.factor", "2", "positions are scaled (linear), which is not computed here"},
        {"llama.attention.key_length", "32",
         "heads of 32 keys, 32 values and 16 turned by position; expected one size"},
        {"llama.attention.value_length", "8",
         "heads of 16 keys, 8 values and 16 turned by position; expected one size"},
        {"llama.rope.freq_base", "0",
         "key llama.rope.freq_base: expected a number from 1 to 1e+12, found \"0\""},
        {"llama.block_count", "1.5", "key llama.block_count: expected a whole number, found 1.5"},
        {"llama.rope.scaling.type", "none", NULL},
        {"llama.rope.scaling.factor", "1", NULL},
        {"llama.expert_count", "0", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char expected[200];
        Error e = {0};
        TensorFile *f = tensor_file_open(fixture, &e);
        ck_assert(f && tensor_file_set_meta(f, cases[i].key, cases[i].value, &e));
        bool ok = llama_adopt(f, NULL, &e);
        ck_assert_msg(ok == !cases[i].message, "%s %s: %s", cases[i].key, cases[i].value, e.msg);
        snprintf(expected, sizeof expected, "%s: %s", fixture, cases[i].message ? cases[i].message : "");
        if (!ok) ck_assert_str_eq(e.msg, expected);
        tensor_file_close(f);
    }
}
END_TEST

static bool adopt_fixture(Error *e) { return adopt(fixture, e); }
static bool adopt_folder(Error *e) { return adopt(folder, e); }

START_TEST(allocations)
{
    ck_assert_int_gt(fail_each(adopt_fixture), 60);
    write_weights("");
    write_config("config", NULL, NULL);
    ck_assert_int_gt(fail_each(adopt_folder), 60);
    unlink(in_folder("config.json"));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {gguf_file, hugging_face_folder, refused_configs, config_prefixes,
                                  packed,    refused_gguf,        refused_graphs,  allocations};
    Error e = {0};
    golden = json_read("tests/golden/llama_gguf.json", &e);
    if (!golden || !mkdtemp(folder)) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    int failed = run_tests("llama_names", tests, sizeof tests / sizeof *tests);
    json_decref(golden);
    unlink(in_folder("model.safetensors"));
    rmdir(folder);
    return failed;
}
