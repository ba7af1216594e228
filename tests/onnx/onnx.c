#include "tests/onnx/onnx.h"
#include "tensor/checked.h"
#include "tensor/half.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct PoolBlock {
    struct PoolBlock *before;
    _Alignas(16) unsigned char bytes[];
};

void *pool_take(Pool *p, size_t n, size_t bytes)
{
    struct PoolBlock *b = n > (SIZE_MAX >> 1) / bytes ? NULL : calloc(1, sizeof *b + n * bytes);
    if (!b) die("no memory for %zu times %zu bytes", n, bytes);
    b->before = p->last;
    p->last = b;
    return b->bytes;
}

void pool_clear(Pool *p)
{
    while (p->last) {
        struct PoolBlock *b = p->last;
        p->last = b->before;
        free(b);
    }
}

bool text_is(Text a, const char *b) { return a.n == strlen(b) && !memcmp(a.at, b, a.n); }
bool text_same(Text a, Text b) { return a.n == b.n && !memcmp(a.at, b.at, a.n); }

/* Bytes of an element of raw_data, and the number of the field that holds it otherwise. */
static const struct {
    const char *name;
    unsigned bytes, field;
    bool real;
} types[ONNX_TYPES] = {
    [1] = {"float", 4, 4, true},    [2] = {"uint8", 1, 5},
    [3] = {"int8", 1, 5},           [4] = {"uint16", 2, 5},
    [5] = {"int16", 2, 5},          [6] = {"int32", 4, 5},
    [7] = {"int64", 8, 7},          [8] = {"string"},
    [9] = {"bool", 1, 5},           [10] = {"float16", 2, 5, true},
    [11] = {"double", 8, 10, true}, [12] = {"uint32", 4, 11},
    [13] = {"uint64", 8, 11},
};

const char *onnx_type_name(int type)
{
    return type > 0 && type < ONNX_TYPES && types[type].name ? types[type].name : "unknown";
}

bool onnx_is_real(int type) { return type > 0 && type < ONNX_TYPES && types[type].real; }

/* ---- the wire format ---- */

typedef struct Reader {
    const char *path;
    const uint8_t *base;
    Pool *pool;
    Error *e;
} Reader;

typedef struct Span {
    const uint8_t *at, *end;
} Span;

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

typedef struct Field {
    uint64_t number, value; /* value: of VARINT and the fixed ones */
    int wire;
    const uint8_t *at; /* where it begins */
    Span bytes;        /* of BYTES */
} Field;

__attribute__((format(printf, 3, 4))) static bool fail(const Reader *r, const uint8_t *at, const char *format,
                                                       ...)
{
    char what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return error_set(r->e, ERROR_INPUT, "%s: byte %zu: %s", r->path, (size_t)(at - r->base), what);
}

static bool varint(const Reader *r, Span *s, uint64_t *value)
{
    const uint8_t *from = s->at;
    *value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
        if (s->at == s->end) return fail(r, from, "the number is cut off");
        uint8_t byte = *s->at++;
        if (shift == 63 && byte > 1) break;
        *value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return true;
    }
    return fail(r, from, "a number of more than 64 bits");
}

static uint64_t little_endian(const uint8_t *at, unsigned bytes)
{
    uint64_t bits = 0;
    for (unsigned i = 0; i < bytes; i++) bits |= (uint64_t)at[i] << 8 * i;
    return bits;
}

/* The next field of a message that is not at its end. */
static bool next(const Reader *r, Span *s, Field *f)
{
    const uint8_t *from = s->at;
    uint64_t tag, bytes = 0;
    if (!varint(r, s, &tag)) return false;
    *f = (Field){.number = tag >> 3, .wire = (int)(tag & 7), .at = from};
    if (f->wire == VARINT) return varint(r, s, &f->value);
    if (f->wire == FIXED64)
        bytes = 8;
    else if (f->wire == FIXED32)
        bytes = 4;
    else if (f->wire != BYTES)
        return fail(r, from, "field %llu is of wire type %d", (unsigned long long)f->number, f->wire);
    else if (!varint(r, s, &bytes))
        return false;
    size_t left = (size_t)(s->end - s->at);
    if (bytes > left)
        return fail(r, from, "field %llu has %llu bytes, but %zu are left", (unsigned long long)f->number,
                    (unsigned long long)bytes, left);
    f->bytes = (Span){s->at, s->at + bytes};
    if (f->wire != BYTES) f->value = little_endian(s->at, (unsigned)bytes);
    s->at += bytes;
    return true;
}

static bool of_wire(const Reader *r, const Field *f, int wire, const char *what)
{
    return f->wire == wire || fail(r, f->at, "%s is of wire type %d, expected %d", what, f->wire, wire);
}

static bool text_of(const Reader *r, const Field *f, const char *what, Text *t)
{
    if (!of_wire(r, f, BYTES, what)) return false;
    *t = (Text){(const char *)f->bytes.at, (size_t)(f->bytes.end - f->bytes.at)};
    return true;
}

/* One more of a list. */
static bool room(const Reader *r, const Field *f, int *n, int most, const char *what)
{
    if (*n == most) return fail(r, f->at, "more than %d %s", most, what);
    return ++*n, true;
}

static bool texts_of(const Reader *r, const Field *f, const char *what, Text *list, int *n)
{
    return room(r, f, n, ONNX_LIST, what) && text_of(r, f, what, &list[*n - 1]);
}

/* A repeated varint: one of it, or several packed. */
static bool ints_of(const Reader *r, const Field *f, const char *what, int64_t *list, int *n, int most)
{
    if (f->wire == VARINT) {
        if (!room(r, f, n, most, what)) return false;
        list[*n - 1] = (int64_t)f->value;
        return true;
    }
    if (!of_wire(r, f, BYTES, what)) return false;
    for (Span s = f->bytes; s.at < s.end;) {
        uint64_t value;
        if (!room(r, f, n, most, what) || !varint(r, &s, &value)) return false;
        list[*n - 1] = (int64_t)value;
    }
    return true;
}

/* ---- TensorProto ---- */

static void store(Value *v, int64_t at, uint64_t bits)
{
    uint32_t low = (uint32_t)bits;
    double wide;
    switch (v->type) {
    case ONNX_FLOAT: memcpy(&v->f[at], &low, sizeof low); break;
    case ONNX_FLOAT16: v->f[at] = half_to_float((uint16_t)bits); break;
    case ONNX_DOUBLE:
        memcpy(&wide, &bits, sizeof wide);
        v->f[at] = (float)wide;
        if (wide != 0 && !isnormal(v->f[at])) v->beyond = true;
        break;
    case 2: v->i[at] = (uint8_t)bits; break;
    case 3: v->i[at] = (int8_t)bits; break;
    case 4: v->i[at] = (uint16_t)bits; break;
    case 5: v->i[at] = (int16_t)bits; break;
    case 6: v->i[at] = (int32_t)bits; break;
    case 12: v->i[at] = low; break;
    case ONNX_BOOL: v->i[at] = bits != 0; break;
    default: v->i[at] = (int64_t)bits;
    }
}

/* The elements of one of the typed fields: counted, and with `v` stored from *n on. */
static bool typed(const Reader *r, const Field *f, unsigned bytes, Value *v, int64_t *n)
{
    if (f->wire != BYTES) {
        if (f->wire != (bytes == 4 ? FIXED32 : bytes == 8 ? FIXED64 : VARINT))
            return fail(r, f->at, "elements are of wire type %d", f->wire);
        if (v) store(v, *n, f->value);
        return ++*n, true;
    }
    for (Span s = f->bytes; s.at < s.end; ++*n) {
        uint64_t bits;
        if (!bytes) {
            if (!varint(r, &s, &bits)) return false;
        } else {
            if ((size_t)(s.end - s.at) < bytes) return fail(r, s.at, "the last element is cut off");
            bits = little_endian(s.at, bytes);
            s.at += bytes;
        }
        if (v) store(v, *n, bits);
    }
    return true;
}

/* Of fields 4 and 10, whose elements are not varints. */
static unsigned fixed_bytes(uint64_t field) { return field == 4 ? 4 : field == 10 ? 8 : 0; }

static bool elements(const Reader *r, Span message, Span raw, Value *v)
{
    const unsigned bytes = types[v->type].bytes, field = types[v->type].field;
    int64_t n = 0;
    Field f;
    uint64_t count;
    if (!u64_product(v->dim, v->ndim, &count) || count > INT64_MAX)
        return fail(r, message.at, "dims are negative, or too large together");
    v->n = (int64_t)count;
    if (raw.at)
        n = (raw.end - raw.at) / (int64_t)bytes;
    else
        for (Span s = message; s.at < s.end;) {
            if (!next(r, &s, &f)) return false;
            if (f.number == field && !typed(r, &f, fixed_bytes(field), NULL, &n)) return false;
        }
    if (n != v->n || (raw.at && (raw.end - raw.at) % bytes))
        return fail(r, message.at, "its dims say %lld elements of %s, found %lld%s", (long long)v->n,
                    types[v->type].name, (long long)n, n == v->n ? " and a part of one" : "");
    if (types[v->type].real)
        v->f = pool_take(r->pool, (size_t)n + 1, sizeof *v->f);
    else
        v->i = pool_take(r->pool, (size_t)n + 1, sizeof *v->i);
    if (raw.at) {
        for (int64_t i = 0; i < n; i++) store(v, i, little_endian(raw.at + i * bytes, bytes));
        return true;
    }
    n = 0;
    for (Span s = message; s.at < s.end;)
        if (!next(r, &s, &f) || (f.number == field && !typed(r, &f, fixed_bytes(field), v, &n))) return false;
    return true;
}

static bool tensor(const Reader *r, Span message, Value *v)
{
    Span raw = {0};
    *v = (Value){0};
    for (Span s = message; s.at < s.end;) {
        Field f;
        bool ok = next(r, &s, &f);
        if (ok && f.number == 1)
            ok = ints_of(r, &f, "dims", v->dim, &v->ndim, ONNX_DIMS);
        else if (ok && f.number == 2)
            ok = of_wire(r, &f, VARINT, "data_type"), v->type = f.value < ONNX_TYPES ? (int)f.value : 0;
        else if (ok && f.number == 8)
            ok = text_of(r, &f, "the name", &v->name);
        else if (ok && f.number == 9)
            ok = of_wire(r, &f, BYTES, "raw_data"), raw = f.bytes;
        if (!ok) return false;
    }
    if (!types[v->type].bytes) return fail(r, message.at, "elements of type %s", onnx_type_name(v->type));
    return elements(r, message, raw, v);
}

/* ---- ModelProto ---- */

static bool attribute(const Reader *r, Span s, OnnxAttr *a)
{
    while (s.at < s.end) {
        Field f;
        uint32_t bits;
        if (!next(r, &s, &f)) return false;
        switch (f.number) {
        case 1:
            if (!text_of(r, &f, "an attribute's name", &a->name)) return false;
            break;
        case 2:
            if (!of_wire(r, &f, FIXED32, "a float")) return false;
            bits = (uint32_t)f.value;
            memcpy(&a->f, &bits, sizeof bits);
            break;
        case 3:
            if (!of_wire(r, &f, VARINT, "an int")) return false;
            a->i = (int64_t)f.value;
            break;
        case 4:
            if (!text_of(r, &f, "a string", &a->s)) return false;
            break;
        case 5:
            a->t = pool_take(r->pool, 1, sizeof *a->t);
            if (!of_wire(r, &f, BYTES, "a tensor") || !tensor(r, f.bytes, a->t)) return false;
            break;
        case 8:
            if (!ints_of(r, &f, "ints", a->ints, &a->n_ints, ONNX_LIST)) return false;
            break;
        default: break;
        }
    }
    return true;
}

static bool node(const Reader *r, Span s, OnnxNode *n)
{
    while (s.at < s.end) {
        Field f;
        bool ok = next(r, &s, &f);
        if (ok && f.number == 1)
            ok = texts_of(r, &f, "inputs of a node", n->in, &n->n_in);
        else if (ok && f.number == 2)
            ok = texts_of(r, &f, "outputs of a node", n->out, &n->n_out);
        else if (ok && f.number == 4)
            ok = text_of(r, &f, "op_type", &n->type);
        else if (ok && f.number == 5)
            ok = of_wire(r, &f, BYTES, "an attribute") &&
                 room(r, &f, &n->n_attr, ONNX_LIST, "attributes of a node") &&
                 attribute(r, f.bytes, &n->attr[n->n_attr - 1]);
        if (!ok) return false;
    }
    return true;
}

/* Of a ValueInfoProto only the name. */
static bool name_of(const Reader *r, const Field *of, const char *what, Text *list, int *n)
{
    if (!of_wire(r, of, BYTES, what) || !room(r, of, n, ONNX_LIST, what)) return false;
    for (Span s = of->bytes; s.at < s.end;) {
        Field f;
        if (!next(r, &s, &f) || (f.number == 1 && !text_of(r, &f, what, &list[*n - 1]))) return false;
    }
    return true;
}

static bool graph(const Reader *r, Span s, OnnxModel *m)
{
    while (s.at < s.end) {
        Field f;
        bool ok = next(r, &s, &f);
        if (ok && f.number == 1)
            ok = of_wire(r, &f, BYTES, "a node") && room(r, &f, &m->n_nodes, ONNX_NODES, "nodes") &&
                 node(r, f.bytes, &m->node[m->n_nodes - 1]);
        else if (ok && f.number == 5)
            ok = of_wire(r, &f, BYTES, "an initialiser") &&
                 room(r, &f, &m->n_init, ONNX_LIST, "initialisers") &&
                 tensor(r, f.bytes, &m->init[m->n_init - 1]);
        else if (ok && f.number == 11)
            ok = name_of(r, &f, "inputs", m->in, &m->n_in);
        else if (ok && f.number == 12)
            ok = name_of(r, &f, "outputs", m->out, &m->n_out);
        if (!ok) return false;
    }
    return true;
}

static bool opset(const Reader *r, Span s, OnnxModel *m)
{
    Text domain = {"", 0};
    int64_t version = 0;
    while (s.at < s.end) {
        Field f;
        if (!next(r, &s, &f)) return false;
        if (f.number == 1 && !text_of(r, &f, "a domain", &domain)) return false;
        if (f.number == 2) version = (int64_t)f.value;
    }
    if (!domain.n || text_is(domain, "ai.onnx")) m->opset = version;
    return true;
}

bool onnx_model(const char *path, const uint8_t *bytes, size_t n, Pool *pool, OnnxModel *m, Error *e)
{
    const Reader r = {path, bytes, pool, e};
    *m = (OnnxModel){.node = pool_take(pool, ONNX_NODES, sizeof *m->node),
                     .init = pool_take(pool, ONNX_LIST, sizeof *m->init)};
    for (Span s = {bytes, bytes + n}; s.at < s.end;) {
        Field f;
        bool ok = next(&r, &s, &f);
        if (ok && f.number == 7)
            ok = of_wire(&r, &f, BYTES, "the graph") && graph(&r, f.bytes, m);
        else if (ok && f.number == 8)
            ok = of_wire(&r, &f, BYTES, "opset_import") && opset(&r, f.bytes, m);
        if (!ok) return false;
    }
    return m->n_nodes > 0 || fail(&r, bytes, "a model without nodes");
}

bool onnx_tensor(const char *path, const uint8_t *bytes, size_t n, Pool *pool, Value *v, Error *e)
{
    const Reader r = {path, bytes, pool, e};
    return tensor(&r, (Span){bytes, bytes + n}, v);
}
