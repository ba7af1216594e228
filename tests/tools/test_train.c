/* The pipeline at toy size: phantoms, every stage of pcrl-train, conversion, reports; a stage stopped after any
 * update, or by a signal, and resumed gives the same bytes and the same log; bad input gives one line and the
 * right exit code. */
#include "data/file.h"
#include "data/json.h"
#include "data/safetensors.h"
#include "tests/tools/run.h"
#include "tools/checkpoint.h"
#include <check.h>
#include <ftw.h>
#include <math.h>
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

static void copy_file(const char *from, const char *to)
{
    uint8_t *bytes;
    size_t n;
    ck_assert(file_read(from, 1 << 28, &bytes, &n, NULL) && file_write(to, bytes, n, NULL));
    free(bytes);
}

/* Equal but for the time it took. */
static void same_log(const char *a, const char *b)
{
    const char *path[2] = {a, b};
    FILE *f[2];
    char line[2][1024];
    for (int i = 0; i < 2; i++) ck_assert_ptr_nonnull(f[i] = fopen(path[i], "r"));
    for (int n = 1;; n++) {
        json_t *v[2];
        bool more[2];
        for (int i = 0; i < 2; i++) more[i] = fgets(line[i], sizeof line[i], f[i]);
        ck_assert_msg(more[0] == more[1], "%s: another number of lines than %s", a, b);
        if (!more[0]) break;
        for (int i = 0; i < 2; i++) {
            ck_assert_ptr_nonnull(v[i] = json_loads(line[i], 0, NULL));
            bool timed = !json_object_del(v[i], "seconds") && !json_object_del(v[i], "rate");
            ck_assert(timed != json_is_true(json_object_get(v[i], "validation")));
        }
        ck_assert_msg(json_equal(v[0], v[1]), "line %d: %s%s", n, line[0], line[1]);
        for (int i = 0; i < 2; i++) json_decref(v[i]);
    }
    for (int i = 0; i < 2; i++) fclose(f[i]);
}

/* Starts pcrl-train resnet, and sends SIGTERM a while after its log is there and it catches the signal. */
static int interrupted_run(const char *out, const char *model, useconds_t wait)
{
    char tool[512], log[300];
    pid_t pid, ended;
    int status;
    tool_path(tool, sizeof tool, "pcrl-train");
    snprintf(log, sizeof log, "%s/log.jsonl", out);
    const char *const words[] = {tool, RESNET, "--out", out, "--model", model, NULL};
    ck_assert_int_eq(posix_spawn(&pid, tool, NULL, NULL, (char *const *)(uintptr_t)words, environ), 0);
    while (!(ended = waitpid(pid, &status, WNOHANG)) && (access(log, F_OK) || !run_catches(pid, SIGTERM)))
        usleep(5000);
    if (!ended) {
        usleep(wait);
        kill(pid, SIGTERM);
        ended = waitpid(pid, &status, 0);
    }
    ck_assert(ended == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Each run gets longer than the one before, so that on a busy machine too one of them comes to the end. */
START_TEST(resume_is_bit_for_bit)
{
    Run r;
    TOOL("pcrl-train", RESNET, "--out", at("a"), "--model", at("model"));
    ck_assert_msg(r.code == 0, "%s", r.err);
    for (int i = 0;; i++) {
        int code = interrupted_run(at("b"), at("other"), 150000 * (useconds_t)(1 + i));
        ck_assert_msg(code == 0 || code == 130, "exit code %d", code);
        if (code == 0) break;
        ck_assert_int_lt(i, 100);
    }
    ck_assert(same_file(at("model/resnet.safetensors"), at("other/resnet.safetensors")));
    ck_assert(same_file(at("a/step_00000012/tensors.safetensors"), at("b/step_00000012/tensors.safetensors")));
    same_log(at("a/log.jsonl"), at("b/log.jsonl"));
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
    TensorFile *s = safetensors_open(at("model/adapter_model.safetensors"), NULL);
    ck_assert(s && s->n == 8);
    ck_assert(tensor_file_find(s, "base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight"));
    tensor_file_close(s);
}
END_TEST

/* --restart: the earlier run is forgotten at once and in all its parts, though the call ends before it saves; a
 * folder is one stage's. */
START_TEST(anew_or_refused)
{
    Run r;
    TOOL("pcrl-train", RESNET, "--out", at("anew"), "--model", at("third"), "--seed", "2", "--stop-after", "3");
    ck_assert_int_eq(r.code, 130);
    TOOL("pcrl-train", RESNET, "--out", at("anew"), "--model", at("third"), "--restart", "--data", at("none"));
    ck_assert_int_eq(r.code, 3);
    TOOL("pcrl-train", RESNET, "--out", at("anew"), "--model", at("third"));
    ck_assert_msg(r.code == 0 && !strstr(r.err, "going on from"), "%d: %s", r.code, r.err);
    ck_assert(same_file(at("model/resnet.safetensors"), at("third/resnet.safetensors")));
    for (int call = 0; call < 2; call++) {
        TOOL("pcrl-train", "pcrl", "--device", "cpu", "--threads", "1", "--data", at("set"), "--model",
             at("model"), "--out", at("pcrl"), "--slots", at("llama/slots.safetensors"), "--cache", at("cache"),
             "--warmup-steps", "3", "--steps", "3", "--batch", "3", "--stop-after", call ? "0" : "1",
             call ? "--restart=no" : "--restart");
        ck_assert_msg(r.code == (call ? 0 : 130), "%d: %s", r.code, r.err);
    }
    ck_assert_msg(strstr(r.err, "warmup: going on from step 1") && !strstr(r.err, "pcrl: going on"), "%s",
                  r.err);
    copy_file(at("pcrl/run.json"), at("pcrl-run.json"));
    TOOL("pcrl-train", RESNET, "--out", at("pcrl"), "--model", at("third"));
    ck_assert_int_eq(r.code, 2);
    ck_assert_msg(strstr(r.err, "run.json: a run of stage pcrl") && strstr(r.err, "stage resnet"), "%s", r.err);
    ck_assert(same_file(at("pcrl/run.json"), at("pcrl-run.json")));
}
END_TEST

/* Stage pcrl (dropout in the adapters) and stage resnet (BatchNorm), two micro-batches an update. */
#define PCRL                                                                                                   \
    "pcrl", "--device", "cpu", "--threads", "1", "--data", at("set"), "--cache", at("cache"), "--model",       \
        at("model"), "--batch", "2", "--accumulate", "2", "--steps", "12", "--log-every", "5", "--validation", \
        at("set"), "--validate-every", "4", "--validation-studies", "4"

static void stop_and_go_on(bool pcrl, const char *stop, const char *name)
{
    Run r;
    for (int call = 0; call < 2; call++) {
        const char *after = call ? "0" : stop;
        if (pcrl)
            TOOL("pcrl-train", PCRL, "--out", at(name), "--stop-after", after);
        else
            TOOL("pcrl-train", RESNET, "--accumulate", "2", "--log-every", "5", "--out", at(name), "--model",
                 at("other"), "--stop-after", after);
        ck_assert_msg(r.code == (call ? 0 : 130), "%d: %s", r.code, r.err);
        ck_assert_msg(strstr(r.err, call ? "going on from step" : "stopped at step"), "%s", r.err);
    }
    if (pcrl) ck_assert(same_file(at("model/adapter_model.safetensors"), at("straight-adapter")));
}

START_TEST(stopped_after_every_update)
{
    Run r;
    TOOL("pcrl-train", PCRL, "--out", at("straight"));
    ck_assert_msg(r.code == 0, "%s", r.err);
    copy_file(at("model/adapter_model.safetensors"), at("straight-adapter"));
    TOOL("pcrl-train", RESNET, "--accumulate", "2", "--log-every", "5", "--out", at("straight-r"), "--model",
         at("other"));
    ck_assert_msg(r.code == 0, "%s", r.err);
    for (int k = 1; k <= 11; k += SANITIZED ? 4 : 1) {
        char stop[12], name[2][32], path[2][64];
        snprintf(stop, sizeof stop, "%d", k);
        for (int pcrl = 0; pcrl < 2; pcrl++) {
            const char *straight = pcrl ? "straight/pcrl" : "straight-r";
            snprintf(name[pcrl], sizeof name[0], "stop-%d-%d", pcrl, k);
            stop_and_go_on(pcrl, stop, name[pcrl]);
            static const char *const whiches[] = {"step_00000012/tensors.safetensors", "log.jsonl",
                                                  "step_00000012/state.json"};
            for (int file = 0; file < 3; file++) {
                const char *which = whiches[file];
                snprintf(path[0], sizeof path[0], "%s/%s", straight, which);
                snprintf(path[1], sizeof path[1], "%s%s/%s", name[pcrl], pcrl ? "/pcrl" : "", which);
                if (file == 1)
                    same_log(at(path[0]), at(path[1]));
                else
                    ck_assert_msg(same_file(at(path[0]), at(path[1])), "%s", path[1]);
            }
        }
    }
}
END_TEST

/* Preset release, and its run file repeating it; what clues must be there; the paper's sizes without any file.
 */
START_TEST(presets_and_sizes)
{
    Run r;
    char config[256];
    TOOL("pcrl-train", "pcrl", "--preset", "release", "--device", "cpu", "--threads", "1", "--data", at("set"),
         "--cache", at("cache"), "--model", at("model"), "--batch", "4", "--steps", "3", "--out", at("release"),
         "--text-pool", "last");
    ck_assert_msg(r.code == 0, "%s", r.err);
    snprintf(config, sizeof config, "%s", at("release/run.json"));
    uint8_t *text;
    size_t n;
    ck_assert(file_read(config, 1 << 20, &text, &n, NULL));
    ck_assert(strstr((char *)text, "\"hv\": \"concat48\"") &&
              strstr((char *)text, "\"contrast\": \"standard\"") &&
              strstr((char *)text, "\"tau\": \"learn\"") && strstr((char *)text, "\"text_pool\": \"last\""));
    free(text);
    copy_file(at("model/pcrl_heads.safetensors"), at("release-heads"));
    TOOL("pcrl-train", "--config", config, "--out", at("again"));
    ck_assert_msg(r.code == 0, "%s", r.err);
    ck_assert(same_file(at("model/pcrl_heads.safetensors"), at("release-heads")));
    same_log(at("release/pcrl/log.jsonl"), at("again/pcrl/log.jsonl"));
    TOOL("pcrl-train", "--config", config, "--out", at("clueless"), "--clues", at("no-clues.json"));
    ck_assert_int_eq(r.code, 3);
    ck_assert_msg(strstr(r.err, "no-clues.json"), "%s", r.err);
    ck_assert(file_write(at("empty.json"), "{\"version\": 1, \"studies\": []}", 29, NULL));
    TOOL("pcrl-train", "--config", config, "--out", at("clueless"), "--clues", at("empty.json"));
    ck_assert_int_eq(r.code, 2);
    ck_assert_msg(strstr(r.err, "empty.json: no clue"), "%s", r.err);
    TOOL("pcrl-train", "pcrl", "--dry-run", "--sizes", "paper", "--schedule", "step");
    ck_assert_msg(r.code == 0, "%s", r.err);
    ck_assert_msg(strstr(r.out, "trainable 229939203, of which LoRA 3407872") &&
                      strstr(r.out, "memory weights") && strstr(r.out, "memory state") &&
                      strstr(r.out, "memory step"),
                  "%s", r.out);
}
END_TEST

/* The paper's training fits a card of 24 GB, with room for what kernels need while they run. */
START_TEST(fits_a_card)
{
    static const struct {
        const char *recompute, *batch; /* 0: the paper's 4 */
        double most;
    } plan[] = {{"medium", "0", 16e9}, {"none", "0", 23e9}, {"medium", "1", 11.2e9}};
    for (size_t i = 0; i < sizeof plan / sizeof *plan; i++) {
        Run r;
        TOOL("pcrl-train", "pcrl", "--dry-run", "--sizes", "paper", "--compute", "bf16", "--recompute",
             plan[i].recompute, "--batch", plan[i].batch);
        ck_assert_msg(r.code == 0, "%s", r.err);
        const char *all = strstr(r.out, "memory all");
        ck_assert_msg(all != NULL, "%s", r.out);
        double bytes = strtod(all + strlen("memory all"), NULL);
        ck_assert_msg(bytes > 9e9 && bytes <= plan[i].most, "recompute %s: %.0f bytes", plan[i].recompute,
                      bytes);
    }
}
END_TEST

/* A data set as anybody's: reports and images, no truth; the clues come from elsewhere. */
START_TEST(without_truth)
{
    Run r;
    json_t *list = json_read(at("set/annotations.json"), NULL), *item;
    size_t i;
    json_array_foreach(list, i, item) json_object_del(item, "truth");
    ck_assert(file_make_folder(at("bare"), NULL) && json_write(at("bare/annotations.json"), list, NULL));
    json_decref(list);
    ck_assert_int_eq(symlink("../set/images", at("bare/images")), 0);
    TOOL("pcrl-train", "pcrl", "--device", "cpu", "--threads", "1", "--data", at("bare"), "--clues",
         at("set/clues.json"), "--cache", at("bare-cache"), "--model", at("model"), "--batch", "4", "--steps",
         "2", "--out", at("bare-run"));
    ck_assert_msg(r.code == 0, "%s", r.err);
#define VALIDATE                                                                                               \
    TOOL("pcrl-train", "pcrl", "--device", "cpu", "--threads", "1", "--data", at("bare"), "--clues",           \
         at("set/clues.json"), "--cache", at("bare-cache"), "--model", at("model"), "--batch", "4", "--steps", \
         "2", "--validation", at("bare"), "--validation-studies", "2", "--validate-every", "1", "--out",       \
         at("bare-validated"))
    VALIDATE;
    ck_assert_msg(r.code == 3 && strstr(r.err, "bare/clues.json: missing; pcrl-retrieve finds"), "%s", r.err);
    copy_file(at("set/clues.json"), at("bare/clues.json"));
    VALIDATE;
    ck_assert_msg(r.code == 0, "%s", r.err);
    TOOL("pcrl-train", "pcrl", "--device", "cpu", "--threads", "1", "--data", at("bare"), "--clues",
         at("set/clues.json"), "--cache", at("bare-cache"), "--model", at("model"), "--slots",
         at("llama/slots.safetensors"), "--warmup-steps", "1", "--steps", "2", "--out", at("bare-run"));
    ck_assert_int_eq(r.code, 2);
    ck_assert_msg(strstr(r.err, "truth block"), "%s", r.err);
}
END_TEST

START_TEST(locked_folder)
{
    Run r;
    int fd;
    ck_assert(file_make_folder(at("locked"), NULL) && checkpoint_lock(at("locked"), &fd, NULL));
    TOOL("pcrl-train", RESNET, "--out", at("locked"), "--model", at("other"));
    char pid[32];
    snprintf(pid, sizeof pid, "process %d ", (int)getpid());
    ck_assert_int_eq(r.code, 3);
    ck_assert_msg(strstr(r.err, "locked/lock") && strstr(r.err, pid), "%s", r.err);
    ck_assert_int_ne(access(at("locked/run.json"), F_OK), 0);
    checkpoint_unlock(fd);
    TOOL("pcrl-train", RESNET, "--out", at("locked"), "--model", at("other"), "--dry-run");
    ck_assert_msg(r.code == 0 && strstr(r.out, "conv1.weight") && strstr(r.out, "memory all"), "%s", r.err);
    ck_assert_int_ne(access(at("locked/run.json"), F_OK), 0);
}
END_TEST

/* Slot embeddings that are no numbers: the warm-up's loss is none either. */
START_TEST(numeric_failure)
{
    Run r;
    TensorFile *s = safetensors_open(at("llama/slots.safetensors"), NULL);
    const TensorEntry *entry = s ? tensor_file_find(s, "slots.weight") : NULL;
    ck_assert_ptr_nonnull(entry);
    int64_t n = entry->dim[0] * entry->dim[1], dim[2] = {entry->dim[0], entry->dim[1]};
    float *nan = malloc((size_t)n * sizeof *nan);
    for (int64_t i = 0; i < n; i++) nan[i] = NAN;
    StWriter *w = st_writer_new();
    st_writer_add(w, "slots.weight", ST_F32, 2, dim, nan);
    ck_assert(st_writer_save(w, at("nan.safetensors"), NULL));
    st_writer_free(w);
    free(nan);
    tensor_file_close(s);
    TOOL("pcrl-train", PCRL, "--out", at("nan"), "--slots", at("nan.safetensors"), "--warmup-steps", "9");
    ck_assert_int_eq(r.code, 4);
    ck_assert_msg(strstr(r.err, "step 1 skipped") && strstr(r.err, "step 5") &&
                      strstr(r.err, "saved is step 0"),
                  "%s", r.err);
    ck_assert_int_eq(access(at("nan/warmup/step_00000000/MANIFEST.json"), F_OK), 0);
}
END_TEST

/* The head without its segmentation head, as files of an earlier kind are. */
static void strip_segmentation(const char *path)
{
    TensorFile *s = safetensors_open(path, NULL);
    ck_assert(s != NULL);
    StWriter *w = st_writer_new();
    void *bytes[256] = {NULL};
    ck_assert_int_lt(s->n, 256);
    for (int i = 0; i < s->n; i++) {
        const TensorEntry *t = &s->entry[i];
        if (strstr(t->name, "local_seg")) continue;
        bytes[i] = malloc(t->size + 1);
        ck_assert(tensor_file_read(s, t, bytes[i], NULL));
        st_writer_add(w, t->name, t->dtype, t->ndim, t->dim, bytes[i]);
    }
    tensor_file_close(s);
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
    TensorFile *s = safetensors_open(at("masks"), NULL), *other = safetensors_open(at("shuffled"), NULL);
    ck_assert(s && s->n == 8 && other && other->n == 8);
    static float own[24 * 14 * 14], moved[24 * 14 * 14];
    const int64_t dim[] = {24, 14, 14};
    ck_assert(tensor_file_load_f32(s, "7", 3, dim, own, NULL));
    for (int i = 0; i < 24 * 14 * 14; i++) ck_assert(own[i] >= 0 && own[i] <= 1);
    ck_assert(tensor_file_load_f32(other, "0", 3, dim, moved, NULL));
    ck_assert_mem_eq(own, moved, sizeof own); /* study 0 had study 7's images */
    ck_assert(tensor_file_load_f32(s, "0", 3, dim, own, NULL));
    ck_assert_mem_ne(own, moved, sizeof own);
    tensor_file_close(s);
    tensor_file_close(other);
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
    TOOL("pcrl-train", "clip", "--data", "x", "--out", "y", "--model", "z");
    ck_assert_int_eq(r.code, 1);
    TOOL("pcrl-train", "resnet", "--data", at("small"), "--out", at("c"), "--model", at("c"), "--device",
         "cpu");
    ck_assert_int_eq(r.code, 2);
    ck_assert_msg(strstr(r.err, "14"), "%s", r.err);
    TOOL("pcrl-report", "--device", "cpu", "--model", at("model"), at("small"));
    ck_assert_int_eq(r.code, 2);
    ck_assert_msg(strstr(r.err, "96x96") && strstr(r.err, "112x112"), "%s", r.err);
    ck_assert(!truncate(at("a/step_00000012/tensors.safetensors"), 3000));
    TOOL("pcrl-train", RESNET, "--out", at("a"), "--model", at("other"));
    ck_assert_int_eq(r.code, 2);
    ck_assert_msg(strstr(r.err, "a/step_00000012"), "%s", r.err);
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
    tcase_add_test(c, anew_or_refused);
    tcase_add_test(c, stopped_after_every_update);
    tcase_add_test(c, presets_and_sizes);
    tcase_add_test(c, fits_a_card);
    tcase_add_test(c, without_truth);
    tcase_add_test(c, locked_folder);
    tcase_add_test(c, numeric_failure);
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
