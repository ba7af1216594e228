/* What the attentions share on the CPU: units of work and the passes over them (attention_units.c). A bias is a
 * table of functions; its terms are made for a block of rows, and added to a row of scores as it becomes
 * probabilities. */
#ifndef KERNELS_ATTENTION_H
#define KERNELS_ATTENTION_H
#include "kernels/ops.h"

enum { ATTENTION_ROWS = 32 }; /* query rows in a block */

/* One call: q (B,T,H,D), k, v (B,S,G,D). length (B) or NULL. */
typedef struct Attention {
    int64_t B, T, S, H, G, D;
    float scale;
    bool causal;
    const int32_t *length;
    const struct AttentionBias *bias; /* NULL: none; with one G = H, and neither length nor causal */
} Attention;

typedef struct AttentionUnit {
    const Attention *a;
    int64_t b, g, group; /* group = H/G query heads share a key/value head */
    int64_t Sp, Dp, Ss;  /* S and D rounded up to whole tiles; from one row of scores to the next */
    int64_t keys;        /* length[b], or S */
} AttentionUnit;

/* Blocks are of ATTENTION_ROWS query rows: q (ROWS,Dp), terms (ROWS, `terms`). */
typedef struct AttentionBias {
    const void *context;
    int64_t terms; /* a row's, or 0; with gradients as many for theirs */
    /* Terms of a block; NULL where there are none. */
    void (*prepare)(const AttentionUnit *u, int64_t rows, const float *q, float *terms);
    /* to[j] = scale s[j] + bias of query row r and key j; s and to have room for VEC more. */
    void (*add)(const AttentionUnit *u, int64_t r, const float *terms, const float *s, float *to);
    /* ds[j]: the gradient of the biased scores of query row r. Adds to the gradients of its terms (zeros at a
     * block's begin) or to `sums`, the unit's own part of the table's gradient (`n_sums`, zeros at its begin).
     */
    void (*add_gradient)(const AttentionUnit *u, int64_t r, const float *ds, float *dterms, float *sums);
    /* The block's gradients of terms: added to dq (ROWS,Dp) and sums. NULL where there are no terms. */
    void (*finish)(const AttentionUnit *u, int64_t rows, const float *q, const float *dterms, float *dq,
                   float *sums);
    int64_t n_sums;
    float *sums; /* (B*H, n_sums), or NULL where the table needs no gradient */
} AttentionBias;

/* A node with inputs q, k, v, ... whose saved[0] is the log-sum-exp (B,H,T). */
Attention attention_of(const Node *n, float scale);
AttentionUnit attention_unit(const Attention *a, int64_t index);
/* Query row r of the unit: token r / group, head g * group + r % group. Its offsets in q and y, and in lse. */
int64_t attention_row(const AttentionUnit *u, int64_t r);
int64_t attention_lse(const AttentionUnit *u, int64_t r);
int64_t attention_keys(const AttentionUnit *u, int64_t r);
/* Offset of key j. */
int64_t attention_key(const AttentionUnit *u, int64_t j);
/* Scores to probabilities without their common factor, s -> p (may be s), zeros from n to `room`; returns that
 * factor, 1/sum, and sets lse. */
float attention_softmax(const float *s, float *p, int64_t n, int64_t room, float scale, float *lse);

/* All units. The bias's sums are added up by the caller. */
void attention_forward_units(Tape *t, const Node *n, const Attention *a);
void attention_backward_units(Tape *t, const Node *n, const Attention *a);
#endif
