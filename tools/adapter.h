/* The LoRA adapter on disk, as PEFT keeps it: adapter_config.json and adapter_model.safetensors in one folder.
 */
#ifndef TOOLS_ADAPTER_H
#define TOOLS_ADAPTER_H
#include "models/weights.h"

/* Writes both files into the folder. */
bool adapter_save(const char *folder, Weights *adapter, int rank, double alpha, double dropout, Error *e);
/* adapter_config.json alone. */
bool adapter_save_config(const char *folder, int rank, double alpha, double dropout, Error *e);
/* Reads rank, alpha and dropout from folder/adapter_config.json and attaches adapter_model.safetensors (or,
 * where there is none, adapter_model.bin) to `adapter`. Keys that PEFT may have added are tolerated; another
 * kind than LoRA, other targets than q_proj and v_proj, variants that compute something else (rsLoRA, DoRA,
 * patterns of ranks, biases, ...) and tensors besides are refused. */
bool adapter_open(const char *folder, Weights *adapter, int *rank, double *alpha, double *dropout, Error *e);
#endif
