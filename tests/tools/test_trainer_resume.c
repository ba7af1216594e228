/* What a run keeps: stopped after any update and resumed it ends in the same bytes and log, a run that gives up
 * leaves its last good state, validation disturbs nothing and the best weights are found again. */
#include "tests/tools/trainer_toy.h"

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
    /* the same where the streak was cut in two */
    TrainerOptions cut = options("cut");
    cut.stop_after = 5;
    Toy before = {.noise = 0.1f, .bad = 4, .many = 100}, after = {.noise = 0.1f, .bad = 1, .many = 100};
    ck_assert(!toy_run(&before, &cut, &e) && e.code == ERROR_INTERRUPTED);
    ck_assert(!toy_run(&after, &cut, &e) && e.code == ERROR_NUMERIC);
    ck_assert_int_eq(after.calls, 3);
    saved(&cut, block, &statistics, &step);
    ck_assert_int_eq(step, 3);
    ck_assert(!memcmp(block, toy.seen[3], sizeof toy.seen[3]));
    trainer_close(&before.t);
    trainer_close(&after.t);
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

/* A validation in the streak is one of the step that is gone back from: it is done again. */
START_TEST(validation_in_a_bad_streak)
{
    TrainerOptions o = options("streak"), whole = options("no-streak");
    o.validate = whole.validate = toy_validate;
    o.validate_every = whole.validate_every = 4;
    Toy toy = {.noise = 0.1f, .bad = 8, .many = 100, .peak = 2}, again = {.noise = 0.1f, .peak = 2},
        straight = {.noise = 0.1f, .peak = 2};
    Error e = {0};
    ck_assert(!toy_run(&toy, &o, &e) && e.code == ERROR_NUMERIC);
    ck_assert_int_eq(toy.validations, 2);
    ck_assert(toy.t.step == 7 && toy.t.validated == 4 && toy.t.best_step == 4 && toy.t.best == -1);
    run_all(&again, &o);
    run_all(&straight, &whole);
    ck_assert_int_eq(again.validations, 2);
    ck_assert(again.t.best_step == 8 && again.t.best == 0);
    same_log(&o, &whole);
    trainer_close(&toy.t);
    trainer_close(&again.t);
    trainer_close(&straight.t);
}
END_TEST

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
        Toy again = {0}; /* a finished run does nothing */
        run_all(&again, &p);
        ck_assert(again.calls == 0 && again.validations == 0);
        trainer_close(&again.t);
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

/* A full disk that soon has room again: the run ends rather than go on with a gap in its log. */
START_TEST(lost_line)
{
    TrainerOptions o = options("lost");
    Toy toy = {.full = 3};
    Error e = {0};
    ck_assert(!toy_run(&toy, &o, &e) && e.code == ERROR_IO);
    ck_assert_msg(strstr(e.msg, "lost/log.jsonl: cannot write"), "%s", e.msg);
    ck_assert_int_eq(toy.calls, 5);
    trainer_close(&toy.t);
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

int main(void)
{
    const TTest *const test[] = {five_bad_updates_end_training,
                                 validation_in_a_bad_streak,
                                 resume_at_every_step,
                                 validation_disturbs_nothing,
                                 lost_line,
                                 checkpoint_of_another_stage};
    return run_tests("trainer_resume", test, sizeof test / sizeof *test);
}
