#include "tests/kernels/kernel_test.h"

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)y, (void)saved;
    int64_t B = K_DIM(k, 0, 1), step = (int64_t)in[3][0], stops = in[5] ? case_len(k, 5) : 0;
    for (int64_t b = 0; b < B; b++) {
        bool ended = step > 0 && in[0][(step - 1) * B + b] == -1;
        for (int64_t i = 0; i < stops; i++) ended |= in[4][b] == in[5][i];
        in[0][step * B + b] = ended ? -1 : in[4][b];
        in[1][b] = in[4][b];
    }
    for (int64_t i = 0; i < 2 * B; i++) in[2][i]++;
    in[3][0]++;
}

/* Of V ids; a third of the rows has ended with three. */
#define ROWS(M, B, V)                                                                                          \
    {{M, B}, FILL_LABELS, V}, {{B}, FILL_IDS, V}, {{2, B}, FILL_IDS, 1000}, {{3}, FILL_IDS, M},                \
    {                                                                                                          \
        {B}, FILL_IDS, V                                                                                       \
    }

static const KernelCase cases[] = {
    {"one element", {ROWS(1, 1, 9), {{1}, FILL_NONE}}},
    {"the first step", {ROWS(1, 33, 3), {{1}, FILL_IDS, 3}}},
    {"rows that end", {ROWS(37, 16, 3), {{1}, FILL_IDS, 3}}},
    {"many stops", {ROWS(9, 50, 100), {{37}, FILL_IDS, 100}}},
    {"more rows than threads", {ROWS(5, 1030, 2), {{1}, FILL_IDS, 128256}}},
    {"views", {ROWS(7, 5, 3), {{2}, FILL_IDS, 3}}, .view = true},
    {"past the end",
     {{{3, 2}, FILL_LABELS, 9},
      {{2}, FILL_IDS, 9},
      {{2, 2}, FILL_IDS, 9},
      {{3}, FILL_LENGTHS, 1 << 30},
      {{2}, FILL_IDS, 9},
      {{1}, FILL_NONE}},
     .dies = true},
};

KERNEL_TEST(next_token, .n_in = 6, .updates = 0xF, .tol = 0);
