/* u = dropout(x) A^T; y += s u B^T. Backward, with du = s dy B: dB += s dy^T u; dA += du^T dropout(x);
 * dx += mask du A. The mask is made again from its counter, four elements a Philox block, eight blocks at once.
 */
#include "kernels/lora.h"
#include "kernels/gemm.h"
#include "kernels/vec.h"
#include "tensor/rng.h"

typedef uint64_t Lanes __attribute__((vector_size(64), aligned(8), may_alias));
enum { LANES = 8, GROUP = 4 * LANES, CHUNK = 1 << 12 /* elements a task; a multiple of GROUP */ };

/* mask[0..GROUP-1] = dropout_scale of elements 4*block..: the rounds of philox4x32 on eight counters, each word
 * in a 64-bit lane. */
VEC_BODY(mask_group, (float *mask, uint64_t block, const uint64_t *key, float p), {
    const uint64_t low = 0xffffffffu;
    uint64_t count[LANES];
    for (int i = 0; i < LANES; i++) count[i] = block + (uint64_t)i;
    Lanes c0 = *(const Lanes *)count & low;
    Lanes c1 = *(const Lanes *)count >> 32;
    Lanes c2 = (c0 & 0) + (key[1] & low);
    Lanes c3 = (c0 & 0) + (key[1] >> 32);
    uint32_t k0 = (uint32_t)key[0];
    uint32_t k1 = (uint32_t)(key[0] >> 32);
    for (int round = 0; round < 10; round++) {
        Lanes p0 = c0 * 0xD2511F53u;
        Lanes p1 = c2 * 0xCD9E8D57u;
        c0 = (p1 >> 32) ^ c1 ^ k0;
        c1 = p1 & low;
        c2 = (p0 >> 32) ^ c3 ^ k1;
        c3 = p0 & low;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    float keep = 1.0f / (1.0f - p);
    for (int i = 0; i < LANES; i++) {
        mask[4 * i] = philox_unit((uint32_t)c0[i]) < p ? 0.0f : keep;
        mask[4 * i + 1] = philox_unit((uint32_t)c1[i]) < p ? 0.0f : keep;
        mask[4 * i + 2] = philox_unit((uint32_t)c2[i]) < p ? 0.0f : keep;
        mask[4 * i + 3] = philox_unit((uint32_t)c3[i]) < p ? 0.0f : keep;
    }
})
VEC_FUNCTION(mask_group, (float *mask, uint64_t block, const uint64_t *key, float p), (mask, block, key, p))

/* y = mask * x, or y += mask * x. */
static void dropout(float *y, const float *x, int64_t n, const MatmulParams *p, bool add)
{
    const uint64_t key[2] = {p->seed, p->call};
#pragma omp parallel for schedule(static) if (n > CHUNK)
    for (int64_t from = 0; from < n; from += CHUNK) {
        int64_t to = from + CHUNK < n ? from + CHUNK : n;
        for (int64_t i = from; i < to; i += GROUP) {
            float mask[GROUP];
            int64_t count = to - i < GROUP ? to - i : GROUP;
            mask_group(mask, (uint64_t)i / 4, key, p->dropout);
            for (int64_t j = 0; j < count; j++) y[i + j] = mask[j] * x[i + j] + (add ? y[i + j] : 0.0f);
        }
    }
}

Tensor *lora_apply(Tape *t, const Op *op, Tensor *a, Tensor *b, Tensor *bias, const Lora *lora, MatmulParams p)
{
    if (lora) {
        if (!lora->A || !lora->B || !(lora->dropout >= 0 && lora->dropout < 1))
            die("%s: LoRA needs A and B and a dropout in [0,1), found %g", op->name, (double)lora->dropout);
        p.lora_scale = lora->scale;
        if (lora->dropout > 0 && tape_drops(t)) {
            p.dropout = lora->dropout;
            p.seed = t->seed;
            p.call = t->calls++;
        }
    }
    Tensor *in[5] = {a, b, bias, lora ? lora->A : NULL, lora ? lora->B : NULL};
    return op_apply(t, op, 5, in, &p, sizeof p);
}

void lora_shape(Tape *t, Node *n, int64_t N)
{
    const Tensor *x = n->in[0], *A = n->in[3], *B = n->in[4];
    if (!A && !B) return;
    if (!A || !B || A->dtype != DTYPE_f32 || B->dtype != DTYPE_f32 || A->ndim != 2 || B->ndim != 2 ||
        A->dim[1] != tensor_last(x) || B->dim[0] != N || B->dim[1] != A->dim[0])
        die("%s: LoRA A %s and B %s do not fit x %s and %lld outputs", n->op->name, A ? tensor_text(A) : "none",
            B ? tensor_text(B) : "none", tensor_text(x), (long long)N);
    n->saved[0] = tape_tensor(t, DTYPE_f32, 2, (int64_t[]){tensor_rows(x), A->dim[0]});
}

static const float *dropped(Tape *t, const Node *n)
{
    const MatmulParams *p = NODE_AS(MatmulParams, n);
    if (p->dropout == 0) return n->in[0]->data;
    float *x = tape_scratch(t, tensor_bytes(n->in[0]));
    dropout(x, n->in[0]->data, tensor_len(n->in[0]), p, false);
    return x;
}

void lora_forward(Tape *t, Node *n)
{
    const Tensor *A = n->in[3], *B = n->in[4];
    if (!A) return;
    int64_t rows = tensor_rows(n->in[0]), K = A->dim[1], r = A->dim[0], N = B->dim[0];
    const float *x = dropped(t, n);
    float *u = n->saved[0]->data;
    gemm(false, true, rows, r, K, 1, x, K, A->data, K, 0, u, r);
    gemm(false, true, rows, N, r, NODE_AS(MatmulParams, n)->lora_scale, u, r, B->data, r, 1, n->out->data, N);
}

void lora_backward(Tape *t, Node *n)
{
    const Tensor *x = n->in[0], *A = n->in[3], *B = n->in[4];
    if (!A) return;
    const MatmulParams *p = NODE_AS(MatmulParams, n);
    int64_t rows = tensor_rows(x), K = A->dim[1], r = A->dim[0], N = B->dim[0];
    const float *dy = n->out->grad->data;
    if (B->grad) gemm(true, false, N, r, rows, p->lora_scale, dy, N, n->saved[0]->data, r, 1, B->grad->data, r);
    if (!A->grad && !x->grad) return;
    float *du = tape_scratch(t, (size_t)(rows * r) * sizeof *du);
    gemm(false, false, rows, r, N, p->lora_scale, dy, N, B->data, r, 0, du, r);
    if (A->grad) gemm(true, false, r, K, rows, 1, du, r, dropped(t, n), K, 1, A->grad->data, K);
    if (!x->grad) return;
    if (p->dropout == 0) {
        gemm(false, false, rows, K, r, 1, du, r, A->data, K, 1, x->grad->data, K);
    } else {
        float *dx = tape_scratch(t, tensor_bytes(x));
        gemm(false, false, rows, K, r, 1, du, r, A->data, K, 0, dx, K);
        dropout(x->grad->data, dx, rows * K, p, true);
    }
}
