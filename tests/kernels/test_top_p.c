#include "tests/kernels/kernel_test.h"
#include "tensor/rng.h"
#include <math.h>

/* Most probable first, by looking for the next one again and again. */
static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    const TopPParams p = *(const TopPParams *)k->params;
    int64_t R = K_DIM(k, 0, 0), V = K_DIM(k, 0, 1);
    for (int64_t r = 0; r < R; r++) {
        const double *x = in[0] + r * V;
        double *kept = saved[0] + r * V, sum = 0, mass = 0, seen = 0;
        int64_t order[2048], n = 0;
        for (int64_t j = 0; j < V; j++) {
            sum += exp(x[j] / (double)p.temperature);
            kept[j] = 0;
        }
        while (n < V && mass <= (double)p.top_p) {
            int64_t best = -1;
            for (int64_t j = 0; j < V; j++)
                if (kept[j] == 0 && (best < 0 || x[j] > x[best])) best = j;
            kept[best] = exp(x[best] / (double)p.temperature) / sum;
            mass += kept[best];
            order[n++] = best;
        }
        Philox u = philox4x32((uint32_t)r, 0, (uint32_t)in[1][0], 0, (uint32_t)in[1][1], (uint32_t)in[1][2]);
        double draw = (double)philox_unit(u.v[0]);
        y[r] = -1;
        for (int64_t i = 0; i < n; i++) {
            kept[order[i]] /= mass;
            seen += kept[order[i]];
            if (y[r] < 0 && (draw < seen || i == n - 1)) y[r] = (double)order[i];
        }
        if (y[r] < 0) y[r] = 0;
    }
}

static const TopPParams usual = {.temperature = 0.6f, .top_p = 0.9f},
                        cold = {.temperature = 0.05f, .top_p = 0.5f}, all = {.temperature = 1, .top_p = 1},
                        one = {.temperature = 0.3f, .top_p = 0}, hot = {.temperature = 50, .top_p = 0.5f},
                        half = {.temperature = 1, .top_p = 0.5f}, none = {.temperature = 1, .top_p = -1};

#define DRAW                                                                                                   \
    {                                                                                                          \
        {3}, FILL_IDS, INT32_MAX                                                                               \
    }

static const KernelCase cases[] = {
    {"one element", {{{1, 1}}, DRAW}, &usual, sizeof usual},
    {"ragged row", {{{3, 37}}, DRAW}, &usual, sizeof usual},
    {"ties keep their order", {{{9, 37}, FILL_MASK01}, DRAW}, &usual, sizeof usual},
    {"the mass before is top_p", {{{33, 2}, FILL_MASK01}, DRAW}, &half, sizeof half},
    {"low temperature", {{{33, 513}}, DRAW}, &cold, sizeof cold},
    {"everything is kept", {{{7, 1023}}, DRAW}, &all, sizeof all},
    {"only the first is kept", {{{5, 300}}, DRAW}, &one, sizeof one},
    {"nothing is kept", {{{2, 9}}, DRAW}, &none, sizeof none},
    {"view of ragged rows", {{{3, 37}}, DRAW}, &usual, sizeof usual, .view = true},
    {"all nearly equal", {{{3, 1024}}, DRAW}, &hot, sizeof hot},
    {"long rows, low temperature", {{{2, 5000}}, DRAW}, &cold, sizeof cold},
    {"long ragged row, the first alone", {{{1, 4099}}, DRAW}, &one, sizeof one},
    {"logits",
     {{{8, 128256}}, DRAW},
     &cold,
     sizeof cold,
     .bench = true,
     .bench_only = true,
     .flops = 8.0 * 128256 * 10,
     .bytes = 8.0 * 8 * 128256},
};

KERNEL_TEST(top_p, .n_in = 2, .saved = 1, .tol = 1e-6);
