/* The checkpoint of the authors' released code: a flat dict of the parameters whose names contain "local",
 * "global" or "lora". It becomes the parts of a model folder that the head and the adapter are. */
#ifndef TOOLS_RELEASE_H
#define TOOLS_RELEASE_H
#include "models/visual.h"
#include "tools/cli.h"

typedef struct ReleaseOptions {
    const CliCommon *common;
    const char *from, *to; /* the checkpoint; the model folder, which is made */
    HvMode hv;
    double alpha, dropout;  /* of LoRA: the file does not say */
    const char *data;       /* training studies for the BatchNorm statistics; NULL: none */
    int64_t batch, studies; /* studies a batch; at most so many (0: all) */
} ReleaseOptions;

/* Writes pcrl_heads.safetensors, adapter_model.safetensors and adapter_config.json. Where the file lacks the
 * running statistics of BatchNorm, which are no parameters, they are taken from `data` through the folder's
 * resnet.safetensors: one pass in training mode, each the mean over the batches of a batch's mean and unbiased
 * variance. Without data they stay 0 and 1, and a note says so. */
bool release_import(const ReleaseOptions *o, Error *e);
#endif
