/* u = dropout(x) A^T; y += s u B^T. Backward, with du = s dy B: dB += s dy^T u; dA += du^T dropout(x);
 * dx += mask du A. The mask is made again wherever x is read or dx written: it is never stored.
 *
 * Mapping: the products that read along x or dy are those of gemv.cuh, 16 of the rank at a time; y and dx are
 * written by the tiles of gemm.cuh. Bytes at a rank of at most 16: forward x, y twice; backward dy twice, x, dx
 * twice. Floor: these over bandwidth. Log: never timed on a GPU. */
#include "kernels/lora.cuh"
#include "kernels/elements.cuh"
#include "kernels/gemv.cuh"
#include "tensor/rng.h"

/* The mask: what dropout_scale says of elements of x. */
struct LoraMask {
    uint64_t seed, call;
    float dropout;

    __device__ float one(uint64_t i) const { return dropout_scale(seed, call, i, dropout); }
    /* of i..i+3, i a multiple of 4 */
    __device__ float4 four(uint64_t i) const
    {
        uint64_t block = i / 4;
        Philox r = philox4x32((uint32_t)block, (uint32_t)(block >> 32), (uint32_t)call, (uint32_t)(call >> 32),
                              (uint32_t)seed, (uint32_t)(seed >> 32));
        float keep = 1.0f / (1.0f - dropout), v[4];
#pragma unroll
        for (int j = 0; j < 4; j++) v[j] = philox_unit(r.v[j]) < dropout ? 0.0f : keep;
        return float4{v[0], v[1], v[2], v[3]};
    }
};

/* dropout(x) as an operand: L is GemmRows or GemmColumns of all of x. */
template <class L> struct LoraDropped : L {
    LoraMask mask;

    LoraDropped(L x, LoraMask mask) : L(x), mask(mask) {}
    __device__ float4 four(const float *from) const
    {
        float4 x = *(const float4 *)from, m = mask.four((uint64_t)(from - this->p));
        return float4{x.x * m.x, x.y * m.y, x.z * m.z, x.w * m.w};
    }
    __device__ float one(const float *from) const { return *from * mask.one((uint64_t)(from - this->p)); }
};

/* C += mask * product, C of x's shape. */
struct LoraMasked : GemmOutput {
    LoraMask mask;

    LoraMasked(float *dx, int64_t K, LoraMask mask) : GemmOutput(dx, K, true), mask(mask) {}
    __device__ float value(int m, int n, float product) const
    {
        return product * mask.one((uint64_t)(m * ld + n));
    }
};

static int few_from(int64_t j, int64_t r) { return r - j < GEMM_FEW ? (int)(r - j) : (int)GEMM_FEW; }

/* c (lines,few) or (few,lines), with x dropped where the op drops. */
template <class L>
static void times_few(Tape *t, const Node *n, L x, GemmFew f, GemmOutput c, int lines, int few, int K,
                      bool across)
{
    const MatmulParams *p = NODE_AS(MatmulParams, n);
    if (p->dropout == 0)
        gemm_few(t, x, f, c, lines, few, K, across);
    else
        gemm_few(t, LoraDropped<L>(x, {p->seed, p->call, p->dropout}), f, c, lines, few, K, across);
}

void lora_forward_cuda(Tape *t, Node *n)
{
    if (!n->in[3]) return;
    int64_t rows = tensor_rows(n->in[0]), K = n->in[3]->dim[1], r = n->in[3]->dim[0], N = n->in[4]->dim[0];
    const float *A = f32(n->in[3]);
    float *u = f32(n->saved[0]);
    GemmRows x(f32(n->in[0]), K, 0, gemm_int(rows), gemm_int(K));
    for (int64_t j = 0; j < r; j += GEMM_FEW)
        times_few(t, n, x, {A + j * K, K, 1, 0}, GemmOutput(u + j, r, false), x.lines, few_from(j, r), x.depth,
                  false);
    gemm_cuda(t, rows, N, r, {u, r, false, 0}, {f32(n->in[4]), r, true, 0},
              GemmOutput(f32(n->out), N, true, NODE_AS(MatmulParams, n)->lora_scale));
}

static void backward_x(Tape *t, const Node *n, const float *du, int rows, int r, int K)
{
    const MatmulParams *p = NODE_AS(MatmulParams, n);
    const float *A = f32(n->in[3]);
    float *dx = f32(n->in[0]->grad);
    if (p->dropout == 0)
        gemm_cuda(t, rows, K, r, {du, r, false, 0}, {A, K, false, 0}, GemmOutput(dx, K, true));
    else
        gemm_tiles(t, GemmRows(du, r, 0, rows, r), GemmColumns(A, K, 0, K, r),
                   LoraMasked(dx, K, {p->seed, p->call, p->dropout}), rows, K, r);
}

void lora_backward_cuda(Tape *t, Node *n)
{
    const Tensor *x = n->in[0], *A = n->in[3], *B = n->in[4];
    if (!A) return;
    float scale = NODE_AS(MatmulParams, n)->lora_scale;
    int64_t rows = tensor_rows(x), K = A->dim[1], r = A->dim[0], N = B->dim[0];
    const float *dy = f32(n->out->grad);
    if (B->grad)
        gemm_cuda(t, N, r, rows, {dy, N, true, 0}, {f32(n->saved[0]), r, false, 0},
                  GemmOutput(f32(B->grad), r, true, scale));
    if (!A->grad && !x->grad) return;
    float *du = (float *)scratch(t, (size_t)(rows * r) * sizeof *du);
    gemm_cuda(t, rows, r, N, {dy, N, false, 0}, {f32(B), r, false, 0}, GemmOutput(du, r, false, scale));
    GemmColumns columns(f32(x), K, 0, gemm_int(K), gemm_int(rows));
    for (int64_t j = 0; A->grad && j < r; j += GEMM_FEW)
        times_few(t, n, columns, {du + j, 1, r, 0}, GemmOutput(f32(A->grad) + j * K, K, true), columns.lines,
                  few_from(j, r), columns.depth, true);
    if (x->grad) backward_x(t, n, du, columns.depth, gemm_int(r), columns.lines);
}
