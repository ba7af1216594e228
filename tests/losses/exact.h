/* The oracles of the kernel tests, in double, against numbers of more digits than the ops have: this shows that
 * the formula itself is the reference's. A test includes the kernel test it wants (its .c file), after all
 * else. */
#ifndef TESTS_LOSSES_EXACT_H
#define TESTS_LOSSES_EXACT_H
#include "tests/golden/golden.h"
#include "tests/kernels/kernel_test.h"

/* |got - want| <= tol, naming what it is. */
static inline void exact_close(const char *what, double got, double want, double tol)
{
    ck_assert_msg(fabs(got - want) <= tol, "%s: %.12g, wants %.12g", what, got, want);
}

/* The slope of an oracle's one output by element j of input i: central differences of sixth order, step h. */
static inline double exact_slope(KernelOracle *oracle, double *const *in, const KernelCase *k, int i, int64_t j,
                                 double h)
{
    static const double weight[] = {45 / 60.0, -9 / 60.0, 1 / 60.0};
    double x = in[i][j], slope = 0, up, down;
    for (int m = 1; m <= 3; m++) {
        in[i][j] = x + m * h;
        oracle(&up, NULL, in, k);
        in[i][j] = x - m * h;
        oracle(&down, NULL, in, k);
        slope += weight[m - 1] * (up - down) / h;
    }
    in[i][j] = x;
    return slope;
}

/* The doubles NAME.exact of a golden; returns how many. */
static inline int64_t exact_load(const TensorFile *g, const char *name, int64_t room, double *x)
{
    char full[96];
    Error e = {0};
    snprintf(full, sizeof full, "%s.exact", name);
    const TensorEntry *entry = tensor_file_find(g, full);
    ck_assert_msg(entry && entry->size <= (size_t)room * sizeof *x, "%s: no %s of at most %lld numbers",
                  g->path, full, (long long)room);
    ck_assert_msg(tensor_file_read(g, entry, x, &e), "%s", e.msg);
    return (int64_t)(entry->size / sizeof *x);
}

/* The oracle's value against NAME.y.exact, its slopes by input i against NAME.dKEY.exact: elements spread
 * evenly.
 */
static inline void exact_value(const TensorFile *g, const char *name, KernelOracle *oracle, double *const *in,
                               const KernelCase *k, double tol)
{
    char full[80];
    double want, got;
    snprintf(full, sizeof full, "%s.y", name);
    ck_assert_int_eq(exact_load(g, full, 1, &want), 1);
    oracle(&got, NULL, in, k);
    exact_close(full, got, want, tol);
}

static inline void exact_gradient(const TensorFile *g, const char *name, const char *key, KernelOracle *oracle,
                                  double *const *in, const KernelCase *k, int i, double tol)
{
    char full[80];
    double want[16];
    snprintf(full, sizeof full, "%s.d%s", name, key);
    int64_t probes = exact_load(g, full, 16, want), len = case_len(k, i);
    for (int64_t m = 0; m < probes; m++)
        exact_close(full, exact_slope(oracle, in, k, i, m * len / probes, 3e-3), want[m], tol);
}

#endif
