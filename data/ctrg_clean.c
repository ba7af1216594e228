/* Nothing makes a text longer, so all is done in place. */
#include "data/ctrg_clean.h"
#include "tensor/error.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const CleanRule rules[CLEAN_RULES] = {
#define CLEAN_REPLACE(from, to) {CLEAN_REPLACES, from, to},
#define CLEAN_DROP(word)        {CLEAN_DROPS, word, ""},
#define CLEAN_STRIP(word)       {CLEAN_STRIPS, word, ""},
#include "data/ctrg_clean.def"
};

const CleanRule *ctrg_clean_rule(int i)
{
    if (i < 0 || i >= CLEAN_RULES) die("ctrg_clean_rule: %d is not in 0..%d", i, CLEAN_RULES - 1);
    return &rules[i];
}

/* Every `from`, left to right; returns how many there were. */
static int64_t replace(char *text, const char *from, const char *to)
{
    size_t n = strlen(from), m = strlen(to);
    int64_t count = 0;
    char *out = text, *next;
    if (m > n) die("data/ctrg_clean.def: \"%s\" is longer than \"%s\"", to, from);
    while ((next = strstr(text, from))) {
        memmove(out, text, (size_t)(next - text));
        out += next - text;
        memcpy(out, to, m);
        out += m;
        text = next + n;
        count++;
    }
    memmove(out, text, strlen(text) + 1);
    return count;
}

/* Runs of one sign become one. */
static void join(char *text, const char *sign)
{
    char twice[16];
    strcpy(stpcpy(twice, sign), sign);
    while (replace(text, twice, sign)) {}
}

/* The length of the sentence that text begins with; the sign that ends it is at text + length. */
static size_t sentence(const char *text)
{
    const char *stop = strstr(text, "。"), *half = strstr(text, "；");
    if (!stop || (half && half < stop)) stop = half;
    return stop ? (size_t)(stop - text) : strlen(text);
}

/* The rule that drops these n bytes, or -1. */
static int dropped_by(const char *text, size_t n)
{
    for (int i = 0; i < CLEAN_RULES; i++)
        if (rules[i].kind == CLEAN_DROPS && memmem(text, n, rules[i].from, strlen(rules[i].from))) return i;
    return -1;
}

/* The signs after dropped sentences stay, and are joined then. */
static void drop(char *text, CleanUse *use)
{
    char *out = text;
    while (*text) {
        size_t n = sentence(text), sign = text[n] ? strlen("。") : 0;
        int rule = dropped_by(text, n);
        if (rule >= 0) {
            use->rule[rule]++;
            text += n;
            n = 0;
        }
        memmove(out, text, n + sign);
        out += n + sign;
        text += n + sign;
    }
    *out = 0;
}

static void tidy(char *text)
{
    join(text, "。");
    join(text, "；");
    replace(text, "；。", "。");
    replace(text, "。；", "；");
    join(text, "；");
    join(text, "。");
    char *first = text;
    while (!strncmp(first, "。", 3) || !strncmp(first, "；", 3)) first += 3;
    memmove(text, first, strlen(first) + 1);
}

char *ctrg_clean(const char *text, CleanUse *use)
{
    char *out = strdup(text);
    if (!out) return NULL;
    for (int i = 0; i < CLEAN_RULES; i++)
        if (rules[i].kind == CLEAN_REPLACES) use->rule[i] += replace(out, rules[i].from, rules[i].to);
    drop(out, use);
    tidy(out);
    for (int i = 0; i < CLEAN_RULES; i++)
        if (rules[i].kind == CLEAN_STRIPS) use->rule[i] += replace(out, rules[i].from, "");
    use->texts++;
    use->changed += strcmp(out, text) != 0;
    return out;
}
