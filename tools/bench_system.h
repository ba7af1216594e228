/* pcrl-bench's rows of the whole system, from a model folder: how long a report takes and a training step. */
#ifndef TOOLS_BENCH_SYSTEM_H
#define TOOLS_BENCH_SYSTEM_H
#include "tools/cli.h"
#include "tools/roofs.h"

typedef struct BenchTimes {
    double median, least; /* seconds */
} BenchTimes;

/* Of n runs; sorts them. */
BenchTimes bench_times(double *run, int n);

typedef struct BenchSystem {
    const char *model; /* folder, as tools/system.h reads it */
    const CliCommon *common;
    const Roofs *roofs; /* NULL where they are not the device's */
    bool csv;
    bool start;     /* only the rows of starting */
    double seconds; /* to spend on each row; at least three runs are made */
} BenchSystem;

/* Prints under a heading of its own (csv: as rows of the op "system"), on phantoms drawn on the fly:
 *
 *   report, cold from PNGs
 *       the whole of pcrl-report on one study of 24 PNGs, a fresh process each time; its files are in the
 *       system's cache
 *   report from cached features, batch of 32
 *       a study's share of 32 decoded together, greedy, from grid features in memory: visual head, prefill,
 *       decoding
 *   head, training step of 16 studies
 *       forward and backward of the visual head, warm
 *   start, --device cpu, ...
 *       of tools/bench_start.h
 *
 * each as seconds (median and minimum) and as the share of the FMA roof that the operations which must be done
 * would take: the products of convolutions, Linears, attention and output head, for the tokens that were
 * written. Needs pcrl-report beside the running program and room for one study in a temporary folder. */
bool bench_system(const BenchSystem *b, Error *e);
#endif
