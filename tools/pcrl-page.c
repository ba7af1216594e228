/* pcrl-page: studies, their reports and the scores as one HTML page that needs nothing else; or a training
 * run. */
#include "data/clues.h"
#include "data/file.h"
#include "data/json.h"
#include "data/safetensors.h"
#include "data/study.h"
#include "tools/cli.h"
#include "tools/page.h"
#include "tools/run_page.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char doc[] =
    "Writes one self-contained HTML page: for each study its 24 slices with scroll and window, the generated "
    "report "
    "beside the truth where there is one, and a table of scores beside their controls. It needs no network."
    "\vDATASET is a folder as pcrl-synth and pcrl-import write it, REPORTS the lines that pcrl-report printed "
    "for "
    "it; only the studies in REPORTS are shown. With --run the page is about a training run instead: curves, "
    "validations and settings, from FOLDER/log.jsonl and FOLDER/run.json to FOLDER/index.html and "
    "FOLDER/curves.svg. Research use only, not a medical device.\n\n"
    "Examples:\n"
    "  pcrl-page --out page.html ct reports.jsonl\n"
    "  pcrl-page --text --studies 3 phantoms phantoms.jsonl\n"
    "  pcrl-page --out page.html --scores scores.json --studies 6 real real.jsonl phantoms phantoms.jsonl\n"
    "  pcrl-page --out page.html --masks ct.safetensors ct reports.jsonl\n"
    "  pcrl-page --out page.html --clues ct-clues.json ct reports.jsonl\n"
    "  pcrl-page --run run/pcrl\n";

enum {
    KEY_SCORES = 0x3001,
    KEY_MASKS,
    KEY_CLUES,
    KEY_TITLE,
    KEY_STUDIES,
    KEY_TEXT,
    KEY_RUN,
    MAX_SETS = 16,
    MAX_STUDIES = 200
};

static const struct argp_option options[] = {
    {"out", 'o', "FILE", 0, "the page", 0},
    {"text", KEY_TEXT, 0, 0, "print reports beside truths instead", 0},
    {"scores", KEY_SCORES, "FILE", 0, "what pcrl-score --json printed", 0},
    {"masks", KEY_MASKS, "FILE", 0,
     "the segmentation that pcrl-report --masks wrote; one for each data set, in their order", 0},
    {"clues", KEY_CLUES, "FILE", 0,
     "the masks that pcrl-retrieve found for the sentences; one for each data set, in their order", 0},
    {"title", KEY_TITLE, "TEXT", 0, "heading of the page", 0},
    {"studies", KEY_STUDIES, "N", 0, "at most the first N studies of each data set (default 12)", 0},
    {"run", KEY_RUN, "FOLDER", 0, "the page of a training run, written there", 0},
    {0}};

typedef struct Options {
    CliCommon common;
    const char *out, *scores, *title, *run, *folder[MAX_SETS], *reports[MAX_SETS], *masks[MAX_SETS],
        *clues[MAX_SETS];
    int n_args, n_masks, n_clues, limit;
    bool text;
} Options;

static error_t parse(int key, char *arg, struct argp_state *state)
{
    Options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->common; return 0;
    case 'o': o->out = arg; return 0;
    case KEY_SCORES: o->scores = arg; return 0;
    case KEY_MASKS:
        if (o->n_masks == MAX_SETS) argp_error(state, "at most %d data sets", MAX_SETS);
        o->masks[o->n_masks++] = arg;
        return 0;
    case KEY_CLUES:
        if (o->n_clues == MAX_SETS) argp_error(state, "at most %d data sets", MAX_SETS);
        o->clues[o->n_clues++] = arg;
        return 0;
    case KEY_TEXT: o->text = true; return 0;
    case KEY_TITLE: o->title = arg; return 0;
    case KEY_STUDIES: o->limit = (int)cli_int_option(state, "--studies", arg, 1, MAX_STUDIES); return 0;
    case KEY_RUN: o->run = arg; return 0;
    case ARGP_KEY_ARG:
        if (o->n_args == 2 * MAX_SETS) argp_error(state, "at most %d data sets", MAX_SETS);
        *(o->n_args % 2 ? &o->reports[o->n_args / 2] : &o->folder[o->n_args / 2]) = arg;
        o->n_args++;
        return 0;
    case ARGP_KEY_END:
        if (o->run) {
            if (o->n_args || o->out || o->text || o->scores || o->n_masks || o->n_clues)
                argp_error(state, "--run stands alone");
            return 0;
        }
        if (!o->out == !o->text) argp_error(state, "expected --out FILE or --text");
        if (!o->n_args || o->n_args % 2) argp_error(state, "expected pairs of DATASET and REPORTS");
        if (o->n_masks && 2 * o->n_masks != o->n_args)
            argp_error(state, "%d --masks for %d data sets, expected one for each", o->n_masks, o->n_args / 2);
        if (o->n_clues && 2 * o->n_clues != o->n_args)
            argp_error(state, "%d --clues for %d data sets, expected one for each", o->n_clues, o->n_args / 2);
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* The page's studies with what they own. */
typedef struct Shown {
    PageStudy study;
    uint8_t *pixel;
    int16_t *hu;
    float *segment;
    char *report, name[96], about[256];
} Shown;

typedef struct Gallery {
    int n;
    Shown shown[MAX_SETS * MAX_STUDIES];
} Gallery;

static const CtrgStudy *find_study(const Ctrg *c, int64_t id)
{
    for (int i = 0; i < c->n; i++)
        if (c->study[i].id == id) return &c->study[i];
    return NULL;
}

/* The "import" block of a study that pcrl-import wrote; NULL for others. Borrowed from `list`. */
static const json_t *import_block(const json_t *list, int64_t id)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)id);
    size_t i;
    const json_t *entry;
    json_array_foreach(list, i, entry)
    {
        const char *other = json_string_value(json_object_get(entry, "id"));
        if (other && !strcmp(other, text)) return json_object_get(entry, "import");
    }
    return NULL;
}

static void describe(Shown *s, const CtrgStudy *t, const json_t *import)
{
    s->study.name = s->name, s->study.about = s->about, s->study.truth = t;
    s->study.pixel_mm = t->has_truth ? t->pixel_mm : json_number_value(json_object_get(import, "pixel_mm"));
    if (t->has_truth) {
        snprintf(s->name, sizeof s->name, "合成 Phantom %lld", (long long)t->id);
        snprintf(s->about, sizeof s->about,
                 "合成头颅 CT，种子 %llu。Synthetic head CT, seed %llu; every finding is known to the voxel.",
                 (unsigned long long)t->seed, (unsigned long long)t->seed);
        return;
    }
    snprintf(s->name, sizeof s->name, "扫描 Scan %lld", (long long)t->id);
    double from = json_number_value(json_object_get(import, "from"));
    double to = json_number_value(json_object_get(import, "to"));
    if (s->study.hu && to > from)
        snprintf(s->about, sizeof s->about,
                 "真实扫描：从 %.0f 到 %.0f mm 取 24 层，每层 5 mm。模型只在合成影像上学习过。"
                 "Real scan, 24 slices of 5 mm from %.0f to %.0f mm; the model has seen synthetic scans only.",
                 from, to, from, to);
}

static bool add_study(Gallery *g, const Ctrg *c, const json_t *list, int64_t id, const char *report, Error *e)
{
    const CtrgStudy *t = find_study(c, id);
    if (!t) return error_set(e, ERROR_INPUT, "%s: no study %lld, which has a report", c->folder, (long long)id);
    Shown *s = &g->shown[g->n++];
    int width, height, hu_size = 0;
    if (!ctrg_read_slices(c, t, &s->pixel, &width, &height, e)) return false;
    if (width != height)
        return error_set(e, ERROR_INPUT, "%s: study %lld: %d x %d, expected square slices", c->folder,
                         (long long)id, width, height);
    if (!study_read_hu(c->folder, id, &s->hu, &hu_size, e) && e->code) return false;
    if (s->hu && hu_size != width)
        return error_set(e, ERROR_INPUT, "%s/hu/%lld: %d pixels across, expected %d as in images", c->folder,
                         (long long)id, hu_size, width);
    s->report = strdup(report);
    s->study = (PageStudy){.size = width, .pixel = s->pixel, .hu = s->hu, .report = s->report};
    describe(s, t, import_block(list, id));
    return true;
}

/* One line {"id": "12", "report": "..."}. */
static bool add_line(Gallery *g, const Ctrg *c, const json_t *list, const char *path, int line,
                     const char *text, size_t n, Error *e)
{
    char what[4200];
    const char *id, *report;
    int64_t number;
    snprintf(what, sizeof what, "%s: line %d", path, line);
    json_t *o = json_parse(text, n, what, e);
    bool ok = o && json_get_string(o, "id", what, &id, e) && json_get_string(o, "report", what, &report, e);
    ok = ok && (cli_int(id, 0, INT64_MAX, &number) ||
                error_set(e, ERROR_INPUT, "%s: id '%.40s', expected a number", what, id));
    ok = ok && add_study(g, c, list, number, report, e);
    json_decref(o);
    return ok;
}

static bool add_set(Gallery *g, const Ctrg *c, const char *reports, int limit, Error *e)
{
    char path[4200];
    uint8_t *bytes = NULL;
    size_t n;
    snprintf(path, sizeof path, "%s/annotations.json", c->folder);
    json_t *list = json_read(path, e);
    bool ok = list && file_read(reports, (size_t)256 << 20, &bytes, &n, e);
    const char *p = (const char *)bytes;
    for (int line = 1, used = 0; ok && *p && used < limit; line++) {
        size_t length = strcspn(p, "\n");
        if (strspn(p, " \t\r") < length) ok = add_line(g, c, list, reports, line, p, length, e), used++;
        p += length + (p[length] == '\n');
    }
    free(bytes);
    json_decref(list);
    return ok;
}

/* The segmentation of every study from the first-th on. */
static bool add_masks(Gallery *g, int first, const char *path, Error *e)
{
    static const int64_t dim[] = {CTRG_SLICES, GRID, GRID};
    TensorFile *file = safetensors_open(path, e);
    bool ok = file != NULL;
    for (int i = first; ok && i < g->n; i++) {
        Shown *s = &g->shown[i];
        char name[32];
        snprintf(name, sizeof name, "%lld", (long long)s->study.truth->id);
        s->segment = malloc((size_t)(dim[0] * dim[1] * dim[2]) * sizeof *s->segment);
        ok = s->segment || error_set(e, ERROR_MEMORY, "%s: no memory for study %s", path, name);
        ok = ok && tensor_file_load_f32(file, name, 3, dim, s->segment, e);
        s->study.segment = s->segment;
    }
    tensor_file_close(file);
    return ok;
}

static void print_study(const Shown *s)
{
    const CtrgStudy *t = s->study.truth;
    printf("%s\n  报告 report  %s\n", s->name, s->report);
    if (!*t->findings) return;
    printf("  真实 truth   %s\n  ", t->findings);
    json_t *list = page_compare(t, s->report, NULL);
    size_t i;
    const json_t *f;
    json_array_foreach(list, i, f)
    {
        const char *state = json_string_value(json_object_get(f, "state"));
        const char *mark = !strcmp(state, "hit") ? "✓" : !strcmp(state, "missed") ? "○" : "✗";
        printf("%s %s (%s)  ", mark, json_string_value(json_object_get(f, "text")),
               json_string_value(json_object_get(f, "english")));
    }
    puts(json_array_size(list) ? "\n" : "no findings on either side\n");
    json_decref(list);
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_common_argp, 0, "Common options:", 90}, {0}};
    static const struct argp argp = {
        options, parse, "DATASET REPORTS [DATASET REPORTS...]\n--run FOLDER", doc, children, NULL, NULL};
    Options o = {.limit = 12, .title = "脑 CT 报告 Brain CT reports"};
    cli_parse(&argp, argc, argv, &o);

    Error e = {0};
    if (o.run && !run_page_write(o.run, &e)) cli_fail(&e);
    if (o.run) return 0;
    static Gallery g;
    Ctrg *set[MAX_SETS] = {NULL};
    Clues *clues[MAX_SETS] = {NULL};
    json_t *scores = NULL;
    if (o.scores && !(scores = json_read(o.scores, &e))) cli_fail(&e);
    for (int i = 0; i < o.n_args / 2; i++) {
        if (!(set[i] = ctrg_open(o.folder[i], NULL, NULL, &e))) cli_fail(&e);
        int first = g.n;
        if (!add_set(&g, set[i], o.reports[i], o.limit, &e)) cli_fail(&e);
        if (o.n_masks && !add_masks(&g, first, o.masks[i], &e)) cli_fail(&e);
        if (o.n_clues && !(clues[i] = clues_read(o.clues[i], &e))) cli_fail(&e);
        for (int k = first; clues[i] && k < g.n; k++)
            g.shown[k].study.clues = clues_find(clues[i], g.shown[k].study.truth->id);
    }
    for (int i = 0; o.text && i < g.n; i++) print_study(&g.shown[i]);
    PageStudy *study = malloc((size_t)(g.n + 1) * sizeof *study);
    if (!study) error_set(&e, ERROR_MEMORY, "no memory for %d studies", g.n);
    for (int i = 0; study && i < g.n; i++) study[i] = g.shown[i].study;
    if (!study || (o.out && !page_write(o.out, o.title, study, g.n, scores, &e))) cli_fail(&e);
    for (int i = 0; i < g.n; i++) {
        free(g.shown[i].pixel), free(g.shown[i].hu);
        free(g.shown[i].segment), free(g.shown[i].report);
    }
    for (int i = 0; i < MAX_SETS; i++) ctrg_free(set[i]), clues_free(clues[i]);
    free(study);
    json_decref(scores);
    return 0;
}
