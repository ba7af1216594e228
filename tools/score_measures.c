#include "tools/score_measures.h"
#include "tensor/rng.h"
#include <stdlib.h>

static const struct {
    const char *key, *name;
} measures[MEASURE_COUNT] = {
#define MEASURE(id, key, name, value) {key, name},
#include "tools/score_measures.def"
};
const char *measure_key(int measure) { return measures[measure].key; }
const char *measure_name(int measure) { return measures[measure].name; }

bool measure_there(const ClinicalLists *l, int measure)
{
    return l->k[LIST_KEYWORDS] || measure < MEASURE_KEYWORDS_MICRO || measure > MEASURE_KEYWORDS_EXAMPLE;
}

/* Where what stands in a study's row. */
typedef struct Row {
    const MeasureInput *in;
    int list[LIST_COUNT], tuples, width;
} Row;

static Row plan_row(const MeasureInput *in)
{
    Row r = {.in = in, .width = TEXT_SUMS};
    for (int i = 0; i < LIST_COUNT; i++) {
        r.list[i] = r.width;
        r.width += in->lists->k[i] ? LABEL_SUMS(in->lists->k[i]) : 0;
    }
    r.tuples = r.width;
    r.width += TUPLE_SUMS(in->table->n_findings);
    return r;
}

static void write_row(const Row *r, int i, double *row)
{
    const MeasureInput *in = r->in;
    const ClinicalLists *l = in->lists;
    size_t at = (size_t)i * (size_t)l->width;
    for (int j = 0; j < TEXT_SUMS; j++) row[j] = in->text[(size_t)i * TEXT_SUMS + (size_t)j];
    for (int j = 0; j < LIST_COUNT; j++)
        if (l->k[j])
            labels_row(in->truth + at + l->first[j], in->said + at + l->first[j], l->k[j], row + r->list[j]);
    tuples_row(in->table, &in->tuples[i], row + r->tuples);
}

struct Sums {
    TextScore text;
    LabelScores list[LIST_COUNT];
    TupleScores tuples;
};

static void read_sums(const Row *r, const double *sum, struct Sums *s, LabelScore *label)
{
    const ClinicalLists *l = r->in->lists;
    text_from_sums(sum, &s->text);
    for (int j = 0; j < LIST_COUNT; j++) {
        s->list[j] = (LabelScores){0};
        if (l->k[j])
            labels_from_sums(sum + r->list[j], l->k[j], &s->list[j], label ? label + l->first[j] : NULL);
    }
    tuples_from_sums(r->in->table, sum + r->tuples, &s->tuples);
}

static void score(const void *context, const double *sum, double *out)
{
    const Row *r = context;
    struct Sums sums, *s = &sums;
    read_sums(r, sum, s, NULL);
#define MEASURE(id, key, name, value) out[MEASURE_##id] = value;
#include "tools/score_measures.def"
    for (int j = 0; j < MEASURE_COUNT; j++)
        if (!measure_there(r->in->lists, j)) out[j] = NAN;
}

/* group[i] of each of n studies: as many of one group as of any other, or one more. */
static int *deal_groups(int n, int groups, uint64_t seed)
{
    Rng rng = rng_open(seed, "groups of studies");
    int *group = calloc((size_t)n + 1, sizeof *group);
    for (int i = 0; group && i < n; i++) {
        int k = groups < n ? (int)rng_below(&rng, i + 1) : i;
        group[i] = group[k];
        group[k] = i % groups;
    }
    return group;
}

/* The rows of studies, or of groups of them where there are many: (n + 1, width), the last their sum. */
static double *make_rows(const Row *r, int n, uint64_t seed)
{
    size_t width = (size_t)r->width;
    double *rows = calloc(((size_t)n + 2) * width, sizeof *rows), *sum = rows + (size_t)n * width,
           *one = sum + width;
    int *group = deal_groups(r->in->n, n > 0 ? n : 1, seed);
    for (int i = 0; rows && group && i < r->in->n; i++) {
        double *row = rows + (size_t)group[i] * width;
        write_row(r, i, one);
        for (size_t j = 0; j < width; j++) {
            row[j] += one[j];
            sum[j] += one[j];
        }
    }
    bool ok = rows && group;
    free(group);
    if (ok) return rows;
    free(rows);
    return NULL;
}

bool measures_take(const MeasureInput *in, int repeats, uint64_t seed, Measures *out, Error *e)
{
    Row r = plan_row(in);
    int n = in->n < MEASURE_GROUPS ? in->n : MEASURE_GROUPS;
    double *rows = make_rows(&r, n, seed), *room = calloc((size_t)repeats, sizeof *room);
    *out = (Measures){.label = calloc((size_t)in->lists->width, sizeof *out->label),
                      .resampled = calloc(MEASURE_COUNT * (size_t)repeats, sizeof *out->resampled)};
    bool ok = rows && room && out->label && out->resampled;
    if (!ok) error_set(e, ERROR_MEMORY, "no memory to resample the scores of %d studies", in->n);
    if (ok) {
        struct Sums s;
        read_sums(&r, rows + (size_t)n * (size_t)r.width, &s, out->label);
        for (int j = 0; j < LIST_COUNT; j++) out->list[j] = s.list[j];
    }
    ok = ok && bootstrap_scores(rows, n, r.width, score, &r, MEASURE_COUNT, repeats, seed, out->value,
                                out->resampled, e);
    for (int j = 0; ok && j < MEASURE_COUNT; j++)
        out->interval[j] = bootstrap_interval(out->resampled + (size_t)j * (size_t)repeats, repeats, room);
    free(rows);
    free(room);
    if (!ok) measures_free(out);
    return ok;
}

void measures_free(Measures *m)
{
    free(m->label);
    free(m->resampled);
    m->label = NULL;
    m->resampled = NULL;
}

bool measures_compare(const Measures *a, const Measures *b, int repeats, PairedTest out[MEASURE_COUNT],
                      Error *e)
{
    double *room = calloc(2 * (size_t)repeats, sizeof *room);
    if (!room) return error_set(e, ERROR_MEMORY, "no memory to compare %d resamples", repeats);
    for (int j = 0; j < MEASURE_COUNT; j++) {
        size_t at = (size_t)j * (size_t)repeats;
        out[j] =
            bootstrap_paired(a->resampled + at, b->resampled + at, a->value[j], b->value[j], repeats, room);
    }
    free(room);
    return true;
}
