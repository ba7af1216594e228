/* Rows by number, y[i] = x[index[i]], and their gradient, dx[index[i]] += dy[i] in the order of i: select and
 * embed.
 *
 * Mapping: rows as in columns.cuh; bytes forward: 8 an element of y (bf16 4).
 *
 * Backward sorts the numbers and lets each row of dx gather: a row of dx is written once, by the first of its
 * span, and rows that nobody names are not touched.
 *   order   a warp an i counts over all M numbers how many come before it: where i stands among them sorted (by
 *           number, then i), its rank among its equals and how many these are.
 *   sum     each span of up to 32 equals, side by side now, is summed up by a thread for every four columns:
 * into dx, or into scratch (M/16,C) where the number has more than one span. finish  the first span of such a
 * number adds up the others', in order. A number that comes M times so costs 32 + M/32 steps instead of M.
 * Bytes: 4 an element of dy, 8 an element of dx that is named. Order costs M^2 comparisons, about eight
 * instructions for 32 of them, from L1: 4 us on an RTX 4090 for the 4,320 tokens of a training step, where dy
 * (D = 4096) is 70 MB or 70 us; 2 ms for 100,000. A count by number would be linear but needs its own room and
 * pass over all of a 128k table, and a stable order besides. */
#ifndef KERNELS_GATHER_CUH
#define KERNELS_GATHER_CUH
#include "kernels/columns.cuh"
#include <limits.h>

enum { SPAN = 32 };

/* empty: the number -1 is a row of zeros. */
template <int V, class X, class Y>
__global__ void __launch_bounds__(256)
    gather_forward_kernel(Y *__restrict__ y, const X *__restrict__ x, const int *__restrict__ index, int64_t M,
                          int64_t C, int N, bool empty, CudaFault *fault, int op)
{
    int64_t c = first_column<V>();
    if (c >= C) return;
    for (int64_t r = first_row(); r < M; r += row_step()) {
        int i = index[r];
        Pack<V> row = {};
        if (!(empty && i == -1) && in_range(fault, op, i, N)) row = load_f32<V>(x + i * C + c);
        store(y + r * C + c, row);
    }
}

/* One of the M numbers, where it stands sorted. */
typedef struct __align__(16) Placed { int number, row, rank, count; /* rank of count equals */ }
Placed;

/* head[k]: the place of the number with several spans that begins within places 32 k .. 32 k + 31; of these
 * there is at most one, since it fills the rest. Was -1. */
template <int threads>
__global__ void __launch_bounds__(threads)
    gather_order_kernel(Placed *__restrict__ placed, int *__restrict__ head, const int *__restrict__ index,
                        int M)
{
    int i = (int)(blockIdx.x * (threads / 32) + threadIdx.x / 32), lane = (int)threadIdx.x % 32;
    if (i >= M) return;
    int number = index[i], less = 0, rank = 0, count = 0;
#pragma unroll 4
    for (int j = lane; j < M; j += 32) {
        int other = index[j];
        less += other < number;
        count += other == number;
        rank += other == number && j < i;
    }
    less = __reduce_add_sync(~0u, less);
    rank = __reduce_add_sync(~0u, rank);
    count = __reduce_add_sync(~0u, count);
    if (lane) return;
    placed[less + rank] = Placed{number, i, rank, count};
    if (rank == 0 && count > SPAN) head[less / SPAN] = less;
}

/* Where the span that begins at a place leaves its sum. Within 32 places at most two begin that need one: a
 * later span of one number and the first of the next. */
static inline __device__ int64_t span_slot(int place, int rank) { return place / SPAN * 2 + (rank == 0); }

template <int V>
__global__ void __launch_bounds__(256)
    gather_backward_kernel(float *__restrict__ dx, float *__restrict__ part, const float *__restrict__ dy,
                           const Placed *__restrict__ placed, int M, int64_t C, int N)
{
    int64_t c = first_column<V>();
    if (c >= C) return;
    for (int p = (int)first_row(); p < M; p += (int)row_step()) {
        Placed first = placed[p];
        if (first.rank % SPAN || first.number < 0 || first.number >= N) continue;
        int n = first.count - first.rank < SPAN ? first.count - first.rank : SPAN;
        Pack<V> sum = load<V>(dy + first.row * C + c);
#pragma unroll 4
        for (int k = 1; k < n; k++) {
            Pack<V> d = load<V>(dy + placed[p + k].row * C + c);
#pragma unroll
            for (int j = 0; j < V; j++) sum.v[j] += d.v[j];
        }
        if (first.count <= SPAN)
            add_to(dx + first.number * C + c, sum);
        else
            store(part + span_slot(p, first.rank) * C + c, sum);
    }
}

template <int V>
__global__ void __launch_bounds__(256)
    gather_finish_kernel(float *__restrict__ dx, const float *__restrict__ part,
                         const Placed *__restrict__ placed, const int *__restrict__ head, int heads, int64_t C,
                         int N)
{
    int64_t c = first_column<V>();
    if (c >= C) return;
    for (int h = (int)first_row(); h < heads; h += (int)row_step()) {
        if (head[h] < 0) continue;
        Placed first = placed[head[h]];
        if (first.number < 0 || first.number >= N) continue;
        Pack<V> sum = {};
#pragma unroll 4
        for (int k = 0; k < first.count; k += SPAN) {
            Pack<V> d = load<V>(part + span_slot(head[h] + k, k) * C + c);
#pragma unroll
            for (int j = 0; j < V; j++) sum.v[j] += d.v[j];
        }
        add_to(dx + first.number * C + c, sum);
    }
}

/* in[0] (N,...) of X and in[1], M numbers; out M rows of C, of Y. */
template <class X, class Y> static inline void gather_forward(Node *n, bool empty)
{
    const X *x = elements<X>(n->in[0]);
    const int *index = (const int *)n->in[1]->data;
    Y *y = elements<Y>(n->out);
    int64_t N = n->in[0]->dim[0], C = tensor_len(n->in[0]) / N, M = tensor_len(n->in[1]);
    LAUNCH_COLUMNS_OF((gather_forward_kernel<V, X, Y>), wide_rows(C, x, y), 1, M, C, y, x, index, M, C,
                      (int)at_most(N, INT_MAX), empty, cuda_fault, n->op->id);
}

static inline void gather_backward(Tape *t, Node *n)
{
    if (!n->in[0]->grad) return;
    const int *index = (const int *)n->in[1]->data;
    const float *dy = f32(n->out->grad);
    float *dx = f32(n->in[0]->grad);
    int64_t rows = n->in[0]->dim[0], C = tensor_len(n->in[0]) / rows, M = tensor_len(n->in[1]);
    if (M > INT_MAX / 2) host.die("%s: %lld rows at a time are too many", n->op->name, (long long)M);
    int N = (int)at_most(rows, INT_MAX), heads = (int)ceil_div(M, (int64_t)SPAN), many = (int)M;
    Placed *placed = (Placed *)scratch(t, (size_t)M * sizeof *placed);
    int *head = (int *)scratch(t, (size_t)heads * sizeof *head);
    float *part = M > SPAN ? (float *)scratch(t, (size_t)(2 * heads * C) * sizeof *part) : NULL;
    cuda_check(cudaMemsetAsync(head, 0xff, (size_t)heads * sizeof *head, cuda_stream), "memset", n->op->name);
    KERNEL_LAUNCH((gather_order_kernel<256>), (unsigned)ceil_div(many, 8), 256, 0, placed, head, index, many);
    bool four = wide_rows(C, dx, dy);
    LAUNCH_COLUMNS(gather_backward_kernel, four, 1, M, C, dx, part, dy, placed, many, C, N);
    if (M > SPAN) LAUNCH_COLUMNS(gather_finish_kernel, four, 1, heads, C, dx, part, placed, head, heads, C, N);
}
#endif
