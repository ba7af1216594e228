/* All text metrics on 1,000 report pairs, as pcrl-score has them, against the reference packages
 * (tests/golden/make_metrics.py), on characters and, where the dictionary is, on jieba's words. */
#include "data/file.h"
#include "data/report_list.h"
#include "data/sha256.h"
#include "losses/meteor.h"
#include "tests/golden/golden.h"
#include "tests/golden/metric_pairs.h"
#include "tokenizer/jieba.h"
#include "tools/score_text.h"
#include <unistd.h>

enum { METRICS = 8, STRIDE = 4, BLOCK = 100 }; /* BLEU-1..4, ROUGE-L in both conventions, CIDEr, METEOR */
static const char *const names[METRICS] = {"BLEU-1",  "BLEU-2",           "BLEU-3", "BLEU-4",
                                           "ROUGE-L", "ROUGE-L (spaces)", "CIDEr",  "METEOR"};
static const char USER[] =
    "基底节区 3 n\n低密度影\n高密度影\n侧脑室旁\n半卵圆中心 n\n中线结构居中 100000\nT1WI 5\n";

static TensorFile *golden;
static Jieba *jieba;
static char *text[2][PAIRS]; /* said, truth */
static char user[] = "/tmp/test-metrics-XXXXXX";

static void load(const char *name, size_t size, void *out)
{
    Error e = {0};
    const TensorEntry *entry = tensor_file_find(golden, name);
    ck_assert_msg(entry && entry->size == size, "%s: no %s of %zu bytes", golden->path, name, size);
    ck_assert_msg(tensor_file_read(golden, entry, out, &e), "%s", e.msg);
}

/* Digest `which` of a block: 0 of the texts, 1 of the words. */
static void check_digest(Sha256 *sum, int block, int which)
{
    uint8_t all[PAIRS / BLOCK][2][32];
    char hex[65], want[65];
    load("sha256", sizeof all, all);
    sha256_close(sum, hex);
    for (int k = 0; k < 32; k++) snprintf(want + 2 * k, 3, "%02x", all[block][which][k]);
    ck_assert_msg(!strcmp(hex, want), "pairs %d to %d: their %s differ", block * BLOCK, (block + 1) * BLOCK - 1,
                  which ? "words" : "texts");
}

START_TEST(texts)
{
    for (uint32_t i = 0; i < PAIRS; i++) pair_make(i, &text[0][i], &text[1][i]);
    for (int b = 0; b < PAIRS / BLOCK; b++) {
        Sha256 sum;
        sha256_open(&sum);
        for (int i = 2 * b * BLOCK; i < 2 * (b + 1) * BLOCK; i++)
            sha256_add(&sum, text[i % 2][i / 2], strlen(text[i % 2][i / 2]) + 1);
        check_digest(&sum, b, 0);
    }
}
END_TEST

static const char *jieba_folder(void)
{
    const char *given = getenv("PCRL_JIEBA");
    return given ? given : JIEBA_FOLDER;
}

static void put(const TextScore *s, double out[METRICS])
{
    for (int k = 0; k < BLEU_ORDERS; k++) out[k] = s->bleu[k];
    out[4] = s->rouge_l;
    out[5] = s->rouge_l_space;
    out[6] = s->cider;
    out[7] = s->meteor;
}

static void check(const char *level, int pair, const TextScore *s, const double want[METRICS])
{
    double got[METRICS];
    put(s, got);
    for (int k = 0; k < METRICS; k++)
        ck_assert_msg(fabs(got[k] - want[k]) <= 1e-9, "%s, pair %d (-1: all): %s is %.12g, expected %.12g",
                      level, pair, names[k], got[k], want[k]);
}

/* On characters the reference's METEOR had the texts themselves, where pcrl-score gives it characters. */
static void uncut_meteor(TextScores *s)
{
    MeteorStats sum = {0}, one;
    Error e = {0};
    for (int i = 0; i < PAIRS; i++) {
        const char *said = report_empty(text[0][i]) ? "None" : text[0][i],
                   *truth = report_empty(text[1][i]) ? "None" : text[1][i];
        ck_assert(meteor_pair(said, truth, &one, &s->each[i].meteor, &e));
        meteor_add(&sum, &one);
    }
    s->all.meteor = meteor_from_stats(&sum);
}

static void check_scores(TextSplit split, const CutterOptions *o, const char *level)
{
    double corpus[METRICS], each[PAIRS / STRIDE][METRICS];
    char name[32];
    Error e = {0};
    TextScores s;
    Cutter *c = cutter_open(split, o, &e);
    ck_assert_msg(c && text_scores(c, text[0], text[1], PAIRS, &s, &e), "%s", e.msg);
    if (split == SPLIT_CHAR) uncut_meteor(&s);
    snprintf(name, sizeof name, "%s.corpus", level);
    load(name, sizeof corpus, corpus);
    snprintf(name, sizeof name, "%s.each", level);
    load(name, sizeof each, each);
    for (int i = 0; i < PAIRS; i += STRIDE) check(level, i, &s.each[i], each[i / STRIDE]);
    check(level, -1, &s.all, corpus);
    text_scores_free(&s);
    cutter_close(c);
}

START_TEST(characters) { check_scores(SPLIT_CHAR, &(CutterOptions){0}, "char"); }
END_TEST

/* The words are jieba's, too. */
START_TEST(words)
{
    Error e = {0};
    JiebaCutter *cutter = jieba_cutter_open(jieba, true, &e);
    Sha256 sum;
    ck_assert_msg(cutter != NULL, "%s", e.msg);
    for (int i = 0; i < 2 * PAIRS; i++) {
        const char *s = text[i % 2][i / 2];
        const uint32_t *ends;
        int n;
        if (i % (2 * BLOCK) == 0) sha256_open(&sum);
        ck_assert_msg(jieba_cut(cutter, s, strlen(s), &ends, &n, &e), "%s", e.msg);
        for (int k = 0; k < n; k++) {
            uint32_t from = k ? ends[k - 1] : 0;
            sha256_add(&sum, s + from, ends[k] - from);
            sha256_add(&sum, "\x1f", 1);
        }
        sha256_add(&sum, "\x1e", 1);
        if (i % (2 * BLOCK) == 2 * BLOCK - 1) check_digest(&sum, i / (2 * BLOCK), 1);
    }
    jieba_cutter_close(cutter);
    check_scores(SPLIT_JIEBA, &(CutterOptions){.dictionary = jieba_folder(), .user = user}, "jieba");
}
END_TEST

/* False without the dictionary, which is said, and on error. */
static bool open_jieba(Error *e)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/dict.txt", jieba_folder());
    if (!getenv("PCRL_JIEBA") && access(path, F_OK)) {
        printf(
            "SKIPPED: metrics of jieba's words: no %s (apt-get install python3-jieba, or PCRL_JIEBA=FOLDER)\n",
            path);
        return false;
    }
    jieba = jieba_open(jieba_folder(), e);
    if (!jieba) return false;
    close(mkstemp(user));
    return file_write(user, USER, strlen(USER), e) && jieba_add_words(jieba, user, e);
}

int main(void)
{
    Error e = {0};
    golden = safetensors_open("tests/golden/metrics.safetensors", &e);
    if (!golden || (!open_jieba(&e) && e.code)) {
        fprintf(stderr, "%s\n", e.msg);
        return EXIT_FAILURE;
    }
    Suite *suite = suite_create("metrics");
    TCase *t = tcase_create("metrics");
    tcase_set_timeout(t, 0);
    tcase_add_test(t, texts);
    tcase_add_test(t, characters);
    if (jieba) tcase_add_test(t, words);
    suite_add_tcase(suite, t);
    SRunner *sr = srunner_create(suite);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    for (int i = 0; i < PAIRS; i++)
        for (int k = 0; k < 2; k++) free(text[k][i]);
    if (jieba) unlink(user);
    jieba_close(jieba);
    tensor_file_close(golden);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
