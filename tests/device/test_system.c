/* The whole mini system on DEVICE, in f32 and in bf16, beside the CPU: a greedy report of 16 tokens, and one
 * step of the paper's training (four losses, all gradients, one update). On emu, which can list its calls: what
 * the report launches as a graph, and that a training step asks for no memory and waits once. */
#include "data/safetensors.h"
#include "tests/models/main.h"
#include "tests/tools/run.h"
#include <check.h>
#include <jansson.h>
#include <math.h>

static char folder[] = "/tmp/pcrl-system-XXXXXX", data[64];
static const char *device;

static bool emulated(void) { return !strcmp(device, "emu"); }

static void report(const char *where, const char *compute, Run *r)
{
    run_tool(r, "pcrl-report",
             (const char *[]){"--device", where, "--compute", compute, "--max-tokens", "16", "--studies", "1",
                              data, NULL});
    ck_assert_msg(r->code == 0, "pcrl-report --device %s: %s", where, r->err);
}

/* What emu did, by the file that EMU_CALLS names: between two kernels of that name, or in all. */
typedef struct Calls {
    int kernels, allocations, waits, graphs, after; /* after: kernels behind the last wait */
} Calls;

static Calls calls_of(const char *path, const char *between)
{
    Calls c = {0};
    char line[512];
    int at = 0;
    FILE *f = fopen(path, "r");
    ck_assert_msg(f != NULL, "%s: cannot read", path);
    while (fgets(line, sizeof line, f)) {
        if (between && strstr(line, between)) at++;
        if (between && at != 1) continue;
        bool wait = !strcmp(line, "wait\n"), kernel = strstr(line, "kernel");
        c.kernels += kernel;
        c.allocations += !strcmp(line, "cudaMalloc\n") || !strcmp(line, "cuMemCreate\n");
        c.waits += wait;
        c.graphs += !strcmp(line, "graph\n");
        c.after = wait ? 0 : c.after + kernel;
    }
    ck_assert_msg(!between || at > 1, "%s: %d %s", path, at, between);
    fclose(f);
    return c;
}

START_TEST(greedy_report)
{
    Run cpu, here, half;
    char path[96];
    snprintf(path, sizeof path, "%s/report-calls", folder);
    report("cpu", "f32", &cpu);
    setenv("EMU_CALLS", path, 1);
    report(device, "f32", &here);
    unsetenv("EMU_CALLS");
    report(device, "bf16", &half);
    ck_assert_int_gt((int)strlen(cpu.out), 60);
    ck_assert_str_eq(here.out, cpu.out);
    ck_assert_str_eq(half.out, cpu.out);
    /* All but the prefill's token and the second, which warms up. */
    if (emulated()) ck_assert_int_eq(calls_of(path, NULL).graphs, 14);
}
END_TEST

/* Trains a copy of the mini model in folder/name, features kept in folder/where-cache. */
static void train(const char *where, const char *compute, const char *name, const char *steps, char *out,
                  char *model)
{
    Run r;
    char cache[96], command[256];
    snprintf(out, 96, "%s/%s", folder, name);
    snprintf(model, 96, "%s/%s-model", folder, name);
    snprintf(cache, sizeof cache, "%s/%s-cache", folder, where);
    snprintf(command, sizeof command, "cp -r data/mini %s", model);
    ck_assert_int_eq(system(command), 0);
    run_tool(&r, "pcrl-train", (const char *[]){"pcrl",    "--device",      where,         "--compute",
                                                compute,   "--data",        data,          "--model",
                                                model,     "--init",        "data/mini",   "--out",
                                                out,       "--cache",       cache,         "--batch",
                                                "2",       "--embed",       "128",         "--instruction",
                                                "概括：",  "--mask-resize", "area",        "--mask-identical",
                                                "--lr",    "0.01",          "--warm",      "0",
                                                "--steps", steps,           "--log-every", "1",
                                                NULL});
    ck_assert_msg(r.code == 0, "pcrl-train --device %s: %s", where, r.err);
}

static json_t *step(const char *where, const char *compute, char *model)
{
    char name[32], out[96], log[160];
    snprintf(name, sizeof name, "%s-%s", where, compute);
    train(where, compute, name, "1", out, model);
    snprintf(log, sizeof log, "%s/pcrl/log.jsonl", out);
    json_error_t why;
    json_t *line = json_load_file(log, JSON_DISABLE_EOF_CHECK, &why);
    ck_assert_msg(line != NULL, "%s: %s", log, why.text);
    return line;
}

/* What the step did to a file's tensors: |a - b| over |a - start|, all elements together. */
static double difference(const char *a, const char *b, const char *name)
{
    Error e = {0};
    char path[3][160];
    TensorFile *s[3];
    const char *of[3] = {a, b, "data/mini"};
    for (int i = 0; i < 3; i++) {
        snprintf(path[i], sizeof path[i], "%s/%s", of[i], name);
        s[i] = safetensors_open(path[i], &e);
        ck_assert_msg(s[i] != NULL, "%s", e.msg);
    }
    double apart = 0, moved = 0;
    for (int k = 0; k < s[0]->n; k++) {
        const TensorEntry *t = &s[0]->entry[k];
        size_t n = t->size / st_dtype_size(t->dtype);
        float *x = malloc(3 * n * sizeof *x);
        ck_assert(x != NULL);
        for (int i = 0; i < 3; i++)
            ck_assert_msg(tensor_file_read_f32(s[i], tensor_file_find(s[i], t->name), x + (size_t)i * n, &e),
                          "%s", e.msg);
        for (size_t j = 0; j < n; j++) {
            apart += pow((double)x[j] - (double)x[n + j], 2);
            moved += pow((double)x[j] - (double)x[2 * n + j], 2);
        }
        free(x);
    }
    for (int i = 0; i < 3; i++) tensor_file_close(s[i]);
    ck_assert(moved > 0);
    return sqrt(apart / moved);
}

/* The losses within `near` of the cpu's, the update within `apart` of its length. */
static void compare_step(const char *compute, double near, double apart)
{
    static const char *const term[] = {"report", "segment", "entity", "theme"};
    static char cpu_model[96];
    static json_t *cpu; /* of the first call */
    char model[96];
    if (!cpu) cpu = step("cpu", "f32", cpu_model);
    json_t *here = step(device, compute, model);
    for (int i = 0; i < 4; i++) {
        double want = json_number_value(json_object_get(cpu, term[i])),
               got = json_number_value(json_object_get(here, term[i]));
        printf("%s: %.7g on %s in %s, %.7g on the cpu\n", term[i], got, device, compute, want);
        ck_assert_msg(want != 0 && fabs(got - want) <= near * fabs(want),
                      "%s: %.7g on %s in %s, %.7g on the cpu", term[i], got, device, compute, want);
    }
    json_decref(here);
    double heads = difference(cpu_model, model, "pcrl_heads.safetensors"),
           adapter = difference(cpu_model, model, "adapter_model.safetensors");
    printf("weights after the step in %s, against how far it moved them: heads %.2g, adapter %.2g apart\n",
           compute, heads, adapter);
    ck_assert_msg(heads < apart && adapter < apart, "heads %.3g, adapter %.3g apart", heads, adapter);
}

/* The features of both are rounded to bf16 in their caches. The first step of Adam moves every weight by the
 * sign of its gradient, be it ever so small: that is why updates are further apart than losses. */
START_TEST(training_step) { compare_step("f32", 1e-3, 0.1); }
END_TEST

START_TEST(training_step_bf16) { compare_step("bf16", 1e-2, 0.35); }
END_TEST

START_TEST(training_step_waits_once)
{
    char path[96], out[96], model[96];
    snprintf(path, sizeof path, "%s/training-calls", folder);
    setenv("EMU_CALLS", path, 1);
    train(device, "f32", "calls", "2", out, model);
    unsetenv("EMU_CALLS");
    Calls c = calls_of(path, "adamw"); /* the second step, from the first one's update to its own */
    ck_assert_int_gt(c.kernels, 500);
    ck_assert_int_eq(c.allocations, 0);
    ck_assert_int_eq(c.waits, 1);
    ck_assert_int_eq(c.after, 0);
}
END_TEST

int main(void)
{
    Run r;
    device = getenv("DEVICE");
    if (!device || !mkdtemp(folder)) return EXIT_FAILURE;
    snprintf(data, sizeof data, "%s/data", folder);
    run_tool(&r, "pcrl-synth", (const char *[]){"--out", data, "--n", "2", "--size", "128", NULL});
    const TTest *const tests[] = {greedy_report, training_step, training_step_bf16, training_step_waits_once};
    int failed = run_tests("system", tests, sizeof tests / sizeof *tests - !emulated());
    char remove[128];
    snprintf(remove, sizeof remove, "rm -rf %s", folder);
    if (system(remove)) return EXIT_FAILURE;
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
