/* Which masks may be chosen: the two filters on areas made here, the maps of layers against phantoms. */
#include "data/clue_filter.h"
#include "data/clues.h"
#include "data/phantom_study.h"
#include "data/rle.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 100, MOST = 8 };

/* Masks of these areas; only areas and stabilities matter here. */
static void make(GallerySlice *s, GalleryMask *mask, int n, const int *area)
{
    *s = (GallerySlice){0, n, mask};
    for (int i = 0; i < n; i++) mask[i] = (GalleryMask){.area = area[i], .stability = 0.95};
}

static void keeps(const ClueFilter *f, const Gallery *g, const GallerySlice *s, int64_t head, const char *want)
{
    bool keep[MOST];
    char got[MOST + 1] = {0};
    int n = clue_filter_slice(f, g, s, head, keep), count = 0;
    for (int i = 0; i < s->n; i++) count += keep[i], got[i] = keep[i] ? '1' : '0';
    ck_assert_msg(!strcmp(got, want) && n == count, "%s: got %s (%d), want %s", f->name, got, n, want);
}

START_TEST(release)
{
    const ClueFilter *f = clue_filter_named("release");
    Gallery g = {.width = SIDE, .height = SIDE, .pixel_mm = 1};
    GallerySlice s;
    GalleryMask mask[MOST];
    make(&s, mask, 5, (int[]){9000, 1, 2, 3, 4});
    keeps(f, &g, &s, 5000, "11111"); /* five are no crowd: all stay, the head too */
    make(&s, mask, 6, (int[]){3, 1, 9000, 2, 4, 5});
    keeps(f, &g, &s, 5000, "110111");
    make(&s, mask, 8, (int[]){3, 1, 9000, 2, 4, 5, 6, 7});
    keeps(f, &g, &s, 5000, "10001111");
    make(&s, mask, 7, (int[]){5, 5, 5, 5, 5, 5, 5}); /* equals: the earlier is the larger */
    keeps(f, &g, &s, 5000, "0111110");
    make(&s, mask, 0, NULL);
    keeps(f, &g, &s, 5000, "");
}
END_TEST

START_TEST(size)
{
    const ClueFilter *f = clue_filter_named("size");
    Gallery g = {.width = SIDE, .height = SIDE, .pixel_mm = 0.5};
    GallerySlice s;
    GalleryMask mask[MOST];
    make(&s, mask, 6, (int[]){119, 120, 1500, 1501, 400, 9000}); /* 30 mm2 are 120 pixels; 30 % of 5000 */
    mask[4].stability = 0.5;
    keeps(f, &g, &s, 5000, "011000");
    make(&s, mask, 2, (int[]){7, 8});
    g.pixel_mm = 0; /* then 202 mm over 100 pixels: 4.08 mm2 each */
    keeps(f, &g, &s, 5000, "01");
    keeps(f, &g, &s, 0, "00"); /* a black slice has no head */
    ck_assert_double_eq_tol(clue_pixel_mm(&g), 2.02, 1e-12);
}
END_TEST

START_TEST(tables)
{
    ClueLayers map;
    ck_assert(clue_layers_from_name("release", &map) && map == CLUE_LAYERS_RELEASE);
    ck_assert(clue_layers_from_name("clinical", &map) && map == CLUE_LAYERS_CLINICAL);
    ck_assert(!clue_layers_from_name("", &map));
    ck_assert_ptr_null(clue_filter_named("none"));
    ck_assert_int_eq(clue_filter_count(), 2);
    int named[2] = {0};
    for (int i = 0; i < clue_entity_count(); i++)
        for (int m = 0; m < 2; m++) {
            ck_assert_msg(clue_layers((ClueLayers)m, i), "%s", clue_entity_name(i));
            named[m] += __builtin_popcount(clue_layers((ClueLayers)m, i));
        }
    ck_assert_int_eq(named[0],
                     7 + 5 + 8 + 10 + 8 + 8 + 8 + 6 + 8); /* the released table, 颅板下 in every layer */
    int ganglia = clue_entity_from_name("基底节区"), cerebellum = clue_entity_from_name("小脑");
    ck_assert_int_eq(clue_layers(CLUE_LAYERS_RELEASE, ganglia), 1 << 3);
    ck_assert_int_eq(clue_layers(CLUE_LAYERS_CLINICAL, ganglia), 7 << 2);
    ck_assert_int_eq(clue_layers(CLUE_LAYERS_RELEASE, cerebellum), 1);
    ck_assert_int_eq(clue_layers(CLUE_LAYERS_CLINICAL, cerebellum), 3);
    ck_assert_int_eq(clue_head_pixels((uint8_t[]){0, 1, 255, 0}, 4), 2);
}
END_TEST

/* Every focal lesion of the brain tissue and every collection has its largest slice in a layer of `clinical`
 * that names its entity; `release` has not. */
START_TEST(phantoms)
{
    int lesions = 0, in[2] = {0};
    for (int seed = 0; seed < 60; seed++) {
        PhantomOptions o = phantom_options();
        Phantom p;
        o.size = 96;
        ck_assert(phantom_make((uint64_t)seed, &o, &p, NULL));
        for (int k = 0; k < p.n_truth; k++) {
            if (!finding_kind(p.truth[k].finding)->focal) continue;
            int entity = -1, most = 0, slice = -1;
            for (int i = 0; i < clue_entity_count(); i++) {
                char *said = clue_description(p.truth[k].clause, i);
                if (said && entity < 0) entity = i;
                free(said);
            }
            for (int i = 0; i < p.n_slices; i++) {
                int area = 0;
                for (int x = 0; x < 96 * 96; x++) area += (p.mask[i * 96 * 96 + x] >> (2 * k) & 3) != 0;
                if (area > most) most = area, slice = i;
            }
            ck_assert_int_ge(entity, 0);
            if (slice < 0) continue;
            lesions++;
            for (int m = 0; m < 2; m++) in[m] += clue_layers((ClueLayers)m, entity) >> (slice / 3) & 1;
        }
        phantom_free(&p);
    }
    ck_assert_int_gt(lesions, 100);
    ck_assert_int_eq(in[CLUE_LAYERS_CLINICAL], lesions);
    ck_assert_int_lt(in[CLUE_LAYERS_RELEASE], lesions);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("clue_filter");
    TCase *c = tcase_create("clue_filter");
    tcase_set_timeout(c, 0);
    tcase_add_test(c, release);
    tcase_add_test(c, size);
    tcase_add_test(c, tables);
    tcase_add_test(c, phantoms);
    suite_add_tcase(s, c);
    SRunner *runner = srunner_create(s);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
