/* The part of training that all stages share: arenas, learning-rate schedule, clipping, AdamW, the JSONL log,
 * and checkpoints that resume bit for bit. */
#ifndef TOOLS_TRAINER_H
#define TOOLS_TRAINER_H
#include "data/safetensors.h"
#include "tensor/params.h"
#include "tensor/rng.h"
#include "tensor/tape.h"
#include "tools/cli.h"
#include <stdio.h>

enum {
    TRAINER_TERMS = 4,
    TRAINER_EXTRAS = 512,
    TRAINER_BAD_STEPS = 5,
    TRAINER_LOG_EVERY = 25,
    TRAINER_WINDOW = 100
};

typedef struct TrainerOptions {
    const char *stage;               /* name in log and progress line */
    const char *folder;              /* run folder: log.jsonl, checkpoint.safetensors */
    const char *term[TRAINER_TERMS]; /* names of the loss's terms; the first NULL ends the list */
    int64_t steps, warm;             /* linear warm-up, then cosine to floor * lr */
    double lr, floor, weight_decay, clip, beta2;
    int64_t save_every; /* steps between checkpoints */
    bool resume;        /* go on from folder's checkpoint if there is one */
} TrainerOptions;

typedef struct TrainerExtra {
    const char *name;
    Tensor *tensor; /* f32, saved with the checkpoint: running statistics, running means of the losses */
} TrainerExtra;

typedef struct Trainer {
    TrainerOptions o;
    Arena weights, state, step_arena, scratch;
    Params params;
    Tape tape;
    Rng rng;                    /* data order and augmentation */
    int64_t step;               /* updates done */
    int bad;                    /* steps in a row without a finite gradient */
    double term[TRAINER_TERMS]; /* of this update's loss, written by the TrainerLoss */
    Tensor *mean;               /* their running means */
    double started;
    CliProgress progress;
    FILE *log;
    TrainerExtra extra[TRAINER_EXTRAS];
    int n_extra;
} Trainer;

/* Opens arenas on the common options' device (memory: the capacity of each, 0: the machine's) and the run
 * folder. */
bool trainer_open(Trainer *t, const TrainerOptions *o, const CliCommon *common, Error *e);
void trainer_close(Trainer *t);

/* A state tensor to be saved along. */
void trainer_extra(Trainer *t, const char *name, Tensor *x);

/* The loss of one update (one element), recorded on t->tape, with its terms in t->term. NULL with *e set ends
 * training. */
typedef Tensor *TrainerLoss(Trainer *t, void *context, Error *e);

/* After params_alloc and filling: restores the checkpoint if o.resume and there is one, then trains to o.steps.
 * An update is backward, gradient norm, clipping, AdamW, zeroed gradients, tape_reset. A gradient that is not
 * finite is skipped and counted; the fifth in a row ends training with ERROR_NUMERIC naming the first bad
 * tensor. Saves every save_every steps and when interrupted (then false with ERROR_INTERRUPTED). One line of
 * running means every TRAINER_LOG_EVERY steps in log.jsonl: {"stage":..., "step":..., "seconds":..., terms...,
 * "lr":...}. */
bool trainer_run(Trainer *t, TrainerLoss *loss, void *context, Error *e);

/* The value of a one-element tensor. */
double tensor_value(const Tensor *x);
#endif
