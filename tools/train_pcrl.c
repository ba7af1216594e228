/* Stage pcrl: the paper's report branch (its baseline row), equation 1. ResNet frozen, its features cached; the
 * 4-bit language model frozen, LoRA on q and v and the head trained on the findings' tokens.
 *
 * Before it, unless the preset is `paper`, the head alone is warmed up: the squared distance of each visual
 * token from the sum of the slot embeddings (stage llama) of the labels drawn in its slice, three times the
 * weight where there is one. That teaches the head the language its decoder already reads. */
#include "data/file.h"
#include "kernels/ops.h"
#include "losses/report.h"
#include "models/pcrl.h"
#include "models/visual.h"
#include "tools/adapter.h"
#include "tools/features.h"
#include "tools/prompt.h"
#include "tools/train.h"
#include <stdlib.h>
#include <string.h>

enum { PART = 4096 };
static const double found_weight = 3; /* of slices with findings in the warm-up */

typedef struct Stage {
    const TrainOptions *o;
    HvMode hv;
    TrainData *data;
    Features features;
    Prompt prompt;
    int32_t **ids; /* [n] findings as tokens */
    int *n_ids;
    char resnet[PART], llama[PART], warm[PART], heads[PART];
} Stage;

/* A batch of cached features: grid (B*24,14,14,C), pooled (B*24,C), and which studies. */
typedef struct Batch {
    int64_t B, *study;
    Tensor *grid, *pooled;
} Batch;

static bool read_batch(Stage *s, Trainer *t, Batch *b, Error *e)
{
    int64_t C = s->features.channels, per = CTRG_SLICES * GRID_CELLS * C;
    float *grid = malloc((size_t)(b->B * per) * sizeof *grid),
          *pooled = malloc((size_t)(b->B * CTRG_SLICES * C) * sizeof *pooled);
    if (!grid || !pooled) die("out of host memory for a batch");
    bool ok = true;
    for (int64_t i = 0; ok && i < b->B; i++) {
        b->study[i] = rng_below(&t->rng, s->data->n);
        ok = features_read(&s->features, b->study[i], grid + i * per, pooled + i * CTRG_SLICES * C, e);
    }
    b->grid = tape_tensor(&t->tape, DTYPE_f32, 4, (int64_t[]){b->B * CTRG_SLICES, GRID, GRID, C});
    b->pooled = tape_tensor(&t->tape, DTYPE_f32, 2, (int64_t[]){b->B * CTRG_SLICES, C});
    tensor_upload(b->grid, grid);
    tensor_upload(b->pooled, pooled);
    free(grid);
    free(pooled);
    return ok;
}

/* Distance of the slots from the slot embeddings of the true labels, mean over slices. */
static Tensor *warm_loss(Stage *s, Trainer *t, Tensor *hv, Tensor *embedding, const Batch *b)
{
    int64_t D = hv->dim[2], slots = hv->dim[1], rows = b->B * slots;
    float *y = malloc((size_t)(rows * LABEL_COUNT) * sizeof *y),
          *weight = malloc((size_t)(rows * D) * sizeof *weight);
    if (!y || !weight) die("out of host memory for a batch");
    for (int64_t r = 0; r < rows; r++) {
        uint64_t labels = s->data->labels[b->study[r / slots] * CTRG_SLICES + r % slots % CTRG_SLICES];
        for (int l = 0; l < LABEL_COUNT; l++) y[r * LABEL_COUNT + l] = (float)(labels >> l & 1);
        for (int64_t d = 0; d < D; d++) weight[r * D + d] = labels ? (float)found_weight : 1;
    }
    Tape *tape = &t->tape;
    Tensor *Y = tape_tensor(tape, DTYPE_f32, 2, (int64_t[]){rows, LABEL_COUNT}),
           *W = tape_tensor(tape, DTYPE_f32, 2, (int64_t[]){rows, D});
    tensor_upload(Y, y);
    tensor_upload(W, weight);
    free(y);
    free(weight);
    Tensor *target = op_matmul(tape, Y, embedding, NULL, NULL, false, false); /* (rows,D) */
    Tensor *d = op_sub(tape, tensor_reshape(tape->step, hv, 2, (int64_t[]){rows, D}), target);
    return op_sum(tape, op_mul(tape, op_mul(tape, d, d), W), (float)(1.0 / (double)rows));
}

static Tensor *generation_loss(Stage *s, Trainer *t, const Llama *m, Tensor *hv, const Batch *b)
{
    const int32_t **ids = malloc((size_t)b->B * sizeof *ids);
    int *n = malloc((size_t)b->B * sizeof *n);
    if (!ids || !n) die("out of host memory for a batch");
    for (int64_t i = 0; i < b->B; i++) {
        ids[i] = s->ids[b->study[i]];
        n[i] = s->n_ids[b->study[i]];
    }
    PcrlRows rows = pcrl_rows(&t->tape, m, hv, &s->prompt.pcrl, b->B, ids, n);
    free(ids);
    free(n);
    return report_loss(&t->tape, rows.h, m->head, rows.label, true);
}

/* One training of the head: warm-up, or joint with LoRA. */
typedef struct Job {
    Stage *stage;
    bool joint;
    Weights base, head, adapter, slots;
    Llama model;
    Visual visual;
    Tensor *embedding; /* (52,D), warm-up only */
    Batch batch;
} Job;

static Tensor *loss(Trainer *t, void *context, Error *e)
{
    Job *j = context;
    Stage *s = j->stage;
    if (!read_batch(s, t, &j->batch, e)) return NULL;
    Tensor *pooled = s->hv == HV_LOCAL24 ? NULL : j->batch.pooled;
    Tensor *hv = visual_forward(&t->tape, &j->visual, j->batch.grid, pooled, true); /* (B,slots,D) */
    Tensor *x = j->joint ? generation_loss(s, t, &j->model, hv, &j->batch)
                         : warm_loss(s, t, hv, j->embedding, &j->batch);
    t->term[0] = tensor_value(x);
    return x;
}

static bool open_job(Job *j, Trainer *t, Error *e)
{
    Stage *s = j->stage;
    const TrainOptions *o = s->o;
    weights_init(&j->base, &t->weights, &t->state, NULL, 0);
    weights_init(&j->head, &t->weights, &t->state, &t->params, o->common.seed);
    weights_init(&j->adapter, &t->weights, &t->state, &t->params, o->common.seed);
    weights_init(&j->slots, &t->weights, &t->state, NULL, 0);
    j->head.trainable = j->adapter.trainable = true;
    j->base.quantise = j->base.nested = true; /* a file of f32 weights is quantised while it is read */
    if (!weights_open(&j->base, s->llama, e) || !llama_open(&j->model, &j->base, e)) return false;
    int64_t D = j->model.config.dim;
    bool warmed = j->joint && o->warmup_steps;
    if (warmed && !weights_open(&j->head, s->warm, e)) return false;
    if (!visual_create(&j->visual, &j->head, s->features.channels, D, 512, s->hv, e)) return false;
    if (j->joint) {
        if (!llama_add_lora(&j->model, &j->adapter, (int)o->lora_rank, (float)o->lora_alpha,
                            (float)o->lora_dropout, e))
            return false;
    } else {
        if (!weights_open(&j->slots, o->slots, e)) return false;
        j->embedding =
            weights_get(&j->slots, (WeightSpec){{LABEL_COUNT, D}, WEIGHT_PLAIN, INIT_ZEROS, 0}, "slots.weight");
        if (!weights_ok(&j->slots, e)) return false;
    }
    params_alloc(&t->params);
    train_buffers(t, &j->head);
    j->batch.B = o->batch ? o->batch : 16;
    j->batch.study = calloc((size_t)j->batch.B, sizeof *j->batch.study);
    if (!j->batch.study) die("out of host memory");
    return weights_fill(&j->head, e) && weights_fill(&j->adapter, e);
}

static bool run(Stage *s, bool joint, Error *e)
{
    const TrainOptions *o = s->o;
    int64_t joint_steps = o->steps ? o->steps : 1000;
    double joint_lr = o->lr > 0 ? o->lr : 1e-3;
    TrainerOptions options = {.stage = joint ? "pcrl" : "warmup",
                              .term = {"loss"},
                              .steps = joint ? joint_steps : o->warmup_steps,
                              .warm = 30,
                              .lr = joint ? joint_lr : 2e-3,
                              .floor = 0.01,
                              .weight_decay = 0.01,
                              .beta2 = 0.999,
                              .clip = joint ? 1 : 0,
                              .save_every = 200,
                              .resume = o->resume};
    char folder[PART];
    train_path(folder, o->out, options.stage);
    options.folder = folder;
    Trainer t;
    Job *j = calloc(1, sizeof *j);
    if (!j) die("out of host memory");
    j->stage = s;
    j->joint = joint;
    bool ok = trainer_open(&t, &options, &o->common, e) && open_job(j, &t, e) && trainer_run(&t, loss, j, e);
    ok = ok && weights_save((Weights *[]){&j->head}, 1, false, NULL, joint ? s->heads : s->warm, e);
    ok = ok &&
         (!joint || adapter_save(o->model, &j->adapter, (int)o->lora_rank, o->lora_alpha, o->lora_dropout, e));
    Weights *part[] = {&j->slots, &j->adapter, &j->head, &j->base};
    for (int i = 0; i < 4; i++) weights_close(part[i]);
    free(j->batch.study);
    free(j);
    trainer_close(&t);
    return ok;
}

static bool encode_findings(Stage *s, Error *e)
{
    s->ids = calloc((size_t)s->data->n, sizeof *s->ids);
    s->n_ids = calloc((size_t)s->data->n, sizeof *s->n_ids);
    if (!s->ids || !s->n_ids) die("out of host memory for the reports");
    for (int k = 0; k < s->data->n; k++) {
        const char *text = s->data->ctrg->study[k].findings;
        if (!bpe_encode(s->prompt.bpe, text, strlen(text), false, &s->ids[k], &s->n_ids[k], e)) return false;
    }
    return true;
}

static void stage_close(Stage *s)
{
    for (int k = 0; s->ids && k < s->data->n; k++) free(s->ids[k]);
    free(s->ids);
    free(s->n_ids);
    features_close(&s->features);
    prompt_close(&s->prompt);
    train_data_close(s->data);
}

bool train_pcrl(const TrainOptions *o, Error *e)
{
    Stage s = {.o = o};
    if (!hv_parse(o->hv, &s.hv))
        return error_set(e, ERROR_USAGE, "--hv %s: expected local24, concat48, global24 or sum24", o->hv);
    train_path(s.resnet, o->model, "resnet.safetensors");
    train_path(s.llama, o->model, "llama.safetensors");
    train_path(s.heads, o->model, "pcrl_heads.safetensors");
    train_path(s.warm, o->out, "warmup.safetensors");
    const Backend *backend = backend_open(o->common.device, e);
    bool ok = backend && file_make_folder(o->out, e) && prompt_open(&s.prompt, o->model, e);
    s.data = ok ? train_data_open(o->data, (int)o->studies, true, e) : NULL;
    ok = ok && s.data && features_open(&s.features, o->cache, "train", s.resnet, s.data, backend, e);
    if (ok) {
        free(s.data->pixel); /* the features take their place */
        s.data->pixel = NULL;
    }
    ok = ok && encode_findings(&s, e);
    ok = ok && (!o->warmup_steps || run(&s, false, e));
    ok = ok && run(&s, true, e);
    stage_close(&s);
    return ok;
}
