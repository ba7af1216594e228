/* Texts cut for the metrics, and the metrics of one system: against the reference packages' numbers
 * (tests/golden/metric_vectors.json), by hand, and from sums. */
#include "tools/score_text.h"
#include "losses/rouge.h"
#include "tests/losses/vectors.h"
#include "tests/tokenizer/jieba_small.h"

static char folder[] = "/tmp/test_score_text_XXXXXX";
static const CutterOptions none;

static Cutter *open_cutter(TextSplit split, const CutterOptions *o)
{
    Error e = {0};
    Cutter *c = cutter_open(split, o, &e);
    ck_assert_msg(c != NULL, "%s", e.msg);
    return c;
}

static void joins(Cutter *c, const char *text, const char *expected)
{
    Error e = {0};
    const char *words;
    ck_assert_msg(cutter_join(c, text, &words, &e), "%s", e.msg);
    ck_assert_str_eq(words, expected);
}

START_TEST(characters)
{
    Cutter *c = open_cutter(SPLIT_CHAR, &none);
    joins(c, "左侧 CT\n，\u3000右。", "左 侧 C T ， 右 。 ");
    joins(c, "", "None ");
    joins(c, " \t\n\u3000", "None ");
    joins(c, "None", "N o n e ");
    ck_assert(strstr(cutter_about(c), "characters"));
    cutter_close(c);
}
END_TEST

START_TEST(spaces)
{
    Cutter *c = open_cutter(SPLIT_SPACE, &none);
    joins(c, "a b", "a b ");
    joins(c, "a  b ", "a  b ");
    joins(c, "a\nb\n", "a b ");
    joins(c, "", "None ");
    cutter_close(c);
}
END_TEST

START_TEST(jieba)
{
    CutterOptions o = {.dictionary = folder};
    Cutter *c = open_cutter(SPLIT_JIEBA, &o);
    joins(c, "甲乙丙，丁丂", "甲乙 丙 ， 丁丂 "); /* the last word is the model's */
    joins(c, "丙 丙\n丙", "丙   丙   丙 ");       /* white space is words, line ends are spaces */
    joins(c, "\n", "None ");
    ck_assert(strstr(cutter_about(c), folder) && !strstr(cutter_about(c), "user"));
    cutter_close(c);
    char user[64];
    snprintf(user, sizeof user, "%s/user.txt", folder);
    small_put(folder, "user.txt", "乙丙 50 n\n", 12);
    o.user = user;
    c = open_cutter(SPLIT_JIEBA, &o);
    joins(c, "甲乙丙", "甲 乙丙 ");
    ck_assert(strstr(cutter_about(c), user));
    cutter_close(c);
    /* not there */
    Error e = {0};
    ck_assert(!cutter_open(SPLIT_JIEBA, &(CutterOptions){.dictionary = "/no/such"}, &e));
    ck_assert(e.code == ERROR_IO && !strncmp(e.msg, "/no/such/dict.txt: ", 19) &&
              strstr(e.msg, "python3-jieba"));
    o.user = "/no/such/user.txt";
    ck_assert(!cutter_open(SPLIT_JIEBA, &o, &e) && e.code == ERROR_IO && strstr(e.msg, o.user));
    unlink(user);
}
END_TEST

START_TEST(tokens)
{
    Error e = {0};
    Cutter *c = open_cutter(SPLIT_TOKENS, &(CutterOptions){.tokenizer = "data/mini/tokenizer.json"});
    joins(c, "\n", "None ");
    /* what the vocabulary has no token of is bytes, each a U+FFFD of its own */
    joins(c, "龘", "\uFFFD \uFFFD \uFFFD ");
    cutter_close(c);
    ck_assert(!cutter_open(SPLIT_TOKENS, &(CutterOptions){.tokenizer = "/no/such"}, &e) && e.code == ERROR_IO);
    const char *given = getenv("PCRL_LLAMA3");
    char path[4096];
    snprintf(path, sizeof path, "%s/tokenizer.model", given ? given : "build/llama3");
    if (access(path, R_OK)) snprintf(path, sizeof path, "%s/tokenizer.json", given ? given : "build/llama3");
    if (access(path, R_OK)) {
        printf("SKIPPED: LLaMA-3's tokens: no tokenizer in %s (PCRL_LLAMA3=FOLDER)\n",
               given ? given : "build/llama3");
        return;
    }
    c = open_cutter(SPLIT_TOKENS, &(CutterOptions){.tokenizer = path});
    joins(c, "左侧颞叶", "左 侧 \uFFFD \uFFFD 叶 ");
    cutter_close(c);
}
END_TEST

START_TEST(names_of_splits)
{
    TextSplit split;
    for (int i = 0; i < SPLIT_COUNT; i++)
        ck_assert(text_split_from_name(text_split_name((TextSplit)i), &split) && split == (TextSplit)i);
    ck_assert(!text_split_from_name("words", &split));
}
END_TEST

/* The scores of the vectors' pairs; the caller frees texts and scores. */
static TextScores vector_scores(const json_t *root, int level, char *text[2][VECTORS])
{
    Error e = {0};
    TextScores s;
    Cutter *c = open_cutter(level ? SPLIT_CHAR : SPLIT_SPACE, &none);
    for (size_t i = 0; i < VECTORS; i++)
        for (int side = 0; side < 2; side++)
            text[side][i] = strdup(vectors_text(root, i, side ? "ref" : "hyp", level == 0));
    ck_assert_msg(text_scores(c, text[0], text[1], VECTORS, &s, &e), "%s", e.msg);
    cutter_close(c);
    return s;
}

START_TEST(goldens)
{
    json_t *root = vectors_open();
    for (int level = 0; level < 2; level++) {
        const json_t *expect = json_object_get(root, vectors_levels[level]);
        char *text[2][VECTORS];
        TextScores s = vector_scores(root, level, text);
        ck_assert_int_eq(s.n, VECTORS);
        for (size_t k = 0; k < BLEU_ORDERS; k++)
            CLOSE(s.all.bleu[k], vectors_number(json_object_get(expect, "BLEU"), k), 1e-12);
        CLOSE(s.all.meteor, json_number_value(json_object_get(expect, "METEOR")), 1e-12);
        CLOSE(s.all.rouge_l, json_number_value(json_object_get(expect, "ROUGE_L")), 1e-12);
        CLOSE(s.all.cider, json_number_value(json_object_get(expect, "CIDEr")), 1e-12);
        for (size_t i = 0; i < VECTORS; i++) {
            for (size_t k = 0; k < BLEU_ORDERS; k++)
                CLOSE(s.each[i].bleu[k],
                      vectors_number(json_array_get(json_object_get(expect, "BLEU_each"), k), i), 1e-12);
            CLOSE(s.each[i].meteor, vectors_number(json_object_get(expect, "METEOR_each"), i), 1e-12);
            CLOSE(s.each[i].rouge_l, vectors_number(json_object_get(expect, "ROUGE_each"), i), 1e-12);
            CLOSE(s.each[i].cider, vectors_number(json_object_get(expect, "CIDEr_each"), i), 1e-12);
            free(text[0][i]), free(text[1][i]);
        }
        text_scores_free(&s);
    }
    json_decref(root);
}
END_TEST

/* The sum of rows gives what the studies score together; drawn twice they count twice. */
START_TEST(sums)
{
    json_t *root = vectors_open();
    char *text[2][VECTORS], *some[2][3];
    TextScores s = vector_scores(root, 1, text), other;
    static const int drawn[3] = {4, 1, 4};
    double sum[TEXT_SUMS] = {0};
    Error e = {0};
    TextScore from;
    Cutter *c = open_cutter(SPLIT_CHAR, &none);
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < TEXT_SUMS; k++) sum[k] += s.sums[drawn[i] * TEXT_SUMS + k];
        for (int side = 0; side < 2; side++) some[side][i] = text[side][drawn[i]];
    }
    text_from_sums(sum, &from);
    ck_assert(text_scores(c, some[0], some[1], 3, &other, &e));
    for (int k = 0; k < BLEU_ORDERS; k++) CLOSE(from.bleu[k], other.all.bleu[k], 1e-15);
    CLOSE(from.meteor, other.all.meteor, 1e-15);
    CLOSE(from.rouge_l, other.all.rouge_l, 1e-15);
    CLOSE(from.rouge_l_space, other.all.rouge_l_space, 1e-15);
    CLOSE(from.cider, (2 * s.each[4].cider + s.each[1].cider) / 3, 1e-15);
    ck_assert(from.meteor > 0.5 && from.meteor < 1);
    text_scores_free(&other);
    text_scores_free(&s);
    cutter_close(c);
    for (int i = 0; i < VECTORS; i++) free(text[0][i]), free(text[1][i]);
    json_decref(root);
}
END_TEST

/* By hand: P = R = 2/3, and with the empty word 3/4. */
START_TEST(trailing_space)
{
    Error e = {0};
    TextScores s;
    Cutter *c = open_cutter(SPLIT_CHAR, &none);
    char *said[] = {"abc", "", "ab"}, *truth[] = {"abd", "x", " "};
    ck_assert(text_scores(c, said, truth, 3, &s, &e));
    CLOSE(s.each[0].rouge_l, 2.0 / 3, 1e-15);
    CLOSE(s.each[0].rouge_l_space, 3.0 / 4, 1e-15);
    /* None beside x, and a b beside None: only the empty words match */
    ck_assert(s.each[1].rouge_l == 0 && s.each[2].rouge_l == 0 && s.each[1].meteor == 0);
    CLOSE(s.each[1].rouge_l_space, 0.5, 1e-15);
    CLOSE(s.each[2].rouge_l_space, 2.44 / 3 / 2 / (0.5 + 1.44 / 3), 1e-15);
    CLOSE(s.all.rouge_l, 2.0 / 9, 1e-15);
    CLOSE(s.all.rouge_l_space,
          (s.each[0].rouge_l_space + s.each[1].rouge_l_space + s.each[2].rouge_l_space) / 3, 1e-15);
    text_scores_free(&s);
    cutter_close(c);
}
END_TEST

START_TEST(no_studies)
{
    Error e = {0};
    TextScores s;
    Cutter *c = open_cutter(SPLIT_CHAR, &none);
    ck_assert(text_scores(c, NULL, NULL, 0, &s, &e) && s.n == 0);
    ck_assert(s.all.cider == 0 && s.all.rouge_l == 0 && s.all.meteor == 0);
    text_scores_free(&s);
    cutter_close(c);
}
END_TEST

static void make_folder(void) { small_make(folder); }

int main(void)
{
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    Suite *s = suite_create("score_text");
    TCase *t = tcase_create("score_text");
    tcase_set_timeout(t, 60);
    tcase_add_unchecked_fixture(t, make_folder, NULL);
    tcase_add_test(t, characters);
    tcase_add_test(t, spaces);
    tcase_add_test(t, jieba);
    tcase_add_test(t, tokens);
    tcase_add_test(t, names_of_splits);
    tcase_add_test(t, goldens);
    tcase_add_test(t, sums);
    tcase_add_test(t, trailing_space);
    tcase_add_test(t, no_studies);
    suite_add_tcase(s, t);
    int failed = vectors_run(s);
    small_remove(folder);
    return failed;
}
