/* Figures 3 and 4: what is drawn is where it should be, every finding has the colour of its state, texts cannot
 * break out of the page, and what is missing is named. */
#include "data/file.h"
#include "data/rle.h"
#include "data/safetensors.h"
#include "tests/tools/run.h"
#include "tools/draw.h"
#include "tools/figure.h"
#include <check.h>

enum { SIZE = 32, TIMES = 8, LARGE = SIZE * TIMES };
static char folder[] = "/tmp/pcrl-figure-XXXXXX";
static const uint8_t RED[3] = {255, 0, 0}, YELLOW[3] = {255, 220, 60};

static int count(const char *text, const char *needle)
{
    int n = 0;
    for (const char *p = text; (p = strstr(p, needle)); p++) n++;
    return n;
}

static bool is(const Image *m, int x, int y, const uint8_t rgb[3])
{
    return !memcmp(m->pixel + 3 * (y * m->width + x), rgb, 3);
}

static int pixels(const Image *m, int x, int y, int width, int height, const uint8_t rgb[3])
{
    int n = 0;
    for (int v = y; v < y + height && v < m->height; v++)
        for (int u = x; u < x + width && u < m->width; u++) n += is(m, u, v, rgb);
    return n;
}

START_TEST(drawing)
{
    Image m;
    Error e = {0};
    uint8_t mask[16] = {0}, grey[4] = {10, 20, 30, 40};
    ck_assert(draw_new(&m, 40, 30, &e) && is(&m, 39, 29, (uint8_t[3]){255, 255, 255}));
    draw_rectangle(&m, -5, 28, 8, 9, RED); /* cut on three sides */
    ck_assert_int_eq(pixels(&m, 0, 0, 40, 30, RED), 6);
    memset(m.pixel, 0, 3 * 40 * 30);
    draw_text(&m, 1, 2, 2, RED, "i");
    ck_assert_int_eq(pixels(&m, 0, 0, 40, 30, RED), 4 * (3 + 5 + 3));
    ck_assert(is(&m, 3, 2, RED) && is(&m, 5, 8, RED) && !is(&m, 3, 8, RED) && !is(&m, 1, 2, RED));
    draw_text(&m, 1, 2, 2, RED, "脑"); /* a blank */
    ck_assert_int_eq(pixels(&m, 0, 0, 40, 30, RED), 44);
    ck_assert_int_eq(draw_text_width("脑ab", 2), 34);
    ck_assert_int_eq(draw_text_width("", 2), 0);
    memset(m.pixel, 0, 3 * 40 * 30);
    for (int i = 0; i < 4; i++) mask[4 * (1 + i / 2) + 1 + i % 2] = 1; /* 2 x 2 in the middle of 4 x 4 */
    draw_outline(&m, 10, 4, mask, 4, 3, RED);
    ck_assert_int_eq(pixels(&m, 13, 7, 6, 6, RED), 20);
    ck_assert_int_eq(pixels(&m, 0, 0, 40, 30, RED), 20);
    memset(mask, 1, sizeof mask);
    memset(m.pixel, 0, 3 * 40 * 30);
    draw_outline(&m, 0, 0, mask, 4, 1, RED);
    ck_assert_int_eq(pixels(&m, 0, 0, 40, 30, RED), 12);
    draw_picture(&m, 0, 0, grey, 2, 1, 2);
    ck_assert(is(&m, 0, 1, (uint8_t[3]){10, 10, 10}) && is(&m, 2, 0, (uint8_t[3]){20, 20, 20}) &&
              is(&m, 3, 3, (uint8_t[3]){40, 40, 40}));
    Image small = {1, 2, 3, (uint8_t[]){1, 2, 3, 4, 5, 6}};
    draw_copy(&m, 39, 29, &small);
    ck_assert(is(&m, 39, 29, small.pixel));
    free(m.pixel);
}
END_TEST

START_TEST(states)
{
    static const FigureState expected[3][3] = {{FIGURE_NOTHING, FIGURE_INVENTED, FIGURE_INVENTED},
                                               {FIGURE_MISSED, FIGURE_RIGHT, FIGURE_SIDE},
                                               {FIGURE_MISSED, FIGURE_SIDE, FIGURE_RIGHT}};
    for (Side truth = SIDE_ABSENT; truth <= SIDE_RIGHT; truth++)
        for (Side said = SIDE_ABSENT; said <= SIDE_RIGHT; said++)
            ck_assert_int_eq(figure_state(truth, said), expected[truth][said]);
}
END_TEST

/* Square masks: a falx calcification in slice 18; low density of the right thalamus, 6 pixels wide in slice 9,
 * 3 in slice 10. */
typedef struct Study {
    CtrgStudy study;
    CtrgTruth truth[2];
    CtrgMask mask[3];
    uint8_t *pixel;
    float *segment;
} Study;

static char *square(int x, int y, int width)
{
    uint8_t mask[SIZE * SIZE] = {0};
    Rle rle;
    for (int i = 0; i < width * width; i++) mask[(y + i / width) * SIZE + x + i % width] = 1;
    ck_assert(rle_encode(mask, SIZE, SIZE, &rle, NULL));
    char *text = rle_to_text(&rle);
    rle_free(&rle);
    return text;
}

static void make_study(Study *s)
{
    static char report[] = "右侧丘脑见片状低密度影，大脑镰见条状钙化影。";
    int falx = finding_index(ENTITY_FALX, DENSITY_CALCIFICATION),
        thalamus = finding_index(ENTITY_THALAMUS, DENSITY_LOW);
    *s = (Study){
        .study = {.id = 7, .findings = report, .has_truth = true, .width = SIZE, .height = SIZE, .n_truth = 2}};
    s->mask[0] = (CtrgMask){18, finding_kind(falx)->first_label, square(14, 4, 2)};
    s->mask[1] = (CtrgMask){9, finding_kind(thalamus)->first_label + 1, square(8, 10, 6)};
    s->mask[2] = (CtrgMask){10, finding_kind(thalamus)->first_label + 1, square(9, 11, 3)};
    s->truth[0] = (CtrgTruth){falx, SIDE_NONE, "大脑镰见条状钙化影", 1, 1, 1, s->mask};
    s->truth[1] = (CtrgTruth){thalamus, SIDE_RIGHT, "右侧丘脑见片状低密度影", 5, 1, 2, s->mask + 1};
    s->study.truth = s->truth;
    s->pixel = calloc(CTRG_SLICES, SIZE * SIZE);
    s->segment = calloc(CTRG_SLICES, GRID_CELLS * sizeof *s->segment);
    ck_assert(s->pixel && s->segment);
    memset(s->pixel, 100, CTRG_SLICES * SIZE * SIZE);
    for (int r = 0; r < GRID; r++)
        for (int c = GRID / 2; c < GRID; c++)
            s->segment[9 * GRID_CELLS + r * GRID + c] = 1; /* the wrong half */
}

static void free_study(Study *s)
{
    for (int i = 0; i < 3; i++) free(s->mask[i].counts);
    free(s->pixel);
    free(s->segment);
}

static FigureStudy shown(const Study *s, const char *ours, const char *baseline)
{
    return (FigureStudy){&s->study, SIZE, s->pixel, s->segment, ours, baseline};
}

START_TEST(tiles)
{
    Study s;
    FigureTile tile[FIGURE_TILES];
    uint8_t mask[SIZE * SIZE];
    int n, area = 0;
    Error e = {0};
    make_study(&s);
    FigureStudy f = shown(&s, "", NULL);
    ck_assert(figure_tiles(&f, tile, &n, &e));
    ck_assert_int_eq(n, 3);
    ck_assert(tile[0].row == 1 && tile[0].slice == 9);
    ck_assert(tile[1].row == 0 && tile[1].slice == 18);
    ck_assert(tile[2].row == 1 && tile[2].slice == 10);
    ck_assert(figure_mask(&f, &tile[2], mask, &e));
    for (int i = 0; i < SIZE * SIZE; i++) area += mask[i];
    ck_assert(area == 9 && mask[11 * SIZE + 9] && !mask[10 * SIZE + 8]);
    s.study.n_truth = 1;
    ck_assert(figure_tiles(&f, tile, &n, &e) && n == 1);
    s.study.n_truth = 0;
    ck_assert(figure_tiles(&f, tile, &n, &e) && n == 0);
    free_study(&s);
}
END_TEST

/* A figure's page, the caller's, and its PNG. */
static char *read_figure(int number, Image *m)
{
    char path[128];
    uint8_t *bytes;
    size_t n;
    Error e = {0};
    snprintf(path, sizeof path, "%s/figure%d.html", folder, number);
    ck_assert_msg(file_read(path, 64 << 20, &bytes, &n, &e), "%s", e.msg);
    unlink(path);
    snprintf(path, sizeof path, "%s/figure%d.png", folder, number);
    ck_assert_msg(image_read_png(path, m, &e), "%s", e.msg);
    unlink(path);
    ck_assert_int_eq(
        count((char *)bytes, "<script") + count((char *)bytes, " href=") + count((char *)bytes, "src=\"h"), 0);
    return (char *)bytes;
}

START_TEST(figure3)
{
    Study s;
    Image m;
    Error e = {0};
    make_study(&s);
    FigureStudy f[6];
    for (int i = 0; i < 6; i++) f[i] = shown(&s, "左侧丘脑见片状低密度影，<script>大脑镰未见钙化。", NULL);
    ck_assert_msg(figure3_write(folder, f, 6, "chosen so", &e), "%s", e.msg);
    char *page = read_figure(3, &m);
    ck_assert_int_eq(count(page, "chosen so</p>"), 1);
    ck_assert_int_eq(count(page, "<h2>study 7</h2>"), 4); /* no more than four studies */
    ck_assert_int_eq(count(page, "真实 truth: 右侧丘脑见片状低密度影<br>报告 report: <span class=\"claim "
                                 "side\">左侧丘脑见片状低密度影，"
                                 "</span>"),
                     8);
    ck_assert_int_eq(
        count(page, "真实 truth: 大脑镰见条状钙化影<br>报告 report: <span class=\"claim missed\">未提及"), 4);
    /* Outline of the first tile's 6 x 6 pixels, each TIMES across; the tint in the wrong half. */
    int x = 16, y = 16 + 20;
    ck_assert(is(&m, x + 8 * TIMES, y + 10 * TIMES, YELLOW) &&
              is(&m, x + 14 * TIMES - 1, y + 16 * TIMES - 1, YELLOW));
    ck_assert_int_eq(pixels(&m, x, y, LARGE, LARGE, YELLOW), 4 * (6 * TIMES - 1));
    const uint8_t *left = m.pixel + 3 * ((y + 100) * m.width + x + LARGE + 4 + 20),
                  *right = left + 3 * (LARGE - 40);
    ck_assert(left[0] == 100 && left[2] == 100 && right[0] > 180 && right[2] < 100);
    ck_assert(pixels(&m, x, y + LARGE, 2 * LARGE, 60, figure_colour(FIGURE_SIDE)) > 100);
    ck_assert(pixels(&m, x + 2 * LARGE + 20, y + LARGE, 2 * LARGE, 60, figure_colour(FIGURE_MISSED)) > 100);
    free(page);
    free(m.pixel);
    free_study(&s);
}
END_TEST

START_TEST(figure4)
{
    Study s;
    Image m;
    Error e = {0};
    make_study(&s);
    FigureStudy f =
        shown(&s, "右侧丘脑见片状低密度影，左侧额叶见片状高密度影。", "左侧丘脑见片状低密度影，<b>&");
    ck_assert_msg(figure4_write(folder, &f, 1, "", &e), "%s", e.msg);
    char *page = read_figure(4, &m);
    ck_assert(strstr(page, "<td><span class=\"claim right\">右侧丘脑见片状低密度影，</span><span class=\"claim "
                           "missed\">大脑镰见条状钙化"
                           "影。</span></td>"));
    ck_assert(
        strstr(page, "<td><span class=\"claim side\">左侧丘脑见片状低密度影，</span>&lt;b&gt;&amp;</td>"));
    ck_assert(strstr(page, "<td><span class=\"claim right\">右侧丘脑见片状低密度影，</span><span class=\"claim "
                           "invented\">左侧额叶见片状高密度影。</span></td>"));
    /* Rows in the table's order: thalamus, frontal lobe, falx; a row of 24 pixels, after the head line. */
    static const FigureState expected[3][2] = {
        {FIGURE_SIDE, FIGURE_RIGHT}, {FIGURE_NOTHING, FIGURE_INVENTED}, {FIGURE_MISSED, FIGURE_MISSED}};
    int x = m.width - 16 - 400, y = 16 + 24;
    for (int r = 0; r < 3; r++)
        for (int k = 0; k < 2; k++)
            ck_assert_msg(is(&m, x + 200 * k + 2, y + 24 * r + 2, figure_colour(expected[r][k])),
                          "row %d, column %d", r, k);
    free(page);
    free(m.pixel);
    free_study(&s);
}
END_TEST

static void write_lines(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    ck_assert(file_write(path, text, strlen(text), NULL));
}

/* The program on two phantoms. */
START_TEST(program)
{
    Run r;
    char data[64], reports[64], other[64], masks[64], out[64];
    Error e = {0};
    float prob[CTRG_SLICES * GRID_CELLS] = {0};
    snprintf(data, sizeof data, "%s/data", folder);
    snprintf(reports, sizeof reports, "%s/reports.jsonl", folder);
    snprintf(other, sizeof other, "%s/other.jsonl", folder);
    snprintf(masks, sizeof masks, "%s/masks.safetensors", folder);
    snprintf(out, sizeof out, "%s/out", folder);
    run_tool(&r, "pcrl-synth",
             (const char *[]){"--out", data, "--n", "2", "--seed-base", "1000001", "--size", "64", NULL});
    ck_assert_msg(!r.code, "%s", r.err);
    write_lines("reports.jsonl", "{\"id\": \"1000001\", \"report\": \"右侧丘脑见片状低密度影。\"}\n"
                                 "{\"id\": \"1000002\", \"report\": \"脑室扩大。\"}\n");
    write_lines("other.jsonl", "{\"id\": \"1000002\", \"report\": \"脑室扩大。\"}\n");
    StWriter *w = st_writer_new();
    st_writer_add(w, "1000001", ST_F32, 3, (int64_t[]){CTRG_SLICES, GRID, GRID}, prob);
    ck_assert(st_writer_save(w, masks, &e));
    st_writer_free(w);
#define RUN(...) run_tool(&r, "pcrl-figure", (const char *[]){"--out", out, __VA_ARGS__, NULL})
    RUN("--masks", masks, "--baseline", reports, "--ids", "1000001", data, reports);
    ck_assert_msg(!r.code, "%s", r.err);
    char path[80];
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/figure%d.%s", out, 3 + i / 2, i % 2 ? "png" : "html");
        ck_assert_msg(!unlink(path), "%s", path);
    }
    RUN("--baseline", other, "--ids", "1000001", data, reports);
    ck_assert(r.code == 2 && strstr(r.err, "other.jsonl: no report of study 1000001"));
    RUN("--baseline", reports, "--ids", "1000001", data, other);
    ck_assert(r.code == 2 && strstr(r.err, "other.jsonl: no report of study 1000001"));
    RUN("--baseline", reports, "--ids", "5", data, reports);
    ck_assert(r.code == 2 && strstr(r.err, "data: no study 5"));
    RUN("--baseline", reports, "--ids", "1000001,x", data, reports);
    ck_assert(r.code == 1 && strstr(r.err, "--ids: expected numbers, found 'x'"));
    RUN("--masks", masks, "--ids", "1000002", data, reports);
    ck_assert(r.code == 2 && strstr(r.err, "1000002"));
    RUN("--baseline", reports, "--differ", data, reports);
    ck_assert(r.code == 2 && strstr(r.err, "data: no study to show"));
    RUN("--masks", masks, "--differ", data, reports);
    ck_assert(r.code == 1 && strstr(r.err, "--differ needs --baseline"));
    RUN(data, reports);
    ck_assert(r.code == 1 && strstr(r.err, "expected --masks, --baseline or both"));
    RUN("--masks", masks, data);
    ck_assert(r.code == 1);
    ck_assert(access(path, F_OK));
}
END_TEST

static void make_folder(void) { ck_assert(mkdtemp(folder) != NULL); }

static void remove_folder(void)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert(!system(command));
}

int main(void)
{
    Suite *s = suite_create("figure");
    TCase *t = tcase_create("figure");
    tcase_add_unchecked_fixture(t, make_folder, remove_folder);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, drawing);
    tcase_add_test(t, states);
    tcase_add_test(t, tiles);
    tcase_add_test(t, figure3);
    tcase_add_test(t, figure4);
    tcase_add_test(t, program);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
