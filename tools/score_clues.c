#include "tools/score_clues.h"
#include "data/clues.h"
#include "data/rle.h"
#include "losses/bootstrap.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OTHER = 7 }; /* places to the patient whose galleries are the control */
static const double RIGHT_IOU = 0.5;

/* Adds one lesion or finding of that size to every cell it belongs to. */
static void add(double cells[CLUE_CELLS], int finding, double mm, double value)
{
    int size = mm < 6 ? 0 : mm < 12 ? 1 : mm < 24 ? 2 : 3;
    const int kinds[] = {0, finding == FIND_SUBARACHNOID_HIGH ? -1 : 1, 2 + finding};
    for (int k = 0; k < 3; k++) {
        if (kinds[k] < 0) continue;
        double *row = cells + kinds[k] * CLUE_SIZES;
        row[size] += value;
        if (size >= 2) row[4] += value;
        row[5] += value;
    }
}

static void overlap(const uint8_t *a, const uint8_t *b, size_t n, int64_t *both, int64_t *sum)
{
    *both = *sum = 0;
    for (size_t i = 0; i < n; i++) {
        *both += a[i] & b[i];
        *sum += a[i] + b[i];
    }
}

/* ---- galleries ---- */

void score_gallery_study(const CtrgStudy *s, const Lesion *lesion, int n, const Gallery *g,
                         const int64_t head[CTRG_SLICES], double part[GALLERY_ROWS][CLUE_CELLS],
                         double whole[CLUE_CELLS])
{
    size_t pixels = (size_t)s->width * (size_t)s->height;
    uint8_t *mask = malloc(pixels + 1);
    for (int k = 0; k < n; k++) {
        const GallerySlice *slice = gallery_slice(g, lesion[k].slice);
        int finding = s->truth[lesion[k].truth].finding, masks = slice ? slice->n : 0;
        bool *keep = malloc((size_t)(CLUE_FILTERS * masks + 1) * sizeof *keep), covered[GALLERY_ROWS] = {false};
        if (!mask || !keep) die("out of host memory for a mask");
        for (int f = 0; slice && f < CLUE_FILTERS; f++)
            clue_filter_slice(clue_filter(f), g, slice, head[lesion[k].slice], keep + f * masks);
        for (int i = 0; i < masks; i++) {
            int64_t both, sum;
            if (!gallery_mask(g, &slice->mask[i], mask, NULL)) die("out of host memory for a mask");
            overlap(mask, lesion[k].mask, pixels, &both, &sum);
            if ((double)both < RIGHT_IOU * (double)(sum - both)) continue;
            covered[0] = true;
            for (int f = 0; f < CLUE_FILTERS; f++) covered[1 + f] |= keep[f * masks + i];
        }
        for (int r = 0; r < GALLERY_ROWS; r++)
            if (covered[r]) add(part[r], finding, lesion[k].mm, 1);
        add(whole, finding, lesion[k].mm, 1);
        free(keep);
    }
    free(mask);
}

/* ---- clues ---- */

/* The clue whose entity the clause names. */
static const Clue *clue_of(const StudyClues *s, const char *clause)
{
    for (int i = 0; s && i < s->n; i++) {
        char *said = clue_description(clause, s->clue[i].entity);
        free(said);
        if (said) return &s->clue[i];
    }
    return NULL;
}

/* The finding's pixels in the slice: side 0 those of the left or only side, 1 of the right, 2 of both. */
static bool finding_plane(const CtrgStudy *s, const CtrgTruth *t, int slice, int side, uint8_t *one,
                          uint8_t *all, Error *e)
{
    size_t pixels = (size_t)s->width * (size_t)s->height;
    int first = finding_kind(t->finding)->first_label;
    memset(all, 0, pixels);
    for (int m = 0; m < t->n_masks; m++) {
        if (t->mask[m].slice != slice || (side < 2 && t->mask[m].label != first + side)) continue;
        if (!ctrg_read_mask(s, &t->mask[m], one, e)) return false;
        for (size_t i = 0; i < pixels; i++) all[i] |= one[i];
    }
    return true;
}

/* Best IoU and Dice of the clue's mask with the finding. plane: three of the masks' size. */
static bool compare(const CtrgStudy *s, const CtrgTruth *t, const StudyClues *clues, const Clue *clue,
                    uint8_t *plane[3], double *iou, double *dice, Error *e)
{
    size_t pixels = (size_t)s->width * (size_t)s->height;
    Rle rle;
    *iou = *dice = 0;
    if (!clue || !clue->counts) return true;
    if (!rle_from_text(clue->counts, strlen(clue->counts), clues->width, clues->height, &rle, e)) return false;
    rle_decode(&rle, plane[0]);
    rle_free(&rle);
    for (int side = 0; side < 3; side++) {
        int64_t both, sum;
        if (!finding_plane(s, t, clue->slice, side, plane[1], plane[2], e)) return false;
        overlap(plane[0], plane[2], pixels, &both, &sum);
        if (!both) continue;
        *iou = fmax(*iou, (double)both / (double)(sum - both));
        *dice = fmax(*dice, 2 * (double)both / (double)sum);
    }
    return true;
}

bool score_clues_study(const CtrgStudy *s, const Lesion *lesion, int n, const StudyClues *clues,
                       double part[RETRIEVED_ROWS][CLUE_CELLS], double whole[CLUE_CELLS], Error *e)
{
    size_t pixels = (size_t)s->width * (size_t)s->height;
    uint8_t *plane[3] = {malloc(pixels + 1), malloc(pixels + 1), malloc(pixels + 1)};
    bool ok = (plane[0] && plane[1] && plane[2]) ||
              error_set(e, ERROR_MEMORY, "study %" PRId64 ": no memory for its clues", s->id);
    for (int k = 0; ok && k < s->n_truth; k++) {
        const CtrgTruth *t = &s->truth[k];
        double mm = 0, iou, dice;
        for (int i = 0; i < n; i++)
            if (lesion[i].truth == k) mm = fmax(mm, lesion[i].mm);
        if (mm <= 0) continue;
        ok = compare(s, t, clues, clue_of(clues, t->clause), plane, &iou, &dice, e);
        add(part[RETRIEVED_TOP], t->finding, mm, iou >= RIGHT_IOU);
        add(part[RETRIEVED_DICE], t->finding, mm, dice);
        add(whole, t->finding, mm, 1);
    }
    for (int i = 0; i < 3; i++) free(plane[i]);
    return ok;
}

/* ---- all studies ---- */

typedef struct Study {
    const CtrgStudy *truth;
    Lesion *lesion;
    int n;
    Gallery *gallery; /* NULL without --gallery */
    int64_t head[CTRG_SLICES];
} Study;

/* The tallies of one system: rows of part and one of whole, for each study. */
typedef struct Tally {
    double *part, *whole; /* [rows][n][CLUE_CELLS], [n][CLUE_CELLS] */
} Tally;

static bool tally_open(Tally *t, int rows, int n, Error *e)
{
    t->part = calloc((size_t)rows * (size_t)n * CLUE_CELLS + 1, sizeof *t->part);
    t->whole = calloc((size_t)n * CLUE_CELLS + 1, sizeof *t->whole);
    return (t->part && t->whole) || error_set(e, ERROR_MEMORY, "no memory to score the clues of %d studies", n);
}

static void tally_close(Tally *t)
{
    free(t->part);
    free(t->whole);
}

static bool add_row(ClueScores *out, const char *name, bool of_gallery, const double *part, const double *whole,
                    int n, int repeats, uint64_t seed, Error *e)
{
    if (out->n == out->room) {
        int room = out->room ? 2 * out->room : 16;
        ClueRow *grown = realloc(out->row, (size_t)room * sizeof *grown);
        if (!grown) return error_set(e, ERROR_MEMORY, "no memory for the scores");
        out->row = grown;
        out->room = room;
    }
    ClueRow *r = &out->row[out->n];
    *r = (ClueRow){.of_gallery = of_gallery};
    snprintf(r->name, sizeof r->name, "%s", name);
    for (int c = 0; c < CLUE_CELLS; c++) {
        double sum = 0, total = 0;
        for (int i = 0; i < n; i++) {
            sum += part[(size_t)i * CLUE_CELLS + (size_t)c];
            total += whole[(size_t)i * CLUE_CELLS + (size_t)c];
        }
        r->count[c] = (int64_t)total;
        r->value[c] = total > 0 ? sum / total : NAN;
    }
    out->n++;
    return bootstrap_ratios(part, whole, n, CLUE_CELLS, repeats, seed, r->interval, e);
}

/* The galleries of the studies `shift` places on against each study's lesions. */
static bool gallery_rows(const Study *study, int n, int shift, int repeats, uint64_t seed, ClueScores *out,
                         Error *e)
{
    Tally t = {0};
    bool ok = tally_open(&t, GALLERY_ROWS, n, e);
    for (int i = 0; ok && i < n; i++) {
        const Study *s = &study[i], *from = &study[(i + shift) % n];
        double part[GALLERY_ROWS][CLUE_CELLS] = {{0}};
        if (from->gallery->width != s->truth->width || from->gallery->height != s->truth->height) {
            ok = error_set(e, ERROR_INPUT, "%s: masks of %dx%d, expected %dx%d as the truth has",
                           from->gallery->path, from->gallery->width, from->gallery->height, s->truth->width,
                           s->truth->height);
            break;
        }
        score_gallery_study(s->truth, s->lesion, s->n, from->gallery, from->head, part,
                            t.whole + (size_t)i * CLUE_CELLS);
        for (size_t r = 0; r < GALLERY_ROWS; r++)
            memcpy(t.part + (r * (size_t)n + (size_t)i) * CLUE_CELLS, part[r], sizeof part[r]);
    }
    for (int r = 0; ok && r < GALLERY_ROWS; r++) {
        char name[96];
        const char *whose = shift ? "another patient's, " : "";
        snprintf(name, sizeof name, r ? "%sfilter %s" : "%sbefore the filter", whose,
                 r ? clue_filter(r - 1)->name : "");
        ok =
            add_row(out, name, true, t.part + (size_t)r * (size_t)n * CLUE_CELLS, t.whole, n, repeats, seed, e);
    }
    tally_close(&t);
    return ok;
}

static bool clue_rows(const Study *study, int n, const Clues *clues, const char *name, int repeats,
                      uint64_t seed, ClueScores *out, Error *e)
{
    static const char *const what[RETRIEVED_ROWS] = {"top-1", "Dice"};
    Tally t = {0};
    bool ok = tally_open(&t, RETRIEVED_ROWS, n, e);
    for (int i = 0; ok && i < n; i++) {
        const Study *s = &study[i];
        const StudyClues *c = clues_find(clues, s->truth->id);
        double part[RETRIEVED_ROWS][CLUE_CELLS] = {{0}};
        if (!c)
            ok = error_set(e, ERROR_INPUT, "%s: no clues of study %" PRId64, clues->path, s->truth->id);
        else if (c->n && (c->width != s->truth->width || c->height != s->truth->height))
            ok = error_set(e, ERROR_INPUT,
                           "%s: study %" PRId64 ": masks of %dx%d, expected %dx%d as the truth has",
                           clues->path, s->truth->id, c->width, c->height, s->truth->width, s->truth->height);
        ok = ok && score_clues_study(s->truth, s->lesion, s->n, c, part, t.whole + (size_t)i * CLUE_CELLS, e);
        for (size_t r = 0; ok && r < RETRIEVED_ROWS; r++)
            memcpy(t.part + (r * (size_t)n + (size_t)i) * CLUE_CELLS, part[r], sizeof part[r]);
    }
    for (int r = 0; ok && r < RETRIEVED_ROWS; r++) {
        char full[96];
        snprintf(full, sizeof full, "%.64s, %s", name, what[r]);
        ok = add_row(out, full, false, t.part + (size_t)r * (size_t)n * CLUE_CELLS, t.whole, n, repeats, seed,
                     e);
    }
    tally_close(&t);
    return ok;
}

/* ---- files ---- */

/* The data set's folder from its name or that of its annotations.json. */
static Ctrg *open_truth(const char *truth, bool images, Error *e)
{
    static const char file[] = "annotations.json";
    char folder[4096];
    struct stat st;
    const char *slash = strrchr(truth, '/'), *base = slash ? slash + 1 : truth;
    if (!images) return score_open_annotations(truth, e);
    if (stat(truth, &st) || S_ISDIR(st.st_mode)) return ctrg_open(truth, NULL, NULL, e);
    if (strcmp(base, file) != 0 || strlen(truth) >= sizeof folder) {
        error_set(e, ERROR_INPUT, "%.200s: expected a data set's folder or its %s: galleries need its images",
                  truth, file);
        return NULL;
    }
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - truth) : 1, slash ? truth : ".");
    return ctrg_open(folder, NULL, NULL, e);
}

static bool open_gallery(const Ctrg *c, const char *folder, Study *s, Error *e)
{
    uint8_t *pixel;
    int width, height;
    if (!(s->gallery = gallery_open(folder, s->truth->id, e)) ||
        !ctrg_read_slices(c, s->truth, &pixel, &width, &height, e))
        return false;
    bool ok = (width == s->gallery->width && height == s->gallery->height) ||
              error_set(e, ERROR_INPUT, "%s: masks of %dx%d, expected %dx%d as its slices", s->gallery->path,
                        s->gallery->width, s->gallery->height, width, height);
    size_t plane = (size_t)width * (size_t)height;
    for (size_t i = 0; ok && i < CTRG_SLICES; i++) s->head[i] = clue_head_pixels(pixel + i * plane, plane);
    free(pixel);
    return ok;
}

/* Fills study[] with those to be scored. */
static bool open_studies(const Ctrg *c, const char *galleries, const Clues *model, bool partial, Study *study,
                         ClueScores *out, Error *e)
{
    for (int k = 0; k < c->n; k++) {
        char path[4096];
        Study *s = &study[out->studies];
        s->truth = &c->study[k];
        if (!s->truth->has_truth)
            return error_set(e, ERROR_INPUT, "%s: study %" PRId64 " has no truth masks to compare with",
                             c->folder, s->truth->id);
        if (galleries && !gallery_path(galleries, s->truth->id, path, e)) return false;
        if (partial &&
            ((galleries && access(path, F_OK) != 0) || (model && !clues_find(model, s->truth->id)))) {
            out->skipped++;
            continue;
        }
        out->studies++;
        if (!lesions_find(s->truth, &s->lesion, &s->n, e) || (galleries && !open_gallery(c, galleries, s, e)))
            return false;
    }
    return out->studies || error_set(e, ERROR_INPUT, "%s: no study to score the clues of", c->folder);
}

static bool all_known(const Clues *clues, const Ctrg *c, Error *e)
{
    for (int k = 0; k < clues->n; k++) {
        bool there = false;
        for (int i = 0; i < c->n && !there; i++) there = c->study[i].id == clues->study[k].id;
        if (!there)
            return error_set(e, ERROR_INPUT, "%s: study %" PRId64 " is not in the truth", clues->path,
                             clues->study[k].id);
    }
    return true;
}

bool score_clues(const char *truth, const char *galleries, const ClueFile *file, int n_files, bool partial,
                 int repeats, uint64_t seed, ClueScores *out, Error *e)
{
    *out = (ClueScores){0};
    Ctrg *c = open_truth(truth, galleries, e);
    Study *study = c ? calloc((size_t)c->n + 1, sizeof *study) : NULL;
    Clues **clues = calloc((size_t)n_files + 1, sizeof *clues);
    bool ok = c && ((study && clues) || error_set(e, ERROR_MEMORY, "no memory to score %d studies", c->n));
    for (int i = 0; ok && i < n_files; i++)
        ok = (clues[i] = clues_read(file[i].path, e)) && (partial || all_known(clues[i], c, e));
    ok = ok && open_studies(c, galleries, n_files ? clues[0] : NULL, partial, study, out, e);
    int n = out->studies;
    if (galleries) {
        ok = ok && gallery_rows(study, n, 0, repeats, seed, out, e);
        if (n > OTHER) ok = ok && gallery_rows(study, n, OTHER, repeats, seed, out, e);
    }
    for (int i = 0; ok && i < n_files; i++)
        ok = clue_rows(study, n, clues[i], file[i].name, repeats, seed, out, e);
    for (int i = 0; study && i < c->n; i++) {
        lesions_free(study[i].lesion, study[i].n);
        gallery_free(study[i].gallery);
    }
    for (int i = 0; clues && i < n_files; i++) clues_free(clues[i]);
    free(study);
    free(clues);
    ctrg_free(c);
    if (!ok) score_clues_free(out);
    return ok;
}

void score_clues_free(ClueScores *s)
{
    free(s->row);
    *s = (ClueScores){0};
}
