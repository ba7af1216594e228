/* WordPiece (Wu et al. 2016) as BERT's uncased models have it. Text becomes words: control characters go, CJK
 * characters stand alone, letters are decomposed, stripped of accents and lower-cased, punctuation is split
 * off. A word becomes the longest pieces of the vocabulary from left to right, all but the first with "##"
 * before them; a word that has none somewhere, or more than 100 characters, becomes [UNK].
 *
 * Lower-casing is not a choice: BioClinicalBERT's vocabulary is cased, but its public files make the
 * tokenizer lower-case, and MedCLIP was trained that way.
 *
 * Ids are int32. Text is UTF-8 and need not be NUL-terminated; names of special tokens in it are plain text. A
 * Wordpiece is read-only after wordpiece_open: any number of threads may encode with it at once. */
#ifndef TOKENIZER_WORDPIECE_H
#define TOKENIZER_WORDPIECE_H
#include "tensor/error.h"
#include <stddef.h>
#include <stdint.h>

typedef struct Wordpiece {
    char *bytes; /* the file; tokens are NUL-terminated in it */
    const char **token;
    int n;
    int32_t *slot;                          /* hash table of ids, -1 where empty */
    uint32_t mask;                          /* slots - 1 */
    int32_t pad, unknown, cls, sep, masked; /* [PAD] [UNK] [CLS] [SEP] [MASK] */
} Wordpiece;

/* Reads vocab.txt: one token a line, its id the line's number from 0. White space at a line's end is not part
 * of the token. False and one line in *e if it is not UTF-8, has an empty line, a token twice, or lacks one of
 * the five special tokens. */
bool wordpiece_open(Wordpiece *w, const char *path, Error *e);
/* A zeroed one is allowed. */
void wordpiece_close(Wordpiece *w);
/* The id of a token as it stands in the file ("##ed"), or -1. */
int32_t wordpiece_id(const Wordpiece *w, const char *token, size_t n);

/* The text's words, NUL-terminated one after the other: *words is malloc'ed and the caller's, *n how many. For
 * making vocabularies. Invalid UTF-8 is an error naming the byte offset. */
bool wordpiece_words(const char *text, size_t n, char **words, int *count, Error *e);
/* [CLS] ids [SEP], cut to `most` (at least 2) with the [SEP] kept. *ids is malloc'ed and the caller's. */
bool wordpiece_encode(const Wordpiece *w, const char *text, size_t n, int most, int32_t **ids, int *count,
                      Error *e);
/* The tokens with a space between them, none before what begins with "##"; without the five special tokens
 * unless `specials`. Case, accents and spaces of the text are lost. *text is malloc'ed, NUL-terminated and the
 * caller's. An id out of range is an error. */
bool wordpiece_decode(const Wordpiece *w, const int32_t *ids, int count, bool specials, char **text, Error *e);
#endif
