/* Cuts text into pre-tokens with a regular expression, as the tokenizers library's Split (behaviour Isolated)
 * does: each match is a piece, and so is what lies between matches. */
#ifndef TOKENIZER_SPLIT_H
#define TOKENIZER_SPLIT_H
#include "tensor/error.h"
#include <stddef.h>

/* LLaMA-3's pattern: contractions, words with at most one leading sign, up to three digits, punctuation, line
 * ends, other white space. A run of Han characters is one piece. */
#define SPLIT_LLAMA3                                                                                           \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"   \
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

typedef struct Split Split;

/* NULL when the pattern is wrong; the message names `what` (the file it is from) and the position. */
Split *split_open(const char *pattern, const char *what, Error *e);
void split_close(Split *s);

/* One walk over a text, which must be valid UTF-8 and stay in place. */
typedef struct SplitWalk SplitWalk;
SplitWalk *split_begin(const Split *s, const char *text, size_t n, Error *e);
/* The same walk over another text. */
void split_again(SplitWalk *w, const char *text, size_t n);
/* The next piece [*start, *end), never empty. 1: there is one; 0: the text is at its end; -1: error in *e. */
int split_next(SplitWalk *w, size_t *start, size_t *end, Error *e);
void split_end(SplitWalk *w);
#endif
