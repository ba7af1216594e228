/* Stage medclip: contrast (Radford et al. 2021, with MedCLIP's towers) of masked slices with English queries.
 *
 * A pair is a slice that is black but for a true mask, and the query of what the report says of it, as
 * retrieval will ask. A share of the images are regions of one grey class that are no lesion; they all go with
 * one text, that of normal tissue, so that no lesion's query finds them. Masks are disturbed as masks that were
 * found would be; patients are mirrored at random, texts with them. Pairs of equal text are not each other's
 * negatives. The text tower begins with the BERT of stage bert. */
#include "data/file.h"
#include "data/medclip_image.h"
#include "data/study.h"
#include "models/medclip.h"
#include "tokenizer/wordpiece.h"
#include "tools/medclip_data.h"
#include "tools/train.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { QUERIES = 8, MOST_TOKENS = 77, DRAWS = 64, TOGETHER = 32, REGION_AREA = 50, CHANNELS = 3 };
static const double likeness = 0.3; /* IoU from which a region is as good as the true mask */
static const double large_mm = 12;

typedef struct Job {
    const TrainOptions *o;
    TrainData *data, *validation;
    SamIndex index;
    SamSlice slice;
    Wordpiece words;
    Medclip model;
    uint8_t *mask, *spare, *masked; /* [height][width] */
    float *pixel;                   /* [max(batch, TOGETHER)][image][image][3] */
    char **text;                    /* [batch] */
} Job;

/* ---- a batch ---- */

static bool put_image(Job *j, const uint8_t *grey, bool mirror, float *to, Error *e)
{
    int W = j->slice.width, H = j->slice.height;
    masked_slice(grey, j->mask, W, H, mirror, j->masked);
    return medclip_pixels(&(Image){W, H, 1, j->masked}, (int)j->model.image, to, e);
}

/* Reads the slice of an item and puts its mask into j->mask. */
static bool read_item(Job *j, const struct SamItem *item, Error *e)
{
    size_t area = (size_t)j->slice.width * (size_t)j->slice.height;
    if (!sam_slice_read(&j->slice, j->data, item->slice, e)) return false;
    for (int i = 0; i < j->slice.n; i++)
        if (j->slice.truth[i] == item->truth && j->slice.label[i] == item->label)
            memcpy(j->mask, j->slice.mask + (size_t)i * area, area);
    return true;
}

/* A region of the slice that is no lesion into j->mask. */
static bool draw_region(Job *j, Rng *rng)
{
    for (int i = 0; i < DRAWS; i++) {
        SamPoint p;
        if (!sam_slice_point(&j->slice, -1, rng, &p, j->mask)) return false;
        if (p.of < 0 && !region_is_truth(&j->slice, j->mask, p.area, likeness)) return true;
    }
    return false;
}

/* Pair i of the batch: a lesion, or, in the slice of one, a region. */
static bool draw_pair(Job *j, int64_t i, bool region, Rng *rng, Error *e)
{
    int64_t side = j->model.image;
    for (int draw = 0; draw < DRAWS; draw++) {
        const struct SamItem *item = &j->index.item[sam_index_draw(&j->index, rng)];
        const CtrgStudy *s = &j->data->ctrg->study[item->slice / CTRG_SLICES];
        char *query[QUERIES];
        int entity[QUERIES];
        bool mirror = rng_below(rng, 2);
        if (!read_item(j, item, e)) return false;
        if (region && !draw_region(j, rng)) continue;
        int n = region ? 0 : truth_queries(s, item->truth, mirror, QUERIES, query, entity);
        if (!region && !n) continue; /* no entity of the table is named */
        int64_t take = n ? rng_below(rng, n) : 0;
        for (int k = 0; k < n; k++)
            if (k != take) free(query[k]);
        j->text[i] = n ? query[take] : region_query();
        for (int64_t k = rng_below(rng, 3); k > 0; k--)
            mask_disturb(j->mask, j->spare, j->slice.width, j->slice.height, rng);
        return put_image(j, train_data_slice(j->data, item->slice), mirror,
                         j->pixel + i * side * side * CHANNELS, e);
    }
    return error_set(e, ERROR_INPUT, "%s: %d masks in a row without a %s", j->data->ctrg->folder, DRAWS,
                     region ? "healthy region beside them" : "clause that names an entity");
}

static Tensor *upload(Tape *t, DType type, int ndim, const int64_t *dim, const void *host)
{
    Tensor *x = tape_tensor(t, type, ndim, dim);
    tensor_upload(x, host);
    return x;
}

/* Embeddings (n,E) of n texts of several lengths. */
static Tensor *embed_texts(const Job *j, Tape *t, char *const *text, int64_t n, Error *e)
{
    int32_t **ids = calloc((size_t)n, sizeof *ids), *length = calloc((size_t)n, sizeof *length), *all = NULL;
    int64_t T = 0;
    int64_t most = j->model.bert.config.positions;
    Tensor *x = NULL;
    bool ok = true;
    if (!ids || !length) die("out of host memory for a batch");
    for (int64_t i = 0; ok && i < n; i++) {
        ok = wordpiece_encode(&j->words, text[i], strlen(text[i]),
                              (int)(most < MOST_TOKENS ? most : MOST_TOKENS), &ids[i], &length[i], e);
        if (length[i] > T) T = length[i];
    }
    if (ok) {
        all = calloc((size_t)(n * T), sizeof *all);
        if (!all) die("out of host memory for a batch");
        for (int64_t i = 0; i < n; i++) memcpy(all + i * T, ids[i], (size_t)length[i] * sizeof *all);
        x = medclip_texts(t, &j->model, upload(t, DTYPE_i32, 2, (const int64_t[]){n, T}, all), length);
    }
    for (int64_t i = 0; i < n; i++) free(ids[i]);
    free(ids);
    free(length);
    free(all);
    return x;
}

/* same[i]: the first text that equals text i. */
static Tensor *equal_texts(Tape *t, char *const *text, int64_t n)
{
    Tensor *x = tape_tensor(t, DTYPE_i32, 1, &n);
    int32_t *same = arena_push_host(t->step, (size_t)n * sizeof *same);
    for (int64_t i = 0; i < n; i++) {
        int64_t k = 0;
        while (strcmp(text[k], text[i]) != 0) k++;
        same[i] = (int32_t)k;
    }
    tensor_upload(x, same);
    return x;
}

static bool loss(Trainer *trainer, void *context, Error *e)
{
    Job *j = context;
    Tape *t = &trainer->tape;
    int64_t n = j->o->batch, side = j->model.image;
    int64_t regions = (int64_t)(j->o->regions * (double)n + 0.5);
    bool ok = true;
    for (int64_t i = 0; i < n; i++) j->text[i] = NULL;
    for (int64_t i = 0; ok && i < n; i++) ok = draw_pair(j, i, i >= n - regions, &trainer->rng, e);
    Tensor *w = ok ? embed_texts(j, t, j->text, n, e) : NULL; /* (n,E) */
    if (w) {
        Tensor *x = upload(t, DTYPE_f32, 4, (const int64_t[]){n, side, side, CHANNELS}, j->pixel);
        Tensor *v = medclip_image(t, &j->model, x); /* (n,E) */
        InfonceParams p = {.alpha_v = 1, .alpha_w = 1, .tau = 1, .include_self = true, .mean = true};
        Tensor *y = op_infonce(t, v, w, j->model.logit_scale, equal_texts(t, j->text, n), p);
        trainer_term(trainer, 0, y, 1);
        tape_backward(t, y);
    }
    for (int64_t i = 0; i < n; i++) free(j->text[i]);
    return w != NULL;
}

/* ---- validation: which mask of the study does a query find? ---- */

/* All true masks and grey regions of a study. */
typedef struct Candidates {
    float *embedding;         /* [n][E] */
    int *truth;               /* [n]: row of CtrgStudy.truth; -1: a region */
    double *diameter;         /* [n], mm */
    int64_t n, room, waiting; /* waiting: images in j->pixel whose embeddings are not there yet */
} Candidates;

static void embed_waiting(Job *j, Tape *t, Candidates *c)
{
    int64_t side = j->model.image, E = j->model.embed;
    if (!c->waiting) return;
    Tensor *x = upload(t, DTYPE_f32, 4, (const int64_t[]){c->waiting, side, side, CHANNELS}, j->pixel);
    tensor_download(medclip_image(t, &j->model, x), c->embedding + (c->n - c->waiting) * E);
    tape_reset(t);
    c->waiting = 0;
}

/* The mask in j->mask. */
static bool add_candidate(Job *j, Tape *t, Candidates *c, const uint8_t *grey, int truth, double diameter,
                          Error *e)
{
    int64_t side = j->model.image;
    if (c->n == c->room) {
        c->room = c->room ? 2 * c->room : 256;
        c->embedding = realloc(c->embedding, (size_t)(c->room * j->model.embed) * sizeof *c->embedding);
        c->truth = realloc(c->truth, (size_t)c->room * sizeof *c->truth);
        c->diameter = realloc(c->diameter, (size_t)c->room * sizeof *c->diameter);
        if (!c->embedding || !c->truth || !c->diameter) die("out of host memory for embeddings");
    }
    if (!put_image(j, grey, false, j->pixel + c->waiting * side * side * CHANNELS, e)) return false;
    c->truth[c->n] = truth;
    c->diameter[c->n++] = diameter;
    if (++c->waiting == TOGETHER) embed_waiting(j, t, c);
    return true;
}

static double diameter(double area, double mm) { return 2 * mm * sqrt(area / 3.14159265358979323846); }

/* The masks of slice `at` of the validation set. done: u8 [height][width], spare. */
static bool add_slice(Job *j, Tape *t, Candidates *c, int64_t at, double mm, uint8_t *done, Error *e)
{
    SamSlice *s = &j->slice;
    int64_t area = (int64_t)s->width * s->height;
    const uint8_t *grey = train_data_slice(j->validation, at);
    if (!sam_slice_read(s, j->validation, at, e)) return false;
    for (int i = 0; i < s->n; i++) {
        memcpy(j->mask, s->mask + i * area, (size_t)area);
        if (!add_candidate(j, t, c, grey, s->truth[i], diameter((double)s->area[i], mm), e)) return false;
    }
    memset(done, 0, (size_t)area);
    sam_slice_classify(s);
    for (int64_t i = 0; i < s->n_inside; i++) {
        if (done[s->inside[i]]) continue;
        int64_t n = sam_slice_region(s, s->inside[i], j->mask);
        for (int64_t k = 0; k < area; k++) done[k] |= j->mask[k];
        if (n < REGION_AREA || region_is_truth(s, j->mask, n, likeness)) continue;
        if (!add_candidate(j, t, c, grey, -1, 0, e)) return false;
    }
    return true;
}

typedef struct Found {
    double queries, right, large, large_right;
} Found;

/* One query: the row of its entity is `truth` or another that it names. */
static bool ask(Job *j, Tape *t, const Candidates *c, const CtrgStudy *s, char *query, int entity, Found *f,
                Error *e)
{
    int64_t E = j->model.embed, best = 0;
    float *w = malloc((size_t)E * sizeof *w), top = -INFINITY;
    double large = 0;
    if (!w) die("out of host memory for an embedding");
    Tensor *x = embed_texts(j, t, &query, 1, e);
    if (x) tensor_download(x, w);
    tape_reset(t);
    for (int64_t i = 0; x && i < c->n; i++) {
        float dot = 0;
        for (int64_t k = 0; k < E; k++) dot += w[k] * c->embedding[i * E + k];
        if (dot > top) {
            top = dot;
            best = i;
        }
    }
    free(w);
    bool right = false;
    for (int64_t i = 0; i < c->n; i++) {
        char *named = c->truth[i] < 0 ? NULL : clue_description(s->truth[c->truth[i]].clause, entity);
        if (named && c->diameter[i] > large) large = c->diameter[i];
        if (named && i == best) right = true;
        free(named);
    }
    f->queries++;
    f->right += right;
    f->large += large >= large_mm;
    f->large_right += large >= large_mm && right;
    return x != NULL;
}

static bool ask_study(Job *j, Tape *t, const Candidates *c, const CtrgStudy *s, Found *f, Error *e)
{
    uint64_t asked = 0; /* entities */
    bool ok = true;
    for (int k = 0; ok && k < s->n_truth; k++) {
        char *query[QUERIES];
        int entity[QUERIES], n = truth_queries(s, k, false, QUERIES, query, entity);
        for (int i = 0; i < n; i++) {
            bool again = asked >> entity[i] & 1;
            asked |= UINT64_C(1) << entity[i];
            ok = ok && (again || ask(j, t, c, s, query[i], entity[i], f, e));
            free(query[i]);
        }
    }
    return ok;
}

static bool validate(Trainer *trainer, void *context, TrainerValidation *v, Error *e)
{
    Job *j = context;
    const TrainData *d = j->validation;
    uint8_t *done = malloc((size_t)d->width * (size_t)d->height);
    Candidates c = {0};
    Found f = {0};
    bool ok = true;
    if (!done) die("out of host memory for a slice");
    for (int k = 0; ok && k < d->n; k++) {
        const CtrgStudy *s = &d->ctrg->study[k];
        double mm = s->pixel_mm > 0 ? s->pixel_mm : STUDY_FIELD_MM / s->width;
        c.n = 0;
        if (cli_interrupted())
            ok = error_set(e, ERROR_INTERRUPTED, "stopped during a validation, which begins anew next time");
        for (int i = 0; ok && i < CTRG_SLICES; i++)
            ok = add_slice(j, &trainer->tape, &c, (int64_t)k * CTRG_SLICES + i, mm, done, e);
        embed_waiting(j, &trainer->tape, &c);
        ok = ok && ask_study(j, &trainer->tape, &c, s, &f, e);
    }
    free(done);
    free(c.embedding);
    free(c.truth);
    free(c.diameter);
    v->name[0] = "top1";
    v->name[1] = "top1_large";
    v->name[2] = "queries";
    v->value[0] = v->score = f.right / fmax(f.queries, 1);
    v->value[1] = f.large_right / fmax(f.large, 1);
    v->value[2] = f.queries;
    v->n = 3;
    return ok;
}

/* ---- the stage ---- */

static bool open_model(Job *j, Trainer *t, Weights *w, Weights *text, Error *e)
{
    const TrainOptions *o = j->o;
    Bert bert;
    weights_init(text, &t->weights, &t->state, NULL, o->common.seed);
    if (!weights_open(text, o->bert, e) || !bert_open(&bert, text, e)) return false;
    if (bert.config.vocab != j->words.n)
        return error_set(e, ERROR_INPUT, "%s: a vocabulary of %lld, expected the %d of %s/vocab.txt", o->bert,
                         (long long)bert.config.vocab, j->words.n, o->model);
    MedclipConfig c = {.image = o->image, .embed = o->embed, .bert = bert.config};
    c.swin = (SwinConfig){.channels = CHANNELS,
                          .patch = o->patch,
                          .width = o->dim,
                          .ffn = 4,
                          .stages = o->stages,
                          .window = o->window};
    for (int i = 0; i < o->stages; i++) {
        c.swin.depth[i] = o->depth[i];
        c.swin.heads[i] = o->heads << i;
    }
    weights_init(w, &t->weights, &t->state, &t->params, o->common.seed);
    w->trainable = true;
    if (!medclip_create(&j->model, w, c, e)) return false;
    params_alloc(&t->params);
    if (!weights_fill(w, e) || !bert_copy(&j->model.bert, &bert, e)) return false;
    train_buffers(t, w);
    size_t images = (size_t)(o->batch > TOGETHER ? o->batch : TOGETHER), side = (size_t)o->image;
    j->pixel = malloc(images * side * side * CHANNELS * sizeof *j->pixel);
    if (!j->pixel) die("out of host memory for %zu images", images);
    return true;
}

static bool open_job(Job *j, Error *e)
{
    const TrainOptions *o = j->o;
    char path[4096];
    train_path(path, o->model, "vocab.txt");
    if (!wordpiece_open(&j->words, path, e)) return false;
    j->data = train_data_open(o->data, (int)o->studies, true, true, e);
    if (!j->data || !sam_index_open(&j->index, j->data, e)) return false;
    if (!j->index.n)
        return error_set(e, ERROR_INPUT, "%s: no mask of %d pixels or more", o->data, SLICE_MIN_AREA);
    int W = j->data->width, H = j->data->height;
    if (o->validate_every) {
        j->validation = train_data_open(o->validation, (int)o->validation_studies, true, true, e);
        if (!j->validation) return false;
        if (j->validation->width != W || j->validation->height != H)
            return error_set(e, ERROR_INPUT, "%s: slices of %dx%d, expected %dx%d as in %s", o->validation,
                             j->validation->width, j->validation->height, W, H, o->data);
    }
    sam_slice_open(&j->slice, W, H);
    uint8_t **plane[] = {&j->mask, &j->spare, &j->masked};
    for (size_t i = 0; i < sizeof plane / sizeof *plane; i++)
        if (!(*plane[i] = malloc((size_t)W * (size_t)H))) die("out of host memory for a slice");
    j->text = calloc((size_t)o->batch, sizeof *j->text);
    if (!j->text) die("out of host memory for a batch");
    return true;
}

static void close_job(Job *j)
{
    wordpiece_close(&j->words);
    sam_index_close(&j->index);
    sam_slice_close(&j->slice);
    train_data_close(j->data);
    train_data_close(j->validation);
    void *all[] = {j->mask, j->spare, j->masked, j->pixel, j->text};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static bool run(Job *j, Error *e)
{
    const TrainOptions *o = j->o;
    TrainerOptions to = train_trainer(o, j->index.n);
    to.stage = "medclip";
    to.folder = o->out;
    to.term[0] = "loss";
    to.floor = 0.01;
    to.weight_decay = 0.05;
    to.beta2 = 0.98;
    to.validate = o->validate_every ? validate : NULL;
    Trainer t;
    Weights w = {0}, text = {0};
    char path[4096];
    bool ok =
        trainer_open(&t, &to, &o->common, e) && open_model(j, &t, &w, &text, e) && train_run(&t, loss, j, e);
    train_path(path, o->model, "medclip.safetensors");
    if (ok && !o->dry_run)
        ok = (!o->validate_every || trainer_load_best(&t, e)) &&
             weights_save((Weights *[]){&w}, 1, false, NULL, path, e);
    weights_close(&text);
    weights_close(&w);
    trainer_close(&t);
    return ok;
}

bool train_medclip(const TrainOptions *o, Error *e)
{
    Job j = {.o = o};
    bool ok = open_job(&j, e) && run(&j, e);
    close_job(&j);
    return ok;
}
