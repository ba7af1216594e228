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

typedef struct Path {
    int equal, chunks; /* the chunk that is open does not count yet */
    uint32_t distance;
    int last_end;      /* the place after the last match, -1 after a gap */
    int parent, taken; /* its slot among the paths before; place taken from the text said or -1 */
    int matched[METEOR_MODULES], function[METEOR_MODULES][2];
} Path;

typedef struct Search {
    const MeteorWord *said, *truth;
    int n_said, n_truth;
    MeteorMatches matches;
    size_t used_words;   /* 64-bit words of a path's used bits, one bit for each word said */
    uint64_t *used[2];   /* [BEAM][used_words], of the paths and of the next ones */
    Path path[2][BEAM];  /* in slots */
    int order[2][BEAM];  /* the slots, best first */
    int n, n_next, side; /* paths there and to come; path[side] is there, path[!side] to come */
} Search;

/* Is x before y, where y was queued first? */
static bool is_better(const Path *x, const Path *y)
{
    if (x->equal != y->equal) return x->equal > y->equal;
    if (x->chunks != y->chunks) return x->chunks < y->chunks;
    return (int32_t)(x->distance - y->distance) < 0;
}

/* Would a path of these be queued? */
static bool is_wanted(const Search *s, const Path *p)
{
    return s->n_next < BEAM || is_better(p, &s->path[!s->side][s->order[!s->side][BEAM - 1]]);
}

/* Queues a path for the next word, the best BEAM kept in order. */
static void queue(Search *s, const Path *p)
{
    Path *next = s->path[!s->side];
    int *order = s->order[!s->side];
    if (!is_wanted(s, p)) return;
    int i = s->n_next < BEAM ? s->n_next : BEAM - 1, slot = s->n_next < BEAM ? s->n_next++ : order[i];
    for (; i > 0 && is_better(p, &next[order[i - 1]]); i--) order[i] = order[i - 1];
    order[i] = slot;
    next[slot] = *p;
}

/* A match: what the search compares, then the rest. */
static void match(Path *p, const MeteorMatch *m)
{
    p->equal += m->module == METEOR_EXACT;
    p->chunks += p->last_end != -1 && m->at != p->last_end;
    p->last_end = m->at + 1;
}

static void count(const Search *s, Path *p, int j, const MeteorMatch *m)
{
    p->matched[m->module]++;
    p->function[m->module][0] += s->said[m->at].function;
    p->function[m->module][1] += s->truth[j].function;
}

static void skip(Path *p)
{
    p->chunks += p->last_end != -1;
    p->last_end = -1;
}

static uint32_t distance(int j, const MeteorMatch *m) { return (uint32_t)abs(j - m->at); }

static void branch(Search *s, int j)
{
    const MeteorMatch *m = s->matches.match + s->matches.word[j].first;
    for (int rank = 0; rank < s->n; rank++) {
        int slot = s->order[s->side][rank];
        Path p = s->path[s->side][slot];
        const uint64_t *used = s->used[s->side] + (size_t)slot * s->used_words;
        p.parent = slot;
        for (int k = 0; k < s->matches.word[j].n; k++) {
            if (used[m[k].at / 64] >> m[k].at % 64 & 1) continue;
            Path next = {.equal = p.equal, .chunks = p.chunks, .distance = p.distance, .last_end = p.last_end};
            match(&next, &m[k]);
            if (is_wanted(s, &next)) {
                next = p;
                match(&next, &m[k]);
                count(s, &next, j, &m[k]);
                next.taken = m[k].at;
                queue(s, &next);
            }
            p.distance += distance(j, &m[k]);
        }
        p.taken = -1;
        skip(&p);
        queue(s, &p);
    }
}

/* A word that is matched beforehand, or that matches nothing. */
static void go_on(Search *s, int j)
{
    const MeteorMatch *m = s->matches.word[j].sure ? s->matches.match + s->matches.word[j].first : NULL;
    for (int rank = 0; rank < s->n; rank++) {
        int slot = s->order[s->side][rank];
        Path p = s->path[s->side][slot];
        if (m) {
            match(&p, m);
            count(s, &p, j, m);
            p.distance += distance(j, m);
        } else {
            skip(&p);
        }
        p.parent = slot;
        p.taken = -1;
        queue(s, &p);
    }
}

/* The queued paths become the paths, with the places they used. */
static void advance(Search *s)
{
    for (int i = 0; i < s->n_next; i++) {
        const Path *p = &s->path[!s->side][i];
        uint64_t *used = s->used[!s->side] + (size_t)i * s->used_words;
        memcpy(used, s->used[s->side] + (size_t)p->parent * s->used_words, s->used_words * sizeof *used);
        if (p->taken >= 0) used[p->taken / 64] |= (uint64_t)1 << p->taken % 64;
    }
    s->side = !s->side;
    s->n = s->n_next;
    s->n_next = 0;
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
        advance(s);
    }
    const Path *best = NULL;
    for (int i = 0; i < s->n; i++) {
        Path *p = &s->path[s->side][s->order[s->side][i]];
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
        for (int m = 0; m < METEOR_MODULES; m++) {
            out->matched[m] = best->matched[m];
            for (int side = 0; side < 2; side++) out->matched_function[m][side] = best->function[m][side];
        }
        out->chunks = best->chunks;
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
