#include "tools/sam_data.h"
#include "data/rle.h"
#include <stdlib.h>
#include <string.h>

enum { DRAWS = 8, CLASS_DRAWS = 100 };

/* Upper ends of the classes but the last. */
static const int grey_end[] = {6, 62, 150, 240};

void sam_slice_open(SamSlice *s, int width, int height)
{
    size_t area = (size_t)width * (size_t)height;
    *s = (SamSlice){.width = width, .height = height};
    s->mask = malloc(SLICE_MASKS * area);
    s->grey = malloc(area);
    s->stack = malloc(area * sizeof *s->stack);
    s->inside = malloc(area * sizeof *s->inside);
    if (!s->mask || !s->grey || !s->stack || !s->inside) die("out of host memory for a slice");
}

void sam_slice_close(SamSlice *s)
{
    free(s->mask);
    free(s->grey);
    free(s->stack);
    free(s->inside);
    *s = (SamSlice){0};
}

/* Means of 3x3, the border's of what is there, cut into classes. */
void sam_slice_classify(SamSlice *s)
{
    int W = s->width, H = s->height;
    if (s->classified) return;
    s->classified = true;
    s->n_inside = 0;
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            int sum = 0, n = 0, c = 0;
            for (int i = y ? y - 1 : 0; i <= y + 1 && i < H; i++)
                for (int j = x ? x - 1 : 0; j <= x + 1 && j < W; j++, n++) sum += s->pixel[i * W + j];
            while (c < GREY_BONE && sum >= grey_end[c] * n) c++;
            s->grey[y * W + x] = (uint8_t)c;
            if (c != GREY_AIR) s->inside[s->n_inside++] = y * W + x;
        }
}

bool sam_slice_read(SamSlice *s, const TrainData *d, int64_t at, Error *e)
{
    const CtrgStudy *study = &d->ctrg->study[at / CTRG_SLICES];
    int64_t area = (int64_t)s->width * s->height;
    s->pixel = train_data_slice(d, at);
    s->classified = false;
    s->n = 0;
    for (int k = 0; k < study->n_truth; k++)
        for (int i = 0; i < study->truth[k].n_masks && s->n < SLICE_MASKS; i++) {
            const CtrgMask *m = &study->truth[k].mask[i];
            if (m->slice != at % CTRG_SLICES) continue;
            uint8_t *mask = s->mask + s->n * area;
            if (!ctrg_read_mask(study, m, mask, e)) return false;
            int64_t n = 0;
            for (int64_t j = 0; j < area; j++) n += mask[j];
            if (n < SLICE_MIN_AREA) continue;
            s->finding[s->n] = study->truth[k].finding;
            s->label[s->n] = m->label;
            s->truth[s->n] = k;
            s->area[s->n++] = n;
        }
    return true;
}

int64_t sam_slice_region(SamSlice *s, int64_t at, uint8_t *target)
{
    int W = s->width, H = s->height;
    int64_t n = 0, top = 0;
    sam_slice_classify(s);
    uint8_t class = s->grey[at];
    memset(target, 0, (size_t)W * (size_t)H);
    target[at] = 1;
    s->stack[top++] = (int32_t)at;
    while (top) {
        int32_t p = s->stack[--top], x = p % W, y = p / W;
        const int32_t next[4] = {x > 0 ? p - 1 : -1, x + 1 < W ? p + 1 : -1, y > 0 ? p - W : -1,
                                 y + 1 < H ? p + W : -1};
        n++;
        for (int i = 0; i < 4; i++)
            if (next[i] >= 0 && !target[next[i]] && s->grey[next[i]] == class) {
                target[next[i]] = 1;
                s->stack[top++] = next[i];
            }
    }
    return n;
}

/* The smallest true mask over pixel `at`, or -1. */
static int mask_at(const SamSlice *s, int64_t at)
{
    int64_t area = (int64_t)s->width * s->height;
    int best = -1;
    for (int i = 0; i < s->n; i++)
        if (s->mask[i * area + at] && (best < 0 || s->area[i] < s->area[best])) best = i;
    return best;
}

bool sam_slice_point(SamSlice *s, int of, Rng *rng, SamPoint *p, uint8_t *target)
{
    int64_t area = (int64_t)s->width * s->height, at = 0;
    if (of < 0) sam_slice_classify(s);
    for (int i = 0; i < DRAWS; i++) {
        if (of >= 0) {
            int64_t k = rng_below(rng, s->area[of]);
            for (at = 0; k || !s->mask[of * area + at]; at++) k -= s->mask[of * area + at];
        } else if (s->n_inside) {
            int64_t class = 1 + rng_below(rng, GREY_BONE);
            for (int k = 0; k < CLASS_DRAWS; k++) {
                at = s->inside[rng_below(rng, s->n_inside)];
                if (s->grey[at] == class) break;
            }
        } else {
            return false;
        }
        p->x = (double)(at % s->width) + rng_unit(rng) - 0.5;
        p->y = (double)(at / s->width) + rng_unit(rng) - 0.5;
        p->of = mask_at(s, at);
        p->area = p->of >= 0 ? s->area[p->of] : sam_slice_region(s, at, target);
        if (p->of >= 0) memcpy(target, s->mask + p->of * area, (size_t)area);
        if (p->area >= SLICE_MIN_AREA) return true;
    }
    return false;
}

static int by_finding(const void *a, const void *b)
{
    const struct SamItem *x = a, *y = b;
    if (x->finding != y->finding) return x->finding - y->finding;
    if (x->slice != y->slice) return x->slice < y->slice ? -1 : 1;
    return x->truth != y->truth ? x->truth - y->truth : x->label - y->label;
}

static bool add_items(SamIndex *x, const TrainData *d, int64_t k, int64_t *room, Error *e)
{
    const CtrgStudy *s = &d->ctrg->study[k];
    for (int t = 0; t < s->n_truth; t++)
        for (int i = 0; i < s->truth[t].n_masks; i++) {
            const CtrgMask *m = &s->truth[t].mask[i];
            Rle rle;
            if (!rle_from_text(m->counts, strlen(m->counts), s->width, s->height, &rle, e)) return false;
            int64_t area = (int64_t)rle_area(&rle);
            rle_free(&rle);
            if (area < SLICE_MIN_AREA) continue;
            if (x->n == *room) {
                *room = *room ? 2 * *room : 4096;
                x->item = realloc(x->item, (size_t)*room * sizeof *x->item);
                if (!x->item) die("out of host memory for %lld masks", (long long)*room);
            }
            x->item[x->n++] =
                (struct SamItem){k * CTRG_SLICES + m->slice, s->truth[t].finding, t, m->label, area};
        }
    return true;
}

bool sam_index_open(SamIndex *x, const TrainData *d, Error *e)
{
    int64_t room = 0;
    *x = (SamIndex){0};
    for (int k = 0; k < d->n; k++)
        if (!add_items(x, d, k, &room, e)) return false;
    if (x->n) qsort(x->item, (size_t)x->n, sizeof *x->item, by_finding);
    for (int f = 0; f < FINDING_COUNT; f++) {
        x->first[f + 1] = x->first[f];
        while (x->first[f + 1] < x->n && x->item[x->first[f + 1]].finding == f) x->first[f + 1]++;
        if (x->first[f + 1] > x->first[f]) x->finding[x->n_findings++] = f;
    }
    return true;
}

void sam_index_close(SamIndex *x)
{
    free(x->item);
    *x = (SamIndex){0};
}

int64_t sam_index_draw(const SamIndex *x, Rng *rng)
{
    if (!x->n_findings) return -1;
    int f = x->finding[rng_below(rng, x->n_findings)];
    return x->first[f] + rng_below(rng, x->first[f + 1] - x->first[f]);
}
