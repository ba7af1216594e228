/* Kernels that are right and between them use the whole vocabulary; some carry a fault under a Bug. With
 * faults.cu the program that test_emu starts: `cases NAME` runs one, `cases right` all without a fault. It ends
 * with 0 and "right", with 1 and the first element that is wrong, or as the runner or a sanitizer ends it. */
#include "tests/emu/cases.h"

static void case_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    abort();
}
HostApi host = {0, case_die, NULL};
cudaStream_t cuda_stream;

enum Bug {
    NO_BUG,
    NO_BARRIER,
    NO_REFILL_BARRIER,
    LOOSE_WAIT,
    NO_WAIT,
    NO_SYNCWARP,
    NO_FENCE,
    NO_ACQUIRE,
    NO_ATOMIC,
    SHORT_TAIL,
    LONG_TAIL,
};

/* ---- elements, and vectors of four with a tail ---- */

template <Bug bug> __global__ void axpy_kernel(const float *x, float *y, int n)
{
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    int end = bug == SHORT_TAIL ? n - 1 : bug == LONG_TAIL ? n + 1 : n;
    if (i < end) y[i] = 2 * x[i < n ? i : 0] + 1;
}

template <Bug bug> static int axpy(void)
{
    enum { N = 1000 };
    float *x = device_array<float>(N, wave), *y = device_array<float>(N);
    KERNEL_LAUNCH(axpy_kernel<bug>, ceil_div(N, 96), 96, 0, x, y, N);
    return compare(y, N, 1e-6, [](int i) { return 2 * wave(i) + 1; });
}

__global__ void vector_kernel(const float *x, float *y, int n)
{
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x) * 4;
    if (i + 4 <= n) {
        float4 v = __ldg((const float4 *)(x + i));
        __stcs((float4 *)(y + i), make_float4(-v.x, -v.y, -v.z, -v.w));
    } else {
        for (; i < n; i++) y[i] = -x[i];
    }
}

template <int skip> static int vectors(void)
{
    enum { N = 403 };
    float *x = device_array<float>(N + skip, wave), *y = device_array<float>(N);
    KERNEL_LAUNCH(vector_kernel, 2, 64, 0, x + skip, y, N);
    return compare(y, N, 0, [](int i) { return -wave(i + skip); });
}

/* ---- shared memory and barriers ---- */

/* Each row reversed. */
template <Bug bug> __global__ void reverse_kernel(const float *x, float *y)
{
    SHARED_ARRAY(float, row, [96]);
    for (int r = (int)blockIdx.x * 2; r < (int)blockIdx.x * 2 + 2; r++) {
        row[threadIdx.x] = x[r * 96 + threadIdx.x];
        if (bug != NO_BARRIER) __syncthreads();
        y[r * 96 + threadIdx.x] = row[95 - threadIdx.x];
        if (bug != NO_REFILL_BARRIER) __syncthreads();
    }
}

template <Bug bug> static int reverse(void)
{
    float *x = device_array<float>(6 * 96, wave), *y = device_array<float>(6 * 96);
    KERNEL_LAUNCH(reverse_kernel<bug>, 3, 96, 0, x, y);
    return compare(y, 6 * 96, 0, [](int i) { return wave(i / 96 * 96 + 95 - i % 96); });
}

/* Calls that take a vector from memory and leave one there. */
static __device__ float4 halves(float4 v, int times)
{
    for (int i = 0; i < times; i++) v = float4{v.w / 2, v.z / 2, v.y / 2, v.x / 2};
    return v;
}
template <Bug bug> __global__ void halves_kernel(const float4 *x, float4 *y, int times)
{
    SHARED_ARRAY(float4, all, [64]);
    all[threadIdx.x] = halves(x[blockIdx.x * 64 + threadIdx.x], times);
    if (bug != NO_BARRIER) __syncthreads();
    y[blockIdx.x * 64 + threadIdx.x] = halves(all[63 - threadIdx.x], times);
}

template <Bug bug> static int vector_calls(void)
{
    float *x = device_array<float>(512, wave), *y = device_array<float>(512);
    KERNEL_LAUNCH(halves_kernel<bug>, 2, 64, 0, (const float4 *)x, (float4 *)y, 3);
    return compare(y, 512, 0, [](int i) { return wave(i / 256 * 256 + (63 - i / 4 % 64) * 4 + i % 4) / 64; });
}

template <int threads>
__global__ void __launch_bounds__(threads) softmax_kernel(const float *x, float *y, int n)
{
    const float *row = x + (size_t)blockIdx.x * n;
    float *out = y + (size_t)blockIdx.x * n, most = -INFINITY, sum = 0;
    for (int i = (int)threadIdx.x; i < n; i += threads) most = max(most, row[i]);
    most = block_max<threads>(most);
    for (int i = (int)threadIdx.x; i < n; i += threads) sum += __expf(row[i] - most);
    sum = block_sum<threads>(sum);
    for (int i = (int)threadIdx.x; i < n; i += threads) out[i] = __fdividef(__expf(row[i] - most), sum);
}

template <int threads> static int softmax(void)
{
    enum { ROWS = 3, N = 1203 };
    float *x = device_array<float>(ROWS * N, wave), *y = device_array<float>(ROWS * N);
    KERNEL_LAUNCH((softmax_kernel<threads>), ROWS, threads, 0, x, y, N);
    return compare(y, ROWS * N, 1e-7, [](int i) {
        double sum = 0;
        for (int j = 0; j < N; j++) sum += exp(wave(i / N * N + j));
        return exp(wave(i)) / sum;
    });
}

__global__ void dynamic_kernel(int *y, int n)
{
    DYN_SHARED(int, all);
    for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x) all[i] = i;
    __syncthreads();
    int sum = 0;
    for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x) sum += all[n - 1 - i];
    y[threadIdx.x] = sum;
}

template <bool allow> static int dynamic(void)
{
    enum { N = 20000, THREADS = 64 };
    int *y = device_array<int>(THREADS);
    if (allow) ALLOW_DYN_SHARED(dynamic_kernel, N * sizeof(int));
    KERNEL_LAUNCH(dynamic_kernel, 1, THREADS, N * sizeof(int), y, N);
    return compare(y, THREADS, 0, [](int t) {
        int sum = 0;
        for (int i = t; i < N; i += THREADS) sum += N - 1 - i;
        return sum;
    });
}

/* ---- warps ---- */

/* Inclusive sums of 32 numbers, a warp each; what a lane reads of shared memory another lane wrote. */
template <Bug bug> __global__ void scan_kernel(const int *x, int *y)
{
    SHARED_ARRAY(int, sums, [4][32]);
    unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int v = x[threadIdx.x];
    for (unsigned d = 1; d < 32; d *= 2) {
        int left = __shfl_up_sync(~0u, v, d);
        if (lane >= d) v += left;
    }
    sums[warp][lane] = v;
    if (bug != NO_SYNCWARP) __syncwarp();
    y[threadIdx.x] = sums[warp][31 - lane];
}

template <Bug bug> static int scan(void)
{
    int *x = device_array<int>(128, [](int i) { return i * 5 % 17; }), *y = device_array<int>(128);
    KERNEL_LAUNCH(scan_kernel<bug>, 1, 128, 0, x, y);
    return compare(y, 128, 0, [](int i) {
        int sum = 0;
        for (int j = i / 32 * 32; j <= i / 32 * 32 + 31 - i % 32; j++) sum += j * 5 % 17;
        return sum;
    });
}

/* A sum of bits, one for each answer that is as it must be. */
__global__ void vocabulary_kernel(int *y)
{
    int t = (int)threadIdx.x, lane = t % warpSize, ok = 0;
    double wide = __shfl_sync(~0u, (double)lane, 3);
    __nv_bfloat16 narrow = __shfl_down_sync(~0u, __float2bfloat16((float)lane), 1, 8);
    ok |= (wide == 3) << 0;
    ok |= (__bfloat162float(narrow) == (lane % 8 == 7 ? lane : lane + 1)) << 1;
    ok |= (__ballot_sync(~0u, lane & 1) == 0xaaaaaaaau) << 2;
    ok |= (__any_sync(~0u, lane == 7) && !__any_sync(~0u, 0)) << 3;
    ok |= (__all_sync(~0u, 1) && !__all_sync(~0u, lane != 7)) << 4;
    ok |= (__reduce_add_sync(~0u, lane - 16) == -16 && __reduce_min_sync(~0u, lane - 16) == -16 &&
           __reduce_max_sync(~0u, (unsigned)-lane) == ~0u)
          << 5;
    ok |= (__syncthreads_count(t < 40) == 40 && __syncthreads_or(t == 63) && !__syncthreads_and(t != 1)) << 6;
    unsigned half = lane < 16 ? 0xffffu : 0xffff0000u;
    if (lane < 16)
        ok |= (__shfl_xor_sync(half, lane, 1) == (lane ^ 1)) << 7;
    else
        ok |= (__shfl_sync(half, lane, 16) == 16) << 7;
    ok |= (__byte_perm(0x33221100u, 0x77665544u, 0x7410u) == 0x77441100u &&
           __dp4a(0x01ff0203, 0x01010101, 5) == 10)
          << 8;
    ok |= (__funnelshift_l(0x80000000u, 1, 1) == 3 && __popc(7) == 3 && __clz(1) == 31 && __ffs(8) == 4) << 9;
    ok |= (__bfloat162float(__hfma(__float2bfloat16(3), __float2bfloat16(5), __float2bfloat16(1))) == 16) << 10;
    y[t] = ok;
}

static int vocabulary(void)
{
    int *y = device_array<int>(64);
    KERNEL_LAUNCH(vocabulary_kernel, dim3(1), 64, 0, y); /* as if another case could have more (test_emu) */
    return compare(y, 64, 0, [](int) { return (1 << 11) - 1; });
}

__global__ void atomics_kernel(unsigned *y)
{
    atomicAdd(&y[0], 1u);
    atomicAdd((int *)&y[1], -1);
    atomicInc(&y[2], 99);
    atomicMax((int *)&y[3], (int)threadIdx.x);
    atomicCAS(&y[4], 0u, 7u);
    if (threadIdx.x == 0 && blockIdx.x == 0) atomicExch(&y[5], 5u);
    atomicAdd((unsigned long long *)&y[6], 1ull << 31);
}

static int atomics(void)
{
    unsigned *y = device_array<unsigned>(8, [](int) { return 0u; });
    KERNEL_LAUNCH(atomics_kernel, 2, 64, 0, y);
    static const unsigned want[] = {128, -128u, 28, 63, 7, 5, 0, 64};
    return compare(y, 8, 0, [](int i) { return want[i]; });
}

/* ---- between blocks ---- */

template <Bug bug> __global__ void total_kernel(const float *x, int n, float *part, unsigned *counter, float *y)
{
    SHARED_ARRAY(bool, last, );
    int i = (int)(blockIdx.x * 64 + threadIdx.x);
    float sum = block_sum<64>(i < n ? x[i] : 0);
    if (bug == NO_ATOMIC) {
        if (threadIdx.x == 0) *y += sum;
        return;
    }
    if (threadIdx.x == 0) {
        part[blockIdx.x] = sum;
        if (bug != NO_FENCE) __threadfence();
        last = atomicInc(counter, gridDim.x - 1) == gridDim.x - 1;
        if (bug != NO_ACQUIRE) __threadfence();
    }
    __syncthreads();
    if (!last) return;
    sum = 0;
    for (unsigned b = threadIdx.x; b < gridDim.x; b += 64) sum += part[b];
    sum = block_sum<64>(sum);
    if (threadIdx.x == 0) *y = sum;
}

__global__ void total_helper_kernel(const float *x, int n, float *part, unsigned *counter, float *y)
{
    int i = (int)(blockIdx.x * 64 + threadIdx.x);
    float sum = block_sum<64>(i < n ? x[i] : 0);
    if (threadIdx.x == 0) part[blockIdx.x] = sum;
    if (!last_block(counter, gridDim.x)) return;
    sum = 0;
    for (unsigned b = threadIdx.x; b < gridDim.x; b += 64) sum += part[b];
    sum = block_sum<64>(sum);
    if (threadIdx.x == 0) *y = sum;
}

template <Bug bug, bool helper> static int total(void)
{
    enum { N = 300 };
    float *x = device_array<float>(N, [](int i) { return (float)i; }), *part = device_array<float>(5);
    float *y = device_array<float>(1, [](int) { return 0.0f; });
    unsigned *counter = device_array<unsigned>(1, [](int) { return 0u; });
    for (int i = 0; i < 2; i++)
        if (helper)
            KERNEL_LAUNCH(total_helper_kernel, 5, 64, 0, x, N, part, counter, y);
        else
            KERNEL_LAUNCH(total_kernel<bug>, 5, 64, 0, x, N, part, counter, y);
    return compare(y, 1, 0, [](int) { return (bug == NO_ATOMIC ? 2 : 1) * (N * (N - 1) / 2); });
}

/* ---- tensor cores ---- */

/* y (M,N) = a (M,K) b (N,K)^T, K a multiple of 16; a block has 32x16 of y, each of its two warps 16x16. */
template <Bug bug>
__global__ void gemm_kernel(const __nv_bfloat16 *a, const __nv_bfloat16 *b, float *y, int M, int N, int K)
{
    SHARED_ARRAY(__nv_bfloat16, as, [2][32][24]);
    SHARED_ARRAY(__nv_bfloat16, bs, [2][16][24]);
    int t = (int)threadIdx.x, lane = t % 32, warp = t / 32, m0 = (int)blockIdx.y * 32,
        n0 = (int)blockIdx.x * 16;
    auto load = [&](int k0) {
        int stage = k0 / 16 % 2, row = t / 2, column = t % 2 * 8;
        bool in = m0 + row < M;
        tc::cp_async16(&as[stage][row][column], a + (in ? (m0 + row) * K + k0 + column : 0), in);
        in = n0 + row < N;
        if (row < 16) tc::cp_async16(&bs[stage][row][column], b + (in ? (n0 + row) * K + k0 + column : 0), in);
        tc::cp_async_commit();
    };
    float acc[2][4] = {};
    load(0);
    for (int k0 = 0; k0 < K; k0 += 16) {
        int stage = k0 / 16 % 2;
        if (k0 + 16 < K) load(k0 + 16);
        if (bug == LOOSE_WAIT)
            tc::cp_async_wait<1>();
        else if (k0 + 16 < K)
            tc::cp_async_wait<1>();
        else if (bug != NO_WAIT)
            tc::cp_async_wait<0>();
        __syncthreads();
        unsigned fa[4], fb[4];
        tc::ldmatrix_x4(fa, &as[stage][warp * 16 + lane % 16][lane / 16 * 8]);
        tc::ldmatrix_x4(fb, &bs[stage][lane % 8 + lane / 16 * 8][lane / 8 % 2 * 8]);
        tc::mma_bf16(acc[0], fa, fb);
        tc::mma_bf16(acc[1], fa, fb + 2);
        if (bug != NO_REFILL_BARRIER) __syncthreads();
    }
    if (bug == LOOSE_WAIT) tc::cp_async_wait<0>();
    for (int j = 0; j < 2; j++)
        for (int i = 0; i < 4; i++) {
            int m = m0 + warp * 16 + lane / 4 + i / 2 * 8, n = n0 + j * 8 + lane % 4 * 2 + i % 2;
            if (m < M && n < N) y[m * N + n] = acc[j][i];
        }
}

template <Bug bug> static int gemm(void)
{
    enum { M = 45, N = 27, K = 80 };
    auto a = [](int i) { return __float2bfloat16((float)(i * 7 % 13 - 6)); };
    auto b = [](int i) { return __float2bfloat16((float)(i * 5 % 11 - 5)); };
    __nv_bfloat16 *da = device_array<__nv_bfloat16>(M * K, a), *db = device_array<__nv_bfloat16>(N * K, b);
    float *y = device_array<float>(M * N);
    KERNEL_LAUNCH(gemm_kernel<bug>, dim3(2, 2), 64, 0, da, db, y, M, N, K);
    return compare(y, M * N, 0, [&](int i) {
        float sum = 0;
        for (int k = 0; k < K; k++)
            sum += __bfloat162float(a(i / N * K + k)) * __bfloat162float(b(i % N * K + k));
        return sum;
    });
}

/* b (K,N) through the transposing load. */
__global__ void transposed_kernel(const __nv_bfloat16 *a, const __nv_bfloat16 *b, float *y)
{
    SHARED_ARRAY(__nv_bfloat16, as, [16][16]);
    SHARED_ARRAY(__nv_bfloat16, bs, [16][16]);
    int lane = (int)threadIdx.x;
    for (int i = lane; i < 256; i += 32) {
        as[i / 16][i % 16] = a[i];
        bs[i / 16][i % 16] = b[i];
    }
    __syncwarp();
    unsigned fa[4], fb[4];
    float acc[2][4] = {};
    tc::ldmatrix_x4(fa, &as[lane % 16][lane / 16 * 8]);
    tc::ldmatrix_x4_trans(fb, &bs[lane % 16][lane / 16 * 8]);
    tc::mma_bf16(acc[0], fa, fb);
    tc::mma_bf16(acc[1], fa, fb + 2);
    for (int j = 0; j < 2; j++)
        for (int i = 0; i < 4; i++) y[(lane / 4 + i / 2 * 8) * 16 + j * 8 + lane % 4 * 2 + i % 2] = acc[j][i];
}

static int transposed(void)
{
    auto a = [](int i) { return __float2bfloat16((float)(i * 7 % 13 - 6)); };
    auto b = [](int i) { return __float2bfloat16((float)(i * 5 % 11 - 5)); };
    __nv_bfloat16 *da = device_array<__nv_bfloat16>(256, a), *db = device_array<__nv_bfloat16>(256, b);
    float *y = device_array<float>(256);
    KERNEL_LAUNCH(transposed_kernel, 1, 32, 0, da, db, y);
    return compare(y, 256, 0, [&](int i) {
        float sum = 0;
        for (int k = 0; k < 16; k++)
            sum += __bfloat162float(a(i / 16 * 16 + k)) * __bfloat162float(b(k * 16 + i % 16));
        return sum;
    });
}

/* ---- a captured stream ---- */

__global__ void grow_kernel(int *y, int add) { y[threadIdx.x] = 2 * y[threadIdx.x] + add; }

/* Parameters are those of the capture, contents those of each launch. */
static int captured(void)
{
    int *y = device_array<int>(64, [](int i) { return i; }), *z = device_array<int>(64), add = 1;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    cudaStreamBeginCapture(cuda_stream, cudaStreamCaptureModeThreadLocal);
    KERNEL_LAUNCH(grow_kernel, 1, 64, 0, y, add);
    cudaMemsetAsync(y, 0, sizeof *y, cuda_stream);
    cudaMemcpyAsync(z, y, 64 * sizeof *z, cudaMemcpyDeviceToDevice, cuda_stream);
    cudaStreamEndCapture(cuda_stream, &graph);
    cudaGraphInstantiate(&exec, graph, 0);
    cudaGraphDestroy(graph);
    add = 1000;
    cudaGraphLaunch(exec, cuda_stream);
    KERNEL_LAUNCH(grow_kernel, 1, 64, 0, y, 0);
    cudaGraphLaunch(exec, cuda_stream);
    cudaGraphExecDestroy(exec);
    auto want = [](int i) { return i ? 2 * 2 * (2 * i + 1) + 1 : 0; };
    int wrong = compare(z, 64, 0, want);
    return compare(y, 64, 0, want) || wrong;
}

/* ---- the program ---- */

template <class T, class = void> struct CanAdd : std::false_type {
};
template <class T> struct CanAdd<T, std::void_t<decltype(atomicAdd((T *)NULL, (T)0))>> : std::true_type {
};
static_assert(CanAdd<int>::value && !CanAdd<float>::value && !CanAdd<double>::value, "no float atomics");

static const Case right[] = {
    {"axpy", axpy<NO_BUG>},          {"vectors", vectors<0>},
    {"reverse", reverse<NO_BUG>},    {"vector calls", vector_calls<NO_BUG>},
    {"softmax", softmax<128>},       {"softmax of 1024", softmax<1024>},
    {"dynamic", dynamic<true>},      {"scan", scan<NO_BUG>},
    {"vocabulary", vocabulary},      {"atomics", atomics},
    {"total", total<NO_BUG, false>}, {"total by helper", total<NO_BUG, true>},
    {"gemm", gemm<NO_BUG>},          {"transposed", transposed},
    {"captured", captured},          {NULL, NULL},
};
static const Case buggy[] = {
    {"short tail", axpy<SHORT_TAIL>},
    {"long tail", axpy<LONG_TAIL>},
    {"misaligned vector", vectors<1>},
    {"missing barrier", reverse<NO_BARRIER>},
    {"missing barrier between vector calls", vector_calls<NO_BARRIER>},
    {"missing barrier before refill", reverse<NO_REFILL_BARRIER>},
    {"missing syncwarp", scan<NO_SYNCWARP>},
    {"missing atomic", total<NO_ATOMIC, false>},
    {"missing fence", total<NO_FENCE, false>},
    {"missing fence after the atomic", total<NO_ACQUIRE, false>},
    {"loose wait", gemm<LOOSE_WAIT>},
    {"missing wait", gemm<NO_WAIT>},
    {"missing barrier before cp.async", gemm<NO_REFILL_BARRIER>},
    {"dynamic without allowance", dynamic<false>},
    {NULL, NULL},
};

/* All of the first table in one process: what one launch leaves behind must not change the next. */
static int run_right(void)
{
    for (const Case *c = right; c->name; c++)
        if (c->run()) {
            printf("by %s\n", c->name);
            return 1;
        }
    return 0;
}

int main(int argc, char **argv)
{
    const Case all[] = {{"right", run_right}, {NULL, NULL}};
    const Case *const tables[] = {all, right, buggy, faults};
    for (const Case *table : tables)
        for (const Case *c = table; argc == 2 && c->name; c++)
            if (!strcmp(c->name, argv[1])) {
                if (c->run()) return 1;
                puts("right");
                return 0;
            }
    fprintf(stderr, "no such case\n");
    return 2;
}
