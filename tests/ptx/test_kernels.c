/* Kernels of the usual shapes against plain C. */
#include "tests/ptx/test_ptx.h"
#include <math.h>

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

void test_kernels(TCase *c) { tcase_add_test(c, axpy); }
