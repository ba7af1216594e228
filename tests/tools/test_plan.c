/* What a dry run plans, a run of the mini model needs on DEVICE, byte for byte. Of one study the longest batch
 * is the only one. */
#include "tests/models/main.h"
#include "tests/tools/run.h"
#include <check.h>
#include <stdlib.h>

static char folder[] = "/tmp/pcrl-plan-XXXXXX", data[64], model[64], cache[64];

static unsigned long long bytes_of(const char *table, const char *arena)
{
    char line[32];
    unsigned long long bytes = 0;
    snprintf(line, sizeof line, "memory %-8s", arena);
    const char *at = strstr(table, line);
    ck_assert_msg(at && sscanf(at + strlen(line), " %llu bytes", &bytes) == 1, "no bytes of %s in: %s", arena,
                  table);
    return bytes;
}

/* more: two settings and their values. */
static void train(Run *r, const char *device, const char *const more[4], const char *dry)
{
    static int runs;
    char out[96];
    snprintf(out, sizeof out, "%s/run%d", folder, runs++);
    run_tool(r, "pcrl-train", (const char *[]){"pcrl",      "--device",
                                               device,      "--data",
                                               data,        "--init",
                                               "data/mini", "--model",
                                               model,       "--cache",
                                               cache,       "--out",
                                               out,         "--batch",
                                               "1",         "--embed",
                                               "128",       "--instruction",
                                               "概括：",    "--mask-resize",
                                               "area",      "--mask-identical",
                                               "--steps",   "1",
                                               more[0],     more[1],
                                               more[2],     more[3],
                                               dry,         NULL});
    ck_assert_msg(r->code == 0, "%s", r->err);
}

static void compare_run(const Run *plan, const char *device, const char *const more[4])
{
    static const char *const arena[] = {"weights", "state", "step"};
    Run run;
    train(&run, device, more, NULL);
    unsigned long long all = 0;
    for (int i = 0; i < 3; i++) {
        unsigned long long want = bytes_of(plan->out, arena[i]), got = bytes_of(run.out, arena[i]);
        ck_assert_msg(got && got == want, "%s on %s: %llu bytes, planned %llu", arena[i], device, got, want);
        all += got;
    }
    ck_assert_uint_eq(bytes_of(plan->out, "all"), all);
    ck_assert_uint_gt(bytes_of(run.out, "scratch"), 0);
    ck_assert_uint_eq(bytes_of(run.out, "all"), all + bytes_of(run.out, "scratch"));
}

/* The CPU goes first: its features are there for the device. */
static void compare(const char *recompute, const char *backward)
{
    const char *const more[4] = {"--recompute", recompute, "--backward", backward};
    const char *device = getenv("DEVICE");
    Run plan;
    train(&plan, "cpu", more, "--dry-run");
    compare_run(&plan, "cpu", more);
    if (device && *device && strcmp(device, "cpu")) compare_run(&plan, device, more);
}

START_TEST(branches) { compare("medium", "branches"); }
END_TEST
START_TEST(joint) { compare("none", "joint"); }
END_TEST

int main(void)
{
    Run r;
    char command[256];
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    snprintf(data, sizeof data, "%s/data", folder);
    snprintf(model, sizeof model, "%s/model", folder);
    snprintf(cache, sizeof cache, "%s/cache", folder);
    snprintf(command, sizeof command, "cp -r data/mini %s", model);
    if (system(command)) return EXIT_FAILURE;
    run_tool(&r, "pcrl-synth", (const char *[]){"--out", data, "--n", "1", "--size", "128", NULL});
    const TTest *const tests[] = {branches, joint};
    int failed = run_tests("plan", tests, sizeof tests / sizeof *tests);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) || failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
