/* tape_checkpoint: the same numbers with less memory, dropout replayed, nothing but a call in inference; and
 * the dropout counter it relies on. */
#include "tests/tensor/tape_fixture.h"
#include <math.h>

typedef struct Block {
    float k, dropout;
    int depth;
    int *runs;
} Block;

enum { ROWS = 24, WIDTH = 32 };

/* x (ROWS,WIDTH), in[1] w (WIDTH,WIDTH), in[2], in[3] low-rank A (4,WIDTH), B (WIDTH,4). */
static Tensor *block(Tape *t, Tensor *const *in, const void *arg)
{
    const Block *b = arg;
    if (b->runs) ++*b->runs;
    Tensor *h = in[0];
    const Lora lora = {in[2], in[3], 0.5f, b->dropout};
    for (int i = 0; i < b->depth; i++) {
        Tensor *y = op_matmul(t, h, in[1], NULL, &lora, false, true);
        h = op_add(t, op_scale(t, op_relu(t, y), b->k), h);
    }
    return h;
}

static Tensor *random_leaf(int64_t rows, int64_t cols, const char *name)
{
    Tensor *x = tensor_f32(&weights, rows, cols, 0, 0);
    rng_fill(x->data, rows * cols, 5, name, 0.3f);
    x->needs_grad = true;
    x->grad = tensor_zeros(&weights, DTYPE_f32, 2, x->dim);
    return x;
}

typedef struct Outcome {
    float loss, grad[4][ROWS * WIDTH];
    size_t peak;
    int runs;
} Outcome;

/* Four blocks in a row, one loss; everything from the same weights, seed and step. */
static void four_blocks(Outcome *o, bool checkpoint, float dropout)
{
    setup();
    memset(o, 0, sizeof *o);
    Tensor *in[] = {random_leaf(ROWS, WIDTH, "x"), random_leaf(WIDTH, WIDTH, "w"), random_leaf(4, WIDTH, "a"),
                    random_leaf(WIDTH, 4, "b")};
    Tensor *leaves[4];
    memcpy(leaves, in, sizeof in);
    tape.recording = true;
    for (int i = 0; i < 4; i++) {
        const Block b = {0.5f + (float)i, dropout, 3, &o->runs};
        in[0] = checkpoint ? tape_checkpoint(&tape, block, 4, in, &b, sizeof b) : block(&tape, in, &b);
    }
    Tensor *l = op_sum(&tape, op_mul(&tape, in[0], in[0]), 1);
    o->loss = at(l, 0);
    tape_backward(&tape, l);
    o->peak = step.peak;
    for (int i = 0; i < 4; i++) memcpy(o->grad[i], leaves[i]->grad->data, tensor_bytes(leaves[i]->grad));
    ck_assert_uint_eq(step.used, 0);
    ck_assert_int_eq(step.n_pool, 0);
    teardown();
}

START_TEST(checkpoints_change_memory_only)
{
    static Outcome plain, again;
    const float dropout = _i ? 0.3f : 0;
    four_blocks(&plain, false, dropout);
    four_blocks(&again, true, dropout);
    ck_assert_int_eq(plain.runs, 4);
    ck_assert_int_eq(again.runs, 8);
    ck_assert_msg(!memcmp(&plain.loss, &again.loss, sizeof plain.loss), "loss %g and %g", plain.loss,
                  again.loss);
    for (int i = 0; i < 4; i++) {
        ck_assert_msg(!memcmp(plain.grad[i], again.grad[i], sizeof plain.grad[i]), "gradient of input %d", i);
        double sum = 0;
        for (int j = 0; j < ROWS * WIDTH; j++) sum += fabsf(plain.grad[i][j]);
        ck_assert_double_gt(sum, 1e-3);
    }
    ck_assert_uint_lt(again.peak, plain.peak * 6 / 10);
}
END_TEST

START_TEST(dropout_changes_the_loss)
{
    static Outcome with, without;
    four_blocks(&with, true, 0.3f);
    four_blocks(&without, true, 0);
    ck_assert(with.loss != without.loss);
}
END_TEST

/* Two calls in one step draw different masks; the same step again draws the same. */
START_TEST(dropout_counts_calls)
{
    setup();
    Tensor *in[] = {random_leaf(ROWS, WIDTH, "x"), random_leaf(WIDTH, WIDTH, "w"), random_leaf(4, WIDTH, "a"),
                    random_leaf(WIDTH, 4, "b")};
    const Block b = {1, 0.5f, 1, NULL};
    float first[ROWS * WIDTH];
    for (int round = 0; round < 2; round++) {
        tape_init(&tape, &step, &scratch, 9);
        tape.recording = true;
        Tensor *y = block(&tape, in, &b), *z = block(&tape, in, &b);
        ck_assert(memcmp(y->data, z->data, tensor_bytes(y)) != 0);
        if (round) ck_assert(!memcmp(y->data, first, sizeof first));
        memcpy(first, y->data, sizeof first);
        tape_reset(&tape);
    }
    tape.recording = false; /* and in inference it does nothing */
    Tensor *y = block(&tape, in, &b), *z = block(&tape, in, &b);
    ck_assert(!memcmp(y->data, z->data, tensor_bytes(y)));
    teardown();
}
END_TEST

START_TEST(a_checkpoint_in_inference_is_a_call)
{
    Tensor *in[] = {random_leaf(ROWS, WIDTH, "x"), random_leaf(WIDTH, WIDTH, "w"), random_leaf(4, WIDTH, "a"),
                    random_leaf(WIDTH, 4, "b")};
    int runs = 0;
    const Block b = {1, 0.5f, 2, &runs};
    Tensor *y = tape_checkpoint(&tape, block, 4, in, &b, sizeof b), *z = block(&tape, in, &b);
    ck_assert(!memcmp(y->data, z->data, tensor_bytes(y)));
    ck_assert_int_eq(runs, 2);
    ck_assert_ptr_null(tape.last);
}
END_TEST

static Tensor *returns_input(Tape *t, Tensor *const *in, const void *arg)
{
    (void)t, (void)arg;
    return in[0];
}

static Tensor *returns_view(Tape *t, Tensor *const *in, const void *arg)
{
    (void)arg;
    return tensor_slice(t->step, op_scale(t, in[0], 2), 0, 1);
}

static void checkpoint_of(TapeFunction *fn)
{
    setup();
    Tensor *x = leaf(6, 0);
    tape.recording = true;
    tape_backward(&tape, op_sum(&tape, tape_checkpoint(&tape, fn, 1, &x, "", 1), 1));
}

static void die_checkpoint_view(void) { checkpoint_of(returns_view); }
static void die_checkpoint_input(void) { checkpoint_of(returns_input); }

static const DeathCase deaths[] = {{"view", die_checkpoint_view}, {"input", die_checkpoint_input}};

START_TEST(misuse_dies)
{
    assert_death("view", DEATH_ABORT, "fatal: checkpoint: the function returned a view, f32 (1)\n");
    assert_death("input", DEATH_ABORT, "fatal: checkpoint: the function returned its input\n");
}
END_TEST

static void fill(TCase *c, TCase *alone)
{
    tcase_add_test(c, a_checkpoint_in_inference_is_a_call);
    tcase_add_loop_test(alone, checkpoints_change_memory_only, 0, 2);
    tcase_add_test(alone, dropout_changes_the_loss);
    tcase_add_test(alone, dropout_counts_calls);
    tcase_add_test(alone, misuse_dies);
}

int main(int argc, char **argv)
{
    DEATH_MAIN(deaths, argc, argv);
    return fixture_main("checkpoint", fill);
}
