/* u = dropout(x) A^T; y += s u B^T. Backward, with du = s dy B: dB += s dy^T u; dA += du^T dropout(x);
 * dx += mask du A. The mask is made again wherever x is read or dx written: it is never stored.
 *
 * Mapping: all of it is thin products (gemm_thin.cuh), 16 of the rank at a time: few lines where x or dy is
 * read, shallow ones where y or dx is written. Bytes at a rank of at most 16: forward x, y twice; backward dy
 * twice, x, dx twice. Floor: these over bandwidth. Log: never timed on a GPU. y += s u B^T on the tiles of
 * gemm.cuh was 2.3e-4 off an output of 0.13, over the tests' tolerance, where large terms cancel: thin products
 * are f32 throughout. */
#include "kernels/lora.cuh"
#include "kernels/elements.cuh"
#include "kernels/gemm_thin.cuh"
#include "tensor/rng.h"

/* The mask: what dropout_scale (tensor/rng.h) says of elements of x, four at a time. */
struct LoraMask {
    uint64_t seed, call;
    float dropout;

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
    __device__ float one(uint64_t i) const
    {
        float4 v = four(i & ~(uint64_t)3);
        return i & 2 ? (i & 1 ? v.w : v.z) : (i & 1 ? v.y : v.x);
    }
};

static LoraMask mask_of(const Node *n)
{
    const MatmulParams *p = NODE_AS(MatmulParams, n);
    return {p->seed, p->call, p->dropout};
}

/* dropout(x) as an operand: L is GemmRows or GemmColumns of all of x. */
template <class L> struct LoraDropped : L {
    LoraMask mask;

    LoraDropped(const Node *n, L x) : L(x), mask(mask_of(n)) {}
    __device__ float4 four(const float *from) const
    {
        if (mask.dropout == 0) return *(const float4 *)from;
        float4 x = *(const float4 *)from, m = mask.four((uint64_t)(from - this->p));
        return float4{x.x * m.x, x.y * m.y, x.z * m.z, x.w * m.w};
    }
    __device__ float one(const float *from) const
    {
        return mask.dropout == 0 ? *from : *from * mask.one((uint64_t)(from - this->p));
    }
};

/* C += mask * product, C of x's shape. */
struct LoraMasked : GemmOutput {
    LoraMask mask;

    LoraMasked(const Node *n, float *dx, int64_t K) : GemmOutput(dx, K, true), mask(mask_of(n)) {}
    __device__ float value(int m, int n, float product) const
    {
        return mask.dropout == 0 ? product : product * mask.one((uint64_t)(m * ld + n));
    }
};

static __device__ inline float4 gemm_values(const LoraMasked &c, int m, int n, float4 v)
{
    if (c.mask.dropout == 0) return v;
    float4 k = c.mask.four((uint64_t)(m * c.ld + n));
    return float4{v.x * k.x, v.y * k.y, v.z * k.z, v.w * k.w};
}

static int few_from(int64_t j, int64_t r) { return r - j < GEMM_FEW ? (int)(r - j) : (int)GEMM_FEW; }

void lora_forward_cuda(Tape *t, Node *n)
{
    if (!n->in[3]) return;
    int64_t r = n->in[3]->dim[0];
    int rows = gemm_int(tensor_rows(n->in[0])), K = gemm_int(n->in[3]->dim[1]), N = gemm_int(n->in[4]->dim[0]);
    const float *A = f32(n->in[3]), *B = f32(n->in[4]);
    float *u = f32(n->saved[0]);
    LoraDropped<GemmRows<float>> x(n, GemmRows(f32(n->in[0]), K, 0, rows, K));
    GemmOutput y(f32(n->out), N, true, NODE_AS(MatmulParams, n)->lora_scale);
    GemmRoom room(t);
    for (int64_t j = 0; j < r; j += GEMM_FEW) {
        int few = few_from(j, r);
        gemm_few(room, x, {A + j * K, K, 1, 0}, GemmOutput(u + j, r, false), rows, few, K, false);
        gemm_shallow({u + j, r, 1, 0}, GemmRows(B + j, gemm_int(r), 0, N, few), y, rows, N, few);
    }
}

void lora_backward_cuda(Tape *t, Node *n)
{
    const Tensor *x = n->in[0], *A = n->in[3], *B = n->in[4];
    if (!A) return;
    float scale = NODE_AS(MatmulParams, n)->lora_scale;
    int64_t r = A->dim[0];
    int rows = gemm_int(tensor_rows(x)), K = gemm_int(A->dim[1]), N = gemm_int(B->dim[0]);
    const float *dy = f32(n->out->grad), *u = f32(n->saved[0]);
    float *du = A->grad || x->grad ? (float *)scratch(t, (size_t)(rows * r) * sizeof *du) : NULL;
    GemmRoom room(t);
    for (int64_t j = 0; j < r; j += GEMM_FEW) {
        int few = few_from(j, r);
        if (B->grad)
            gemm_few(room, GemmColumns(dy, N, 0, N, rows), {u + j, 1, r, 0},
                     GemmOutput(f32(B->grad) + j, r, true, scale), N, few, rows, false);
        if (!du) continue;
        gemm_few(room, GemmRows(dy, N, 0, rows, N), {f32(B) + j, 1, r, 0}, GemmOutput(du + j, r, false, scale),
                 rows, few, N, false);
        if (A->grad)
            gemm_few(room, LoraDropped<GemmColumns<float>>(n, GemmColumns(f32(x), K, 0, K, rows)),
                     {du + j, 1, r, 0}, GemmOutput(f32(A->grad) + j * K, K, true), K, few, rows, true);
        if (x->grad)
            gemm_shallow({du + j, r, 1, 0}, GemmColumns(f32(A) + j * K, K, 0, K, few),
                         LoraMasked(n, f32(x->grad), K), rows, K, few);
    }
}
