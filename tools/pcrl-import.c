/* A brain CT -> a study of 24 slices in a data set folder, and a picture of the slices chosen; or the corpus
 * CTRG-Brain -> three data sets; or CQ500 -> two with labels. */
#include "data/montage.h"
#include "data/nifti.h"
#include "data/study.h"
#include "tools/cli.h"
#include "tools/cq500.h"
#include "tools/import_ctrg.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char doc[] =
    "Turns a head CT into a study of 24 slices (8 layers x 3) in a data set folder."
    "\vINPUT is a NIfTI file (.nii, .nii.gz), a headerless volume (with --dtype, --dims, "
    "--spacing, --axes) or a "
    "folder of PNG or JPEG slices. Without --range the slices run from the skull base to the "
    "upper cortex, found by the "
    "brain's area in each slice. The slices chosen are listed on standard output, files by their "
    "number in the order of names.\n\n"
    "With --ctrg ROOT there is no INPUT: ROOT is the corpus CTRG-Brain as it is handed out "
    "(origin_anno.json, samples/ID/*.jpg, with or without total_image_list_final.json), and "
    "--out gets the data sets train, validation and test, with ids and slice numbers in the "
    "place of file names. --verify lists everything that is wrong with it, in one pass, and "
    "writes nothing; exit code 2 if there is anything. Interrupted, the same command goes "
    "on.\n\n"
    "--cq500 takes no INPUT: ROOT holds CQ500 as it is published, reads.csv and a folder a study "
    "with its series of DICOM files, which the program dcm2niix (Debian's package dcm2niix) "
    "reads. Of a study's series the plain one with the most files up to 100 is taken, else the "
    "shortest plain one. A label is a study's when two of its three readers saw it. Nobody "
    "said in which slices: all 24, which run from the brain's first to its last, get the "
    "study's labels, so many a slice of a study with a bleed shows none (weak labels). What "
    "is there already is kept: run again to go on. Studies of an earlier import that this one "
    "does not have (not among the reads any more, or not to be imported now) are named and "
    "taken out of the annotations; their slices stay on disk. A table of the labels goes to "
    "standard output.\n\n"
    "Examples:\n"
    "  pcrl-import --out ct --id 1 --montage ct/1.png head.nii.gz\n"
    "  pcrl-import --out ct --id 2 --range 40:145 head.nii.gz\n"
    "  pcrl-import --out ct --id 3 --dtype i16 --dims 256,256,108 --spacing "
    "0.957,0.957,1.5 --axes LAS matrix.dat\n"
    "  pcrl-import --out ct --id 4 --size 224 --pixel-size 0.45 slices/\n"
    "  pcrl-import --cq500 CQ500 --out sets/cq500 --validation sets/cq500-validation "
    "--size 512\n";

enum {
    KEY_ID = 0x2001,
    KEY_SIZE,
    KEY_RANGE,
    KEY_MONTAGE,
    KEY_REPORT,
    KEY_HU,
    KEY_DTYPE,
    KEY_DIMS,
    KEY_SPACING,
    KEY_AXES,
    KEY_SLOPE,
    KEY_OFFSET,
    KEY_SKIP,
    KEY_PIXEL,
    KEY_ANY,
    KEY_VERTEX,
    KEY_CTRG,
    KEY_VERIFY,
    KEY_SPLIT,
    KEY_SPLITS,
    KEY_ORDER,
    KEY_ANNOTATIONS,
    KEY_MANIFEST,
    KEY_SERIES,
    KEY_NO_CLEAN,
    KEY_SKIP_BAD,
    KEY_CQ500,
    KEY_READS,
    KEY_VALIDATION
};

static const struct argp_option options[] = {
    {"out", 'o', "FOLDER", 0, "data set to write into, made if missing (required)", 1},
    {"id", KEY_ID, "N", 0, "the study's number (default 0); an entry of that number is replaced", 1},
    {"size", KEY_SIZE, "PIXELS", 0, "128, 224, 512 or any from 64 to 1024 (default 128)", 1},
    {"range", KEY_RANGE, "A:B", 0, "mm above the lowest face of the scan; for folders, file numbers", 1},
    {"montage", KEY_MONTAGE, "FILE", 0, "draw the slices into this PNG file", 1},
    {"report", KEY_REPORT, "TEXT", 0, "the findings that belong to the study", 1},
    {"hu", KEY_HU, 0, 0, "keep Hounsfield units too, so that the page can change the window", 1},
    {0, 0, 0, 0, "Headerless volumes:", 2},
    {"dtype", KEY_DTYPE, "TYPE", 0, "u8 i8 u16 i16 u32 i32 f32 f64; with a final b: big-endian", 2},
    {"dims", KEY_DIMS, "X,Y,Z", 0, "extents in file order, fastest first", 2},
    {"spacing", KEY_SPACING, "X,Y,Z", 0, "mm between voxels, same order", 2},
    {"axes", KEY_AXES, "ABC", 0, "where each index grows to: L|R, A|P, S|I (default LPS)", 2},
    {"slope", KEY_SLOPE, "X", 0, "HU = slope * stored + offset (default 1)", 2},
    {"offset", KEY_OFFSET, "X", 0, "(default 0)", 2},
    {"skip", KEY_SKIP, "BYTES", 0, "header bytes before the voxels (default 0)", 2},
    {0, 0, 0, 0, "Folders of slices:", 3},
    {"pixel-size", KEY_PIXEL, "MM", 0, "pixel size of the files, to bring them to the common scale", 3},
    {"any-count", KEY_ANY, 0, 0, "accept other than 24 files: repeat or skip slices", 3},
    {"from-vertex", KEY_VERTEX, 0, 0, "the first file is the uppermost slice", 3},
    {0, 0, 0, 0, "CTRG-Brain:", 4},
    {"ctrg", KEY_CTRG, "ROOT", 0, "import the corpus in this folder", 4},
    {"verify", KEY_VERIFY, 0, 0, "only list what is wrong with it, pixels included", 4},
    {"split", KEY_SPLIT, "KIND", 0,
     "7:1:2 by position, pcrl: training, test, validation (default); mepnet: training, validation, test; seed: "
     "after "
     "a shuffle by --seed; files: by the lists train.json (or seg_mask_anno_train.json), validation.json and "
     "test.json",
     4},
    {"splits", KEY_SPLITS, "FOLDER", 0, "where --split files has its lists (default ROOT/splits)", 4},
    {"order", KEY_ORDER, "FILE", 0,
     "count positions in this file's ids, not in those of the annotations; given again, its ids follow", 4},
    {"annotations", KEY_ANNOTATIONS, "FILE", 0, "(default ROOT/origin_anno.json)", 4},
    {"manifest", KEY_MANIFEST, "FILE", 0,
     "the 24 images of each study (default ROOT/total_image_list_final.json, if it is there; else they are "
     "taken "
     "evenly from the first to the last)",
     4},
    {"series", KEY_SERIES, "most", 0, "of mixed series take the one of most slices", 4},
    {"no-clean", KEY_NO_CLEAN, 0, 0, "keep the texts as they are", 4},
    {0, 0, 0, 0, "CQ500:", 5},
    {"cq500", KEY_CQ500, "ROOT", 0, "import all studies of CQ500 found under ROOT, each under its own number",
     5},
    {"reads", KEY_READS, "FILE", 0, "what its readers saw (default: ROOT/reads.csv)", 5},
    {"validation", KEY_VALIDATION, "FOLDER", 0,
     "data set for every fifth study with a bleed and every fifth without", 5},
    {0, 0, 0, 0, "CTRG-Brain and CQ500:", 6},
    {"skip-bad", KEY_SKIP_BAD, 0, 0, "leave out studies that cannot be used; they are named and counted", 6},
    {0}};

typedef struct Import {
    CliCommon common;
    const char *input, *out, *montage, *report, *cq500, *reads, *validation;
    int64_t id;
    bool hu, raw_options, dims, spacing, one; /* one: an option of a single study was given */
    StudyOptions study;
    RawLayout raw;
    bool verify, ctrg_options, skip_bad;
    ImportCtrg ctrg;
} Import;

static void need_numbers(struct argp_state *state, const char *option, const char *text, char by, int n,
                         double *out)
{
    if (!cli_numbers(text, by, n, out))
        argp_error(state, "%s: expected %d numbers separated by '%c', found '%s'", option, n, by, text);
}

static void parse_dims(struct argp_state *state, const char *text, Import *o)
{
    double n[3];
    need_numbers(state, "--dims", text, ',', 3, n);
    for (int a = 0; a < 3; a++) {
        o->raw.extent[a] = (int64_t)n[a];
        if (n[a] < 1 || n[a] > VOLUME_MAX_SIDE || n[a] != (double)o->raw.extent[a])
            argp_error(state, "--dims: expected whole numbers from 1 to %d, found '%s'", VOLUME_MAX_SIDE, text);
    }
    o->dims = true;
}

static void parse_range(struct argp_state *state, const char *text, Import *o)
{
    double range[2];
    need_numbers(state, "--range", text, ':', 2, range);
    if (range[1] <= range[0]) argp_error(state, "--range: expected A below B, found '%s'", text);
    o->study.from = range[0], o->study.to = range[1];
}

static error_t parse_raw(int key, char *arg, struct argp_state *state, Import *o)
{
    o->raw_options = true;
    switch (key) {
    case KEY_DTYPE: o->raw.dtype = arg; return 0;
    case KEY_DIMS: parse_dims(state, arg, o); return 0;
    case KEY_SPACING:
        need_numbers(state, "--spacing", arg, ',', 3, o->raw.spacing);
        o->spacing = true;
        return 0;
    case KEY_AXES: o->raw.axes = arg; return 0;
    case KEY_SLOPE: o->raw.slope = cli_number_option(state, "--slope", arg, -1e6, 1e6); return 0;
    case KEY_OFFSET: o->raw.offset = cli_number_option(state, "--offset", arg, -1e6, 1e6); return 0;
    case KEY_SKIP: o->raw.skip = (uint64_t)cli_int_option(state, "--skip", arg, 0, INT32_MAX); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_ctrg(int key, char *arg, struct argp_state *state, Import *o)
{
    ImportCtrg *c = &o->ctrg;
    o->ctrg_options = true;
    switch (key) {
    case KEY_CTRG: c->root = arg; return 0;
    case KEY_VERIFY: o->verify = true; return 0;
    case KEY_SPLIT:
        if (!split_from_name(arg, &c->split))
            argp_error(state, "--split: expected pcrl, mepnet, seed or files, found '%s'", arg);
        return 0;
    case KEY_SPLITS: c->splits = arg; return 0;
    case KEY_ORDER:
        if (c->n_order == IMPORT_ORDERS) argp_error(state, "--order: at most %d files", IMPORT_ORDERS);
        c->order[c->n_order++] = arg;
        return 0;
    case KEY_ANNOTATIONS: c->annotations = arg; return 0;
    case KEY_MANIFEST: c->manifest = arg; return 0;
    case KEY_SERIES:
        if (strcmp(arg, "most")) argp_error(state, "--series: expected most, found '%s'", arg);
        c->most = true;
        return 0;
    case KEY_NO_CLEAN: c->clean = false; return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static void check_cq500(struct argp_state *state, const Import *o)
{
    if (o->input) argp_error(state, "--cq500 takes no INPUT, found '%s'", o->input);
    if (o->one || o->ctrg_options)
        argp_error(state, "--cq500 goes with --out, --reads, --validation, --size, --hu and --skip-bad alone");
    if (!o->out) argp_error(state, "no --out FOLDER");
    if (o->validation && !strcmp(o->validation, o->out))
        argp_error(state, "--out and --validation: expected two folders, found '%s' twice", o->out);
}

/* The ways to call it do not mix. */
static void check_ways(struct argp_state *state, const Import *o)
{
    if (o->ctrg.root && o->input) argp_error(state, "--ctrg takes no INPUT, found '%s'", o->input);
    if (!o->ctrg.root && o->ctrg_options) argp_error(state, "--verify, --split and the like need --ctrg ROOT");
    if (o->cq500) {
        check_cq500(state, o);
        return;
    }
    if (o->reads || o->validation) argp_error(state, "--reads and --validation are for --cq500");
    if (o->skip_bad && !o->ctrg.root) argp_error(state, "--skip-bad needs --ctrg ROOT or --cq500 ROOT");
    if (!o->ctrg.root && !o->input) argp_error(state, "no INPUT");
    if (!o->out && !o->verify) argp_error(state, "no --out FOLDER");
    if (o->verify && o->out) argp_error(state, "--verify writes nothing: no --out");
    if (o->ctrg.splits && o->ctrg.split != SPLIT_FILES) argp_error(state, "--splits is for --split files");
    if (o->ctrg.n_order && o->ctrg.split == SPLIT_FILES) argp_error(state, "--order is for splits by position");
    if (o->ctrg.root &&
        (o->raw_options || o->id || o->hu || o->montage || *o->report || o->study.pixel_mm > 0 ||
         o->study.any_count || o->study.from_vertex || o->study.to > o->study.from))
        argp_error(state, "of the options for an INPUT, --ctrg takes --size alone");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    Import *o = state->input;
    o->one |= key >= KEY_ID && key <= KEY_VERTEX && key != KEY_SIZE && key != KEY_HU;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->common; return 0;
    case 'o': o->out = arg; return 0;
    case KEY_ID: o->id = cli_int_option(state, "--id", arg, 0, INT64_MAX); return 0;
    case KEY_SIZE:
        o->study.size = (int)cli_int_option(state, "--size", arg, STUDY_MIN_SIZE, STUDY_MAX_SIZE);
        return 0;
    case KEY_RANGE: parse_range(state, arg, o); return 0;
    case KEY_MONTAGE: o->montage = arg; return 0;
    case KEY_REPORT: o->report = arg; return 0;
    case KEY_HU: o->hu = true; return 0;
    case KEY_PIXEL: o->study.pixel_mm = cli_number_option(state, "--pixel-size", arg, 0.05, 20); return 0;
    case KEY_ANY: o->study.any_count = true; return 0;
    case KEY_VERTEX: o->study.from_vertex = true; return 0;
    case KEY_SKIP_BAD: o->skip_bad = o->ctrg.skip_bad = true; return 0;
    case KEY_CQ500: o->cq500 = arg; return 0;
    case KEY_READS: o->reads = arg; return 0;
    case KEY_VALIDATION: o->validation = arg; return 0;
    case ARGP_KEY_ARG:
        if (o->input) argp_error(state, "one INPUT at a time, found '%s' and '%s'", o->input, arg);
        o->input = arg;
        return 0;
    case ARGP_KEY_END: check_ways(state, o); return 0;
    default:
        if (key >= KEY_DTYPE && key <= KEY_SKIP) return parse_raw(key, arg, state, o);
        return key >= KEY_CTRG && key < KEY_SKIP_BAD ? parse_ctrg(key, arg, state, o) : ARGP_ERR_UNKNOWN;
    }
}

static bool is_folder(const char *path)
{
    struct stat s;
    return !stat(path, &s) && S_ISDIR(s.st_mode);
}

static bool is_nifti(const char *path)
{
    size_t n = strlen(path);
    return (n > 4 && !strcmp(path + n - 4, ".nii")) || (n > 7 && !strcmp(path + n - 7, ".nii.gz"));
}

static bool read_volume(const Import *o, Volume *v, Error *e)
{
    if (is_nifti(o->input)) return nifti_read(o->input, v, NULL, e);
    if (!o->raw.dtype || !o->dims || !o->spacing)
        cli_usage("%s is neither a folder nor .nii or .nii.gz: a headerless volume needs --dtype, --dims and "
                  "--spacing",
                  o->input);
    return volume_read_raw(o->input, &o->raw, v, e);
}

/* Files by their number in the order of names, as --range has them: a name may be a patient's. */
static void list_slices(const Study *s)
{
    printf(s->from_volume ? "slice\tlayer\tmm\tfirst\tlast\n" : "slice\tlayer\tfile\n");
    for (int i = 0; i < STUDY_SLICES; i++)
        if (s->from_volume)
            printf("%d\t%d\t%.1f\t%d\t%d\n", i, i / 3, s->at[i], s->first[i], s->last[i]);
        else
            printf("%d\t%d\t%d\n", i, i / 3, s->first[i] + 1);
}

static int run_ctrg(Import *o)
{
    Error e = {0};
    o->ctrg.out = o->out;
    o->ctrg.seed = o->common.seed;
    o->ctrg.study = o->study;
    cli_catch_interrupt();
    bool ok = o->verify ? ctrg_verify(&o->ctrg, &e) : ctrg_import(&o->ctrg, &e);
    if ((fflush(stdout) || ferror(stdout)) && ok) ok = error_set(&e, ERROR_IO, "standard output: cannot write");
    if (!ok) cli_fail(&e);
    return 0;
}

static int run_cq500(const Import *o)
{
    Cq500Import all = {o->cq500, o->reads, o->out, o->validation, o->study, o->hu, o->skip_bad};
    Error e = {0};
    cli_catch_interrupt();
    bool ok = cq500_import(&all, stdout, &e);
    if ((fflush(stdout) || ferror(stdout)) && ok) ok = error_set(&e, ERROR_IO, "standard output: cannot write");
    if (!ok) cli_fail(&e);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_common_argp, 0, "Common options:", 90}, {0}};
    static const struct argp argp = {options, parse, "INPUT\n--ctrg ROOT\n--cq500 ROOT", doc, children,
                                     NULL,    NULL};
    Import o = {.study = study_options(), .raw = {.axes = "LPS", .slope = 1}, .report = ""};
    o.ctrg.clean = true;
    cli_parse(&argp, argc, argv, &o);
    if (o.cq500) return run_cq500(&o);
    if (o.ctrg.root) return run_ctrg(&o);

    Error e = {0};
    Volume v = {0};
    Study s = {0};
    bool folder = is_folder(o.input);
    if (o.raw_options && (folder || is_nifti(o.input)))
        cli_usage("--dtype and the other layout options are for headerless volumes, not %s", o.input);
    bool ok = folder ? study_from_folder(o.input, &o.study, &s, &e)
                     : read_volume(&o, &v, &e) && study_from_volume(&v, &o.study, o.input, &s, &e);
    if (!ok || !study_write(&s, o.out, o.id, o.report, o.hu, &e)) cli_fail(&e);
    if (o.montage) {
        Image image;
        if (!montage_draw(&s, v.hu ? &v : NULL, &image, &e) || !image_write_png(o.montage, &image, &e))
            cli_fail(&e);
        free(image.pixel);
    }
    if (s.from_volume)
        cli_note("%s: %d x %d x %d voxels, slices from %.1f to %.1f mm (%s), %.2f mm a pixel", o.input, v.nx,
                 v.ny, v.nz, s.from, s.to, s.automatic ? "found" : "given", s.pixel_mm);
    list_slices(&s);
    volume_free(&v);
    study_free(&s);
    return 0;
}
