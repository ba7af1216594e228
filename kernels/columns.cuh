/* Rows of C neighbours (channels, a row of a table) whose threads must know where in a row they are.
 *
 * Mapping: x runs along a row, a thread takes V neighbours as one access (4, so 16 bytes, of bf16 8, where
 * every row begins at a multiple of as many, else 1); y runs over rows, z over images. Narrow rows lie side by
 * side in a block, so that a warp still moves whole lines, and a block has at most 256 threads. Where the grid
 * is at its limit threads stride over rows and images. */
#ifndef KERNELS_COLUMNS_CUH
#define KERNELS_COLUMNS_CUH
#include "kernels/elements.cuh"

enum { COLUMNS = 256, DOWN = 1024, IMAGES = 1024 };

/* Of the calling thread; its column may be C or more. */
template <int V> static inline __device__ int64_t first_column(void)
{
    return ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * V;
}
static inline __device__ int64_t first_row(void) { return (int64_t)blockIdx.y * blockDim.y + threadIdx.y; }
static inline __device__ int64_t row_step(void) { return (int64_t)gridDim.y * blockDim.y; }

typedef struct RowGrid {
    dim3 grid, block;
} RowGrid;

/* `lanes` threads a row, of which a block takes at most `across`. */
static inline RowGrid row_grid(int64_t images, int64_t rows, int64_t lanes, int64_t across = COLUMNS)
{
    int64_t blocks = ceil_div(lanes, across), x = ceil_div(lanes, blocks);
    int64_t y = at_most(COLUMNS / x, rows);
    RowGrid at;
    at.block = dim3((unsigned)x, (unsigned)y, 1);
    at.grid =
        dim3((unsigned)blocks, (unsigned)at_most(ceil_div(rows, y), DOWN), (unsigned)at_most(images, IMAGES));
    return at;
}

/* Whether rows of these lengths, behind these pointers, may be moved in fours. */
template <class... P> static inline bool wide_rows(int64_t length, const P *...p)
{
    return length % 4 == 0 && wide(p...);
}

/* kernel, in terms of V, with V = 4 or 1 over images x rows x C: (k<V, T>). */
#define LAUNCH_COLUMNS_OF(kernel, four, images, rows, C, ...)                                                  \
    do {                                                                                                       \
        if (four) {                                                                                            \
            constexpr int V = 4;                                                                               \
            RowGrid at = row_grid(images, rows, (C) / V);                                                      \
            KERNEL_LAUNCH(kernel, at.grid, at.block, 0, __VA_ARGS__);                                          \
        } else {                                                                                               \
            constexpr int V = 1;                                                                               \
            RowGrid at = row_grid(images, rows, C);                                                            \
            KERNEL_LAUNCH(kernel, at.grid, at.block, 0, __VA_ARGS__);                                          \
        }                                                                                                      \
    } while (0)
/* kernel<V> */
#define LAUNCH_COLUMNS(kernel, four, images, rows, C, ...)                                                     \
    LAUNCH_COLUMNS_OF((kernel<V>), four, images, rows, C, __VA_ARGS__)

/* The block's rows into one, pairwise, so in a fixed order: what the threads of row 0 get back. part: one a
 * thread. All threads of the block must come. */
template <class T, class Join> static inline __device__ T join_rows(T *part, T mine, Join join CALLER)
{
    T *at = part + threadIdx.y * blockDim.x + threadIdx.x;
    CALLERS_SYNC(); /* the last call's reads are done */
    *at = mine;
    for (unsigned n = blockDim.y, half; n > 1; n = half) {
        half = (n + 1) / 2;
        CALLERS_SYNC();
        if (threadIdx.y >= n - half) continue;
        T other = at[half * blockDim.x]; /* TSan does not look into arguments */
        *at = mine = join(mine, other);
    }
    return mine;
}
#endif
