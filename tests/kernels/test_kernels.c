/* Every row of ops.def on one backend. Environment: DEVICE (cpu), OP=name runs one op, SEED=n replays. */
#include "tests/kernels/harness.h"
#include "tests/kernels/kernel_case.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int main(void)
{
    const char *device = getenv("DEVICE"), *only = getenv("OP"), *replay = getenv("SEED");
    uint64_t seed = replay && *replay ? strtoull(replay, NULL, 10) : (uint64_t)time(NULL);
    Error e = {0};
    const Backend *backend = backend_open(device && *device ? device : "cpu", &e);
    if (!backend) {
        fprintf(stderr, "test_kernels: %s\n", e.msg);
        return 1;
    }
    printf("kernels on %s, SEED=%llu\n", backend->name, (unsigned long long)seed);
    Harness h;
    if (!harness_open(&h, backend, seed)) return 1;
    for (int i = 0; kernel_tests[i]; i++)
        if (!only || !*only || !strcmp(only, kernel_tests[i]->op->name)) harness_op(&h, kernel_tests[i]);
    if (h.skipped) printf("%d ops have no kernel on %s\n", h.skipped, backend->name);
    printf("%d passed, %d failed\n", h.passed, h.failed);
    bool ok = !h.failed && h.passed;
    harness_close(&h);
    return !ok;
}
