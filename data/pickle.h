/* A restricted reader of Python pickles, protocols 2 to 4, as far as torch.save writes them: numbers, texts,
 * lists, tuples, dicts and tensors. Nothing is ever called: a global is a name on a fixed list, and what Python
 * would call is one of a few shapes that are understood here (a tensor, a Parameter, an OrderedDict).
 * Everything else is refused by name.
 *
 * A tensor is a view into a storage, which is known here by key, type and length only; that every element of
 * the view lies in it, and that the view has no more elements than the storage, is checked as it is built. */
#ifndef DATA_PICKLE_H
#define DATA_PICKLE_H
#include "data/tensor_file.h"

/* Where the bytes are. `read` gives exactly n bytes at `offset`; the pickle lies in [begin,end) but may stop
 * before `end`. what: names the file in messages, "model.pth: data.pkl". */
typedef struct PickleSource {
    bool (*read)(void *user, uint64_t offset, void *dst, uint64_t n, Error *e);
    void *user;
    uint64_t begin, end;
    const char *what;
} PickleSource;

typedef enum {
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_LONG, /* of more than 64 bits: text and size are its bytes, lowest first */
    PICKLE_FLOAT,
    PICKLE_TEXT,
    PICKLE_LIST,
    PICKLE_TUPLE,
    PICKLE_DICT,
    PICKLE_GLOBAL,
    PICKLE_STORAGE,
    PICKLE_TENSOR,
} PickleType;

/* Counts are of elements of `dtype`. Older files have views of storages: `size` elements from `from` on of one
 * that has `total`; of others from is 0 and size the total. */
typedef struct PickleStorage {
    const char *key; /* at most 255 bytes */
    StDType dtype;
    uint64_t total, from, size;
    uint64_t offset; /* of its first byte in the file: for whoever finds it */
    struct PickleStorage *next;
} PickleStorage;

typedef struct PickleTensor {
    const PickleStorage *storage;
    StDType dtype;
    int ndim;
    int64_t dim[8], stride[8]; /* strides in elements, from 0 up */
    uint64_t offset;           /* of the first element, from the beginning of the whole storage */
    uint64_t elements;
    uint64_t span; /* elements from the first to the last one, both included; 0 where there are none */
} PickleTensor;

typedef struct PickleValue {
    uint8_t type; /* PickleType */
    uint8_t global;
    uint32_t size; /* of a list or tuple: items; of a dict: twice the pairs; of a text: bytes */
    uint32_t room;
    union {
        int64_t whole; /* also a bool */
        double real;
        char *text;                /* UTF-8 with a NUL at its end and none inside */
        struct PickleValue **item; /* of a dict: key, value, key, value; keys are texts or whole numbers */
        PickleStorage *storage;
        PickleTensor *tensor;
    };
} PickleValue;

typedef struct Pickle Pickle;
/* NULL on error, which names the place: "model.pth: data.pkl: byte 37: global os.system is not allowed". *next
 * (may be NULL): the offset behind the pickle. */
Pickle *pickle_read(const PickleSource *source, uint64_t *next, Error *e);
void pickle_free(Pickle *p); /* and every value; NULL allowed */
const PickleValue *pickle_root(const Pickle *p);
PickleStorage *pickle_storages(const Pickle *p); /* all, one key perhaps several times */
/* The value of a text key (of equal keys the last), or NULL. */
const PickleValue *pickle_get(const PickleValue *dict, const char *key);
const char *pickle_type_name(const PickleValue *v); /* "a list" */
#endif
