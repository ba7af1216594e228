/* What every .cu file includes. One source, three builds: nvcc (pcrl_cuda.so); the host compiler, one fiber per
 * CUDA thread (tests/emu, pcrl_emu.so); the host compiler with PCRL_PTX, where a launch runs what nvcc made of
 * the kernel in an interpreter (tests/ptx, pcrl_ptx.so). Kernels are plain functions; they use no raw
 * __shared__ and no atomics on floating-point numbers:
 *
 *   KERNEL_LAUNCH(kernel, grid, block, dynamic_bytes, arguments...)   a template in parentheses: (k<64, 64>)
 *   SHARED_ARRAY(T, name, [a][b])                                     aligned to 16 bytes, contents undefined
 *   DYN_SHARED(T, name)                                               the launch's dynamic_bytes, likewise
 *   ALLOW_DYN_SHARED(kernel, bytes)                                   before a launch with more than 48 KiB
 *
 * What one block writes and another reads in the same launch needs __threadfence() before the atomic that tells
 * and, by the thread that asked, after it: last_block(). */
#ifndef KERNELS_CUDA_CUH
#define KERNELS_CUDA_CUH
#include "kernels/ops.h"
#include <cuda_runtime.h>
#include <cuda_bf16.h>
#include <stdint.h>

/* In tensor/backend_cuda.cu. */
extern HostApi host;
extern cudaStream_t cuda_stream;

/* A kernel that meets an index out of range leaves it here, computes something harmless and goes on; the next
 * download or sync dies naming op (Op.id + 1), value and limit. */
typedef struct CudaFault {
    int op, value, limit;
} CudaFault;
extern CudaFault *cuda_fault;

/* Device memory that is gone when the op returns. */
static inline void *scratch(Tape *t, size_t bytes) { return host.scratch(t, bytes); }

static inline void cuda_check(cudaError_t e, const char *call, const char *what)
{
    if (e != cudaSuccess) host.die("cuda: %s of %s: %s", call, what, cudaGetErrorString(e));
}

#ifdef __CUDACC__

#define KERNEL_LAUNCH(kernel, grid, block, dynamic_bytes, ...)                                                 \
    do {                                                                                                       \
        (kernel)<<<(grid), (block), (dynamic_bytes), cuda_stream>>>(__VA_ARGS__);                              \
        cuda_check(cudaGetLastError(), "launch", #kernel);                                                     \
    } while (0)
#define SHARED_ARRAY(T, name, dims) __shared__ __align__(16) T name dims
#define DYN_SHARED(T, name)                                                                                    \
    extern __shared__ __align__(16) unsigned char dynamic_shared[];                                            \
    T *name = reinterpret_cast<T *>(dynamic_shared)
#define SMEM_ADDR(p) ((unsigned)__cvta_generic_to_shared(p))
/* The last parameter of helpers in which threads meet, and how they hand it on: the runner names the caller's
 * line. */
#define CALLER
#define THE_CALLER
#define CALLERS_SYNC() __syncthreads()

#else

#include "tests/emu/emu.h"
#define CALLER         , emu::Site site = EMU_HERE
#define THE_CALLER     , site
#define CALLERS_SYNC() __syncthreads(site)

#ifdef PCRL_PTX
#include "tests/ptx/ptx.h"
template <class... P> struct PtxLauncher {
    void (*kernel)(P...);
    const char *name;
    dim3 grid, block;
    size_t dynamic_bytes;

    void operator()(P... p) const
    {
        emu::enqueue([self = *this, p...] { self.run(p...); });
    }
    void run(P... p) const
    {
        emu::Access access;
        void *arguments[] = {&p..., NULL};
        const size_t sizes[] = {sizeof p..., 0};
        ptx_launch((const void *)kernel, name, grid, block, dynamic_bytes, arguments, sizes, (int)sizeof...(P));
    }
};
template <class... P>
PtxLauncher<P...> ptx_launcher(void (*kernel)(P...), const char *name, dim3 grid, dim3 block,
                               size_t dynamic_bytes)
{
    return {kernel, name, grid, block, dynamic_bytes};
}
#undef KERNEL_LAUNCH
#define KERNEL_LAUNCH(kernel, grid, block, dynamic_bytes, ...)                                                 \
    ptx_launcher(kernel, #kernel, grid, block, dynamic_bytes)(__VA_ARGS__)
#endif

#endif

enum { CUDA_SHARED = 99 << 10 }; /* bytes of shared memory that every block may have: sm_86 and sm_89 */

template <class... P>
static inline void allow_dynamic_shared(void (*kernel)(P...), const char *name, size_t bytes)
{
    if (bytes > CUDA_SHARED) host.die("cuda: %s asks for %zu bytes of shared memory", name, bytes);
    cuda_check(
        cudaFuncSetAttribute((const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes),
        "shared memory", name);
}
#define ALLOW_DYN_SHARED(kernel, bytes) allow_dynamic_shared(kernel, #kernel, bytes)

template <class A, class B> static __host__ __device__ constexpr auto ceil_div(A a, B b)
{
    return (a + b - 1) / b;
}

/* Whether index is in 0..limit-1; a fault of op (n->op->id) if not. Of several, any one is kept. */
static inline __device__ bool in_range(CudaFault *fault, int op, int index, int limit)
{
    if (index >= 0 && index < limit) return true;
    if (atomicCAS(&fault->op, 0, op + 1) == 0) {
        fault->value = index;
        fault->limit = limit;
    }
    return false;
}

/* ---- reductions; every thread gets the result, the order is fixed ---- */

static inline __device__ float warp_sum(float v CALLER)
{
#pragma unroll
    for (int d = 16; d; d /= 2) v += __shfl_xor_sync(~0u, v, d, 32 THE_CALLER);
    return v;
}

static inline __device__ float warp_max(float v CALLER)
{
#pragma unroll
    for (int d = 16; d; d /= 2) v = fmaxf(v, __shfl_xor_sync(~0u, v, d, 32 THE_CALLER));
    return v;
}

/* One value a warp, left in `part` for all. */
template <int threads> static inline __device__ void share_warps(float *part, float v CALLER)
{
    static_assert(threads % 32 == 0 && threads <= 1024, "whole warps");
    CALLERS_SYNC(); /* the last call's reads are done */
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
    CALLERS_SYNC();
}

/* Over a block of `threads` threads in a row (x). */
template <int threads> static inline __device__ float block_sum(float v CALLER)
{
    SHARED_ARRAY(float, part, [threads / 32]);
    share_warps<threads>(part, warp_sum(v THE_CALLER) THE_CALLER);
    float sum = part[0];
    for (int i = 1; i < threads / 32; i++) sum += part[i];
    return sum;
}

template <int threads> static inline __device__ float block_max(float v CALLER)
{
    SHARED_ARRAY(float, part, [threads / 32]);
    share_warps<threads>(part, warp_max(v THE_CALLER) THE_CALLER);
    float most = part[0];
    for (int i = 1; i < threads / 32; i++) most = fmaxf(most, part[i]);
    return most;
}

/* True in the last of `blocks` blocks to come here, which may then read what the others wrote before. *counter
 * is 0 before the launch and after it. */
static inline __device__ bool last_block(unsigned *counter, unsigned blocks CALLER)
{
    SHARED_ARRAY(bool, last, );
    CALLERS_SYNC();
    if (threadIdx.x == 0 && threadIdx.y == 0 && threadIdx.z == 0) {
        __threadfence();
        last = atomicInc(counter, blocks - 1) == blocks - 1;
        __threadfence();
    }
    CALLERS_SYNC();
    return last;
}
#endif
