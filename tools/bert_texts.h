/* Row e of Table 2: texts that images are aligned with, read by a frozen BERT in the place of the language
 * model.
 *
 * A text is [CLS] its pieces [SEP], cut to BERT's positions, without instruction. Its feature is the last
 * hidden state at [CLS], the place that BERT has for a whole text, or with `mean` the mean over all places: a
 * BERT trained by its masked words alone, as stage bert's, has learnt nothing at [CLS] itself. Either is the
 * same whatever else is in the batch. The authors' code (which has the row commented out, with
 * bert-base-multilingual-uncased) takes the last column of the padded batch: [PAD] for all but the longest
 * text. */
#ifndef TOOLS_BERT_TEXTS_H
#define TOOLS_BERT_TEXTS_H
#include "models/bert.h"
#include "tokenizer/wordpiece.h"

typedef struct BertTexts {
    Weights part;
    Bert model;
    Wordpiece words;
    bool mean; /* set after opening */
} BertTexts;

extern const BertConfig bert_texts_paper; /* the authors' */

/* The BERT of a file: a MedCLIP's text tower, or one under its own names, "bert." before them or not. Its
 * weights are frozen, in `weights`. Close it in any case. */
bool bert_texts_open(BertTexts *b, Arena *weights, Arena *state, const char *file, const char *vocab, Error *e);
/* The authors' size without a file or vocabulary: for plans. */
bool bert_texts_plan(BertTexts *b, Arena *weights, Arena *state, Error *e);
/* A zeroed one is allowed. */
void bert_texts_close(BertTexts *b);

/* The feature of a text: config.dim floats. One text at a time and without padding, so that it is the same, bit
 * for bit, whenever it is computed. Records nothing and leaves the step stack as it was. */
bool bert_texts_feature(const BertTexts *b, Tape *t, const char *text, float *out, Error *e);
/* The same of n ids, at most `positions`. */
void bert_texts_ids(const BertTexts *b, Tape *t, const int32_t *ids, int64_t n, float *out);
#endif
