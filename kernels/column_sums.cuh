/* Sums down the columns of a matrix (rows,C), in two launches and a fixed order: what gradients of weights,
 * scales and shifts are, and the statistics of a batch.
 *
 * Mapping: a block takes a strip of 32 columns (fewer where C is), so that a warp reads whole lines, and a part
 * of the rows; 256 / columns threads a column take every so many-th row and are merged pairwise in shared
 * memory. The second launch does the same with the parts. How rows are parted depends on the shape alone. */
#ifndef KERNELS_COLUMN_SUMS_CUH
#define KERNELS_COLUMN_SUMS_CUH
#include "kernels/columns.cuh"

enum {
    COLUMN_THREADS = 256 /* four blocks a multiprocessor: 64 registers, so that none spills */,
    COLUMN_ROWS = 8 /* a thread, at least */,
    COLUMN_BLOCKS = 1024 /* about, at most */
};

/* Merges the sums of the threads of a column; the first (threadIdx.y == 0) gets the result. */
template <class Sum> static inline __device__ Sum merge_column(Sum s CALLER)
{
    SHARED_ARRAY(Sum, all, [COLUMN_THREADS]);
    auto merged = [](Sum a, const Sum &b) {
        a.merge(b);
        return a;
    };
    return join_rows(all, s, merged THE_CALLER);
}

/* F has a type Sum, an aggregate that is empty as {} and has merge(const Sum &), and
 *   add(Sum &, int64_t row, int column)    one element
 *   finish(int column, const Sum &)        what becomes of a column's sum */
template <class F>
__global__ void __launch_bounds__(COLUMN_THREADS, 4)
    columns_part_kernel(F f, int64_t rows, int64_t rows_a_part, int C, typename F::Sum *__restrict__ part)
{
    const int c = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    const int64_t from = blockIdx.y * rows_a_part, to = min(rows, from + rows_a_part);
    typename F::Sum s = {};
    if (c < C) {
#pragma unroll 4
        for (int64_t i = from + threadIdx.y; i < to; i += blockDim.y) f.add(s, i, c);
    }
    s = merge_column(s);
    if (c < C && threadIdx.y == 0) part[(int64_t)blockIdx.y * C + c] = s;
}

template <class F>
__global__ void __launch_bounds__(COLUMN_THREADS, 4)
    columns_finish_kernel(F f, const typename F::Sum *__restrict__ part, int parts, int C)
{
    const int c = (int)(blockIdx.x * blockDim.x + threadIdx.x), share = ceil_div(parts, (int)blockDim.y);
    const int from = (int)threadIdx.y * share, to = min(parts, from + share);
    typename F::Sum s = {};
    if (c < C)
        for (int i = from; i < to; i++) s.merge(part[(int64_t)i * C + c]);
    s = merge_column(s);
    if (c < C && threadIdx.y == 0) f.finish(c, s);
}

/* `lanes` columns a block, as many as there are up to 32. */
static inline dim3 column_block(int64_t C)
{
    unsigned lanes = 1;
    while (lanes < 32 && (int64_t)lanes < C) lanes *= 2;
    return dim3(lanes, COLUMN_THREADS / lanes);
}

/* f.finish of every column of part (parts,C). */
template <class F> static inline void finish_columns(F f, const typename F::Sum *part, int parts, int C)
{
    const dim3 block = column_block(C);
    KERNEL_LAUNCH((columns_finish_kernel<F>), (unsigned)ceil_div(C, (int)block.x), block, 0, f, part, parts, C);
}

template <class F> static inline void reduce_columns(Tape *t, F f, int64_t rows, int C)
{
    const dim3 block = column_block(C);
    const int64_t strips = ceil_div(C, (int)block.x),
                  most = strips < COLUMN_BLOCKS ? COLUMN_BLOCKS / strips : 1;
    int64_t parts = ceil_div(rows, (int64_t)block.y * COLUMN_ROWS);
    if (parts > most) parts = most;
    const int64_t rows_a_part = ceil_div(rows, parts);
    parts = ceil_div(rows, rows_a_part);
    typedef typename F::Sum Sum;
    Sum *part = (Sum *)scratch(t, (size_t)(parts * C) * sizeof(Sum));
    KERNEL_LAUNCH((columns_part_kernel<F>), dim3((unsigned)strips, (unsigned)parts), block, 0, f, rows,
                  rows_a_part, C, part);
    finish_columns(f, part, (int)parts, C);
}
#endif
