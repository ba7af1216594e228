/* pcrl-convert: shards, Meta's folder, the authors' checkpoint with and without BatchNorm's statistics. */
#include "data/file.h"
#include "data/json.h"
#include "data/safetensors.h"
#include "models/visual.h"
#include "tests/golden/golden.h"
#include "tests/tools/run.h"
#include "tools/adapter.h"
#include "tools/features.h"
#include <ftw.h>

static char folder[] = "/tmp/test-convert-files-XXXXXX";
static const char checkpoint[] = "tests/golden/release.pth";
enum { C = 16, STUDIES = 3, SIDE = 64 };
static Run r;

static const char *at(const char *name)
{
    static char path[16][128];
    static int next;
    char *p = path[next++ % 16];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

#define CONVERT(...)                                                                                           \
    run_tool(&r, "pcrl-convert", (const char *const[]){"--device", "cpu", "--threads", "1", __VA_ARGS__, NULL})

static void same_tensors(const char *a, const char *b)
{
    Error e = {0};
    TensorFile *x = tensor_file_open(a, &e), *y = tensor_file_open(b, &e);
    ck_assert_msg(x && y, "%s", e.msg);
    ck_assert_int_eq(x->n, y->n);
    for (int i = 0; i < x->n; i++) {
        const TensorEntry *t = &x->entry[i], *u = &y->entry[i];
        ck_assert_str_eq(t->name, u->name);
        ck_assert(t->dtype == u->dtype && t->size == u->size);
        char *p = malloc(t->size + 1), *q = malloc(t->size + 1);
        ck_assert(tensor_file_read(x, t, p, &e) && tensor_file_read(y, u, q, &e));
        ck_assert_msg(!memcmp(p, q, t->size), "%s differs", t->name);
        free(p);
        free(q);
    }
    tensor_file_close(x);
    tensor_file_close(y);
}

START_TEST(shards)
{
    CONVERT("--nf4", "tests/golden/llama_meta", at("one.safetensors"));
    ck_assert_msg(r.code == 0, "%s", r.err);
    CONVERT("--nf4", "--shard-size", "10K", "tests/golden/llama_meta", at("shards"));
    ck_assert_msg(r.code == 0, "%s", r.err);
    same_tensors(at("one.safetensors"), at("shards"));
    TensorFile *f = tensor_file_open(at("shards"), NULL);
    ck_assert(f && f->n_part > 2);
    ck_assert_str_eq(tensor_file_meta(f, "llama.kv_heads"), "2");
    /* a weight's planes are beside it */
    int part = tensor_file_find(f, "model.layers.1.mlp.up_proj.weight")->part;
    ck_assert_int_eq(tensor_file_find(f, "model.layers.1.mlp.up_proj.weight.absmax")->part, part);
    ck_assert_int_eq(
        tensor_file_find(f, "model.layers.1.mlp.up_proj.weight.quant_state.bitsandbytes__nf4")->part, part);
    tensor_file_close(f);
    CONVERT("--nf4", "--shard-size", "10K", at("shards"), at("again")); /* and from there */
    ck_assert_msg(r.code == 0, "%s", r.err);
    same_tensors(at("shards"), at("again"));
    /* never over what is read */
    CONVERT("--nf4", at("one.safetensors"), at("one.safetensors"));
    ck_assert(r.code == 1 && strstr(r.err, "one.safetensors: is what is read; expected another place"));
    CONVERT("--nf4", "--shard-size", "10K", at("shards"), at("shards"));
    ck_assert(r.code == 1 && strstr(r.err, "shards: is what is read; expected another place"));
    same_tensors(at("one.safetensors"), at("shards"));
    CONVERT("--shard-size", "0", "a", "b");
    ck_assert(r.code == 1 && strstr(r.err, "--shard-size: expected a size such as 2G, found '0'"));
    CONVERT("tests/golden/public_sam.pth", at("x"));
    ck_assert(r.code == 2);
    ck_assert_msg(strstr(r.err, "public_sam.pth: tensor model.embed_tokens.weight is missing"), "%s", r.err);
}
END_TEST

/* ---- the authors' checkpoint ---- */

static void check_values(const char *file, const char *name, const char *source)
{
    Error e = {0};
    TensorFile *f = tensor_file_open(file, &e);
    ck_assert_msg(f != NULL, "%s", e.msg);
    const TensorEntry *t = tensor_file_find(f, name);
    ck_assert_msg(t != NULL, "%s is missing", name);
    int64_t n = (int64_t)(t->size / sizeof(float));
    float *x = malloc(2 * t->size), *want = x + n;
    ck_assert_msg(tensor_file_read_f32(f, t, x, &e), "%s", e.msg);
    golden_weight(NULL, source, t->ndim, t->dim, want);
    ck_assert_msg(!memcmp(x, want, t->size), "%s: %s is not the checkpoint's", file, name);
    free(x);
    tensor_file_close(f);
}

START_TEST(release)
{
    Error e = {0};
    Weights adapter;
    int rank;
    double alpha, dropout;
    CONVERT("--release", checkpoint, at("release"));
    ck_assert_msg(r.code == 0, "%s", r.err);
    ck_assert_msg(
        strstr(r.err, "release.pth: BatchNorm's running statistics (10 tensors) are not in the file: means are "
                      "taken as 0, variances as 1, and reports will be poor; --recalibrate DATA finds them on "
                      "training studies\n"),
        "%s", r.err);
    ck_assert_msg(
        strstr(r.err,
               "release.pth: 2 tensors are no part of the model and left out: local_text_embed_bert.bias "),
        "%s", r.err);
    const char *heads = at("release/pcrl_heads.safetensors"), *lora = at("release/adapter_model.safetensors");
    check_values(heads, "local_res.0.downsample.0.weight", "local_res.0.downsample.0.weight");
    check_values(heads, "local_seg.0.weight", "local_seg.0.weight");
    check_values(heads, "global_alignment.logit_scale_global", "global_alignment.logit_scale_global");
    check_values(lora, "base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight",
                 "language_model.model.layers.1.self_attn.v_proj.lora_B.default.weight");
    TensorFile *f = tensor_file_open(heads, &e), *g = tensor_file_open(lora, &e);
    ck_assert(f && g && f->n == 45 && g->n == 8);
    ck_assert_str_eq(tensor_file_meta(f, "visual.hv"), "concat48");
    ck_assert_str_eq(tensor_file_meta(f, "visual.statistics"), "missing");
    float mean[C], var[C];
    ck_assert(tensor_file_load_f32(f, "local_res.1.bn2.running_mean", 1, (int64_t[]){C}, mean, &e) &&
              mean[3] == 0);
    ck_assert(tensor_file_load_f32(f, "local_res.1.bn2.running_var", 1, (int64_t[]){C}, var, &e) &&
              var[3] == 1);
    tensor_file_close(f);
    tensor_file_close(g);
    weights_init(&adapter, NULL, NULL, NULL, 0);
    ck_assert_msg(adapter_open(at("release"), &adapter, &rank, &alpha, &dropout, &e), "%s", e.msg);
    ck_assert(rank == 4 && alpha == 32 && dropout == 0.05);
    weights_close(&adapter);
    CONVERT("--release", "--hv", "local24", "--lora-alpha", "8", "--lora-dropout", "0", checkpoint,
            at("other"));
    ck_assert_msg(r.code == 0, "%s", r.err);
    weights_init(&adapter, NULL, NULL, NULL, 0);
    ck_assert(adapter_open(at("other"), &adapter, &rank, &alpha, &dropout, &e) && alpha == 8 && dropout == 0);
    weights_close(&adapter);
}
END_TEST

/* ---- its statistics ---- */

static void write_resnet(const char *path)
{
    Rig rig;
    Weights w;
    Resnet net;
    Error e = {0};
    const ResnetConfig c = {1, 4, {4, 4, 4, C / 4}, {1, 1, 1, 1}, {1, 1, 1, 1}, false};
    rig_open(&rig, &backend_cpu);
    weights_init(&w, &rig.weights, &rig.state, &rig.params, 1);
    w.trainable = true;
    w.generator = golden_weight;
    ck_assert_msg(resnet_create(&net, &w, c, &e), "%s", e.msg);
    params_alloc(&rig.params);
    ck_assert(weights_fill(&w, &e) && weights_save((Weights *[]){&w}, 1, false, NULL, path, &e));
    weights_close(&w);
    rig_close(&rig);
}

/* Into *sum the statistics of one batch (momentum 1) in training mode. */
static void add_batch(Rig *rig, Visual *v, const Resnet *net, const TrainData *d, int from, int n,
                      double (*sum)[C])
{
    Error e = {0};
    Tensor *grid = tensor_f32(&rig->state, n * CTRG_SLICES, GRID, GRID, C), *one, *pooled;
    for (int i = 0; i < n; i++) {
        uint8_t *pixel;
        ck_assert_msg(train_data_read(d, from + i, &pixel, &e), "%s", e.msg);
        study_features(&rig->tape, net, pixel, d->width, d->height, &one, &pooled);
        free(pixel);
        memcpy((char *)grid->data + (size_t)i * tensor_bytes(one), one->data, tensor_bytes(one));
    }
    v->momentum = 1;
    visual_local(&rig->tape, v, grid, true);
    const Tensor *x[10] = {v->conv[0][0].mean, v->conv[0][0].var, v->conv[0][1].mean, v->conv[0][1].var,
                           v->conv[1][0].mean, v->conv[1][0].var, v->conv[1][1].mean, v->conv[1][1].var,
                           v->shortcut.mean,   v->shortcut.var};
    for (int k = 0; k < 10; k++)
        for (int c = 0; c < C; c++) sum[k][c] += (double)((const float *)x[k]->data)[c];
    tape_reset(&rig->tape);
}

/* Two batches, of two studies and of one: the plain mean of their statistics. */
START_TEST(recalibrated)
{
    static const char *const names[10] = {
        "local_res.0.bn1.running_mean",          "local_res.0.bn1.running_var",
        "local_res.0.bn2.running_mean",          "local_res.0.bn2.running_var",
        "local_res.1.bn1.running_mean",          "local_res.1.bn1.running_var",
        "local_res.1.bn2.running_mean",          "local_res.1.bn2.running_var",
        "local_res.0.downsample.1.running_mean", "local_res.0.downsample.1.running_var"};
    Error e = {0};
    double sum[10][C] = {0};
    run_tool(&r, "pcrl-synth", (const char *const[]){"--out", at("set"), "--n", "3", "--size", "64", NULL});
    ck_assert_msg(r.code == 0, "%s", r.err);
    CONVERT("--release", "--recalibrate", at("set"), "--batch", "2", checkpoint, at("model"));
    ck_assert_msg(r.code == 3 && strstr(r.err, "model/resnet.safetensors: cannot open"), "%d %s", r.code,
                  r.err);
    write_resnet(at("model/resnet.safetensors"));
    CONVERT("--release", "--recalibrate", at("set"), "--batch", "2", checkpoint, at("model"));
    ck_assert_msg(r.code == 0 && !strstr(r.err, "running statistics"), "%s", r.err);
    ck_assert_msg(strstr(r.out, "model: BatchNorm statistics of 3 studies, 2 batches\n"), "%s", r.out);

    Rig rig;
    Weights head, resnet;
    Visual v;
    Resnet net;
    rig_open(&rig, &backend_cpu);
    weights_init(&head, &rig.weights, &rig.state, NULL, 0);
    weights_init(&resnet, &rig.weights, &rig.state, NULL, 0);
    head.fresh_buffers = true;
    TrainData *d = train_data_open(at("set"), 0, false, false, &e);
    ck_assert_msg(d && weights_open(&resnet, at("model/resnet.safetensors"), &e) &&
                      resnet_open(&net, &resnet, &e) && weights_open(&head, checkpoint, &e) &&
                      visual_open(&v, &head, &e),
                  "%s", e.msg);
    add_batch(&rig, &v, &net, d, 0, 2, sum);
    add_batch(&rig, &v, &net, d, 2, 1, sum);
    train_data_close(d);
    weights_close(&head);
    weights_close(&resnet);
    rig_close(&rig);
    TensorFile *f = tensor_file_open(at("model/pcrl_heads.safetensors"), &e);
    ck_assert_msg(f != NULL, "%s", e.msg);
    ck_assert_str_eq(tensor_file_meta(f, "visual.statistics"), "3 studies");
    for (int k = 0; k < 10; k++) {
        float x[C];
        ck_assert_msg(tensor_file_load_f32(f, names[k], 1, (int64_t[]){C}, x, &e), "%s", e.msg);
        for (int c = 0; c < C; c++)
            ck_assert_msg(fabs((double)x[c] - sum[k][c] / 2) <= 1e-5 * (1 + fabs(sum[k][c])),
                          "%s %d: %g, not %g", names[k], c, (double)x[c], sum[k][c] / 2);
    }
    tensor_file_close(f);
}
END_TEST

/* The ResNet under the other names that a model folder may have it by: told by content, so any file will do. */
START_TEST(other_names)
{
    static const char *const names[] = {"resnet.pth", "resnet.bin", "resnet/model.safetensors",
                                        "resnet/pytorch_model.bin"};
    Error e = {0};
    for (int i = 0; i < 4; i++) {
        char folder_name[32], file[64];
        snprintf(folder_name, sizeof folder_name, "named%d", i);
        snprintf(file, sizeof file, "%s/%s", folder_name, names[i]);
        ck_assert(file_make_folder(at(folder_name), &e));
        snprintf(folder_name, sizeof folder_name, "named%d/resnet", i);
        if (i > 1) ck_assert(file_make_folder(at(folder_name), &e));
        folder_name[strlen("named0")] = 0;
        write_resnet(at(file));
        CONVERT("--release", "--recalibrate", at("set"), "--batch", "2", checkpoint, at(folder_name));
        ck_assert_msg(r.code == 0, "%s", r.err);
        snprintf(file, sizeof file, "%s/pcrl_heads.safetensors", folder_name);
        same_tensors(at(file), at("model/pcrl_heads.safetensors"));
    }
}
END_TEST

/* ---- what is no such checkpoint ---- */

/* The checkpoint without `less`, and with `more` of that shape. */
static void variant(const char *path, const char *less, const char *more, int64_t rows, int64_t columns)
{
    Error e = {0};
    static const float zeros[4096];
    static float kept[32][8192];
    int n = 0;
    TensorFile *f = tensor_file_open(checkpoint, &e);
    ck_assert_msg(f != NULL, "%s", e.msg);
    StWriter *w = st_writer_new();
    for (int i = 0; i < f->n; i++) {
        const TensorEntry *t = &f->entry[i];
        if (less && strstr(t->name, less)) continue;
        if (!strstr(t->name, "lora_") && !strstr(t->name, "local_visual")) continue;
        ck_assert(n < 32 && t->size <= sizeof kept[0] && tensor_file_read(f, t, kept[n], &e));
        st_writer_add(w, t->name, t->dtype, t->ndim, t->dim, kept[n++]);
    }
    if (more) st_writer_add(w, more, ST_F32, 2, (int64_t[]){rows, columns}, zeros);
    ck_assert_msg(st_writer_save(w, path, &e), "%s", e.msg);
    st_writer_free(w);
    tensor_file_close(f);
}

START_TEST(refused)
{
    static const struct {
        const char *less, *more;
        int64_t rows, columns;
        const char *message;
    } cases[] = {
        {"lora_", NULL, 0, 0, "no tensor named lora_A or lora_B: not the authors' checkpoint"},
        {"1.self_attn.v_proj.lora_B", NULL, 0, 0, "layer 1's v_proj.lora_B is missing"},
        {NULL, "language_model.model.layers.3.self_attn.q_proj.lora_A.default.weight", 4, 24,
         "layer 2's q_proj.lora_A is missing"},
        {NULL, "x.layers.1.self_attn.v_proj.lora_B.weight", 12, 4, "layer 1's v_proj.lora_B is there twice"},
        {NULL, "language_model.model.layers.0.self_attn.k_proj.lora_A.default.weight", 4, 24,
         "tensor \"language_model.model.layers.0.self_attn.k_proj.lora_A.default.weight\": expected a name "
         "like "
         "language_model.model.layers.0.self_attn.q_proj.lora_A.default.weight"},
        {"1.self_attn.q_proj.lora_A", "language_model.model.layers.1.self_attn.q_proj.lora_A.default.weight", 8,
         24, "layer 1's q_proj.lora_A (8,24) does not go with layer 0's rank of 4"},
        {"0.self_attn.v_proj.lora_A", "language_model.model.layers.0.self_attn.v_proj.lora_A.default.weight", 4,
         20, "layer 0's v_proj.lora_A (4,20) does not go with layer 0's rank of 4"},
        {"local_visual_projector.weight", NULL, 0, 0, "tensor local_visual_projector.weight is missing"},
        {NULL, NULL, 0, 0, "tensor local_res.0.conv1.weight is missing: expected shape [16,16,3,3]"},
    };
    char expected[400];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        variant(at("bad.safetensors"), cases[i].less, cases[i].more, cases[i].rows, cases[i].columns);
        CONVERT("--release", at("bad.safetensors"), at("bad"));
        ck_assert_int_eq(r.code, 2);
        snprintf(expected, sizeof expected, "pcrl-convert: %s: %s\n", at("bad.safetensors"), cases[i].message);
        ck_assert_str_eq(r.err, expected);
    }
    CONVERT("--release", "--nf4", "a", "b");
    ck_assert(r.code == 1 && strstr(r.err, "--release takes no format of weights"));
    CONVERT("--recalibrate", "set", "a", "b");
    ck_assert(r.code == 1 && strstr(r.err, "are for --release"));
    CONVERT("--release", "--hv", "x", "a", "b");
    ck_assert(r.code == 1 && strstr(r.err, "--hv: expected local24, concat48, global24 or sum24, found 'x'"));
}
END_TEST

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
    (void)s, (void)type, (void)f;
    return remove(path);
}

int main(void)
{
    if (!mkdtemp(folder)) return 1;
    Suite *s = suite_create("convert_files");
    TCase *t = tcase_create("convert");
    tcase_set_timeout(t, 0);
    tcase_add_test(t, shards);
    tcase_add_test(t, release);
    tcase_add_test(t, recalibrated);
    tcase_add_test(t, other_names);
    tcase_add_test(t, refused);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return failed != 0;
}
