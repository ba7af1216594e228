#include "tools/gpu_bench.h"
#include "kernels/ops.h"
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* bf16 products with f32 sums, dense, and memory, both a second. */
static const struct Sheet {
    const char *name;
    double flops, bytes;
} sheets[] = {
    {"RTX 4090", 165.2e12, 1008e9},
    {"H100 PCIe", 756e12, 2039e9},
    {"H100 80GB HBM3", 989.4e12, 3350e9},
    {"H200", 989.4e12, 4800e9},
    {NULL, 0, 0},
};

const LlamaConfig gpu_mini_llama = {.vocab = 96,
                                    .dim = 64,
                                    .layers = 2,
                                    .heads = 2,
                                    .kv_heads = 1,
                                    .head_dim = 32,
                                    .ffn = 64,
                                    .norm_eps = 1e-5f,
                                    .rope_theta = 500000};

void gpu_tape(GpuBench *b, Tape *t)
{
    tape_init(t, &b->step, &b->scratch, b->common->seed);
    t->compute = b->compute;
}

/* ---- times ---- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

GpuTimes gpu_times(double *run, int n)
{
    qsort(run, (size_t)n, sizeof *run, by_size);
    return (GpuTimes){run[n / 2], run[0], run[n - 1], n};
}

void gpu_flush(GpuBench *b) { b->probe->read(b->flush->data, tensor_bytes(b->flush), b->word); }

double gpu_floor(const GpuBench *b, double flops, double bytes)
{
    return b->sheet_flops > 0 ? fmax(flops / b->sheet_flops, bytes / b->sheet_bytes) : 0;
}

/* The best of several runs: what disturbs only takes away. what: 0 read, 1 copy, 2 mma. */
static double roof(GpuBench *b, int what, Tensor *x)
{
    const size_t half = tensor_bytes(x) / 2;
    char *p = x->data;
    double best = 0, work = 0;
    int turns = b->mini ? 4 : 1 << 13;
    for (int k = 0; k < (b->mini ? 2 : 12); k++) {
        b->probe->mark(0);
        if (what == 0) b->probe->read(p, 2 * half, b->word), work = 2.0 * (double)half;
        if (what == 1) b->probe->copy(p, p + half, half), work = 2.0 * (double)half;
        if (what == 2) work = b->probe->mma(turns, x->data, (size_t)tensor_len(x));
        b->probe->mark(1);
        best = fmax(best, work / b->probe->between(0, 1));
    }
    return best;
}

static void measure_roofs(GpuBench *b)
{
    ArenaMark mark = arena_mark(&b->state);
    const size_t cache = b->device.cache ? b->device.cache : (size_t)64 << 20;
    int64_t n = (int64_t)(b->mini ? 2 : 16) * (int64_t)(cache / 2048) * 2048 / 4, word = 1;
    Tensor *x = tensor_new(&b->state, DTYPE_f32, 1, &n);
    gpu_random(b, x, -1, 1);
    b->word = tensor_new(&b->state, DTYPE_i32, 1, &word)->data;
    b->read = roof(b, 0, x);
    b->copy = roof(b, 1, x);
    b->mma = roof(b, 2, x);
    arena_pop(&b->state, mark);
    n = n / (b->mini ? 1 : 4);
    b->flush = tensor_new(&b->state, DTYPE_f32, 1, &n);
    b->word = tensor_new(&b->state, DTYPE_i32, 1, &word)->data;
    gpu_random(b, b->flush, -1, 1);
    b->backend->sync();
}

/* ---- device and arenas ---- */

static bool open_arenas(GpuBench *b, Error *e)
{
    const size_t share = b->common->memory ? b->common->memory : b->device.free / 20 * 19;
    return arena_open(&b->weights, "weights", b->backend, share, e) &&
           arena_open(&b->state, "state", b->backend, share, e) &&
           arena_open(&b->step, "step", b->backend, share, e) &&
           arena_open(&b->scratch, "scratch", b->backend, share, e);
}

bool gpu_open(GpuBench *b, const char *table, Error *e)
{
    const char *name = b->common->device;
    b->backend = backend_open(strcmp(name, "auto") ? name : "cuda", e);
    if (!b->backend) return false;
    b->probe = b->backend->probe;
    if (!b->probe) return error_set(e, ERROR_USAGE, "--device %s: expected cuda or emu", name);
    if (!cli_compute(b->common, b->backend, false, &b->compute, e)) return false;
    b->probe->device(&b->device);
    for (const struct Sheet *s = sheets; s->name; s++)
        if (strstr(b->device.name, s->name)) b->sheet_flops = s->flops, b->sheet_bytes = s->bytes;
    if (!open_arenas(b, e)) return false;
    b->table = fopen(table, "a");
    if (!b->table) return error_set(e, ERROR_IO, "%s: cannot append: %m", table);
    measure_roofs(b);
    return true;
}

void gpu_close(GpuBench *b)
{
    arena_close(&b->scratch);
    arena_close(&b->step);
    arena_close(&b->state);
    arena_close(&b->weights);
    if (b->table) fclose(b->table);
}

/* ---- the table ---- */

void gpu_line(GpuBench *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(b->table, format, args);
    va_end(args);
    fputc('\n', b->table);
    if (fflush(b->table) || fdatasync(fileno(b->table))) die("the table of results: cannot write: %m");
}

void gpu_print_card(GpuBench *b)
{
    const ProbeDevice *d = &b->device;
    gpu_line(b, "Card: %s, sm_%d%d, %d multiprocessors, %.1f GB (%.1f free), %.0f MB of L2 cache.\n", d->name,
             d->major, d->minor, d->multiprocessors, (double)d->memory * 1e-9, (double)d->free * 1e-9,
             (double)d->cache * 0x1p-20);
    gpu_line(b,
             "CUDA: driver for %d.%d, runtime %d.%d. Highest clocks: %d MHz, memory %d MHz on %d bits (0: the "
             "driver does not say).\n",
             d->driver / 1000, d->driver % 1000 / 10, d->runtime / 1000, d->runtime % 1000 / 10,
             d->clock_khz / 1000, d->memory_khz / 1000, d->bus_bits);
    gpu_line(b,
             "Roofs measured here: read %.4g GB/s, copy %.4g GB/s (both ways counted), mma.sync bf16 with f32 "
             "sums %.4g TFLOP/s.\n",
             b->read * 1e-9, b->copy * 1e-9, b->mma * 1e-12);
    if (b->sheet_flops > 0)
        gpu_line(b, "Data sheet: %.0f GB/s, %.1f TFLOP/s; floors are at these rates.\n", b->sheet_bytes * 1e-9,
                 b->sheet_flops * 1e-12);
    else
        gpu_line(b, "Data sheet: this card's is not known here, so floors are left out.\n");
}

void gpu_print_head(GpuBench *b, const char *title)
{
    gpu_line(b,
             "\n## %s; computing in %s\n\n| what | case | ms, median | least to most | runs | GB/s | TFLOP/s | "
             "tok/s | share of "
             "roof | share of floor |\n|---|---|---|---|---|---|---|---|---|---|",
             title, dtype_name(b->compute));
}

void gpu_row(GpuBench *b, const GpuRow *r)
{
    char rate[3][32], share[64] = "-", floor[32] = "-";
    const double s = r->time.median, work[3] = {r->bytes * 1e-9, r->flops * 1e-12, r->tokens};
    for (int i = 0; i < 3; i++)
        if (work[i] > 0)
            snprintf(rate[i], sizeof rate[i], "%.4g", work[i] / s);
        else
            strcpy(rate[i], "-");
    double memory = r->bytes / s / fmax(b->read, b->copy), products = r->flops / s / b->mma;
    if (memory > 0 || products > 0)
        snprintf(share, sizeof share, "%.1f %% of %s", 100 * fmax(memory, products),
                 memory > products ? "memory" : "mma");
    if (r->floor > 0) snprintf(floor, sizeof floor, "%.1f %%", 100 * r->floor / s);
    gpu_line(b, "| %s | %s | %.5g | %.5g to %.5g | %d | %s | %s | %s | %s | %s |", r->what, r->detail, 1e3 * s,
             1e3 * r->time.least, 1e3 * r->time.most, r->time.n, rate[0], rate[1], rate[2], share, floor);
    b->rows++;
}

bool gpu_begin(GpuBench *b, const char *part, const char *what)
{
    if (b->until > 0 && cli_seconds() > b->until) {
        if (!b->unbegun++)
            gpu_line(b, "| %s | from here on not run: the time for this part is spent | | | | | | | | |", what);
        return false;
    }
    fprintf(stderr, "%s: %s\n", part, what);
    return true;
}

/* ---- random weights ---- */

static void random_f32(GpuBench *b, Tensor *x, float low, float high)
{
    static uint64_t seed;
    x->backend->probe->random_floats(x->data, tensor_len(x), low, high, b->common->seed + (++seed << 20));
}

/* A part at a time, as f32 first. */
static void random_bf16(GpuBench *b, Tensor *x, float low, float high)
{
    enum { PART = 1 << 22 };
    Tape t;
    gpu_tape(b, &t);
    for (int64_t from = 0, n; from < tensor_len(x); from += n) {
        n = tensor_len(x) - from < PART ? tensor_len(x) - from : PART;
        Tensor *part = tape_tensor(&t, DTYPE_f32, 1, &n);
        random_f32(b, part, low, high);
        const Tensor *half = op_cast(&t, part, DTYPE_bf16);
        x->backend->move((uint16_t *)x->data + from, half->data, tensor_bytes(half));
        tape_reset(&t);
    }
}

void gpu_random(GpuBench *b, Tensor *x, float low, float high)
{
    if (x->backend->probe) (x->dtype == DTYPE_bf16 ? random_bf16 : random_f32)(b, x, low, high);
}

/* All 16 codes; scales so that values have about the spread of a trained weight. */
static double fill_codes(GpuBench *b, Tensor *x, uint64_t seed)
{
    enum { BLOCK = 64, OUTER = 256 };
    const Probe *p = x->backend->probe;
    const Quant *q = x->quant;
    int64_t blocks = (tensor_len(x) + BLOCK - 1) / BLOCK, outer = (blocks + OUTER - 1) / OUTER;
    if (!q) die("%s: random codes are for planar 4-bit weights", tensor_text(x));
    if (p) p->random_bytes(x->data, tensor_bytes(x), b->common->seed + seed);
    if (p && q->absmax) p->random_floats(q->absmax, blocks, 0.02f, 0.06f, b->common->seed + seed + 1);
    if (p && !q->absmax) {
        p->random_bytes(q->nested, (size_t)blocks, b->common->seed + seed + 1);
        p->random_floats(q->nested_absmax, outer, 0.01f, 0.02f, b->common->seed + seed + 2);
        ((Quant *)(uintptr_t)q)->offset = 0.04f;
    }
    return (double)tensor_bytes(x) + (double)(q->absmax ? 4 * blocks : blocks + 4 * outer);
}

void gpu_fill(GpuBench *b, const Weights *w, double *bytes)
{
    for (int i = 0; i < w->n; i++) {
        Tensor *x = w->item[i].tensor;
        if (dtype_is_quant(x->dtype)) {
            *bytes += fill_codes(b, x, (uint64_t)(i + 1) << 32);
            continue;
        }
        float bound = 1 / sqrtf((float)(tensor_len(x) / x->dim[0]));
        if (x->ndim > 1)
            gpu_random(b, x, -bound, bound);
        else
            gpu_random(b, x, 0.9f, 1.1f);
        *bytes += (double)tensor_bytes(x);
    }
}
