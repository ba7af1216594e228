#include "data/pytorch_views.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One tensor may have many names, and a dict stand in many places: what that comes to is bounded here. */
enum { MAX_DEPTH = 64, MAX_NAME = 512, MAX_VISITS = 1 << 22, MAX_TENSORS = 1 << 17 };

/* How elements that do not lie in C order are found. */
typedef struct View {
    int64_t stride[8];
    uint64_t span; /* elements */
} View;

typedef struct Views {
    View *view;
    int n, room;
    /* The span of view `held`, while it has not been read to its end. */
    int held;
    char *bytes; /* NULL: of none */
} Views;

/* ---- reading ---- */

/* Element i, in C order, lies so many elements after the first. */
static uint64_t element_at(const TensorEntry *t, const View *v, uint64_t i)
{
    uint64_t at = 0;
    for (int d = t->ndim - 1; d >= 0; d--) {
        at += i % (uint64_t)t->dim[d] * (uint64_t)v->stride[d];
        i /= (uint64_t)t->dim[d];
    }
    return at;
}

static void drop_span(Views *all)
{
    free(all->bytes);
    all->bytes = NULL;
}

static bool load_span(const TensorPart *part, Views *all, const TensorEntry *t, const View *v, Error *e)
{
    if (all->bytes && all->held == t->own) return true;
    drop_span(all);
    size_t bytes = (size_t)v->span * st_dtype_size(t->dtype);
    all->bytes = malloc(bytes);
    if (!all->bytes)
        return error_set(e, ERROR_MEMORY, "%s: tensor \"%.80s\": no memory for %zu bytes", part->path, t->name,
                         bytes);
    all->held = t->own;
    if (tensor_part_read(part, t->offset, all->bytes, bytes, e)) return true;
    drop_span(all);
    return false;
}

static void gather(const TensorEntry *t, const View *v, const char *span, uint64_t from, uint64_t count,
                   char *to)
{
    const uint64_t size = st_dtype_size(t->dtype), last = (uint64_t)t->dim[t->ndim - 1];
    const uint64_t stride = (uint64_t)v->stride[t->ndim - 1];
    while (count) {
        uint64_t i = from / size, within = from % size, run = last - i % last; /* to the row's end */
        const char *at = span + element_at(t, v, i) * size;
        for (uint64_t k = 0; k < run && count; k++, at += stride * size) {
            uint64_t step = size - within < count ? size - within : count;
            memcpy(to, at + within, (size_t)step);
            to += step;
            from += step;
            count -= step;
            within = 0;
        }
    }
}

static bool raw(const TensorFile *f, const TensorEntry *t, uint64_t from, uint64_t count, void *dst, Error *e)
{
    const TensorPart *part = &f->part[t->part];
    if (t->own < 0) return tensor_part_read(part, t->offset + from, dst, count, e);
    Views *all = part->own;
    const View *v = &all->view[t->own];
    if (!load_span(part, all, t, v, e)) return false;
    gather(t, v, all->bytes, from, count, dst);
    if (from + count == t->size) drop_span(all);
    return true;
}

static void close_views(TensorPart *part)
{
    Views *all = part->own;
    if (!all) return;
    free(all->bytes);
    free(all->view);
    free(all);
}

const TensorForm pytorch_form = {"PyTorch", raw, close_views};

/* ---- names ---- */

typedef struct Walk {
    TensorFile *f;
    Error *e;
    char name[MAX_NAME];
    size_t room;
    int visits; /* of all walks */
} Walk;

static bool no_memory(const Walk *w) { return tensor_file_no_memory(w->f->path, w->e); }

static void *more(const Walk *w, void *list, size_t n, size_t *room, size_t size)
{
    if (n < *room) return list;
    size_t want = *room ? 2 * *room : 64;
    void *larger = realloc(list, want * size);
    if (!larger) no_memory(w);
    if (larger) *room = want;
    return larger;
}

static bool is_contiguous(const PickleTensor *x)
{
    int64_t step = 1;
    for (int d = x->ndim - 1; x->elements && d >= 0; d--) {
        if (x->dim[d] != 1 && x->stride[d] != step) return false;
        step *= x->dim[d];
    }
    return true;
}

static bool add_view(Walk *w, const PickleTensor *x, int *own)
{
    Views *all = w->f->part[0].own;
    size_t room = (size_t)all->room;
    View *list = more(w, all->view, (size_t)all->n, &room, sizeof *list);
    if (!list) return false;
    all->view = list;
    all->room = (int)room;
    list[all->n].span = x->span;
    memcpy(list[all->n].stride, x->stride, sizeof x->stride);
    *own = all->n++;
    return true;
}

static bool add_tensor(Walk *w, const PickleTensor *x)
{
    TensorFile *f = w->f;
    if (f->n == MAX_TENSORS)
        return error_set(w->e, ERROR_INPUT, "%s: \"%.80s\": more than %d tensors", f->path, w->name,
                         MAX_TENSORS);
    TensorEntry *list = more(w, f->entry, (size_t)f->n, &w->room, sizeof *list);
    if (!list) return false;
    f->entry = list;
    uint64_t size = st_dtype_size(x->dtype);
    TensorEntry *t = &list[f->n];
    *t = (TensorEntry){.dtype = x->dtype,
                       .ndim = x->ndim,
                       .size = x->elements * size,
                       .offset = x->storage->offset + x->offset * size,
                       .own = -1};
    memcpy(t->dim, x->dim, sizeof t->dim);
    if (!is_contiguous(x) && !add_view(w, x, &t->own)) return false;
    t->name = tensor_file_copy(w->name);
    if (!t->name) return no_memory(w);
    f->n++;
    return true;
}

static bool walk(Walk *w, const PickleValue *v, size_t length, int depth);

/* The value under a key or index, whose text goes behind the name so far. */
static bool walk_item(Walk *w, const PickleValue *v, const PickleValue *key, uint32_t index, size_t length,
                      int depth)
{
    char number[24];
    const char *text = number;
    if (v->type < PICKLE_LIST) return true;
    snprintf(number, sizeof number, "%lld", key ? (long long)key->whole : (long long)index);
    if (key && key->type == PICKLE_TEXT) text = key->text;
    int n = snprintf(w->name + length, MAX_NAME - length, "%s%s", length ? "." : "", text);
    if (n >= (int)(MAX_NAME - length))
        return error_set(w->e, ERROR_INPUT, "%s: \"%.80s...\": a name of more than %d bytes", w->f->path,
                         w->name, MAX_NAME - 1);
    return walk(w, v, length + (size_t)n, depth);
}

static bool walk(Walk *w, const PickleValue *v, size_t length, int depth)
{
    if (v->type == PICKLE_TENSOR) return add_tensor(w, v->tensor);
    if (v->type != PICKLE_DICT && v->type != PICKLE_LIST && v->type != PICKLE_TUPLE) return true;
    if (depth > MAX_DEPTH)
        return error_set(w->e, ERROR_INPUT, "%s: \"%.80s\": nested deeper than %d levels", w->f->path, w->name,
                         MAX_DEPTH);
    uint32_t pair = v->type == PICKLE_DICT ? 2 : 1;
    for (uint32_t i = 0; i < v->size; i += pair) {
        if (++w->visits > MAX_VISITS)
            return error_set(w->e, ERROR_INPUT, "%s: more than %d values in its dicts and lists", w->f->path,
                             MAX_VISITS);
        if (!walk_item(w, v->item[i + pair - 1], pair == 2 ? v->item[i] : NULL, i, length, depth + 1))
            return false;
    }
    return true;
}

/* ---- all ---- */

static void forget(TensorFile *f)
{
    for (int i = 0; i < f->n; i++) free(f->entry[i].name);
    f->n = 0;
    ((Views *)f->part[0].own)->n = 0;
}

/* The dict "state_dict" or "model" in v, if all tensors are in it; v otherwise. Leaves the entries of v. */
static const PickleValue *unwrap(Walk *w, const PickleValue *v)
{
    const PickleValue *holder = NULL;
    for (uint32_t i = 0; i < v->size; i += 2) {
        int before = w->f->n;
        const PickleValue *key = v->item[i], *value = v->item[i + 1];
        if (!walk_item(w, value, key, 0, 0, 1)) return NULL;
        if (w->f->n == before) continue;
        bool wrapper = key->type == PICKLE_TEXT && value->type == PICKLE_DICT &&
                       (!strcmp(key->text, "state_dict") || !strcmp(key->text, "model"));
        holder = wrapper && !before ? value : v;
    }
    return holder ? holder : v;
}

bool pytorch_views(TensorFile *f, const PickleValue *root, Error *e)
{
    Walk w = {.f = f, .e = e};
    f->part[0].own = calloc(1, sizeof(Views));
    if (!f->part[0].own) return no_memory(&w);
    if (root->type != PICKLE_DICT)
        return error_set(e, ERROR_INPUT, "%s: expected a dict of tensors, found %s", f->path,
                         pickle_type_name(root));
    for (int depth = 0; depth <= MAX_DEPTH; depth++) {
        const PickleValue *inner = unwrap(&w, root);
        if (!inner) return false;
        if (inner == root) return tensor_file_sort(f, e);
        forget(f);
        root = inner;
    }
    return error_set(e, ERROR_INPUT, "%s: nested deeper than %d levels", f->path, MAX_DEPTH);
}
