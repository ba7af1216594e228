/* pcrl-forward against the goldens: each model's weights and inputs go through files into the program, what
 * comes out is compared in the reference's layout. */
#include "data/file.h"
#include "data/json.h"
#include "data/medclip_image.h"
#include "models/medclip.h"
#include "models/sam_decoder.h"
#include "models/sam_encoder.h"
#include "tests/models/main.h"
#include "tests/tools/forward_fixture.h"
#include "tokenizer/wordpiece.h"
#include "tools/adapter.h"

/* Wide convolutions without optimisation take minutes. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
enum { LARGE = 0 };
#else
enum { LARGE = 1 };
#endif

/* ---- images ---- */

static void check_resnet(const char *style, int64_t n, int64_t side)
{
    char prefix[32], image[32];
    snprintf(prefix, sizeof prefix, "%s.%d.", style, (int)side);
    snprintf(image, sizeof image, "image%d", (int)side);
    const Input in = {"image", ST_F32, 4, {n, 3, side, side}, NULL, 2, image};
    TensorFile *g = golden_open("tests/golden/resnet.safetensors");
    write_inputs(&in, 1);
    run_forward("resnet", "--taps", "--resnet-style", style, NULL);
    TensorFile *out = output();
    static const char *const taps[] = {"stem", "layer1", "layer2", "layer3", "layer4", "pooled"};
    for (int i = 0; i < 6; i++) compare(out, g, prefix, taps[i], 1e-4);
    ck_assert_int_eq(out->n, side == 512 ? 7 : 6);
    ck_assert_int_eq(strstr(r.err, "no grid: maps of 2x2 cells are not enlarged to 14x14") != NULL,
                     side != 512);
    if (side == 512) compare_as(out, g, prefix, "grid", "grid", OUT_SQUARE, GOLDEN_MAX, 1e-4);
    tensor_file_close(out);
    tensor_file_close(g);
}

/* torchvision's names, with what its files have besides. */
START_TEST(resnet)
{
    if (!LARGE || !test_affords("resnet", 80)) return;
    Maker m;
    Resnet net;
    maker_open(&m);
    const ResnetConfig c = {3, 64, {64, 128, 256, 512}, {3, 4, 23, 3}, {1, 2, 2, 2}, false};
    ck_assert(resnet_create(&net, &m.w, c, NULL));
    m.w.n_meta = 0;
    write_weights(in_folder("w"), &m.w, (const Odd[]){{"bn1.num_batches_tracked", 1}, {"fc.bias", 3}, {0}});
    maker_close(&m);
    check_resnet("v1.5", 2, 64);
    ck_assert_ptr_null(strstr(r.err, "does not read"));
    check_resnet("caffe", 2, 64);
    check_resnet("v1.5", 1, 512);
    unlink(in_folder("w"));
}
END_TEST

static void write_sam(void)
{
    Maker m;
    SamEncoder encoder;
    SamDecoder decoder;
    maker_open(&m);
    const SamEncoderConfig e = {.image = 256,
                                .patch = 16,
                                .width = 64,
                                .heads = 4,
                                .mlp = 256,
                                .window = 14,
                                .out = 256,
                                .global = 1 << 1 | 1 << 3,
                                .depth = 4};
    const SamDecoderConfig d = {.image = 256,
                                .dim = 256,
                                .heads = 8,
                                .inner = 128,
                                .mlp = 2048,
                                .masks = 4,
                                .iou_hidden = 256,
                                .mask_hidden = 16};
    ck_assert(sam_encoder_create(&encoder, &m.w, e, NULL) && sam_decoder_create(&decoder, &m.w, d, NULL));
    m.w.n_meta = 0;
    write_weights(in_folder("w"), &m.w, NULL);
    maker_close(&m);
}

START_TEST(sam_encoder)
{
    const Input in = {"image", ST_F32, 4, {2, 3, 256, 256}, NULL, 2, NULL};
    TensorFile *g = golden_open("tests/golden/sam_encoder.safetensors");
    write_sam();
    write_inputs(&in, 1);
    run_forward("sam-encoder", "--taps", NULL);
    ck_assert_ptr_null(strstr(r.err, "does not read"));
    TensorFile *out = output();
    static const char *const taps[] = {"patches", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "embedding"};
    for (int i = 0; i < 6; i++) compare(out, g, "", taps[i], test_tolerance(TOL_SAM));
    ck_assert_int_eq(out->n, 6);
    tensor_file_close(out);
    run_forward("sam-encoder", NULL);
    out = output();
    ck_assert_int_eq(out->n, 1);
    tensor_file_close(out);
    tensor_file_close(g);
}
END_TEST

/* CASE.NAME of the golden as an input; false where it has none. */
static bool given(const TensorFile *g, const char *mode, const char *key, Input *in, const char *name)
{
    char full[64];
    Error e = {0};
    snprintf(full, sizeof full, "%s.%s", mode, key);
    const TensorEntry *t = tensor_file_find(g, full);
    if (!t) return false;
    void *x = malloc(t->size);
    ck_assert_msg(tensor_file_read(g, t, x, &e), "%s", e.msg);
    *in = (Input){name, t->dtype, t->ndim, {0}, x, 0, NULL};
    memcpy(in->dim, t->dim, (size_t)t->ndim * sizeof *t->dim);
    return true;
}

static void check_decoder(const TensorFile *g, const char *mode, bool masked)
{
    static const char *const names[][2] = {
        {"point", "points"}, {"label", "labels"}, {"box", "box"}, {"image", "image"}};
    char embedding[32], mask[32], prefix[32];
    Input in[6];
    int n = 0;
    snprintf(prefix, sizeof prefix, "%s.", mode);
    snprintf(embedding, sizeof embedding, "%s.embedding", mode);
    snprintf(mask, sizeof mask, "%s.mask", mode);
    for (int i = 0; i < 4; i++) n += given(g, mode, names[i][0], &in[n], names[i][1]);
    int given_here = n;
    const int32_t *image = in[n - 1].data;
    in[n++] = (Input){"embedding", ST_F32, 4, {1 + (image[0] || image[1]), 256, 16, 16}, NULL, 1, embedding};
    if (masked) in[n++] = (Input){"mask_input", ST_F32, 4, {2, 1, 64, 64}, NULL, 8, mask};
    write_inputs(in, n);
    for (int i = 0; i < given_here; i++) free((void *)in[i].data);
    run_forward("sam-decoder", "--taps", NULL);
    TensorFile *out = output();
    static const char *const taps[] = {
        "layers.0.queries", "layers.0.keys", "layers.1.queries", "layers.1.keys", "tokens", "masks", "iou"};
    for (int i = 0; i < 7; i++) compare(out, g, prefix, taps[i], test_tolerance(TOL_SAM));
    if (strcmp(mode, "bare")) compare(out, g, prefix, "sparse", test_tolerance(TOL_SAM));
    compare_as(out, g, prefix, "upscaled", "upscaled", OUT_NCHW, GOLDEN_MAX, test_tolerance(TOL_SAM));
    if (masked) compare_as(out, g, prefix, "dense", "dense", OUT_NCHW, GOLDEN_MAX, test_tolerance(TOL_SAM));
    tensor_file_close(out);
}

START_TEST(sam_decoder)
{
    TensorFile *g = golden_open("tests/golden/sam_decoder.safetensors");
    write_sam();
    check_decoder(g, "one", false);
    ck_assert_ptr_null(strstr(r.err, "does not read"));
    check_decoder(g, "mask", true);
    if (strcmp(test_device()->name, "emu")) { /* the other kinds of prompts meet the same kernels */
        check_decoder(g, "three", false);
        check_decoder(g, "box", false);
        check_decoder(g, "bare", true);
    }
    tensor_file_close(g);
}
END_TEST

static const SwinConfig tiny_swin = {3, 2, 24, 4, 2, 4, {2, 2}, {3, 6}};

START_TEST(swin)
{
    Maker m;
    Swin net;
    const Input in = {"image", ST_F32, 4, {2, 3, 36, 36}, NULL, 2, "image36"};
    TensorFile *g = golden_open("tests/golden/swin.safetensors");
    maker_open(&m);
    m.w.prefix = "vision_model.model.";
    ck_assert(swin_create(&net, &m.w, tiny_swin, NULL));
    write_weights(
        in_folder("w"), &m.w,
        (const Odd[]){
            {"vision_model.model.encoder.layers.0.blocks.0.attention.self.relative_position_index", 4},
            {"logit_scale", 1},
            {0}});
    maker_close(&m);
    write_inputs(&in, 1);
    run_forward("swin", "--taps", NULL);
    ck_assert_ptr_null(strstr(r.err, "does not read"));
    TensorFile *out = output();
    static const char *const taps[] = {"embeddings",    "stage.0.block.0", "stage.0.block.1",
                                       "stage.0.merge", "stage.1.block.0", "stage.1.block.1",
                                       "norm",          "pooled"};
    for (int i = 0; i < 8; i++) compare(out, g, "tiny.", taps[i], test_tolerance(TOL_SWIN));
    ck_assert_int_eq(out->n, 8);
    tensor_file_close(out);
    tensor_file_close(g);
}
END_TEST

/* ---- MedCLIP ---- */

enum { SIDE = 32, E = 40, ITEMS = 5 };

static const char *const words[ITEMS] = {"Low density lesion in the left basal ganglia.", "Hemorrhage",
                                         "左侧基底节区见低密度影。", "no midline able-bodied infarction",
                                         "café x"};

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
    ck_assert_msg(file_write(in_folder("vocab"), text, n, &e) && wordpiece_open(v, in_folder("vocab"), &e),
                  "%s", e.msg);
    free(text);
    json_decref(root);
}

/* make_medclip.py's five images, preprocessed, [5,3,32,32]. */
static float *medclip_images(void)
{
    static const struct {
        const char *name;
        int height, width, channels;
    } images[ITEMS] = {{"wide", 41, 50, 3},
                       {"tall", 64, 21, 1},
                       {"small", 9, 20, 3},
                       {"exact", 32, 32, 1},
                       {"odd", 33, 40, 1}};
    enum { CELLS = SIDE * SIDE };
    float *x = malloc(ITEMS * 3 * CELLS * sizeof *x), *one = malloc(3 * CELLS * sizeof *one), u[64 * 64 * 3];
    for (int i = 0; i < ITEMS; i++) {
        Error e = {0};
        int n = images[i].height * images[i].width * images[i].channels;
        uint8_t pixel[64 * 64 * 3];
        rng_fill(u, n, GOLDEN_INPUTS, images[i].name, 1);
        for (int k = 0; k < n; k++) pixel[k] = (uint8_t)((u[k] + 1.0f) * 127.5f);
        ck_assert_msg(medclip_pixels(&(Image){images[i].width, images[i].height, images[i].channels, pixel},
                                     SIDE, one, &e),
                      "%s", e.msg);
        for (int c = 0; c < 3; c++)
            for (int k = 0; k < CELLS; k++) x[(i * 3 + c) * CELLS + k] = one[3 * k + c];
    }
    free(one);
    return x;
}

/* Each text alone; the five embeddings together are the golden's. */
static void check_texts(const TensorFile *g, const Wordpiece *v)
{
    float all[ITEMS * E];
    const Tensor shape = {.dtype = DTYPE_f32, .ndim = 2, .dim = {ITEMS, E}};
    for (int i = 0; i < ITEMS; i++) {
        Error e = {0};
        Tensor one;
        int32_t *ids;
        int n;
        ck_assert_msg(wordpiece_encode(v, words[i], strlen(words[i]), 77, &ids, &n, &e), "%s", e.msg);
        const Input in = {"ids", ST_I32, 2, {1, n}, ids, 0, NULL};
        write_inputs(&in, 1);
        run_forward("medclip-text", NULL);
        TensorFile *out = output();
        float *x = read_output(out, "embedding", &one);
        ck_assert(one.ndim == 2 && one.dim[0] == 1 && one.dim[1] == E);
        memcpy(all + i * E, x, E * sizeof *x);
        free(x);
        free(ids);
        tensor_file_close(out);
    }
    golden_compare_host(g, "text", &shape, all, false, GOLDEN_MAX, test_tolerance(TOL_MEDCLIP));
}

START_TEST(medclip)
{
    Maker m;
    Medclip net;
    Wordpiece v;
    float *x = medclip_images();
    const Input in = {"image", ST_F32, 4, {ITEMS, 3, SIDE, SIDE}, x, 0, NULL};
    TensorFile *g = golden_open("tests/golden/medclip.safetensors");
    open_vocabulary(&v);
    maker_open(&m);
    ck_assert(medclip_create(
        &net, &m.w, (MedclipConfig){SIDE, E, {3, 4, 24, 4, 2, 4, {2, 2}, {3, 6}}, {v.n, 64, 3, 4, 128, 80, 2}},
        NULL));
    write_weights(in_folder("w"), &m.w,
                  (const Odd[]){{"text_model.model.embeddings.position_ids", 3},
                                {"text_model.model.pooler.dense.bias", 2},
                                {0}});
    maker_close(&m);
    write_inputs(&in, 1);
    run_forward("medclip-image", "--taps", NULL);
    ck_assert_ptr_null(strstr(r.err, "does not read"));
    TensorFile *out = output();
    compare_as(out, g, "", "image", "embedding", OUT_SAME, GOLDEN_MAX, test_tolerance(TOL_MEDCLIP));
    Tensor shape;
    free(read_output(out, "stage.0.merge", &shape)); /* one item after the other */
    ck_assert(shape.ndim == 3 && shape.dim[0] == ITEMS && shape.dim[1] == 16 && shape.dim[2] == 48);
    tensor_file_close(out);
    check_texts(g, &v);
    tensor_file_close(g);
    wordpiece_close(&v);
    free(x);
}
END_TEST

/* ---- texts ---- */

START_TEST(bert)
{
    enum { V = 100, B = 2, T = 17, D = 64 };
    Maker m;
    Bert net;
    int32_t id[B * T];
    TensorFile *g = golden_open("tests/golden/bert.safetensors");
    maker_open(&m);
    m.w.prefix = "bert.";
    ck_assert(bert_create(&net, &m.w, (BertConfig){V, D, 2, 4, 128, 20, 2}, NULL));
    write_weights(in_folder("w"), &m.w, (const Odd[]){{"cls.predictions.bias", 9}, {0}});
    maker_close(&m);
    golden_ids(id, B * T, "ids", V);
    const Input in[2] = {{"ids", ST_I32, 2, {B, T}, id, 0, NULL},
                         {"lengths", ST_I64, 1, {B}, (int64_t[]){T, 11}, 0, NULL}};
    write_inputs(in, 1);
    run_forward("bert", NULL);
    ck_assert_ptr_null(strstr(r.err, "does not read"));
    TensorFile *out = output();
    static const char *const taps[] = {"embeddings", "layer.0", "layer.1"};
    for (int i = 0; i < 3; i++) compare(out, g, "", taps[i], test_tolerance(TOL_BERT));
    compare_as(out, g, "", "layer.1", "hidden", OUT_SAME, GOLDEN_MAX, test_tolerance(TOL_BERT));
    tensor_file_close(out);
    write_inputs(in, 2);
    run_forward("bert", NULL);
    out = output();
    Tensor shape;
    float *h = read_output(out, "hidden", &shape);
    const Tensor eleven = {.dtype = DTYPE_f32, .ndim = 2, .dim = {11, D}};
    golden_compare_host(g, "masked", &eleven, h + T * D, false, GOLDEN_MAX, test_tolerance(TOL_BERT));
    for (int i = (T + 11) * D; i < B * T * D; i++) ck_assert(h[i] == 0);
    free(h);
    tensor_file_close(out);
    tensor_file_close(g);
}
END_TEST

enum { V = 512, B = 2, T = 33, D = 64 };
static const LlamaConfig small = {V, D, 2, 4, 2, 16, 160, 1e-5f, 500000, false};

/* Into w, and its LoRA as a PEFT adapter into the folder. */
static void write_llama(void)
{
    Maker m, a;
    Llama net;
    Error e = {0};
    maker_open(&m);
    maker_open(&a);
    ck_assert(llama_create(&net, &m.w, small, NULL) && llama_add_lora(&net, &a.w, 8, 32, 0, NULL));
    write_weights(in_folder("w"), &m.w,
                  (const Odd[]){{"model.layers.0.self_attn.rotary_emb.inv_freq", 8}, {0}});
    ck_assert_msg(adapter_save(folder, &a.w, 8, 32, 0, &e), "%s", e.msg);
    write_weights(in_folder("adapter_model.safetensors"), &a.w, NULL);
    maker_close(&a);
    maker_close(&m);
}

static void write_llama_input(void)
{
    int32_t id[B * T];
    golden_ids(id, B * T, "ids", V);
    const Input in[2] = {{"ids", ST_I32, 2, {B, T}, id, 0, NULL},
                         {"lengths", ST_I32, 1, {B}, (int32_t[]){33, 21}, 0, NULL}};
    write_inputs(in, 2);
}

static void check_llama(const char *prefix)
{
    static const char *const taps[] = {"layers.0.attn", "layers.0", "layers.1.attn", "layers.1"};
    TensorFile *g = golden_open("tests/golden/llama.safetensors"), *out = output();
    char name[32];
    ck_assert_ptr_null(strstr(r.err, "does not read"));
    for (int i = 0; i < 4; i++) compare(out, g, prefix, taps[i], test_tolerance(TOL_LLAMA));
    compare_as(out, g, prefix, "norm", "hidden", OUT_SAME, GOLDEN_MAX, test_tolerance(TOL_LLAMA));
    Tensor shape;
    float *logits = read_output(out, "logits", &shape);
    ck_assert(shape.ndim == 3 && shape.dim[0] == B && shape.dim[1] == T && shape.dim[2] == V);
    const Tensor row = {.dtype = DTYPE_f32, .ndim = 1, .dim = {V}};
    snprintf(name, sizeof name, "%slogits", prefix);
    golden_compare_host(g, name, &row, logits + (T + 20) * V, false, GOLDEN_MAX, test_tolerance(TOL_LLAMA));
    for (int i = (T + 21) * V; i < B * T * V; i++) ck_assert(logits[i] == 0);
    free(logits);
    tensor_file_close(out);
    tensor_file_close(g);
}

/* Outputs that would be written for nothing, or over what is read. */
START_TEST(outputs)
{
    write_llama();
    write_llama_input();
    const char *const wrong[][2] = {{in_folder("w"), ": is what is read; expected another --output"},
                                    {in_folder("in"), ": is what is read; expected another --output"},
                                    {"/no/such/y", ": cannot create: No such file or directory"}};
    for (int i = 0; i < 3; i++) {
        run_forward("llama", "--output", wrong[i][0], NULL);
        ck_assert_msg(r.code == (i < 2 ? 1 : 3) && strstr(r.err, wrong[i][1]), "%d: %s", r.code, r.err);
    }
    run_forward("llama", NULL); /* both are still there */
}
END_TEST

START_TEST(llama)
{
    write_llama();
    write_llama_input();
    run_forward("llama", "--taps", NULL);
    check_llama("plain.");
    run_forward("llama", "--taps", "--adapter", folder, NULL);
    check_llama("lora.");
}
END_TEST

static float *logits_of_run(void)
{
    Tensor shape;
    TensorFile *out = output();
    float *x = read_output(out, "logits", &shape);
    tensor_file_close(out);
    return x;
}

/* Quantised on the way in is what pcrl-convert writes, bit for bit, and not what it was. */
START_TEST(quant)
{
    static const char *const forms[][3] = {{"nf4", "--nf4", "--plain-absmax"},
                                           {"nf4-dq", "--nf4", NULL},
                                           {"fp4", "--fp4", "--plain-absmax"},
                                           {"fp4-dq", "--fp4", NULL},
                                           {"q4_0", "--q4_0", NULL}};
    write_llama();
    write_llama_input();
    run_forward("llama", "--quant", "none", NULL);
    float *plain = logits_of_run();
    for (int i = 0; i < 5; i++) {
        const size_t bytes = (size_t)(B * T * V) * sizeof *plain;
        run_forward("llama", "--quant", forms[i][0], NULL);
        float *quick = logits_of_run();
        run_tool(&r, "pcrl-convert",
                 (const char *const[]){forms[i][1], in_folder("w"), in_folder("w4"), forms[i][2], NULL});
        ck_assert_msg(r.code == 0, "%s", r.err);
        run_forward("llama", "--weights", in_folder("w4"), NULL);
        float *slow = logits_of_run();
        ck_assert_mem_eq(quick, slow, bytes);
        ck_assert_mem_ne(quick, plain, bytes);
        free(quick);
        free(slow);
    }
    free(plain);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {resnet, sam_encoder, sam_decoder, swin, medclip, bert, llama, quant, outputs};
    if (!mkdtemp(folder)) return 1;
    int failed = run_tests("forward", tests, sizeof tests / sizeof *tests);
    remove_folder();
    return failed;
}
