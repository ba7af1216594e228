/* pcrl-gpu's row of training: the paper's step, branch by branch, gradient norm and update included, on texts
 * of random ids as long as they come. The same code runs on backend plan first: what does not fit is run with
 * more recomputation, or not at all. */
#include "tensor/params.h"
#include "tools/gpu_bench.h"
#include "tools/train_pcrl.h"
#include "tools/work.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Sizes {
    LlamaConfig llama;
    int64_t B, channels, embed, grid;
    int clues, clue_tokens, findings;                 /* clues of a study; tokens without their prompts */
    int before, instruction, text_before, text_after; /* of the prompts */
} Sizes;

static Sizes sizes_of(const GpuBench *b)
{
    if (!b->mini)
        return (Sizes){llama_3_8b,   PAPER_BATCH,       PAPER_CHANNELS,    PAPER_EMBED,
                       GRID,         PAPER_CLUES,       PAPER_CLUE_TOKENS, PAPER_FINDINGS_TOKENS,
                       PAPER_MARKER, PAPER_INSTRUCTION, PAPER_BEFORE,      PAPER_AFTER};
    return (Sizes){gpu_mini_llama, 2, 8, 8, 2, 2, 3, 4, 1, 1, 1, 1};
}

typedef struct Job {
    GpuBench *b;
    Sizes s;
    Arena *state;
    Weights part[3]; /* base, head, adapter */
    Llama llama;
    Visual visual;
    Params params;
    PcrlPrompt prompt;
    PcrlTextPrompt text;
    StepModel model;
    StepBatch batch;
    Tensor *read; /* losses and squared norm */
    Tape t;
    int64_t step, texts;
} Job;

/* n ids, others every time. */
static const int32_t *ids(Job *j, int n)
{
    Rng rng = rng_open(j->b->common->seed + (uint64_t)j->texts++, "ids");
    int32_t *id = arena_push_host(j->state, (size_t)(n + 1) * sizeof *id);
    for (int i = 0; i < n; i++) id[i] = (int32_t)rng_below(&rng, j->s.llama.vocab);
    return id;
}

/* Texts, masks and features that stay in `state`. */
static void make_batch(Job *j)
{
    const Sizes *s = &j->s;
    const int64_t B = s->B, cells = s->grid * s->grid, M = B * VISUAL_SLICES;
    const int n = (int)B * s->clues;
    const int32_t **findings = arena_push_host(j->state, (size_t)B * sizeof *findings);
    int *lengths = arena_push_host(j->state, (size_t)B * sizeof *lengths);
    int32_t *same = arena_push_host(j->state, (size_t)B * sizeof *same);
    StepClue *clue = arena_push_host(j->state, (size_t)n * sizeof *clue);
    float *mask = arena_push_host(j->state, (size_t)cells * sizeof *mask);
    for (int64_t i = 0; i < cells; i++) mask[i] = i % 3 == 0;
    for (int i = 0; i < n; i++)
        clue[i] = (StepClue){i / s->clues, i % VISUAL_SLICES, ids(j, s->clue_tokens), s->clue_tokens, i, mask};
    for (int64_t i = 0; i < B; i++) {
        findings[i] = ids(j, s->findings);
        lengths[i] = s->findings;
        same[i] = (int32_t)i;
    }
    Tensor *grid = tensor_new(j->state, DTYPE_bf16, 4, (const int64_t[]){M, s->grid, s->grid, s->channels});
    Tensor *pooled = tensor_f32(j->state, M, s->channels, 0, 0);
    gpu_random(j->b, grid, 0, 1);
    gpu_random(j->b, pooled, 0, 1);
    j->batch = (StepBatch){.B = B,
                           .grid = grid,
                           .pooled = pooled,
                           .findings = findings,
                           .n_findings = lengths,
                           .same_findings = same,
                           .clue = clue,
                           .n_clues = n};
}

/* Base frozen in 4 bits; head and adapter trainable. */
static bool open_job(Job *j, Arena *weights, Error *e)
{
    const Sizes *s = &j->s;
    double bytes = 0;
    params_init(&j->params, j->state);
    for (int i = 0; i < 3; i++) {
        weights_init(&j->part[i], weights, j->state, i ? &j->params : NULL, j->b->common->seed);
        j->part[i].trainable = i;
        j->part[i].unfilled = true;
    }
    j->part[0].quant = DTYPE_nf4;
    j->part[0].nested = true;
    j->part[0].table = DTYPE_bf16;
    if (!llama_create(&j->llama, &j->part[0], s->llama, e) ||
        !visual_create(&j->visual, &j->part[1], s->channels, s->llama.dim, s->embed, HV_LOCAL24, e) ||
        !llama_add_lora(&j->llama, &j->part[2], 8, 32, 0.05f, e))
        return false;
    params_alloc(&j->params);
    for (int i = 0; i < 3; i++) gpu_fill(j->b, &j->part[i], &bytes);
    j->prompt = (PcrlPrompt){ids(j, s->before), ids(j, s->instruction), s->before, s->instruction, 0};
    j->text = (PcrlTextPrompt){
        ids(j, s->text_before), ids(j, s->text_after), s->text_before, s->text_after, 0, false};
    j->model = (StepModel){&j->visual, &j->llama, &j->prompt, &j->text};
    j->read = tensor_zeros(j->state, DTYPE_f32, 1, (const int64_t[]){STEP_TERMS + 1});
    make_batch(j);
    return true;
}

static void close_job(Job *j)
{
    for (int i = 0; i < 3; i++) weights_close(&j->part[i]);
    params_close(&j->params);
}

/* Forward, backward, norm, update; waits once, for losses and norm, as the trainer does. Returns the norm. */
static double train_step(Job *j, double term[STEP_TERMS])
{
    const StepOptions o = {.weight = {1, 1, 1, 1},
                           .lm_mean = true,
                           .align = {.alpha_v = 0.5f, .alpha_w = 0.5f, .tau = 0.07f, .mean = true}};
    float read[STEP_TERMS + 1];
    j->t.recording = true;
    pcrl_step(&j->t, &j->model, &j->batch, &o, tensor_slice(j->t.step, j->read, 0, STEP_TERMS));
    j->t.recording = false;
    tape_reset(&j->t);
    const Tensor *square = op_sqnorm(&j->t, j->params.grad);
    square->backend->move((float *)j->read->data + STEP_TERMS, square->data, sizeof(float));
    tensor_download(j->read, read);
    for (int i = 0; i < STEP_TERMS; i++) term[i] = (double)read[i];
    double norm = sqrt((double)read[STEP_TERMS]);
    op_adamw(&j->t, j->params.weight, j->params.grad, j->params.m, j->params.v,
             (AdamwParams){.lr = 1e-5f,
                           .beta1 = 0.9f,
                           .beta2 = 0.999f,
                           .eps = 1e-8f,
                           .weight_decay = 0.01f,
                           .grad_scale = norm > 1 ? (float)(1 / norm) : 1,
                           .step = ++j->step});
    params_zero_grad(&j->params);
    tape_reset(&j->t);
    return norm;
}

/* Bytes of all arenas, from a step on backend plan; 0 and an Error when it cannot be had. */
static size_t planned(GpuBench *b, Recompute recompute, Error *e)
{
    static const char *const name[4] = {"weights", "state", "step", "scratch"};
    Arena a[4] = {{0}};
    double term[STEP_TERMS];
    size_t bytes = 0;
    bool ok = true;
    for (int i = 0; ok && i < 4; i++) ok = arena_open(&a[i], name[i], &backend_plan, (size_t)1 << 42, e);
    Job j = {.b = b, .s = sizes_of(b), .state = &a[1]};
    if (ok) {
        gpu_tape(b, &j.t);
        j.t.step = &a[2];
        j.t.scratch = &a[3];
        if (open_job(&j, &a[0], e)) {
            j.llama.recompute = recompute;
            train_step(&j, term);
            for (int i = 0; i < 4; i++) bytes += a[i].peak;
        }
        close_job(&j);
    }
    for (int i = 0; i < 4; i++) arena_close(&a[i]);
    return bytes;
}

/* Products of one step: of frozen weights forward and to their inputs, of the head's to its weights too. */
static double step_work(const Job *j, int64_t *tokens)
{
    const Sizes *s = &j->s;
    const int64_t clue = s->text_before + s->clue_tokens + s->text_after,
                  theme = s->text_before + s->findings + s->text_after,
                  prefix = s->before + hv_slots(j->visual.mode) + s->instruction;
    const double B = (double)s->B, clues = B * s->clues;
    *tokens = s->B * (s->clues * clue + theme + prefix + s->findings);
    double text = clues * llama_work(&j->llama, clue + 1, -1) + B * llama_work(&j->llama, theme + 1, -1);
    return 2 * (text + B * llama_work(&j->llama, prefix, s->findings)) + head_work(&j->visual, s->B, true);
}

/* planned: what weights, state and step should take. */
static bool timed(Job *j, GpuTimes *times, size_t planned_bytes, Error *e)
{
    double run[GPU_RUNS_LEAST], term[STEP_TERMS];
    j->b->scratch.peak = 0;
    for (int k = -1; k < GPU_RUNS_LEAST; k++) {
        j->b->backend->sync();
        double from = cli_seconds(), norm = train_step(j, term);
        j->b->backend->sync();
        if (k >= 0) run[k] = cli_seconds() - from;
        if (k < 0)
            gpu_line(j->b, "| memory | planned %zu bytes, kernels while they run %zu | | | | | | | | |",
                     planned_bytes, j->b->scratch.peak);
        bool finite = isfinite(norm) && norm > 0;
        for (int i = 0; i < STEP_TERMS; i++) finite = finite && isfinite(term[i]);
        if (!finite)
            return error_set(e, ERROR_INTERNAL, "training step on %s: losses %g %g %g %g, gradient norm %g",
                             j->b->backend->name, term[0], term[1], term[2], term[3], norm);
    }
    *times = gpu_times(run, GPU_RUNS_LEAST);
    return true;
}

static bool train_row(GpuBench *b, Recompute recompute, size_t bytes, Error *e)
{
    Job j = {.b = b, .s = sizes_of(b), .state = &b->state};
    char detail[160];
    int64_t tokens;
    gpu_tape(b, &j.t);
    GpuRow r = {.what = "training step", .detail = detail};
    bool ok = open_job(&j, &b->weights, e);
    j.llama.recompute = recompute;
    ok = ok && timed(&j, &r.time, bytes, e);
    if (ok) {
        r.flops = step_work(&j, &tokens);
        r.tokens = (double)tokens;
        r.floor = gpu_floor(b, r.flops, 0);
        snprintf(detail, sizeof detail, "%lld studies, %lld tokens, recompute %s", (long long)j.s.B,
                 (long long)tokens, recompute == RECOMPUTE_FULL ? "full" : "medium");
        gpu_row(b, &r);
    }
    close_job(&j);
    return ok;
}

bool gpu_train(GpuBench *b, Error *e)
{
    ArenaMark mark = arena_mark(&b->state);
    gpu_print_head(b, "PCRL, 4-bit LLaMA with LoRA and the whole head trained");
    if (!gpu_begin(b, "train", "training step")) return true;
    size_t bytes = 0, room = b->device.free / 20 * 19;
    Recompute recompute = RECOMPUTE_NONE;
    while (recompute != RECOMPUTE_FULL && (!bytes || bytes > room)) {
        recompute = recompute == RECOMPUTE_NONE ? RECOMPUTE_MEDIUM : RECOMPUTE_FULL;
        if (!(bytes = planned(b, recompute, e))) return false;
    }
    bool ok = true;
    if (bytes > room)
        gpu_line(b, "| training step | not run: it needs %.1f GB, there are %.1f | | | | | | | | |",
                 (double)bytes * 1e-9, (double)room * 1e-9);
    else
        ok = train_row(b, recompute, bytes, e);
    arena_pop(&b->state, mark);
    arena_pop(&b->weights, (ArenaMark){0, 0});
    return ok;
}
