#include "tools/curves.h"
#include "data/file.h"
#include "tools/markup.h"
#include <math.h>
#include <string.h>

/* A panel's plot area, and where its title and step axis stand. */
enum { LEFT = 58, RIGHT = 288, TOP = 42, BOTTOM = 160, INDENT = 14, TITLE = 24, TICK_TEXT = 176 };
enum { COLUMNS = 3, GAP = 12, MARGIN = 18, HEADING = 42, AXIS_TICKS = 12, MARKS = 100, NAME_MOST = 20 };

const char curves_style[] =
    ".panel { font: 11px system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif;"
    " font-variant-numeric: tabular-nums; }\n"
    ".panel text, .soft { fill: #66727a; }\n"
    ".panel .card { fill: #fff; stroke: #e1e4e0; }\n"
    ".panel .grid { fill: none; stroke: #e9ebe7; }\n"
    ".panel .axis { fill: none; stroke: #c4cac6; }\n"
    ".panel path, .panel circle { stroke-linejoin: round; stroke-linecap: round; }\n"
    ".panel .line { fill: none; stroke: #17717c; stroke-width: 1.6; }\n"
    ".panel .link { fill: none; stroke: #c8611a; stroke-opacity: .45; stroke-width: 1.2; }\n"
    ".panel .skip { fill: none; stroke: #b3372f; stroke-width: 1.4; }\n"
    ".t { fill: #17717c; } .v { fill: #c8611a; }\n"
    ".panel .name, .head { fill: #1d2327; font-weight: 600; }\n"
    ".panel .name, .panel .t, .panel .v { font-size: 13px; }\n"
    "@media (prefers-color-scheme: dark) {\n"
    "  .panel text, .soft { fill: #95a2a9; }\n"
    "  .panel .card { fill: #1a1f23; stroke: #2b3237; }\n"
    "  .panel .grid { stroke: #262d31; } .panel .axis { stroke: #48535a; }\n"
    "  .panel .line { stroke: #5cc3cd; } .panel .link { stroke: #f0a35e; } .panel .skip { stroke: #ff7b70; }\n"
    "  .t { fill: #5cc3cd; } .v { fill: #f0a35e; }\n"
    "  .panel .name, .head { fill: #e6eaec; }\n"
    "}\n";

typedef struct Axis {
    double low, high; /* of log10(value) where log */
    bool log;
    int n;
    double tick[AXIS_TICKS];
} Axis;

static double along(const Axis *a, double value)
{
    return ((a->log ? log10(value) : value) - a->low) / (a->high - a->low);
}

/* 1, 2 or 5 times a power of ten, near x. */
static double round_step(double x)
{
    double power = pow(10, floor(log10(x))), m = x / power;
    return power * (m < 1.5 ? 1 : m < 3.5 ? 2 : m < 7.5 ? 5 : 10);
}

static void add_tick(Axis *a, double value)
{
    double at = along(a, value);
    if (at > -1e-9 && at < 1 + 1e-9 && a->n < AXIS_TICKS) a->tick[a->n++] = value;
}

static void linear_ticks(Axis *a, double least)
{
    double step = fmax(round_step((a->high - a->low) / 4), least), from = ceil(a->low / step - 1e-9);
    for (int i = 0; i < AXIS_TICKS; i++) add_tick(a, (from + i) * step + 0.0);
}

/* 1, 2, 5 of each decade where there are few, else 1 and 3, else whole decades. */
static void log_ticks(Axis *a)
{
    double span = a->high - a->low, every = ceil(fmax(span / 6, 1));
    int from = (int)floor(a->low), to = (int)ceil(a->high);
    for (int k = from; k <= to; k++) {
        double power = pow(10, k);
        if (fmod(k, every) == 0) add_tick(a, power);
        if (span < 1.6) add_tick(a, 2 * power), add_tick(a, 5 * power);
        if (span >= 1.6 && span < 3) add_tick(a, 3 * power);
    }
}

/* 0..last step, or first..last where that would leave half the panel empty. */
static Axis step_axis(double first, double last)
{
    Axis a = {.low = first < last / 2 || first == last ? 0 : first, .high = last > 0 ? last : 1};
    linear_ticks(&a, 1);
    return a;
}

static Axis value_axis(double low, double high, bool log)
{
    Axis a = {.low = low, .high = high, .log = log};
    if (log) a.low = log10(low), a.high = log10(high);
    double largest = fmax(fabs(a.low), fabs(a.high));
    if (!log && low >= 0 && low < high / 2) a.low = 0;
    if (a.high - a.low <= 1e-9 * largest || largest < 1e-290) { /* a constant in the middle */
        double room = largest < 1e-290 ? 1 : largest / 10;
        a.low -= room;
        a.high += room;
    }
    double pad = 0.05 * (a.high - a.low);
    if (log || a.low != 0) a.low -= pad;
    a.high += pad;
    log ? log_ticks(&a) : linear_ticks(&a, 0);
    return a;
}

/* The curves of a panel and the axes that hold both. */
typedef struct Panel {
    const RunCurve *training, *validation; /* NULL: none */
    Axis x, y;
} Panel;

static Panel open_panel(const RunStage *s, const char *name)
{
    Panel p = {.training = run_curve(s, name, false), .validation = run_curve(s, name, true)};
    if (p.training && !p.training->n) p.training = NULL;
    if (p.validation && !p.validation->n) p.validation = NULL;
    const RunCurve *both[] = {p.training, p.validation}, *main = p.training ? p.training : p.validation;
    double low = INFINITY, high = -INFINITY, first = s->step;
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; both[k] && i < both[k]->n; i++) {
            low = fmin(low, both[k]->point[i].value);
            high = fmax(high, both[k]->point[i].value);
            first = fmin(first, both[k]->point[i].step);
        }
    bool falls = low > 0 && high >= 10 * low && main->point[main->n - 1].value <= main->point[0].value;
    p.x = step_axis(first, s->step);
    p.y = value_axis(low, high, falls && strcmp(name, "lr") && strcmp(name, "rate"));
    return p;
}

static double place_x(const Panel *p, double step) { return LEFT + (RIGHT - LEFT) * along(&p->x, step); }
static double place_y(const Panel *p, double value) { return BOTTOM - (BOTTOM - TOP) * along(&p->y, value); }

/* The points of c to draw, as indices: all, or the first, the last, and the lowest and highest of each piece
 * between them. Returns their number. */
static int thin(const RunCurve *c, size_t index[CURVES_POINTS])
{
    int n = 0;
    if (c->n <= CURVES_POINTS) {
        for (size_t i = 0; i < c->n; i++) index[n++] = i;
        return n;
    }
    const size_t pieces = CURVES_POINTS / 2 - 1, inner = c->n - 2;
    index[n++] = 0;
    for (size_t k = 0; k < pieces; k++) {
        size_t from = 1 + k * inner / pieces, to = 1 + (k + 1) * inner / pieces, low = from, high = from;
        for (size_t i = from; i < to; i++) {
            if (c->point[i].value < c->point[low].value) low = i;
            if (c->point[i].value > c->point[high].value) high = i;
        }
        index[n++] = low < high ? low : high;
        if (low != high) index[n++] = low < high ? high : low;
    }
    index[n++] = c->n - 1;
    return n;
}

static void draw_line(FILE *f, const Panel *p, const RunCurve *c, const char *style)
{
    size_t index[CURVES_POINTS];
    int n = thin(c, index);
    fprintf(f, "<path class=\"%s\" d=\"", style);
    for (int i = 0; i < n; i++) {
        RunPoint q = c->point[index[i]];
        fprintf(f, "%s%.1f,%.1f", i ? " " : "M", place_x(p, q.step), place_y(p, q.value));
    }
    fputs("\"/>\n", f);
}

static void draw_validation(FILE *f, const Panel *p)
{
    const RunCurve *c = p->validation;
    size_t index[CURVES_POINTS];
    int n = thin(c, index);
    draw_line(f, p, c, "link");
    for (int i = 0; i < n; i++) {
        RunPoint q = c->point[index[i]];
        char step[MARKUP_ROOM], value[MARKUP_ROOM];
        fprintf(f, "<circle class=\"v\" cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"><title>step %s: %s</title></circle>\n",
                place_x(p, q.step), place_y(p, q.value), n > 80 ? "1.6" : "2.6",
                markup_number(q.step, 15, step), markup_number(q.value, 6, value));
    }
}

static void draw_axes(FILE *f, const Panel *p)
{
    char text[MARKUP_ROOM];
    fputs("<path class=\"grid\" d=\"", f);
    for (int i = 0; i < p->y.n; i++) fprintf(f, "M%d,%.1fH%d", LEFT, place_y(p, p->y.tick[i]), RIGHT);
    fprintf(f, "\"/>\n<path class=\"axis\" d=\"M%d,%dH%d", LEFT, BOTTOM, RIGHT);
    for (int i = 0; i < p->x.n; i++) fprintf(f, "M%.1f,%dv4", place_x(p, p->x.tick[i]), BOTTOM);
    fputs("\"/>\n<g text-anchor=\"end\">", f);
    for (int i = 0; i < p->y.n; i++)
        fprintf(f, "<text x=\"%d\" y=\"%.1f\">%s</text>", LEFT - 6, place_y(p, p->y.tick[i]) + 3.5,
                markup_number(p->y.tick[i], 10, text));
    fprintf(f, "<text x=\"%d\" y=\"%d\">step</text></g>\n<g text-anchor=\"middle\">", LEFT - 14, TICK_TEXT);
    for (int i = 0; i < p->x.n; i++) {
        double step = p->x.tick[i];
        bool thousands = step >= 10000 && fmod(step, 100) == 0;
        fprintf(f, "<text x=\"%.1f\" y=\"%d\">%s%s</text>", place_x(p, step), TICK_TEXT,
                markup_number(thousands ? step / 1000 : step, 10, text), thousands ? "k" : "");
    }
    fputs("</g>\n", f);
}

/* Up to MARKS of them, evenly. */
static void draw_skipped(FILE *f, const Panel *p, const RunCurve *skipped)
{
    if (!skipped->n) return;
    size_t every = (skipped->n + MARKS - 1) / MARKS;
    fputs("<path class=\"skip\" d=\"", f);
    for (size_t i = 0; i < skipped->n; i += every)
        fprintf(f, "M%.1f,%dv8", place_x(p, skipped->point[i].step), BOTTOM - 4);
    fputs("\"><title>skipped updates</title></path>\n", f);
}

static void draw_title(FILE *f, const Panel *p, const char *name)
{
    char text[MARKUP_ROOM];
    const RunCurve *both[] = {p->training, p->validation};
    fprintf(f, "<text x=\"%d\" y=\"%d\"><tspan class=\"name\">", INDENT, TITLE);
    markup_text(f, name, NAME_MOST);
    fprintf(f, "</tspan>%s</text>\n<text x=\"%d\" y=\"%d\" text-anchor=\"end\">",
            p->y.log ? "<tspan dx=\"6\">log</tspan>" : "", CURVES_WIDTH - INDENT, TITLE);
    for (int k = 0; k < 2; k++)
        if (both[k])
            fprintf(f, "<tspan class=\"%s\"%s>%s</tspan>", k ? "v" : "t", k && both[0] ? " dx=\"8\"" : "",
                    markup_number(both[k]->point[both[k]->n - 1].value, 4, text));
    fputs("</text>\n", f);
}

/* What the panel shows, for those who hear it. */
static void say_panel(FILE *f, const RunStage *s, const Panel *p, const char *name)
{
    static const char *const kind[] = {"training", "validation"};
    const RunCurve *both[] = {p->training, p->validation};
    char text[2][MARKUP_ROOM];
    fputs(" role=\"img\" aria-label=\"", f);
    markup_text(f, s->name, 80);
    fputs(", ", f);
    markup_text(f, name, 80);
    for (int k = 0; k < 2; k++)
        if (both[k])
            fprintf(f, ", %s from %s to %s", kind[k], markup_number(both[k]->point[0].value, 4, text[0]),
                    markup_number(both[k]->point[both[k]->n - 1].value, 4, text[1]));
    fputs("\">\n", f);
}

void curves_panel(FILE *f, const RunStage *s, const char *name, double x, double y)
{
    Panel p = open_panel(s, name);
    fprintf(f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"panel\" x=\"%g\" y=\"%g\" width=\"%d\" "
            "height=\"%d\" viewBox=\"0 0 %d %d\"",
            x, y, CURVES_WIDTH, CURVES_HEIGHT, CURVES_WIDTH, CURVES_HEIGHT);
    say_panel(f, s, &p, name);
    fprintf(f, "<rect class=\"card\" x=\".5\" y=\".5\" width=\"%d\" height=\"%d\" rx=\"7\"/>\n",
            CURVES_WIDTH - 1, CURVES_HEIGHT - 1);
    draw_title(f, &p, name);
    draw_axes(f, &p);
    draw_skipped(f, &p, &s->skipped);
    if (p.training) {
        RunPoint q = p.training->point[p.training->n - 1];
        draw_line(f, &p, p.training, "line");
        fprintf(f, "<circle class=\"t\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.4\"/>\n", place_x(&p, q.step),
                place_y(&p, q.value));
    }
    if (p.validation) draw_validation(f, &p);
    fputs("</svg>\n", f);
}

void curves_progress(FILE *f, const RunStage *s)
{
    char text[MARKUP_ROOM];
    fprintf(f, "step %s", markup_number(s->step, 15, text));
    if (s->before + s->seconds > 0) fprintf(f, ", %s", markup_duration(s->before + s->seconds, text));
}

/* The stage's heading and panels below y; returns where the next begins. */
static int draw_stage(FILE *f, const RunStage *s, int y)
{
    const char *name[RUN_CURVES];
    int n = run_curve_names(s, name);
    fprintf(f, "<text x=\"%d\" y=\"%d\"><tspan class=\"head\" font-size=\"16\">", MARGIN, y + HEADING - 14);
    markup_text(f, s->name, 40);
    fputs("</tspan><tspan class=\"soft\" dx=\"10\">", f);
    curves_progress(f, s);
    fputs("</tspan>", f);
    if (run_next_row(s, &(RunRow){0}))
        fputs("<tspan class=\"t\" dx=\"18\">training</tspan><tspan class=\"v\" dx=\"10\">validation</tspan>",
              f);
    fputs("</text>\n", f);
    y += HEADING;
    for (int i = 0; i < n; i++)
        curves_panel(f, s, name[i], MARGIN + i % COLUMNS * (CURVES_WIDTH + GAP),
                     y + i / COLUMNS * (CURVES_HEIGHT + GAP));
    return y + (n + COLUMNS - 1) / COLUMNS * (CURVES_HEIGHT + GAP);
}

static int stage_height(const RunStage *s)
{
    const char *name[RUN_CURVES];
    return HEADING + (run_curve_names(s, name) + COLUMNS - 1) / COLUMNS * (CURVES_HEIGHT + GAP);
}

bool curves_write(const char *path, const RunLog *log, Error *e)
{
    FileWriter w;
    const int width = 2 * MARGIN + COLUMNS * CURVES_WIDTH + (COLUMNS - 1) * GAP;
    int height = log->n ? MARGIN : 60, y = 0;
    for (int i = 0; i < log->n; i++) height += stage_height(&log->stage[i]);
    if (!file_create(&w, path, e)) return false;
    FILE *f = w.stream;
    fprintf(
        f,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
        "font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif\" "
        "font-size=\"13\">\n<style>\n.paper { fill: #f6f6f3; }\n%s@media (prefers-color-scheme: dark) { .paper "
        "{ fill: #111517; } }\n</style>\n<rect class=\"paper\" width=\"%d\" height=\"%d\"/>\n",
        width, height, width, height, curves_style, width, height);
    if (!log->n)
        fprintf(f, "<text class=\"soft\" x=\"%d\" y=\"36\">No line in log.jsonl yet.</text>\n", MARGIN);
    for (int i = 0; i < log->n; i++) y = draw_stage(f, &log->stage[i], y);
    fputs("</svg>\n", f);
    return file_commit(&w, e);
}
