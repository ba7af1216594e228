/* Automatic masks against segment-anything 1.0, records and their order: its generator on shapes drawn into the
 * logits, the same with crops and small regions removed, and the whole of it on a tiny SAM of random weights,
 * by the fast path and by the naive one; for any batch. */
#include "models/sam_masks.h"
#include "tests/golden/golden.h"
#include "tests/models/main.h"

static TensorFile *golden;

/* The golden's tensor, as it is; *n: elements. */
static void *stored(const char *name, const char *part, int64_t *n)
{
    char full[128];
    Error e = {0};
    snprintf(full, sizeof full, "%s.%s", name, part);
    const TensorEntry *entry = tensor_file_find(golden, full);
    ck_assert_msg(entry != NULL, "no %s", full);
    void *x = malloc(entry->size);
    ck_assert_msg(tensor_file_read(golden, entry, x, &e), "%s", e.msg);
    *n = (int64_t)(entry->size / st_dtype_size(entry->dtype));
    return x;
}

/* ---- shapes ---- */

enum { COLUMNS = 9 }; /* see make_sam_masks.py */

typedef struct Shapes {
    int32_t *row;
    int64_t rows, at, calls;
    int low;
} Shapes;

static void no_image(void *user, Tape *t, Tensor *x)
{
    (void)user;
    (void)t;
    (void)x;
}

static float drawn(const Shapes *s, const int32_t *r, int y, int x)
{
    int64_t X = 2 * x, Y = 2 * y, d = (X - r[0]) * (X - r[0]) + (Y - r[1]) * (Y - r[1]);
    int64_t v = r[2] * r[2] - d, ring = d - r[3] * r[3];
    (void)s;
    if (r[3] && ring < v) v = ring;
    int64_t island = r[6] * r[6] - (X - r[4]) * (X - r[4]) - (Y - r[5]) * (Y - r[5]);
    if (r[6] && island > v) v = island;
    v = v < -640 ? -640 : v > 640 ? 640 : v;
    return (float)v * ldexpf(0.25f, -r[7]) + 0.0078125f + ldexpf(1, -15);
}

static void next_rows(void *user, Tape *t, const double *point, int64_t n, float threshold, SamPrediction *y)
{
    Shapes *s = user;
    (void)point;
    s->calls++;
    ck_assert_int_le(s->at + 3 * n, s->rows);
    int64_t plane = (int64_t)s->low * s->low;
    *y = (SamPrediction){.iou = arena_push_host(t->step, 4 * (size_t)n * sizeof(float)),
                         .prompt = arena_push_host(t->step, 3 * (size_t)n * sizeof(int32_t)),
                         .mask = arena_push_host(t->step, 3 * (size_t)n * sizeof(int32_t))};
    float *logits = malloc((size_t)(3 * n * plane) * sizeof *logits);
    for (int64_t i = 0; i < 3 * n; i++) {
        const int32_t *r = s->row + COLUMNS * (s->at + i);
        float iou = y->iou[i / 3 * 4 + 1 + i % 3] = (float)r[8] / 64;
        if (!(iou > threshold)) continue;
        for (int64_t k = 0; k < plane; k++)
            logits[y->kept * plane + k] = drawn(s, r, (int)(k / s->low), (int)(k % s->low));
        y->prompt[y->kept] = (int32_t)(i / 3);
        y->mask[y->kept++] = (int32_t)(1 + i % 3);
    }
    s->at += 3 * n;
    if (y->kept) {
        y->logits = tape_tensor(t, DTYPE_f32, 3, (int64_t[]){y->kept, s->low, s->low});
        tensor_upload(y->logits, logits);
    }
    free(logits);
}

/* ---- records ---- */

static void compare_counts(const char *name, int i, const GalleryMask *m, const int32_t size[2],
                           const int32_t *count, int32_t runs)
{
    Rle got;
    Error e = {0};
    ck_assert_msg(rle_from_text(m->counts, strlen(m->counts), size[1], size[0], &got, &e), "%s", e.msg);
    /* The public tool ends no mask with a run of zeros of length 0, nor do we. */
    ck_assert_msg((int32_t)got.n == runs, "%s, record %d: %zu runs, wants %d", name, i, got.n, runs);
    for (int32_t k = 0; k < runs; k++)
        ck_assert_msg((int32_t)got.count[k] == count[k], "%s, record %d, run %d: %u, wants %d", name, i, k,
                      got.count[k], count[k]);
    rle_free(&got);
}

/* iou_tol: of predicted_iou; all else is exact. */
static void compare(const char *name, const GallerySlice *s, double iou_tol)
{
    int64_t n, n_counts, k = 0;
    int32_t *whole = stored(name, "whole", &n), *runs = stored(name, "runs", &n),
            *count = stored(name, "counts", &n_counts), *size = stored(name, "size", &n_counts);
    float *score = stored(name, "scores", &n_counts);
    double *point = stored(name, "points", &n_counts);
    for (int i = 0; i < s->n && i < n; i++) {
        const GalleryMask *m = &s->mask[i];
        const int32_t got[9] = {(int32_t)m->area, m->bbox[0],     m->bbox[1],     m->bbox[2],    m->bbox[3],
                                m->crop_box[0],   m->crop_box[1], m->crop_box[2], m->crop_box[3]};
        for (int j = 0; j < 9; j++)
            ck_assert_msg(got[j] == whole[9 * i + j],
                          "%s, record %d of %lld: number %d of area, box, crop is %d, wants %d", name, i,
                          (long long)n, j, got[j], whole[9 * i + j]);
        ck_assert_msg(fabs(m->predicted_iou - (double)score[2 * i]) <= iou_tol,
                      "%s, record %d: iou %.9g, wants %.9g", name, i, m->predicted_iou, (double)score[2 * i]);
        ck_assert_msg(m->stability == (double)score[2 * i + 1], "%s, record %d: stability %.9g, wants %.9g",
                      name, i, m->stability, (double)score[2 * i + 1]);
        for (int j = 0; j < 2; j++) ck_assert_double_eq(m->point[j], point[2 * i + j]);
        compare_counts(name, i, m, size, count + k, runs[i]);
        k += runs[i];
    }
    ck_assert_msg(s->n == n, "%s: %d records, wants %lld", name, s->n, (long long)n);
    free(whole);
    free(runs);
    free(count);
    free(size);
    free(score);
    free(point);
}

static void check_drawn(const char *name, int side, SamMaskSettings s)
{
    static const int batch[] = {1, 7, 64, 0};
    Rig r;
    Error e = {0};
    int64_t n;
    rig_open(&r, test_device());
    golden = golden_open("tests/golden/sam_masks.safetensors");
    int32_t *size = stored(name, "size", &n);
    Shapes shapes = {.row = stored(name, "table", &n), .low = side / 4};
    shapes.rows = n / COLUMNS;
    SamMaskSource source = {side, side / 4, &shapes, no_image, next_rows, 4};
    Image image = {size[1], size[0], 3, calloc(3 * (size_t)size[0], (size_t)size[1])};
    for (size_t i = 0; i < sizeof batch / sizeof *batch; i++) {
        GallerySlice out = {0};
        s.batch = batch[i];
        shapes.at = 0;
        ck_assert_msg(sam_masks(&r.tape, &source, &s, &image, &out, NULL, &e), "%s", e.msg);
        ck_assert_int_eq(shapes.at, shapes.rows);
        compare(name, &out, 0);
        sam_masks_free(&out);
        ck_assert_uint_eq(r.step.used, 0);
    }
    free(image.pixel);
    free(shapes.row);
    free(size);
    tensor_file_close(golden);
    rig_close(&r);
}

/* As many points at once as the step arena has room for. */
static void check_memory(const char *name, int side, SamMaskSettings s, size_t bytes, int calls)
{
    Rig r;
    Error e = {0};
    Arena small;
    Tape t;
    int64_t n;
    GallerySlice out;
    rig_open(&r, test_device());
    ck_assert_msg(arena_open(&small, "step", test_device(), bytes, &e), "%s", e.msg);
    tape_init(&t, &small, &r.scratch, 1);
    golden = golden_open("tests/golden/sam_masks.safetensors");
    int32_t *size = stored(name, "size", &n);
    Shapes shapes = {.row = stored(name, "table", &n), .low = side / 4};
    shapes.rows = n / COLUMNS;
    SamMaskSource source = {side, side / 4, &shapes, no_image, next_rows, 4};
    Image image = {size[1], size[0], 1, calloc((size_t)size[0], (size_t)size[1])};
    ck_assert_msg(sam_masks(&t, &source, &s, &image, &out, NULL, &e), "%s", e.msg);
    compare(name, &out, 0);
    ck_assert_int_eq(shapes.calls, calls);
    sam_masks_free(&out);
    free(image.pixel);
    free(shapes.row);
    free(size);
    tensor_file_close(golden);
    arena_close(&small);
    rig_close(&r);
}

START_TEST(square)
{
    SamMaskSettings s = sam_mask_settings();
    s.points = 6;
    s.pred_iou = 0.875;
    s.stability = 0.6;
    check_drawn("square", 64, s);
    /* 64 x 64 x 3 and 108 x 16 x 16 numbers; half of the rest, 3 KiB a point, for 36 points. */
    check_memory("square", 64, s, (156 + 2 * 3 * 9) << 10, 4);
    check_memory("square", 64, s, (156 + 2 * 3 * 36) << 10, 1);
    check_memory("square", 64, s, (156 + 13) << 10, 18);
}
END_TEST

START_TEST(regions)
{
    SamMaskSettings s = sam_mask_settings();
    s.points = 6;
    s.pred_iou = 0.8;
    s.stability = 0.7;
    s.offset = 0.5;
    s.box_nms = 0.6;
    s.min_area = 60;
    check_drawn("regions", 64, s);
}
END_TEST

START_TEST(crops)
{
    SamMaskSettings s = sam_mask_settings();
    s.points = 6;
    s.pred_iou = 0.85;
    s.stability = 0.7;
    s.crop_layers = 2;
    s.crop_downscale = 2;
    s.crop_nms = 0.35;
    s.min_area = 25;
    check_drawn("crops", 64, s);
}
END_TEST

/* Noise, where sizes tie and all islands may be small; a tie that rows and blocks see in another order. */
START_TEST(components)
{
    int64_t n, all, at = 0, from = 0;
    golden = golden_open("tests/golden/sam_masks.safetensors");
    int32_t *cases = stored("components", "cases", &n);
    uint8_t *in = stored("components", "in", &all), *want = stored("components", "out", &all);
    for (int64_t i = 0; i < n / 5; i++) {
        const int32_t *c = cases + 5 * i;
        int32_t pixels = c[0] * c[1], label[2048];
        uint8_t mask[1024];
        memcpy(mask, in + from, (size_t)pixels);
        ck_assert_int_eq(sam_remove_small(mask, c[1], c[0], c[2], true, label), c[3]);
        ck_assert_int_eq(sam_remove_small(mask, c[1], c[0], c[2], false, label), c[4]);
        for (int k = 0; k < pixels; k++)
            ck_assert_msg(mask[k] == want[at + k], "case %d, area %d: pixel %d is %d", (int)(i / 3), c[2], k,
                          mask[k]);
        at += pixels;
        from += i % 3 == 2 ? pixels : 0; /* each mask with three areas */
    }
    ck_assert_int_eq(at, all);
    free(cases);
    free(in);
    free(want);
    tensor_file_close(golden);
}
END_TEST

/* ---- a tiny SAM of random weights ---- */

typedef struct TinySam {
    Rig r;
    Weights w;
    SamEncoder encoder;
    SamDecoder decoder;
    SamPredictor predictor;
    SamSegmenter segmenter;
    Tensor *embedding; /* of the naive path */
} TinySam;

static void tiny_open(TinySam *m)
{
    const SamEncoderConfig encoder = {.image = 64,
                                      .patch = 8,
                                      .width = 32,
                                      .heads = 2,
                                      .mlp = 128,
                                      .window = 3,
                                      .out = 32,
                                      .global = 2,
                                      .depth = 2};
    const SamDecoderConfig decoder = {.image = 64,
                                      .dim = 32,
                                      .heads = 8,
                                      .inner = 16,
                                      .mlp = 64,
                                      .masks = 4,
                                      .iou_hidden = 32,
                                      .mask_hidden = 16};
    Error e = {0};
    rig_open(&m->r, test_device());
    weights_init(&m->w, &m->r.weights, &m->r.state, NULL, 1);
    m->w.generator = golden_weight;
    ck_assert_msg(sam_encoder_create(&m->encoder, &m->w, encoder, &e) &&
                      sam_decoder_create(&m->decoder, &m->w, decoder, &e),
                  "%s", e.msg);
    sam_predictor_open(&m->predictor, &m->decoder, &m->r.weights);
}

static void tiny_close(TinySam *m)
{
    weights_close(&m->w);
    rig_close(&m->r);
}

/* Squares of 8 pixels of random colour, a little noise on top. */
static Image picture(const char *name, int seed, int height, int width)
{
    int rows = (height + 7) / 8, columns = (width + 7) / 8;
    char coarse[64], fine[80];
    snprintf(coarse, sizeof coarse, "%s.%d", name, seed);
    snprintf(fine, sizeof fine, "%s.noise", coarse);
    int64_t n = 3 * (int64_t)height * width;
    float *block = malloc((size_t)(3 * rows * columns) * sizeof *block),
          *noise = malloc((size_t)n * sizeof *noise);
    Image image = {width, height, 3, malloc((size_t)n)};
    rng_fill(block, 3 * rows * columns, GOLDEN_INPUTS, coarse, 100);
    rng_fill(noise, n, GOLDEN_INPUTS, fine, 20);
    for (int64_t i = 0; i < n; i++) {
        int64_t p = i / 3, at = (p / width / 8 * columns + p % width / 8) * 3 + i % 3;
        double v = 128 + (double)block[at] + (double)noise[i];
        image.pixel[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
    free(block);
    free(noise);
    return image;
}

/* sam_decoder_forward, every mask upscaled, and the filter after it. */
static void naive_image(void *user, Tape *t, Tensor *x)
{
    TinySam *m = user;
    m->embedding = sam_encoder_forward(t, &m->encoder, x);
}

static void naive_predict(void *user, Tape *t, const double *point, int64_t n, float threshold,
                          SamPrediction *y)
{
    TinySam *m = user;
    int32_t *label = arena_push_host(t->step, (size_t)n * sizeof *label);
    for (int64_t i = 0; i < n; i++) label[i] = 1;
    SamPrompts p = {.n = n, .points = 1, .point = point, .label = label};
    Tensor *masks, *iou;
    sam_decoder_forward(t, &m->decoder, m->embedding, &p, &masks, &iou);
    *y = (SamPrediction){.iou = arena_push_host(t->step, 4 * (size_t)n * sizeof(float)),
                         .prompt = arena_push_host(t->step, 3 * (size_t)n * sizeof(int32_t)),
                         .mask = arena_push_host(t->step, 3 * (size_t)n * sizeof(int32_t))};
    tensor_download(iou, y->iou);
    int32_t index[4096];
    for (int32_t i = 0; i < 4 * n; i++)
        if (i % 4 && y->iou[i] > threshold) {
            index[y->kept] = i;
            y->prompt[y->kept] = i / 4;
            y->mask[y->kept++] = i % 4;
        }
    if (!y->kept) return;
    Tensor *at = tape_tensor(t, DTYPE_i32, 1, (int64_t[]){y->kept});
    tensor_upload(at, index);
    y->logits = op_select(t, tensor_reshape(t->step, masks, 3, (int64_t[]){4 * n, 32, 32}), at);
}

static void check_sam(const char *name, SamMaskSettings s)
{
    if (test_device() != &backend_cpu) {
        printf("SKIPPED on %s: a SAM whose decisions are nearer than its products' rounding\n",
               test_device()->name);
        return;
    }
    static const int batch[] = {64, 7, 1, 0};
    TinySam m;
    Error e = {0};
    int64_t n;
    tiny_open(&m);
    golden = golden_open("tests/golden/sam_masks.safetensors");
    int32_t *size = stored(name, "size", &n), *seed = stored(name, "picture", &n);
    Image image = picture(name, *seed, size[0], size[1]);
    SamMaskSource fast = sam_mask_source(&m.segmenter, &m.encoder, &m.predictor),
                  naive = {64, 32, &m, naive_image, naive_predict, 4};
    GallerySlice out, again;
    ck_assert_msg(sam_masks(&m.r.tape, &naive, &s, &image, &out, NULL, &e), "%s", e.msg);
    compare(name, &out, 1e-4);
    sam_masks_free(&out);
    for (int i = 0; i < 4; i++) {
        s.batch = batch[i];
        ck_assert_msg(sam_masks(&m.r.tape, &fast, &s, &image, i ? &again : &out, NULL, &e), "%s", e.msg);
        if (i == 0) compare(name, &out, 1e-4);
        if (i == 0) continue;
        for (int k = 0; k < out.n; k++) {
            ck_assert(out.mask[k].predicted_iou == again.mask[k].predicted_iou);
            ck_assert_str_eq(out.mask[k].counts, again.mask[k].counts);
            ck_assert(out.mask[k].stability == again.mask[k].stability);
        }
        ck_assert_int_eq(out.n, again.n);
        sam_masks_free(&again);
    }
    sam_masks_free(&out);
    free(image.pixel);
    free(size);
    free(seed);
    tensor_file_close(golden);
    tiny_close(&m);
}

static SamMaskSettings tiny_settings(void)
{
    SamMaskSettings s = sam_mask_settings();
    s.pred_iou = -1;
    s.stability = 0.51;
    s.offset = 0.03125;
    return s;
}

START_TEST(sam)
{
    SamMaskSettings s = tiny_settings();
    s.points = 8;
    s.threshold = 1;
    s.box_nms = 0.9;
    check_sam("sam", s);
}
END_TEST

START_TEST(sam_with_crops)
{
    SamMaskSettings s = tiny_settings();
    s.points = 4;
    s.threshold = 0.75;
    s.box_nms = 0.95;
    s.crop_layers = 1;
    s.crop_nms = 0.9;
    s.min_area = 12;
    check_sam("sam_crops", s);
}
END_TEST

/* Settings that leave a layer without points, and a picture too small for its crops. */
START_TEST(refused)
{
    SamMaskSettings s = sam_mask_settings();
    Error e = {0};
    ck_assert(sam_mask_settings_check(&s, &e));
    s.crop_layers = 3;
    s.crop_downscale = 4;
    ck_assert(!sam_mask_settings_check(&s, &e));
    ck_assert_msg(strstr(e.msg, "points_per_side 32: none are left in layer 3") != NULL, "%s", e.msg);
    ck_assert_int_eq(e.code, ERROR_USAGE);
    Rig r;
    rig_open(&r, &backend_cpu);
    Shapes shapes = {.low = 16};
    SamMaskSource source = {64, 16, &shapes, no_image, next_rows, 4};
    uint8_t pixel[3000] = {0};
    GallerySlice out;
    const Image thin = {1000, 3, 1, pixel};
    s.crop_downscale = 1;
    s.points = 1;
    shapes.rows = 3 * (1 + 4 + 16 + 64);
    shapes.row = calloc((size_t)shapes.rows, COLUMNS * sizeof *shapes.row);
    ck_assert(!sam_masks(&r.tape, &source, &s, &thin, &out, NULL, &e));
    ck_assert_msg(strstr(e.msg, "image of 1000 x 3 pixels: too narrow") != NULL, "%s", e.msg);
    const Image small = {5, 5, 1, pixel};
    ck_assert(!sam_masks(&r.tape, &source, &s, &small, &out, NULL, &e));
    ck_assert_msg(strstr(e.msg, "image of 5 x 5 pixels: too small for 3 layers") != NULL, "%s", e.msg);
    free(shapes.row);
    rig_close(&r);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {square, regions, crops, components, sam, sam_with_crops, refused};
    return run_tests("sam_masks", tests, sizeof tests / sizeof *tests);
}
