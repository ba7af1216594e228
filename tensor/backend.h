/* Where tensors live and who computes on them: a few memory functions and a table of kernels, one row an op.
 *
 * `cpu` is built in. `plan` is the cpu backend with memory that is reserved and never touched and kernels that
 * do nothing: running a model on it performs the same allocations, so its peak is the exact memory plan. `cuda`
 * and `emu` are plug-ins (pcrl_cuda.so, pcrl_emu.so beside the program), opened with dlopen. */
#ifndef TENSOR_BACKEND_H
#define TENSOR_BACKEND_H
#include "tensor/dtype.h"
#include "tensor/error.h"
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

struct Tape;
struct Node;

typedef struct Kernel {
    void (*forward)(struct Tape *, struct Node *);
    void (*backward)(struct Tape *, struct Node *); /* NULL for an op without gradient */
} Kernel;

typedef struct Backend {
    const char *name;
    uint64_t abi;                           /* must equal backend_abi() */
    void *(*alloc)(size_t bytes, Error *e); /* NULL on failure; 256-byte aligned, contents undefined */
    void (*release)(void *p, size_t bytes);
    /* Gives `bytes` at p, part of an allocation, memory; false when there is none left. NULL where memory comes
     * when it is touched. */
    bool (*commit)(void *p, size_t bytes);
    void (*zero)(void *p, size_t bytes);
    void (*upload)(void *dst, const void *host, size_t bytes);
    void (*download)(void *host, const void *src, size_t bytes);
    void (*move)(void *dst, const void *src, size_t bytes); /* within the backend; may overlap */
    void (*sync)(void);                                     /* waits until everything asked for is done */
    /* Between the first two, kernels, zero and move are not done but kept, addresses and parameters as they
     * are; each launch of what capture_end returns does them all. Memory must be there, and commit, alloc,
     * release, upload, download and sync die. All four NULL: no graphs here. */
    void (*capture_begin)(void);
    void *(*capture_end)(void);
    void (*graph_launch)(void *graph);
    void (*graph_free)(void *graph);
    const Kernel *kernels;     /* indexed by Op.id; a row may be empty while its twin is unwritten */
    const struct Probe *probe; /* tensor/probe.h; NULL where the host computes */
    /* A blocked 4-bit weight of n elements as the kernels here want it, and the exact inverse: between host
     * buffers of dtype_bytes, before an upload and after a download. NULL: as in a file. */
    void (*pack)(DType dtype, int64_t n, const void *from, void *to);
    void (*unpack)(DType dtype, int64_t n, const void *from, void *to);
} Backend;

/* What a plug-in gets from the program it is loaded into. */
typedef struct HostApi {
    uint64_t abi;
    void (*die)(const char *format, ...);
    void *(*scratch)(struct Tape *, size_t bytes);
} HostApi;

/* The one symbol of a plug-in. NULL and an Error when it cannot serve (no driver, no device, another build). */
typedef const Backend *BackendPlugin(const HostApi *host, Error *e);
#define BACKEND_PLUGIN_SYMBOL "pcrl_backend"

/* Hash of everything both sides of a plug-in must agree on: op names in order, sizes of Node, Tensor and
 * Backend. */
uint64_t backend_abi(void);

extern const Backend backend_cpu, backend_plan;

/* name: "cpu", "plan", "cuda", "emu", or "auto" (cuda where it can be had, else cpu: silently where the plug-in
 * is not built, saying why on stderr where it cannot serve). NULL and an Error naming the plug-in and why. */
const Backend *backend_open(const char *name, Error *e);

/* The tables that kernels/ops.c makes from ops.def; tensor/ itself knows no op by name. */
extern const Kernel kernels_cpu[], kernels_plan[];
extern const char *const kernel_names[];
extern const int kernel_count;

#ifdef __cplusplus
}
#endif
#endif
