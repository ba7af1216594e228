/* The machine: a stack of values, marks on it, and a memo. Opcodes are Python's; those that torch.save does not
 * write are refused. */
#include "data/pickle.h"
#include "data/pickle_parts.h"
#include "tensor/utf8.h"
#include <stdlib.h>
#include <string.h>

/* ---- bytes ---- */

static bool take(Pickle *p, void *dst, uint64_t n)
{
    uint64_t left = p->source->end - p->at;
    if (n > left)
        return pickle_fail(p, "%llu bytes are needed, %llu are left", (unsigned long long)n,
                           (unsigned long long)left);
    if (p->at + n - p->source->begin > PICKLE_BYTES)
        return pickle_fail(p, "a pickle of more than %llu bytes", (unsigned long long)PICKLE_BYTES);
    if (n > sizeof p->buffer / 2) { /* past the buffer */
        if (!p->source->read(p->source->user, p->at, dst, n, p->e)) return false;
    } else {
        if (p->at < p->buffer_at || p->at + n > p->buffer_at + p->buffered) {
            p->buffered = 0;
            size_t fill = left < sizeof p->buffer ? (size_t)left : sizeof p->buffer;
            if (!p->source->read(p->source->user, p->at, p->buffer, fill, p->e)) return false;
            p->buffer_at = p->at;
            p->buffered = fill;
        }
        memcpy(dst, p->buffer + (p->at - p->buffer_at), (size_t)n);
    }
    p->at += n;
    return true;
}

/* A little-endian number of n bytes. */
static bool take_number(Pickle *p, int n, uint64_t *out)
{
    *out = 0;
    return take(p, out, (uint64_t)n);
}

static PickleValue *take_text(Pickle *p, int length_bytes)
{
    uint64_t n;
    if (!take_number(p, length_bytes, &n)) return NULL;
    if (n > p->source->end - p->at) {
        pickle_fail(p, "a text of %llu bytes, %llu are left", (unsigned long long)n,
                    (unsigned long long)(p->source->end - p->at));
        return NULL;
    }
    PickleValue *v = pickle_new(p, PICKLE_TEXT);
    char *text = v ? pickle_alloc(p, n + 1) : NULL;
    if (!text || !take(p, text, n)) return NULL;
    if (utf8_valid_prefix(text, (size_t)n) != n || memchr(text, 0, (size_t)n)) {
        pickle_fail(p, "a text of %llu bytes is not UTF-8 or has a NUL in it", (unsigned long long)n);
        return NULL;
    }
    v->text = text;
    v->size = (uint32_t)n;
    return v;
}

/* Up to the end of the line, which is dropped. */
static bool take_line(Pickle *p, char line[PICKLE_NAME + 1])
{
    for (int i = 0; i <= PICKLE_NAME; i++) {
        if (!take(p, &line[i], 1)) return false;
        if (line[i] == '\n') {
            line[i] = 0;
            return true;
        }
    }
    return pickle_fail(p, "a global's name of more than %d bytes", PICKLE_NAME);
}

/* ---- stack and memo ---- */

static bool grow(Pickle *p, void **list, size_t *room, size_t need, size_t size)
{
    if (need <= *room) return true;
    size_t more = 2 * *room > need ? 2 * *room : need > 32 ? need : 32;
    char *larger = realloc(*list, more * size);
    if (!larger) return pickle_no_memory(p);
    memset(larger + *room * size, 0, (more - *room) * size);
    *list = larger;
    *room = more;
    return true;
}

static bool push(Pickle *p, PickleValue *v)
{
    void *list = p->stack;
    if (!v) return false;
    if (p->n + p->marks >= PICKLE_STACK)
        return pickle_fail(p, "more than %d values on the stack", PICKLE_STACK);
    if (!grow(p, &list, &p->room, p->n + 1, sizeof *p->stack)) return false;
    p->stack = list;
    p->stack[p->n++] = v;
    return true;
}

static bool push_mark(Pickle *p)
{
    void *list = p->mark;
    if (p->n + p->marks >= PICKLE_STACK)
        return pickle_fail(p, "more than %d values on the stack", PICKLE_STACK);
    if (!grow(p, &list, &p->mark_room, p->marks + 1, sizeof *p->mark)) return false;
    p->mark = list;
    p->mark[p->marks++] = p->n;
    return true;
}

/* The top n values, above any mark; they stay. */
static PickleValue **top(Pickle *p, size_t n)
{
    size_t height = p->n - (p->marks ? p->mark[p->marks - 1] : 0);
    if (n <= height) return p->stack + p->n - n;
    pickle_fail(p, "%zu values are needed on the stack, found %zu", n, height);
    return NULL;
}

/* Takes what is above the last mark, and the mark; valid until the next push. */
static PickleValue **pop_mark(Pickle *p, size_t *n)
{
    if (!p->marks) {
        pickle_fail(p, "no mark on the stack");
        return NULL;
    }
    size_t from = p->mark[--p->marks];
    static PickleValue *none;
    *n = p->n - from;
    p->n = from;
    return p->stack ? p->stack + from : &none;
}

static bool memo_put(Pickle *p, uint64_t index)
{
    PickleValue **v = top(p, 1);
    void *list = p->memo;
    if (!v) return false;
    if (index >= PICKLE_MEMO) return pickle_fail(p, "more than %d entries in the memo", PICKLE_MEMO);
    if (index >= p->at - p->source->begin) /* entries are numbered in turn, and each takes a byte at least */
        return pickle_fail(p, "memo entry %llu after %llu bytes", (unsigned long long)index,
                           (unsigned long long)(p->at - p->source->begin));
    if (!grow(p, &list, &p->memo_room, (size_t)index + 1, sizeof *p->memo)) return false;
    p->memo = list;
    p->memo_count += !p->memo[index];
    p->memo[index] = *v;
    return true;
}

static bool memo_get(Pickle *p, uint64_t index)
{
    if (index >= p->memo_room || !p->memo[index])
        return pickle_fail(p, "the memo has no entry %llu", (unsigned long long)index);
    return push(p, p->memo[index]);
}

/* ---- opcodes ---- */

static PickleValue *whole(Pickle *p, PickleType type, int64_t x)
{
    PickleValue *v = pickle_new(p, type);
    if (v) v->whole = x;
    return v;
}

static PickleValue *take_float(Pickle *p)
{
    uint64_t bits;
    PickleValue *v = pickle_new(p, PICKLE_FLOAT);
    if (!v || !take_number(p, 8, &bits)) return NULL;
    bits = __builtin_bswap64(bits);
    memcpy(&v->real, &bits, sizeof bits);
    return v;
}

static PickleValue *take_long(Pickle *p)
{
    uint64_t n, bits = 0;
    if (!take_number(p, 1, &n)) return NULL;
    if (n > 8) {
        PickleValue *v = pickle_new(p, PICKLE_LONG);
        if (v) v->text = pickle_alloc(p, n);
        if (!v || !v->text || !take(p, v->text, n)) return NULL;
        v->size = (uint32_t)n;
        return v;
    }
    if (!take(p, &bits, n)) return NULL;
    if (n && n < 8 && bits >> (8 * n - 1)) bits |= UINT64_MAX << (8 * n); /* the sign */
    return whole(p, PICKLE_INT, (int64_t)bits);
}

static bool push_tuple(Pickle *p, PickleValue **item, size_t n)
{
    PickleValue *v = pickle_new(p, PICKLE_TUPLE);
    if (!v) return false;
    v->item = pickle_alloc(p, n * sizeof *item);
    if (!v->item) return false;
    if (n) memcpy(v->item, item, n * sizeof *item);
    v->size = v->room = (uint32_t)n;
    return push(p, v);
}

static bool top_tuple(Pickle *p, size_t n)
{
    PickleValue **item = top(p, n);
    if (!item) return false;
    p->n -= n;
    return push_tuple(p, item, n);
}

/* Puts n values from `item` into the list or dict below them. */
static bool put_into(Pickle *p, PickleType type, PickleValue **item, size_t n)
{
    PickleValue **into = top(p, 1);
    if (!into) return false;
    if ((*into)->type != type)
        return pickle_fail(p, "an item for %s, found %s", type == PICKLE_LIST ? "a list" : "a dict",
                           pickle_type_name(*into));
    if (type == PICKLE_DICT && n % 2) return pickle_fail(p, "%zu keys and values, expected pairs", n);
    for (size_t i = 0; i < n; i += type == PICKLE_DICT ? 2 : 1)
        if (type == PICKLE_DICT ? !pickle_set(p, *into, item[i], item[i + 1])
                                : !pickle_append(p, *into, item[i]))
            return false;
    return true;
}

static bool put_top(Pickle *p, PickleType type, size_t n)
{
    PickleValue **item = top(p, n + 1);
    if (!item) return false;
    p->n -= n;
    return put_into(p, type, item + 1, n);
}

static bool put_marked(Pickle *p, PickleType type)
{
    size_t n;
    PickleValue **item = pop_mark(p, &n);
    return item && put_into(p, type, item, n);
}

static bool take_global(Pickle *p)
{
    char module[PICKLE_NAME + 1], name[PICKLE_NAME + 1];
    return take_line(p, module) && take_line(p, name) && push(p, pickle_global(p, module, name));
}

static bool stack_global(Pickle *p)
{
    PickleValue **v = top(p, 2);
    if (!v) return false;
    if (v[0]->type != PICKLE_TEXT || v[1]->type != PICKLE_TEXT)
        return pickle_fail(p, "a global is named by %s and %s, expected texts", pickle_type_name(v[0]),
                           pickle_type_name(v[1]));
    p->n -= 2;
    return push(p, pickle_global(p, v[0]->text, v[1]->text));
}

static bool call(Pickle *p)
{
    PickleValue **v = top(p, 2);
    if (!v) return false;
    p->n -= 2;
    return push(p, pickle_call(p, v[0], v[1]));
}

static bool build(Pickle *p)
{
    PickleValue **v = top(p, 2);
    if (!v || !pickle_build(p, v[0], v[1])) return false;
    p->n--;
    return true;
}

static bool persistent(Pickle *p)
{
    PickleValue **v = top(p, 1);
    if (!v) return false;
    p->n--;
    return push(p, pickle_storage(p, v[0]));
}

static bool take_frame(Pickle *p)
{
    uint64_t n;
    if (!take_number(p, 8, &n)) return false;
    return n <= p->source->end - p->at ||
           pickle_fail(p, "a frame of %llu bytes, %llu are left", (unsigned long long)n,
                       (unsigned long long)(p->source->end - p->at));
}

static bool refuse(Pickle *p, uint8_t op)
{
    if (op > ' ' && op < 127) return pickle_fail(p, "opcode '%c' is not one of torch.save's", op);
    return pickle_fail(p, "opcode 0x%02x is not one of torch.save's", (unsigned)op);
}

/* Those that read a number behind the opcode. */
static bool run_numbered(Pickle *p, uint8_t op)
{
    uint64_t x;
    int bytes = op == 'J' || op == 'r' || op == 'j' ? 4 : op == 'M' ? 2 : 1;
    if (!take_number(p, bytes, &x)) return false;
    switch (op) {
    case 'J': return push(p, whole(p, PICKLE_INT, (int32_t)x));
    case 'K':
    case 'M': return push(p, whole(p, PICKLE_INT, (int64_t)x));
    case 'q':
    case 'r': return memo_put(p, x);
    default: return memo_get(p, x); /* h j */
    }
}

static bool run(Pickle *p, uint8_t op)
{
    size_t n;
    PickleValue **item;
    switch (op) {
    case '(': return push_mark(p);
    case ')': return push_tuple(p, NULL, 0);
    case 't': return (item = pop_mark(p, &n)) && push_tuple(p, item, n);
    case 0x85:
    case 0x86:
    case 0x87: return top_tuple(p, (size_t)op - 0x84);
    case ']': return push(p, pickle_new(p, PICKLE_LIST));
    case '}': return push(p, pickle_new(p, PICKLE_DICT));
    case 'a': return put_top(p, PICKLE_LIST, 1);
    case 'e': return put_marked(p, PICKLE_LIST);
    case 's': return put_top(p, PICKLE_DICT, 2);
    case 'u': return put_marked(p, PICKLE_DICT);
    case 'N': return push(p, pickle_new(p, PICKLE_NONE));
    case 0x88:
    case 0x89: return push(p, whole(p, PICKLE_BOOL, op == 0x88));
    case 'J':
    case 'K':
    case 'M':
    case 'q':
    case 'r':
    case 'h':
    case 'j': return run_numbered(p, op);
    case 0x8a: return push(p, take_long(p));
    case 'G': return push(p, take_float(p));
    case 'X': return push(p, take_text(p, 4));
    case 'U': /* Python 2's */
    case 0x8c: return push(p, take_text(p, 1));
    case 0x94: return memo_put(p, p->memo_count);
    case 'c': return take_global(p);
    case 0x93: return stack_global(p);
    case 'R':
    case 0x81: return call(p);
    case 'b': return build(p);
    case 'Q': return persistent(p);
    case 0x95: return take_frame(p);
    default: return refuse(p, op);
    }
}

static bool run_all(Pickle *p)
{
    uint8_t op, protocol;
    if (!take(p, &op, 1)) return false;
    if (op != 0x80) return pickle_fail(p, "begins with byte 0x%02x, expected a pickle's 0x80", (unsigned)op);
    if (!take(p, &protocol, 1)) return false;
    if (protocol < 2 || protocol > 4) return pickle_fail(p, "pickle protocol %d, expected 2 to 4", protocol);
    for (;;) {
        p->op_at = p->at;
        if (!take(p, &op, 1)) return false;
        if (op == '.') break;
        if (!run(p, op)) return false;
    }
    if (p->marks || p->n != 1)
        return pickle_fail(p, "ends with %zu values and %zu marks on the stack, expected one value", p->n,
                           p->marks);
    p->root = p->stack[0];
    return true;
}

Pickle *pickle_read(const PickleSource *source, uint64_t *next, Error *e)
{
    Pickle *p = calloc(1, sizeof *p);
    if (!p) {
        error_set(e, ERROR_MEMORY, "%s: out of memory reading a pickle", source->what);
        return NULL;
    }
    p->source = source;
    p->e = e;
    p->at = p->op_at = source->begin;
    bool ok = run_all(p);
    if (ok && next) *next = p->at;
    free(p->stack);
    free(p->mark);
    free(p->memo);
    p->stack = p->memo = NULL;
    p->mark = NULL;
    p->source = NULL;
    p->e = NULL;
    if (ok) return p;
    pickle_free(p);
    return NULL;
}
