#include "tensor/dtype.h"

static const struct Row {
    const char *name;
    size_t bytes;
    int64_t block;
} rows[] = {
#define DTYPE(name, id, bytes) [id] = {#name, bytes, 1},
#define QUANT(name, id, block) [id] = {#name, 0, block},
#include "tensor/dtype.def"
#undef DTYPE
#undef QUANT
};

const char *dtype_name(DType d) { return rows[d].name; }
bool dtype_is_quant(DType d) { return rows[d].bytes == 0; }
int64_t dtype_block(DType d) { return rows[d].block; }
size_t dtype_bytes(DType d, int64_t n)
{
    return rows[d].bytes ? rows[d].bytes * (size_t)n : (size_t)(n + 1) / 2;
}
