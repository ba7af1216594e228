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

typedef struct TrainerOptions {
    const char *stage;   /* name in log and progress line */
    const char *folder;  /* run folder: log.jsonl, checkpoint.safetensors */
    int64_t steps, warm; /* linear warm-up, then cosine to floor * lr */
    double lr, floor, weight_decay, clip, beta2;
    int64_t save_every; /* steps between checkpoints */
    bool resume;        /* go on from folder's checkpoint if there is one */
} TrainerOptions;

typedef struct TrainerExtra {
    const char *name;
    Tensor *tensor; /* f32, saved with the checkpoint: running statistics, running means of the losses */
} TrainerExtra;

enum { TRAINER_EXTRAS = 512, TRAINER_BAD_STEPS = 5 };

typedef struct Trainer {
    TrainerOptions o;
    Arena weights, state, step_arena, scratch;
    Params params;
    Tape tape;
    Rng rng;      /* data order and augmentation */
    int64_t step; /* updates done */
    int bad;      /* steps in a row without a finite gradient */
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

/* After params_alloc and filling: restores the checkpoint if o.resume and there is one. Starts the progress
 * line. */
bool trainer_start(Trainer *t, Error *e);

/* Learning rate of the next update. */
double trainer_lr(const Trainer *t);

/* Gradient norm, clipping, AdamW, zeroed gradients, tape_reset, step + 1. A gradient that is not finite is
 * skipped and counted; the fifth in a row ends training with ERROR_NUMERIC naming the first bad tensor. Saves
 * every save_every steps and when interrupted (then false with ERROR_INTERRUPTED). */
bool trainer_update(Trainer *t, Error *e);

/* One line {"stage":...,"step":...,"seconds":..., key: value...} in log.jsonl; keys and values alternate, NULL
 * ends. */
void trainer_log(Trainer *t, const char *key, double value, ...);

bool trainer_save(Trainer *t, Error *e);

/* Exponential running mean over about `window` values; n counts the values so far. */
double running_mean(double mean, double value, int64_t n, int64_t window);
/* 0-dim helper: the value of a one-element tensor. */
double tensor_value(const Tensor *x);
#endif
