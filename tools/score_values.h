/* The clinical labels, diversity, intervals and tests of a sheet of scores, as JSON. New references; undefined
 * numbers are null. */
#ifndef TOOLS_SCORE_VALUES_H
#define TOOLS_SCORE_VALUES_H
#include "tools/score.h"

/* {"mention": {"micro": {...}, "macro": {...}, "example": {...}, "labels": [...]}, "finding": ..., ...} */
json_t *score_clinical_json(const ScoreSheet *s, const ScoreSystem *y);
/* The same of one study of the model: counts, precision, recall and F1 of each list. */
json_t *score_clinical_study_json(const ScoreSheet *s, int study);
json_t *score_diversity_json(const Diversity *d);
/* [low, high] at the place that the value has in the system's JSON: {"lesion": {"f1": [0.9, 0.95], ...}, ...}.
 */
json_t *score_intervals_json(const ScoreSheet *s, const Measures *m);
/* The model less a system, likewise {"difference": x, "ci95": [low, high], "p": x, "overlap": false}; overlap:
 * whether the two systems' own intervals do, null where one is undefined. */
json_t *score_paired_json(const ScoreSheet *s, const ScoreSystem *y);
#endif
