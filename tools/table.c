#include "tools/table.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const TableRow rows[TABLE_ROWS] = {
    {"baseline", "baseline", "paper", "baseline", "-", "-"},
    {"a", "a", "paper", "a", "S", "-"},
    {"b", "b", "paper", "b", "E", "LLaMA"},
    {"c", "c", "paper", "c", "T", "LLaMA"},
    {"d", "d", "paper", "d", "S E", "LLaMA"},
    {"e", "e", "paper", "e", "S E T", "BERT"},
    {"ours", "ours", "paper", "ours (paper)", "S E T", "LLaMA"},
    {"ours-release", "ours", "release", "ours (release)", "S E T", "LLaMA"},
};
const TableRow *table_row(int row) { return &rows[row]; }

static const TableMetric metrics[TABLE_METRICS] = {
    [METRIC_LESION] = {"lesion_f1", "lesion F1", "lesion/f1", false, true},
    [METRIC_MACRO] = {"macro_f1", "macro F1", "lesion/macro_f1", false, true},
    [METRIC_FOCAL] = {"focal_f1", "focal F1", "lesion/focal/f1", false, true},
    [METRIC_SIDE] = {"side", "side", "lesion/side", false, true},
    [METRIC_HELD_OUT] = {"held_out_f1", "held-out F1", "findings", true, true},
    [METRIC_MENTION] = {"mention_f1", "mention F1", "clinical/mention/micro/f1", false, true},
    [METRIC_FINDING] = {"finding_f1", "finding F1", "clinical/finding/micro/f1", false, true},
    [METRIC_BLEU4] = {"bleu_4", "BLEU-4", "BLEU-4", false, false},
    [METRIC_METEOR] = {"meteor", "METEOR", "METEOR", false, false},
    [METRIC_ROUGE] = {"rouge_l", "ROUGE-L", "ROUGE-L", false, false},
    [METRIC_CIDER] = {"cider", "CIDEr", "CIDEr", false, false},
};
const TableMetric *table_metric(int metric) { return &metrics[metric]; }

static const TablePair pairs[TABLE_PAIRS] = {
    {ROW_A, ROW_BASELINE, "segmentation"},  {ROW_B, ROW_BASELINE, "entities"},
    {ROW_C, ROW_BASELINE, "themes"},        {ROW_D, ROW_BASELINE, "segmentation, entities"},
    {ROW_OURS, ROW_BASELINE, "all, paper"}, {ROW_RELEASE, ROW_BASELINE, "all, release"},
    {ROW_OURS, ROW_D, "themes, beside d"},  {ROW_OURS, ROW_E, "LLaMA for BERT"},
    {ROW_E, ROW_BASELINE, "all, BERT"},
};
const TablePair *table_pair(int pair) { return &pairs[pair]; }

bool table_number(const json_t *o, const char *path, const char *what, double most, double *out, Error *e)
{
    char key[64], where[512];
    snprintf(where, sizeof where, "%s", what);
    for (const char *p = path, *slash; (slash = strchr(p, '/')); p = path = slash + 1) {
        json_t *next;
        snprintf(key, sizeof key, "%.*s", (int)(slash - p), p);
        if (!json_get_object(o, key, where, &next, e)) return false;
        size_t used = strlen(where);
        snprintf(where + used, sizeof where - used, ": %s", key);
        o = next;
    }
    *out = NAN;
    if (json_is_null(json_object_get(o, path))) return true;
    if (!json_get_number(o, path, where, out, e)) return false;
    return (*out >= 0 && *out <= most) ||
           error_set(e, ERROR_INPUT, "%s: key \"%s\": expected a number from 0 to %g, found %g", where, path,
                     most, *out);
}

static const json_t *find_system(const json_t *scores, const char *name)
{
    size_t i;
    const json_t *one;
    json_array_foreach(json_object_get(scores, "systems"), i, one)
    {
        const char *text = json_string_value(json_object_get(one, "name"));
        if (text && !strcmp(text, name)) return one;
    }
    return NULL;
}

/* Adds the counts of one finding on one side. */
static bool add_side(const json_t *finding, Side side, const char *what, TableCounts *out, Error *e)
{
    json_t *sides, *one;
    int64_t right, said, truth;
    if (!json_get_object(finding, "sides", what, &sides, e) ||
        !json_get_object(sides, side_name(side), what, &one, e) ||
        !json_get_int(one, "right", what, &right, e) || !json_get_int(one, "said", what, &said, e) ||
        !json_get_int(one, "truth", what, &truth, e))
        return false;
    if (right < 0 || right > said || right > truth || said > INT32_MAX || truth > INT32_MAX)
        return error_set(e, ERROR_INPUT, "%s: %s: %lld right of %lld said and %lld true", what, side_name(side),
                         (long long)right, (long long)said, (long long)truth);
    out->right += right, out->said += said, out->truth += truth;
    return true;
}

bool table_held_out(const json_t *system, const char *what, bool mirrored, TableCounts *out, Error *e)
{
    json_t *list;
    size_t i;
    const json_t *one;
    *out = (TableCounts){0};
    if (!json_get_array(system, "findings", what, &list, e)) return false;
    json_array_foreach(list, i, one)
    {
        const char *entity, *density;
        char where[512];
        if (!json_get_string(one, "entity", what, &entity, e) ||
            !json_get_string(one, "density", what, &density, e))
            return false;
        int e_index = entity_from_name(entity), d_index = density_from_name(density);
        int finding = e_index < 0 || d_index < 0 ? -1 : finding_index((Entity)e_index, (Density)d_index);
        snprintf(where, sizeof where, "%s: findings: %.30s %.30s", what, entity, density);
        for (Side side = SIDE_LEFT; finding >= 0 && side <= SIDE_RIGHT; side++)
            if (finding_held_out(finding, mirrored ? side_mirror(side) : side) &&
                !add_side(one, side, where, out, e))
                return false;
    }
    return out->truth > 0 || mirrored ||
           error_set(e, ERROR_INPUT, "%s: findings: none is true of those that are held out", what);
}

/* The held-out F1 of a system; NaN where only the other studies have it. */
static bool read_held_out(const TableRun *r, const json_t *held_out, const char *system, double *out, Error *e)
{
    char what[400];
    TableCounts c;
    const json_t *one = find_system(held_out, system);
    snprintf(what, sizeof what, "%s: held_out: %s", r->path, system);
    *out = NAN;
    if (!one)
        return strcmp(system, "model")
                   ? true
                   : error_set(e, ERROR_INPUT, "%s: held_out: \"systems\" has no \"model\"", r->path);
    if (!table_held_out(one, what, false, &c, e)) return false;
    *out = 2 * (double)c.right / (double)(c.said + c.truth);
    return true;
}

static bool read_values(TableRun *r, const json_t *scores, const json_t *held_out, const Table *t, Error *e)
{
    Estimate lesion;
    if (!table_estimate(scores, "lesion/f1", r->path, &lesion, e)) return false;
    r->noise = table_sd(&lesion);
    for (int s = 0; s < t->n_systems; s++) {
        const char *name = t->system[s];
        json_t *controls, *o = (json_t *)(uintptr_t)scores;
        char what[400];
        snprintf(what, sizeof what, "%s: scores%s%s", r->path, s ? ": controls: " : "", s ? name : "");
        if (s && (!json_get_object(scores, "controls", what, &controls, e) ||
                  !json_get_object(controls, name, what, &o, e)))
            return false;
        for (int m = 0; m < TABLE_METRICS; m++)
            if (!(metrics[m].held_out
                      ? read_held_out(r, held_out, name, &r->value[s][m], e)
                      : table_number(o, metrics[m].path, what, m == METRIC_CIDER ? 10 : 1, &r->value[s][m], e)))
                return false;
    }
    return true;
}

/* The controls' names and how texts are cut; the first file's are the table's. */
static bool read_systems(const TableRun *r, const json_t *scores, Table *t, Error *e)
{
    json_t *controls, *settings, *one;
    const char *split, *name;
    bool first = !t->n_systems;
    if (!json_get_object(scores, "controls", r->path, &controls, e) ||
        !json_get_object(scores, "settings", r->path, &settings, e) ||
        !json_get_string(settings, "split", r->path, &split, e))
        return false;
    size_t n = 1 + json_object_size(controls);
    if (n > TABLE_SYSTEMS)
        return error_set(e, ERROR_INPUT, "%s: %zu controls, expected at most %d", r->path, n - 1,
                         TABLE_SYSTEMS - 1);
    if (!first && (int)n != t->n_systems)
        return error_set(e, ERROR_INPUT, "%s: %zu controls, expected %d as in %s", r->path, n - 1,
                         t->n_systems - 1, t->run[0].path);
    if (!first && strcmp(split, t->split))
        return error_set(e, ERROR_INPUT, "%s: texts cut by %.60s, expected %s as in %s", r->path, split,
                         t->split, t->run[0].path);
    for (int i = 1; !first && i < t->n_systems; i++)
        if (!json_object_get(controls, t->system[i]))
            return error_set(e, ERROR_INPUT, "%s: no control \"%s\", which %s has", r->path, t->system[i],
                             t->run[0].path);
    if (!first) return true;
    if (snprintf(t->split, sizeof t->split, "%s", split) >= (int)sizeof t->split)
        return error_set(e, ERROR_INPUT, "%s: split \"%.60s...\": the name is too long", r->path, split);
    snprintf(t->system[t->n_systems++], sizeof t->system[0], "model");
    json_object_foreach(
        controls, name,
        one) if (snprintf(t->system[t->n_systems++], sizeof t->system[0], "%s", name) >=
                 (int)sizeof t->system[0]) return error_set(e, ERROR_INPUT,
                                                            "%s: control \"%.60s...\": the name is too long",
                                                            r->path, name);
    return true;
}

static bool find_row(TableRun *r, const char *row, const char *preset, Error *e)
{
    for (r->row = 0; r->row < TABLE_ROWS; r->row++)
        if (!strcmp(rows[r->row].row, row) && !strcmp(rows[r->row].preset, preset)) return true;
    return error_set(e, ERROR_INPUT,
                     "%s: no row \"%.40s\" of preset \"%.40s\": expected baseline, a, b, c, d, e or ours of "
                     "preset paper, or "
                     "ours of preset release",
                     r->path, row, preset);
}

static bool read_run(const char *path, Table *t, Error *e)
{
    TableRun *r = &t->run[t->n];
    const char *row, *preset, *commit;
    json_t *scores, *held_out, *train;
    if (snprintf(r->path, sizeof r->path, "%s", path) >= (int)sizeof r->path)
        return error_set(e, ERROR_INPUT, "%.100s...: path too long", path);
    if (!(r->json = json_read(path, e))) return false;
    t->n++; /* from here on table_free has it */
    bool ok = json_get_string(r->json, "row", path, &row, e) &&
              json_get_string(r->json, "preset", path, &preset, e) && find_row(r, row, preset, e) &&
              json_get_int(r->json, "seed", path, &r->seed, e) &&
              json_get_string(r->json, "commit", path, &commit, e) &&
              json_get_number(r->json, "seconds", path, &r->seconds, e) &&
              json_get_object(r->json, "train", path, &train, e) &&
              json_get_object(r->json, "scores", path, &scores, e) &&
              json_get_object(r->json, "held_out", path, &held_out, e) &&
              json_get_int(scores, "studies", path, &r->studies, e) &&
              json_get_int(held_out, "studies", path, &r->held_out_studies, e) && read_systems(r, scores, t, e);
    if (!ok) return false;
    if (r->seconds < 0) return error_set(e, ERROR_INPUT, "%s: %g seconds", path, r->seconds);
    if (snprintf(r->commit, sizeof r->commit, "%s", commit) >= (int)sizeof r->commit)
        return error_set(e, ERROR_INPUT, "%s: commit '%.80s...' is too long", path, commit);
    return read_values(r, scores, held_out, t, e);
}

static int compare_runs(const void *a, const void *b)
{
    const TableRun *x = a, *y = b;
    if (x->row != y->row) return x->row - y->row;
    return (x->seed > y->seed) - (x->seed < y->seed);
}

bool table_read(const char *const *path, int n, Table *out, Error *e)
{
    Table t = {.run = calloc((size_t)n + 1, sizeof *t.run)};
    bool ok = t.run || error_set(e, ERROR_MEMORY, "no memory for %d results", n);
    for (int i = 0; ok && i < n; i++) ok = read_run(path[i], &t, e);
    if (ok) qsort(t.run, (size_t)t.n, sizeof *t.run, compare_runs);
    for (int i = 1; ok && i < t.n; i++)
        if (!compare_runs(&t.run[i - 1], &t.run[i]))
            ok = error_set(e, ERROR_INPUT, "%s and %s: both are row %s with seed %lld", t.run[i - 1].path,
                           t.run[i].path, rows[t.run[i].row].name, (long long)t.run[i].seed);
    if (ok)
        *out = t;
    else
        table_free(&t);
    return ok;
}

void table_free(Table *t)
{
    for (int i = 0; i < t->n; i++) json_decref(t->run[i].json);
    free(t->run);
    *t = (Table){0};
}

static void add(TableRange *r, double x)
{
    if (isnan(x)) return;
    if (!r->n || x < r->min) r->min = x;
    if (!r->n || x > r->max) r->max = x;
    r->mean += (x - r->mean) / ++r->n;
}

static TableRange finish(TableRange r) { return r.n ? r : (TableRange){0, NAN, NAN, NAN}; }

TableRange table_range_of(const double *x, int n)
{
    TableRange r = {0};
    for (int i = 0; i < n; i++) add(&r, x[i]);
    return finish(r);
}

TableRange table_range(const Table *t, int row, int system, int metric)
{
    TableRange r = {0};
    for (int i = 0; i < t->n; i++)
        if (t->run[i].row == row) add(&r, t->run[i].value[system][metric]);
    return finish(r);
}

TableRange table_seconds(const Table *t, int row)
{
    TableRange r = {0};
    for (int i = 0; i < t->n; i++)
        if (t->run[i].row == row) add(&r, t->run[i].seconds);
    return finish(r);
}

int table_runs(const Table *t, int row)
{
    int n = 0;
    for (int i = 0; i < t->n; i++) n += t->run[i].row == row;
    return n;
}

bool table_shared(const Table *t, int system)
{
    for (int m = 0; m < TABLE_METRICS; m++)
        for (int i = 1; i < t->n; i++) {
            double x = t->run[0].value[system][m], y = t->run[i].value[system][m];
            if (x != y && !(isnan(x) && isnan(y))) return false;
        }
    return true;
}

TableRange table_difference(const Table *t, const TablePair *p, int metric)
{
    TableRange r = {0};
    for (int i = 0; i < t->n; i++)
        for (int k = 0; t->run[i].row == p->row && k < t->n; k++)
            if (t->run[k].row == p->against && t->run[k].seed == t->run[i].seed)
                add(&r, t->run[i].value[0][metric] - t->run[k].value[0][metric]);
    return finish(r);
}

double table_noise(const Table *t)
{
    double sum = 0;
    for (int i = 0; i < t->n; i++) sum += t->run[i].noise;
    return t->n ? sum / t->n : 0;
}

const char *table_verdict(const TableRange *d, double noise)
{
    static const char *const few[] = {"-", "one seed", "two seeds"};
    if (d->n < 3) return few[d->n];
    if (d->min > 0 && d->mean > noise) return "helps";
    return d->max < 0 && d->mean < -noise ? "harms" : "does not help";
}
