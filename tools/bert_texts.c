#include "tools/bert_texts.h"
#include <stdlib.h>
#include <string.h>

/* bert-base-multilingual-uncased. */
const BertConfig bert_texts_paper = {
    .vocab = 105879, .dim = 768, .layers = 12, .heads = 12, .ffn = 3072, .positions = 512, .types = 2};

/* What stands before the names of a BERT in w's file; NULL and a sticky error: there is none. */
static const char *find_prefix(Weights *w)
{
    static const char *const prefix[] = {"text_model.model.", "bert.", ""};
    static const char table[] = "embeddings.word_embeddings.weight";
    for (size_t i = 0; i < sizeof prefix / sizeof *prefix; i++)
        if (weights_entry(w, "%s%s", prefix[i], table)) return prefix[i];
    weights_fail(w, "no BERT: neither text_model.model.%s (MedCLIP's) nor bert.%s nor %s", table, table, table);
    return NULL;
}

bool bert_texts_open(BertTexts *b, Arena *weights, Arena *state, const char *file, const char *vocab, Error *e)
{
    *b = (BertTexts){0};
    weights_init(&b->part, weights, state, NULL, 0);
    if (!weights_open(&b->part, file, e)) return false;
    const char *prefix = find_prefix(&b->part);
    if (!weights_ok(&b->part, e)) return false;
    b->part.prefix = prefix;
    if (!bert_open(&b->model, &b->part, e) || !wordpiece_open(&b->words, vocab, e)) return false;
    const BertConfig *c = &b->model.config;
    if (c->positions < 2)
        return error_set(e, ERROR_INPUT, "%s: BERT of %lld position, expected 2 or more", file,
                         (long long)c->positions);
    return b->words.n <= c->vocab || error_set(e, ERROR_INPUT, "%s: %d tokens, but BERT (%s) has %lld", vocab,
                                               b->words.n, file, (long long)c->vocab);
}

bool bert_texts_plan(BertTexts *b, Arena *weights, Arena *state, Error *e)
{
    *b = (BertTexts){0};
    weights_init(&b->part, weights, state, NULL, 0);
    b->part.unfilled = true;
    return bert_create(&b->model, &b->part, bert_texts_paper, e);
}

void bert_texts_close(BertTexts *b)
{
    wordpiece_close(&b->words);
    weights_close(&b->part);
}

void bert_texts_ids(const BertTexts *b, Tape *t, const int32_t *ids, int64_t n, float *out)
{
    const int64_t D = b->model.config.dim, flat[2] = {n, D}, places[4] = {1, n, 1, D};
    bool recording = t->recording;
    ArenaMark mark = arena_mark(t->step);
    t->recording = false;
    Tensor *x = tape_tensor(t, DTYPE_i32, 2, (const int64_t[]){1, n});
    tensor_upload(x, ids);
    Tensor *h = op_cast(t, bert_forward(t, &b->model, x, NULL), DTYPE_f32); /* (1,n,D) */
    tensor_download(b->mean ? op_adaptive_pool(t, tensor_reshape(t->step, h, 4, places), 1, 1)
                            : tensor_slice(t->step, tensor_reshape(t->step, h, 2, flat), 0, 1),
                    out);
    t->recording = recording;
    arena_pop(t->step, mark);
}

bool bert_texts_feature(const BertTexts *b, Tape *t, const char *text, float *out, Error *e)
{
    int32_t *ids;
    int n, most = (int)(b->model.config.positions < INT32_MAX ? b->model.config.positions : INT32_MAX);
    if (!wordpiece_encode(&b->words, text, strlen(text), most, &ids, &n, e)) return false;
    bert_texts_ids(b, t, ids, n, out);
    free(ids);
    return true;
}
