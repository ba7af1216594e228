#include "tools/pcrl_step.h"
#include "losses/joint.h"
#include "losses/report.h"
#include "losses/segment.h"
#include <math.h>
#include <string.h>

const char *const step_term_name[STEP_TERMS] = {"report", "segment", "entity", "theme"};

typedef struct Step {
    Tape *t;
    const StepModel *m;
    const StepBatch *b;
    const StepOptions *o;
    VisualTokens y;
} Step;

static Tensor *integers(Tape *t, int64_t n, const int32_t *host)
{
    Tensor *x = tape_tensor(t, DTYPE_i32, 1, &n);
    tensor_upload(x, host);
    return x;
}

static Tensor *report_branch(Step *s)
{
    const StepBatch *b = s->b;
    PcrlRows rows = pcrl_rows(s->t, s->m->llama, s->y.hv, s->m->prompt, b->B, b->findings, b->n_findings);
    return report_loss(s->t, rows.h, s->m->llama->head, rows.label, s->o->lm_mean);
}

/* The row of clue i's slice among the batch's slices. */
static int32_t row_of(const StepClue *c) { return c->study * VISUAL_SLICES + c->slice; }

static Tensor *segment_branch(Step *s)
{
    Tape *t = s->t;
    const StepBatch *b = s->b;
    int64_t h = b->grid->dim[1], w = b->grid->dim[2], n = 0;
    int32_t *row = arena_push_host(t->step, (size_t)(b->n_clues + 1) * sizeof *row);
    float *mask = arena_push_host(t->step, (size_t)(b->n_clues * h * w + 1) * sizeof *mask);
    for (int i = 0; i < b->n_clues; i++) {
        if (!b->clue[i].mask) continue;
        for (int64_t k = 0; k < h * w; k++) mask[n * h * w + k] = b->clue[i].mask[k];
        row[n++] = row_of(&b->clue[i]);
    }
    if (!n) return NULL;
    Tensor *y = tape_tensor(t, DTYPE_f32, 4, (const int64_t[]){n, h, w, 1});
    tensor_upload(y, mask);
    Tensor *V = op_select(t, s->y.V, integers(t, n, row)); /* (n,h/2,w/2,C) */
    Tensor *logits = visual_segment(t, s->m->visual, V);   /* (n,h,w,1) */
    const int64_t dim[2] = {n, h * w};
    return segment_loss(t, tensor_reshape(t->step, logits, 2, dim), tensor_reshape(t->step, y, 2, dim),
                        s->o->dice_smooth);
}

/* R_w of equations 5 and 8: the language model's representation of each text, or a BERT's feature of it,
 * through a Linear into the alignment space -> (n,E). */
static Tensor *embed_texts(const Step *s, int64_t n, const int32_t *const *text, const int *n_text,
                           const float *const *feature, const VisualLinear *llama, const VisualLinear *bert)
{
    Tape *t = s->t;
    int64_t W = s->b->width;
    if (!W) return visual_linear(t, llama, pcrl_text(t, s->m->llama, s->m->text, n, text, n_text));
    if (!feature || !bert->weight) die("pcrl: features of texts without their Linear, or the other way round");
    Tensor *x = tape_tensor(t, DTYPE_f32, 2, (const int64_t[]){n, W});
    float *host = arena_push_host(t->step, (size_t)(n * W) * sizeof *host);
    for (int64_t i = 0; i < n; i++) memcpy(host + i * W, feature[i], (size_t)W * sizeof *host);
    tensor_upload(x, host);
    return visual_linear(t, bert, x);
}

static Tensor *entity_branch(Step *s)
{
    Tape *t = s->t;
    const StepBatch *b = s->b;
    const Visual *v = s->m->visual;
    int64_t n = b->n_clues;
    if (!n) return NULL;
    int32_t *row = arena_push_host(t->step, (size_t)n * sizeof *row),
            *same = arena_push_host(t->step, (size_t)n * sizeof *same);
    int32_t *study = arena_push_host(t->step, (size_t)n * sizeof *study);
    const int32_t **text = arena_push_host(t->step, (size_t)n * sizeof *text);
    int *n_text = arena_push_host(t->step, (size_t)n * sizeof *n_text);
    for (int64_t i = 0; i < n; i++) {
        row[i] = row_of(&b->clue[i]);
        same[i] = b->clue[i].same;
        study[i] = b->clue[i].study;
        text[i] = b->clue[i].text;
        n_text[i] = b->clue[i].n_text;
    }
    Tensor *R_v = visual_linear(t, &v->local_visual, op_select(t, s->y.local, integers(t, n, row))); /* (n,E) */
    Tensor *R_w = embed_texts(s, n, text, n_text, b->clue_feature, &v->local_text, &v->local_text_bert);
    tape_tap(t, R_v, "entity.R_v");
    tape_tap(t, R_w, "entity.R_w");
    Tensor *scale = s->o->learn_tau ? v->local_scale : NULL;
    if (!s->o->mask_identical) same = NULL;
    return s->o->sample_scope
               ? align_loss_groups(t, R_v, R_w, scale, same, &s->o->align, study, n)
               : align_loss(t, R_v, R_w, scale, same ? integers(t, n, same) : NULL, &s->o->align);
}

static Tensor *theme_branch(Step *s)
{
    Tape *t = s->t;
    const StepBatch *b = s->b;
    const Visual *v = s->m->visual;
    const int64_t dim[3] = {b->B, VISUAL_SLICES, v->dim};
    Tensor *most = op_reduce_max(t, tensor_reshape(t->step, s->y.global, 3, dim)); /* (B,D) */
    Tensor *R_w = embed_texts(s, b->B, b->findings, b->n_findings, b->findings_feature, &v->global_text,
                              &v->global_text_bert);
    Tensor *R_v = visual_linear(t, &v->global_visual, most); /* (B,E) */
    tape_tap(t, R_v, "theme.R_v");
    tape_tap(t, R_w, "theme.R_w");
    return align_loss(t, R_v, R_w, s->o->learn_tau ? v->global_scale : NULL,
                      s->o->mask_identical ? integers(t, b->B, b->same_findings) : NULL, &s->o->align);
}

static void keep_value(Tensor *term, int i, const Tensor *x)
{
    float *to = (float *)term->data + i;
    if (x)
        x->backend->move(to, x->data, sizeof *to);
    else
        term->backend->zero(to, sizeof *to);
}

void pcrl_step(Tape *t, const StepModel *m, const StepBatch *b, const StepOptions *o, Tensor *term)
{
    static Tensor *(*const branch[STEP_TERMS])(Step *) = {report_branch, segment_branch, entity_branch,
                                                          theme_branch};
    Step s = {t, m, b, o, {0}};
    Tensor *loss[STEP_TERMS] = {0};
    bool any = false;
    float none[STEP_TERMS];
    for (int i = 0; i < STEP_TERMS; i++) none[i] = NAN;
    tensor_upload(term, none);
    s.y = visual_tokens(t, m->visual, b->grid, b->pooled, o->weight[TERM_THEME] != 0, t->recording);
    for (int i = 0; i < STEP_TERMS; i++) {
        if (o->weight[i] == 0) continue;
        TapeFork fork = {0};
        if (!o->joint) fork = tape_fork(t);
        loss[i] = branch[i](&s);
        keep_value(term, i, loss[i]);
        any |= loss[i] != NULL;
        if (o->joint) continue;
        Tensor *one[1] = {loss[i]};
        tape_join(t, fork, t->recording && loss[i] ? joint_loss(t, one, &o->weight[i], 1) : NULL);
    }
    if (!t->recording || !any) return;
    tape_backward(t, o->joint ? joint_loss(t, loss, o->weight, STEP_TERMS) : NULL);
}
