/* The stages of pcrl-train. Each takes a run folder, trains with tools/trainer, and writes its part of the
 * model in the reference's names. Stages are resumable; a finished stage returns at once. */
#ifndef TOOLS_TRAIN_H
#define TOOLS_TRAIN_H
#include "models/weights.h"
#include "tools/cli.h"
#include "tools/trainer.h"

typedef struct TrainOptions {
    CliCommon common;
    const char *data;  /* training data set (folder of pcrl-synth or the like) */
    const char *out;   /* run folder */
    const char *model; /* model folder: what earlier stages wrote, and where this one writes its part */
    int64_t steps;     /* 0: the stage's own */
    int64_t batch;     /* 0: the stage's own */
    double lr;         /* 0: the stage's own */
    int64_t studies;   /* at most so many of `data`; 0: all */
    bool resume;
    /* resnet */
    int64_t stem, width[4];
    int depth[4], stride[4];
    /* llama */
    int64_t vocab, dim, layers, heads, kv_heads, ffn, slot_steps;
    double prefix_share; /* of text samples that begin with their findings as keywords */
    /* pcrl */
    int64_t warmup_steps; /* head alone, towards the slot embeddings */
    const char *hv;       /* local24, concat48, global24, sum24 */
    double lora_alpha, lora_dropout;
    int64_t lora_rank;
    const char *cache; /* folder of the feature cache */
    const char *slots; /* slot embeddings of stage llama, for the warm-up */
} TrainOptions;

bool train_resnet(const TrainOptions *o, Error *e);
bool train_llama(const TrainOptions *o, Error *e);
bool train_pcrl(const TrainOptions *o, Error *e);

/* <folder>/<name> into path (4096 bytes). */
void train_path(char *path, const char *folder, const char *name);
/* Registers a part's BatchNorm statistics with the trainer's checkpoint. */
void train_buffers(Trainer *t, const Weights *w);

#endif
