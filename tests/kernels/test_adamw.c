#include "tests/kernels/kernel_test.h"
#include <math.h>

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)y, (void)saved;
    const AdamwParams p = *(const AdamwParams *)k->params;
    const double b1 = (double)p.beta1, b2 = (double)p.beta2, lr = (double)p.lr, step = (double)p.step;
    for (int64_t i = 0; i < case_len(k, 0); i++) {
        double g = (double)p.grad_scale * in[1][i];
        in[0][i] -= lr * (double)p.weight_decay * in[0][i];
        in[2][i] = b1 * in[2][i] + (1 - b1) * g;
        in[3][i] = b2 * in[3][i] + (1 - b2) * g * g;
        in[0][i] -=
            lr / (1 - pow(b1, step)) * in[2][i] / (sqrt(in[3][i]) / sqrt(1 - pow(b2, step)) + (double)p.eps);
    }
}

static const AdamwParams first = {.lr = 0.5f,
                                  .beta1 = 0.9f,
                                  .beta2 = 0.999f,
                                  .eps = 1e-8f,
                                  .grad_scale = 1,
                                  .step = 1},
                         later = {.lr = 0.25f,
                                  .beta1 = 0.9f,
                                  .beta2 = 0.95f,
                                  .eps = 1e-3f,
                                  .weight_decay = 0.1f,
                                  .grad_scale = 0.125f,
                                  .step = 1000};
#define FLAT(n)                                                                                                \
    {                                                                                                          \
        {{n}}, {{n}}, {{n}}, { {n}, FILL_PROB }                                                                \
    }

static const KernelCase cases[] = {
    {"one element", FLAT(1), &first, sizeof first},
    {"ragged", FLAT(37), &later, sizeof later},
    {"over one block", FLAT(1023), &first, sizeof first},
    {"two threads", FLAT(33000), &later, sizeof later},
    {"views that begin anywhere", FLAT(1023), &later, sizeof later, .view = true},
    {"parameter block", FLAT(16 << 20), &later, sizeof later, .bench = true, .bench_only = true,
     .flops = 14.0 * (16 << 20), .bytes = 28.0 * (16 << 20)},
};

KERNEL_TEST(adamw, .n_in = 4, .updates = 0xD, .tol = 1e-5);
