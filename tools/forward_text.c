/* pcrl-forward's models of texts: LLaMA, BERT, MedCLIP's text tower. */
#include "models/llama_names.h"
#include "models/medclip.h"
#include "tools/adapter.h"
#include "tools/forward.h"

/* ids [b,t] on the device; dim is set. */
static Tensor *read_ids(Forward *f, int64_t vocab, int64_t dim[2], Error *e)
{
    int32_t *id;
    dim[0] = -'b';
    dim[1] = -'t';
    return forward_ints(f, "ids", 2, dim, 0, vocab - 1, &id, e) ? forward_upload(f, 2, dim, id) : NULL;
}

/* The optional lengths [b]; *y stays NULL where there are none. */
static bool read_lengths(Forward *f, const int64_t dim[2], Tensor **y, Error *e)
{
    int32_t *length;
    int64_t b = dim[0];
    if (!forward_has(f, "lengths")) return true;
    if (!forward_ints(f, "lengths", 1, &b, 1, dim[1], &length, e)) return false;
    f->lengths = length;
    f->B = dim[0];
    f->T = dim[1];
    *y = forward_upload(f, 1, &b, length);
    return true;
}

static bool check_positions(const Forward *f, int64_t T, int64_t positions, Error *e)
{
    return T <= positions ||
           error_set(e, ERROR_INPUT, "%s: tensor \"ids\": expected at most %lld tokens, found %lld",
                     f->input->path, (long long)positions, (long long)T);
}

bool forward_bert(Forward *f, Error *e)
{
    static const ForwardTap taps[] = {
        {"embeddings", FORWARD_SAME, true, NULL}, {"layer.*", FORWARD_SAME, true, NULL}, {0}};
    Bert m;
    int64_t dim[2];
    Tensor *length = NULL;
    Weights *w = forward_part(f, 0, f->o->weights, e);
    if (!w) return false;
    forward_prefix(w, "embeddings.word_embeddings.weight", "bert.", "text_model.model.");
    if (!forward_config(f, w, 1e-12, e) || !bert_open(&m, w, e) || !forward_opened(f, e)) return false;
    Tensor *ids = read_ids(f, m.config.vocab, dim, e);
    if (!ids || !check_positions(f, dim[1], m.config.positions, e) || !read_lengths(f, dim, &length, e))
        return false;
    f->tap = taps;
    f->started = cli_seconds();
    forward_put(f, "hidden", bert_forward(&f->tape, &m, ids, length), FORWARD_SAME);
    return true;
}

bool forward_medclip_text(Forward *f, Error *e)
{
    static const ForwardTap taps[] = {{"text", FORWARD_SAME, true, "embedding"}, {0}};
    Medclip m;
    int64_t dim[2];
    Weights *w = forward_part(f, 0, f->o->weights, e);
    if (!w || !medclip_open(&m, w, e) || !forward_opened(f, e)) return false;
    Tensor *ids = read_ids(f, m.bert.config.vocab, dim, e);
    if (!ids || !check_positions(f, dim[1], m.bert.config.positions, e)) return false;
    f->tap = taps;
    f->started = cli_seconds();
    medclip_text(&f->tape, &m, ids);
    return true;
}

static bool open_llama(Forward *f, Llama *m, Error *e)
{
    int rank;
    double alpha, dropout;
    Weights *w = &f->part[0], *adapter = &f->part[1];
    w->quant = f->o->quant;
    w->nested = f->o->nested;
    return forward_part(f, 0, f->o->weights, e) && (!f->o->config || llama_adopt(w->file, f->o->config, e)) &&
           llama_open(m, w, e) &&
           (!f->o->adapter || (adapter_open(f->o->adapter, adapter, &rank, &alpha, &dropout, e) &&
                               llama_add_lora(m, adapter, rank, (float)alpha, (float)dropout, e)));
}

bool forward_llama(Forward *f, Error *e)
{
    static const ForwardTap taps[] = {{"norm", FORWARD_SAME, true, "hidden"}, {0}};
    Llama m;
    int64_t dim[2];
    Tensor *length = NULL;
    Tape *t = &f->tape;
    if (!open_llama(f, &m, e) || !forward_opened(f, e)) return false;
    Tensor *ids = read_ids(f, m.config.vocab, dim, e);
    if (!ids || !read_lengths(f, dim, &length, e)) return false;
    const int64_t rows[2] = {dim[0] * dim[1], m.config.dim}, logits[3] = {dim[0], dim[1], m.config.vocab};
    f->tap = taps;
    f->started = cli_seconds();
    Tensor *h = llama_forward(t, &m, llama_embed(t, &m, ids), length, NULL, NULL);
    h = llama_logits(t, &m, tensor_reshape(t->step, h, 2, rows));
    forward_put(f, "logits", tensor_reshape(t->step, h, 3, logits), FORWARD_SAME);
    return true;
}
