/* pcrl-synth as a user meets it: what it writes, going on after an interruption, its messages and exit codes.
 */
#include "data/ctrg.h"
#include "data/file.h"
#include "data/nifti.h"
#include "models/resnet.h"
#include "tests/tools/run.h"
#include <check.h>
#include <errno.h>
#include <ftw.h>
#include <sys/mount.h>
#include <sys/stat.h>

static char folder[] = "/tmp/pcrl-synth-XXXXXX", out[64], other[64];

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
    (void)s, (void)type, (void)f;
    return remove(path);
}

static char *read_text(const char *in, const char *name, size_t *n)
{
    char path[128];
    uint8_t *bytes;
    Error e = {0};
    snprintf(path, sizeof path, "%s/%s", in, name);
    ck_assert_msg(file_read(path, 1 << 26, &bytes, n, &e), "%s", e.msg);
    return (char *)bytes;
}

static void ck_same_file(const char *name)
{
    size_t n, m;
    char *a = read_text(out, name, &n), *b = read_text(other, name, &m);
    ck_assert_uint_eq(n, m);
    ck_assert_mem_eq(a, b, n);
    free(a);
    free(b);
}

#define SYNTH(...) run_tool(&r, "pcrl-synth", (const char *const[]){__VA_ARGS__, NULL})

START_TEST(a_set_is_the_same_however_it_came_about)
{
    Run r;
    Error e = {0};
    char path[128];
    SYNTH("--out", out, "--n", "5", "--seed-base", "60", "--size", "64", "--threads", "1");
    ck_assert_msg(r.code == 0, "%s", r.err);
    SYNTH("--out", other, "--n", "3", "--seed-base", "60", "--size", "64", "--threads", "2");
    ck_assert_int_eq(r.code, 0);
    /* as a kill would leave it: one study without its study.json, one slice cut short */
    snprintf(path, sizeof path, "%s/images/61/study.json", other);
    ck_assert_int_eq(unlink(path), 0);
    snprintf(path, sizeof path, "%s/images/61/11.png", other);
    ck_assert_int_eq(truncate(path, 20), 0);
    SYNTH("--out", other, "--n", "5", "--seed-base", "60", "--size", "64");
    ck_assert_int_eq(r.code, 0);
    ck_same_file("annotations.json");
    ck_same_file("images/60/00.png");
    ck_same_file("images/61/11.png");
    ck_same_file("images/64/23.png");
    Ctrg *c = ctrg_open(other, NULL, NULL, &e);
    ck_assert_msg(c != NULL, "%s", e.msg);
    ck_assert_int_eq(c->n, 5);
    ck_assert_int_eq(c->study[4].id, 64);
    ctrg_free(c);
}
END_TEST

START_TEST(finished_studies_are_left_alone)
{
    Run r;
    char path[128];
    struct stat before, after, redrawn;
    SYNTH("--out", out, "--n", "2", "--seed-base", "60", "--size", "64");
    snprintf(path, sizeof path, "%s/images/60/study.json", out);
    ck_assert_int_eq(stat(path, &before), 0);
    SYNTH("--out", out, "--n", "2", "--seed-base", "60", "--size", "64");
    ck_assert_int_eq(stat(path, &after), 0);
    ck_assert_uint_eq(before.st_ino, after.st_ino);
    SYNTH("--out", out, "--n", "2", "--seed-base", "60", "--size", "80"); /* another drawing */
    ck_assert_int_eq(stat(path, &redrawn), 0);
    ck_assert_uint_ne(before.st_ino, redrawn.st_ino);
}
END_TEST

START_TEST(pairs_twins_and_volumes)
{
    Run r;
    Error e = {0};
    char path[128];
    SYNTH("--out", out, "--n", "3", "--seed-base", "70", "--size", "64", "--counterfactual", "--twins", "1",
          "--nifti", "--slice-mm", "2.5", "--below-mm", "20");
    ck_assert_msg(r.code == 0, "%s", r.err);
    Ctrg *c = ctrg_open(out, NULL, NULL, &e);
    ck_assert_msg(c != NULL, "%s", e.msg);
    int twins = 0, pairs = 0;
    for (int i = 1; i < c->n; i++) {
        const CtrgStudy *s = &c->study[i], *first = s;
        while (first->id >= 1000000000) first--;
        if (s->id >= 2000000000) {
            ck_assert_str_eq(s->findings, first->findings);
            twins++;
        } else if (s->id >= 1000000000) {
            ck_assert_str_ne(s->findings, first->findings);
            pairs++;
        }
    }
    ck_assert_int_eq(twins, 3);
    ck_assert_int_ge(pairs, 1);
    ctrg_free(c);
    Volume v;
    snprintf(path, sizeof path, "%s/volumes/70.nii.gz", out);
    ck_assert_msg(nifti_read(path, &v, NULL, &e), "%s", e.msg);
    ck_assert_int_eq(v.nz, 56);
    volume_free(&v);
}
END_TEST

START_TEST(reports_and_regimes)
{
    Run r;
    char balanced[sizeof r.out];
    SYNTH("--reports", "--n", "20", "--style", "0");
    ck_assert_int_eq(r.code, 0);
    int lines = 0;
    for (const char *s = r.out; *s; s++) lines += *s == '\n';
    ck_assert_int_eq(lines, 20);
    ck_assert(!strncmp(r.out, "0\t", 2));
    strcpy(balanced, r.out);
    SYNTH("--reports", "--n", "20", "--style", "0", "--regime", "ctrg");
    ck_assert_int_eq(r.code, 0);
    ck_assert_str_ne(balanced, r.out);
}
END_TEST

/* Nobody of --held-out skip has a held-out combination, everybody of only has one, and the two with nothing
 * between them (mirror images on both sides) are all patients. */
START_TEST(held_out)
{
    static const char *const how[] = {"skip", "only"};
    int64_t last[2];
    for (int h = 0; h < 2; h++) {
        Run r;
        SYNTH("--reports", "--n", "60", "--held-out", how[h]);
        ck_assert_int_eq(r.code, 0);
        int lines = 0;
        for (char *line = r.out, *end; (end = strchr(line, '\n')) != NULL; line = end + 1, lines++) {
            *end = 0;
            last[h] = atoll(line);
            FindingSet set = findings_parse(strchr(line, '\t'));
            bool has = false, half = false;
            for (int f = 0; f < FINDING_COUNT; f++) {
                has |= finding_held_out(f, (Side)set.side[f]);
                half |= set.side[f] == SIDE_BOTH &&
                        (finding_held_out(f, SIDE_LEFT) || finding_held_out(f, SIDE_RIGHT));
            }
            ck_assert_msg(h ? has : !has && !half, "%s: %s", how[h], line);
        }
        ck_assert_int_eq(lines, 60);
    }
    ck_assert_int_gt(last[0], 60); /* some were passed over */
    ck_assert_int_lt(last[0], last[1]);
}
END_TEST

typedef struct Bad {
    const char *args[7];
    int code;
    const char *says;
} Bad;
static const Bad bad[] = {
    {{0}, 1, "nothing to do"},
    {{"--out", "x", "--regime", "odd"}, 1, "--regime odd: expected balanced or ctrg"},
    {{"--out", "x", "--size", "63"}, 1, "--size"},
    {{"--out", "x", "--held-out", "all"}, 1, "--held-out all: expected skip or only"},
    {{"--reports", "--held-out", "only", "--seed-base", "899999990"}, 2, "only "},
    {{"--out", "x", "--n", "0"}, 1, "--n"},
    {{"--out", "x", "--n", "2", "--seed-base", "899999999"}, 1, "--seed-base + --n"},
    {{"--montage", "x.png", "--nifti"}, 1, "--nifti needs --out"},
    {{"--out", "/proc/none", "--n", "1"}, 3, "/proc/none"},
    {{"--montage", "/proc/none/x.png", "--n", "1"}, 3, "/proc/none"},
};

START_TEST(bad_calls)
{
    Run r;
    run_tool(&r, "pcrl-synth", bad[_i].args);
    ck_assert_msg(r.code == bad[_i].code, "code %d: %s", r.code, r.err);
    ck_assert_msg(strstr(r.err, bad[_i].says) != NULL, "%s", r.err);
}
END_TEST

/* The public models' counts, as their papers and files have them. */
START_TEST(weights_counts)
{
    static const struct {
        const char *model, *quant;
        int64_t weights, most; /* bytes */
    } cases[] = {
        {"llama3-8b", "nf4-dq", 8030261248, 6000000000},
        {"llama3-8b", "nf4", 8030261248, 6100000000},
        {"llama3-8b", "fp4-dq", 8030261248, 6000000000},
        {"llama3-8b", "fp4", 8030261248, 6100000000},
        {"llama3-8b", "q4_0", 8030261248, 6100000000},
        {"llama3-8b", "none", 8030261248, 16100000000},
        {"resnet101", "nf4-dq", 44549160, 4 * 44549160 + 600000}, /* running statistics are not counted */
        {"sam-vit-b", "nf4-dq", 93735472, 4 * 93735472 + 50000},
        {"sam-vit-l", "nf4-dq", 312342832, 4 * 312342832 + 100000},
        {"sam-vit-h", "nf4-dq", 641090608, 4 * 641090608LL + 100000},
        {"medclip", "nf4-dq", 136616059, 4 * 136616059 + 100000},
        {"pcrl-head", "nf4-dq", 226531331, 4 * 226531331 + 100000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Run r;
        char name[32];
        long long weights = 0, bytes = 0;
        SYNTH("weights", "--dry-run", "--model", cases[i].model, "--quant", cases[i].quant);
        ck_assert_msg(r.code == 0, "%s", r.err);
        ck_assert(sscanf(r.out, "%31s %lld weights %lld bytes", name, &weights, &bytes) == 3);
        ck_assert_str_eq(name, cases[i].model);
        ck_assert_msg(weights == cases[i].weights && bytes > weights / 2 && bytes <= cases[i].most,
                      "%s: %lld weights, %lld bytes", name, weights, bytes);
    }
    Run r;
    SYNTH("weights", "--dry-run", "--model", "pcrl-head");
    ck_assert_msg(strstr(r.out, "trainable 229939203, of which LoRA 3407872"), "%s", r.out);
}
END_TEST

START_TEST(weights_file)
{
    Run r;
    Error e = {0};
    char path[128];
    snprintf(path, sizeof path, "%s/net.safetensors", folder);
    SYNTH("weights", "--model", "resnet101", "--out", path, "--seed", "4");
    ck_assert_msg(r.code == 0, "%s", r.err);
    run_tool(&r, "pcrl-inspect", (const char *const[]){path, NULL});
    ck_assert_msg(r.code == 0 && strstr(r.out, "layer3.22.conv3.weight") && strstr(r.out, "fc.bias"), "%s",
                  r.err);
    Arena weights, state;
    Weights w;
    Resnet net;
    ck_assert(arena_open(&weights, "weights", &backend_cpu, (size_t)1 << 30, &e) &&
              arena_open(&state, "state", &backend_cpu, 1 << 20, &e));
    weights_init(&w, &weights, &state, NULL, 0);
    ck_assert_msg(weights_open(&w, path, &e) && resnet_open(&net, &w, &e), "%s", e.msg);
    ck_assert(net.channels == 2048 && net.config.depth[2] == 23 && net.config.stride[1] == 2 &&
              !net.config.caffe);
    weights_close(&w);
    arena_close(&state);
    arena_close(&weights);
    unlink(path);
}
END_TEST

/* Where there is no room, that is said before anything is written. */
START_TEST(weights_room)
{
    Run r;
    char path[128];
    snprintf(path, sizeof path, "%s/small", folder);
    ck_assert_int_eq(mkdir(path, 0777), 0);
    if (mount("none", path, "tmpfs", 0, "size=64k") != 0) {
        fprintf(stderr, "SKIPPED: weights_room needs a tmpfs, which cannot be mounted here: %s\n",
                strerror(errno));
        return;
    }
    SYNTH("weights", "--model", "resnet101", "--out", path);
    ck_assert_msg(r.code == 3 &&
                      strstr(r.err, "/small: needs 178665944 bytes (0.2 GB), its file system has 65536 "
                                    "free (0.0 GB)"),
                  "%s", r.err);
    ck_assert(rmdir(path) != 0 && umount(path) == 0 && rmdir(path) == 0);
}
END_TEST

START_TEST(weights_usage)
{
    static const struct {
        const char *args[7], *message;
    } cases[] = {
        {{"weights"}, "which --model?"},
        {{"weights", "--model", "resnet101"}, "--out is missing"},
        {{"weights", "--model", "resnet50"},
         "--model: expected llama3-8b, resnet101, sam-vit-b, sam-vit-l, sam-vit-h, medclip or pcrl-head, found "
         "'resnet50'"},
        {{"weights", "--model", "sam-vit-b", "--model", "sam-vit-h"},
         "sam-vit-b and sam-vit-h are both sam.safetensors"},
        {{"weights", "--model", "pcrl-head", "--out", "x.safetensors"},
         "--out x.safetensors: these are 2 files"},
        {{"weights", "--model", "llama3-8b", "--quant", "q4_1", "--dry-run"},
         "--quant: expected nf4, nf4-dq, fp4, fp4-dq, q4_0 or none, found 'q4_1'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Run r;
        run_tool(&r, "pcrl-synth", cases[i].args);
        ck_assert_msg(r.code == 1 && strstr(r.err, cases[i].message), "%s", r.err);
    }
    Run r;
    SYNTH("weights", "--model", "llama3-8b", "--out", out, "--vocabulary", "/no/such");
    ck_assert_msg(r.code == 3 && strstr(r.err, "/no/such/tokenizer.json: cannot open"), "%s", r.err);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return 1;
    snprintf(out, sizeof out, "%s/a", folder);
    snprintf(other, sizeof other, "%s/b", folder);
    Suite *s = suite_create("synth");
    TCase *c = tcase_create("synth");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, a_set_is_the_same_however_it_came_about);
    tcase_add_test(c, finished_studies_are_left_alone);
    tcase_add_test(c, pairs_twins_and_volumes);
    tcase_add_test(c, reports_and_regimes);
    tcase_add_test(c, held_out);
    tcase_add_test(c, weights_counts);
    tcase_add_test(c, weights_file);
    tcase_add_test(c, weights_room);
    tcase_add_test(c, weights_usage);
    tcase_add_loop_test(c, bad_calls, 0, sizeof bad / sizeof *bad);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return failed != 0;
}
