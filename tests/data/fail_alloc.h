/* Failing allocations on purpose. The program is linked with --wrap=malloc,calloc,realloc (see the Makefile),
 * so every allocation of our code passes here, under sanitizers too; libraries with an allocator hook are given
 * test_malloc. One program includes this once. */
#ifndef TESTS_DATA_FAIL_ALLOC_H
#define TESTS_DATA_FAIL_ALLOC_H
#include <stdbool.h>
#include <stddef.h>

static struct {
    bool armed, from_then_on, fired;
    long left; /* allocations that still succeed */
    size_t largest;
} failing;

static bool fails(size_t n)
{
    if (n > failing.largest) failing.largest = n;
    if (!failing.armed || (failing.fired && !failing.from_then_on)) return false;
    if (!failing.fired && failing.left-- > 0) return false;
    failing.fired = true;
    return true;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

void *__wrap_malloc(size_t n) { return fails(n) ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t size) { return fails(n * size) ? NULL : __real_calloc(n, size); }
void *__wrap_realloc(void *p, size_t n) { return fails(n) ? NULL : __real_realloc(p, n); }

/* Runs f with its k-th allocation failing, for every k, once only and from then on. f returns whether it
 * succeeded; with a failed allocation it must not, and must leave ERROR_MEMORY. Returns how many allocations
 * f makes. */
typedef bool Attempt(Error *e);
static inline long fail_each(Attempt *f)
{
    long k = 0;
    for (int mode = 0; mode < 2; mode++) {
        for (k = 0;; k++) {
            Error e = {0};
            failing.armed = true;
            failing.fired = false;
            failing.from_then_on = mode == 1;
            failing.left = k;
            bool ok = f(&e);
            failing.armed = false;
            if (!failing.fired) {
                ck_assert_msg(ok, "%s", e.msg);
                break;
            }
            ck_assert_msg(!ok && e.code == ERROR_MEMORY, "allocation %ld fails: ok %d, code %d: %s", k, ok,
                          e.code, e.msg);
        }
    }
    return k;
}
#endif
