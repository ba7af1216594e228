/* What a trainer keeps in its run folder: checkpoints, the best weights, the log. */
#ifndef TOOLS_TRAINER_SAVE_H
#define TOOLS_TRAINER_SAVE_H
#include "tools/trainer.h"

/* Checkpoint of everything that the next update depends on; `best`: it is what trainer_load_best loads. */
bool trainer_save(Trainer *t, bool best, Error *e);
/* Goes on from the newest checkpoint; *found tells whether there is one. */
bool trainer_restore(Trainer *t, bool *found, Error *e);
/* Opens log.jsonl to append, without the lines of updates after t->step. */
bool trainer_open_log(Trainer *t, Error *e);
void trainer_log(Trainer *t, double rate);
void trainer_log_validation(Trainer *t, const TrainerValidation *v);
/* How many terms the loss has. */
int trainer_terms(const Trainer *t);
#endif
