/* What a benchmark asks of a device besides its kernels: what it is, a clock of its own, the two things it
 * could do at best, and random values made where they lie. Backend.probe; NULL where the host computes. */
#ifndef TENSOR_PROBE_H
#define TENSOR_PROBE_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

enum { PROBE_MARKS = 256 };

typedef struct ProbeDevice {
    char name[256];
    int major, minor, multiprocessors;
    int clock_khz, memory_khz, bus_bits; /* the highest clocks; 0: the driver does not say */
    int driver, runtime;                 /* versions of CUDA: 1000 * major + 10 * minor */
    size_t memory, free, cache;          /* bytes; cache: the last level */
} ProbeDevice;

typedef struct Probe {
    void (*device)(ProbeDevice *d);
    /* Mark 0..PROBE_MARKS-1 is passed when everything asked for before it is done. between waits for mark `to`;
     * seconds on the device's clock. */
    void (*mark)(int i);
    double (*between)(int from, int to);
    /* Whole multiples of 16 bytes, all aligned to 16. read: everything, once; out gets one word (4 bytes), the
     * exclusive or of all. */
    void (*read)(const void *p, size_t bytes, uint32_t *out);
    void (*copy)(void *to, const void *from, size_t bytes);
    /* Products of bf16 with f32 sums, in registers, by as many warps as there is room for; what was summed goes
     * to out, `room` floats. Returns the floating-point operations. */
    double (*mma)(int turns, float *out, size_t room);
    /* Philox under seed, four words a block. */
    void (*random_bytes)(void *p, size_t bytes, uint64_t seed);
    void (*random_floats)(float *x, int64_t n, float low, float high, uint64_t seed); /* [low,high) */
} Probe;

#ifdef __cplusplus
}
#endif
#endif
