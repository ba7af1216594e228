/* The whole mini system on DEVICE beside the CPU: a greedy report of 16 tokens, and one step of the paper's
 * training (four losses, all gradients, one update). */
#include "data/safetensors.h"
#include "tests/models/main.h"
#include "tests/tools/run.h"
#include <check.h>
#include <jansson.h>
#include <math.h>

static char folder[] = "/tmp/pcrl-system-XXXXXX", data[64];
static const char *device;

static void report(const char *where, Run *r)
{
    run_tool(r, "pcrl-report",
             (const char *[]){"--device", where, "--max-tokens", "16", "--studies", "1", data, NULL});
    ck_assert_msg(r->code == 0, "pcrl-report --device %s: %s", where, r->err);
}

START_TEST(greedy_report)
{
    Run cpu, here;
    report("cpu", &cpu);
    report(device, &here);
    ck_assert_int_gt((int)strlen(cpu.out), 60);
    ck_assert_str_eq(here.out, cpu.out);
}
END_TEST

static json_t *step(const char *where, char *model)
{
    Run r;
    char out[96], cache[128], log[160], command[4096];
    snprintf(out, sizeof out, "%s/%s", folder, where);
    snprintf(model, 96, "%s/%s-model", folder, where);
    snprintf(cache, sizeof cache, "%s/cache", out);
    snprintf(command, sizeof command, "cp -r data/mini %s", model);
    ck_assert_int_eq(system(command), 0);
    run_tool(&r, "pcrl-train", (const char *[]){"pcrl",        "--device",
                                                where,         "--data",
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

START_TEST(training_step)
{
    static const char *const term[] = {"report", "segment", "entity", "theme"};
    char model[2][96];
    json_t *cpu = step("cpu", model[0]), *here = step(device, model[1]);
    for (int i = 0; i < 4; i++) {
        double want = json_number_value(json_object_get(cpu, term[i])),
               got = json_number_value(json_object_get(here, term[i]));
        /* The features of both are rounded to bf16 in their caches. */
        ck_assert_msg(want != 0 && fabs(got - want) <= 1e-3 * fabs(want), "%s: %.7g on %s, %.7g on the cpu",
                      term[i], got, device, want);
    }
    json_decref(cpu);
    json_decref(here);
    double heads = difference(model[0], model[1], "pcrl_heads.safetensors"),
           adapter = difference(model[0], model[1], "adapter_model.safetensors");
    printf("weights after the step, against how far it moved them: heads %.2g, adapter %.2g apart\n", heads,
           adapter);
    ck_assert_msg(heads < 0.1 && adapter < 0.1, "heads %.3g, adapter %.3g apart", heads, adapter);
}
END_TEST

int main(void)
{
    Run r;
    device = getenv("DEVICE");
    if (!device || !mkdtemp(folder)) return EXIT_FAILURE;
    snprintf(data, sizeof data, "%s/data", folder);
    run_tool(&r, "pcrl-synth", (const char *[]){"--out", data, "--n", "2", "--size", "128", NULL});
    const TTest *const tests[] = {greedy_report, training_step};
    int failed = run_tests("system", tests, sizeof tests / sizeof *tests);
    char remove[128];
    snprintf(remove, sizeof remove, "rm -rf %s", folder);
    if (system(remove)) return EXIT_FAILURE;
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
