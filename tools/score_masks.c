#include "tools/score_masks.h"
#include "data/safetensors.h"
#include "tools/score_tables.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DICE, POOLED, ALARM, RATIOS };

bool mask_truth(const CtrgStudy *s, MaskTruth *t, Error *e)
{
    size_t W = (size_t)s->width, H = (size_t)s->height;
    uint8_t *one = malloc(W * H + 1), *all = calloc(CTRG_SLICES, W * H + 1);
    bool ok = one && all;
    if (!ok) error_set(e, ERROR_MEMORY, "study %lld: no memory for its masks", (long long)s->id);
    for (int k = 0; ok && k < s->n_truth; k++)
        for (int m = 0; ok && m < s->truth[k].n_masks && finding_kind(s->truth[k].finding)->focal; m++) {
            uint8_t *slice = all + (size_t)s->truth[k].mask[m].slice * W * H;
            ok = ctrg_read_mask(s, &s->truth[k].mask[m], one, e);
            for (size_t i = 0; ok && i < W * H; i++) slice[i] |= one[i];
        }
    for (int i = 0; ok && i < CTRG_SLICES; i++) {
        int covered[GRID_CELLS] = {0}, size[GRID_CELLS] = {0};
        t->healthy[i] = true;
        for (size_t y = 0; y < H; y++)
            for (size_t x = 0; x < W; x++) {
                size_t cell = y * GRID / H * GRID + x * GRID / W;
                bool in = all[((size_t)i * H + y) * W + x];
                size[cell]++;
                covered[cell] += in;
                t->healthy[i] &= !in;
            }
        for (int c = 0; c < GRID_CELLS; c++)
            t->cell[i * GRID_CELLS + c] = covered[c] && 4 * covered[c] >= size[c];
    }
    free(one);
    free(all);
    return ok;
}

/* One study's share of the three ratios. */
static void count_study(const MaskTruth *t, const float *prob, double part[RATIOS], double whole[RATIOS])
{
    for (int i = 0; i < CTRG_SLICES; i++) {
        int both = 0, truth = 0, said = 0;
        for (int c = i * GRID_CELLS; c < (i + 1) * GRID_CELLS; c++) {
            bool in = prob[c] >= 0.5f;
            truth += t->cell[c];
            said += in;
            both += t->cell[c] && in;
        }
        part[POOLED] += 2 * both;
        whole[POOLED] += truth + said;
        if (truth) part[DICE] += 2.0 * both / (truth + said);
        whole[DICE] += truth > 0;
        part[ALARM] += t->healthy[i] && said;
        whole[ALARM] += t->healthy[i];
    }
}

bool mask_score(const MaskTruth *truth, const float *prob, int n, int repeats, uint64_t seed, MaskScore *out,
                Error *e)
{
    double *part = calloc(2 * (size_t)n * RATIOS + 1, sizeof *part), *whole = part + (size_t)n * RATIOS;
    Interval interval[RATIOS];
    double sum[RATIOS] = {0}, total[RATIOS] = {0};
    if (!part) return error_set(e, ERROR_MEMORY, "no memory to score the masks of %d studies", n);
    for (size_t k = 0; k < (size_t)n; k++) {
        count_study(&truth[k], prob + k * MASK_CELLS, part + k * RATIOS, whole + k * RATIOS);
        for (int j = 0; j < RATIOS; j++) {
            sum[j] += part[k * RATIOS + (size_t)j];
            total[j] += whole[k * RATIOS + (size_t)j];
        }
    }
    bool ok = bootstrap_ratios(part, whole, n, RATIOS, repeats, seed, interval, e);
    free(part);
    if (!ok) return false;
    for (int j = 0; j < RATIOS; j++) sum[j] = total[j] > 0 ? sum[j] / total[j] : NAN;
    *out = (MaskScore){(int64_t)total[DICE], (int64_t)total[ALARM], sum[DICE],        sum[POOLED],
                       sum[ALARM],           interval[DICE],        interval[POOLED], interval[ALARM]};
    return true;
}

/* One study's probabilities. */
static bool read_study(const TensorFile *s, int64_t id, float *prob, Error *e)
{
    char name[32];
    snprintf(name, sizeof name, "%lld", (long long)id);
    if (!tensor_file_load_f32(s, name, 3, (int64_t[]){CTRG_SLICES, GRID, GRID}, prob, e)) return false;
    for (int i = 0; i < MASK_CELLS; i++)
        if (!(prob[i] >= 0 && prob[i] <= 1))
            return error_set(e, ERROR_INPUT, "%s: study %s: element %d is %g, expected a probability", s->path,
                             name, i, (double)prob[i]);
    return true;
}

static bool read_all(const Ctrg *c, const ScoreTruth *t, const TensorFile *s, MaskTruth *truth, float *prob,
                     Error *e)
{
    const CtrgStudy *study = c->study; /* t is c's studies in their order, some left out */
    for (int i = 0; i < t->n; i++, study++) {
        while (study->id != t->id[i]) study++;
        if (!study->has_truth)
            return error_set(e, ERROR_INPUT, "%s: study %lld has no truth masks to compare with", s->path,
                             (long long)study->id);
        if (!mask_truth(study, &truth[i], e) || !read_study(s, t->id[i], prob + (size_t)i * MASK_CELLS, e))
            return false;
    }
    return true;
}

/* Every tensor is of a study of t. */
static bool all_known(const TensorFile *s, const ScoreTruth *t, Error *e)
{
    for (int k = 0; k < s->n; k++) {
        char *rest;
        int64_t id = strtoll(s->entry[k].name, &rest, 10);
        bool found = false;
        for (int i = 0; !*rest && i < t->n; i++) found |= t->id[i] == id;
        if (!found)
            return error_set(e, ERROR_INPUT, "%s: tensor '%.60s' is of no study in the truth", s->path,
                             s->entry[k].name);
    }
    return true;
}

bool score_masks(const Ctrg *c, const ScoreTruth *t, const char *path, bool unknown, int repeats, uint64_t seed,
                 ScoreMasks *out, Error *e)
{
    TensorFile *s = safetensors_open(path, e);
    if (!s) return false;
    MaskTruth *truth = calloc((size_t)t->n + 1, sizeof *truth);
    float *prob = calloc((size_t)t->n + 1, MASK_CELLS * sizeof *prob);
    bool ok = truth && prob;
    if (!ok) error_set(e, ERROR_MEMORY, "%s: no memory for the masks of %d studies", path, t->n);
    ok = ok && (unknown || all_known(s, t, e)) && read_all(c, t, s, truth, prob, e) &&
         mask_score(truth, prob, t->n, repeats, seed, &out->score, e);
    free(truth);
    free(prob);
    tensor_file_close(s);
    return ok;
}

static void print_cell(FILE *out, double value, const Interval *i)
{
    fprintf(out, "  %5s %11s", score_share(value), score_range(i));
}

void score_masks_print(FILE *out, const ScoreMasks *m, int n)
{
    fprintf(
        out,
        "\nSegmentation: Dice on 14x14 cells of a slice (true: a quarter covered by focal lesions; predicted: "
        "probability 0.5)\n%-18s  %17s  %17s  %17s\n%-18s  %10lld slices  %17s  %10lld slices\n",
        "", "with a lesion", "all together", "false alarms in", "", (long long)m->score.slices, "",
        (long long)m->score.healthy);
    for (int i = 0; i < n; i++) {
        const MaskScore *s = &m[i].score;
        fprintf(out, "%-18s", m[i].name);
        print_cell(out, s->dice, &s->dice_interval);
        print_cell(out, s->pooled, &s->pooled_interval);
        print_cell(out, s->alarm, &s->alarm_interval);
        fputc('\n', out);
    }
}

typedef struct MaskList {
    const ScoreMasks *of;
    int n;
} MaskList;

static json_t *masks_json(const void *context)
{
    const MaskList *m = context;
    json_t *list = json_array();
    for (int i = 0; i < m->n; i++) {
        const MaskScore *s = &m->of[i].score;
        json_array_append_new(
            list,
            json_pack("{s:s, s:I, s:I, s:o, s:f, s:o, s:f, s:o, s:f, s:{s:o, s:o, s:o}}", "name", m->of[i].name,
                      "lesion_slices", (json_int_t)s->slices, "healthy_slices", (json_int_t)s->healthy, "dice",
                      score_number(s->dice), "dice_sd", s->dice_interval.sd, "pooled_dice",
                      score_number(s->pooled), "pooled_dice_sd", s->pooled_interval.sd, "false_alarm",
                      score_number(s->alarm), "false_alarm_sd", s->alarm_interval.sd, "intervals", "dice",
                      score_interval(&s->dice_interval), "pooled_dice", score_interval(&s->pooled_interval),
                      "false_alarm", score_interval(&s->alarm_interval)));
    }
    return list;
}

json_t *score_masks_json(const ScoreMasks *m, int n) { return json_make(masks_json, &(MaskList){m, n}); }
