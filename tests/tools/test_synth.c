/* pcrl-synth as a user meets it: what it writes, going on after an interruption, its messages and exit codes.
 */
#include "data/ctrg.h"
#include "data/file.h"
#include "data/nifti.h"
#include "tests/tools/run.h"
#include <check.h>
#include <ftw.h>
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

typedef struct Bad {
    const char *args[7];
    int code;
    const char *says;
} Bad;
static const Bad bad[] = {
    {{0}, 1, "nothing to do"},
    {{"--out", "x", "--regime", "odd"}, 1, "--regime odd: expected balanced or ctrg"},
    {{"--out", "x", "--size", "63"}, 1, "--size"},
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
