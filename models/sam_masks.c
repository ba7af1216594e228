/* Automatic masks; see sam_masks.h. */
#include "models/sam_masks.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_BATCH = 256 };
static const double NEAR = 20; /* pixels from a crop's edge */

/* A mask that passed the filters of a point, in its crop's pixels; then a record, in the picture's. */
typedef struct Found {
    float iou, stability;
    int box[4]; /* x0, y0, x1, y1, inclusive */
    double point[2];
    SamCrop crop;
    Rle rle;
} Found;

typedef struct List {
    Found *item;
    int n, room;
} List;

/* A picture at work. */
typedef struct Work {
    Tape *t;
    const SamMaskSource *source;
    const SamMaskSettings *s;
    SamMaskTimes *times;
    const Image *image;
    SamCrop crop;
    MaskParams params; /* of this crop */
    Tensor *bank;      /* (points*answers,low,low): logits of the crop's list */
    List list;         /* of this crop */
    List all;          /* of all crops so far */
} Work;

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static bool append(List *l, const Found *f, Error *e)
{
    if (l->n == l->room) {
        int room = l->room ? 2 * l->room : 64;
        Found *more = realloc(l->item, (size_t)room * sizeof *more);
        if (!more) return error_set(e, ERROR_MEMORY, "no memory for %d masks", room);
        l->item = more;
        l->room = room;
    }
    l->item[l->n++] = *f;
    return true;
}

static void list_free(List *l)
{
    for (int i = 0; i < l->n; i++) rle_free(&l->item[i].rle);
    free(l->item);
    *l = (List){0};
}

/* ---- suppression ---- */

typedef struct Rank {
    float score;
    int i;
} Rank;

static int by_score(const void *a, const void *b)
{
    const Rank *p = a, *q = b;
    if (p->score != q->score) return p->score > q->score ? -1 : 1;
    return p->i - q->i;
}

/* l by score, descending, without what overlaps a better one by more than threshold. score: [l->n]. `was`, NULL
 * allowed, gets where each item stood. */
static bool suppress(Work *w, List *l, const float *score, double threshold, int *was, Error *e)
{
    double start = seconds();
    size_t n = (size_t)l->n;
    if (!n) return true;
    Rank *rank = malloc(n * sizeof *rank);
    Found *kept = malloc(n * sizeof *kept);
    float *box = malloc(4 * n * sizeof *box);
    int32_t *keep = malloc(n * sizeof *keep);
    bool ok = rank && kept && box && keep;
    if (ok) {
        for (int i = 0; i < l->n; i++) rank[i] = (Rank){score[i], i};
        qsort(rank, n, sizeof *rank, by_score);
        for (size_t i = 0; i < 4 * n; i++) box[i] = (float)l->item[rank[i / 4].i].box[i % 4];
        ArenaMark mark = arena_mark(w->t->step);
        Tensor *x = tape_tensor(w->t, DTYPE_f32, 2, (int64_t[]){l->n, 4});
        tensor_upload(x, box);
        tensor_download(op_nms(w->t, x, threshold), keep);
        arena_pop(w->t->step, mark);
        int m = 0;
        for (int i = 0; i < l->n; i++) {
            Found *f = &l->item[rank[i].i];
            if (was && keep[i]) was[m] = rank[i].i;
            if (keep[i])
                kept[m++] = *f;
            else
                rle_free(&f->rle);
        }
        memcpy(l->item, kept, (size_t)m * sizeof *kept);
        l->n = m;
    } else {
        error_set(e, ERROR_MEMORY, "no memory for %zu boxes", n);
    }
    free(rank);
    free(kept);
    free(box);
    free(keep);
    w->times->nms += seconds() - start;
    return ok;
}

/* ---- points of one crop ---- */

/* Grid position i of n, as numpy's linspace(1/2n, 1 - 1/2n, n) has it. */
static double grid_at(int n, int i)
{
    double first = 1.0 / (2 * n), last = 1 - first;
    if (n == 1) return first;
    return i == n - 1 ? last : i * ((last - first) / (n - 1)) + first;
}

/* Whether a box of the crop ends near one of its sides where the picture goes on. */
static bool near_edge(const Work *w, const int32_t box[4])
{
    const int *crop = w->crop.box, whole[4] = {0, 0, w->image->width, w->image->height};
    for (int i = 0; i < 4; i++) {
        double at = box[i] + crop[i % 2];
        if (fabs(at - crop[i]) <= NEAR && !(fabs(at - whole[i]) <= NEAR)) return true;
    }
    return false;
}

/* The filters that need the mask; f gets what they saw. */
static bool passes(const Work *w, const int32_t *stats, Found *f)
{
    f->stability = (float)stats[0] / (float)stats[1]; /* 0/0: NaN, which passes nothing */
    if (stats[2] == 0 || isnan(f->stability)) return false;
    if (w->s->stability > 0 && !(f->stability >= (float)w->s->stability)) return false;
    w->times->stable++;
    if (near_edge(w, stats + 3)) return false;
    for (int i = 0; i < 4; i++) f->box[i] = stats[3 + i];
    return true;
}

/* Moves mask i of logits (kept,low,low) to the end of the bank. */
static void bank_put(Work *w, const Tensor *logits, int64_t i, int at)
{
    size_t bytes = tensor_bytes(logits) / (size_t)logits->dim[0];
    logits->backend->move((char *)w->bank->data + (size_t)at * bytes,
                          (const char *)logits->data + (size_t)i * bytes, bytes);
}

/* Points k .. k + n - 1: `at` in the crop's pixels, `point` in the input's. */
static bool ask(Work *w, const double *at, const double *point, int64_t n, Error *e)
{
    double start = seconds();
    ArenaMark mark = arena_mark(w->t->step);
    SamPrediction y;
    w->source->predict(w->source->user, w->t, point, n, w->s->pred_iou > 0 ? (float)w->s->pred_iou : -INFINITY,
                       &y);
    double decoded = seconds();
    w->times->decoder += decoded - start;
    w->times->points += n;
    w->times->above_iou += y.kept;
    int32_t *stats = malloc((size_t)(y.kept + 1) * MASK_STATS * sizeof *stats);
    bool ok = stats || error_set(e, ERROR_MEMORY, "no memory for %lld masks", (long long)y.kept);
    if (ok && y.kept) tensor_download(op_mask_stats(w->t, y.logits, w->params), stats);
    for (int64_t i = 0; ok && i < y.kept; i++) {
        const int64_t p = y.prompt[i];
        Found f = {.iou = y.iou[p * w->source->masks + y.mask[i]],
                   .point = {at[2 * p], at[2 * p + 1]},
                   .crop = w->crop};
        if (!passes(w, stats + MASK_STATS * i, &f)) continue;
        bank_put(w, y.logits, i, w->list.n);
        ok = append(&w->list, &f, e);
    }
    free(stats);
    arena_pop(w->t->step, mark);
    w->times->tail += seconds() - decoded;
    return ok;
}

/* How many of `bytes` there is room for in a share of what is left of the step arena: 1 to most. */
static int64_t fit(const Work *w, size_t bytes, size_t shares, int64_t most)
{
    const Arena *a = w->t->step;
    size_t n = (a->capacity - a->used - a->pool_extent) / shares / bytes;
    return n < 1 ? 1 : n > (size_t)most ? most : (int64_t)n;
}

static size_t plane_bytes(const Work *w)
{
    return (size_t)w->source->low * (size_t)w->source->low * sizeof(float);
}

/* Half of what is left holds the answers; the other half is for the work on them. */
static int64_t batch_of(const Work *w, int64_t points)
{
    int64_t most = points < MOST_BATCH ? points : MOST_BATCH;
    return w->s->batch ? w->s->batch : fit(w, (size_t)(w->source->masks - 1) * plane_bytes(w), 2, most);
}

static int points_of(const SamMaskSettings *s, int layer)
{
    return (int)(s->points / pow(s->crop_downscale, layer));
}

static bool ask_grid(Work *w, const Image *crop, Error *e)
{
    int side = points_of(w->s, w->crop.layer);
    int64_t points = (int64_t)side * side, batch = batch_of(w, points);
    double *at = malloc(4 * (size_t)points * sizeof *at), *point = at + 2 * points;
    if (!at) return error_set(e, ERROR_MEMORY, "no memory for %lld points", (long long)points);
    const int size[2] = {crop->width, crop->height}, input[2] = {w->params.input_width, w->params.input_height};
    for (int64_t k = 0; k < points; k++)
        for (int i = 0; i < 2; i++) {
            at[2 * k + i] = grid_at(side, (int)(i ? k / side : k % side)) * size[i];
            point[2 * k + i] = at[2 * k + i] * ((double)input[i] / size[i]);
        }
    bool ok = true;
    for (int64_t k = 0; ok && k < points; k += batch)
        ok = ask(w, at + 2 * k, point + 2 * k, batch < points - k ? batch : points - k, e);
    free(at);
    return ok;
}

/* ---- records ---- */

/* Run lengths of a mask of the crop, at its place in the picture. plane: the picture's, all zeros and left so.
 */
static bool encode(const Work *w, const uint8_t *mask, uint8_t *plane, Found *f, Error *e)
{
    const int *c = f->crop.box, W = w->image->width;
    size_t width = (size_t)(c[2] - c[0]);
    if (c[2] - c[0] == W && c[3] - c[1] == w->image->height)
        return rle_encode(mask, W, w->image->height, &f->rle, e);
    for (int y = c[1]; y < c[3]; y++)
        memcpy(plane + (size_t)y * (size_t)W + c[0], mask + (size_t)(y - c[1]) * width, width);
    bool ok = rle_encode(plane, W, w->image->height, &f->rle, e);
    for (int y = c[1]; y < c[3]; y++) memset(plane + (size_t)y * (size_t)W + c[0], 0, width);
    return ok;
}

/* The masks of the list's items n .. n + m - 1, which stand in the bank at index[0..m-1]. */
static bool draw_some(Work *w, int n, int m, const int32_t *index, uint8_t *mask, uint8_t *plane, Error *e)
{
    ArenaMark mark = arena_mark(w->t->step);
    Tensor *at = tape_tensor(w->t, DTYPE_i32, 1, (int64_t[]){m});
    tensor_upload(at, index);
    tensor_download(op_mask_binary(w->t, op_select(w->t, w->bank, at), w->params), mask);
    arena_pop(w->t->step, mark);
    size_t pixels = (size_t)w->params.height * (size_t)w->params.width;
    bool ok = true;
    for (int i = 0; ok && i < m; i++) ok = encode(w, mask + (size_t)i * pixels, plane, &w->list.item[n + i], e);
    return ok;
}

/* Run lengths of what suppression left, was[i] the place in the bank; coordinates become the picture's. */
static bool draw(Work *w, const int *was, Error *e)
{
    enum { TOGETHER = 32 };
    double start = seconds();
    size_t pixels = (size_t)w->params.height * (size_t)w->params.width;
    int m =
        (int)fit(w, plane_bytes(w) + pixels + 4 * ARENA_ALIGN, 1, w->list.n < TOGETHER ? w->list.n : TOGETHER);
    uint8_t *mask = malloc((size_t)m * pixels + 1),
            *plane = calloc((size_t)w->image->width, (size_t)w->image->height);
    bool ok = (mask && plane) || error_set(e, ERROR_MEMORY, "no memory for %d masks", m);
    for (int n = 0; ok && n < w->list.n; n += m) {
        int32_t index[TOGETHER];
        if (m > w->list.n - n) m = w->list.n - n;
        for (int i = 0; i < m; i++) index[i] = was[n + i];
        ok = draw_some(w, n, m, index, mask, plane, e);
    }
    for (int i = 0; ok && i < w->list.n; i++) {
        Found *f = &w->list.item[i];
        for (int k = 0; k < 4; k++) f->box[k] += f->crop.box[k % 2];
        for (int k = 0; k < 2; k++) f->point[k] += f->crop.box[k];
        ok = append(&w->all, f, e);
        if (ok) f->rle = (Rle){0};
    }
    free(mask);
    free(plane);
    w->times->rle += seconds() - start;
    return ok;
}

/* The best of the crop's list, drawn. */
static bool finish_crop(Work *w, Error *e)
{
    if (!w->list.n) return true;
    float *score = malloc((size_t)w->list.n * sizeof *score);
    int *was = malloc((size_t)w->list.n * sizeof *was);
    bool ok = (score && was) || error_set(e, ERROR_MEMORY, "no memory for %d scores", w->list.n);
    for (int i = 0; ok && i < w->list.n; i++) score[i] = w->list.item[i].iou;
    ok = ok && suppress(w, &w->list, score, w->s->box_nms, was, e) && draw(w, was, e);
    free(score);
    free(was);
    return ok;
}

/* Part of the picture; its pixels are the caller's. */
static bool cut(const Image *in, const int box[4], Image *out, Error *e)
{
    size_t row = (size_t)(box[2] - box[0]) * (size_t)in->channels;
    *out = (Image){box[2] - box[0], box[3] - box[1], in->channels, malloc(row * (size_t)(box[3] - box[1]))};
    if (!out->pixel) return error_set(e, ERROR_MEMORY, "no memory for %d x %d pixels", out->width, out->height);
    for (int y = 0; y < out->height; y++)
        memcpy(out->pixel + (size_t)y * row,
               in->pixel + ((size_t)(y + box[1]) * (size_t)in->width + (size_t)box[0]) * (size_t)in->channels,
               row);
    return true;
}

static bool process_crop(Work *w, Error *e)
{
    const SamMaskSource *from = w->source;
    const SamMaskSettings *s = w->s;
    double start = seconds();
    Image crop;
    int input[2], side = points_of(s, w->crop.layer);
    if (!cut(w->image, w->crop.box, &crop, e)) return false;
    ArenaMark mark = arena_mark(w->t->step);
    Tensor *x = sam_mask_input(w->t, &crop, from->side, input, e);
    bool ok = x != NULL;
    if (ok) {
        from->image(from->user, w->t, x);
        x->backend->sync();
        w->times->encoder += seconds() - start;
        w->params = (MaskParams){from->side,          input[0],        input[1], crop.height, crop.width,
                                 (float)s->threshold, (float)s->offset};
        w->bank = tape_tensor(w->t, DTYPE_f32, 3,
                              (int64_t[]){(int64_t)(from->masks - 1) * side * side, from->low, from->low});
        ok = ask_grid(w, &crop, e) && finish_crop(w, e);
    }
    list_free(&w->list);
    arena_pop(w->t->step, mark);
    free(crop.pixel);
    return ok;
}

/* Smaller crops first. */
static bool suppress_crops(Work *w, Error *e)
{
    float *score = malloc(((size_t)w->all.n + 1) * sizeof *score);
    bool ok = score || error_set(e, ERROR_MEMORY, "no memory for %d scores", w->all.n);
    for (int i = 0; ok && i < w->all.n; i++) {
        const int *box = w->all.item[i].crop.box;
        score[i] = 1 / (float)((int64_t)(box[2] - box[0]) * (box[3] - box[1]));
    }
    ok = ok && suppress(w, &w->all, score, w->s->crop_nms, NULL, e);
    free(score);
    return ok;
}

static void box_of(const uint8_t *mask, int width, int height, int box[4])
{
    int x0 = width, x1 = 0, y0 = height, y1 = 0;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            if (!mask[(size_t)y * (size_t)width + (size_t)x]) continue;
            x0 = x < x0 ? x : x0;
            x1 = x > x1 ? x : x1;
            y0 = y < y0 ? y : y0;
            y1 = y;
        }
    memcpy(box, (int[]){x0, y0, x1, y1}, 4 * sizeof *box);
}

/* Clears a record's mask of what is small; *score: whether there was nothing. */
static bool clean(const Work *w, Found *f, uint8_t *mask, int32_t *label, float *score, Error *e)
{
    int W = w->image->width, H = w->image->height;
    rle_decode(&f->rle, mask);
    bool holes = sam_remove_small(mask, W, H, w->s->min_area, true, label),
         islands = sam_remove_small(mask, W, H, w->s->min_area, false, label);
    *score = !holes && !islands;
    if (*score == 1) return true;
    rle_free(&f->rle);
    box_of(mask, W, H, f->box);
    return rle_encode(mask, W, H, &f->rle, e);
}

static bool clean_all(Work *w, Error *e)
{
    double start = seconds();
    size_t pixels = (size_t)w->image->width * (size_t)w->image->height;
    float *score = malloc(((size_t)w->all.n + 1) * sizeof *score);
    uint8_t *mask = malloc(pixels);
    int32_t *label = malloc(2 * pixels * sizeof *label);
    bool ok = (score && mask && label) || error_set(e, ERROR_MEMORY, "no memory for %zu pixels", pixels);
    for (int i = 0; ok && i < w->all.n; i++) ok = clean(w, &w->all.item[i], mask, label, &score[i], e);
    w->times->rle += seconds() - start;
    ok = ok && suppress(w, &w->all, score, fmax(w->s->box_nms, w->s->crop_nms), NULL, e);
    free(score);
    free(mask);
    free(label);
    return ok;
}

static bool write_records(Work *w, GallerySlice *out, Error *e)
{
    out->n = 0;
    out->mask = calloc((size_t)w->all.n + 1, sizeof *out->mask);
    if (!out->mask) return error_set(e, ERROR_MEMORY, "no memory for %d masks", w->all.n);
    for (int i = 0; i < w->all.n; i++) {
        const Found *f = &w->all.item[i];
        const int *b = f->box, *c = f->crop.box;
        GalleryMask *m = &out->mask[i];
        *m = (GalleryMask){.counts = rle_to_text(&f->rle),
                           .area = (int64_t)rle_area(&f->rle),
                           .bbox = {b[0], b[1], b[2] - b[0], b[3] - b[1]},
                           .predicted_iou = (double)f->iou,
                           .stability = (double)f->stability,
                           .point = {f->point[0], f->point[1]},
                           .crop_box = {c[0], c[1], c[2] - c[0], c[3] - c[1]}};
        out->n = i + 1;
        if (m->counts) continue;
        sam_masks_free(out);
        return error_set(e, ERROR_MEMORY, "no memory for %d masks", w->all.n);
    }
    w->times->records += out->n;
    return true;
}

void sam_masks_free(GallerySlice *s)
{
    for (int i = 0; i < s->n; i++) free(s->mask[i].counts);
    free(s->mask);
    s->mask = NULL;
    s->n = 0;
}

bool sam_masks(Tape *t, const SamMaskSource *source, const SamMaskSettings *s, const Image *image,
               GallerySlice *out, SamMaskTimes *times, Error *e)
{
    SamMaskTimes own = {0};
    Work w = {.t = t, .source = source, .s = s, .times = times ? times : &own, .image = image};
    int n = sam_crops(s, image->width, image->height, NULL);
    SamCrop *crop = malloc((size_t)n * sizeof *crop);
    bool ok = crop || error_set(e, ERROR_MEMORY, "no memory for %d crops", n);
    if (ok) sam_crops(s, image->width, image->height, crop);
    for (int i = 0; ok && i < n; i++) {
        w.crop = crop[i];
        ok = crop[i].box[0] < crop[i].box[2] && crop[i].box[1] < crop[i].box[3];
        ok = ok ? process_crop(&w, e)
                : error_set(e, ERROR_INPUT, "image of %d x %d pixels: too small for %d layers of crops",
                            image->width, image->height, s->crop_layers);
    }
    ok = ok && (n == 1 || suppress_crops(&w, e)) && (s->min_area == 0 || clean_all(&w, e)) &&
         write_records(&w, out, e);
    list_free(&w.all);
    free(crop);
    return ok;
}
