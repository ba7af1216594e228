/* Overflow-checked size arithmetic. Every size that comes from a file goes through these; raw * and + on such
 * sizes is a defect. Each returns false and leaves *out alone when the result does not fit. */
#ifndef TENSOR_CHECKED_H
#define TENSOR_CHECKED_H
#include <stdbool.h>
#include <stdint.h>

static inline bool u64_add(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t r;
    if (__builtin_add_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}
static inline bool u64_mul(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t r;
    if (__builtin_mul_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}
/* Rounds a up to a multiple of align, a power of two. */
static inline bool u64_align_up(uint64_t a, uint64_t align, uint64_t *out)
{
    uint64_t r;
    if (!u64_add(a, align - 1, &r)) return false;
    *out = r & ~(align - 1);
    return true;
}
/* Product of n dims, each >= 0 (a negative dim is refused). */
static inline bool u64_product(const int64_t *dim, int n, uint64_t *out)
{
    uint64_t r = 1;
    for (int i = 0; i < n; i++)
        if (dim[i] < 0 || !u64_mul(r, (uint64_t)dim[i], &r)) return false;
    *out = r;
    return true;
}
#endif
