/* What pcrl-forward says of inputs and weights that are not what it takes: one line each, which names the file,
 * the tensor, what was expected and what was found. */
#include "data/file.h"
#include "models/medclip.h"
#include "models/sam_decoder.h"
#include "models/sam_encoder.h"
#include "tests/models/main.h"
#include "tests/tools/forward_fixture.h"

static const BertConfig tiny_bert = {100, 64, 2, 1, 16, 20, 2};

/* What follows "pcrl-forward: FILE: " in the one line that there must be. */
static void expect(const char *file, int code, const char *message)
{
    char full[1024];
    snprintf(full, sizeof full, "pcrl-forward: %s: %s\n", file, message);
    ck_assert_str_eq(r.err, full);
    ck_assert_int_eq(r.code, code);
}

static void expect_input(const char *message) { expect(in_folder("in"), 2, message); }

static void write_bert(const Odd *odd)
{
    Maker m;
    Bert net;
    maker_open(&m);
    m.w.prefix = "";
    ck_assert(bert_create(&net, &m.w, tiny_bert, NULL));
    m.w.n_meta = 0;
    write_weights(in_folder("w"), &m.w, odd);
    maker_close(&m);
}

static const int32_t numbers[64] = {3, 1, 4, 1, 5, 9, 2, 6};

static void ids_of(int ndim, int64_t a, int64_t b)
{
    write_inputs(&(Input){"ids", ST_I32, ndim, {a, b}, numbers, 0, NULL}, 1);
}

/* ---- inputs ---- */

START_TEST(names)
{
    write_bert(NULL);
    write_inputs(
        (Input[]){{"idz", ST_I32, 2, {2, 4}, numbers, 0, NULL}, {"mask", ST_I32, 1, {2}, numbers, 0, NULL}}, 2);
    run_forward("bert", NULL);
    expect_input("bert takes ids ?lengths; missing: ids; extra: idz, mask");
    write_inputs(
        (Input[]){{"ids", ST_I32, 2, {2, 4}, numbers, 0, NULL}, {"length", ST_I32, 1, {2}, numbers, 0, NULL}},
        2);
    run_forward("bert", NULL);
    expect_input("bert takes ids ?lengths; missing: none; extra: length");
    Input many[30] = {{"ids", ST_I32, 2, {2, 4}, numbers, 0, NULL}};
    char name[30][16];
    for (int i = 1; i < 30; i++) {
        snprintf(name[i], sizeof name[i], "more%d", 100 + i);
        many[i] = (Input){name[i], ST_F32, 1, {1}, numbers, 0, NULL};
    }
    write_inputs(many, 30);
    run_forward("bert", NULL);
    expect_input(
        "bert takes ids ?lengths; missing: none; extra: more101, more102, more103, more104, more105, more106, "
        "more107, more108, more109, more110, more111, more112, more113, more114, more115 and 14 more");
}
END_TEST

START_TEST(texts)
{
    static const int64_t large[2] = {7, (int64_t)1 << 32};
    write_bert(NULL);
    ids_of(1, 4, 0);
    run_forward("bert", NULL);
    expect_input("tensor \"ids\": expected shape (b,t), found (4)");
    ids_of(2, 0, 4);
    run_forward("bert", NULL);
    expect_input("tensor \"ids\": expected shape (b,t), found (0,4)");
    write_inputs(&(Input){"ids", ST_F32, 2, {1, 4}, numbers, 0, NULL}, 1);
    run_forward("bert", NULL);
    expect_input("tensor \"ids\": expected I32 or I64, found F32");
    write_inputs(&(Input){"ids", ST_I64, 2, {1, 2}, large, 0, NULL}, 1);
    run_forward("bert", NULL);
    expect_input("tensor \"ids\": expected 0 to 99, found 4294967296 at 1");
    write_inputs(&(Input){"ids", ST_I32, 2, {1, 4}, (int32_t[]){1, 2, -1, 3}, 0, NULL}, 1);
    run_forward("bert", NULL);
    expect_input("tensor \"ids\": expected 0 to 99, found -1 at 2");
    ids_of(2, 1, 21);
    run_forward("bert", NULL);
    expect_input("tensor \"ids\": expected at most 20 tokens, found 21");
    const Input ids = {"ids", ST_I32, 2, {2, 4}, numbers, 0, NULL};
    write_inputs((Input[]){ids, {"lengths", ST_I32, 1, {3}, numbers, 0, NULL}}, 2);
    run_forward("bert", NULL);
    expect_input("tensor \"lengths\": expected shape (2), found (3)");
    write_inputs((Input[]){ids, {"lengths", ST_I32, 1, {2}, (int32_t[]){4, 5}, 0, NULL}}, 2);
    run_forward("bert", NULL);
    expect_input("tensor \"lengths\": expected 1 to 4, found 5 at 1");
}
END_TEST

static void image_of(int64_t n, int64_t c, int64_t h, int64_t w)
{
    write_inputs(&(Input){"image", ST_F32, 4, {n, c, h, w}, NULL, 1, NULL}, 1);
}

static void write_swin(void)
{
    Maker m;
    Swin swin;
    maker_open(&m);
    ck_assert(swin_create(&swin, &m.w, (SwinConfig){3, 2, 24, 4, 2, 4, {2, 2}, {3, 6}}, NULL));
    write_weights(in_folder("w"), &m.w, NULL);
    maker_close(&m);
}

/* The same numbers in every type that is taken, the same bits out. */
START_TEST(types)
{
    enum { N = 3 * 16 * 16 };
    static const StDType type[] = {ST_F32, ST_F64, ST_F16, ST_BF16};
    static const uint16_t half[2][3] = {{0xBC00, 0, 0x3C00}, {0xBF80, 0, 0x3F80}};
    static float single[N];
    static double twice[N];
    static uint16_t halves[2][N];
    const void *const data[] = {single, twice, halves[0], halves[1]};
    float *want = NULL;
    write_swin();
    for (int i = 0; i < N; i++) {
        int v = i * i % 7 % 3;
        single[i] = (float)(v - 1);
        twice[i] = v - 1;
        for (int k = 0; k < 2; k++) halves[k][i] = half[k][v];
    }
    for (int i = 0; i < 4; i++) {
        Tensor shape;
        write_inputs(&(Input){"image", type[i], 4, {1, 3, 16, 16}, data[i], 0, NULL}, 1);
        run_forward("swin", NULL);
        TensorFile *out = output();
        float *got = read_output(out, "pooled", &shape);
        tensor_file_close(out);
        if (want) ck_assert_mem_eq(got, want, 48 * sizeof *got);
        if (want) free(got);
        if (!want) want = got;
    }
    free(want);
}
END_TEST

START_TEST(images)
{
    Maker m;
    Resnet resnet;
    maker_open(&m);
    ck_assert(resnet_create(&resnet, &m.w,
                            (ResnetConfig){1, 4, {2, 3, 4, 4}, {1, 1, 1, 1}, {1, 2, 1, 1}, false}, NULL));
    write_weights(in_folder("w"), &m.w, NULL);
    maker_close(&m);
    image_of(1, 3, 64, 64);
    run_forward("resnet", NULL);
    expect_input("tensor \"image\": expected shape (n,1,H,W), found (1,3,64,64)");
    image_of(1, 1, 64, 15);
    run_forward("resnet", NULL);
    expect_input("tensor \"image\": expected sides of at least 16 px, found 64x15");
    write_inputs(&(Input){"image", ST_I32, 4, {1, 1, 4, 4}, numbers, 0, NULL}, 1);
    run_forward("resnet", NULL);
    expect_input("tensor \"image\": expected F32, F16, BF16 or F64, found I32");
    image_of(2, 1, 16, 40); /* the least there is */
    run_forward("resnet", NULL);
    ck_assert_msg(r.code == 0 && strstr(r.err, "no grid: maps of 2x5 cells"), "%s", r.err);
    write_swin();
    image_of(1, 3, 36, 32);
    run_forward("swin", NULL);
    expect_input("tensor \"image\": expected square images, found 36x32");
    image_of(1, 3, 34, 34);
    run_forward("swin", NULL);
    expect_input(
        "tensor \"image\": images of 34 px for a Swin of patch 2, window 4 and 2 stages: expected a multiple "
        "of 4, at least 16");
}
END_TEST

static void write_sam(void)
{
    Maker m;
    SamEncoder encoder;
    SamDecoder decoder;
    maker_open(&m);
    const SamEncoderConfig e = {
        .image = 16, .patch = 4, .width = 8, .heads = 2, .mlp = 8, .window = 4, .out = 16, .depth = 1};
    const SamDecoderConfig d = {.image = 16,
                                .dim = 16,
                                .heads = 8,
                                .inner = 8,
                                .mlp = 8,
                                .masks = 3,
                                .iou_hidden = 8,
                                .mask_hidden = 8};
    ck_assert(sam_encoder_create(&encoder, &m.w, e, NULL) && sam_decoder_create(&decoder, &m.w, d, NULL));
    write_weights(in_folder("w"), &m.w, NULL);
    maker_close(&m);
}

START_TEST(prompts)
{
    const Input embedding = {"embedding", ST_F32, 4, {1, 16, 4, 4}, NULL, 1, NULL},
                points = {"points", ST_F32, 3, {2, 1, 2}, NULL, 1, NULL},
                labels = {"labels", ST_I64, 2, {2, 1}, (int64_t[]){1, 0}, 0, NULL};
    write_sam();
    image_of(1, 3, 16, 20);
    run_forward("sam-encoder", NULL);
    expect_input("tensor \"image\": expected shape (n,3,16,16), found (1,3,16,20)");
    write_inputs(&embedding, 1);
    run_forward("sam-decoder", NULL);
    expect_input("expected points, box or mask_input, found none");
    write_inputs((Input[]){embedding, points}, 2);
    run_forward("sam-decoder", NULL);
    expect_input("tensor \"labels\" (2,1) is missing");
    write_inputs((Input[]){embedding, labels}, 2);
    run_forward("sam-decoder", NULL);
    expect_input("tensor \"points\" (p,k,2) is missing");
    write_inputs((Input[]){embedding, points, {"labels", ST_I64, 2, {2, 1}, (int64_t[]){1, 2}, 0, NULL}}, 3);
    run_forward("sam-decoder", NULL);
    expect_input("tensor \"labels\": expected -1 to 1, found 2 at 1");
    write_inputs((Input[]){embedding, points, labels, {"box", ST_F32, 2, {3, 4}, NULL, 1, NULL}}, 4);
    run_forward("sam-decoder", NULL);
    expect_input("tensor \"box\": expected shape (2,4), found (3,4)");
    write_inputs((Input[]){embedding, points, labels, {"mask_input", ST_F32, 4, {2, 1, 8, 8}, NULL, 1, NULL}},
                 4);
    run_forward("sam-decoder", NULL);
    expect_input("tensor \"mask_input\": expected shape (2,1,16,16), found (2,1,8,8)");
    write_inputs((Input[]){embedding, points, labels, {"image", ST_I32, 1, {2}, (int32_t[]){0, 1}, 0, NULL}},
                 4);
    run_forward("sam-decoder", NULL);
    expect_input("tensor \"image\": expected 0 to 0, found 1 at 1");
    write_inputs((Input[]){{"embedding", ST_F32, 4, {2, 16, 4, 4}, NULL, 1, NULL}, points, labels}, 3);
    run_forward("sam-decoder", NULL);
    expect_input("tensor \"embedding\": expected shape (1,16,g,g), found (2,16,4,4)");
    write_inputs((Input[]){{"embedding", ST_F32, 4, {1, 16, 4, 5}, NULL, 1, NULL}, points, labels}, 3);
    run_forward("sam-decoder", NULL);
    expect_input("tensor \"embedding\": expected a square map, found 4x5");
    write_inputs((Input[]){embedding, {"points", ST_F32, 3, {1, 1025, 2}, NULL, 1, NULL}, labels}, 3);
    run_forward("sam-decoder", NULL);
    expect_input("tensor \"points\": expected at most 1024 points, found 1025");
}
END_TEST

/* ---- weights ---- */

/* Missing and wrong tensors are errors; what nobody reads is named, and with --strict an error; what public
 * files are known to have besides is neither. */
START_TEST(weights)
{
    static const char *const known = "encoder.layer.1.output.LayerNorm.bias";
    ids_of(2, 1, 4);
    write_bert((const Odd[]){{known, 0}, {0}});
    run_forward("bert", NULL);
    expect(in_folder("w"), 2, "tensor encoder.layer.1.output.LayerNorm.bias is missing: expected shape [64]");
    write_bert((const Odd[]){{known, 63}, {0}});
    run_forward("bert", NULL);
    expect(in_folder("w"), 2, "tensor encoder.layer.1.output.LayerNorm.bias: expected shape [64], found [63]");
    write_bert((const Odd[]){
        {"pooler.dense.bias", 3}, {"embeddings.position_ids", 3}, {"cls.predictions.bias", 1}, {0}});
    run_forward("bert", "--strict", NULL);
    ck_assert_msg(r.code == 0 && !strstr(r.err, "does not read"), "%s", r.err);
    write_bert((const Odd[]){
        {"encoder.layer.2.output.LayerNorm.bias", 3}, {"pooler.bias", 2}, {"pooler.dense.bias", 3}, {0}});
    run_forward("bert", NULL);
    char full[512];
    snprintf(full, sizeof full,
             "pcrl-forward: %s: 2 tensors that bert does not read: encoder.layer.2.output.LayerNorm.bias, "
             "pooler.bias\n",
             in_folder("w"));
    ck_assert_msg(r.code == 0 && !strncmp(r.err, full, strlen(full)), "%s", r.err);
    unlink(in_folder("out"));
    run_forward("bert", "--strict", NULL);
    ck_assert_str_eq(r.err, full);
    ck_assert_int_eq(r.code, 2);
    ck_assert_int_ne(access(in_folder("out"), F_OK), 0);
}
END_TEST

/* ---- config.json ---- */

static void configure(const char *text)
{
    Error e = {0};
    ck_assert(file_write(in_folder("config.json"), text, strlen(text), &e));
    run_forward("bert", "--config", in_folder("config.json"), NULL);
}

START_TEST(config)
{
    Tensor shape;
    write_bert(NULL);
    ids_of(2, 1, 4);
    run_forward("bert", NULL);
    TensorFile *out = output();
    float *one = read_output(out, "hidden", &shape);
    tensor_file_close(out);
    configure("{\"num_attention_heads\": 4, \"hidden_act\": \"gelu\", \"layer_norm_eps\": 1e-12}");
    out = output();
    float *four = read_output(out, "hidden", &shape);
    tensor_file_close(out);
    ck_assert_mem_ne(one, four, 4 * 64 * sizeof *one);
    configure("{\"num_attention_heads\": 1}");
    out = output();
    free(four);
    four = read_output(out, "hidden", &shape);
    tensor_file_close(out);
    ck_assert_mem_eq(one, four, 4 * 64 * sizeof *one);
    free(one);
    free(four);
    configure("{\"num_attention_heads\": 5}");
    ck_assert_int_eq(r.code, 2);
    configure("{\"hidden_act\": \"relu\"}");
    expect(in_folder("config.json"), 2, "hidden_act: expected gelu, found relu");
    configure("{\"layer_norm_eps\": 1e-5}");
    expect(in_folder("config.json"), 2, "layer_norm_eps: expected 1e-12, found 1e-05");
    configure("{");
    ck_assert_msg(r.code == 2 && strstr(r.err, "config.json:1:1: not JSON"), "%s", r.err);
}
END_TEST

/* ---- the command line ---- */

static void usage(const char *message)
{
    ck_assert_int_eq(r.code, 1);
    ck_assert_msg(strstr(r.err, message), "%s", r.err);
}

START_TEST(command_line)
{
    run_tool(&r, "pcrl-forward", (const char *const[]){"bert", "--weights", "w", "--input", "i", NULL});
    usage("--weights, --input and --output are needed");
    run_tool(&r, "pcrl-forward", (const char *const[]){NULL});
    usage("which model? resnet, sam-encoder, ");
    run_forward("gpt", NULL);
    usage("no model \"gpt\"");
    run_forward("bert", "swin", NULL);
    usage("one model at a time: bert, swin");
    run_forward("bert", "--quant", "nf4", NULL);
    usage("--quant is not for bert");
    run_forward("llama", "--quant", "int8", NULL);
    usage("--quant: expected nf4, nf4-dq, fp4, fp4-dq, q4_0 or none, found 'int8'");
    run_forward("llama", "--resnet-style", "caffe", NULL);
    usage("--resnet-style is not for llama");
    run_forward("pcrl-step", "--preset", "printed", NULL);
    usage("--preset: expected paper or release, found 'printed'");
    write_bert(NULL);
    ids_of(2, 1, 4);
    run_forward("bert", "--input", "/no/such", NULL);
    expect("/no/such", 3, "cannot open: No such file or directory");
    run_forward("bert", "--weights", "/no/such", NULL);
    expect("/no/such", 3, "cannot open: No such file or directory");
    run_forward("bert", "--output", "/no/such/out", NULL);
    ck_assert_msg(r.code == 3 && strstr(r.err, "/no/such/"), "%s", r.err);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {names, texts, types, images, prompts, weights, config, command_line};
    if (!mkdtemp(folder)) return 1;
    int failed = run_tests("forward_faults", tests, sizeof tests / sizeof *tests);
    remove_folder();
    return failed;
}
