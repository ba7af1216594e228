/* Between pickle.c, the machine (stack, memo, opcodes), pickle_values.c, and pickle_torch.c, what torch.save's
 * pickles name. */
#ifndef DATA_PICKLE_PARTS_H
#define DATA_PICKLE_PARTS_H
#include "data/pickle.h"

/* Limits of what a file may ask for. */
enum { PICKLE_STACK = 1 << 16, PICKLE_MEMO = 1 << 20, PICKLE_NAME = 255 };
#define PICKLE_BYTES  ((uint64_t)64 << 20)  /* of one pickle */
#define PICKLE_MEMORY ((uint64_t)128 << 20) /* of its values */

typedef struct PickleChunk PickleChunk;

struct Pickle {
    const PickleSource *source;
    Error *e;
    uint64_t at, op_at; /* the next byte; the opcode at work */
    uint8_t buffer[4096];
    uint64_t buffer_at; /* where the buffer's bytes are, and how many */
    size_t buffered;
    PickleValue **stack, **memo;
    size_t *mark; /* heights of the stack */
    size_t n, room, memo_room, memo_count, marks, mark_room;
    PickleChunk *chunk;
    uint64_t memory;
    PickleValue *root;
    PickleStorage *storages;
};

/* "WHAT: byte N: ...". Returns false. */
bool pickle_fail(Pickle *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool pickle_no_memory(Pickle *p);
/* Zeroed memory that lives as long as p; NULL after an error. */
void *pickle_alloc(Pickle *p, uint64_t bytes);
PickleValue *pickle_new(Pickle *p, PickleType type);
bool pickle_append(Pickle *p, PickleValue *list, PickleValue *item);
/* Dies unless dict is one. Refuses a key that is neither text nor whole number. */
bool pickle_set(Pickle *p, PickleValue *dict, PickleValue *key, PickleValue *value);

/* Each gives a value, or NULL after an error. */
PickleValue *pickle_global(Pickle *p, const char *module, const char *name);
PickleValue *pickle_storage(Pickle *p, const PickleValue *id);
PickleValue *pickle_call(Pickle *p, const PickleValue *callable, const PickleValue *arguments);
/* BUILD: state that older files and OrderedDict carry and that changes no tensor. */
bool pickle_build(Pickle *p, const PickleValue *object, const PickleValue *state);
#endif
