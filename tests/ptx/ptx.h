/* Runs on the CPU what nvcc generated: the PTX of every kernel, inline assembly included, in an interpreter.
 *
 * Modelled: a block's warps, each thread with its own place in the program (the lowest place of a warp runs
 * first, so that threads meet again where their paths do); barriers; warp collectives, which wait until the
 * threads they name are there; shared memory, filled with 0xFF and bounds-checked; cp.async, which lands at its
 * wait and not before; mma and ldmatrix fragments to the bit of their layout. Global memory is the host's.
 *
 * An error, with file, line, kernel, block and thread: an opcode or modifier that is not known (when the file
 * is read), misaligned or out-of-range accesses, divergent barriers, collectives that miss threads, copies
 * nobody waited for, a launch the kernel does not fit.
 *
 * Not modelled: what approximate functions (ex2.approx ...) lose, the order in which the tensor cores round,
 * time, blocks that wait for each other, `__device__` variables seen from the host. */
#ifndef TESTS_PTX_PTX_H
#define TESTS_PTX_PTX_H
#include "tensor/error.h"
#include <stddef.h>
#ifdef __cplusplus
#include <cuda_runtime.h>
extern "C" {
#endif

/* Reads every *.ptx of the folder; the kernels of another folder are forgotten. */
bool ptx_open(const char *folder, Error *e);
void ptx_close(void);

/* Runs an entry by its (mangled) name: arg[i] points to the value of parameter i, arg_bytes[i] long. Where the
 * environment has PTX_COVERAGE=FILE, the names of all entries that ran are added to FILE when the process ends.
 */
void ptx_launch_symbol(const char *symbol, const unsigned grid[3], const unsigned block[3],
                       size_t dynamic_bytes, void *const *arg, const size_t *arg_bytes, int n_args);

/* The same for the entry that is named as the host compiler's copy of the kernel; `text` is for messages. */
void ptx_launch_kernel(const void *kernel, const char *text, const unsigned grid[3], const unsigned block[3],
                       size_t dynamic_bytes, void *const *arg, const size_t *arg_bytes, int n_args);

#ifdef __cplusplus
}

inline void ptx_launch(const void *kernel, const char *text, dim3 grid, dim3 block, size_t dynamic_bytes,
                       void **arg, const size_t *arg_bytes, int n_args)
{
    const unsigned g[3] = {grid.x, grid.y, grid.z}, b[3] = {block.x, block.y, block.z};
    ptx_launch_kernel(kernel, text, g, b, dynamic_bytes, arg, arg_bytes, n_args);
}
#endif
#endif
