/* CQ500's reads.csv, its folders, and its labels in a data set. */
#include "data/cq500.h"
#include "data/cq500_labels.h"
#include "data/ctrg.h"
#include "data/file.h"
#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/data/cq500_bad.h"
#include "tests/data/fail_alloc.h"

static char folder[] = "/tmp/pcrl-cq500-XXXXXX";

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
    (void)s, (void)type, (void)f;
    return remove(path);
}

static const char *at(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* ---- reads.csv ---- */

static void check_sound(const char *text, size_t n)
{
    static const uint8_t vote[CQ500_LABELS] = {3, 2, 0, 1, 0, 0, 2, 1, 0, 0, 0, 0, 0, 2};
    Cq500Reads r = {0};
    Error e = {0};
    ck_assert_msg(cq500_reads_parse(text, n, "f", &r, &e), "%s", e.msg);
    ck_assert_int_eq(r.n, 3);
    ck_assert_int_eq(r.read[0].number, 3);
    ck_assert_int_eq(r.read[1].number, 12);
    ck_assert_int_eq(r.read[2].number, 490);
    ck_assert_int_eq(r.read[1].batch, 1);
    ck_assert_int_eq(r.read[2].batch, 2);
    ck_assert_mem_eq(r.read[1].vote, vote, sizeof vote);
    ck_assert_uint_eq(cq500_majority(r.read[1].vote), 1u | 1u << 1 | 1u << CQ500_LEFT | 1u << 13);
    ck_assert_uint_eq(cq500_majority(r.read[0].vote), 0);
    ck_assert_uint_eq(r.read[2].vote[CQ500_ICH], 1);
    ck_assert_uint_eq(cq500_majority(r.read[2].vote), 0); /* one of three is not enough */
    cq500_reads_free(&r);
}

/* text with every `what` replaced; malloc'ed. */
static char *replaced(const char *text, const char *what, const char *with, bool all)
{
    char *out = malloc(strlen(text) * 4 + 256), *end = out;
    for (const char *at; (at = strstr(text, what)); text = at + strlen(what)) {
        end = mempcpy(end, text, (size_t)(at - text));
        end = stpcpy(end, with);
        if (all) continue;
        text = at + strlen(what);
        break;
    }
    strcpy(end, text);
    return out;
}

START_TEST(sound)
{
    static const char *const way[][2] = {{"\n", "\r\n"},   {"\n", "\n\r\n\n"}, {"CQ500-CT-", "CQ500CT"},
                                         {",0", ",\"0\""}, {"B1", "\"B1\""},   {"R1:", "R1:"}};
    char marked[sizeof SOUND + 3] = "\xef\xbb\xbf";
    check_sound(SOUND, strlen(SOUND));
    check_sound(SOUND, strlen(SOUND) - 1);
    strcat(marked, SOUND);
    check_sound(marked, strlen(marked));
    for (size_t k = 0; k < sizeof way / sizeof *way; k++) {
        char *text = replaced(SOUND, way[k][0], way[k][1], true);
        check_sound(text, strlen(text));
        free(text);
    }
    char *quoted =
        replaced(SOUND, ",0,1\n", ",0,\"1\"\n", true); /* ... at the end of a line, and of the file */
    char *all = replaced(quoted, ",0\n", ",\"0\"\n", true);
    check_sound(all, strlen(all));
    check_sound(all, strlen(all) - 1);
    free(quoted);
    free(all);
}
END_TEST

/* Any order of columns: the third reader's before the first's, the name last. */
START_TEST(columns_in_any_order)
{
    char text[4096];
    int n = snprintf(text, sizeof text, "%s,%s,%s,Category,name\n", READER(3), READER(1), READER(2));
    for (int k = 0; k < 42; k++) n += sprintf(text + n, "%d,", k == 0 || k == 14 || k == 41);
    sprintf(text + n, "B2,CQ500-CT-7");
    Cq500Reads r;
    Error e = {0};
    ck_assert_msg(cq500_reads_parse(text, strlen(text), "f", &r, &e), "%s", e.msg);
    ck_assert_int_eq(r.read[0].number, 7);
    ck_assert_int_eq(r.read[0].vote[0], 2);
    ck_assert_int_eq(r.read[0].vote[13], 1);
    cq500_reads_free(&r);
}
END_TEST

START_TEST(malformed)
{
    const BadReads *b = &bad_reads[_i];
    char *text = b->what ? replaced(SOUND, b->what, b->with, false) : strdup(b->with);
    Cq500Reads r = {.n = 77};
    Error e = {0};
    ck_assert_msg(!cq500_reads_parse(text, strlen(text), "f", &r, &e), "accepted: %s", b->message);
    ck_assert_str_eq(e.msg, b->message);
    ck_assert_int_eq(e.code, ERROR_INPUT);
    ck_assert_int_eq(r.n, 77);
    free(text);
}
END_TEST

/* Cut anywhere, in memory of exactly that size: refused, or whole lines. */
START_TEST(every_prefix)
{
    size_t n = strlen(SOUND), lines[3] = {strlen(HEADER ROW_12), strlen(HEADER ROW_12 ROW_3), n};
    for (size_t k = 0; k < n; k++) {
        char *text = malloc(k + 1);
        Cq500Reads r;
        Error e = {0};
        int whole = 0;
        for (int i = 0; i < 3; i++) whole += k + 1 >= lines[i];
        bool end = k == lines[0] || k + 1 == lines[0] || k == lines[1] || k + 1 == lines[1] || k + 1 == n;
        memcpy(text, SOUND, k);
        bool ok = cq500_reads_parse(text, k, "f", &r, &e);
        ck_assert_msg(ok == end, "%zu bytes: %s", k, ok ? "accepted" : e.msg);
        ck_assert_msg(!ok || r.n == whole, "%zu bytes: %d lines", k, r.n);
        if (ok) cq500_reads_free(&r);
        free(text);
    }
}
END_TEST

START_TEST(nul_bytes)
{
    char text[sizeof SOUND];
    Cq500Reads r;
    Error e = {0};
    memcpy(text, SOUND, sizeof text);
    *strstr(text, "B1") = 0;
    ck_assert(!cq500_reads_parse(text, sizeof text - 1, "f", &r, &e));
    ck_assert_str_eq(e.msg, "f: line 2: field 2 holds byte 0x00");
}
END_TEST

static bool read_again(Error *e)
{
    Cq500Reads r;
    if (!cq500_reads(at("reads.csv"), &r, e)) return false;
    cq500_reads_free(&r);
    return true;
}

START_TEST(no_memory)
{
    ck_assert(file_write(at("reads.csv"), SOUND, strlen(SOUND), NULL));
    ck_assert_int_ge(fail_each(read_again), 2);
    ck_assert_int_lt(failing.largest, 16384);
}
END_TEST

/* A million lines take time and memory in proportion, and a number twice is still found. */
START_TEST(many_lines)
{
    size_t room = sizeof HEADER + (size_t)700000 * 100;
    char *text = malloc(room), *end = stpcpy(text, HEADER);
    Cq500Reads r;
    Error e = {0};
    for (int k = 0; k < 600000; k++) {
        end += sprintf(end, "CQ500CT%d,B1", k);
        end = mempcpy(end, ROW_3 + 13, sizeof ROW_3 - 1 - 13);
    }
    ck_assert_msg(cq500_reads_parse(text, (size_t)(end - text), "f", &r, &e), "%s", e.msg);
    ck_assert_int_eq(r.n, 600000);
    cq500_reads_free(&r);
    end = stpcpy(stpcpy(end, "CQ500CT599998,B1"), ROW_3 + 13);
    ck_assert(!cq500_reads_parse(text, (size_t)(end - text), "f", &r, &e));
    ck_assert_str_eq(e.msg, "f: lines 600000 and 600002: study CQ500-CT-599998 twice");
    free(text);
}
END_TEST

START_TEST(mirrored)
{
    ck_assert_uint_eq(cq500_mirror(1u << CQ500_LEFT | 1u), 1u << CQ500_RIGHT | 1u);
    ck_assert_uint_eq(cq500_mirror(1u << CQ500_RIGHT | 1u << 13), 1u << CQ500_LEFT | 1u << 13);
    ck_assert_uint_eq(cq500_mirror(3u << CQ500_LEFT), 3u << CQ500_LEFT);
    for (uint32_t x = 0; x < 1u << CQ500_LABELS; x++) ck_assert_uint_eq(cq500_mirror(cq500_mirror(x)), x);
}
END_TEST

START_TEST(names)
{
    static const struct {
        const char *name;
        int number;
    } name[] = {{"CQ500CT12 CQ500CT12", 12},
                {"CQ500-CT-12", 12},
                {"CQ500CT12_CQ500CT12", 12},
                {"CQ500CT0", 0},
                {"CQ500-CT-490.x", 490},
                {"CQ500CT06", 6},
                {"CQ500", -1},
                {"CQ500CT", -1},
                {"CQ500CT12a", -1},
                {"xCQ500CT12", -1},
                {"Unknown Study", -1},
                {"", -1},
                {"CQ500CT1000000", -1},
                {"CQ500CT999999", 999999}};
    for (size_t k = 0; k < sizeof name / sizeof *name; k++)
        ck_assert_int_eq(cq500_number(name[k].name), name[k].number);
}
END_TEST

/* ---- folders ---- */

static void series(const char *name, int files)
{
    char path[1024];
    ck_assert(file_make_folder(at(name), NULL));
    for (int k = 0; k < files; k++) {
        snprintf(path, sizeof path, "%s/%s/CT%06d.%s", folder, name, k, k % 2 ? "dcm" : "DCM");
        FILE *f = fopen(path, "w");
        ck_assert(f && !fclose(f));
    }
}

START_TEST(folders)
{
#define STUDY_0 "root/qct01/CQ500CT0 CQ500CT0/Unknown Study/"
    static const struct {
        const char *name;
        int files, kind;
    } want[] = {/* in the order that they must come in */
                {"CT PLAIN", 36, CQ500_PLAIN},
                {"CT Plain-2", 36, CQ500_PLAIN},
                {"CT PRE CONTRAST", 30, CQ500_PLAIN},
                {"CT PLAIN THIN", 120, CQ500_PLAIN},
                {"CT Thin Plain", 240, CQ500_PLAIN},
                {"CT 2.55mm", 60, CQ500_SILENT},
                {"CT 5mm", 32, CQ500_SILENT},
                {"CT 0.625mm", 130, CQ500_SILENT},
                {"CT CONTRAST", 40, CQ500_OTHER},
                {"CT PLAIN BONE", 33, CQ500_OTHER},
                {"CT PRE CONTRAST BONE", 32, CQ500_OTHER},
                {"CT 5mm POST CONTRAST", 31, CQ500_OTHER},
                {"CT 0.625 MM HI RES", 30, CQ500_OTHER},
                {"CT Axial 0.625 HiResVS40", 29, CQ500_OTHER},
                {"CT 3D CT HEADORBIT", 28, CQ500_OTHER},
                {"CT 4cc sec 150cc D3D on", 110, CQ500_OTHER},
                {"CT Plain-3", 7, CQ500_FEW}};
    enum { N = sizeof want / sizeof *want };
    char path[256];
    for (int k = N - 1; k >= 0; k--) {
        snprintf(path, sizeof path, STUDY_0 "%s", want[k].name);
        series(path, want[k].files);
    }
    series("root/CQ500-CT-12/CQ500CT12_CQ500CT12/Unknown_Study/CT_Plain", 9);
    series("root/CQ500-CT-12/CQ500CT12_CQ500CT12/Unknown_Study/empty", 0);
    series("root/else/CT Plain", 9);
    ck_assert(!symlink("../elsewhere", at("root/linked")));
    series("elsewhere/CQ500CT3", 8); /* the study's folder itself */
    Cq500Scan s = {0};
    Error e = {0};
    int first = -1;
    ck_assert_msg(cq500_scan(at("root//"), &s, &e), "%s", e.msg);
    ck_assert_int_eq(s.strays, 1);
    ck_assert_int_eq(s.n, N + 2);
    ck_assert_int_eq(cq500_find(&s, 0, &first), N);
    ck_assert_int_eq(first, 0);
    for (int k = 0; k < N; k++) {
        ck_assert_str_eq(s.series[k].name, want[k].name);
        ck_assert_int_eq(s.series[k].files, want[k].files);
        ck_assert_msg(s.series[k].kind == want[k].kind, "%s: kind %d", want[k].name, s.series[k].kind);
    }
    ck_assert_int_eq(cq500_find(&s, 3, &first), 1);
    ck_assert_str_eq(s.series[first].path, at("root/linked/CQ500CT3"));
    ck_assert_int_eq(cq500_find(&s, 12, &first), 1);
    ck_assert_int_eq(s.series[first].files, 9);
    ck_assert_int_eq(cq500_find(&s, 5, &first), 0);
    cq500_scan_free(&s);
}
END_TEST

START_TEST(folder_faults)
{
    Cq500Scan s = {0};
    Error e = {0};
    ck_assert(!cq500_scan("/nowhere/at/all", &s, &e));
    ck_assert(e.code == ERROR_IO && !strcmp(e.msg, "/nowhere/at/all: No such file or directory"));
    ck_assert(file_make_folder(at("loop/CQ500CT1"), NULL) && !symlink(".", at("loop/CQ500CT1/again")));
    ck_assert(!cq500_scan(at("loop"), &s, &e) && e.code == ERROR_INPUT);
    ck_assert_msg(strstr(e.msg, "/loop: folders more than 10 deep or more than 100000 of them, at "), "%s",
                  e.msg);
    char *deep = malloc(5000);
    memset(deep, 'x', 4999);
    deep[4999] = 0;
    ck_assert(!cq500_scan(deep, &s, &e) && strstr(e.msg, "path too long"));
    free(deep);
    ck_assert_int_eq(s.n, 0);
}
END_TEST

static bool scan_again(Error *e)
{
    Cq500Scan s = {0};
    if (!cq500_scan(at("small"), &s, e)) return false;
    cq500_scan_free(&s);
    return true;
}

START_TEST(folders_without_memory)
{
    series("small/CQ500CT1/CT Plain", 8);
    series("small/CQ500CT2/CT Plain", 8);
    ck_assert_int_ge(fail_each(scan_again), 1);
}
END_TEST

/* ---- labels ---- */

static const Cq500Read some = {12, 2, 1, {3, 2, 0, 1, 0, 0, 2, 1, 0, 0, 0, 0, 0, 2}};

START_TEST(blocks)
{
    uint8_t vote[CQ500_LABELS];
    json_t *b = cq500_block(&some, "CT Plain");
    Error e = {0};
    Cq500Read other = some;
    ck_assert_ptr_nonnull(b);
    ck_assert(cq500_votes(b, "f", vote, &e));
    ck_assert_mem_eq(vote, some.vote, sizeof vote);
    ck_assert_str_eq(json_string_value(json_object_get(b, "series")), "CT Plain");
    ck_assert_str_eq(json_string_value(json_object_get(b, "batch")), "B2");
    ck_assert(cq500_block_is(b, &some) && !cq500_block_is(NULL, &some));
    other.vote[3]++;
    ck_assert(!cq500_block_is(b, &other));
    other = some;
    other.number++;
    ck_assert(!cq500_block_is(b, &other));
    json_decref(b);
    ck_assert_ptr_null(cq500_block(&some, "\xff"));
}
END_TEST

/* What a data set's reader says of a block. */
START_TEST(bad_blocks)
{
    static const struct {
        const char *what, *with, *message;
    } bad[] = {
        {"'MassEffect':0", "'MassEffect':4", "labels.votes.MassEffect is 4, expected 0..3"},
        {"'MassEffect':0", "'MassEffect':-1", "labels.votes.MassEffect is -1, expected 0..3"},
        {"'MassEffect':0", "'MassEffect':true", "key \"MassEffect\": expected an integer, found a boolean"},
        {"'MassEffect':0", "'Mass':0", "key \"MassEffect\" is missing (expected an integer)"},
        {"'votes'", "'voices'", "key \"votes\" is missing (expected an object)"},
        {"'labels':{", "'labels':[{", "labels is not an object"},
    };
    json_t *made = cq500_block(&some, "CT Plain");
    char *block = json_text(made, JSON_COMPACT), text[4096];
    json_decref(made);
    int n = sprintf(text, "[{'id':'12','findings':'','import':{},'images':[");
    for (int k = 0; k < 24; k++) n += sprintf(text + n, "%s'%d.png'", k ? "," : "", k);
    n += sprintf(text + n, "],'labels':%s}]", block);
    for (char *c = text; *c; c++)
        if (*c == '"') *c = '\'';
    for (int k = -1; k < (int)(sizeof bad / sizeof *bad); k++) {
        char *copy = k < 0 ? strdup(text) : replaced(text, bad[k].what, bad[k].with, false);
        if (k == 5) {
            char *closed = replaced(copy, "}}}]", "}}]}]", false);
            free(copy);
            copy = closed;
        }
        for (char *c = copy; *c; c++)
            if (*c == '\'') *c = '"';
        Error e = {0};
        Ctrg *set = ctrg_parse(copy, strlen(copy), "f", NULL, NULL, &e);
        if (k < 0) {
            ck_assert_msg(set && set->study[0].has_votes, "%s", e.msg);
            ck_assert_mem_eq(set->study[0].vote, some.vote, sizeof some.vote);
        } else {
            ck_assert_ptr_null(set);
            ck_assert_msg(strstr(e.msg, "f: study 12") && strstr(e.msg, bad[k].message), "%s", e.msg);
        }
        ctrg_free(set);
        free(copy);
    }
    free(block);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    Suite *s = suite_create("cq500");
    TCase *t = tcase_create("cq500");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, sound);
    tcase_add_test(t, columns_in_any_order);
    tcase_add_loop_test(t, malformed, 0, sizeof bad_reads / sizeof *bad_reads);
    tcase_add_test(t, every_prefix);
    tcase_add_test(t, nul_bytes);
    tcase_add_test(t, no_memory);
    tcase_add_test(t, many_lines);
    tcase_add_test(t, mirrored);
    tcase_add_test(t, names);
    tcase_add_test(t, folders);
    tcase_add_test(t, folder_faults);
    tcase_add_test(t, folders_without_memory);
    tcase_add_test(t, blocks);
    tcase_add_test(t, bad_blocks);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
