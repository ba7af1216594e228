/* The same work again and again, on the same addresses: where the device has graphs (Backend.capture_begin),
 * its kernels are launched one by one only the first time; the second run is captured, and that run and all
 * later ones are one launch each. Elsewhere, and where somebody looks at intermediates (TENSOR_DEBUG,
 * TENSOR_TRACE, taps), the work is simply done again. */
#ifndef TENSOR_REPLAY_H
#define TENSOR_REPLAY_H
#include "tensor/tape.h"
#ifdef __cplusplus
extern "C" {
#endif

/* What it computes depends on device memory alone, and where on what the two arenas hold when it begins; it
 * leaves results in tensors made before. It uploads, downloads and waits for nothing. */
typedef void ReplayWork(Tape *t, void *context);

typedef struct Replay {
    Tape *t;
    ReplayWork *work;
    void *context;
    void *graph;
    int64_t runs;
    size_t step, scratch; /* bytes in use when the work begins */
} Replay;

Replay replay_open(Tape *t, ReplayWork *work, void *context);
/* Whether it will be captured. */
bool replay_captures(const Replay *r);
/* Does the work, and gives the step arena back. Dies when the arenas do not stand where they stood. */
void replay_run(Replay *r);
void replay_close(Replay *r);

#ifdef __cplusplus
}
#endif
#endif
