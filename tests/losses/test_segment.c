/* Equation 3: the worked numbers of the formula, torch's autograd on random regions, and what is none. */
#include "losses/segment.h"
#include "tests/losses/exact.h"
#include "tests/models/main.h"
#include "tests/kernels/test_dice.c"

static TensorFile *g;

/* A leaf (d0,d1) with a zeroed gradient, filled from doubles. */
static Tensor *leaf(Rig *r, int64_t d0, int64_t d1, const double *value)
{
    Tensor *x = tensor_f32(&r->state, d0, d1, 0, 0);
    host_upload(x, value);
    x->needs_grad = true;
    x->grad = tensor_zeros(&r->state, DTYPE_f32, x->ndim, x->dim);
    return x;
}

static double grad(const Tensor *x, int64_t i) { return (double)host_get(x->grad, i); }
static double number(const Tensor *x) { return (double)host_get(x, 0); }

/* p_k = sigmoid(sin k), y_k = [3 | k], k = 0..195. The numbers are those of the printed quotient without the
 * 1e-6 in its denominator: inputs a thousand times as large leave the quotient as it is and make the 1e-6
 * vanish. */
START_TEST(worked_example)
{
    static const double want[] = {-0.0120518464, 0.0063636827, -0.0115542034};
    static const int64_t place[] = {0, 1, 195};
    const double large = 1000;
    double p[196], y[196], big_p[196], big_y[196], loss;
    for (int k = 0; k < 196; k++) {
        p[k] = 1 / (1 + exp(-sin(k)));
        y[k] = k % 3 == 0;
        big_p[k] = large * p[k];
        big_y[k] = large * y[k];
    }
    KernelCase k = {.in = {{{1, 196}}, {{1, 196}}}, .params = &printed};
    oracle(&loss, NULL, (double *[]){big_p, big_y}, &k);
    exact_close("printed", loss, 0.4515659690, 1e-10);
    for (int i = 0; i < 3; i++)
        exact_close("dL/dp",
                    large * exact_slope(oracle, (double *[]){big_p, big_y}, &k, 0, place[i], 3e-3 * large),
                    want[i], 1e-10);
    k.params = &smooth;
    oracle(&loss, NULL, (double *[]){p, y}, &k);
    exact_close("smooth", loss, 0.5936845386, 1e-10);

    Rig r;
    rig_open(&r, test_device());
    r.tape.recording = true;
    Tensor *probability = leaf(&r, 1, 196, p), *mask = leaf(&r, 1, 196, y);
    Tensor *out = op_dice(&r.tape, probability, mask, false);
    exact_close("printed, f32", number(out), 0.4515659690, 1e-5 * 0.45);
    tape_backward(&r.tape, out);
    for (int i = 0; i < 3; i++)
        exact_close("dL/dp, f32", grad(probability, place[i]), want[i], 1e-5 * fabs(want[i]));
    for (int i = 0; i < 196; i++) ck_assert(grad(mask, i) == 0);
    exact_close("smooth, f32", number(op_dice(&r.tape, probability, mask, true)), 0.5936845386, 1e-5 * 0.59);
    rig_close(&r);
}
END_TEST

/* M regions of which the first is empty. */
static void against_autograd(int M, bool soft)
{
    enum { K = 196 };
    char name[32], input[32];
    Rig r;
    rig_open(&r, test_device());
    r.tape.recording = true;
    float *x = malloc((size_t)(2 * M * K) * sizeof *x), *y = x + M * K;
    double *exact = malloc((size_t)(3 * M * K) * sizeof *exact), *logit = exact + M * K, *mask = logit + M * K;
    snprintf(name, sizeof name, "dice%d.%s", M, soft ? "smooth" : "printed");
    snprintf(input, sizeof input, "dice%d.x", M);
    rng_fill(x, M * K, GOLDEN_INPUTS, input, 3);
    snprintf(input, sizeof input, "dice%d.y", M);
    rng_fill(y, M * K, GOLDEN_INPUTS, input, 1);
    for (int i = 0; i < M * K; i++) {
        logit[i] = (double)x[i];
        exact[i] = 1 / (1 + exp(-logit[i]));
        mask[i] = i >= K && y[i] > 0.5f;
    }
    KernelCase k = {.in = {{{M, K}}, {{M, K}}}, .params = soft ? &smooth : &printed};
    exact_value(g, name, oracle, (double *[]){exact, mask}, &k, 1e-10);
    exact_gradient(g, name, "p", oracle, (double *[]){exact, mask}, &k, 0, 1e-10);

    Tensor *logits = leaf(&r, M, K, logit), *p = leaf(&r, M, K, exact), *masks = leaf(&r, M, K, mask);
    Tensor *loss = segment_loss(&r.tape, logits, masks, soft);
    char full[40];
    snprintf(full, sizeof full, "%s.y", name);
    golden_compare(g, full, loss, false, GOLDEN_MAX, 1e-5);
    tape_backward(&r.tape, loss);
    snprintf(full, sizeof full, "%s.dx", name);
    golden_compare(g, full, logits->grad, false, GOLDEN_L2, 1e-5);
    tape_backward(&r.tape, op_dice(&r.tape, p, masks, soft));
    snprintf(full, sizeof full, "%s.dp", name);
    golden_compare(g, full, p->grad, false, GOLDEN_L2, 1e-5);
    free(x);
    free(exact);
    rig_close(&r);
}

START_TEST(autograd)
{
    static const int regions[] = {2, 5, 28};
    for (int i = 0; i < 3; i++) {
        against_autograd(regions[i], false);
        against_autograd(regions[i], true);
    }
}
END_TEST

/* One pixel, p = 1/2 and y = 1: printed 1 - 1/(5/4), dL/dp = -2/D + 4 S p/D^2 with D = 5/4, S = 1/2, times
 * p(1-p) = 1/4; smooth 1 - 2/(5/2), dL/dp = -2/D + 2/D^2 with D = 5/2. */
START_TEST(by_hand)
{
    for (int soft = 0; soft < 2; soft++) {
        Rig r;
        rig_open(&r, test_device());
        r.tape.recording = true;
        Tensor *x = leaf(&r, 1, 1, (double[]){0}), *y = leaf(&r, 1, 1, (double[]){1});
        Tensor *loss = segment_loss(&r.tape, x, y, soft);
        exact_close("loss", number(loss), 0.2, 2e-6);
        tape_backward(&r.tape, loss);
        exact_close("gradient", grad(x, 0), (soft ? -0.8 + 0.32 : -1.6 + 0.64) / 4, 2e-6);
        rig_close(&r);
    }
}
END_TEST

/* Nothing drawn and nothing there: a loss of 1 and no gradient as printed, of 0 when smooth. What is not a
 * number does not disappear. */
START_TEST(nothing_there)
{
    Rig r;
    rig_open(&r, test_device());
    r.tape.recording = true;
    Tensor *p = leaf(&r, 2, 3, (double[6]){0}), *y = leaf(&r, 2, 3, (double[6]){0});
    ck_assert(number(op_dice(&r.tape, p, y, true)) == 0);
    Tensor *loss = op_dice(&r.tape, p, y, false);
    ck_assert(number(loss) == 1);
    tape_backward(&r.tape, loss);
    for (int i = 0; i < 6; i++) ck_assert(grad(p, i) == 0);
    host_set(p, 4, NAN);
    ck_assert(isnan(number(op_dice(&r.tape, p, y, false))));
    ck_assert(isnan(number(op_dice(&r.tape, p, y, true))));
    rig_close(&r);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {worked_example, autograd, by_hand, nothing_there};
    Error e = {0};
    g = safetensors_open("tests/golden/losses.safetensors", &e);
    if (!g) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    int failed = run_tests("segment", tests, sizeof tests / sizeof *tests);
    tensor_file_close(g);
    return failed;
}
