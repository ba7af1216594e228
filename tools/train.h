/* The stages of pcrl-train. Each takes a run folder, trains with tools/trainer, and writes its part of the
 * model in the reference's names. Stages are resumable; a finished stage returns at once. */
#ifndef TOOLS_TRAIN_H
#define TOOLS_TRAIN_H
#include "models/visual.h"
#include "models/weights.h"
#include "tools/cli.h"
#include "tools/trainer.h"

/* What the fields of TrainOptions choose from, in the order of the words in tools/settings_table.c. */
enum { LABELS_TRUTH, LABELS_BLEED, LABELS_CQ500 };
enum { PRESET_PAPER, PRESET_RELEASE };
enum { DICE_PRINTED, DICE_SMOOTH };
enum { CONTRAST_PRINTED, CONTRAST_STANDARD };
enum { REDUCE_SUM, REDUCE_MEAN };
enum { TAU_FIXED, TAU_LEARN };
enum { ECA_UNIT_SLICE, ECA_UNIT_ENTITY };
enum { ECA_SCOPE_BATCH, ECA_SCOPE_SAMPLE };
enum { TEXTS_LLAMA, TEXTS_BERT };
enum { BERT_CLS, BERT_MEAN };
enum { PROMPT_PAPER, PROMPT_RELEASE };
enum { POOL_LAST, POOL_PADDED };
enum { ENTITIES_26, ENTITIES_24 };
enum { QUANT_NF4, QUANT_FP4 };
enum { MASK_NEAREST, MASK_AREA };
enum { BACKWARD_BRANCHES, BACKWARD_JOINT };
enum { SIZES_FILES, SIZES_PAPER };

/* Filled by tools/settings, which has bounds, defaults and the meaning of each. */
typedef struct TrainOptions {
    CliCommon common;
    const char *data;  /* training data set (folder of pcrl-synth or the like) */
    const char *out;   /* run folder */
    const char *model; /* model folder: what earlier stages wrote, and where this one writes its part */
    int64_t steps, batch;
    double lr;
    int64_t studies; /* at most so many of `data`; 0: all */
    int schedule;    /* SCHEDULE_COSINE, SCHEDULE_STEP */
    double step_gamma;
    int64_t step_every; /* updates; 0: one epoch */
    int64_t warm;       /* updates of the linear warm-up */
    double clip;        /* global norm; 0: none */
    int64_t accumulate, save_every, log_every;
    int64_t validate_every; /* updates; 0: never */
    const char *validation; /* data set, or NULL */
    int64_t validation_studies;
    int64_t stop_after; /* updates of a part (warm-up, joint training), in this call; 0: no such limit */
    bool restart, dry_run;
    int sizes; /* of a dry run of stage pcrl */
    /* resnet */
    int64_t stem, width[4], depth[4], stride[4];
    int labels;
    const char *backbone; /* weights it begins with; NULL: random ones */
    /* llama; dim, layers, heads, ffn of sam, bert and medclip too */
    int64_t vocab, dim, layers, heads, kv_heads, ffn, slot_steps;
    double prefix_share; /* of text samples that begin with their findings as keywords */
    /* sam, bert, medclip */
    int64_t image, patch, window;
    int64_t global_every, decoder_dim, decoder_heads, decoder_ffn, dense_steps, prompts;
    int64_t points_per_side, min_mask_region_area; /* recommended for automatic mask generation */
    double pred_iou_thresh, stability_score_thresh;
    int64_t positions;
    int64_t stages;
    const char *bert; /* of pcrl too */
    double regions;
    /* pcrl */
    int preset;
    int hv; /* HvMode */
    int dice, contrast, contrast_reduction, tau, eca_unit, eca_scope, text_features, bert_pool, text_prompt,
        text_pool, entities;
    int lm_reduction, quant;
    int mask_resize;
    bool mask_identical;
    double weight_report, weight_segment, weight_entity, weight_theme; /* 0: without that branch */
    double alpha_v, alpha_w;
    int64_t embed; /* width of the alignment space */
    int recompute, backward;
    const char *instruction; /* around texts that are aligned */
    const char *clues;       /* NULL: DATA/clues.json */
    const char *init;        /* model folder whose heads and adapter it begins with; NULL: none */
    int64_t warmup_steps;    /* head alone, towards the slot embeddings */
    int64_t lora_rank;
    double lora_alpha, lora_dropout;
    const char *cache; /* folder of the feature cache */
    const char *slots; /* slot embeddings of stage llama, for the warm-up */
} TrainOptions;

bool train_resnet(const TrainOptions *o, Error *e);
bool train_slices(const TrainOptions *o, Error *e); /* stage resnet on labels other than truth */
bool train_llama(const TrainOptions *o, Error *e);
bool train_sam(const TrainOptions *o, Error *e);
bool train_bert(const TrainOptions *o, Error *e);
bool train_medclip(const TrainOptions *o, Error *e);
bool train_pcrl(const TrainOptions *o, Error *e);

/* What all stages take from their options as it is; the stage adds its name, folder, terms, weight decay and
 * the like. `samples` an epoch (0: the stage draws without end) becomes updates an epoch. */
TrainerOptions train_trainer(const TrainOptions *o, int64_t samples);
/* <folder>/<name> into path (4096 bytes). */
void train_path(char *path, const char *folder, const char *name);
/* The weights STEM of a model folder, in whichever form they are there: STEM.safetensors, .pth, .pt, .bin,
 * .gguf, or what a folder STEM holds; of none the first. */
void train_weights(char *path, const char *folder, const char *stem);
/* trainer_run; what trained ends with its memory and times on stdout. */
bool train_run(Trainer *t, TrainerLoss *loss, void *context, Error *e);
/* Registers a part's BatchNorm statistics with the trainer's checkpoint. */
void train_buffers(Trainer *t, const Weights *w);

#endif
