/* The clinical labels, diversity, intervals and tests of a sheet of scores, as tables for people. */
#ifndef TOOLS_SCORE_TABLES_H
#define TOOLS_SCORE_TABLES_H
#include "tools/score.h"

/* "0.938", "-" where it is undefined; "0.922-0.953", "" where it is undefined. One printf may take several. */
const char *score_share(double x);
const char *score_range(const Interval *i);

/* The names of all systems but the first, as heads of columns; and the width of the column of one. */
void score_print_names(FILE *out, const ScoreSheet *s);
int score_column(const ScoreSystem *y);

/* The text metrics of the main split with their intervals, a system in two lines. */
void score_print_text_intervals(FILE *out, const ScoreSheet *s);
/* Each list, and then the model's scores of each label beside the controls' F1. */
void score_print_clinical(FILE *out, const ScoreSheet *s);
void score_print_diversity(FILE *out, const ScoreSheet *s);
/* The model less each other system. */
void score_print_paired(FILE *out, const ScoreSheet *s);
#endif
