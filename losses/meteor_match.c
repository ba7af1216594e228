#include "losses/meteor_match.h"
#include "losses/meteor_pairs.h"
#include <stdlib.h>
#include <string.h>

enum {
    SYNONYMS = sizeof meteor_synonyms / sizeof *meteor_synonyms,
    PARAPHRASES = sizeof meteor_paraphrases / sizeof *meteor_paraphrases
};

typedef struct Place {
    uint32_t key;
    int32_t at;
} Place;

typedef struct Finder {
    const MeteorWord *said, *truth;
    int n_said, n_truth;
    Place *said_places, *truth_places; /* sorted by key, then place */
    uint8_t *covered;                  /* how many matches a word said is in: 0, 1, 2 or more */
    bool pairs;                        /* are there words that may be in meteor_pairs.h on both sides? */
    uint32_t synonym[SYNONYMS][2], paraphrase[PARAPHRASES][2]; /* keys, if so */
    MeteorMatch *match;
    size_t n, room;
} Finder;

static int compare_places(const void *a, const void *b)
{
    const Place *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

static Place *sort_places(const MeteorWord *words, int n)
{
    Place *p = malloc(((size_t)n + 1) * sizeof *p);
    for (int i = 0; p && i < n; i++) p[i] = (Place){words[i].key, i};
    if (p && n > 1) qsort(p, (size_t)n, sizeof *p, compare_places);
    return p;
}

/* First of n sorted places whose key is at least this. */
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

static bool add(Finder *f, int32_t at, int32_t module)
{
    if (f->n == f->room) {
        size_t room = f->room ? 2 * f->room : 256;
        MeteorMatch *match = room <= INT32_MAX ? realloc(f->match, room * sizeof *match) : NULL;
        if (!match) return false;
        f->match = match;
        f->room = room;
    }
    f->match[f->n++] = (MeteorMatch){at, module};
    return true;
}

/* Every place of a key. */
static bool add_places(Finder *f, uint32_t key, int32_t module)
{
    bool ok = true;
    for (int i = first_of(f->said_places, f->n_said, key); ok && i < f->n_said && f->said_places[i].key == key;
         i++)
        ok = add(f, f->said_places[i].at, module);
    return ok;
}

/* Matches of a word that is not equal but in a pair; place by place where the jar goes so. */
static bool add_pairs(Finder *f, uint32_t key)
{
    bool ok = true;
    for (int i = 0; ok && i < f->n_said; i++)
        for (int k = 0; ok && f->said[i].small && k < SYNONYMS; k++)
            for (int side = 0; ok && side < 2; side++)
                if (f->synonym[k][side] == key && f->synonym[k][!side] == f->said[i].key)
                    ok = add(f, i, METEOR_SYNONYM);
    for (int k = 0; ok && k < PARAPHRASES; k++)
        if (f->paraphrase[k][0] == key) ok = add_places(f, f->paraphrase[k][1], METEOR_PARAPHRASE);
    for (int i = 0; ok && i < f->n_said; i++)
        for (int k = 0; ok && f->said[i].small && k < PARAPHRASES; k++)
            if (f->paraphrase[k][1] == key && f->paraphrase[k][0] == f->said[i].key)
                ok = add(f, i, METEOR_PARAPHRASE);
    return ok;
}

static bool has_small(const MeteorWord *words, int n)
{
    for (int i = 0; i < n; i++)
        if (words[i].small) return true;
    return false;
}

static bool equal(const Finder *f)
{
    bool same = f->n_said == f->n_truth;
    for (int i = 0; same && i < f->n_said; i++) same = f->said[i].key == f->truth[i].key;
    return same;
}

static void set_pairs(Finder *f)
{
    f->pairs = has_small(f->said, f->n_said) && has_small(f->truth, f->n_truth) && !equal(f);
    if (!f->pairs) return;
    for (int side = 0; side < 2; side++) {
        for (int k = 0; k < SYNONYMS; k++) f->synonym[k][side] = meteor_key(meteor_synonyms[k][side]);
        for (int k = 0; k < PARAPHRASES; k++) f->paraphrase[k][side] = meteor_key(meteor_paraphrases[k][side]);
    }
}

/* The matches of each different word of the truth, given to all its places. */
static bool match_words(Finder *f, MeteorMatches *out)
{
    bool ok = true;
    for (int i = 0, end; ok && i < f->n_truth; i = end) {
        uint32_t key = f->truth_places[i].key;
        for (end = i + 1; end < f->n_truth && f->truth_places[end].key == key;) end++;
        size_t first = f->n;
        ok = add_places(f, key, METEOR_EXACT);
        if (f->pairs && f->truth[f->truth_places[i].at].small) ok = ok && add_pairs(f, key);
        for (size_t k = first; ok && k < f->n; k++) {
            uint8_t *covered = &f->covered[f->match[k].at];
            *covered = *covered || end - i > 1 ? 2 : 1;
        }
        for (int k = i; k < end; k++) {
            out->word[f->truth_places[k].at].first = (int32_t)first;
            out->word[f->truth_places[k].at].n = (int32_t)(f->n - first);
        }
    }
    for (int j = 0; ok && j < f->n_truth; j++)
        out->word[j].sure = out->word[j].n == 1 && f->covered[f->match[out->word[j].first].at] == 1;
    return ok;
}

bool meteor_matches_find(const MeteorWord *said, int n_said, const MeteorWord *truth, int n_truth,
                         MeteorMatches *out)
{
    *out = (MeteorMatches){0};
    Finder *f = calloc(1, sizeof *f);
    if (!f) return false;
    f->said = said;
    f->truth = truth;
    f->n_said = n_said;
    f->n_truth = n_truth;
    f->said_places = sort_places(said, n_said);
    f->truth_places = sort_places(truth, n_truth);
    f->covered = calloc((size_t)n_said + 1, sizeof *f->covered);
    out->word = malloc(((size_t)n_truth + 1) * sizeof *out->word);
    bool ok = f->said_places && f->truth_places && f->covered && out->word;
    if (ok) set_pairs(f);
    ok = ok && match_words(f, out);
    out->match = f->match;
    free(f->said_places);
    free(f->truth_places);
    free(f->covered);
    free(f);
    return ok;
}

void meteor_matches_free(MeteorMatches *m)
{
    free(m->match);
    free(m->word);
    *m = (MeteorMatches){0};
}
