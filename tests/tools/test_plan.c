/* What a dry run plans, a run of the mini model needs on DEVICE, byte for byte: a training step, of one study,
 * whose batch is the longest; and reports. */
#include "tests/models/main.h"
#include "tests/tools/run.h"
#include <check.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[] = "/tmp/pcrl-plan-XXXXXX", data[64], two[64], model[64], cache[64];

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

/* Of `studies` (of 2) decoded together. */
static void report(const char *studies, const char *segment)
{
    static const char *const arena[] = {"weights", "state", "step"};
    const char *device = getenv("DEVICE");
    char masks[96];
    Run plan, run;
    if (!device || !*device) device = "cpu";
    snprintf(masks, sizeof masks, "%s/masks.safetensors", folder);
    const char *const args[] = {"--device",
                                device,
                                "--model",
                                model,
                                two,
                                "--studies",
                                studies,
                                "--compute",
                                "f32",
                                "--max-tokens",
                                "40",
                                "--stats",
                                segment ? segment : NULL,
                                masks,
                                NULL};
    const char *dry[sizeof args / sizeof *args + 1] = {"--dry-run"};
    memcpy(dry + 1, args, sizeof args);
    run_tool(&plan, "pcrl-report", dry);
    ck_assert_msg(plan.code == 0 && access(masks, F_OK) != 0 && !strchr(plan.out, '{'), "%s%s", plan.out,
                  plan.err);
    run_tool(&run, "pcrl-report", args);
    ck_assert_msg(run.code == 0 && strstr(run.err, "seconds: opening "), "%s", run.err);
    for (int i = 0; i < 3; i++) {
        unsigned long long want = bytes_of(plan.out, arena[i]), got = bytes_of(run.err, arena[i]);
        ck_assert_msg(got && got == want, "%s on %s: %llu bytes, planned %llu", arena[i], device, got, want);
    }
    ck_assert(!strstr(plan.out, "memory resident") && bytes_of(run.err, "resident") > 0);
    unlink(masks);
}

START_TEST(reports)
{
    report("1", NULL);
    report("2", "--masks");
}
END_TEST

int main(void)
{
    Run r;
    char command[256];
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    snprintf(data, sizeof data, "%s/data", folder);
    snprintf(two, sizeof two, "%s/two", folder);
    snprintf(model, sizeof model, "%s/model", folder);
    snprintf(cache, sizeof cache, "%s/cache", folder);
    snprintf(command, sizeof command, "cp -r data/mini %s", model);
    if (system(command)) return EXIT_FAILURE;
    run_tool(&r, "pcrl-synth", (const char *[]){"--out", data, "--n", "1", "--size", "128", NULL});
    run_tool(&r, "pcrl-synth", (const char *[]){"--out", two, "--n", "2", "--size", "128", NULL});
    const TTest *const tests[] = {branches, joint, reports};
    int failed = run_tests("plan", tests, sizeof tests / sizeof *tests);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) || failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
