/* Adapters on disk: what is read comes back; malformed configurations and tensors, every prefix of both files.
 */
#include "tools/adapter.h"
#include "data/file.h"
#include "models/llama.h"
#include "tests/golden/golden.h"
#include "tests/models/main.h"
#include "tests/tools/adapter_bad.h"
#include <sys/stat.h>
#include <unistd.h>

static const LlamaConfig small = {4, 8, 2, 2, 1, 4, 8, 1e-5f, 500000, false};
static char folder[] = "/tmp/test_adapter_XXXXXX", config_path[64], tensors_path[80];

static const char good_config[] = "{'peft_type':'LORA','r':2,'lora_alpha':4,'lora_dropout':0.05,"
                                  "'target_modules':['v_proj','q_proj'],'bias':'none','rank_pattern':{},"
                                  "'use_dora':false,'modules_to_save':null,'init_lora_weights':'gaussian',"
                                  "'of_years_to_come':{'a':[1]}}";

/* Without the fsync of file_write. */
static void put_file(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "w");
    ck_assert(f && fwrite(bytes, 1, n, f) == n && !fclose(f));
}

static void write_config(const char *json)
{
    char text[1024];
    size_t n = strlen(json);
    ck_assert(n < sizeof text);
    for (size_t i = 0; i < n; i++) text[i] = json[i] == '\'' ? '"' : json[i];
    put_file(config_path, text, n);
}

/* The adapter, with `bad` (or NULL) in it. */
static void write_tensors(const BadTensor *bad)
{
    static const float values[64];
    Error e = {0};
    StWriter *w = st_writer_new();
    for (int i = 0; i < 8; i++) {
        char name[128];
        bool B = i % 2, v = i / 2 % 2;
        if (bad && bad->at == i) continue;
        snprintf(name, sizeof name, "base_model.model.model.layers.%d.self_attn.%c_proj.lora_%c.weight", i / 4,
                 v ? 'v' : 'q', B ? 'B' : 'A');
        st_writer_add(w, name, ST_F32, 2, B ? (int64_t[]){v ? 4 : 8, 2} : (int64_t[]){2, 8}, values);
    }
    if (bad && (bad->name || bad->full)) {
        char name[160];
        snprintf(name, sizeof name, "%s%s", bad->full ? "" : "base_model.model.model.layers.",
                 bad->full ? bad->full : bad->name);
        st_writer_add(w, name, bad->dtype, bad->ndim, bad->dim, values);
    }
    ck_assert_msg(st_writer_save(w, tensors_path, &e), "%s", e.msg);
    st_writer_free(w);
}

/* Opens the folder's adapter on a small model. */
static bool open_adapter(Error *e)
{
    Rig r;
    Weights base, adapter;
    Llama m;
    int rank;
    double alpha, dropout;
    rig_open(&r, test_device());
    weights_init(&base, &r.weights, &r.state, NULL, 1);
    weights_init(&adapter, &r.weights, &r.state, NULL, 1);
    ck_assert(llama_create(&m, &base, small, e));
    bool ok = adapter_open(folder, &adapter, &rank, &alpha, &dropout, e) &&
              llama_add_lora(&m, &adapter, rank, (float)alpha, (float)dropout, e);
    if (ok) ck_assert(rank == 2 && alpha == 4 && dropout == 0.05 && m.layer[1].v_lora.scale == 2);
    weights_close(&adapter);
    weights_close(&base);
    rig_close(&r);
    return ok;
}

/* The message must be the file's path and what is said. */
static void expect(const char *path, const char *message)
{
    Error e = {0};
    char want[512];
    ck_assert_msg(!open_adapter(&e), "opened, wants: %s", message);
    ck_assert_int_eq(e.code, ERROR_INPUT);
    snprintf(want, sizeof want, "%s%s%s", path, *message == ':' ? "" : ": ", message);
    ck_assert_str_eq(e.msg, want);
}

START_TEST(good)
{
    Error e = {0};
    write_config(good_config);
    write_tensors(NULL);
    ck_assert_msg(open_adapter(&e), "%s", e.msg);
}
END_TEST

START_TEST(configurations)
{
    write_tensors(NULL);
    for (size_t i = 0; i < sizeof bad_configs / sizeof *bad_configs; i++) {
        write_config(bad_configs[i].json);
        expect(config_path, bad_configs[i].message);
    }
}
END_TEST

START_TEST(tensors)
{
    write_config(good_config);
    for (size_t i = 0; i < sizeof bad_tensors / sizeof *bad_tensors; i++) {
        write_tensors(&bad_tensors[i]);
        expect(tensors_path, bad_tensors[i].message);
    }
}
END_TEST

/* Files that are not there. */
START_TEST(absent)
{
    Error e = {0};
    write_config(good_config);
    unlink(tensors_path);
    ck_assert(!open_adapter(&e) &&
              strstr(e.msg, "adapter_model.safetensors: cannot open: No such file or directory"));
    write_tensors(NULL);
    unlink(config_path);
    ck_assert(!open_adapter(&e) &&
              strstr(e.msg, "adapter_config.json: cannot open: No such file or directory"));
}
END_TEST

static void check_prefixes(const char *path)
{
    Error e = {0};
    uint8_t *bytes;
    size_t n;
    ck_assert(file_read(path, 10000, &bytes, &n, &e));
    for (size_t k = 0; k < n; k++) {
        e.code = 0;
        put_file(path, bytes, k);
        ck_assert_msg(!open_adapter(&e) && e.code == ERROR_INPUT && strstr(e.msg, path),
                      "prefix of %zu bytes: %s", k, e.msg);
    }
    put_file(path, bytes, n);
    ck_assert(open_adapter(&e));
    free(bytes);
}

START_TEST(prefixes)
{
    write_config(good_config);
    write_tensors(NULL);
    check_prefixes(config_path);
    check_prefixes(tensors_path);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {good, configurations, tensors, absent, prefixes};
    if (!mkdtemp(folder)) return 1;
    snprintf(config_path, sizeof config_path, "%s/adapter_config.json", folder);
    snprintf(tensors_path, sizeof tensors_path, "%s/adapter_model.safetensors", folder);
    int failed = run_tests("adapter", tests, sizeof tests / sizeof *tests);
    unlink(config_path);
    unlink(tensors_path);
    rmdir(folder);
    return failed;
}
