/* The clause parser, the tables behind it, and that it reads back what the phantom's reports say. */
#include "data/findings.h"
#include "data/phantom.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct Case {
    const char *report;
    int finding[3];
    Side side[3];
    int n, other;
} Case;

static const Case cases[] = {
    {"", {0}, {0}, 0, 0},
    {"脑实质内未见明显异常密度影。", {0}, {0}, 0, 0},
    {"左侧基底节区见小片状低密度影。", {FIND_BASAL_GANGLIA_LOW}, {SIDE_LEFT}, 1, 0},
    {"两侧侧脑室旁可见多发斑点状低密度影", {FIND_PERIVENTRICULAR_LOW}, {SIDE_BOTH}, 1, 0},
    {"右侧侧脑室受压变窄，中线结构左移",
     {FIND_LATERAL_VENTRICLE_COMPRESSED, FIND_MIDLINE_SHIFT},
     {SIDE_RIGHT, SIDE_LEFT},
     2,
     0},
    {"中线向右侧移位", {FIND_MIDLINE_SHIFT}, {SIDE_RIGHT}, 1, 0},
    {"中线结构居中，中线结构无明显移位", {0}, {0}, 0, 0},
    {"左侧颅板下见梭形高密度影", {FIND_EPIDURAL_HIGH}, {SIDE_LEFT}, 1, 0},
    {"左侧颅板下见新月形低密度影", {FIND_SUBDURAL_LOW}, {SIDE_LEFT}, 1, 0},
    {"左侧额颞部颅板下见梭形低密度影", {0}, {0}, 0, 1},
    {"右侧外侧裂池及脑沟内见高密度影", {FIND_SUBARACHNOID_HIGH}, {SIDE_RIGHT}, 1, 0},
    {"双侧侧脑室及第三脑室等脑室扩张", {FIND_VENTRICLES_DILATED}, {SIDE_NONE}, 1, 0},
    {"脑沟、脑裂增宽，脑回变小", {FIND_SULCI_WIDENED}, {SIDE_NONE}, 1, 0},
    {"左侧丘脑见片状高密度影，周围见低密度水肿带", {FIND_THALAMUS_HIGH}, {SIDE_LEFT}, 1, 0},
    {"左侧放射冠见低密度影；右侧放射冠见低密度影", {FIND_CORONA_RADIATA_LOW}, {SIDE_BOTH}, 1, 0},
    {"左侧基底节区、右侧丘脑见低密度影",
     {FIND_BASAL_GANGLIA_LOW, FIND_THALAMUS_LOW},
     {SIDE_LEFT, SIDE_RIGHT},
     2,
     0},
    {"双侧基底节区见斑点状钙化影.大脑镰见条状钙化影",
     {FIND_BASAL_GANGLIA_CALCIFICATION, FIND_FALX_CALCIFICATION},
     {SIDE_BOTH, SIDE_NONE},
     2,
     0},
    {"左侧脑干见低密度影", {FIND_BRAINSTEM_LOW}, {SIDE_NONE}, 1, 0}, /* the brainstem has no sides */
    {"丘脑见低密度影", {FIND_THALAMUS_LOW}, {SIDE_NONE}, 1, 0},      /* a side that should be there is not */
    {"左侧侧脑室旁见高密度影", {0}, {0}, 0, 1},                      /* no such finding */
    {"\xff\xe5\xb7\x80左侧顶叶\xe4见低密度影\xe4", {FIND_PARIETAL_LOW}, {SIDE_LEFT}, 1, 0},
};

START_TEST(parser_cases)
{
    const Case *c = &cases[_i];
    FindingSet want = {.other = c->other}, got = findings_parse(c->report);
    for (int i = 0; i < c->n; i++) want.side[c->finding[i]] = (uint8_t)c->side[i];
    for (int f = 0; f < FINDING_COUNT; f++)
        ck_assert_msg(got.side[f] == want.side[f], "%s: finding %d (%s%s) has side %d, expected %d", c->report,
                      f, entity_name(finding_kind(f)->entity), density_name(finding_kind(f)->density),
                      got.side[f], want.side[f]);
    ck_assert_int_eq(got.other, want.other);
    ck_assert(findings_equal(&got, &want));
}
END_TEST

/* Seconds of a processor for a report of so many clauses. */
static double seconds_of(int clauses)
{
    static const char clause[] = "左侧顶叶见低密度影。";
    enum { BYTES = sizeof clause - 1 };
    char *report = malloc((size_t)clauses * BYTES + 1);
    ck_assert(report != NULL);
    for (int i = 0; i < clauses; i++) memcpy(report + (size_t)i * BYTES, clause, BYTES + 1);
    clock_t from = clock();
    FindingSet set = findings_parse(report);
    double seconds = (double)(clock() - from) / CLOCKS_PER_SEC;
    ck_assert(set.side[FIND_PARIETAL_LOW] == SIDE_LEFT && set.other == 0);
    free(report);
    return seconds;
}

/* The time grows with the length, not with its square. */
START_TEST(long_report) { ck_assert_double_lt(seconds_of(160000), 32 * seconds_of(10000) + 0.2); }
END_TEST

START_TEST(labels_and_their_mirrors)
{
    int sided = 0;
    for (int l = 0; l < LABEL_COUNT; l++) {
        const FindingLabel *a = finding_label(l), *b = finding_label(a->mirror);
        ck_assert_int_eq(b->mirror, l);
        ck_assert_int_eq(a->finding, b->finding);
        ck_assert_int_eq(b->side, side_mirror(a->side));
        ck_assert_int_eq(a->mirror == l, a->side != SIDE_LEFT && a->side != SIDE_RIGHT);
        FindingSet set = findings_from_labels(1ull << l);
        ck_assert_uint_eq(findings_labels(&set), 1ull << l);
        sided += a->mirror != l;
    }
    ck_assert_int_eq(sided, 46);
    for (int f = 0; f < FINDING_COUNT; f++) {
        const FindingKind *k = finding_kind(f);
        ck_assert_int_eq(finding_label(k->first_label)->finding, f);
        ck_assert_int_eq(finding_index(k->entity, k->density), f);
        ck_assert_int_eq(entity_from_name(entity_name(k->entity)), k->entity);
        ck_assert_int_eq(density_from_name(density_name(k->density)), k->density);
        if (k->parenchymal) ck_assert(k->focal);
    }
    ck_assert_int_eq(entity_from_name("肺"), -1);
    ck_assert_int_eq(side_from_name("中"), SIDE_ABSENT);
}
END_TEST

START_TEST(mirrored_text_means_the_mirrored_labels)
{
    PhantomOptions o = phantom_options();
    for (uint64_t seed = 0; seed < 500; seed++) {
        Phantom p;
        Error e = {0};
        ck_assert(phantom_text_only(seed, &o, &p, &e));
        FindingSet before = findings_parse(p.report);
        size_t length = strlen(p.report);
        findings_mirror_text(p.report);
        FindingSet after = findings_parse(p.report);
        ck_assert_uint_eq(strlen(p.report), length);
        ck_assert_uint_eq(findings_labels(&after), labels_mirror(findings_labels(&before)));
    }
}
END_TEST

/* The claim of the whole design: 10,000 phantoms, every house style, both regimes. */
START_TEST(reports_read_back_as_the_truth)
{
    PhantomOptions o = phantom_options();
    o.style = _i % PHANTOM_STYLES;
    o.regime = _i / PHANTOM_STYLES ? PHANTOM_CTRG : PHANTOM_BALANCED;
    for (uint64_t seed = 0; seed < 10000; seed++) {
        Phantom p;
        Error e = {0};
        ck_assert(phantom_text_only(seed, &o, &p, &e));
        FindingSet truth = phantom_findings(&p), read = findings_parse(p.report);
        ck_assert_msg(findings_equal(&truth, &read), "phantom %llu, style %d: %s", (unsigned long long)seed,
                      o.style, p.report);
        for (int k = 0; k < p.n_truth; k++) { /* and each clause alone claims its own finding, nothing else */
            FindingSet one = {0}, clause = findings_parse(p.truth[k].clause);
            findings_add(&one, p.truth[k].finding, p.truth[k].side);
            ck_assert_msg(findings_equal(&one, &clause), "phantom %llu: %s", (unsigned long long)seed,
                          p.truth[k].clause);
            ck_assert_ptr_nonnull(strstr(p.report, p.truth[k].clause));
        }
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("findings");
    TCase *c = tcase_create("findings");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, parser_cases, 0, sizeof cases / sizeof *cases);
    tcase_add_test(c, long_report);
    tcase_add_test(c, labels_and_their_mirrors);
    tcase_add_test(c, mirrored_text_means_the_mirrored_labels);
    tcase_add_loop_test(c, reports_read_back_as_the_truth, 0, 2 * PHANTOM_STYLES);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
