/* pcrl-masks as a user meets it: records of a PNG, galleries of a data set whatever the number of processes and
 * points at once, resume, interrupts, settings from the model, pictures, and one line for each fault. The model
 * is a tiny SAM of random weights. */
#include "data/file.h"
#include "tests/tools/run.h"
#include "tools/masks.h"
#include <check.h>
#include <ftw.h>
#include <signal.h>
#include <unistd.h>

static char folder[] = "/tmp/pcrl-masks-XXXXXX", model[64], advised[64], data[64], slice[96];

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
    (void)s, (void)type, (void)f;
    return remove(path);
}

/* A path in the folder. */
static const char *in(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *in(const char *format, ...)
{
    static char path[8][256];
    static int next;
    char *p = path[next++ % 8];
    int n = snprintf(p, sizeof *path, "%s/", folder);
    va_list args;
    va_start(args, format);
    vsnprintf(p + n, sizeof *path - (size_t)n, format, args);
    va_end(args);
    return p;
}

/* S 64, patches of 8; meta: key, value, ..., NULL. */
static void write_model(const char *path, const char *const *meta)
{
    const SamEncoderConfig encoder = {.image = 64,
                                      .patch = 8,
                                      .width = 32,
                                      .heads = 2,
                                      .mlp = 64,
                                      .window = 3,
                                      .out = 32,
                                      .global = 2,
                                      .depth = 2};
    const SamDecoderConfig decoder = {.image = 64,
                                      .dim = 32,
                                      .heads = 4,
                                      .inner = 16,
                                      .mlp = 64,
                                      .masks = 4,
                                      .iou_hidden = 32,
                                      .mask_hidden = 16};
    Error e = {0};
    Arena a;
    Weights w;
    SamEncoder net;
    SamDecoder head;
    ck_assert(file_make_folder(path, &e) && arena_open(&a, "weights", &backend_cpu, (size_t)1 << 28, &e));
    weights_init(&w, &a, &a, NULL, 11);
    ck_assert_msg(sam_encoder_create(&net, &w, encoder, &e) && sam_decoder_create(&head, &w, decoder, &e), "%s",
                  e.msg);
    char file[128];
    snprintf(file, sizeof file, "%s/sam.safetensors", path);
    ck_assert_msg(weights_save((Weights *[]){&w}, 1, true, meta, file, &e), "%s", e.msg);
    weights_close(&w);
    arena_close(&a);
}

/* Few points, everything passes. */
#define LAX                                                                                                    \
    "--device", "cpu", "--points-per-side", "3", "--pred-iou-thresh", "-10", "--stability-score-thresh", "0",  \
        "--stability-score-offset", "0.01", "--box-nms-thresh", "1", "--crop-nms-thresh", "1"
#define MASKS(...) run_tool(&r, "pcrl-masks", (const char *const[]){__VA_ARGS__, NULL})

static SamMaskSettings lax(void)
{
    SamMaskSettings s = sam_mask_settings();
    s.points = 3;
    s.pred_iou = -10;
    s.stability = 0;
    s.offset = 0.01;
    s.box_nms = s.crop_nms = 1;
    return s;
}

static void same_files(const char *a, const char *b)
{
    uint8_t *x, *y;
    size_t n, m;
    Error e = {0};
    ck_assert_msg(file_read(a, 1 << 26, &x, &n, &e) && file_read(b, 1 << 26, &y, &m, &e), "%s", e.msg);
    ck_assert_msg(n == m && !memcmp(x, y, n), "%s and %s differ", a, b);
    free(x);
    free(y);
}

/* What the tool prints is what the library finds. */
START_TEST(records_of_a_png)
{
    Run r;
    Error e = {0};
    MaskModel m;
    MaskOptions o = {.common.device = "cpu", .model = model};
    Image image;
    GallerySlice want;
    ck_assert_msg(image_read_png(slice, &image, &e), "%s", e.msg);
    ck_assert_msg(mask_model_open(&m, &o, &e), "%s", e.msg);
    SamMaskSettings s = lax();
    s.crop_layers = 1;
    s.min_area = 9;
    ck_assert_msg(sam_masks(&m.tape, &m.source, &s, &image, &want, NULL, &e), "%s", e.msg);
    MASKS(LAX, "--model", model, "--crop-n-layers", "1", "--min-mask-region-area", "9", "--overlay",
          in("one.png"), slice);
    ck_assert_msg(r.code == 0, "%s", r.err);
    json_t *list = json_parse(r.out, strlen(r.out), "the records", &e);
    ck_assert_msg(list != NULL, "%s", e.msg);
    ck_assert_int_gt(want.n, 2);
    ck_assert_int_eq(json_array_size(list), want.n);
    const Gallery g = {.width = image.width, .height = image.height};
    for (int i = 0; i < want.n; i++) {
        json_t *record = gallery_mask_json(&g, &want.mask[i]);
        ck_assert_msg(json_equal(record, json_array_get(list, (size_t)i)), "record %d differs", i);
        json_decref(record);
    }
    ck_assert(strstr(r.err, "1 slices, 45 points:") && strstr(r.err, "seconds: encoder "));
    Image drawn;
    ck_assert_msg(image_read_png(in("one.png"), &drawn, &e), "%s", e.msg);
    ck_assert(drawn.width == image.width && drawn.height == image.height && drawn.channels == 3);
    free(drawn.pixel);
    free(image.pixel);
    sam_masks_free(&want);
    mask_model_close(&m);
    json_decref(list);
}
END_TEST

START_TEST(galleries)
{
    Run r;
    Error e = {0};
    MASKS(LAX, "--model", model, "--slices", "3-5,20", "--threads", "1", "--out", in("g1"), data);
    ck_assert_msg(r.code == 0, "%s", r.err);
    ck_assert_msg(strstr(r.err, "12 slices, 108 points: 324 masks above the IoU threshold") != NULL, "%s",
                  r.err);
    Gallery *g = gallery_open(in("g1"), 7, &e);
    ck_assert_msg(g != NULL, "%s", e.msg);
    ck_assert(g->n == 4 && g->slice[0].slice == 3 && g->slice[3].slice == 20 && g->slice[1].n > 0);
    ck_assert(g->width == 64 && g->height == 64 && g->pixel_mm > 3 && g->pixel_mm < 3.2);
    ck_assert_int_eq(json_integer_value(json_object_get(g->settings, "points_per_side")), 3);
    ck_assert_int_eq(strlen(json_string_value(json_object_get(g->settings, "model"))), 64);
    gallery_free(g);
    /* Three processes, other batches. */
    MASKS(LAX, "--model", model, "--slices", "20,3-5", "--threads", "3", "--batch", "1", "--out", in("g2"),
          data);
    ck_assert_msg(r.code == 0 && strstr(r.err, "with 3 processes"), "%s", r.err);
    MASKS(LAX, "--model", model, "--slices", "3,4,5,20", "--threads", "2", "--batch", "7", "--out", in("g3"),
          data);
    ck_assert_msg(r.code == 0 && strstr(r.err, "with 2 processes"), "%s", r.err);
    for (int id = 7; id < 10; id++) {
        same_files(in("g1/%d.json", id), in("g2/%d.json", id));
        same_files(in("g1/%d.json", id), in("g3/%d.json", id));
    }
    /* One study alone, and its picture. */
    MASKS(LAX, "--model", model, "--slices", "3-5,20", "--id", "8", "--out", in("g4"), "--overlay",
          in("study.png"), data);
    ck_assert_msg(r.code == 0, "%s", r.err);
    same_files(in("g1/8.json"), in("g4/8.json"));
    ck_assert(access(in("g4/7.json"), F_OK));
    Image drawn, again;
    ck_assert_msg(image_read_png(in("study.png"), &drawn, &e), "%s", e.msg);
    ck_assert(drawn.width == 8 * 66 - 2 && drawn.height == 3 * 66 - 2 && drawn.channels == 3);
    int coloured = 0;
    for (int i = 0; i < drawn.width * drawn.height; i++)
        coloured += drawn.pixel[3 * i] != drawn.pixel[3 * i + 1];
    ck_assert_int_gt(coloured, 1000); /* the numbers of the slices have some 500 pixels */
    MASKS(LAX, "--model", model, "--slices", "3-5,20", "--id", "8", "--overlay", in("again.png"), data);
    ck_assert_msg(r.code == 0, "%s", r.err);
    ck_assert_msg(image_read_png(in("again.png"), &again, &e), "%s", e.msg);
    ck_assert(!memcmp(drawn.pixel, again.pixel, 3 * (size_t)drawn.width * (size_t)drawn.height));
    free(drawn.pixel);
    free(again.pixel);
}
END_TEST

START_TEST(resume)
{
    Run r;
    MASKS(LAX, "--model", model, "--slices", "9", "--out", in("r"), data);
    ck_assert_msg(r.code == 0, "%s", r.err);
    ck_assert(!rename(in("r/8.json"), in("kept.json")));
    MASKS(LAX, "--model", model, "--slices", "9", "--out", in("r"), data);
    ck_assert_msg(r.code == 0 && strstr(r.err, "2 studies were there and are skipped"), "%s", r.err);
    ck_assert(strstr(r.err, "1 slices"));
    same_files(in("r/8.json"), in("kept.json"));
    MASKS(LAX, "--model", model, "--slices", "9", "--out", in("r"), data);
    ck_assert_msg(r.code == 0 && strstr(r.err, "3 studies were there and are skipped"), "%s", r.err);
    /* Other settings, another model, other slices. */
    MASKS(LAX, "--model", model, "--slices", "9", "--box-nms-thresh", "0.5", "--out", in("r"), data);
    ck_assert_msg(r.code == 0 && strstr(r.err, "3 studies were there with other settings"), "%s", r.err);
    MASKS(LAX, "--model", advised, "--slices", "9", "--box-nms-thresh", "0.5", "--out", in("r"), data);
    ck_assert_msg(r.code == 0 && strstr(r.err, "3 studies were there with other settings"), "%s", r.err);
    MASKS(LAX, "--model", advised, "--slices", "9,10", "--box-nms-thresh", "0.5", "--out", in("r"), data);
    ck_assert_msg(r.code == 0 && strstr(r.err, "3 studies were there with other settings"), "%s", r.err);
}
END_TEST

/* An interrupt leaves whole files only, and what is left is done later. */
START_TEST(interrupt)
{
    char path[4096];
    tool_path(path, sizeof path, "pcrl-masks");
    pid_t pid = fork();
    if (!pid) {
        if (!freopen("/dev/null", "w", stderr)) _exit(99);
        execl(path, path, LAX, "--points-per-side", "60", "--threads", "1", "--model", model, "--out", in("i"),
              data, (char *)NULL);
        _exit(99);
    }
    int status; /* the run has begun, whenever that is, and is far from its end */
    while (!waitpid(pid, &status, WNOHANG) && (access(in("i"), F_OK) || !run_catches(pid, SIGINT)))
        usleep(10000);
    ck_assert(!kill(pid, SIGINT));
    ck_assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), ERROR_INTERRUPTED);
    int whole = 0;
    for (int id = 7; id < 10; id++) {
        Error e = {0};
        if (access(in("i/%d.json", id), F_OK)) continue;
        Gallery *g = gallery_open(in("i"), id, &e);
        ck_assert_msg(g != NULL, "%s", e.msg);
        whole++;
        gallery_free(g);
    }
    ck_assert_int_lt(whole, 3);
}
END_TEST

START_TEST(advice)
{
    Run r;
    Error e = {0};
    MASKS("--device", "cpu", "--model", advised, "--slices", "9", "--id", "7", "--pred-iou-thresh", "0.25",
          "--out", in("a"), data);
    ck_assert_msg(r.code == 0, "%s", r.err);
    ck_assert_msg(strstr(r.err, "25 points") != NULL, "%s", r.err);
    Gallery *g = gallery_open(in("a"), 7, &e);
    ck_assert_msg(g != NULL, "%s", e.msg);
    ck_assert(json_number_value(json_object_get(g->settings, "pred_iou_thresh")) ==
              0.25); /* the command line */
    ck_assert(json_number_value(json_object_get(g->settings, "stability_score_thresh")) == 0.5); /* the model */
    ck_assert(json_number_value(json_object_get(g->settings, "box_nms_thresh")) == 0.7); /* the public tool */
    gallery_free(g);
}
END_TEST

START_TEST(folder_of_pngs)
{
    Run r;
    Error e = {0};
    MASKS(LAX, "--model", model, "--slices", "0,23", "--id", "5", "--pixel-mm", "0.5", "--out", in("f"),
          in("data/images/8"));
    ck_assert_msg(r.code == 0, "%s", r.err);
    MASKS(LAX, "--model", model, "--slices", "0,23", "--id", "8", "--out", in("f"), data);
    ck_assert_msg(r.code == 0, "%s", r.err);
    Gallery *g = gallery_open(in("f"), 5, &e), *same = gallery_open(in("f"), 8, &e);
    ck_assert_msg(g && same, "%s", e.msg);
    ck_assert(g->pixel_mm == 0.5 && g->n == 2 && same->n == 2);
    for (int k = 0; k < 2; k++) {
        ck_assert_int_eq(g->slice[k].n, same->slice[k].n);
        for (int i = 0; i < g->slice[k].n; i++)
            ck_assert_str_eq(g->slice[k].mask[i].counts, same->slice[k].mask[i].counts);
    }
    gallery_free(g);
    gallery_free(same);
}
END_TEST

START_TEST(usage)
{
    Run r;
    MASKS("--device", "cpu");
    ck_assert(r.code == 1 && strstr(r.err, "no INPUT"));
    MASKS(data, slice);
    ck_assert(r.code == 1 && strstr(r.err, "one INPUT at a time"));
    MASKS("--model", model, data);
    ck_assert(r.code == 1 && strstr(r.err, "--out or --overlay is missing"));
    MASKS("--model", model, "--overlay", in("x.png"), data);
    ck_assert(r.code == 1 && strstr(r.err, "draws one study") && strstr(r.err, "has 3"));
    MASKS("--random", "vit-x", slice);
    ck_assert(r.code == 1 && strstr(r.err, "expected vit-b, vit-l or vit-h, found 'vit-x'"));
    const char *const lists[] = {"", "24", "5-3", "1,,2", "1-", "-1", "a", "1 2", "0-99999999999999999999"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        MASKS("--slices", lists[i], slice);
        ck_assert_msg(r.code == 1 && strstr(r.err, "--slices: expected numbers and ranges from 0 to 23"),
                      "%s: %s", lists[i], r.err);
    }
    MASKS("--points-per-side", "0", slice);
    ck_assert(r.code == 1 &&
              strstr(r.err, "points_per_side: expected a whole number from 1 to 256, found '0'"));
    MASKS("--box-nms-thresh", "1.5", slice);
    ck_assert(r.code == 1 && strstr(r.err, "box_nms_thresh: expected a number from 0 to 1, found '1.5'"));
    MASKS("--device", "cpu", "--model", model, "--points-per-side", "4", "--crop-n-layers", "3",
          "--crop-n-points-downscale-factor", "2", slice);
    ck_assert(r.code == 1 && strstr(r.err, "none are left in layer 3"));
    MASKS("--help");
    ck_assert(r.code == 0 && strstr(r.out, "Examples:") && strstr(r.out, "--min-mask-region-area=N"));
}
END_TEST

START_TEST(bad_input)
{
    Run r;
    Error e = {0};
    MASKS("--device", "cpu", "--model", model, "/nowhere/x.png");
    ck_assert_msg(r.code == 3 && strstr(r.err, "/nowhere/x.png: cannot open"), "%s", r.err);
    MASKS("--device", "cpu", "--model", "/nowhere", slice);
    ck_assert_msg(r.code == 3 && strstr(r.err, "/nowhere/sam.safetensors"), "%s", r.err);
    ck_assert(file_write(in("bad.png"), "no picture", 10, &e));
    MASKS("--device", "cpu", "--model", model, in("bad.png"));
    ck_assert_msg(r.code == 2 && strstr(r.err, "bad.png"), "%s", r.err);
    MASKS("--device", "cpu", "--model", model, "--id", "99", "--out", in("x"), data);
    ck_assert_msg(r.code == 2 && strstr(r.err, "no study 99 in it"), "%s", r.err);
    MASKS("--device", "cpu", "--model", model, "--out", in("x"), model);
    ck_assert_msg(r.code == 2 && strstr(r.err, "neither annotations.json nor 1 to 24 PNG or JPEG files"), "%s",
                  r.err);
    MASKS("--device", "cpu", "--model", model, "--out", "/proc/nowhere", data);
    ck_assert_msg(r.code == 3 && strstr(r.err, "/proc/nowhere"), "%s", r.err);
    /* A gallery's file that is none is not overwritten. */
    ck_assert(file_make_folder(in("b"), &e) && file_write(in("b/8.json"), "{}", 2, &e));
    MASKS(LAX, "--model", model, "--slices", "1", "--threads", "2", "--out", in("b"), data);
    ck_assert_msg(r.code == 2 && strstr(r.err, "b/8.json"), "%s", r.err);
    uint8_t pixel[4000] = {0};
    ck_assert(image_write_png(in("thin.png"), &(Image){2000, 2, 1, pixel}, &e));
    MASKS(LAX, "--model", model, in("thin.png"));
    ck_assert_msg(r.code == 2 && strstr(r.err, "image of 2000 x 2 pixels: too narrow for 64 x 64"), "%s",
                  r.err);
    MASKS(LAX, "--model", model, "--memory", "1M", slice);
    ck_assert_msg(r.code == 6 && strstr(r.err, "--memory 1 MB: the weights alone take"), "%s", r.err);
    /* A model whose advice is none. */
    write_model(in("odd"), (const char *const[]){"sam.masks.points_per_side", "many", NULL});
    MASKS("--device", "cpu", "--model", in("odd"), slice);
    ck_assert_msg(r.code == 2 && strstr(r.err, "odd/sam.safetensors") &&
                      strstr(r.err, "sam.masks.points_per_side"),
                  "%s", r.err);
    ck_assert(file_make_folder(in("none"), &e) && file_write(in("none/sam.safetensors"), "0", 1, &e));
    MASKS("--device", "cpu", "--model", in("none"), slice);
    ck_assert_msg(r.code == 2 && strstr(r.err, "none/sam.safetensors"), "%s", r.err);
}
END_TEST

START_TEST(prepare)
{
    Run r;
    snprintf(model, sizeof model, "%s/model", folder);
    snprintf(advised, sizeof advised, "%s/advised", folder);
    snprintf(data, sizeof data, "%s/data", folder);
    snprintf(slice, sizeof slice, "%s/images/7/10.png", data);
    write_model(model, NULL);
    write_model(advised, (const char *const[]){"sam.masks.points_per_side", "5", "sam.masks.pred_iou_thresh",
                                               "0.125", "sam.masks.stability_score_thresh", "0.5", NULL});
    run_tool(&r, "pcrl-synth",
             (const char *const[]){"--size", "64", "-n", "3", "--seed-base", "7", "--out", data, NULL});
    ck_assert_msg(r.code == 0, "%s", r.err);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    const TTest *const tests[] = {prepare, records_of_a_png, galleries, resume,   interrupt,
                                  advice,  folder_of_pngs,   usage,     bad_input};
    Suite *s = suite_create("pcrl-masks");
    TCase *c = tcase_create("pcrl-masks");
    tcase_set_timeout(c, 0);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) tcase_add_test(c, tests[i]);
    suite_add_tcase(s, c);
    SRunner *runner = srunner_create(s);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
