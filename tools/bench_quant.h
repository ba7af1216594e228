/* pcrl-bench's rows of LLaMA3-8B's 4-bit products on the CPU, each beside the processor's own limit. */
#ifndef TOOLS_BENCH_QUANT_H
#define TOOLS_BENCH_QUANT_H
#include "tools/bench_system.h"

/* Each prints under a heading of its own (csv: as rows of the op "decode", "prefill"). The work is the seven
 * Linears of one layer, random codes and scales, through op_matmul_q: together 123 MB and more, so that nothing
 * is left of them in a cache when their turn comes again. Five rounds; the share is the median over rounds,
 * with the least and the most.
 *
 * decode: one row of x. Of the bytes of codes and scales; each product takes turns with a reading of as many
 * bytes of other memory, for as long as a round lasts, and both speeds are the round's.
 * prefill: 512 rows of x. Of the peaks, in turns with the seven products for as long as each of them took:
 * bf16's dot products for nf4, VNNI's for q4_0, and multiply-adds for both. The operations are 2 N K a row,
 * whatever a kernel really does. Of b, model is not read. */
bool bench_decode(const BenchSystem *b, Error *e);
bool bench_prefill(const BenchSystem *b, Error *e);
#endif
