/* The ops of vision transformers and of mask training against torch in double: layer normalisation, GELU,
 * shifted windows, focal loss. */
#include "kernels/ops.h"
#include "tests/golden/golden.h"
#include "tests/models/main.h"

static TensorFile *g;

/* NAME.KEY, filled with the shared generator as it lies in memory, with a zeroed gradient. */
static Tensor *leaf(Rig *r, const char *name, const char *key, int ndim, const int64_t *dim, float a)
{
    char full[64];
    snprintf(full, sizeof full, "%s.%s", name, key);
    Tensor *x = golden_fill(tensor_new(&r->state, DTYPE_f32, ndim, dim), full, GOLDEN_INPUTS, a, false);
    x->needs_grad = true;
    x->grad = tensor_zeros(&r->state, DTYPE_f32, ndim, dim);
    return x;
}

static void compare(const char *name, const char *key, const Tensor *x, GoldenNorm norm, double tol)
{
    char full[64];
    snprintf(full, sizeof full, "%s.%s", name, key);
    golden_compare(g, full, x, false, norm, tol);
}

/* Compares y with NAME.y, then runs backward of sum(y * dy). */
static void backward(Rig *r, const char *name, Tensor *y, double tol)
{
    compare(name, "y", y, GOLDEN_MAX, tol);
    Tensor *dy = leaf(r, name, "dy", y->ndim, y->dim, 1);
    tape_backward(&r->tape, op_sum(&r->tape, op_mul(&r->tape, y, dy), 1));
    tape_reset(&r->tape);
}

START_TEST(layernorm)
{
    static const struct {
        const char *name;
        int64_t rows, width;
        float eps;
    } cases[] = {
        {"layernorm96", 49, 96, 1e-5f}, {"layernorm768", 70, 768, 1e-12f}, {"layernorm1280", 9, 1280, 1e-6f}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Rig r;
        const char *name = cases[i].name;
        rig_open(&r, test_device());
        r.tape.recording = true;
        Tensor *x = leaf(&r, name, "x", 2, (int64_t[]){cases[i].rows, cases[i].width}, 3),
               *w = leaf(&r, name, "w", 1, &cases[i].width, 1), *b = leaf(&r, name, "b", 1, &cases[i].width, 1);
        Tensor *far = tensor_new(&r.state, DTYPE_f32, 2, x->dim);
        tensor_fill(far, 1.5f);
        backward(&r, name, op_layernorm(&r.tape, op_add(&r.tape, x, far), w, b, cases[i].eps), 3e-6);
        compare(name, "dx", x->grad, GOLDEN_L2, 3e-6);
        compare(name, "dw", w->grad, GOLDEN_L2, 3e-6);
        compare(name, "db", b->grad, GOLDEN_L2, 3e-6);
        rig_close(&r);
    }
}
END_TEST

START_TEST(gelu)
{
    Rig r;
    rig_open(&r, test_device());
    r.tape.recording = true;
    Tensor *x = leaf(&r, "gelu", "x", 2, (int64_t[]){37, 641}, 8);
    backward(&r, "gelu", op_gelu(&r.tape, x), 1e-6);
    compare("gelu", "dx", x->grad, GOLDEN_L2, 1e-6);
    rig_close(&r);
}
END_TEST

/* Bit by bit but for the golden's rounding; and back again. */
START_TEST(windows)
{
    static const struct {
        const char *name;
        int64_t H, W;
        int size, shift;
    } cases[] = {{"window14", 16, 16, 14, 0},
                 {"window7", 17, 12, 7, 3},
                 {"window4", 8, 8, 4, 2},
                 {"window8", 5, 6, 8, 4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Rig r;
        const char *name = cases[i].name;
        rig_open(&r, test_device());
        r.tape.recording = true;
        Tensor *x = leaf(&r, name, "x", 4, (int64_t[]){2, cases[i].H, cases[i].W, 12}, 1);
        Tensor *y = op_window(&r.tape, x, cases[i].size, cases[i].shift);
        Tensor *back = op_unwindow(&r.tape, y, (int)cases[i].H, (int)cases[i].W, cases[i].shift);
        float *want = host_copy(x), *got = host_copy(back);
        ck_assert_mem_eq(got, want, tensor_bytes(x));
        free(want);
        free(got);
        backward(&r, name, y, 1e-7);
        compare(name, "dx", x->grad, GOLDEN_L2, 1e-7);
        rig_close(&r);
    }
}
END_TEST

START_TEST(focal)
{
    static const struct {
        const char *name;
        float alpha, gamma;
    } cases[] = {{"focal", 0.25f, 2}, {"focal.steep", 0.75f, 3.5f}};
    const int64_t dim[] = {6, 37, 37};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Rig r;
        const char *name = cases[i].name;
        rig_open(&r, test_device());
        r.tape.recording = true;
        Tensor *x = leaf(&r, name, "x", 3, dim, 8), *y = leaf(&r, name, "target", 3, dim, 1);
        float *target = host_copy(y);
        for (int64_t j = 0; j < tensor_len(y); j++) target[j] = target[j] > 0.5f;
        tensor_upload(y, target);
        free(target);
        Tensor *loss = op_focal(&r.tape, x, y, cases[i].alpha, cases[i].gamma, 1 / 1369.0f);
        compare(name, "loss", loss, GOLDEN_MAX, 1e-6);
        tape_backward(&r.tape, loss);
        compare(name, "dx", x->grad, GOLDEN_L2, 2e-6);
        rig_close(&r);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {layernorm, gelu, windows, focal};
    Error e = {0};
    g = safetensors_open("tests/golden/vision.safetensors", &e);
    if (!g) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    int failed = run_tests("vision", tests, sizeof tests / sizeof *tests);
    tensor_file_close(g);
    return failed;
}
