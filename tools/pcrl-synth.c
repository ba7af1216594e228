/* pcrl-synth: a data set of synthetic head CT studies with reports and exact masks, in CTRG's schema. */
#include "data/clues.h"
#include "data/file.h"
#include "data/image.h"
#include "data/json.h"
#include "data/nifti.h"
#include "data/phantom_study.h"
#include "tools/cli.h"
#include "tools/synth_weights.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum HeldOut { HELD_OUT_ANY, HELD_OUT_SKIP, HELD_OUT_ONLY } HeldOut;

typedef struct Options {
    CliCommon common;
    const char *out, *montage;
    int64_t n, seed_base, twins;
    HeldOut held_out;
    int64_t *seed; /* (n) the patients */
    bool counterfactual, reports, nifti;
    PhantomOptions phantom;
    double slice_mm, below_mm; /* of the NIfTI volumes */
} Options;

enum { SEEDS = 900000000 };
enum {
    OPT_OUT = 1,
    OPT_SEED_BASE,
    OPT_REGIME,
    OPT_SIZE,
    OPT_STYLE,
    OPT_TWINS,
    OPT_COUNTER,
    OPT_MONTAGE,
    OPT_REPORTS,
    OPT_NIFTI,
    OPT_SLICE,
    OPT_BELOW,
    OPT_HELD_OUT,
};

static const struct argp_option options[] = {
    {"out", OPT_OUT, "DIR", 0, "data set to write or go on with", 0},
    {"n", 'n', "N", 0, "number of patients (default 10)", 0},
    {"seed-base", OPT_SEED_BASE, "N", 0, "seed and id of the first patient (default 0)", 0},
    {"regime", OPT_REGIME, "NAME", 0,
     "balanced: all findings about equally often; ctrg: as often as in CTRG-Brain", 0},
    {"held-out", OPT_HELD_OUT, "skip|only", 0,
     "pass over the patients that have a combination of data/held_out.def, or all others", 0},
    {"size", OPT_SIZE, "PX", 0, "width of a slice, 64 to 1024 (default 128)", 0},
    {"style", OPT_STYLE, "N", 0, "house style 0 to 3 (default: drawn)", 0},
    {"counterfactual", OPT_COUNTER, 0, 0, "for each patient also one with one lesion mirrored, or else removed",
     0},
    {"twins", OPT_TWINS, "K", 0, "for each patient also K studies that differ only in noise", 0},
    {"nifti", OPT_NIFTI, 0, 0, "write each patient's Hounsfield units too, as volumes/ID.nii.gz", 0},
    {"slice-mm", OPT_SLICE, "MM", 0, "slice distance of those volumes, 1 to 10 (default 5)", 0},
    {"below-mm", OPT_BELOW, "MM", 0, "how far they reach below the skull base, 0 to 60 (default 0)", 0},
    {"montage", OPT_MONTAGE, "FILE", 0, "draw up to 8 patients as one PNG, one slice of each layer", 0},
    {"reports", OPT_REPORTS, 0, 0,
     "print id, report and nothing else; draws no images (with --out: none needed)", 0},
    {0}};

static const char doc[] =
    "Draws synthetic head CT studies: 24 slices as PNG, a Chinese report, and every "
    "finding with its exact mask."
    "\vAn interrupted run goes on where it stopped when called again. Ids are seeds; a "
    "patient's counterfactual has "
    "id 1000000000 higher, twin k has k * 2000000000. 'pcrl-synth weights' writes models of "
    "random weights instead: pcrl-synth weights --help.\n\n"
    "Examples:\n"
    "  pcrl-synth --out data/train --n 4000\n"
    "  pcrl-synth --out data/test --n 300 --seed-base 1000000\n"
    "  pcrl-synth --out data/unseen --n 100 --seed-base 2000000 --held-out only\n"
    "  pcrl-synth --out pairs --n 50 --counterfactual --twins 1\n"
    "  pcrl-synth --out thin --n 3 --nifti --slice-mm 1.5 --below-mm 40 --size 256\n"
    "  pcrl-synth --montage look.png --n 8 --size 224\n"
    "  pcrl-synth --reports --n 12000 > reports.tsv";

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    Options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->common; return 0;
    case OPT_OUT: o->out = arg; return 0;
    case 'n': o->n = cli_int_option(state, "--n", arg, 1, 100000000); return 0;
    case OPT_SEED_BASE: o->seed_base = cli_int_option(state, "--seed-base", arg, 0, 899999999); return 0;
    case OPT_SIZE: o->phantom.size = (int)cli_int_option(state, "--size", arg, 64, 1024); return 0;
    case OPT_STYLE:
        o->phantom.style = (int)cli_int_option(state, "--style", arg, 0, PHANTOM_STYLES - 1);
        return 0;
    case OPT_TWINS: o->twins = cli_int_option(state, "--twins", arg, 0, 100); return 0;
    case OPT_COUNTER: o->counterfactual = true; return 0;
    case OPT_MONTAGE: o->montage = arg; return 0;
    case OPT_REPORTS: o->reports = true; return 0;
    case OPT_NIFTI: o->nifti = true; return 0;
    case OPT_SLICE: o->slice_mm = cli_number_option(state, "--slice-mm", arg, 1, 10); return 0;
    case OPT_BELOW: o->below_mm = cli_number_option(state, "--below-mm", arg, 0, 60); return 0;
    case OPT_HELD_OUT:
        if (strcmp(arg, "skip") && strcmp(arg, "only"))
            argp_error(state, "--held-out %s: expected skip or only", arg);
        o->held_out = strcmp(arg, "only") ? HELD_OUT_SKIP : HELD_OUT_ONLY;
        return 0;
    case OPT_REGIME:
        if (!strcmp(arg, "balanced"))
            o->phantom.regime = PHANTOM_BALANCED;
        else if (!strcmp(arg, "ctrg"))
            o->phantom.regime = PHANTOM_CTRG;
        else
            argp_error(state, "--regime %s: expected balanced or ctrg", arg);
        return 0;
    case ARGP_KEY_END:
        if (!o->out && !o->montage && !o->reports)
            argp_error(state, "nothing to do: give --out, --montage or --reports");
        if (o->nifti && !o->out) argp_error(state, "--nifti needs --out");
        if (o->seed_base + o->n > SEEDS) argp_error(state, "--seed-base + --n is over %d", SEEDS);
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&cli_common_argp, 0, "Common options:", 90}, {0}};
static const struct argp argp = {options, parse_option, 0, doc, children, 0, 0};

/* ---- the patients ---- */

/* A lesion on both sides has the one of either. Only patients with exactly a held-out combination are of its
 * test. */
static bool wanted(const Phantom *p, HeldOut h)
{
    for (int k = 0; k < p->n_truth; k++) {
        const PhantomTruth *t = &p->truth[k];
        if (finding_held_out(t->finding, t->side)) return h == HELD_OUT_ONLY;
        if (h == HELD_OUT_SKIP && t->side == SIDE_BOTH &&
            (finding_held_out(t->finding, SIDE_LEFT) || finding_held_out(t->finding, SIDE_RIGHT)))
            return false;
    }
    return h == HELD_OUT_SKIP;
}

static bool choose(Options *o, Error *e)
{
    o->seed = calloc((size_t)o->n, sizeof *o->seed);
    if (!o->seed) return error_set(e, ERROR_MEMORY, "no memory for %lld patients", (long long)o->n);
    int64_t seed = o->seed_base;
    for (int64_t i = 0; i < o->n; seed++) {
        Phantom p;
        if (seed >= SEEDS)
            return error_set(e, ERROR_INPUT, "only %lld patients of --held-out up to seed %d", (long long)i,
                             SEEDS);
        if (o->held_out != HELD_OUT_ANY) {
            if (!phantom_text_only((uint64_t)seed, &o->phantom, &p, e)) return false;
            if (!wanted(&p, o->held_out)) continue;
        }
        o->seed[i++] = seed;
    }
    return true;
}

/* ---- a data set ---- */

/* What study j of patient `seed` is: 0 the patient, 1 the counterfactual (if asked for), then the twins. False
 * where this patient has no finding that can be changed alone. */
static bool variant(const Options *o, uint64_t seed, int64_t j, PhantomOptions *v, int64_t *id)
{
    Phantom p;
    Error e = {0};
    *v = o->phantom;
    *id = (int64_t)seed;
    if (j == 0) return true;
    if (!o->counterfactual || j > 1) {
        v->noise = (uint64_t)(j - o->counterfactual);
        *id += PHANTOM_TWIN_ID * (int64_t)v->noise;
        return true;
    }
    *id += PHANTOM_COUNTERFACTUAL_ID;
    if (!phantom_text_only(seed, v, &p, &e)) return false;
    for (PhantomEdit edit = PHANTOM_FLIP; edit <= PHANTOM_REMOVE; edit++)
        for (int k = 0; k < p.n_truth; k++)
            if (phantom_editable(&p, k, edit)) {
                v->edit = edit;
                v->edit_truth = k;
                return true;
            }
    return false;
}

/* The same patient as a volume of its own spacing; drawn anew each time, the write is crash-safe. */
static bool write_volume(const Options *o, uint64_t seed, const PhantomOptions *study, int64_t id, Error *e)
{
    char path[4096];
    PhantomOptions v = *study;
    Phantom p;
    if (snprintf(path, sizeof path, "%s/volumes", o->out) >= (int)sizeof path - 40)
        return error_set(e, ERROR_INPUT, "%.100s...: path too long", o->out);
    if (!file_make_folder(path, e)) return false;
    v.slice_mm = o->slice_mm;
    v.below_mm = o->below_mm;
    if (!phantom_make(seed, &v, &p, e)) return false;
    Volume volume = {p.size, p.size, p.n_slices, p.pixel_mm, p.pixel_mm, p.slice_mm, p.hu};
    snprintf(path + strlen(path), 40, "/%lld.nii.gz", (long long)id);
    size_t n = (size_t)p.n_slices * (size_t)p.size * (size_t)p.size;
    for (size_t i = 0; i < n; i++) p.hu[i] = rintf(p.hu[i]); /* whole numbers, as scanners write */
    bool ok = nifti_write(path, &volume, NIFTI_I16, e);
    phantom_free(&p);
    return ok;
}

/* Draws the study unless it is there. */
static bool make_study(const Options *o, uint64_t seed, int64_t j, Error *e)
{
    PhantomOptions v;
    int64_t id;
    json_t *entry;
    Phantom p;
    if (!variant(o, seed, j, &v, &id)) return true;
    if (o->nifti && !write_volume(o, seed, &v, id, e)) return false;
    if (phantom_find_study(o->out, id, seed, &v, &entry)) {
        json_decref(entry);
        return true;
    }
    if (!phantom_make(seed, &v, &p, e)) return false;
    bool ok = phantom_write_study(&p, o->out, id, e);
    phantom_free(&p);
    return ok;
}

static bool make_studies(const Options *o, Error *e)
{
    int64_t each = 1 + o->counterfactual + o->twins, total = o->n * each, done = 0;
    bool ok = true;
    CliProgress progress = cli_progress_start("synth", 0, total);
    cli_catch_interrupt();
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t i = 0; i < total; i++) {
        Error mine = {0};
        bool go_on;
#pragma omp atomic read
        go_on = ok;
        if (!go_on || cli_interrupted()) continue;
        bool made = make_study(o, (uint64_t)o->seed[i / each], i % each, &mine);
#pragma omp critical
        {
            if (!made && ok) {
                ok = false;
                *e = mine;
            }
            cli_progress(&progress, ++done, NULL);
        }
    }
    cli_progress_end(&progress);
    if (ok && cli_interrupted())
        return error_set(e, ERROR_INTERRUPTED,
                         "interrupted after %lld of %lld studies; the same command goes on", (long long)done,
                         (long long)total);
    return ok;
}

/* annotations.json out of every study's own file, one at a time. */
static bool write_annotations(const Options *o, Error *e)
{
    FileWriter w;
    char path[4096];
    int64_t each = 1 + o->counterfactual + o->twins, total = o->n * each, written = 0;
    if (snprintf(path, sizeof path, "%s/annotations.json", o->out) >= (int)sizeof path)
        return error_set(e, ERROR_INPUT, "%.100s...: path too long", o->out);
    if (!file_create(&w, path, e)) return false;
    fputs("[", w.stream);
    for (int64_t i = 0; i < total; i++) {
        PhantomOptions v;
        int64_t id;
        json_t *entry;
        uint64_t seed = (uint64_t)o->seed[i / each];
        if (!variant(o, seed, i % each, &v, &id)) continue;
        if (!phantom_find_study(o->out, id, seed, &v, &entry)) {
            file_abandon(&w);
            return error_set(e, ERROR_IO, "%s/images/%lld/study.json: vanished while writing the list", o->out,
                             (long long)id);
        }
        fputs(written++ ? ",\n" : "\n", w.stream);
        json_dumpf(entry, w.stream, JSON_COMPACT);
        json_decref(entry);
    }
    fputs("\n]\n", w.stream);
    if (!file_commit(&w, e)) return false;
    cli_note("%lld studies in %s", (long long)written, path);
    return true;
}

/* clues.json from the exact masks, in the form that mask retrieval writes. */
static bool write_clues(const Options *o, Error *e)
{
    char path[4096];
    if (snprintf(path, sizeof path, "%s/clues.json", o->out) >= (int)sizeof path)
        return error_set(e, ERROR_INPUT, "%.100s...: path too long", o->out);
    Ctrg *c = ctrg_open(o->out, NULL, NULL, e);
    bool ok = c && clues_from_truth(c, path, e);
    ctrg_free(c);
    return ok;
}

/* ---- looks ---- */

enum { MONTAGE_ROWS = 8, MONTAGE_COLUMNS = 8 };

static bool write_montage(const Options *o, Error *e)
{
    int rows = o->n < MONTAGE_ROWS ? (int)o->n : MONTAGE_ROWS, size = o->phantom.size;
    Image image = {MONTAGE_COLUMNS * size, rows * size, 1, NULL};
    uint8_t *slice = malloc((size_t)size * (size_t)size);
    image.pixel = malloc((size_t)image.width * (size_t)image.height);
    bool ok = (slice && image.pixel) || error_set(e, ERROR_MEMORY, "%s: no memory for the montage", o->montage);
    for (int row = 0; ok && row < rows; row++) {
        Phantom p;
        ok = phantom_make((uint64_t)o->seed[row], &o->phantom, &p, e);
        if (!ok) break;
        for (int column = 0; column < MONTAGE_COLUMNS; column++) {
            phantom_window(&p, 3 * column + 1, slice);
            for (int y = 0; y < size; y++)
                memcpy(image.pixel + ((size_t)(row * size + y) * MONTAGE_COLUMNS + column) * size,
                       slice + y * size, (size_t)size);
        }
        printf("%lld\t%s\n", (long long)o->seed[row], p.report);
        phantom_free(&p);
    }
    ok = ok && image_write_png(o->montage, &image, e);
    free(slice);
    free(image.pixel);
    return ok;
}

static bool print_reports(const Options *o, Error *e)
{
    for (int64_t i = 0; i < o->n; i++) {
        Phantom p;
        if (!phantom_text_only((uint64_t)o->seed[i], &o->phantom, &p, e)) return false;
        printf("%lld\t%s\n", (long long)o->seed[i], p.report);
    }
    return fflush(stdout) == 0 || error_set(e, ERROR_IO, "standard output: %m");
}

int main(int argc, char **argv)
{
    Options o = {.n = 10, .phantom = phantom_options(), .slice_mm = 5};
    Error e = {0};
    if (argc > 1 && !strcmp(argv[1], "weights")) return synth_weights(argc - 1, argv + 1);
    cli_parse(&argp, argc, argv, &o);
    if (!choose(&o, &e)) cli_fail(&e);
    if (o.reports && !print_reports(&o, &e)) cli_fail(&e);
    if (o.montage && !write_montage(&o, &e)) cli_fail(&e);
    if (o.out && !(make_studies(&o, &e) && write_annotations(&o, &e) && write_clues(&o, &e))) cli_fail(&e);
    free(o.seed);
    return 0;
}
