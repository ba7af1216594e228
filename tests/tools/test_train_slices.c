/* pcrl-train resnet on CQ500's labels, at toy size: what it writes serves as a backbone and as a beginning,
 * runs resume bit for bit, scores are those of the labels. */
#include "data/cq500_labels.h"
#include "data/study.h"
#include "models/resnet.h"
#include "tests/data/cq500_export.h"
#include "tests/tools/stages.h"

enum { SIZE = 128 };
#define TRAIN                                                                                                  \
    "resnet", "--device", "cpu", "--threads", "1", "--data", at("set"), "--stem", "4", "--widths", "2,2,2,4",  \
        "--depths", "1,1,1,1", "--batch", "4", "--steps", "6"
#define VALIDATION "--validation", at("more"), "--validate-every", "3"

static void write_labelled(const char *name, Study *s, int number, uint32_t labels)
{
    Cq500Read read = {.number = number, .batch = 1};
    for (int l = 0; l < CQ500_LABELS; l++) read.vote[l] = labels >> l & 1 ? 2 : 1;
    json_t *block = cq500_block(&read, "CT Plain");
    ck_assert(study_write_with(s, at(name), read.number, "", false, "labels", block, NULL));
    json_decref(block);
    study_free(s);
}

/* Studies of the phantoms from `first` on, without DICOM between. */
static void write_set(const char *name, int first, int n, uint32_t more)
{
    for (int k = 0; k < n; k++) {
        PhantomOptions o = phantom_options();
        Phantom p = {0};
        ck_assert(phantom_make(3000000 + (uint64_t)(first + k), &o, &p, NULL));
        Study s = {.size = SIZE, .pixel_mm = p.pixel_mm, .pixel = malloc(STUDY_SLICES * SIZE * SIZE)};
        for (int i = 0; i < STUDY_SLICES; i++) phantom_window(&p, i, s.pixel + i * SIZE * SIZE);
        write_labelled(name, &s, first + k, phantom_labels(&p) | more);
        phantom_free(&p);
    }
}

static void write_sets(void)
{
    write_set("set", 0, 4, 0);
    write_set("more", 23, 4, 0); /* three with a bleed, one without */
    write_set("sick", 0, 2, 1);
    Study black = {.size = SIZE, .pixel_mm = 1, .pixel = calloc(STUDY_SLICES, SIZE * SIZE)};
    write_labelled("black", &black, 0, 1u << CQ500_LEFT);
}

static int64_t rows(const char *path, const char *name)
{
    TensorFile *f = tensor_file_open(path, NULL);
    const TensorEntry *t = f ? tensor_file_find(f, name) : NULL;
    int64_t n = t ? t->dim[0] : -1;
    tensor_file_close(f);
    return n;
}

/* Opens as pcrl-train pcrl would open it. */
static void check_backbone(const char *path)
{
    Arena weights, state;
    Weights w;
    Resnet net;
    Error e = {0};
    const Backend *cpu = backend_open("cpu", &e);
    ck_assert(arena_open(&weights, "weights", cpu, 1 << 24, &e) &&
              arena_open(&state, "state", cpu, 1 << 24, &e));
    weights_init(&w, &weights, &state, NULL, 1);
    ck_assert_msg(weights_open(&w, path, &e) && resnet_open(&net, &w, &e), "%s", e.msg);
    ck_assert_int_eq(net.channels, 16);
    ck_assert_int_eq(net.config.stride[2], 1);
    ck_assert(resnet_check_side(&net, SIZE, &e));
    weights_close(&w);
    arena_close(&state);
    arena_close(&weights);
}

START_TEST(two_classes)
{
    Run r;
    RUN(TRAIN, "--labels", "bleed", VALIDATION, "--out", at("a"), "--model", at("a-model"));
    const char *path = at("a-model/resnet.safetensors");
    ck_assert_int_eq(rows(path, "fc.weight"), 2);
    ck_assert_int_eq(rows(path, "fc.bias"), 2);
    ck_assert_int_eq(rows(path, "layer4.0.bn3.running_var"), 16);
    check_backbone(path);
    int n, positive;
    double slice, slice_auc, study, study_auc;
    const char *line = strstr(r.out, "\nICH\t");
    ck_assert_msg(line && sscanf(line, "\nICH\t%d\t%d\t%lf\t%lf\t%lf\t%lf", &n, &positive, &slice, &slice_auc,
                                 &study, &study_auc) == 6,
                  "%s", r.out);
    ck_assert_int_eq(n, 4);
    ck_assert_int_eq(positive, 3);
    ck_assert(slice_auc >= 0 && slice_auc <= 1 && study_auc >= 0 && study_auc <= 1);
    ck_assert_double_eq_tol(fmod(study * 4 + 1e-9, 1), 0, 1e-6);
    ck_assert_double_eq_tol(fmod(study_auc * 3 + 0.001, 1), 0, 0.01); /* three pairs */
    ck_assert_double_ge(last_validation(at("a/log.jsonl"), "auc"), 0);
    double loss = logged(at("a/log.jsonl"), 6, "bleed");
    ck_assert(loss > 0.05 && loss < 5);
    /* Stopped and gone on with: the same bytes. */
    TOOL("pcrl-train", TRAIN, "--labels", "bleed", VALIDATION, "--out", at("b"), "--model", at("b-model"),
         "--stop-after", "4");
    ck_assert_int_eq(r.code, 130);
    RUN(TRAIN, "--labels", "bleed", VALIDATION, "--out", at("b"), "--model", at("b-model"));
    ck_assert(same_file(at("a-model/resnet.safetensors"), at("b-model/resnet.safetensors")));
}
END_TEST

/* What two_classes left is a beginning: all weights are read, fc only where it fits. */
START_TEST(begins_with_a_file)
{
    Run r;
    RUN("resnet", "--device", "cpu", "--data", at("set"), "--batch", "4", "--steps", "1", "--lr", "1e-9",
        "--labels", "cq500", "--validation", at("more"), "--backbone", at("a-model/resnet.safetensors"),
        "--out", at("c"), "--model", at("c-model"));
    ck_assert_msg(strstr(r.err, "its fc gives way to a new one of 14 classes"), "%s", r.err);
    int lines = 0;
    for (const char *p = r.out; (p = strstr(p, "\t4\t")); p++) lines++;
    ck_assert_int_ge(lines, CQ500_LABELS);
    ck_assert_msg(strstr(r.out, "\nFracture\t4\t0\t") && strstr(r.out, "nan"), "%s", r.out);
    ck_assert_int_eq(rows(at("c-model/resnet.safetensors"), "fc.weight"), CQ500_LABELS);
    static const char *const kept[] = {"conv1.weight", "layer3.0.conv2.weight", "layer4.0.bn3.bias"};
    TensorFile *a = tensor_file_open(at("a-model/resnet.safetensors"), NULL),
               *c = tensor_file_open(at("c-model/resnet.safetensors"), NULL);
    for (size_t k = 0; k < sizeof kept / sizeof *kept; k++) {
        float x[4096], y[4096];
        const TensorEntry *t = tensor_file_find(a, kept[k]), *u = tensor_file_find(c, kept[k]);
        int64_t n = (int64_t)(t->size / sizeof *x);
        ck_assert(n <= 4096 && t->size == u->size && tensor_file_read_f32(a, t, x, NULL) &&
                  tensor_file_read_f32(c, u, y, NULL));
        for (int64_t i = 0; i < n; i++) ck_assert_double_eq_tol((double)x[i], (double)y[i], 1e-6);
    }
    tensor_file_close(a);
    tensor_file_close(c);
    RUN("resnet", "--device", "cpu", "--data", at("set"), "--batch", "4", "--steps", "1", "--labels", "cq500",
        "--backbone", at("c-model/resnet.safetensors"), "--out", at("d"), "--model", at("d-model"));
    ck_assert_msg(strstr(r.err, "its fc of 14 classes is taken"), "%s", r.err);
    TOOL("pcrl-train", TRAIN, "--labels", "bleed", "--dry-run", "--out", at("dry"), "--model", at("dry"));
    ck_assert_msg(r.code == 0 && strstr(r.out, "fc.weight"), "%d %s", r.code, r.out);
    ck_assert(access(at("dry"), F_OK));
}
END_TEST

/* Images that are their own mirrors, every one with a bleed on the left: half of them are shown as one on the
 * right, so that neither side can be told, which costs ln 2 each. If the labels stayed, all could be learnt by
 * heart. */
START_TEST(sides_change_places)
{
    Run r;
    RUN(TRAIN, "--labels", "cq500", "--data", at("black"), "--steps", "250", "--lr", "0.1", "--out",
        at("sides"), "--model", at("sides"));
    double least = 2 * 0.6931 / CQ500_LABELS, loss = logged(at("sides/log.jsonl"), 250, "cq500");
    ck_assert_msg(loss > least - 0.01 && loss < least + 0.03, "%g, expected %g", loss, least);
}
END_TEST

START_TEST(faults)
{
    Run r;
    TOOL("pcrl-train", TRAIN, "--backbone", "x", "--out", at("e"), "--model", at("e"));
    ck_assert(r.code == 1 && strstr(r.err, "--backbone: of stage resnet only with --labels bleed or cq500"));
    TOOL("pcrl-train", TRAIN, "--validation", at("more"), "--out", at("e"), "--model", at("e"));
    ck_assert(r.code == 1 && strstr(r.err, "--validation: of stage resnet only with --labels bleed or cq500"));
    TOOL("pcrl-train", TRAIN, "--labels", "bleed", "--validate-every", "2", "--out", at("e"), "--model",
         at("e"));
    ck_assert(r.code == 1 && strstr(r.err, "--validate-every 2: --validation is needed"));
    TOOL("pcrl-train", TRAIN, "--labels", "any", "--out", at("e"), "--model", at("e"));
    ck_assert(r.code == 1 && strstr(r.err, "truth|bleed|cq500"));
    TOOL("pcrl-train", TRAIN, "--labels", "bleed", "--validation", at("sick"), "--out", at("e"), "--model",
         at("e"));
    ck_assert_msg(r.code == 2 && strstr(r.err, "/sick: 2 of 2 studies have a bleed, expected some and not all"),
                  "%s", r.err);
    TOOL("pcrl-train", TRAIN, "--labels", "bleed", "--backbone", at("none.pth"), "--out", at("e"), "--model",
         at("e"));
    ck_assert_msg(r.code == 3 && strstr(r.err, "none.pth"), "%s", r.err);
    TOOL("pcrl-train", TRAIN, "--labels", "bleed", "--strides", "1,2,2,2", "--out", at("e"), "--model",
         at("e"));
    ck_assert_msg(r.code == 2 && strstr(r.err, "images of 128 px give this ResNet a grid of 4 x 4"), "%s",
                  r.err);
    TOOL("pcrl-synth", "--out", at("synth"), "--n", "2", "--size", "128");
    ck_assert_msg(r.code == 0, "%s", r.err);
    TOOL("pcrl-train", TRAIN, "--labels", "bleed", "--data", at("synth"), "--out", at("e"), "--model", at("e"));
    ck_assert_msg(r.code == 2 && strstr(r.err, "no labels block, expected one (pcrl-import --cq500 writes it)"),
                  "%s", r.err);
    TOOL("pcrl-train", TRAIN, "--out", at("e"), "--model", at("e"));
    ck_assert_msg(r.code == 2 && strstr(r.err, "truth"), "%s", r.err);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    Suite *s = suite_create("train_slices");
    TCase *t = tcase_create("train_slices");
    tcase_set_timeout(t, 200);
    tcase_add_unchecked_fixture(t, write_sets, NULL);
    tcase_add_test(t, two_classes);
    tcase_add_test(t, begins_with_a_file);
    tcase_add_test(t, sides_change_places);
    tcase_add_test(t, faults);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    remove_folder();
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
