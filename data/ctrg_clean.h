/* CTRG-Brain's texts without other parts of the body, slips of character recognition and advice: the rules of
 * data/ctrg_clean.def, and how often each was used. */
#ifndef DATA_CTRG_CLEAN_H
#define DATA_CTRG_CLEAN_H
#include <stdint.h>

enum {
#define CLEAN_REPLACE(from, to) +1
#define CLEAN_DROP(word)        +1
#define CLEAN_STRIP(word)       +1
    CLEAN_RULES = 0
#include "data/ctrg_clean.def"
};

typedef struct CleanUse {
    int64_t rule[CLEAN_RULES]; /* replacements made, sentences dropped (by the first rule that names them) */
    int64_t texts, changed;
} CleanUse;

/* The cleaned text, malloc'ed, the caller's; it may be "". Adds to *use. NULL: no memory. */
char *ctrg_clean(const char *text, CleanUse *use);

typedef struct CleanRule {
    enum { CLEAN_REPLACES, CLEAN_DROPS, CLEAN_STRIPS } kind;
    const char *from, *to; /* to: "" unless it replaces */
} CleanRule;
const CleanRule *ctrg_clean_rule(int i); /* 0..CLEAN_RULES-1 */
#endif
