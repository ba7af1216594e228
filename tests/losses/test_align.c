/* Equations 6 and 9: the worked numbers of the formula, torch's autograd on random pairs, and the cases where
 * there is nothing to contrast: one pair, vectors of length 0, samples of one row, a scale past its limit. */
#include "losses/align.h"
#include "tests/losses/exact.h"
#include "tests/models/main.h"
#include "tests/tensor/death.h"
#include "tests/kernels/test_infonce.c"
#include <omp.h>

static TensorFile *g;

/* A leaf (n,D), or (n) for D = 0, with a zeroed gradient, filled from doubles. */
static Tensor *leaf(Rig *r, int64_t n, int64_t D, const double *value)
{
    Tensor *x = tensor_f32(&r->state, n, D, 0, 0);
    host_upload(x, value);
    x->needs_grad = true;
    x->grad = tensor_zeros(&r->state, DTYPE_f32, x->ndim, x->dim);
    return x;
}

static Tensor *whole(Rig *r, int64_t n, const int32_t *value)
{
    Tensor *x = tensor_new(&r->state, DTYPE_i32, 1, &n);
    tensor_upload(x, value);
    return x;
}

static void open_recording(Rig *r)
{
    rig_open(r, test_device());
    r->tape.recording = true;
}

static double grad(const Tensor *x, int64_t i) { return (double)host_get(x->grad, i); }
static double number(const Tensor *x) { return (double)host_get(x, 0); }

/* ---- numbers ---- */

/* n = 5, D = 16, v[i][k] = sin(0.1 i k), w[i][k] = cos(0.13 i (k+1)), i = 1..5, k = 1..16. The printed form is
 * a sum over pairs, the standard one a mean. */
START_TEST(worked_example)
{
    enum { n = 5, D = 16 };
    static const struct {
        bool standard;
        double alpha_v, alpha_w, loss, slope[4]; /* dv[0,0], dv[4,15], dw[0,0], dw[2,7] */
    } rows[] = {{false, 1, 1, 77.8059154047, {-1.1507103972, -0.8548584547, -2.1917775221, 0.2768601787}},
                {false, 0.7, 1.3, 76.7257567579, {-1.2225555686, -0.7873739999, -2.0011958075, 0.1294458305}},
                {true, 1, 1, 15.6194909764, {-0.1898805714, -0.1709713553, -0.4404804742, 0.0160305386}},
                {true, 0.7, 1.3, 15.3859681402, {-0.2163265516, -0.1574743641, -0.4017253421, -0.0016498818}}};
    static const int64_t place[4] = {0, 4 * D + 15, 0, 2 * D + 7};
    double v[n * D], w[n * D], scale = log(1 / 0.07);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < D; k++) {
            v[i * D + k] = sin(0.1 * (i + 1) * (k + 1));
            w[i * D + k] = cos(0.13 * (i + 1) * (k + 2));
        }
    double *const in[NODE_INPUTS] = {v, w, &scale};
    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
        bool with_self = rows[row].standard;
        /* In double: 0.07 as a scale, and the two directions apart, for neither 0.07 nor 0.7 is a float. */
        double loss = 0, slope[4] = {0};
        for (int way = 0; way < 2; way++) {
            InfonceParams p = {way == 0, way == 1, 0, with_self, with_self};
            KernelCase k = {.in = {{{n, D}}, {{n, D}}, {{1}}}, .params = &p};
            double y, alpha = way ? rows[row].alpha_w : rows[row].alpha_v;
            oracle(&y, NULL, in, &k);
            loss += alpha * y;
            for (int i = 0; i < 4; i++) slope[i] += alpha * exact_slope(oracle, in, &k, i / 2, place[i], 3e-3);
        }
        exact_close("loss", loss, rows[row].loss, 1e-10);
        for (int i = 0; i < 4; i++) exact_close("gradient", slope[i], rows[row].slope[i], 1e-10);

        Rig r;
        open_recording(&r);
        Tensor *x[2] = {leaf(&r, n, D, v), leaf(&r, n, D, w)};
        AlignOptions o = {(float)rows[row].alpha_v, (float)rows[row].alpha_w, 0.07f, with_self, with_self};
        Tensor *out = align_loss(&r.tape, x[0], x[1], NULL, NULL, &o);
        exact_close("loss, f32", number(out), rows[row].loss, 1e-5 * rows[row].loss);
        tape_backward(&r.tape, out);
        for (int i = 0; i < 4; i++) {
            double want = rows[row].slope[i];
            exact_close("gradient, f32", grad(x[i / 2], place[i]), want, 1e-5 * fabs(want));
        }
        rig_close(&r);
    }
}
END_TEST

typedef struct Variant {
    const char *name;
    InfonceParams p; /* tau 0: learnt */
    bool groups;
} Variant;

static void against_autograd(int n, const Variant *variant)
{
    enum { D = 512, PAIRS = 28 };
    static double v[PAIRS * D], w[PAIRS * D];
    static float file[2][PAIRS * D];
    char name[40], full[48];
    double scale = variant->p.tau > 0 ? log(1 / 0.07) : (double)2.6592f, same[PAIRS];
    int32_t group[PAIRS];
    snprintf(name, sizeof name, "infonce%d.v", n);
    rng_fill(file[0], n * D, GOLDEN_INPUTS, name, 1);
    name[strlen(name) - 1] = 'w';
    rng_fill(file[1], n * D, GOLDEN_INPUTS, name, 1);
    for (int i = 0; i < n * D; i++) {
        v[i] = (double)file[0][i];
        w[i] = (double)file[1][i] + 0.5 * v[i];
    }
    for (int i = 0; i < n; i++) same[i] = group[i] = i % ((n + 1) / 2);
    double *const in[NODE_INPUTS] = {v, w, &scale, variant->groups ? same : NULL};
    KernelCase k = {.in = {{{n, D}}, {{n, D}}, {{1}}}, .params = &variant->p};
    snprintf(name, sizeof name, "infonce%d.%s", n, variant->name);
    exact_value(g, name, oracle, in, &k, 1e-10);
    exact_gradient(g, name, "v", oracle, in, &k, 0, 1e-10);
    exact_gradient(g, name, "w", oracle, in, &k, 1, 1e-10);

    Rig r;
    open_recording(&r);
    Tensor *x = leaf(&r, n, D, v), *y = leaf(&r, n, D, w), *s = NULL, *out;
    if (!(variant->p.tau > 0)) s = leaf(&r, 1, 0, &scale);
    out = align_loss(&r.tape, x, y, s, variant->groups ? whole(&r, n, group) : NULL, &variant->p);
    snprintf(full, sizeof full, "%s.y", name);
    golden_compare(g, full, out, false, GOLDEN_MAX, 1e-5);
    tape_backward(&r.tape, out);
    const Tensor *const gradients[] = {x->grad, y->grad, s ? s->grad : NULL};
    for (int i = 0; i < (s ? 3 : 2); i++) {
        snprintf(full, sizeof full, "%s.d%c", name, "vws"[i]);
        golden_compare(g, full, gradients[i], false, GOLDEN_L2, 1e-5);
    }
    if (s) exact_gradient(g, name, "s", oracle, in, &k, 2, 1e-10);
    rig_close(&r);
}

START_TEST(autograd)
{
    static const Variant variants[] = {{"printed", {1, 1, 0.07f, false, false}, false},
                                       {"uneven", {0.75f, 1.25f, 0.07f, false, false}, false},
                                       {"standard", {1, 1, 0.07f, true, true}, false},
                                       {"learnt", {0.75f, 1.25f, 0, true, true}, false},
                                       {"groups", {0.75f, 1.25f, 0, false, false}, true}};
    static const int pairs[] = {2, 5, 28};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        for (size_t j = 0; j < sizeof variants / sizeof *variants; j++)
            against_autograd(pairs[i], &variants[j]);
}
END_TEST

/* ---- edges ---- */

START_TEST(one_pair)
{
    for (int standard_form = 0; standard_form < 2; standard_form++) {
        Rig r;
        open_recording(&r);
        Tensor *v = leaf(&r, 1, 3, (double[]){1, -2, 0.5}), *w = leaf(&r, 1, 3, (double[]){0.25, 3, 1});
        Tensor *scale = leaf(&r, 1, 0, (double[]){2.5});
        Tensor *loss = align_loss(&r.tape, v, w, scale, NULL, standard_form ? &standard : &printed);
        ck_assert(number(loss) == 0);
        tape_backward(&r.tape, loss);
        for (int i = 0; i < 3; i++) ck_assert(grad(v, i) == 0 && grad(w, i) == 0);
        ck_assert(grad(scale, 0) == 0);
        rig_close(&r);
    }
}
END_TEST

/* v = (1,0), 0; w = (1,0), (0,1); tau 1, as printed: s = [1 0; 0 0], both rows and both columns give -1 and 0,
 * so L = -1; dL/ds = [-1 1; 1 -1]. */
START_TEST(length_zero)
{
    static const double dv[4] = {0, 1, 0, 0}, dw[4] = {0, 0, 1, 0};
    const AlignOptions o = {1, 1, 1, false, false};
    Rig r;
    open_recording(&r);
    Tensor *v = leaf(&r, 2, 2, (double[]){1, 0, 0, 0}), *w = leaf(&r, 2, 2, (double[]){1, 0, 0, 1});
    Tensor *loss = align_loss(&r.tape, v, w, NULL, NULL, &o);
    exact_close("loss", number(loss), -1, 1e-6);
    tape_backward(&r.tape, loss);
    for (int i = 0; i < 4; i++) {
        exact_close("dv", grad(v, i), dv[i], 1e-6);
        exact_close("dw", grad(w, i), dw[i], 1e-6);
    }
    host_set(w, 3, NAN);
    ck_assert(isnan(number(align_loss(&r.tape, v, w, NULL, NULL, &o))));
    rig_close(&r);
}
END_TEST

/* Past ln 100 the factor stays 100 and the scale has no gradient; vectors have. */
START_TEST(scale_limit)
{
    static const double a[6] = {1, 2, -1, 0.5, 2, 0.25}, b[6] = {0.5, 1, -2, 3, -1, 1};
    const AlignOptions o = {1, 1, 0, true, true}, fixed = {1, 1, 0.01f, true, true};
    Rig r;
    open_recording(&r);
    Tensor *v = leaf(&r, 3, 2, a), *w = leaf(&r, 3, 2, b), *v2 = leaf(&r, 3, 2, a), *w2 = leaf(&r, 3, 2, b);
    Tensor *high = leaf(&r, 1, 0, (double[]){6}), *low = leaf(&r, 1, 0, (double[]){4.6});
    Tensor *loss = align_loss(&r.tape, v, w, high, NULL, &o);
    double got = number(loss);
    tape_backward(&r.tape, loss);
    tape_reset(&r.tape);
    loss = align_loss(&r.tape, v2, w2, NULL, NULL, &fixed);
    exact_close("loss", got, number(loss), 1e-6 * got);
    tape_backward(&r.tape, loss);
    ck_assert(grad(high, 0) == 0);
    for (int i = 0; i < 6; i++) {
        exact_close("dv", grad(v, i), grad(v2, i), 1e-5 * (1 + fabs(grad(v2, i))));
        exact_close("dw", grad(w, i), grad(w2, i), 1e-5 * (1 + fabs(grad(w2, i))));
    }
    tape_reset(&r.tape);
    tape_backward(&r.tape, align_loss(&r.tape, v, w, low, NULL, &o));
    ck_assert(grad(low, 0) > 1);
    rig_close(&r);
}
END_TEST

/* Bit-equal for any number of threads. */
START_TEST(threads)
{
    enum { n = 40, D = 101 };
    const AlignOptions o = {0.7f, 1.3f, 0.07f, false, false};
    float loss[3], *dv[3];
    Rig r[3];
    int most = omp_get_max_threads();
    for (int i = 0; i < 3; i++) {
        omp_set_num_threads(i + 1);
        open_recording(&r[i]);
        Tensor *v = golden_fill(tensor_f32(&r[i].state, n, D, 0, 0), "v", GOLDEN_INPUTS, 1, false);
        Tensor *w = golden_fill(tensor_f32(&r[i].state, n, D, 0, 0), "w", GOLDEN_INPUTS, 1, false);
        v->needs_grad = w->needs_grad = true;
        v->grad = tensor_zeros(&r[i].state, DTYPE_f32, 2, v->dim);
        w->grad = tensor_zeros(&r[i].state, DTYPE_f32, 2, w->dim);
        Tensor *out = align_loss(&r[i].tape, v, w, NULL, NULL, &o);
        loss[i] = host_get(out, 0);
        tape_backward(&r[i].tape, out);
        dv[i] = host_copy(v->grad);
        ck_assert(loss[i] == loss[0]);
        ck_assert_mem_eq(dv[i], dv[0], n * D * sizeof(float));
    }
    omp_set_num_threads(most);
    for (int i = 0; i < 3; i++) {
        free(dv[i]);
        rig_close(&r[i]);
    }
}
END_TEST

/* ---- samples ---- */

/* Rows 0, 2, 5 are one sample, 1 and 3 another, 4 is alone; rows 0 and 5 say the same. */
START_TEST(samples)
{
    enum { n = 6, D = 4 };
    static const int32_t sample[n] = {7, -3, 7, -3, 9, 7}, same[n] = {1, 2, 3, 4, 5, 1};
    static const int32_t first[3] = {0, 2, 5}, second[2] = {1, 3}, first_same[3] = {1, 3, 1};
    for (int with = 0; with < 2; with++) {
        const AlignOptions o = {0.7f, 1.3f, 0.5f, with, with};
        Rig r;
        open_recording(&r);
        Tensor *v[2], *w[2], *scale[2];
        for (int i = 0; i < 2; i++) {
            double zero[n * D] = {0.4};
            v[i] = golden_fill(leaf(&r, n, D, zero), "v", GOLDEN_INPUTS, 1, false);
            w[i] = golden_fill(leaf(&r, n, D, zero), "w", GOLDEN_INPUTS, 1, false);
            scale[i] = with ? leaf(&r, 1, 0, zero) : NULL;
        }
        Tensor *all = align_loss_groups(&r.tape, v[0], w[0], scale[0], with ? same : NULL, &o, sample, n);
        double got = number(all);
        tape_backward(&r.tape, all);
        tape_reset(&r.tape);
        Tensor *a = whole(&r, 3, first), *b = whole(&r, 2, second);
        Tensor *la = align_loss(&r.tape, op_select(&r.tape, v[1], a), op_select(&r.tape, w[1], a), scale[1],
                                with ? whole(&r, 3, first_same) : NULL, &o);
        Tensor *lb =
            align_loss(&r.tape, op_select(&r.tape, v[1], b), op_select(&r.tape, w[1], b), scale[1], NULL, &o);
        exact_close("loss", got, (number(la) + number(lb)) / 2, 1e-6);
        tape_backward(&r.tape, op_scale(&r.tape, op_add(&r.tape, la, lb), 0.5f));
        double most = 0;
        for (int i = 0; i < n * D; i++) {
            exact_close("dv", grad(v[0], i), grad(v[1], i), 1e-6);
            exact_close("dw", grad(w[0], i), grad(w[1], i), 1e-6);
            if (i / D == 4) ck_assert(grad(v[0], i) == 0 && grad(w[0], i) == 0);
            most = fmax(most, fabs(grad(v[0], i)));
        }
        ck_assert(most > 0.01);
        if (with) exact_close("dscale", grad(scale[0], 0), grad(scale[1], 0), 1e-6);
        rig_close(&r);
    }
}
END_TEST

START_TEST(no_sample_of_two)
{
    static const int32_t apart[3] = {4, 0, 2}, same[3] = {1, 1, 1};
    Rig r;
    open_recording(&r);
    Tensor *v = leaf(&r, 3, 2, (double[]){1, 2, 3, -4, 5, 6}),
           *w = leaf(&r, 3, 2, (double[]){2, 1, 0, 3, 3, -4});
    for (int form = 0; form < 2; form++) {
        Tensor *loss = align_loss_groups(&r.tape, v, w, NULL, same, form ? &standard : &printed, apart, 3);
        ck_assert(number(loss) == 0);
        tape_backward(&r.tape, loss);
        for (int i = 0; i < 6; i++) ck_assert(grad(v, i) == 0 && grad(w, i) == 0);
        tape_reset(&r.tape);
    }
    rig_close(&r);
}
END_TEST

/* ---- misuse ---- */

static void misuse(int64_t rows_w, int64_t same, float tau, int64_t n)
{
    static const int32_t sample[4];
    const AlignOptions o = {1, 1, tau, false, false};
    Rig r = {0};
    Error e = {0};
    const size_t room = 1 << 20;
    if (!arena_open(&r.state, "state", test_device(), room, &e) ||
        !arena_open(&r.step, "step", test_device(), room, &e) ||
        !arena_open(&r.scratch, "scratch", test_device(), room, &e))
        return;
    tape_init(&r.tape, &r.step, &r.scratch, 1);
    Tensor *v = tensor_zeros(&r.state, DTYPE_f32, 2, (int64_t[]){2, 3});
    Tensor *w = tensor_zeros(&r.state, DTYPE_f32, 2, (int64_t[]){rows_w, 3});
    align_loss_groups(&r.tape, v, w, NULL, sample, &o, sample, n);
    align_loss(&r.tape, v, w, NULL, whole(&r, same, sample), &o);
}
static void other_rows(void) { misuse(3, 2, 1, 2); }
static void other_same(void) { misuse(2, 3, 1, 2); }
static void no_tau(void) { misuse(2, 2, 0, 2); }
static void other_samples(void) { misuse(2, 2, 1, 4); }
static void fine(void) { misuse(2, 2, 1, 2); }
static const DeathCase deaths[] = {{"other_rows", other_rows},
                                   {"other_same", other_same},
                                   {"no_tau", no_tau},
                                   {"other_samples", other_samples},
                                   {"fine", fine}};

START_TEST(what_it_says)
{
    assert_death("other_rows", DEATH_ABORT, "align: rows of v f32 (2,3) and w f32 (3,3) are not paired");
    assert_death("other_same", DEATH_ABORT, "same i32 (3)");
    assert_death("no_tau", DEATH_ABORT, "infonce: tau 0 is not above 0");
    assert_death("other_samples", DEATH_ABORT, "align: 4 samples for v f32 (2,3)\n");
    assert_death("fine", DEATH_SURVIVED, "");
}
END_TEST

int main(int argc, char **argv)
{
    DEATH_MAIN(deaths, argc, argv);
    const TTest *const tests[] = {worked_example, autograd, one_pair,         length_zero, scale_limit,
                                  threads,        samples,  no_sample_of_two, what_it_says};
    Error e = {0};
    g = safetensors_open("tests/golden/losses.safetensors", &e);
    if (!g) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    int failed = run_tests("align", tests, sizeof tests / sizeof *tests);
    tensor_file_close(g);
    return failed;
}
