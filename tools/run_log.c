#include "tools/run_log.h"
#include "data/file.h"
#include "data/json.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const size_t LOG_LIMIT = (size_t)1 << 30; /* bytes */
static const double LARGEST = 1e100; /* a value beyond it is no point: nothing could be read off it */
static const double LAST_STEP = 9007199254740992.0; /* 2^53: whole numbers end there */

static bool no_memory(const char *what, Error *e)
{
    return error_set(e, ERROR_MEMORY, "%s: no memory for its curves", what);
}

/* The point of that step, replaced or put in its place. */
static bool set_point(RunCurve *c, double step, double value, const char *what, Error *e)
{
    size_t i = c->n;
    while (i && c->point[i - 1].step >= step) i--;
    if (i < c->n && c->point[i].step == step) {
        c->point[i].value = value;
        return true;
    }
    if (c->n == c->room) {
        size_t room = c->room ? 2 * c->room : 64;
        RunPoint *more = realloc(c->point, room * sizeof *more);
        if (!more) return no_memory(what, e);
        c->point = more;
        c->room = room;
    }
    memmove(c->point + i + 1, c->point + i, (c->n - i) * sizeof *c->point);
    c->point[i] = (RunPoint){step, value};
    c->n++;
    return true;
}

static RunStage *find_stage(RunLog *log, const char *arm, const char *of, const char *what, Error *e)
{
    char *name;
    if (asprintf(&name, "%s%s%s", arm, *arm ? " " : "", of) < 0) {
        no_memory(what, e);
        return NULL;
    }
    for (int i = 0; i < log->n; i++)
        if (!strcmp(log->stage[i].name, name)) {
            log->last = i;
            free(name);
            return &log->stage[i];
        }
    if (log->n == RUN_STAGES) {
        error_set(e, ERROR_INPUT, "%s: stage \"%.40s\" is one more than %d", what, name, RUN_STAGES);
        free(name);
        return NULL;
    }
    RunStage *s = &log->stage[log->n];
    s->name = name;
    s->score.validation = true;
    log->last = log->n++;
    return s;
}

static RunCurve *find_curve(RunStage *s, const char *name, bool validation, const char *what, Error *e)
{
    RunCurve *c = (RunCurve *)(uintptr_t)run_curve(s, name, validation);
    if (c) return c;
    if (s->n == RUN_CURVES) {
        error_set(e, ERROR_INPUT, "%s: \"%.40s\" is one more value than %d", what, name, RUN_CURVES);
        return NULL;
    }
    c = &s->curve[s->n];
    if (!(c->name = strdup(name))) {
        no_memory(what, e);
        return NULL;
    }
    c->validation = validation;
    s->n++;
    return c;
}

/* Training went on from before `step`: forgets training from there on, and validations after it (one of that
 * very step may have been logged just before). */
static void go_back(RunStage *s, double step)
{
    for (int i = 0; i < s->n + 2; i++) {
        RunCurve *c = i < s->n ? &s->curve[i] : i == s->n ? &s->skipped : &s->score;
        while (c->n && c->point[c->n - 1].step >= step + c->validation) c->n--;
    }
}

/* A member that a log line may have; false if it is there and no number. */
static bool get_number(const json_t *line, const char *key, const char *what, double *out, Error *e)
{
    const json_t *value = json_object_get(line, key);
    if (!value || json_is_null(value)) return true;
    return json_get_number(line, key, what, out, e);
}

static bool add_members(RunStage *s, const json_t *line, double step, bool validation, const char *what,
                        Error *e)
{
    static const char *const known[] = {"stage", "step", "seconds", "validation", "skipped"};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)line, key, value)
    {
        bool curve = json_is_number(value) && fabs(json_number_value(value)) <= LARGEST;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++) curve = curve && strcmp(key, known[i]);
        if (json_is_object(value) || json_is_array(value))
            return error_set(e, ERROR_INPUT, "%s: key \"%.40s\": expected a number, found a list or object",
                             what, key);
        if (!curve) continue;
        bool score = validation && !strcmp(key, "score");
        RunCurve *c = score ? &s->score : find_curve(s, key, validation, what, e);
        if (!c || !set_point(c, step, json_number_value(value), what, e)) return false;
    }
    return true;
}

static bool add_line(RunLog *log, const json_t *line, const char *what, Error *e)
{
    const char *name, *arm = "";
    int64_t step;
    double seconds = -1, skipped = 0;
    if (!json_get_string(line, "stage", what, &name, e) ||
        (json_object_get(line, "arm") && !json_get_string(line, "arm", what, &arm, e)) ||
        !json_get_int(line, "step", what, &step, e) || !get_number(line, "seconds", what, &seconds, e) ||
        !get_number(line, "skipped", what, &skipped, e))
        return false;
    const json_t *flag = json_object_get(line, "validation");
    if (flag && !json_is_boolean(flag))
        return error_set(e, ERROR_INPUT, "%s: key \"validation\": expected true or false", what);
    if (step < 0 || (double)step > LAST_STEP)
        return error_set(e, ERROR_INPUT, "%s: step %lld, expected 0 or more", what, (long long)step);
    RunStage *s = find_stage(log, arm, name, what, e);
    if (!s) return false;
    bool validation = json_is_true(flag);
    double at = (double)step;
    if (!validation && at < s->step) go_back(s, at);
    if (!validation || at > s->step) s->step = at;
    if (seconds >= 0 && seconds <= LARGEST) {
        if (seconds < s->seconds) s->before += s->seconds; /* another process */
        s->seconds = seconds;
    }
    if (skipped > 0 && !set_point(&s->skipped, at, skipped, what, e)) return false;
    return add_members(s, line, at, validation, what, e);
}

RunLog *run_log_read(const char *path, Error *e)
{
    uint8_t *bytes;
    size_t n, used = 0;
    if (!file_read(path, LOG_LIMIT, &bytes, &n, e)) return NULL;
    RunLog *log = calloc(1, sizeof *log);
    bool ok = log || no_memory(path, e);
    if (log) log->last = -1;
    for (int64_t number = 1; ok && used < n; number++) {
        const char *text = (const char *)bytes + used, *end = memchr(text, '\n', n - used);
        size_t length = end ? (size_t)(end - text) : n - used;
        used += length + (end != NULL);
        if (strspn(text, " \t\r") >= length) continue;
        char what[4200];
        Error fault = {0};
        snprintf(what, sizeof what, "%s: line %lld", path, (long long)number);
        json_t *line = json_parse(text, length, what, &fault);
        if (line) {
            ok = add_line(log, line, what, e);
        } else if (end || fault.code != ERROR_INPUT) {
            ok = error_set(e, fault.code, "%s", fault.msg);
        }
        json_decref(line);
    }
    free(bytes);
    if (ok) return log;
    run_log_free(log);
    return NULL;
}

void run_log_free(RunLog *log)
{
    for (int i = 0; log && i < log->n; i++) {
        RunStage *s = &log->stage[i];
        for (int k = 0; k < s->n; k++) free(s->curve[k].name), free(s->curve[k].point);
        free(s->skipped.point);
        free(s->score.point);
        free(s->name);
    }
    free(log);
}

const RunCurve *run_curve(const RunStage *s, const char *name, bool validation)
{
    for (int i = 0; i < s->n; i++)
        if (s->curve[i].validation == validation && !strcmp(s->curve[i].name, name)) return &s->curve[i];
    return NULL;
}

/* 0: a training term, 1: only validated, 2: lr, 3: rate; -1: drawn under its training curve, or all gone. */
static int rank(const RunStage *s, const RunCurve *c)
{
    const RunCurve *twin = run_curve(s, c->name, !c->validation);
    if (!c->n || (c->validation && twin && twin->n)) return -1;
    return !strcmp(c->name, "lr") ? 2 : !strcmp(c->name, "rate") ? 3 : c->validation;
}

int run_curve_names(const RunStage *s, const char *name[RUN_CURVES])
{
    int n = 0;
    for (int r = 0; r < 4; r++)
        for (int i = 0; i < s->n; i++)
            if (rank(s, &s->curve[i]) == r) name[n++] = s->curve[i].name;
    return n;
}

bool run_next_row(const RunStage *s, RunRow *row)
{
    row->step = INFINITY;
    for (int i = 0; i < s->n; i++) {
        const RunCurve *c = &s->curve[i];
        if (c->validation && row->at[i] < c->n) row->step = fmin(row->step, c->point[row->at[i]].step);
    }
    for (int i = 0; i < s->n; i++) {
        const RunCurve *c = &s->curve[i];
        bool here = c->validation && row->at[i] < c->n && c->point[row->at[i]].step == row->step;
        row->value[i] = here ? c->point[row->at[i]++].value : (double)NAN;
    }
    return isfinite(row->step);
}

const RunPoint *run_best(const RunStage *s)
{
    const RunPoint *best = NULL;
    for (size_t i = 0; i < s->score.n; i++)
        if (!best || s->score.point[i].value > best->value) best = &s->score.point[i];
    return best;
}
