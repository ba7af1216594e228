/* Validation of stage pcrl. */
#include "tools/train_pcrl.h"
#include <math.h>
#include <stdlib.h>

enum { MAX_TOKENS = 256, DECODE_TOGETHER = 50 };

static bool stopped(Error *e)
{
    return cli_interrupted() &&
           !error_set(e, ERROR_INTERRUPTED, "stopped during a validation, which begins anew next time");
}

/* Mean losses over the studies, batch by batch, weighted by how many each batch has; BatchNorm by running
 * statistics. */
static bool losses(Trainer *t, PcrlJob *j, double term[STEP_TERMS], Error *e)
{
    const PcrlSet *set = &j->stage->validation;
    int64_t n = set->data->n, B = j->stage->o->batch;
    for (int i = 0; i < STEP_TERMS; i++) term[i] = 0;
    for (int64_t k = 0; k < n; k += B) {
        int64_t count = n - k < B ? n - k : B;
        float one[STEP_TERMS];
        for (int64_t i = 0; i < count; i++) j->study[i] = k + i;
        if (stopped(e) || !pcrl_fill_batch(j, &t->tape, set, count, j->study, e) ||
            !pcrl_read_features(set, &t->tape, count, j->study, &j->batch.grid, &j->batch.pooled, e))
            return false;
        Tensor *x = tape_tensor(&t->tape, DTYPE_f32, 1, (int64_t[]){STEP_TERMS});
        pcrl_step(&t->tape, &j->model, &j->batch, &j->step, x);
        tensor_download(x, one);
        tape_reset(&t->tape);
        for (int i = 0; i < STEP_TERMS; i++) term[i] += (double)one[i] * (double)count / (double)n;
    }
    return true;
}

/* Greedy reports of studies k .. k + count - 1. */
static bool reports(Trainer *t, PcrlJob *j, int64_t k, int64_t count, char **text, Error *e)
{
    const PcrlStage *s = j->stage;
    Tensor *grid, *pooled;
    ArenaMark mark = arena_mark(&t->state);
    int64_t room = pcrl_prefix_length(&s->prompt.pcrl, hv_slots(j->visual.mode)) + MAX_TOKENS;
    SamplerOptions so = {.max_tokens = MAX_TOKENS, .stop = &s->prompt.eos, .n_stop = 1};
    int32_t *ids = malloc((size_t)(count * MAX_TOKENS) * sizeof *ids);
    int *n = malloc((size_t)count * sizeof *n);
    if (!ids || !n) die("out of host memory for %lld reports", (long long)count);
    for (int64_t i = 0; i < count; i++) j->study[i] = k + i;
    bool ok = pcrl_read_features(&s->validation, &t->tape, count, j->study, &grid, &pooled, e);
    if (ok) {
        LlamaCache cache = llama_cache(&t->state, &j->llama, count, room, t->tape.compute);
        Tensor *hv = visual_forward(&t->tape, &j->visual, grid, pooled, false);
        pcrl_generate(&t->tape, &j->llama, &cache, hv, &s->prompt.pcrl, count, &so, ids, n);
    }
    tape_reset(&t->tape);
    arena_pop(&t->state, mark);
    for (int64_t i = 0; ok && i < count; i++)
        ok = bpe_decode(s->prompt.bpe, ids + i * MAX_TOKENS, n[i], false, &text[i], NULL, e);
    free(ids);
    free(n);
    return ok;
}

bool pcrl_validate(Trainer *t, void *context, TrainerValidation *v, Error *e)
{
    PcrlJob *j = context;
    const PcrlSet *set = &j->stage->validation;
    double term[STEP_TERMS];
    int64_t n = set->data->n;
    Ctrg scored = *set->data->ctrg;
    ScoreTruth truth;
    ScoreCutters cutters = {0};
    ScoreSystem score = {0};
    scored.n = (int)n;
    if (!losses(t, j, term, e) || !score_truth(&scored, &truth, e)) return false;
    char **text = calloc((size_t)n, sizeof *text);
    if (!text) die("out of host memory for %lld reports", (long long)n);
    bool ok = true;
    for (int64_t k = 0; ok && k < n; k += DECODE_TOGETHER)
        ok = !stopped(e) && reports(t, j, k, n - k < DECODE_TOGETHER ? n - k : DECODE_TOGETHER, text + k, e);
    ok = ok && (cutters.by[SPLIT_CHAR] = cutter_open(SPLIT_CHAR, NULL, e)) &&
         score_system(&truth, text, &cutters, &score, e);
    score_reports_free(text, (int)n);
    score_truth_free(&truth);
    score_cutters_close(&cutters);
    if (!ok) return false;
    for (int i = 0; i < STEP_TERMS; i++) {
        if (j->step.weight[i] == 0) continue;
        v->name[v->n] = step_term_name[i];
        v->value[v->n++] = term[i];
    }
    v->name[v->n] = "tuple_f1";
    v->value[v->n++] = v->score = score.tuples.all.f1;
    v->name[v->n] = "bleu4";
    v->value[v->n++] = score.text[SPLIT_CHAR].all.bleu[3];
    score_system_free(&score);
    return true;
}
