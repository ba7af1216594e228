/* The whole report system from a model folder: resnet.safetensors, llama.safetensors (4-bit),
 * adapter_config.json with adapter_model.safetensors, pcrl_heads.safetensors, tokenizer.json. */
#ifndef TOOLS_SYSTEM_H
#define TOOLS_SYSTEM_H
#include "models/pcrl.h"
#include "models/resnet.h"
#include "models/visual.h"
#include "tools/cli.h"
#include "tools/prompt.h"
#include <stdio.h>

typedef struct System {
    Arena weights, state, step, scratch;
    Tape tape;
    Weights resnet_part, llama_part, adapter_part, head_part;
    Resnet resnet;
    Llama llama;
    Visual visual;
    Prompt prompt;
    int side; /* of the square slices the ResNet was trained on; 0: its file does not say */
} System;

/* Opens every part, frozen. plan: on backend plan in place of the device, so that arenas have sizes and no
 * values. On false nothing stays open; the error names the file and what is wrong with it. */
bool system_open(System *s, const char *folder, const CliCommon *common, bool plan, Error *e);
void system_close(System *s);

/* False and an Error naming both sizes unless the model takes slices of that size. */
bool system_check_size(const System *s, int width, int height, Error *e);

/* False and an Error naming the head's file unless it has a segmentation head. */
bool system_check_segmentation(const System *s, Error *e);

/* H_v of one study's 24 slices u8[24][height][width] to host memory: slots * D floats. prob, NULL allowed, gets
 * the segmentation head's probabilities [24][14][14]; there must be one. */
void system_visual_tokens(System *s, const uint8_t *pixel, int width, int height, float *hv, float *prob);
int64_t system_token_count(const System *s); /* slots * D */
/* Peak bytes of the arenas (tools/memory.h). */
void system_print_memory(const System *s, FILE *out);

/* Reports for B studies' visual tokens [B][slots*D]; text[b] malloc'ed UTF-8, the caller's. */
bool system_reports(System *s, const float *hv, int64_t B, const SamplerOptions *o, char **text, Error *e);
#endif
