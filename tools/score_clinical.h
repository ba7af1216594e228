/* The clinical lists of data/clinical.h as rows of labels, by which reports are scored. */
#ifndef TOOLS_SCORE_CLINICAL_H
#define TOOLS_SCORE_CLINICAL_H
#include "data/clinical.h"
#include "losses/labels.h"

typedef enum ClinicalList {
    LIST_MENTION,  /* the 24 keywords, 0 or 1 */
    LIST_FINDING,  /* the 24 findings with their sides: on the wrong side is wrong */
    LIST_PRESENCE, /* the same, 0 or 1: sides are not looked at */
    LIST_KEYWORDS, /* those of a file, 0 or 1 */
    LIST_COUNT
} ClinicalList;
/* "mention", "finding", "presence", "keywords"; and what it is, in a line. */
const char *clinical_list_name(ClinicalList list);
const char *clinical_list_about(ClinicalList list);

typedef struct ClinicalLists {
    int k[LIST_COUNT];     /* labels; 0: there is no such list */
    int first[LIST_COUNT]; /* of its labels in a study's row */
    int width;             /* labels of all lists */
    Keywords mention, keywords;
} ClinicalLists;

/* path: a file of keywords, or NULL. */
bool clinical_lists_open(ClinicalLists *l, const char *path, Error *e);
/* Label i of a list; *english is "" for a keyword of a file. */
const char *clinical_label(const ClinicalLists *l, ClinicalList list, int i, const char **english);
/* All labels of a report, (width). */
void clinical_labels(const ClinicalLists *l, const char *report, uint8_t *labels);
#endif
