/* What pcrl-gpu's parts share: the device, its arenas and roofs, and the table of results. */
#ifndef TOOLS_GPU_BENCH_H
#define TOOLS_GPU_BENCH_H
#include "models/llama.h"
#include "tensor/probe.h"
#include "tensor/tape.h"
#include "tools/cli.h"
#include <stdio.h>

enum { GPU_RUNS_LEAST = 5, GPU_RUNS_MOST = 100 };

typedef struct GpuTimes {
    double median, least, most; /* seconds */
    int n;
} GpuTimes;

/* A line of the table. Work that is not known is 0. */
typedef struct GpuRow {
    const char *what, *detail;
    GpuTimes time;
    double flops, bytes; /* that must be done, that must move */
    double tokens;
    double floor; /* seconds, from the card's data sheet; 0: not known */
} GpuRow;

typedef struct GpuBench {
    const CliCommon *common;
    const Backend *backend;
    const Probe *probe;
    DType compute;         /* of activations */
    bool mini;             /* sizes for a device that is emulated */
    double seconds, until; /* for each row; cli_seconds() at which the last row may begin, 0: no end */
    const char *op, *after;
    ProbeDevice device;
    double sheet_flops, sheet_bytes; /* a second, of the data sheet: bf16 with f32 sums; 0: not known */
    double read, copy, mma;          /* measured: bytes and operations a second */
    FILE *table;
    int rows, unbegun;
    Arena weights, state, step, scratch;
    Tensor *flush; /* larger than the last-level cache */
    uint32_t *word;
} GpuBench;

/* Opens the device, its arenas and the table (appended to), and measures the roofs. */
bool gpu_open(GpuBench *b, const char *table, Error *e);
void gpu_close(GpuBench *b);

/* One line of Markdown, on disk when it returns. */
void gpu_line(GpuBench *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void gpu_row(GpuBench *b, const GpuRow *r);
/* The card and its roofs; the heads of the tables. */
void gpu_print_card(GpuBench *b);
void gpu_print_head(GpuBench *b, const char *title);

/* Whether another row may begin; a line for the one that may not. Progress goes to stderr: "PART: what". */
bool gpu_begin(GpuBench *b, const char *part, const char *what);

/* For --sizes mini. */
extern const LlamaConfig gpu_mini_llama;

/* A tape on the arenas, not recording. */
void gpu_tape(GpuBench *b, Tape *t);

/* Of n runs; sorts them. */
GpuTimes gpu_times(double *run, int n);
/* Empties the caches of everything that is read next. */
void gpu_flush(GpuBench *b);
/* The larger of the two times at the data sheet's rates; 0: not known. */
double gpu_floor(const GpuBench *b, double flops, double bytes);

/* Random values for what weights_* left unfilled: codes and scales, matrices of 1/sqrt(fan-in), vectors
 * about 1. Nothing on backend plan. bytes: of all of them, added up. */
void gpu_fill(GpuBench *b, const Weights *w, double *bytes);
void gpu_random(GpuBench *b, Tensor *x, float low, float high);

/* The parts. */
bool gpu_kernels(GpuBench *b, Error *e);
void gpu_list(GpuBench *b); /* the kernels' cases, for other programs: tools/gpu_torch.py */
bool gpu_llama(GpuBench *b, Error *e);
bool gpu_resnet(GpuBench *b, Error *e);
bool gpu_train(GpuBench *b, Error *e);

#endif
