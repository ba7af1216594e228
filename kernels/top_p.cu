/* Nucleus sampling: what top_p.c computes, without sorting.
 *
 * A token's mass is exp((x - max) / temperature) in fixed point, 2^fraction for the most probable: sums of
 * masses are exact in any order, so threads may add to bins by integer atomics and yet the same bits come out
 * every run. Tokens are ordered by one integer, (bits of x in order, id descending): all are different, and the
 * larger comes first. What is wanted twice (the last token kept, the token drawn) is the first in that order at
 * which the mass so far passes a target. A first histogram over the row has TOP_P_BINS bins of equal width in
 * log p; the tokens of the bin where the target falls go to a list, on which further histograms of the order's
 * bits narrow the place down to one token. Masses below 2^-fraction (2^-44 up to 2^18 tokens) are 0: such a
 * token has probability 0 even where it is kept.
 *
 * Mapping: a block a row, which walks over it four times (maximum; masses; list for the last token kept;
 * probabilities, and list for the token drawn): no more than a row a multiprocessor at a time, from the L2.
 * Bytes: 8 a token and the lists. Floor: bytes over bandwidth; the batch of a decode step leaves most
 * multiprocessors idle, so latency of four walks. Log: never timed on a GPU. */
#include "kernels/rows.cuh"
#include "kernels/two_float.cuh"
#include "tensor/rng.h"
#include <math.h>

enum { TOP_P_BINS = 2048, TOP_P_BINS_A_BIT = 33, TOP_P_SHORT = 4096 /* tokens: 256 threads, else 1024 */ };

typedef unsigned long long Mass;

/* One row's numbers. */
struct TopPRow {
    TwoFloat bits; /* log2(e) / temperature */
    float bins;    /* a unit of x */
    int fraction, id_bits;
    float top;

    /* In falling order of x; -1: no mass. */
    __device__ int bin(float x) const
    {
        const float place = x == top ? 0 : (top - x) * bins;
        return place < TOP_P_BINS ? (int)place : -1;
    }
    __device__ Mass order(float x, int id) const
    {
        const unsigned u = x == 0 ? 0 : __float_as_uint(x), key = u >> 31 ? ~u : u | 1u << 31;
        return (Mass)key << id_bits | ((1u << id_bits) - 1 - (unsigned)id);
    }
    __device__ float x_of(Mass order) const
    {
        const unsigned key = (unsigned)(order >> id_bits);
        return __uint_as_float(key >> 31 ? key ^ 1u << 31 : ~key);
    }
    __device__ int id_of(Mass order) const
    {
        return (int)((1u << id_bits) - 1 - ((unsigned)order & ((1u << id_bits) - 1)));
    }
    __device__ Mass mass(float x) const;
};

/* 2^(fraction - a), a = (top - x) bits, of a token that has a bin. Above 2^-20 a polynomial in integers, good
 * to 2^-44; below that a float does. */
__device__ Mass TopPRow::mass(float x) const
{
    /* ln(2)^i / i! times 2^62 */
    const Mass factor[] = {0x4000000000000000, 0x2c5c85fdf473de6b, 0xf5fdeffc162c754, 0x38d611ae09417f1,
                           0x9d955b7dd273b9,   0x15d87fe78a6731,   0x2861225f0d8f1,   0x3ff97f8b1162,
                           0x58b0088e972,      0x6d494f4e58,       0x7933d4563,       0x7a32b1cd,
                           0x70ef594};
    if (x == top) return (Mass)1 << fraction;
    TwoFloat d = {top, 0};
    d.add(-x);
    const TwoFloat a = product(d, bits);
    const long long fixed = (long long)(a.hi * 0x1p48f) + (long long)(a.lo * 0x1p48f), one = 1ll << 48;
    const int whole = (int)(fixed >> 48);
    const long long part = fixed & (one - 1);
    if (whole >= 20)
        return (Mass)(exp2f((float)part * -0x1p-48f) * __int_as_float((127 + fraction - whole) << 23) + 0.5f);
    const Mass rest = (Mass)(one - part) << 15; /* 1 - part, times 2^63 */
    Mass power = factor[12];
#pragma unroll
    for (int i = 11; i >= 0; i--) power = factor[i] + (__umul64hi(power, rest) << 1);
    const int shift = 63 - fraction + whole; /* power is 2^(1 - part) times 2^62 */
    return (power + ((Mass)1 << (shift - 1))) >> shift;
}

/* ---- bins of masses, low and high words ---- */

struct TopPBin {
    unsigned low, high;

    __device__ void add(Mass m)
    {
        const unsigned l = (unsigned)m, old = atomicAdd(&low, l), h = (unsigned)(m >> 32) + (old + l < old);
        if (h) atomicAdd(&high, h);
    }
    __device__ Mass value() const { return (Mass)high << 32 | low; }
};

template <int threads> static inline __device__ void clear_bins(TopPBin *bin)
{
    for (int i = (int)threadIdx.x; i < TOP_P_BINS; i += threads) bin[i] = {0, 0};
}

/* Of the thread's bins, TOP_P_BINS / threads neighbours: the mass in front of them, theirs, that of all. */
struct TopPScan {
    Mass before, mine, all;
};

template <int threads> static inline __device__ TopPScan scan_bins(const TopPBin *bin CALLER)
{
    SHARED_ARRAY(Mass, warp_mass, [threads / 32]);
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, share = TOP_P_BINS / threads;
    TopPScan s = {};
    for (int i = 0; i < share; i++) s.mine += bin[(int)threadIdx.x * share + i].value();
    Mass up_to = s.mine;
#pragma unroll
    for (int d = 1; d < 32; d *= 2) {
        const Mass other = __shfl_up_sync(~0u, up_to, d, 32 THE_CALLER);
        if (lane >= d) up_to += other;
    }
    CALLERS_SYNC(); /* the last call's reads are done */
    if (lane == 31) warp_mass[warp] = up_to;
    CALLERS_SYNC();
    s.before = up_to - s.mine;
    for (int i = 0; i < threads / 32; i++) {
        if (i < warp) s.before += warp_mass[i];
        s.all += warp_mass[i];
    }
    return s;
}

/* Where the mass so far passes target, which is below that of all. */
struct TopPPlace {
    int bin;
    Mass before;
};

template <int threads>
static inline __device__ TopPPlace find_bin(const TopPBin *bin, TopPScan s, Mass target CALLER)
{
    SHARED_ARRAY(TopPPlace, place, );
    const int share = TOP_P_BINS / threads;
    CALLERS_SYNC();
    if (s.before <= target && target < s.before + s.mine) {
        TopPPlace p = {(int)threadIdx.x * share, s.before};
        for (; target >= p.before + bin[p.bin].value(); p.bin++) p.before += bin[p.bin].value();
        place = p;
    }
    CALLERS_SYNC();
    return place;
}

/* ---- lists ---- */

template <int threads> static inline __device__ Mass block_most(Mass v CALLER)
{
    SHARED_ARRAY(Mass, warp_most, [threads / 32]);
#pragma unroll
    for (int d = 16; d; d /= 2) v = max(v, __shfl_xor_sync(~0u, v, d, 32 THE_CALLER));
    CALLERS_SYNC(); /* the last call's reads are done */
    if (threadIdx.x % 32 == 0) warp_most[threadIdx.x / 32] = v;
    CALLERS_SYNC();
    for (int i = 0; i < threads / 32; i++) v = max(v, warp_most[i]);
    return v;
}

/* Tokens of one bin, as their orders. */
struct TopPList {
    Mass *token;
    int *count, n;        /* while it grows (shared), then */
    Mass most, not_least; /* of the thread's, then of all */

    __device__ void add(Mass order)
    {
        token[atomicAdd(count, 1)] = order;
        most = max(most, order);
        not_least = max(not_least, ~order);
    }
    /* All threads' are in, and *count is 0 for the next list after the next barrier. */
    template <int threads> __device__ void close()
    {
        most = block_most<threads>(most);
        not_least = block_most<threads>(not_least);
        n = *count;
        __syncthreads();
        if (threadIdx.x == 0) *count = 0;
    }
};

/* The token at which the mass so far, `before` in front of the list, passes target; *up_to: the mass with it.
 */
template <int threads>
static __device__ Mass find_token(const TopPList &list, TopPBin *bin, const TopPRow &row, Mass before,
                                  Mass target, Mass *up_to)
{
    Mass most = list.most, least = ~list.not_least;
    for (;;) {
        const int width = 64 - __clzll((long long)(most - least)), shift = max(width - 11, 0);
        clear_bins<threads>(bin);
        __syncthreads();
        for (int i = (int)threadIdx.x; i < list.n; i += threads) {
            const Mass token = list.token[i];
            if (token >= least && token <= most) bin[(most - token) >> shift].add(row.mass(row.x_of(token)));
        }
        __syncthreads();
        const TopPPlace p = find_bin<threads>(bin, scan_bins<threads>(bin), target - before);
        before += p.before;
        most -= (Mass)p.bin << shift;
        if (shift == 0) break;
        if (most - least >= (Mass)1 << shift) least = most - (((Mass)1 << shift) - 1);
    }
    *up_to = before + row.mass(row.x_of(most));
    return most;
}

/* ---- a row ---- */

/* The masses of a row, all of its threads'. */
template <int threads> static __device__ TopPScan fill_bins(const float *x, int V, TopPRow *row, TopPBin *bin)
{
    float top = -INFINITY;
    row_read<threads>(
        V, [&](int, float v) { top = fmaxf(top, v); }, x);
    row->top = block_max<threads>(top);
    clear_bins<threads>(bin);
    __syncthreads();
    row_read<threads>(
        V,
        [&](int, float v) {
            const int b = row->bin(v);
            if (b >= 0) bin[b].add(row->mass(v));
        },
        x);
    __syncthreads();
    return scan_bins<threads>(bin);
}

/* tokens (R,V): the rows' lists. */
template <int threads>
__global__ void __launch_bounds__(threads, 1024 / threads)
    top_p_kernel(const float *__restrict__ x, const int *__restrict__ draw, TopPParams p, TopPRow row, int V,
                 Mass *__restrict__ tokens, float *__restrict__ kept, int *__restrict__ y)
{
    SHARED_ARRAY(TopPBin, bin, [TOP_P_BINS]);
    SHARED_ARRAY(TopPBin, fine, [TOP_P_BINS]);
    SHARED_ARRAY(int, count, );
    x += (int64_t)blockIdx.x * V;
    kept += (int64_t)blockIdx.x * V;
    if (threadIdx.x == 0) count = 0;
    const TopPScan s = fill_bins<threads>(x, V, &row, bin);
    if (s.all == 0 || !(p.top_p >= 0)) { /* nothing is kept */
        row_write<threads, false>(kept, V, [](int) { return 0.0f; });
        if (threadIdx.x == 0) y[blockIdx.x] = 0;
        return;
    }

    Mass last = 0, mass = s.all;
    const TopPList empty = {tokens + (int64_t)blockIdx.x * V, &count, 0, 0, 0};
    if (p.top_p < 1) {
        const Mass target = (Mass)((double)p.top_p * (double)s.all);
        const TopPPlace place = find_bin<threads>(bin, s, target);
        TopPList list = empty;
        row_read<threads>(
            V,
            [&](int id, float v) {
                if (row.bin(v) == place.bin) list.add(row.order(v, id));
            },
            x);
        list.close<threads>();
        last = find_token<threads>(list, fine, row, place.before, target, &mass);
    }

    const Philox r = philox4x32(blockIdx.x, 0, (uint32_t)draw[0], 0, (uint32_t)draw[1], (uint32_t)draw[2]);
    const Mass target = (Mass)((double)philox_unit(r.v[0]) * (double)mass);
    const float share = 1 / (float)mass;
    const TopPPlace place = find_bin<threads>(bin, s, target);
    TopPList list = empty;
    row_write<threads, false>(
        kept, V,
        [&](int id, float v) {
            const int b = row.bin(v);
            const Mass order = row.order(v, id);
            if (b == place.bin) list.add(order);
            return b >= 0 && order >= last ? (float)row.mass(v) * share : 0;
        },
        x);
    list.close<threads>();
    const Mass drawn = find_token<threads>(list, fine, row, place.before, target, &mass);
    if (threadIdx.x == 0) y[blockIdx.x] = row.id_of(drawn);
}

extern "C" void top_p_forward_cuda(Tape *t, Node *n)
{
    const int64_t R = n->in[0]->dim[0], V = n->in[0]->dim[1];
    const TopPParams p = *NODE_AS(TopPParams, n);
    const double bits = 1.44269504088896340736 / (double)p.temperature;
    TopPRow row = {};
    row.bits = {(float)bits, (float)(bits - (double)(float)bits)};
    row.bins = (float)(bits * TOP_P_BINS_A_BIT);
    while ((int64_t)1 << row.id_bits < V) row.id_bits++;
    row.fraction = 62 - row.id_bits < 44 ? 62 - row.id_bits : 44;
    Mass *tokens = (Mass *)scratch(t, (size_t)(R * V) * sizeof *tokens);
    float *kept = f32(n->saved[0]);
    const int *draw = (const int *)n->in[1]->data;
    int *y = (int *)n->out->data;
    if (V <= TOP_P_SHORT)
        KERNEL_LAUNCH((top_p_kernel<256>), (unsigned)R, 256, 0, f32(n->in[0]), draw, p, row, (int)V, tokens,
                      kept, y);
    else
        KERNEL_LAUNCH((top_p_kernel<1024>), (unsigned)R, 1024, 0, f32(n->in[0]), draw, p, row, (int)V, tokens,
                      kept, y);
}
