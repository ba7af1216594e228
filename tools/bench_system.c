#include "tools/bench_system.h"
#include "tools/bench_start.h"
#include "data/json.h"
#include "data/phantom_study.h"
#include "tools/features.h"
#include "tools/system.h"
#include "tools/train.h"
#include "tools/work.h"
#include <ftw.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BATCH = 32, TRAINED = 16, RUNS_LEAST = 3, RUNS_MOST = 100, MAX_TOKENS = 256, SIDE = 128, PATH = 4096 };

typedef struct Work {
    const BenchSystem *b;
    System s;
    int side;
    char folder[PATH]; /* temporary: a data set of one study */
    float *grid, *pooled, *hv;
    double flops; /* of the last run that counted them */
    Weights head; /* the trainable copy */
    Params params;
    Visual visual;
} Work;

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

BenchTimes bench_times(double *run, int n)
{
    qsort(run, (size_t)n, sizeof *run, by_size);
    return (BenchTimes){run[n / 2], run[0]};
}

/* The operations of decoding one report that is there. */
static bool report_work(Work *w, const char *text, double *flops, Error *e)
{
    int32_t *ids;
    int n;
    if (!bpe_encode(w->s.prompt.bpe, text, strlen(text), false, &ids, &n, e)) return false;
    free(ids);
    *flops = llama_work(&w->s.llama, pcrl_prefix_length(&w->s.prompt.pcrl, hv_slots(w->s.visual.mode)), n);
    return true;
}

/* ---- studies ---- */

static bool make_phantom(const Work *w, int k, Phantom *p, Error *e)
{
    PhantomOptions o = phantom_options();
    o.size = w->side;
    return phantom_make(w->b->common->seed + (uint64_t)k, &o, p, e);
}

/* A data set of one study. */
static bool write_study(const Work *w, Error *e)
{
    Phantom p;
    char path[PATH + 32];
    snprintf(path, sizeof path, "%s/annotations.json", w->folder);
    if (!make_phantom(w, 0, &p, e)) return false;
    bool ok = phantom_write_study(&p, w->folder, 1, e);
    json_t *one = ok ? phantom_annotation(&p, 1, e) : NULL, *list = json_array();
    ok = one && !json_array_append_new(list, one) && json_write(path, list, e);
    json_decref(list);
    phantom_free(&p);
    return ok;
}

/* Grid and pooled features of BATCH studies in host memory. */
static bool make_features(Work *w, Error *e)
{
    const int64_t C = w->s.resnet.channels, per = CTRG_SLICES * GRID_CELLS * C;
    const size_t area = (size_t)w->side * (size_t)w->side;
    uint8_t *pixel = malloc(CTRG_SLICES * area);
    w->grid = malloc((size_t)(BATCH * per) * sizeof *w->grid);
    w->pooled = malloc((size_t)(BATCH * CTRG_SLICES * C) * sizeof *w->pooled);
    w->hv = malloc((size_t)(BATCH * system_token_count(&w->s)) * sizeof *w->hv);
    bool ok = (pixel && w->grid && w->pooled && w->hv) ||
              error_set(e, ERROR_MEMORY, "no memory for the features of %d studies", BATCH);
    for (int k = 0; ok && k < BATCH; k++) {
        Phantom p;
        Tensor *grid, *pooled;
        ok = make_phantom(w, k, &p, e);
        if (!ok) break;
        for (int i = 0; i < CTRG_SLICES; i++) phantom_window(&p, i, pixel + (size_t)i * area);
        phantom_free(&p);
        study_features(&w->s.tape, &w->s.resnet, pixel, w->side, w->side, &grid, &pooled);
        tensor_download(grid, w->grid + k * per);
        tensor_download(pooled, w->pooled + k * CTRG_SLICES * C);
        tape_reset(&w->s.tape);
    }
    free(pixel);
    return ok;
}

/* H_v of the first n studies, on the tape. */
static Tensor *head(Work *w, const Visual *v, int64_t n, bool train)
{
    const int64_t C = w->s.resnet.channels;
    Tape *t = &w->s.tape;
    Tensor *grid = tape_tensor(t, DTYPE_f32, 4, (int64_t[]){n * CTRG_SLICES, GRID, GRID, C});
    Tensor *pooled = tape_tensor(t, DTYPE_f32, 2, (int64_t[]){n * CTRG_SLICES, C});
    tensor_upload(grid, w->grid);
    tensor_upload(pooled, w->pooled);
    return visual_forward(t, v, grid, pooled, train);
}

/* ---- the rows: one run each, its seconds or -1 and an Error ---- */

typedef double Row(Work *w, Error *e);

/* The report that pcrl-report left in `path`; its operations. */
static bool check_report(Work *w, const char *path, Error *e)
{
    const char *text;
    json_t *line = json_read(path, e);
    bool ok = line && json_get_string(line, "report", path, &text, e) && report_work(w, text, &w->flops, e);
    w->flops += resnet_work(&w->s.resnet, w->side, CTRG_SLICES) + head_work(&w->s.visual, 1, false);
    json_decref(line);
    return ok;
}

static double cold_report(Work *w, Error *e)
{
    char out[PATH + 32], threads[16];
    int status;
    snprintf(out, sizeof out, "%s/reports.jsonl", w->folder);
    snprintf(threads, sizeof threads, "%d", omp_get_max_threads());
    const char *const args[] = {"--model",   w->b->model, "--device", w->b->common->device,
                                "--threads", threads,     "--out",    out,
                                w->folder,   NULL};
    double seconds = bench_run(args, NULL, &status, e);
    if (seconds < 0) return -1;
    if (status) {
        error_set(e, ERROR_INTERNAL, "pcrl-report: ended with status %d, expected 0", status);
        return -1;
    }
    return check_report(w, out, e) ? seconds : -1;
}

static double batch_reports(Work *w, Error *e)
{
    const SamplerOptions o = {.max_tokens = MAX_TOKENS};
    char *text[BATCH];
    double from = cli_seconds();
    tensor_download(head(w, &w->s.visual, BATCH, false), w->hv);
    tape_reset(&w->s.tape);
    if (!system_reports(&w->s, w->hv, BATCH, &o, text, e)) return -1;
    double seconds = (cli_seconds() - from) / BATCH, one;
    bool ok = true;
    w->flops = head_work(&w->s.visual, 1, false);
    for (int k = 0; k < BATCH; k++) {
        ok = ok && report_work(w, text[k], &one, e);
        if (ok) w->flops += one / BATCH;
        free(text[k]);
    }
    return ok ? seconds : -1;
}

static double training_step(Work *w, Error *e)
{
    (void)e;
    Tape *t = &w->s.tape;
    double from = cli_seconds();
    t->recording = true;
    tape_backward(t, op_sum(t, head(w, &w->visual, TRAINED, true), 1));
    w->s.step.backend->sync();
    double seconds = cli_seconds() - from;
    t->recording = false;
    tape_reset(t);
    params_zero_grad(&w->params);
    w->flops = head_work(&w->visual, TRAINED, true);
    return seconds;
}

static void print_row(const Work *w, const char *name, BenchTimes t)
{
    double share = w->b->roofs ? w->flops / t.median / w->b->roofs->fma : 0;
    if (w->b->csv)
        printf("system,\"%s\",whole,%.2f,%.2f,,%.3f,%.4f,%s\n", name, t.median * 1e6, t.least * 1e6,
               w->flops / t.median * 1e-9, share, share > 0 ? "fma" : "");
    else
        printf("%-42s %11.4f %11.4f %8.3f", name, t.median, t.least, w->flops * 1e-9);
    if (!w->b->csv && share > 0) printf("  %5.1f %% of fma", share * 100);
    if (!w->b->csv) putchar('\n');
    fflush(stdout);
}

/* The first run is not counted: it touches memory, and fills the system's cache of files. */
static bool time_row(Work *w, const char *name, Row *row, Error *e)
{
    double run[RUNS_MOST];
    int n = 0;
    if (row(w, e) < 0) return false;
    for (double start = cli_seconds();
         n < RUNS_LEAST || (n < RUNS_MOST && cli_seconds() - start < w->b->seconds); n++)
        if ((run[n] = row(w, e)) < 0) return false;
    print_row(w, name, bench_times(run, n));
    return true;
}

/* A second copy of the head, trainable. */
static bool open_head(Work *w, Error *e)
{
    char path[PATH];
    train_path(path, w->b->model, "pcrl_heads.safetensors");
    weights_init(&w->head, &w->s.weights, &w->s.state, &w->params, w->b->common->seed);
    w->head.trainable = true;
    if (!weights_open(&w->head, path, e) || !visual_open(&w->visual, &w->head, e)) return false;
    params_alloc(&w->params);
    return weights_fill(&w->head, e);
}

static bool rows(Work *w, Error *e)
{
    if (!w->b->csv)
        printf("\nsystem: %s, %d px, %d threads\n%-42s %11s %11s %8s  share of the FMA roof\n", w->b->model,
               w->side, omp_get_max_threads(), "", "s, median", "s, min", "GFLOP");
    if (w->b->start) return bench_start(w->b, w->folder, w->folder, e);
    return make_features(w, e) && time_row(w, "report, cold from PNGs", cold_report, e) &&
           time_row(w, "report from cached features, batch of 32", batch_reports, e) && open_head(w, e) &&
           time_row(w, "head, training step of 16 studies", training_step, e) &&
           bench_start(w->b, w->folder, w->folder, e);
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
    (void)s, (void)type, (void)f;
    return remove(path);
}

bool bench_system(const BenchSystem *b, Error *e)
{
    Work *w = calloc(1, sizeof *w);
    if (!w) return error_set(e, ERROR_MEMORY, "no memory for the system's rows");
    const char *temporary = getenv("TMPDIR");
    w->b = b;
    bool ok = system_open(&w->s, b->model, b->common, false, e);
    if (ok) {
        w->side = w->s.side ? w->s.side : SIDE;
        params_init(&w->params, &w->s.state);
        snprintf(w->folder, sizeof w->folder, "%s/pcrl-bench-XXXXXX",
                 temporary && *temporary ? temporary : "/tmp");
        ok = system_check_size(&w->s, w->side, w->side, e);
        if (ok && !mkdtemp(w->folder)) ok = error_set(e, ERROR_IO, "%s: cannot make the folder: %m", w->folder);
        if (ok) {
            ok = write_study(w, e) && rows(w, e);
            nftw(w->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
        }
        params_close(&w->params);
        weights_close(&w->head);
        system_close(&w->s);
    }
    free(w->grid);
    free(w->pooled);
    free(w->hv);
    free(w);
    return ok;
}
