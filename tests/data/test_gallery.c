/* Gallery files: what is written comes back, and files from anywhere are refused by name. */
#include "data/file.h"
#include "data/gallery.h"
#include "data/rle.h"
#include "tensor/rng.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *folder(void)
{
    static char name[64];
    snprintf(name, sizeof name, "/tmp/pcrl-gallery-%d", (int)getpid());
    return name;
}

/* A mask of random pixels, and its record. */
static GalleryMask random_mask(Rng *r, int width, int height, uint8_t *plane)
{
    Rle rle;
    GalleryMask m = {.predicted_iou = rng_unit(r), .stability = rng_unit(r)};
    int n = width * height, box[4] = {width, height, 0, 0};
    for (int i = 0; i < n; i++) plane[i] = rng_unit(r) < 0.2;
    plane[rng_below(r, n)] = 1;
    for (int i = 0; i < n; i++) {
        int x = i % width, y = i / width;
        if (!plane[i]) continue;
        if (x < box[0]) box[0] = x;
        if (y < box[1]) box[1] = y;
        if (x > box[2]) box[2] = x;
        if (y > box[3]) box[3] = y;
    }
    ck_assert(rle_encode(plane, width, height, &rle, NULL));
    m.counts = rle_to_text(&rle);
    m.area = (int64_t)rle_area(&rle);
    rle_free(&rle);
    memcpy(m.bbox, (int[]){box[0], box[1], box[2] - box[0], box[3] - box[1]}, sizeof m.bbox);
    memcpy(m.crop_box, (int[]){0, 0, width, height}, sizeof m.crop_box);
    m.point[0] = rng_range(r, 0, width);
    m.point[1] = rng_range(r, 0, height);
    return m;
}

enum { WIDTH = 13, HEIGHT = 9, MASKS = 5 };

/* Slices 2, 7 (with no mask) and 23; plane keeps the pixels of the first and the last. */
static Gallery *random_gallery(uint8_t plane[2 * MASKS][WIDTH * HEIGHT])
{
    Rng r = rng_open(5, "gallery");
    Gallery *g = calloc(1, sizeof *g);
    *g = (Gallery){.id = 12, .width = WIDTH, .height = HEIGHT, .pixel_mm = 0.9017857142857143, .n = 3};
    g->settings = json_pack("{s:i}", "points_per_side", 32);
    g->slice = calloc(3, sizeof *g->slice);
    for (int k = 0, p = 0; k < 3; k++) {
        g->slice[k].slice = (int[]){2, 7, 23}[k];
        if (k == 1) continue;
        g->slice[k].mask = calloc(MASKS, sizeof *g->slice[k].mask);
        for (; g->slice[k].n < MASKS; p++)
            g->slice[k].mask[g->slice[k].n++] = random_mask(&r, WIDTH, HEIGHT, plane[p]);
    }
    return g;
}

START_TEST(round_trip)
{
    static uint8_t plane[2 * MASKS][WIDTH * HEIGHT], back[WIDTH * HEIGHT];
    char path[4096];
    Error e = {0};
    Gallery *g = random_gallery(plane);
    ck_assert(file_make_folder(folder(), &e) && gallery_path(folder(), 12, path, &e));
    ck_assert_msg(gallery_write(g, path, &e), "%s", e.msg);
    Gallery *h = gallery_open(folder(), 12, &e);
    ck_assert_msg(h != NULL, "%s", e.msg);
    ck_assert(h->id == 12 && h->width == WIDTH && h->height == HEIGHT && h->n == 3);
    ck_assert(h->pixel_mm == g->pixel_mm && json_equal(h->settings, g->settings));
    for (int k = 0; k < 3; k++) {
        const GallerySlice *a = &g->slice[k], *b = gallery_slice(h, a->slice);
        ck_assert(b && a->n == b->n);
        for (int i = 0; i < a->n; i++) {
            const GalleryMask *x = &a->mask[i], *y = &b->mask[i];
            ck_assert_str_eq(x->counts, y->counts);
            ck_assert(x->area == y->area && x->predicted_iou == y->predicted_iou &&
                      x->stability == y->stability);
            ck_assert_mem_eq(x->bbox, y->bbox, sizeof x->bbox);
            ck_assert_mem_eq(x->crop_box, y->crop_box, sizeof x->crop_box);
            ck_assert_mem_eq(x->point, y->point, sizeof x->point);
            ck_assert(gallery_mask(h, y, back, &e));
            ck_assert_mem_eq(back, plane[(k / 2) * MASKS + i], sizeof back);
        }
    }
    ck_assert_ptr_null(gallery_slice(h, 3));
    gallery_free(h);
    gallery_free(g);
    unlink(path);
    rmdir(folder());
}
END_TEST

/* 2 rows, 3 columns; a mask of the middle column. */
#define MASK_OF(segmentation, area, bbox, iou, point, stability, crop)                                         \
    "{\"segmentation\": " segmentation ", \"area\": " area ", \"bbox\": " bbox ", \"predicted_iou\": " iou     \
    ", \"point_coords\": " point ", \"stability_score\": " stability ", \"crop_box\": " crop "}"
#define SIZE      "{\"size\": [2, 3], \"counts\": \"222\"}"
#define GOOD_MASK MASK_OF(SIZE, "2", "[1, 0, 0, 1]", "0.9", "[[1.5, 1]]", "1", "[0, 0, 3, 2]")
#define FILE_OF(version, id, size, pixel, slices)                                                              \
    "{\"version\": " version ", \"id\": " id ", \"size\": " size ", \"pixel_mm\": " pixel                      \
    ", \"settings\": {}, \"slices\": " slices "}"
#define SLICES_OF(slices) FILE_OF("1", "\"7\"", "[2, 3]", "null", slices)
#define ROWS_OF(masks)    SLICES_OF("[{\"slice\": 5, \"masks\": [" masks "]}]")
static const char good[] = ROWS_OF(GOOD_MASK);

static const char *const bad[][2] = {
    {"", "not JSON"},
    {"[]", "expected an object"},
    {"{}", "\"version\" is missing"},
    {FILE_OF("2", "\"7\"", "[2, 3]", "null", "[]"), "\"version\": expected 1, found 2"},
    {FILE_OF("1", "7", "[2, 3]", "null", "[]"), "key \"id\": expected a string"},
    {FILE_OF("1", "\"\"", "[2, 3]", "null", "[]"), "\"id\": expected a string of digits"},
    {FILE_OF("1", "\"-7\"", "[2, 3]", "null", "[]"), "\"id\": expected a string of digits, found \"-7\""},
    {FILE_OF("1", "\"7x\"", "[2, 3]", "null", "[]"), "\"id\""},
    {FILE_OF("1", "\"99999999999999999999\"", "[2, 3]", "null", "[]"), "\"id\""},
    {FILE_OF("1", "\"7\"", "[0, 3]", "null", "[]"), "\"size\""},
    {FILE_OF("1", "\"7\"", "[2, 99999]", "null", "[]"), "\"size\""},
    {FILE_OF("1", "\"7\"", "[2]", "null", "[]"),
     "\"size\": expected [height, width] from 1 to 16384, found [2]"},
    {FILE_OF("1", "\"7\"", "[2, 3]", "0", "[]"), "\"pixel_mm\": expected a number from 0.001 to 1000, found 0"},
    {FILE_OF("1", "\"7\"", "[2, 3]", "\"1\"", "[]"), "\"pixel_mm\""},
    {"{\"version\": 1, \"id\": \"7\", \"size\": [2, 3], \"settings\": {}, \"slices\": []}", "\"pixel_mm\""},
    {"{\"version\": 1, \"id\": \"7\", \"size\": [2, 3], \"pixel_mm\": 1, \"slices\": []}", "\"settings\""},
    {FILE_OF("1", "\"7\"", "[2, 3]", "null", "{}"), "\"slices\": expected an array"},
    {SLICES_OF("[7]"), "slice"},
    {SLICES_OF("[{\"slice\": 24, \"masks\": []}]"), "\"slice\": expected a number from 0 to 23, found 24"},
    {SLICES_OF("[{\"slice\": 4294967296, \"masks\": []}]"), "\"slice\""},
    {SLICES_OF("[{\"slice\": 1, \"masks\": []}, {\"slice\": 0, \"masks\": []}, {\"slice\": 1, \"masks\": []}]"),
     "slice 1: \"slice\": expected each slice once"},
    {SLICES_OF("[{\"slice\": 1}]"), "\"masks\""},
    {ROWS_OF("7"), "slice 5, mask 0: \"masks\": expected a list of objects"},
    {ROWS_OF("{}"), "slice 5, mask 0: \"size\": expected [height, width], found nothing"},
    {ROWS_OF(GOOD_MASK "," MASK_OF("{\"size\": [3, 2], \"counts\": \"222\"}", "2", "[1, 0, 0, 1]", "0.9",
                                   "[[1.5, 1]]", "1", "[0, 0, 3, 2]")),
     "slice 5, mask 1: \"size\": expected the gallery's, found [3,2]"},
    {ROWS_OF(MASK_OF("{\"size\": [2, 3], \"counts\": [2, 2, 2]}", "2", "[1, 0, 0, 1]", "0.9", "[[1.5, 1]]", "1",
                     "[0, 0, 3, 2]")),
     "\"counts\": expected a string of run lengths, found [2,2,2]"},
    {ROWS_OF(MASK_OF("{\"size\": [2, 3], \"counts\": \"223\"}", "2", "[1, 0, 0, 1]", "0.9", "[[1.5, 1]]", "1",
                     "[0, 0, 3, 2]")),
     "slice 5, mask 0: mask: run 2 is 3"},
    {ROWS_OF(MASK_OF("{\"size\": [2, 3], \"counts\": \"6\"}", "0", "[1, 0, 0, 1]", "0.9", "[[1.5, 1]]", "1",
                     "[0, 0, 3, 2]")),
     "at least one pixel"},
    {ROWS_OF(MASK_OF(SIZE, "3", "[1, 0, 0, 1]", "0.9", "[[1.5, 1]]", "1", "[0, 0, 3, 2]")),
     "\"area\": expected the mask's 2 pixels, found 3"},
    {ROWS_OF(MASK_OF(SIZE, "2", "[1, 0, 2, 1]", "0.9", "[[1.5, 1]]", "1", "[0, 0, 3, 2]")), "\"bbox\""},
    {ROWS_OF(MASK_OF(SIZE, "2", "[1, 0, 0, 2]", "0.9", "[[1.5, 1]]", "1", "[0, 0, 3, 2]")), "\"bbox\""},
    {ROWS_OF(MASK_OF(SIZE, "2", "[-1, 0, 0, 1]", "0.9", "[[1.5, 1]]", "1", "[0, 0, 3, 2]")), "\"bbox\""},
    {ROWS_OF(MASK_OF(SIZE, "2", "[1, 0, 0, 1.5]", "0.9", "[[1.5, 1]]", "1", "[0, 0, 3, 2]")), "\"bbox\""},
    {ROWS_OF(MASK_OF(SIZE, "2", "[1, 0, 0, 1]", "null", "[[1.5, 1]]", "1", "[0, 0, 3, 2]")),
     "\"predicted_iou\": expected a number from -1e+06 to 1e+06, found null"},
    {ROWS_OF(MASK_OF(SIZE, "2", "[1, 0, 0, 1]", "0.9", "[[3.5, 1]]", "1", "[0, 0, 3, 2]")),
     "\"point_coords\": expected one [x, y] inside the image, found [[3.5,1]]"},
    {ROWS_OF(MASK_OF(SIZE, "2", "[1, 0, 0, 1]", "0.9", "[[1, 1], [1, 1]]", "1", "[0, 0, 3, 2]")),
     "point_coords"},
    {ROWS_OF(MASK_OF(SIZE, "2", "[1, 0, 0, 1]", "0.9", "[1, 1]", "1", "[0, 0, 3, 2]")), "point_coords"},
    {ROWS_OF(MASK_OF(SIZE, "2", "[1, 0, 0, 1]", "0.9", "[[1.5, 1]]", "1.01", "[0, 0, 3, 2]")),
     "stability_score"},
    {ROWS_OF(MASK_OF(SIZE, "2", "[1, 0, 0, 1]", "0.9", "[[1.5, 1]]", "1", "[0, 0, 0, 2]")), "\"crop_box\""},
    {ROWS_OF(MASK_OF(SIZE, "2", "[1, 0, 0, 1]", "0.9", "[[1.5, 1]]", "1", "[1, 0, 3, 2]")), "\"crop_box\""},
};

START_TEST(bad_files)
{
    Error e = {0};
    Gallery *g = gallery_parse(good, sizeof good - 1, "file", &e);
    ck_assert_msg(g != NULL, "%s", e.msg);
    ck_assert(g->pixel_mm == 0 && g->n == 1 && g->slice[0].mask[0].area == 2);
    gallery_free(g);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        e = (Error){0};
        ck_assert_msg(!gallery_parse(bad[i][0], strlen(bad[i][0]), "file", &e), "%zu: %s", i, bad[i][0]);
        ck_assert_int_eq(e.code, ERROR_INPUT);
        ck_assert_msg(strstr(e.msg, bad[i][1]) && !strncmp(e.msg, "file", 4) && !strchr(e.msg, '\n'), "%zu: %s",
                      i, e.msg);
    }
}
END_TEST

/* Cut short anywhere, or one byte changed: refused or understood, never read past. */
START_TEST(prefixes)
{
    Error e;
    for (size_t n = 0; n < sizeof good - 1; n++) {
        char *text = malloc(n + 1); /* its own block, so that a sanitizer sees a byte too far */
        memcpy(text, good, n);
        e = (Error){0};
        ck_assert_msg(!gallery_parse(text, n, "file", &e), "%zu bytes", n);
        ck_assert_int_eq(e.code, ERROR_INPUT);
        free(text);
    }
    for (size_t n = 0; n < sizeof good - 1; n++) {
        char text[sizeof good];
        memcpy(text, good, sizeof good);
        for (int c = 1; c < 128; c += 2) {
            text[n] = (char)c;
            gallery_free(gallery_parse(text, sizeof good - 1, "file", &e));
        }
    }
}
END_TEST

START_TEST(folders)
{
    char path[4096], *deep = calloc(1, 5000);
    Error e = {0};
    ck_assert(file_make_folder(folder(), &e) && gallery_path(folder(), 8, path, &e));
    ck_assert_ptr_null(gallery_open(folder(), 8, &e));
    ck_assert_int_eq(e.code, ERROR_IO);
    ck_assert(strstr(e.msg, path));
    ck_assert(file_write(path, good, sizeof good - 1, &e));
    ck_assert_ptr_null(gallery_open(folder(), 8, &e));
    ck_assert_int_eq(e.code, ERROR_INPUT);
    ck_assert_msg(strstr(e.msg, "\"id\": expected 8, found 7"), "%s", e.msg);
    memset(deep, 'a', 4999);
    ck_assert_ptr_null(gallery_open(deep, 8, &e));
    ck_assert(strstr(e.msg, "too long"));
    free(deep);
    unlink(path);
    rmdir(folder());
}
END_TEST

int main(void)
{
    Suite *s = suite_create("gallery");
    TCase *c = tcase_create("gallery");
    tcase_set_timeout(c, 0);
    tcase_add_test(c, round_trip);
    tcase_add_test(c, bad_files);
    tcase_add_test(c, prefixes);
    tcase_add_test(c, folders);
    suite_add_tcase(s, c);
    SRunner *runner = srunner_create(s);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
