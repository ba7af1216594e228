#include "tools/run_page.h"
#include "data/file.h"
#include "data/json.h"
#include "tools/curves.h"
#include "tools/markup.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The page around its parts: tools/run_page.html with {{TITLE}}, {{CURVES}} (the panels' style) and {{BODY}}.
 */
__asm__(".section .rodata\n"
        ".global run_page_template\n"
        "run_page_template:\n"
        ".incbin \"tools/run_page.html\"\n"
        ".byte 0\n"
        ".previous\n");
extern const char run_page_template[] __attribute__((visibility("hidden")));

enum { NAME_MOST = 80, VALUE_MOST = 2000, ROWS_MOST = 100, SKIPPED_MOST = 60 };

/* The newest stage and what the settings say of it. */
typedef struct State {
    const RunStage *stage; /* NULL: the log is empty */
    double steps;          /* 0: not known */
} State;

static State find_state(const RunLog *log, const json_t *settings)
{
    State s = {.stage = log->last < 0 ? NULL : &log->stage[log->last]};
    const char *of = json_string_value(json_object_get(settings, "stage"));
    const json_t *steps = json_object_get(settings, "steps");
    if (s.stage && json_is_integer(steps) && json_integer_value(steps) > 0 &&
        (!of || !strcmp(of, s.stage->name)))
        s.steps = (double)json_integer_value(steps);
    return s;
}

static double percent(const State *s) { return fmin(floor(100 * s->stage->step / s->steps), 100); }

static void put_title(FILE *f, const State *s)
{
    if (!s->stage) {
        fputs("Training", f);
        return;
    }
    markup_text(f, s->stage->name, NAME_MOST);
    if (s->steps > 0) fprintf(f, " %.0f %%", percent(s));
}

static void put_fact(FILE *f, const char *name, const char *value, const char *note)
{
    fprintf(f, "<div><dt>%s</dt><dd>%s", name, value);
    if (*note) fprintf(f, " <small>%s</small>", note);
    fputs("</dd></div>\n", f);
}

static void put_facts(FILE *f, const State *s)
{
    char value[MARKUP_ROOM], note[2 * MARKUP_ROOM] = "", text[MARKUP_ROOM];
    const RunStage *g = s->stage;
    const RunPoint *best = run_best(g);
    const double seconds = g->before + g->seconds;
    fputs("<dl class=\"facts\">\n", f);
    if (best) {
        snprintf(note, sizeof note, "at step %s", markup_number(best->step, 15, text));
        put_fact(f, "Best validation", markup_number(best->value, 4, value), note);
        *note = 0;
    }
    if (seconds > 0) {
        if (s->steps > g->step && g->step > 0)
            snprintf(note, sizeof note, "about %s to go",
                     markup_duration(seconds / g->step * (s->steps - g->step), text));
        put_fact(f, "Time", markup_duration(seconds, value), note);
        if (g->step > 0) put_fact(f, "A step", markup_number(seconds / g->step, 3, value), "s");
    }
    if (g->skipped.n) {
        snprintf(value, sizeof value, "%zu", g->skipped.n);
        put_fact(f, "Skipped updates", value, "");
    }
    fputs("</dl>\n", f);
}

static void put_head(FILE *f, const State *s)
{
    char text[MARKUP_ROOM];
    if (!s->stage) {
        fputs("<h1>Training</h1>\n<p class=\"state\">No line in log.jsonl yet.</p>\n", f);
        return;
    }
    fputs("<h1>Training: ", f);
    markup_text(f, s->stage->name, NAME_MOST);
    fprintf(f, "</h1>\n<p class=\"state\">step %s", markup_number(s->stage->step, 15, text));
    if (s->steps > 0)
        fprintf(f, " of %s, %.0f %%</p>\n<div class=\"bar\"><i style=\"width: %.0f%%\"></i></div>\n",
                markup_number(s->steps, 15, text), percent(s), percent(s));
    else
        fputs("</p>\n", f);
    put_facts(f, s);
}

static void put_skipped(FILE *f, const RunCurve *c)
{
    char text[MARKUP_ROOM];
    fputs("<p class=\"skipped\">Updates skipped, their gradient was not finite: step ", f);
    for (size_t i = 0; i < c->n && i < SKIPPED_MOST; i++)
        fprintf(f, "%s%s", i ? ", " : "", markup_number(c->point[i].step, 15, text));
    if (c->n > SKIPPED_MOST) fprintf(f, " and %zu more", c->n - SKIPPED_MOST);
    fputs("</p>\n", f);
}

static void put_legend(FILE *f, const RunStage *s)
{
    bool validated = run_next_row(s, &(RunRow){0});
    if (!validated && !s->skipped.n) return;
    fputs("<p class=\"legend\"><b class=\"key-t\">training</b>", f);
    if (validated) fputs("<b class=\"key-v\">validation</b>", f);
    if (s->skipped.n) fputs("<b class=\"key-s\">skipped update</b>", f);
    fputs("</p>\n", f);
}

static void put_curves(FILE *f, const RunStage *s)
{
    const char *name[RUN_CURVES];
    int n = run_curve_names(s, name);
    fputs("<h2>", f);
    markup_text(f, s->name, NAME_MOST);
    fputs("<small>", f);
    curves_progress(f, s);
    fputs("</small></h2>\n<div class=\"grid-of-panels\">\n", f);
    for (int i = 0; i < n; i++) curves_panel(f, s, name[i], 0, 0);
    fputs("</div>\n", f);
    put_legend(f, s);
    if (s->skipped.n) put_skipped(f, &s->skipped);
}

/* A column's cells have the same decimals where its largest value can be read that way. */
static void put_cell(FILE *f, const RunCurve *c, double value)
{
    char text[MARKUP_ROOM];
    double largest = 0;
    for (size_t i = 0; i < c->n; i++) largest = fmax(largest, fabs(c->point[i].value));
    if (isnan(value))
        fputs("<td>–</td>", f);
    else if (largest >= 0.01 && largest < 1e5)
        fprintf(f, "<td>%.*f</td>", largest < 10 ? 4 : largest < 1000 ? 2 : 1, value);
    else
        fprintf(f, "<td>%s</td>", markup_number(value, 4, text));
}

static void put_row(FILE *f, const RunStage *s, const RunRow *row, bool is_best)
{
    char text[MARKUP_ROOM];
    fprintf(f, "<tr%s><td>%s%s</td>", is_best ? " class=\"best\"" : "", markup_number(row->step, 15, text),
            is_best ? "<span class=\"mark\">best</span>" : "");
    for (int i = 0; i < s->n; i++)
        if (s->curve[i].validation && s->curve[i].n) put_cell(f, &s->curve[i], row->value[i]);
    fputs("</tr>\n", f);
}

/* The newest ROWS_MOST rows, and the best one where it is older. */
static void put_validations(FILE *f, const RunStage *s)
{
    const RunPoint *best = run_best(s);
    size_t rows = 0, k = 0;
    for (RunRow row = {0}; run_next_row(s, &row);) rows++;
    if (!rows) return;
    fputs("<h2>Validations of ", f);
    markup_text(f, s->name, NAME_MOST);
    fprintf(f, "<small>%s", best ? "best: highest score" : "");
    if (rows > ROWS_MOST)
        fprintf(f, "%sthe last %d of %zu%s", best ? "; " : "", ROWS_MOST, rows, best ? ", and the best" : "");
    fputs("</small></h2>\n<div class=\"card\"><table>\n<tr><th>step</th>", f);
    for (int i = 0; i < s->n; i++)
        if (s->curve[i].validation && s->curve[i].n) {
            fputs("<th>", f);
            markup_text(f, s->curve[i].name, NAME_MOST);
            fputs("</th>", f);
        }
    fputs("</tr>\n", f);
    for (RunRow row = {0}; run_next_row(s, &row); k++) {
        bool is_best = best && row.step == best->step;
        if (k + ROWS_MOST >= rows || is_best) put_row(f, s, &row, is_best);
    }
    fputs("</table></div>\n", f);
}

static void put_settings(FILE *f, const json_t *settings)
{
    const char *key;
    json_t *value;
    if (!json_object_size(settings)) return;
    fputs("<h2>Settings</h2>\n<div class=\"card\"><table class=\"settings\">\n", f);
    json_object_foreach((json_t *)(uintptr_t)settings, key, value)
    {
        char *text = json_is_string(value)
                         ? strdup(json_string_value(value))
                         : json_text(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(10));
        fputs("<tr><td>", f);
        markup_text(f, key, VALUE_MOST);
        fputs("</td><td><code>", f);
        markup_text(f, text ? text : "", VALUE_MOST);
        fputs("</code></td></tr>\n", f);
        free(text);
    }
    fputs("</table></div>\n", f);
}

static void put_body(FILE *f, const RunLog *log, const json_t *settings, const State *s)
{
    put_head(f, s);
    for (int i = log->n - 1; i >= 0; i--) { /* the newest first */
        put_curves(f, &log->stage[i]);
        put_validations(f, &log->stage[i]);
    }
    put_settings(f, settings);
}

static bool write_page(const char *path, const RunLog *log, const json_t *settings, Error *e)
{
    const State s = find_state(log, settings);
    const char *rest = run_page_template, *slot;
    FileWriter w;
    if (!file_create(&w, path, e)) return false;
    while ((slot = strstr(rest, "{{"))) {
        fwrite(rest, 1, (size_t)(slot - rest), w.stream);
        if (!strncmp(slot, "{{TITLE}}", 9)) put_title(w.stream, &s);
        if (!strncmp(slot, "{{CURVES}}", 10)) fputs(curves_style, w.stream);
        if (!strncmp(slot, "{{BODY}}", 8)) put_body(w.stream, log, settings, &s);
        rest = strstr(slot, "}}") + 2;
    }
    fputs(rest, w.stream);
    return file_commit(&w, e);
}

static bool read_settings(const char *path, json_t **settings, Error *e)
{
    *settings = NULL;
    if (access(path, F_OK)) return true;
    *settings = json_read(path, e);
    if (!*settings || json_is_object(*settings)) return *settings;
    json_decref(*settings);
    *settings = NULL;
    return error_set(e, ERROR_INPUT, "%s: expected an object of settings, found another JSON value", path);
}

bool run_page_write(const char *folder, Error *e)
{
    enum { FILES = 5 };
    char path[FILES][4096];
    static const char *const name[FILES] = {"log.jsonl", "run.json", "curves.svg", "index.html", "../run.json"};
    json_t *settings = NULL;
    for (int i = 0; i < FILES; i++)
        if (snprintf(path[i], sizeof path[i], "%s/%s", folder, name[i]) >= (int)sizeof path[i])
            return error_set(e, ERROR_INPUT, "%.60s...: the folder's name is too long", folder);
    RunLog *log = run_log_read(path[0], e);
    bool ok = log && read_settings(path[access(path[1], F_OK) ? 4 : 1], &settings, e) &&
              curves_write(path[2], log, e) && write_page(path[3], log, settings, e);
    json_decref(settings);
    run_log_free(log);
    return ok;
}
