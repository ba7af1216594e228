/* Stage sam: Segment Anything (Kirillov et al. 2023) from nothing, on slices with exact masks.
 *
 * A sample is a slice with several points and the mask that each asks for (tools/sam_data.h): half of the
 * points in true masks, drawn evenly by finding, half anywhere in the head. Of the three answers to a point the
 * one with the least Dice loss learns, focal + Dice, beside it one of the three at random, without which they
 * become three kinds of tissue that ask for no point, and the single answer; the IoU head learns what IoU each
 * of the four has. The embedding learns what each cell is, by a Linear that training alone has. The reference
 * weighs focal by 20: from nothing, that first teaches small masks to be empty. Targets are means over the
 * pixels of a cell of the mask grid (4 image/patch cells a side). Slices are mirrored at random, their grey
 * moved a little. */
#include "data/file.h"
#include "data/study.h"
#include "kernels/ops.h"
#include "models/sam_decoder.h"
#include "models/sam_encoder.h"
#include "tools/sam_begin.h"
#include "tools/sam_data.h"
#include "tools/train.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWERS = 4, CHANNELS = 3, VALIDATION_SLICES = 120, EMPTY_SLICES = 8, KINDS = 5, FINE = 4, TAUGHT = 3 };
static const double dense_weight = 2, focal_weight = 1, mask_share = 0.5, brightness = 3;
static const float lesion_weight = 10, alpha = 0.5f, gamma_ = 2;
static const double large_mm = 12; /* diameter from which a lesion is called large */
/* The reference's pixel mean and deviation, RGB. */
static const float pixel_mean[CHANNELS] = {123.675f, 116.28f, 103.53f},
                   pixel_sd[CHANNELS] = {58.395f, 57.12f, 57.375f};

typedef struct Batch {
    int64_t slices, prompts, cells; /* prompts a slice; cells a side of the mask grid */
    float *pixel;                   /* [slices][S][S][3] */
    float *dense, *weight;          /* [slices][S/patch * S/patch][FINE][FINE][KINDS]: targets and weights */
    float *target;                  /* [slices * prompts][cells * cells] */
    double *point;                  /* [slices * prompts][2] */
    int32_t *label, *image;         /* [slices * prompts] */
    SamPoint *asked;                /* [slices * prompts] */
    uint8_t *mask;                  /* [S][S] */
    float *logit;                   /* [slices * prompts][ANSWERS][cells * cells] */
    int32_t *chosen;                /* [slices * prompts][TAUGHT]: rows of the above */
    int32_t *any;                   /* [slices * prompts]: one of several answers */
    float *wanted;                  /* [slices * prompts][TAUGHT][cells * cells] */
    float *iou;                     /* [slices * prompts][ANSWERS] */
} Batch;

/* What an update needs. */
typedef struct Job {
    TrainData *data, *validation;
    SamIndex index;
    SamSlice slice;
    SamEncoder encoder;
    SamDecoder decoder;
    Tensor *dense, *dense_bias; /* (FINE*FINE*KINDS,C) (FINE*FINE*KINDS): of training alone */
    Batch batch;
    int64_t dense_steps;
} Job;

/* ---- a batch ---- */

static void *room(size_t n, size_t bytes)
{
    void *x = calloc(n, bytes);
    if (!x) die("out of host memory for a batch");
    return x;
}

static void batch_open(Batch *b, int64_t slices, int64_t prompts, int64_t side, int64_t cells)
{
    size_t n = (size_t)(slices * prompts), area = (size_t)(cells * cells);
    *b = (Batch){.slices = slices, .prompts = prompts, .cells = cells};
    b->pixel = room((size_t)(slices * side * side) * CHANNELS, sizeof *b->pixel);
    b->dense = room((size_t)slices * area * KINDS, sizeof *b->dense);
    b->weight = room((size_t)slices * area * KINDS, sizeof *b->weight);
    b->target = room(n * area, sizeof *b->target);
    b->point = room(n * 2, sizeof *b->point);
    b->label = room(n, sizeof *b->label);
    b->image = room(n, sizeof *b->image);
    b->asked = room(n, sizeof *b->asked);
    b->mask = room((size_t)(side * side), 1);
    b->logit = room(n * ANSWERS * area, sizeof *b->logit);
    b->chosen = room(TAUGHT * n, sizeof *b->chosen);
    b->any = room(n, sizeof *b->any);
    b->wanted = room(TAUGHT * n * area, sizeof *b->wanted);
    b->iou = room(n * ANSWERS, sizeof *b->iou);
}

static void batch_close(Batch *b)
{
    void *all[] = {b->pixel, b->dense, b->weight, b->target, b->point, b->label,  b->image,
                   b->asked, b->mask,  b->logit,  b->chosen, b->any,   b->wanted, b->iou};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void fill_pixels(const uint8_t *grey, int64_t side, bool mirror, float offset, float *to)
{
    for (int64_t y = 0; y < side; y++)
        for (int64_t x = 0; x < side; x++, to += CHANNELS) {
            float v = (float)grey[y * side + (mirror ? side - 1 - x : x)] + offset;
            for (int c = 0; c < CHANNELS; c++) to[c] = (v - pixel_mean[c]) / pixel_sd[c];
        }
}

/* What each cell of the mask grid is: KINDS shares, of the grey classes but air, and of focal lesions. The last
 * is rare and weighs more where it is. */
static void fill_dense(Batch *b, int64_t slice, SamSlice *s, int64_t side, bool mirror)
{
    int64_t cells = b->cells, grid = cells / FINE, step = side / cells, area = side * side;
    float share = 1.0f / (float)(step * step), *to = b->dense + slice * cells * cells * KINDS;
    sam_slice_classify(s);
    memset(to, 0, (size_t)(cells * cells * KINDS) * sizeof *to);
    for (int64_t i = 0; i < area; i++) {
        int64_t x = (mirror ? side - 1 - i % side : i % side) / step, y = i / side / step;
        float *cell = to + (((y / FINE * grid + x / FINE) * FINE + y % FINE) * FINE + x % FINE) * KINDS;
        bool lesion = false;
        for (int k = 0; k < s->n; k++) lesion |= s->mask[k * area + i] && finding_kind(s->finding[k])->focal;
        if (s->grey[i] != GREY_AIR) cell[s->grey[i] - 1] += share;
        if (lesion) cell[KINDS - 1] += share;
    }
    float *weight = b->weight + slice * cells * cells * KINDS;
    for (int64_t i = 0; i < cells * cells * KINDS; i++)
        weight[i] = i % KINDS == KINDS - 1 && to[i] > 0 ? lesion_weight : 1;
}

/* Prompt i of the batch: means of b->mask over the grid's cells. */
static void fill_target(Batch *b, int64_t i, int64_t side, bool mirror)
{
    int64_t n = b->cells, step = side / n;
    float *to = b->target + i * n * n, scale = 1.0f / (float)(step * step);
    memset(to, 0, (size_t)(n * n) * sizeof *to);
    for (int64_t y = 0; y < side; y++)
        for (int64_t x = 0; x < side; x++)
            to[y / step * n + (mirror ? side - 1 - x : x) / step] += (float)b->mask[y * side + x] * scale;
}

/* The k-th prompt of slice s, in true mask `of`, or anywhere if that is negative. */
static bool fill_prompt(Job *j, int64_t s, int64_t k, int of, bool mirror, Rng *rng)
{
    Batch *b = &j->batch;
    int64_t i = s * b->prompts + k, side = j->encoder.config.image;
    SamPoint *p = &b->asked[i];
    if (!sam_slice_point(&j->slice, of, rng, p, b->mask)) return false;
    fill_target(b, i, side, mirror);
    b->point[2 * i] = mirror ? (double)(side - 1) - p->x : p->x;
    b->point[2 * i + 1] = p->y;
    b->label[i] = 1;
    b->image[i] = (int32_t)s;
    b->any[i] = 1 + (int32_t)rng_below(rng, ANSWERS - 1);
    return true;
}

/* The number of an item's mask in the slice that has been read. */
static int find_mask(const SamSlice *s, const struct SamItem *item)
{
    for (int i = 0; i < s->n; i++)
        if (s->truth[i] == item->truth && s->label[i] == item->label) return i;
    return -1;
}

/* Slice s of the batch: seven in eight hold a true mask, drawn evenly by finding. A slice that has nothing to
 * ask for is drawn again. */
static bool fill_slice(Job *j, int64_t s, Rng *rng, Error *e)
{
    Batch *b = &j->batch;
    int64_t side = j->encoder.config.image;
    for (;;) {
        int64_t item = rng_below(rng, EMPTY_SLICES) ? sam_index_draw(&j->index, rng) : -1;
        int64_t at = item >= 0 ? j->index.item[item].slice : rng_below(rng, (int64_t)j->data->n * CTRG_SLICES);
        bool mirror = rng_below(rng, 2), ok = true;
        float offset = (float)(brightness * rng_normal(rng));
        if (!sam_slice_read(&j->slice, j->data, at, e)) return false;
        fill_pixels(train_data_slice(j->data, at), side, mirror, offset, b->pixel + s * side * side * CHANNELS);
        for (int64_t k = 0; ok && k < b->prompts; k++) {
            int of = item >= 0 ? find_mask(&j->slice, &j->index.item[item]) : -1;
            if (k && rng_unit(rng) >= mask_share)
                of = -1;
            else if (k && j->slice.n && rng_below(rng, 2))
                of = (int)rng_below(rng, j->slice.n);
            ok = fill_prompt(j, s, k, of, mirror, rng) || fill_prompt(j, s, k, -1, mirror, rng);
        }
        if (ok) fill_dense(b, s, &j->slice, side, mirror);
        if (ok) return true;
    }
}

/* ---- the model on a batch ---- */

static Tensor *upload(Tape *t, DType type, int ndim, const int64_t *dim, const void *host)
{
    Tensor *x = tape_tensor(t, type, ndim, dim);
    tensor_upload(x, host);
    return x;
}

/* Embedding (slices,g,g,C), logits (n*ANSWERS,cells*cells) and foreseen IoU (n,ANSWERS) of the batch's first
 * `slices` slices with `prompts` points in all. */
static void forward(Tape *t, const Job *j, int64_t slices, int64_t prompts, Tensor **embedding, Tensor **logits,
                    Tensor **iou)
{
    const Batch *b = &j->batch;
    int64_t S = j->encoder.config.image, area = b->cells * b->cells;
    Tensor *x = upload(t, DTYPE_f32, 4, (const int64_t[]){slices, S, S, CHANNELS}, b->pixel), *masks;
    SamPrompts p = {.n = prompts, .points = 1, .point = b->point, .label = b->label, .image = b->image};
    *embedding = sam_encoder_forward(t, &j->encoder, x);
    if (!prompts) return;
    sam_decoder_forward(t, &j->decoder, *embedding, &p, &masks, iou);
    *logits = tensor_reshape(t->step, masks, 2, (const int64_t[]){prompts * ANSWERS, area});
}

static double answer_dice(const float *x, const float *y, int64_t n)
{
    double both = 0, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        float p = 1 / (1 + expf(-x[i]));
        both += (double)(p * y[i]);
        sum += (double)(p + y[i]);
    }
    return 1 - (2 * both + 1) / (sum + 1);
}

static float answer_iou(const float *x, const float *y, int64_t n)
{
    int64_t both = 0, either = 0;
    for (int64_t i = 0; i < n; i++) {
        both += x[i] > 0 && y[i] >= 0.5f;
        either += x[i] > 0 || y[i] >= 0.5f;
    }
    return either ? (float)both / (float)either : 1;
}

/* What learns of each point's answers into b->chosen and b->wanted, all IoUs into b->iou. */
static void choose(Batch *b, int64_t prompts)
{
    int64_t area = b->cells * b->cells;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < prompts; i++) {
        const float *y = b->target + i * area;
        double least = INFINITY;
        int best = 1;
        for (int a = 0; a < ANSWERS; a++) {
            const float *x = b->logit + (i * ANSWERS + a) * area;
            b->iou[i * ANSWERS + a] = answer_iou(x, y, area);
            double loss = a ? answer_dice(x, y, area) : INFINITY;
            if (loss < least) {
                least = loss;
                best = a;
            }
        }
        b->chosen[2 * i] = (int32_t)(i * ANSWERS + best);
        b->chosen[2 * i + 1] = (int32_t)(i * ANSWERS);
        for (int k = 0; k < 2; k++) memcpy(b->wanted + (2 * i + k) * area, y, (size_t)area * sizeof *y);
    }
}

/* What each cell of the mask grid is, read off the embedding (slices,g,g,C). */
static Tensor *dense_loss(Trainer *trainer, const Job *j, Tensor *embedding)
{
    const Batch *b = &j->batch;
    Tape *t = &trainer->tape;
    Tensor *x = op_linear(t, embedding, j->dense, j->dense_bias, NULL); /* (slices,g,g,FINE*FINE*KINDS) */
    Tensor *y = upload(t, DTYPE_f32, 4, x->dim, b->dense), *weight = upload(t, DTYPE_f32, 4, x->dim, b->weight);
    Tensor *dense = op_multilabel(t, x, y, weight, (float)(dense_weight / (double)tensor_len(x)));
    trainer_term(trainer, 4, dense, dense_weight);
    return dense;
}

/* Of the answers to n points. */
static Tensor *answer_loss(Trainer *trainer, Job *j, Tensor *logits, Tensor *iou, int64_t n)
{
    Batch *b = &j->batch;
    Tape *t = &trainer->tape;
    int64_t rows = TAUGHT * n, area = b->cells * b->cells;
    tensor_download(logits, b->logit); /* which answer learns is the host's to say: an update waits here */
    choose(b, n);
    Tensor *x = op_select(t, logits, upload(t, DTYPE_i32, 1, &rows, b->chosen)); /* (rows,area) */
    Tensor *y = upload(t, DTYPE_f32, 2, (const int64_t[]){rows, area}, b->wanted);
    Tensor *focal = op_focal(t, x, y, alpha, gamma_, (float)(focal_weight / (double)(rows * area)));
    Tensor *dice = op_dice(t, op_sigmoid(t, x), y, true);
    Tensor *error = op_sub(t, iou, upload(t, DTYPE_f32, 2, iou->dim, b->iou));
    Tensor *square = op_sum(t, op_mul(t, error, error), (float)(1 / (double)(n * ANSWERS)));
    trainer_term(trainer, 1, focal, focal_weight);
    trainer_term(trainer, 2, dice, 1);
    trainer_term(trainer, 3, square, 1);
    return op_add(t, op_add(t, focal, dice), square);
}

static bool loss(Trainer *trainer, void *context, Error *e)
{
    Job *j = context;
    Batch *b = &j->batch;
    Tape *t = &trainer->tape;
    int64_t n = b->slices * b->prompts;
    Tensor *embedding, *logits, *iou;
    for (int64_t s = 0; s < b->slices; s++)
        if (!fill_slice(j, s, &trainer->rng, e)) return false;
    bool alone = trainer->step < j->dense_steps;
    forward(t, j, b->slices, alone ? 0 : n, &embedding, &logits, &iou);
    Tensor *x = dense_loss(trainer, j, embedding);
    for (int i = 1; alone && i < 4; i++) trainer_term(trainer, i, NULL, 1);
    tape_backward(t, alone ? x : op_add(t, x, answer_loss(trainer, j, logits, iou, n)));
    return true;
}

/* ---- validation ---- */

/* Sums over points: of lesions from 12 mm, smaller ones, and all else. */
typedef struct Tally {
    double n, best, first, found, error;
} Tally;

static void tally(Tally *to, const float *iou, const float *foreseen)
{
    int best = 1, first = 1;
    to->n++;
    for (int a = 1; a < ANSWERS; a++) {
        if (iou[a] > iou[best]) best = a;
        if (foreseen[a] > foreseen[first]) first = a;
        to->error += fabs((double)(iou[a] - foreseen[a])) / (ANSWERS - 1);
    }
    to->best += (double)iou[best];
    to->first += (double)iou[first];
    to->found += iou[best] >= 0.5f;
}

/* One slice: a point in each true mask and one elsewhere, as many as the batch has room for. */
static bool validate_slice(Trainer *trainer, Job *j, int64_t at, Rng *rng, Tally sum[3], Error *e)
{
    Batch *b = &j->batch;
    const CtrgStudy *study = &j->validation->ctrg->study[at / CTRG_SLICES];
    double mm = study->pixel_mm > 0 ? study->pixel_mm : STUDY_FIELD_MM / study->width;
    int64_t side = j->encoder.config.image, n = 0;
    if (!sam_slice_read(&j->slice, j->validation, at, e)) return false;
    fill_pixels(train_data_slice(j->validation, at), side, false, 0, b->pixel);
    for (int of = j->slice.n - 1; of >= -1 && n < b->prompts; of--) n += fill_prompt(j, 0, n, of, false, rng);
    if (!n) return true;
    float *foreseen = room((size_t)(n * ANSWERS), sizeof *foreseen);
    Tensor *embedding, *logits, *iou;
    forward(&trainer->tape, j, 1, n, &embedding, &logits, &iou);
    tensor_download(logits, b->logit);
    tensor_download(iou, foreseen);
    tape_reset(&trainer->tape);
    choose(b, n);
    for (int64_t i = 0; i < n; i++) {
        const SamPoint *p = &b->asked[i];
        bool lesion = p->of >= 0 && finding_kind(j->slice.finding[p->of])->focal;
        bool large = 2 * mm * sqrt((double)p->area / 3.14159265358979323846) >= large_mm;
        tally(&sum[lesion ? !large : 2], b->iou + i * ANSWERS, foreseen + i * ANSWERS);
    }
    free(foreseen);
    return true;
}

static bool validate(Trainer *trainer, void *context, TrainerValidation *v, Error *e)
{
    static const char *const name[] = {"large_iou",   "large_first", "large_found", "small_iou",
                                       "small_first", "small_found", "other_iou",   "iou_error"};
    Job *j = context;
    Rng rng = rng_open(1, "sam validation");
    Tally sum[3] = {0};
    const TrainData *d = j->validation;
    int64_t n = d->n_focal < VALIDATION_SLICES ? d->n_focal : VALIDATION_SLICES;
    for (int64_t i = 0; i < n; i++) {
        if (cli_interrupted())
            return error_set(e, ERROR_INTERRUPTED, "stopped during a validation, which begins anew next time");
        if (!validate_slice(trainer, j, d->focal[i * d->n_focal / n], &rng, sum, e)) return false;
    }
    double count[3], all = 0, error = 0;
    for (int i = 0; i < 3; i++) {
        count[i] = fmax(sum[i].n, 1);
        all += sum[i].n;
        error += sum[i].error;
    }
    const double value[] = {sum[0].best / count[0], sum[0].first / count[0], sum[0].found / count[0],
                            sum[1].best / count[1], sum[1].first / count[1], sum[1].found / count[1],
                            sum[2].best / count[2], error / fmax(all, 1)};
    for (; v->n < (int)(sizeof value / sizeof *value); v->n++) {
        v->name[v->n] = name[v->n];
        v->value[v->n] = value[v->n];
    }
    v->score = (sum[0].best + sum[1].best) / fmax(sum[0].n + sum[1].n, 1);
    return true;
}

/* ---- the stage ---- */

static bool open_model(Job *j, Trainer *t, Weights *w, Weights *dense, const TrainOptions *o, Error *e)
{
    SamEncoderConfig encoder = {.image = o->image,
                                .patch = o->patch,
                                .width = o->dim,
                                .heads = o->heads,
                                .mlp = o->ffn,
                                .window = o->window,
                                .out = o->decoder_dim,
                                .depth = (int)o->layers};
    for (int i = 0; i < encoder.depth; i++)
        if ((i + 1) % o->global_every == 0) encoder.global |= UINT64_C(1) << i;
    SamDecoderConfig decoder = {.image = o->image,
                                .dim = o->decoder_dim,
                                .heads = o->decoder_heads,
                                .inner = o->decoder_dim / 2,
                                .mlp = o->decoder_ffn,
                                .masks = ANSWERS,
                                .iou_hidden = o->decoder_ffn,
                                .mask_hidden = 16};
    weights_init(w, &t->weights, &t->state, &t->params, o->common.seed);
    w->trainable = true;
    if (!sam_encoder_create(&j->encoder, w, encoder, e) || !sam_decoder_create(&j->decoder, w, decoder, e))
        return false;
    weights_init(dense, &t->weights, &t->state, &t->params, o->common.seed);
    dense->trainable = true;
    const int64_t kinds = FINE * FINE * KINDS;
    j->dense = weights_get(dense, (WeightSpec){{kinds, o->decoder_dim}, WEIGHT_LINEAR, INIT_LINEAR, 0},
                           "dense.weight");
    j->dense_bias = weights_get(dense, (WeightSpec){{kinds}, .init = INIT_ZEROS}, "dense.bias");
    params_alloc(&t->params);
    if (!weights_fill(w, e) || !weights_fill(dense, e)) return false;
    sam_begin(&j->encoder, &j->decoder, o->common.seed);
    train_buffers(t, w);
    weights_set_meta(w, "sam.masks.points_per_side", "%lld", (long long)o->points_per_side);
    weights_set_meta(w, "sam.masks.pred_iou_thresh", "%g", o->pred_iou_thresh);
    weights_set_meta(w, "sam.masks.stability_score_thresh", "%g", o->stability_score_thresh);
    weights_set_meta(w, "sam.masks.min_mask_region_area", "%lld", (long long)o->min_mask_region_area);
    return true;
}

/* The folder's studies, which must have slices of the model's size and truth blocks. */
static TrainData *open_data(const char *folder, int64_t studies, int64_t image, Error *e)
{
    TrainData *d = train_data_open(folder, (int)studies, true, true, e);
    if (!d || (d->width == image && d->height == image)) return d;
    error_set(e, ERROR_INPUT, "%s: slices of %dx%d, expected %lldx%lld (--image)", folder, d->width, d->height,
              (long long)image, (long long)image);
    train_data_close(d);
    return NULL;
}

static bool open_job(Job *j, const TrainOptions *o, Error *e)
{
    j->data = open_data(o->data, o->studies, o->image, e);
    if (!j->data || !sam_index_open(&j->index, j->data, e)) return false;
    if (!j->index.n)
        return error_set(e, ERROR_INPUT, "%s: no mask of %d pixels or more", o->data, SLICE_MIN_AREA);
    if (o->validate_every) j->validation = open_data(o->validation, o->validation_studies, o->image, e);
    if (o->validate_every && !j->validation) return false;
    sam_slice_open(&j->slice, j->data->width, j->data->height);
    batch_open(&j->batch, o->batch, o->prompts, o->image, 4 * o->image / o->patch);
    return true;
}

static void close_job(Job *j)
{
    batch_close(&j->batch);
    sam_slice_close(&j->slice);
    sam_index_close(&j->index);
    train_data_close(j->data);
    train_data_close(j->validation);
}

bool train_sam(const TrainOptions *o, Error *e)
{
    Job job = {.dense_steps = o->dense_steps};
    if (!open_job(&job, o, e)) {
        close_job(&job);
        return false;
    }
    TrainerOptions to = train_trainer(o, job.index.n);
    to.stage = "sam";
    to.folder = o->out;
    to.term[0] = "loss";
    to.term[1] = "focal";
    to.term[2] = "dice";
    to.term[3] = "iou";
    to.term[4] = "dense";
    to.weight[1] = (float)focal_weight;
    to.weight[2] = to.weight[3] = 1;
    to.weight[4] = (float)dense_weight;
    to.floor = 0.01;
    to.weight_decay = 0.01;
    to.beta2 = 0.95; /* the decoder's moments are young when it joins */
    to.validate = o->validate_every ? validate : NULL;
    Trainer t;
    Weights w = {0}, dense = {0};
    char path[4096];
    bool ok = trainer_open(&t, &to, &o->common, e) && open_model(&job, &t, &w, &dense, o, e) &&
              train_run(&t, loss, &job, e);
    train_path(path, o->model, "sam.safetensors");
    if (ok && !o->dry_run)
        ok = (!o->validate_every || trainer_load_best(&t, e)) && file_make_folder(o->model, e) &&
             weights_save((Weights *[]){&w}, 1, false, NULL, path, e);
    weights_close(&dense);
    weights_close(&w);
    trainer_close(&t);
    close_job(&job);
    return ok;
}
