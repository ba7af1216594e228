/* The harness must see what is wrong with a kernel. Each mutant is the cpu backend with one kernel replaced by
 * a faulty one; the program runs itself on it (a fault may end the process) and reads the line that the harness
 * printed. A harness that passes everything would fail here. */
#include "tests/kernels/harness.h"
#include "tests/kernels/kernel_case.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

typedef struct Mutant {
    const char *name;
    const KernelTest *test;
    Kernel kernel;    /* NULL: as it is */
    const char *says; /* part of the line that the harness must print */
} Mutant;

static float *output(const Node *n) { return n->out->data; }
static float *gradient(const Node *n, int i) { return n->in[i]->grad->data; }

static void steeper(Tape *t, Node *n)
{
    (void)t;
    const float *a = n->in[0]->data, *b = n->in[1]->data, *dy = n->out->grad->data;
    for (int64_t i = 0; i < tensor_len(n->out); i++) {
        if (n->in[0]->grad) gradient(n, 0)[i] += 1.05f * dy[i] * b[i];
        if (n->in[1]->grad) gradient(n, 1)[i] += dy[i] * a[i];
    }
}

static void sets(Tape *t, Node *n)
{
    (void)t;
    const float *a = n->in[0]->data, *b = n->in[1]->data, *dy = n->out->grad->data;
    for (int64_t i = 0; i < tensor_len(n->out); i++) {
        if (n->in[0]->grad) gradient(n, 0)[i] += dy[i] * b[i];
        if (n->in[1]->grad) gradient(n, 1)[i] = dy[i] * a[i];
    }
}

static void overruns(Tape *t, Node *n)
{
    mul_forward_cpu(t, n);
    output(n)[tensor_len(n->out)] = 0;
}

static void overruns_gradient(Tape *t, Node *n)
{
    mul_backward_cpu(t, n);
    if (n->in[1]->grad) gradient(n, 1)[tensor_len(n->out)] = 0;
}

static void overruns_scratch(Tape *t, Node *n)
{
    int64_t len = tensor_len(n->out);
    char *copy = tape_scratch(t, (size_t)len);
    memset(copy, 1, (size_t)len + 1);
    mul_forward_cpu(t, n);
}

/* Far below the tolerance: only the second run tells. */
static float noise(void) { return (float)rand() / (float)RAND_MAX * 1e-6f; }

static void random_output(Tape *t, Node *n)
{
    mul_forward_cpu(t, n);
    output(n)[0] *= 1 + noise();
}

static void random_gradient(Tape *t, Node *n)
{
    mul_backward_cpu(t, n);
    if (n->in[0]->grad) gradient(n, 0)[0] *= 1 + noise();
}

static void skips_the_tail(Tape *t, Node *n)
{
    (void)t;
    const float *a = n->in[0]->data, *b = n->in[1]->data;
    for (int64_t i = 0; i < tensor_len(n->out) - tensor_len(n->out) % 4; i++) output(n)[i] = a[i] * b[i];
}

static void adds_to_the_output(Tape *t, Node *n)
{
    (void)t;
    const float *a = n->in[0]->data, *b = n->in[1]->data;
    for (int64_t i = 0; i < tensor_len(n->out); i++) output(n)[i] += a[i] * b[i];
}

static void writes_an_input(Tape *t, Node *n)
{
    mul_forward_cpu(t, n);
    ((float *)n->in[1]->data)[0] += 1;
}

/* The sanitizer would end the program before the fault does. */
__attribute__((no_sanitize("undefined"))) static void asks_nobody(Tape *t, Node *n)
{
    (void)t;
    const float *a = n->in[0]->data, *b = n->in[1]->data, *dy = n->out->grad->data;
    float *da = n->in[0]->grad->data, *db = n->in[1]->grad->data;
    for (int64_t i = 0; i < tensor_len(n->out); i++) {
        da[i] += dy[i] * b[i];
        db[i] += dy[i] * a[i];
    }
}

/* Right when both inputs need a gradient. */
static void forgets_alone(Tape *t, Node *n)
{
    if (n->in[0]->grad && n->in[1]->grad) mul_backward_cpu(t, n);
}

static void forgets_v(Tape *t, Node *n)
{
    size_t bytes = tensor_bytes(n->in[3]);
    void *v = tape_scratch(t, bytes);
    memcpy(v, n->in[3]->data, bytes);
    adamw_forward_cpu(t, n);
    memcpy(n->in[3]->data, v, bytes);
}

static void wrong_saved(Tape *t, Node *n)
{
    top_p_forward_cpu(t, n);
    ((float *)n->saved[0]->data)[tensor_len(n->saved[0]) - 1] += 0.01f;
}

static void next_index(Tape *t, Node *n)
{
    argmax_forward_cpu(t, n);
    ((int32_t *)n->out->data)[0]++;
}

static const Mutant mutants[] = {
    {"5 percent", &mul_test, {NULL, steeper}, "gradient of input 0, element 0"},
    {"= for +=", &mul_test, {NULL, sets}, "gradient of input 1, element 0 of 1: got"},
    {"overrun", &mul_test, {overruns, NULL}, "was overwritten"},
    {"gradient overrun", &mul_test, {NULL, overruns_gradient}, "was overwritten"},
    {"scratch overrun", &mul_test, {overruns_scratch, NULL}, "arena scratch: byte 0 behind"},
    {"random output", &mul_test, {random_output, NULL}, "in one run,"},
    {"random gradient", &mul_test, {NULL, random_gradient}, "in one run,"},
    {"tail", &mul_test, {skips_the_tail, NULL}, "[one element]: output 0, element 0"},
    {"uninitialised", &mul_test, {adds_to_the_output, NULL}, "output 0, element 0"},
    {"input", &mul_test, {writes_an_input, NULL}, "input 1 was written"},
    {"absent gradient", &mul_test, {NULL, asks_nobody}, "the program ended here"},
    {"gradient of one alone", &mul_test, {NULL, forgets_alone}, "when inputs 0x1 need one"},
    {"update", &adamw_test, {forgets_v, NULL}, "updated input 3"},
    {"saved", &top_p_test, {wrong_saved, NULL}, "saved 0"},
    {"index", &argmax_test, {next_index, NULL}, "got 1, want 0"},
    {"none", &mul_test, {NULL, NULL}, "mul: 0 failed"},
};
enum { MUTANTS = sizeof mutants / sizeof *mutants };

/* In the child. */
static int run_mutant(const Mutant *m)
{
    Kernel *table = calloc((size_t)kernel_count, sizeof *table);
    Backend backend = backend_cpu;
    Harness h;
    if (!table) return 1;
    memcpy(table, kernels_cpu, (size_t)kernel_count * sizeof *table);
    Kernel *k = &table[m->test->op->id];
    if (m->kernel.forward) k->forward = m->kernel.forward;
    if (m->kernel.backward) k->backward = m->kernel.backward;
    backend.kernels = table;
    backend.name = "mutant";
    if (!harness_open(&h, &backend, 1)) return 1;
    harness_op(&h, m->test);
    printf("%s: %d failed\n", m->test->op->name, h.failed);
    int failed = h.failed;
    harness_close(&h);
    free(table);
    return failed ? 10 : 0;
}

static char self[4096];

START_TEST(caught)
{
    const Mutant *m = &mutants[_i];
    char command[4200], text[4096];
    snprintf(command, sizeof command, "'%s' %d 2>&1", self, _i);
    FILE *f = popen(command, "r");
    ck_assert_ptr_nonnull(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = 0;
    int status = pclose(f);
    bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    ck_assert_msg(clean == !strcmp(m->name, "none"), "mutant '%s' ended with status 0x%x and said: %s", m->name,
                  status, text);
    ck_assert_msg(strstr(text, m->says) && strstr(text, m->test->op->name),
                  "mutant '%s': expected '%s' and the op's name in: %s", m->name, m->says, text);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc > 1) {
        int i = atoi(argv[1]);
        return i >= 0 && i < MUTANTS ? run_mutant(&mutants[i]) : 1;
    }
    snprintf(self, sizeof self, "%s", argv[0]);
    Suite *s = suite_create("mutants");
    TCase *tc = tcase_create("each is caught");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, caught, 0, MUTANTS);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
