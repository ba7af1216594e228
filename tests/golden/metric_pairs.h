/* The report pairs of tests/golden/make_metrics.py. */
#ifndef TESTS_GOLDEN_METRIC_PAIRS_H
#define TESTS_GOLDEN_METRIC_PAIRS_H
#include "data/phantom.h"
#include "tensor/utf8.h"
#include "tests/golden/strings.h"
#include <check.h>
#include <stdlib.h>

enum { PAIRS = 1000, PAIRS_SEED = 8244, PAIRS_PHANTOMS = 6000000, PAIRS_LONG = 10000, PAIRS_SPECIAL = 16 };

static const StringRow measures_rows[] = {
    {9,
     {"左侧", "右侧", "额叶", "脑室", "病灶", "见", "低密度影", "大小约", "CT值约", "厚约", "较大层面", "，",
      "。"},
     {{0}}},
    {3, {0}, {{0x30, 0x39}}},
    {2, {0}, {{0x31, 0x39}}},
    {1, {" "}, {{0}}},
    {3,
     {"cm", "mm", "HU ", "CT ", "MRI", "T1WI", "T2", "FLAIR ", "×",   "x",    "*",
      "-",  ".",  ",",   "、",  "II",  "III",  "级", "约",     " a ", " in ", "the "},
     {{0}}},
};
static const StringRow long_rows[] = {{64, {0}, {{0x4E00, 0x9FD5}}}};

/* A text as code points. */
typedef struct PairText {
    uint32_t c[16 * PAIRS_LONG / 10];
    size_t n;
} PairText;

static inline void pair_add(PairText *t, const char *text, size_t n)
{
    for (size_t at = 0; at < n;) {
        int32_t c;
        at += (size_t)utf8_next(text + at, n - at, &c);
        ck_assert(c >= 0 && t->n < sizeof t->c / sizeof *t->c);
        t->c[t->n++] = (uint32_t)c;
    }
}

/* The text that pair i is made of. */
static inline void pair_base(uint32_t i, PairText *t)
{
    static char text[STRING_ROOM];
    t->n = 0;
    if (i % 4 < 2) {
        Phantom p;
        PhantomOptions o = phantom_options();
        Error e = {0};
        ck_assert_msg(phantom_text_only(PAIRS_PHANTOMS + i, &o, &p, &e), "%s", e.msg);
        pair_add(t, p.report, strlen(p.report));
        phantom_free(&p);
    } else if (i % 4 == 2) {
        pair_add(t, text,
                 string_make(report_rows, sizeof report_rows / sizeof *report_rows, "report", PAIRS_SEED, 12, i,
                             text));
    } else {
        pair_add(t, text,
                 string_make(measures_rows, sizeof measures_rows / sizeof *measures_rows, "measures",
                             PAIRS_SEED, 16, i, text));
    }
}

/* Puts n characters, which may be of t itself, at a place. */
static inline void pair_insert(PairText *t, size_t at, const uint32_t *c, size_t n)
{
    uint32_t copy[32];
    ck_assert(n <= 32 && t->n + n <= sizeof t->c / sizeof *t->c);
    memcpy(copy, c, n * sizeof *c);
    memmove(t->c + at + n, t->c + at, (t->n - at) * sizeof *t->c);
    memcpy(t->c + at, copy, n * sizeof *copy);
    t->n += n;
}

static inline void pair_edit(PairText *t, const PairText *other, uint32_t i)
{
    StringWords w = {i, {PAIRS_SEED, fnv1a32("edits")}, 0};
    for (uint32_t left = string_word(&w) % 13; left; left--) {
        uint32_t kind = string_word(&w) % 3;
        size_t at = string_word(&w) % (t->n + 1), n, start;
        if (kind == 0) {
            n = 1 + string_word(&w) % 5;
            n = n < t->n - at ? n : t->n - at;
            memmove(t->c + at, t->c + at + n, (t->n - at - n) * sizeof *t->c);
            t->n -= n;
            continue;
        }
        const PairText *source = kind == 1 ? other : t;
        start = string_word(&w) % (source->n + 1);
        n = 1 + string_word(&w) % (kind == 1 ? 8 : 20);
        n = n < source->n - start ? n : source->n - start;
        pair_insert(t, at, source->c + start, n);
    }
}

static inline void pair_repeat(PairText *t, const char *text, int times)
{
    while (times--) pair_add(t, text, strlen(text));
}

static inline void pair_concatenate(PairText *t, const PairText *more, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) t->c[t->n++] = more->c[i];
}

static inline void pair_long(PairText *t)
{
    static char text[STRING_ROOM];
    for (uint32_t i = 0; t->n < PAIRS_LONG; i++) {
        ck_assert(i < 600);
        pair_add(t, text, string_make(long_rows, 1, "long", PAIRS_SEED, 2, i, text));
    }
    t->n = PAIRS_LONG;
}

/* Special pair i of make_metrics.py. */
static inline void pair_special(uint32_t i, PairText *said, PairText *truth)
{
    static PairText base[3], whole;
    static const uint32_t which[] = {0, 4, 8};
    for (int k = 0; k < 3; k++) pair_base(which[k], &base[k]);
    said->n = truth->n = whole.n = 0;
    switch (i) {
    case 1: *truth = base[1]; break;
    case 2: *said = base[1]; break;
    case 3:
    case 4: pair_repeat(said, "左", 1); break;
    case 5: *said = *truth = base[1]; break;
    case 6: pair_long(said); break;
    case 7:
        pair_long(&whole);
        pair_concatenate(said, &whole, 5000, PAIRS_LONG);
        pair_concatenate(said, &whole, 0, 4000);
        break;
    case 8: pair_long(said); break;
    case 9: pair_repeat(said, "低密度影", 100); break;
    case 10:
        pair_repeat(said, "，", 60);
        pair_repeat(truth, "，", 90);
        break;
    case 11:
        pair_repeat(said, "CT", 1);
        pair_repeat(truth, "CT 45HU", 1);
        break;
    case 12:
        pair_repeat(said, "a", 1);
        pair_repeat(truth, "the a", 1);
        break;
    case 13:
        pair_repeat(said, "左侧额叶", 20);
        pair_repeat(said, "右侧", 1);
        pair_repeat(truth, "左侧额叶", 30);
        break;
    case 14:
        for (uint32_t k = 0; k < 24; k += 4) {
            pair_base(k, &whole);
            pair_concatenate(said, &whole, 0, whole.n);
        }
        for (size_t k = said->n; k; k--) truth->c[truth->n++] = said->c[k - 1];
        break;
    case 15:
        for (int k = 0; k < 3; k++) pair_concatenate(said, &base[0], 0, base[0].n);
        for (int k = 0; k < 2; k++) pair_concatenate(truth, &base[0], 0, base[0].n);
        break;
    default: break;
    }
    if (i == 3) *truth = *said;
    if (i == 4) *truth = base[1];
    if (i == 6 || i == 7) {
        truth->n = 0;
        pair_long(truth);
    }
    if (i == 8 || i == 9) *truth = base[2];
}

/* The text, the caller's to free; what would end a line, NUL and | become spaces. */
static inline char *pair_text(const PairText *t)
{
    char *text = malloc(4 * t->n + 1);
    size_t n = 0;
    ck_assert(text != NULL);
    for (size_t i = 0; i < t->n; i++) {
        uint32_t c = t->c[i];
        n += string_put(text + n, c == '\n' || c == '\r' || c == 0 || c == '|' ? ' ' : c);
    }
    text[n] = 0;
    return text;
}

/* Pair i; both texts are the caller's. */
static inline void pair_make(uint32_t i, char **said, char **truth)
{
    static PairText s, t, other;
    if (i < PAIRS_SPECIAL) {
        pair_special(i, &s, &t);
    } else {
        pair_base(i, &t);
        pair_base((7 * i + 1) % PAIRS, &other);
        if (i % 3 == 2) {
            s = other;
        } else {
            s = t;
            pair_edit(&s, &other, i);
        }
    }
    *said = pair_text(&s);
    *truth = pair_text(&t);
}
#endif
