#include "tools/retrieve.h"
#include "data/rle.h"
#include "data/study.h"
#include "tensor/rng.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool no_memory(int64_t id, Error *e)
{
    return error_set(e, ERROR_MEMORY, "study %" PRId64 ": no memory for its clues", id);
}

/* ---- pictures ---- */

/* The box of a plane's ones, ends behind the last; grown by the margin, inside the plane. */
static void box_of(const uint8_t *plane, int width, int height, int *x0, int *y0, int *x1, int *y1)
{
    *x0 = width, *y0 = height, *x1 = *y1 = 0;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            if (!plane[(size_t)y * (size_t)width + (size_t)x]) continue;
            if (x < *x0) *x0 = x;
            if (y < *y0) *y0 = y;
            if (x >= *x1) *x1 = x + 1;
            if (y >= *y1) *y1 = y + 1;
        }
    int mx = (int)ceil(RETRIEVE_MARGIN * (*x1 - *x0)), my = (int)ceil(RETRIEVE_MARGIN * (*y1 - *y0));
    *x0 = *x0 > mx ? *x0 - mx : 0;
    *y0 = *y0 > my ? *y0 - my : 0;
    *x1 = *x1 + mx < width ? *x1 + mx : width;
    *y1 = *y1 + my < height ? *y1 + my : height;
}

bool retrieve_item(const Gallery *g, const GalleryMask *m, const uint8_t *slice, bool crop, Image *item,
                   Error *e)
{
    size_t n = (size_t)g->width * (size_t)g->height;
    uint8_t *plane = malloc(n);
    if (!plane) return no_memory(g->id, e);
    if (!gallery_mask(g, m, plane, e)) {
        free(plane);
        return false;
    }
    *item = (Image){g->width, g->height, 1, plane};
    if (!crop) {
        for (size_t i = 0; i < n; i++) plane[i] = plane[i] ? slice[i] : 0;
        return true;
    }
    int x0, y0, x1, y1;
    box_of(plane, g->width, g->height, &x0, &y0, &x1, &y1);
    item->width = x1 - x0;
    item->height = y1 - y0;
    for (int y = y0; y < y1; y++)
        memcpy(plane + (size_t)(y - y0) * (size_t)item->width, slice + (size_t)y * (size_t)g->width + x0,
               (size_t)item->width);
    return true;
}

/* ---- candidates ---- */

typedef struct Candidate {
    int slice, mask; /* numbers in the study and in the gallery's slice */
    const GalleryMask *of;
} Candidate;

typedef struct Candidates {
    Candidate *item; /* by slice, then mask */
    int n;
    float *embedding; /* [n][dim]; NULL for the random control */
} Candidates;

/* What the filter leaves of the slices whose layers are asked for. */
static bool find_candidates(const RetrieveOptions *o, const uint8_t *pixel, const Gallery *g, uint8_t layers,
                            Candidates *c, RetrieveCounts *counts, Error *e)
{
    size_t plane = (size_t)g->width * (size_t)g->height, most = 1, all = 1;
    for (int k = 0; k < g->n; k++) {
        size_t n = (size_t)g->slice[k].n;
        all += n;
        most = n > most ? n : most;
    }
    bool *keep = malloc(most * sizeof *keep);
    int64_t left = 0;
    c->item = malloc(all * sizeof *c->item);
    if (!keep || !c->item) {
        free(keep);
        return no_memory(g->id, e);
    }
    for (int k = 0; k < g->n; k++) {
        const GallerySlice *s = &g->slice[k];
        int64_t head = clue_head_pixels(pixel + (size_t)s->slice * plane, plane);
        counts->masks += s->n;
        left += clue_filter_slice(o->filter, g, s, head, keep);
        for (int i = 0; i < s->n; i++)
            if (keep[i] && layers >> (s->slice / 3) & 1)
                c->item[c->n++] = (Candidate){s->slice, i, &s->mask[i]};
    }
    counts->kept += left;
    counts->empty_gallery += !left;
    free(keep);
    return true;
}

static bool embed(const RetrieveModel *m, const RetrieveOptions *o, const uint8_t *pixel, const Gallery *g,
                  Candidates *c, Error *e)
{
    size_t plane = (size_t)g->width * (size_t)g->height;
    Image *item = calloc((size_t)m->batch, sizeof *item);
    c->embedding = malloc(((size_t)c->n * (size_t)m->dim + 1) * sizeof *c->embedding);
    bool ok = (item && c->embedding) || no_memory(g->id, e);
    for (int first = 0; ok && first < c->n; first += m->batch) {
        int n = c->n - first < m->batch ? c->n - first : m->batch, made = 0;
        for (; ok && made < n; made += ok) {
            const Candidate *one = &c->item[first + made];
            ok = retrieve_item(g, one->of, pixel + (size_t)one->slice * plane, o->crop, &item[made], e);
        }
        ok = ok && m->images(m->user, item, n, c->embedding + (size_t)first * (size_t)m->dim, e);
        for (int i = 0; i < made; i++) free(item[i].pixel);
    }
    free(item);
    return ok;
}

/* ---- choices ---- */

/* The candidate in the layers most like the query, or a random one; -1: there is none. */
static bool choose(const RetrieveModel *m, const RetrieveOptions *o, const Gallery *g, const Candidates *c,
                   int entity, const char *text, int *best, double *score, Error *e)
{
    uint8_t layers = clue_layers(o->layers, entity);
    int n = 0;
    *best = -1;
    *score = NAN;
    for (int i = 0; i < c->n; i++) n += layers >> (c->item[i].slice / 3) & 1;
    if (!n) return true;
    if (o->random) {
        char stream[64];
        snprintf(stream, sizeof stream, "retrieve %" PRId64 " %d", g->id, entity);
        Rng r = rng_open(o->seed, stream);
        int at = (int)rng_below(&r, n);
        for (int i = 0; *best < 0; i++)
            if (layers >> (c->item[i].slice / 3) & 1 && !at--) *best = i;
        return true;
    }
    float *query = malloc((size_t)m->dim * sizeof *query);
    char *words = clue_query(entity, text, o->query);
    bool ok = query || no_memory(g->id, e);
    ok = ok && m->text(m->user, words, query, e);
    for (int i = 0; ok && i < c->n; i++) {
        const float *x = c->embedding + (size_t)i * (size_t)m->dim;
        double cosine = 0;
        if (!(layers >> (c->item[i].slice / 3) & 1)) continue;
        for (int k = 0; k < m->dim; k++) cosine += (double)x[k] * (double)query[k];
        if (isnan(cosine))
            ok = error_set(e, ERROR_NUMERIC,
                           "study %" PRId64 ": slice %d, mask %d: an embedding is not a number", g->id,
                           c->item[i].slice, c->item[i].mask);
        if (*best >= 0 && !(cosine > *score)) continue;
        *best = i;
        *score = cosine;
    }
    free(query);
    free(words);
    return ok;
}

static bool add_clue(const RetrieveModel *m, const RetrieveOptions *o, const Gallery *g, const Candidates *c,
                     int entity, const char *text, StudyClues *out, RetrieveCounts *counts, Error *e)
{
    int best;
    double score;
    if (!choose(m, o, g, c, entity, text, &best, &score, e)) return false;
    if (best < 0) {
        counts->no_candidate++;
        return true;
    }
    const Candidate *one = &c->item[best];
    Clue *clue = &out->clue[out->n++];
    *clue = (Clue){entity, strdup(text), one->slice, strdup(one->of->counts), score, one->mask};
    counts->clues++;
    return (clue->text && clue->counts) || no_memory(g->id, e);
}

/* What is said of each entity, NULL: nothing that is asked for. The layers they are in. */
static uint8_t describe(const RetrieveOptions *o, const char *findings, char **text, RetrieveCounts *counts)
{
    uint8_t layers = 0;
    int64_t described = counts->described;
    for (int k = 0; k < clue_entity_count(); k++) {
        text[k] = clue_description(findings, k);
        if (!text[k]) continue;
        counts->described++;
        if (!o->normal && clue_is_normal(text[k])) {
            counts->normal++;
            free(text[k]);
            text[k] = NULL;
            continue;
        }
        layers |= clue_layers(o->layers, k);
    }
    counts->no_entity += counts->described == described;
    return layers;
}

bool retrieve_study(const RetrieveModel *m, const RetrieveOptions *o, int64_t id, const char *findings,
                    const uint8_t *pixel, int width, int height, const Gallery *g, StudyClues *out,
                    RetrieveCounts *counts, Error *e)
{
    int entities = clue_entity_count();
    char **text = calloc((size_t)entities, sizeof *text);
    Candidates c = {0};
    *out = (StudyClues){.id = id, .width = width, .height = height};
    out->clue = calloc((size_t)entities, sizeof *out->clue);
    if (g && (g->width != width || g->height != height)) {
        free(text);
        clues_free_study(out);
        return error_set(e, ERROR_INPUT, "%s: masks of %dx%d, expected %dx%d as the slices of study %" PRId64,
                         g->path ? g->path : "gallery", g->width, g->height, width, height, id);
    }
    bool ok = (text && out->clue) || no_memory(id, e);
    uint8_t layers = ok ? describe(o, findings, text, counts) : 0;
    counts->studies++;
    counts->no_gallery += !g;
    if (g) {
        ok = ok && find_candidates(o, pixel, g, layers, &c, counts, e);
        if (ok && !o->random) {
            counts->embedded += c.n;
            ok = embed(m, o, pixel, g, &c, e);
        }
    }
    for (int k = 0; ok && k < entities; k++) {
        if (!text[k]) continue;
        if (g)
            ok = add_clue(m, o, g, &c, k, text[k], out, counts, e);
        else
            counts->no_candidate++;
    }
    for (int k = 0; text && k < entities; k++) free(text[k]);
    free(text);
    free(c.item);
    free(c.embedding);
    if (!ok) clues_free_study(out);
    return ok;
}
