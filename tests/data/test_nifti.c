#include "data/nifti.h"
#include "data/file.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/data/fail_alloc.h"

static char folder[] = "/tmp/test-nifti-XXXXXX";
static char path[80];

/* ---- a file of 3 x 4 x 5 voxels, built field by field, independently of the writer ---- */

enum { NX = 3, NY = 4, NZ = 5, VOXELS = NX * NY * NZ, ROOM = 544 + 8 * VOXELS };

typedef struct Built {
    uint8_t bytes[ROOM];
    size_t n;
    bool big;
    int version;
} Built;

static void put(Built *b, size_t at, uint64_t v, size_t size)
{
    for (size_t i = 0; i < size; i++) b->bytes[at + i] = (uint8_t)(v >> 8 * (b->big ? size - 1 - i : i));
}
static void put_real(Built *b, size_t at1, size_t at2, double x)
{
    float f = (float)x;
    uint32_t w;
    uint64_t q;
    memcpy(&w, &f, 4);
    memcpy(&q, &x, 8);
    if (b->version == 1)
        put(b, at1, w, 4);
    else
        put(b, at2, q, 8);
}
/* Sixteen bits in version 1, `size` in version 2. */
static void put_int(Built *b, size_t at1, size_t at2, size_t size, int64_t v)
{
    put(b, b->version == 1 ? at1 : at2, (uint64_t)v, b->version == 1 ? 2 : size);
}

static uint64_t stored_bits(int datatype, double v)
{
    float f = (float)v;
    uint64_t bits = (uint64_t)(int64_t)v;
    if (datatype == 16) {
        uint32_t w;
        memcpy(&w, &f, 4);
        bits = w;
    } else if (datatype == 64) {
        memcpy(&bits, &v, 8);
    }
    return bits;
}

/* What voxel (i,j,k) holds; `small` fits into every type. */
static double value_at(int i, int j, int k, bool small)
{
    return small ? i + 10 * j + 20 * k : i + 10 * j + 100 * k - 3;
}

/* m: the rows of the sform. */
static Built build(int version, bool big, int datatype, size_t size, const double m[3][3])
{
    Built b = {.big = big, .version = version};
    size_t first = version == 1 ? 352 : 544;
    put(&b, 0, version == 1 ? 348 : 540, 4);
    memcpy(b.bytes + (version == 1 ? 344 : 4), version == 1 ? "n+1" : "n+2\0\r\n\032\n", version == 1 ? 4 : 8);
    const int64_t dim[8] = {3, NX, NY, NZ, 1, 1, 1, 1};
    for (size_t a = 0; a < 8; a++) put_int(&b, 40 + 2 * a, 16 + 8 * a, 8, dim[a]);
    put_int(&b, 70, 12, 2, datatype);
    put_int(&b, 72, 14, 2, (int64_t)(8 * size));
    for (size_t a = 0; a < 4; a++) put_real(&b, 76 + 4 * a, 104 + 8 * a, 1);
    if (version == 1)
        put_real(&b, 108, 0, 352);
    else
        put(&b, 168, 544, 8);
    put_int(&b, 254, 348, 4, 1);
    for (size_t w = 0; w < 3; w++)
        for (size_t a = 0; a < 3; a++) put_real(&b, 280 + 16 * w + 4 * a, 400 + 32 * w + 8 * a, m[w][a]);
    for (int v = 0; v < VOXELS; v++)
        put(&b, first + (size_t)v * size,
            stored_bits(datatype, value_at(v % NX, v / NX % NY, v / NX / NY, size == 1)), size);
    b.n = first + VOXELS * size;
    return b;
}

static const double ras[3][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};

START_TEST(types_orders_versions)
{
    static const struct {
        int code;
        size_t size;
    } types[] = {{2, 1}, {4, 2}, {8, 4}, {16, 4}, {64, 8}, {256, 1}, {512, 2}, {768, 4}};
    for (int version = 1; version <= 2; version++)
        for (int big = 0; big <= 1; big++)
            for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
                Built b = build(version, big, types[t].code, types[t].size, ras);
                bool wide = types[t].code == 512 || types[t].code == 768;
                if (wide) /* no negative values in an unsigned type */
                    for (int v = 0; v < VOXELS; v++)
                        put(&b, b.n - (size_t)(VOXELS - v) * types[t].size,
                            (uint64_t)value_at(v % NX, v / NX % NY, v / NX / NY, true), types[t].size);
                Error e = {0};
                Volume v;
                char axes[4];
                ck_assert_msg(nifti_parse(b.bytes, b.n, "f", &v, axes, &e), "%s", e.msg);
                ck_assert_str_eq(axes, "RAS");
                ck_assert(v.nx == NX && v.ny == NY && v.nz == NZ);
                for (int i = 0; i < VOXELS; i++)
                    ck_assert_double_eq(v.hu[i], value_at(NX - 1 - i % NX, NY - 1 - i / NX % NY, i / NX / NY,
                                                          types[t].size == 1 || wide));
                volume_free(&v);
            }
}
END_TEST

/* All 48 ways to lay three axes: each voxel must land where its world position says. */
START_TEST(orientations)
{
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static const double step[3] = {0.5, 0.75, 2.5};
    for (int o = 0; o < 6; o++)
        for (int signs = 0; signs < 8; signs++) {
            double m[3][3] = {{0}};
            for (int a = 0; a < 3; a++) m[orders[o][a]][a] = signs >> a & 1 ? -step[a] : step[a];
            m[(orders[o][0] + 1) % 3][0] = 0.1; /* a little oblique */
            Built b = build(1, false, 4, 2, (const double(*)[3])m);
            Error e = {0};
            Volume v;
            char axes[4];
            ck_assert_msg(nifti_parse(b.bytes, b.n, "f", &v, axes, &e), "%s", e.msg);
            const int n[3] = {NX, NY, NZ}, got[3] = {v.nx, v.ny, v.nz};
            const double spacing[3] = {v.dx, v.dy, v.dz};
            for (int a = 0; a < 3; a++) {
                int w = orders[o][a];
                ck_assert_int_eq(got[w], n[a]);
                ck_assert_double_eq_tol(spacing[w], a ? step[a] : hypot(step[a], 0.1), 1e-6);
                ck_assert_int_eq(axes[a], (signs >> a & 1 ? "LPI" : "RAS")[w]);
            }
            for (int i = 0; i < VOXELS; i++) {
                const int at[3] = {i % NX, i / NX % NY, i / NX / NY};
                int to[3]; /* columns grow to the left, rows to the back, slices to the head */
                for (int a = 0; a < 3; a++) {
                    bool positive = !(signs >> a & 1), along = (orders[o][a] == 2) == positive;
                    to[orders[o][a]] = along ? at[a] : n[a] - 1 - at[a];
                }
                ck_assert_double_eq(v.hu[(to[2] * v.ny + to[1]) * v.nx + to[0]],
                                    value_at(at[0], at[1], at[2], false));
            }
            volume_free(&v);
        }
}
END_TEST

/* Quaternion (0,0,0,1) with pixdim[0] = -1: right->left, front->back, head->feet. */
START_TEST(qform_scaling_units)
{
    for (int version = 1; version <= 2; version++) {
        Built b = build(version, false, 4, 2, ras);
        Error e = {0};
        Volume v;
        char axes[4];
        put_int(&b, 254, 348, 4, 0);
        ck_assert(nifti_parse(b.bytes, b.n, "f", &v, axes, &e));
        ck_assert_str_eq(axes, "LAS"); /* neither form is set */
        volume_free(&v);
        put_int(&b, 252, 344, 4, 1);
        put_real(&b, 264, 368, 1);
        put_real(&b, 76, 104, -1);
        put_real(&b, 80, 112, 0.0005);
        put_real(&b, 84, 120, 0.00075);
        put_real(&b, 88, 128, 0.0025);
        b.bytes[version == 1 ? 123 : 500] = 1; /* metres */
        put_real(&b, 112, 176, 2);
        put_real(&b, 116, 184, -1000);
        ck_assert_msg(nifti_parse(b.bytes, b.n, "f", &v, axes, &e), "%s", e.msg);
        ck_assert_str_eq(axes, "LPI");
        ck_assert_double_eq_tol(v.dx, 0.5, 1e-6);
        ck_assert_double_eq_tol(v.dy, 0.75, 1e-6);
        ck_assert_double_eq_tol(v.dz, 2.5, 1e-6);
        ck_assert_double_eq(v.hu[0], 2 * value_at(0, 0, NZ - 1, false) - 1000);
        volume_free(&v);
    }
}
END_TEST

START_TEST(writer)
{
    static const char *const names[] = {"v.nii", "v.nii.gz"};
    for (int packed = 0; packed < 2; packed++)
        for (int kind = 0; kind < 3; kind++) {
            Error e = {0};
            Volume v, w;
            const int64_t extent[3] = {NX, NY, NZ};
            const double spacing[3] = {0.5, 0.75, 5};
            ck_assert(volume_make(extent, spacing, "v", &v, &e));
            for (int i = 0; i < VOXELS; i++) v.hu[i] = (float)(kind == 2 ? 0.37 * i * i - 900 : 40 * i - 1000);
            snprintf(path, sizeof path, "%s/%s", folder, names[packed]);
            ck_assert_msg(nifti_write(path, &v, kind ? NIFTI_I16 : NIFTI_F32, &e), "%s", e.msg);
            char axes[4];
            ck_assert_msg(nifti_read(path, &w, axes, &e), "%s", e.msg);
            ck_assert_str_eq(axes, "LPS");
            ck_assert(w.nx == NX && w.ny == NY && w.nz == NZ && w.dx == 0.5 && w.dy == 0.75 && w.dz == 5);
            for (int i = 0; i < VOXELS; i++) ck_assert(fabs(w.hu[i] - v.hu[i]) <= (kind == 2 ? 0.011 : 0));
            volume_free(&v);
            volume_free(&w);
            unlink(path);
        }
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return 1;
    Suite *s = suite_create("nifti");
    TCase *t = tcase_create("nifti");
    tcase_add_test(t, types_orders_versions);
    tcase_add_test(t, orientations);
    tcase_add_test(t, qform_scaling_units);
    tcase_add_test(t, writer);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    rmdir(folder);
    return failed != 0;
}
