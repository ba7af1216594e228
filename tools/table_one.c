#include "tools/table_one.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *key, *path;
    double most;
    bool checked;
} metrics[ONE_METRICS] = {
    {"BLEU-1", "bleu_1", "BLEU-1", 1, false},
    {"BLEU-2", "bleu_2", "BLEU-2", 1, false},
    {"BLEU-3", "bleu_3", "BLEU-3", 1, false},
    {"BLEU-4", "bleu_4", "BLEU-4", 1, false},
    {"METEOR", "meteor", "METEOR", 1, false},
    {"ROUGE-L", "rouge_l", "ROUGE-L", 1, false},
    {"CIDEr", "cider", "CIDEr", 10, false},
    {"CE F1", "mention_f1", "clinical/mention/micro/f1", 1, true},
    {"finding F1", "finding_f1", "clinical/finding/micro/f1", 1, true},
};

static bool read_system(const json_t *o, const OneScores *s, const char *name, double value[ONE_METRICS],
                        Error *e)
{
    char what[400];
    snprintf(what, sizeof what, "%s%s%s", s->path, name ? ": controls: " : "", name ? name : "");
    for (int m = 0; m < ONE_METRICS; m++)
        if (!table_number(o, metrics[m].path, what, metrics[m].most, &value[m], e)) return false;
    return true;
}

/* The controls' names; the first file's are the table's. */
static bool read_names(const json_t *controls, const OneScores *s, TableOne *t, Error *e)
{
    bool first = !t->n_systems;
    size_t n = 1 + json_object_size(controls);
    const char *name;
    json_t *one;
    if (n > TABLE_SYSTEMS)
        return error_set(e, ERROR_INPUT, "%s: %zu controls, expected at most %d", s->path, n - 1,
                         TABLE_SYSTEMS - 1);
    if (first) {
        snprintf(t->system[t->n_systems++], sizeof t->system[0], "model");
        json_object_foreach(
            (json_t *)(uintptr_t)controls, name,
            one) if (snprintf(t->system[t->n_systems++], sizeof t->system[0], "%s", name) >=
                     (int)sizeof t
                         ->system[0]) return error_set(e, ERROR_INPUT,
                                                       "%s: control \"%.60s...\": the name is too long",
                                                       s->path, name);
    } else if ((int)n != t->n_systems) {
        return error_set(e, ERROR_INPUT, "%s: %zu controls, expected %d as in %s", s->path, n - 1,
                         t->n_systems - 1, t->scores[0].path);
    }
    return true;
}

static bool read_scores(const char *path, const json_t *o, OneScores *s, TableOne *t, Error *e)
{
    json_t *settings, *controls, *one;
    const char *tokenizer;
    if (snprintf(s->path, sizeof s->path, "%s", path) >= (int)sizeof s->path)
        return error_set(e, ERROR_INPUT, "%.100s...: path too long", path);
    if (!json_get_object(o, "settings", path, &settings, e) ||
        !json_get_string(settings, "split", path, &tokenizer, e) ||
        !json_get_object(o, "controls", path, &controls, e) || !read_names(controls, s, t, e) ||
        !read_system(o, s, NULL, s->value[0], e))
        return false;
    if (snprintf(s->tokenizer, sizeof s->tokenizer, "%s", tokenizer) >= (int)sizeof s->tokenizer)
        return error_set(e, ERROR_INPUT, "%s: split \"%.60s...\": the name is too long", path, tokenizer);
    for (int i = 1; i < t->n_systems; i++)
        if (!json_get_object(controls, t->system[i], path, &one, e) ||
            !read_system(one, s, t->system[i], s->value[i], e))
            return false;
    return true;
}

bool table_one_read(const char *const *path, int n, TableOne *out, Error *e)
{
    TableOne t = {.scores = calloc((size_t)n + 1, sizeof *t.scores)};
    bool ok = t.scores || error_set(e, ERROR_MEMORY, "no memory for %d scores", n);
    for (int i = 0; ok && i < n; i++) {
        json_t *o = json_read(path[i], e);
        ok = o && read_scores(path[i], o, &t.scores[t.n++], &t, e);
        json_decref(o);
    }
    if (ok)
        *out = t;
    else
        table_one_free(&t);
    return ok;
}

void table_one_free(TableOne *t)
{
    free(t->scores);
    *t = (TableOne){0};
}

/* The files with i's tokenizer, if i is the first of them. */
static int group(const TableOne *t, int i, int member[])
{
    int n = 0;
    for (int k = 0; k < t->n; k++) {
        if (strcmp(t->scores[k].tokenizer, t->scores[i].tokenizer)) continue;
        if (k < i) return 0;
        member[n++] = k;
    }
    return n;
}

static TableRange range(const TableOne *t, const int member[], int n, int system, int metric)
{
    double *x = malloc((size_t)n * sizeof *x);
    if (!x) die("out of host memory for %d numbers", n);
    for (int k = 0; k < n; k++) x[k] = t->scores[member[k]].value[system][metric];
    TableRange r = table_range_of(x, n);
    free(x);
    return r;
}

static void put_cell(FILE *out, const TableRange *r, bool ends)
{
    char text[32] = "-";
    if (r->n && ends)
        snprintf(text, sizeof text, "%.1f-%.1f", 100 * r->min, 100 * r->max);
    else if (r->n)
        snprintf(text, sizeof text, "%.1f", 100 * r->mean);
    fprintf(out, " %11s", text);
}

static int *members(const TableOne *t)
{
    int *member = malloc((size_t)t->n * sizeof *member);
    if (!member) die("out of host memory for %d numbers", t->n);
    return member;
}

void table_one_print(FILE *out, const TableOne *t)
{
    int *member = members(t);
    fprintf(out, "Table 1: scores x 100; CE F1: keywords mentioned, micro\n%-10s %-18s", "tokenizer", "");
    for (int m = 0; m < ONE_METRICS; m++) fprintf(out, " %11s", metrics[m].name);
    fputc('\n', out);
    for (int i = 0; i < t->n; i++) {
        int n = group(t, i, member);
        for (int s = 0; n && s < t->n_systems; s++)
            for (int ends = 0; ends < (n > 1 ? 2 : 1); ends++) {
                fprintf(out, "%-10s %-18s", ends || s ? "" : t->scores[i].tokenizer,
                        ends ? ""
                        : s  ? t->system[s]
                             : "ours");
                for (int m = 0; m < ONE_METRICS; m++) {
                    TableRange r = range(t, member, n, s, m);
                    put_cell(out, &r, ends);
                }
                fputc('\n', out);
            }
    }
    free(member);
}

void table_one_markdown(FILE *out, const TableOne *t)
{
    int *member = members(t);
    fputs("| tokenizer | |", out);
    for (int m = 0; m < ONE_METRICS; m++) fprintf(out, " %s |", metrics[m].name);
    fputs("\n|---|---|", out);
    for (int m = 0; m < ONE_METRICS; m++) fputs("---|", out);
    fputc('\n', out);
    for (int i = 0; i < t->n; i++) {
        int n = group(t, i, member);
        for (int s = 0; n && s < t->n_systems; s++) {
            fprintf(out, "| %s | %s |", s ? "" : t->scores[i].tokenizer, s ? t->system[s] : "**ours**");
            for (int m = 0; m < ONE_METRICS; m++) {
                TableRange r = range(t, member, n, s, m);
                if (!r.n)
                    fputs(" - |", out);
                else if (r.min == r.max)
                    fprintf(out, " %.1f |", 100 * r.mean);
                else
                    fprintf(out, " %.1f (%.1f to %.1f) |", 100 * r.mean, 100 * r.min, 100 * r.max);
            }
            fputc('\n', out);
        }
    }
    free(member);
}

bool table_one_write(const char *path, const TableOne *t, Error *e)
{
    int *member = members(t);
    json_t *tokenizers = json_object();
    for (int i = 0; i < t->n; i++) {
        int n = group(t, i, member);
        json_t *systems = json_object();
        for (int s = 0; n && s < t->n_systems; s++) {
            json_t *one = json_object();
            for (int m = 0; m < ONE_METRICS; m++) {
                TableRange r = range(t, member, n, s, m);
                json_object_set_new(one, metrics[m].key, table_range_json(&r));
            }
            json_object_set_new(systems, t->system[s], one);
        }
        if (n)
            json_object_set_new(tokenizers, t->scores[i].tokenizer,
                                json_pack("{s:i, s:o}", "files", n, "systems", systems));
        else
            json_decref(systems);
    }
    free(member);
    json_t *o = json_pack("{s:s, s:i, s:o}", "what", "Table 1's ranges; pcrl-table table1 --write wrote them",
                          "version", 1, "tokenizers", tokenizers);
    bool ok = o ? json_write(path, o, e) : error_set(e, ERROR_MEMORY, "%s: no memory for the ranges", path);
    json_decref(o);
    return ok;
}

static bool check_scores(TableComparison *c, const json_t *tokenizers, const TableOne *t, const OneScores *s,
                         Error *e)
{
    char what[400], label[512];
    json_t *tokenizer, *systems, *one;
    snprintf(what, sizeof what, "%s: %s", c->path, s->tokenizer);
    if (!json_get_object(tokenizers, s->tokenizer, c->path, &tokenizer, e) ||
        !json_get_object(tokenizer, "systems", what, &systems, e))
        return false;
    for (int i = 0; i < t->n_systems; i++) {
        if (!json_get_object(systems, t->system[i], what, &one, e)) return false;
        for (int m = 0; m < ONE_METRICS; m++) {
            snprintf(label, sizeof label, "%s, %s, %s", s->path, t->system[i], metrics[m].name);
            if (metrics[m].checked && !table_compare(c, one, metrics[m].key, s->value[i][m], what, label, e))
                return false;
        }
    }
    return true;
}

bool table_one_check(const char *path, const TableOne *t, double margin, FILE *out, int *outside, Error *e)
{
    json_t *o = json_read(path, e), *tokenizers;
    int64_t version;
    TableComparison c = {path, margin, out, 0, 0};
    bool ok = o && json_get_int(o, "version", path, &version, e) &&
              json_get_object(o, "tokenizers", path, &tokenizers, e);
    if (ok && version != 1)
        ok = error_set(e, ERROR_INPUT, "%s: version %lld, expected 1", path, (long long)version);
    for (int i = 0; ok && i < t->n; i++) ok = check_scores(&c, tokenizers, t, &t->scores[i], e);
    if (ok)
        fprintf(out, "%d numbers (F1s) compared with %s, margin %g: %d outside\n", c.compared, path, margin,
                c.outside);
    *outside = c.outside;
    json_decref(o);
    return ok;
}
