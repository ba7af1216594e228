/* One self-contained HTML page: studies to scroll through, their reports beside the truth, and scores beside
 * their controls. No file, font or script from elsewhere; the 24 slices of a study are one embedded PNG and the
 * browser does the windowing. Chinese with English. The page says that it is for research use only. */
#ifndef TOOLS_PAGE_H
#define TOOLS_PAGE_H
#include "data/clues.h"
#include "data/json.h"
#include "tools/train_data.h"

typedef struct PageStudy {
    const char *name;        /* under the thumbnail */
    const char *about;       /* where it comes from, one or two sentences; NULL: nothing */
    int size;                /* pixels across */
    double pixel_mm;         /* 0: not known, no scale bar */
    const uint8_t *pixel;    /* u8[24][size][size] under window 40/80 */
    const int16_t *hu;       /* the same shape in HU, for every window; or NULL */
    const float *segment;    /* [24][14][14] probabilities to tint the slices with; NULL: none */
    const char *report;      /* generated; NULL: none */
    const StudyClues *clues; /* the evidence retrieved for its sentences; masks of any size; NULL: none */
    const CtrgStudy *truth;  /* findings and masks to compare with; NULL or without findings: nothing */
} PageStudy;

/* scores: what pcrl-score --json prints, or NULL. Crash-safe. Borrows everything. */
bool page_write(const char *path, const char *title, const PageStudy *study, int n, const json_t *scores,
                Error *e);

/* Cuts a report into clauses, each with its end mark, and says how each stands against `other`, the findings on
 * the other side: "hit" (all its claims are there), "wrong" (some is not; `absent` names this state), ""
 * (claims nothing). A list of [text, state]; NULL without memory. */
json_t *page_clauses(const char *report, const FindingSet *other, const char *absent);

/* The findings of the truth, then those that only the report has: a list of {text, english, state, slice} with
 * state "hit", "missed" or "wrong". best: for each truth row the slice to show, -1 none; or NULL. */
json_t *page_compare(const CtrgStudy *truth, const char *report, const int *best);
#endif
