/* Every row of ops.def on one backend. Environment: DEVICE (cpu), OP=name runs one op (or "probe"), SEED=n
 * replays. For a case that must end the program it starts itself again with "--death op/case". */
#include "tests/kernels/harness.h"
#include "tests/kernels/kernel_case.h"
#include "tests/kernels/probe.h"
#include "tests/tensor/death.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void case_name(char *name, size_t room, const KernelTest *test, const KernelCase *kase)
{
    snprintf(name, room, "%s/%s", test->op->name, kase->what);
}

/* In the program that is to die. */
static int run_death(Harness *h, const char *name)
{
    char each[200];
    for (int i = 0; kernel_tests[i]; i++)
        for (int j = 0; j < kernel_tests[i]->n_cases; j++) {
            case_name(each, sizeof each, kernel_tests[i], &kernel_tests[i]->cases[j]);
            if (strcmp(name, each)) continue;
            harness_forward(h, kernel_tests[i], &kernel_tests[i]->cases[j]);
            return DEATH_SURVIVED;
        }
    return DEATH_UNKNOWN;
}

/* The op's cases that must die, in one line that begins with its name. */
static void check_deaths(Harness *h, const KernelTest *test)
{
    char name[200], line[200], seed[32];
    snprintf(line, sizeof line, "fatal: %s: ", test->op->name);
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)h->seed);
    setenv("SEED", seed, 1);
    for (int j = 0; j < test->n_cases && h->backend->kernels[test->op->id].forward; j++) {
        if (!test->cases[j].dies) continue;
        case_name(name, sizeof name, test, &test->cases[j]);
        Death d = death_of(name);
        bool ok = d.code == DEATH_ABORT && strstr(d.err, line);
        *(ok ? &h->passed : &h->failed) += 1;
        if (!ok)
            printf("FAIL %s, %s [%s]: exit status %d, expected %d; it said '%s', expected '%s' (SEED=%llu)\n",
                   test->op->name, h->backend->name, test->cases[j].what, d.code, DEATH_ABORT, d.err, line,
                   (unsigned long long)h->seed);
    }
}

int main(int argc, char **argv)
{
    const char *death = argc == 3 && !strcmp(argv[1], "--death") ? argv[2] : NULL;
    const char *device = getenv("DEVICE"), *only = getenv("OP"), *replay = getenv("SEED"),
               *order = getenv("EMU_SEED");
    uint64_t seed = replay && *replay ? strtoull(replay, NULL, 10) : (uint64_t)time(NULL);
    Error e = {0};
    const Backend *backend = backend_open(device && *device ? device : "cpu", &e);
    if (!backend) {
        fprintf(stderr, "test_kernels: %s\n", e.msg);
        return 1;
    }
    Harness h;
    if (!harness_open(&h, backend, seed)) return 1;
    if (death) return run_death(&h, death);
    printf("kernels on %s, SEED=%llu, EMU_SEED=%s\n", backend->name, (unsigned long long)seed,
           order && *order ? order : "0");
    for (int i = 0; kernel_tests[i]; i++) {
        if (only && *only && strcmp(only, kernel_tests[i]->op->name)) continue;
        harness_op(&h, kernel_tests[i]);
        check_deaths(&h, kernel_tests[i]);
    }
    if (!only || !*only || !strcmp(only, "probe")) probe_check(&h);
    if (h.skipped) printf("%d ops have no kernel on %s\n", h.skipped, backend->name);
    printf("%d passed, %d failed\n", h.passed, h.failed);
    bool ok = !h.failed && h.passed;
    harness_close(&h);
    return !ok;
}
