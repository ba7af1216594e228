/* pcrl-bench's rows of SAM's mask decoder: the naive path, and the exact savings of models/sam_predict.h one on
 * top of the other. */
#ifndef TOOLS_BENCH_SAM_H
#define TOOLS_BENCH_SAM_H
#include "tools/bench_system.h"

/* Prints under a heading of its own (csv: as rows of the op "sam"): one point about an image of 64 x 64 cells
 * at the public decoder's sizes, random weights, 16 prompts in turn; milliseconds a prompt (median and
 * minimum), the arithmetic that must be done, and how many times as fast as the naive path: the median over
 * rounds, in each of which all rows ran once. What an image costs once is not in it. The last row's threshold
 * lets 5 of the 16 prompts through. Of b, model is not read. */
bool bench_sam(const BenchSystem *b, const Backend *backend, Error *e);
#endif
