#include "losses/meteor.h"
#include "losses/meteor_align.h"
#include "losses/meteor_words.h"
#include <math.h>
#include <stdlib.h>

static const double ALPHA = 0.85, BETA = 0.20, GAMMA = 0.60, DELTA = 0.75;

static double weighted(int64_t all, int64_t function)
{
    return DELTA * (double)(all - function) + (1 - DELTA) * (double)function;
}

/* A pair of equal texts, or a corpus of them. */
static bool is_whole(const MeteorStats *s)
{
    return s->matched[0] == s->words[0] && s->matched[1] == s->words[1] && s->chunks == 1;
}

static double score_of(const MeteorStats *s)
{
    if (!s->matched[0] || !s->matched[1]) return 0;
    double p = weighted(s->matched[0], s->matched_function[0]) / weighted(s->words[0], s->function_words[0]);
    double r = weighted(s->matched[1], s->matched_function[1]) / weighted(s->words[1], s->function_words[1]);
    double f = 1 / ((1 - ALPHA) / p + ALPHA / r);
    double fragments = 2 * (double)s->chunks / (double)(s->matched[0] + s->matched[1]);
    return f * (1 - (is_whole(s) ? 0 : GAMMA * pow(fragments, BETA)));
}

static int64_t count_function(const MeteorWord *words, int n)
{
    int64_t count = 0;
    for (int i = 0; i < n; i++) count += words[i].function;
    return count;
}

bool meteor_pair(const char *said, const char *truth, MeteorStats *out, double *score, Error *e)
{
    const char *text[] = {said, truth};
    MeteorWord *words[2] = {0};
    int n[2];
    MeteorStats s = {0};
    bool ok = true;
    for (int i = 0; ok && i < 2; i++) {
        ok = meteor_words(text[i], &words[i], &n[i], e);
        if (!ok) break;
        s.words[i] = n[i];
        s.function_words[i] = count_function(words[i], n[i]);
    }
    ok = ok && meteor_align(words[0], n[0], words[1], n[1], &s, e);
    free(words[0]);
    free(words[1]);
    if (!ok) return false;
    *out = s;
    *score = score_of(&s);
    return true;
}

void meteor_add(MeteorStats *sum, const MeteorStats *pair)
{
    for (int k = 0; k < 2; k++) {
        sum->words[k] += pair->words[k];
        sum->function_words[k] += pair->function_words[k];
        sum->matched[k] += pair->matched[k];
        sum->matched_function[k] += pair->matched_function[k];
    }
    sum->chunks += is_whole(pair) ? 0 : pair->chunks;
}

double meteor_corpus(const MeteorStats *stats, int n)
{
    MeteorStats sum = {0};
    for (int i = 0; i < n; i++) meteor_add(&sum, &stats[i]);
    return score_of(&sum);
}
