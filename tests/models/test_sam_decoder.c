/* SAM's prompt encoder and mask decoder against segment-anything: points, boxes, mask prompts, every gradient;
 * the public sizes; files. */
#include "models/sam_decoder.h"
#include "tests/golden/golden.h"
#include "tests/models/main.h"
#include <string.h>
#include <unistd.h>

static const SamDecoderConfig public_config = {.image = 256,
                                               .dim = 256,
                                               .heads = 8,
                                               .inner = 128,
                                               .mlp = 2048,
                                               .masks = 4,
                                               .iou_hidden = 256,
                                               .mask_hidden = 16};

typedef struct Golden {
    TensorFile *file;
    const char *mode;
    int seen;
    double point[12], box[8];
    int32_t label[6], image[2];
    SamPrompts prompts;
} Golden;

static void listen(void *user, const char *name, Tensor *x)
{
    Golden *g = user;
    char full[64];
    snprintf(full, sizeof full, "%s.%s", g->mode, name);
    golden_compare(g->file, full, x, false, GOLDEN_MAX, test_tolerance(TOL_SAM));
    g->seen++;
}

static void open_decoder(Rig *r, Weights *w, SamDecoder *net, SamDecoderConfig config)
{
    Error e = {0};
    rig_open(r, test_device());
    weights_init(w, &r->weights, &r->state, &r->params, 1);
    w->trainable = true;
    w->generator = golden_weight;
    ck_assert_msg(sam_decoder_create(net, w, config, &e), "%s", e.msg);
    params_alloc(&r->params);
    ck_assert_msg(weights_fill(w, &e), "%s", e.msg);
}

/* The values of MODE.NAME; how many, 0 where the file has none. */
static int64_t read_raw(const Golden *g, const char *name, void *to, size_t room)
{
    char full[64];
    Error e = {0};
    snprintf(full, sizeof full, "%s.%s", g->mode, name);
    const TensorEntry *entry = tensor_file_find(g->file, full);
    if (!entry) return 0;
    ck_assert(entry->size <= room);
    ck_assert_msg(tensor_file_read(g->file, entry, to, &e), "%s", e.msg);
    return (int64_t)(entry->size / st_dtype_size(entry->dtype));
}

static void read_prompts(Golden *g, Rig *r, int grid)
{
    SamPrompts *p = &g->prompts;
    char name[64];
    *p = (SamPrompts){.point = g->point, .label = g->label, .image = g->image};
    p->n = read_raw(g, "image", g->image, sizeof g->image);
    p->points = (int)(read_raw(g, "label", g->label, sizeof g->label) / p->n);
    ck_assert_int_eq(read_raw(g, "point", g->point, sizeof g->point), 2 * p->n * p->points);
    if (read_raw(g, "box", g->box, sizeof g->box)) p->box = g->box;
    if (strcmp(g->mode, "mask") && strcmp(g->mode, "bare")) return;
    snprintf(name, sizeof name, "%s.mask", g->mode);
    p->mask = golden_fill(tensor_f32(&r->state, p->n, 4 * grid, 4 * grid, 1), name, GOLDEN_INPUTS, 8, true);
}

static Tensor *with_grad(Rig *r, Tensor *x)
{
    x->needs_grad = true;
    x->grad = tensor_zeros(&r->state, DTYPE_f32, x->ndim, x->dim);
    return x;
}

/* sum of x * MODE.NAME.dy */
static Tensor *weighted(Rig *r, const Golden *g, const char *name, Tensor *x)
{
    char full[64];
    snprintf(full, sizeof full, "%s.%s.dy", g->mode, name);
    Tensor *dy =
        tensor_f32(&r->state, x->dim[0], x->dim[1], x->ndim > 2 ? x->dim[2] : 0, x->ndim > 2 ? x->dim[3] : 0);
    golden_fill(dy, full, GOLDEN_INPUTS, 1, false);
    return op_sum(&r->tape, op_mul(&r->tape, x, dy), 1);
}

static void compare_gradient(const Golden *g, const char *name, const Tensor *dx, bool turn)
{
    char full[192];
    snprintf(full, sizeof full, "%s.d.%s", g->mode, name);
    golden_compare(g->file, full, dx, turn, GOLDEN_L2, test_tolerance(TOL_SAM));
}

/* Of all that the golden has: what prompt and masks reach, less the biases of keys; with a mask prompt nothing
 * of the mask decoder. */
static void compare_gradients(const Golden *g, const Weights *w, Tensor *embedding)
{
    int compared = 0;
    compare_gradient(g, "embedding", embedding->grad, true);
    if (g->prompts.mask) compare_gradient(g, "mask", g->prompts.mask->grad, true);
    for (int i = 0; i < w->n; i++) {
        const WeightsItem *item = &w->item[i];
        char full[192];
        snprintf(full, sizeof full, "%s.d.%s.stats", g->mode, item->name);
        if (!tensor_file_find(g->file, full)) continue;
        compare_gradient(g, item->name, item->tensor->grad,
                         item->spec.kind == WEIGHT_CONV || item->spec.kind == WEIGHT_DECONV);
        compared++;
    }
    ck_assert_int_eq(compared, g->prompts.mask ? 12 : 117);
}

static void check_golden(const char *mode, bool backward, int taps)
{
    Rig r;
    Weights w;
    SamDecoder net;
    Golden g = {.file = golden_open("tests/golden/sam_decoder.safetensors"), .mode = mode};
    SamDecoderConfig config = public_config;
    const int grid = strcmp(mode, "large") ? 16 : 64;
    char name[64];
    config.image = 16 * grid;
    open_decoder(&r, &w, &net, config);
    read_prompts(&g, &r, grid);
    int64_t images = 1;
    for (int64_t i = 0; i < g.prompts.n; i++) images = g.image[i] >= images ? g.image[i] + 1 : images;
    snprintf(name, sizeof name, "%s.embedding", mode);
    Tensor *embedding =
        golden_fill(tensor_f32(&r.state, images, grid, grid, 256), name, GOLDEN_INPUTS, 1, true);
    Tensor *masks, *iou;
    r.tape.tap = listen;
    r.tape.tap_user = &g;
    r.tape.recording = backward;
    if (backward) with_grad(&r, embedding);
    if (backward && g.prompts.mask) with_grad(&r, g.prompts.mask);
    sam_decoder_forward(&r.tape, &net, embedding, &g.prompts, &masks, &iou);
    ck_assert_int_eq(g.seen, taps);
    if (backward) {
        tape_backward(&r.tape, op_add(&r.tape, weighted(&r, &g, "masks", masks), weighted(&r, &g, "iou", iou)));
        compare_gradients(&g, &w, embedding);
    }
    tensor_file_close(g.file);
    weights_close(&w);
    rig_close(&r);
}

START_TEST(one_point) { check_golden("one", false, 9); }
END_TEST
START_TEST(three_points) { check_golden("three", true, 9); }
END_TEST
START_TEST(point_and_box) { check_golden("box", false, 9); }
END_TEST
START_TEST(box_and_mask) { check_golden("mask", true, 10); }
END_TEST
START_TEST(mask_alone) { check_golden("bare", false, 9); }
END_TEST
START_TEST(large)
{
    if (test_affords("a decoder on 64 x 64 cells", 3.6)) check_golden("large", false, 9);
}
END_TEST

/* Prompt encoder and mask decoder together. */
START_TEST(public_size)
{
    Rig r;
    Weights w;
    SamDecoder net;
    rig_open(&r, &backend_plan);
    weights_init(&w, &r.weights, &r.state, &r.params, 1);
    w.trainable = true;
    ck_assert(sam_decoder_create(&net, &w, public_config, NULL));
    ck_assert_int_eq(params_count(&r.params), 6220 + 4058340);
    weights_close(&w);
    rig_close(&r);
}
END_TEST

static const SamDecoderConfig small_config = {
    .image = 32, .dim = 16, .heads = 2, .inner = 8, .mlp = 24, .masks = 3, .iou_hidden = 12, .mask_hidden = 8};

/* Sizes, heads and S come back from a file, and so do the answers. */
START_TEST(file)
{
    Rig r;
    Weights w, again;
    SamDecoder net, from_file;
    Error e = {0};
    Tensor *masks[2], *iou[2];
    open_decoder(&r, &w, &net, small_config);
    ck_assert_msg(weights_save((Weights *[]){&w}, 1, false, NULL, test_path(), &e), "%s", e.msg);
    weights_init(&again, &r.weights, &r.state, NULL, 0);
    ck_assert_msg(weights_open(&again, test_path(), &e) && sam_decoder_open(&from_file, &again, &e), "%s",
                  e.msg);
    ck_assert_mem_eq(&from_file.config, &small_config, sizeof small_config);
    Tensor *embedding = golden_fill(tensor_f32(&r.state, 1, 4, 4, 16), "e", GOLDEN_INPUTS, 1, true);
    SamPrompts p = {.n = 1, .points = 1, .point = (double[]){3, 9}, .label = (int32_t[]){1}};
    sam_decoder_forward(&r.tape, &net, embedding, &p, &masks[0], &iou[0]);
    sam_decoder_forward(&r.tape, &from_file, embedding, &p, &masks[1], &iou[1]);
    for (int i = 0; i < 2; i++) {
        void *a = host_copy(i ? iou[0] : masks[0]), *b = host_copy(i ? iou[1] : masks[1]);
        ck_assert_mem_eq(a, b, tensor_bytes(i ? iou[0] : masks[0]));
        free(a);
        free(b);
    }
    unlink(test_path());
    weights_close(&again);
    weights_close(&w);
    rig_close(&r);
}
END_TEST

/* What a file may have wrong is one line. */
START_TEST(bad_files)
{
    static const struct {
        const char *meta[3], *message;
    } bad[] = {
        {{"sam.decoder_heads", "3", NULL}, "SAM decoder: 16 and 8 channels do not divide into 3 heads"},
        {{"sam.decoder_heads", "two", NULL},
         "metadata sam.decoder_heads: expected a whole number from 1 to 1024, found \"two\""},
        {{"sam.image_size", "0", NULL},
         "metadata sam.image_size: expected a whole number from 1 to 16384, found \"0\""},
    };
    Rig r;
    Weights w, again;
    SamDecoder net;
    open_decoder(&r, &w, &net, small_config);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Error e = {0};
        ck_assert_msg(weights_save((Weights *[]){&w}, 1, false, bad[i].meta, test_path(), &e), "%s", e.msg);
        weights_init(&again, &r.weights, &r.state, NULL, 0);
        ck_assert(weights_open(&again, test_path(), &e) && !sam_decoder_open(&net, &again, &e));
        ck_assert_str_eq(after_path(e.msg), bad[i].message);
        weights_close(&again);
    }
    unlink(test_path());
    weights_close(&w);
    rig_close(&r);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {one_point, three_points, point_and_box, box_and_mask, mask_alone,
                                  large,     public_size,  file,          bad_files};
    return run_tests("sam_decoder", tests, sizeof tests / sizeof *tests);
}
