/* What the pickles of torch.save name, and what is made of it. A storage is ("storage", type, key, device,
 * numel), in older files with None or (key, from, size) of a view behind it; a tensor is one of
 *
 *     _rebuild_tensor    (storage, offset, size, stride)
 *     _rebuild_tensor_v2 (storage, offset, size, stride, requires_grad, hooks[, metadata])
 *     _rebuild_tensor_v3 (storage, offset, size, stride, requires_grad, hooks, dtype[, metadata])
 *
 * the last for dtypes that have no storage class of their own. */
#include "data/pickle.h"
#include "data/pickle_parts.h"
#include "tensor/checked.h"
#include <string.h>

enum { MOST_METADATA = 64 };
typedef enum { TENSOR_V1, TENSOR_V2, TENSOR_V3, PARAMETER, ORDERED_DICT, STORAGE, UNTYPED, TYPE } Kind;

static const struct {
    const char *module, *name;
    Kind kind;
    StDType dtype;
} globals[] = {
    {"torch._utils", "_rebuild_tensor", TENSOR_V1, 0},
    {"torch._utils", "_rebuild_tensor_v2", TENSOR_V2, 0},
    {"torch._utils", "_rebuild_tensor_v3", TENSOR_V3, 0},
    {"torch._utils", "_rebuild_parameter", PARAMETER, 0},
    {"torch.nn.parameter", "Parameter", PARAMETER, 0},
    {"collections", "OrderedDict", ORDERED_DICT, 0},
    {"torch", "DoubleStorage", STORAGE, ST_F64},
    {"torch", "FloatStorage", STORAGE, ST_F32},
    {"torch", "HalfStorage", STORAGE, ST_F16},
    {"torch", "BFloat16Storage", STORAGE, ST_BF16},
    {"torch", "LongStorage", STORAGE, ST_I64},
    {"torch", "IntStorage", STORAGE, ST_I32},
    {"torch", "ShortStorage", STORAGE, ST_I16},
    {"torch", "CharStorage", STORAGE, ST_I8},
    {"torch", "ByteStorage", STORAGE, ST_U8},
    {"torch", "BoolStorage", STORAGE, ST_BOOL},
    {"torch.storage", "UntypedStorage", UNTYPED, ST_U8},
    {"torch", "float64", TYPE, ST_F64},
    {"torch", "float32", TYPE, ST_F32},
    {"torch", "float16", TYPE, ST_F16},
    {"torch", "bfloat16", TYPE, ST_BF16},
    {"torch", "int64", TYPE, ST_I64},
    {"torch", "int32", TYPE, ST_I32},
    {"torch", "int16", TYPE, ST_I16},
    {"torch", "int8", TYPE, ST_I8},
    {"torch", "uint64", TYPE, ST_U64},
    {"torch", "uint32", TYPE, ST_U32},
    {"torch", "uint16", TYPE, ST_U16},
    {"torch", "uint8", TYPE, ST_U8},
    {"torch", "bool", TYPE, ST_BOOL},
    {"torch", "float8_e4m3fn", TYPE, ST_F8_E4M3},
    {"torch", "float8_e5m2", TYPE, ST_F8_E5M2},
};

PickleValue *pickle_global(Pickle *p, const char *module, const char *name)
{
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
        if (strcmp(module, globals[i].module) || strcmp(name, globals[i].name)) continue;
        PickleValue *v = pickle_new(p, PICKLE_GLOBAL);
        if (v) v->global = (uint8_t)i;
        return v;
    }
    pickle_fail(p, "global %.80s.%.80s is not allowed", module, name);
    return NULL;
}

static bool is_global(const PickleValue *v, Kind kind)
{
    return v->type == PICKLE_GLOBAL && globals[v->global].kind == kind;
}

static void wrong(Pickle *p, const char *what, const char *expected, const PickleValue *found)
{
    pickle_fail(p, "%s: expected %s, found %s", what, expected, pickle_type_name(found));
}

/* A whole number from 0 up. */
static bool count_of(Pickle *p, const char *what, const PickleValue *v, uint64_t *out)
{
    if (v->type != PICKLE_INT) {
        wrong(p, what, "a whole number", v);
        return false;
    }
    if (v->whole < 0) return pickle_fail(p, "%s: %lld is less than 0", what, (long long)v->whole);
    *out = (uint64_t)v->whole;
    return true;
}

/* ---- storages ---- */

/* The part of a storage that a view is. */
static bool read_view(Pickle *p, const PickleValue *view, PickleStorage *s)
{
    uint64_t end;
    if (view->type == PICKLE_NONE) return true;
    if (view->type != PICKLE_TUPLE || view->size != 3)
        return pickle_fail(p, "a storage's view: expected 3 values");
    if (!count_of(p, "a view's offset", view->item[1], &s->from) ||
        !count_of(p, "a view's size", view->item[2], &s->size))
        return false;
    if (!u64_add(s->from, s->size, &end) || end > s->total)
        return pickle_fail(p, "a view of %llu elements from %llu of a storage of %llu",
                           (unsigned long long)s->size, (unsigned long long)s->from,
                           (unsigned long long)s->total);
    return true;
}

PickleValue *pickle_storage(Pickle *p, const PickleValue *id)
{
    if (id->type != PICKLE_TUPLE || id->size < 5 || id->size > 6 || id->item[0]->type != PICKLE_TEXT ||
        strcmp(id->item[0]->text, "storage")) {
        pickle_fail(p, "a persistent id: expected (\"storage\", type, key, device, numel)");
        return NULL;
    }
    PickleValue *type = id->item[1], *key = id->item[2], *v = pickle_new(p, PICKLE_STORAGE);
    PickleStorage *s = v ? pickle_alloc(p, sizeof *s) : NULL;
    uint64_t bytes;
    if (!s) return NULL;
    if (!is_global(type, STORAGE) && !is_global(type, UNTYPED)) {
        wrong(p, "a storage's type", "a storage class", type);
        return NULL;
    }
    if (key->type != PICKLE_TEXT) {
        wrong(p, "a storage's key", "a text", key);
        return NULL;
    }
    if (key->size > PICKLE_NAME) {
        pickle_fail(p, "a storage's key of %u bytes, expected at most %d", key->size, PICKLE_NAME);
        return NULL;
    }
    if (!count_of(p, "a storage's numel", id->item[4], &s->total)) return NULL;
    s->key = key->text;
    s->dtype = globals[type->global].dtype;
    s->size = s->total;
    if (!u64_mul(s->total, st_dtype_size(s->dtype), &bytes) || bytes > INT64_MAX) {
        pickle_fail(p, "a storage of %llu elements", (unsigned long long)s->total);
        return NULL;
    }
    if (id->size == 6 && !read_view(p, id->item[5], s)) return NULL;
    s->next = p->storages;
    p->storages = s;
    v->storage = s;
    v->global = type->global;
    return v;
}

/* ---- tensors ---- */

/* A size or stride: a tuple of whole numbers. */
static bool read_dims(Pickle *p, const char *what, const PickleValue *v, int *ndim, int64_t dim[8])
{
    uint64_t x = 0;
    if (v->type != PICKLE_TUPLE) {
        wrong(p, what, "a tuple", v);
        return false;
    }
    if (v->size > 8) return pickle_fail(p, "%s: %u dims, expected at most 8", what, v->size);
    for (uint32_t i = 0; i < v->size; i++) {
        if (!count_of(p, what, v->item[i], &x)) return false;
        dim[i] = (int64_t)x;
    }
    *ndim = (int)v->size;
    return true;
}

/* Elements of the shape, and from the first to the last of them. */
static bool measure(PickleTensor *t)
{
    if (!u64_product(t->dim, t->ndim, &t->elements)) return false;
    t->span = t->elements ? 1 : 0;
    for (int i = 0; t->elements && i < t->ndim; i++) {
        uint64_t reach;
        if (!u64_mul((uint64_t)(t->dim[i] - 1), (uint64_t)t->stride[i], &reach) ||
            !u64_add(t->span, reach, &t->span))
            return false;
    }
    return true;
}

/* Every element lies in the storage, and there are no more of them than it has: no shape is larger than the
 * file. */
static bool check_bounds(Pickle *p, PickleTensor *t)
{
    const PickleStorage *s = t->storage;
    uint64_t room = s->size * st_dtype_size(s->dtype) / st_dtype_size(t->dtype), end;
    uint64_t from = s->from * st_dtype_size(s->dtype) / st_dtype_size(t->dtype);
    if (!measure(t)) return pickle_fail(p, "a tensor whose shape or stride has no end");
    if (t->elements > room)
        return pickle_fail(p, "a tensor of %llu elements in a storage of %llu", (unsigned long long)t->elements,
                           (unsigned long long)room);
    if (!u64_add(t->offset, t->span, &end) || end > room)
        return pickle_fail(p, "a tensor from element %llu over %llu in a storage of %llu",
                           (unsigned long long)t->offset, (unsigned long long)t->span,
                           (unsigned long long)room);
    t->offset += from;
    return true;
}

/* Bits that a view may carry instead of changing its values. */
static bool check_metadata(Pickle *p, const PickleValue *meta)
{
    if (meta->type != PICKLE_NONE && meta->type != PICKLE_DICT) {
        wrong(p, "a tensor's metadata", "a dict", meta);
        return false;
    }
    if (meta->type == PICKLE_DICT && meta->size > 2 * MOST_METADATA) /* it is searched for every tensor */
        return pickle_fail(p, "a tensor's metadata: %u entries, expected at most %d", meta->size / 2,
                           MOST_METADATA);
    if (pickle_get(meta, "neg") || pickle_get(meta, "conj"))
        return pickle_fail(p, "a tensor's metadata: lazy negation and conjugation are not read");
    return true;
}

static PickleValue *make_tensor(Pickle *p, Kind kind, const PickleValue *a)
{
    const uint32_t least = kind == TENSOR_V1 ? 4 : kind == TENSOR_V2 ? 6 : 7;
    if (a->size < least || a->size > least + (kind != TENSOR_V1)) {
        pickle_fail(p, "a tensor of %u arguments, expected %u", a->size, least);
        return NULL;
    }
    PickleValue *v = pickle_new(p, PICKLE_TENSOR);
    PickleTensor *t = v ? pickle_alloc(p, sizeof *t) : NULL;
    int strides;
    if (!t) return NULL;
    if (a->item[0]->type != PICKLE_STORAGE) {
        wrong(p, "a tensor's storage", "a storage", a->item[0]);
        return NULL;
    }
    t->storage = a->item[0]->storage;
    t->dtype = t->storage->dtype;
    bool untyped = globals[a->item[0]->global].kind == UNTYPED;
    if (untyped != (kind == TENSOR_V3)) {
        pickle_fail(p, "a tensor's storage is %s",
                    untyped ? "untyped, and no dtype is given" : "typed already");
        return NULL;
    }
    if (kind == TENSOR_V3) {
        if (!is_global(a->item[6], TYPE)) {
            wrong(p, "a tensor's dtype", "a dtype", a->item[6]);
            return NULL;
        }
        t->dtype = globals[a->item[6]->global].dtype;
    }
    if (!count_of(p, "a tensor's offset", a->item[1], &t->offset) ||
        !read_dims(p, "a tensor's size", a->item[2], &t->ndim, t->dim) ||
        !read_dims(p, "a tensor's stride", a->item[3], &strides, t->stride))
        return NULL;
    if (strides != t->ndim) {
        pickle_fail(p, "a tensor of %d dims and %d strides", t->ndim, strides);
        return NULL;
    }
    if (!check_bounds(p, t) || (a->size > least && !check_metadata(p, a->item[least]))) return NULL;
    v->tensor = t;
    return v;
}

/* Empty, or of one list of pairs, as Python 2 wrote it. */
static PickleValue *make_dict(Pickle *p, const PickleValue *a)
{
    PickleValue *v = pickle_new(p, PICKLE_DICT);
    if (!v || !a->size) return v;
    if (a->size != 1 || a->item[0]->type != PICKLE_LIST) {
        pickle_fail(p, "an OrderedDict: expected no argument or a list of pairs");
        return NULL;
    }
    const PickleValue *list = a->item[0];
    for (uint32_t i = 0; i < list->size; i++) {
        const PickleValue *pair = list->item[i];
        if ((pair->type != PICKLE_LIST && pair->type != PICKLE_TUPLE) || pair->size != 2) {
            pickle_fail(p, "an OrderedDict: item %u is not a pair", i);
            return NULL;
        }
        if (!pickle_set(p, v, pair->item[0], pair->item[1])) return NULL;
    }
    return v;
}

PickleValue *pickle_call(Pickle *p, const PickleValue *callable, const PickleValue *a)
{
    if (callable->type != PICKLE_GLOBAL || a->type != PICKLE_TUPLE) {
        pickle_fail(p, "a call of %s with %s, expected a global and a tuple", pickle_type_name(callable),
                    pickle_type_name(a));
        return NULL;
    }
    switch (globals[callable->global].kind) {
    case TENSOR_V1:
    case TENSOR_V2:
    case TENSOR_V3: return make_tensor(p, globals[callable->global].kind, a);
    case ORDERED_DICT: return make_dict(p, a);
    case PARAMETER:
        if (a->size >= 1 && a->size <= 3 && a->item[0]->type == PICKLE_TENSOR) return a->item[0];
        pickle_fail(p, "a Parameter: expected a tensor");
        return NULL;
    case STORAGE:
    case UNTYPED:
    case TYPE: break;
    }
    pickle_fail(p, "global %s.%s is no function", globals[callable->global].module,
                globals[callable->global].name);
    return NULL;
}

bool pickle_build(Pickle *p, const PickleValue *object, const PickleValue *state)
{
    bool attributes = object->type == PICKLE_DICT && state->type == PICKLE_DICT; /* _metadata of a module */
    bool flags =
        object->type == PICKLE_TENSOR && state->type == PICKLE_TUPLE && state->size == 3; /* a Parameter's */
    if (attributes || flags) return true;
    return pickle_fail(p, "BUILD: %s with %s", pickle_type_name(object), pickle_type_name(state));
}
