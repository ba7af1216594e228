/* n-grams are numbered exactly: an n-gram is the pair (number of its first n-1 tokens, last token), looked up
 * in a hash table of pairs; the empty n-gram has number 0. There are two tables: one of all truths, which
 * counts documents, and a small one of the pair at hand, which counts occurrences. */
#include "losses/cider.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ORDERS = 4, SAID = 0, TRUTH = 1 };
static const double SIGMA = 6;

typedef struct Gram {
    int32_t prefix, token;
    int32_t documents, last;    /* among all truths; last: number of the last one that holds it, from 1 */
    int32_t count[2], n, among; /* in a pair: how often in SAID, TRUTH; tokens; number among all truths or -1 */
} Gram;

typedef struct Grams {
    Gram *gram; /* gram[i] has number i + 1 */
    size_t n, room;
    int32_t *slot; /* open addressing, numbers; 0: empty */
    size_t n_slots, slot_room;
} Grams;

static void grams_free(Grams *g)
{
    free(g->gram);
    free(g->slot);
}

static int32_t *find(const Grams *g, int32_t prefix, int32_t token)
{
    uint64_t h = ((uint64_t)(uint32_t)prefix << 32 | (uint32_t)token) * 0x9E3779B97F4A7C15u;
    h = (h ^ h >> 32) * 0xD6E8FEB86659FD93u;
    size_t i = (size_t)(h ^ h >> 32) & (g->n_slots - 1);
    for (; g->slot[i]; i = (i + 1) & (g->n_slots - 1)) {
        const Gram *have = &g->gram[g->slot[i] - 1];
        if (have->prefix == prefix && have->token == token) break;
    }
    return &g->slot[i];
}

/* Empty slots, at least n of them, and the grams there put into them again. */
static bool set_slots(Grams *g, size_t n)
{
    size_t n_slots = 256;
    while (n_slots < n) n_slots *= 2;
    if (n_slots > g->slot_room) {
        free(g->slot);
        g->slot_room = 0;
        g->slot = malloc(n_slots * sizeof *g->slot);
        if (!g->slot) return false;
        g->slot_room = n_slots;
    }
    memset(g->slot, 0, n_slots * sizeof *g->slot);
    g->n_slots = n_slots;
    for (size_t i = 0; i < g->n; i++) *find(g, g->gram[i].prefix, g->gram[i].token) = (int32_t)i + 1;
    return true;
}

/* The number of an n-gram, a new one counted nowhere; 0 without memory. */
static int32_t number(Grams *g, int32_t prefix, int32_t token)
{
    if (2 * g->n >= g->n_slots && !set_slots(g, 4 * g->n)) return 0;
    int32_t *slot = find(g, prefix, token);
    if (*slot) return *slot;
    if (g->n == g->room) {
        size_t room = g->room ? 2 * g->room : 256;
        Gram *gram = room <= INT32_MAX ? realloc(g->gram, room * sizeof *gram) : NULL;
        if (!gram) return 0;
        g->gram = gram;
        g->room = room;
    }
    g->gram[g->n++] = (Gram){.prefix = prefix, .token = token};
    return *slot = (int32_t)g->n;
}

/* Adds the n-grams of one truth, the documents counted. */
static bool add_truth(Grams *all, const Tokens *t, int32_t document)
{
    for (int i = 0; i < t->n; i++) {
        int32_t prefix = 0;
        for (int k = i; k < t->n && k < i + ORDERS; k++) {
            prefix = number(all, prefix, t->id[k]);
            if (!prefix) return false;
            Gram *g = &all->gram[prefix - 1];
            g->documents += g->last != document;
            g->last = document;
        }
    }
    return true;
}

/* Counts the n-grams of one text of a pair. */
static bool add_text(Grams *pair, const Grams *all, const Tokens *t, int which)
{
    for (int i = 0; i < t->n; i++) {
        int32_t prefix = 0, among = 0;
        for (int n = 1; n <= ORDERS && i + n <= t->n; n++) {
            int32_t token = t->id[i + n - 1], before = among;
            prefix = number(pair, prefix, token);
            if (!prefix) return false;
            Gram *g = &pair->gram[prefix - 1];
            if (!g->n) {
                g->n = n;
                g->among = before >= 0 ? *find(all, before, token) : -1;
                if (!g->among) g->among = -1;
            }
            among = g->among;
            g->count[which]++;
        }
    }
    return true;
}

static double compare(const Grams *pair, const Grams *all, double log_n, int delta)
{
    double dot[ORDERS] = {0}, square[2][ORDERS] = {{0}}, sum = 0;
    for (size_t i = 0; i < pair->n; i++) {
        const Gram *g = &pair->gram[i];
        double weight = log_n - (g->among > 0 ? log(all->gram[g->among - 1].documents) : 0);
        double h = g->count[SAID] * weight, r = g->count[TRUTH] * weight;
        dot[g->n - 1] += fmin(h, r) * r;
        square[SAID][g->n - 1] += h * h;
        square[TRUTH][g->n - 1] += r * r;
    }
    for (int k = 0; k < ORDERS; k++) {
        double norm = sqrt(square[SAID][k]) * sqrt(square[TRUTH][k]);
        if (norm > 0) sum += dot[k] / norm;
    }
    return 10 * sum / ORDERS * exp(-(double)delta * delta / (2 * SIGMA * SIGMA));
}

static int bigrams(const Tokens *t) { return t->n > 1 ? t->n - 1 : 0; }

bool cider_score(const Tokens *said, const Tokens *truth, int n, double *each, Error *e)
{
    Grams all = {0}, pair = {0};
    bool ok = set_slots(&all, 0);
    for (int i = 0; ok && i < n; i++) ok = add_truth(&all, &truth[i], i + 1);
    for (int i = 0; ok && i < n; i++) {
        pair.n = 0;
        ok = set_slots(&pair, 0) && add_text(&pair, &all, &said[i], SAID) &&
             add_text(&pair, &all, &truth[i], TRUTH);
        if (!ok) break;
        each[i] = compare(&pair, &all, log(n), bigrams(&said[i]) - bigrams(&truth[i]));
    }
    grams_free(&all);
    grams_free(&pair);
    return ok || error_set(e, ERROR_MEMORY, "no memory for the n-grams of %d texts", n);
}
