#include "losses/meteor.h"
#include "losses/meteor_align.h"
#include "losses/meteor_words.h"
#include <math.h>
#include <stdlib.h>

static const double ALPHA = 0.85, BETA = 0.20, GAMMA = 0.60, DELTA = 0.75;

static const double WEIGHT[METEOR_MODULES] = {1, 0.8, 0.6};

static double weighted(int64_t all, int64_t function)
{
    return DELTA * (double)(all - function) + (1 - DELTA) * (double)function;
}

static int64_t matched(const MeteorStats *s)
{
    int64_t sum = 0;
    for (int m = 0; m < METEOR_MODULES; m++) sum += s->matched[m];
    return sum;
}

/* One chunk that is both texts. */
static bool is_whole(const MeteorStats *s)
{
    return matched(s) == s->words[0] && matched(s) == s->words[1] && s->chunks == 1;
}

double meteor_from_stats(const MeteorStats *s)
{
    if (!matched(s)) return 0;
    double share[2];
    for (int side = 0; side < 2; side++) {
        double sum = 0;
        for (int m = 0; m < METEOR_MODULES; m++)
            sum += WEIGHT[m] * weighted(s->matched[m], s->matched_function[m][side]);
        share[side] = sum / weighted(s->words[side], s->function_words[side]);
    }
    double f = 1 / ((1 - ALPHA) / share[0] + ALPHA / share[1]);
    return f * (is_whole(s) ? 1 : 1 - GAMMA * pow((double)s->chunks / (double)matched(s), BETA));
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
    *score = meteor_from_stats(&s);
    return true;
}

void meteor_add(MeteorStats *sum, const MeteorStats *pair)
{
    for (int k = 0; k < 2; k++) {
        sum->words[k] += pair->words[k];
        sum->function_words[k] += pair->function_words[k];
        for (int m = 0; m < METEOR_MODULES; m++) sum->matched_function[m][k] += pair->matched_function[m][k];
    }
    for (int m = 0; m < METEOR_MODULES; m++) sum->matched[m] += pair->matched[m];
    sum->chunks += is_whole(pair) ? 0 : pair->chunks;
}
