/* pcrl-bench's rows of LLaMA3-8B's 4-bit products on the CPU, each beside the processor's own limit. */
#ifndef TOOLS_BENCH_QUANT_H
#define TOOLS_BENCH_QUANT_H
#include "tools/bench_system.h"

/* Each prints under a heading of its own (csv: as rows of the op "decode", "prefill"). The work is the seven
 * Linears of one layer, random codes and scales, through op_matmul_q: together 123 MB and more, so that nothing
 * is left of them in a cache when their turn comes again. Five rounds; the share is the median over rounds,
 * with the least and the most.
 *
 * decode: one row of x. Of the bytes of codes and scales; in a round, passes over the layer and readings of as
 * many bytes take turns, and both speeds are the round's.
 * prefill: 512 rows of x. Of the peaks, each measured before and after every layer in a round (its best run):
 * bf16's dot products for nf4, VNNI's for q4_0, and the FMA roof for both. The operations are 2 N K a row,
 * whatever a kernel really does. Of b, model is not read. */
bool bench_decode(const BenchSystem *b, Error *e);
bool bench_prefill(const BenchSystem *b, Error *e);
#endif
