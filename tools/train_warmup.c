/* The warm-up of stage pcrl: the head alone learns the language its decoder already reads, the squared distance
 * of each visual token from the sum of the slot embeddings (stage llama) of the labels drawn in its slice,
 * three times the weight where there is one. Ours, for a language model too small to have met prefixes before.
 */
#include "tools/train_pcrl.h"
#include <stdlib.h>
#include <string.h>

static const double found_weight = 3, warmup_lr = 2e-3;

typedef struct Job {
    PcrlStage *stage;
    Weights head, slots;
    Visual visual;
    Tensor *embedding; /* (52,D) */
    int64_t *study;    /* [B] */
} Job;

static Tensor *distance(const Job *j, Tape *tape, Tensor *hv)
{
    int64_t D = hv->dim[2], slots = hv->dim[1], rows = hv->dim[0] * slots;
    float *y = malloc((size_t)(rows * LABEL_COUNT) * sizeof *y),
          *weight = malloc((size_t)(rows * D) * sizeof *weight);
    if (!y || !weight) die("out of host memory for a batch");
    for (int64_t r = 0; r < rows; r++) {
        uint64_t labels =
            j->stage->train.data->labels[j->study[r / slots] * CTRG_SLICES + r % slots % CTRG_SLICES];
        for (int l = 0; l < LABEL_COUNT; l++) y[r * LABEL_COUNT + l] = (float)(labels >> l & 1);
        for (int64_t d = 0; d < D; d++) weight[r * D + d] = labels ? (float)found_weight : 1;
    }
    Tensor *Y = tape_tensor(tape, DTYPE_f32, 2, (int64_t[]){rows, LABEL_COUNT}),
           *W = tape_tensor(tape, DTYPE_f32, 2, (int64_t[]){rows, D});
    tensor_upload(Y, y);
    tensor_upload(W, weight);
    free(y);
    free(weight);
    Tensor *target = op_matmul(tape, Y, j->embedding, NULL, NULL, false, false); /* (rows,D) */
    Tensor *d = op_sub(tape, tensor_reshape(tape->step, hv, 2, (int64_t[]){rows, D}), target);
    return op_sum(tape, op_mul(tape, op_mul(tape, d, d), W), (float)(1.0 / (double)rows));
}

static bool loss(Trainer *t, void *context, Error *e)
{
    Job *j = context;
    PcrlSet *set = &j->stage->train;
    int64_t B = j->stage->o->batch;
    Tensor *grid, *pooled;
    pcrl_draw(&t->rng, set->data->n, B, j->study);
    if (!pcrl_read_features(set, &t->tape, B, j->study, &grid, &pooled, e)) return false;
    Tensor *x = distance(j, &t->tape, visual_forward(&t->tape, &j->visual, grid, pooled, true));
    trainer_term(t, 0, x, 1);
    tape_backward(&t->tape, x);
    return true;
}

/* The slots must be as wide as the language model that will read the head's tokens. */
static bool check_width(const PcrlStage *s, int64_t width, Error *e)
{
    Weights llama;
    int64_t dim[2] = {0};
    weights_init(&llama, NULL, NULL, NULL, 0);
    bool ok = weights_open(&llama, s->llama, e) &&
              (weights_shape(&llama, 2, dim, "model.embed_tokens.weight") || weights_ok(&llama, e));
    weights_close(&llama);
    if (!ok || dim[1] == width) return ok;
    return error_set(e, ERROR_INPUT, "%s: slots.weight is %lld wide, expected %lld as %s", s->o->slots,
                     (long long)width, (long long)dim[1], s->llama);
}

static bool open_job(Job *j, Trainer *t, Error *e)
{
    PcrlStage *s = j->stage;
    const TrainOptions *o = s->o;
    weights_init(&j->head, &t->weights, &t->state, &t->params, o->common.seed);
    weights_init(&j->slots, &t->weights, &t->state, NULL, 0);
    j->head.trainable = true;
    int64_t dim[2] = {0};
    if (!weights_open(&j->slots, o->slots, e)) return false;
    weights_shape(&j->slots, 2, dim, "slots.weight");
    j->embedding = weights_get(&j->slots, (WeightSpec){{LABEL_COUNT, dim[1]}, WEIGHT_PLAIN, INIT_ZEROS, 0},
                               "slots.weight");
    if (!weights_ok(&j->slots, e) || !check_width(s, dim[1], e) ||
        !visual_create(&j->visual, &j->head, s->train.features.channels, dim[1], o->embed, (HvMode)o->hv, e))
        return false;
    params_alloc(&t->params);
    train_buffers(t, &j->head);
    j->study = calloc((size_t)o->batch, sizeof *j->study);
    if (!j->study) die("out of host memory");
    return weights_fill(&j->head, e);
}

bool pcrl_warmup(PcrlStage *s, Error *e)
{
    const TrainOptions *o = s->o;
    TrainerOptions options = train_trainer(o, s->train.data->n);
    char folder[PCRL_PATH];
    train_path(folder, o->out, "warmup");
    options.stage = "warmup";
    options.folder = folder;
    options.term[0] = "loss";
    options.steps = o->warmup_steps;
    options.schedule = SCHEDULE_COSINE;
    options.lr = warmup_lr;
    options.clip = 0;
    options.floor = 0.01;
    options.weight_decay = 0.01;
    options.beta2 = 0.999;
    options.validate_every = 0;
    Trainer t;
    Job j = {.stage = s};
    bool ok = trainer_open(&t, &options, &o->common, e) && open_job(&j, &t, e) && train_run(&t, loss, &j, e);
    ok = ok && weights_save((Weights *[]){&j.head}, 1, false, NULL, s->warm, e);
    weights_close(&j.slots);
    weights_close(&j.head);
    free(j.study);
    trainer_close(&t);
    return ok;
}
