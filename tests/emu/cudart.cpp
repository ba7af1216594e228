/* The few calls of the CUDA runtime that the backend makes, on host memory. Device memory is reserved, not
 * committed, begins as NaN (its first 64 MiB), ends at a page without access rights, and can be touched only by
 * kernels and by the calls below: host code that reads through a device pointer faults here as it would crash
 * on a GPU (as long as hiding the memory is cheap). */
#include "tests/emu/runner.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(EMU_TSAN)
extern "C" void __sanitizer_set_death_callback(void (*callback)(void));
#endif

namespace emu
{
static const size_t page = 4096, nan_file = 4 << 20, nan_bytes = 64 << 20;
static const uint8_t slack_pattern = 0xa5;

struct Allocation {
    char *map, *p;
    size_t map_bytes, bytes; /* without the page behind */
    Allocation *next;
};
struct Allowed {
    const void *kernel;
    size_t bytes;
    Allowed *next;
};
static struct {
    Allocation *allocations;
    Allowed *allowed;
    int access; /* how many Access live */
    bool hidden;
    double start, spent; /* of hiding, in seconds */
    int nan_fd;          /* a file of 0xff, 0: none yet */
    cudaError_t last;
    struct sigaction before;
} device;

static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

/* The allocation that p points into or right behind. */
static Allocation *find(const void *p)
{
    for (Allocation *a = device.allocations; a; a = a->next)
        if ((const char *)p >= a->p && (const char *)p <= a->p + a->bytes) return a;
    return NULL;
}
bool is_device_memory(const void *p) { return find(p) != NULL; }

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void protect(int rights)
{
    double start = seconds();
    for (Allocation *a = device.allocations; a; a = a->next)
        if (mprotect(a->map, a->map_bytes, rights)) fail({}, "mprotect failed");
    device.hidden = rights == PROT_NONE;
    device.spent += seconds() - start;
}

/* Where much memory is in use, hiding it takes longer than the kernels: after two seconds a tenth of the time
 * is enough. */
static bool may_hide(void)
{
    if (!device.start) device.start = seconds();
    return device.spent < 2 || device.spent < 0.1 * (seconds() - device.start);
}

Access::Access()
{
    if (device.access++ == 0 && device.hidden) protect(PROT_READ | PROT_WRITE);
}
Access::~Access()
{
    if (--device.access == 0 && may_hide()) protect(PROT_NONE);
}

size_t allowed_dynamic(const void *kernel)
{
    for (Allowed *a = device.allowed; a; a = a->next)
        if (a->kernel == kernel) return a->bytes;
    return 0;
}

/* ---- what a crash says ---- */

#if defined(__SANITIZE_ADDRESS__) || defined(EMU_TSAN)
static void say_where(void)
{
    char text[512];
    where(text, sizeof text);
    fprintf(stderr, "emu: %sa sanitizer's finding, see above\n", text);
}
static void watch(void) { __sanitizer_set_death_callback(say_where); }
#else
static void on_fault(int, siginfo_t *info, void *)
{
    char text[512];
    const char *at = (const char *)info->si_addr;
    where(text, sizeof text);
    if (r.running && now.thread && at < running()->context.stack && at + page >= running()->context.stack)
        fprintf(stderr, "emu: %sthe thread's stack overflows\n", text);
    else if (r.running)
        fprintf(stderr, "emu: %ssegmentation fault at %p\n", text, info->si_addr);
    else if (is_device_memory(at))
        fprintf(stderr, "emu: %shost code touches device memory at %p\n", text, info->si_addr);
    sigaction(SIGSEGV, &device.before, NULL); /* the fault happens again */
}

static void watch(void)
{
    static char stack[64 << 10];
    stack_t alternative = {};
    alternative.ss_sp = stack;
    alternative.ss_size = sizeof stack;
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    if (sigaltstack(&alternative, NULL) || sigaction(SIGSEGV, &action, &device.before))
        fail({}, "cannot watch for faults");
}
#endif

/* ---- memory ---- */

static bool open_nan_file(void)
{
    if (device.nan_fd) return true;
    int fd = memfd_create("nan", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, nan_file)) return false;
    void *p = mmap(NULL, nan_file, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) return false;
    fill_nan(p, nan_file);
    munmap(p, nan_file);
    device.nan_fd = fd;
    watch();
    return true;
}

/* The first 64 MiB show the file of NaN, page by page until written. */
static bool show_nan(char *map, size_t bytes)
{
    for (size_t at = 0; at < bytes && at < nan_bytes; at += nan_file) {
        size_t n = bytes - at < nan_file ? bytes - at : nan_file;
        void *p = mmap(map + at, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE,
                       device.nan_fd, 0);
        if (p == MAP_FAILED) return false;
    }
    return true;
}

static cudaError_t allocate(void **p, size_t bytes)
{
    note("cudaMalloc");
    not_captured("cudaMalloc");
    Access access;
    size_t room = round_up(bytes ? bytes : 1, 256), map_bytes = round_up(room, page);
    Allocation *a = (Allocation *)malloc(sizeof *a);
    if (!a || !open_nan_file()) return cudaErrorMemoryAllocation;
    char *map =
        (char *)mmap(NULL, map_bytes + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED || mprotect(map, map_bytes, PROT_READ | PROT_WRITE) || !show_nan(map, map_bytes))
        return cudaErrorMemoryAllocation;
    *a = {map, map + map_bytes - room, map_bytes, bytes, device.allocations};
    memset(a->p + bytes, slack_pattern, room - bytes);
    ASAN_POISON_MEMORY_REGION(a->p + bytes, room - bytes);
    device.allocations = a;
    *p = a->p;
    return cudaSuccess;
}

static void release(Allocation **link)
{
    Allocation *a = *link;
    Access access;
    size_t slack = (size_t)(a->map + a->map_bytes - (a->p + a->bytes));
    ASAN_UNPOISON_MEMORY_REGION(a->p + a->bytes, slack);
    for (size_t i = 0; i < slack; i++)
        if ((uint8_t)a->p[a->bytes + i] != slack_pattern)
            fail({}, "device memory of %zu bytes: byte %zu behind its end was written", a->bytes, i);
    munmap(a->map, a->map_bytes + page);
    *link = a->next;
    free(a);
}

/* Whether n bytes from p on are (all) device memory, as the call needs it. */
static void check(const char *call, const void *p, size_t n, bool on_device)
{
    const Allocation *a = find(p);
    if (!on_device && a && (const char *)p < a->p + a->bytes)
        fail({}, "%s: host pointer %p is device memory", call, p);
    if (on_device && (!a || (const char *)p + n > a->p + a->bytes))
        fail({}, "%s: %zu bytes at %p are not device memory", call, n, p);
}

static void copy(const char *call, void *dst, const void *src, size_t n, cudaMemcpyKind kind)
{
    if (kind != cudaMemcpyHostToDevice && kind != cudaMemcpyDeviceToHost && kind != cudaMemcpyDeviceToDevice)
        fail({}, "%s: kind %d", call, (int)kind);
    check(call, dst, n, kind != cudaMemcpyDeviceToHost);
    check(call, src, n, kind != cudaMemcpyHostToDevice);
    if ((char *)dst < (const char *)src + n && (const char *)src < (char *)dst + n)
        fail({}, "%s: source and target overlap", call);
    const char *what = kind == cudaMemcpyHostToDevice   ? "upload"
                       : kind == cudaMemcpyDeviceToHost ? "download"
                                                        : "move";
    if (kind != cudaMemcpyDeviceToDevice) not_captured("a copy from or to the host");
    if (dry() && kind == cudaMemcpyDeviceToHost) memset(dst, 0, n);
    enqueue([=] {
        note(what);
        Access access;
        memcpy(dst, src, n);
    });
}

static cudaError_t said(cudaError_t e)
{
    if (e != cudaSuccess) device.last = e;
    return e;
}
} // namespace emu

using namespace emu;

extern "C" {
cudaError_t cudaGetDeviceCount(int *n)
{
    *n = 1;
    return cudaSuccess;
}
cudaError_t cudaGetDevice(int *id)
{
    *id = 0;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int id) { return said(id ? cudaErrorInvalidDevice : cudaSuccess); }
cudaError_t cudaDriverGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int id)
{
    if (id) return said(cudaErrorInvalidDevice);
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "emulated sm_89");
    p->major = 8;
    p->minor = 9;
    p->warpSize = WARP;
    p->multiProcessorCount = dry() ? dry() : 2;
    p->maxThreadsPerBlock = MAX_THREADS;
    p->maxThreadsPerMultiProcessor = 1536;
    p->sharedMemPerBlock = STATIC_SHARED;
    p->sharedMemPerBlockOptin = ALL_SHARED;
    p->totalGlobalMem = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int id)
{
    if (id) return said(cudaErrorInvalidDevice);
    switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor: *value = 8; return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor: *value = 9; return cudaSuccess;
    case cudaDevAttrWarpSize: *value = WARP; return cudaSuccess;
    case cudaDevAttrMultiProcessorCount: *value = dry() ? dry() : 2; return cudaSuccess;
    case cudaDevAttrMaxThreadsPerBlock: *value = MAX_THREADS; return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = STATIC_SHARED; return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = ALL_SHARED; return cudaSuccess;
    case cudaDevAttrL2CacheSize: *value = 64 << 10; return cudaSuccess;
    default: return said(cudaErrorInvalidValue);
    }
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    *free_bytes = (size_t)sysconf(_SC_AVPHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    *total = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **p, size_t bytes) { return said(allocate(p, bytes)); }
cudaError_t cudaFree(void *p)
{
    not_captured("cudaFree");
    if (!p) return cudaSuccess;
    for (Allocation **link = &device.allocations; *link; link = &(*link)->next)
        if ((*link)->p == p) {
            release(link);
            return cudaSuccess;
        }
    return said(cudaErrorInvalidValue);
}
/* Pinned host memory. */
cudaError_t cudaMallocHost(void **p, size_t bytes)
{
    return said(posix_memalign(p, 256, bytes ? bytes : 1) ? cudaErrorMemoryAllocation : cudaSuccess);
}
cudaError_t cudaFreeHost(void *p)
{
    free(p);
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void *dst, const void *src, size_t n, cudaMemcpyKind kind)
{
    not_captured("cudaMemcpy");
    if (n) copy("cudaMemcpy", dst, src, n, kind);
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t n, cudaMemcpyKind kind, cudaStream_t)
{
    if (n) copy("cudaMemcpyAsync", dst, src, n, kind);
    return cudaSuccess;
}
cudaError_t cudaMemset(void *p, int value, size_t n)
{
    if (!n) return cudaSuccess;
    check("cudaMemset", p, n, true);
    enqueue([=] {
        note("zero");
        Access access;
        memset(p, value, n);
    });
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void *p, int value, size_t n, cudaStream_t) { return cudaMemset(p, value, n); }

cudaError_t cudaStreamCreate(cudaStream_t *s)
{
    *s = NULL;
    return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned) { return cudaStreamCreate(s); }
cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    note("wait");
    not_captured("cudaStreamSynchronize");
    return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize(void) { return cudaStreamSynchronize(NULL); }

/* Everything is done when it was asked for: an event is a time of the host's clock. */
cudaError_t cudaEventCreate(cudaEvent_t *e)
{
    *e = (cudaEvent_t)calloc(1, sizeof(double));
    return said(*e ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t)
{
    *(double *)e = seconds();
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t e) { return said(e ? cudaSuccess : cudaErrorInvalidValue); }
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
    *ms = (float)(1e3 * (*(double *)to - *(double *)from));
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t e = device.last;
    device.last = cudaSuccess;
    return e;
}
cudaError_t cudaPeekAtLastError(void) { return device.last; }
const char *cudaGetErrorString(cudaError_t e)
{
    switch (e) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    default: return "unknown error";
    }
}
const char *cudaGetErrorName(cudaError_t e) { return cudaGetErrorString(e); }

cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute attribute, int value)
{
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 || value > ALL_SHARED)
        return said(cudaErrorInvalidValue);
    for (Allowed *a = device.allowed; a; a = a->next)
        if (a->kernel == kernel) {
            a->bytes = (size_t)value;
            return cudaSuccess;
        }
    Allowed *a = (Allowed *)malloc(sizeof *a);
    if (!a) return said(cudaErrorMemoryAllocation);
    *a = {kernel, (size_t)value, device.allowed};
    device.allowed = a;
    return cudaSuccess;
}
}
