/* The systems on a sheet of scores: a model, its controls, other models; and their tests against the model. */
#ifndef TOOLS_SCORE_SYSTEMS_H
#define TOOLS_SCORE_SYSTEMS_H
#include "tools/score.h"

/* After truth, cutters, lists, seed and bootstrap are there: what of the truth all systems are held against. */
bool score_prepare(ScoreSheet *s, Error *e);

/* Adds the system whose reports are in a file. unknown: studies that are not in the truth are passed over.
 * reports (NULL allowed) gets its reports, the caller's. */
bool score_add_file(ScoreSheet *s, const char *name, const char *path, bool against, bool unknown,
                    char ***reports, Error *e);

/* The controls that need only training reports: commonest, constant, constant-text and random. train: their
 * list, or a data set. */
bool score_add_training(ScoreSheet *s, const char *train, Error *e);

/* The control shuffled: reports[i] of the model, dealt to other studies. Nothing with one study. */
bool score_add_shuffled(ScoreSheet *s, char *const *reports, Error *e);

/* Tests of the model, which is the first, against each of the others. */
bool score_compare(ScoreSheet *s, Error *e);
#endif
