/* An update: schedules against PyTorch, accumulation, clipping, the guard against numbers that are not finite.
 */
#include "tests/tools/trainer_toy.h"

/* torch.optim.AdamW (double) with lr_scheduler.StepLR(7, 0.85), 100 steps: parity row 26. */
START_TEST(step_schedule)
{
    static const double want[N] = {0.6172304533767793, -1.5803848657290247, 0.11904249645826047,
                                   2.579672200204789};
    static const struct {
        int64_t step;
        double rate;
    } rates[] = {{0, 0.01}, {6, 0.01}, {7, 0.0085}, {50, 0.0032057708828124995}, {99, 0.0010276966953088433}};
    TrainerOptions o = options("step");
    o.steps = 100;
    o.schedule = SCHEDULE_STEP;
    o.step_gamma = 0.85;
    o.step_every = 7;
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++)
        ck_assert_double_eq_tol(trainer_rate(&o, rates[i].step) / rates[i].rate, 1, 1e-12);
    o.warm = 4;
    ck_assert_double_eq_tol(trainer_rate(&o, 1), 0.005, 1e-12);
    o.warm = 0;
    Toy toy = {0};
    run_all(&toy, &o);
    float w[N];
    final(&toy, w);
    for (int i = 0; i < N; i++) ck_assert_double_eq_tol((double)w[i] / want[i], 1, 1e-6);
    trainer_close(&toy.t);
}
END_TEST

START_TEST(cosine_schedule)
{
    TrainerOptions o = {.steps = 100, .lr = 2, .floor = 0.1, .warm = 10};
    ck_assert_double_eq_tol(trainer_rate(&o, 0), 0.2, 1e-12);
    ck_assert_double_eq_tol(trainer_rate(&o, 50), 2 * (0.1 + 0.9 * 0.5), 1e-12);
    ck_assert_double_eq_tol(trainer_rate(&o, 100), 0.2, 1e-12);
    Trainer t;
    Error e = {0};
    CliCommon common = {.device = "cpu", .compute = "auto", .seed = 3, .memory = 1 << 20};
    o.schedule = SCHEDULE_STEP; /* without an epoch's length */
    o.stage = "toy";
    ck_assert(!trainer_open(&t, &o, &common, &e));
    ck_assert_int_eq(e.code, ERROR_USAGE);
    trainer_close(&t);
}
END_TEST

/* The first moment after one update is 0.1 times the gradient that AdamW saw. */
static double first_moment(int64_t accumulate, double clip, int i)
{
    char name[64];
    float m[64];
    snprintf(name, sizeof name, "moment-%d-%g-%d", (int)accumulate, clip, i);
    TrainerOptions o = options(name);
    o.steps = 1;
    o.accumulate = accumulate;
    o.clip = clip;
    Toy toy = {0};
    run_all(&toy, &o);
    ck_assert_int_eq(toy.calls, accumulate);
    tensor_download(toy.t.params.m, m);
    trainer_close(&toy.t);
    return (double)m[i];
}

START_TEST(accumulation_and_clipping)
{
    double norm = 0;
    for (int i = 0; i < N; i++) {
        double g = 2 * (double)scale[i] * ((double)first[i] - (double)target[i]);
        norm += g * g;
        ck_assert_double_eq_tol(first_moment(1, 0, i), 0.1 * g, 1e-6);
        ck_assert_double_eq_tol(first_moment(4, 0, i), 0.1 * g, 1e-6); /* the mean of four equal ones */
    }
    norm = sqrt(norm);
    double g = 2 * (double)scale[0] * ((double)first[0] - (double)target[0]);
    ck_assert_double_eq_tol(first_moment(1, 0.5, 0), 0.1 * g * 0.5 / norm, 1e-6);
    ck_assert_double_eq_tol(first_moment(4, 0.5, 0), 0.1 * g * 0.5 / norm, 1e-6);
    ck_assert_double_eq_tol(first_moment(1, 100, 0), 0.1 * g, 1e-6);
}
END_TEST

/* Micro-batches that differ: their mean, in the log too. */
START_TEST(accumulated_terms)
{
    TrainerOptions o = options("terms");
    o.accumulate = 3;
    o.steps = 2;
    Toy toy = {.noise = 0.5f};
    run_all(&toy, &o);
    ck_assert_int_eq(toy.calls, 6);
    ck_assert(!memcmp(toy.seen[0], toy.seen[2], sizeof toy.seen[0]));
    ck_assert(memcmp(toy.seen[2], toy.seen[3], sizeof toy.seen[0]));
    ck_assert_int_eq(lines(&o, "\"one\": 1,"), 2);
    trainer_close(&toy.t);
}
END_TEST

static void bad_update(bool term)
{
    char name[16];
    snprintf(name, sizeof name, "bad-%d", term);
    TrainerOptions o = options(name);
    Toy toy = {.noise = 0.1f, .bad = 4, .many = 3, .bad_term = term};
    run_all(&toy, &o);
    for (int i = 4; i <= 6; i++) { /* as before call 4 */
        ck_assert(!memcmp(toy.seen[i], toy.seen[3], sizeof toy.seen[0]));
        ck_assert(toy.seen_statistics[i] == toy.seen_statistics[3]);
    }
    ck_assert(memcmp(toy.seen[7], toy.seen[6], sizeof toy.seen[0]));
    ck_assert_int_eq(toy.t.skipped, 3);
    ck_assert_int_eq(toy.t.bad, 0);
    ck_assert_int_eq(toy.calls, 12);
    ck_assert_int_eq(lines(&o, "\"skipped\""), 3);
    ck_assert_int_eq(lines(&o, "\"skipped\": 3"), 1);
    ck_assert_int_eq(lines(&o, "toy"), 12);
    ck_assert_int_eq(lines(&o, "nan"), 0);
    trainer_close(&toy.t);
}

START_TEST(bad_updates_change_nothing)
{
    bad_update(false);
    bad_update(true);
}
END_TEST

/* A skipped update does not count for AdamW either. */
START_TEST(skipped_updates_leave_moments_alone)
{
    TrainerOptions o = options("skipping"), p = options("short");
    o.schedule = p.schedule = SCHEDULE_STEP;
    o.step_gamma = p.step_gamma = 1;
    o.step_every = p.step_every = 1;
    p.steps = 9;
    Toy skipping = {.bad = 4, .many = 3}, other = {0};
    float a[N], b[N];
    run_all(&skipping, &o);
    run_all(&other, &p);
    final(&skipping, a);
    final(&other, b);
    ck_assert(!memcmp(a, b, sizeof a));
    trainer_close(&skipping.t);
    trainer_close(&other.t);
}
END_TEST

START_TEST(poisoned_learning_rate)
{
    TrainerOptions o = options("poison");
    o.lr = 1e30;
    Toy toy = {0};
    Error e = {0};
    ck_assert(!toy_run(&toy, &o, &e));
    ck_assert_int_eq(e.code, ERROR_NUMERIC);
    trainer_close(&toy.t);
    float block[64], statistics;
    int64_t step;
    saved(&o, block, &statistics, &step);
    ck_assert_int_eq(step, toy.calls - TRAINER_BAD_STEPS);
    ck_assert(!memcmp(block, toy.seen[step], sizeof toy.seen[0]));
    for (int i = 0; i < N; i++) ck_assert(isfinite(block[i]));
    ck_assert(statistics == toy.seen_statistics[step]);
}
END_TEST

START_TEST(dry_run)
{
    TrainerOptions o = options("dry");
    o.dry_run = true;
    Toy toy = {0};
    Trainer *t = &toy.t;
    CliCommon common = {.device = "cpu", .compute = "auto", .memory = 1 << 24};
    Error e = {0};
    char *text = NULL;
    size_t n;
    ck_assert(trainer_open(t, &o, &common, &e));
    params_add(&t->params, "head.weight", 2, (int64_t[]){3, 5});
    params_add(&t->params, "head.bias", 1, (int64_t[]){3});
    params_add(&t->params, "layers.0.q_proj.lora_A.weight", 2, (int64_t[]){2, 3});
    params_alloc(&t->params);
    FILE *f = open_memstream(&text, &n);
    trainer_print_parameters(t, f);
    trainer_print_memory(t, f);
    fclose(f);
    ck_assert_msg(strstr(text, "(3,5)") && strstr(text, "trainable 24, of which LoRA 6 (25.00 %)"), "%s", text);
    ck_assert_msg(strstr(text, "memory state"), "%s", text);
    free(text);
    ck_assert_int_ne(access(o.folder, F_OK), 0);
    trainer_close(t);
}
END_TEST

int main(void)
{
    const TTest *const test[] = {step_schedule,
                                 cosine_schedule,
                                 accumulation_and_clipping,
                                 accumulated_terms,
                                 bad_updates_change_nothing,
                                 skipped_updates_leave_moments_alone,
                                 poisoned_learning_rate,
                                 dry_run};
    return run_tests("trainer", test, sizeof test / sizeof *test);
}
