/* Texts as sequences of int32 tokens, which is what BLEU and ROUGE compare. Two texts are comparable when they
 * were cut with the same Words. */
#ifndef LOSSES_WORDS_H
#define LOSSES_WORDS_H
#include "tensor/error.h"
#include <stdint.h>

typedef struct Tokens {
    int32_t *id; /* malloc'ed, the caller's: tokens_free */
    int n;
} Tokens;
void tokens_free(Tokens *t);

/* One token for each character (its code point), white space left out: the usual character level for Chinese.
 * Bytes that are no UTF-8 count as U+FFFD. A text without a token becomes the one token that the word "None"
 * would be, as the reference scripts do with empty reports. */
bool words_characters(const char *text, Tokens *out, Error *e);

/* Numbers the words met so far. */
typedef struct Words Words;
Words *words_open(Error *e);
void words_close(Words *w);

/* How a line is cut into words. */
typedef enum WordsCut {
    WORDS_SPLIT,  /* at runs of white space */
    WORDS_SPACES, /* at every single space, so that a trailing space gives one more, empty word; an empty text
                     is one empty word */
} WordsCut;
bool words_cut(Words *w, const char *text, WordsCut how, Tokens *out, Error *e);
#endif
