/* MedCLIP against transformers, torchvision and Pillow put together (tests/golden/make_medclip.py): pixels,
 * ids, both embeddings, logits, loss, gradients; the ResNet tower; an item's embedding whatever batch it is in.
 */
#include "data/medclip_image.h"
#include "data/file.h"
#include "data/json.h"
#include "models/medclip.h"
#include "tests/golden/golden.h"
#include "tests/models/main.h"
#include "tokenizer/wordpiece.h"

enum { SIDE = 32, E = 40, ITEMS = 5 };
static const struct {
    const char *name;
    int height, width, channels;
} images[ITEMS] = {
    {"wide", 41, 50, 3}, {"tall", 64, 21, 1}, {"small", 9, 20, 3}, {"exact", 32, 32, 1}, {"odd", 33, 40, 1}};
static const char *const texts[ITEMS] = {"Low density lesion in the left basal ganglia.", "Hemorrhage",
                                         "左侧基底节区见低密度影。", "no midline able-bodied infarction",
                                         "café x"};

static const char golden_path[] = "tests/golden/medclip.safetensors";

static MedclipConfig small(int64_t vocab)
{
    return (MedclipConfig){SIDE, E, {3, 4, 24, 4, 2, 4, {2, 2}, {3, 6}}, {vocab, 64, 3, 4, 128, 80, 2}};
}

/* The vocabulary of tests/golden/wordpiece.json. */
static void open_vocabulary(Wordpiece *v)
{
    Error e = {0};
    json_t *root = json_read("tests/golden/wordpiece.json", &e);
    ck_assert_msg(root != NULL, "%s", e.msg);
    const json_t *list = json_object_get(root, "vocab");
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    for (size_t i = 0; i < json_array_size(list); i++)
        fprintf(f, "%s\n", json_string_value(json_array_get(list, i)));
    fclose(f);
    ck_assert_msg(file_write(test_path(), text, n, &e) && wordpiece_open(v, test_path(), &e), "%s", e.msg);
    free(text);
    json_decref(root);
    unlink(test_path());
}

/* make_medclip.py's pixels(). */
static void golden_image(Image *image, const char *name, int height, int width, int channels)
{
    int64_t n = (int64_t)height * width * channels;
    float *u = malloc((size_t)n * sizeof *u);
    *image = (Image){width, height, channels, malloc((size_t)n)};
    rng_fill(u, n, GOLDEN_INPUTS, name, 1);
    for (int64_t i = 0; i < n; i++) image->pixel[i] = (uint8_t)((u[i] + 1.0f) * 127.5f);
    free(u);
}

/* A channel of the pixels against the golden of that name; all three are the same. */
static void check_pixels(const TensorFile *g, const char *name, const float *x, int side)
{
    char full[64];
    float *one = malloc((size_t)(side * side) * sizeof *one);
    const Tensor shape = {.dtype = DTYPE_f32, .ndim = 2, .dim = {side, side}};
    for (int i = 0; i < side * side; i++) {
        one[i] = x[3 * i];
        ck_assert(x[3 * i] == x[3 * i + 1] && x[3 * i] == x[3 * i + 2]);
    }
    snprintf(full, sizeof full, "pixels.%s", name);
    golden_compare_host(g, full, &shape, one, false, GOLDEN_MAX, 1e-7);
    free(one);
}

typedef struct Model {
    Rig rig;
    Weights w;
    Medclip m;
    Wordpiece v;
} Model;

static void model_open(Model *o)
{
    Error e = {0};
    open_vocabulary(&o->v);
    rig_open(&o->rig, test_device());
    weights_init(&o->w, &o->rig.weights, &o->rig.state, &o->rig.params, 1);
    o->w.trainable = true;
    o->w.generator = golden_weight;
    ck_assert_msg(medclip_create(&o->m, &o->w, small(o->v.n), &e), "%s", e.msg);
    params_alloc(&o->rig.params);
    ck_assert_msg(weights_fill(&o->w, &e), "%s", e.msg);
}

static void model_close(Model *o)
{
    wordpiece_close(&o->v);
    weights_close(&o->w);
    rig_close(&o->rig);
}

/* The five images as the tower reads them; g: and against the golden, or NULL. */
static Tensor *golden_pixels(Model *o, const TensorFile *g)
{
    Error e = {0};
    Tensor *x = tensor_f32(&o->rig.state, ITEMS, SIDE, SIDE, 3);
    float *host = malloc(tensor_bytes(x));
    for (int i = 0; i < ITEMS; i++) {
        Image image;
        float *at = host + i * SIDE * SIDE * 3;
        golden_image(&image, images[i].name, images[i].height, images[i].width, images[i].channels);
        ck_assert_msg(medclip_pixels(&image, SIDE, at, &e), "%s", e.msg);
        if (g) check_pixels(g, images[i].name, at, SIDE);
        free(image.pixel);
    }
    tensor_upload(x, host);
    free(host);
    return x;
}

static int32_t *encode(const Model *o, const char *text, int *n)
{
    Error e = {0};
    int32_t *ids;
    ck_assert_msg(wordpiece_encode(&o->v, text, strlen(text), 77, &ids, n, &e), "%s", e.msg);
    return ids;
}

/* The five texts' embeddings, one after the other. */
static Tensor *golden_words(Model *o)
{
    Tape *t = &o->rig.tape;
    Tensor *y = NULL;
    for (int i = 0; i < ITEMS; i++) {
        int n;
        int32_t *ids = encode(o, texts[i], &n);
        Tensor *id = tensor_new(&o->rig.state, DTYPE_i32, 2, (int64_t[]){1, n});
        tensor_upload(id, ids);
        free(ids);
        Tensor *one = medclip_text(t, &o->m, id);
        y = y ? op_concat(t, y, one, 0) : one;
    }
    return y;
}

START_TEST(pixels)
{
    static const struct {
        const char *name;
        int height, width, channels;
    } large[] = {{"large", 300, 411, 3}, {"narrow", 100, 230, 1}};
    TensorFile *g = golden_open(golden_path);
    float *x = malloc(224 * 224 * 3 * sizeof *x);
    for (int i = 0; i < 2; i++) {
        Image image;
        Error e = {0};
        golden_image(&image, large[i].name, large[i].height, large[i].width, large[i].channels);
        ck_assert_msg(medclip_pixels(&image, 224, x, &e), "%s", e.msg);
        check_pixels(g, large[i].name, x, 224);
        free(image.pixel);
    }
    free(x);
    tensor_file_close(g);
}
END_TEST

/* From pixels and text to logits, the retrieved image, the loss and every gradient. */
START_TEST(golden)
{
    Model o;
    TensorFile *g = golden_open(golden_path);
    model_open(&o);
    Tape *t = &o.rig.tape;
    double tol = test_tolerance(TOL_MEDCLIP);
    Tensor *x = golden_pixels(&o, g);
    t->recording = true;
    Tensor *v = medclip_image(t, &o.m, x), *w = golden_words(&o); /* (5,E) */
    golden_compare(g, "image", v, false, GOLDEN_MAX, tol);
    golden_compare(g, "text", w, false, GOLDEN_MAX, tol);
    float *a = host_copy(v), *b = host_copy(w), logits[ITEMS * ITEMS];
    const TensorEntry *entry = tensor_file_find(g, "best");
    int64_t best[ITEMS];
    Error e = {0};
    ck_assert(entry && tensor_file_read(g, entry, best, &e));
    for (int j = 0; j < ITEMS; j++) {
        int most = 0;
        for (int i = 0; i < ITEMS; i++) {
            double dot = 0;
            for (int k = 0; k < E; k++) dot += (double)a[i * E + k] * (double)b[j * E + k];
            logits[i * ITEMS + j] = (float)(dot * exp((double)host_get(o.m.logit_scale, 0)));
            if (logits[i * ITEMS + j] > logits[most * ITEMS + j]) most = i;
        }
        ck_assert_int_eq(most, best[j]);
    }
    free(a);
    free(b);
    const Tensor shape = {.dtype = DTYPE_f32, .ndim = 2, .dim = {ITEMS, ITEMS}};
    golden_compare_host(g, "logits", &shape, logits, false, GOLDEN_MAX, tol);
    Tensor *loss = op_infonce(t, v, w, o.m.logit_scale, NULL, (InfonceParams){1, 1, 0, true, true});
    golden_compare(g, "loss", loss, false, GOLDEN_MAX, tol);
    tape_backward(t, loss);
    for (int i = 0; i < o.w.n; i++) {
        const WeightsItem *item = &o.w.item[i];
        char name[192];
        if (strstr(item->name, "key.bias")) continue; /* moves a query's scores alike: 0 but for rounding */
        snprintf(name, sizeof name, "d.%s", item->name);
        golden_compare(g, name, item->tensor->grad, item->spec.kind == WEIGHT_CONV, GOLDEN_L2, tol);
    }
    tensor_file_close(g);
    model_close(&o);
}
END_TEST

/* ---- batches ---- */

/* n of the images over and over, in one batch: each must come out as `want` has it. */
static void check_batch(Model *o, const float *pixel, const float *want, int n)
{
    const int64_t size = SIDE * SIDE * 3;
    ArenaMark mark = arena_mark(&o->rig.step);
    Tensor *x = tensor_f32(&o->rig.step, n, SIDE, SIDE, 3);
    float *host = malloc(tensor_bytes(x));
    for (int i = 0; i < n; i++) memcpy(host + i * size, pixel + i % ITEMS * size, (size_t)size * sizeof *host);
    tensor_upload(x, host);
    float *y = host_copy(medclip_image(&o->rig.tape, &o->m, x));
    for (int i = 0; i < n; i++)
        ck_assert_msg(!memcmp(y + i * E, want + i % ITEMS * E, E * sizeof *y),
                      "item %d of a batch of %d has another embedding than alone", i, n);
    free(y);
    free(host);
    arena_pop(&o->rig.step, mark);
}

START_TEST(any_batch)
{
    Model o;
    float want[ITEMS * E];
    model_open(&o);
    Tensor *x = golden_pixels(&o, NULL);
    float *pixel = host_copy(x);
    for (int i = 0; i < ITEMS; i++) {
        Tensor *one = medclip_image(&o.rig.tape, &o.m, tensor_slice(&o.rig.step, x, i, 1));
        tensor_download(one, want + i * E);
    }
    check_batch(&o, pixel, want, 1);
    check_batch(&o, pixel, want, 7);
    check_batch(&o, pixel, want, 64);
    free(pixel);
    model_close(&o);
}
END_TEST

/* The same for texts of one length; padded ones come near. */
START_TEST(any_batch_of_texts)
{
    enum { T = 12 };
    static const int sizes[] = {7, 64};
    Model o;
    int32_t id[64 * T];
    float want[ITEMS * E];
    model_open(&o);
    Tape *t = &o.rig.tape;
    for (int i = 0; i < 64 * T; i++) id[i] = (int32_t)((i / T % ITEMS * 31 + i % T * 7) % o.v.n);
    for (int i = 0; i < ITEMS; i++) {
        Tensor *one = tensor_new(&o.rig.state, DTYPE_i32, 2, (int64_t[]){1, T});
        tensor_upload(one, id + i * T);
        tensor_download(medclip_text(t, &o.m, one), want + i * E);
    }
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        int n = sizes[k];
        Tensor *all = tensor_new(&o.rig.state, DTYPE_i32, 2, (int64_t[]){n, T});
        tensor_upload(all, id);
        float *y = host_copy(medclip_text(t, &o.m, all));
        for (int i = 0; i < n; i++)
            ck_assert_msg(!memcmp(y + i * E, want + i % ITEMS * E, E * sizeof *y),
                          "text %d of a batch of %d has another embedding than alone", i, n);
        free(y);
    }
    float *y = host_copy(golden_words(&o));
    int32_t lengths[ITEMS], padded[ITEMS * 77] = {0};
    int most = 0;
    for (int i = 0; i < ITEMS; i++) {
        int n;
        int32_t *ids = encode(&o, texts[i], &n);
        memcpy(padded + i * 77, ids, (size_t)n * sizeof *ids);
        free(ids);
        lengths[i] = n;
        if (n > most) most = n;
    }
    ck_assert_int_lt(most, 77);
    Tensor *all = tensor_new(&o.rig.state, DTYPE_i32, 2, (int64_t[]){ITEMS, 77});
    tensor_upload(all, padded);
    float *z = host_copy(medclip_texts(t, &o.m, all, lengths));
    for (int i = 0; i < ITEMS * E; i++) ck_assert_float_eq_tol(y[i], z[i], (float)test_tolerance(TOL_MEDCLIP));
    free(y);
    free(z);
    model_close(&o);
}
END_TEST

/* ---- files ---- */

START_TEST(file)
{
    Model o;
    Weights frozen;
    Medclip m;
    Error e = {0};
    float y[2][ITEMS * E];
    model_open(&o);
    ck_assert_msg(weights_save((Weights *[]){&o.w}, 1, false, NULL, test_path(), &e), "%s", e.msg);
    weights_init(&frozen, &o.rig.weights, &o.rig.state, NULL, 0);
    ck_assert_msg(weights_open(&frozen, test_path(), &e) && medclip_open(&m, &frozen, &e), "%s", e.msg);
    ck_assert(!m.is_resnet && m.image == SIDE && m.embed == E);
    ck_assert_mem_eq(&m.swin.config, &o.m.swin.config, sizeof m.swin.config);
    ck_assert_mem_eq(&m.bert.config, &o.m.bert.config, sizeof m.bert.config);
    Tensor *x = golden_pixels(&o, NULL);
    tensor_download(medclip_image(&o.rig.tape, &o.m, x), y[0]);
    tensor_download(medclip_image(&o.rig.tape, &m, x), y[1]);
    ck_assert_mem_eq(y[0], y[1], sizeof y[0]);
    tensor_download(golden_words(&o), y[0]);
    o.m = m;
    tensor_download(golden_words(&o), y[1]);
    ck_assert_mem_eq(y[0], y[1], sizeof y[0]);
    unlink(test_path());
    weights_close(&frozen);
    model_close(&o);
}
END_TEST

static void expect_open_error(const char *drop, const char *key, const char *value, const char *message)
{
    Model o;
    Weights w;
    Medclip m;
    Error e = {0};
    model_open(&o);
    for (int i = o.w.n - 1; drop && i >= 0; i--)
        if (strstr(o.w.item[i].name, drop)) o.w.item[i] = o.w.item[--o.w.n];
    const char *const meta[] = {key, value, NULL};
    ck_assert(weights_save((Weights *[]){&o.w}, 1, false, meta, test_path(), &e));
    weights_init(&w, &o.rig.weights, &o.rig.state, NULL, 1);
    ck_assert(weights_open(&w, test_path(), &e));
    ck_assert(!medclip_open(&m, &w, &e));
    ck_assert_str_eq(after_path(e.msg), message);
    ck_assert_int_eq(e.code, ERROR_INPUT);
    weights_close(&w);
    unlink(test_path());
    model_close(&o);
}

START_TEST(file_faults)
{
    expect_open_error(
        "patch_embeddings", "x", "y",
        "no image tower: neither vision_model.model.embeddings.patch_embeddings.projection.weight "
        "(Swin) nor vision_model.model.conv1.weight (ResNet)");
    expect_open_error("word_embeddings", "x", "y",
                      "tensor text_model.model.embeddings.word_embeddings.weight is missing");
    expect_open_error("vision_model.projection_head", "x", "y",
                      "tensor vision_model.projection_head.weight is missing: expected shape [40,48]");
    expect_open_error("text_model.projection_head", "x", "y",
                      "tensor text_model.projection_head.weight is missing");
    expect_open_error("logit_scale", "x", "y", "tensor logit_scale is missing: expected shape [1]");
    expect_open_error(NULL, "medclip.image_size", "30",
                      "images of 30 px for a Swin of patch 4, window 4 and 2 stages: expected a multiple of 8, "
                      "at least 32");
    expect_open_error(NULL, "medclip.image_size", "0",
                      "metadata medclip.image_size: expected a whole number from 1 to 4096, found \"0\"");
}
END_TEST

/* ---- public sizes, ResNet ---- */

/* The public checkpoint has a pooler besides, which nothing uses. */
START_TEST(public_size)
{
    Rig r;
    Weights w;
    Medclip m;
    rig_open(&r, &backend_plan);
    weights_init(&w, &r.weights, &r.state, &r.params, 1);
    w.trainable = true;
    ck_assert(medclip_create(&m, &w, medclip_public, NULL));
    ck_assert_int_eq(params_count(&r.params), 136616059 - (768 * 768 + 768));
    weights_close(&w);
    rig_close(&r);
}
END_TEST

/* A file of a tower alone, with a small text tower, then opened: torchvision's names and embedding. */
START_TEST(resnet)
{
    if (!test_affords("resnet", 2 * 0.7)) return;
    Rig r;
    Weights w, text, frozen;
    Medclip m;
    Resnet net;
    Bert bert;
    Error e = {0};
    const ResnetConfig c = {3, 64, {64, 128, 256, 512}, {3, 4, 6, 3}, {1, 2, 2, 2}, false};
    rig_open(&r, test_device());
    weights_init(&w, &r.weights, &r.state, &r.params, 1);
    w.trainable = true;
    w.generator = golden_weight;
    text = w;
    w.prefix = "vision_model.model.";
    ck_assert_msg(resnet_create(&net, &w, c, &e), "%s", e.msg);
    weights_get(&w, (WeightSpec){{512, 2048}, .init = INIT_LINEAR}, "fc.weight");
    ck_assert_int_eq(params_count(&r.params), 24556608);
    text.prefix = "text_model.model.";
    ck_assert(bert_create(&bert, &text, (BertConfig){20, 8, 2, 2, 8, 9, 2}, &e));
    text.prefix = NULL;
    weights_get(&text, (WeightSpec){{512, 8}, .init = INIT_LINEAR}, "text_model.projection_head.weight");
    weights_get(&text, (WeightSpec){{1}, .init = INIT_ONES}, "logit_scale");
    params_alloc(&r.params);
    ck_assert(weights_fill(&w, &e) && weights_fill(&text, &e));
    const char *const meta[] = {"medclip.image_size", "64", NULL};
    ck_assert_msg(weights_save((Weights *[]){&w, &text}, 2, false, meta, test_path(), &e), "%s", e.msg);
    weights_init(&frozen, &r.weights, &r.state, NULL, 0);
    ck_assert_msg(weights_open(&frozen, test_path(), &e) && medclip_open(&m, &frozen, &e), "%s", e.msg);
    unlink(test_path());
    ck_assert(m.is_resnet && m.image == 64 && m.embed == 512);
    TensorFile *g = golden_open(golden_path);
    Tensor *x = golden_fill(tensor_f32(&r.state, 2, 64, 64, 3), "image64", GOLDEN_INPUTS, 2, true);
    golden_compare(g, "resnet.image", medclip_image(&r.tape, &m, x), false, GOLDEN_MAX,
                   test_tolerance(TOL_MEDCLIP));
    tensor_file_close(g);
    weights_close(&frozen);
    weights_close(&text);
    weights_close(&w);
    rig_close(&r);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {pixels, golden,      any_batch,   any_batch_of_texts,
                                  file,   file_faults, public_size, resnet};
    return run_tests("medclip", tests, sizeof tests / sizeof *tests);
}
