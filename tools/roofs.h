/* What this machine can do at best: the two lines under which every kernel lies. */
#ifndef TOOLS_ROOFS_H
#define TOOLS_ROOFS_H
#include "tensor/error.h"
#include <stddef.h>

typedef struct Roofs {
    double read;         /* bytes/s: all threads read memory far larger than the caches */
    double fma;          /* floating-point operations/s: all threads, independent multiply-adds in registers */
    const char *vectors; /* "AVX-512", "AVX2", "plain": what the second was measured with */
    void *memory;        /* the memory that was read */
    size_t bytes;
} Roofs;

/* Takes about two seconds. False when there is no memory for the read test. roofs_close frees it. */
bool roofs_measure(Roofs *r, Error *e);
void roofs_close(Roofs *r);

/* Seconds of one reading of that memory's bytes from..from+bytes-1, for rows beside which it is measured. */
double roofs_read_once(const Roofs *r, size_t from, size_t bytes);

/* Operations/s of one run (some milliseconds) of a loop in registers: multiply-adds of floats, of pairs of bf16
 * onto floats, of fours of bytes onto integers. 0 where the processor has no such instruction. */
typedef enum { PEAK_FMA, PEAK_BF16, PEAK_VNNI } Peak;
double roofs_peak(Peak peak);

/* Reads twice the caches' size of that memory, so that nothing else is left in them. */
void roofs_flush(const Roofs *r);
#endif
