/* How an op is tested: a double-precision oracle written straight from the formula, shapes, and how each input
 * is filled. tests/kernels/test_kernels.c does the rest for every row of ops.def: forward against the oracle;
 * backward against central differences of the oracle in double; gradients pre-filled with 3 that must become 3
 * + grad; each subset of needs_grad; guard bytes; bit-identical repeats; all of it again with bf16 activations
 * (not on cpu), with bf16 weights, and with both, where the op takes them: the oracle then sees the rounded
 * values. pcrl-bench times the same cases. */
#ifndef TESTS_KERNELS_KERNEL_TEST_H
#define TESTS_KERNELS_KERNEL_TEST_H
#include "kernels/ops.h"

/* Cases name what differs from zero. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

typedef enum {
    FILL_UNIFORM,    /* f32 in [-1,1) */
    FILL_NONE,       /* an absent optional input (NULL) */
    FILL_PROB,       /* f32 in [0,1) */
    FILL_POSITIVE,   /* f32 in [0.5,1.5): variances, norm weights */
    FILL_MASK01,     /* f32, 0 or 1 */
    FILL_WIDE,       /* f32 in [-8,8): where a curve has become flat too */
    FILL_HOLES,      /* f32 in [-1,1), but every other one NaN: for ops without gradient that say what then */
    FILL_IDS,        /* i32 in 0..n-1 */
    FILL_LABELS,     /* i32 in -1..n-1 (-1: ignored) */
    FILL_LENGTHS,    /* i32 in 1..n */
    FILL_NF4,        /* a (out,in) uniform weight, quantised to nf4; the oracle sees the dequantised values */
    FILL_NF4_NESTED, /* the same with double quantisation */
    FILL_FP4,        /* ... to fp4 */
    FILL_FP4_NESTED, /* ... with double quantisation */
    FILL_Q4_0,       /* ... to q4_0 */
} Fill;

typedef struct KernelInput {
    int64_t dim[TENSOR_DIMS]; /* ends at the first 0 */
    Fill fill;
    int64_t n;
} KernelInput;

typedef struct KernelCase {
    const char *what; /* "ragged row" */
    KernelInput in[NODE_INPUTS];
    const void *params; /* the op's params struct, or NULL */
    size_t params_bytes;
    bool view;           /* inputs and gradients are slices that begin at row 1, so mostly not aligned */
    bool twin;           /* input 1 is input 0 */
    bool device;         /* not on cpu: it computes in bf16 */
    bool dies;           /* an input is out of range: the program must end with a line that names the op */
    bool bench;          /* timed by pcrl-bench */
    bool bench_only;     /* too large for the oracle: timed only */
    double bf16_tol;     /* in the place of BF16_TOL, where many rounded factors are summed up */
    double flops, bytes; /* of one forward call: floating-point operations, bytes that must move */
} KernelCase;

/* Writes y (the output), saved[i] (where the test says that callers read it), and updated inputs, all in
 * double. in[i] is NULL for an absent input; integer inputs hold whole numbers. */
typedef void KernelOracle(double *y, double *const *saved, double *const *in, const KernelCase *k);

/* bf16 has 8 bits: half a unit in the last place is 2^-9 of a value. An output is rounded once and inputs are
 * exact, but a factor that is f32 (a gradient, a trainable weight) is rounded where it meets one in bf16. */
#define BF16_TOL    8e-3
#define BF16_BEGINS (1u << NODE_INPUTS)

typedef struct KernelTest {
    const Op *op;
    int n_in;
    unsigned diff;    /* bit i: input i has a gradient */
    unsigned updates; /* bit i: the op writes input i in place (and the oracle writes in[i]) */
    unsigned saved;   /* bit i: saved[i] is compared */
    unsigned bf16;    /* bit i: input i is an activation and may be bf16, all of them together; BF16_BEGINS: the
                         output is of type Tape.compute */
    unsigned bf16_weights; /* bit i: input i may be bf16 by itself, on cpu too */
    double tol; /* |got - want| <= tol * (1 + |want|); with bf16 activations, and on a device with bf16 weights,
                   at least BF16_TOL, or the case's bf16_tol */
    KernelOracle *oracle;
    const KernelCase *cases;
    int n_cases;
} KernelTest;

/* Input i's dim d in case k. */
#define K_DIM(k, i, d) ((k)->in[i].dim[d])

/* Number of elements of input i in case k. */
static inline int64_t case_len(const KernelCase *k, int i)
{
    int64_t n = 1;
    for (int d = 0; d < TENSOR_DIMS && k->in[i].dim[d]; d++) n *= k->in[i].dim[d];
    return n;
}

#define KERNEL_TEST(name, ...)                                                                                 \
    const KernelTest name##_test = {.op = &name##_op,                                                          \
                                    .oracle = oracle,                                                          \
                                    .cases = cases,                                                            \
                                    .n_cases = (int)(sizeof cases / sizeof *cases),                            \
                                    __VA_ARGS__}

#define OP(name)            extern const KernelTest name##_test;
#define OP_NODIFF(name)     OP(name)
#define OP_CPU(name)        OP(name)
#define OP_CPU_NODIFF(name) OP(name)
#include "kernels/ops.def"
#undef OP
#undef OP_NODIFF
#undef OP_CPU
#undef OP_CPU_NODIFF

#endif
