#include "tests/kernels/kernel_test.h"
#include "tensor/rng.h"
#include <stdlib.h>

/* in[1] holds the decoded weight. */
static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    const MatmulParams *p = k->params;
    int64_t K = K_DIM(k, 1, 1), N = K_DIM(k, 1, 0), r = in[3] ? K_DIM(k, 3, 0) : 0, M = 1;
    for (int i = 0; i < TENSOR_DIMS && K_DIM(k, 0, i); i++) M *= K_DIM(k, 0, i);
    M /= K;
    double *u = calloc((size_t)(M * r + 1), sizeof *u);
    for (int64_t m = 0; m < M; m++)
        for (int64_t j = 0; j < r; j++)
            for (int64_t c = 0; c < K; c++) {
                double keep = 1;
                if (p->dropout > 0)
                    keep = (double)dropout_scale(p->seed, p->call, (uint64_t)(m * K + c), p->dropout);
                u[m * r + j] += keep * in[0][m * K + c] * in[3][j * K + c];
            }
    for (int64_t m = 0; m < M; m++)
        for (int64_t n = 0; n < N; n++) {
            double sum = in[2] ? in[2][n] : 0;
            for (int64_t c = 0; c < K; c++) sum += in[0][m * K + c] * in[1][n * K + c];
            for (int64_t j = 0; j < r; j++) sum += (double)p->lora_scale * u[m * r + j] * in[4][n * r + j];
            y[m * N + n] = sum;
        }
    for (int64_t i = 0; saved && saved[0] && i < M * r; i++) saved[0][i] = u[i];
    free(u);
}

static const MatmulParams plain = {.transpose_b = true}, lora = {.transpose_b = true, .lora_scale = 4},
                          drop = {false, true, 2, 0.05f, 0x123456789abcdef0, 17};
/* In bf16 the levels of nf4 are rounded to 3e-4 in the mean square, elsewhere whole weights, and dy, to 8e-4
 * each: forward 2000 products, which cancel, are 0.01 off, backward 1000 are 0.02. */
#define P(p)          .params = &(p), .params_bytes = sizeof(p), .bf16_tol = 4e-2
#define LONG_TURNS(p) .params = &(p), .params_bytes = sizeof(p), .bf16_tol = 0.1
#define NO                                                                                                     \
    {                                                                                                          \
        .fill = FILL_NONE                                                                                      \
    }
/* Every shape of the CUDA kernels: up to 1, 2, 4, 8 rows, up to 16, more; with depths (k, backward the outputs)
 * that warps of a block share in several turns, the last one in part; in bf16 tiles of 64 and of 128 rows. */
#define SHAPES(name, FILL, OTHER)                                                                              \
    {name ", one row, k in turns", {{{1, 2368}}, {{12, 2368}, FILL}, NO, NO, NO}, P(plain)},                   \
        {name ", two rows, bias", {{{2, 320}}, {{9, 320}, OTHER}, {{9}}, NO, NO}, P(plain)},                   \
        {name ", four rows", {{{4, 192}}, {{20, 192}, FILL}, NO, NO, NO}, P(plain)},                           \
        {name ", seven rows, k in turns", {{{7, 1088}}, {{12, 1088}, OTHER}, NO, NO, NO}, P(plain)},           \
        {name ", 11 rows, k in turns, bias", {{{11, 1088}}, {{44, 1088}, FILL}, {{44}}, NO, NO}, P(plain)},    \
        {name ", 37 rows, k in turns", {{{37, 320}}, {{56, 320}, OTHER}, NO, NO, NO}, P(plain)},               \
        {name ", 67 rows, bias", {{{67, 64}}, {{23, 64}, FILL}, {{23}}, NO, NO}, P(plain)},                    \
        {name ", 66 rows, LoRA, dropout",                                                                      \
         {{{66, 192}}, {{136, 192}, OTHER}, NO, {{2, 192}}, {{136, 2}}},                                       \
         P(drop)},                                                                                             \
        {name ", three rows, n in turns", {{{3, 64}}, {{1064, 64}, FILL}, NO, NO, NO}, LONG_TURNS(plain)},     \
    {                                                                                                          \
        name ", 19 rows, n in turns", {{{19, 128}}, {{332, 128}, OTHER}, NO, NO, NO}, LONG_TURNS(plain)        \
    }
static const KernelCase cases[] = {
    {"one element", {{{1, 1}}, {{1, 1}, FILL_NF4}, NO, NO, NO}, P(plain)},
    {"one row", {{{1, 128}}, {{70, 128}, FILL_NF4}, NO, NO, NO}, P(plain)},
    {"three rows, bias", {{{3, 192}}, {{33, 192}, FILL_NF4_NESTED}, {{33}}, NO, NO}, P(plain)},
    {"two rows, LoRA", {{{2, 64}}, {{48, 64}, FILL_NF4}, NO, {{8, 64}}, {{48, 8}}}, P(lora)},
    {"four rows, shared blocks", {{{4, 37}}, {{35, 37}, FILL_NF4_NESTED}, {{35}}, NO, NO}, P(plain)},
    {"many rows, LoRA", {{{2, 8, 64}}, {{48, 64}, FILL_NF4}, {{48}}, {{8, 64}}, {{48, 8}}}, P(lora)},
    {"many rows, LoRA, dropout, ragged",
     {{{9, 37}}, {{21, 37}, FILL_NF4_NESTED}, NO, {{3, 37}}, {{21, 3}}},
     P(drop)},
    {"65 rows", {{{65, 192}}, {{20, 192}, FILL_NF4}, NO, NO, NO}, P(plain)},
    {"above one block", {{{5, 2048}}, {{260, 2048}, FILL_NF4_NESTED}, NO, NO, NO}, P(plain)},
    {"fp4, one element", {{{1, 1}}, {{1, 1}, FILL_FP4}, NO, NO, NO}, P(plain)},
    {"fp4, one row", {{{1, 128}}, {{70, 128}, FILL_FP4}, NO, NO, NO}, P(plain)},
    {"fp4, three rows, bias", {{{3, 192}}, {{33, 192}, FILL_FP4_NESTED}, {{33}}, NO, NO}, P(plain)},
    {"fp4, four rows, shared blocks", {{{4, 37}}, {{35, 37}, FILL_FP4_NESTED}, NO, NO, NO}, P(plain)},
    {"fp4, many rows, LoRA", {{{2, 8, 64}}, {{48, 64}, FILL_FP4}, {{48}}, {{8, 64}}, {{48, 8}}}, P(lora)},
    {"fp4, many rows, ragged", {{{9, 37}}, {{21, 37}, FILL_FP4}, NO, NO, NO}, P(plain)},
    {"fp4, above one block", {{{5, 2048}}, {{260, 2048}, FILL_FP4_NESTED}, NO, NO, NO}, P(plain)},
    {"q4_0, one element", {{{1, 1}}, {{1, 1}, FILL_Q4_0}, NO, NO, NO}, P(plain)},
    {"q4_0, one row", {{{1, 96}}, {{70, 96}, FILL_Q4_0}, NO, NO, NO}, P(plain)},
    {"q4_0, two rows, LoRA", {{{2, 64}}, {{48, 64}, FILL_Q4_0}, NO, {{8, 64}}, {{48, 8}}}, P(lora)},
    {"q4_0, four rows, bias, shared blocks", {{{4, 37}}, {{29, 37}, FILL_Q4_0}, {{29}}, NO, NO}, P(plain)},
    {"q4_0, many rows, LoRA, dropout, ragged",
     {{{9, 37}}, {{21, 37}, FILL_Q4_0}, NO, {{3, 37}}, {{21, 3}}},
     P(drop)},
    {"one row, LoRA of rank 1, dropout",
     {{{1, 64}}, {{12, 64}, FILL_NF4}, {{12}}, {{1, 64}}, {{12, 1}}},
     P(drop)},
    {"19 rows, LoRA of rank 21", {{{19, 64}}, {{12, 64}, FILL_FP4}, NO, {{21, 64}}, {{12, 21}}}, P(drop)},
    {"q4_0, above one block", {{{5, 2048}}, {{260, 2048}, FILL_Q4_0}, {{260}}, NO, NO}, P(plain)},
    SHAPES("nf4", FILL_NF4, FILL_NF4_NESTED),
    SHAPES("fp4", FILL_FP4_NESTED, FILL_FP4),
    SHAPES("q4_0", FILL_Q4_0, FILL_Q4_0),
    {"nested scales of two outer blocks", {{{2, 320}}, {{60, 320}, FILL_NF4_NESTED}, NO, NO, NO}, P(plain)},
    {"wide, one row", {{{1, 64}}, {{8193, 64}, FILL_NF4}, NO, NO, NO}, P(plain)},
    {"wide, two rows", {{{2, 64}}, {{2049, 64}, FILL_Q4_0}, NO, NO, NO}, P(plain)},
    {"tall", {{{2050, 64}}, {{8, 64}, FILL_NF4_NESTED}, {{8}}, NO, NO}, P(plain)},
    {"taller", {{{4100, 64}}, {{4, 64}, FILL_FP4}, NO, NO, NO}, P(plain)},
    {"8B attention, one row",
     {{{1, 4096}}, {{4096, 4096}, FILL_NF4}, NO, NO, NO},
     P(plain),
     .bench = true,
     .bench_only = true,
     .flops = 2.0 * 4096 * 4096,
     .bytes = 4096.0 * 4096 * 0.5625},
    {"8B attention, one row, fp4",
     {{{1, 4096}}, {{4096, 4096}, FILL_FP4}, NO, NO, NO},
     P(plain),
     .bench = true,
     .bench_only = true,
     .flops = 2.0 * 4096 * 4096,
     .bytes = 4096.0 * 4096 * 0.5625},
    {"8B attention, one row, q4_0",
     {{{1, 4096}}, {{4096, 4096}, FILL_Q4_0}, NO, NO, NO},
     P(plain),
     .bench = true,
     .bench_only = true,
     .flops = 2.0 * 4096 * 4096,
     .bytes = 4096.0 * 4096 * 0.5625},
    {"8B feed-forward, one row, nested",
     {{{1, 4096}}, {{14336, 4096}, FILL_NF4_NESTED}, NO, NO, NO},
     P(plain),
     .bench = true,
     .bench_only = true,
     .flops = 2.0 * 14336 * 4096,
     .bytes = 14336.0 * 4096 * (0.5 + 1.0 / 64)},
    {"8B feed-forward down, one row",
     {{{1, 14336}}, {{4096, 14336}, FILL_NF4}, NO, NO, NO},
     P(plain),
     .bench = true,
     .bench_only = true,
     .flops = 2.0 * 14336 * 4096,
     .bytes = 14336.0 * 4096 * 0.5625},
    {"8B attention, 512 rows, LoRA",
     {{{512, 4096}}, {{4096, 4096}, FILL_NF4}, NO, {{8, 4096}}, {{4096, 8}}},
     P(lora),
     .bench = true,
     .bench_only = true,
     .flops = 2.0 * 512 * 4096 * 4096,
     .bytes = 4096.0 * 4096 * 0.5625 + 8.0 * 512 * 4096},
};
KERNEL_TEST(matmul_q, .n_in = 5, .diff = 1 | 4 | 8 | 16, .bf16 = 1, .tol = 2e-4);
