#include "tools/table.h"
#include <math.h>
#include <string.h>

json_t *table_range_json(const TableRange *r)
{
    if (!r->n) return json_pack("{s:n, s:n, s:n}", "min", "mean", "max");
    return json_pack("{s:f, s:f, s:f}", "min", r->min, "mean", r->mean, "max", r->max);
}

static json_t *system_json(const Table *t, int row, int system)
{
    json_t *o = json_object();
    for (int m = 0; m < TABLE_METRICS; m++) {
        TableRange r = table_range(t, row, system, m);
        json_object_set_new(o, table_metric(m)->key, table_range_json(&r));
    }
    return o;
}

static json_t *row_json(const Table *t, int row)
{
    json_t *seeds = json_array(), *controls = json_object();
    for (int i = 0; i < t->n; i++)
        if (t->run[i].row == row) json_array_append_new(seeds, json_integer(t->run[i].seed));
    for (int s = 1; s < t->n_systems; s++) json_object_set_new(controls, t->system[s], system_json(t, row, s));
    TableRange seconds = table_seconds(t, row);
    return json_pack("{s:o, s:o, s:o, s:o}", "seeds", seeds, "seconds", table_range_json(&seconds), "metrics",
                     system_json(t, row, 0), "controls", controls);
}

static bool has_text(const json_t *list, const char *text)
{
    size_t i;
    const json_t *one;
    json_array_foreach(list, i, one) if (!strcmp(json_string_value(one), text)) return true;
    return false;
}

bool table_write(const char *path, const Table *t, Error *e)
{
    json_t *commits = json_array(), *all = json_object();
    double seconds = 0;
    for (int i = 0; i < t->n; i++) {
        seconds += t->run[i].seconds;
        if (!has_text(commits, t->run[i].commit)) json_array_append_new(commits, json_string(t->run[i].commit));
    }
    for (int row = 0; row < TABLE_ROWS; row++)
        if (table_runs(t, row)) json_object_set_new(all, table_row(row)->key, row_json(t, row));
    json_t *o = json_pack("{s:s, s:i, s:o, s:i, s:f, s:I, s:I, s:o}", "what",
                          "Table 2's ranges over seeds; pcrl-table table2 --write wrote them", "version", 1,
                          "commits", commits, "runs", t->n, "seconds", seconds, "studies",
                          (json_int_t)(t->n ? t->run[0].studies : 0), "held_out_studies",
                          (json_int_t)(t->n ? t->run[0].held_out_studies : 0), "rows", all);
    bool ok = o ? json_write(path, o, e) : error_set(e, ERROR_MEMORY, "%s: no memory for the ranges", path);
    json_decref(o);
    return ok;
}

/* One end of a range; NaN for null. */
static bool read_end(const json_t *range, const char *key, const char *what, double *out, Error *e)
{
    *out = NAN;
    return json_is_null(json_object_get(range, key)) || json_get_number(range, key, what, out, e);
}

enum { TEXT = 32 };
static const char *number(char text[TEXT], double x)
{
    if (isnan(x)) return "-";
    snprintf(text, TEXT, "%.4f", x);
    return text;
}

bool table_compare(TableComparison *c, const json_t *ranges, const char *key, double x, const char *what,
                   const char *label, Error *e)
{
    json_t *range;
    double low, high;
    char text[3][TEXT];
    if (!json_get_object(ranges, key, what, &range, e) || !read_end(range, "min", what, &low, e) ||
        !read_end(range, "max", what, &high, e))
        return false;
    c->compared++;
    if (isnan(x) ? isnan(low) : x >= low - c->margin && x <= high + c->margin) return true;
    c->outside++;
    fprintf(c->out, "%s: %s is outside %s to %s widened by %g\n", label, number(text[0], x),
            number(text[1], low), number(text[2], high), c->margin);
    return true;
}

/* Compares one system of a run with its committed metrics. */
static bool check_system(TableComparison *c, const json_t *committed, const Table *t, const TableRun *r,
                         int system, const char *what, Error *e)
{
    for (int m = 0; m < TABLE_METRICS; m++) {
        const TableMetric *metric = table_metric(m);
        char label[256];
        if (!metric->checked || (system && m == METRIC_SIDE)) continue;
        snprintf(label, sizeof label, "%s, seed %lld, %s%s%s", table_row(r->row)->name, (long long)r->seed,
                 system ? t->system[system] : "", system ? ", " : "", metric->name);
        if (!table_compare(c, committed, metric->key, r->value[system][m], what, label, e)) return false;
    }
    return true;
}

static bool check_run(TableComparison *c, const json_t *rows, const Table *t, const TableRun *r, Error *e)
{
    char what[512];
    json_t *row, *metrics, *controls, *one;
    snprintf(what, sizeof what, "%s: row %s", c->path, table_row(r->row)->key);
    if (!json_get_object(rows, table_row(r->row)->key, c->path, &row, e) ||
        !json_get_object(row, "metrics", what, &metrics, e) ||
        !json_get_object(row, "controls", what, &controls, e) || !check_system(c, metrics, t, r, 0, what, e))
        return false;
    for (int s = 1; s < t->n_systems; s++)
        if (!json_get_object(controls, t->system[s], what, &one, e) || !check_system(c, one, t, r, s, what, e))
            return false;
    return true;
}

bool table_check(const char *path, const Table *t, double margin, FILE *out, int *outside, Error *e)
{
    json_t *o = json_read(path, e), *rows;
    int64_t version;
    TableComparison c = {path, margin, out, 0, 0};
    bool ok = o && json_get_int(o, "version", path, &version, e) && json_get_object(o, "rows", path, &rows, e);
    if (ok && version != 1)
        ok = error_set(e, ERROR_INPUT, "%s: version %lld, expected 1", path, (long long)version);
    for (int i = 0; ok && i < t->n; i++) ok = check_run(&c, rows, t, &t->run[i], e);
    for (int row = 0; ok && row < TABLE_ROWS; row++)
        if (json_object_get(rows, table_row(row)->key) && !table_runs(t, row)) {
            c.outside++;
            fprintf(out, "%s: no run, and %s has its ranges\n", table_row(row)->name, path);
        }
    if (ok)
        fprintf(out, "%d numbers (F1s, and the rows' side accuracy) compared with %s, margin %g: %d outside\n",
                c.compared, path, margin, c.outside);
    *outside = c.outside;
    json_decref(o);
    return ok;
}
