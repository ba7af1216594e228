/* The data set on disk: a phantom written and read back is the same study; every fault of an annotation file is
 * named, all of them in one pass. */
#include "data/ctrg.h"
#include "data/file.h"
#include "data/json.h"
#include "data/phantom_study.h"
#include "tensor/rng.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SIZE = 64 };

/* ---- a valid study to break ---- */

static json_t *valid_study(int64_t id)
{
    PhantomOptions o = phantom_options();
    Phantom p;
    Error e = {0};
    o.size = SIZE;
    ck_assert_msg(phantom_make(41, &o, &p, &e), "%s", e.msg);
    ck_assert_int_gt(p.n_truth, 0);
    json_t *study = phantom_annotation(&p, id, &e);
    ck_assert_msg(study != NULL, "%s", e.msg);
    phantom_free(&p);
    return study;
}

typedef struct Seen {
    int n;
    char line[8][512];
} Seen;

static void note(void *context, const char *line)
{
    Seen *s = context;
    if (s->n < 8) snprintf(s->line[s->n], sizeof s->line[0], "%s", line);
    s->n++;
}

static Ctrg *parse_list(json_t *list, Seen *seen, Error *e)
{
    char *text = json_text(list, JSON_COMPACT);
    *seen = (Seen){0};
    *e = (Error){0};
    Ctrg *c = ctrg_parse(text, strlen(text), "a.json", note, seen, e);
    free(text);
    return c;
}

/* ---- faults ---- */

static json_t *first_finding(json_t *s)
{
    return json_array_get(json_object_get(json_object_get(s, "truth"), "findings"), 0);
}
static json_t *first_mask(json_t *s) { return json_array_get(json_object_get(first_finding(s), "masks"), 0); }
static void set(json_t *object, const char *key, json_t *value)
{
    ck_assert(!json_object_set_new(object, key, value));
}
static void set_image(json_t *s, const char *path)
{
    ck_assert(!json_array_set_new(json_object_get(s, "images"), 3, json_string(path)));
}

static void no_id(json_t *s) { json_object_del(s, "id"); }
static void word_id(json_t *s) { set(s, "id", json_string("12a")); }
static void two_line_id(json_t *s) { set(s, "id", json_string("1\n2")); }
static void negative_id(json_t *s) { set(s, "id", json_integer(-4)); }
static void huge_id(json_t *s) { set(s, "id", json_string("99999999999999999999")); }
static void list_id(json_t *s) { set(s, "id", json_array()); }
static void no_report(json_t *s) { json_object_del(s, "findings"); }
static void empty_report(json_t *s) { set(s, "findings", json_string("")); }
static void blank_report(json_t *s) { set(s, "findings", json_string(" \n\t")); }
static void number_report(json_t *s) { set(s, "findings", json_integer(3)); }
static void number_impression(json_t *s) { set(s, "impression", json_integer(3)); }
static void no_images(json_t *s) { json_object_del(s, "images"); }
static void images_23(json_t *s) { json_array_remove(json_object_get(s, "images"), 0); }
static void images_25(json_t *s) { json_array_append_new(json_object_get(s, "images"), json_string("x.png")); }
static void number_image(json_t *s) { json_array_set_new(json_object_get(s, "images"), 3, json_integer(1)); }
static void climbing_image(json_t *s) { set_image(s, "images/../../secret.png"); }
static void parent_image(json_t *s) { set_image(s, ".."); }
static void absolute_image(json_t *s) { set_image(s, "/etc/passwd"); }
static void backslash_image(json_t *s) { set_image(s, "images\\1.png"); }
static void empty_image(json_t *s) { set_image(s, ""); }
static void double_slash_image(json_t *s) { set_image(s, "images//1.png"); }
static void truth_list(json_t *s) { set(s, "truth", json_array()); }
static void truth_seed(json_t *s) { set(json_object_get(s, "truth"), "seed", json_integer(-1)); }
static void truth_size(json_t *s) { set(json_object_get(s, "truth"), "size", json_pack("[i]", 64)); }
static void truth_pixel(json_t *s) { set(json_object_get(s, "truth"), "pixel_mm", json_string("1")); }
static void unknown_entity(json_t *s) { set(first_finding(s), "entity", json_string("肝")); }
static void unknown_pair(json_t *s) { set(first_finding(s), "density", json_string("增宽")); }
static void unknown_side(json_t *s) { set(first_finding(s), "side", json_string("上")); }
static void missing_side(json_t *s) { set(first_finding(s), "side", json_string("")); }
static void no_clause(json_t *s) { json_object_del(first_finding(s), "clause"); }
static void slice_24(json_t *s) { set(first_mask(s), "slice", json_integer(24)); }
static void mask_side(json_t *s) { set(first_mask(s), "side", json_string("双")); }
static void mask_text(json_t *s) { set(first_mask(s), "counts", json_string("12")); }
static void mask_number(json_t *s) { set(first_mask(s), "counts", json_integer(5)); }
static void mask_list(json_t *s)
{
    json_array_set_new(json_object_get(first_finding(s), "masks"), 0, json_null());
}

typedef struct Fault {
    void (*apply)(json_t *study);
    const char *contains;
} Fault;

static const Fault faults[] = {
    {no_id, "entry 0: id missing, expected a decimal number"},
    {word_id, "entry 0: id 12a, expected a decimal number"},
    {two_line_id, "entry 0: id 1?2, expected a decimal number"},
    {negative_id, "entry 0: id of another type"},
    {huge_id, "entry 0: id 99999999999999999999, expected a decimal number of at most 18 digits"},
    {list_id, "entry 0: id of another type"},
    {no_report, "findings"},
    {empty_report, "study 7: findings is empty, expected a report"},
    {blank_report, "study 7: findings is empty, expected a report"},
    {number_report, "findings"},
    {number_impression, "impression"},
    {no_images, "images"},
    {images_23, "study 7: 23 images, expected 24 (8 layers x 3)"},
    {images_25, "study 7: 25 images, expected 24 (8 layers x 3)"},
    {number_image, "study 7: images[3] is not a string"},
    {climbing_image, "study 7: images[3] \"images/../../secret.png\" is not a path inside the data set"},
    {parent_image, "images[3] \"..\" is not a path inside"},
    {absolute_image, "images[3] \"/etc/passwd\" is not a path inside"},
    {backslash_image, "images[3] \"images\\1.png\" is not a path inside"},
    {empty_image, "images[3] \"\" is not a path inside"},
    {double_slash_image, "images[3] \"images//1.png\" is not a path inside"},
    {truth_list, "study 7: truth is not an object"},
    {truth_seed, "study 7: seed is -1, expected 0.."},
    {truth_size, "study 7: truth.size is not [height, width]"},
    {truth_pixel, "pixel_mm"},
    {unknown_entity, "study 7: \"肝\" with "},
    {unknown_pair, "\"增宽\" is not a known finding"},
    {unknown_side, "has side \"上\""},
    {missing_side, "has side \"\""},
    {no_clause, "clause"},
    {slice_24, "study 7: slice is 24, expected 0..23"},
    {mask_side, "has side \"双\""},
    {mask_text, "mask: "},
    {mask_number, "counts"},
    {mask_list, "study 7: a mask is not an object"},
};

START_TEST(each_fault_is_named)
{
    Seen seen;
    Error e;
    json_t *list = json_pack("[o]", valid_study(7));
    faults[_i].apply(json_array_get(list, 0));
    Ctrg *c = parse_list(list, &seen, &e);
    ck_assert_ptr_null(c);
    ck_assert_msg(seen.n == 1, "%d problems, first %s", seen.n, seen.line[0]);
    ck_assert_msg(strstr(e.msg, faults[_i].contains) != NULL, "%s\nlacks %s", e.msg, faults[_i].contains);
    ck_assert_msg(!strncmp(e.msg, "a.json", 6), "%s", e.msg);
    ck_assert_str_eq(e.msg, seen.line[0]);
    ck_assert_int_eq(e.code, ERROR_INPUT);
    json_decref(list);
}
END_TEST

START_TEST(all_faults_in_one_pass)
{
    Seen seen;
    Error e;
    json_t *list = json_pack("[o,o,o,i]", valid_study(7), valid_study(8), valid_study(7), 5);
    empty_report(json_array_get(list, 0));
    images_23(json_array_get(list, 0));
    mask_text(json_array_get(list, 1));
    ck_assert_ptr_null(parse_list(list, &seen, &e));
    ck_assert_int_eq(seen.n, 5);
    ck_assert_ptr_nonnull(strstr(seen.line[0], "findings is empty"));
    ck_assert_ptr_nonnull(strstr(seen.line[1], "23 images"));
    ck_assert_ptr_nonnull(strstr(seen.line[2], "study 8: slice"));
    ck_assert_ptr_nonnull(strstr(seen.line[3], "entry 3 is not an object"));
    ck_assert_ptr_nonnull(strstr(seen.line[4], "study 7: entries 0 and 2 have the same id"));
    ck_assert_ptr_nonnull(strstr(e.msg, "(and 4 more problems)"));
    json_decref(list);
}
END_TEST

typedef struct BadText {
    const char *text;
    size_t n;
    const char *contains;
} BadText;
static const BadText texts[] = {
    {"", 0, "not JSON"},
    {"{}", 2, "not a list of studies"},
    {"[]", 2, "0 studies"},
    {"[{\"id\":\"1\",\"id\":\"1\"}]", 21, "duplicate"},
    {"[{\"id\":\"1\",\"findings\":\"\xff\xfe\"}]", 28, "not JSON"},
    {"[{\"id\":\"1\",\"findings\":\"\xe5\xb7\"}]", 28, "not JSON"},
    {"[{\"id\":\"1\",\"findings\":\"a\\u0000b\"}]", 34, "not JSON"},
    {"[{\"id\":", 7, "not JSON"},
};

START_TEST(text_that_is_no_list)
{
    Error e = {0};
    ck_assert_ptr_null(ctrg_parse(texts[_i].text, texts[_i].n, "a.json", NULL, NULL, &e));
    ck_assert_msg(strstr(e.msg, texts[_i].contains) != NULL, "%s\nlacks %s", e.msg, texts[_i].contains);
}
END_TEST

/* Every prefix, and random bytes changed: refused or read, never worse. */
START_TEST(damaged_text_is_safe)
{
    json_t *list = json_pack("[o]", valid_study(7));
    char *text = json_text(list, JSON_COMPACT);
    size_t n = strlen(text);
    Rng rng = rng_open(3, "ctrg");
    for (size_t i = 0; i < n; i += 1 + n / 1000) {
        Error e = {0};
        ck_assert_ptr_null(ctrg_parse(text, i, "a.json", NULL, NULL, &e));
        ck_assert_int_ne(e.code, 0);
    }
    for (int round = 0; round < 1000; round++) {
        Error e = {0};
        size_t at = (size_t)rng_below(&rng, (int64_t)n);
        char old = text[at];
        text[at] = (char)rng_below(&rng, 256);
        Ctrg *c = ctrg_parse(text, n, "a.json", NULL, NULL, &e);
        ck_assert(c || e.code);
        ctrg_free(c);
        text[at] = old;
    }
    free(text);
    json_decref(list);
}
END_TEST

/* ---- on disk ---- */

static char folder[64];

static void write_set(const Phantom *p, int n)
{
    Error e = {0};
    json_t *list = json_array();
    char path[128];
    snprintf(folder, sizeof folder, "/tmp/test-ctrg-%d", (int)getpid());
    for (int i = 0; i < n; i++) {
        ck_assert_msg(phantom_write_study(&p[i], folder, 100 + i, &e), "%s", e.msg);
        json_array_append_new(list, phantom_annotation(&p[i], 100 + i, &e));
    }
    snprintf(path, sizeof path, "%s/annotations.json", folder);
    ck_assert_msg(json_write(path, list, &e), "%s", e.msg);
    json_decref(list);
}

static void remove_set(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static void compare(const Ctrg *c, const CtrgStudy *s, const Phantom *p)
{
    Error e = {0};
    uint8_t *pixels, plane[SIZE * SIZE];
    uint64_t labels[CTRG_SLICES];
    int width, height;
    ck_assert_str_eq(s->findings, p->report);
    ck_assert_str_eq(s->impression, p->impression);
    ck_assert_uint_eq(s->seed, p->seed);
    ck_assert_int_eq(s->n_truth, p->n_truth);
    FindingSet a = ctrg_findings(s), b = phantom_findings(p);
    ck_assert(findings_equal(&a, &b));
    ck_assert_msg(ctrg_read_slices(c, s, &pixels, &width, &height, &e), "%s", e.msg);
    ck_assert_int_eq(width, SIZE);
    ck_assert_int_eq(height, SIZE);
    for (int k = 0; k < CTRG_SLICES; k++) {
        phantom_window(p, k, plane);
        ck_assert_mem_eq(pixels + k * SIZE * SIZE, plane, SIZE * SIZE);
    }
    free(pixels);
    ck_assert(ctrg_slice_labels(s, 1, labels, &e));
    for (int k = 0; k < CTRG_SLICES; k++) {
        uint64_t want = 0;
        for (int i = 0; i < SIZE * SIZE; i++)
            for (int bit = 0; bit < 2 * p->n_truth; bit++)
                if (p->mask[k * SIZE * SIZE + i] >> bit & 1) want |= 1ull << phantom_mask_label(p, bit);
        ck_assert_uint_eq(labels[k], want);
    }
    for (int t = 0; t < s->n_truth; t++)
        for (int m = 0; m < s->truth[t].n_masks; m++) {
            const CtrgMask *mask = &s->truth[t].mask[m];
            const FindingLabel *l = finding_label(mask->label);
            int bit = 2 * t + (l->side == SIDE_RIGHT);
            ck_assert(ctrg_read_mask(s, mask, plane, &e));
            if (l->side == SIDE_BOTH) continue; /* its two halves are two masks of one label */
            for (int i = 0; i < SIZE * SIZE; i++)
                ck_assert_int_eq(plane[i], p->mask[mask->slice * SIZE * SIZE + i] >> bit & 1);
        }
}

START_TEST(a_written_set_reads_back)
{
    enum { N = 6 };
    Phantom p[N];
    PhantomOptions o = phantom_options();
    Error e = {0};
    o.size = SIZE;
    for (int i = 0; i < N; i++) ck_assert(phantom_make(40 + (uint64_t)i, &o, &p[i], &e));
    write_set(p, N);
    Ctrg *c = ctrg_open(folder, NULL, NULL, &e);
    ck_assert_msg(c != NULL, "%s", e.msg);
    ck_assert_int_eq(c->n, N);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(c->study[i].id, 100 + i);
        compare(c, &c->study[i], &p[i]);
    }
    ctrg_free(c);
    json_t *entry;
    ck_assert(phantom_find_study(folder, 100, 40, &o, &entry));
    json_decref(entry);
    ck_assert(!phantom_find_study(folder, 100, 41, &o, &entry)); /* another seed: not the study asked for */
    ck_assert_ptr_null(entry);
    o.size = 2 * SIZE;
    ck_assert(!phantom_find_study(folder, 100, 40, &o, &entry));
    for (int i = 0; i < N; i++) phantom_free(&p[i]);
    remove_set();
}
END_TEST

START_TEST(missing_and_odd_images_are_named)
{
    Phantom p;
    PhantomOptions o = phantom_options();
    Error e = {0};
    Seen seen = {0};
    char path[128];
    uint8_t *pixels;
    int width, height;
    o.size = SIZE;
    ck_assert(phantom_make(40, &o, &p, &e));
    write_set(&p, 1);
    Ctrg *c = ctrg_open(folder, NULL, NULL, &e);
    ck_assert_ptr_nonnull(c);
    snprintf(path, sizeof path, "%s/images/100/05.png", folder);
    uint8_t one[4] = {0};
    Image small = {2, 2, 1, one};
    ck_assert(image_write_png(path, &small, &e));
    ck_assert(!ctrg_read_slices(c, &c->study[0], &pixels, &width, &height, &e));
    ck_assert_ptr_nonnull(strstr(e.msg, "05.png: 2 x 2 pixels, expected 64 x 64"));
    ctrg_free(c);
    ck_assert_int_eq(unlink(path), 0);
    snprintf(path, sizeof path, "%s/images/100/17.png", folder);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_ptr_null(ctrg_open(folder, note, &seen, &e));
    ck_assert_int_eq(seen.n, 2);
    ck_assert_ptr_nonnull(strstr(seen.line[0], "study 100: images[5] images/100/05.png: No such file"));
    ck_assert_ptr_nonnull(strstr(seen.line[1], "images[17]"));
    ck_assert_int_eq(e.code, ERROR_IO);
    phantom_free(&p);
    remove_set();
    ck_assert_ptr_null(ctrg_open(folder, NULL, NULL, &e));
    ck_assert_ptr_nonnull(strstr(e.msg, "annotations.json"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ctrg");
    TCase *c = tcase_create("ctrg");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, each_fault_is_named, 0, sizeof faults / sizeof *faults);
    tcase_add_test(c, all_faults_in_one_pass);
    tcase_add_loop_test(c, text_that_is_no_list, 0, sizeof texts / sizeof *texts);
    tcase_add_test(c, damaged_text_is_safe);
    tcase_add_test(c, a_written_set_reads_back);
    tcase_add_test(c, missing_and_odd_images_are_named);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
