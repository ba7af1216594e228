#include "tools/pcrl_texts.h"
#include "data/clues.h"
#include <stdlib.h>
#include <string.h>

/* Texts to be numbered, equal ones alike. */
typedef struct Numbered {
    char *text;
    int32_t *same;
} Numbered;

typedef struct Numbers {
    Numbered *item;
    size_t n, room;
} Numbers;

static void number_later(Numbers *l, char *text, int32_t *same)
{
    if (l->n == l->room) {
        l->room = l->room ? 2 * l->room : 1024;
        l->item = realloc(l->item, l->room * sizeof *l->item);
        if (!l->item) die("out of host memory for %zu texts", l->room);
    }
    l->item[l->n++] = (Numbered){text, same};
}

static int by_text(const void *a, const void *b)
{
    return strcmp(((const Numbered *)a)->text, ((const Numbered *)b)->text);
}

/* Numbers from 0 without a gap. x keeps one text of each number, or none. */
static void number_all(Numbers *l, bool keep, PcrlTexts *x)
{
    int32_t number = -1;
    if (l->n) qsort(l->item, l->n, sizeof *l->item, by_text);
    if (keep) {
        x->text = calloc(l->n + 1, sizeof *x->text);
        x->feature = calloc(l->n + 1, sizeof *x->feature);
        if (!x->text || !x->feature) die("out of host memory for %zu texts", l->n);
    }
    const char *before = NULL;
    for (size_t i = 0; i < l->n; i++) {
        bool another = !before || strcmp(l->item[i].text, before);
        before = l->item[i].text;
        number += another;
        *l->item[i].same = number;
        if (!keep || !another) continue;
        x->text[number] = l->item[i].text;
        x->n_texts = number + 1;
    }
    for (size_t i = 0; i < l->n; i++)
        if (!keep || x->text[*l->item[i].same] != l->item[i].text) free(l->item[i].text);
    free(l->item);
}

/* A mask on the grid. */
static float *grid_mask(Tape *t, const uint8_t *mask, int width, int height, ResizeMode mode)
{
    int64_t n = (int64_t)width * height;
    float *host = malloc((size_t)(n > GRID_CELLS ? n : GRID_CELLS) * sizeof *host);
    if (!host) die("out of host memory for a mask");
    for (int64_t i = 0; i < n; i++) host[i] = mask[i];
    Tensor *x = tape_tensor(t, DTYPE_f32, 4, (const int64_t[]){1, height, width, 1});
    tensor_upload(x, host);
    tensor_download(op_resize(t, x, GRID, GRID, mode), host);
    tape_reset(t);
    float *kept = realloc(host, GRID_CELLS * sizeof *host);
    return kept ? kept : host;
}

typedef struct Reader {
    Tape *t;
    const TrainData *data;
    const Bpe *bpe;
    const PcrlTextOptions *o;
    const Clues *clues;
    Numbers numbers;
} Reader;

static bool encode(const Reader *r, const char *text, int32_t **ids, int *n, Error *e)
{
    if (!bpe_encode(r->bpe, text, strlen(text), false, ids, n, e)) return false;
    if (*n > PCRL_MAX_TEXT) *n = PCRL_MAX_TEXT;
    return true;
}

static bool read_clues(Reader *r, const StudyClues *s, StudyText *out, Error *e)
{
    ClueUnit *unit;
    int n;
    if (!clue_units(s, r->o->merge, r->o->paper24, &unit, &n, e)) return false;
    out->clue = calloc((size_t)n + 1, sizeof *out->clue);
    if (!out->clue) die("out of host memory for %d clues", n);
    bool ok = true;
    for (int i = 0; ok && i < n; i++) {
        ClueText *c = &out->clue[i];
        c->slice = unit[i].slice;
        ok = encode(r, unit[i].text, &c->ids, &c->n_ids, e);
        if (!ok) break;
        out->n_clues++;
        if (unit[i].mask) c->mask = grid_mask(r->t, unit[i].mask, s->width, s->height, r->o->resize);
        number_later(&r->numbers, unit[i].text, &c->same);
        unit[i].text = NULL;
    }
    clue_units_free(unit, n);
    return ok;
}

static bool read_study(Reader *r, const CtrgStudy *s, StudyText *out, Error *e)
{
    if (!encode(r, s->findings, &out->ids, &out->n_ids, e)) return false;
    char *copy = strdup(s->findings);
    if (!copy) die("out of host memory for a text");
    number_later(&r->numbers, copy, &out->same);
    const StudyClues *clues = r->clues ? clues_find(r->clues, s->id) : NULL;
    return !clues || read_clues(r, clues, out, e);
}

bool pcrl_texts_open(PcrlTexts *x, Tape *t, const TrainData *d, const Bpe *bpe, const PcrlTextOptions *o,
                     Error *e)
{
    Clues *clues = NULL;
    *x = (PcrlTexts){0};
    if (o->clues && !(clues = clues_read(o->clues, e))) return false;
    Reader r = {t, d, bpe, o, clues, {0}};
    bool ok = true, recording = t->recording;
    t->recording = false;
    x->study = calloc((size_t)d->n, sizeof *x->study);
    if (!x->study) die("out of host memory for the texts of %d studies", d->n);
    for (x->n = 0; ok && x->n < d->n; x->n++) {
        ok = read_study(&r, &d->ctrg->study[x->n], &x->study[x->n], e);
        x->clues += x->study[x->n].n_clues;
        for (int i = 0; i < x->study[x->n].n_clues; i++) x->masks += x->study[x->n].clue[i].mask != NULL;
    }
    t->recording = recording;
    number_all(&r.numbers, o->keep, x);
    clues_free(clues);
    if (!ok) pcrl_texts_close(x);
    return ok;
}

void pcrl_texts_close(PcrlTexts *x)
{
    for (int k = 0; k < x->n; k++) {
        StudyText *s = &x->study[k];
        for (int i = 0; i < s->n_clues; i++) {
            free(s->clue[i].ids);
            free(s->clue[i].mask);
        }
        free(s->clue);
        free(s->ids);
    }
    for (int i = 0; i < x->n_texts; i++) {
        free(x->text[i]);
        free(x->feature[i]);
    }
    free(x->text);
    free(x->feature);
    free(x->study);
    *x = (PcrlTexts){0};
}
