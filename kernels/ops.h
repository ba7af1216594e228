/* What this project can compute: every op's call with its formula. Shapes: capitals are dims, "..." any leading
 * dims. Every call checks its inputs (die naming op and shapes), runs at once and returns a tensor on the step
 * stack. A NULL tensor is an absent optional input. Definitions are in kernels/<op>.c, families in unary.c,
 * binary.c, pool.c. */
#ifndef KERNELS_OPS_H
#define KERNELS_OPS_H
#include "tensor/tape.h"
#include <math.h>
#ifdef __cplusplus
extern "C" {
#endif

/* ---- products ---- */

/* A low-rank update (Hu et al. 2021): y += scale * B (A dropout(x)), A (r,K), B (N,r). */
typedef struct Lora {
    Tensor *A, *B;
    float scale, dropout; /* dropout acts only where tape_drops(t) */
} Lora;

typedef struct {
    bool transpose_a, transpose_b;
    float lora_scale, dropout;
    uint64_t seed, call; /* of the dropout mask: dropout_scale(seed, call, element of x, dropout) */
} MatmulParams;

/* y = a b (+ bias) (+ LoRA). b is (K,N), or (N,K) with transpose_b (the layout of a Linear weight [out,in]);
 * with two dims it serves all leading dims of a: a (...,M,K) -> y (...,M,N). With equal leading dims b is
 * batched. transpose_a: a is (...,K,M) (only without LoRA). bias (N) or NULL; lora NULL or with a not
 * transposed and b two-dim. Inputs of the node: a, b, bias, lora A, lora B. saved[0] = u = A dropout(x)
 * (rows,r) with LoRA. b may be f32 or bf16, whatever a is. */
Tensor *op_matmul(Tape *t, Tensor *a, Tensor *b, Tensor *bias, const Lora *lora, bool transpose_a,
                  bool transpose_b);
/* The same with a quantised, frozen W (N,K): y = x W^T ...; no dW; dx = dy W from the same packed weights. */
Tensor *op_matmul_q(Tape *t, Tensor *x, Tensor *w, Tensor *bias, const Lora *lora);
/* Every Linear goes through here: x (...,K), W (N,K) f32 or bf16 (op_matmul) or 4-bit (op_matmul_q). */
Tensor *op_linear(Tape *t, Tensor *x, Tensor *w, Tensor *bias, const Lora *lora);

/* y[n,h,w,o] = sum_{i,j,c} x[n, h*stride-pad+i, w*stride-pad+j, c] w[o,i,j,c] (+ bias[o]).
 * x (N,H,W,C), w (O,kh,kw,C), bias (O) or NULL -> (N,(H+2p-kh)/s+1,(W+2p-kw)/s+1,O). */
typedef struct {
    int stride, pad;
} Conv2dParams;
Tensor *op_conv2d(Tape *t, Tensor *x, Tensor *w, Tensor *bias, int stride, int pad);

/* The transposed convolution: y[n, h*stride-pad+i, w*stride-pad+j, o] += x[n,h,w,c] w[c,i,j,o] over all h, w,
 * i, j, c that land inside (+ bias[o]). x (N,H,W,C), w (C,kh,kw,O), bias (O) or NULL
 * -> (N,(H-1)s-2p+kh,(W-1)s-2p+kw,O). */
Tensor *op_deconv2d(Tape *t, Tensor *x, Tensor *w, Tensor *bias, int stride, int pad);

/* ---- normalisation, activation, families ---- */

/* y = x / sqrt(mean(x^2) + eps) * w over the last dim. x (...,C), w (C). saved[0] = 1/rms (rows). */
typedef struct {
    float eps;
} RmsnormParams;
Tensor *op_rmsnorm(Tape *t, Tensor *x, Tensor *w, float eps);

/* y = (x - mean) / sqrt(var + eps) * w + b over the last dim, biased variance. x (...,C), w, b (C). saved:
 * mean, 1/sd (rows). */
typedef struct {
    float eps;
} LayernormParams;
Tensor *op_layernorm(Tape *t, Tensor *x, Tensor *w, Tensor *b, float eps);

/* y = x / |x| over the last dim; a row of zeros gives zeros and no gradient. x (...,C). saved[0] = |x| (rows).
 */
Tensor *op_l2norm(Tape *t, Tensor *x);

/* y = (x - mean) / sqrt(var + eps) * gamma + beta per channel (last dim) over all rows. train: statistics of
 * the batch (biased variance), running = (1-momentum) running + momentum * batch (unbiased variance), in place;
 * else the running statistics. x (...,C), gamma, beta, running_mean, running_var (C). saved: mean (C), 1/sd
 * (C). */
typedef struct {
    float eps, momentum;
    bool train;
} BatchnormParams;
Tensor *op_batchnorm(Tape *t, Tensor *x, Tensor *gamma, Tensor *beta, Tensor *running_mean, Tensor *running_var,
                     BatchnormParams p);

/* y = softmax(scale * x) over the last dim. */
typedef struct {
    float scale;
} SoftmaxParams;
Tensor *op_softmax(Tape *t, Tensor *x, float scale);
/* y[b,:,h,s] = softmax over t of scale * x[b,t,h,s] + bias[b,t,h]: down the columns. x (B,T,H,S), bias (B,T,H)
 * f32 or NULL. */
Tensor *op_softmax_columns(Tape *t, Tensor *x, Tensor *bias, float scale);

/* Unary family: y = f(x), any shape. scale: y = k x. */
typedef struct {
    float k;
} UnaryParams;
Tensor *op_relu(Tape *t, Tensor *x);
Tensor *op_sigmoid(Tape *t, Tensor *x);
Tensor *op_scale(Tape *t, Tensor *x, float k);

/* y = x/2 (1 + erf(x / sqrt 2)) (Hendrycks & Gimpel 2016), any shape. */
Tensor *op_gelu(Tape *t, Tensor *x);

/* Binary family: equal shapes. */
Tensor *op_add(Tape *t, Tensor *a, Tensor *b);
Tensor *op_sub(Tape *t, Tensor *a, Tensor *b);
Tensor *op_mul(Tape *t, Tensor *a, Tensor *b);

/* y = x + b, b f32 matching x's trailing dims (any rank): bias, position and dense embeddings. */
Tensor *op_add_bias(Tape *t, Tensor *x, Tensor *b);

/* y = silu(gate) * up, equal shapes (Shazeer 2020). */
Tensor *op_swiglu(Tape *t, Tensor *gate, Tensor *up);

/* y = k * sum of all elements -> (1). Summed in double. */
typedef struct {
    float k;
} SumParams;
Tensor *op_sum(Tape *t, Tensor *x, float k);

/* x in another type: f32 to bf16 (to nearest, ties to even) or back. x itself where it has that type. */
typedef struct {
    DType to;
} CastParams;
Tensor *op_cast(Tape *t, Tensor *x, DType to);

/* ---- shape and lookup ---- */

/* Joins a and b along `axis`; all other dims equal. */
typedef struct {
    int axis;
} ConcatParams;
Tensor *op_concat(Tape *t, Tensor *a, Tensor *b, int axis);

/* y[i] = x[index[i]] along dim 0. x (N,...), index (M) i32 in 0..N-1 -> (M,...). Repeats add up in backward. */
Tensor *op_select(Tape *t, Tensor *x, Tensor *index);

/* y[i] = table[id[i]], in the type of t->compute. table (V,D) f32 or bf16, id (...) i32 in 0..V-1, or -1 for a
 * zero row -> (...,D). id at most 3 dims. */
Tensor *op_embed(Tape *t, Tensor *table, Tensor *id);

/* Maximum over windows, pad value -inf. x (N,H,W,C). ceil_mode as in PyTorch (a window must start inside).
 * saved[0] = the winner's position in its image, h*W + w (i32, the output's shape), lowest on ties. */
typedef struct {
    int kernel, stride, pad;
    bool ceil_mode;
} PoolParams;
Tensor *op_max_pool(Tape *t, Tensor *x, int kernel, int stride, int pad, bool ceil_mode);
/* Mean over windows, without padding. */
Tensor *op_avg_pool(Tape *t, Tensor *x, int kernel, int stride);
/* Bin i covers rows floor(i H/h) .. ceil((i+1) H/h) exclusive (PyTorch's rule). (N,H,W,C) -> (N,h,w,C); h = w =
 * 1 is global average pooling. */
typedef struct {
    int height, width;
} AdaptivePoolParams;
Tensor *op_adaptive_pool(Tape *t, Tensor *x, int height, int width);

/* y[b,d] = max over i of x[b,i,d]. x (B,N,D) -> (B,D). saved[0] = the winner's i (i32, the output's shape),
 * lowest on ties; it alone gets the gradient. */
Tensor *op_reduce_max(Tape *t, Tensor *x);

/* x (N,H,W,C) -> (N,height,width,C), each side for itself, by PyTorch's rules (align_corners false, no
 * antialias). Nearest: output i takes input min(floor(i in/out), in-1), in f32. Bilinear: it lies at max(0,
 * (i+0.5) in/out - 0.5) between two inputs. Area is op_adaptive_pool. */
typedef enum { RESIZE_NEAREST, RESIZE_BILINEAR, RESIZE_AREA } ResizeMode;
typedef struct {
    int height, width;
    ResizeMode mode;
} ResizeParams;
Tensor *op_resize(Tape *t, Tensor *x, int height, int width, ResizeMode mode);

/* Square windows of images, zero-padded on the right and at the bottom to whole windows, then rolled by -shift
 * on both axes: with Hp the padded height, row r of window row i is row (i size + r + shift) mod Hp. x
 * (N,H,W,C) -> (N nh nw, size, size, C), windows row-major. 0 <= shift < size. */
typedef struct {
    int size, shift;
} WindowParams;
Tensor *op_window(Tape *t, Tensor *x, int size, int shift);
/* The inverse: x (N nh nw, size, size, C) -> (N,height,width,C). */
typedef struct {
    int height, width, shift;
} UnwindowParams;
Tensor *op_unwindow(Tape *t, Tensor *x, int height, int width, int shift);

/* ---- attention ---- */

/* HF layout: pairs (j, j+D/2); angle = position * theta^(-2j/D), f32 as the reference. x (B,T,H,D), position
 * (B,T) i32. */
typedef struct {
    float theta;
} RopeParams;
Tensor *op_rope(Tape *t, Tensor *x, Tensor *position, float theta);

/* y = softmax(scale q k^T + mask) v per head; query head h uses key/value head h / (H/G). q (B,T,H,D), k, v
 * (B,S,G,D) of one type -> (B,T,H,D). length (B) i32 or NULL: keys j >= length[b] are masked. causal (needs S
 * == T): keys j > i are masked. A row with no key gives 0. Softmax in f32 with running maximum; saved[0] =
 * log-sum-exp (B,H,T). Decoding: T = 1, k and v the caches, length[b] the tokens there including this one. */
typedef struct {
    float scale;
    bool causal;
} AttentionParams;
Tensor *op_attention(Tape *t, Tensor *q, Tensor *k, Tensor *v, Tensor *length, float scale, bool causal);

/* Attention over an image of H x W tokens with decomposed relative positions (SAM): y = softmax(scale q k^T +
 * q.rel_h[rq-rk+H-1] + q.rel_w[cq-ck+W-1]) v for query (rq,cq) and key (rk,ck), q unscaled in the bias. q, k, v
 * (B,H*W,heads,D) of one type, rel_h (2H-1,D), rel_w (2W-1,D) f32 -> (B,H*W,heads,D). saved[0] = log-sum-exp
 * (B,heads,H*W). */
typedef struct {
    float scale;
} RelposAttentionParams;
Tensor *op_relpos_attention(Tape *t, Tensor *q, Tensor *k, Tensor *v, Tensor *rel_h, Tensor *rel_w,
                            float scale);

/* Attention within windows of s x s tokens with a table of biases (Swin): y = softmax(scale q k^T +
 * table[(rq-rk+s-1) (2s-1) + cq-ck+s-1, head] + mask) v. q, k, v (images*rows*columns,s*s,heads,D) of one type,
 * windows in op_window's order, table ((2s-1)^2,heads) f32. mask: with shift > 0, -100 for pairs that the shift
 * brought together: in the last row of windows tokens of rows below s - shift and those from there on, in the
 * last column likewise. saved[0] = log-sum-exp (images*rows*columns,heads,s*s). */
typedef struct {
    int rows, columns, shift;
    float scale;
} WindowAttentionParams;
Tensor *op_window_attention(Tape *t, Tensor *q, Tensor *k, Tensor *v, Tensor *table, int rows, int columns,
                            int shift, float scale);

/* cache[b, position[b] + i] = x[b, i]. Updates cache (B,S,G,D) in place; x (B,T,G,D) of the same type, position
 * (B) i32. A row past S dies. Returns cache. */
Tensor *op_kv_append(Tape *t, Tensor *cache, Tensor *x, Tensor *position);

/* ---- losses ---- */

/* Language-model head and cross-entropy in one: logits = h w^T are made in chunks of the vocabulary and never
 * stored. h (R,D), w (V,D), each f32 or bf16, label (R) i32, rows with label < 0 ignored -> (1), f32: sum or
 * mean over the counted rows of lse(h w^T) - h.w[label]. saved[0] = lse (R). No counted row: 0. dw is added
 * only where w has a gradient. */
typedef struct {
    bool mean;
} CrossEntropyParams;
Tensor *op_cross_entropy(Tape *t, Tensor *h, Tensor *w, Tensor *label, bool mean);

/* k * sum weight * (max(x,0) - x y + log(1 + exp(-|x|))): multi-label (binary) cross-entropy on logits x,
 * targets y in [0,1], weight NULL or of the same shape -> (1). No gradient to y and weight. */
typedef struct {
    float k;
} MultilabelParams;
Tensor *op_multilabel(Tape *t, Tensor *x, Tensor *y, Tensor *weight, float k);

/* k * sum a (p (1 - y) + (1 - p) y)^gamma * (the same cross-entropy), p = sigmoid(x), a = alpha y + (1 - alpha)
 * (1
 * - y): focal loss (Lin et al. 2017) on logits x, targets y in [0,1] of one shape -> (1). 0 <= alpha <= 1,
 * gamma
 * >= 0. No gradient to y. */
typedef struct {
    float alpha, gamma, k;
} FocalParams;
Tensor *op_focal(Tape *t, Tensor *x, Tensor *y, float alpha, float gamma, float k);

/* Overlap of regions, one a row (equation 3): p, y (M,...) of one shape -> (1), the mean over rows of
 * 1 - 2 S / (sum p^2 + sum y^2 + 1e-6) as printed, or 1 - (2 S + 1) / (sum p + sum y + 1) with smooth, where
 * S = sum p y. Sums in double. No gradient to y. saved[0] (M,2) is for backward. */
typedef struct {
    bool smooth;
} DiceParams;
Tensor *op_dice(Tape *t, Tensor *p, Tensor *y, bool smooth);

/* Contrast of pairs (equations 6 and 9): v, w (n,D), s_ij = cos(v_i, w_j) / tau, or with the learnable log
 * scale (1): cos * exp(min(scale, ln 100)) -> (1): 1/2 [alpha_v sum_i (lse_j s_ij - s_ii) + alpha_w sum_i
 * (lse_j s_ji - s_ii)], lse over j != i as printed, over all j with include_self (the standard form); mean:
 * divided by n. same (n) i32 or NULL: rows i != j with equal numbers are left out of each other's lse. A term
 * whose lse has no j contributes 0 (n = 1, as printed). A vector of length 0 has cosine 0 with all and gradient
 * 0. Gradients to v, w and scale (0 where it is clamped). saved[0] (n,n), saved[1] (1) are for backward. */
typedef struct {
    float alpha_v, alpha_w, tau;
    bool include_self, mean;
} InfonceParams;
Tensor *op_infonce(Tape *t, Tensor *v, Tensor *w, Tensor *scale, Tensor *same, InfonceParams p);

/* ---- without gradient ---- */

/* Decoupled weight decay (Loshchilov & Hutter 2019), in place on flat (n): g' = grad_scale g; w -= lr wd w;
 * m = b1 m + (1-b1) g'; v = b2 v + (1-b2) g'^2; w -= lr/(1-b1^step) m / (sqrt(v)/sqrt(1-b2^step) + eps). step
 * >= 1. Inputs: w, grad, m, v. */
typedef struct {
    float lr, beta1, beta2, eps, weight_decay, grad_scale;
    int64_t step;
} AdamwParams;
void op_adamw(Tape *t, Tensor *w, Tensor *grad, Tensor *m, Tensor *v, AdamwParams p);

/* sum x^2 -> (1), in double, fixed two-stage order. */
Tensor *op_sqnorm(Tape *t, Tensor *x);

/* Index of the largest element of each row, lowest on ties; NaN is never chosen unless the row is all NaN.
 * x (R,V) -> i32 (R). */
Tensor *op_argmax(Tape *t, Tensor *x);

/* Nucleus sampling (Holtzman et al. 2020; the rule of LLaMA's reference generation): p = softmax(x /
 * temperature) sorted descending, stable (lower id first); token k is kept if the mass before it does not
 * exceed top_p; one draw from the renormalised rest with Philox (seed, row, step). x (R,V), draw (3) i32: step,
 * low and high word of the seed -> i32 (R). saved[0]: renormalised probabilities (R,V), 0 where dropped. */
typedef struct {
    float temperature, top_p;
} TopPParams;
Tensor *op_top_p(Tape *t, Tensor *x, Tensor *draw, TopPParams p);

/* What lies between two decode steps. With s = draw[0], the step, and id (B) what was chosen for each row:
 * out[s,b] = id[b], or -1 where that is one of stop (n) or out[s-1,b] is -1: the row has ended; token[b] =
 * id[b]; place[.,b] and the step go up by 1. Updates out (M,B), token (B), place (2,B) and draw (op_top_p), all
 * i32; stop may be NULL. A step past M dies. Returns out. */
Tensor *op_next_token(Tape *t, Tensor *out, Tensor *token, Tensor *place, Tensor *draw, Tensor *id,
                      Tensor *stop);

/* Masks that low-resolution logits mean (Kirillov et al. 2023), at the size of the picture: x (M,h,w) ->
 * bilinear to side x side -> the first input_height rows and input_width columns of that -> bilinear to height
 * x width (both align_corners false, no antialias), as one step and without fused multiply-adds: the same masks
 * on every device. A side is at least h and w.
 * stats -> i32 (M,8): pixels above threshold + offset, above threshold - offset, above threshold; the box of
 * the last, x0, y0, x1, y1, all inclusive, four zeros if there is none; 0.
 * binary -> u8 (M,height,width): 1 above threshold, else 0. */
enum { MASK_STATS = 8 };
typedef struct {
    int side, input_height, input_width, height, width;
    float threshold, offset;
} MaskParams;
Tensor *op_mask_stats(Tape *t, Tensor *x, MaskParams p);
Tensor *op_mask_binary(Tape *t, Tensor *x, MaskParams p);

/* Greedy non-maximum suppression: box (n,4) f32 x0, y0, x1, y1, best first -> i32 (n): 1 unless a kept box
 * before it overlaps it by more than threshold (intersection over union in f32, area without +1), as
 * torchvision's. */
typedef struct {
    double threshold;
} NmsParams;
/* The largest float that is not above it: a float exceeds both or neither. */
static inline float nms_bar(double threshold)
{
    float bar = (float)threshold;
    return (double)bar > threshold ? nextafterf(bar, -INFINITY) : bar;
}
Tensor *op_nms(Tape *t, Tensor *box, double threshold);

/* ---- rows and prototypes, from the table ---- */

#define OP_CPU(name)                                                                                           \
    extern const Op name##_op;                                                                                 \
    void name##_shape(Tape *t, Node *n);                                                                       \
    void name##_forward_cpu(Tape *t, Node *n);                                                                 \
    void name##_backward_cpu(Tape *t, Node *n);
#define OP_CPU_NODIFF(name)                                                                                    \
    extern const Op name##_op;                                                                                 \
    void name##_shape(Tape *t, Node *n);                                                                       \
    void name##_forward_cpu(Tape *t, Node *n);
#define OP(name)                                                                                               \
    OP_CPU(name)                                                                                               \
    void name##_forward_cuda(Tape *t, Node *n);                                                                \
    void name##_backward_cuda(Tape *t, Node *n);
#define OP_NODIFF(name)                                                                                        \
    OP_CPU_NODIFF(name)                                                                                        \
    void name##_forward_cuda(Tape *t, Node *n);
#include "kernels/ops.def"
#undef OP
#undef OP_NODIFF
#undef OP_CPU
#undef OP_CPU_NODIFF

#ifdef __cplusplus
}
#endif
#endif
