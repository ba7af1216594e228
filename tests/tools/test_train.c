/* The pipeline at toy size: phantoms, every stage of pcrl-train, conversion, reports; an interrupted stage
 * resumed gives the same bytes; bad input gives one line and the right exit code. */
#include "data/file.h"
#include "data/safetensors.h"
#include "tests/tools/run.h"
#include <check.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/pcrl-train-XXXXXX";

/* A path in the test's folder; a ring of eight. */
static const char *at(const char *name)
{
    static char ring[8][256];
    static unsigned turn;
    char *s = ring[turn++ & 7];
    snprintf(s, sizeof ring[0], "%s/%s", folder, name);
    return s;
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
    (void)s, (void)type, (void)f;
    return remove(path);
}

#define TOOL(name, ...) run_tool(&r, name, (const char *const[]){__VA_ARGS__, NULL})
#define RESNET                                                                                                 \
    "resnet", "--device", "cpu", "--threads", "1", "--data", at("set"), "--stem", "4", "--widths", "2,2,2,4",  \
        "--depths", "1,1,1,1", "--batch", "4", "--steps", "12"
#define LLAMA                                                                                                  \
    "llama", "--device", "cpu", "--threads", "1", "--data", at("set"), "--model", at("model"), "--vocab",      \
        "400", "--dim", "32", "--layers", "2", "--heads", "4", "--kv-heads", "2", "--ffn", "64", "--batch",    \
        "3", "--steps", "6", "--slot-steps", "6"

static bool same_file(const char *a, const char *b)
{
    uint8_t *x, *y;
    size_t n, m;
    ck_assert(file_read(a, 1 << 28, &x, &n, NULL));
    ck_assert(file_read(b, 1 << 28, &y, &m, NULL));
    bool same = n == m && !memcmp(x, y, n);
    free(x);
    free(y);
    return same;
}

/* Starts pcrl-train resnet, and sends SIGTERM once its log has a line or its checkpoint is there. */
static int interrupted_run(const char *out, const char *model)
{
    char tool[512];
    tool_path(tool, sizeof tool, "pcrl-train");
    const char *const words[] = {tool, RESNET, "--out", out, "--model", model, NULL};
    pid_t pid;
    ck_assert_int_eq(posix_spawn(&pid, tool, NULL, NULL, (char *const *)(uintptr_t)words, environ), 0);
    char log[300];
    snprintf(log, sizeof log, "%s/log.jsonl", out);
    for (int i = 0; i < 2000 && access(log, F_OK); i++) usleep(5000);
    usleep(150000);
    kill(pid, SIGTERM);
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

START_TEST(resume_is_bit_for_bit)
{
    Run r;
    TOOL("pcrl-train", RESNET, "--out", at("a"), "--model", at("model"));
    ck_assert_msg(r.code == 0, "%s", r.err);
    for (int i = 0;; i++) {
        int code = interrupted_run(at("b"), at("other"));
        ck_assert_msg(code == 0 || code == 130, "exit code %d", code);
        if (code == 0) break;
        ck_assert_int_lt(i, 100);
    }
    ck_assert(same_file(at("model/resnet.safetensors"), at("other/resnet.safetensors")));
    ck_assert(same_file(at("a/checkpoint.safetensors"), at("b/checkpoint.safetensors")));
}
END_TEST

START_TEST(whole_pipeline)
{
    Run r;
    TOOL("pcrl-train", LLAMA, "--out", at("llama"));
    ck_assert_msg(r.code == 0, "%s", r.err);
    TOOL("pcrl-convert", "--nf4", at("llama/llama.safetensors"), at("model/llama.safetensors"));
    ck_assert_msg(r.code == 0, "%s", r.err);
    TOOL("pcrl-train", "pcrl", "--device", "cpu", "--threads", "1", "--data", at("set"), "--model", at("model"),
         "--out", at("pcrl"), "--slots", at("llama/slots.safetensors"), "--cache", at("cache"),
         "--warmup-steps", "3", "--steps", "3", "--batch", "3");
    ck_assert_msg(r.code == 0, "%s", r.err);
    TOOL("pcrl-report", "--device", "cpu", "--model", at("model"), "--max-tokens", "20", at("set"));
    ck_assert_msg(r.code == 0, "%s", r.err);
    int lines = 0;
    for (const char *p = r.out; *p; p++) lines += *p == '\n';
    ck_assert_int_eq(lines, 8);
    char *first = strdup(r.out);
    TOOL("pcrl-report", "--device", "cpu", "--model", at("model"), "--max-tokens", "20", "--batch", "3",
         at("set"));
    ck_assert_msg(!strcmp(first, r.out), "greedy reports depend on the batch");
    free(first);
    SafeTensors *s = safetensors_open(at("model/adapter_model.safetensors"), NULL);
    ck_assert(s && s->n == 8);
    ck_assert(safetensors_find(s, "base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight"));
    safetensors_close(s);
}
END_TEST

/* The head without its segmentation head, as files of an earlier kind are. */
static void strip_segmentation(const char *path)
{
    SafeTensors *s = safetensors_open(path, NULL);
    ck_assert(s != NULL);
    StWriter *w = st_writer_new();
    void *bytes[256] = {NULL};
    ck_assert_int_lt(s->n, 256);
    for (int i = 0; i < s->n; i++) {
        const StEntry *t = &s->entry[i];
        if (strstr(t->name, "local_seg")) continue;
        bytes[i] = malloc(t->size + 1);
        ck_assert(safetensors_read(s, t, bytes[i], NULL));
        st_writer_add(w, t->name, t->dtype, t->ndim, t->dim, bytes[i]);
    }
    safetensors_close(s);
    ck_assert(st_writer_save(w, path, NULL));
    st_writer_free(w);
    for (int i = 0; i < 256; i++) free(bytes[i]);
}

START_TEST(segmentation)
{
    Run r;
    TOOL("pcrl-report", "--device", "cpu", "--model", at("model"), "--max-tokens", "5", at("set"));
    ck_assert_msg(r.code == 0, "%s", r.err);
    char *plain = strdup(r.out);
    TOOL("pcrl-report", "--device", "cpu", "--model", at("model"), "--max-tokens", "5", "--batch", "3",
         "--masks", at("masks"), "--evidence", at("evidence"), at("set"));
    ck_assert_msg(r.code == 0, "%s", r.err);
    ck_assert_msg(!strcmp(plain, r.out), "reports depend on --masks");
    free(plain);
    TOOL("pcrl-report", "--device", "cpu", "--model", at("model"), "--max-tokens", "5", "--control", "shuffle",
         "--masks", at("shuffled"), at("set"));
    ck_assert_msg(r.code == 0, "%s", r.err);
    SafeTensors *s = safetensors_open(at("masks"), NULL), *other = safetensors_open(at("shuffled"), NULL);
    ck_assert(s && s->n == 8 && other && other->n == 8);
    static float own[24 * 14 * 14], moved[24 * 14 * 14];
    const int64_t dim[] = {24, 14, 14};
    ck_assert(safetensors_load_f32(s, "7", 3, dim, own, NULL));
    for (int i = 0; i < 24 * 14 * 14; i++) ck_assert(own[i] >= 0 && own[i] <= 1);
    ck_assert(safetensors_load_f32(other, "0", 3, dim, moved, NULL));
    ck_assert_mem_eq(own, moved, sizeof own); /* study 0 had study 7's images */
    ck_assert(safetensors_load_f32(s, "0", 3, dim, own, NULL));
    ck_assert_mem_ne(own, moved, sizeof own);
    safetensors_close(s);
    safetensors_close(other);
    ck_assert(!access(at("evidence/7/23.png"), F_OK) && !access(at("evidence/7.png"), F_OK));
    strip_segmentation(at("model/pcrl_heads.safetensors"));
    TOOL("pcrl-report", "--device", "cpu", "--model", at("model"), "--max-tokens", "5", "--masks", at("none"),
         at("set"));
    ck_assert_int_eq(r.code, 2);
    ck_assert_msg(strstr(r.err, "pcrl_heads.safetensors: no segmentation head"), "%s", r.err);
    ck_assert(*r.out == 0 && access(at("none"), F_OK));
    TOOL("pcrl-report", "--device", "cpu", "--model", at("model"), "--max-tokens", "5", at("set"));
    ck_assert_msg(r.code == 0, "%s", r.err);
}
END_TEST

START_TEST(bad_input)
{
    Run r;
    TOOL("pcrl-train", "resnet", "--data", at("nowhere"), "--out", at("c"), "--model", at("c"), "--device",
         "cpu");
    ck_assert_int_eq(r.code, 3);
    ck_assert(strstr(r.err, "nowhere"));
    TOOL("pcrl-train", "sam", "--data", "x", "--out", "y", "--model", "z");
    ck_assert_int_eq(r.code, 1);
    TOOL("pcrl-train", "resnet", "--data", at("small"), "--out", at("c"), "--model", at("c"), "--device",
         "cpu");
    ck_assert_int_eq(r.code, 2);
    ck_assert_msg(strstr(r.err, "14"), "%s", r.err);
    TOOL("pcrl-report", "--device", "cpu", "--model", at("model"), at("small"));
    ck_assert_int_eq(r.code, 2);
    ck_assert_msg(strstr(r.err, "96x96") && strstr(r.err, "112x112"), "%s", r.err);
    ck_assert(!truncate(at("a/checkpoint.safetensors"), 3000));
    TOOL("pcrl-train", RESNET, "--out", at("a"), "--model", at("other"));
    ck_assert_int_eq(r.code, 2);
    ck_assert_msg(strstr(r.err, "a/checkpoint.safetensors"), "%s", r.err);
    ck_assert(!truncate(at("model/pcrl_heads.safetensors"), 1000));
    TOOL("pcrl-report", "--device", "cpu", "--model", at("model"), at("set"));
    ck_assert_int_eq(r.code, 2);
    ck_assert_msg(strstr(r.err, "pcrl_heads.safetensors"), "%s", r.err);
    unlink(at("model/tokenizer.json"));
    TOOL("pcrl-report", "--device", "cpu", "--model", at("model"), at("set"));
    ck_assert_int_ne(r.code, 0);
}
END_TEST

static void make_sets(void)
{
    Run r;
    ck_assert(mkdtemp(folder));
    TOOL("pcrl-synth", "--out", at("set"), "--n", "8", "--size", "112");
    ck_assert_msg(r.code == 0, "%s", r.err);
    TOOL("pcrl-synth", "--out", at("small"), "--n", "2", "--size", "96");
    ck_assert_msg(r.code == 0, "%s", r.err);
}

static void remove_sets(void) { nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

int main(void)
{
    Suite *s = suite_create("train");
    TCase *c = tcase_create("train");
    tcase_set_timeout(c, 0);
    tcase_add_unchecked_fixture(c, make_sets, remove_sets);
    tcase_add_test(c, resume_is_bit_for_bit);
    tcase_add_test(c, whole_pipeline);
    tcase_add_test(c, segmentation);
    tcase_add_test(c, bad_input);
    suite_add_tcase(s, c);
    SRunner *runner = srunner_create(s);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int bad = srunner_ntests_failed(runner);
    srunner_free(runner);
    return bad != 0;
}
