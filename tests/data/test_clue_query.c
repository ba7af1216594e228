/* English queries: words by the table, sides by the place, and nothing outside the list of words. */
#include "data/clue_query.h"
#include "data/phantom_study.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *entity, *text, *query;
} cases[] = {
    {"丘脑", "右侧丘脑见小片状低密度影", "ct image of right thalamus with small patchy hypodense lesion"},
    {"脑沟", "左侧外侧裂池及脑沟内见高密度影；脑沟增宽加深",
     "ct image of left sulci with hyperdense lesion and sulci widened deepened"},
    /* what is normal is not said beside what is not */
    {"脑沟", "左侧外侧裂池及脑沟内见高密度影；脑沟裂未见异常", "ct image of left sulci with hyperdense lesion"},
    {"小脑", "幕下小脑、脑干未见异常", "ct image of normal cerebellum"},
    {"中线", "中线结构居中", "ct image of normal midline"},
    {"中线", "中线向右侧移位", "ct image of midline shifted to right"},
    {"中线", "中线结构左移", "ct image of midline shifted to left"},
    /* the last side before the place, else the first after it */
    {"颞叶", "右侧额叶及左侧颞叶见低密度影", "ct image of left temporal lobe with hypodense lesion"},
    {"额叶", "右侧额叶及左侧颞叶见低密度影", "ct image of right frontal lobe with hypodense lesion"},
    {"额叶", "额叶见低密度影，左侧为著",
     "ct image of frontal lobe with hypodense lesion and left frontal lobe"},
    {"丘脑", "丘脑左侧低密度灶", "ct image of left thalamus with hypodense lesion"},
    /* longer names; another entity's words are not this one's */
    {"侧脑室", "双侧侧脑室旁见多发斑点状低密度影",
     "ct image of bilateral white matter beside lateral ventricle with multiple punctate hypodense lesion"},
    {"侧脑室", "右侧侧脑室受压变窄", "ct image of right lateral ventricle compressed narrowed"},
    {"上颌窦", "左侧上颌窦粘膜增厚", "ct image of left maxillary sinus with thickened mucosa"},
    {"脑室", "脑室扩大、积水", "ct image of ventricles enlarged"},
    {"大脑镰", "大脑镰见条状钙化影；大脑镰示条状钙化影", "ct image of falx with linear calcification"},
    {"颅板下", "右侧额部颅板下见梭形高密度影",
     "ct image of right space under skull with lens shaped hyperdense lesion"},
    {"额叶", "", "ct image of frontal lobe"},
    {"额叶", "；，。", "ct image of frontal lobe"},
    {"额叶", "\xff\xe4\xbd，额叶\xe5\xb7", "ct image of frontal lobe"},
};

START_TEST(english)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *got = clue_query(clue_entity_from_name(cases[i].entity), cases[i].text, CLUE_QUERY_ENGLISH);
        ck_assert_msg(!strcmp(got, cases[i].query), "%s: got '%s', want '%s'", cases[i].text, got,
                      cases[i].query);
        free(got);
        got = clue_query(clue_entity_from_name(cases[i].entity), cases[i].text, CLUE_QUERY_RAW);
        ck_assert_str_eq(got, cases[i].text);
        free(got);
    }
}
END_TEST

START_TEST(normal)
{
    ck_assert(clue_is_normal("幕下小脑、脑干未见异常"));
    ck_assert(clue_is_normal("脑室系统未见扩张；脑室大小形态正常"));
    ck_assert(!clue_is_normal("左侧丘脑见低密度影；丘脑未见异常"));
    ck_assert(!clue_is_normal("脑沟增宽"));
}
END_TEST

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* All words of the queries of 300 reports stand in the list, and in the list's order each once. */
START_TEST(words)
{
    int n, queries = 0;
    const char **word = clue_query_words(&n);
    for (int i = 1; i < n; i++) ck_assert_int_lt(strcmp(word[i - 1], word[i]), 0);
    for (int seed = 0; seed < 300; seed++) {
        PhantomOptions o = phantom_options();
        Phantom p;
        o.regime = seed & 1 ? PHANTOM_CTRG : PHANTOM_BALANCED;
        ck_assert(phantom_text_only((uint64_t)seed, &o, &p, NULL));
        for (int k = 0; k < clue_entity_count(); k++) {
            char *text = clue_description(p.report, k);
            if (!text) continue;
            char *query = clue_query(k, text, CLUE_QUERY_ENGLISH);
            for (char *rest = query, *one; (one = strsep(&rest, " ")); queries++)
                ck_assert_msg(bsearch(&one, word, (size_t)n, sizeof *word, by_text), "'%s' of %s", one, text);
            free(query);
            free(text);
        }
        phantom_free(&p);
    }
    ck_assert_int_gt(queries, 5000);
    ck_assert_int_lt(n, 150);
    free(word);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("clue_query");
    TCase *c = tcase_create("clue_query");
    tcase_set_timeout(c, 0);
    tcase_add_test(c, english);
    tcase_add_test(c, normal);
    tcase_add_test(c, words);
    suite_add_tcase(s, c);
    SRunner *runner = srunner_create(s);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
