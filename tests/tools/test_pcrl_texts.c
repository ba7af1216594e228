/* Clue masks on the grid: whatever size they have, the same field gives the same cells. */
#include "data/clues.h"
#include "data/file.h"
#include "data/rle.h"
#include "tests/tensor/tape_fixture.h"
#include "tokenizer/bpe_train.h"
#include "tools/pcrl_texts.h"
#include <math.h>
#include <unistd.h>

static char clue_path[64], bpe_path[64];

/* One clue of study 1: cells 3 to 5 across and 7 to 8 down are in, whatever the size. */
static void write_clue(int width, int height)
{
    uint8_t *mask = calloc((size_t)width * (size_t)height, 1);
    Clues c = {0};
    StudyClues s = {.id = 1, .width = width, .height = height, .n = 1, .clue = calloc(1, sizeof *s.clue)};
    Rle rle;
    Error e = {0};
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            double column = (x + 0.5) * GRID / width, row = (y + 0.5) * GRID / height;
            mask[y * width + x] = column > 3 && column < 6 && row > 7 && row < 9;
        }
    ck_assert(rle_encode(mask, width, height, &rle, &e));
    s.clue[0] = (Clue){clue_entity_from_name("丘脑"), strdup("左侧丘脑"), 9, rle_to_text(&rle), NAN, -1};
    ck_assert(clues_add(&c, &s, &e) && clues_write(&c, clue_path, &e));
    clues_free_study(&c.study[0]);
    free(c.study);
    rle_free(&rle);
    free(mask);
}

START_TEST(any_size)
{
    static const int sizes[][2] = {{112, 112}, {56, 56},   {224, 224}, {14, 14},
                                   {28, 280},  {300, 300}, {100, 60}};
    CtrgStudy study = {.id = 1, .findings = (char *)(uintptr_t) "左侧丘脑见低密度影。"};
    Ctrg ctrg = {.n = 1, .study = &study};
    TrainData data = {.ctrg = &ctrg, .n = 1, .width = 112, .height = 112};
    Error e = {0};
    snprintf(clue_path, sizeof clue_path, "/tmp/pcrl-texts-%d.json", (int)getpid());
    snprintf(bpe_path, sizeof bpe_path, "/tmp/pcrl-texts-%d-bpe.json", (int)getpid());
    ck_assert(bpe_train((const char *const[]){study.findings}, 1, 270, bpe_path, &e));
    Bpe *bpe = bpe_open(bpe_path, &e);
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
        for (int area = 0; area < 2; area++) {
            PcrlTextOptions o = {clue_path, true, false, area ? RESIZE_AREA : RESIZE_NEAREST, false};
            bool exact = sizes[k][0] % GRID == 0 && sizes[k][1] % GRID == 0;
            float near = exact ? 0 : area ? 0.35f : 1;
            PcrlTexts x;
            double sum = 0;
            write_clue(sizes[k][0], sizes[k][1]);
            ck_assert_msg(pcrl_texts_open(&x, &tape, &data, bpe, &o, &e), "%s", e.msg);
            ck_assert(x.clues == 1 && x.masks == 1);
            for (int c = 0; c < GRID_CELLS; c++) {
                int row = c / GRID, column = c % GRID;
                bool in = column >= 3 && column < 6 && row >= 7 && row < 9;
                sum += (double)x.study[0].clue[0].mask[c];
                ck_assert_msg(fabsf(x.study[0].clue[0].mask[c] - (float)in) <= near, "%d x %d, cell %d: %g",
                              sizes[k][0], sizes[k][1], c, (double)x.study[0].clue[0].mask[c]);
            }
            if (exact || area) ck_assert_double_eq_tol(sum, 6, (exact ? 1e-6 : 1.5));
            pcrl_texts_close(&x);
        }
    bpe_close(bpe);
    unlink(clue_path);
    unlink(bpe_path);
}
END_TEST

/* Equal texts have equal numbers, from 0 without a gap, among findings and clues together; kept are one text of
 * each number, or none. */
START_TEST(numbers)
{
    static const char *const findings[] = {"脑室未见异常。", "左侧丘脑", "脑室未见异常。"};
    CtrgStudy study[3] = {{.id = 0}, {.id = 1}, {.id = 2}};
    for (int i = 0; i < 3; i++) study[i].findings = (char *)(uintptr_t)findings[i];
    Ctrg ctrg = {.n = 3, .study = study};
    TrainData data = {.ctrg = &ctrg, .n = 3, .width = 112, .height = 112};
    Error e = {0};
    write_clue(14, 14);
    ck_assert(bpe_train(findings, 3, 270, bpe_path, &e));
    Bpe *bpe = bpe_open(bpe_path, &e);
    for (int keep = 0; keep < 2; keep++) {
        PcrlTextOptions o = {clue_path, true, false, RESIZE_NEAREST, keep};
        PcrlTexts x;
        ck_assert_msg(pcrl_texts_open(&x, &tape, &data, bpe, &o, &e), "%s", e.msg);
        ck_assert(x.study[0].same == x.study[2].same && x.study[0].same + x.study[1].same == 1);
        ck_assert(x.study[1].n_clues == 1 && x.study[1].clue[0].same == x.study[1].same);
        ck_assert_int_eq(x.n_texts, keep ? 2 : 0);
        for (int i = 0; keep && i < 3; i++) ck_assert_str_eq(x.text[x.study[i].same], findings[i]);
        if (keep) x.feature[1] = calloc(1, sizeof(float)); /* freed with the rest */
        pcrl_texts_close(&x);
    }
    bpe_close(bpe);
    unlink(clue_path);
    unlink(bpe_path);
}
END_TEST

static void fill(TCase *c, TCase *alone)
{
    (void)alone;
    tcase_add_test(c, any_size);
    tcase_add_test(c, numbers);
}

int main(void) { return fixture_main("pcrl_texts", fill); }
