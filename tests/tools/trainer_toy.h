/* The toy that the trainer's tests train: w (4) towards a target, loss = sum c (w + noise - y)^2, with a buffer
 * that every micro-batch changes, as BatchNorm's statistics are. */
#ifndef TESTS_TOOLS_TRAINER_TOY_H
#define TESTS_TOOLS_TRAINER_TOY_H
#include "kernels/ops.h"
#include "tools/checkpoint.h"
#include "tools/trainer.h"
#include <check.h>
#include <ftw.h>
#include <math.h>
#include <stdlib.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
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
    int full;             /* no file can grow from call number `full` to the next; 0: none */
    float seen[CALLS][N], seen_statistics[CALLS];
    int validations, peak; /* the score is highest at the `peak`th validation */
} Toy;

static inline void limit_files(bool on)
{
    struct rlimit r;
    signal(SIGXFSZ, SIG_IGN);
    ck_assert(getrlimit(RLIMIT_FSIZE, &r) == 0);
    r.rlim_cur = on ? 1 : r.rlim_max;
    ck_assert(setrlimit(RLIMIT_FSIZE, &r) == 0);
}

static inline bool toy_loss(Trainer *t, void *context, Error *e)
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
    if (toy->full) limit_files(toy->calls == toy->full);
    bool bad = toy->bad && toy->calls >= toy->bad && toy->calls < toy->bad + toy->many;
    for (int i = 0; i < N; i++)
        x[i] = target[i] + toy->noise * (float)rng_normal(&t->rng) *
                               dropout_scale(tape->seed, tape->calls, (uint64_t)i, 0.25f);
    tape->calls++;
    if (bad && !toy->bad_term) x[2] = NAN;
    tensor_download(toy->statistics, &statistics);
    tensor_fill(toy->statistics, bad ? NAN : 0.9f * statistics + 0.1f * x[0]);
    Tensor *y = tape_tensor(tape, DTYPE_f32, 1, (int64_t[]){N}),
           *c = tape_tensor(tape, DTYPE_f32, 1, (int64_t[]){N});
    tensor_upload(y, x);
    tensor_upload(c, scale);
    Tensor *d = op_sub(tape, toy->w, y), *loss = op_sum(tape, op_mul(tape, op_mul(tape, d, d), c), 1);
    Tensor *term = tape_tensor(tape, DTYPE_f32, 1, (int64_t[]){2});
    tensor_upload(term, (float[]){NAN, 1});
    trainer_term(t, 0, bad && toy->bad_term ? tensor_slice(tape->step, term, 0, 1) : loss, 1);
    trainer_term(t, 1, tensor_slice(tape->step, term, 1, 1), 1);
    tape_backward(tape, loss);
    return true;
}

/* Takes random numbers and dropout calls, which the trainer gives back. */
static inline bool toy_validate(Trainer *t, void *context, TrainerValidation *v, Error *e)
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

static inline TrainerOptions options(const char *name)
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
                            .log_every = 1};
}

/* Opens, runs, and leaves the trainer open. */
static inline bool toy_run(Toy *toy, const TrainerOptions *o, Error *e)
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

static inline void run_all(Toy *toy, const TrainerOptions *o)
{
    Error e = {0};
    ck_assert_msg(toy_run(toy, o, &e), "%s", e.msg);
}

static inline void final(const Toy *toy, float w[N]) { tensor_download(toy->w, w); }

/* Counts the lines of a log that have `what` in them. */
static inline int lines(const TrainerOptions *o, const char *what)
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

/* The weights of the newest checkpoint. */
static inline void saved(const TrainerOptions *o, float *block, float *statistics, int64_t *step)
{
    char path[4096];
    bool found;
    TensorFile *s;
    json_t *state;
    Error e = {0};
    ck_assert(checkpoint_find(o->folder, "latest", path, &found, &e) && found);
    ck_assert(checkpoint_open(path, &s, &state, &e));
    ck_assert_msg(tensor_file_load_f32(s, "block.weight", 1, (int64_t[]){64}, block, &e), "%s", e.msg);
    ck_assert(tensor_file_load_f32(s, "statistics", 1, (int64_t[]){1}, statistics, &e));
    ck_assert(json_get_int(state, "step", path, step, &e));
    tensor_file_close(s);
    json_decref(state);
}

static inline void make_folder(void)
{
    ck_assert(mkdtemp(folder));
    ck_assert(freopen("/dev/null", "w", stderr)); /* notes on skipped and resumed steps */
}
static inline int remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
    (void)s, (void)type, (void)f;
    return remove(path);
}
static inline void remove_folder(void) { nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

/* Runs the tests, one after another in this process. */
static inline int run_tests(const char *name, const TTest *const *test, int n)
{
    Suite *s = suite_create(name);
    TCase *c = tcase_create(name);
    tcase_set_timeout(c, 0);
    tcase_add_unchecked_fixture(c, make_folder, remove_folder);
    for (int i = 0; i < n; i++) tcase_add_test(c, test[i]);
    suite_add_tcase(s, c);
    SRunner *runner = srunner_create(s);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
#endif
