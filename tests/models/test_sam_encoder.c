/* SAM's image encoder against segment-anything: every block, every gradient; the public sizes; files. */
#include "models/sam_encoder.h"
#include "tests/golden/golden.h"
#include "tests/models/main.h"
#include <string.h>
#include <unistd.h>

static const SamEncoderConfig golden_config = {.image = 256,
                                               .patch = 16,
                                               .width = 64,
                                               .heads = 4,
                                               .mlp = 256,
                                               .window = 14,
                                               .out = 256,
                                               .global = 1 << 1 | 1 << 3,
                                               .depth = 4};

typedef struct Listener {
    TensorFile *golden;
    int seen;
} Listener;

static void listen(void *user, const char *name, Tensor *x)
{
    Listener *l = user;
    golden_compare(l->golden, name, x, !strcmp(name, "embedding"), GOLDEN_MAX, test_tolerance(TOL_SAM));
    l->seen++;
}

static void open_encoder(Rig *r, Weights *w, SamEncoder *net, SamEncoderConfig config)
{
    Error e = {0};
    rig_open(r, test_device());
    weights_init(w, &r->weights, &r->state, &r->params, 1);
    w->trainable = true;
    w->generator = golden_weight;
    ck_assert_msg(sam_encoder_create(net, w, config, &e), "%s", e.msg);
    params_alloc(&r->params);
    ck_assert_msg(weights_fill(w, &e), "%s", e.msg);
}

START_TEST(golden)
{
    Rig r;
    Weights w;
    SamEncoder net;
    Listener l = {golden_open("tests/golden/sam_encoder.safetensors"), 0};
    char name[192];
    open_encoder(&r, &w, &net, golden_config);
    Tensor *x = golden_fill(tensor_f32(&r.state, 2, 256, 256, 3), "image", GOLDEN_INPUTS, 2, true);
    x->needs_grad = true;
    x->grad = tensor_zeros(&r.state, DTYPE_f32, 4, x->dim);
    r.tape.tap = listen;
    r.tape.tap_user = &l;
    r.tape.recording = true;
    Tensor *y = sam_encoder_forward(&r.tape, &net, x);
    ck_assert_int_eq(l.seen, 6);
    Tensor *dy = golden_fill(tensor_like(&r.state, y), "embedding.dy", GOLDEN_INPUTS, 1, true);
    tape_backward(&r.tape, op_sum(&r.tape, op_mul(&r.tape, y, dy), 1));
    golden_compare(l.golden, "dx", x->grad, true, GOLDEN_L2, test_tolerance(TOL_SAM));
    for (int i = 0; i < w.n; i++) {
        snprintf(name, sizeof name, "d.%s", w.item[i].name);
        golden_compare(l.golden, name, w.item[i].tensor->grad, w.item[i].spec.kind == WEIGHT_CONV, GOLDEN_L2,
                       test_tolerance(TOL_SAM));
    }
    tensor_file_close(l.golden);
    weights_close(&w);
    rig_close(&r);
}
END_TEST

/* What the public checkpoints have. */
START_TEST(public_sizes)
{
    static const struct {
        int64_t width, heads, weights;
        uint64_t global;
        int depth;
    } size[] = {{768, 12, 89670912, 1 << 2 | 1 << 5 | 1 << 8 | 1 << 11, 12},
                {1024, 16, 308278272, 1 << 5 | 1 << 11 | 1 << 17 | 1 << 23, 24},
                {1280, 16, 637026048, 1 << 7 | 1 << 15 | 1 << 23 | (uint64_t)1 << 31, 32}};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        Rig r;
        Weights w;
        SamEncoder net;
        rig_open(&r, &backend_plan);
        weights_init(&w, &r.weights, &r.state, &r.params, 1);
        w.trainable = true;
        SamEncoderConfig c = {.image = 1024,
                              .patch = 16,
                              .width = size[i].width,
                              .heads = size[i].heads,
                              .mlp = 4 * size[i].width,
                              .window = 14,
                              .out = 256,
                              .global = size[i].global,
                              .depth = size[i].depth};
        ck_assert(sam_encoder_create(&net, &w, c, NULL));
        ck_assert_int_eq(params_count(&r.params), size[i].weights);
        weights_close(&w);
        rig_close(&r);
    }
}
END_TEST

static const SamEncoderConfig small_config = {.image = 24,
                                              .patch = 4,
                                              .width = 12,
                                              .heads = 3,
                                              .mlp = 20,
                                              .window = 4,
                                              .out = 8,
                                              .global = 1,
                                              .depth = 2};

/* Sizes and which blocks are global come back from a file, and so do the answers, frozen. */
START_TEST(file)
{
    Rig r;
    Weights w, again;
    SamEncoder net, from_file;
    Error e = {0};
    open_encoder(&r, &w, &net, small_config);
    ck_assert_msg(weights_save((Weights *[]){&w}, 1, false, NULL, test_path(), &e), "%s", e.msg);
    weights_init(&again, &r.weights, &r.state, NULL, 0);
    ck_assert_msg(weights_open(&again, test_path(), &e) && sam_encoder_open(&from_file, &again, &e), "%s",
                  e.msg);
    ck_assert_mem_eq(&from_file.config, &small_config, sizeof small_config);
    Tensor *x = golden_fill(tensor_f32(&r.state, 1, 24, 24, 3), "x", GOLDEN_INPUTS, 1, true);
    Tensor *y = sam_encoder_forward(&r.tape, &net, x), *z = sam_encoder_forward(&r.tape, &from_file, x);
    void *a = host_copy(y), *b = host_copy(z);
    ck_assert_mem_eq(a, b, tensor_bytes(y));
    free(a);
    free(b);
    unlink(test_path());
    weights_close(&again);
    weights_close(&w);
    rig_close(&r);
}
END_TEST

/* A file that holds one tensor in place of an encoder's: what is wrong is one line. */
static void check_bad(const char *name, int ndim, const int64_t *dim, const char *message)
{
    Rig r;
    Weights w, again;
    SamEncoder net;
    Error e = {0};
    open_encoder(&r, &w, &net, small_config);
    for (int i = 0; i < w.n; i++) {
        if (strcmp(w.item[i].name, name)) continue;
        w.item[i].tensor = tensor_zeros(&r.state, DTYPE_f32, ndim, dim);
        w.item[i].spec.kind = WEIGHT_PLAIN;
        memset(w.item[i].spec.dim, 0, sizeof w.item[i].spec.dim);
        memcpy(w.item[i].spec.dim, dim, (size_t)ndim * sizeof *dim);
    }
    ck_assert_msg(weights_save((Weights *[]){&w}, 1, false, NULL, test_path(), &e), "%s", e.msg);
    weights_init(&again, &r.weights, &r.state, NULL, 0);
    ck_assert(weights_open(&again, test_path(), &e) && !sam_encoder_open(&net, &again, &e));
    ck_assert_str_eq(after_path(e.msg), message);
    unlink(test_path());
    weights_close(&again);
    weights_close(&w);
    rig_close(&r);
}

START_TEST(bad_files)
{
    check_bad("image_encoder.blocks.1.attn.rel_pos_h", 2, (int64_t[]){6, 4},
              "tensor image_encoder.blocks.1.attn.rel_pos_h: expected an odd length, found 6");
    check_bad("image_encoder.blocks.1.attn.rel_pos_w", 2, (int64_t[]){9, 4},
              "tensor image_encoder.blocks.1.attn.rel_pos_w: expected shape [7,4], found [9,4]");
    check_bad("image_encoder.blocks.0.attn.rel_pos_h", 2, (int64_t[]){11, 5},
              "tensor image_encoder.blocks.0.attn.rel_pos_h: expected shape [11,4], found [11,5]");
    check_bad("image_encoder.blocks.1.attn.rel_pos_h", 2, (int64_t[]){7, 13},
              "SAM encoder: width 12 does not divide into 0 heads");
    check_bad("image_encoder.pos_embed", 4, (int64_t[]){1, 6, 5, 12},
              "tensor image_encoder.pos_embed: expected shape [1,6,6,12], found [1,6,5,12]");
    check_bad("image_encoder.pos_embed", 4, (int64_t[]){1, 20000, 1, 1},
              "SAM encoder: 2 blocks of width 12 and 20, images of 0 px in patches of 4, windows of 4, 8 "
              "channels out");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {golden, public_sizes, file, bad_files};
    return run_tests("sam_encoder", tests, sizeof tests / sizeof *tests);
}
