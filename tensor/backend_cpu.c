/* Host memory. Capacities are reserved with mmap and committed when touched, so an arena's capacity is a bound,
 * not a cost. `plan` reserves without access rights: a kernel or copy that would touch a planned tensor faults
 * at once. */
#include "tensor/backend.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static void *reserve(size_t bytes, int protection, Error *e)
{
    void *p = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        error_set(e, ERROR_MEMORY, "cannot reserve %zu bytes of host memory: %s", bytes, strerror(errno));
        return NULL;
    }
    return p;
}

/* On huge pages, where the system has them: weights read once a token would else wait for page walks. */
static void *cpu_alloc(size_t bytes, Error *e)
{
    void *p = reserve(bytes, PROT_READ | PROT_WRITE, e);
    if (p) madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}
static void cpu_release(void *p, size_t bytes) { munmap(p, bytes); }
static void cpu_zero(void *p, size_t bytes) { memset(p, 0, bytes); }
static void cpu_copy(void *dst, const void *src, size_t bytes) { memcpy(dst, src, bytes); }
static void cpu_move(void *dst, const void *src, size_t bytes) { memmove(dst, src, bytes); }
static void cpu_sync(void) {}

static void *plan_alloc(size_t bytes, Error *e) { return reserve(bytes, PROT_NONE, e); }
static void plan_zero(void *p, size_t bytes) { (void)p, (void)bytes; }
static void plan_copy(void *dst, const void *src, size_t bytes) { (void)dst, (void)src, (void)bytes; }
static void plan_download(void *dst, const void *src, size_t bytes) { (void)src, memset(dst, 0, bytes); }

const Backend backend_cpu = {
    .name = "cpu",
    .alloc = cpu_alloc,
    .release = cpu_release,
    .zero = cpu_zero,
    .upload = cpu_copy,
    .download = cpu_copy,
    .move = cpu_move,
    .sync = cpu_sync,
    .kernels = kernels_cpu,
};

const Backend backend_plan = {
    .name = "plan",
    .alloc = plan_alloc,
    .release = cpu_release,
    .zero = plan_zero,
    .upload = plan_copy,
    .download = plan_download,
    .move = plan_copy,
    .sync = cpu_sync,
    .kernels = kernels_plan,
};
