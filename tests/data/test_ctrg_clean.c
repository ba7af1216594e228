#include "data/ctrg_clean.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int rule_of(const char *from)
{
    for (int i = 0; i < CLEAN_RULES; i++)
        if (!strcmp(ctrg_clean_rule(i)->from, from)) return i;
    ck_abort_msg("no rule %s", from);
    return -1;
}

static void check(const char *text, const char *expected)
{
    CleanUse use = {0};
    char *out = ctrg_clean(text, &use);
    ck_assert_str_eq(out, expected);
    ck_assert_int_eq(use.texts, 1);
    ck_assert_int_eq(use.changed, strcmp(text, expected) != 0);
    free(out);
}

START_TEST(texts)
{
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"", ""},
        {"双侧大脑半球对称，中线结构居中。", "双侧大脑半球对称，中线结构居中。"},
        {"没有句号", "没有句号"},
        {"脑千及小脑未见异常。", "脑干及小脑未见异常。"},
        {"左侧题叶、若侧颢叶见低密度影。", "左侧颞叶、右侧颞叶见低密度影。"},
        {"头颅CT平扫：脑沟增宽。", "脑沟增宽。"},
        {"头颅平扫：脑外伤复查示：脑沟增宽。", "脑沟增宽。"},
        /* a sentence goes with what it says, and one sign stays */
        {"脑沟增宽。双肺纹理清晰。中线居中。", "脑沟增宽。中线居中。"},
        {"双肺纹理清晰。中线居中。", "中线居中。"},
        {"脑沟增宽；肝内未见异常；脾不大。中线居中。", "脑沟增宽。中线居中。"},
        {"中线居中。肝内未见异常；", "中线居中；"},
        {"肝内未见异常。", ""},
        {"肝内未见异常", ""},
        {"中线居中，心脏不大。脑沟增宽。", "脑沟增宽。"},
        /* advice */
        {"脑沟增宽，建议进一步检查。", "脑沟增宽。"},
        {"脑沟增宽，建议复查。", "脑沟增宽。建议复查。"},
        /* signs alone */
        {"。。脑沟增宽；；。中线居中。；。", "脑沟增宽。中线居中。"},
        {"；。", ""},
        {"ASCII. stays; as it is,", "ASCII. stays; as it is,"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check(cases[i].text, cases[i].expected);
}
END_TEST

START_TEST(counts)
{
    CleanUse use = {0};
    free(ctrg_clean("脑千题颢题。双肺及胸廓正常；腹腔。", &use));
    free(ctrg_clean("头颅CT平扫：脑沟增宽。", &use));
    free(ctrg_clean("脑沟增宽。", &use));
    ck_assert_int_eq(use.texts, 3);
    ck_assert_int_eq(use.changed, 2);
    ck_assert_int_eq(use.rule[rule_of("脑千")], 1);
    ck_assert_int_eq(use.rule[rule_of("题")], 2);
    ck_assert_int_eq(use.rule[rule_of("颢")], 1);
    ck_assert_int_eq(use.rule[rule_of("胸")], 1); /* before 肺 in the list */
    ck_assert_int_eq(use.rule[rule_of("肺")], 0);
    ck_assert_int_eq(use.rule[rule_of("腹")], 1);
    ck_assert_int_eq(use.rule[rule_of("头颅CT平扫：")], 1);
    int64_t sum = 0;
    for (int i = 0; i < CLEAN_RULES; i++) sum += use.rule[i];
    ck_assert_int_eq(sum, 7);
}
END_TEST

/* Cleaning twice is cleaning once, for every word of the list in a sentence of its own. */
START_TEST(every_rule)
{
    for (int i = 0; i < CLEAN_RULES; i++) {
        const CleanRule *r = ctrg_clean_rule(i);
        char text[256], expected[256];
        CleanUse use = {0};
        snprintf(text, sizeof text, "脑沟增宽。见%s影。", r->from);
        snprintf(expected, sizeof expected, r->kind == CLEAN_DROPS ? "脑沟增宽。" : "脑沟增宽。见%s影。",
                 r->to);
        if (strcmp(r->from, "。建议进一步检查。")) check(text, expected);
        char *once = ctrg_clean(text, &use), *twice = ctrg_clean(once, &use);
        ck_assert_str_eq(once, twice);
        free(once);
        free(twice);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ctrg_clean");
    TCase *t = tcase_create("ctrg_clean");
    tcase_add_test(t, texts);
    tcase_add_test(t, counts);
    tcase_add_test(t, every_rule);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
