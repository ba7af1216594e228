#include "tensor/dtype.h"

static const struct Row {
    const char *name;
    size_t bytes; /* of a block; 0: planar */
    int64_t block;
} rows[] = {
#define DTYPE(name, id, bytes)          [id] = {#name, bytes, 1},
#define QUANT(name, id, block)          [id] = {#name, 0, block},
#define BLOCKED(name, id, block, bytes) [id] = {#name, bytes, block},
#include "tensor/dtype.def"
#undef DTYPE
#undef QUANT
#undef BLOCKED
};

const char *dtype_name(DType d) { return rows[d].name; }
bool dtype_is_quant(DType d) { return rows[d].block > 1; }
bool dtype_is_planar(DType d) { return rows[d].bytes == 0; }
int64_t dtype_block(DType d) { return rows[d].block; }
size_t dtype_bytes(DType d, int64_t n)
{
    if (dtype_is_planar(d)) return (size_t)(n + 1) / 2;
    return rows[d].bytes * (size_t)((n + rows[d].block - 1) / rows[d].block);
}
