/* Kernels and calls that are wrong in one way each. */
#include "tests/emu/cases.h"

/* Any kernel over y (64) with one block; what stands there does not matter unless the runner lets it pass. */
template <class... P> static int one_block(const char *name, void (*kernel)(P...), int threads)
{
    float *y = device_array<float>(64, [](int) { return 0.0f; });
    emu::launcher(name, kernel, 1, threads, 0, true)(y);
    return compare(y, 64, 0, [](int i) { return (float)i; });
}
#define ONE_BLOCK(kernel, threads) one_block(#kernel, kernel, threads)

/* ---- barriers ---- */

__global__ void two_barriers_kernel(float *y)
{
    if (threadIdx.x % 2)
        __syncthreads();
    else
        __syncthreads();
    y[threadIdx.x] = (float)threadIdx.x;
}
static int two_barriers(void) { return ONE_BLOCK(two_barriers_kernel, 64); }

__global__ void early_return_kernel(float *y)
{
    if (threadIdx.x >= 40) return;
    __syncthreads();
    y[threadIdx.x] = (float)threadIdx.x;
}
static int early_return(void) { return ONE_BLOCK(early_return_kernel, 64); }

__global__ void deadlock_kernel(float *y)
{
    if (threadIdx.x < 48)
        __syncthreads();
    else
        __syncwarp();
    y[threadIdx.x] = (float)threadIdx.x;
}
static int deadlock(void) { return ONE_BLOCK(deadlock_kernel, 64); }

/* Two calls of a helper are two places. */
__global__ void two_sums_kernel(float *y)
{
    float v = (float)threadIdx.x;
    if (threadIdx.x < 32)
        v = block_sum<64>(v);
    else
        v = block_sum<64>(-v);
    y[threadIdx.x] = v;
}
static int two_sums(void) { return ONE_BLOCK(two_sums_kernel, 64); }

/* ---- warps ---- */

__global__ void shuffle_branches_kernel(float *y)
{
    float v = (float)threadIdx.x;
    if (threadIdx.x % 32 < 16)
        v = warp_sum(v);
    else
        v = warp_sum(-v);
    y[threadIdx.x] = v;
}
static int shuffle_branches(void) { return ONE_BLOCK(shuffle_branches_kernel, 64); }

__global__ void shuffle_tail_kernel(float *y)
{
    if (threadIdx.x < 20) y[threadIdx.x] = __shfl_xor_sync(~0u, y[threadIdx.x], 1);
}
static int shuffle_tail(void) { return ONE_BLOCK(shuffle_tail_kernel, 64); }

__global__ void shuffle_short_warp_kernel(float *y)
{
    y[threadIdx.x] = __shfl_xor_sync(~0u, y[threadIdx.x], 1);
}
static int shuffle_short_warp(void) { return ONE_BLOCK(shuffle_short_warp_kernel, 48); }

__global__ void shuffle_source_kernel(float *y)
{
    if (threadIdx.x < 16) y[threadIdx.x] = __shfl_xor_sync(0xffffu, y[threadIdx.x], 16);
}
static int shuffle_source(void) { return ONE_BLOCK(shuffle_source_kernel, 32); }

__global__ void shuffle_masks_kernel(float *y)
{
    unsigned mask = threadIdx.x < 16 ? 0x1ffffu : 0xffff0000u;
    y[threadIdx.x] = __shfl_xor_sync(mask, y[threadIdx.x], 1);
}
static int shuffle_masks(void) { return ONE_BLOCK(shuffle_masks_kernel, 32); }

__global__ void not_in_mask_kernel(float *y) { y[threadIdx.x] = (float)__ballot_sync(0xffffu, 1); }
static int not_in_mask(void) { return ONE_BLOCK(not_in_mask_kernel, 32); }

/* ---- shared memory ---- */

__global__ void uninitialised_kernel(float *y)
{
    SHARED_ARRAY(float, a, [64]);
    if (threadIdx.x != 5) a[threadIdx.x] = (float)threadIdx.x;
    __syncthreads();
    y[threadIdx.x] = a[threadIdx.x];
}
static int uninitialised(void) { return ONE_BLOCK(uninitialised_kernel, 64); }

/* Right but for the last thread's write. */
__global__ void shared_overrun_kernel(float *y)
{
    SHARED_ARRAY(float, a, [64]);
    int i = (int)threadIdx.x;
    float *next = a + 1;
    next[i] = (float)(i + 1);
    if (i == 0) a[0] = 0;
    __syncthreads();
    y[i] = a[i];
}
static int shared_overrun(void) { return ONE_BLOCK(shared_overrun_kernel, 64); }

__global__ void shared_overread_kernel(float *y)
{
    SHARED_ARRAY(float, a, [63]);
    int i = (int)threadIdx.x;
    if (i < 63) a[i] = (float)i;
    __syncthreads();
    y[i] = a[i];
}
static int shared_overread(void) { return ONE_BLOCK(shared_overread_kernel, 64); }

__global__ void static_limit_kernel(float *y)
{
    SHARED_ARRAY(float, a, [100][100]);
    SHARED_ARRAY(float, b, [50][50]);
    a[0][threadIdx.x] = b[0][threadIdx.x] = (float)threadIdx.x;
    y[threadIdx.x] = a[0][threadIdx.x];
}
static int static_limit(void) { return ONE_BLOCK(static_limit_kernel, 64); }

static int dynamic_limit(void)
{
    ALLOW_DYN_SHARED(early_return_kernel, 100 << 10);
    return 0;
}

/* ---- ldmatrix and cp.async ---- */

__global__ void ldmatrix_aligned_kernel(float *y)
{
    SHARED_ARRAY(__nv_bfloat16, a, [16][20]);
    unsigned r[4];
    tc::ldmatrix_x4(r, &a[threadIdx.x % 16][threadIdx.x / 16 * 8]);
    y[threadIdx.x] = (float)r[0];
}
static int ldmatrix_aligned(void) { return ONE_BLOCK(ldmatrix_aligned_kernel, 32); }

__global__ void ldmatrix_global_kernel(float *y)
{
    unsigned r[4];
    tc::ldmatrix_x4(r, y + threadIdx.x % 8 * 4);
    y[threadIdx.x] = (float)r[0];
}
static int ldmatrix_global(void) { return ONE_BLOCK(ldmatrix_global_kernel, 32); }

__global__ void cp_async_aligned_kernel(float *y)
{
    SHARED_ARRAY(float, a, [64]);
    tc::cp_async16(&a[threadIdx.x * 4], y + 1);
    tc::cp_async_commit();
    tc::cp_async_wait<0>();
    y[threadIdx.x] = a[threadIdx.x];
}
static int cp_async_aligned(void) { return ONE_BLOCK(cp_async_aligned_kernel, 16); }

__global__ void cp_async_commit_kernel(float *y)
{
    SHARED_ARRAY(float, a, [64]);
    tc::cp_async16(&a[threadIdx.x * 4], y);
    tc::cp_async_wait<0>();
    y[threadIdx.x] = a[threadIdx.x];
}
static int cp_async_commit(void) { return ONE_BLOCK(cp_async_commit_kernel, 16); }

/* ---- launches, device memory ---- */

__global__ void index_kernel(float *y) { y[threadIdx.x] = (float)threadIdx.x; }

static int block_limit(void) { return ONE_BLOCK(index_kernel, 1025); }

static int grid_limit(void)
{
    KERNEL_LAUNCH(index_kernel, dim3(1, 65536), 64, 0, device_array<float>(64));
    return 0;
}

static int empty_grid(void)
{
    KERNEL_LAUNCH(index_kernel, 0, 64, 0, device_array<float>(64));
    return 0;
}

static int host_argument(void)
{
    static float y[64];
    KERNEL_LAUNCH(index_kernel, 1, 64, 0, y);
    return 0;
}

static int host_access(void)
{
    volatile float *y = device_array<float>(64);
    return y[0] > 0;
}

static int copy_direction(void)
{
    float h[64] = {};
    cudaMemcpyAsync(device_array<float>(64), h, sizeof h, cudaMemcpyDeviceToHost, cuda_stream);
    return 0;
}

static int copy_bounds(void)
{
    float h[65] = {};
    cudaMemcpyAsync(device_array<float>(64), h, sizeof h, cudaMemcpyHostToDevice, cuda_stream);
    return 0;
}

__global__ void wild_kernel(float *y)
{
    float *volatile null = NULL;
    y[threadIdx.x] = *null;
}
static int wild(void) { return ONE_BLOCK(wild_kernel, 64); }

__global__ void stack_kernel(float *y)
{
    volatile float big[100000];
    for (int i = 99999; i >= 0; i--) big[i] = 1;
    y[threadIdx.x] = big[threadIdx.x];
}
static int stack(void) { return ONE_BLOCK(stack_kernel, 64); }

__global__ void launching_kernel(float *y) { KERNEL_LAUNCH(index_kernel, 1, 64, 0, y); }
static int launching(void) { return ONE_BLOCK(launching_kernel, 64); }

static int wait_in_capture(void)
{
    cudaStreamBeginCapture(cuda_stream, cudaStreamCaptureModeThreadLocal);
    return cudaStreamSynchronize(cuda_stream);
}

static int read_in_capture(void)
{
    int h, *p = device_array<int>(1);
    cudaStreamBeginCapture(cuda_stream, cudaStreamCaptureModeThreadLocal);
    return cudaMemcpyAsync(&h, p, sizeof h, cudaMemcpyDeviceToHost, cuda_stream);
}

static int allocation_in_capture(void)
{
    void *p;
    cudaStreamBeginCapture(cuda_stream, cudaStreamCaptureModeThreadLocal);
    return cudaMalloc(&p, 1);
}

const Case faults[] = {
    {"divergent barrier", two_barriers},
    {"barrier after a return", early_return},
    {"deadlock", deadlock},
    {"divergent helper", two_sums},
    {"divergent shuffle", shuffle_branches},
    {"shuffle in a tail", shuffle_tail},
    {"shuffle in a short warp", shuffle_short_warp},
    {"shuffle from outside the mask", shuffle_source},
    {"overlapping masks", shuffle_masks},
    {"not in its mask", not_in_mask},
    {"uninitialised shared read", uninitialised},
    {"shared write out of bounds", shared_overrun},
    {"shared read out of bounds", shared_overread},
    {"too much static shared memory", static_limit},
    {"too much dynamic shared memory", dynamic_limit},
    {"misaligned ldmatrix", ldmatrix_aligned},
    {"ldmatrix of device memory", ldmatrix_global},
    {"misaligned cp.async", cp_async_aligned},
    {"cp.async without commit", cp_async_commit},
    {"block too large", block_limit},
    {"grid too large", grid_limit},
    {"empty grid", empty_grid},
    {"host pointer as argument", host_argument},
    {"device memory on the host", host_access},
    {"copy in the wrong direction", copy_direction},
    {"copy out of bounds", copy_bounds},
    {"null pointer", wild},
    {"stack overflow", stack},
    {"launch in a kernel", launching},
    {"wait in a capture", wait_in_capture},
    {"read in a capture", read_in_capture},
    {"allocation in a capture", allocation_in_capture},
    {NULL, NULL},
};
