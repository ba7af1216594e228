/* Divergence, collectives, barriers and atomics against plain C. */
#include "tests/ptx/test_ptx.h"
#include <stdlib.h>
#include <string.h>

static int one_path(int v, int i)
{
    int turns = 0, sum = 0;
    while (v != 1) {
        if (++turns > 200) return -turns;
        for (int k = 0; k < v % 5; k++) {
            if ((k + i) % 4 == 3) continue;
            sum += k * v % 7;
            if (sum > 900) break;
        }
        switch (v % 9) {
        case 0: sum += 3; break;
        case 1: sum ^= v; break;
        case 2: sum -= turns; /* fall through */
        case 3: sum += v; break;
        case 4: v += 2; continue;
        case 5: sum *= 3; break;
        case 6: sum = -sum; break;
        case 7: sum >>= 1; break;
        }
        v = v % 2 ? 3 * v + 1 : v / 2;
        if (sum < -5000) break;
    }
    return sum * 256 + turns;
}

START_TEST(paths)
{
    enum { N = 333, SHORT = 330 };
    int x[N], y[N] = {0};
    for (int i = 0; i < N; i++) x[i] = 1 + i * 7 % 97;
    test_open("kernels");
    LAUNCH("_Z12paths_kernelPKiPii", DIM(3), DIM(128), 0, POINTER(x), POINTER(y), INT(SHORT));
    for (int i = 0; i < N; i++) ck_assert_int_eq(y[i], i < SHORT ? one_path(x[i], i) : 0);
}
END_TEST

static int down(const int *v, int l, int n, int width) { return l % width + n < width ? v[l + n] : v[l]; }
static int up(const int *v, int l, int n, int width) { return l % width - n >= 0 ? v[l - n] : v[l]; }

/* What warp_kernel does, lanes together. */
static void one_warp(const int *x, int *y)
{
    int v[32], w[32], sum[32], left[32];
    memcpy(v, x, sizeof v);
    for (int k = 2; k < 32; k *= 2) {
        for (int l = 1; l < 32; l += 2) w[l] = v[l] + v[l ^ k];
        for (int l = 1; l < 32; l += 2) v[l] = w[l];
    }
    for (int l = 0; l < 32; l += 2) w[l] = v[6] - up(v, l, 2, 16);
    for (int l = 0; l < 32; l += 2) v[l] = w[l];
    for (int l = 0; l < 32; l++) sum[l] = v[l] * 3 + down(v, l, 3, 8) + up(v, l, l % 4, 32), left[l] = x[l] & 7;
    for (;;) {
        int busy = 0, lanes = 0, few = 1;
        for (int l = 0; l < 32; l++)
            if (left[l] > 0) busy++, lanes += l;
        if (!busy) break;
        for (int l = 0; l < 32; l++)
            if (left[l] > 0) left[l]--, sum[l] += busy + lanes;
        for (int l = 0; l < 32; l++) few &= left[l] < 3;
        for (int l = 0; l < 32; l++) sum[l] += few;
    }
    unsigned top = 0, bits = 0;
    int least = v[0], same = 1;
    for (int l = 0; l < 32; l++) {
        top = ((unsigned)v[l] & 1023) > top ? (unsigned)v[l] & 1023 : top;
        bits ^= (unsigned)v[l];
        least = v[l] < least ? v[l] : least;
        same &= (x[l] & 8) == (x[0] & 8);
    }
    for (int l = 0; l < 32; l++) {
        unsigned alike = 0;
        for (int m = 0; m < 32; m++) alike |= (unsigned)((x[m] & 3) == (x[l] & 3)) << m;
        sum[l] += (int)alike % 1009 + same * 5 + (int)top + least % 13 + (int)(bits % 17) + 1;
    }
    for (int l = 0; l < 32; l++)
        y[l] = sum[l] + sum[l ^ 5] + __builtin_popcount((unsigned)(((uint64_t)1 << l) - 1) & 0x0F0F0F0F);
}

START_TEST(warps)
{
    enum { N = 96 };
    int x[N], y[N], want[N];
    for (int i = 0; i < N; i++) x[i] = i < 32 ? 8 + i % 8 : (i * i * 31 + i) % 1000;
    for (int i = 0; i < N; i += 32) one_warp(x + i, want + i);
    test_open("kernels");
    LAUNCH("_Z11warp_kernelPKiPi", DIM(1), DIM(N), 0, POINTER(x), POINTER(y));
    for (int i = 0; i < N; i++) ck_assert_int_eq(y[i], want[i]);
}
END_TEST

START_TEST(blocks)
{
    enum { THREADS = 96, BLOCKS = 3, N = THREADS * BLOCKS };
    int x[N], y[N];
    unsigned total[8] = {0, 500, 0, ~0u, 0, 3, 2, 1}, turn[2] = {0}, want[8] = {0, 500, 0, ~0u, 0, 3, 2, 1};
    unsigned long long wide = 0, want_wide = 0;
    for (int i = 0; i < N; i++) x[i] = i == 40 ? 77 : i * 37 % 901 + (i == 200 ? 1000 : 0);
    test_open("kernels");
    LAUNCH("_Z12block_kernelPKiPiPjPyS2_", DIM(BLOCKS), DIM(THREADS), 0, POINTER(x), POINTER(y), POINTER(total),
           POINTER(&wide), POINTER(turn));
    for (int b = 0; b < BLOCKS; b++) {
        const int *v = x + b * THREADS;
        int bins[8] = {0}, odd = 0, seven = 0, small = 1, top = 0;
        for (int i = 0; i < THREADS; i++) odd += v[i] & 1, seven |= v[i] == 77, small &= v[i] < 1000;
        for (int i = 0; i < THREADS; i++) bins[v[i] & 7] += v[i], top = v[i] > top ? v[i] : top;
        for (int i = 0; i < THREADS; i++) {
            const int sum = odd + 1000 * seven + 2000 * small + (i >= 32 && i < 64 ? 2 * v[63 - i] : 0);
            ck_assert_int_eq(y[b * THREADS + i], sum + bins[i & 7] + top);
        }
    }
    for (int i = 0; i < N; i++) {
        const unsigned v = (unsigned)x[i];
        want[0] += v, want_wide += (unsigned long long)v << 30;
        want[1] = v < want[1] ? v : want[1];
        want[2] |= 1u << (v & 31), want[3] &= ~(1u << (v & 31)), want[4] ^= v;
        want[5] = want[5] >= 6 ? 0 : want[5] + 1, want[6] = want[6] == 0 || want[6] > 9 ? 9 : want[6] - 1;
        want[7] = want[7] * 3 + 1;
    }
    for (int k = 0; k < 8; k++) ck_assert_uint_eq(total[k], want[k]);
    ck_assert_uint_eq(wide, want_wide);
    ck_assert_uint_eq(turn[0], BLOCKS);
    ck_assert_uint_eq(turn[1], BLOCKS - 1 + 100);
}
END_TEST

START_TEST(places)
{
    const int grid[3] = {3, 2, 2}, block[3] = {5, 3, 4}, threads = 60;
    int y[12 * 60];
    test_open("kernels");
    LAUNCH("_Z12place_kernelPi", DIM(3, 2, 2), DIM(5, 3, 4), 0, POINTER(y));
    for (int i = 0; i < 12 * threads; i++) {
        const int b = i / threads, t = i % threads;
        ck_assert_int_eq(y[i], b / grid[0] / grid[1] * 100000 + b / grid[0] % grid[1] * 10000 +
                                   b % grid[0] * 1000 + t / block[0] / block[1] * 100 +
                                   t / block[0] % block[1] * 10 + t % block[0]);
    }
}
END_TEST

void test_paths(TCase *c)
{
    tcase_add_test(c, paths);
    tcase_add_test(c, warps);
    tcase_add_test(c, blocks);
    tcase_add_test(c, places);
}
