/* The public checkpoints' own files: torchvision's ResNet, segment-anything's SAM, MedCLIP's pytorch_model.bin.
 * Each is opened by its model, with sizes found in it, and computes what the same weights compute from a
 * safetensors file, bit for bit. Values are the shared generator's, so the other file is made here without the
 * first. */
#include "models/medclip.h"
#include "models/sam_decoder.h"
#include "models/sam_encoder.h"
#include "tests/golden/golden.h"
#include "tests/models/main.h"
#include <unistd.h>

/* One model from `path`, opened and run; what it computes, one after the other. */
typedef struct Result {
    float x[20000];
    int64_t n;
} Result;

static void keep(Result *to, const Tensor *x)
{
    float *host = host_copy(x);
    int64_t n = tensor_len(x);
    ck_assert(to->n + n <= (int64_t)(sizeof to->x / sizeof *to->x));
    memcpy(to->x + to->n, host, (size_t)n * sizeof *host);
    to->n += n;
    free(host);
}

static Tensor *image(Rig *r, int64_t n, int64_t side)
{
    return golden_fill(tensor_f32(&r->state, n, side, side, 3), "image", GOLDEN_INPUTS, 2, true);
}

/* Opens the part with a file, or with the generator in its place. */
static void part_open(Rig *r, Weights *w, const char *path)
{
    Error e = {0};
    rig_open(r, test_device());
    weights_init(w, &r->weights, &r->state, NULL, 1);
    w->generator = golden_weight;
    if (path) ck_assert_msg(weights_open(w, path, &e), "%s", e.msg);
}

/* Both files' results, the second of what `create` made and weights_save wrote. */
typedef void Create(Rig *r, Weights *w);
typedef void Compute(Rig *r, Weights *w, Result *to);

static void check(const char *path, Create *create, Compute *compute)
{
    static Result from_public, from_ours;
    Error e = {0};
    Rig r;
    Weights w;
    from_public.n = from_ours.n = 0;
    part_open(&r, &w, path);
    compute(&r, &w, &from_public);
    weights_close(&w);
    rig_close(&r);
    part_open(&r, &w, NULL);
    create(&r, &w);
    ck_assert_msg(weights_save((Weights *[]){&w}, 1, true, NULL, test_path(), &e), "%s", e.msg);
    weights_close(&w);
    rig_close(&r);
    part_open(&r, &w, test_path());
    compute(&r, &w, &from_ours);
    weights_close(&w);
    rig_close(&r);
    unlink(test_path());
    ck_assert_int_gt(from_public.n, 0);
    ck_assert_int_eq(from_public.n, from_ours.n);
    double sum = 0;
    for (int64_t i = 0; i < from_ours.n; i++) sum += fabs((double)from_ours.x[i]);
    ck_assert(isfinite(sum) && sum > 0);
    ck_assert_msg(!memcmp(from_public.x, from_ours.x, (size_t)from_ours.n * sizeof *from_ours.x), "%s differs",
                  path);
}

/* ---- ResNet ---- */

/* A frozen network is folded as it is made, so its file is written by a trainable one. */
static void create_resnet(Rig *r, Weights *w)
{
    Error e = {0};
    Resnet net;
    const ResnetConfig c = {3, 4, {4, 8, 16, 32}, {1, 1, 1, 1}, {1, 2, 2, 2}, false};
    w->params = &r->params;
    w->trainable = true;
    ck_assert_msg(resnet_create(&net, w, c, &e), "%s", e.msg);
    params_alloc(&r->params);
    ck_assert_msg(weights_fill(w, &e), "%s", e.msg);
}

static void compute_resnet(Rig *r, Weights *w, Result *to)
{
    Error e = {0};
    Resnet net;
    Tensor *pooled = NULL;
    ck_assert_msg(resnet_open(&net, w, &e), "%s", e.msg);
    ck_assert(net.channels == 128 && net.config.depth[3] == 1);
    resnet_forward(&r->tape, &net, image(r, 2, 64), false, NULL, &pooled);
    keep(to, pooled);
}

START_TEST(resnet) { check("tests/golden/public_resnet.pth", create_resnet, compute_resnet); }
END_TEST

/* ---- SAM ---- */

static void create_sam(Rig *r, Weights *w)
{
    Error e = {0};
    SamEncoder encoder;
    SamDecoder decoder;
    const SamEncoderConfig c = {.image = 64,
                                .patch = 8,
                                .width = 8,
                                .heads = 1,
                                .mlp = 16,
                                .window = 3,
                                .out = 32,
                                .global = 2,
                                .depth = 2};
    const SamDecoderConfig d = {.image = 64,
                                .dim = 32,
                                .heads = 8,
                                .inner = 16,
                                .mlp = 16,
                                .masks = 4,
                                .iou_hidden = 16,
                                .mask_hidden = 8};
    (void)r;
    ck_assert_msg(sam_encoder_create(&encoder, w, c, &e) && sam_decoder_create(&decoder, w, d, &e), "%s",
                  e.msg);
}

static void compute_sam(Rig *r, Weights *w, Result *to)
{
    Error e = {0};
    SamEncoder encoder;
    SamDecoder decoder;
    Tensor *masks = NULL, *iou = NULL;
    ck_assert_msg(sam_encoder_open(&encoder, w, &e) && sam_decoder_open(&decoder, w, &e), "%s", e.msg);
    ck_assert(encoder.config.heads == 1 && decoder.config.heads == 8 && decoder.config.image == 64);
    Tensor *embedding = sam_encoder_forward(&r->tape, &encoder, image(r, 1, 64));
    const double point[4] = {20, 30.5, 7, 60};
    const int32_t label[2] = {1, 0};
    SamPrompts p = {.n = 1, .points = 2, .point = point, .label = label};
    sam_decoder_forward(&r->tape, &decoder, embedding, &p, &masks, &iou);
    keep(to, embedding);
    keep(to, masks);
    keep(to, iou);
}

START_TEST(sam) { check("tests/golden/public_sam.pth", create_sam, compute_sam); }
END_TEST

/* ---- MedCLIP ---- */

enum { SIDE = 32, TOKENS = 9, VOCAB = 60 };

static void create_medclip(Rig *r, Weights *w)
{
    Error e = {0};
    Medclip m;
    const MedclipConfig c = {SIDE, 20, {3, 4, 12, 4, 2, 4, {2, 2}, {3, 6}}, {VOCAB, 24, 3, 2, 48, 20, 2}};
    (void)r;
    ck_assert_msg(medclip_create(&m, w, c, &e), "%s", e.msg);
}

/* Without metadata heads are of 64 and images of 224 pixels: at this size the tests say what they are. */
static void compute_medclip(Rig *r, Weights *w, Result *to)
{
    Error e = {0};
    Medclip m;
    float u[TOKENS];
    int32_t id[TOKENS];
    ck_assert_msg(tensor_file_set_meta(w->file, "bert.heads", "2", &e) &&
                      tensor_file_set_meta(w->file, "medclip.image_size", "32", &e) && medclip_open(&m, w, &e),
                  "%s", e.msg);
    rng_fill(u, TOKENS, GOLDEN_INPUTS, "ids", 1);
    for (int i = 0; i < TOKENS; i++) id[i] = (int32_t)((u[i] + 1.0f) * (float)(VOCAB / 2));
    Tensor *ids = tensor_new(&r->state, DTYPE_i32, 2, (const int64_t[]){1, TOKENS});
    tensor_upload(ids, id);
    keep(to, medclip_image(&r->tape, &m, image(r, 1, SIDE)));
    keep(to, medclip_text(&r->tape, &m, ids));
    keep(to, m.logit_scale);
}

START_TEST(medclip) { check("tests/golden/public_medclip.bin", create_medclip, compute_medclip); }
END_TEST

int main(void)
{
    const TTest *const tests[] = {resnet, sam, medclip};
    return run_tests("public", tests, sizeof tests / sizeof *tests);
}
