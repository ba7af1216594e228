/* Inside data/ctrg_brain: which slices a study has, and which of them it takes. */
#ifndef DATA_CTRG_BRAIN_PARTS_H
#define DATA_CTRG_BRAIN_PARTS_H
#include "data/ctrg_brain.h"

/* Each false only where memory fails or the folder cannot be read. */
bool brain_list_folders(Brain *b, Error *e);
bool brain_read_manifest(Brain *b, Error *e);
void brain_pick_evenly(Brain *b);
#endif
