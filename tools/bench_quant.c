#include "tools/bench_quant.h"
#include "kernels/ops.h"
#include "kernels/quant.h"
#include "tensor/half.h"
#include "tensor/rng.h"
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    MATRICES = 7,
    ROUNDS = 5,
    PREFILL = 512,
    PEAK_RUNS = 5,
    NF4_BYTES_BLOCK = 64,
    OUTER = 256,
    Q4_0_SIZE = 18
};

static const int64_t shape[MATRICES][2] = {{4096, 4096},  {1024, 4096},  {1024, 4096}, {4096, 4096},
                                           {14336, 4096}, {14336, 4096}, {4096, 14336}};

typedef struct Format {
    const char *name;
    DType dtype;
    bool nested;
    Peak peak;
} Format;

static const Format formats[] = {{"nf4", DTYPE_nf4, false, PEAK_BF16},
                                 {"nf4, nested", DTYPE_nf4, true, PEAK_BF16},
                                 {"q4_0", DTYPE_q4_0, false, PEAK_VNNI}};
enum { FORMATS = sizeof formats / sizeof *formats };
static const char *const peak_name[] = {"fma", "bf16", "vnni"};

typedef struct Layer {
    const BenchSystem *b;
    Arena weights, step, scratch;
    Tape tape;
    Tensor *w[MATRICES], *x[MATRICES];
    double size[MATRICES], bytes, products; /* of each weight, of all; N K of all */
} Layer;

/* ---- the layer ---- */

static void *room(size_t bytes)
{
    void *p = malloc(bytes);
    if (!p) die_memory("a 4-bit weight of %zu bytes", bytes);
    return p;
}

/* Random codes; every scale within 1/2 and 3/2 of 0.01. */
static Tensor *weight(Layer *l, const Format *f, int64_t N, int64_t K, Rng *rng, double *size)
{
    int64_t blocks = N * K / NF4_BYTES_BLOCK, outer = (blocks + OUTER - 1) / OUTER;
    size_t bytes = dtype_bytes(f->dtype, N * K);
    uint8_t *codes = room(bytes), *nested = room((size_t)blocks);
    float *absmax = room((size_t)blocks * sizeof *absmax), *most = room((size_t)outer * sizeof *most);
    uint64_t state = (uint64_t)(rng_range(rng, 0, 1) * 0x1p53) | 1;
    for (size_t i = 0; i < bytes; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        codes[i] = (uint8_t)(state >> 56);
    }
    for (size_t i = 0; f->dtype == DTYPE_q4_0 && i < bytes; i += Q4_0_SIZE) {
        uint16_t scale = half_from_float(0.005f + (float)codes[i] * (0.01f / 255));
        codes[i] = (uint8_t)(scale & 255);
        codes[i + 1] = (uint8_t)(scale >> 8);
    }
    for (int64_t i = 0; i < blocks; i++) {
        nested[i] = codes[i];
        absmax[i] = 0.005f + (float)codes[i] * (0.01f / 255);
    }
    for (int64_t i = 0; i < outer; i++) most[i] = 0.005f;
    Quant planes = f->nested ? (Quant){.nested = nested, .nested_absmax = most, .offset = 0.01f}
                             : (Quant){.absmax = absmax};
    Tensor *w =
        quant_tensor_from(&l->weights, f->dtype, N, K, codes, dtype_is_planar(f->dtype) ? &planes : NULL);
    *size = (double)bytes;
    if (f->nested) *size += (double)blocks + 4.0 * (double)outer;
    if (w->quant && !f->nested) *size += 4.0 * (double)blocks;
    free(codes);
    free(nested);
    free(absmax);
    free(most);
    return w;
}

static bool open_layer(Layer *l, const BenchSystem *b, const Format *f, int64_t rows, Error *e)
{
    const size_t most = b->common->memory ? b->common->memory / 3 : (size_t)8 << 30;
    Rng rng = rng_open(b->common->seed, "a layer's codes");
    *l = (Layer){.b = b};
    if (!arena_open(&l->weights, "weights", &backend_cpu, most, e) ||
        !arena_open(&l->step, "step", &backend_cpu, most, e) ||
        !arena_open(&l->scratch, "scratch", &backend_cpu, most, e))
        return false;
    tape_init(&l->tape, &l->step, &l->scratch, b->common->seed);
    for (int i = 0; i < MATRICES; i++) {
        int64_t N = shape[i][0], K = shape[i][1];
        l->w[i] = weight(l, f, N, K, &rng, &l->size[i]);
        l->bytes += l->size[i];
        l->x[i] = tensor_f32(&l->weights, rows, K, 0, 0);
        rng_fill(l->x[i]->data, rows * K, (uint32_t)b->common->seed, "a layer's x", 1);
        l->products += (double)(N * K);
    }
    return true;
}

static void close_layer(Layer *l)
{
    arena_close(&l->weights);
    arena_close(&l->step);
    arena_close(&l->scratch);
}

/* Seconds of one product. */
static double product(Layer *l, int i)
{
    double from = cli_seconds();
    op_matmul_q(&l->tape, l->x[i], l->w[i], NULL, NULL);
    double seconds = cli_seconds() - from;
    tape_reset(&l->tape);
    return seconds;
}

static double pass(Layer *l)
{
    double seconds = 0;
    for (int i = 0; i < MATRICES; i++) seconds += product(l, i);
    return seconds;
}

/* ---- five rounds ---- */

typedef struct Range {
    double least, median, most;
} Range;

static Range range(double *x)
{
    BenchTimes t = bench_times(x, ROUNDS);
    return (Range){t.least, t.median, x[ROUNDS - 1]};
}

static void print_row(const BenchSystem *b, const char *op, const char *name, double seconds, double bytes,
                      double flops, Range share, const char *roof)
{
    if (b->csv)
        printf("%s,\"%s\",forward,%.2f,,%.3f,%.3f,%.4f,%s\n", op, name, seconds * 1e6, bytes / seconds * 1e-9,
               flops / seconds * 1e-9, share.median, roof);
    else
        printf("%-14s %11.3f %8.2f %9.2f  %.2f (%.2f to %.2f) of %s\n", name, seconds * 1e3,
               bytes / seconds * 1e-9, flops / seconds * 1e-9, share.median, share.least, share.most, roof);
    fflush(stdout);
}

static void print_head(const BenchSystem *b, const char *what)
{
    if (!b->csv)
        printf("\n%s, %d threads, five rounds\n%-14s %11s %8s %9s  share, median (range)\n", what,
               omp_get_max_threads(), "weights", "ms, median", "GB/s", "GFLOP/s");
}

static void decode_rows(Layer *l, const Format *f)
{
    const Roofs *r = l->b->roofs;
    double share[ROUNDS], seconds[ROUNDS], speed[ROUNDS];
    size_t at = 0;
    pass(l); /* touches memory */
    for (int k = 0; k < ROUNDS; k++) {
        double read = 0, work = 0;
        int n = 0;
        for (; n < 3 || read + work < l->b->seconds; n++)
            for (int i = 0; i < MATRICES; i++) {
                size_t bytes = (size_t)l->size[i];
                if (at + bytes > r->bytes) at = 0;
                read += roofs_read_once(r, at, bytes);
                at += bytes;
                work += product(l, i);
            }
        seconds[k] = work / n;
        speed[k] = l->bytes * n / read;
        share[k] = read / work;
    }
    print_row(l->b, "decode", f->name, range(seconds).median, l->bytes, 2 * l->products, range(share), "read");
    if (!l->b->csv) printf("%-14s %11s %8.2f\n", "  read", "", range(speed).median * 1e-9);
}

/* Runs a peak's loop for at least so long: operations and seconds are added to work[0] and work[1]. */
static void run_peak(Peak kind, double seconds, double *work)
{
    for (double spent = 0; spent < seconds;) {
        double from = cli_seconds(), speed = roofs_peak(kind), took = cli_seconds() - from;
        if (speed <= 0) return;
        work[0] += speed * took;
        work[1] += took;
        spent += took;
    }
}

static void prefill_rows(Layer *l, const Format *f)
{
    double share[2][ROUNDS], seconds[ROUNDS], top[2][ROUNDS], flops = 2 * l->products * PREFILL;
    const Peak kind[2] = {f->peak, PEAK_FMA};
    pass(l);
    for (int k = 0; k < ROUNDS; k++) {
        double work[2][2] = {{0}};
        seconds[k] = 0;
        for (int m = 0; m < MATRICES; m++) {
            double took = product(l, m);
            for (int i = 0; i < 2; i++) run_peak(kind[i], took, work[i]);
            seconds[k] += took;
        }
        for (int i = 0; i < 2; i++) {
            top[i][k] = work[i][1] > 0 ? work[i][0] / work[i][1] : 0;
            share[i][k] = top[i][k] > 0 ? flops / seconds[k] / top[i][k] : 0;
        }
    }
    double median = range(seconds).median;
    for (int i = 0; i < 2; i++) {
        Range peak = range(top[i]);
        if (peak.most <= 0) continue; /* no such instruction here */
        print_row(l->b, "prefill", f->name, median, l->bytes, flops, range(share[i]), peak_name[kind[i]]);
        if (!l->b->csv) printf("  %-12s %11s %8s %9.1f\n", peak_name[kind[i]], "", "", peak.median * 1e-9);
    }
}

static bool bench(const BenchSystem *b, int64_t rows, void (*row)(Layer *, const Format *), Error *e)
{
    bool ok = true;
    for (int i = 0; ok && i < FORMATS; i++) {
        if (rows > 1 && formats[i].nested) continue;
        Layer l;
        ok = open_layer(&l, b, &formats[i], rows, e);
        if (ok) row(&l, &formats[i]);
        close_layer(&l);
    }
    return ok;
}

bool bench_decode(const BenchSystem *b, Error *e)
{
    print_head(b, "decode: one row through a layer of LLaMA3-8B");
    return bench(b, 1, decode_rows, e);
}

bool bench_prefill(const BenchSystem *b, Error *e)
{
    print_head(b, "prefill: 512 rows through a layer of LLaMA3-8B");
    return bench(b, PREFILL, prefill_rows, e);
}
