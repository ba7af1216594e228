#include "tensor/rng.h"
#include "tests/kernels/kernel_test.h"

static int dims(const KernelCase *k, int i)
{
    int n = 0;
    while (n < TENSOR_DIMS && K_DIM(k, i, n)) n++;
    return n;
}

static void low_rank(double *y, double *u, double *const *in, const KernelCase *k, int64_t rows)
{
    const MatmulParams *p = k->params;
    int64_t r = K_DIM(k, 3, 0), K = K_DIM(k, 3, 1), N = K_DIM(k, 4, 0);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < r; j++) {
            double sum = 0;
            for (int64_t c = 0; c < K; c++) {
                uint64_t e = (uint64_t)(i * K + c);
                double keep = p->dropout > 0 ? (double)dropout_scale(p->seed, p->call, e, p->dropout) : 1;
                sum += in[0][e] * keep * in[3][j * K + c];
            }
            u[i * r + j] = sum;
            for (int64_t o = 0; o < N; o++) y[i * N + o] += (double)p->lora_scale * sum * in[4][o * r + j];
        }
}

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    const MatmulParams *p = k->params;
    bool ta = p->transpose_a, tb = p->transpose_b;
    int na = dims(k, 0), nb = dims(k, 1);
    int64_t rows = na > 1 ? K_DIM(k, 0, na - 2) : 1, columns = K_DIM(k, 0, na - 1), batch = 1;
    int64_t K = ta ? rows : columns, M = ta ? columns : rows, N = K_DIM(k, 1, nb - (tb ? 2 : 1));
    for (int i = 0; i < na - 2; i++) batch *= K_DIM(k, 0, i);
    for (int64_t i = 0; i < batch * M * N; i++) {
        int64_t g = i / (M * N), m = i / N % M, n = i % N;
        const double *a = in[0] + g * M * K, *b = in[1] + (nb > 2 ? g * K * N : 0);
        double sum = in[2] ? in[2][n] : 0;
        for (int64_t c = 0; c < K; c++) sum += a[ta ? c * M + m : m * K + c] * b[tb ? n * K + c : c * N + n];
        y[i] = sum;
    }
    if (in[3]) low_rank(y, saved[0], in, k, batch * M);
}

#define NO                                                                                                     \
    {                                                                                                          \
        {0}, FILL_NONE                                                                                         \
    }
#define P(p) &p, sizeof p
static const MatmulParams plain = {false, false, 0, 0, 0, 0}, tb = {.transpose_b = true},
                          ta = {.transpose_a = true}, both = {.transpose_a = true, .transpose_b = true},
                          lora = {.transpose_b = true, .lora_scale = 4}, lora_plain = {.lora_scale = 0.5f},
                          drop = {.transpose_b = true, .lora_scale = 4, .dropout = 0.1f, .seed = 7, .call = 3},
                          drop_half = {.transpose_b = true,
                                       .lora_scale = 2,
                                       .dropout = 0.5f,
                                       .seed = 0x123456789abcdefu,
                                       .call = 0x100000002u};

static const KernelCase cases[] = {
    {"one element", {{{1, 1}}, {{1, 1}}, NO, NO, NO}, P(plain)},
    {"one row", {{{37}}, {{11, 37}}, {{11}}, NO, NO}, P(tb)},
    {"ragged", {{{3, 37}}, {{37, 5}}, {{5}}, NO, NO}, P(plain)},
    {"ragged, b transposed", {{{37, 13}}, {{17, 13}}, {{17}}, NO, NO}, P(tb)},
    {"ragged, a transposed", {{{13, 37}}, {{13, 7}}, {{7}}, NO, NO}, P(ta)},
    {"ragged, both transposed", {{{13, 37}}, {{7, 13}}, NO, NO, NO}, P(both)},
    {"leading dims, one b", {{{2, 3, 5, 7}}, {{9, 7}}, {{9}}, NO, NO}, P(tb)},
    {"leading dims, a transposed, one b", {{{2, 3, 5, 7}}, {{5, 4}}, {{4}}, NO, NO}, P(ta)},
    {"batched", {{{2, 3, 5, 7}}, {{2, 3, 7, 4}}, NO, NO, NO}, P(plain)},
    {"batched, b transposed", {{{3, 5, 7}}, {{3, 4, 7}}, {{4}}, NO, NO}, P(tb)},
    {"batched, both transposed", {{{3, 7, 5}}, {{3, 4, 7}}, NO, NO, NO}, P(both)},
    {"over one block", {{{101, 259}}, {{130, 259}}, {{130}}, NO, NO}, P(tb)},
    {"over one block, plain", {{{99, 300}}, {{300, 131}}, NO, NO, NO}, P(plain)},
    {"long inner dim", {{{2, 1023}}, {{3, 1023}}, NO, NO, NO}, P(tb)},
    {"wide", {{{2, 33}}, {{1023, 33}}, {{1023}}, NO, NO}, P(tb)},
    {"LoRA, one element", {{{1, 1}}, {{1, 1}}, {{1}}, {{1, 1}}, {{1, 1}}}, P(lora)},
    {"LoRA", {{{3, 5, 37}}, {{19, 37}}, {{19}}, {{8, 37}}, {{19, 8}}}, P(lora)},
    {"LoRA, b not transposed", {{{5, 37}}, {{37, 19}}, NO, {{2, 37}}, {{19, 2}}}, P(lora_plain)},
    {"LoRA with dropout", {{{3, 5, 37}}, {{19, 37}}, NO, {{8, 37}}, {{19, 8}}}, P(drop)},
    {"LoRA with dropout, large counters", {{{41, 131}}, {{9, 131}}, {{9}}, {{4, 131}}, {{9, 4}}}, P(drop_half)},
    {"over one block, both transposed", {{{37, 130}}, {{135, 37}}, {{135}}, NO, NO}, P(both)},
    {"whole fours, long depth", {{{40, 260}}, {{48, 260}}, {{48}}, NO, NO}, P(tb)},
    {"whole fours, over one block", {{{132, 36}}, {{36, 136}}, NO, NO, NO}, P(plain)},
    {"whole eights, over one block, b transposed", {{{136, 40}}, {{144, 40}}, NO, NO, NO}, P(tb)},
    {"whole eights, over one block", {{{136, 72}}, {{72, 136}}, NO, NO, NO}, P(plain)},
    {"whole eights, over one block, a transposed", {{{104, 136}}, {{104, 136}}, NO, NO, NO}, P(ta)},
    {"whole eights, over one block, both transposed", {{{136, 136}}, {{144, 136}}, {{144}}, NO, NO}, P(both)},
    {"shallow, over one block, b transposed", {{{40, 12}}, {{140, 12}}, NO, NO, NO}, P(tb)},
    {"views of ragged rows", {{{21, 37}}, {{19, 37}}, NO, NO, NO}, P(tb), .view = true},
    {"batched, whole fours", {{{3, 20, 64}}, {{3, 64, 36}}, NO, NO, NO}, P(plain)},
    {"batched, both transposed, long depth", {{{2, 300, 21}}, {{2, 18, 300}}, {{18}}, NO, NO}, P(both)},
    {"few rows", {{{9, 600}}, {{600, 20}}, {{20}}, NO, NO}, P(plain)},
    {"few rows, b transposed", {{{9, 40}}, {{133, 40}}, NO, NO, NO}, P(tb)},
    {"few columns, long depth", {{{70, 2100}}, {{3, 2100}}, {{3}}, NO, NO}, P(tb)},
    {"few columns, a transposed", {{{600, 23}}, {{600, 2}}, NO, NO, NO}, P(ta)},
    {"batched, one column", {{{3, 21, 8}}, {{3, 8, 1}}, {{1}}, NO, NO}, P(plain)},
    {"LoRA with dropout, whole fours", {{{21, 36}}, {{20, 36}}, {{20}}, {{8, 36}}, {{20, 8}}}, P(drop)},
    {"LoRA of rank 19 with dropout", {{{20, 41}}, {{18, 41}}, NO, {{19, 41}}, {{18, 19}}}, P(drop_half)},
    {"LoRA with dropout, over one block", {{{130, 132}}, {{20, 132}}, NO, {{3, 132}}, {{20, 3}}}, P(drop)},
    {"LoRA of rank 7 with dropout, over one block",
     {{{131, 133}}, {{5, 133}}, NO, {{7, 133}}, {{5, 7}}},
     P(drop)},
    {"LoRA of rank 1, over one block", {{{131, 133}}, {{5, 133}}, NO, {{1, 133}}, {{5, 1}}}, P(lora)},
    {"1024 cubed",
     {{{1024, 1024}}, {{1024, 1024}}, NO, NO, NO},
     P(tb),
     .bench = true,
     .bench_only = true,
     .flops = 2.0 * 1024 * 1024 * 1024,
     .bytes = 12.0 * 1024 * 1024},
    {"2048 x 1024 x 4096",
     {{{2048, 4096}}, {{1024, 4096}}, {{1024}}, NO, NO},
     P(tb),
     .bench = true,
     .bench_only = true,
     .flops = 2.0 * 2048 * 1024 * 4096,
     .bytes = 4.0 * (2048.0 * 4096 + 1024.0 * 4096 + 2048.0 * 1024)},
    {"mini decoder, LoRA",
     {{{32, 128, 256}}, {{256, 256}}, NO, {{8, 256}}, {{256, 8}}},
     P(drop),
     .bench = true,
     .bench_only = true,
     .flops = 2.0 * 4096 * 256 * (256 + 16),
     .bytes = 4.0 * (4096 * 512 + 256 * 256)},
    {"one row, 4096 squared",
     {{{1, 4096}}, {{4096, 4096}}, NO, NO, NO},
     P(tb),
     .bench = true,
     .bench_only = true,
     .flops = 2.0 * 4096 * 4096,
     .bytes = 4.0 * 4096 * 4096},
};

KERNEL_TEST(matmul, .n_in = 5, .diff = 31, .saved = 1, .bf16 = 1, .bf16_weights = 2, .tol = 2e-4);
