/* LLaMA in Meta's form: the same model as Hugging Face's, and what its params.json must say. */
#include "data/file.h"
#include "models/llama.h"
#include "models/llama_names.h"
#include "tests/golden/golden.h"
#include "tests/models/main.h"
#include <sys/stat.h>

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

static const struct {
    const char *params, *message; /* ' for "; the message is behind the file's path */
} bad[] = {
    {"{}", ": key \"n_heads\" is missing (expected a number)"},
    {"[]", ": expected an object with key \"n_heads\", found an array"},
    {"{'n_heads':'4'}", ": key \"n_heads\": expected a number, found a string"},
    {"{'n_heads':0}", ": 0 heads over 0 key/value heads"},
    {"{'n_heads':-4}", ": -4 heads over -4 key/value heads"},
    {"{'n_heads':2.5}", ": 2.5 heads over 2.5 key/value heads"},
    {"{'n_heads':1e300}", ": 1e+300 heads over 1e+300 key/value heads"},
    {"{'n_heads':4,'n_kv_heads':null}", ": key \"n_kv_heads\": expected a number, found null"},
    {"{'n_heads':4,'n_kv_heads':2,'norm_eps':'1e-5'}", ": key \"norm_eps\": expected a number, found a string"},
    {"{'n_heads':4,'n_kv_heads':2,'rope_theta':[]}", ": key \"rope_theta\": expected a number, found an array"},
    {"{'n_heads':4,'n_kv_heads':2,'use_scaled_rope':true}",
     ": \"use_scaled_rope\": rotary positions that are scaled are not computed"},
    {"{'n_heads':4,'dim':'32'}", ": key \"dim\": expected a number, found a string"},
    {"{'n_heads':4,'dim':31.5}", ": key \"dim\": expected a whole number from 1 to 2147483647, found 31.5"},
    {"{'n_heads':4,'n_layers':0}", ": key \"n_layers\": expected a whole number from 1 to 2147483647, found 0"},
    {"{'n_heads':4,'vocab_size':1e300}",
     ": key \"vocab_size\": expected a whole number from 1 to 2147483647, found 1e+300"},
    {"{'n_heads':4,", ":1:13: not JSON: string or '}' expected near end of file"},
};

static bool open_with(const char *params, const char *config, Error *e)
{
    char text[200];
    size_t n = strlen(params);
    for (size_t i = 0; i < n; i++) text[i] = params[i] == '\'' ? '"' : params[i];
    TensorFile *f = tensor_file_open(meta_folder, e);
    ck_assert_msg(f != NULL, "%s", e->msg);
    ck_assert(file_write(config, text, n, e));
    bool ok = llama_adopt(f, config, e);
    tensor_file_close(f);
    return ok;
}

START_TEST(bad_params)
{
    char config[64], expected[300];
    snprintf(config, sizeof config, "/tmp/test-%ld-params.json", (long)getpid());
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Error e = {0};
        ck_assert_msg(!open_with(bad[i].params, config, &e), "%s", bad[i].message);
        snprintf(expected, sizeof expected, "%s%s", config, bad[i].message);
        ck_assert_str_eq(e.msg, expected);
        ck_assert_int_eq(e.code, ERROR_INPUT);
    }
    Error e = {0};
    ck_assert(!open_with("{'n_heads':3}", config, &e));
    ck_assert_msg(
        strstr(e.msg, "layers.0.attention.wq.weight (32,32): its rows are not of 3 heads of even size") ||
            strstr(e.msg, "layers.0.attention.wk.weight (16,32): its rows are not of 3 heads of even size"),
        "%s", e.msg);
    ck_assert(!open_with("{'n_heads':4,'n_kv_heads':16}", config, &e));
    ck_assert_msg(
        strstr(e.msg, "layers.0.attention.wk.weight (16,32): its rows are not of 16 heads of even size"), "%s",
        e.msg);
    /* of another model */
    ck_assert(!open_with("{'n_heads':4,'n_layers':3}", config, &e));
    ck_assert_msg(strstr(e.msg, "00.pth: 3 layers are said to be there, its tensors have 2"), "%s", e.msg);
    ck_assert(!open_with("{'n_heads':4,'dim':64,'n_layers':2}", config, &e));
    ck_assert_msg(strstr(e.msg, "00.pth: the width is said to be 64, tensor model.embed_tokens.weight has 32"),
                  "%s", e.msg);
    ck_assert(!open_with("{'n_heads':4,'vocab_size':95}", config, &e));
    ck_assert_msg(strstr(e.msg, "the vocabulary is said to be 95, tensor"), "%s", e.msg);
    ck_assert_msg(open_with("{'n_heads':4,'vocab_size':-1}", config, &e), "%s", e.msg);
    ck_assert_msg(open_with("{'n_heads':4}", config, &e), "%s",
                  e.msg); /* LLaMA 1: as many key heads, theta 10000 */
    unlink(config);
}
END_TEST

/* Alone, and as one of several parts. */
START_TEST(other_files)
{
    Error e = {0};
    uint8_t *bytes;
    size_t n;
    char folder[] = "/tmp/test-meta-XXXXXX", path[64], second[64], expected[300];
    ck_assert(mkdtemp(folder) &&
              file_read("tests/golden/llama_meta/consolidated.00.pth", 1 << 20, &bytes, &n, &e));
    snprintf(path, sizeof path, "%s/consolidated.00.pth", folder);
    snprintf(second, sizeof second, "%s/consolidated.01.pth", folder);
    ck_assert(file_write(path, bytes, n, &e));
    TensorFile *f = tensor_file_open(folder, &e);
    ck_assert_msg(f != NULL, "%s", e.msg);
    ck_assert(!llama_adopt(f, NULL, &e) && e.code == ERROR_INPUT);
    snprintf(expected, sizeof expected, "%s: expected params.json beside it, found none", path);
    ck_assert_str_eq(e.msg, expected);
    ck_assert(file_write(second, bytes, n, &e) && !llama_adopt(f, NULL, &e) && e.code == ERROR_INPUT);
    snprintf(expected, sizeof expected,
             "%s: the model lies in parts of its tensors (%s is one more): only whole ones are read", path,
             second);
    ck_assert_str_eq(e.msg, expected);
    tensor_file_close(f);
    unlink(path);
    unlink(second);
    rmdir(folder);
    free(bytes);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {plain, with_lora, quantised, adopted, bad_params, other_files};
    return run_tests("llama_meta", tests, sizeof tests / sizeof *tests);
}
