/* All text metrics on 1,000 report pairs against the reference packages (tests/golden/make_metrics.py), on
 * characters and, where the dictionary is, on jieba's words. */
#include "data/file.h"
#include "data/sha256.h"
#include "losses/bleu.h"
#include "losses/cider.h"
#include "losses/meteor.h"
#include "losses/rouge.h"
#include "tests/golden/golden.h"
#include "tests/golden/metric_pairs.h"
#include "tokenizer/jieba.h"
#include <unistd.h>

enum { METRICS = 8, STRIDE = 4, BLOCK = 100 }; /* BLEU-1..4, ROUGE-L in both conventions, CIDEr, METEOR */
static const char *const names[METRICS] = {"BLEU-1",  "BLEU-2",           "BLEU-3", "BLEU-4",
                                           "ROUGE-L", "ROUGE-L (spaces)", "CIDEr",  "METEOR"};
static const char USER[] =
    "基底节区 3 n\n低密度影\n高密度影\n侧脑室旁\n半卵圆中心 n\n中线结构居中 100000\nT1WI 5\n";

static TensorFile *golden;
static Jieba *jieba;
static char *text[PAIRS][2]; /* said, truth */

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
    for (int b = 0; b < PAIRS / BLOCK; b++) {
        Sha256 sum;
        sha256_open(&sum);
        for (int i = 2 * b * BLOCK; i < 2 * (b + 1) * BLOCK; i++)
            sha256_add(&sum, text[i / 2][i % 2], strlen(text[i / 2][i % 2]) + 1);
        check_digest(&sum, b, 0);
    }
}
END_TEST

/* Has it characters other than white space? */
static bool has_text(const char *s)
{
    Error e = {0};
    Tokens t;
    ck_assert(words_characters(s, &t, &e));
    bool none = t.n == 1 && t.id[0] < 0;
    tokens_free(&t);
    return !none;
}

/* The words, a space after each, as the scripts hand them on; sum takes their digest. */
static char *cut(JiebaCutter *cutter, const char *s, Sha256 *sum)
{
    Error e = {0};
    const uint32_t *ends;
    int n;
    size_t length = strlen(s);
    ck_assert_msg(jieba_cut(cutter, s, length, &ends, &n, &e), "%s", e.msg);
    char *joined = malloc(length + (size_t)n + 8), *to = joined;
    ck_assert(joined != NULL);
    for (int k = 0; k < n; k++) {
        uint32_t from = k ? ends[k - 1] : 0;
        sha256_add(sum, s + from, ends[k] - from);
        sha256_add(sum, "\x1f", 1);
        to = mempcpy(to, s + from, ends[k] - from);
        *to++ = ' ';
    }
    sha256_add(sum, "\x1e", 1);
    *to = 0;
    if (!has_text(s)) strcpy(joined, "None ");
    return joined;
}

typedef struct Scored {
    Tokens said[PAIRS], truth[PAIRS], spaces[2][PAIRS];
    MeteorStats stats[PAIRS];
    double each[PAIRS][METRICS], corpus[METRICS];
} Scored;

/* Fills in everything from the tokens but METEOR, which is there. */
static void score(Scored *s)
{
    Error e = {0};
    double cider[PAIRS];
    ck_assert(bleu_score(s->said, s->truth, PAIRS, s->corpus, &e));
    ck_assert(rouge_l_mean(s->said, s->truth, PAIRS, &s->corpus[4], &e));
    ck_assert(rouge_l_mean(s->spaces[0], s->spaces[1], PAIRS, &s->corpus[5], &e));
    ck_assert(cider_score(s->said, s->truth, PAIRS, cider, &s->corpus[6], &e));
    s->corpus[7] = meteor_corpus(s->stats, PAIRS);
    for (int i = 0; i < PAIRS; i++) {
        ck_assert(bleu_score(&s->said[i], &s->truth[i], 1, s->each[i], &e));
        ck_assert(rouge_l(&s->said[i], &s->truth[i], &s->each[i][4], &e));
        ck_assert(rouge_l(&s->spaces[0][i], &s->spaces[1][i], &s->each[i][5], &e));
        s->each[i][6] = cider[i];
    }
}

static void compare(Scored *s, const char *level)
{
    double corpus[METRICS], each[PAIRS / STRIDE][METRICS];
    char name[32];
    snprintf(name, sizeof name, "%s.corpus", level);
    load(name, sizeof corpus, corpus);
    snprintf(name, sizeof name, "%s.each", level);
    load(name, sizeof each, each);
    for (int k = 0; k < METRICS; k++) {
        for (int i = 0; i < PAIRS; i += STRIDE)
            ck_assert_msg(fabs(s->each[i][k] - each[i / STRIDE][k]) <= 1e-9,
                          "%s, pair %d: %s is %.12g, expected %.12g", level, i, names[k], s->each[i][k],
                          each[i / STRIDE][k]);
        ck_assert_msg(fabs(s->corpus[k] - corpus[k]) <= 1e-9, "%s: %s is %.12g, expected %.12g", level,
                      names[k], s->corpus[k], corpus[k]);
    }
    for (int i = 0; i < PAIRS; i++) {
        tokens_free(&s->said[i]);
        tokens_free(&s->truth[i]);
        tokens_free(&s->spaces[0][i]);
        tokens_free(&s->spaces[1][i]);
    }
    free(s);
}

/* The tokens of a text that is a list of characters with a space after each, cut at single spaces. */
static void add_last(const Tokens *t, Tokens *out)
{
    *out = (Tokens){malloc(((size_t)t->n + 1) * sizeof *t->id), t->n + 1};
    ck_assert(out->id != NULL);
    memcpy(out->id, t->id, (size_t)t->n * sizeof *t->id);
    out->id[t->n] = -2; /* the empty word */
}

START_TEST(characters)
{
    Error e = {0};
    Scored *s = calloc(1, sizeof *s);
    ck_assert(s != NULL);
    for (int i = 0; i < PAIRS; i++) {
        const char *said = has_text(text[i][0]) ? text[i][0] : "None",
                   *truth = has_text(text[i][1]) ? text[i][1] : "None";
        ck_assert(words_characters(text[i][0], &s->said[i], &e) &&
                  words_characters(text[i][1], &s->truth[i], &e));
        add_last(&s->said[i], &s->spaces[0][i]);
        add_last(&s->truth[i], &s->spaces[1][i]);
        ck_assert(meteor_pair(said, truth, &s->stats[i], &s->each[i][7], &e));
    }
    score(s);
    compare(s, "char");
}
END_TEST

START_TEST(words)
{
    Error e = {0};
    Scored *s = calloc(1, sizeof *s);
    JiebaCutter *cutter = jieba_cutter_open(jieba, true, &e);
    Words *w = words_open(&e);
    Sha256 sum;
    ck_assert(s && cutter && w);
    for (int i = 0; i < PAIRS; i++) {
        if (i % BLOCK == 0) sha256_open(&sum);
        char *said = cut(cutter, text[i][0], &sum), *truth = cut(cutter, text[i][1], &sum);
        if (i % BLOCK == BLOCK - 1) check_digest(&sum, i / BLOCK, 1);
        ck_assert(words_cut(w, said, WORDS_SPLIT, &s->said[i], &e) &&
                  words_cut(w, truth, WORDS_SPLIT, &s->truth[i], &e));
        ck_assert(words_cut(w, said, WORDS_SPACES, &s->spaces[0][i], &e) &&
                  words_cut(w, truth, WORDS_SPACES, &s->spaces[1][i], &e));
        ck_assert(meteor_pair(said, truth, &s->stats[i], &s->each[i][7], &e));
        free(said);
        free(truth);
    }
    score(s);
    compare(s, "jieba");
    words_close(w);
    jieba_cutter_close(cutter);
}
END_TEST

/* NULL without the dictionary, which is said. */
static Jieba *open_jieba(void)
{
    Error e = {0};
    const char *given = getenv("PCRL_JIEBA"), *folder = given ? given : JIEBA_FOLDER;
    char path[4096];
    snprintf(path, sizeof path, "%s/dict.txt", folder);
    if (!given && access(path, F_OK)) {
        printf(
            "SKIPPED: metrics of jieba's words: no %s (apt-get install python3-jieba, or PCRL_JIEBA=FOLDER)\n",
            path);
        return NULL;
    }
    Jieba *j = jieba_open(folder, &e);
    char user[] = "/tmp/test-metrics-XXXXXX";
    close(mkstemp(user));
    ck_assert_msg(j && file_write(user, USER, strlen(USER), &e) && jieba_add_words(j, user, &e), "%s", e.msg);
    unlink(user);
    return j;
}

int main(void)
{
    golden = golden_open("tests/golden/metrics.safetensors");
    jieba = open_jieba();
    for (uint32_t i = 0; i < PAIRS; i++) pair_make(i, &text[i][0], &text[i][1]);
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
        for (int k = 0; k < 2; k++) free(text[i][k]);
    jieba_close(jieba);
    tensor_file_close(golden);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
