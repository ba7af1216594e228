/* METEOR against the jar's numbers of tests/golden/metric_vectors.json, and its words and chunks against what
 * the jar made of single texts. */
#include "losses/meteor.h"
#include "losses/meteor_words.h"
#include "tensor/rng.h"
#include "tests/losses/vectors.h"
#include "tests/data/fail_alloc.h"

static double score_of(const char *said, const char *truth, MeteorStats *s)
{
    Error e = {0};
    double score = -1;
    ck_assert_msg(meteor_pair(said, truth, s, &score, &e), "%s", e.msg);
    return score;
}

static int64_t matches(const MeteorStats *s)
{
    return s->matched[METEOR_EXACT] + s->matched[METEOR_SYNONYM] + s->matched[METEOR_PARAPHRASE];
}

static double together(const MeteorStats *pair, int n)
{
    MeteorStats sum = {0};
    for (int i = 0; i < n; i++) meteor_add(&sum, &pair[i]);
    return meteor_from_stats(&sum);
}

START_TEST(goldens)
{
    json_t *root = vectors_open();
    for (int level = 0; level < 2; level++) {
        const json_t *expect = json_object_get(root, vectors_levels[level]);
        MeteorStats s[VECTORS];
        for (size_t i = 0; i < VECTORS; i++) {
            char said[VECTORS_ROOM];
            strcpy(said, vectors_text(root, i, "hyp", level == 0));
            CLOSE(score_of(said, vectors_text(root, i, "ref", level == 0), &s[i]),
                  vectors_number(json_object_get(expect, "METEOR_each"), i), 1e-12);
            double jar[23];
            const char *at = json_string_value(json_array_get(json_object_get(expect, "METEOR_stats"), i));
            for (int k = 0; k < 23; k++) {
                char *end;
                jar[k] = strtod(at, &end);
                ck_assert(end > at);
                at = end;
            }
            ck_assert(s[i].words[0] == (int64_t)jar[0] && s[i].words[1] == (int64_t)jar[1]);
            ck_assert(s[i].matched[METEOR_EXACT] == (int64_t)jar[21]);
            ck_assert(s[i].chunks == (int64_t)jar[20]);
        }
        CLOSE(together(s, VECTORS), json_number_value(json_object_get(expect, "METEOR")), 1e-12);
    }
    json_decref(root);
}
END_TEST

/* text is cut into the words of expected, with one space between them; f of them are function words. */
static void check_words(const char *text, const char *expected, int f)
{
    Error e = {0};
    MeteorWord *words;
    int n, functions = 0, i = 0;
    ck_assert(meteor_words(text, &words, &n, &e));
    for (const char *at = expected; *at; i++) {
        size_t length = strcspn(at, " ");
        char word[64];
        snprintf(word, sizeof word, "%.*s", (int)length, at);
        ck_assert_msg(i < n && words[i].key == meteor_key(word), "'%s': word %d is not '%.*s'", text, i,
                      (int)length, at);
        functions += words[i].function;
        at += length + (at[length] == ' ');
    }
    ck_assert_msg(i == n, "'%s': %d words, expected %d", text, n, i);
    ck_assert_msg(functions == f, "'%s': %d function words, expected %d", text, functions, f);
    free(words);
}

/* Java's String.hashCode */
START_TEST(keys)
{
    ck_assert(meteor_key("") == 0 && meteor_key("t1wi") == 3506639 && meteor_key("左侧") == 765569);
    ck_assert(meteor_key("\U0001F600") == 1772899 && meteor_key("haemorrhage") == 2138030213);
}
END_TEST

/* What the jar's own normaliser makes of them. */
START_TEST(cutting)
{
    check_words("左侧，CT值45HU。", "左 侧 ， ct 值 45hu 。", 0);
    check_words("约3.5cm×2.0cm", "约 3.5cm × 2.0cm", 0);
    check_words("1,000 1, 2,a a,b ,,,x", "1,000 1 , 2 , a a , b , ,,x", 6);
    check_words("1.脑室 2. ct 3. CT mm. Dr. No. 5 No. x", "1 . 脑 室 2. ct 3 . ct mm . dr. no. 5 no. x", 3);
    check_words("U.S. e.g. i.e. A. a.b.c. 1.5.", "us eg ie a. abc 1.5 .", 1);
    check_words("x..y a... .b", "x .. y a ... .b", 1);
    check_words("a-b-c 1-2 T2-FLAIR 3--4 –5 x.-y", "a b-c 1 2 t2 flair 3 4 - 5 x. y", 2);
    check_words("it's 'a' 90's o'clock", "it 's ' a ' 90 's o 'clock", 6);
    check_words("“左” ‘右’ ''b'' `c", "\" 左 \" ' 右 ' \" b \" ' c", 7);
    check_words("ＡＢ１ Ω Ⅲ ǅ İs É", "ａ ｂ １ ω ⅲ ǆ i\u0307s é", 0);
    check_words("\u3000左\u00a0右\u2003😀 \u200b", "左 右 😀 \u200b", 0);
    check_words("\x01\x02 a\x03 b\x0b"
                "c\x04\x05",
                "a \x03 b\x0b"
                "c",
                1);
    check_words("\xff左\xe5\xb7", "\ufffd 左 \ufffd", 0);
    check_words(" \t\u3000 ", "", 0);
}
END_TEST

START_TEST(edges)
{
    MeteorStats s, pair[2];
    ck_assert(score_of("", "", &s) == 0 && score_of("左", "", &s) == 0 && score_of("", "左", &s) == 0);
    ck_assert(score_of("左", "右", &s) == 0 && s.chunks == 0);
    ck_assert(score_of("None", "None", &s) == 1 && s.chunks == 1);
    CLOSE(score_of("左右", "右左", &s), 0.4, 1e-12); /* two chunks for two words: 1 - .6 */
    /* a half of the truth: P 1, R 1/2, one chunk for two words */
    CLOSE(score_of("左右", "左右上下", &pair[0]), 1 / (0.15 + 0.85 * 2) * (1 - 0.6 * pow(0.5, 0.2)), 1e-12);
    /* function words weigh a third */
    CLOSE(score_of("左", "左 the", &s), 1 / (0.15 + 0.85 * 1 / 0.75) * (1 - 0.6), 1e-12);
    CLOSE(score_of("上下左右", "上下左右", &pair[1]), 1.0, 1e-12);
    /* together: 6 of 6, 6 of 8, and the equal pair's chunk does not count */
    CLOSE(together(pair, 2), 1 / (0.15 + 0.85 * 8 / 6) * (1 - 0.6 * pow(1.0 / 6, 0.2)), 1e-12);
    ck_assert(together(NULL, 0) == 0);
}
END_TEST

/* Any bytes give a score in 0..1, and a text against itself gives 1. */
START_TEST(any_bytes)
{
    static const char few[] = ".,'-`a1 \xe2\x80\x99\xe5\xb7\xa6\x0b\xff";
    Rng r = rng_open(5, "meteor");
    for (int trial = 0; trial < 20000; trial++) {
        char text[2][64];
        for (int k = 0; k < 2; k++) {
            int64_t n = rng_below(&r, sizeof text[k]);
            for (int64_t i = 0; i < n; i++)
                text[k][i] = trial % 2 ? few[rng_below(&r, sizeof few - 1)] : (char)(1 + rng_below(&r, 255));
            text[k][n] = 0;
        }
        MeteorStats s;
        double score = score_of(text[0], text[1], &s);
        ck_assert(score >= 0 && score <= 1 && matches(&s) <= s.words[0] && s.chunks <= matches(&s));
        score = score_of(text[0], text[0], &s);
        ck_assert(s.words[0] == 0 ? score == 0 : fabs(score - 1) < 1e-12 || s.chunks > 1);
        ck_assert(matches(&s) == s.words[0]);
    }
}
END_TEST

/* Texts with pairs of words that are not equal, and more matches than there is room for at first. */
static bool score_once(Error *e)
{
    static char said[2000], truth[2000];
    MeteorStats s;
    double score;
    if (!*said)
        for (int i = 0; i < 300; i++)
            strcat(said, i % 50 ? "左" : " 4 右 "), strcat(truth, i % 70 ? "左" : " 16 下 ");
    return meteor_pair(said, truth, &s, &score, e) && score > 0 && s.matched[METEOR_PARAPHRASE] > 0;
}

START_TEST(allocations) { ck_assert_int_gt(fail_each(score_once), 14); }
END_TEST

int main(void)
{
    Suite *s = suite_create("meteor");
    TCase *t = tcase_create("meteor");
    tcase_set_timeout(t, 0);
    tcase_add_test(t, goldens);
    tcase_add_test(t, keys);
    tcase_add_test(t, cutting);
    tcase_add_test(t, edges);
    tcase_add_test(t, any_bytes);
    tcase_add_test(t, allocations);
    suite_add_tcase(s, t);
    return vectors_run(s);
}
