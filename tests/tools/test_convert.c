/* pcrl-convert: folders that transformers opens; a GGUF file: its Q4_0 blocks are copied, the other Linears
 * quantised; pcrl-forward gives the same logits of both files, and transformers'. */
#include "data/json.h"
#include "models/llama_names.h"
#include "tests/tools/run.h"
#include "data/safetensors.h"
#include <check.h>
#include <math.h>

static const char fixture[] = "tests/golden/llama_gguf.gguf";
static char folder[] = "/tmp/test-convert-XXXXXX";
static Run r;

static const char *in_folder(const char *name)
{
    static char path[8][128];
    static int next;
    char *p = path[next++ % 8];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

enum { ROWS = 2, IDS = 11, V = 96 };

static void write_ids(const json_t *golden)
{
    Error e = {0};
    int64_t id[ROWS * IDS];
    for (size_t i = 0; i < ROWS * IDS; i++)
        id[i] = json_integer_value(
            json_array_get(json_array_get(json_object_get(golden, "ids"), i / IDS), i % IDS));
    StWriter *w = st_writer_new();
    st_writer_add(w, "ids", ST_I64, 2, (int64_t[]){ROWS, IDS}, id);
    ck_assert_msg(st_writer_save(w, in_folder("ids"), &e), "%s", e.msg);
    st_writer_free(w);
}

/* Of all positions. */
static void forward(const char *weights, const char *config, float logits[ROWS * IDS * V])
{
    Error e = {0};
    run_tool(&r, "pcrl-forward",
             (const char *const[]){"llama", "--device=cpu", "--weights", weights, "--input", in_folder("ids"),
                                   "--output", in_folder("out"), config ? "--config" : NULL, config, NULL});
    ck_assert_msg(r.code == 0 && !strstr(r.err, "does not read"), "%s", r.err);
    TensorFile *f = tensor_file_open(in_folder("out"), &e);
    ck_assert_msg(f && tensor_file_load_f32(f, "logits", 3, (int64_t[]){ROWS, IDS, V}, logits, &e), "%s",
                  e.msg);
    tensor_file_close(f);
}

/* L2 of the difference to transformers' logits of the last position, over theirs. */
static double distance(const json_t *golden, const float *logits)
{
    double off = 0, all = 0;
    for (size_t b = 0; b < ROWS; b++)
        for (size_t v = 0; v < V; v++) {
            double want =
                json_number_value(json_array_get(json_array_get(json_object_get(golden, "logits"), b), v));
            double d = (double)logits[(b * IDS + IDS - 1) * V + v] - want;
            off += d * d;
            all += want * want;
        }
    return sqrt(off / all);
}

START_TEST(gguf)
{
    Error e = {0};
    static float first[ROWS * IDS * V], second[ROWS * IDS * V];
    json_t *golden = json_read("tests/golden/llama_gguf.json", &e);
    ck_assert_msg(golden != NULL, "%s", e.msg);
    write_ids(golden);
    forward(fixture, NULL, first);
    ck_assert_double_lt(distance(golden, first), 1e-5);
    run_tool(&r, "pcrl-convert", (const char *const[]){"--q4_0", fixture, in_folder("q4_0"), NULL});
    ck_assert_msg(r.code == 0, "%s", r.err);
    forward(in_folder("q4_0"), NULL, second);
    double rounded = distance(golden, second); /* four of its seven Linears are rounded to 4 bits */
    ck_assert_msg(rounded > 1e-3 && rounded < 0.4, "%g", rounded);
    TensorFile *f = tensor_file_open(fixture, &e), *q = tensor_file_open(in_folder("q4_0"), &e);
    ck_assert_msg(f && q && llama_adopt(f, NULL, &e), "%s", e.msg);
    static const char *const copied[] = {"model.layers.0.self_attn.q_proj.weight",
                                         "model.layers.1.self_attn.k_proj.weight",
                                         "model.layers.1.mlp.down_proj.weight"};
    for (int i = 0; i < 3; i++) {
        const TensorEntry *a = tensor_file_find(f, copied[i]), *b = tensor_file_find(q, copied[i]);
        ck_assert_msg(a && b && a->size == b->size, "%s", copied[i]);
        uint8_t *x = malloc(a->size), *y = malloc(a->size);
        ck_assert(tensor_file_read(f, a, x, &e) && tensor_file_read(q, b, y, &e));
        ck_assert_mem_eq(x, y, a->size);
        free(x);
        free(y);
    }
    tensor_file_close(f);
    tensor_file_close(q);
    json_decref(golden);
}
END_TEST

/* Blocks that are not what was asked for are not rounded again; GGUF files need no config. */
START_TEST(refused)
{
    run_tool(&r, "pcrl-convert", (const char *const[]){"--nf4", fixture, in_folder("nf4"), NULL});
    ck_assert_int_eq(r.code, 2);
    ck_assert_str_eq(
        r.err, "pcrl-convert: tests/golden/llama_gguf.gguf: tensor model.layers.0.self_attn.q_proj.weight: "
               "expected plain values or nf4, nested, found q4_0\n");
    run_tool(&r, "pcrl-forward",
             (const char *const[]){"llama", "--device=cpu", "--weights", fixture, "--input", in_folder("ids"),
                                   "--output", in_folder("out"), "--config", "c.json", NULL});
    ck_assert_int_eq(r.code, 2);
    ck_assert_str_eq(r.err,
                     "pcrl-forward: tests/golden/llama_gguf.gguf: a GGUF file says itself what c.json would\n");
}
END_TEST

/* The tensors of `from` are those of `to`, bit for bit: codes and scales are copied. */
static void same_tensors(const char *from, const char *to)
{
    Error e = {0};
    TensorFile *a = tensor_file_open(from, &e), *b = tensor_file_open(to, &e);
    ck_assert_msg(a && b, "%s", e.msg);
    ck_assert_int_eq(a->n, b->n);
    for (int i = 0; i < a->n; i++) {
        const TensorEntry *x = &a->entry[i], *y = &b->entry[i];
        ck_assert_str_eq(x->name, y->name);
        /* JSON; maps, which become ours: PyTorch's dynamic map has other last bits, fp4's second zero another
         * sign; F16 became F32 */
        if (strstr(x->name, "quant_state") || strstr(x->name, "quant_map") || x->dtype != y->dtype) continue;
        uint8_t *bytes = malloc(2 * x->size);
        ck_assert(bytes && x->size == y->size);
        ck_assert(tensor_file_read(a, x, bytes, &e) && tensor_file_read(b, y, bytes + x->size, &e));
        ck_assert_msg(!memcmp(bytes, bytes + x->size, x->size), "%s differs", x->name);
        free(bytes);
    }
    tensor_file_close(a);
    tensor_file_close(b);
}

/* A folder as transformers opens it: config.json has the sizes, what the source's had besides, and how the
 * Linears are stored. A file alone has none. */
START_TEST(config)
{
    static const struct {
        const char *from, *form, *plain, *want; /* want: without what every one has */
    } cases[] = {
        {"tests/golden/bnb/nf4_nested", "--nf4", NULL,
         "{\"bos_token_id\":1,\"max_position_embeddings\":128,\"torch_dtype\":\"bfloat16\",\"vocab_size\":96,"
         "\"hidden_size\":64,\"intermediate_size\":160,\"num_hidden_layers\":1,\"num_attention_heads\":4,"
         "\"num_key_value_heads\":2,\"head_dim\":16,\"rms_norm_eps\":1e-5,\"quantization_config\":"
         "{\"quant_method\":\"bitsandbytes\",\"load_in_4bit\":true,\"load_in_8bit\":false,"
         "\"bnb_4bit_quant_type\":\"nf4\",\"bnb_4bit_use_double_quant\":true,"
         "\"bnb_4bit_compute_dtype\":\"bfloat16\",\"bnb_4bit_quant_storage\":\"uint8\"},"
         "\"rope_parameters\":{\"rope_theta\":500000.0,\"rope_type\":\"default\"}}"},
        {"tests/golden/bnb/fp4/model.safetensors", "--fp4", "--plain-absmax",
         "{\"eos_token_id\":2,\"torch_dtype\":\"float32\",\"quantization_config\":"
         "{\"quant_method\":\"bitsandbytes\",\"load_in_4bit\":true,\"load_in_8bit\":false,"
         "\"bnb_4bit_quant_type\":\"fp4\",\"bnb_4bit_use_double_quant\":false,"
         "\"bnb_4bit_compute_dtype\":\"float32\",\"bnb_4bit_quant_storage\":\"uint8\"}}"},
        {"tests/golden/llama_gguf.gguf", "--q4_0", NULL,
         "{\"max_position_embeddings\":8192,\"model_type\":\"llama\",\"hidden_act\":\"silu\","
         "\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":96}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error e = {0};
        char to[128];
        snprintf(to, sizeof to, "%s", in_folder("shards"));
        run_tool(&r, "pcrl-convert",
                 (const char *const[]){cases[i].form, "--shard-size", "40K", cases[i].from, to, cases[i].plain,
                                       NULL});
        ck_assert_msg(r.code == 0, "%s", r.err);
        json_t *want = json_parse(cases[i].want, strlen(cases[i].want), "want", &e), *value;
        json_t *got = json_read(in_folder("shards/config.json"), &e);
        ck_assert_msg(want && got, "%s", e.msg);
        const char *key;
        json_object_foreach(want, key, value)
            ck_assert_msg(json_equal(value, json_object_get(got, key)), "%s: %s", cases[i].from, key);
        ck_assert(!json_object_get(got, "dtype"));
        ck_assert(!json_object_get(want, "quantization_config") ==
                  !json_object_get(got, "quantization_config"));
        json_decref(want);
        json_decref(got);
        if (i < 2) same_tensors(cases[i].from, to);
        char command[160];
        snprintf(command, sizeof command, "rm -r %s", to);
        ck_assert_int_eq(system(command), 0);
    }
    ck_assert(access(in_folder("config.json"), F_OK) != 0);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return 1;
    Suite *s = suite_create("convert");
    TCase *t = tcase_create("convert");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, gguf);
    tcase_add_test(t, refused);
    tcase_add_test(t, config);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    static const char *const names[] = {"ids", "out", "q4_0"};
    for (int i = 0; i < 3; i++) unlink(in_folder(names[i]));
    rmdir(folder);
    return failed != 0;
}
