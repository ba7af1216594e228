/* The command line of pcrl-score. */
#ifndef TOOLS_SCORE_OPTIONS_H
#define TOOLS_SCORE_OPTIONS_H
#include "tools/cli.h"
#include "tools/score_text.h"

enum { SCORE_CONTROLS = 16 };

typedef struct ScoreControl {
    char name[64];
    const char *path;
} ScoreControl;

typedef struct ScoreControls {
    ScoreControl of[SCORE_CONTROLS];
    int n;
} ScoreControls;

typedef struct ScoreOptions {
    CliCommon common;
    const char *truth;   /* a data set, or NULL: the truth is the texts of ref */
    const char *ref;     /* a list of texts, or NULL */
    const char *reports; /* --reports or --hyp; NULL: none are scored */
    const char *train, *keywords, *masks, *gallery, *clues, *each;
    char pairs[4096];         /* a data set; its reports are pair_reports */
    const char *pair_reports; /* NULL: no pairs */
    TextSplit split;
    CutterOptions cutter;
    ScoreControls control, against, mask_control, clue_control;
    int bootstrap;
    bool json, row, partial, time;
} ScoreOptions;

/* Ends the program on a usage error. */
void score_options_parse(int argc, char **argv, ScoreOptions *o);
#endif
