/* Words that can be matched in one way only are matched beforehand; the others branch the search: a path for
 * each match whose word of the text said it has not used, in their order, and one that leaves the truth's word
 * out.
 *
 * The jar's distance is not what its name says, and it decides ties: a path that branches at word j is charged
 * the distances of all matches it may choose from, and the path for a match those of the matches before it. It
 * wraps at 32 bits, and differences are compared, as there. */
#include "losses/meteor_align.h"
#include "losses/meteor_match.h"
#include <stdlib.h>
#include <string.h>

enum { BEAM = 40 };

static const int64_t EQUAL = (int64_t)1 << 32;

/* What the search compares; the rest is its slot's. */
typedef struct Path {
    int64_t rank; /* chunks, less EQUAL for each equal word; the chunk that is open does not count yet */
    uint32_t distance;
    int last_end; /* the place after the last match, -1 after a gap */
    int slot;     /* of the path it goes on from */
    int taken;    /* the match it branched to, -1 for none */
} Path;

typedef struct Tally {
    int matched[METEOR_MODULES], function[METEOR_MODULES][2];
} Tally;

typedef struct Search {
    const MeteorWord *said, *truth;
    int n_said, n_truth;
    MeteorMatches matches;
    size_t used_words;    /* 64-bit words of a path's used bits, one bit for each word said */
    uint64_t *used[2];    /* [BEAM][used_words], of the paths' slots and of the next ones' */
    Tally tally[2][BEAM]; /* of the words that branched */
    Path path[2][BEAM];   /* best first */
    int n, n_next, side;  /* paths there and to come; path[side] is there, path[!side] to come */
} Search;

/* Is x before y, where y was queued first? */
static bool is_better(const Path *x, const Path *y)
{
    return (x->rank < y->rank) | ((x->rank == y->rank) & ((int32_t)(x->distance - y->distance) < 0));
}

/* Into n paths in order, with room for one more. */
static inline void insert(Path *sorted, int n, Path p)
{
    for (; n > 0 && is_better(&p, &sorted[n - 1]); n--) sorted[n] = sorted[n - 1];
    sorted[n] = p;
}

/* Queues a path for the next word, the best BEAM kept in order. */
static inline void queue(Search *s, Path p)
{
    Path *next = s->path[!s->side];
    if (s->n_next < BEAM)
        insert(next, s->n_next++, p);
    else if (is_better(&p, &next[BEAM - 1]))
        insert(next, BEAM - 1, p);
}

static void match(Path *p, const MeteorMatch *m)
{
    p->rank += (p->last_end != -1 && m->at != p->last_end) - (m->module == METEOR_EXACT ? EQUAL : 0);
    p->last_end = m->at + 1;
}

static void skip(Path *p)
{
    p->rank += p->last_end != -1;
    p->last_end = -1;
}

static uint32_t distance(int j, const MeteorMatch *m) { return (uint32_t)abs(j - m->at); }

static void count(const Search *s, Tally *t, int j, const MeteorMatch *m)
{
    t->matched[m->module]++;
    t->function[m->module][0] += s->said[m->at].function;
    t->function[m->module][1] += s->truth[j].function;
}

/* The queued paths become the paths, with slots of their own. */
static void advance(Search *s, int j)
{
    for (int i = 0; i < s->n_next; i++) {
        Path *p = &s->path[!s->side][i];
        uint64_t *used = s->used[!s->side] + (size_t)i * s->used_words;
        const uint64_t *before = s->used[s->side] + (size_t)p->slot * s->used_words;
        for (size_t k = 0; k < s->used_words; k++) used[k] = before[k];
        s->tally[!s->side][i] = s->tally[s->side][p->slot];
        p->slot = i;
        if (p->taken < 0) continue;
        const MeteorMatch *m = &s->matches.match[p->taken];
        used[m->at / 64] |= (uint64_t)1 << m->at % 64;
        count(s, &s->tally[!s->side][i], j, m);
    }
    s->side = !s->side;
    s->n = s->n_next;
    s->n_next = 0;
}

static void branch(Search *s, int j)
{
    int first = s->matches.word[j].first, end = first + s->matches.word[j].n;
    for (int i = 0; i < s->n; i++) {
        Path p = s->path[s->side][i];
        if (s->n_next == BEAM && p.rank - EQUAL > s->path[!s->side][BEAM - 1].rank) break; /* as all after it */
        const uint64_t *used = s->used[s->side] + (size_t)p.slot * s->used_words;
        int64_t closed = p.rank + (p.last_end != -1);
        uint32_t cost = p.distance;
        for (int k = first; k < end; k++) {
            MeteorMatch m = s->matches.match[k];
            if (used[m.at / 64] >> m.at % 64 & 1) continue;
            int64_t rank = (m.at == p.last_end ? p.rank : closed) - (m.module == METEOR_EXACT ? EQUAL : 0);
            queue(s, (Path){rank, cost, m.at + 1, p.slot, k});
            cost += distance(j, &m);
        }
        queue(s, (Path){closed, cost, -1, p.slot, -1});
    }
    advance(s, j);
}

/* A word that is matched beforehand, or that matches nothing: the paths stay, their order may not. */
static void go_on(Search *s, int j)
{
    const MeteorMatch *m = s->matches.word[j].sure ? s->matches.match + s->matches.word[j].first : NULL;
    for (int i = 0; i < s->n; i++) {
        Path p = s->path[s->side][i];
        if (m) {
            match(&p, m);
            p.distance += distance(j, m);
        } else {
            skip(&p);
        }
        insert(s->path[s->side], i, p);
    }
}

static const Path *search(Search *s)
{
    s->path[0][0] = (Path){.last_end = -1};
    s->n = 1;
    for (int j = 0; j < s->n_truth; j++) {
        if (s->matches.word[j].sure || !s->matches.word[j].n)
            go_on(s, j);
        else
            branch(s, j);
    }
    const Path *best = NULL;
    for (int i = 0; i < s->n; i++) {
        Path *p = &s->path[s->side][i];
        skip(p); /* closes the open chunk */
        if (!best || is_better(p, best)) best = p;
    }
    return best;
}

bool meteor_align(const MeteorWord *said, int n_said, const MeteorWord *truth, int n_truth, MeteorStats *out,
                  Error *e)
{
    Search *s = calloc(1, sizeof *s);
    bool ok = s && meteor_matches_find(said, n_said, truth, n_truth, &s->matches);
    if (ok) {
        s->said = said;
        s->truth = truth;
        s->n_said = n_said;
        s->n_truth = n_truth;
        s->used_words = (size_t)n_said / 64 + 1;
        for (int i = 0; i < 2; i++) s->used[i] = calloc(BEAM * s->used_words, sizeof **s->used);
        ok = s->used[0] && s->used[1];
    }
    if (ok) {
        const Path *best = search(s);
        Tally *t = &s->tally[s->side][best->slot];
        for (int j = 0; j < n_truth; j++)
            if (s->matches.word[j].sure) count(s, t, j, &s->matches.match[s->matches.word[j].first]);
        for (int m = 0; m < METEOR_MODULES; m++) {
            out->matched[m] = t->matched[m];
            for (int side = 0; side < 2; side++) out->matched_function[m][side] = t->function[m][side];
        }
        out->chunks = (uint32_t)best->rank;
    }
    if (s) {
        meteor_matches_free(&s->matches);
        free(s->used[0]);
        free(s->used[1]);
        free(s);
    }
    if (!ok) return error_set(e, ERROR_MEMORY, "no memory to align texts of %d and %d words", n_said, n_truth);
    return true;
}
