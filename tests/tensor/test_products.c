/* What the harness of the ops does not see: products with strides, the same bits from any number of threads, a
 * frozen convolution weight that is replaced in place, call numbers of dropout, means far from zero. */
#include "kernels/gemm.h"
#include "kernels/ops.h"
#include "tests/tensor/tape_fixture.h"
#include <check.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

typedef void Gemm(bool, bool, int64_t, int64_t, int64_t, float, const float *, int64_t, const float *, int64_t,
                  float, float *, int64_t);

static float *random_floats(int64_t n, const char *name)
{
    float *x = malloc((size_t)n * sizeof *x);
    ck_assert_ptr_nonnull(x);
    rng_fill(x, n, 11, name, 1);
    return x;
}

static void check_gemm(Gemm *f, int64_t M, int64_t N, int64_t K, int kind)
{
    bool ta = kind & 1, tb = kind & 2;
    float beta = kind & 4 ? 1.0f : 0.0f, alpha = kind & 8 ? -0.5f : 1.0f;
    int64_t lda = (ta ? M : K) + 3, ldb = (tb ? K : N) + 1, ldc = N + 5;
    float *A = random_floats((ta ? K : M) * lda, "a"), *B = random_floats((tb ? N : K) * ldb, "b");
    float *C = random_floats(M * ldc, "c"), *before = random_floats(M * ldc, "c");
    if (beta == 0) /* what was there must not matter */
        for (int64_t i = 0; i < M * N; i++) C[i / N * ldc + i % N] = NAN;
    f(ta, tb, M, N, K, alpha, A, lda, B, ldb, beta, C, ldc);
    for (int64_t i = 0; i < M; i++)
        for (int64_t j = 0; j < ldc; j++) {
            double want = (double)before[i * ldc + j];
            if (j < N) {
                double sum = 0;
                for (int64_t k = 0; k < K; k++)
                    sum +=
                        (double)A[ta ? k * lda + i : i * lda + k] * (double)B[tb ? j * ldb + k : k * ldb + j];
                want = (double)alpha * sum + (beta == 0 ? 0 : want);
            }
            ck_assert_msg(fabs((double)C[i * ldc + j] - want) <= 1e-5 * (1 + sqrt((double)K)),
                          "%lldx%lldx%lld kind %d at (%lld,%lld): %g, expected %g", (long long)M, (long long)N,
                          (long long)K, kind, (long long)i, (long long)j, (double)C[i * ldc + j], want);
        }
    free(A);
    free(B);
    free(C);
    free(before);
}

START_TEST(products)
{
    static const int64_t size[][3] = {{1, 1, 1},   {1, 37, 5},    {37, 1, 19},   {12, 16, 256}, {13, 17, 257},
                                      {11, 33, 7}, {97, 129, 31}, {385, 19, 23}, {5, 300, 513}};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        for (int kind = 0; kind < 16; kind++) {
            check_gemm(gemm, size[i][0], size[i][1], size[i][2], kind);
            check_gemm(gemm_loops, size[i][0], size[i][1], size[i][2], kind);
        }
}
END_TEST

START_TEST(threads_do_not_matter)
{
    enum { M = 401, N = 515, K = 129 };
    float *A = random_floats(M * K, "a"), *B = random_floats(K * N, "b"), *C[2];
    int threads = omp_get_max_threads();
    for (int i = 0; i < 2; i++) {
        C[i] = random_floats(M * N, "c");
        omp_set_num_threads(1 + 2 * i);
        gemm_loops(false, false, M, N, K, 1, A, K, B, N, 1, C[i], N);
    }
    omp_set_num_threads(threads);
    ck_assert_int_eq(memcmp(C[0], C[1], M * N * sizeof(float)), 0);
    free(A);
    free(B);
    free(C[0]);
    free(C[1]);
}
END_TEST

/* A frozen weight is kept in another layout. Other values at the same place must not meet the old copy. */
START_TEST(frozen_weight_replaced)
{
    Tensor *x = tensor_f32(&weights, 1, 5, 5, 16), *w = tensor_f32(&weights, 32, 3, 3, 16);
    tensor_fill(x, 1);
    for (int round = 1; round <= 3; round++) {
        tensor_fill(w, (float)round);
        for (int again = 0; again < 2; again++) {
            Tensor *y = op_conv2d(&tape, x, w, NULL, 1, 1);
            ck_assert_double_eq_tol((double)((float *)y->data)[12 * 32], 144.0 * round, 1e-3); /* the middle */
        }
        ((float *)w->data)[4 * 16 + 3] += 7; /* one element of output channel 0 */
        Tensor *y = op_conv2d(&tape, x, w, NULL, 1, 1);
        ck_assert_double_eq_tol((double)((float *)y->data)[12 * 32], 144.0 * round + 7, 1e-3);
        tape_reset(&tape);
    }
}
END_TEST

/* Each call has a mask of its own; inference has none. */
START_TEST(dropout_calls)
{
    Tensor *x = tensor_f32(&weights, 4, 64, 0, 0), *w = tensor_f32(&weights, 8, 64, 0, 0);
    Lora lora = {tensor_f32(&weights, 4, 64, 0, 0), tensor_f32(&weights, 8, 4, 0, 0), 1, 0.5f};
    rng_fill(x->data, 256, 1, "x", 1);
    tensor_fill(w, 0);
    rng_fill(lora.A->data, 256, 1, "A", 1);
    rng_fill(lora.B->data, 32, 1, "B", 1);
    Tensor *plain = op_linear(&tape, x, w, NULL, &lora), *same = op_linear(&tape, x, w, NULL, &lora);
    ck_assert_int_eq(memcmp(plain->data, same->data, 32 * sizeof(float)), 0);
    ck_assert_uint_eq(tape.calls, 0);
    tape.recording = true;
    Tensor *first = op_linear(&tape, x, w, NULL, &lora), *second = op_linear(&tape, x, w, NULL, &lora);
    ck_assert_uint_eq(tape.calls, 2);
    ck_assert_int_ne(memcmp(first->data, plain->data, 32 * sizeof(float)), 0);
    ck_assert_int_ne(memcmp(first->data, second->data, 32 * sizeof(float)), 0);
    tape.calls = 0;
    Tensor *again = op_linear(&tape, x, w, NULL, &lora);
    ck_assert_int_eq(memcmp(first->data, again->data, 32 * sizeof(float)), 0);
    tape.recording = false;
}
END_TEST

/* Variance of values 1000 +- 0.1: squares in f32 would lose it. */
START_TEST(mean_far_from_zero)
{
    enum { R = 5000, C = 3 };
    Tensor *x = tensor_f32(&weights, R, C, 0, 0), *one = tensor_f32(&weights, C, 0, 0, 0);
    Tensor *zero = tensor_f32(&weights, C, 0, 0, 0), *mean = tensor_f32(&weights, C, 0, 0, 0);
    Tensor *var = tensor_f32(&weights, C, 0, 0, 0);
    for (int i = 0; i < R * C; i++) ((float *)x->data)[i] = 1000 + (i / C % 2 ? 0.125f : -0.125f);
    tensor_fill(one, 1);
    tensor_fill(zero, 0);
    tensor_fill(mean, 0);
    tensor_fill(var, 0);
    Tensor *y = op_batchnorm(&tape, x, one, zero, mean, var, (BatchnormParams){0, 1, true});
    for (int i = 0; i < R * C; i++)
        ck_assert_double_eq_tol((double)((float *)y->data)[i], i / C % 2 ? 1 : -1, 1e-4);
    for (int c = 0; c < C; c++) {
        ck_assert_double_eq_tol((double)((float *)mean->data)[c], 1000, 1e-4);
        ck_assert_double_eq_tol((double)((float *)var->data)[c], 0.015625 * R / (R - 1), 1e-6);
    }
}
END_TEST

static void fill(TCase *with_fixture, TCase *alone)
{
    tcase_set_timeout(alone, 120);
    tcase_add_test(alone, products);
    tcase_add_test(alone, threads_do_not_matter);
    tcase_add_test(with_fixture, frozen_weight_replaced);
    tcase_add_test(with_fixture, dropout_calls);
    tcase_add_test(with_fixture, mean_far_from_zero);
}

int main(void) { return fixture_main("products", fill); }
