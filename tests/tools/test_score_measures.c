/* Scores from sums against scores of the very studies, drawn again by hand; what pcrl-score makes of them. */
#include "data/file.h"
#include "tensor/rng.h"
#include "tests/losses/corpus.h"
#include "tools/score_systems.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/test_measures_XXXXXX";

enum { N = 12, REPEATS = 25, SEED = 4 };
static const char *const TRUTH[N] = {"左侧基底节区见小片状低密度影，中线结构居中。",
                                     "右侧额叶见片状高密度影，周围见低密度水肿带，中线结构左移。",
                                     "脑实质内未见明显异常密度影，中线结构居中。",
                                     "双侧半卵圆中心见斑点状低密度影，脑沟增宽。",
                                     "左侧颞叶见片状低密度影，脑沟变浅。",
                                     "左侧丘脑见小片状低密度影，脑沟增宽。",
                                     "右侧丘脑见小片状低密度影，中线结构居中。",
                                     "双侧侧脑室旁见低密度影，脑室扩大。",
                                     "右侧小脑半球见片状低密度影。",
                                     "大脑镰见条状钙化影，脑沟、脑裂增宽。",
                                     "脑干见低密度影，脑室扩大。",
                                     "左侧额部颅板下见新月形高密度影，中线结构右移。"};
static const char *const SAID[N] = {"右侧基底节区见小片状低密度影，中线结构居中。",
                                    "右侧额叶见片状高密度影，周围见低密度水肿带，中线结构左移。",
                                    "脑实质内未见明显异常密度影，中线结构居中。",
                                    "双侧半卵圆中心见斑点状低密度影。",
                                    "左侧颞叶见片状低密度影，脑沟增宽。",
                                    "脑实质内未见明显异常密度影，中线结构居中。",
                                    "左侧丘脑见小片状低密度影，中线结构居中。",
                                    "双侧侧脑室旁见低密度影，脑沟增宽，脑室扩大。",
                                    "",
                                    "大脑镰见条状钙化影，脑沟增宽，脑干扩大。",
                                    "脑干见低密度影。",
                                    "左侧额部颅板下见新月形高密度影，中线结构左移。"};

static const char *in_folder(const char *name)
{
    static char path[16][128];
    static int next;
    char *p = path[next++ % 16];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static void write_text(const char *name, const char *text)
{
    Error e = {0};
    ck_assert_msg(file_write(in_folder(name), text, strlen(text), &e), "%s", e.msg);
}

static void write_reports(const char *name, const char *const *text, int n)
{
    char all[4000] = "";
    for (int i = 0; i < n; i++)
        sprintf(all + strlen(all), "{\"id\": \"%d\", \"report\": \"%s\"}\n", 10 + i, text[i]);
    write_text(name, all);
}

static void write_files(void)
{
    write_reports("truth.jsonl", TRUTH, N);
    write_reports("said.jsonl", SAID, N);
    write_text("keywords.txt", "低密度\n低密度影\n中线结构\n");
}

/* A sheet with the model and the control shuffled. */
static void open_sheet(ScoreSheet *s)
{
    ReportList l;
    char **reports;
    Error e = {0};
    *s = (ScoreSheet){.truth_path = "truth", .seed = SEED, .bootstrap = REPEATS};
    ck_assert(report_list_read(in_folder("truth.jsonl"), &l, &e) && score_truth_list(&l, &s->truth, &e));
    report_list_free(&l);
    ck_assert((s->cutters.by[SPLIT_CHAR] = cutter_open(SPLIT_CHAR, NULL, &e)) != NULL);
    ck_assert_msg(clinical_lists_open(&s->lists, in_folder("keywords.txt"), &e), "%s", e.msg);
    ck_assert(score_prepare(s, &e));
    ck_assert_msg(score_add_file(s, "model", in_folder("said.jsonl"), false, false, &reports, &e), "%s", e.msg);
    ck_assert(score_add_shuffled(s, reports, &e) && score_compare(s, &e));
    score_reports_free(reports, N);
    ck_assert_int_eq(s->n, 2);
}

/* ---- every number once more, of studies that were drawn with their texts ---- */

static void brute_force(const ScoreSheet *s, const int *from, double *out)
{
    char *said[N], *truth[N];
    TupleStudy studies[N];
    FindingSet set[2][N];
    TextScores text;
    TupleScores tuples;
    uint8_t sided[FINDING_COUNT], focal[FINDING_COUNT];
    Error e = {0};
    double cider = 0;
    for (int i = 0; i < N; i++) {
        said[i] = strdup(SAID[from[i]]);
        truth[i] = strdup(TRUTH[from[i]]);
        set[0][i] = findings_parse(truth[i]);
        set[1][i] = findings_parse(said[i]);
        studies[i] = (TupleStudy){set[0][i].side, set[1][i].side, NULL, set[0][i].other, set[1][i].other};
        cider += s->system[0].text[SPLIT_CHAR].each[from[i]].cider / N;
    }
    TupleTable table = score_table(sided, focal);
    tuples_score(&table, studies, N, &tuples);
    ck_assert(text_scores(s->cutters.by[SPLIT_CHAR], said, truth, N, &text, &e));
    for (int k = 0; k < BLEU_ORDERS; k++) out[MEASURE_BLEU_1 + k] = text.all.bleu[k];
    out[MEASURE_METEOR] = text.all.meteor;
    out[MEASURE_ROUGE] = text.all.rouge_l;
    out[MEASURE_ROUGE_SPACE] = text.all.rouge_l_space;
    out[MEASURE_CIDER] = cider; /* with the document frequencies of all */
    out[MEASURE_LESION] = tuples.all.f1;
    out[MEASURE_LESION_MACRO] = tuples.all.macro;
    out[MEASURE_SIDE] = tuples.all.side;
    out[MEASURE_EXACT] = tuples.exact;
    out[MEASURE_FOCAL] = tuples.focal.f1;
    out[MEASURE_FOCAL_MACRO] = tuples.focal.macro;
    out[MEASURE_FOCAL_SIDE] = tuples.focal.side;
    for (int list = 0; list < LIST_COUNT; list++) {
        uint8_t rows[2][N * KEYWORDS_MAX], labels[2 * KEYWORDS_MAX];
        int k = s->lists.k[list];
        LabelScores l;
        for (int i = 0; i < N; i++)
            for (int j = 0; j < 2; j++) {
                clinical_labels(&s->lists, j ? said[i] : truth[i], labels);
                memcpy(rows[j] + i * k, labels + s->lists.first[list], (size_t)k);
            }
        corpus_labels(rows[0], rows[1], N, k, &l, NULL);
        out[MEASURE_MENTION_MICRO + 3 * list] = l.micro.f1;
        out[MEASURE_MENTION_MACRO + 3 * list] = l.macro_f1;
        out[MEASURE_MENTION_EXAMPLE + 3 * list] = l.example_f1;
    }
    text_scores_free(&text);
    for (int i = 0; i < N; i++) {
        free(said[i]);
        free(truth[i]);
    }
}

static void same(int measure, double found, double expected)
{
    if (isnan(found) && isnan(expected)) return;
    ck_assert_msg(fabs(found - expected) < 1e-12, "%s: %.17g, expected %.17g", measure_key(measure), found,
                  expected);
}

START_TEST(resamples_are_scores_of_studies)
{
    static ScoreSheet s;
    double expected[MEASURE_COUNT];
    int from[N];
    open_sheet(&s);
    const Measures *m = &s.system[0].measures;
    for (int i = 0; i < N; i++) from[i] = i;
    brute_force(&s, from, expected);
    for (int j = 0; j < MEASURE_COUNT; j++) {
        same(j, m->value[j], expected[j]);
        ck_assert_msg(m->value[j] > 0.05 && m->value[j] != 1, "%s says nothing", measure_key(j));
    }
    same(MEASURE_CIDER, s.system[0].text[SPLIT_CHAR].all.cider, expected[MEASURE_CIDER]);
    Rng rng = rng_open(SEED, "bootstrap");
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        for (int i = 0; i < N; i++) from[i] = (int)rng_below(&rng, N);
        brute_force(&s, from, expected);
        for (int j = 0; j < MEASURE_COUNT; j++) same(j, m->resampled[j * REPEATS + repeat], expected[j]);
    }
    for (int j = 0; j < MEASURE_COUNT; j++) {
        const Interval *i = &m->interval[j];
        ck_assert(i->low < i->high && i->sd > 0 && i->n <= REPEATS);
        const PairedTest *p = &s.system[1].paired[j];
        same(j, p->difference, m->value[j] - s.system[1].measures.value[j]);
    }
    ck_assert(s.system[1].paired[MEASURE_BLEU_4].p < 0.1 && s.system[1].paired[MEASURE_BLEU_4].difference > 0);
    score_sheet_free(&s);
}
END_TEST

/* ---- JSON: each number stands where its key says ---- */

static const json_t *at(const json_t *o, const char *key)
{
    char part[64];
    for (const char *slash; (slash = strchr(key, '/')); key = slash + 1) {
        snprintf(part, sizeof part, "%.*s", (int)(slash - key), key);
        o = json_object_get(o, part);
    }
    return json_object_get(o, key);
}

static double real(const json_t *o) { return json_is_null(o) ? NAN : json_number_value(o); }

static int leaves(const json_t *o)
{
    int n = 0;
    const char *key;
    json_t *value;
    if (!json_is_object(o)) return 1;
    json_object_foreach((json_t *)(uintptr_t)o, key, value) n += leaves(value);
    return n;
}

START_TEST(values_and_intervals)
{
    static ScoreSheet s;
    open_sheet(&s);
    json_t *o = score_json(&s);
    const json_t *control = json_object_get(json_object_get(o, "controls"), "shuffled");
    for (int i = 0; i < 2; i++) {
        const json_t *values = i ? control : o, *intervals = json_object_get(values, "intervals");
        const Measures *m = &s.system[i].measures;
        ck_assert_int_eq(leaves(intervals), MEASURE_COUNT);
        for (int j = 0; j < MEASURE_COUNT; j++) {
            const json_t *pair = at(intervals, measure_key(j));
            same(j, real(at(values, measure_key(j))), m->value[j]);
            ck_assert_uint_eq(json_array_size(pair), 2);
            same(j, real(json_array_get(pair, 0)), m->interval[j].low);
            same(j, real(json_array_get(pair, 1)), m->interval[j].high);
        }
    }
    const json_t *paired = json_object_get(json_object_get(o, "paired"), "shuffled");
    for (int j = 0; j < MEASURE_COUNT; j++) {
        const json_t *one = at(paired, measure_key(j));
        const Interval *a = &s.system[0].measures.interval[j], *b = &s.system[1].measures.interval[j];
        same(j, real(json_object_get(one, "p")), s.system[1].paired[j].p);
        ck_assert_int_eq(json_is_null(json_object_get(one, "overlap")), isnan(b->low));
        ck_assert_int_eq(json_is_true(json_object_get(one, "overlap")), intervals_overlap(a, b));
    }
    const json_t *diversity = json_object_get(o, "diversity"),
                 *truth = json_object_get(diversity, "references");
    ck_assert_int_eq(json_integer_value(json_object_get(diversity, "distinct_reports")), 11);
    ck_assert_int_eq(json_integer_value(json_object_get(diversity, "commonest_report")), 2);
    ck_assert_int_eq(json_integer_value(json_object_get(truth, "distinct_reports")), 12);
    const json_t *labels = at(o, "clinical/finding/labels");
    ck_assert_uint_eq(json_array_size(labels), CLINICAL_FINDINGS);
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(labels, 0), "label")), "低密度灶");
    ck_assert_int_eq(json_integer_value(json_object_get(json_array_get(labels, 0), "truth")), 8);
    ck_assert_uint_eq(json_array_size(at(o, "clinical/keywords/labels")), 3);
    json_decref(o);
    score_sheet_free(&s);
}
END_TEST

/* ---- the program ---- */

/* Runs pcrl-score. Returns the exit code; *out its standard output, or error where that is empty. */
static int run(const char *arguments, char **out)
{
    char command[2000];
    const char *build = getenv("BUILD");
    Error e = {0};
    size_t n;
    snprintf(command, sizeof command, "%s/bin/pcrl-score %s >%s 2>%s", build ? build : "build/release",
             arguments, in_folder("out"), in_folder("err"));
    int status = system(command);
    ck_assert(WIFEXITED(status));
    ck_assert(file_read(in_folder("out"), 1 << 22, (uint8_t **)out, &n, &e));
    if (!n) {
        free(*out);
        ck_assert(file_read(in_folder("err"), 1 << 20, (uint8_t **)out, &n, &e));
    }
    return WEXITSTATUS(status);
}

static json_t *run_json(const char *more)
{
    char arguments[1000], *out;
    Error e = {0};
    snprintf(arguments, sizeof arguments, "--ref %s --hyp %s --bootstrap 50 --json %s",
             in_folder("truth.jsonl"), in_folder("said.jsonl"), more);
    ck_assert_msg(run(arguments, &out) == 0, "%s", out);
    json_t *o = json_parse(out, strlen(out), "out", &e);
    ck_assert_msg(o != NULL, "%s", e.msg);
    free(out);
    return o;
}

static const char *how(const json_t *o, const char *system)
{
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(o, "systems"), i,
                       one) if (!strcmp(json_string_value(json_object_get(one, "name")),
                                        system)) return json_string_value(json_object_get(one, "how"));
    return NULL;
}

static double number(const json_t *o, const char *group, const char *system, const char *key)
{
    const json_t *one = json_object_get(json_object_get(o, group), system);
    ck_assert_msg(one != NULL, "%s %s", group, system);
    return json_number_value(at(one, key));
}

/* Texts alone, training texts too: every control has every number; the choice is made without the test set. */
START_TEST(controls_of_texts)
{
    static const char *const train[] = {"左侧丘脑见小片状低密度影。", "脑沟增宽。", "脑沟增宽。",
                                        "脑沟增宽，中线结构居中。", "右侧顶叶见高密度影。"};
    char more[600];
    write_reports("train.jsonl", train, 5);
    write_reports("two.jsonl", TRUTH, N);
    snprintf(more, sizeof more, "--train %s --against two=%s --keywords %s", in_folder("train.jsonl"),
             in_folder("two.jsonl"), in_folder("keywords.txt"));
    json_t *o = run_json(more);
    static const char *const controls[] = {"commonest", "constant", "constant-text", "random", "shuffled"};
    ck_assert_uint_eq(json_object_size(json_object_get(o, "controls")), 5);
    ck_assert_uint_eq(json_array_size(json_object_get(o, "systems")), 6); /* the model and its controls */
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < MEASURE_COUNT; j++) {
            const json_t *one = json_object_get(json_object_get(o, "controls"), controls[i]);
            ck_assert_msg(at(one, measure_key(j)) != NULL, "%s has no %s", controls[i], measure_key(j));
        }
    ck_assert_uint_eq(json_object_size(json_object_get(o, "paired")), 6);
    ck_assert(number(o, "against", "two", "lesion/f1") == 1 &&
              number(o, "against", "two", "clinical/finding/micro/f1") == 1);
    ck_assert(number(o, "paired", "two", "lesion/f1/difference") < -0.2);
    ck_assert(number(o, "paired", "two", "lesion/f1/p") < 0.05);
    ck_assert(strstr(how(o, "commonest"), "2 training studies have it"));
    char *chosen = strdup(how(o, "constant")), *text = strdup(how(o, "constant-text"));
    json_decref(o);
    const char *other[N]; /* a test set on which another report would be best */
    for (int i = 0; i < N; i++) other[i] = train[4];
    write_reports("truth.jsonl", other, N);
    snprintf(more, sizeof more, "--train %s", in_folder("train.jsonl"));
    o = run_json(more);
    ck_assert_str_eq(how(o, "constant"), chosen);
    ck_assert_str_eq(how(o, "constant-text"), text);
    ck_assert(number(o, "controls", "constant", "lesion/f1") == 0);
    json_decref(o);
    free(chosen);
    free(text);
    write_files();
}
END_TEST

/* A model that says the same of everybody is as good with other studies' reports; one that looks is not. */
START_TEST(shuffled_control)
{
    json_t *o = run_json("");
    ck_assert(number(o, "controls", "shuffled", "lesion/f1") < 0.3);
    ck_assert(number(o, "paired", "shuffled", "lesion/f1/difference") > 0.2);
    json_decref(o);
    const char *constant[N];
    for (int i = 0; i < N; i++) constant[i] = TRUTH[0];
    write_reports("said.jsonl", constant, N);
    o = run_json("");
    ck_assert(number(o, "paired", "shuffled", "lesion/f1/difference") == 0);
    ck_assert(number(o, "paired", "shuffled", "lesion/f1/p") == 1);
    json_decref(o);
    write_reports("said.jsonl", SAID, N);
    char more[300]; /* a file takes its place */
    write_reports("two.jsonl", TRUTH, N);
    snprintf(more, sizeof more, "--control shuffled=%s", in_folder("two.jsonl"));
    o = run_json(more);
    ck_assert(number(o, "controls", "shuffled", "lesion/f1") == 1);
    ck_assert_uint_eq(json_array_size(json_object_get(o, "systems")), 2);
    json_decref(o);
    write_reports("truth.jsonl", TRUTH, 1); /* one study: nobody to deal to */
    write_reports("said.jsonl", SAID, 1);
    o = run_json("");
    ck_assert_uint_eq(json_array_size(json_object_get(o, "systems")), 1);
    json_decref(o);
    write_files();
}
END_TEST

START_TEST(tables)
{
    char arguments[800], *out;
    write_reports("two.jsonl", TRUTH, N);
    snprintf(arguments, sizeof arguments, "--ref %s --hyp %s --bootstrap 50 --keywords %s --against two=%s",
             in_folder("truth.jsonl"), in_folder("said.jsonl"), in_folder("keywords.txt"),
             in_folder("two.jsonl"));
    ck_assert_int_eq(run(arguments, &out), 0);
    static const char *const parts[] = {"12 studies",
                                        "ranges hold 95 % of the scores of 50 resamplings",
                                        "Clinical labels, mention",
                                        "Clinical labels, finding",
                                        "Clinical labels, presence",
                                        "Clinical labels, keywords",
                                        "By label, keywords",
                                        "低密度影",
                                        "Diversity",
                                        "references               12       12  1.000",
                                        "two                lesion F1",
                                        "shuffled           CIDEr"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        ck_assert_msg(strstr(out, parts[i]) != NULL, "%s is not in\n%s", parts[i], out);
    free(out);
    strcat(arguments, " --row");
    ck_assert_int_eq(run(arguments, &out), 0);
    ck_assert_msg(strstr(out, "| R-L | C | F1 |\n") && strstr(out, "| two | char | 100.0 |"), "%s", out);
    const char *row = strstr(out, "| two |"), *last = "";
    for (const char *cell = row; (cell = strstr(cell, " | ")) && cell < strchr(row, '\n'); cell += 3)
        last = cell + 3;
    ck_assert_int_eq(strncmp(last, "100.0 |", 7), 0); /* F1 */
    free(out);
}
END_TEST

START_TEST(bad_options)
{
    static const struct {
        const char *more;
        int code;
        const char *message;
    } bad[] = {
        {"--control random=x", ERROR_USAGE, "'random' is the name of what is scored anyway"},
        {"--against model=x", ERROR_USAGE, "'model' is the name of what is scored anyway"},
        {"--against shuffled=x", ERROR_USAGE, "'shuffled' is the name of a control"},
        {"--control a=x --against a=x", ERROR_USAGE, "'a' twice"},
        {"--control a=x --control a=x", ERROR_USAGE, "'a' twice"},
        {"--against a", ERROR_USAGE, "--against: expected NAME=FILE, found 'a'"},
        {"--keywords /nowhere/k", ERROR_IO, "/nowhere/k"},
        {"--against a=/nowhere/a", ERROR_IO, "/nowhere/a"},
        {"--train /nowhere/t", ERROR_IO, "/nowhere/t"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char arguments[600], *out;
        snprintf(arguments, sizeof arguments, "--ref %s --hyp %s %s", in_folder("truth.jsonl"),
                 in_folder("said.jsonl"), bad[i].more);
        ck_assert_msg(run(arguments, &out) == bad[i].code, "%s: %s", bad[i].more, out);
        ck_assert_msg(strstr(out, bad[i].message) != NULL, "%s: %s", bad[i].more, out);
        free(out);
    }
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    Suite *s = suite_create("score_measures");
    TCase *t = tcase_create("score_measures");
    tcase_set_timeout(t, 120);
    tcase_add_unchecked_fixture(t, write_files, NULL);
    tcase_add_test(t, resamples_are_scores_of_studies);
    tcase_add_test(t, values_and_intervals);
    tcase_add_test(t, controls_of_texts);
    tcase_add_test(t, shuffled_control);
    tcase_add_test(t, tables);
    tcase_add_test(t, bad_options);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    static const char *const names[] = {"truth.jsonl",  "said.jsonl", "train.jsonl", "two.jsonl",
                                        "keywords.txt", "out",        "err"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unlink(in_folder(names[i]));
    rmdir(folder);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
