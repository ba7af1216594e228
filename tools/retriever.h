/* The retrieval model from a model folder: medclip.safetensors and vocab.txt. */
#ifndef TOOLS_RETRIEVER_H
#define TOOLS_RETRIEVER_H
#include "models/medclip.h"
#include "tokenizer/wordpiece.h"
#include "tools/cli.h"
#include "tools/retrieve.h"

typedef struct Retriever {
    Arena weights, state, step, scratch;
    Tape tape;
    Weights part;
    Medclip medclip;
    Wordpiece words;
    float *pixels; /* of a batch */
    RetrieveModel model;
} Retriever;

/* Texts are cut after so many ids, as the public model's are. */
enum { RETRIEVER_MAX_TEXT = 77 };

/* Opens both files; r->model then embeds, pictures in batches of `batch`. On false nothing stays open; the
 * error names the file and what is wrong with it. */
bool retriever_open(Retriever *r, const char *folder, int batch, const CliCommon *common, Error *e);
void retriever_close(Retriever *r);
#endif
