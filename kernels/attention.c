/* Scaled dot-product attention with grouped key/value heads: y = softmax(scale q k^T + mask) v per head.
 * q (B,T,H,D), k, v (B,S,G,D), all f32 or all bf16 -> (B,T,H,D) of their type; saved for backward: log-sum-exp
 * (B,H,T), f32, -inf for a row with no key.
 *
 * The T*(H/G) query rows that share one key/value head (b,g) are one unit of work: no two threads write the
 * same sum. A unit packs its keys and values once, padded to whole tiles, and goes through its rows in blocks
 * of ROWS; scores exist for one block only. Backward makes them again from the saved log-sum-exp (Dao et al.
 * 2022): p = exp(scale q k^T - lse), dp = dy v^T, ds = scale p (dp - sum(dy y)), dq = ds k, dk = ds^T q, dv =
 * p^T dy. One token against a cache (T = 1) reads keys and values where they lie: packing would cost more than
 * it saves. */
#include "kernels/ops.h"
#include "kernels/rows.h"
#include <omp.h>
#include <string.h>

enum { ROWS = 32, TILE_ROWS = 4, TILE = 2 * VEC };

typedef struct Unit {
    int64_t b, g;
    int64_t T, S, H, G, D, group; /* group = H/G query heads share a key/value head */
    int64_t Sp, Dp;               /* S and D rounded up to whole tiles */
    int64_t keys;                 /* length[b], or S */
    float scale;
    bool causal;
} Unit;

Tensor *op_attention(Tape *t, Tensor *q, Tensor *k, Tensor *v, Tensor *length, float scale, bool causal)
{
    AttentionParams p = {scale, causal};
    return op_apply(t, &attention_op, 4, (Tensor *[]){q, k, v, length}, &p, sizeof p);
}

void attention_shape(Tape *t, Node *n)
{
    const Tensor *q = n->in[0], *k = n->in[1], *v = n->in[2], *length = n->in[3];
    if (!is_activation(q) || q->ndim != 4 || k->dtype != q->dtype || k->ndim != 4 || v->dtype != q->dtype ||
        !tensor_same_shape(k, v) || k->dim[0] != q->dim[0] || k->dim[3] != q->dim[3] || q->dim[2] % k->dim[2])
        die("attention: q %s does not go with k %s and v %s", tensor_text(q), tensor_text(k), tensor_text(v));
    if (NODE_AS(AttentionParams, n)->causal && k->dim[1] != q->dim[1])
        die("attention: causal with q %s and k %s of different lengths", tensor_text(q), tensor_text(k));
    if (length && (length->dtype != DTYPE_i32 || length->ndim != 1 || length->dim[0] != q->dim[0]))
        die("attention: length %s is not i32 (B) of q %s", tensor_text(length), tensor_text(q));
    int64_t dim[3] = {q->dim[0], q->dim[2], q->dim[1]};
    n->out = tape_tensor(t, q->dtype, 4, q->dim);
    n->saved[0] = tape_tensor(t, DTYPE_f32, 3, dim);
}

static int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

static Unit unit_make(const Node *n, int64_t index)
{
    const Tensor *q = n->in[0], *k = n->in[1];
    const AttentionParams *p = NODE_AS(AttentionParams, n);
    Unit u = {.T = q->dim[1], .S = k->dim[1], .H = q->dim[2], .G = k->dim[2], .D = q->dim[3]};
    u.b = index / u.G;
    u.g = index % u.G;
    u.group = u.H / u.G;
    u.Sp = up(u.S, TILE);
    u.Dp = up(u.D, TILE);
    u.keys = n->in[3] ? ((const int32_t *)n->in[3]->data)[u.b] : u.S;
    if (u.keys < 0 || u.keys > u.S)
        die("attention: length %lld of sequence %lld with keys %s", (long long)u.keys, (long long)u.b,
            tensor_text(k));
    u.scale = p->scale;
    u.causal = p->causal;
    return u;
}

/* Query row r of the unit: token r / group, head g * group + r % group. */
static int64_t row_token(const Unit *u, int64_t r) { return r / u->group; }
static int64_t row_offset(const Unit *u, int64_t r)
{
    return ((u->b * u->T + r / u->group) * u->H + u->g * u->group + r % u->group) * u->D;
}
static int64_t row_lse(const Unit *u, int64_t r)
{
    return (u->b * u->H + u->g * u->group + r % u->group) * u->T + r / u->group;
}
static int64_t row_keys(const Unit *u, int64_t r)
{
    int64_t i = row_token(u, r) + 1;
    return u->causal && i < u->keys ? i : u->keys;
}
static const float *key_row(const Unit *u, const float *k, int64_t j)
{
    return k + ((u->b * u->S + j) * u->G + u->g) * u->D;
}

/* ---- packing and tiles ---- */

/* (Sp,Dp), zero outside the unit's keys and D. */
static void pack(const Unit *u, const float *k, float *to)
{
    for (int64_t j = 0; j < u->Sp; j++) {
        int64_t D = j < u->keys ? u->D : 0;
        if (D) memcpy(to + j * u->Dp, key_row(u, k, j), (size_t)D * sizeof *to);
        memset(to + j * u->Dp + D, 0, (size_t)(u->Dp - D) * sizeof *to);
    }
}

/* (D,Sp): the transpose. Sixteen keys at a time, so that a row's cache line is written whole. */
static void pack_transposed(const Unit *u, const float *k, float *to)
{
    for (int64_t from = 0; from < u->Sp; from += VEC)
        for (int64_t d = 0; d < u->D; d++)
            for (int64_t j = from; j < from + VEC; j++)
                to[d * u->Sp + j] = j < u->keys ? key_row(u, k, j)[d] : 0.0f;
}

/* (ROWS,Dp) of query rows, zero outside. Returns how many rows there are. */
static int64_t pack_rows(const Unit *u, const float *x, int64_t from, float *to)
{
    int64_t rows = u->T * u->group - from;
    if (rows > ROWS) rows = ROWS;
    memset(to, 0, (size_t)(ROWS * u->Dp) * sizeof *to);
    for (int64_t r = 0; r < rows; r++)
        memcpy(to + r * u->Dp, x + row_offset(u, from + r), (size_t)u->D * sizeof *to);
    return rows;
}

/* C (4,32) (+)= A (4,K) B (K,32): A's element (i,k) is at i * rs + k * cs, rows of B and C ldb and ldc apart.
 */
VEC_BODY(tile,
         (const float *a, int64_t rs, int64_t cs, const float *b, int64_t ldb, int64_t K, float *c, int64_t ldc,
          bool add),
         {
             Vec c00 = {0}, c01 = {0}, c10 = {0}, c11 = {0}, c20 = {0}, c21 = {0}, c30 = {0}, c31 = {0};
             for (int64_t k = 0; k < K; k++) {
                 Vec b0 = VEC_LOAD(b + k * ldb), b1 = VEC_LOAD(b + k * ldb + VEC);
                 const float *x = a + k * cs;
                 c00 += x[0] * b0, c01 += x[0] * b1;
                 c10 += x[rs] * b0, c11 += x[rs] * b1;
                 c20 += x[2 * rs] * b0, c21 += x[2 * rs] * b1;
                 c30 += x[3 * rs] * b0, c31 += x[3 * rs] * b1;
             }
             float *c1 = c + ldc, *c2 = c1 + ldc, *c3 = c2 + ldc;
             if (add) {
                 c00 += VEC_LOAD(c), c01 += VEC_LOAD(c + VEC);
                 c10 += VEC_LOAD(c1), c11 += VEC_LOAD(c1 + VEC);
                 c20 += VEC_LOAD(c2), c21 += VEC_LOAD(c2 + VEC);
                 c30 += VEC_LOAD(c3), c31 += VEC_LOAD(c3 + VEC);
             }
             VEC_STORE(c, c00), VEC_STORE(c + VEC, c01);
             VEC_STORE(c1, c10), VEC_STORE(c1 + VEC, c11);
             VEC_STORE(c2, c20), VEC_STORE(c2 + VEC, c21);
             VEC_STORE(c3, c30), VEC_STORE(c3 + VEC, c31);
         })

/* C (M,N) (+)= A (M,K) B (K,N) by tiles; M is rounded up to 4, N to 32. */
VEC_BODY(product,
         (int64_t M, int64_t N, int64_t K, const float *a, int64_t rs, int64_t cs, const float *b, int64_t ldb,
          float *c, int64_t ldc, bool add),
         {
             for (int64_t j = 0; j < N; j += TILE)
                 for (int64_t i = 0; i < M; i += TILE_ROWS)
                     tile_body(a + i * rs, rs, cs, b + j, ldb, K, c + i * ldc + j, ldc, add);
         })
VEC_FUNCTION(product,
             (int64_t M, int64_t N, int64_t K, const float *a, int64_t rs, int64_t cs, const float *b,
              int64_t ldb, float *c, int64_t ldc, bool add),
             (M, N, K, a, rs, cs, b, ldb, c, ldc, add))

/* ---- rows ---- */

/* Scores to probabilities without their common factor, in place; returns that factor, 1/sum, and sets lse. */
static float softmax_row(float *s, int64_t n, int64_t room, float scale, float *lse)
{
    float top, sum;
    if (!n) {
        memset(s, 0, (size_t)room * sizeof *s);
        *lse = -INFINITY;
        return 0;
    }
    row_max(s, n, &top);
    row_exp(s, s, n, room, scale, scale * top, &sum);
    *lse = scale * top + logf(sum);
    return 1 / sum;
}

/* ---- forward ---- */

static size_t forward_floats(const Unit *u) { return (size_t)(2 * u->Sp * u->Dp + ROWS * (u->Sp + 2 * u->Dp)); }

static void forward_unit(const Unit *u, const Node *n, float *scratch)
{
    float *y = n->out->data, *lse = n->saved[0]->data;
    float *kt = scratch, *v = kt + u->Sp * u->Dp, *s = v + u->Sp * u->Dp, *q = s + ROWS * u->Sp,
          *out = q + ROWS * u->Dp;
    pack_transposed(u, n->in[1]->data, kt);
    pack(u, n->in[2]->data, v);
    for (int64_t from = 0; from < u->T * u->group; from += ROWS) {
        float factor[ROWS];
        int64_t rows = pack_rows(u, n->in[0]->data, from, q), keys = row_keys(u, from + rows - 1),
                room = up(keys, TILE);
        product(rows, keys, u->D, q, u->Dp, 1, kt, u->Sp, s, u->Sp, false);
        for (int64_t r = 0; r < rows; r++)
            factor[r] =
                softmax_row(s + r * u->Sp, row_keys(u, from + r), room, u->scale, lse + row_lse(u, from + r));
        product(rows, u->D, keys, s, u->Sp, 1, v, u->Dp, out, u->Dp, false);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t d = 0; d < u->D; d++) y[row_offset(u, from + r) + d] = out[r * u->Dp + d] * factor[r];
    }
}

/* s[j] = q . k[j], rows of k `stride` apart. */
VEC_BODY(dots, (const float *q, const float *k, int64_t stride, int64_t n, int64_t D, float *s), {
    for (int64_t j = 0; j < n; j++, k += stride) {
        Vec sum = {0};
        float rest = 0;
        int64_t d = 0;
        for (; d + VEC <= D; d += VEC) sum += VEC_LOAD(q + d) * VEC_LOAD(k + d);
        for (; d < D; d++) rest += q[d] * k[d];
        s[j] = vec_sum(&sum) + rest;
    }
})
VEC_FUNCTION(dots, (const float *q, const float *k, int64_t stride, int64_t n, int64_t D, float *s),
             (q, k, stride, n, D, s))

/* y = factor * sum over j of p[j] v[j], strips of 64 columns in registers. */
VEC_BODY(mix, (const float *p, const float *v, int64_t stride, int64_t n, int64_t D, float factor, float *y), {
    int64_t d = 0;
    for (; d + 4 * VEC <= D; d += 4 * VEC) {
        Vec a = {0}, b = {0}, c = {0}, e = {0};
        for (int64_t j = 0; j < n; j++) {
            const float *x = v + j * stride + d;
            a += p[j] * VEC_LOAD(x), b += p[j] * VEC_LOAD(x + VEC);
            c += p[j] * VEC_LOAD(x + 2 * VEC), e += p[j] * VEC_LOAD(x + 3 * VEC);
        }
        VEC_STORE(y + d, a * factor), VEC_STORE(y + d + VEC, b * factor);
        VEC_STORE(y + d + 2 * VEC, c * factor), VEC_STORE(y + d + 3 * VEC, e * factor);
    }
    for (; d + VEC <= D; d += VEC) {
        Vec a = {0};
        for (int64_t j = 0; j < n; j++) a += p[j] * VEC_LOAD(v + j * stride + d);
        VEC_STORE(y + d, a * factor);
    }
    for (; d < D; d++) {
        float a = 0;
        for (int64_t j = 0; j < n; j++) a += p[j] * v[j * stride + d];
        y[d] = a * factor;
    }
})
VEC_FUNCTION(mix,
             (const float *p, const float *v, int64_t stride, int64_t n, int64_t D, float factor, float *y),
             (p, v, stride, n, D, factor, y))

static void decode_unit(const Unit *u, const Node *n, float *s)
{
    const float *q = n->in[0]->data, *k = key_row(u, n->in[1]->data, 0), *v = key_row(u, n->in[2]->data, 0);
    float *y = n->out->data, *lse = n->saved[0]->data;
    int64_t stride = u->G * u->D;
    for (int64_t r = 0; r < u->group; r++) {
        int64_t at = row_offset(u, r), keys = row_keys(u, r);
        dots(q + at, k, stride, keys, u->D, s);
        float factor = softmax_row(s, keys, u->Sp, u->scale, lse + row_lse(u, r));
        mix(s, v, stride, keys, u->D, factor, y + at);
    }
}

void attention_forward_cpu(Tape *t, Node *n)
{
    int64_t units = n->in[0]->dim[0] * n->in[1]->dim[2];
    Unit shape = unit_make(n, 0);
    size_t floats = shape.T == 1 ? (size_t)shape.Sp : forward_floats(&shape);
    float *scratch = tape_scratch(t, floats * sizeof *scratch * (size_t)omp_get_max_threads());
#pragma omp parallel for schedule(static) if (units > 1)
    for (int64_t i = 0; i < units; i++) {
        Unit u = unit_make(n, i);
        float *own = scratch + floats * (size_t)omp_get_thread_num();
        (u.T == 1 ? decode_unit : forward_unit)(&u, n, own);
    }
}

/* ---- backward ---- */

static size_t backward_floats(const Unit *u)
{
    return (size_t)(5 * u->Sp * u->Dp + 2 * ROWS * u->Sp + 3 * ROWS * u->Dp);
}

/* p (scores on entry) becomes the probabilities, ds (dp on entry) the scores' gradient. */
static void backward_row(const Unit *u, const Node *n, int64_t r, int64_t room, float *p, float *ds)
{
    const float *dy = (const float *)n->out->grad->data + row_offset(u, r);
    const float *y = (const float *)n->out->data + row_offset(u, r);
    float lse = ((const float *)n->saved[0]->data)[row_lse(u, r)], sum, delta;
    double dot = 0;
    row_exp(p, p, row_keys(u, r), room, u->scale, lse, &sum);
    for (int64_t d = 0; d < u->D; d++) dot += (double)dy[d] * y[d];
    delta = (float)dot;
    for (int64_t j = 0; j < room; j++) ds[j] = p[j] * (ds[j] - delta) * u->scale;
}

static void add_rows(const Unit *u, float *to, int64_t from, int64_t rows, const float *x)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t d = 0; d < u->D; d++) to[row_offset(u, from + r) + d] += x[r * u->Dp + d];
}

static void add_keys(const Unit *u, const Tensor *k, const float *x)
{
    if (!k->grad) return;
    float *to = k->grad->data;
    for (int64_t j = 0; j < u->keys; j++)
        for (int64_t d = 0; d < u->D; d++) to[key_row(u, to, j) - to + d] += x[j * u->Dp + d];
}

static void backward_unit(const Unit *u, const Node *n, float *scratch)
{
    int64_t plane = u->Sp * u->Dp;
    float *kt = scratch, *vt = kt + plane, *k = vt + plane, *dk = k + plane, *dv = dk + plane, *p = dv + plane,
          *ds = p + ROWS * u->Sp, *q = ds + ROWS * u->Sp, *dy = q + ROWS * u->Dp, *dq = dy + ROWS * u->Dp;
    pack_transposed(u, n->in[1]->data, kt);
    pack_transposed(u, n->in[2]->data, vt);
    pack(u, n->in[1]->data, k);
    memset(dk, 0, (size_t)(2 * plane) * sizeof *dk);
    for (int64_t from = 0; from < u->T * u->group; from += ROWS) {
        int64_t rows = pack_rows(u, n->in[0]->data, from, q), keys = row_keys(u, from + rows - 1),
                room = up(keys, TILE);
        pack_rows(u, n->out->grad->data, from, dy);
        product(rows, keys, u->D, q, u->Dp, 1, kt, u->Sp, p, u->Sp, false);
        product(rows, keys, u->D, dy, u->Dp, 1, vt, u->Sp, ds, u->Sp, false);
        for (int64_t r = 0; r < rows; r++) backward_row(u, n, from + r, room, p + r * u->Sp, ds + r * u->Sp);
        if (n->in[0]->grad) {
            product(rows, u->D, keys, ds, u->Sp, 1, k, u->Dp, dq, u->Dp, false);
            add_rows(u, n->in[0]->grad->data, from, rows, dq);
        }
        if (n->in[1]->grad) product(keys, u->D, rows, ds, 1, u->Sp, q, u->Dp, dk, u->Dp, true);
        if (n->in[2]->grad) product(keys, u->D, rows, p, 1, u->Sp, dy, u->Dp, dv, u->Dp, true);
    }
    add_keys(u, n->in[1], dk);
    add_keys(u, n->in[2], dv);
}

void attention_backward_cpu(Tape *t, Node *n)
{
    int64_t units = n->in[0]->dim[0] * n->in[1]->dim[2];
    Unit shape = unit_make(n, 0);
    size_t floats = backward_floats(&shape);
    float *scratch = tape_scratch(t, floats * sizeof *scratch * (size_t)omp_get_max_threads());
#pragma omp parallel for schedule(static) if (units > 1)
    for (int64_t i = 0; i < units; i++) {
        Unit u = unit_make(n, i);
        backward_unit(&u, n, scratch + floats * (size_t)omp_get_thread_num());
    }
}
