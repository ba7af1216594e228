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

typedef struct Path {
    int last_end; /* the place after the last match, -1 after a gap */
    int parent;   /* its slot among the paths before */
    int taken;    /* the match it branched to, -1 for none */
} Path;

/* What is compared of the paths, best first, and the rest in slots; apart, for only the first is moved. */
typedef struct Beam {
    int n;
    int64_t rank[BEAM]; /* chunks, less EQUAL for each equal word; the chunk that is open does not count yet */
    uint32_t distance[BEAM];
    int slot[BEAM];
    Path *path;     /* [BEAM] */
    uint64_t *used; /* [BEAM][used_words] */
} Beam;

typedef struct Search {
    const MeteorWord *said, *truth;
    int n_truth;
    MeteorMatches matches;
    Path *trail;       /* [1 + words that branch][BEAM] */
    size_t used_words; /* 64-bit words of a path's used bits, one bit for each word said */
    Beam beam[2], *now, *next;
} Search;

/* Is this before path i, which was queued first? */
static inline bool is_better(int64_t rank, uint32_t distance, const Beam *b, int i)
{
    return rank - ((int32_t)(distance - b->distance[i]) < 0) < b->rank[i];
}

/* Into the first i paths, over the one after them. */
static inline void insert(Beam *b, int i, int64_t rank, uint32_t distance, int slot)
{
    for (; i > 0 && is_better(rank, distance, b, i - 1); i--) {
        b->rank[i] = b->rank[i - 1];
        b->distance[i] = b->distance[i - 1];
        b->slot[i] = b->slot[i - 1];
    }
    b->rank[i] = rank;
    b->distance[i] = distance;
    b->slot[i] = slot;
}

/* Queues a path for the next word, if it is of the best BEAM. */
static inline void queue(Beam *b, int64_t rank, uint32_t distance, Path p)
{
    bool full = b->n == BEAM;
    if (full && !is_better(rank, distance, b, BEAM - 1)) return;
    int last = full ? BEAM - 1 : b->n++, slot = full ? b->slot[last] : last;
    insert(b, last, rank, distance, slot);
    b->path[slot] = p;
}

static uint32_t distance(int j, const MeteorMatch *m) { return (uint32_t)abs(j - m->at); }

/* The rank with one more match; closed is the one with the open chunk counted. */
static inline int64_t match(int64_t rank, int64_t closed, int last_end, MeteorMatch m)
{
    return (m.at == last_end ? rank : closed) - (m.module == METEOR_EXACT ? EQUAL : 0);
}

/* The queued paths become the paths. */
static void advance(Search *s)
{
    Beam *now = s->next, *before = s->now;
    for (int i = 0; i < now->n; i++) {
        const Path *p = &now->path[i];
        uint64_t *used = now->used + (size_t)i * s->used_words;
        const uint64_t *from = before->used + (size_t)p->parent * s->used_words;
        for (size_t k = 0; k < s->used_words; k++) used[k] = from[k];
        int at = p->last_end - 1;
        if (p->taken >= 0) used[at / 64] |= (uint64_t)1 << at % 64;
    }
    s->now = now;
    s->next = before;
    before->n = 0;
    before->path = now->path + BEAM;
}

static bool is_branch(const Search *s, int j) { return s->matches.word[j].n && !s->matches.word[j].sure; }

static inline bool is_used(const uint64_t *used, uint32_t at) { return used[at / 64] >> at % 64 & 1; }

static void branch(Search *s, int j)
{
    const Beam *b = s->now;
    Beam *next = s->next;
    int first = s->matches.word[j].first, end = first + s->matches.word[j].n;
    for (int i = 0; i < b->n; i++) {
        int64_t rank = b->rank[i];
        if (next->n == BEAM && rank - EQUAL > next->rank[BEAM - 1]) break; /* and so are all after it */
        int slot = b->slot[i], last_end = b->path[slot].last_end;
        uint32_t sum = b->distance[i];
        int64_t closed = rank + (last_end != -1);
        const uint64_t *used = b->used + (size_t)slot * s->used_words;
        for (int k = first; k < end; k++) {
            MeteorMatch m = s->matches.match[k];
            if (is_used(used, (uint32_t)m.at)) continue;
            queue(next, match(rank, closed, last_end, m), sum, (Path){m.at + 1, slot, k});
            sum += distance(j, &m);
        }
        queue(next, closed, sum, (Path){-1, slot, -1});
    }
    advance(s);
}

/* A word that is matched beforehand, or that matches nothing: the paths stay, their order may not. */
static void go_on(Search *s, int j)
{
    const MeteorMatch *m = s->matches.word[j].sure ? s->matches.match + s->matches.word[j].first : NULL;
    Beam *b = s->now;
    for (int i = 0; i < b->n; i++) {
        int slot = b->slot[i], *last_end = &b->path[slot].last_end;
        int64_t closed = b->rank[i] + (*last_end != -1);
        if (m)
            insert(b, i, match(b->rank[i], closed, *last_end, *m), b->distance[i] + distance(j, m), slot);
        else
            insert(b, i, closed, b->distance[i], slot);
        *last_end = m ? m->at + 1 : -1;
    }
}

/* The best of the paths through all words, all chunks closed. */
static int search(Search *s)
{
    Beam *b = s->now;
    b->path[0].last_end = -1;
    b->n = 1;
    for (int j = 0; j < s->n_truth; j++) {
        if (is_branch(s, j))
            branch(s, j);
        else
            go_on(s, j);
        b = s->now;
    }
    int best = 0;
    for (int i = 0; i < b->n; i++) {
        b->rank[i] += b->path[b->slot[i]].last_end != -1;
        if (is_better(b->rank[i], b->distance[i], b, best)) best = i;
    }
    return best;
}

/* What the best path matched, from its end. */
static void count(const Search *s, int best, MeteorStats *out)
{
    int slot = s->now->slot[best];
    const Path *paths = s->now->path;
    for (int j = s->n_truth - 1; j >= 0; j--) {
        int taken = s->matches.word[j].sure ? s->matches.word[j].first : -1;
        if (is_branch(s, j)) {
            taken = paths[slot].taken;
            slot = paths[slot].parent;
            paths -= BEAM;
        }
        if (taken < 0) continue;
        const MeteorMatch *m = &s->matches.match[taken];
        out->matched[m->module]++;
        out->matched_function[m->module][0] += s->said[m->at].function;
        out->matched_function[m->module][1] += s->truth[j].function;
    }
    out->chunks = (uint32_t)s->now->rank[best];
}

bool meteor_align(const MeteorWord *said, int n_said, const MeteorWord *truth, int n_truth, MeteorStats *out,
                  Error *e)
{
    Search *s = calloc(1, sizeof *s);
    bool ok = s && meteor_matches_find(said, n_said, truth, n_truth, &s->matches);
    if (ok) {
        s->said = said;
        s->truth = truth;
        s->n_truth = n_truth;
        s->used_words = (size_t)n_said / 64 + 1;
        s->now = &s->beam[0];
        s->next = &s->beam[1];
        for (int i = 0; i < 2; i++) s->beam[i].used = calloc(BEAM * s->used_words, sizeof *s->beam[i].used);
        s->trail = malloc(((size_t)n_truth + 2) * BEAM * sizeof *s->trail);
        ok = s->trail && s->beam[0].used && s->beam[1].used;
    }
    if (ok) {
        s->now->path = s->trail;
        s->next->path = s->trail + BEAM;
        count(s, search(s), out);
    }
    if (s) {
        meteor_matches_free(&s->matches);
        free(s->trail);
        free(s->beam[0].used);
        free(s->beam[1].used);
        free(s);
    }
    if (!ok) return error_set(e, ERROR_MEMORY, "no memory to align texts of %d and %d words", n_said, n_truth);
    return true;
}
