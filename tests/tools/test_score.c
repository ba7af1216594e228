/* pcrl-score: reading reports, and the program from end to end, bad input included. */
#include "data/file.h"
#include "tools/score_pairs.h"
#include "tools/table.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/test_score_XXXXXX";

static const char *const REPORT[] = {"左侧基底节区见小片状低密度影，中线结构居中。",
                                     "右侧额叶见片状高密度影，周围见低密度水肿带，中线结构左移。",
                                     "脑实质内未见明显异常密度影，中线结构居中。",
                                     "双侧半卵圆中心见斑点状低密度影，脑沟增宽。"};
enum { N = 4 };

static const char *in_folder(const char *name)
{
    static char path[8][128];
    static int next;
    char *p = path[next++ % 8];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static void write_text(const char *name, const char *text)
{
    Error e = {0};
    ck_assert_msg(file_write(in_folder(name), text, strlen(text), &e), "%s", e.msg);
}

/* Study i has id ids[i], or 10 + i where ids is NULL, and report text[i]. */
static void write_set(const char *name, const int64_t *ids, const char *const *text, int n)
{
    Error e = {0};
    json_t *list = json_array();
    for (int i = 0; i < n; i++) {
        json_t *images = json_array();
        char id[24];
        snprintf(id, sizeof id, "%lld", ids ? (long long)ids[i] : 10 + i);
        for (int k = 0; k < 24; k++) json_array_append_new(images, json_sprintf("%d/%02d.png", i, k));
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:o}", "id", id, "findings", text[i],
                                              "impression", "", "images", images));
    }
    ck_assert_msg(json_write(in_folder(name), list, &e), "%s", e.msg);
    json_decref(list);
}

static void write_annotations(const char *name, const char *const *text, int n)
{
    write_set(name, NULL, text, n);
}

/* One line a report; a NULL text leaves the line out. */
static void write_lines(const char *name, const int64_t *ids, const char *const *text, int n)
{
    char all[4000] = "";
    for (int i = 0; i < n; i++)
        if (text[i])
            sprintf(all + strlen(all), "{\"id\": \"%lld\", \"report\": \"%s\", \"more\": 1}\n\n",
                    ids ? (long long)ids[i] : 10 + i, text[i]);
    write_text(name, all);
}

static void write_reports(const char *name, const char *const *text, int n)
{
    write_lines(name, NULL, text, n);
}

/* Runs the program; its standard output and error go to files. Returns the exit code. */
static int run(const char *arguments)
{
    char command[2000];
    const char *build = getenv("BUILD");
    snprintf(command, sizeof command, "%s/bin/pcrl-score %s >%s 2>%s", build ? build : "build/release",
             arguments, in_folder("out"), in_folder("err"));
    int status = system(command);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static char *slurp(const char *name)
{
    Error e = {0};
    uint8_t *bytes;
    size_t n;
    ck_assert_msg(file_read(in_folder(name), 1 << 20, &bytes, &n, &e), "%s", e.msg);
    return (char *)bytes;
}

static ScoreTruth open_truth(void)
{
    Error e = {0};
    ScoreTruth t;
    Ctrg *c = score_open_annotations(in_folder("annotations.json"), &e);
    ck_assert_msg(c != NULL, "%s", e.msg);
    ck_assert(score_truth(c, &t, &e));
    ctrg_free(c);
    return t;
}

static void write_truth(void) { write_annotations("annotations.json", REPORT, N); }

START_TEST(system_scores)
{
    Error e = {0};
    ScoreTruth t = open_truth();
    ck_assert_int_eq(t.n, N);
    /* one side wrong, one report empty, two right */
    const char *said[N] = {"右侧基底节区见小片状低密度影，中线结构居中。", "", REPORT[2], REPORT[3]};
    write_reports("r.jsonl", said, N);
    char **reports;
    ReportCounts counts;
    ck_assert_msg(score_read_reports(in_folder("r.jsonl"), &t, false, false, &reports, &counts, &e), "%s",
                  e.msg);
    for (int i = 0; i < N; i++) ck_assert_str_eq(reports[i], said[i]);
    ck_assert(counts.reports == N && counts.empty == 1 && counts.n_keys == 1 && counts.key[0].n == N);
    ScoreSystem s = {0};
    ScoreCutters cutters = {.by[SPLIT_CHAR] = cutter_open(SPLIT_CHAR, NULL, &e)};
    ck_assert(cutters.by[SPLIT_CHAR] && score_system(&t, reports, &cutters, &s, &e));
    const TextScore *text = &s.text[SPLIT_CHAR].all;
    ck_assert_int_eq(s.tuples.all.truth, 5); /* 1 + 2 + 0 + 2 */
    ck_assert_int_eq(s.tuples.all.said, 3);
    ck_assert_int_eq(s.tuples.all.right, 2);
    ck_assert_int_eq(s.tuples.all.side_n, 2);
    ck_assert_int_eq(s.tuples.all.side_right, 1);
    ck_assert_int_eq(s.tuples.focal.truth, 3);
    ck_assert_int_eq(s.tuples.focal.right, 1);
    ck_assert(fabs(s.tuples.exact - 0.5) < 1e-15);
    ck_assert(text->bleu[0] > 0.3 && text->bleu[0] < 1 && !s.has_text[SPLIT_TOKENS] && s.empty == 1);
    ck_assert(s.text[SPLIT_CHAR].n == N && s.text[SPLIT_CHAR].each[1].bleu[0] < 1e-9 &&
              s.text[SPLIT_CHAR].each[2].rouge_l == 1);
    score_reports_free(reports, N);
    score_system_free(&s);
    ck_assert(score_system(&t, t.report, &cutters, &s, &e));
    ck_assert(s.tuples.all.f1 == 1 && text->rouge_l == 1 && fabs(text->bleu[3] - 1) < 1e-9);
    score_system_free(&s);
    score_cutters_close(&cutters);
    score_truth_free(&t);
}
END_TEST

/* What a system's entry counts of a finding on a side. */
static void check_side(const json_t *system, int finding, const char *side, int right, int said, int truth)
{
    const json_t *one = json_array_get(json_object_get(system, "findings"), (size_t)finding);
    one = json_object_get(json_object_get(one, "sides"), side);
    ck_assert_int_eq(json_integer_value(json_object_get(one, "right")), right);
    ck_assert_int_eq(json_integer_value(json_object_get(one, "said")), said);
    ck_assert_int_eq(json_integer_value(json_object_get(one, "truth")), truth);
}

START_TEST(program)
{
    char arguments[1000];
    write_reports("r.jsonl", REPORT, N);
    const char *blank[N] = {"", "", "", ""};
    write_reports("blank.jsonl", blank, N);
    snprintf(arguments, sizeof arguments,
             "--truth %s --reports %s --train %s --control blank=%s --bootstrap 20", folder,
             in_folder("r.jsonl"), in_folder("annotations.json"), in_folder("blank.jsonl"));
    ck_assert_int_eq(run(arguments), 0);
    char *out = slurp("out"), *err = slurp("err");
    ck_assert_str_eq(err, "");
    ck_assert(strstr(out, "4 studies with 5 findings") && strstr(out, "constant") && strstr(out, "random") &&
              strstr(out, "blank") && strstr(out, "基底节区 低"));
    free(out);
    free(err);
    strcat(arguments, " --json");
    ck_assert_int_eq(run(arguments), 0);
    out = slurp("out");
    Error e = {0};
    json_t *j = json_parse(out, strlen(out), "out", &e), *systems = json_object_get(j, "systems");
    ck_assert_msg(j != NULL, "%s", e.msg);
    ck_assert_uint_eq(json_array_size(systems), 7);
    const json_t *model = json_array_get(systems, 0), *last = json_array_get(systems, 6);
    ck_assert(json_real_value(json_object_get(json_object_get(model, "all"), "f1")) == 1);
    ck_assert_str_eq(json_string_value(json_object_get(last, "name")), "blank");
    ck_assert(json_is_null(json_object_get(json_object_get(last, "all"), "side"))); /* undefined, not 0 */
    check_side(model, FIND_BASAL_GANGLIA_LOW, "左", 1, 1, 1);
    check_side(model, FIND_BASAL_GANGLIA_LOW, "右", 0, 0, 0);
    check_side(model, FIND_CENTRUM_SEMIOVALE_LOW, "左", 0, 0, 0); /* it is on both */
    check_side(last, FIND_BASAL_GANGLIA_LOW, "左", 0, 0, 1);
    json_decref(j);
    free(out);
    /* a part of the studies, only when asked for */
    const char *some[N] = {NULL, REPORT[1], NULL, REPORT[3]};
    write_reports("some.jsonl", some, N);
    snprintf(arguments, sizeof arguments, "--truth %s --reports %s --control all=%s --partial", folder,
             in_folder("some.jsonl"), in_folder("r.jsonl"));
    ck_assert_int_eq(run(arguments), 0);
    out = slurp("out");
    ck_assert(strstr(out, "2 studies with 4 findings"));
    free(out);
}
END_TEST

/* Two patients: of 7 a lesion is mirrored, of 8 it is removed; each has a twin. Not in the order of ids. */
enum { PAIRED = 6 };
static const int64_t paired_id[PAIRED] = {1000000008, 7, 8, 1000000007, 2000000007, 2000000008};
static const char *const paired[PAIRED] = {"中线结构居中。",
                                           "左侧丘脑见小片状低密度影，脑沟增宽。",
                                           "右侧额叶见片状高密度影，中线结构居中。",
                                           "右侧丘脑见小片状低密度影，脑沟增宽。",
                                           "左侧丘脑见小片状低密度影，脑沟增宽。",
                                           "右侧额叶见片状高密度影，中线结构居中。"};

static ScorePairs pair_scores(const char *const said[PAIRED])
{
    ScorePairs p;
    Error e = {0};
    write_set("pairs.json", paired_id, paired, PAIRED);
    write_lines("pairs.jsonl", paired_id, said, PAIRED);
    ck_assert_msg(score_pairs(in_folder("pairs.json"), in_folder("pairs.jsonl"), 50, 1, &p, &e), "%s", e.msg);
    ck_assert(p.model.changed.n == 2 && p.model.mirrored.n == 1 && p.model.removed.n == 1 &&
              p.model.same.n == 2);
    return p;
}

START_TEST(pairs)
{
    ScorePairs p = pair_scores(paired);
    ck_assert(p.model.changed.follow_share == 1 && p.model.changed.still_share == 0);
    ck_assert(p.model.same.still_share == 1 && p.shuffled.changed.follow_share == 0);
    const char *constant[PAIRED], *ignores[PAIRED];
    for (int i = 0; i < PAIRED; i++) {
        constant[i] = paired[1];
        ignores[i] = paired[paired_id[i] % 10 == 7 ? 1 : 2];
    }
    p = pair_scores(constant);
    ck_assert(p.model.changed.follow_share == 0 && p.model.changed.still_share == 1);
    ck_assert(p.model.same.still_share == 1);
    p = pair_scores(ignores);
    ck_assert(p.model.changed.follow_share == 0 && p.model.changed.still_share == 1);
    ck_assert(p.model.same.still_share == 1);
    /* the mirrored lesion is followed, but a claim outside the table comes with it; a twin loses its lesion */
    const char *flawed[PAIRED] = {paired[0],    paired[1],
                                  paired[2],    "右侧丘脑见小片状低密度影，脑沟增宽，脑干扩大。",
                                  "脑沟增宽。", paired[5]};
    ck_assert_int_eq(findings_parse(flawed[3]).other, 1);
    p = pair_scores(flawed);
    ck_assert(p.model.mirrored.follow == 0 && p.model.removed.follow == 1 && p.model.same.still == 1);
}
END_TEST

START_TEST(pairs_program)
{
    char arguments[1000];
    write_reports("r.jsonl", REPORT, N);
    pair_scores(paired);
    snprintf(arguments, sizeof arguments, "--truth %s --reports %s --bootstrap 20 --pairs %s=%s", folder,
             in_folder("r.jsonl"), in_folder("pairs.json"), in_folder("pairs.jsonl"));
    ck_assert_int_eq(run(arguments), 0);
    char *out = slurp("out");
    ck_assert(strstr(out, "mirrored                1   1.000") && strstr(out, "in 0.000 (0.000-0.000)"));
    free(out);
    strcat(arguments, " --json");
    ck_assert_int_eq(run(arguments), 0);
    out = slurp("out");
    Error e = {0};
    json_t *j = json_parse(out, strlen(out), "out", &e), *o = json_object_get(j, "pairs");
    json_t *all = json_object_get(json_object_get(o, "counterfactual"), "all");
    ck_assert(json_real_value(json_object_get(all, "follow_share")) == 1);
    Estimate x; /* as pcrl-table finds it */
    ck_assert(table_estimate(all, "follow_share", "out", &x, &e) && x.low == 1 && x.high == 1);
    ck_assert(table_estimate(json_object_get(o, "twins"), "changed_share", "out", &x, &e) && x.high == 0);
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(o, "twins"), "pairs")), 2);
    json_decref(j);
    free(out);
    static const struct {
        int64_t id[2];
        const char *text[2], *message;
    } bad[] = {
        {{7, 8}, {REPORT[0], REPORT[1]}, "no counterfactual and no twin"},
        {{8, 1000000007}, {REPORT[0], REPORT[1]}, "study 1000000007: its original, study 7, is missing"},
        {{7, 1000000007}, {REPORT[0], REPORT[0]}, "study 1000000007 is a counterfactual of study 7, but"},
        {{7, 2000000007}, {REPORT[0], REPORT[1]}, "study 2000000007 is a twin of study 7, but"},
        {{7, 3000000007}, {REPORT[0], REPORT[1]}, "study 3000000007 is neither"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_set("pairs.json", bad[i].id, bad[i].text, 2);
        write_lines("pairs.jsonl", bad[i].id, bad[i].text, 2);
        ck_assert_int_eq(run(arguments), ERROR_INPUT);
        char *err = slurp("err");
        ck_assert_msg(strstr(err, bad[i].message) && strstr(err, "pairs.json"), "case %zu: %s", i, err);
        free(err);
    }
}
END_TEST

START_TEST(bad_reports)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"{\"id\": \"10\", \"report\": \"a\"}\n",
         "bad.jsonl: no report for study 11 (3 of 4 studies have none)"},
        {"{\"id\": \"10\", \"report\": \"a\"}\n{\"id\": 10, \"report\": \"b\"}\n",
         "bad.jsonl: line 2: a second report for study 10"},
        {"{\"id\": \"99\", \"report\": \"a\"}",
         "bad.jsonl: line 1: study 99 is not in the truth (1 of 1 reports"},
        {"{\"id\": \"1x\", \"report\": \"a\"}", "bad.jsonl: line 1: study 1x is not in the truth"},
        {"{\"id\": 1.5, \"report\": \"a\"}", "bad.jsonl: line 1: key \"id\": expected a string or a whole"},
        {"[1]", "bad.jsonl: entry 0: expected an object"},
        {"\n\n{\"id\": \"10\"}", "bad.jsonl: line 3"},
        {"{\"id\": \"10\", \"report\": 5}", "report"},
        {"{\"id\": \"10\", \"report\": \"\xff\"}", "bad.jsonl: line 1"},
        {"{\"id\": \"10\", \"report", "bad.jsonl: line 1"},
        {"", "bad.jsonl: is empty, expected reports"},
    };
    char arguments[400];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_text("bad.jsonl", bad[i].text);
        snprintf(arguments, sizeof arguments, "--truth %s --reports %s", folder, in_folder("bad.jsonl"));
        ck_assert_msg(run(arguments) == ERROR_INPUT, "case %zu", i);
        char *err = slurp("err"), *out = slurp("out");
        ck_assert_msg(strstr(err, bad[i].message) != NULL, "case %zu: %s", i, err);
        ck_assert_msg(strchr(err, '\n') == err + strlen(err) - 1, "case %zu: more than one line: %s", i, err);
        ck_assert_str_eq(out, "");
        free(err);
        free(out);
    }
    snprintf(arguments, sizeof arguments, "--truth %s", folder);
    ck_assert_int_eq(run(arguments), ERROR_USAGE);
    snprintf(arguments, sizeof arguments, "--truth %s --reports %s --control nothing", folder,
             in_folder("r.jsonl"));
    ck_assert_int_eq(run(arguments), ERROR_USAGE);
    snprintf(arguments, sizeof arguments, "--truth %s --reports %s", folder, in_folder("absent.jsonl"));
    ck_assert_int_eq(run(arguments), ERROR_IO);
    write_reports("r.jsonl", REPORT, N);
    snprintf(arguments, sizeof arguments, "--truth %s --reports %s >/dev/full 2>/dev/null; exit $? #", folder,
             in_folder("r.jsonl"));
    ck_assert_int_eq(run(arguments), ERROR_IO);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    Suite *s = suite_create("score");
    TCase *t = tcase_create("score");
    tcase_set_timeout(t, 60);
    tcase_add_unchecked_fixture(t, write_truth, NULL);
    tcase_add_test(t, system_scores);
    tcase_add_test(t, program);
    tcase_add_test(t, pairs);
    tcase_add_test(t, pairs_program);
    tcase_add_test(t, bad_reports);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    static const char *const names[] = {
        "annotations.json", "train.json", "r.jsonl",     "blank.jsonl", "some.jsonl",
        "bad.jsonl",        "pairs.json", "pairs.jsonl", "out",         "err"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unlink(in_folder(names[i]));
    rmdir(folder);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
