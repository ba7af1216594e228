/* Equation 10: sums, absent terms, gradients, and what it says to misuse. */
#include "losses/joint.h"
#include "tests/tensor/tape_fixture.h"

START_TEST(weighted_sum)
{
    tape.recording = true;
    Tensor *a = leaf(1, 3), *b = leaf(1, -2), *c = leaf(1, 5);
    Tensor *const term[4] = {a, NULL, b, c};
    Tensor *loss = joint_loss(&tape, term, (float[]){1, 9, 0.5f, 0}, 4);
    ck_assert(at(loss, 0) == 2);
    tape_backward(&tape, loss);
    ck_assert(at(a->grad, 0) == 1 && at(b->grad, 0) == 0.5f && at(c->grad, 0) == 0);
}
END_TEST

START_TEST(one_term)
{
    tape.recording = true;
    Tensor *a = leaf(1, 3), *const term[3] = {NULL, a, NULL};
    Tensor *loss = joint_loss(&tape, term, (float[]){1, 2, 1}, 3);
    ck_assert(at(loss, 0) == 6);
    tape_backward(&tape, loss);
    ck_assert(at(a->grad, 0) == 2);
}
END_TEST

/* A term twice gets both gradients. */
START_TEST(shared_term)
{
    tape.recording = true;
    Tensor *a = leaf(1, 3), *const term[2] = {a, a};
    tape_backward(&tape, joint_loss(&tape, term, (float[]){1, 2}, 2));
    ck_assert(at(a->grad, 0) == 3);
}
END_TEST

static void none(void)
{
    setup();
    joint_loss(&tape, (Tensor *[]){NULL, NULL}, (float[]){1, 1}, 2);
}

static void no_number(void)
{
    setup();
    joint_loss(&tape, (Tensor *[]){NULL, leaf(2, 0)}, (float[]){1, 1}, 2);
}

static const DeathCase deaths[] = {{"none", none}, {"no_number", no_number}};

START_TEST(what_it_says)
{
    assert_death("none", DEATH_ABORT, "joint: none of 2 terms is there");
    assert_death("no_number", DEATH_ABORT, "joint: term 1 is f32 (2), not one number");
}
END_TEST

static void fill(TCase *with_fixture, TCase *alone)
{
    tcase_add_test(with_fixture, weighted_sum);
    tcase_add_test(with_fixture, one_term);
    tcase_add_test(with_fixture, shared_term);
    tcase_add_test(alone, what_it_says);
}

int main(int argc, char **argv)
{
    DEATH_MAIN(deaths, argc, argv);
    return fixture_main("joint", fill);
}
