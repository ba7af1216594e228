/* pcrl-gpu's rows of LLaMA and ResNet, from the calls that reports are made with: seconds of the host's clock,
 * so that what the host does between kernels is in them. */
#include "models/resnet.h"
#include "models/sampler.h"
#include "tools/gpu_bench.h"
#include "tools/work.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double FLOOR_BITS = 4.5; /* a weight: codes and a scale for 64 (q4_0, nf4) */

/* ---- LLaMA ---- */

typedef struct Sizes {
    const LlamaConfig *config;
    int64_t batch[3], prefix, prompt; /* decoding goes on from a prefix; the prompt is timed alone */
    int tokens;
} Sizes;

static const Sizes paper = {&llama_3_8b, {1, 4, 16}, 84, 300, 32}, mini = {&gpu_mini_llama, {1, 2, 3}, 5, 9, 2};

typedef struct Model {
    GpuBench *b;
    const Sizes *s;
    Llama llama;
    double bytes, weights; /* what one pass reads; elements of Linears and head */
} Model;

/* Seconds of a generation of `tokens` after a prefix of T. */
static double generate(Model *m, Tape *t, LlamaCache *cache, Tensor *prefix, int tokens, int32_t *ids)
{
    const SamplerOptions o = {.max_tokens = tokens};
    int n[16];
    m->b->backend->sync();
    double from = cli_seconds();
    sampler_generate(t, &m->llama, cache, op_cast(t, prefix, t->compute), NULL, &o, ids, n);
    double seconds = cli_seconds() - from;
    for (int64_t i = 0; i < prefix->dim[0]; i++)
        if (n[i] != tokens) die("pcrl-gpu: row %lld has %d tokens, expected %d", (long long)i, n[i], tokens);
    return seconds;
}

/* Seconds a token of decoding, tokens > 0 (what a generation takes beyond the least that its first token took),
 * or of the prompt and its first token. */
static GpuTimes time_llama(Model *m, int64_t B, int64_t T, int tokens)
{
    GpuBench *b = m->b;
    double run[GPU_RUNS_MOST];
    Tape t;
    ArenaMark mark = arena_mark(&b->state);
    LlamaCache cache = llama_cache(&b->state, &m->llama, B, T + tokens + 1, b->compute);
    Tensor *prefix = tensor_f32(&b->state, B, T, m->llama.config.dim, 0);
    int32_t *ids = arena_push_host(&b->state, (size_t)B * (size_t)(tokens + 1) * sizeof *ids);
    gpu_random(b, prefix, -0.02f, 0.02f);
    gpu_tape(b, &t);
    generate(m, &t, &cache, prefix, tokens + 1, ids);
    for (int k = 0; k < GPU_RUNS_LEAST; k++) run[k] = generate(m, &t, &cache, prefix, 1, ids);
    const double first = gpu_times(run, GPU_RUNS_LEAST).least;
    for (int k = 0; tokens && k < GPU_RUNS_LEAST; k++)
        run[k] = (generate(m, &t, &cache, prefix, tokens + 1, ids) - first) / tokens;
    tape_reset(&t);
    arena_pop(&b->state, mark);
    return gpu_times(run, GPU_RUNS_LEAST);
}

static void decode_row(Model *m, int64_t B)
{
    const Sizes *s = m->s;
    const LlamaConfig *c = s->config;
    char what[64];
    if (snprintf(what, sizeof what, "decode, batch %lld", (long long)B) && !gpu_begin(m->b, "llama", what))
        return;
    GpuRow r = {
        .what = what, .detail = "a token of each row; 4-bit NF4, scales quantised", .tokens = (double)B};
    const int64_t middle = s->prefix + s->tokens / 2;
    double keys = 2.0 * (double)(c->layers * c->kv_heads * c->head_dim) * (double)(B * middle) * sizeof(float);
    r.time = time_llama(m, B, s->prefix, s->tokens);
    r.bytes = m->bytes + keys;
    r.flops = (double)B * (llama_work(&m->llama, s->prefix, s->tokens / 2 + 1) -
                           llama_work(&m->llama, s->prefix, s->tokens / 2));
    r.floor = gpu_floor(m->b, r.flops, m->weights * FLOOR_BITS / 8);
    gpu_row(m->b, &r);
}

static void prompt_row(Model *m)
{
    const int64_t T = m->s->prompt;
    char what[64];
    if (snprintf(what, sizeof what, "prompt of %lld tokens", (long long)T) && !gpu_begin(m->b, "llama", what))
        return;
    GpuRow r = {.what = what, .detail = "to the first token", .tokens = (double)T, .bytes = m->bytes};
    r.time = time_llama(m, 1, T, 0);
    r.flops = llama_work(&m->llama, T, 0);
    r.floor = gpu_floor(m->b, r.flops, m->weights * FLOOR_BITS / 8);
    gpu_row(m->b, &r);
}

bool gpu_llama(GpuBench *b, Error *e)
{
    Model m = {.b = b, .s = b->mini ? &mini : &paper};
    Weights w;
    gpu_print_head(b, "LLaMA, 4-bit");
    weights_init(&w, &b->weights, &b->state, NULL, b->common->seed);
    w.quant = DTYPE_nf4;
    w.table = DTYPE_bf16;
    w.nested = w.unfilled = true;
    bool ok = llama_create(&m.llama, &w, *m.s->config, e);
    if (ok) {
        gpu_fill(b, &w, &m.bytes);
        m.bytes -= (double)tensor_bytes(m.llama.embed); /* looked up */
        for (int i = 0; i < w.n; i++)
            if (w.item[i].tensor->ndim > 1 && w.item[i].tensor != m.llama.embed)
                m.weights += (double)tensor_len(w.item[i].tensor);
        for (int i = 0; i < 3; i++) decode_row(&m, m.s->batch[i]);
        prompt_row(&m);
    }
    weights_close(&w);
    arena_pop(&b->weights, (ArenaMark){0, 0});
    return ok;
}

/* ---- ResNet ---- */

static const ResnetConfig mini_resnet = {3, 4, {4, 4, 4, 8}, {1, 1, 1, 1}, {1, 1, 1, 1}, false};
/* Its floor's bytes: every activation written and read once in bf16, 32 ms at 1008 GB/s for 96 slices. */
static const double FLOOR_IMAGE_BYTES = 32e-3 * 1008e9 / 96;

static void no_values(void *user, const char *name, int ndim, const int64_t *dim, float *x)
{
    (void)user, (void)name, (void)ndim, (void)dim;
    *x = 0;
}

/* Uniform values of sd sqrt(gain / fan-in): 2 keeps the spread through a ReLU. */
static void fill_conv(GpuBench *b, const ResnetConv *c, double gain)
{
    if (!c->weight) return;
    float bound = (float)sqrt(3 * gain / (double)(tensor_len(c->weight) / c->weight->dim[0]));
    gpu_random(b, c->weight, -bound, bound);
    gpu_random(b, c->bias, -0.1f, 0.1f);
}

static void fill_resnet(GpuBench *b, const Resnet *net)
{
    fill_conv(b, &net->stem, 2);
    for (int s = 0; s < RESNET_STAGES; s++)
        for (int k = 0; k < net->config.depth[s]; k++) {
            const ResnetBlock *block = &net->block[s][k];
            fill_conv(b, &block->conv[0], 2);
            fill_conv(b, &block->conv[1], 2);
            fill_conv(b, &block->conv[2], 0.1); /* what is added stays small */
            fill_conv(b, &block->shortcut, 1);
        }
}

static double resnet_run(GpuBench *b, Tape *t, const Resnet *net, Tensor *x, float *pooled)
{
    Tensor *grid, *mean;
    b->backend->sync();
    double from = cli_seconds();
    resnet_forward(t, net, x, false, &grid, &mean);
    b->backend->sync();
    double seconds = cli_seconds() - from;
    if (pooled) b->backend->download(pooled, mean->data, sizeof *pooled);
    tape_reset(t);
    return seconds;
}

static bool resnet_rows(GpuBench *b, const Resnet *net, Error *e)
{
    const int64_t N = b->mini ? 2 : 96, side = b->mini ? 56 : 512;
    double run[GPU_RUNS_MOST];
    char what[64];
    float pooled = NAN;
    Tape t;
    snprintf(what, sizeof what, "%lld slices of %lldx%lld", (long long)N, (long long)side, (long long)side);
    if (!gpu_begin(b, "resnet", what)) return true;
    Tensor *x = tensor_f32(&b->state, N, side, side, 3);
    gpu_random(b, x, -2, 2);
    gpu_tape(b, &t);
    resnet_run(b, &t, net, x, &pooled);
    if (!isfinite(pooled))
        return error_set(e, ERROR_INTERNAL, "ResNet on %s: features are not finite", b->backend->name);
    for (int k = 0; k < GPU_RUNS_LEAST; k++) run[k] = resnet_run(b, &t, net, x, NULL);
    GpuRow r = {.what = what, .detail = "grid and pooled features", .time = gpu_times(run, GPU_RUNS_LEAST)};
    r.flops = resnet_work(net, side, N);
    r.floor = gpu_floor(b, r.flops, b->mini ? 0 : FLOOR_IMAGE_BYTES * (double)N);
    gpu_row(b, &r);
    return true;
}

bool gpu_resnet(GpuBench *b, Error *e)
{
    Resnet net;
    Weights w;
    ArenaMark mark = arena_mark(&b->state);
    gpu_print_head(b, "ResNet-101, BatchNorm folded");
    weights_init(&w, &b->weights, &b->state, NULL, b->common->seed);
    w.generator = no_values;
    bool ok = resnet_create(&net, &w, b->mini ? mini_resnet : resnet_101, e);
    if (ok) {
        fill_resnet(b, &net);
        ok = resnet_rows(b, &net, e);
    }
    weights_close(&w);
    arena_pop(&b->state, mark);
    arena_pop(&b->weights, (ArenaMark){0, 0});
    return ok;
}
