/* Chinese words as jieba 0.42.1 cuts them in its precise mode: all words of the dictionary that begin at a
 * character make a graph, the most probable path through it (by the words' frequencies) is taken, and what is
 * left in single characters is cut by a hidden Markov model (begin, middle, end, single) if asked. The
 * dictionary and the model's tables are jieba's own files, read as data.
 *
 * Words follow each other without gaps: together they are the text, white space included. Text is UTF-8. A
 * Jieba is read-only after its words are added: any number of threads may cut with it, each with a cutter of
 * its own. */
#ifndef TOKENIZER_JIEBA_H
#define TOKENIZER_JIEBA_H
#include "tensor/error.h"
#include <stddef.h>
#include <stdint.h>

/* Where Debian's python3-jieba has its files. */
#define JIEBA_FOLDER "/usr/lib/python3/dist-packages/jieba"

typedef struct Jieba Jieba;

/* Reads FOLDER/dict.txt and FOLDER/finalseg/prob_{start,trans,emit}.py. NULL and one line in *e. The caller
 * closes it. dict.txt: "WORD FREQUENCY [TAG]" a line. */
Jieba *jieba_open(const char *folder, Error *e);
/* NULL is allowed. */
void jieba_close(Jieba *j);
/* A user dictionary: "WORD [FREQUENCY] [TAG]" a line, the tag of lower-case letters; empty lines are skipped. A
 * word without a frequency gets the least that lets it win against its parts. Frequency 0: the model must not
 * make that word either. After an error some words may have been added. */
bool jieba_add_words(Jieba *j, const char *path, Error *e);

typedef struct JiebaCutter JiebaCutter; /* the buffers of one thread */
JiebaCutter *jieba_cutter_open(const Jieba *j, bool hmm, Error *e);
void jieba_cutter_close(JiebaCutter *x);
/* Cuts n bytes. Word i is text[ends[i-1]..ends[i]), the first from 0; the ends are the cutter's, until its next
 * text. Invalid UTF-8 is an error naming the byte offset. */
bool jieba_cut(JiebaCutter *x, const char *text, size_t n, const uint32_t **ends, int *count, Error *e);
#endif
