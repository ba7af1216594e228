/* The values: they live in chunks and are freed together. */
#include "data/pickle.h"
#include "data/pickle_parts.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct PickleChunk {
    PickleChunk *next;
    size_t used, size;
    _Alignas(16) char bytes[];
};

bool pickle_fail(Pickle *p, const char *format, ...)
{
    char text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return error_set(p->e, ERROR_INPUT, "%s: byte %llu: %s", p->source->what, (unsigned long long)p->op_at,
                     text);
}

bool pickle_no_memory(Pickle *p)
{
    return error_set(p->e, ERROR_MEMORY, "%s: out of memory reading a pickle", p->source->what);
}

void *pickle_alloc(Pickle *p, uint64_t bytes)
{
    enum { CHUNK = 4000 };
    bytes = (bytes + 15) & ~(uint64_t)15;
    if (bytes > PICKLE_MEMORY - p->memory) {
        pickle_fail(p, "its values take more than %llu bytes", (unsigned long long)PICKLE_MEMORY);
        return NULL;
    }
    if (!p->chunk || p->chunk->size - p->chunk->used < bytes) {
        size_t size = bytes > CHUNK ? (size_t)bytes : CHUNK;
        PickleChunk *chunk = calloc(1, sizeof *chunk + size);
        if (!chunk) {
            pickle_no_memory(p);
            return NULL;
        }
        chunk->size = size;
        chunk->next = p->chunk;
        p->chunk = chunk;
    }
    void *memory = p->chunk->bytes + p->chunk->used;
    p->chunk->used += (size_t)bytes;
    p->memory += bytes;
    return memory;
}

PickleValue *pickle_new(Pickle *p, PickleType type)
{
    PickleValue *v = pickle_alloc(p, sizeof *v);
    if (v) v->type = (uint8_t)type;
    return v;
}

bool pickle_append(Pickle *p, PickleValue *list, PickleValue *item)
{
    if (list->size == list->room) {
        uint32_t more = list->room ? 2 * list->room : 4;
        PickleValue **larger = pickle_alloc(p, (uint64_t)more * sizeof *larger);
        if (!larger) return false;
        if (list->size) memcpy(larger, list->item, list->size * sizeof *larger);
        list->item = larger;
        list->room = more;
    }
    list->item[list->size++] = item;
    return true;
}

bool pickle_set(Pickle *p, PickleValue *dict, PickleValue *key, PickleValue *value)
{
    if (dict->type != PICKLE_DICT) die("pickle_set: %s", pickle_type_name(dict));
    if (key->type != PICKLE_TEXT && key->type != PICKLE_INT)
        return pickle_fail(p, "a dict's key is %s, expected a text or a whole number", pickle_type_name(key));
    return pickle_append(p, dict, key) && pickle_append(p, dict, value);
}

const char *pickle_type_name(const PickleValue *v)
{
    static const char *const names[] = {"None",    "a bool",   "a whole number", "a long number",
                                        "a float", "a text",   "a list",         "a tuple",
                                        "a dict",  "a global", "a storage",      "a tensor"};
    return names[v->type];
}

const PickleValue *pickle_root(const Pickle *p) { return p->root; }

PickleStorage *pickle_storages(const Pickle *p) { return p->storages; }

const PickleValue *pickle_get(const PickleValue *dict, const char *key)
{
    for (uint32_t i = dict->type == PICKLE_DICT ? dict->size : 0; i >= 2; i -= 2) {
        const PickleValue *k = dict->item[i - 2];
        if (k->type == PICKLE_TEXT && !strcmp(k->text, key)) return dict->item[i - 1];
    }
    return NULL;
}

void pickle_free(Pickle *p)
{
    if (!p) return;
    for (PickleChunk *chunk = p->chunk, *next; chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    free(p);
}
