/* Prediction for one image against the naive decoder: every saving, the kept set; and that an answer does not
 * depend on how many prompts are asked, nor on its place among them. */
#include "models/sam_predict.h"
#include "tests/golden/golden.h"
#include "tests/models/main.h"
#include <string.h>

enum { PROMPTS = 64, MASKS = 4 };

typedef struct Setup {
    Rig r;
    Weights w;
    SamDecoder net;
    SamPredictor predictor;
    Tensor *embedding;
    int grid;
    double point[PROMPTS * 6], box[PROMPTS * 4];
    int32_t label[PROMPTS * 3];
} Setup;

static const SamDecoderConfig public_config = {.image = 256,
                                               .dim = 256,
                                               .heads = 8,
                                               .inner = 128,
                                               .mlp = 2048,
                                               .masks = MASKS,
                                               .iou_hidden = 256,
                                               .mask_hidden = 16};
static const SamDecoderConfig mini_config = {.image = 224,
                                             .dim = 48,
                                             .heads = 2,
                                             .inner = 24,
                                             .mlp = 96,
                                             .masks = MASKS,
                                             .iou_hidden = 40,
                                             .mask_hidden = 8};

static void setup_open(Setup *s, SamDecoderConfig config, int grid)
{
    Error e = {0};
    Rng rng = rng_open(7, "prompts");
    rig_open(&s->r, test_device());
    weights_init(&s->w, &s->r.weights, &s->r.state, NULL, 1);
    s->w.generator = golden_weight;
    ck_assert_msg(sam_decoder_create(&s->net, &s->w, config, &e), "%s", e.msg);
    sam_predictor_open(&s->predictor, &s->net, &s->r.weights);
    s->grid = grid;
    s->embedding =
        golden_fill(tensor_f32(&s->r.state, 1, grid, grid, config.dim), "embedding", GOLDEN_INPUTS, 1, true);
    for (int i = 0; i < PROMPTS * 6; i++) s->point[i] = rng_range(&rng, 0, (double)config.image);
    for (int i = 0; i < PROMPTS * 4; i++) s->box[i] = rng_range(&rng, 0, (double)config.image);
    for (int i = 0; i < PROMPTS * 3; i++) s->label[i] = (int32_t)rng_below(&rng, 3) - 1;
}

static void setup_close(Setup *s)
{
    weights_close(&s->w);
    rig_close(&s->r);
}

static SamPrompts prompts(const Setup *s, int64_t from, int64_t n, int points, bool box)
{
    return (SamPrompts){.n = n,
                        .points = points,
                        .point = s->point + 2 * points * from,
                        .label = s->label + points * from,
                        .box = box ? s->box + 4 * from : NULL};
}

/* ---- against the naive decoder ---- */

static double difference(const float *x, const float *want, int64_t n)
{
    double most = 0, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)x[i] - (double)want[i]));
        sum += (double)want[i] * (double)want[i];
    }
    return most / sqrt(sum / (double)n);
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Of iou (n,MASKS) in masks from..to-1: the middle of the widest gap between neighbours of the middle third. */
static float widest_gap(const float *iou, int64_t n, int from, int to)
{
    float sorted[PROMPTS * MASKS], gap = 0, at = 0;
    int len = 0;
    for (int64_t i = 0; i < n * MASKS; i++)
        if (i % MASKS >= from && i % MASKS < to) sorted[len++] = iou[i];
    qsort(sorted, (size_t)len, sizeof *sorted, by_size);
    for (int i = len / 3; i <= 2 * len / 3 && i + 1 < len; i++)
        if (sorted[i + 1] - sorted[i] > gap) {
            gap = sorted[i + 1] - sorted[i];
            at = (sorted[i + 1] + sorted[i]) / 2;
        }
    return at;
}

static void compare(Setup *s, const SamPrediction *y, int64_t n, bool several, float threshold,
                    const float *masks, const float *iou)
{
    const int64_t area = (int64_t)16 * s->grid * s->grid;
    const int from = several ? 1 : 0, to = several ? MASKS : 1;
    int64_t kept = 0;
    float *logits = y->logits ? host_copy(y->logits) : NULL;
    double off = difference(y->iou, iou, n * MASKS);
    ck_assert_msg(off <= test_tolerance(TOL_SAM), "IoU differs by %g", off);
    for (int64_t i = 0; i < n * MASKS; i++) {
        int m = (int)(i % MASKS);
        if (m < from || m >= to || !(iou[i] > threshold)) continue;
        ck_assert_int_lt(kept, y->kept);
        ck_assert_int_eq(y->prompt[kept], i / MASKS);
        ck_assert_int_eq(y->mask[kept], m);
        off = difference(logits + kept * area, masks + i * area, area);
        ck_assert_msg(off <= test_tolerance(TOL_SAM), "mask %d of prompt %lld differs by %g", m,
                      (long long)(i / MASKS), off);
        kept++;
    }
    ck_assert_int_eq(y->kept, kept);
    free(logits);
}

static void check_naive(Setup *s, int64_t n, int points, bool box, bool several)
{
    Tape *t = &s->r.tape;
    SamPrompts p = prompts(s, 0, n, points, box);
    Tensor *masks, *iou;
    sam_decoder_forward(t, &s->net, s->embedding, &p, &masks, &iou);
    float *all = host_copy(masks), *quality = host_copy(iou);
    float threshold = widest_gap(quality, n, several ? 1 : 0, several ? MASKS : 1);
    for (int savings = SAM_SHARE; savings <= SAM_FILTER; savings++) {
        SamImage image;
        SamPrediction y;
        tape_reset(t);
        s->predictor.savings = (SamSavings)savings;
        sam_image_open(&image, &s->predictor, t, s->embedding);
        sam_predict(t, &image, &p, several, threshold, &y);
        compare(s, &y, n, several, threshold, all, quality);
        ck_assert(y.kept > 0 && y.kept < n * (several ? MASKS - 1 : 1));
        sam_predict(t, &image, &p, several, 1e9f, &y);
        ck_assert(y.kept == 0 && !y.logits);
    }
    free(all);
    free(quality);
}

START_TEST(naive_public)
{
    static Setup s;
    if (!test_affords("the naive decoder at the public sizes", 11)) return;
    setup_open(&s, public_config, 16);
    check_naive(&s, 6, 1, false, true);
    check_naive(&s, 5, 3, false, true);
    check_naive(&s, 5, 1, true, false);
    setup_close(&s);
}
END_TEST

START_TEST(naive_mini)
{
    static Setup s;
    setup_open(&s, mini_config, test_affords("28 x 28 cells (12 x 12 instead)", 3) ? 28 : 12);
    check_naive(&s, 9, 1, false, true);
    check_naive(&s, 7, 0, true, true);
    check_naive(&s, 6, 2, true, false);
    setup_close(&s);
}
END_TEST

/* ---- independence of the batch ---- */

/* All prompts in batches of `batch`: iou, and which masks are kept with what logits. */
typedef struct Answers {
    float iou[PROMPTS * MASKS];
    int32_t pair[PROMPTS * MASKS];
    int64_t kept;
    float *logits;
} Answers;

static void answer(Setup *s, int64_t n, int64_t batch, float threshold, Answers *a)
{
    Tape *t = &s->r.tape;
    const int64_t area = (int64_t)16 * s->grid * s->grid;
    SamImage image;
    tape_reset(t);
    a->kept = 0;
    a->logits = malloc((size_t)(n * MASKS * area) * sizeof *a->logits);
    ck_assert(a->logits != NULL);
    sam_image_open(&image, &s->predictor, t, s->embedding);
    for (int64_t from = 0; from < n; from += batch) {
        ArenaMark mark = arena_mark(t->step);
        SamPrompts p = prompts(s, from, from + batch < n ? batch : n - from, 1, false);
        SamPrediction y;
        sam_predict(t, &image, &p, true, threshold, &y);
        memcpy(a->iou + from * MASKS, y.iou, (size_t)(p.n * MASKS) * sizeof *y.iou);
        if (y.kept) tensor_download(y.logits, a->logits + a->kept * area);
        for (int64_t i = 0; i < y.kept; i++)
            a->pair[a->kept++] = (int32_t)(from + y.prompt[i]) * MASKS + y.mask[i];
        arena_pop(t->step, mark);
    }
}

static void check_batches(SamDecoderConfig config, int grid, int64_t n, const int64_t *batch)
{
    static Setup s;
    static Answers want, got;
    const int64_t area = (int64_t)16 * grid * grid;
    setup_open(&s, config, grid);
    answer(&s, n, n, -1e9f, &want);
    ck_assert_int_eq(want.kept, n * (MASKS - 1));
    float threshold = widest_gap(want.iou, n, 1, MASKS);
    free(want.logits);
    answer(&s, n, n, threshold, &want);
    ck_assert(want.kept > 0 && want.kept < n * (MASKS - 1));
    for (; *batch; batch++) {
        answer(&s, n, *batch, threshold, &got);
        ck_assert_int_eq(got.kept, want.kept);
        ck_assert_mem_eq(got.iou, want.iou, (size_t)(n * MASKS) * sizeof *got.iou);
        ck_assert_mem_eq(got.pair, want.pair, (size_t)got.kept * sizeof *got.pair);
        ck_assert_mem_eq(got.logits, want.logits, (size_t)(got.kept * area) * sizeof *got.logits);
        free(got.logits);
    }
    free(want.logits);
    setup_close(&s);
}

START_TEST(batches)
{
    const int64_t several[] = {1, 7, 63, 0};
    if (test_affords("64 prompts alone, by 7 and by 63", 60)) {
        check_batches(public_config, 16, PROMPTS, several);
        check_batches(mini_config, 28, PROMPTS, several);
    } else {
        check_batches(mini_config, 12, 9, (const int64_t[]){1, 7, 0});
    }
}
END_TEST

START_TEST(batches_large)
{
    SamDecoderConfig config = public_config;
    config.image = 1024;
    if (test_affords("prompts about 64 x 64 cells", 50))
        check_batches(config, 64, 10, (const int64_t[]){1, 7, 0});
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {naive_public, naive_mini, batches, batches_large};
    return run_tests("sam_predict", tests, sizeof tests / sizeof *tests);
}
