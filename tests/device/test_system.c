/* The whole mini system on DEVICE, in f32 and in bf16, beside the CPU: a greedy report of 16 tokens, and one
 * step of the paper's training (four losses, all gradients, one update). */
#include "data/safetensors.h"
#include "tests/models/main.h"
#include "tests/tools/run.h"
#include <check.h>
#include <jansson.h>
#include <math.h>

static char folder[] = "/tmp/pcrl-system-XXXXXX", data[64];
static const char *device;

static void report(const char *where, const char *compute, Run *r)
{
    run_tool(r, "pcrl-report",
             (const char *[]){"--device", where, "--compute", compute, "--max-tokens", "16", "--studies", "1",
                              data, NULL});
    ck_assert_msg(r->code == 0, "pcrl-report --device %s: %s", where, r->err);
}

START_TEST(greedy_report)
{
    Run cpu, here, half;
    report("cpu", "f32", &cpu);
    report(device, "f32", &here);
    report(device, "bf16", &half);
    ck_assert_int_gt((int)strlen(cpu.out), 60);
    ck_assert_str_eq(here.out, cpu.out);
    ck_assert_str_eq(half.out, cpu.out);
}
END_TEST

static json_t *step(const char *where, const char *compute, char *model)
{
    Run r;
    char out[96], cache[128], log[160], command[4096];
    snprintf(out, sizeof out, "%s/%s-%s", folder, where, compute);
    snprintf(model, 96, "%s/%s-%s-model", folder, where, compute);
    snprintf(cache, sizeof cache, "%s/cache", out);
    snprintf(command, sizeof command, "cp -r data/mini %s", model);
    ck_assert_int_eq(system(command), 0);
    run_tool(&r, "pcrl-train", (const char *[]){"pcrl",        "--device",
                                                where,         "--compute",
                                                compute,       "--data",
                                                data,          "--model",
                                                model,         "--init",
                                                "data/mini",   "--out",
                                                out,           "--cache",
                                                cache,         "--batch",
                                                "2",           "--embed",
                                                "128",         "--instruction",
                                                "概括：",      "--mask-resize",
                                                "area",        "--mask-identical",
                                                "--lr",        "0.01",
                                                "--warm",      "0",
                                                "--steps",     "1",
                                                "--log-every", "1",
                                                NULL});
    ck_assert_msg(r.code == 0, "pcrl-train --device %s: %s", where, r.err);
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
    SafeTensors *s[3];
    const char *of[3] = {a, b, "data/mini"};
    for (int i = 0; i < 3; i++) {
        snprintf(path[i], sizeof path[i], "%s/%s", of[i], name);
        s[i] = safetensors_open(path[i], &e);
        ck_assert_msg(s[i] != NULL, "%s", e.msg);
    }
    double apart = 0, moved = 0;
    for (int k = 0; k < s[0]->n; k++) {
        const StEntry *t = &s[0]->entry[k];
        size_t n = t->size / st_dtype_size(t->dtype);
        float *x = malloc(3 * n * sizeof *x);
        ck_assert(x != NULL);
        for (int i = 0; i < 3; i++)
            ck_assert_msg(safetensors_read_f32(s[i], safetensors_find(s[i], t->name), x + (size_t)i * n, &e),
                          "%s", e.msg);
        for (size_t j = 0; j < n; j++) {
            apart += pow((double)x[j] - (double)x[n + j], 2);
            moved += pow((double)x[j] - (double)x[2 * n + j], 2);
        }
        free(x);
    }
    for (int i = 0; i < 3; i++) safetensors_close(s[i]);
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

START_TEST(training_step_bf16) { compare_step("bf16", 2e-2, 0.5); }
END_TEST

int main(void)
{
    Run r;
    device = getenv("DEVICE");
    if (!device || !mkdtemp(folder)) return EXIT_FAILURE;
    snprintf(data, sizeof data, "%s/data", folder);
    run_tool(&r, "pcrl-synth", (const char *[]){"--out", data, "--n", "2", "--size", "128", NULL});
    const TTest *const tests[] = {greedy_report, training_step, training_step_bf16};
    int failed = run_tests("system", tests, sizeof tests / sizeof *tests);
    char remove[128];
    snprintf(remove, sizeof remove, "rm -rf %s", folder);
    if (system(remove)) return EXIT_FAILURE;
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
