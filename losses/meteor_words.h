/* How METEOR 1.5 with "-l en -norm" cuts a text into words. In this order:
 *   a character stands alone unless it is a letter of the scripts below, an ASCII digit, white space or one of
 *   . ' ` , - and the two single quotation marks; letters are ASCII, U+00C0..U+017E but for the two signs, most
 *   of Cyrillic and U+1D00..U+1D7F
 *   two or more dots are one word; a comma stands alone unless between digits; ` and single quotation marks are
 *   ', double ones and '' are "; an en dash and -- are -, a - between letters, digits and dots ends a word and
 *   is left out (of a-b-c the first only); ' stands alone, or begins a word before a letter (it's: it, 's)
 *   a last dot is a word of its own unless the word is an abbreviation of a list or the next word begins with
 *   a lower-case ASCII letter; a word with dots inside and a last dot loses all (U.S.: US)
 *   upper case becomes lower case
 * Words that hold control characters are as odd as the jar's. */
#ifndef LOSSES_METEOR_WORDS_H
#define LOSSES_METEOR_WORDS_H
#include "tensor/error.h"
#include <stdint.h>

typedef struct MeteorWord {
    uint32_t key;  /* words with the same key are the same word (a hash of 32 bits, as in the jar) */
    bool function; /* one of the 93 English function words and signs */
    bool small;    /* short and not Chinese: it may stand in meteor_pairs.h */
} MeteorWord;

/* The key of a word of well-formed UTF-8. */
uint32_t meteor_key(const char *word);

/* Cuts a UTF-8 text; *words is malloc'ed, the caller's. False only without memory. */
bool meteor_words(const char *text, MeteorWord **words, int *n, Error *e);
#endif
