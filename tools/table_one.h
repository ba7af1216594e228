/* Table 1: the texts of one model and of its controls, by each tokenizer, as the paper prints them (times 100).
 * Of the paper's table it has the columns, and of its rows none: those systems are not here. */
#ifndef TOOLS_TABLE_ONE_H
#define TOOLS_TABLE_ONE_H
#include "tools/table.h"

enum {
    ONE_METRICS = 9
}; /* BLEU-1 to 4, METEOR, ROUGE-L, CIDEr; micro F1 of mentions (the paper's CE) and of findings */

/* What pcrl-score --json printed: the model's values at the top, the controls' under "controls", the
 * tokenizer's name in "settings" as "split". Files with the same tokenizer are seeds of one model. */
typedef struct OneScores {
    char path[256], tokenizer[32];
    double value[TABLE_SYSTEMS][ONE_METRICS];
} OneScores;

typedef struct TableOne {
    int n, n_systems;
    char system[TABLE_SYSTEMS][64];
    OneScores *scores;
} TableOne;

/* Bad input: a missing key, a value outside its range, controls that differ from the first file's. */
bool table_one_read(const char *const *path, int n, TableOne *out, Error *e);
void table_one_free(TableOne *t);
void table_one_print(FILE *out, const TableOne *t);
void table_one_markdown(FILE *out, const TableOne *t);
/* As table_write and table_check; compared are the two F1s. */
bool table_one_write(const char *path, const TableOne *t, Error *e);
bool table_one_check(const char *path, const TableOne *t, double margin, FILE *out, int *outside, Error *e);
#endif
