/* Tensor cores, ldmatrix and cp.async: inline PTX under nvcc, the same fragments by hand for the host compiler.
 * Lane l of a warp, with g = l / 4 and t = l % 4 * 2, holds of m16n8k16
 *   a (16,16)  a[0] row g, columns t, t+1; a[1] row g+8; a[2], a[3] the same rows, columns t+8, t+9
 *   b (16,8)   b[0] rows t, t+1 of column g; b[1] rows t+8, t+9
 *   d (16,8)   d[0], d[1] row g, columns t, t+1; d[2], d[3] row g+8
 * two bf16 a register, the lower index in the lower half. */
#ifndef KERNELS_MMA_CUH
#define KERNELS_MMA_CUH
#include "kernels/cuda.cuh"

namespace tc
{
#ifdef __CUDACC__

/* d += a b. */
static __device__ __forceinline__ void mma_bf16(float *d, const unsigned *a, const unsigned *b)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};\n"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Four 8x8 matrices of 16 bits from shared memory: lane 8m + i brings the address of row i (16 bytes, aligned)
 * of matrix m and gets in r[m] row g, columns t and t+1; transposed: column g, rows t and t+1. */
static __device__ __forceinline__ void ldmatrix_x4(unsigned *r, const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(SMEM_ADDR(row))
                 : "memory");
}
static __device__ __forceinline__ void ldmatrix_x4_trans(unsigned *r, const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(SMEM_ADDR(row))
                 : "memory");
}

/* 16 bytes from device to shared memory, both aligned to 16; !ok: zeros, and src, though aligned, is not read.
 * They are there after the wait, for other threads after a barrier behind it. */
static __device__ __forceinline__ void cp_async16(void *dst, const void *src, bool ok = true)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(SMEM_ADDR(dst)), "l"(src),
                 "r"(ok ? 16 : 0)
                 : "memory");
}
static __device__ __forceinline__ void cp_async_commit()
{
    asm volatile("cp.async.commit_group;\n" ::: "memory");
}
/* For all groups but the N newest. */
template <int N> static __device__ __forceinline__ void cp_async_wait()
{
    asm volatile("cp.async.wait_group %0;\n" ::"n"(N) : "memory");
}

#else

/* Fragments and rows are read, and copies made, here, where sanitizers see them. */
static inline void mma_bf16(float *d, const unsigned *a, const unsigned *b, emu::Site site = EMU_HERE)
{
    emu::Mma m = {{d[0], d[1], d[2], d[3]}, {a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    emu::meet(emu::MMA, ~0u, &m, site);
    for (int i = 0; i < 4; i++) d[i] = m.d[i];
}

static inline void ldmatrix(emu::Collective kind, unsigned *r, const void *row, emu::Site site)
{
    emu::Ldmatrix m = {};
    emu::shared_offset(row, sizeof m.row, 16, "ldmatrix", site);
    for (int i = 0; i < 8; i++) m.row[i] = ((const uint16_t *)row)[i];
    emu::meet(kind, ~0u, &m, site);
    for (int i = 0; i < 4; i++) r[i] = m.result[i];
}
static inline void ldmatrix_x4(unsigned *r, const void *row, emu::Site site = EMU_HERE)
{
    ldmatrix(emu::LDMATRIX, r, row, site);
}
static inline void ldmatrix_x4_trans(unsigned *r, const void *row, emu::Site site = EMU_HERE)
{
    ldmatrix(emu::LDMATRIX_TRANS, r, row, site);
}

static inline void cp_async16(void *dst, const void *src, bool ok = true, emu::Site site = EMU_HERE)
{
    emu::async_issue(dst, src, ok, site);
    *(emu::Chunk *)dst = emu::nan_chunk;
}
static inline void cp_async_commit() { emu::async_commit(); }
template <int N> static inline void cp_async_wait()
{
    for (emu::AsyncCopy c; emu::async_next(N, &c);)
        *(emu::Chunk *)c.dst = c.src ? *(const emu::Chunk *)c.src : emu::Chunk{};
}

#endif
} // namespace tc
#endif
