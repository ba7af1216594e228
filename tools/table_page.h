/* docs/results.md: for each claim of the paper what was measured here, beside the controls it has to beat. The
 * prose is tools/results.md.in; every number comes from the files. */
#ifndef TOOLS_TABLE_PAGE_H
#define TOOLS_TABLE_PAGE_H
#include "tools/table_one.h"

typedef struct TablePage {
    const Table *two;
    const TableOne *one;        /* NULL: none */
    const json_t *retrieval;    /* what pcrl-score --gallery --clues --json printed; NULL: none */
    const char *retrieval_path; /* for messages */
} TablePage;

/* Crash-safe. Bad input: a score without its interval or standard deviation. */
bool table_page_write(const char *path, const TablePage *p, Error *e);

/* The sections of claims (tools/table_claims.c). Each writes a table and a sentence that says which controls
 * were beaten. */
bool table_claim_reads(FILE *f, const Table *t, Error *e);    /* lesion F1 */
bool table_claim_side(FILE *f, const Table *t, Error *e);     /* side accuracy */
bool table_claim_pairs(FILE *f, const Table *t, Error *e);    /* counterfactual pairs */
bool table_claim_held_out(FILE *f, const Table *t, Error *e); /* held-out combinations */
bool table_claim_masks(FILE *f, const Table *t, Error *e);    /* segmentation */
bool table_claim_retrieval(FILE *f, const json_t *scores, const char *path, Error *e);
#endif
