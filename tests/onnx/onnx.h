/* The part of ONNX's files that its published test cases need: a ModelProto with its nodes, attributes and
 * initialisers, and a TensorProto by itself, in protobuf's wire format (fields by number; what is not known is
 * passed over). Every length is compared with the bytes that are left, every count of elements with the bytes
 * that hold them, before anything is allocated. Source: onnx.proto of ONNX 1.12. */
#ifndef TESTS_ONNX_ONNX_H
#define TESTS_ONNX_ONNX_H
#include "tensor/error.h"
#include <stddef.h>
#include <stdint.h>

enum { ONNX_DIMS = 8, ONNX_LIST = 16, ONNX_NODES = 64 }; /* at most; more in a file is an error */

/* Memory that is given back together; zeroed; dies where there is none. */
typedef struct Pool {
    struct PoolBlock *last;
} Pool;
void *pool_take(Pool *p, size_t n, size_t bytes);
void pool_clear(Pool *p);

/* A name, in the bytes of the file it comes from. */
typedef struct Text {
    const char *at;
    size_t n;
} Text;
bool text_is(Text a, const char *b);
bool text_same(Text a, Text b);

/* TensorProto.DataType */
enum { ONNX_FLOAT = 1, ONNX_INT64 = 7, ONNX_BOOL = 9, ONNX_FLOAT16 = 10, ONNX_DOUBLE = 11, ONNX_TYPES = 14 };
const char *onnx_type_name(int type); /* "uint8" */
bool onnx_is_real(int type);

/* A tensor in host memory, row-major. Reals are floats here (a double is rounded), all else int64 (uint64: the
 * same bits). */
typedef struct Value {
    Text name;
    int type, ndim;
    int64_t dim[ONNX_DIMS], n;
    float *f;    /* n reals, or NULL */
    int64_t *i;  /* n whole numbers, or NULL */
    bool beyond; /* a double, not 0, is too large or too small for a normal float */
} Value;

typedef struct OnnxAttr {
    Text name, s;
    float f;
    int64_t i, ints[ONNX_LIST];
    int n_ints;
    Value *t; /* NULL: none */
} OnnxAttr;

typedef struct OnnxNode {
    Text type, in[ONNX_LIST], out[ONNX_LIST];
    int n_in, n_out, n_attr;
    OnnxAttr attr[ONNX_LIST];
} OnnxNode;

typedef struct OnnxModel {
    int64_t opset; /* of the standard operators; 0: none named */
    int n_nodes, n_init, n_in, n_out;
    OnnxNode *node;
    Value *init;
    Text in[ONNX_LIST], out[ONNX_LIST];
} OnnxModel;

/* From `n` bytes that must outlive what is made of them; `path` is for messages. */
bool onnx_model(const char *path, const uint8_t *bytes, size_t n, Pool *pool, OnnxModel *m, Error *e);
bool onnx_tensor(const char *path, const uint8_t *bytes, size_t n, Pool *pool, Value *v, Error *e);

#endif
