/* The part of training that all stages share: arenas, gradient accumulation, learning-rate schedules, clipping,
 * AdamW, the guard against numbers that are not finite, validation, the JSONL log, and checkpoints that resume
 * bit for bit. */
#ifndef TOOLS_TRAINER_H
#define TOOLS_TRAINER_H
#include "tensor/params.h"
#include "tensor/rng.h"
#include "tensor/tape.h"
#include "tools/cli.h"
#include <stdio.h>

enum { TRAINER_TERMS = 16, TRAINER_EXTRAS = 512, TRAINER_BAD_STEPS = 5, TRAINER_WINDOW = 100 };
enum { SCHEDULE_COSINE, SCHEDULE_STEP };

typedef struct Trainer Trainer;

/* One micro-batch: records its loss on t->tape, runs tape_backward itself (branch by branch if it likes) and
 * gives the terms to trainer_term. It should wait for nothing: all terms of an update are read with its
 * gradient norm, in one read. The tape is reset after it. False with *e set ends training. */
typedef bool TrainerLoss(Trainer *t, void *context, Error *e);

typedef struct TrainerValidation {
    const char *name[TRAINER_TERMS]; /* for the log; kept by the caller */
    double value[TRAINER_TERMS];
    int n;
    double score; /* what "best" goes by: higher is better */
} TrainerValidation;
/* Runs with the tape not recording. What it takes from t->rng and the tape is given back after it; it leaves
 * weights and extras alone. False with *e set ends training. */
typedef bool TrainerValidate(Trainer *t, void *context, TrainerValidation *v, Error *e);

typedef struct TrainerOptions {
    const char *stage;               /* name in log and progress line */
    const char *folder;              /* run folder: log.jsonl, checkpoints */
    const char *term[TRAINER_TERMS]; /* names of the loss's terms; the first NULL ends the list */
    float weight[TRAINER_TERMS];     /* not all 0: term 0 is the sum of the others times these */
    int64_t steps, warm;             /* updates; those of them with a linear warm-up */
    int schedule; /* after it: cosine to floor * lr, or lr * step_gamma^(step / step_every) */
    double lr, floor, step_gamma;
    int64_t step_every;
    double weight_decay, beta2, clip; /* clip: global gradient norm, 0 none */
    int64_t accumulate;               /* micro-batches an update, their gradients averaged; 0 is 1 */
    int64_t save_every;               /* updates between checkpoints; the newest two and the best stay */
    int64_t log_every;                /* updates between log lines; 0 is 25 */
    TrainerValidate *validate;        /* NULL: none; takes the loss's context */
    int64_t validate_every;           /* updates; 0: never */
    int64_t stop_after;               /* updates of this call after which it saves and stops; 0: no limit */
    bool dry_run; /* backend plan: one update, the tables of trainer_print_*, nothing written */
} TrainerOptions;

/* Seconds of one call: until the first update; losses and gradients; the rest of the updates; validations;
 * saves. */
typedef struct TrainerTimes {
    double opening, passes, updates, validating, saving;
} TrainerTimes;

typedef struct TrainerExtra {
    const char *name;
    Tensor *tensor; /* f32, saved with the checkpoint: running statistics, running means of the losses */
    Tensor *before; /* its value before this update */
} TrainerExtra;

/* A point of the run that it can go back to as long as weights and extras have not changed since. */
typedef struct TrainerPosition {
    int64_t step, skipped, validated, best_step;
    uint64_t random, calls;
    double best;
} TrainerPosition;

struct Trainer {
    TrainerOptions o;
    Arena weights, state, step_arena, scratch;
    Params params;
    Tape tape;
    Rng rng;                    /* data order and augmentation */
    int64_t step;               /* updates done, skipped ones too */
    int64_t skipped;            /* updates without a finite loss and gradient */
    int64_t bad;                /* how many of them in a row, up to now */
    TrainerPosition good;       /* after the last good update */
    int64_t batch;              /* the update's micro-batch, from 0 */
    Tensor *read;               /* (accumulate+1,TRAINER_TERMS) what is read: terms, in the last row |grad|^2 */
    float *host;                /* ... and where to */
    double over[TRAINER_TERMS]; /* trainer_term */
    float means[TRAINER_TERMS]; /* running means of the terms */
    Tensor *mean;               /* their copy on the device, for checkpoints */
    double best;                /* score */
    int64_t best_step;          /* 0: no validation yet */
    int64_t validated;          /* step of the last validation */
    int64_t first;              /* step at which this call began */
    double opened, started;
    TrainerTimes times;
    CliProgress progress;
    FILE *log;
    TrainerExtra extra[TRAINER_EXTRAS];
    int n_extra;
};

/* Opens arenas on the common options' device (memory: the capacity of each, 0: the machine's) and makes the run
 * folder. The folder is this trainer's alone: see checkpoint_lock. */
bool trainer_open(Trainer *t, const TrainerOptions *o, const CliCommon *common, Error *e);
void trainer_close(Trainer *t);

/* A state tensor to be saved along. */
void trainer_extra(Trainer *t, const char *name, Tensor *x);

/* In a TrainerLoss: term i of this micro-batch is x (1) over `over`, which is the same for all of them; x NULL:
 * 0. The value is copied on the device, x may go. */
void trainer_term(Trainer *t, int i, const Tensor *x, double over);

/* The learning rate of update `step` (from 0). */
double trainer_rate(const TrainerOptions *o, int64_t step);

/* After params_alloc and filling: restores the folder's checkpoint if there is one, then trains to o.steps.
 * An update is o.accumulate micro-batches, gradient norm, clipping, AdamW, zeroed gradients. The host waits for
 * the device once, for terms and norm; from the second update on no memory is asked for, unless a batch is
 * larger than all before it.
 *
 * An update whose terms or gradient are not finite changes nothing but the step and the random numbers: it is
 * skipped, counted, and said with the first bad tensor's name. The fifth in a row ends training with
 * ERROR_NUMERIC; the state of the last good update is saved.
 *
 * Saves, and writes the run's page, every save_every updates, after each validation, at the end, and when
 * interrupted or after stop_after (then false with ERROR_INTERRUPTED). log.jsonl gets a line of running means
 * every log_every updates and for each skipped one, which says how many in a row,
 *   {"stage":..., "step":..., "seconds":..., "rate":..., terms..., "skipped":..., "lr":...}
 * and a line a validation,
 *   {"stage":..., "step":..., "validation":true, values..., "score":...}
 * Lines of updates that a resumed run does again are cut off. */
bool trainer_run(Trainer *t, TrainerLoss *loss, void *context, Error *e);

/* Weights and extras of the validation with the highest score, if there was any. */
bool trainer_load_best(Trainer *t, Error *e);

/* Trainable tensors with shape and count, by group, the total, and LoRA's share of it. */
void trainer_print_parameters(const Trainer *t, FILE *out);
/* Peak bytes of the arenas (tools/memory.h); a plan's are those of a run's updates. */
void trainer_print_memory(const Trainer *t, FILE *out);
/* One line: t->times, and how many updates they are. */
void trainer_print_times(const Trainer *t, FILE *out);

/* The value of a one-element tensor. */
double tensor_value(const Tensor *x);
#endif
