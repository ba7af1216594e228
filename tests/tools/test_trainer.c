/* The trainer on a toy: w (4) towards a target, loss = sum c (w + noise - y)^2, with a buffer that every
 * micro-batch changes, as BatchNorm's statistics are. */
#include "kernels/ops.h"
#include "tools/checkpoint.h"
#include "tools/trainer.h"
#include <check.h>
#include <ftw.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N = 4, CALLS = 256 };
static const float first[N] = {1, -2, 0.5f, 3}, scale[N] = {1, 0.5f, 4, 0.01f},
                   target[N] = {0.3f, 0.7f, -0.2f, 1};
static char folder[] = "/tmp/pcrl-trainer-XXXXXX";

typedef struct Toy {
    Trainer t;
    Tensor *w, *statistics;
    float noise;          /* of each sample's input, from t->rng */
    int calls, bad, many; /* call number `bad` (from 1) and the `many` from it make a NaN; 0: none */
    bool bad_term;        /* in the term alone, else in the gradient */
    float seen[CALLS][N], seen_statistics[CALLS];
    int validations, peak; /* the score is highest at the `peak`th validation */
} Toy;

static bool toy_loss(Trainer *t, void *context, Error *e)
{
    (void)e;
    Toy *toy = context;
    Tape *tape = &t->tape;
    float x[N], statistics;
    if (toy->calls < CALLS) {
        tensor_download(toy->w, toy->seen[toy->calls]);
        tensor_download(toy->statistics, &toy->seen_statistics[toy->calls]);
    }
    toy->calls++;
    bool bad = toy->bad && toy->calls >= toy->bad && toy->calls < toy->bad + toy->many;
    for (int i = 0; i < N; i++) x[i] = target[i] + toy->noise * (float)rng_normal(&t->rng);
    if (bad && !toy->bad_term) x[2] = NAN;
    tensor_download(toy->statistics, &statistics);
    tensor_fill(toy->statistics, bad ? NAN : 0.9f * statistics + 0.1f * x[0]);
    Tensor *y = tape_tensor(tape, DTYPE_f32, 1, (int64_t[]){N}),
           *c = tape_tensor(tape, DTYPE_f32, 1, (int64_t[]){N});
    tensor_upload(y, x);
    tensor_upload(c, scale);
    Tensor *d = op_sub(tape, toy->w, y), *loss = op_sum(tape, op_mul(tape, op_mul(tape, d, d), c), 1);
    t->term[0] = bad && toy->bad_term ? (double)NAN : tensor_value(loss);
    t->term[1] = 1;
    tape_backward(tape, loss);
    return true;
}

/* Takes random numbers and dropout calls, which the trainer gives back. */
static bool toy_validate(Trainer *t, void *context, TrainerValidation *v, Error *e)
{
    (void)e;
    Toy *toy = context;
    ck_assert(!t->tape.recording);
    rng_u32(&t->rng);
    t->tape.calls += 17;
    op_sum(&t->tape, toy->w, 1);
    toy->validations++;
    v->name[0] = "distance";
    v->value[0] = 0.5;
    v->n = 1;
    v->score = -fabs((double)(t->step / t->o.validate_every - toy->peak));
    return true;
}

static TrainerOptions options(const char *name)
{
    static char path[4][256];
    static unsigned turn;
    char *p = path[turn++ & 3];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return (TrainerOptions){.stage = "toy",
                            .folder = p,
                            .term = {"loss", "one"},
                            .steps = 12,
                            .lr = 1e-2,
                            .weight_decay = 0.01,
                            .beta2 = 0.999,
                            .save_every = 5,
                            .log_every = 1,
                            .resume = true};
}

/* Opens, runs, and leaves the trainer open. */
static bool toy_run(Toy *toy, const TrainerOptions *o, Error *e)
{
    Trainer *t = &toy->t;
    CliCommon common = {.device = "cpu", .seed = 3, .memory = 1 << 24};
    ck_assert(trainer_open(t, o, &common, e));
    toy->w = params_add(&t->params, "toy.weight", 1, (int64_t[]){N});
    params_alloc(&t->params);
    tensor_upload(toy->w, first);
    toy->statistics = tensor_zeros(&t->state, DTYPE_f32, 1, (int64_t[]){1});
    trainer_extra(t, "statistics", toy->statistics);
    return trainer_run(t, toy_loss, toy, e);
}

static void run_all(Toy *toy, const TrainerOptions *o)
{
    Error e = {0};
    ck_assert_msg(toy_run(toy, o, &e), "%s", e.msg);
}

static void final(const Toy *toy, float w[N]) { tensor_download(toy->w, w); }

/* Counts the lines of a log that have `what` in them. */
static int lines(const TrainerOptions *o, const char *what)
{
    char path[300], line[1024];
    int n = 0;
    snprintf(path, sizeof path, "%s/log.jsonl", o->folder);
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f)) n += strstr(line, what) != NULL;
    fclose(f);
    return n;
}

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
    CliCommon common = {.device = "cpu", .seed = 3, .memory = 1 << 20};
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

/* The weights of the newest checkpoint. */
static void saved(const TrainerOptions *o, float *block, float *statistics, int64_t *step)
{
    char path[4096];
    bool found;
    SafeTensors *s;
    json_t *state;
    Error e = {0};
    ck_assert(checkpoint_find(o->folder, "latest", path, &found, &e) && found);
    ck_assert(checkpoint_open(path, &s, &state, &e));
    ck_assert_msg(safetensors_load_f32(s, "block.weight", 1, (int64_t[]){64}, block, &e), "%s", e.msg);
    ck_assert(safetensors_load_f32(s, "statistics", 1, (int64_t[]){1}, statistics, &e));
    ck_assert(json_get_int(state, "step", path, step, &e));
    safetensors_close(s);
    json_decref(state);
}

START_TEST(five_bad_updates_end_training)
{
    TrainerOptions o = options("five");
    Toy toy = {.noise = 0.1f, .bad = 4, .many = 100};
    Error e = {0};
    ck_assert(!toy_run(&toy, &o, &e));
    ck_assert_int_eq(e.code, ERROR_NUMERIC);
    ck_assert_msg(strstr(e.msg, "the gradient of toy.weight") && strstr(e.msg, "step 8"), "%s", e.msg);
    ck_assert_int_eq(toy.calls, 8);
    trainer_close(&toy.t);
    float block[64], statistics;
    int64_t step;
    saved(&o, block, &statistics, &step);
    ck_assert_int_eq(step, 3);
    ck_assert(!memcmp(block, toy.seen[3], sizeof toy.seen[3]));
    ck_assert(statistics == toy.seen_statistics[3]);
    /* and it goes on from there as if nothing had been */
    TrainerOptions whole = options("whole");
    Toy again = {.noise = 0.1f}, straight = {.noise = 0.1f};
    float a[N], b[N];
    run_all(&again, &o);
    run_all(&straight, &whole);
    final(&again, a);
    final(&straight, b);
    ck_assert_int_eq(again.calls, 9);
    ck_assert(!memcmp(a, b, sizeof a));
    ck_assert_int_eq(lines(&o, "toy"), 12);
    trainer_close(&again.t);
    trainer_close(&straight.t);
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

static void same_log(const TrainerOptions *a, const TrainerOptions *b)
{
    char name[2][300], line[2][1024];
    FILE *f[2];
    const TrainerOptions *o[2] = {a, b};
    for (int i = 0; i < 2; i++) {
        snprintf(name[i], sizeof name[i], "%s/log.jsonl", o[i]->folder);
        f[i] = fopen(name[i], "r");
        ck_assert_ptr_nonnull(f[i]);
    }
    for (int n = 1;; n++) {
        char *x = fgets(line[0], sizeof line[0], f[0]), *y = fgets(line[1], sizeof line[1], f[1]);
        ck_assert_msg(!x == !y, "line %d is in one log only", n);
        if (!x) break;
        json_t *v[2];
        for (int i = 0; i < 2; i++) {
            v[i] = json_loads(line[i], 0, NULL);
            ck_assert_ptr_nonnull(v[i]);
            json_object_del(v[i], "seconds");
            json_object_del(v[i], "rate");
        }
        ck_assert_msg(json_equal(v[0], v[1]), "%s%s", line[0], line[1]);
        json_decref(v[0]);
        json_decref(v[1]);
    }
    fclose(f[0]);
    fclose(f[1]);
}

/* Stopped after every k updates, with validation and a bad streak in it. */
START_TEST(resume_at_every_step)
{
    TrainerOptions o = options("straight");
    o.validate = toy_validate;
    o.validate_every = 4;
    o.accumulate = 2;
    Toy straight = {.noise = 0.1f, .bad = 9, .many = 3, .peak = 2};
    float w[N], want[N];
    run_all(&straight, &o);
    final(&straight, want);
    ck_assert_int_eq(straight.validations, 3);
    for (int k = 1; k <= 12; k++) {
        char name[32];
        snprintf(name, sizeof name, "stop-%d", k);
        TrainerOptions p = o, q = options(name);
        p.folder = q.folder;
        p.stop_after = k;
        for (int done = 0;;) {
            Toy toy = {.noise = 0.1f, .bad = 9 - 2 * done, .many = 3, .peak = 2};
            if (toy.bad < 1) { /* the streak began in an earlier call */
                toy.many += toy.bad - 1;
                toy.bad = toy.many > 0 ? 1 : 0;
            }
            Error e = {0};
            bool ok = toy_run(&toy, &p, &e);
            ck_assert_msg(ok || e.code == ERROR_INTERRUPTED, "%s", e.msg);
            done = (int)toy.t.step;
            if (!ok) ck_assert(done % k == 0 || done == 12);
            if (ok) {
                final(&toy, w);
                ck_assert_msg(!memcmp(w, want, sizeof w), "stopped after %d", k);
                ck_assert_int_eq(toy.t.best_step, 8);
                ck_assert_int_eq(toy.t.skipped, straight.t.skipped);
                ck_assert(trainer_load_best(&toy.t, &e));
                final(&toy, w);
                ck_assert(!memcmp(w, straight.seen[16], sizeof w));
            }
            trainer_close(&toy.t);
            if (ok) break;
        }
        same_log(&o, &p);
    }
    trainer_close(&straight.t);
}
END_TEST

START_TEST(validation_disturbs_nothing)
{
    TrainerOptions without = options("quiet"), with = options("validated");
    Toy a = {.noise = 0.2f}, b = {.noise = 0.2f, .peak = 3};
    float x[N], y[N];
    Error e = {0};
    with.validate = toy_validate;
    with.validate_every = 3;
    run_all(&a, &without);
    run_all(&b, &with);
    final(&a, x);
    final(&b, y);
    ck_assert(!memcmp(x, y, sizeof x));
    ck_assert_uint_eq(a.t.tape.calls, b.t.tape.calls);
    ck_assert_int_eq(lines(&with, "\"validation\": true"), 4);
    ck_assert_int_eq(b.t.best_step, 9);
    ck_assert(trainer_load_best(&b.t, &e));
    final(&b, y);
    ck_assert(!memcmp(y, b.seen[9], sizeof y));
    tensor_download(b.statistics, y);
    ck_assert(y[0] == b.seen_statistics[9]);
    ck_assert(trainer_load_best(&a.t, &e)); /* nothing to load */
    final(&a, y);
    ck_assert(!memcmp(x, y, sizeof x));
    trainer_close(&a.t);
    trainer_close(&b.t);
}
END_TEST

START_TEST(checkpoint_of_another_stage)
{
    TrainerOptions o = options("other");
    Toy toy = {0}, wrong = {0};
    Error e = {0};
    run_all(&toy, &o);
    trainer_close(&toy.t);
    o.stage = "soup";
    ck_assert(!toy_run(&wrong, &o, &e));
    ck_assert_int_eq(e.code, ERROR_INPUT);
    ck_assert_msg(strstr(e.msg, "toy") && strstr(e.msg, "soup"), "%s", e.msg);
    trainer_close(&wrong.t);
}
END_TEST

START_TEST(dry_run)
{
    TrainerOptions o = options("dry");
    o.dry_run = true;
    Toy toy = {0};
    Trainer *t = &toy.t;
    CliCommon common = {.device = "cpu", .memory = 1 << 24};
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

static void make_folder(void)
{
    ck_assert(mkdtemp(folder));
    ck_assert(freopen("/dev/null", "w", stderr)); /* notes on skipped and resumed steps */
}
static int remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
    (void)s, (void)type, (void)f;
    return remove(path);
}
static void remove_folder(void) { nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

int main(void)
{
    Suite *s = suite_create("trainer");
    TCase *c = tcase_create("trainer");
    tcase_set_timeout(c, 0);
    tcase_add_unchecked_fixture(c, make_folder, remove_folder);
    tcase_add_test(c, step_schedule);
    tcase_add_test(c, cosine_schedule);
    tcase_add_test(c, accumulation_and_clipping);
    tcase_add_test(c, accumulated_terms);
    tcase_add_test(c, bad_updates_change_nothing);
    tcase_add_test(c, five_bad_updates_end_training);
    tcase_add_test(c, poisoned_learning_rate);
    tcase_add_test(c, resume_at_every_step);
    tcase_add_test(c, validation_disturbs_nothing);
    tcase_add_test(c, checkpoint_of_another_stage);
    tcase_add_test(c, dry_run);
    suite_add_tcase(s, c);
    SRunner *runner = srunner_create(s);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
