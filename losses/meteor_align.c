/* The truth's word j can match every word of the text said with its key. Words that stand once in either text
 * are matched beforehand; the others branch the search: a path for each place that it has not used, in their
 * order, and one that leaves word j out.
 *
 * The jar's distance is not what its name says and decides ties: a path that branches at j is charged the
 * distances of ALL places it may use, and the path for a place those of the places before it. It wraps at 32
 * bits, and differences are compared, as there. */
#include "losses/meteor_align.h"
#include <stdlib.h>
#include <string.h>

enum { BEAM = 40 };

/* The places of the text said that hold one word of the truth, in order[first..end). */
typedef struct Places {
    int first, end;
    bool sure; /* one place, and once in the truth: matched beforehand */
} Places;

typedef struct Path {
    int matched, function[2], chunks, last_end; /* last_end: place after the last match, -1 after a gap */
    uint32_t distance;
    int parent, taken; /* index among the paths before; index into order or -1 */
} Path;

typedef struct Search {
    const MeteorWord *said, *truth;
    int n_said, n_truth;
    int *order;          /* places of the text said, sorted by key, then place */
    Places *places;      /* of each word of the truth */
    size_t used_words;   /* 64-bit words of a path's used bits, one bit for each element of order */
    uint64_t *used[2];   /* [BEAM][used_words], of the paths and of the next ones */
    Path path[2][BEAM];  /* sorted */
    int n, n_next, side; /* paths there and to come; path[side] is there, path[!side] to come */
} Search;

typedef struct Place {
    uint32_t key;
    int at;
} Place;

static int compare_places(const void *a, const void *b)
{
    const Place *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

/* First element of sorted[0..n) with at least this key. */
static int first_of(const Place *sorted, int n, uint32_t key)
{
    int low = 0, high = n;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (sorted[middle].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static Place *sort_places(const MeteorWord *words, int n)
{
    Place *p = malloc(((size_t)n + 1) * sizeof *p);
    for (int i = 0; p && i < n; i++) p[i] = (Place){words[i].key, i};
    if (p && n > 1) qsort(p, (size_t)n, sizeof *p, compare_places);
    return p;
}

static bool find_places(Search *s)
{
    Place *said = sort_places(s->said, s->n_said), *truth = sort_places(s->truth, s->n_truth);
    bool ok = said && truth;
    for (int i = 0; ok && i < s->n_said; i++) s->order[i] = said[i].at;
    for (int i = 0, end, at; ok && i < s->n_truth; i = end) {
        uint32_t key = truth[i].key;
        for (end = i + 1; end < s->n_truth && truth[end].key == key;) end++;
        at = first_of(said, s->n_said, key);
        Places p = {at, at, false};
        while (p.end < s->n_said && said[p.end].key == key) p.end++;
        p.sure = p.end == p.first + 1 && end == i + 1;
        for (int k = i; k < end; k++) s->places[truth[k].at] = p;
    }
    free(said);
    free(truth);
    return ok;
}

/* Is x before y, both new and x after y in the queue? */
static bool is_better(const Path *x, const Path *y)
{
    if (x->matched != y->matched) return x->matched > y->matched;
    if (x->chunks != y->chunks) return x->chunks < y->chunks;
    return (int32_t)(x->distance - y->distance) < 0;
}

/* Queues a path for the next word, the best BEAM kept in order. */
static void queue(Search *s, Path p)
{
    Path *next = s->path[!s->side];
    int i = s->n_next;
    if (i == BEAM) {
        if (!is_better(&p, &next[BEAM - 1])) return;
        i--;
    } else {
        s->n_next++;
    }
    for (; i > 0 && is_better(&p, &next[i - 1]); i--) next[i] = next[i - 1];
    next[i] = p;
}

static Path matched(const Search *s, Path p, int j, int place)
{
    p.matched++;
    p.function[0] += s->said[place].function;
    p.function[1] += s->truth[j].function;
    p.chunks += p.last_end != -1 && place != p.last_end;
    p.last_end = place + 1;
    return p;
}

static uint32_t distance(int a, int b) { return (uint32_t)(a < b ? b - a : a - b); }

static void branch(Search *s, int j)
{
    const Places *places = &s->places[j];
    for (int rank = 0; rank < s->n; rank++) {
        Path p = s->path[s->side][rank];
        const uint64_t *used = s->used[s->side] + (size_t)rank * s->used_words;
        p.parent = rank;
        for (int k = places->first; k < places->end; k++) {
            if (used[k / 64] >> k % 64 & 1) continue;
            p.taken = k;
            queue(s, matched(s, p, j, s->order[k]));
            p.distance += distance(j, s->order[k]);
        }
        p.chunks += p.last_end != -1;
        p.last_end = -1;
        p.taken = -1;
        queue(s, p);
    }
}

/* A word that is matched beforehand, or that matches nothing. */
static void go_on(Search *s, int j)
{
    for (int rank = 0; rank < s->n; rank++) {
        Path p = s->path[s->side][rank];
        p.parent = rank;
        p.taken = -1;
        if (s->places[j].sure) {
            int place = s->order[s->places[j].first];
            p = matched(s, p, j, place);
            p.distance += distance(j, place);
        } else {
            p.chunks += p.last_end != -1;
            p.last_end = -1;
        }
        queue(s, p);
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
        const Places *p = &s->places[j];
        if (p->sure || p->first == p->end)
            go_on(s, j);
        else
            branch(s, j);
        advance(s);
    }
    const Path *best = NULL;
    for (int i = 0; i < s->n; i++) {
        Path *p = &s->path[s->side][i];
        p->chunks += p->last_end != -1; /* the chunk still open */
        if (!best || is_better(p, best)) best = p;
    }
    return best;
}

bool meteor_align(const MeteorWord *said, int n_said, const MeteorWord *truth, int n_truth, MeteorStats *out,
                  Error *e)
{
    Search *s = calloc(1, sizeof *s);
    bool ok = s != NULL;
    if (ok) {
        s->said = said;
        s->truth = truth;
        s->n_said = n_said;
        s->n_truth = n_truth;
        s->used_words = (size_t)n_said / 64 + 1;
        s->order = malloc(((size_t)n_said + 1) * sizeof *s->order);
        s->places = malloc(((size_t)n_truth + 1) * sizeof *s->places);
        for (int i = 0; i < 2; i++) s->used[i] = calloc(BEAM * s->used_words, sizeof **s->used);
        ok = s->order && s->places && s->used[0] && s->used[1] && find_places(s);
    }
    if (ok) {
        const Path *best = search(s);
        out->matched[0] = out->matched[1] = best->matched;
        out->matched_function[0] = best->function[0];
        out->matched_function[1] = best->function[1];
        out->chunks = best->chunks;
    }
    if (s) {
        free(s->order);
        free(s->places);
        free(s->used[0]);
        free(s->used[1]);
        free(s);
    }
    if (!ok) return error_set(e, ERROR_MEMORY, "no memory to align texts of %d and %d words", n_said, n_truth);
    return true;
}
