/* Tensor cores with inline assembly: C (M,N) = A (M,K) B, B as (N,K) or (K,N), a block for 64 x 64 of C, a warp
 * for 32 x 32, K in double-buffered slices of 32 that cp.async brings. Mutations, by -D: SWAPPED_REGISTERS
 * swaps two registers of A inside the assembly, LOOSE_WAIT waits for the slice before the one it needs, NO_WAIT
 * for none. */
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

enum { TILE = 64, SLICE = 32, PAD = 8, THREADS = 128 };
typedef uint16_t Bits;

#ifdef SWAPPED_REGISTERS
#define A_REGISTERS "{%4, %6, %5, %7}"
#else
#define A_REGISTERS "{%4, %5, %6, %7}"
#endif
#define MMA(type)                                                                                              \
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type ".f32 "                                \
                 "{%0, %1, %2, %3}, " A_REGISTERS ", {%8, %9}, {%0, %1, %2, %3};"                              \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                              \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))

template <typename T> __device__ void mma(float d[4], const unsigned a[4], const unsigned b[2]);
template <> __device__ void mma<__nv_bfloat16>(float d[4], const unsigned a[4], const unsigned b[2])
{
    MMA("bf16");
}
template <> __device__ void mma<__half>(float d[4], const unsigned a[4], const unsigned b[2]) { MMA("f16"); }

__device__ static unsigned shared_address(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }

template <bool TRANS> __device__ static void ldmatrix_x4(unsigned r[4], const void *row)
{
    if (TRANS)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(shared_address(row))
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(shared_address(row))
                     : "memory");
}

__device__ static void cp_async16(void *to, const void *from, bool ok)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
                 "r"(ok ? 16 : 0)
                 : "memory");
}

__device__ static void commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

template <int N> __device__ static void wait()
{
#ifndef NO_WAIT
#ifdef LOOSE_WAIT
    asm volatile("cp.async.wait_group %0;" ::"n"(N == 0 ? 0 : N + 1) : "memory");
#else
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
#endif
}

template <typename T, bool KN>
__global__ void __launch_bounds__(THREADS)
    gemm_kernel(const Bits *A, const Bits *B, float *C, int M, int N, int K)
{
    constexpr int B_ROWS = KN ? SLICE : TILE, B_COLUMNS = KN ? TILE : SLICE;
    __shared__ __align__(16) Bits as[2][TILE][SLICE + PAD], bs[2][B_ROWS][B_COLUMNS + PAD];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, m_warp = warp / 2 * 32, n_warp = warp % 2 * 32;
    const int m0 = blockIdx.y * TILE, n0 = blockIdx.x * TILE;
    float acc[2][4][4] = {};
    auto load = [&](int stage, int k0) {
        for (int i = threadIdx.x; i < TILE * SLICE / 8; i += THREADS) {
            const int r = i / (SLICE / 8), c = i % (SLICE / 8) * 8;
            const bool ok = m0 + r < M && k0 + c < K;
            cp_async16(&as[stage][r][c], A + (ok ? (size_t)(m0 + r) * K + k0 + c : 0), ok);
        }
        for (int i = threadIdx.x; i < TILE * SLICE / 8; i += THREADS) {
            const int r = i / (B_COLUMNS / 8), c = i % (B_COLUMNS / 8) * 8;
            const int n = n0 + (KN ? c : r), k = k0 + (KN ? r : c);
            const bool ok = n < N && k < K;
            cp_async16(&bs[stage][r][c], B + (ok ? (KN ? (size_t)k * N + n : (size_t)n * K + k) : 0), ok);
        }
        commit();
    };
    const int slices = (K + SLICE - 1) / SLICE;
    load(0, 0);
    for (int s = 0; s < slices; s++) {
        const int stage = s & 1;
        if (s + 1 < slices) {
            load(stage ^ 1, (s + 1) * SLICE);
            wait<1>();
        } else {
            wait<0>();
        }
        __syncthreads();
        for (int k = 0; k < SLICE; k += 16) {
            unsigned a[2][4], b[2][4];
            for (int i = 0; i < 2; i++)
                ldmatrix_x4<false>(a[i], &as[stage][m_warp + i * 16 + (lane & 15)][k + (lane >> 4) * 8]);
            for (int j = 0; j < 2; j++)
                if (KN)
                    ldmatrix_x4<true>(b[j], &bs[stage][k + (lane & 15)][n_warp + j * 16 + (lane >> 4) * 8]);
                else
                    ldmatrix_x4<false>(
                        b[j],
                        &bs[stage][n_warp + j * 16 + (lane & 7) + (lane >> 4) * 8][k + (lane >> 3 & 1) * 8]);
            for (int i = 0; i < 2; i++)
                for (int j = 0; j < 4; j++) mma<T>(acc[i][j], a[i], b[j / 2] + j % 2 * 2);
        }
        __syncthreads();
    }
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 4; j++)
            for (int h = 0; h < 2; h++) {
                const int m = m0 + m_warp + i * 16 + lane / 4 + h * 8, n = n0 + n_warp + j * 8 + lane % 4 * 2;
                if (m < M && n < N)
                    *reinterpret_cast<float2 *>(&C[(size_t)m * N + n]) =
                        make_float2(acc[i][j][2 * h], acc[i][j][2 * h + 1]);
            }
}

template __global__ void gemm_kernel<__nv_bfloat16, false>(const Bits *, const Bits *, float *, int, int, int);
template __global__ void gemm_kernel<__half, true>(const Bits *, const Bits *, float *, int, int, int);

/* The small forms, a warp: C (16,8) = A (16,8) B (8,8) by m16n8k8, A by ldmatrix x2, B by x1 .trans; its
 * transpose (8,16) as bf16 by two movmatrix; and B once more by x1 and x2 .trans, written back as it was. */
__global__ void fragments_kernel(const Bits *A, const Bits *B, float *C, Bits *transposed, Bits *copies)
{
    __shared__ __align__(16) Bits as[16][8], bs[8][8];
    const int l = threadIdx.x, g = l / 4, t = l % 4 * 2;
    for (int i = l; i < 128; i += 32) as[i / 8][i % 8] = A[i];
    for (int i = l; i < 64; i += 32) bs[i / 8][i % 8] = B[i];
    __syncwarp();
    unsigned a[2], b, plain, pair[2], turned[2];
    float d[4] = {1, 2, 3, 4};
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(a[0]), "=r"(a[1])
                 : "r"(shared_address(as[l & 15])));
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
                 : "=r"(b)
                 : "r"(shared_address(bs[l & 7])));
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
                 : "=r"(plain)
                 : "r"(shared_address(bs[l & 7])));
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(pair[0]), "=r"(pair[1])
                 : "r"(shared_address(as[l & 15])));
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(b));
    for (int r = 0; r < 4; r++) C[(g + 8 * (r / 2)) * 8 + t + r % 2] = d[r];
    for (int h = 0; h < 2; h++) {
        __nv_bfloat162 v = __floats2bfloat162_rn(d[2 * h], d[2 * h + 1]);
        asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;"
                     : "=r"(turned[h])
                     : "r"(*reinterpret_cast<unsigned *>(&v)));
        for (int k = 0; k < 2; k++) {
            transposed[g * 16 + 8 * h + t + k] = (Bits)(turned[h] >> 16 * k);
            copies[64 + g * 16 + 8 * h + t + k] = (Bits)(pair[h] >> 16 * k);
        }
    }
    for (int k = 0; k < 2; k++) copies[g * 8 + t + k] = (Bits)(plain >> 16 * k);
}
