/* ResNet: torchvision's resnet101 stage by stage in both stride variants; folding; sizes; faults of files. */
#include "models/resnet.h"
#include "tests/golden/golden.h"
#include "tests/models/main.h"
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

static const ResnetConfig mini = {1, 16, {16, 32, 32, 32}, {2, 2, 2, 2}, {1, 2, 1, 1}, false};

/* Wide convolutions without optimisation take minutes. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
enum { LARGE = 0 };
#else
enum { LARGE = 1 };
#endif

typedef struct Listener {
    TensorFile *golden;
    const char *prefix;
    int seen;
} Listener;

static void listen(void *user, const char *name, Tensor *x)
{
    Listener *l = user;
    char full[64];
    snprintf(full, sizeof full, "%s%s", l->prefix, name);
    golden_compare(l->golden, full, x, x->ndim == 4, GOLDEN_MAX, 1e-4);
    l->seen++;
}

static void check_resnet101(bool caffe, int64_t N, int64_t side, const char *prefix)
{
    Rig r;
    Weights w;
    Resnet net;
    Error e = {0};
    ResnetConfig c = {3, 64, {64, 128, 256, 512}, {3, 4, 23, 3}, {1, 2, 2, 2}, caffe};
    rig_open(&r, test_device());
    weights_init(&w, &r.weights, &r.state, NULL, 0);
    w.generator = golden_weight;
    ck_assert_msg(resnet_create(&net, &w, c, &e), "%s", e.msg);
    char name[32];
    snprintf(name, sizeof name, "image%d", (int)side);
    Tensor *x = golden_fill(tensor_f32(&r.state, N, side, side, 3), name, GOLDEN_INPUTS, 2, true);
    Listener l = {golden_open("tests/golden/resnet.safetensors"), prefix, 0};
    r.tape.tap = listen;
    r.tape.tap_user = &l;
    Tensor *grid = NULL, *pooled = NULL;
    resnet_forward(&r.tape, &net, x, false, side == 512 ? &grid : NULL, &pooled);
    ck_assert_int_eq(l.seen, side == 512 ? 7 : 6);
    tensor_file_close(l.golden);
    weights_close(&w);
    rig_close(&r);
}

START_TEST(resnet101_small)
{
    if (!test_affords("resnet101_small", 2 * 2.5)) return;
    check_resnet101(false, 2, 64, "v1.5.64.");
    check_resnet101(true, 2, 64, "caffe.64.");
}
END_TEST

START_TEST(resnet101_large)
{
    if (!LARGE || !test_affords("resnet101_large", 2 * 80)) return;
    check_resnet101(false, 1, 512, "v1.5.512.");
    check_resnet101(true, 1, 512, "caffe.512.");
}
END_TEST

/* A trainable network in eval mode, saved, opened frozen (folded): same features; and its shapes and strides
 * come back from the file. */
START_TEST(folding)
{
    Rig r;
    Weights w, frozen;
    Resnet net, folded;
    Error e = {0};
    rig_open(&r, test_device());
    weights_init(&w, &r.weights, &r.state, &r.params, 1);
    w.trainable = true;
    w.generator = golden_weight;
    ck_assert_msg(resnet_create(&net, &w, mini, &e), "%s", e.msg);
    params_alloc(&r.params);
    ck_assert_msg(weights_fill(&w, &e), "%s", e.msg);
    ck_assert_msg(weights_save((Weights *[]){&w}, 1, false, NULL, test_path(), &e), "%s", e.msg);
    weights_init(&frozen, &r.weights, &r.state, NULL, 0);
    ck_assert_msg(weights_open(&frozen, test_path(), &e) && resnet_open(&folded, &frozen, &e), "%s", e.msg);
    ck_assert_mem_eq(&folded.config, &net.config, sizeof mini);
    Tensor *x = golden_fill(tensor_f32(&r.state, 3, 128, 128, 1), "x", GOLDEN_INPUTS, 1, false);
    Tensor *grid[2], *pooled[2];
    resnet_forward(&r.tape, &net, x, false, &grid[0], &pooled[0]);
    resnet_forward(&r.tape, &folded, x, false, &grid[1], &pooled[1]);
    ck_assert_int_eq(grid[1]->dim[1], RESNET_GRID);
    ck_assert_int_eq(grid[1]->dim[3], 128);
    double worst = 0, sum = 0;
    float *a = host_copy(grid[0]), *b = host_copy(grid[1]);
    for (int64_t i = 0; i < tensor_len(grid[0]); i++) {
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
        sum += (double)a[i] * (double)a[i];
    }
    ck_assert_double_le(worst, test_tolerance(TOL_FOLDING) * sqrt(sum / (double)tensor_len(grid[0])));
    free(a);
    free(b);
    unlink(test_path());
    weights_close(&frozen);
    weights_close(&w);
    rig_close(&r);
}
END_TEST

static double sum_of_sizes(const Tensor *x)
{
    float *host = host_copy(x);
    double sum = 0;
    for (int64_t i = 0; i < tensor_len(x); i++) sum += fabs((double)host[i]);
    free(host);
    return sum;
}

static void descend(const Params *p, float rate)
{
    float *x = host_copy(p->weight), *g = host_copy(p->grad);
    for (int64_t i = 0; i < p->len; i++) x[i] -= rate * g[i];
    tensor_upload(p->weight, x);
    free(x);
    free(g);
}

/* Training mode: running statistics move, every weight gets a gradient, and a step along it lowers the loss. */
START_TEST(training)
{
    Rig r;
    Weights w;
    Resnet net;
    Error e = {0};
    rig_open(&r, test_device());
    weights_init(&w, &r.weights, &r.state, &r.params, 1);
    w.trainable = true;
    w.generator = golden_weight;
    ResnetConfig c = {1, 4, {2, 3, 4, 4}, {1, 1, 2, 1}, {1, 2, 1, 1}, false};
    ck_assert_msg(resnet_create(&net, &w, c, &e), "%s", e.msg);
    params_alloc(&r.params);
    ck_assert_msg(weights_fill(&w, &e), "%s", e.msg);
    float before = host_get(net.stem.var, 0), loss[2];
    for (int pass = 0; pass < 2; pass++) {
        r.tape.recording = true;
        Tensor *x = golden_fill(tensor_f32(&r.step, 2, 128, 128, 1), "x", GOLDEN_INPUTS, 1, false);
        Tensor *grid, *pooled;
        resnet_forward(&r.tape, &net, x, true, &grid, &pooled);
        Tensor *y = op_sum(&r.tape, op_mul(&r.tape, pooled, pooled), 1);
        loss[pass] = host_get(y, 0);
        tape_backward(&r.tape, y);
        tape_reset(&r.tape);
        for (int i = 0; pass == 0 && i < r.params.n; i++) {
            double sum = sum_of_sizes(r.params.entry[i].tensor->grad);
            ck_assert_msg(sum > 0 && isfinite(sum), "%s has no gradient", r.params.entry[i].name);
        }
        descend(&r.params, 1e-4f);
    }
    ck_assert_float_ne(before, host_get(net.stem.var, 0));
    ck_assert_float_lt(loss[1], loss[0]);
    weights_close(&w);
    rig_close(&r);
}
END_TEST

/* Grid features are never upsampled: the size is refused before anything runs. */
START_TEST(native_grid)
{
    Resnet net = {.config = mini};
    Error e = {0};
    ck_assert_int_eq(resnet_native_grid(&mini, 128), 16);
    ck_assert(resnet_check_side(&net, 128, &e));
    ck_assert(resnet_check_side(&net, 112, &e));
    ck_assert(!resnet_check_side(&net, 96, &e));
    ck_assert_str_eq(e.msg,
                     "images of 96 px give this ResNet a grid of 12 x 12: expected at least 14 x 14, grids "
                     "are never upsampled");
    ResnetConfig full = {3, 64, {64, 128, 256, 512}, {3, 4, 23, 3}, {1, 2, 2, 2}, false}, caffe = full;
    caffe.caffe = true;
    ck_assert_int_eq(resnet_native_grid(&full, 512), 16);
    ck_assert_int_eq(resnet_native_grid(&caffe, 512), 16);
    ck_assert_int_eq(resnet_native_grid(&full, 224), 7);
    for (int64_t side = 1; side < 70; side++) { /* caffe's ceil mode: 112 -> 56, 5 -> 2, 2 -> 1 */
        int64_t n = (side - 1) / 2 + 1, windows = 1;
        while (windows * 2 < n && windows * 2 + 3 < n + 2) windows++;
        ResnetConfig one = caffe;
        for (int s = 0; s < RESNET_STAGES; s++) one.stride[s] = 1;
        ck_assert_int_eq(resnet_native_grid(&one, side), windows);
    }
}
END_TEST

/* A programmer who asks for the grid of too small an image is stopped: this program again, with an argument. */
static int upsample(void) /* Check's assertions work inside tests only */
{
    Arena arena;
    Tape t;
    Weights w;
    Resnet net;
    Tensor *grid;
    if (!arena_open(&arena, "all", test_device(), (size_t)1 << 30, NULL)) return 1;
    tape_init(&t, &arena, &arena, 1);
    weights_init(&w, &arena, &arena, NULL, 1);
    if (!resnet_create(&net, &w, mini, NULL)) return 1;
    Tensor *x = tensor_zeros(&arena, DTYPE_f32, 4, (int64_t[]){1, 64, 64, 1});
    resnet_forward(&t, &net, x, false, &grid, NULL);
    return 0;
}

START_TEST(upsampling_dies)
{
    const char *log = test_path();
    char *const argv[] = {"test_resnet", "upsample", NULL};
    char text[256] = "";
    pid_t pid;
    int status;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert_int_eq(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    FILE *f = fopen(log, "r");
    ck_assert(f && fread(text, 1, sizeof text - 1, f) > 0);
    fclose(f);
    unlink(log);
    ck_assert_str_eq(text,
                     "fatal: resnet: f32 (1,8,8,128) from f32 (1,64,64,1) would be upsampled to 14 x 14\n");
}
END_TEST

/* Plan: the peak of a network of many blocks is that of one with two blocks a stage. */
static size_t inference_peak(int depth)
{
    Rig r;
    Weights w;
    Resnet net;
    Error e = {0};
    rig_open(&r, &backend_plan);
    weights_init(&w, &r.weights, &r.state, &r.params, 1);
    w.trainable = true;
    ResnetConfig c = {1, 16, {4, 4, 4, 4}, {depth, depth, depth, depth}, {1, 1, 1, 1}, false};
    ck_assert_msg(resnet_create(&net, &w, c, &e), "%s", e.msg);
    params_alloc(&r.params);
    Tensor *x = tensor_f32(&r.state, 2, 64, 64, 1);
    resnet_features(&r.tape, &net, x, false);
    size_t peak = r.step.peak;
    weights_close(&w);
    rig_close(&r);
    return peak;
}

START_TEST(one_block_in_memory) { ck_assert_uint_eq(inference_peak(8), inference_peak(2)); }
END_TEST

START_TEST(public_size)
{
    Rig r;
    Weights w;
    Resnet net;
    ResnetConfig c = {3, 64, {64, 128, 256, 512}, {3, 4, 23, 3}, {1, 2, 2, 2}, false};
    rig_open(&r, &backend_plan);
    weights_init(&w, &r.weights, &r.state, &r.params, 1);
    w.trainable = true;
    ck_assert(resnet_create(&net, &w, c, NULL));
    ck_assert_int_eq(params_count(&r.params), 42500160);
    ck_assert_int_eq(w.n, 520); /* 104 convs, each with four BatchNorm vectors */
    weights_close(&w);
    rig_close(&r);
}
END_TEST

static void expect_open_error(const char *drop, const char *key, const char *value, const char *message)
{
    Rig r;
    Weights w;
    Resnet net;
    Error e = {0};
    rig_open(&r, test_device());
    weights_init(&w, &r.weights, &r.state, &r.params, 1);
    w.trainable = true;
    ResnetConfig c = {1, 2, {1, 1, 1, 1}, {1, 1, 1, 1}, {1, 1, 1, 1}, false};
    ck_assert(resnet_create(&net, &w, c, &e));
    params_alloc(&r.params);
    ck_assert(weights_fill(&w, &e));
    for (int i = 0; drop && i < w.n; i++)
        if (!strcmp(w.item[i].name, drop)) w.item[i] = w.item[--w.n];
    ck_assert(weights_save((Weights *[]){&w}, 1, false, (const char *[]){key, value, NULL}, test_path(), &e));
    weights_close(&w);
    weights_init(&w, &r.weights, &r.state, NULL, 1);
    ck_assert(weights_open(&w, test_path(), &e));
    ck_assert(!resnet_open(&net, &w, &e));
    ck_assert_str_eq(after_path(e.msg), message);
    ck_assert_int_eq(e.code, ERROR_INPUT);
    weights_close(&w);
    unlink(test_path());
    rig_close(&r);
}

START_TEST(file_faults)
{
    expect_open_error("layer2.0.bn2.running_var", "x", "y",
                      "tensor layer2.0.bn2.running_var is missing: expected shape [1]");
    expect_open_error("conv1.weight", "x", "y", "tensor conv1.weight is missing");
    expect_open_error(NULL, "resnet.strides", "1,2,2",
                      "metadata resnet.strides: expected four numbers like 1,2,2,2, "
                      "found \"1,2,2\"");
    expect_open_error(NULL, "resnet.style", "torch",
                      "metadata resnet.style: expected v1.5 or caffe, found \"torch\"");
    expect_open_error(NULL, "resnet.strides", "1,9,2,2", "ResNet stage 2: 1 blocks of width 1, stride 9");
}
END_TEST

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "upsample")) return upsample();
    const TTest *const tests[] = {resnet101_small, resnet101_large,     folding,     training,   native_grid,
                                  upsampling_dies, one_block_in_memory, public_size, file_faults};
    return run_tests("resnet", tests, sizeof tests / sizeof *tests);
}
