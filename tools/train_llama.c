/* Stage llama: the small language model, in two parts.
 *
 * text: reports of synthetic patients (a fresh one for every sample, no images), most of them after their
 * findings as keywords in random order, where the visual slots will stand: the decoder learns to write what a
 * prefix says. slots: the same decoder reads 24 slots, slot s = the sum of learned embeddings of the labels
 * drawn in slice s, plus noise; labels and text mirrored at random. The slot embeddings are what the head is
 * warmed up towards (stage pcrl). Slots and warm-up are this project's, for a model too small to have met
 * prefixes before; --slot-steps 0 leaves them out. */
#include "data/file.h"
#include "data/phantom.h"
#include "kernels/ops.h"
#include "losses/report.h"
#include "models/llama.h"
#include "tokenizer/bpe_train.h"
#include "tools/prompt.h"
#include "tools/train.h"
#include "tools/train_data.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BPE_TEXTS = 20000, KEYWORD_BYTES = 2048 };
static const uint64_t text_seeds = 1ull << 40; /* far from every data set's */
static const double slot_noise = 0.05;

/* The findings of a report as keywords in random order: "左侧基底节区低，脑室扩大". */
static void keywords(const Phantom *p, Rng *rng, char *out, size_t room)
{
    int order[PHANTOM_MAX_TRUTH];
    size_t at = 0;
    out[0] = 0;
    for (int i = 0; i < p->n_truth; i++) {
        int j = (int)rng_below(rng, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    for (int i = 0; i < p->n_truth && at < room; i++) {
        const PhantomTruth *t = &p->truth[order[i]];
        const FindingKind *k = finding_kind(t->finding);
        at += (size_t)snprintf(out + at, room - at, "%s%s%s%s", i ? "，" : "", side_name(t->side),
                               entity_name(k->entity), density_name(k->density));
    }
}

static bool make_tokenizer(const TrainOptions *o, Error *e)
{
    char path[4096];
    train_path(path, o->model, "tokenizer.json");
    if (access(path, F_OK) == 0) return true;
    if (o->dry_run)
        return error_set(e, ERROR_INPUT, "%s: missing; it is made by a run, a dry run only reads it", path);
    cli_note("llama: training a byte-level BPE of %lld ids on %d reports", (long long)o->vocab, BPE_TEXTS);
    char **text = calloc(BPE_TEXTS, sizeof *text);
    if (!text) die("out of host memory for %d texts", BPE_TEXTS);
    PhantomOptions po = phantom_options();
    Rng rng = rng_open(o->common.seed, "bpe texts");
    bool ok = file_make_folder(o->model, e);
    for (int i = 0; ok && i < BPE_TEXTS; i++) {
        Phantom p;
        char words[KEYWORD_BYTES];
        ok = phantom_text_only(text_seeds + rng_u32(&rng), &po, &p, e);
        if (!ok) break;
        keywords(&p, &rng, words, sizeof words);
        if (asprintf(&text[i], "%s%s%s%s", prompt_before, words, prompt_after, p.report) < 0)
            die("out of host memory");
        phantom_free(&p);
    }
    ok = ok && bpe_train((const char *const *)text, BPE_TEXTS, (int)o->vocab, path, e);
    for (int i = 0; i < BPE_TEXTS; i++) free(text[i]);
    free(text);
    return ok;
}

typedef struct Sequence {
    int32_t *ids;
    int n, predicted; /* the last `predicted` ids are what the loss counts */
} Sequence;

static void append(Sequence *s, const int32_t *ids, int n)
{
    s->ids = realloc(s->ids, (size_t)(s->n + n) * sizeof *s->ids);
    if (!s->ids) die("out of host memory for a sequence of %d ids", s->n + n);
    memcpy(s->ids + s->n, ids, (size_t)n * sizeof *ids);
    s->n += n;
}

static bool append_text(Sequence *s, const Bpe *bpe, const char *text, Error *e)
{
    int32_t *ids;
    int n;
    if (!bpe_encode(bpe, text, strlen(text), false, &ids, &n, e)) return false;
    append(s, ids, n);
    free(ids);
    return true;
}

/* BOS [Img] keywords [/Img][MRG] instruction, report EOS. */
static bool text_sample(Sequence *s, const Prompt *p, double share, Rng *rng, Error *e)
{
    Phantom patient;
    PhantomOptions po = phantom_options();
    char words[KEYWORD_BYTES] = "";
    uint64_t seed = text_seeds + ((uint64_t)rng_u32(rng) << 8);
    if (!phantom_text_only(seed, &po, &patient, e)) return false;
    if (rng_unit(rng) < share) keywords(&patient, rng, words, sizeof words);
    *s = (Sequence){0};
    append(s, p->pcrl.before, p->pcrl.n_before);
    bool ok = append_text(s, p->bpe, words, e);
    append(s, p->pcrl.after, p->pcrl.n_after);
    int prefix = s->n;
    ok = ok && append_text(s, p->bpe, patient.report, e);
    append(s, &p->eos, 1);
    s->predicted = s->n - prefix;
    phantom_free(&patient);
    return ok;
}

static Tensor *ids_tensor(Tape *t, int ndim, const int64_t *dim, const int32_t *host)
{
    Tensor *x = tape_tensor(t, DTYPE_i32, ndim, dim);
    tensor_upload(x, host);
    return x;
}

/* Cross-entropy of B sequences, right-padded, over their predicted ids. */
static Tensor *text_loss(Tape *t, const Llama *m, const Sequence *s, int64_t B)
{
    int64_t T = 0, R = 0;
    for (int64_t b = 0; b < B; b++) {
        if (s[b].n - 1 > T) T = s[b].n - 1;
        R += s[b].predicted;
    }
    int32_t *id = calloc((size_t)(B * T), sizeof *id), *length = malloc((size_t)B * sizeof *length),
            *row = malloc((size_t)R * sizeof *row), *label = malloc((size_t)R * sizeof *label);
    if (!id || !length || !row || !label) die("out of host memory for a batch");
    int64_t r = 0;
    for (int64_t b = 0; b < B; b++) {
        length[b] = s[b].n - 1;
        memcpy(id + b * T, s[b].ids, (size_t)length[b] * sizeof *id);
        for (int i = s[b].n - s[b].predicted; i < s[b].n; i++, r++) {
            row[r] = (int32_t)(b * T + i - 1);
            label[r] = s[b].ids[i];
        }
    }
    Tensor *x = llama_embed(t, m, ids_tensor(t, 2, (int64_t[]){B, T}, id));       /* (B,T,D) */
    Tensor *h = llama_forward(t, m, x, ids_tensor(t, 1, &B, length), NULL, NULL); /* (B,T,D) */
    Tensor *flat = tensor_reshape(t->step, h, 2, (int64_t[]){B * T, m->config.dim});
    Tensor *picked = op_select(t, flat, ids_tensor(t, 1, &R, row)); /* (R,D) */
    Tensor *loss = report_loss(t, picked, m->head, ids_tensor(t, 1, &R, label), true);
    free(id);
    free(length);
    free(row);
    free(label);
    return loss;
}

static Tensor *text_batch(Trainer *t, const Llama *m, const Prompt *p, const TrainOptions *o, int64_t B,
                          Error *e)
{
    Sequence *s = calloc((size_t)B, sizeof *s);
    if (!s) die("out of host memory for a batch");
    bool ok = true;
    for (int64_t b = 0; ok && b < B; b++) ok = text_sample(&s[b], p, o->prefix_share, &t->rng, e);
    Tensor *loss = ok ? text_loss(&t->tape, m, s, B) : NULL;
    for (int64_t b = 0; b < B; b++) free(s[b].ids);
    free(s);
    return loss;
}

/* 24 perfect slots from the labels of each slice. */
static Tensor *slot_batch(Trainer *t, const Llama *m, const Prompt *p, Tensor *slots, const TrainData *d,
                          int64_t B, Error *e)
{
    int64_t D = m->config.dim, rows = B * CTRG_SLICES;
    Sequence *s = calloc((size_t)B, sizeof *s);
    const int32_t **ids = calloc((size_t)B, sizeof *ids);
    int *n = calloc((size_t)B, sizeof *n);
    float *y = malloc((size_t)(rows * LABEL_COUNT) * sizeof *y),
          *noise = malloc((size_t)(rows * D) * sizeof *noise);
    if (!s || !ids || !n || !y || !noise) die("out of host memory for a batch");
    bool ok = true;
    for (int64_t b = 0; ok && b < B; b++) {
        int64_t k = rng_below(&t->rng, d->n);
        bool mirror = rng_below(&t->rng, 2);
        char *text = strdup(d->ctrg->study[k].findings);
        if (!text) die("out of host memory");
        if (mirror) findings_mirror_text(text);
        ok = append_text(&s[b], p->bpe, text, e);
        free(text);
        ids[b] = s[b].ids;
        n[b] = s[b].n;
        for (int i = 0; i < CTRG_SLICES; i++) {
            uint64_t labels = d->labels[k * CTRG_SLICES + i];
            if (mirror) labels = labels_mirror(labels);
            for (int l = 0; l < LABEL_COUNT; l++)
                y[(b * CTRG_SLICES + i) * LABEL_COUNT + l] = (float)(labels >> l & 1);
        }
    }
    for (int64_t i = 0; i < rows * D; i++) noise[i] = (float)(slot_noise * rng_normal(&t->rng));
    Tensor *loss = NULL;
    if (ok) {
        Tensor *Y = tape_tensor(&t->tape, DTYPE_f32, 2, (int64_t[]){rows, LABEL_COUNT});
        Tensor *Z = tape_tensor(&t->tape, DTYPE_f32, 2, (int64_t[]){rows, D});
        tensor_upload(Y, y);
        tensor_upload(Z, noise);
        Tensor *v = op_add(&t->tape, op_matmul(&t->tape, Y, slots, NULL, NULL, false, false), Z); /* (B*24,D) */
        Tensor *hv = tensor_reshape(t->tape.step, v, 3, (int64_t[]){B, CTRG_SLICES, D});
        PcrlRows rowset = pcrl_rows(&t->tape, m, hv, &p->pcrl, B, ids, n);
        loss = report_loss(&t->tape, rowset.h, m->head, rowset.label, true);
    }
    for (int64_t b = 0; b < B; b++) free(s[b].ids);
    free(s), free(ids), free(n), free(y), free(noise);
    return loss;
}

/* What an update needs: text from nothing (data NULL), or slots. */
typedef struct Job {
    const TrainOptions *o;
    const Prompt *prompt;
    const TrainData *data;
    Llama model;
    Tensor *slots; /* (52,D) */
    int64_t batch;
} Job;

static bool loss(Trainer *t, void *context, Error *e)
{
    const Job *j = context;
    Tensor *x = j->data ? slot_batch(t, &j->model, j->prompt, j->slots, j->data, j->batch, e)
                        : text_batch(t, &j->model, j->prompt, j->o, j->batch, e);
    if (!x) return false;
    trainer_term(t, 0, x, 1);
    tape_backward(&t->tape, x);
    return true;
}

static bool open_job(Job *job, Trainer *t, Weights *w, Weights *slots, const char *from, Error *e)
{
    const TrainOptions *o = job->o;
    LlamaConfig c = {.vocab = bpe_vocab_size(job->prompt->bpe),
                     .dim = o->dim,
                     .layers = o->layers,
                     .heads = o->heads,
                     .kv_heads = o->kv_heads,
                     .head_dim = o->dim / o->heads,
                     .ffn = o->ffn,
                     .norm_eps = 1e-5f,
                     .rope_theta = 10000};
    weights_init(w, &t->weights, &t->state, &t->params, o->common.seed);
    weights_init(slots, &t->weights, &t->state, &t->params, o->common.seed);
    w->trainable = slots->trainable = true;
    if (from && !weights_open(w, from, e)) return false;
    if (!(from ? llama_open(&job->model, w, e) : llama_create(&job->model, w, c, e))) return false;
    if (job->data) {
        WeightSpec spec = {{LABEL_COUNT, job->model.config.dim}, WEIGHT_PLAIN, INIT_NORMAL, 0.1f};
        job->slots = weights_get(slots, spec, "slots.weight");
    }
    params_alloc(&t->params);
    return weights_ok(slots, e) && weights_fill(w, e) && weights_fill(slots, e);
}

/* One part: text from nothing (data NULL), or slots on top of `from`. */
static bool run_part(const TrainOptions *o, const Prompt *p, const TrainData *d, const char *from,
                     const char *to, Error *e)
{
    TrainerOptions options = train_trainer(o, d ? d->n : 0);
    options.stage = d ? "slots" : "llama";
    options.term[0] = "loss";
    if (d) options.steps = o->slot_steps;
    options.floor = 0.01;
    options.weight_decay = 0.01;
    options.beta2 = 0.95;
    char folder[4096], path[4096];
    train_path(folder, o->out, options.stage);
    options.folder = folder;
    Trainer t;
    Weights w = {0}, slots = {0};
    Job job = {.o = o, .prompt = p, .data = d, .batch = o->batch};
    bool ok = trainer_open(&t, &options, &o->common, e) && open_job(&job, &t, &w, &slots, from, e) &&
              train_run(&t, loss, &job, e);
    bool write = !o->dry_run;
    ok = ok && (!write || weights_save((Weights *[]){&w}, 1, false, NULL, to, e));
    train_path(path, o->out, "slots.safetensors");
    ok = ok && (!write || !d || weights_save((Weights *[]){&slots}, 1, false, NULL, path, e));
    weights_close(&slots);
    weights_close(&w);
    trainer_close(&t);
    return ok;
}

bool train_llama(const TrainOptions *o, Error *e)
{
    char text[4096], final[4096];
    Prompt p;
    if (!make_tokenizer(o, e) || !prompt_open(&p, o->model, e)) return false;
    train_path(text, o->out, "text.safetensors");
    train_path(final, o->out, "llama.safetensors");
    bool ok = (o->dry_run || file_make_folder(o->out, e)) &&
              run_part(o, &p, NULL, NULL, o->slot_steps ? text : final, e);
    if (ok && o->slot_steps && !o->dry_run) {
        TrainData *d = train_data_open(o->data, (int)o->studies, false, true, e);
        ok = d && run_part(o, &p, d, text, final, e);
        train_data_close(d);
    }
    prompt_close(&p);
    return ok;
}
