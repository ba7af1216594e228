/* What a benchmark asks of the device (tensor/probe.h): its roofs, and random values.
 *
 * Mapping: read, copy and the fills are grid-stride loops over 16-byte words, in read and copy four loads in
 * flight a thread; mma runs eight chains of m16n8k16 a warp, operands from registers, 8 warps a block. Log:
 * never timed on a GPU; on Hopper wgmma reaches more than mma.sync, which is what our kernels use. */
#include "kernels/mma.cuh"
#include "tensor/probe.h"
#include "tensor/rng.h"
#include <stdio.h>

enum { THREADS = 256, PER_SM = 8, MMA_CHAINS = 8, MMA_PER_SM = 4, MAX_READ_BLOCKS = 4096 };

static __device__ unsigned fold(uint4 v) { return v.x ^ v.y ^ v.z ^ v.w; }

static __device__ unsigned warp_xor(unsigned v CALLER)
{
#pragma unroll
    for (int d = 16; d; d /= 2) v ^= __shfl_xor_sync(~0u, v, d, 32 THE_CALLER);
    return v;
}

__global__ void __launch_bounds__(THREADS) probe_read(const uint4 *x, size_t n, unsigned *part, unsigned *out)
{
    SHARED_ARRAY(unsigned, warp, [THREADS / 32]);
    const size_t stride = (size_t)gridDim.x * THREADS;
    unsigned sum = 0;
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    for (; i + 3 * stride < n; i += 4 * stride) {
        uint4 a = x[i], b = x[i + stride], c = x[i + 2 * stride], d = x[i + 3 * stride];
        sum ^= fold(a) ^ fold(b) ^ fold(c) ^ fold(d);
    }
    for (; i < n; i += stride) sum ^= fold(x[i]);
    sum = warp_xor(sum);
    if (threadIdx.x % 32 == 0) warp[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int k = 1; k < THREADS / 32; k++) sum ^= warp[k];
        part[blockIdx.x] = sum;
    }
    if (!last_block(part + MAX_READ_BLOCKS, gridDim.x) || threadIdx.x) return;
    sum = 0;
    for (unsigned k = 0; k < gridDim.x; k++) sum ^= ((volatile unsigned *)part)[k];
    *out = sum;
}

__global__ void __launch_bounds__(THREADS) probe_copy(uint4 *y, const uint4 *x, size_t n)
{
    const size_t stride = (size_t)gridDim.x * THREADS;
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    for (; i + 3 * stride < n; i += 4 * stride) {
        uint4 a = x[i], b = x[i + stride], c = x[i + 2 * stride], d = x[i + 3 * stride];
        y[i] = a;
        y[i + stride] = b;
        y[i + 2 * stride] = c;
        y[i + 3 * stride] = d;
    }
    for (; i < n; i += stride) y[i] = x[i];
}

/* Operands are whole numbers -2..2, so that sums are exact; of both signs, so that they stay small. */
__global__ void __launch_bounds__(THREADS) probe_mma(int turns, float *out, size_t room)
{
    const unsigned lane = threadIdx.x % 32;
    unsigned a[4], b[MMA_CHAINS][2];
    float d[MMA_CHAINS][4] = {};
    auto whole = [](unsigned k) { return (int)(k * 2654435761u >> 16) % 5 - 2; };
    auto pair = [&](unsigned k) {
        __nv_bfloat162 v = __floats2bfloat162_rn((float)whole(k), (float)whole(k + 977));
        return *(unsigned *)&v;
    };
#pragma unroll
    for (int i = 0; i < 4; i++) a[i] = pair(lane * 4 + i);
#pragma unroll
    for (int c = 0; c < MMA_CHAINS; c++) {
        b[c][0] = pair(1000 + c * 64 + lane);
        b[c][1] = pair(2000 + c * 64 + lane);
    }
    for (int turn = 0; turn < turns; turn++) {
#pragma unroll
        for (int c = 0; c < MMA_CHAINS; c++) tc::mma_bf16(d[c], a, b[c]);
    }
    const size_t at = ((size_t)blockIdx.x * THREADS + threadIdx.x) * 4;
    float sum[4] = {};
#pragma unroll
    for (int c = 0; c < MMA_CHAINS; c++)
        for (int i = 0; i < 4; i++) sum[i] += d[c][i];
    for (int i = 0; i < 4; i++)
        if (at + i < room) out[at + i] = sum[i];
}

static __device__ Philox block_of(size_t i, uint64_t seed)
{
    return philox4x32((uint32_t)i, (uint32_t)(i >> 32), 0x9e3779b9u, 0, (uint32_t)seed, (uint32_t)(seed >> 32));
}

__global__ void __launch_bounds__(THREADS) probe_bytes(uint8_t *p, size_t bytes, uint64_t seed)
{
    const size_t stride = (size_t)gridDim.x * THREADS, n = ceil_div(bytes, (size_t)16);
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < n; i += stride) {
        Philox r = block_of(i, seed);
        if (16 * i + 16 <= bytes) {
            ((uint4 *)p)[i] = make_uint4(r.v[0], r.v[1], r.v[2], r.v[3]);
        } else {
            for (size_t k = 16 * i; k < bytes; k++) p[k] = (uint8_t)(r.v[k % 16 / 4] >> 8 * (k % 4));
        }
    }
}

__global__ void __launch_bounds__(THREADS)
    probe_floats(float *x, size_t n, float low, float span, uint64_t seed)
{
    const size_t stride = (size_t)gridDim.x * THREADS, blocks = ceil_div(n, (size_t)4);
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < blocks; i += stride) {
        Philox r = block_of(i, seed);
        for (size_t k = 4 * i; k < 4 * i + 4 && k < n; k++) x[k] = low + span * philox_unit(r.v[k % 4]);
    }
}

namespace
{

cudaEvent_t event[PROBE_MARKS];
unsigned *parts; /* of read, one a block; the counter behind them */

void check(cudaError_t e, const char *call) { cuda_check(e, call, "the probe"); }

int attribute(cudaDeviceAttr a)
{
    int value = 0;
    if (cudaDeviceGetAttribute(&value, a, 0) == cudaSuccess) return value;
    (void)cudaGetLastError();
    return 0;
}

int multiprocessors() { return attribute(cudaDevAttrMultiProcessorCount); }

/* Blocks for n words: enough to fill the device, no more than there is work for. */
int grid_of(size_t n)
{
    size_t most = (size_t)multiprocessors() * PER_SM, need = ceil_div(n, (size_t)THREADS);
    if (most > MAX_READ_BLOCKS) most = MAX_READ_BLOCKS;
    return (int)(need < most ? need > 0 ? need : 1 : most);
}

void device(ProbeDevice *d)
{
    cudaDeviceProp p;
    memset(d, 0, sizeof *d);
    check(cudaGetDeviceProperties(&p, 0), "properties");
    snprintf(d->name, sizeof d->name, "%s", p.name);
    d->major = p.major;
    d->minor = p.minor;
    d->multiprocessors = p.multiProcessorCount;
    d->clock_khz = attribute(cudaDevAttrClockRate);
    d->memory_khz = attribute(cudaDevAttrMemoryClockRate);
    d->bus_bits = attribute(cudaDevAttrGlobalMemoryBusWidth);
    d->cache = (size_t)attribute(cudaDevAttrL2CacheSize);
    check(cudaDriverGetVersion(&d->driver), "the driver's version");
    check(cudaRuntimeGetVersion(&d->runtime), "the runtime's version");
    check(cudaMemGetInfo(&d->free, &d->memory), "the memory's size");
}

void mark(int i)
{
    if (i < 0 || i >= PROBE_MARKS) host.die("probe: mark %d", i);
    if (!event[i]) check(cudaEventCreate(&event[i]), "an event");
    check(cudaEventRecord(event[i], cuda_stream), "an event");
}

double between(int from, int to)
{
    float ms = 0;
    check(cudaEventSynchronize(event[to]), "what was timed");
    check(cudaEventElapsedTime(&ms, event[from], event[to]), "the time");
    return 1e-3 * (double)ms;
}

void read(const void *p, size_t bytes, uint32_t *out)
{
    const size_t room = (MAX_READ_BLOCKS + 1) * sizeof *parts;
    if (!parts) {
        check(cudaMalloc((void **)&parts, room), "memory");
        check(cudaMemsetAsync(parts, 0, room, cuda_stream), "zeroing");
    }
    KERNEL_LAUNCH(probe_read, grid_of(bytes / 16), THREADS, 0, (const uint4 *)p, bytes / 16, parts, out);
}

void copy(void *to, const void *from, size_t bytes)
{
    KERNEL_LAUNCH(probe_copy, grid_of(bytes / 16), THREADS, 0, (uint4 *)to, (const uint4 *)from, bytes / 16);
}

double mma(int turns, float *out, size_t room)
{
    const int blocks = multiprocessors() * MMA_PER_SM;
    KERNEL_LAUNCH(probe_mma, blocks, THREADS, 0, turns, out, room);
    return 2.0 * 16 * 8 * 16 * MMA_CHAINS * turns * blocks * (THREADS / 32);
}

void random_bytes(void *p, size_t bytes, uint64_t seed)
{
    if (bytes)
        KERNEL_LAUNCH(probe_bytes, grid_of(ceil_div(bytes, (size_t)16)), THREADS, 0, (uint8_t *)p, bytes, seed);
}

void random_floats(float *x, int64_t n, float low, float high, uint64_t seed)
{
    if (n)
        KERNEL_LAUNCH(probe_floats, grid_of((size_t)ceil_div(n, (int64_t)4)), THREADS, 0, x, (size_t)n, low,
                      high - low, seed);
}

} // namespace

extern "C" {
extern const Probe device_probe;
const Probe device_probe = {device, mark, between, read, copy, mma, random_bytes, random_floats};
}
