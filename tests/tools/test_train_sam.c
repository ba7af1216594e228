/* Stage sam at toy size: it learns, resumes bit for bit, and leaves a file that opens; what its points ask for;
 * bad sizes. */
#include "models/sam_decoder.h"
#include "models/sam_encoder.h"
#include "tests/tools/stages.h"
#include "tools/sam_data.h"
#include <math.h>

enum { SIDE = 64, STEPS = 40 };
#define SAM                                                                                                    \
    "sam", "--device", "cpu", "--threads", "1", "--data", at("set"), "--image", "64", "--patch", "8",          \
        "--window", "4", "--dim", "16", "--layers", "2", "--heads", "2", "--ffn", "32", "--decoder-dim", "16", \
        "--decoder-heads", "2", "--decoder-ffn", "32", "--batch", "2", "--prompts", "3", "--steps", "40",      \
        "--log-every", "4", "--warm", "2", "--lr", "0.01", "--dense-steps", "4"
#define VALIDATED "--validation", at("set"), "--validation-studies", "2", "--validate-every", "20"

START_TEST(learns)
{
    Run r;
    RUN(SAM, VALIDATED, "--out", at("a"), "--model", at("model"));
    double first = logged(at("a/log.jsonl"), 4, "dense"), last = logged(at("a/log.jsonl"), STEPS, "dense"),
           none = logged(at("a/log.jsonl"), 4, "dice"), dice = logged(at("a/log.jsonl"), STEPS, "dice");
    ck_assert_msg(last < first - 0.1 && last > 0, "dense goes from %g to %g", first, last);
    ck_assert(none == 0 && dice > 0.3 && dice < 1); /* the decoder joins with update 5 */
    double large = last_validation(at("a/log.jsonl"), "large_iou"),
           other = last_validation(at("a/log.jsonl"), "other_iou"),
           error = last_validation(at("a/log.jsonl"), "iou_error");
    ck_assert_msg(large >= 0 && large <= 1 && other >= 0 && other <= 1 && error >= 0 && error < 1, "%g %g %g",
                  large, other, error);
}
END_TEST

START_TEST(resumes_bit_for_bit)
{
    Run r;
    static const char *const stop[] = {"5", "20", "1"};
    for (int i = 0; i < 3; i++) {
        TOOL("pcrl-train", SAM, VALIDATED, "--out", at("b"), "--model", at("other"), "--stop-after", stop[i]);
        ck_assert_msg(r.code == 130, "%d: %s", r.code, r.err);
    }
    RUN(SAM, VALIDATED, "--out", at("b"), "--model", at("other"));
    ck_assert(same_file(at("model/sam.safetensors"), at("other/sam.safetensors")));
    ck_assert(same_file(at("a/step_00000040/tensors.safetensors"), at("b/step_00000040/tensors.safetensors")));
}
END_TEST

/* The answer of a file's model to one point. */
static void answer(const char *path, float masks[4 * 32 * 32], float iou[4])
{
    Error e = {0};
    const Backend *cpu = backend_open("cpu", &e);
    Arena weights, step, scratch;
    ck_assert(arena_open(&weights, "weights", cpu, 1 << 26, &e) &&
              arena_open(&step, "step", cpu, 1 << 28, &e) && arena_open(&scratch, "scratch", cpu, 1 << 26, &e));
    Weights w;
    SamEncoder encoder;
    SamDecoder decoder;
    weights_init(&w, &weights, NULL, NULL, 1);
    ck_assert_msg(weights_open(&w, path, &e) && sam_encoder_open(&encoder, &w, &e) &&
                      sam_decoder_open(&decoder, &w, &e),
                  "%s", e.msg);
    ck_assert_int_eq(encoder.config.image, SIDE);
    ck_assert_int_eq(encoder.config.window, 4);
    ck_assert_int_eq(encoder.config.global, 2);
    ck_assert_int_eq(decoder.config.heads, 2);
    ck_assert_str_eq(weights_meta(&w, "sam.masks.points_per_side"), "24");
    ck_assert_str_eq(weights_meta(&w, "sam.masks.pred_iou_thresh"), "0.5");
    ck_assert_str_eq(weights_meta(&w, "sam.masks.stability_score_thresh"), "0.7");
    ck_assert_str_eq(weights_meta(&w, "sam.masks.min_mask_region_area"), "0");
    Tape t;
    tape_init(&t, &step, &scratch, 1);
    Tensor *x = tape_tensor(&t, DTYPE_f32, 4, (const int64_t[]){1, SIDE, SIDE, 3}), *y, *z;
    for (int i = 0; i < SIDE * SIDE * 3; i++) ((float *)x->data)[i] = sinf((float)i);
    SamPrompts p = {.n = 1, .points = 1, .point = (const double[]){20, 30}, .label = (const int32_t[]){1}};
    sam_decoder_forward(&t, &decoder, sam_encoder_forward(&t, &encoder, x), &p, &y, &z);
    tensor_download(y, masks);
    tensor_download(z, iou);
    weights_close(&w);
    arena_close(&scratch);
    arena_close(&step);
    arena_close(&weights);
}

/* What is shipped is the best validation's, and not what training began with. */
START_TEST(file_opens)
{
    static float a[4 * 32 * 32], b[4 * 32 * 32];
    float u[4], v[4];
    Run r;
    RUN(SAM, "--out", at("untrained"), "--model", at("untrained"), "--steps", "1", "--lr", "1e-9");
    answer(at("model/sam.safetensors"), a, u);
    answer(at("untrained/sam.safetensors"), b, v);
    for (int i = 0; i < 4 * 32 * 32; i++) ck_assert(isfinite(a[i]));
    ck_assert_mem_ne(a, b, sizeof a);
    answer(at("other/sam.safetensors"), b, v);
    ck_assert_mem_eq(a, b, sizeof a);
    ck_assert_mem_eq(u, v, sizeof u);
}
END_TEST

/* Points in true masks ask for them, others for the connected region of their grey class. */
START_TEST(points)
{
    Error e = {0};
    TrainData *d = train_data_open(at("set"), 0, true, true, &e);
    ck_assert_msg(d != NULL, "%s", e.msg);
    SamIndex index;
    SamSlice s;
    Rng rng = rng_open(3, "test");
    ck_assert(sam_index_open(&index, d, &e) && index.n > 20 && index.n_findings > 2);
    sam_slice_open(&s, SIDE, SIDE);
    static uint8_t target[SIDE * SIDE];
    int lesions = 0, regions = 0;
    for (int k = 0; k < 60; k++) {
        const struct SamItem *item = &index.item[sam_index_draw(&index, &rng)];
        ck_assert(sam_slice_read(&s, d, item->slice, &e) && s.n > 0);
        int of = -1;
        for (int i = 0; i < s.n; i++)
            if (s.truth[i] == item->truth && s.label[i] == item->label) of = i;
        ck_assert_int_ge(of, 0);
        ck_assert_int_eq(s.area[of], item->area);
        ck_assert_int_eq(s.finding[of], item->finding);
        SamPoint p;
        ck_assert(sam_slice_point(&s, k % 2 ? of : -1, &rng, &p, target));
        int64_t pixel = lround(p.y) * SIDE + lround(p.x), area = 0, differ = 0;
        for (int i = 0; i < SIDE * SIDE; i++) {
            area += target[i];
            differ += p.of >= 0 ? target[i] != s.mask[p.of * SIDE * SIDE + i]
                                : target[i] && s.grey[i] != s.grey[pixel];
        }
        ck_assert(target[pixel] == 1 && area == p.area && differ == 0);
        ck_assert(k % 2 == 0 || (p.of >= 0 && s.area[p.of] <= s.area[of]));
        lesions += p.of >= 0;
        regions += p.of < 0;
    }
    ck_assert(lesions >= 30 && regions > 0);
    sam_slice_close(&s);
    sam_index_close(&index);
    train_data_close(d);
}
END_TEST

START_TEST(bad_sizes)
{
    Run r;
    TOOL("pcrl-train", SAM, "--out", at("c"), "--model", at("c"), "--image", "128");
    ck_assert_int_eq(r.code, 2);
    ck_assert_msg(strstr(r.err, "64x64") && strstr(r.err, "128x128"), "%s", r.err);
    TOOL("pcrl-train", SAM, "--out", at("c"), "--model", at("c"), "--patch", "6");
    ck_assert_int_eq(r.code, 1);
    ck_assert_msg(strstr(r.err, "--patch 6"), "%s", r.err);
    TOOL("pcrl-train", SAM, "--out", at("c"), "--model", at("c"), "--heads", "3");
    ck_assert_int_eq(r.code, 1);
    TOOL("pcrl-train", SAM, "--out", at("c"), "--model", at("c"), "--decoder-heads", "3");
    ck_assert_int_eq(r.code, 1);
    TOOL("pcrl-train", SAM, "--out", at("c"), "--model", at("c"), "--dry-run");
    ck_assert_msg(r.code == 0 && strstr(r.out, "mask_decoder.iou_token.weight") && strstr(r.out, "memory all"),
                  "%s", r.err);
}
END_TEST

static void make_set(void)
{
    Run r;
    ck_assert(mkdtemp(folder));
    TOOL("pcrl-synth", "--out", at("set"), "--n", "8", "--size", "64");
    ck_assert_msg(r.code == 0, "%s", r.err);
}

int main(void)
{
    Suite *s = suite_create("train_sam");
    TCase *c = tcase_create("train_sam");
    tcase_set_timeout(c, 0);
    tcase_add_unchecked_fixture(c, make_set, remove_folder);
    tcase_add_test(c, learns);
    tcase_add_test(c, resumes_bit_for_bit);
    tcase_add_test(c, file_opens);
    tcase_add_test(c, points);
    tcase_add_test(c, bad_sizes);
    suite_add_tcase(s, c);
    SRunner *runner = srunner_create(s);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
