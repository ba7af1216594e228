/* CUDA's vocabulary for the host compiler: with this header a .cu file is plain C++17 in which every CUDA
 * thread is a fiber (emu.cpp). It checks what a GPU would punish silently:
 *   - shared arrays start as NaN, are as aligned as a GPU promises (16 bytes) and have guard bytes behind them;
 *   - all threads of a block must meet at the same barrier, all lanes of a mask at the same warp operation, and
 *     none may have ended;
 *   - cp.async lands at its wait, until then its target is NaN;
 *   - kernel arguments that are pointers must point into device memory, and host code may not touch that;
 *   - the limits of sm_89 hold.
 * EMU_SEED=n shuffles lanes, warps and blocks; seed 0 is the natural order. A finding is one line on stderr,
 * then abort(). Not modelled: concurrent blocks (no spinning on another block), approximations of fast-math
 * functions and the order in which a tensor core adds, speed. */
#ifndef TESTS_EMU_EMU_H
#define TESTS_EMU_EMU_H
#include <cuda_runtime.h>
#include <cuda_bf16.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <type_traits>
#include "tests/emu/emu_math.h"

#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __constant__
#undef __launch_bounds__
#undef __forceinline__
#undef __grid_constant__
#define __global__
#define __host__
#define __constant__
#define __launch_bounds__(...)
#define __forceinline__ inline
#define __grid_constant__
/* g++ shows TSan nothing of a struct, such as a float4, that a call takes from memory or leaves there: no call
 * is left. */
#ifdef __SANITIZE_THREAD__
#pragma GCC diagnostic ignored "-Wattributes" /* of functions that are not inline, and of arrays */
#define __device__ __attribute__((always_inline))
#else
#define __device__
#endif
/* A raw __shared__ would be private to each thread: it must be SHARED_ARRAY or DYN_SHARED. */
#define __shared__ use_SHARED_ARRAY_or_DYN_SHARED

namespace emu
{
/* A place in a kernel: named in messages, and what tells whether threads meet at the same one. As a default
 * argument EMU_HERE is the caller's line. */
struct Site {
    const char *file;
    int line;
};
constexpr Site here(const char *file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
#define EMU_HERE ::emu::here()

struct Thread {
    uint3 index;
    unsigned lane, warp;
};

/* What the running thread sees. */
struct Now {
    Thread *thread;
    uint3 block;
    dim3 block_dim, grid_dim;
};
extern Now now;

[[noreturn]] void fail(Site site, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- launches ---- */

/* Device memory can be touched while one of these lives. */
struct Access {
    Access();
    ~Access();
};

typedef void Body(void *argument);

/* What goes on the stream: done at once, or, while the stream is captured, whenever the graph is launched
 * (graph.cpp). */
void enqueue(Body *body, const void *argument, size_t bytes);
template <class F> void enqueue(F f)
{
    static_assert(std::is_trivially_copyable_v<F>, "a graph keeps it byte by byte");
    enqueue([](void *p) { (*(F *)p)(); }, &f, sizeof f);
}

void launch(const char *name, const void *kernel, dim3 grid, dim3 block, size_t dynamic_bytes, Body *body,
            void *argument, Site site);
/* single: the source says one block, whatever the case. */
void count_launch(const void *kernel, uint64_t blocks, bool single);
void check_pointer(const char *kernel, const void *p, int parameter, Site site);

/* The call operator takes the kernel's own parameters, so that arguments convert as in a call of the kernel. */
template <class... P> struct Launcher {
    const char *name;
    void (*kernel)(P...);
    dim3 grid, block;
    size_t dynamic_bytes;
    bool single;
    Site site;

    template <class T> int check(int parameter, const T &value) const
    {
        if constexpr (std::is_pointer_v<T>) check_pointer(name, (const void *)value, parameter, site);
        return parameter;
    }
    void operator()(P... p) const
    {
        int parameter = 0;
        (void)(((parameter = check(parameter, p) + 1), ..., 0));
        static_assert((sizeof(P) + ... + 0) <= 4096, "a kernel's parameters are at most 4 KiB");
        enqueue([self = *this, p...] { self.run(p...); });
    }
    void run(P... p) const
    {
        auto body = [&] { kernel(p...); };
        count_launch((const void *)kernel, (uint64_t)grid.x * grid.y * grid.z, single);
        launch(
            name, (const void *)kernel, grid, block, dynamic_bytes, [](void *f) { (*(decltype(body) *)f)(); },
            &body, site);
    }
};
template <class... P>
Launcher<P...> launcher(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t dynamic_bytes,
                        bool single, Site site = EMU_HERE)
{
    return {name, kernel, grid, block, dynamic_bytes, single, site};
}
#define KERNEL_LAUNCH(kernel, grid, block, dynamic_bytes, ...)                                                 \
    ::emu::launcher(#kernel, kernel, grid, block, dynamic_bytes, !strcmp(#grid, "1"))(__VA_ARGS__)

#define threadIdx (static_cast<const uint3 &>(::emu::now.thread->index))
#define blockIdx  (static_cast<const uint3 &>(::emu::now.block))
#define blockDim  (static_cast<const dim3 &>(::emu::now.block_dim))
#define gridDim   (static_cast<const dim3 &>(::emu::now.grid_dim))

/* ---- shared memory ---- */

/* The running block's array that `key` stands for. */
void *shared_array(const void *key, size_t bytes, const char *name, Site site);
void *dynamic_shared(void);
/* Offset in the block's shared memory; fails for any other address. */
unsigned shared_offset(const void *p, size_t bytes, size_t align, const char *what, Site site);

#define SHARED_ARRAY(T, name, dims)                                                                            \
    static const char name##_key = 0;                                                                          \
    static_assert(alignof(T) <= 16, "shared arrays are aligned to 16 bytes");                                  \
    auto &name = *(T(*) dims)::emu::shared_array(&name##_key, sizeof(T dims), #name, EMU_HERE)
#define DYN_SHARED(T, name) T *name = (T *)::emu::dynamic_shared()
#define SMEM_ADDR(p)        ::emu::shared_offset((p), 1, 1, "SMEM_ADDR", EMU_HERE)

/* ---- barriers ---- */

enum Barrier { BARRIER, BARRIER_OR, BARRIER_AND, BARRIER_COUNT };
int barrier(Barrier kind, int predicate, Site site);

/* ---- warps ---- */

enum Collective {
    SYNCWARP,
    SHUFFLE,
    BALLOT,
    REDUCE_ADD,
    REDUCE_MIN,
    REDUCE_MAX,
    LDMATRIX,
    LDMATRIX_TRANS,
    MMA
};

/* Each lane brings `mine`; the last one to come computes all results (emu_warp.cpp). */
void meet(Collective kind, unsigned mask, void *mine, Site site);

struct Shuffle {
    uint64_t value, result;
    int source;
};
struct Vote {
    unsigned value, result;
};
struct Reduce {
    int64_t value, result;
};
struct Ldmatrix {
    uint16_t row[8];
    unsigned result[4];
};
struct Mma {
    float d[4];
    unsigned a[4], b[2];
};

template <class T> inline T shuffle(unsigned mask, T value, int source, Site site)
{
    static_assert(sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8, "a shuffle moves 2, 4 or 8 bytes");
    Shuffle s = {0, 0, source};
    memcpy(&s.value, &value, sizeof(T));
    meet(SHUFFLE, mask, &s, site);
    memcpy((void *)&value, &s.result, sizeof(T));
    return value;
}

/* First lane of the running lane's segment. */
inline int segment(int width, Site site)
{
    if (width < 1 || width > 32 || width & (width - 1)) fail(site, "shuffle: width %d", width);
    return (int)now.thread->lane & ~(width - 1);
}

/* ---- asynchronous copies ---- */

struct alignas(16) Chunk {
    uint64_t half[2];
};
static const Chunk nan_chunk = {{~0ull, ~0ull}};
struct AsyncCopy {
    void *dst;
    const void *src; /* NULL: zeros */
    unsigned group;
    Site site;
};
void async_issue(void *dst, const void *src, bool ok, Site site);
void async_commit(void);
/* Takes the oldest copy that a wait for all but the newest `keep` groups lets land; false: none is left. */
bool async_next(unsigned keep, AsyncCopy *copy);

/* ---- memory order, for TSan: a fence and the atomic behind it release, an atomic and the fence behind it
 * acquire ---- */

#if defined(__SANITIZE_THREAD__) || defined(EMU_TSAN)
void atomic_before(void *p);
void atomic_after(void *p);
#else
inline void atomic_before(void *) {}
inline void atomic_after(void *) {}
#endif
void fence(void);

template <class T, class F> inline T atomic_update(T *p, F next)
{
    atomic_before(p);
    T old = __atomic_load_n(p, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(p, &old, next(old), false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
    atomic_after(p);
    return old;
}
} // namespace emu

static const int warpSize = 32;

static inline void __syncthreads(emu::Site site = EMU_HERE) { emu::barrier(emu::BARRIER, 0, site); }
static inline int __syncthreads_or(int p, emu::Site site = EMU_HERE)
{
    return emu::barrier(emu::BARRIER_OR, p, site);
}
static inline int __syncthreads_and(int p, emu::Site site = EMU_HERE)
{
    return emu::barrier(emu::BARRIER_AND, p, site);
}
static inline int __syncthreads_count(int p, emu::Site site = EMU_HERE)
{
    return emu::barrier(emu::BARRIER_COUNT, p, site);
}

static inline void __syncwarp(unsigned mask = ~0u, emu::Site site = EMU_HERE)
{
    emu::meet(emu::SYNCWARP, mask, NULL, site);
}

template <class T> inline T __shfl_sync(unsigned mask, T v, int lane, int width = 32, emu::Site site = EMU_HERE)
{
    return emu::shuffle(mask, v, emu::segment(width, site) + (lane & (width - 1)), site);
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T v, int x, int width = 32, emu::Site site = EMU_HERE)
{
    int lane = (int)emu::now.thread->lane, source = lane ^ x;
    return emu::shuffle(mask, v, source < emu::segment(width, site) + width ? source : lane, site);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32, emu::Site site = EMU_HERE)
{
    int lane = (int)emu::now.thread->lane, source = lane + (int)delta;
    return emu::shuffle(mask, v, source < emu::segment(width, site) + width ? source : lane, site);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T v, unsigned delta, int width = 32, emu::Site site = EMU_HERE)
{
    int lane = (int)emu::now.thread->lane, source = lane - (int)delta;
    return emu::shuffle(mask, v, source >= emu::segment(width, site) ? source : lane, site);
}

static inline unsigned __ballot_sync(unsigned mask, int p, emu::Site site = EMU_HERE)
{
    emu::Vote v = {p != 0, 0};
    emu::meet(emu::BALLOT, mask, &v, site);
    return v.result;
}
static inline int __any_sync(unsigned mask, int p, emu::Site site = EMU_HERE)
{
    return __ballot_sync(mask, p, site) != 0;
}
static inline int __all_sync(unsigned mask, int p, emu::Site site = EMU_HERE)
{
    return __ballot_sync(mask, !p, site) == 0;
}

#define EMU_REDUCE(name, kind, T)                                                                              \
    static inline T name(unsigned mask, T value, emu::Site site = EMU_HERE)                                    \
    {                                                                                                          \
        emu::Reduce r = {value, 0};                                                                            \
        emu::meet(emu::kind, mask, &r, site);                                                                  \
        return (T)r.result;                                                                                    \
    }
EMU_REDUCE(__reduce_add_sync, REDUCE_ADD, int)
EMU_REDUCE(__reduce_add_sync, REDUCE_ADD, unsigned)
EMU_REDUCE(__reduce_min_sync, REDUCE_MIN, int)
EMU_REDUCE(__reduce_min_sync, REDUCE_MIN, unsigned)
EMU_REDUCE(__reduce_max_sync, REDUCE_MAX, int)
EMU_REDUCE(__reduce_max_sync, REDUCE_MAX, unsigned)
#undef EMU_REDUCE

static inline void __threadfence(void) { emu::fence(); }
static inline void __threadfence_block(void) { emu::fence(); }

/* No float atomics: their order, so the last bits, would change from run to run. */
#define EMU_ATOMIC(name, T, next)                                                                              \
    static inline T name(T *p, T v)                                                                            \
    {                                                                                                          \
        return emu::atomic_update(p, [v]([[maybe_unused]] T old) -> T { return next; });                       \
    }
EMU_ATOMIC(atomicAdd, int, (int)((unsigned)old + (unsigned)v))
EMU_ATOMIC(atomicAdd, unsigned, old + v)
EMU_ATOMIC(atomicAdd, unsigned long long, old + v)
EMU_ATOMIC(atomicInc, unsigned, old >= v ? 0 : old + 1)
EMU_ATOMIC(atomicMax, int, old > v ? old : v)
EMU_ATOMIC(atomicMax, unsigned, old > v ? old : v)
EMU_ATOMIC(atomicMax, unsigned long long, old > v ? old : v)
EMU_ATOMIC(atomicMin, int, old < v ? old : v)
EMU_ATOMIC(atomicMin, unsigned, old < v ? old : v)
EMU_ATOMIC(atomicMin, unsigned long long, old < v ? old : v)
EMU_ATOMIC(atomicOr, unsigned, old | v)
EMU_ATOMIC(atomicAnd, unsigned, old &v)
EMU_ATOMIC(atomicExch, int, v)
EMU_ATOMIC(atomicExch, unsigned, v)
EMU_ATOMIC(atomicExch, unsigned long long, v)
#undef EMU_ATOMIC
template <class T> inline T atomicCAS(T *p, T expected, T v)
{
    static_assert(std::is_integral_v<T> && sizeof(T) >= 4, "no float atomics");
    return emu::atomic_update(p, [=](T old) { return old == expected ? v : old; });
}
#endif
