/* u = dropout(x) A^T; y += s u B^T. Backward, with du = s dy B: dB += s dy^T u; dA += du^T dropout(x);
 * dx += mask du A. The mask is made again wherever x is read or dx written: it is never stored.
 *
 * Mapping: thin products (gemm_thin.cuh), 16 of the rank at a time, few lines where x or dy is read. matmul_q
 * adds what is left to y and dx as it writes them (LoraTerm), whatever the rank; matmul has them added here, by
 * shallow products. Bytes at a rank of at most 16: forward x, and here y twice; backward dy twice, x, and here
 * dx twice. Floor: these over bandwidth. Log: never timed on a GPU. y += s u B^T on the tiles of gemm.cuh was
 * 2.3e-4 off an output of 0.13, over the tests' tolerance, where large terms cancel: all of it is f32. */
#include "kernels/lora.cuh"
#include "kernels/elements.cuh"
#include "kernels/gemm_thin.cuh"

static LoraMask mask_of(const Node *n)
{
    const MatmulParams *p = NODE_AS(MatmulParams, n);
    return {p->seed, p->call, p->dropout};
}

/* dropout(x) as an operand: L is GemmRows or GemmColumns of all of x. */
template <class L> struct LoraDropped : L {
    typedef typename L::Element T;
    LoraMask mask;

    LoraDropped(const Node *n, L x) : L(x), mask(mask_of(n)) {}
    __device__ float4 four(const T *from) const
    {
        float4 x = L::four(from);
        if (mask.dropout == 0) return x;
        float4 m = mask.four((uint64_t)(from - this->p));
        return float4{x.x * m.x, x.y * m.y, x.z * m.z, x.w * m.w};
    }
    __device__ float one(const T *from) const
    {
        return mask.dropout == 0 ? L::one(from) : L::one(from) * mask.one((uint64_t)(from - this->p));
    }
};

/* C += mask * product, C of x's shape. */
struct LoraMasked : GemmOutput {
    LoraMask mask;

    LoraMasked(const LoraTerm &term, float *dx) : GemmOutput(dx, term.K, true), mask(term.mask) {}
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

LoraTerm lora_forward_term(Tape *t, Node *n)
{
    const Tensor *x = n->in[0];
    if (!n->in[3]) return {};
    int r = gemm_int(n->in[3]->dim[0]), rows = gemm_int(tensor_rows(x)), K = gemm_int(n->in[3]->dim[1]);
    const float *A = f32(n->in[3]);
    float *u = f32(n->saved[0]);
    GemmRoom room(t);
    with_type(x, [&](auto type) {
        typedef GemmRows<decltype(type)> Rows;
        LoraDropped<Rows> in(n, Rows(elements<decltype(type)>(x), K, 0, rows, K));
        for (int j = 0; j < r; j += GEMM_FEW)
            gemm_few(room, in, {A + (int64_t)j * K, K, 1, 0}, GemmOutput(u + j, r, false), rows, few_from(j, r),
                     K, false);
    });
    return {u, f32(n->in[4]), r, K, NODE_AS(MatmulParams, n)->lora_scale, mask_of(n)};
}

void lora_forward_cuda(Tape *t, Node *n)
{
    LoraTerm term = lora_forward_term(t, n);
    if (!term.rank) return;
    int rows = gemm_int(tensor_rows(n->in[0])), N = gemm_int(n->in[4]->dim[0]), r = term.rank;
    GemmOutput y(n->out, N, true, term.scale);
    for (int j = 0; j < r; j += GEMM_FEW)
        gemm_shallow({term.u + j, r, 1, 0}, GemmRows(term.w + j, r, 0, N, few_from(j, r)), y, rows, N,
                     few_from(j, r));
}

/* dA += du^T dropout(x), columns j.. of the rank. */
static void add_da(const GemmRoom &room, const Node *n, const float *du, int j, int few, int r)
{
    const Tensor *x = n->in[0], *A = n->in[3];
    int rows = gemm_int(tensor_rows(x)), K = gemm_int(A->dim[1]);
    with_type(x, [&](auto type) {
        typedef GemmColumns<decltype(type)> Columns;
        gemm_few(room, LoraDropped<Columns>(n, Columns(elements<decltype(type)>(x), K, 0, K, rows)),
                 {du + j, 1, r, 0}, GemmOutput(f32(A->grad) + (int64_t)j * K, K, true), K, few, rows, true);
    });
}

LoraTerm lora_backward_term(Tape *t, Node *n)
{
    const Tensor *x = n->in[0], *A = n->in[3], *B = n->in[4];
    if (!A) return {};
    float scale = NODE_AS(MatmulParams, n)->lora_scale;
    int r = gemm_int(A->dim[0]), rows = gemm_int(tensor_rows(x)), N = gemm_int(B->dim[0]);
    const float *dy = f32(n->out->grad), *u = f32(n->saved[0]);
    float *du = A->grad || x->grad ? (float *)scratch(t, (size_t)rows * (size_t)r * sizeof *du) : NULL;
    GemmRoom room(t);
    for (int j = 0; j < r; j += GEMM_FEW) {
        int few = few_from(j, r);
        if (B->grad)
            gemm_few(room, GemmColumns(dy, N, 0, N, rows), {u + j, 1, r, 0},
                     GemmOutput(f32(B->grad) + j, r, true, scale), N, few, rows, false);
        if (!du) continue;
        gemm_few(room, GemmRows(dy, N, 0, rows, N), {f32(B) + j, 1, r, 0}, GemmOutput(du + j, r, false, scale),
                 rows, few, N, false);
        if (A->grad) add_da(room, n, du, j, few, r);
    }
    return {du, f32(A), r, A->dim[1], 1, mask_of(n)};
}

void lora_backward_cuda(Tape *t, Node *n)
{
    LoraTerm term = lora_backward_term(t, n);
    const Tensor *x = n->in[0];
    if (!term.rank || !x->grad) return;
    int rows = gemm_int(tensor_rows(x)), K = gemm_int(term.K), r = term.rank;
    for (int j = 0; j < r; j += GEMM_FEW)
        gemm_shallow({term.u + j, r, 1, 0}, GemmColumns(term.w + (int64_t)j * K, K, 0, K, few_from(j, r)),
                     LoraMasked(term, f32(x->grad)), rows, K, few_from(j, r));
}
