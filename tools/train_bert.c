/* Stage bert: the text tower's vocabulary, and BERT (Devlin et al. 2019) as a masked language model.
 *
 * The WordPiece vocabulary holds the words of the data set's reports (each Chinese character is one), those of
 * all English queries, and single characters for all other ASCII words; a vocab.txt that is there already is
 * taken as it is. A sample is a report, from one of its clauses on, or, as often, the English query of an
 * entity that it describes; both mirrored at random. Of its tokens 15 % are predicted: 80 % of them masked, 10
 * % replaced, 10 % left. */
#include "data/clue_query.h"
#include "data/ctrg.h"
#include "data/file.h"
#include "kernels/ops.h"
#include "models/bert.h"
#include "tokenizer/wordpiece.h"
#include "tools/train.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const double predicted = 0.15, masked = 0.8, replaced = 0.1, query_share = 0.5;
static const char *const special[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
enum { SPECIAL = sizeof special / sizeof *special };

/* ---- vocabulary ---- */

typedef struct Words {
    char **word;
    size_t n, room;
} Words;

static void add_word(Words *w, const char *text)
{
    if (w->n == w->room) {
        w->room = w->room ? 2 * w->room : 4096;
        w->word = realloc(w->word, w->room * sizeof *w->word);
    }
    if (!w->word || !(w->word[w->n++] = strdup(text))) die("out of host memory for a vocabulary");
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Sorts and drops repetitions. */
static void unique(Words *w)
{
    size_t n = 0;
    if (w->n) qsort(w->word, w->n, sizeof *w->word, by_bytes);
    for (size_t i = 0; i < w->n; i++)
        if (!n || strcmp(w->word[i], w->word[n - 1]) != 0)
            w->word[n++] = w->word[i];
        else
            free(w->word[i]);
    w->n = n;
}

static void words_free(Words *w)
{
    for (size_t i = 0; i < w->n; i++) free(w->word[i]);
    free(w->word);
}

static bool add_text(Words *w, const char *text, Error *e)
{
    char *words, *at;
    int n;
    if (!wordpiece_words(text, strlen(text), &words, &n, e)) return false;
    at = words;
    for (int i = 0; i < n; i++, at += strlen(at) + 1) add_word(w, at);
    free(words);
    return true;
}

/* Every ASCII character alone, letters and digits also within a word. */
static void add_characters(Words *w)
{
    for (char c = '!'; c <= '~'; c++) {
        char text[4] = {'#', '#', c, 0};
        bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (c >= 'A' && c <= 'Z') continue;
        add_word(w, text + 2);
        if (letter) add_word(w, text);
    }
}

static bool write_vocabulary(const Words *w, const char *path, Error *e)
{
    FileWriter f;
    if (!file_create(&f, path, e)) return false;
    for (int i = 0; i < SPECIAL; i++) fprintf(f.stream, "%s\n", special[i]);
    for (size_t i = 0; i < w->n; i++) fprintf(f.stream, "%s\n", w->word[i]);
    return file_commit(&f, e);
}

static bool make_vocabulary(const TrainOptions *o, const Ctrg *c, Error *e)
{
    char path[4096];
    Words w = {0};
    int n;
    train_path(path, o->model, "vocab.txt");
    if (access(path, F_OK) == 0) return true;
    if (o->dry_run)
        return error_set(e, ERROR_INPUT, "%s: missing; it is made by a run, a dry run only reads it", path);
    const char **query = clue_query_words(&n);
    for (int i = 0; i < n; i++) add_word(&w, query[i]);
    free(query);
    add_characters(&w);
    bool ok = true;
    for (int k = 0; ok && k < c->n; k++) {
        ok = add_text(&w, c->study[k].findings, e);
        if (k % 256 == 255) unique(&w);
    }
    unique(&w);
    ok = ok && file_make_folder(o->model, e) && write_vocabulary(&w, path, e);
    if (ok) cli_note("bert: a vocabulary of %zu tokens", w.n + SPECIAL);
    words_free(&w);
    return ok;
}

/* ---- a batch ---- */

/* What an update needs. */
typedef struct Job {
    const TrainOptions *o;
    const Ctrg *data;
    int n;
    Wordpiece words;
    Bert model;
    BertHead head;
} Job;

/* The query of an entity that the report describes; NULL if there is none. */
static char *draw_query(const char *report, Rng *rng)
{
    char *best = NULL;
    int seen = 0, entity = 0;
    for (int i = 0; i < clue_entity_count(); i++) {
        char *text = clue_description(report, i);
        if (!text) continue;
        if (rng_below(rng, ++seen) == 0) {
            free(best);
            best = text;
            entity = i;
        } else {
            free(text);
        }
    }
    char *query = best ? clue_query(entity, best, CLUE_QUERY_ENGLISH) : NULL;
    free(best);
    return query;
}

/* The report from the start of one of its clauses on. */
static const char *draw_clause(const char *report, Rng *rng)
{
    const char *start = report;
    int seen = 1;
    for (const char *s = report; *s; s++)
        if ((!strncmp(s, "。", 3) || !strncmp(s, "；", 3) || !strncmp(s, "，", 3)) && s[3] &&
            rng_below(rng, ++seen) == 0)
            start = s + 3;
    return start;
}

static bool draw_text(const Job *j, Rng *rng, int32_t **ids, int *n, Error *e)
{
    char *report = strdup(j->data->study[rng_below(rng, j->n)].findings), *query = NULL;
    if (!report) die("out of host memory for a report");
    if (rng_below(rng, 2)) findings_mirror_text(report);
    if (rng_unit(rng) < query_share) query = draw_query(report, rng);
    const char *text = query ? query : draw_clause(report, rng);
    bool ok = wordpiece_encode(&j->words, text, strlen(text), (int)j->o->positions, ids, n, e);
    free(query);
    free(report);
    return ok;
}

typedef struct Batch {
    int64_t B, T, R;
    int32_t *id, *length, *row, *label;
} Batch;

/* Chooses what is predicted in a text of n tokens at row b of the batch, at least one token. */
static void hide(const Job *j, Batch *b, int64_t at, int32_t *id, int n, Rng *rng)
{
    if (n < 3) return; /* nothing between [CLS] and [SEP] */
    int64_t sure = 1 + rng_below(rng, n - 2);
    for (int i = 1; i + 1 < n; i++) {
        bool take = rng_unit(rng) < predicted;
        if (!take && i != sure) continue;
        double u = rng_unit(rng);
        b->row[b->R] = (int32_t)(at + i);
        b->label[b->R++] = id[i];
        if (u < masked)
            id[i] = j->words.masked;
        else if (u < masked + replaced)
            id[i] = (int32_t)rng_below(rng, j->words.n);
    }
}

static bool draw_batch(const Job *j, Batch *b, int64_t B, Rng *rng, Error *e)
{
    int32_t **ids = calloc((size_t)B, sizeof *ids);
    b->B = B;
    b->length = calloc((size_t)B, sizeof *b->length);
    if (!ids || !b->length) die("out of host memory for a batch");
    bool ok = true;
    for (int64_t i = 0; ok && i < B; i++) {
        ok = draw_text(j, rng, &ids[i], &b->length[i], e);
        if (b->length[i] > b->T) b->T = b->length[i];
    }
    size_t all = (size_t)(B * b->T + 1);
    b->id = malloc(all * sizeof *b->id);
    b->row = malloc(all * sizeof *b->row);
    b->label = malloc(all * sizeof *b->label);
    if (!b->id || !b->row || !b->label) die("out of host memory for a batch");
    for (int64_t i = 0; ok && i < B; i++) {
        int32_t *row = b->id + i * b->T;
        for (int64_t k = 0; k < b->T; k++) row[k] = k < b->length[i] ? ids[i][k] : j->words.pad;
        hide(j, b, i * b->T, row, b->length[i], rng);
    }
    for (int64_t i = 0; i < B; i++) free(ids[i]);
    free(ids);
    return ok && (b->R || error_set(e, ERROR_INPUT, "%s: reports without a word", j->data->folder));
}

static void batch_free(Batch *b)
{
    free(b->id);
    free(b->length);
    free(b->row);
    free(b->label);
}

/* ---- the stage ---- */

static Tensor *ids_tensor(Tape *t, int ndim, const int64_t *dim, const int32_t *host)
{
    Tensor *x = tape_tensor(t, DTYPE_i32, ndim, dim);
    tensor_upload(x, host);
    return x;
}

static bool loss(Trainer *trainer, void *context, Error *e)
{
    const Job *j = context;
    Tape *t = &trainer->tape;
    Batch b = {0};
    bool ok = draw_batch(j, &b, j->o->batch, &trainer->rng, e);
    if (ok) {
        Tensor *ids = ids_tensor(t, 2, (const int64_t[]){b.B, b.T}, b.id);
        Tensor *h = bert_forward(t, &j->model, ids, ids_tensor(t, 1, &b.B, b.length)); /* (B,T,D) */
        Tensor *flat = tensor_reshape(t->step, h, 2, (const int64_t[]){b.B * b.T, j->model.config.dim});
        Tensor *picked = op_select(t, flat, ids_tensor(t, 1, &b.R, b.row)); /* (R,D) */
        Tensor *x = bert_head_loss(t, &j->model, &j->head, picked, ids_tensor(t, 1, &b.R, b.label));
        trainer_term(trainer, 0, x, 1);
        tape_backward(t, x);
    }
    batch_free(&b);
    return ok;
}

static bool open_model(Job *j, Trainer *t, Weights *w, Error *e)
{
    const TrainOptions *o = j->o;
    BertConfig c = {.vocab = j->words.n,
                    .dim = o->dim,
                    .layers = o->layers,
                    .heads = o->heads,
                    .ffn = o->ffn,
                    .positions = o->positions,
                    .types = 2};
    weights_init(w, &t->weights, &t->state, &t->params, o->common.seed);
    w->trainable = true;
    if (!bert_create(&j->model, w, c, e) || !bert_head_create(&j->head, &j->model, w, e)) return false;
    params_alloc(&t->params);
    return weights_fill(w, e);
}

static bool run(const TrainOptions *o, Job *j, Error *e)
{
    TrainerOptions to = train_trainer(o, j->n);
    to.stage = "bert";
    to.folder = o->out;
    to.term[0] = "loss";
    to.floor = 0.01;
    to.weight_decay = 0.01;
    to.beta2 = 0.98;
    Trainer t;
    Weights w = {0};
    char path[4096];
    bool ok = trainer_open(&t, &to, &o->common, e) && open_model(j, &t, &w, e) && train_run(&t, loss, j, e);
    train_path(path, o->out, "bert.safetensors");
    ok = ok && (o->dry_run || weights_save((Weights *[]){&w}, 1, false, NULL, path, e));
    weights_close(&w);
    trainer_close(&t);
    return ok;
}

bool train_bert(const TrainOptions *o, Error *e)
{
    Job j = {.o = o};
    char path[4096];
    Ctrg *data = ctrg_open(o->data, NULL, NULL, e);
    if (!data) return false;
    j.data = data;
    j.n = o->studies && o->studies < data->n ? (int)o->studies : data->n;
    train_path(path, o->model, "vocab.txt");
    bool ok = (j.n || error_set(e, ERROR_INPUT, "%s: no studies", o->data)) && make_vocabulary(o, data, e) &&
              wordpiece_open(&j.words, path, e) && run(o, &j, e);
    wordpiece_close(&j.words);
    ctrg_free(data);
    return ok;
}
