/* pcrl-masks: everything in a slice that might be something, as Segment Anything sees it. */
#include "data/file.h"
#include "tools/masks.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const char doc[] =
    "Segment everything: SAM's automatic masks of a data set's studies, of a folder of slices, or of one "
    "picture (PNG or JPEG).\v"
    "INPUT is a data set (a folder with annotations.json), a folder of up to 24 pictures of one size, or a "
    "picture. "
    "Masks of studies go to GALLERY/ID.json, a study a file, records in the format of the public tool; those "
    "of one "
    "picture to standard output. An interrupted run goes on where it was: studies whose gallery is complete "
    "and "
    "made with "
    "the same settings are skipped. Settings are the public tool's, unless the model recommends its own.\n"
    "\n"
    "Examples:\n"
    "  pcrl-masks --model data/mini --out gallery studies\n"
    "  pcrl-masks --model data/mini --id 12 --overlay masks.png studies\n"
    "  pcrl-masks --model sam --points-per-side 16 --crop-n-layers 1 slice.png > records.json\n"
    "  pcrl-masks --random vit-b slice.png > /dev/null   # how long, how much memory\n"
    "\n"
    "Exit codes: 0 ok, 1 usage, 2 bad input, 3 cannot read or write, 6 out of memory, 130 interrupted.";

enum {
    KEY_MODEL = 256,
    KEY_RANDOM,
    KEY_ID,
    KEY_SLICES,
    KEY_PIXEL,
    KEY_BATCH,
    KEY_OVERLAY,
    KEY_LIMIT,
    KEY_FIELD
};
static const struct argp_option own_options[] = {
    {"model", KEY_MODEL, "DIR", 0, "model folder with SAM as sam.safetensors or sam.pth (data/mini)", 0},
    {"random", KEY_RANDOM, "SIZE", 0, "random weights in its place: vit-b, vit-l or vit-h", 0},
    {"out", 'o', "DIR", 0, "the gallery", 0},
    {"overlay", KEY_OVERLAY, "FILE", 0, "draw the masks of one study or picture, as PNG", 0},
    {"id", KEY_ID, "N", 0, "one study of the data set (of a folder: the id it gets, default 0)", 0},
    {"studies", KEY_LIMIT, "N", 0, "the first N studies only", 0},
    {"slices", KEY_SLICES, "LIST", 0, "of a study, e.g. 6-8,12 (all)", 0},
    {"pixel-mm", KEY_PIXEL, "X", 0, "mm a pixel of studies that do not say", 0},
    {"batch", KEY_BATCH, "N", 0, "points asked at once (what --memory has room for); the masks are the same",
     0},
    {0, 0, 0, 0, "Settings of the masks:", 1},
};
enum { OWN = sizeof own_options / sizeof *own_options };

typedef struct Arguments {
    MaskOptions o;
    const char *input;
    int limit;
} Arguments;

/* "6-8,12" into bits. */
static bool read_slices(const char *text, uint32_t *slices)
{
    uint32_t bits = 0;
    for (const char *p = text;; p++) {
        char *end;
        if (!isdigit((unsigned char)*p)) return false;
        long from = strtol(p, &end, 10), to = from;
        if (*end == '-') {
            if (!isdigit((unsigned char)end[1])) return false;
            to = strtol(end + 1, &end, 10);
        }
        if (from > to || to >= CTRG_SLICES) return false;
        for (long i = from; i <= to; i++) bits |= 1u << i;
        p = end;
        if (!*p) break;
        if (*p != ',') return false;
    }
    *slices = bits;
    return true;
}

static void set_field(MaskOptions *o, int i, const char *arg, struct argp_state *state)
{
    const SamMaskField *f = &sam_mask_field[i];
    o->set[i] = true;
    o->value[i] = f->whole ? (double)cli_int_option(state, f->name, arg, (int64_t)f->low, (int64_t)f->high)
                           : cli_number_option(state, f->name, arg, f->low, f->high);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    Arguments *a = state->input;
    MaskOptions *o = &a->o;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->common; return 0;
    case KEY_MODEL: o->model = arg; return 0;
    case KEY_RANDOM:
        if (!mask_model_known(arg))
            argp_error(state, "--random: expected %s, found '%s'", mask_model_sizes, arg);
        o->random = arg;
        return 0;
    case 'o': o->out = arg; return 0;
    case KEY_OVERLAY: o->overlay = arg; return 0;
    case KEY_ID: o->id = cli_int_option(state, "--id", arg, 0, INT64_MAX); return 0;
    case KEY_LIMIT: a->limit = (int)cli_int_option(state, "--studies", arg, 1, 1 << 30); return 0;
    case KEY_SLICES:
        if (!read_slices(arg, &o->slices))
            argp_error(state, "--slices: expected numbers and ranges from 0 to %d, found '%s'", CTRG_SLICES - 1,
                       arg);
        return 0;
    case KEY_PIXEL: o->pixel_mm = cli_number_option(state, "--pixel-mm", arg, 0.01, 100); return 0;
    case KEY_BATCH: o->batch = (int)cli_int_option(state, "--batch", arg, 1, 1 << 16); return 0;
    case ARGP_KEY_ARG:
        if (a->input) argp_error(state, "one INPUT at a time");
        a->input = arg;
        return 0;
    case ARGP_KEY_END:
        if (!a->input) argp_error(state, "no INPUT: a data set, a folder of pictures or a picture");
        return 0;
    default:
        if (key < KEY_FIELD || key >= KEY_FIELD + SAM_MASK_FIELDS) return ARGP_ERR_UNKNOWN;
        set_field(o, key - KEY_FIELD, arg, state);
        return 0;
    }
}

/* The public tool's names, with dashes, after our own options. */
static const struct argp_option *all_options(void)
{
    static struct argp_option list[OWN + SAM_MASK_FIELDS + 1];
    static char name[SAM_MASK_FIELDS][40];
    const SamMaskSettings s = sam_mask_settings();
    static char what[SAM_MASK_FIELDS][128];
    memcpy(list, own_options, sizeof own_options);
    for (int i = 0; i < SAM_MASK_FIELDS; i++) {
        const SamMaskField *f = &sam_mask_field[i];
        snprintf(name[i], sizeof name[i], "%s", f->name);
        for (char *p = name[i]; *p; p++)
            if (*p == '_') *p = '-';
        snprintf(what[i], sizeof what[i], "%s (%.4g)", f->what, sam_mask_get(&s, i));
        list[OWN + i] = (struct argp_option){name[i], KEY_FIELD + i, f->whole ? "N" : "X", 0, what[i], 1};
    }
    return list;
}

/* ---- what it says at the end ---- */

static double peak_gb(void)
{
    struct rusage own, children;
    getrusage(RUSAGE_SELF, &own);
    getrusage(RUSAGE_CHILDREN, &children);
    long most = own.ru_maxrss > children.ru_maxrss ? own.ru_maxrss : children.ru_maxrss;
    return (double)most / 1e6 * 1.024;
}

static void report(const MaskCounts *c)
{
    const SamMaskTimes *t = &c->times;
    if (c->skipped) cli_note("%lld studies were there and are skipped", (long long)c->skipped);
    if (c->remade)
        cli_note("%lld studies were there with other settings and are made anew", (long long)c->remade);
    if (!c->slices) return;
    cli_note("%lld slices, %lld points: %lld masks above the IoU threshold, %lld of them stable, %lld kept",
             (long long)c->slices, (long long)t->points, (long long)t->above_iou, (long long)t->stable,
             (long long)t->records);
    double sum = t->encoder + t->decoder + t->tail + t->nms + t->rle;
    cli_note("seconds: encoder %.2f, decoder %.2f, tail %.2f, NMS %.2f, RLE %.2f; %.3f a slice; %.1f s in all "
             "with %d "
             "process%s; peak memory of one %.2f GB",
             t->encoder, t->decoder, t->tail, t->nms, t->rle, sum / (double)c->slices, c->seconds, c->processes,
             c->processes == 1 ? "" : "es", peak_gb());
}

/* ---- one study or picture ---- */

static bool print_records(const Gallery *g, Error *e)
{
    json_t *list = json_array();
    bool ok = list;
    for (int i = 0; ok && i < g->slice[0].n; i++)
        ok = !json_array_append_new(list, gallery_mask_json(g, &g->slice[0].mask[i]));
    if (!ok) error_set(e, ERROR_MEMORY, "no memory for the records");
    if (ok && (json_dumpf(list, stdout, JSON_INDENT(1)) || putchar('\n') == EOF || fflush(stdout)))
        ok = error_set(e, ERROR_IO, "standard output: cannot write");
    json_decref(list);
    return ok;
}

typedef struct Watch {
    CliProgress progress;
    int64_t done;
} Watch;

static void tick(void *context)
{
    Watch *w = context;
    cli_progress(&w->progress, ++w->done, NULL);
}

/* A study that no gallery file needs to be looked for. */
static bool run_one(const Arguments *a, const MaskStudy *s, bool print, MaskCounts *c, Error *e)
{
    MaskModel m;
    char path[4096];
    double begun = cli_seconds();
    if (!mask_model_open(&m, &a->o, e)) return false;
    json_t *settings = mask_settings_json(&m, &a->o, e);
    Watch w = {cli_progress_start("slices", 0, mask_slices(&a->o, s->n)), 0};
    Gallery *g = settings ? mask_study_gallery(&m, &a->o, s, settings, &c->times, tick, &w, e) : NULL;
    cli_progress_end(&w.progress);
    bool ok = g != NULL;
    if (ok) c->slices = g->n, c->processes = 1, c->studies = 1;
    if (ok && a->o.out)
        ok = file_make_folder(a->o.out, e) && gallery_path(a->o.out, s->id, path, e) &&
             gallery_write(g, path, e);
    ok = ok && (!print || print_records(g, e)) && (!a->o.overlay || mask_draw(s, g, a->o.overlay, e));
    c->seconds = cli_seconds() - begun;
    gallery_free(g);
    json_decref(settings);
    mask_model_close(&m);
    return ok;
}

static void need_out(const Arguments *a)
{
    if (!a->o.out && !a->o.overlay) cli_usage("%s: --out or --overlay is missing", a->input);
}

/* ---- a data set ---- */

static bool run_studies(const Arguments *a, const Ctrg *data, CtrgStudy *const *study, int n, MaskCounts *c,
                        Error *e)
{
    MaskStudy s = {0};
    if (a->o.overlay && n != 1) cli_usage("--overlay draws one study, %s has %d: --id N", a->input, n);
    if (a->o.out && !mask_run(&a->o, data, study, n, c, e)) return false;
    if (!a->o.overlay) return true;
    if (!mask_study_read(&s, data, study[0], &a->o, e)) return false;
    bool ok;
    if (a->o.out) {
        Gallery *g = gallery_open(a->o.out, s.id, e);
        ok = g && mask_draw(&s, g, a->o.overlay, e);
        gallery_free(g);
    } else {
        ok = run_one(a, &s, false, c, e);
    }
    mask_study_free(&s);
    return ok;
}

static bool run_data(const Arguments *a, MaskCounts *c, Error *e)
{
    need_out(a);
    Ctrg *data = ctrg_open(a->input, NULL, NULL, e);
    if (!data) return false;
    CtrgStudy **study = calloc((size_t)data->n + 1, sizeof *study);
    int n = 0;
    bool ok = study || error_set(e, ERROR_MEMORY, "no memory for %d studies", data->n);
    for (int i = 0; ok && i < data->n && (!a->limit || n < a->limit); i++)
        if (a->o.id < 0 || data->study[i].id == a->o.id) study[n++] = &data->study[i];
    if (ok && !n)
        ok = a->o.id < 0 ? error_set(e, ERROR_INPUT, "%s: no studies in it", a->input)
                         : error_set(e, ERROR_INPUT, "%s: no study %lld in it", a->input, (long long)a->o.id);
    ok = ok && run_studies(a, data, study, n, c, e);
    free(study);
    ctrg_free(data);
    return ok;
}

static bool run(Arguments *a, MaskCounts *c, Error *e)
{
    struct stat st;
    char path[4096];
    MaskStudy s = {0};
    if (stat(a->input, &st)) return error_set(e, ERROR_IO, "%s: cannot open", a->input);
    if (S_ISDIR(st.st_mode)) {
        snprintf(path, sizeof path, "%s/annotations.json", a->input);
        if (!access(path, F_OK)) return run_data(a, c, e);
        need_out(a);
    }
    bool png = !S_ISDIR(st.st_mode);
    if (png) a->o.slices = 1;
    bool ok = png ? mask_study_file(&s, a->input, e) : mask_study_folder(&s, a->input, &a->o, e);
    if (ok && !mask_slices(&a->o, s.n))
        ok = error_set(e, ERROR_INPUT, "%s: %d slices, none of those that --slices names", a->input, s.n);
    ok = ok && run_one(a, &s, png, c, e);
    mask_study_free(&s);
    return ok;
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_common_argp, 0, "Common options:", 90}, {0}};
    const struct argp argp = {all_options(), parse, "INPUT", doc, children, NULL, NULL};
    Arguments a = {.o = {.model = "data/mini", .slices = (1u << CTRG_SLICES) - 1, .id = -1}};
    MaskCounts counts = {0};
    Error e = {0};
    cli_parse(&argp, argc, argv, &a);
    cli_catch_interrupt();
    bool ok = run(&a, &counts, &e);
    report(&counts);
    if (!ok) cli_fail(&e);
    return 0;
}
