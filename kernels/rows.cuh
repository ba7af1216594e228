/* Row by row: what rmsnorm, l2norm and softmax are made of.
 *
 * Mapping: a row of at most ROW_SHORT elements belongs to a warp, eight of them to a block of 256 threads; a
 * longer one to a block of ROW_BLOCK. Threads take four neighbours (16 bytes, of bf16 8), or one where rows are
 * no multiple of four or not aligned. Who walks over a row again finds it in a cache. */
#ifndef KERNELS_ROWS_CUH
#define KERNELS_ROWS_CUH
#include "kernels/elements.cuh"

enum { ROW_SHORT = 1024, ROW_BLOCK = 512 };

/* Kernels are templates of `threads` a row, 32 or ROW_BLOCK, and of T, the type of activations. */
#define LAUNCH_ROWS(kernel, T, rows, C, ...)                                                                   \
    do {                                                                                                       \
        if ((C) <= ROW_SHORT)                                                                                  \
            KERNEL_LAUNCH((kernel<32, T>), (unsigned)ceil_div(rows, (int64_t)8), 256, 0, __VA_ARGS__);         \
        else                                                                                                   \
            KERNEL_LAUNCH((kernel<ROW_BLOCK, T>), (unsigned)(rows), ROW_BLOCK, 0, __VA_ARGS__);                \
    } while (0)

template <int threads> static constexpr int row_block = threads == 32 ? 256 : threads;
/* Half the threads a multiprocessor can hold, so that the compiler has 64 registers a thread: it would rather
 * spill than stay a little above 40. */
#define ROW_BOUNDS(threads) __launch_bounds__(row_block<threads>, 1024 / row_block<threads>)

/* The thread's row: behind the last one for the last block's spare warps, which have nothing to do. */
template <int threads> static inline __device__ int64_t row_index()
{
    return (int64_t)blockIdx.x * (row_block<threads> / threads) + threadIdx.x / threads;
}

/* Over the threads of a row; every thread gets the result. */
template <int threads> static inline __device__ float row_sum(float v CALLER)
{
    if constexpr (threads == 32)
        return warp_sum(v THE_CALLER);
    else
        return block_sum<threads>(v THE_CALLER);
}
template <int threads> static inline __device__ float row_max(float v CALLER)
{
    if constexpr (threads == 32)
        return warp_max(v THE_CALLER);
    else
        return block_max<threads>(v THE_CALLER);
}

/* The power of two that brings x >= 0 to about 1, and what is at most x into f32's range when squared; finite
 * and not 0 for any x. */
static inline __device__ float power_near(float x)
{
    int exponent = __float_as_int(x) >> 23;
    return __int_as_float((254 - min(max(exponent, 1), 253)) << 23);
}

template <class... P> static inline __device__ bool row_wide(int C, const P *...p)
{
    return C % 4 == 0 && wide(p...);
}

/* f(i, x[i]...) for the thread's elements i of a row of C. */
template <int threads, class F, class... X> static inline __device__ void row_read(int C, F f, const X *...x)
{
    const int lane = (int)threadIdx.x % threads;
    if (!row_wide(C, x...)) {
#pragma unroll 1
        for (int i = lane; i < C; i += threads) f(i, number(x[i])...);
        return;
    }
#pragma unroll 2
    for (int i = 4 * lane; i < C; i += 4 * threads) {
        auto all = [&](auto... p) {
#pragma unroll
            for (int j = 0; j < 4; j++) f(i + j, p.v[j]...);
        };
        all(load_f32<4>(x + i)...);
    }
}

/* y[i] = f(i, x[i]...), or y[i] += f(...). */
template <int threads, bool add, class F, class Y, class... X>
static inline __device__ void row_write(Y *y, int C, F f, const X *...x)
{
    const int lane = (int)threadIdx.x % threads;
    if (!row_wide(C, y, x...)) {
#pragma unroll 1
        for (int i = lane; i < C; i += threads) put(y + i, (add ? number(y[i]) : 0) + f(i, number(x[i])...));
        return;
    }
#pragma unroll 2
    for (int i = 4 * lane; i < C; i += 4 * threads) {
        Pack<4> out = {};
        if (add) out = load_f32<4>(y + i);
        auto all = [&](auto... p) {
#pragma unroll
            for (int j = 0; j < 4; j++) out.v[j] = (add ? out.v[j] : 0) + f(i + j, p.v[j]...);
        };
        all(load_f32<4>(x + i)...);
        store(y + i, out);
    }
}
#endif
