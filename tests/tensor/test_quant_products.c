/* Products with 4-bit weights on the CPU, at every level of vectors that this processor has: beside the same
 * product in double of the decoded weight, rel. L2 at most 1e-6, whatever x is; the same bits from any number
 * of threads; no NaN of one row of x in another. */
#include "kernels/quant.h"
#include "kernels/vec.h"
#include "tests/tensor/tape_fixture.h"
#include <check.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    DType dtype;
    bool nested;
    int64_t M, N, K;
} Case;

/* One row, few, a tile, tiles and a part; rows of one block, of an odd number, of several strips, of no whole
 * block. */
static const Case cases[] = {
    {DTYPE_nf4, false, 1, 70, 64},      {DTYPE_nf4, false, 1, 33, 4160},   {DTYPE_nf4, true, 1, 35, 14336},
    {DTYPE_nf4, true, 2, 17, 4224},     {DTYPE_fp4, false, 3, 40, 3008},   {DTYPE_fp4, true, 4, 16, 1088},
    {DTYPE_nf4, false, 4, 35, 37},      {DTYPE_nf4, false, 5, 300, 2112},  {DTYPE_nf4, true, 12, 16, 576},
    {DTYPE_fp4, true, 67, 129, 1600},   {DTYPE_nf4, false, 25, 41, 97},    {DTYPE_nf4, true, 520, 30, 64},
    {DTYPE_q4_0, false, 1, 70, 32},     {DTYPE_q4_0, false, 1, 33, 4128},  {DTYPE_q4_0, false, 1, 20, 14336},
    {DTYPE_q4_0, false, 2, 17, 4192},   {DTYPE_q4_0, false, 3, 40, 2976},  {DTYPE_q4_0, false, 4, 16, 1120},
    {DTYPE_q4_0, false, 4, 29, 37},     {DTYPE_q4_0, false, 5, 300, 2144}, {DTYPE_q4_0, false, 12, 16, 544},
    {DTYPE_q4_0, false, 67, 129, 1632}, {DTYPE_q4_0, false, 25, 41, 97},   {DTYPE_q4_0, false, 520, 30, 32},
};
enum { CASES = sizeof cases / sizeof *cases };

/* What x is like. */
typedef enum { EVEN, OUTLIERS, TINY, HUGE_, KINDS } Kind;

static Arena store, work, room;
static Tape run;

/* What an arena held before is not 0. */
static void soil(Arena *a)
{
    const ArenaMark mark = arena_mark(a);
    Tensor *dirt = tensor_f32(a, 1 << 18, 0, 0, 0);
    for (int64_t i = 0; i < 1 << 18; i++) ((float *)dirt->data)[i] = NAN;
    arena_pop(a, mark);
}

static void open_all(void)
{
    open_arena(&store, "weights", &backend_cpu, 1 << 28);
    open_arena(&work, "step", &backend_cpu, 1 << 28);
    open_arena(&room, "scratch", &backend_cpu, 1 << 28);
    soil(&work);
    soil(&room);
    tape_init(&run, &work, &room, 1);
}

static void close_all(void)
{
    arena_close(&store);
    arena_close(&work);
    arena_close(&room);
}

static void make(const Case *c, Kind kind, Tensor **x, Tensor **w)
{
    float *values = malloc((size_t)(c->N * c->K) * sizeof *values);
    ck_assert_ptr_nonnull(values);
    rng_fill(values, c->N * c->K, 3, "w", 0.05f);
    *w = quant_tensor(&store, c->dtype, c->N, c->K, values, c->nested);
    free(values);
    *x = tensor_f32(&store, c->M, c->K, 0, 0);
    float *v = (*x)->data;
    rng_fill(v, c->M * c->K, 5, "x", 1);
    for (int64_t i = 0; i < c->M * c->K; i++) {
        if (kind == OUTLIERS && i % 41 == 7) v[i] *= 3000;
        if (kind == OUTLIERS && i % 96 >= 64) v[i] = 0; /* whole blocks */
        if (kind == TINY) v[i] *= 1e-25f;
        if (kind == HUGE_) v[i] *= 1e30f;
    }
}

/* The decoded weight, (N,K). */
static float *decoded(const Case *c, const Tensor *w)
{
    float *all = malloc((size_t)(c->N * c->K) * sizeof *all);
    int64_t blocks = (c->N * c->K + 63) / 64;
    float *absmax = malloc((size_t)blocks * sizeof *absmax);
    ck_assert_ptr_nonnull(all);
    ck_assert_ptr_nonnull(absmax);
    for (int64_t b = 0; w->quant && b < blocks; b++) absmax[b] = quant_absmax(w->quant, b);
    quant_decode(c->dtype, w->data, absmax, c->N * c->K, all);
    free(absmax);
    return all;
}

static void check_case(const Case *c, Kind kind)
{
    Tensor *x, *w;
    make(c, kind, &x, &w);
    float *all = decoded(c, w);
    const Tensor *y = op_matmul_q(&run, x, w, NULL, NULL);
    double off = 0, size = 0;
    for (int64_t m = 0; m < c->M; m++)
        for (int64_t n = 0; n < c->N; n++) {
            double sum = 0;
            for (int64_t k = 0; k < c->K; k++)
                sum += (double)((float *)x->data)[m * c->K + k] * (double)all[n * c->K + k];
            double d = (double)((float *)y->data)[m * c->N + n] - sum;
            off += d * d;
            size += sum * sum;
        }
    ck_assert_msg(off <= 1e-12 * size, "%s%s, (%lld,%lld) x (%lld), kind %d, level %d: %.3g off",
                  dtype_name(c->dtype), c->nested ? " nested" : "", (long long)c->N, (long long)c->K,
                  (long long)c->M, (int)kind, vec_level(), sqrt(off / size));
    free(all);
}

START_TEST(near_the_decoded_product)
{
    int most = vec_level();
    for (vec_limit = 0; vec_limit <= most; vec_limit++)
        for (int i = 0; i < CASES; i++)
            for (Kind kind = 0; kind < KINDS; kind++) {
                open_all();
                check_case(&cases[i], kind);
                close_all();
            }
    vec_limit = most;
}
END_TEST

START_TEST(threads_do_not_matter)
{
    int most = vec_level(), threads = omp_get_max_threads();
    for (vec_limit = 0; vec_limit <= most; vec_limit++)
        for (int i = 0; i < CASES; i++) {
            Tensor *x, *w;
            const Tensor *y[2];
            open_all();
            make(&cases[i], OUTLIERS, &x, &w);
            for (int k = 0; k < 2; k++) {
                omp_set_num_threads(1 + 2 * k);
                y[k] = op_matmul_q(&run, x, w, NULL, NULL);
            }
            ck_assert_msg(!memcmp(y[0]->data, y[1]->data, tensor_bytes(y[0])), "case %d, level %d", i,
                          vec_level());
            close_all();
        }
    vec_limit = most;
    omp_set_num_threads(threads);
}
END_TEST

/* A NaN or an infinity spoils its own row. */
START_TEST(not_finite)
{
    const float bad[] = {NAN, INFINITY, -INFINITY};
    int most = vec_level();
    for (vec_limit = 0; vec_limit <= most; vec_limit++)
        for (int i = 0; i < CASES; i++)
            for (int b = 0; b < 3; b++) {
                const Case *c = &cases[i];
                Tensor *x, *w;
                open_all();
                make(c, EVEN, &x, &w);
                int64_t row = c->M / 2;
                ((float *)x->data)[row * c->K + c->K - 1] = bad[b];
                const Tensor *y = op_matmul_q(&run, x, w, NULL, NULL);
                for (int64_t k = 0; k < c->M * c->N; k++)
                    ck_assert_msg(!isfinite(((float *)y->data)[k]) == (k / c->N == row),
                                  "case %d, level %d, element %lld: %g", i, vec_level(), (long long)k,
                                  (double)((float *)y->data)[k]);
                close_all();
            }
    vec_limit = most;
}
END_TEST

static void fill(TCase *with_fixture, TCase *alone)
{
    (void)with_fixture;
    tcase_set_timeout(alone, 600);
    tcase_add_test(alone, near_the_decoded_product);
    tcase_add_test(alone, threads_do_not_matter);
    tcase_add_test(alone, not_finite);
}

int main(void) { return fixture_main("quant products", fill); }
