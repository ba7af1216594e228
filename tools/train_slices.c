/* Stage resnet on the labels of CQ500: what the paper prepares its backbone with. A fully connected layer `fc`
 * on the pooled features; two classes (no bleed, bleed) with softmax and cross-entropy, as the released code
 * has them, or all fourteen findings, each with a sigmoid. Labels are weak: each of a study's 24 slices, which
 * run from the brain's first to its last, has the study's. Slices are drawn at random, mirrored at random with
 * left and right bleeds changing places. All weights learn, those that were read too.
 *
 * A study's probability is the mean of its slices'. The file has torchvision's names, fc too. */
#include "data/file.h"
#include "kernels/ops.h"
#include "losses/auc.h"
#include "models/resnet.h"
#include "tools/features.h"
#include "tools/train.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double brightness = 0.04;

typedef struct Job {
    const TrainOptions *o;
    TrainData *data, *validation;
    uint32_t *labels[2]; /* of each study: data, validation */
    Resnet net;
    int64_t classes;
    Tensor *weight, *bias; /* (classes,C) (classes) */
    Tensor *same;          /* (2,2): the identity, which makes cross-entropy's products of logits the logits */
    float *pixel;          /* [batch][height][width][channels] */
    float *target;         /* [batch][classes]; two classes: [batch] as i32 */
    uint8_t *plane;
} Job;

static void *room(size_t n, size_t size)
{
    void *p = calloc(n, size);
    if (!p) die("out of host memory for %zu x %zu bytes", n, size);
    return p;
}

/* ---- labels ---- */

static bool read_labels(const TrainData *d, uint32_t **labels, Error *e)
{
    *labels = room((size_t)d->n, sizeof **labels);
    for (int k = 0; k < d->n; k++) {
        const CtrgStudy *s = &d->ctrg->study[k];
        if (!s->has_votes)
            return error_set(e, ERROR_INPUT,
                             "%s: study %lld: no labels block, expected one (pcrl-import --cq500 writes it)",
                             d->ctrg->folder, (long long)s->id);
        (*labels)[k] = cq500_majority(s->vote);
    }
    return true;
}

/* Column c of the targets: of two classes ICH is both. */
static int label_of(const Job *j, int c) { return j->classes == 2 ? CQ500_ICH : c; }
static int columns(const Job *j) { return j->classes == 2 ? 1 : (int)j->classes; }

/* How many of the validation's studies have a label. */
static int positives(const Job *j, int label)
{
    int n = 0;
    for (int k = 0; k < j->validation->n; k++) n += j->labels[1][k] >> label & 1;
    return n;
}

/* An area under the curve needs studies with and without. */
static bool check_validation(const Job *j, Error *e)
{
    int both = 0, n = j->validation->n;
    for (int c = 0; c < columns(j); c++) {
        int with = positives(j, label_of(j, c));
        both += with > 0 && with < n;
    }
    if (j->validation->width != j->data->width || j->validation->height != j->data->height)
        return error_set(e, ERROR_INPUT, "%s: slices of %dx%d, expected %dx%d as in %s", j->o->validation,
                         j->validation->width, j->validation->height, j->data->width, j->data->height,
                         j->o->data);
    return both || error_set(e, ERROR_INPUT, "%s: %d of %d studies have a bleed, expected some and not all",
                             j->o->validation, positives(j, CQ500_ICH), n);
}

/* ---- the model ---- */

/* fc of the file where it has as many classes, else a new one. */
static bool open_classifier(Job *j, Weights *net, Weights *head, const char *file, Error *e)
{
    const int64_t C = j->net.channels, K = j->classes;
    const TensorEntry *had = file ? weights_entry(net, "fc.weight") : NULL;
    bool fits = had && had->ndim == 2 && had->dim[0] == K && had->dim[1] == C;
    if (fits && !weights_open(head, file, e)) return false;
    if (fits)
        cli_note("%s: its fc of %lld classes is taken", file, (long long)K);
    else if (had)
        cli_note("%s: its fc gives way to a new one of %lld classes", file, (long long)K);
    WeightSpec weight = {{K, C}, WEIGHT_PLAIN, INIT_LINEAR, 0},
               bias = {{K}, WEIGHT_PLAIN, INIT_LINEAR, (float)C};
    j->weight = weights_get(head, weight, "fc.weight");
    j->bias = weights_get(head, bias, "fc.bias");
    return weights_ok(head, e);
}

static bool open_net(Job *j, Weights *net, Error *e)
{
    const TrainOptions *o = j->o;
    ResnetConfig c = {.in_channels = 1, .stem = o->stem};
    for (int i = 0; i < RESNET_STAGES; i++) {
        c.width[i] = o->width[i];
        c.depth[i] = (int)o->depth[i];
        c.stride[i] = (int)o->stride[i];
    }
    if (!o->backbone) return resnet_create(&j->net, net, c, e);
    return weights_open(net, o->backbone, e) && resnet_open(&j->net, net, e);
}

static bool open_job(Job *j, Trainer *t, Weights *net, Weights *head, Error *e)
{
    const TrainOptions *o = j->o;
    static const float identity[] = {1, 0, 0, 1};
    weights_init(net, &t->weights, &t->state, &t->params, o->common.seed);
    weights_init(head, &t->weights, &t->state, &t->params, o->common.seed);
    net->trainable = head->trainable = true;
    if (!open_net(j, net, e) || !resnet_check_side(&j->net, j->data->width, e) ||
        !open_classifier(j, net, head, o->backbone, e))
        return false;
    params_alloc(&t->params);
    if (!weights_fill(net, e) || !weights_fill(head, e)) return false;
    j->same = tensor_new(&t->weights, DTYPE_f32, 2, (const int64_t[]){2, 2});
    tensor_upload(j->same, identity);
    train_buffers(t, net);
    weights_set_meta(net, "resnet.side", "%d", j->data->width);
    size_t area = (size_t)j->data->width * (size_t)j->data->height, n = (size_t)o->batch;
    j->pixel = room(n * area * (size_t)j->net.config.in_channels, sizeof *j->pixel);
    j->target = room(n * (size_t)j->classes, sizeof *j->target);
    j->plane = room(area, 1);
    return true;
}

/* ---- slices ---- */

/* Slice `at` of d as input i of the batch. */
static void fill_pixels(Job *j, const TrainData *d, int64_t i, int64_t at, bool mirror, float offset)
{
    size_t W = (size_t)d->width, area = W * (size_t)d->height, C = (size_t)j->net.config.in_channels;
    const uint8_t *from = train_data_slice(d, at);
    float *x = j->pixel + (size_t)i * area * C;
    for (size_t k = 0; mirror && k < area; k++) j->plane[k] = from[k - k % W + W - 1 - k % W];
    slices_normalise(mirror ? j->plane : from, area, (int64_t)C, x);
    for (size_t k = 0; k < area * C; k++) x[k] += offset;
}

static void fill_target(Job *j, int64_t i, uint32_t labels)
{
    int32_t *class = (int32_t *)j->target;
    if (j->classes == 2) class[i] = labels >> CQ500_ICH & 1;
    for (int c = 0; j->classes > 2 && c < j->classes; c++)
        j->target[i * j->classes + c] = (float)(labels >> c & 1);
}

/* Logits (n,classes) and loss (1) of the batch's first n slices. */
static Tensor *forward(Job *j, Tape *t, int64_t n, bool train, Tensor **logits)
{
    const int64_t dim[4] = {n, j->data->height, j->data->width, j->net.config.in_channels};
    bool two = j->classes == 2;
    Tensor *x = tape_tensor(t, DTYPE_f32, 4, dim), *pooled;
    Tensor *y = tape_tensor(t, two ? DTYPE_i32 : DTYPE_f32, two ? 1 : 2, (const int64_t[]){n, j->classes});
    tensor_upload(x, j->pixel);
    tensor_upload(y, j->target);
    resnet_forward(t, &j->net, x, train, NULL, &pooled);
    *logits = op_linear(t, pooled, j->weight, j->bias, NULL);
    return two ? op_cross_entropy(t, *logits, j->same, y, true)
               : op_multilabel(t, *logits, y, NULL, 1 / (float)(n * j->classes));
}

static bool loss(Trainer *trainer, void *context, Error *e)
{
    (void)e;
    Job *j = context;
    Rng *rng = &trainer->rng;
    int64_t n = j->o->batch;
    Tensor *logits;
    for (int64_t i = 0; i < n; i++) {
        int64_t at = rng_below(rng, (int64_t)j->data->n * CTRG_SLICES);
        uint32_t labels = j->labels[0][at / CTRG_SLICES];
        bool mirror = rng_below(rng, 2);
        fill_pixels(j, j->data, i, at, mirror, (float)(brightness * rng_normal(rng)));
        fill_target(j, i, mirror ? cq500_mirror(labels) : labels);
    }
    Tensor *x = forward(j, &trainer->tape, n, true, &logits);
    trainer_term(trainer, 0, x, 1);
    tape_backward(&trainer->tape, x);
    return true;
}

/* ---- validation ---- */

typedef struct Seen {
    double loss;   /* mean over slices */
    double *slice; /* [columns][n * 24]: log odds */
    double *study; /* [columns][n]: mean probability */
} Seen;

static void seen_open(Seen *s, const Job *j)
{
    size_t n = (size_t)columns(j) * (size_t)j->validation->n;
    *s = (Seen){0, room(n * CTRG_SLICES, sizeof *s->slice), room(n, sizeof *s->study)};
}

static void seen_close(Seen *s)
{
    free(s->slice);
    free(s->study);
}

/* Every slice, the batch's BatchNorm by running statistics. */
static bool see(Job *j, Tape *t, Seen *s, Error *e)
{
    const TrainData *d = j->validation;
    int64_t slices = (int64_t)d->n * CTRG_SLICES, K = j->classes;
    float *logit = room((size_t)(j->o->batch * K), sizeof *logit), mean;
    bool ok = true;
    for (int64_t at = 0, n; ok && at < slices; at += n) {
        n = slices - at < j->o->batch ? slices - at : j->o->batch;
        ok = !cli_interrupted() ||
             error_set(e, ERROR_INTERRUPTED, "stopped during a validation, which begins anew next time");
        if (!ok) break;
        for (int64_t i = 0; i < n; i++) {
            fill_pixels(j, d, i, at + i, false, 0);
            fill_target(j, i, j->labels[1][(at + i) / CTRG_SLICES]);
        }
        Tensor *logits, *x = forward(j, t, n, false, &logits);
        tensor_download(logits, logit);
        tensor_download(x, &mean);
        tape_reset(t);
        s->loss += (double)mean * (double)n / (double)slices;
        for (int64_t i = 0; i < n; i++)
            for (int c = 0; c < columns(j); c++) {
                const float *l = logit + i * K;
                double odds = K == 2 ? (double)l[1] - (double)l[0] : (double)l[c];
                s->slice[c * slices + at + i] = odds;
                s->study[c * d->n + (at + i) / CTRG_SLICES] += 1 / (1 + exp(-odds)) / CTRG_SLICES;
            }
    }
    free(logit);
    return ok;
}

/* Of one column, slices or studies; accuracy at even odds. */
typedef struct Scores {
    double slice_accuracy, slice_auc, study_accuracy, study_auc;
} Scores;

static bool score(const Job *j, const Seen *s, int c, Scores *out, Error *e)
{
    int n = j->validation->n, slices = n * CTRG_SLICES, right = 0, studies = 0;
    uint8_t *truth = room((size_t)slices, 1), *own = room((size_t)n, 1);
    const double *slice = s->slice + (size_t)c * (size_t)slices, *study = s->study + (size_t)c * (size_t)n;
    for (int i = 0; i < slices; i++) {
        truth[i] = j->labels[1][i / CTRG_SLICES] >> label_of(j, c) & 1;
        own[i / CTRG_SLICES] = truth[i];
        right += (slice[i] > 0) == truth[i];
    }
    for (int k = 0; k < n; k++) studies += (study[k] > 0.5) == own[k];
    out->slice_accuracy = (double)right / slices;
    out->study_accuracy = (double)studies / n;
    bool ok =
        auc_score(slice, truth, slices, &out->slice_auc, e) && auc_score(study, own, n, &out->study_auc, e);
    free(truth);
    free(own);
    return ok;
}

/* Means over the columns; of areas over those that have one. */
static bool mean_scores(const Job *j, const Seen *s, Scores *out, Error *e)
{
    int with = 0, n = columns(j);
    *out = (Scores){0};
    for (int c = 0; c < n; c++) {
        Scores one;
        if (!score(j, s, c, &one, e)) return false;
        out->slice_accuracy += one.slice_accuracy / n;
        out->study_accuracy += one.study_accuracy / n;
        if (isnan(one.slice_auc)) continue;
        with++;
        out->slice_auc += one.slice_auc;
        out->study_auc += one.study_auc;
    }
    out->slice_auc /= with;
    out->study_auc /= with;
    return true;
}

static bool validate(Trainer *t, void *context, TrainerValidation *v, Error *e)
{
    static const char *const name[] = {"loss", "accuracy", "auc", "study_accuracy", "study_auc"};
    Job *j = context;
    Seen s;
    Scores m;
    seen_open(&s, j);
    bool ok = see(j, &t->tape, &s, e) && mean_scores(j, &s, &m, e);
    if (ok) {
        const double value[] = {s.loss, m.slice_accuracy, m.slice_auc, m.study_accuracy, m.study_auc};
        for (; v->n < (int)(sizeof value / sizeof *value); v->n++) {
            v->name[v->n] = name[v->n];
            v->value[v->n] = value[v->n];
        }
        v->score = m.slice_auc;
    }
    seen_close(&s);
    return ok;
}

/* The best weights' scores, a line a label. */
static bool print_scores(Job *j, Trainer *t, Error *e)
{
    Seen s;
    seen_open(&s, j);
    bool ok = see(j, &t->tape, &s, e);
    if (ok) printf("label\tstudies\tpositive\tslice_accuracy\tslice_auc\tstudy_accuracy\tstudy_auc\n");
    for (int c = 0; ok && c < columns(j); c++) {
        Scores one;
        ok = score(j, &s, c, &one, e);
        if (ok)
            printf("%s\t%d\t%d\t%.4f\t%.4f\t%.4f\t%.4f\n", cq500_label[label_of(j, c)], j->validation->n,
                   positives(j, label_of(j, c)), one.slice_accuracy, one.slice_auc, one.study_accuracy,
                   one.study_auc);
    }
    seen_close(&s);
    return ok;
}

/* ---- the stage ---- */

static bool open_data(Job *j, Error *e)
{
    const TrainOptions *o = j->o;
    j->data = train_data_open(o->data, (int)o->studies, true, false, e);
    if (!j->data || !read_labels(j->data, &j->labels[0], e)) return false;
    if (!o->validation) return true;
    j->validation = train_data_open(o->validation, (int)o->validation_studies, true, false, e);
    return j->validation && read_labels(j->validation, &j->labels[1], e) && check_validation(j, e);
}

static void close_job(Job *j)
{
    for (int i = 0; i < 2; i++) free(j->labels[i]);
    train_data_close(j->data);
    train_data_close(j->validation);
    free(j->pixel);
    free(j->target);
    free(j->plane);
}

bool train_slices(const TrainOptions *o, Error *e)
{
    Job j = {.o = o, .classes = o->labels == LABELS_BLEED ? 2 : CQ500_LABELS};
    if (!open_data(&j, e)) {
        close_job(&j);
        return false;
    }
    TrainerOptions to = train_trainer(o, (int64_t)j.data->n * CTRG_SLICES);
    to.stage = "resnet";
    to.folder = o->out;
    to.term[0] = o->labels == LABELS_BLEED ? "bleed" : "cq500";
    to.floor = 0.005;
    to.weight_decay = 1e-4;
    to.beta2 = 0.999;
    to.validate = validate;
    Trainer t;
    Weights net = {0}, head = {0};
    char path[4096];
    bool ok =
        trainer_open(&t, &to, &o->common, e) && open_job(&j, &t, &net, &head, e) && train_run(&t, loss, &j, e);
    if (ok && !o->dry_run) {
        train_path(path, o->model, "resnet.safetensors");
        ok = (!o->validate_every || trainer_load_best(&t, e)) && (!o->validation || print_scores(&j, &t, e)) &&
             file_make_folder(o->model, e) && weights_save((Weights *[]){&net, &head}, 2, false, NULL, path, e);
    }
    weights_close(&head);
    weights_close(&net);
    trainer_close(&t);
    close_job(&j);
    return ok;
}
