/* One input of exact.def's expressions. */
#ifndef TESTS_PTX_KERNELS_EXACT_H
#define TESTS_PTX_KERNELS_EXACT_H
#include <stdint.h>

typedef struct ExactInput {
    uint32_t a, b, c;
    float f, g, h;
    uint64_t p, q;
    double d, e;
} ExactInput;

#endif
