/* The phantom: what the report says is drawn, sides are where they should be, edits change one thing, and the
 * same seed gives the same bytes. */
#include "data/phantom.h"
#include <check.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Volumes that are looked at in each test; one is a third of a second under sanitizers. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { VOLUMES = 6 };
#else
enum { VOLUMES = 40 };
#endif

static Phantom make(uint64_t seed, const PhantomOptions *o)
{
    Phantom p;
    Error e = {0};
    ck_assert_msg(phantom_make(seed, o, &p, &e), "%s", e.msg);
    return p;
}

static size_t voxels(const Phantom *p) { return (size_t)p->n_slices * (size_t)p->size * (size_t)p->size; }

/* Pixels of mask bit b in a slice. */
static int area(const Phantom *p, int slice, int bit)
{
    size_t n = (size_t)p->size * (size_t)p->size;
    int sum = 0;
    for (size_t i = 0; i < n; i++) sum += p->mask[(size_t)slice * n + i] >> bit & 1;
    return sum;
}

/* Every side of every truth row shows at least 20 mm2 in one slice; bits of sides that are not there stay 0. */
START_TEST(each_finding_is_visible)
{
    PhantomOptions o = phantom_options();
    o.regime = _i ? PHANTOM_CTRG : PHANTOM_BALANCED;
    for (uint64_t seed = 700000; seed < 700000 + VOLUMES; seed++) {
        Phantom p = make(seed, &o);
        for (int bit = 0; bit < 2 * p.n_truth; bit++) {
            const PhantomTruth *t = &p.truth[bit / 2];
            Side side = finding_label(phantom_mask_label(&p, bit))->side;
            bool wanted = side == SIDE_NONE ? bit % 2 == 0 : (t->side & side) != 0;
            int most = 0;
            for (int k = 0; k < p.n_slices; k++) {
                int a = area(&p, k, bit);
                if (a > most) most = a;
            }
            double mm2 = most * p.pixel_mm * p.pixel_mm;
            ck_assert_msg(wanted ? mm2 >= 20 : most == 0, "phantom %llu: %s bit %d: %g mm2",
                          (unsigned long long)seed, t->clause, bit, mm2);
        }
        phantom_free(&p);
    }
}
END_TEST

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Median HU inside the masks is what the words say (their edges share pixels with bone and brain). */
START_TEST(densities_are_as_told)
{
    PhantomOptions o = phantom_options();
    for (uint64_t seed = 710000; seed < 710000 + VOLUMES; seed++) {
        Phantom p = make(seed, &o);
        float *inside = malloc(voxels(&p) * sizeof *inside);
        ck_assert_ptr_nonnull(inside);
        for (int k = 0; k < p.n_truth; k++) {
            size_t n = 0;
            for (size_t i = 0; i < voxels(&p); i++)
                if (p.mask[i] >> 2 * k & 3) inside[n++] = p.hu[i];
            qsort(inside, n, sizeof *inside, by_value);
            float hu = inside[n / 2];
            Density d = finding_kind(p.truth[k].finding)->density;
            if (d == DENSITY_LOW) ck_assert_msg(hu > 3 && hu < 21, "%s: %g HU", p.truth[k].clause, hu);
            if (d == DENSITY_HIGH) ck_assert_msg(hu > 38 && hu < 80, "%s: %g HU", p.truth[k].clause, hu);
            if (d == DENSITY_CALCIFICATION) ck_assert_msg(hu > 80, "%s: %g HU", p.truth[k].clause, hu);
        }
        free(inside);
        phantom_free(&p);
    }
}
END_TEST

/* Image columns run from the patient's right to the left. */
START_TEST(sides_are_the_patients)
{
    PhantomOptions o = phantom_options();
    int checked = 0;
    for (uint64_t seed = 720000; seed < 720000 + VOLUMES; seed++) {
        Phantom p = make(seed, &o);
        for (int bit = 0; bit < 2 * p.n_truth; bit++) {
            const FindingLabel *l = finding_label(phantom_mask_label(&p, bit));
            if (!finding_kind(l->finding)->focal || (l->side != SIDE_LEFT && l->side != SIDE_RIGHT)) continue;
            double x = 0;
            size_t n = 0, size = (size_t)p.size;
            for (size_t i = 0; i < voxels(&p); i++)
                if (p.mask[i] >> bit & 1) x += (double)(i % size), n++;
            if (!n) continue;
            x /= (double)n;
            ck_assert_msg(l->side == SIDE_LEFT ? x > p.size / 2.0 : x < p.size / 2.0,
                          "phantom %llu: %s at column %g", (unsigned long long)seed, p.truth[bit / 2].clause,
                          x);
            checked++;
        }
        phantom_free(&p);
    }
    ck_assert_int_gt(checked, VOLUMES);
}
END_TEST

START_TEST(same_seed_same_bytes)
{
    PhantomOptions o = phantom_options();
    for (uint64_t seed = 30; seed < 34; seed++) {
        Phantom a = make(seed, &o), b[2], text;
        Error e = {0};
#pragma omp parallel for num_threads(2)
        for (int i = 0; i < 2; i++) b[i] = make(seed, &o);
        for (int i = 0; i < 2; i++) {
            ck_assert_mem_eq(a.hu, b[i].hu, voxels(&a) * sizeof *a.hu);
            ck_assert_mem_eq(a.mask, b[i].mask, voxels(&a) * sizeof *a.mask);
            phantom_free(&b[i]);
        }
        ck_assert(phantom_text_only(seed, &o, &text, &e));
        ck_assert_str_eq(a.report, text.report);
        ck_assert_str_eq(a.impression, text.impression);
        ck_assert_int_eq(a.n_truth, text.n_truth);
        ck_assert_ptr_null(text.hu);
        phantom_free(&a);
    }
}
END_TEST

START_TEST(twins_differ_in_noise_only)
{
    PhantomOptions o = phantom_options();
    Phantom a = make(77, &o);
    o.noise = 1;
    Phantom b = make(77, &o);
    double sum = 0, square = 0;
    size_t n = 0, differ = 0;
    ck_assert_mem_eq(a.mask, b.mask, voxels(&a) * sizeof *a.mask);
    ck_assert_str_eq(a.report, b.report);
    for (size_t i = 0; i < voxels(&a); i++) {
        double d = a.hu[i] - b.hu[i];
        differ += d != 0;
        if (a.hu[i] < -500) continue;
        sum += d, square += d * d, n++;
    }
    ck_assert(differ > n / 2);
    ck_assert_double_lt(fabs(sum / (double)n), 0.1);
    ck_assert_double_lt(sqrt(square / (double)n), 7);
    phantom_free(&a);
    phantom_free(&b);
}
END_TEST

/* ---- counterfactuals ---- */

static bool separator_at(const char *s, int *bytes)
{
    *bytes = 3;
    return !strncmp(s, "，", 3) || !strncmp(s, "。", 3) || !strncmp(s, "；", 3);
}

enum { MOST_CLAUSES = 40, CLAUSE_BYTES = 200 };
static int clauses_of(const char *report, char out[MOST_CLAUSES][CLAUSE_BYTES])
{
    int n = 0, used = 0, bytes;
    for (const char *s = report; *s; s++) {
        if (separator_at(s, &bytes)) {
            out[n++][used] = 0;
            used = 0;
            s += bytes - 1;
        } else {
            out[n][used++] = *s;
        }
    }
    return n;
}

/* Clauses of a that b lacks. */
static int lost(const char *a, const char *b)
{
    static char in_a[MOST_CLAUSES][CLAUSE_BYTES], in_b[MOST_CLAUSES][CLAUSE_BYTES];
    int n = clauses_of(a, in_a), m = clauses_of(b, in_b), missing = 0;
    for (int i = 0; i < n; i++) {
        bool found = false;
        for (int j = 0; j < m; j++) found |= !strcmp(in_a[i], in_b[j]);
        missing += !found;
    }
    return missing;
}

START_TEST(an_edit_changes_exactly_its_clause)
{
    int edits[3] = {0};
    for (uint64_t seed = 0; seed < 3000; seed++) {
        PhantomOptions o = phantom_options();
        Phantom before, after;
        Error e = {0};
        o.style = (int)(seed % PHANTOM_STYLES);
        ck_assert(phantom_text_only(seed, &o, &before, &e));
        for (int k = 0; k < before.n_truth; k++)
            for (PhantomEdit edit = PHANTOM_FLIP; edit <= PHANTOM_REMOVE; edit++) {
                o.edit = edit;
                o.edit_truth = k;
                bool may = phantom_editable(&before, k, edit);
                ck_assert_int_eq(phantom_text_only(seed, &o, &after, &e), may);
                if (!may) continue;
                FindingSet a = phantom_findings(&before), b = phantom_findings(&after);
                int f = before.truth[k].finding, was = a.side[f];
                ck_assert_int_eq(b.side[f], edit == PHANTOM_REMOVE ? SIDE_ABSENT : side_mirror((Side)was));
                a.side[f] = b.side[f] = 0;
                ck_assert_msg(findings_equal(&a, &b), "%llu: %s / %s", (unsigned long long)seed, before.report,
                              after.report);
                int gone = lost(before.report, after.report), came = lost(after.report, before.report);
                bool bleed = strstr(before.truth[k].clause, "水肿"),
                     two = strstr(before.truth[k].clause, "，脑回");
                /* a normal clause may take the place of the last lesion, and one that of the last below */
                ck_assert_msg(edit == PHANTOM_FLIP ? gone == 1 && came == 1
                                                   : gone == 1 + (bleed || two) && came <= 3,
                              "%llu: -%d +%d: %s / %s", (unsigned long long)seed, gone, came, before.report,
                              after.report);
                edits[edit]++;
            }
    }
    ck_assert_int_gt(edits[PHANTOM_FLIP], 1000);
    ck_assert_int_gt(edits[PHANTOM_REMOVE], 2000);
}
END_TEST

/* In the images an edit changes nothing outside the lesion's place before and after. */
START_TEST(an_edit_stays_in_its_place)
{
    PhantomOptions o = phantom_options();
    int checked = 0;
    for (uint64_t seed = 0; checked < 4; seed++) {
        Phantom text;
        Error e = {0};
        o.edit = PHANTOM_AS_IS;
        ck_assert(phantom_text_only(seed, &o, &text, &e));
        int k = 0;
        while (k < text.n_truth &&
               !(finding_kind(text.truth[k].finding)->parenchymal && phantom_editable(&text, k, PHANTOM_FLIP)))
            k++;
        if (k == text.n_truth) continue;
        Phantom a = make(seed, &o);
        o.edit = PHANTOM_FLIP;
        o.edit_truth = k;
        Phantom b = make(seed, &o);
        size_t changed = 0;
        for (size_t i = 0; i < voxels(&a); i++) changed += a.hu[i] != b.hu[i];
        double ml = (double)changed * a.pixel_mm * a.pixel_mm * a.slice_mm / 1000;
        ck_assert_double_gt(ml, a.truth[k].volume_ml);
        ck_assert_msg(ml < 8 * (a.truth[k].volume_ml + 8), "%s: %g ml changed for a lesion of %g ml",
                      a.truth[k].clause, ml, a.truth[k].volume_ml);
        phantom_free(&a);
        phantom_free(&b);
        checked++;
    }
}
END_TEST

START_TEST(a_thin_volume_reaches_below_the_base)
{
    PhantomOptions o = phantom_options();
    o.size = 64;
    o.slice_mm = 2.5;
    o.below_mm = 40;
    Phantom p = make(5, &o);
    ck_assert_int_eq(p.n_slices, 64);
    ck_assert_double_lt(p.level[0], -7);
    ck_assert_double_gt(p.level[63], 23);
    for (int k = 1; k < p.n_slices; k++) ck_assert_double_eq_tol(p.level[k] - p.level[k - 1], 0.5, 1e-9);
    phantom_free(&p);
}
END_TEST

/* Sides even and every finding common enough to be learnt: nothing can be guessed. */
START_TEST(the_balanced_regime_is_balanced)
{
    PhantomOptions o = phantom_options();
    int left[FINDING_COUNT] = {0}, right[FINDING_COUNT] = {0}, any[FINDING_COUNT] = {0};
    for (uint64_t seed = 0; seed < 10000; seed++) {
        Phantom p;
        Error e = {0};
        ck_assert(phantom_text_only(seed, &o, &p, &e));
        for (int k = 0; k < p.n_truth; k++) {
            any[p.truth[k].finding]++;
            left[p.truth[k].finding] += p.truth[k].side == SIDE_LEFT;
            right[p.truth[k].finding] += p.truth[k].side == SIDE_RIGHT;
        }
    }
    for (int f = 0; f < FINDING_COUNT; f++) {
        ck_assert_msg(any[f] > 250 && any[f] < 3000, "finding %d: %d of 10000", f, any[f]);
        if (finding_kind(f)->sided)
            ck_assert_msg(abs(left[f] - right[f]) < 5 * sqrt(left[f] + right[f]),
                          "finding %d: %d left, %d right", f, left[f], right[f]);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("phantom");
    TCase *c = tcase_create("phantom");
    tcase_set_timeout(c, 300);
    tcase_add_loop_test(c, each_finding_is_visible, 0, 2);
    tcase_add_test(c, densities_are_as_told);
    tcase_add_test(c, sides_are_the_patients);
    tcase_add_test(c, same_seed_same_bytes);
    tcase_add_test(c, twins_differ_in_noise_only);
    tcase_add_test(c, an_edit_changes_exactly_its_clause);
    tcase_add_test(c, an_edit_stays_in_its_place);
    tcase_add_test(c, a_thin_volume_reaches_below_the_base);
    tcase_add_test(c, the_balanced_regime_is_balanced);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
