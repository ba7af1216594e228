/* pcrl-bench's rows of retrieval: what an embedding costs at the public sizes. */
#ifndef TOOLS_BENCH_SEEING_H
#define TOOLS_BENCH_SEEING_H
#include "tools/bench_system.h"

/* Prints under a heading of its own (csv: as rows of the op "seeing"), weights being zero:
 *
 *   MedCLIP, pixels of 512 px     preprocessing to 224 px
 *   MedCLIP, image, Swin-T        medclip_image of one
 *   MedCLIP, text, 16 tokens      medclip_text of one, BioClinicalBERT
 *
 * each as seconds (median and minimum) and as the share of the FMA roof. Of b, model is not read. */
bool bench_seeing(const BenchSystem *b, Error *e);
#endif
