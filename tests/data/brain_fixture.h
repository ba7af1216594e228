/* A tiny corpus in CTRG-Brain's layout: drawn slices, an invented name, our own sentences. Five studies, all of
 * series 02 (but for study 4: 03) and of 64 x 64 pixels: 0, 1 and 2 of slices 3 to 26, study 3 of 3 to 14,
 * which repeats, and study 4 of 3 to 38, which skips. The grey of slice n of study i is 20 i + 3 n. */
#ifndef TESTS_DATA_BRAIN_FIXTURE_H
#define TESTS_DATA_BRAIN_FIXTURE_H
#include "data/file.h"
#include "tests/data/jpeg_write.h"
#include <check.h>
#include <ftw.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

enum { BRAIN_STUDIES = 5, BRAIN_SIDE = 64 };
static const char *const brain_texts[BRAIN_STUDIES] = {
    "双侧大脑半球对称，左侧丘脑见斑点状低密度影。中线结构居中。",
    "右侧基底节区见片状低密度影，脑千未见异常。双肺清晰。", "双侧大脑半球对称，脑沟增宽，建议进一步检查。",
    "头颅CT平扫：中线结构居中，若侧题叶见低密度影。",
    "双侧大脑半球对称，左侧丘脑见斑点状低密度影。中线结构居中。"};

static char brain_root[] = "/tmp/pcrl-brain-XXXXXX";

/* A path below the corpus; a ring of eight. */
__attribute__((format(printf, 1, 2))) static inline const char *brain_at(const char *format, ...)
{
    static char ring[8][256];
    static unsigned turn;
    char *s = ring[turn++ & 7];
    int n = snprintf(s, sizeof ring[0], "%s/", brain_root);
    va_list args;
    va_start(args, format);
    vsnprintf(s + n, sizeof ring[0] - (size_t)n, format, args);
    va_end(args);
    return s;
}

static inline void brain_write(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    ck_assert_msg(f && fwrite(bytes, 1, n, f) == n && !fclose(f), "%s", path);
}
static inline void brain_text(const char *path, const char *text) { brain_write(path, text, strlen(text)); }

/* A picture of one grey, JPEG or PNG by its name. */
static inline void brain_picture(const char *path, int width, int height, int grey)
{
    size_t n, plane = (size_t)(width * height);
    Image image = {width, height, 1, malloc(plane)};
    Error e = {0};
    memset(image.pixel, grey, plane);
    uint8_t *bytes = NULL;
    if (strstr(path, ".png"))
        ck_assert(image_encode_png(&image, &bytes, &n, &e));
    else
        bytes = jpeg_write(&image, (JpegWrite){.quality = 90}, &n);
    brain_write(path, bytes, n);
    free(bytes);
    free(image.pixel);
}

static inline const char *brain_slice(int id, int series, int number)
{
    return brain_at("samples/%d/ceshi_%02d_%04d_%04d.jpg", id, series, number, number);
}

static inline void brain_slices(int id, int series, int from, int to)
{
    ck_assert(file_make_folder(brain_at("samples/%d", id), NULL));
    for (int n = from; n <= to; n++)
        brain_picture(brain_slice(id, series, n), BRAIN_SIDE, BRAIN_SIDE, 20 * id + 3 * n);
}

static inline void brain_annotations(void)
{
    char text[4096];
    int n = 0;
    for (int i = 0; i < BRAIN_STUDIES; i++)
        n += snprintf(text + n, sizeof text - (size_t)n,
                      "%s{\"id\": \"%d\", \"impression\": \"腔隙性脑梗死。\", \"findings\": \"%s\"}",
                      i ? ", " : "[", i, brain_texts[i]);
    snprintf(text + n, sizeof text - (size_t)n, "]\n");
    brain_text(brain_at("origin_anno.json"), text);
}

/* Rows of another machine; study 3 repeats, study 4 skips, as data/study.h would choose. */
static inline void brain_manifest(void)
{
    static const char place[] = "/data/a b/samples/CTRG/samples";
    FILE *f = fopen(brain_at("total_image_list_final.json"), "w");
    for (int id = 0; id < BRAIN_STUDIES; id++) {
        int count = id == 3 ? 12 : id == 4 ? 36 : 24, series = id == 4 ? 3 : 2;
        fprintf(f, "%s\"%d\": [", id ? ", " : "{", id);
        for (int i = 0; i < 24; i++) {
            int n = 3 + (2 * i + 1) * count / 48;
            fprintf(f, "%s\"%s/%d/ceshi_%02d_%04d_%04d.jpg\"", i ? ", " : "", place, id, series, n, n);
        }
        fprintf(f, "]");
    }
    fprintf(f, "}\n");
    ck_assert(!fclose(f));
}

static inline int brain_remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
    (void)s, (void)type, (void)f;
    return remove(path);
}
static inline void brain_remove(void) { nftw(brain_root, brain_remove_one, 16, FTW_DEPTH | FTW_PHYS); }

/* The sound corpus, in an empty folder. */
static inline void brain_make(bool manifest)
{
    brain_remove();
    ck_assert(file_make_folder(brain_root, NULL));
    brain_annotations();
    for (int id = 0; id < 3; id++) brain_slices(id, 2, 3, 26);
    brain_slices(3, 2, 3, 14);
    brain_slices(4, 3, 3, 38);
    if (manifest) brain_manifest();
}
#endif
