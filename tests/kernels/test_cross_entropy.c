#include "tests/kernels/kernel_test.h"
#include <math.h>
#include <stdlib.h>

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    int64_t R = K_DIM(k, 0, 0), D = K_DIM(k, 0, 1), V = K_DIM(k, 1, 0), counted = 0;
    double *logit = malloc((size_t)V * sizeof *logit), loss = 0;
    for (int64_t i = 0; i < R; i++) {
        int64_t label = (int64_t)in[2][i];
        double top = -INFINITY, sum = 0;
        if (label < 0) continue;
        for (int64_t v = 0; v < V; v++) {
            logit[v] = 0;
            for (int64_t d = 0; d < D; d++) logit[v] += in[0][i * D + d] * in[1][v * D + d];
            top = fmax(top, logit[v]);
        }
        for (int64_t v = 0; v < V; v++) sum += exp(logit[v] - top);
        loss += top + log(sum) - logit[label];
        counted++;
    }
    free(logit);
    *y = ((const CrossEntropyParams *)k->params)->mean && counted ? loss / (double)counted : loss;
}

static const CrossEntropyParams mean = {true}, sum = {false};
#define P(p) .params = &(p), .params_bytes = sizeof(p)
static const KernelCase cases[] = {
    {"one element", {{{1, 1}}, {{1, 1}}, {{1}, FILL_IDS, 1}}, P(mean)},
    {"no row counted", {{{2, 3}}, {{5, 3}}, {{2}, FILL_LABELS, 0}}, P(mean)},
    {"ragged, ignored rows, sum", {{{7, 5}}, {{37, 5}}, {{7}, FILL_LABELS, 37}}, P(sum)},
    {"ragged, ignored rows, mean", {{{11, 13}}, {{101, 13}}, {{11}, FILL_LABELS, 5}}, P(mean)},
    {"above one block of rows", {{{260, 3}}, {{9, 3}}, {{260}, FILL_LABELS, 9}}, P(mean)},
    {"above one chunk of words", {{{37, 7}}, {{2100, 7}}, {{37}, FILL_IDS, 2100}}, P(mean)},
    {"many rows", {{{1030, 2}}, {{5, 2}}, {{1030}, FILL_LABELS, 5}}, P(mean)},
    {"many words", {{{3, 2}}, {{4200, 2}}, {{3}, FILL_LABELS, 4200}}, P(sum)},
    {"wide", {{{37, 260}}, {{7, 260}}, {{37}, FILL_LABELS, 7}}, P(mean)},
    {"over one tile", {{{133, 67}}, {{131, 67}}, {{133}, FILL_LABELS, 131}}, P(mean)},
    {"over one tile, whole fours", {{{140, 68}}, {{136, 68}}, {{140}, FILL_LABELS, 136}}, P(sum)},
    {"8B",
     {{{70, 4096}}, {{128256, 4096}}, {{70}, FILL_IDS, 128256}},
     P(mean),
     .bench = true,
     .bench_only = true,
     .flops = 2.0 * 70 * 128256 * 4096,
     .bytes = 4.0 * 128256 * 4096},
};
KERNEL_TEST(cross_entropy, .n_in = 3, .diff = 3, .bf16 = 1, .bf16_weights = 2, .tol = 1e-4);
