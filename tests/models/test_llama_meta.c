/* LLaMA in Meta's form: the same model as Hugging Face's, and what its params.json must say. */
#include "data/file.h"
#include "models/llama.h"
#include "models/llama_names.h"
#include "tests/golden/golden.h"
#include "tests/models/main.h"
#include "tests/models/params_bad.h"

static const char meta_folder[] = "tests/golden/llama_meta",
                  golden_path[] = "tests/golden/llama_meta.safetensors";
enum { T = 17, V = 96 };

/* Logits of the golden's ids; the caller frees. prefix: before the names, or NULL. */
static float *logits_of(const char *path, const char *prefix, bool lora, DType quant)
{
    Error e = {0};
    Rig r;
    Llama m;
    Weights base, adapter;
    float u[T];
    int32_t id[T];
    rig_open(&r, test_device());
    weights_init(&base, &r.weights, &r.state, &r.params, 1);
    weights_init(&adapter, &r.weights, &r.state, &r.params, 1);
    base.prefix = prefix;
    base.quant = quant;
    adapter.generator = golden_weight;
    ck_assert_msg(weights_open(&base, path, &e) && llama_open(&m, &base, &e), "%s", e.msg);
    ck_assert(m.config.heads == 4 && m.config.kv_heads == 2 && m.config.head_dim == 8 && m.config.layers == 2);
    if (lora) ck_assert_msg(llama_add_lora(&m, &adapter, 8, 32, 0, &e), "%s", e.msg);
    rng_fill(u, T, GOLDEN_INPUTS, "ids", 1);
    for (int i = 0; i < T; i++) id[i] = (int32_t)((u[i] + 1.0f) * (float)(V / 2));
    Tensor *ids = tensor_new(&r.state, DTYPE_i32, 2, (const int64_t[]){1, T});
    tensor_upload(ids, id);
    Tensor *h = llama_forward(&r.tape, &m, llama_embed(&r.tape, &m, ids), NULL, NULL, NULL);
    h = tensor_reshape(&r.step, h, 2, (const int64_t[]){T, m.config.dim});
    float *host = host_copy(llama_logits(&r.tape, &m, h));
    weights_close(&base);
    weights_close(&adapter);
    rig_close(&r);
    return host;
}

static void compare(const float *x, const float *want, double tolerance, const char *what)
{
    double worst = 0, sum = 0;
    for (int i = 0; i < T * V; i++) {
        worst = fmax(worst, fabs((double)x[i] - (double)want[i]));
        sum += (double)want[i] * (double)want[i];
    }
    ck_assert_msg(worst <= tolerance * sqrt(sum / (T * V)), "%s: differs by %.3g of the RMS", what,
                  worst / sqrt(sum / (T * V)));
}

/* As the reference in Meta's manner, and bit for bit as the same weights in Hugging Face's form. */
static void check(bool lora)
{
    Error e = {0};
    static float want[T * V];
    TensorFile *g = golden_open(golden_path);
    ck_assert_msg(
        tensor_file_load_f32(g, lora ? "lora.logits" : "plain.logits", 2, (const int64_t[]){T, V}, want, &e),
        "%s", e.msg);
    tensor_file_close(g);
    float *meta = logits_of(meta_folder, NULL, lora, DTYPE_f32),
          *hf = logits_of(golden_path, "hf.", lora, DTYPE_f32);
    compare(meta, want, test_tolerance(TOL_LLAMA), "Meta's form");
    compare(hf, want, test_tolerance(TOL_LLAMA), "Hugging Face's form");
    ck_assert_msg(!memcmp(meta, hf, sizeof want), "the two forms differ");
    free(meta);
    free(hf);
}

START_TEST(plain) { check(false); }
END_TEST
START_TEST(with_lora) { check(true); }
END_TEST

/* Rows are put in order before they are quantised. */
START_TEST(quantised)
{
    float *meta = logits_of(meta_folder, NULL, false, DTYPE_nf4);
    float *hf = logits_of(golden_path, "hf.", false, DTYPE_nf4);
    ck_assert(!memcmp(meta, hf, T * V * sizeof *hf));
    free(meta);
    free(hf);
}
END_TEST

START_TEST(adopted)
{
    Error e = {0};
    TensorFile *f = tensor_file_open(meta_folder, &e);
    ck_assert_msg(f && llama_adopt(f, NULL, &e), "%s", e.msg);
    ck_assert_int_eq(tensor_file_find(f, "model.layers.1.self_attn.q_proj.weight")->heads, 4);
    ck_assert_int_eq(tensor_file_find(f, "model.layers.1.self_attn.k_proj.weight")->heads, 2);
    ck_assert_int_eq(tensor_file_find(f, "model.layers.1.self_attn.v_proj.weight")->heads, 0);
    ck_assert(tensor_file_find(f, "rope.freqs") && !tensor_file_find(f, "norm.weight"));
    ck_assert_str_eq(tensor_file_meta(f, "llama.rope_theta"), "500000");
    ck_assert_str_eq(tensor_file_meta(f, "llama.kv_heads"), "2");
    ck_assert(llama_adopt(f, NULL, &e)); /* a second time nothing is left to do */
    tensor_file_close(f);
    f = tensor_file_open(golden_path, &e);
    ck_assert(f && llama_adopt(f, NULL, &e) && !tensor_file_find(f, "model.norm.weight"));
    tensor_file_close(f);
}
END_TEST

/* ---- params.json ---- */

static char folder[] = "/tmp/test-llama-meta-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[2][64];
    static int next;
    next = !next;
    snprintf(path[next], sizeof path[0], "%s/%s", folder, name);
    return path[next];
}

static void write_bytes(const char *name, const void *bytes, size_t n)
{
    FILE *f = fopen(in_folder(name), "wb");
    ck_assert(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

/* The fixture's weights in the folder. */
static void copy_weights(void)
{
    Error e = {0};
    uint8_t *bytes;
    size_t n;
    ck_assert(file_read("tests/golden/llama_meta/consolidated.00.pth", 1 << 20, &bytes, &n, &e));
    write_bytes("consolidated.00.pth", bytes, n);
    free(bytes);
}

/* Opens them with n bytes of a params.json, where ' stands for ". */
static bool open_with(const char *params, size_t n, LlamaConfig *c, Error *e)
{
    char text[400];
    Rig r;
    Llama m;
    Weights w;
    ck_assert(n <= sizeof text);
    for (size_t i = 0; i < n; i++) text[i] = params[i] == '\'' ? '"' : params[i];
    write_bytes("params.json", text, n);
    rig_open(&r, &backend_cpu);
    weights_init(&w, &r.weights, &r.state, &r.params, 1);
    bool ok = weights_open(&w, folder, e) && llama_open(&m, &w, e);
    if (ok) *c = m.config;
    weights_close(&w);
    rig_close(&r);
    return ok;
}

START_TEST(refused_params)
{
    copy_weights();
    for (size_t i = 0; i < sizeof bad_params / sizeof *bad_params; i++) {
        const BadParams *bad = &bad_params[i];
        char expected[600];
        LlamaConfig c;
        Error e = {0};
        bool ok = open_with(bad->params, strlen(bad->params), &c, &e);
        ck_assert_msg(!ok, "%s: opened; expected: %s", bad->params, bad->message);
        bool json = strstr(bad->message, ": not JSON") != NULL;
        snprintf(expected, sizeof expected, "%s%s%s%s", folder,
                 *bad->message == '/' ? "" : "/params.json:", *bad->message == '/' || json ? "" : " ",
                 bad->message);
        ck_assert_str_eq(e.msg, expected);
        ck_assert_int_eq(e.code, ERROR_INPUT);
    }
}
END_TEST

START_TEST(good_params)
{
    static const char *const good[] = {
        "{'n_heads':4,'n_kv_heads':2}", /* as LLaMA 1: the rest unsaid, theta 10000 */
        "{'n_heads':4.0,'n_kv_heads':2.0,'dim':32.0,'vocab_size':-1}",
        "{'dim':32,'n_layers':2,'n_heads':4,'n_kv_heads':2,'vocab_size':96,'multiple_of':256,"
        "'ffn_dim_multiplier':null,'norm_eps':1e-05,'rope_theta':10000,'use_scaled_rope':false}"};
    copy_weights();
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        Error e = {0};
        LlamaConfig c;
        ck_assert_msg(open_with(good[i], strlen(good[i]), &c, &e), "%s", e.msg);
        ck_assert(c.heads == 4 && c.kv_heads == 2 && c.head_dim == 8 && c.norm_eps == 1e-5f &&
                  c.rope_theta == 10000);
    }
}
END_TEST

START_TEST(params_prefixes)
{
    static const char text[] =
        "{'dim':32,'n_layers':2,'n_heads':4,'n_kv_heads':2,'vocab_size':96,'multiple_of':16,\n"
        "'ffn_dim_multiplier':1.0,'norm_eps':1e-05,'rope_theta':500000.0,'use_scaled_rope':false}";
    copy_weights();
    for (size_t n = 0; n < sizeof text; n++) {
        Error e = {0};
        LlamaConfig c;
        bool ok = open_with(text, n, &c, &e);
        ck_assert_msg(ok == (n == sizeof text - 1), "%zu bytes: %s", n, e.msg);
        ck_assert(ok || (e.code == ERROR_INPUT && strstr(e.msg, "/params.json:") && strstr(e.msg, "not JSON")));
    }
}
END_TEST

/* Alone, and as one of several parts. */
START_TEST(other_files)
{
    Error e = {0};
    char path[64], expected[300];
    copy_weights();
    unlink(in_folder("params.json"));
    snprintf(path, sizeof path, "%s/consolidated.00.pth", folder);
    TensorFile *f = tensor_file_open(folder, &e);
    ck_assert_msg(f != NULL, "%s", e.msg);
    ck_assert(!llama_adopt(f, NULL, &e) && e.code == ERROR_INPUT);
    snprintf(expected, sizeof expected, "%s: expected params.json beside it, found none", path);
    ck_assert_str_eq(e.msg, expected);
    write_bytes("consolidated.01.pth", "", 0);
    ck_assert(!llama_adopt(f, NULL, &e) && e.code == ERROR_INPUT);
    snprintf(expected, sizeof expected,
             "%s: the model lies in parts of its tensors (%s is one more): only whole ones are read", path,
             in_folder("consolidated.01.pth"));
    ck_assert_str_eq(e.msg, expected);
    tensor_file_close(f);
    unlink(in_folder("consolidated.01.pth"));
    /* named by hand, and not there */
    f = tensor_file_open(folder, &e);
    ck_assert(f && !llama_adopt(f, in_folder("none.json"), &e) && e.code == ERROR_IO);
    snprintf(expected, sizeof expected, "%s: cannot open: No such file or directory", in_folder("none.json"));
    ck_assert_str_eq(e.msg, expected);
    tensor_file_close(f);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {plain,          with_lora,   quantised,       adopted,
                                  refused_params, good_params, params_prefixes, other_files};
    if (!mkdtemp(folder)) return 1;
    int failed = run_tests("llama_meta", tests, sizeof tests / sizeof *tests);
    unlink(in_folder("consolidated.00.pth"));
    unlink(in_folder("params.json"));
    rmdir(folder);
    return failed;
}
