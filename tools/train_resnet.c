/* Stage resnet: what stands in the place of the paper's CQ500 fine-tuning. Targets on grid cells: every focal
 * label on each of the 14x14 cells (the lesion covers a fifth of the cell, or no cell more), a 1x1 conv on the
 * grid, binary cross-entropy summed and divided by the positive cells; and slice labels for the diffuse
 * findings on the pooled features. Three slices in four hold a focal lesion; mirrored at random with the
 * labels' sides swapped. */
#include "kernels/ops.h"
#include "data/file.h"
#include "models/resnet.h"
#include "tools/train.h"
#include "tools/train_data.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CELL_BIAS = -4 };
static const double cell_weight = 0.5, focal_share = 0.75, brightness = 0.04;

typedef struct Detector {
    Resnet net;
    Tensor *cell_weight, *cell_bias;   /* (52,C) (52) */
    Tensor *slice_weight, *slice_bias; /* (52,C) (52) */
} Detector;

typedef struct Batch {
    int64_t n;
    float *pixel;   /* [n][height][width] */
    float *cell;    /* [n][196][52] */
    float *slice;   /* [n][52] */
    float *counts;  /* [n][52]: 1 for diffuse labels, 0 for focal ones */
    double cells;   /* positive cells */
    double diffuse; /* how many of `counts` are 1 */
} Batch;

static bool open_detector(Detector *d, Weights *net, Weights *head, const TrainOptions *o, Error *e)
{
    ResnetConfig c = {.in_channels = 1, .stem = o->stem};
    for (int i = 0; i < RESNET_STAGES; i++) {
        c.width[i] = o->width[i];
        c.depth[i] = (int)o->depth[i];
        c.stride[i] = (int)o->stride[i];
    }
    if (!resnet_create(&d->net, net, c, e)) return false;
    int64_t C = d->net.channels;
    WeightSpec linear = {{LABEL_COUNT, C}, WEIGHT_PLAIN, INIT_NORMAL, 0.01f},
               bias = {{LABEL_COUNT}, WEIGHT_PLAIN, INIT_ZEROS, 0};
    d->cell_weight = weights_get(head, linear, "cells.weight");
    d->cell_bias = weights_get(head, bias, "cells.bias");
    d->slice_weight = weights_get(head, linear, "slices.weight");
    d->slice_bias = weights_get(head, bias, "slices.bias");
    return weights_ok(head, e);
}

/* Slice i of the batch from slice `at` of the data. */
static void fill_slice(const TrainData *d, Batch *b, int64_t i, int64_t at, bool mirror, float offset)
{
    int64_t area = (int64_t)d->width * d->height;
    slice_normalise(train_data_slice(d, at), d->width, d->height, mirror, offset, b->pixel + i * area);
    float *cell = b->cell + i * GRID_CELLS * LABEL_COUNT;
    memset(cell, 0, sizeof(float) * GRID_CELLS * LABEL_COUNT);
    for (int64_t k = d->cell_at[at]; k < d->cell_at[at + 1]; k++) {
        int row = d->cell[k].cell / GRID, column = d->cell[k].cell % GRID, label = d->cell[k].label;
        if (mirror) {
            column = GRID - 1 - column;
            label = finding_label(label)->mirror;
        }
        float *y = &cell[(row * GRID + column) * LABEL_COUNT + label];
        b->cells += 1 - *y;
        *y = 1;
    }
    uint64_t labels = mirror ? labels_mirror(d->labels[at]) : d->labels[at];
    for (int l = 0; l < LABEL_COUNT; l++) b->slice[i * LABEL_COUNT + l] = (float)(labels >> l & 1);
}

static void fill_batch(const TrainData *d, Batch *b, Rng *rng)
{
    b->cells = 0;
    for (int64_t i = 0; i < b->n; i++) {
        bool focal = (double)i < focal_share * (double)b->n && d->n_focal;
        int64_t at = focal ? d->focal[rng_below(rng, d->n_focal)] : rng_below(rng, (int64_t)d->n * CTRG_SLICES);
        bool mirror = rng_below(rng, 2);
        fill_slice(d, b, i, at, mirror, (float)(brightness * rng_normal(rng)));
    }
}

static Tensor *input(Tape *t, const float *host, int ndim, const int64_t *dim)
{
    Tensor *x = tape_tensor(t, DTYPE_f32, ndim, dim);
    tensor_upload(x, host);
    return x;
}

/* What an update needs. */
typedef struct Job {
    Detector detector;
    const TrainData *data;
    Batch batch;
} Job;

static bool loss(Trainer *trainer, void *context, Error *e)
{
    (void)e;
    Job *job = context;
    const Detector *d = &job->detector;
    const TrainData *data = job->data;
    Batch *b = &job->batch;
    Tape *t = &trainer->tape;
    fill_batch(data, b, &trainer->rng);
    int64_t N = b->n, C = d->net.channels;
    Tensor *x = input(t, b->pixel, 4, (int64_t[]){N, data->height, data->width, 1}), *grid, *pooled;
    resnet_forward(t, &d->net, x, true, &grid, &pooled);
    Tensor *rows = tensor_reshape(t->step, grid, 2, (int64_t[]){N * GRID_CELLS, C});
    Tensor *cell = op_linear(t, rows, d->cell_weight, d->cell_bias, NULL);      /* (N*196,52) */
    Tensor *slice = op_linear(t, pooled, d->slice_weight, d->slice_bias, NULL); /* (N,52) */
    Tensor *cell_loss =
        op_multilabel(t, cell, input(t, b->cell, 2, cell->dim), NULL, (float)(cell_weight / (b->cells + 1)));
    Tensor *slice_loss = op_multilabel(t, slice, input(t, b->slice, 2, slice->dim),
                                       input(t, b->counts, 2, slice->dim), (float)(1 / b->diffuse));
    trainer_term(trainer, 0, cell_loss, cell_weight);
    trainer_term(trainer, 1, slice_loss, 1);
    tape_backward(t, op_add(t, cell_loss, slice_loss));
    return true;
}

static void batch_open(Batch *b, const TrainData *d, int64_t n)
{
    size_t slices = (size_t)n;
    b->n = n;
    b->pixel = malloc(slices * (size_t)d->width * (size_t)d->height * sizeof(float));
    b->cell = malloc(slices * GRID_CELLS * LABEL_COUNT * sizeof(float));
    b->slice = malloc(slices * LABEL_COUNT * sizeof(float));
    b->counts = malloc(slices * LABEL_COUNT * sizeof(float));
    if (!b->pixel || !b->cell || !b->slice || !b->counts)
        die("out of host memory for a batch of %lld slices", (long long)n);
    for (int64_t i = 0; i < n * LABEL_COUNT; i++) {
        b->counts[i] = finding_kind(finding_label((int)(i % LABEL_COUNT))->finding)->focal ? 0 : 1;
        b->diffuse += (double)b->counts[i];
    }
}

static void batch_close(Batch *b)
{
    free(b->pixel);
    free(b->cell);
    free(b->slice);
    free(b->counts);
}

static bool open_job(Job *job, Trainer *t, Weights *net, Weights *head, const TrainOptions *o, Error *e)
{
    weights_init(net, &t->weights, &t->state, &t->params, o->common.seed);
    weights_init(head, &t->weights, &t->state, &t->params, o->common.seed);
    net->trainable = head->trainable = true;
    if (!open_detector(&job->detector, net, head, o, e) ||
        !resnet_check_side(&job->detector.net, job->data->width, e))
        return false;
    params_alloc(&t->params);
    if (!weights_fill(net, e) || !weights_fill(head, e)) return false;
    tensor_fill(job->detector.cell_bias, CELL_BIAS);
    train_buffers(t, net);
    weights_set_meta(net, "resnet.side", "%d", job->data->width);
    batch_open(&job->batch, job->data, o->batch);
    return true;
}

bool train_resnet(const TrainOptions *o, Error *e)
{
    TrainData *data = train_data_open(o->data, (int)o->studies, true, true, e);
    if (!data) return false;
    TrainerOptions to = train_trainer(o, (int64_t)data->n * CTRG_SLICES);
    to.stage = "resnet";
    to.folder = o->out;
    to.term[0] = "cells";
    to.term[1] = "diffuse";
    to.floor = 0.005;
    to.weight_decay = 1e-4;
    to.beta2 = 0.999;
    Trainer t;
    Job job = {.data = data};
    Weights net = {0}, head = {0};
    char path[4096];
    bool ok = trainer_open(&t, &to, &o->common, e) && open_job(&job, &t, &net, &head, o, e) &&
              train_run(&t, loss, &job, e);
    bool write = ok && !o->dry_run;
    train_path(path, o->model, "resnet.safetensors");
    ok = ok && (!write ||
                (file_make_folder(o->model, e) && weights_save((Weights *[]){&net}, 1, false, NULL, path, e)));
    train_path(path, o->out, "detector.safetensors");
    ok = ok && (!write || weights_save((Weights *[]){&head}, 1, false, NULL, path, e));
    batch_close(&job.batch);
    weights_close(&head);
    weights_close(&net);
    train_data_close(data);
    trainer_close(&t);
    return ok;
}
