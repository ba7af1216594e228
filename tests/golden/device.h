/* Where tests run that take DEVICE (default cpu), how near they must come there, and its memory as the host may
 * touch it. */
#ifndef TESTS_GOLDEN_DEVICE_H
#define TESTS_GOLDEN_DEVICE_H
#include "tensor/tensor.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Opened once; if it cannot be, the test fails with the reason. */
static inline const Backend *test_device(void)
{
    static const Backend *backend;
    const char *name = getenv("DEVICE");
    Error e = {0};
    if (!backend) backend = backend_open(name && *name ? name : "cpu", &e);
    if (!backend) ck_abort_msg("%s", e.msg);
    return backend;
}

/* What goes through products of f32: the tiles of a GPU multiply each number as two bf16, 2^-17 of it lost at
 * most, so a device is allowed more than the CPU, two to three times what emu was measured to be off. All that
 * goes through none has the same tolerance everywhere. */
typedef enum {
    TOL_LINEAR,   /* one Linear, also 4-bit or with LoRA: y, dx, dA, dB */
    TOL_PRODUCT,  /* one convolution, transposed or not; cross-entropy of a large vocabulary */
    TOL_HEAD,     /* the visual head: six convolutions and Linears */
    TOL_LLAMA,    /* two layers: hidden states, logits, gradients; decoding against one pass */
    TOL_STEP,     /* the whole training step, and three updates */
    TOL_BRANCHES, /* its gradient branch by branch against that of the sum */
    TOL_SWIN,     /* a Swin: activations, gradients */
    TOL_BERT,     /* two layers of a BERT and its head: the same */
    TOL_MEDCLIP,  /* both towers and what follows: embeddings, gradients */
    TOL_FOLDING,  /* eight blocks of a ResNet, against them with BatchNorm folded in */
    TOL_SAM,      /* SAM's image encoder; its decoder at the public sizes; gradients */
} Tolerance;

static inline double test_tolerance(Tolerance t)
{
    static const struct {
        double cpu, device; /* measured on emu: */
    } row[] = {
        [TOL_LINEAR] = {1e-6, 1.2e-5},   /* 4.6e-6 */
        [TOL_PRODUCT] = {1e-5, 4e-5},    /* 1.6e-5 */
        [TOL_HEAD] = {1e-5, 6e-5},       /* 2.3e-5 */
        [TOL_LLAMA] = {1e-5, 2.5e-4},    /* 1.1e-4 */
        [TOL_STEP] = {2e-5, 3e-4},       /* 1.3e-4 */
        [TOL_BRANCHES] = {1e-6, 1.5e-5}, /* 6.3e-6 */
        [TOL_FOLDING] = {1e-5, 1e-4},    /* 3.4e-5 */
        [TOL_SWIN] = {1e-5, 2e-4},       /* 8.0e-5 */
        [TOL_BERT] = {1e-5, 1e-4},       /* 4.0e-5 */
        [TOL_MEDCLIP] = {1e-5, 2e-4},    /* 6.5e-5 */
        [TOL_SAM] = {1e-4, 1e-3},        /* 3.0e-4 */
    };
    return test_device() == &backend_cpu ? row[t].cpu : row[t].device;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TEST_GFLOP    12.0
#define TEST_SLOWNESS " under sanitizers"
#else
#define TEST_GFLOP    HUGE_VAL
#define TEST_SLOWNESS ""
#endif

/* Whether a case of so many GFLOP is run: on emu at most 1, under sanitizers 12 (15 seconds),
 * and it says what it leaves out. */
static inline bool test_affords(const char *what, double gflop)
{
    const char *name = test_device()->name;
    if (gflop <= (strcmp(name, "emu") ? TEST_GFLOP : 1)) return true;
    printf("SKIPPED on %s" TEST_SLOWNESS ": %s, %g GFLOP\n", name, what, gflop);
    return false;
}

/* A copy of x's data; the caller's to free. */
static inline void *host_copy(const Tensor *x)
{
    void *copy = malloc(tensor_bytes(x));
    if (!copy) ck_abort_msg("no memory for %s", tensor_text(x));
    tensor_download(x, copy);
    return copy;
}

static inline float host_get(const Tensor *x, int64_t i)
{
    float value;
    x->backend->download(&value, (const float *)x->data + i, sizeof value);
    return value;
}

static inline void host_set(Tensor *x, int64_t i, float value)
{
    x->backend->upload((float *)x->data + i, &value, sizeof value);
}

/* Rounded to f32. */
static inline void host_upload(Tensor *x, const double *value)
{
    float *copy = malloc(tensor_bytes(x));
    if (!copy) ck_abort_msg("no memory for %s", tensor_text(x));
    for (int64_t i = 0; i < tensor_len(x); i++) copy[i] = (float)value[i];
    tensor_upload(x, copy);
    free(copy);
}
#endif
