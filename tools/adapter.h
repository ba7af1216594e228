/* The LoRA adapter on disk, as PEFT keeps it: adapter_config.json and adapter_model.safetensors in one folder.
 */
#ifndef TOOLS_ADAPTER_H
#define TOOLS_ADAPTER_H
#include "models/weights.h"

/* Writes both files into the folder. */
bool adapter_save(const char *folder, Weights *adapter, int rank, double alpha, double dropout, Error *e);
/* adapter_config.json alone. */
bool adapter_save_config(const char *folder, int rank, double alpha, double dropout, Error *e);
/* Reads rank, alpha and dropout from folder/adapter_config.json (unknown keys are tolerated; a kind other than
 * LoRA on q_proj and v_proj, rsLoRA and DoRA are refused) and attaches adapter_model.safetensors to `adapter`.
 */
bool adapter_open(const char *folder, Weights *adapter, int *rank, double *alpha, double *dropout, Error *e);
#endif
