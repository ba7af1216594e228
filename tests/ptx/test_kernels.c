/* Kernels of the usual shapes against plain C. */
#include "tests/ptx/test_ptx.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static float *floats(unsigned seed, int n, float scale)
{
    float *x = malloc((size_t)n * sizeof *x);
    for (int i = 0; i < n; i++) x[i] = scale * test_float(seed, (unsigned)i);
    return x;
}

static void *zeros(size_t bytes) { return calloc(1, bytes); }

START_TEST(axpy)
{
    enum { N = 300 };
    float x[N], y[N];
    const int n = N - 3;
    for (int i = 0; i < N; i++) x[i] = (float)i, y[i] = 1 - (float)i;
    test_open("kernels");
    LAUNCH("_Z11axpy_kernelifPKfPf", DIM(3), DIM(128), 0, INT(n), FLOAT(2.5f), POINTER(x), POINTER(y));
    for (int i = 0; i < N; i++) ck_assert_float_eq(y[i], i < n ? 1 + 1.5f * (float)i : 1 - (float)i);
}
END_TEST

static const struct {
    int rows, C, threads;
} softmax_cases[] = {{1, 1, 32}, {5, 333, 128}, {3, 100, 128}, {2, 1000, 32}};

START_TEST(softmax)
{
    const int rows = softmax_cases[_i].rows, C = softmax_cases[_i].C, threads = softmax_cases[_i].threads;
    float *x = floats(1, rows * C, 8), *y = zeros((size_t)(rows * C) * sizeof *y);
    test_open("kernels");
    LAUNCH(threads == 128 ? "_Z14softmax_kernelILi128EEvPKfPfi" : "_Z14softmax_kernelILi32EEvPKfPfi",
           DIM((unsigned)rows), DIM((unsigned)threads), 0, POINTER(x), POINTER(y), INT(C));
    for (int r = 0; r < rows; r++) {
        double sum = 0;
        for (int c = 0; c < C; c++) sum += exp((double)x[r * C + c]);
        for (int c = 0; c < C; c++)
            ck_assert_double_eq_tol(y[r * C + c], exp((double)x[r * C + c]) / sum, 1e-6);
    }
    free(x), free(y);
}
END_TEST

static uint16_t to_bf16(float v)
{
    uint32_t u;
    memcpy(&u, &v, 4);
    return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

static float from_bf16(uint16_t b)
{
    const uint32_t u = (uint32_t)b << 16;
    float v;
    memcpy(&v, &u, 4);
    return v;
}

static uint16_t to_f16(float v)
{
    const _Float16 h = (_Float16)v;
    uint16_t u;
    memcpy(&u, &h, 2);
    return u;
}

static float from_f16(uint16_t b)
{
    _Float16 h;
    memcpy(&h, &b, 2);
    return (float)h;
}

int test_gemm(bool half, int M, int N, int K)
{
    uint16_t *A = malloc((size_t)(M * K) * 2), *B = malloc((size_t)(N * K) * 2);
    float *C = zeros((size_t)(M * N) * sizeof *C);
    for (int i = 0; i < M * K; i++) A[i] = (half ? to_f16 : to_bf16)(test_float(1, (unsigned)i));
    for (int i = 0; i < N * K; i++) B[i] = (half ? to_f16 : to_bf16)(test_float(2, (unsigned)i));
    LAUNCH(half ? "_Z11gemm_kernelI6__halfLb1EEvPKtS2_Pfiii"
                : "_Z11gemm_kernelI13__nv_bfloat16Lb0EEvPKtS2_Pfiii",
           DIM((unsigned)(N + 63) / 64, (unsigned)(M + 63) / 64), DIM(128), 0, POINTER(A), POINTER(B),
           POINTER(C), INT(M), INT(N), INT(K));
    int wrong = 0;
    for (int m = 0; m < M; m++)
        for (int n = 0; n < N; n++) {
            double sum = 0;
            for (int k = 0; k < K; k++)
                sum += half ? (double)from_f16(A[m * K + k]) * (double)from_f16(B[k * N + n])
                            : (double)from_bf16(A[m * K + k]) * (double)from_bf16(B[n * K + k]);
            wrong += !(fabs((double)C[m * N + n] - sum) < 1e-4);
        }
    free(A), free(B), free(C);
    return wrong;
}

static const struct {
    bool half;
    int M, N, K;
} gemm_cases[] = {
    {false, 16, 8, 16}, {false, 70, 90, 72}, {false, 64, 256, 512}, {true, 16, 8, 16}, {true, 130, 72, 104}};

START_TEST(gemm)
{
    test_open("kernels");
    ck_assert_int_eq(test_gemm(gemm_cases[_i].half, gemm_cases[_i].M, gemm_cases[_i].N, gemm_cases[_i].K), 0);
}
END_TEST

/* Mutations of the same kernel that a copy of the assembly for the host could not show. */
START_TEST(mutants)
{
    test_open("mutants/swapped");
    ck_assert_int_gt(test_gemm(false, 64, 64, 64), 64 * 64 / 2);
    test_open("mutants/loose");
    ck_assert_int_gt(test_gemm(false, 64, 64, 64), 64 * 64 / 2);
}
END_TEST

START_TEST(fragments)
{
    uint16_t A[16 * 8], B[8 * 8], turned[8 * 16], copies[64 + 128];
    float C[16 * 8];
    for (int i = 0; i < 128; i++) A[i] = to_bf16(test_float(3, (unsigned)i));
    for (int i = 0; i < 64; i++) B[i] = to_bf16(test_float(4, (unsigned)i));
    test_open("kernels");
    LAUNCH("_Z16fragments_kernelPKtS0_PfPtS2_", DIM(1), DIM(32), 0, POINTER(A), POINTER(B), POINTER(C),
           POINTER(turned), POINTER(copies));
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 8; n++) {
            double sum = 1 + n % 2 + m / 8 * 2;
            for (int k = 0; k < 8; k++)
                sum += (double)from_bf16(A[m * 8 + k]) * (double)from_bf16(B[k * 8 + n]);
            ck_assert_double_eq_tol(C[m * 8 + n], sum, 1e-6);
            ck_assert_uint_eq(turned[n * 16 + m], to_bf16(C[m * 8 + n]));
            ck_assert_uint_eq(copies[64 + n * 16 + m], A[m * 8 + n]);
        }
    ck_assert_mem_eq(copies, B, sizeof B);
}
END_TEST

START_TEST(vectors)
{
    enum { N = 45, SHORT = 43 };
    float *x = floats(5, 4 * N, 10), *y = zeros(16 * N);
    uint8_t bytes[4 * N];
    int16_t pairs[2 * N];
    int32_t *z = zeros(16 * N);
    double *w = zeros(16 * N);
    for (int i = 0; i < 4 * N; i++) bytes[i] = (uint8_t)(i * 37);
    for (int i = 0; i < 2 * N; i++) pairs[i] = (int16_t)(i * 1237 - 30000);
    test_open("kernels");
    LAUNCH("_Z14vectors_kernelPK6float4PK6uchar4PK6short2PS_P4int4P7double2i", DIM(2), DIM(32), 0, POINTER(x),
           POINTER(bytes), POINTER(pairs), POINTER(y), POINTER(z), POINTER(w), INT(SHORT));
    for (int i = 0; i < N; i++) {
        const float *v = x + 4 * i;
        const uint8_t *b = bytes + 4 * i;
        const int on = i < SHORT, p = pairs[2 * i], q = pairs[2 * i + 1];
        const float want[4] = {v[3], v[2] * 2, v[1] - v[0], v[0]};
        const int ints[4] = {b[0] + b[1], b[2] - b[3], p * q, p - q};
        const double doubles[2] = {(double)v[0] * (double)v[1], (double)v[2] / 3};
        for (int k = 0; k < 4; k++) {
            ck_assert_float_eq(y[4 * i + k], on ? want[k] : 0);
            ck_assert_int_eq(z[4 * i + k], on ? ints[k] : 0);
        }
        for (int k = 0; k < 2; k++) ck_assert_double_eq(w[2 * i + k], on ? doubles[k] : 0);
    }
    free(x), free(y), free(z), free(w);
}
END_TEST

START_TEST(narrow)
{
    enum { N = 77 };
    int8_t a[N], s[N];
    uint8_t b[N];
    int16_t c[N];
    uint16_t d[N], u[N];
    int64_t y[N];
    for (int i = 0; i < N; i++)
        a[i] = (int8_t)(i * 41), b[i] = (uint8_t)(i * 59), c[i] = (int16_t)(i * 4001),
        d[i] = (uint16_t)(i * 7001);
    test_open("kernels");
    LAUNCH("_Z13narrow_kernelPKaPKhPKsPKtPlPaPti", DIM(1), DIM(96), 0, POINTER(a), POINTER(b), POINTER(c),
           POINTER(d), POINTER(y), POINTER(s), POINTER(u), INT(N));
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(y[i], (int64_t)a[i] * 1000000007 + b[i] * 3 + c[i] * 5 - d[i]);
        ck_assert_int_eq(s[i], (int8_t)(a[i] + b[i]));
        ck_assert_uint_eq(u[i], (uint16_t)(c[i] * d[i]));
    }
}
END_TEST

typedef struct Shape {
    float scale;
    int at[9];
    long long far;
    unsigned char tag[3];
} Shape;

/* What local_kernel does, thread by thread. */
static void local_reference(const Shape *shape, const int *order, const float *x, float *y, int n, int threads,
                            float next)
{
    static const float table[16] = {1, 2, 3, 4.5f, -1, 0, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    static const short ramp[5][3] = {{1, -2, 3}, {4}, {5, 6}, {0}, {7, 8, -9}};
    static const int steps[8] = {1, -2, 3};
    float rows[64], kept[64][12];
    for (int i = 0; i < threads; i++) {
        int seen[20] = {0};
        float sum = 0;
        memcpy(kept[i], x + i * 12, sizeof kept[i]);
        for (int k = 0; k < n; k++) {
            const int from = order[k] % 12, to = (order[k] / 3 + i) % 12;
            const float v = kept[i][from];
            kept[i][from] = kept[i][to];
            kept[i][to] = v * shape->scale;
            seen[(order[k] + i) % 20]++;
        }
        for (int k = 0; k < 12; k++) sum = fmaf(sum, 1.5f, kept[i][k]);
        for (int k = 0; k < 20; k++) sum += (float)(seen[k] * k);
        rows[i] = sum + ((float)shape->at[(i + n) % 9] + (float)(shape->far + i) + shape->tag[i % 3] +
                         table[(i * 7 + n) & 15] + ramp[i % 5][n % 3] + (float)steps[i & 7]);
    }
    for (int i = 0; i < threads; i++)
        y[i] = rows[i] + (i % 2 ? rows[threads - 1 - i / 2] : next) +
               (order[0] > 2 ? kept[i][order[1] % 12] : rows[i]);
}

START_TEST(locals)
{
    enum { THREADS = 40, N = 50 };
    const Shape shape = {1.25f, {1, 2, 3, 4, 5, 6, 7, 8, 9}, 1000, {7, 8, 9}};
    float *x = floats(6, 12 * THREADS, 1), y[THREADS + 1], want[THREADS];
    int order[N];
    y[THREADS] = 5;
    test_open("kernels");
    for (int first = 0; first < 8; first += 5) {
        for (int k = 0; k < N; k++) order[k] = (k * k * 7 + 3 * k) % 101;
        order[0] = first;
        LAUNCH("_Z12local_kernel5ShapePKiPKfPfi", DIM(1), DIM(THREADS), THREADS * sizeof(float), VALUE(shape),
               POINTER(order), POINTER(x), POINTER(y), INT(N));
        local_reference(&shape, order, x, want, N, THREADS, 5);
        for (int i = 0; i < THREADS; i++) ck_assert_float_eq_tol(y[i], want[i], 1e-2f);
    }
    free(x);
}
END_TEST

START_TEST(sums)
{
    enum { N = 5000 };
    float *x = floats(7, N, 1000), pair[2];
    double sum, want = 0;
    for (int i = 0; i < N; i++) want += (double)x[i];
    test_open("kernels");
    LAUNCH("_Z11sums_kernelPKfiPdPf", DIM(1), DIM(256), 0, POINTER(x), INT(N), POINTER(&sum), POINTER(pair));
    ck_assert_double_eq_tol(sum, want, 1e-9 * fabs(want));
    ck_assert_double_eq_tol((double)pair[0] + (double)pair[1], want, 1e-6);
    ck_assert_double_ne(pair[1], 0);
    free(x);
}
END_TEST

START_TEST(approx)
{
#define CASE(name, device, host, tolerance) {#name, tolerance},
    static const struct {
        const char *name;
        double tolerance;
    } cases[] = {
#include "tests/ptx/kernels/approx.def"
    };
#undef CASE
    enum { N = 500, CASES = sizeof cases / sizeof *cases };
    float *in = floats(8, N, 6), *out = zeros((size_t)N * CASES * sizeof *out);
    for (int k = 0; k < N; k += 7) in[k] *= 0.01f;
    test_open("kernels");
    LAUNCH("_Z13approx_kernelPKfiPf", DIM(8), DIM(64), 0, POINTER(in), INT(N), POINTER(out));
    for (int k = 0; k < N; k++) {
        const double X = (double)in[k], Y = (double)in[(k + 1) % N];
        int row = 0;
#define CASE(name, device, host, tolerance)                                                                    \
    {                                                                                                          \
        const double want = host, got = (double)out[row++ * N + k];                                            \
        ck_assert_msg(fabs(got - want) <= (tolerance)*fmax(fabs(want), 0.1),                                   \
                      #name "(%g, %g) = %.9g, expected %.9g", X, Y, got, want);                                \
    }
#include "tests/ptx/kernels/approx.def"
#undef CASE
    }
    free(in), free(out);
}
END_TEST

void test_kernels(TCase *c)
{
    tcase_add_test(c, axpy);
    tcase_add_loop_test(c, softmax, 0, sizeof softmax_cases / sizeof *softmax_cases);
    tcase_add_loop_test(c, gemm, 0, sizeof gemm_cases / sizeof *gemm_cases);
    tcase_add_test(c, mutants);
    tcase_add_test(c, fragments);
    tcase_add_test(c, vectors);
    tcase_add_test(c, narrow);
    tcase_add_test(c, locals);
    tcase_add_test(c, sums);
    tcase_add_test(c, approx);
}
