#include "tools/bench_sam.h"
#include "models/sam_predict.h"
#include "tensor/rng.h"
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

enum { PROMPTS = 16, PASS = 5, MASKS = 4, CELLS = 64, ROWS = 4, ROUNDS_LEAST = 3, ROUNDS_MOST = 100 };

static const SamDecoderConfig config = {.image = 1024,
                                        .dim = 256,
                                        .heads = 8,
                                        .inner = 128,
                                        .mlp = 2048,
                                        .masks = MASKS,
                                        .iou_hidden = 256,
                                        .mask_hidden = 16};
static const char *const name[ROWS] = {"naive", "1: first layer's image side shared",
                                       "2: and projections absorbed",
                                       "3: and predicted IoU first, 5 of 16 kept"};

typedef struct Work {
    const BenchSystem *b;
    Arena weights, step, scratch;
    Tape tape;
    Weights w;
    SamDecoder net;
    SamPredictor predictor;
    SamImage image;
    SamPrompts prompts;
    Tensor *embedding;
    ArenaMark mark; /* behind the image */
    double point[2 * PROMPTS];
    int32_t label[PROMPTS];
    float threshold;
} Work;

/* ---- the arithmetic of one prompt, 2 a multiply-add ---- */

static double row_work(int row)
{
    const double S = CELLS * CELLS, C = 256, I = 128, K = 7, KH = 7 * 8;
    /* Tokens: self-attention, attention's own projections, MLPs; heads. */
    double tokens =
        K * (2 * 4 * C * C + 5 * 2 * C * I + 2 * 2 * C * 2048) + 4 * (2 * C * C + C * C / 8) + 3 * C * C;
    double upscaling = S * C * C + 4 * S * (C / 4) * (C / 2) + MASKS * 16 * S * C / 8;
    double attention = 5 * 2 * S * K * I;     /* scores and sums, five times */
    double projections = (5 + 5) * S * C * I; /* k, v of three, q and out of two */
    if (row >= 1) projections -= 3 * S * C * I;
    if (row >= 2) {
        projections = 0;
        tokens += K * (C * KH / K * (I + 7 * C) - 5 * 2 * C * I + 2 * C * I);
        attention = 2 * S * K * I + S * KH * I + S * KH * C + 6 * S * KH * C;
    }
    if (row >= 3) upscaling *= (double)PASS / PROMPTS;
    return 2 * (tokens + attention + projections + upscaling);
}

/* ---- the rows ---- */

/* Seconds of one run of all prompts. */
static double once(Work *w, int row)
{
    Tape *t = &w->tape;
    Tensor *masks, *iou;
    SamPrediction y;
    double from = cli_seconds();
    w->predictor.savings = (SamSavings)row;
    if (row)
        sam_predict(t, &w->image, &w->prompts, true, w->threshold, &y);
    else
        sam_decoder_forward(t, &w->net, w->embedding, &w->prompts, &masks, &iou);
    w->step.backend->sync();
    double seconds = cli_seconds() - from;
    arena_pop(t->step, w->mark);
    return seconds;
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* A threshold that PASS prompts pass with at least one of their masks. */
static void choose_threshold(Work *w)
{
    SamPrediction y;
    float best[PROMPTS];
    sam_predict(&w->tape, &w->image, &w->prompts, true, 1e9f, &y);
    for (int i = 0; i < PROMPTS; i++) {
        best[i] = y.iou[i * MASKS + 1];
        for (int m = 2; m < MASKS; m++)
            best[i] = y.iou[i * MASKS + m] > best[i] ? y.iou[i * MASKS + m] : best[i];
    }
    arena_pop(w->tape.step, w->mark);
    qsort(best, PROMPTS, sizeof *best, by_size);
    w->threshold = best[PROMPTS - PASS - 1];
}

static bool open_work(Work *w, const Backend *b, Error *e)
{
    const size_t room = w->b->common->memory ? w->b->common->memory / 3 : (size_t)8 << 30;
    Rng rng = rng_open(w->b->common->seed, "sam's prompts");
    if (!arena_open(&w->weights, "weights", b, room, e) || !arena_open(&w->step, "step", b, room, e) ||
        !arena_open(&w->scratch, "scratch", b, room, e))
        return false;
    tape_init(&w->tape, &w->step, &w->scratch, w->b->common->seed);
    weights_init(&w->w, &w->weights, NULL, NULL, w->b->common->seed);
    if (!sam_decoder_create(&w->net, &w->w, config, e)) return false;
    sam_predictor_open(&w->predictor, &w->net, &w->weights);
    w->embedding = tensor_f32(&w->weights, 1, CELLS, CELLS, config.dim);
    float *host = malloc(tensor_bytes(w->embedding));
    if (!host) return error_set(e, ERROR_MEMORY, "no memory for an embedding");
    for (int64_t i = 0; i < tensor_len(w->embedding); i++) host[i] = (float)rng_range(&rng, -1, 1);
    tensor_upload(w->embedding, host);
    free(host);
    for (int i = 0; i < PROMPTS; i++) {
        w->point[2 * i] = rng_range(&rng, 0, (double)config.image);
        w->point[2 * i + 1] = rng_range(&rng, 0, (double)config.image);
        w->label[i] = 1;
    }
    w->prompts = (SamPrompts){.n = PROMPTS, .points = 1, .point = w->point, .label = w->label};
    sam_image_open(&w->image, &w->predictor, &w->tape, w->embedding);
    w->mark = arena_mark(w->tape.step);
    choose_threshold(w);
    return true;
}

static void print_row(const Work *w, int row, BenchTimes t, double ratio)
{
    double flops = row_work(row), share = w->b->roofs ? flops / t.median / w->b->roofs->fma : 0;
    if (w->b->csv)
        printf("sam,\"%s\",forward,%.2f,%.2f,,%.3f,%.4f,%s\n", name[row], t.median * 1e6, t.least * 1e6,
               flops / t.median * 1e-9, share, share > 0 ? "fma" : "");
    else
        printf("%-42s %11.3f %11.3f %8.3f %8.2f", name[row], t.median * 1e3, t.least * 1e3, flops * 1e-9,
               ratio);
    if (!w->b->csv && share > 0) printf("  %5.1f %% of fma", share * 100);
    if (!w->b->csv) putchar('\n');
    fflush(stdout);
}

static void rows(Work *w)
{
    double run[ROWS][ROUNDS_MOST], ratio[ROWS][ROUNDS_MOST], times[ROWS];
    int n = 0;
    for (int row = 0; row < ROWS; row++) once(w, row); /* touches memory */
    for (double start = cli_seconds();
         n < ROUNDS_LEAST || (n < ROUNDS_MOST && cli_seconds() - start < ROWS * w->b->seconds); n++)
        for (int row = 0; row < ROWS; row++) run[row][n] = once(w, row) / PROMPTS;
    for (int row = 0; row < ROWS; row++) { /* bench_times sorts: what is still to be divided comes first */
        for (int i = 0; i < n; i++) ratio[row][i] = run[0][i] / run[row][i];
        times[row] = bench_times(ratio[row], n).median;
    }
    for (int row = 0; row < ROWS; row++) print_row(w, row, bench_times(run[row], n), times[row]);
}

bool bench_sam(const BenchSystem *b, const Backend *backend, Error *e)
{
    Work *w = calloc(1, sizeof *w);
    if (!w) return error_set(e, ERROR_MEMORY, "no memory for SAM's rows");
    w->b = b;
    if (!b->csv)
        printf("\nsam: mask decoder, 256 channels, 64 x 64 cells, %d prompts in turn, %d threads\n"
               "%-42s %11s %11s %8s %8s  share of the FMA roof\n",
               PROMPTS, omp_get_max_threads(), "a prompt", "ms, median", "ms, min", "GFLOP", "times");
    bool ok = open_work(w, backend, e);
    if (ok) rows(w);
    weights_close(&w->w);
    arena_close(&w->weights);
    arena_close(&w->step);
    arena_close(&w->scratch);
    free(w);
    return ok;
}
