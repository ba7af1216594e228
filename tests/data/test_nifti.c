#include "data/nifti.h"
#include "data/file.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
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

/* ---- damaged and hostile files ---- */

typedef struct Patch {
    size_t at, size;
    uint64_t value;
} Patch;

enum { F32_NAN = 0x7fc00000, F32_INF = 0x7f800000, F32_ONE = 0x3f800000 };

/* A sound file of the version with these fields changed must be answered with "f: message". */
static const struct {
    int version;
    const char *message;
    Patch patch[4];
} bad_files[] = {
    {1, "not a NIfTI file: header size is 347, expected 348 or 540", {{0, 4, 347}}},
    {1, "not a NIfTI file: header size is 0, expected 348 or 540", {{0, 4, 0}}},
    {2, "not a NIfTI file: header size is 541, expected 348 or 540", {{0, 4, 541}}},
    {1, "magic 00 00 00 00, expected n+1 and 0", {{344, 4, 0}}},
    {1, "magic 6e 2b 32 00, expected n+1 and 0", {{346, 1, '2'}}},
    {1, "magic 6e 2b 31 58, expected n+1 and 0", {{347, 1, 'X'}}},
    {1, "the header of a pair (.hdr, .img), expected both in one .nii", {{345, 1, 'i'}}},
    {2, "the header of a pair (.hdr, .img), expected both in one .nii", {{5, 1, 'i'}}},
    {2, "magic 6e 2b 32 00, expected n+2 and 0", {{8, 1, 'X'}}},
    {1, "dim[0] is 0, expected 2 to 7 dims", {{40, 2, 0}}},
    {1, "dim[0] is 1, expected 2 to 7 dims", {{40, 2, 1}}},
    {1, "dim[0] is 8, expected 2 to 7 dims", {{40, 2, 8}}},
    {1, "dim[0] is 200, expected 2 to 7 dims", {{40, 2, 200}}},
    {1, "dim[0] is -1, expected 2 to 7 dims", {{40, 2, 0xffff}}},
    {2, "dim[0] is 200, expected 2 to 7 dims", {{16, 8, 200}}},
    {2, "dim[0] is -9223372036854775808, expected 2 to 7 dims", {{16, 8, (uint64_t)1 << 63}}},
    {1, "dim[1] is 0, expected 1 to 4096", {{42, 2, 0}}},
    {1, "dim[2] is -4, expected 1 to 4096", {{44, 2, 0xfffc}}},
    {1, "dim[3] is 4097, expected 1 to 4096", {{46, 2, 4097}}},
    {2, "dim[1] is 1099511627776, expected 1 to 4096", {{24, 8, (uint64_t)1 << 40}}},
    {2, "dim[3] is -1, expected 1 to 4096", {{40, 8, UINT64_MAX}}},
    {1, "dim[4] is 2, expected 1 (one volume)", {{40, 2, 4}, {48, 2, 2}}},
    {1, "dim[7] is 3, expected 1 (one volume)", {{40, 2, 7}, {54, 2, 3}}},
    {1, "dim[5] is 0, expected 1 (one volume)", {{40, 2, 5}, {50, 2, 0}}},
    {1, "3 x 4 x 6 voxels of 2 bytes from byte 352, but the file has only 472 bytes", {{46, 2, 6}}},
    {1,
     "4096 x 4096 x 4096 voxels of 2 bytes from byte 352, but the file has only 472 bytes",
     {{42, 2, 4096}, {44, 2, 4096}, {46, 2, 4096}}},
    {1,
     "datatype 0, expected 2 (u8), 4 (i16), 8 (i32), 16 (f32), 64 (f64), 256 (i8), 512 (u16) or 768 (u32)",
     {{70, 2, 0}}},
    {1,
     "datatype 32, expected 2 (u8), 4 (i16), 8 (i32), 16 (f32), 64 (f64), 256 (i8), 512 (u16) or 768 (u32)",
     {{70, 2, 32}}},
    {1,
     "datatype 128, expected 2 (u8), 4 (i16), 8 (i32), 16 (f32), 64 (f64), 256 (i8), 512 (u16) or 768 (u32)",
     {{70, 2, 128}}},
    {2,
     "datatype -4, expected 2 (u8), 4 (i16), 8 (i32), 16 (f32), 64 (f64), 256 (i8), 512 (u16) or 768 (u32)",
     {{12, 2, 0xfffc}}},
    {1, "bitpix is 8, expected 16 for datatype 4", {{72, 2, 8}}},
    {1, "bitpix is 0, expected 16 for datatype 4", {{72, 2, 0}}},
    {2, "bitpix is -16, expected 16 for datatype 4", {{14, 2, 0xfff0}}},
    {1, "bitpix is 16, expected 64 for datatype 64", {{70, 2, 64}}},
    {1, "vox_offset is nan, expected a whole number from 352 up", {{108, 4, F32_NAN}}},
    {1, "vox_offset is inf, expected a whole number from 352 up", {{108, 4, F32_INF}}},
    {1, "vox_offset is -352, expected a whole number from 352 up", {{108, 4, 0xc3b00000}}},
    {1, "vox_offset is 0, expected a whole number from 352 up", {{108, 4, 0}}},
    {1, "vox_offset is 351, expected a whole number from 352 up", {{108, 4, 0x43af8000}}},
    {1, "vox_offset is 352.5, expected a whole number from 352 up", {{108, 4, 0x43b04000}}},
    {1, "vox_offset is 3.40282e+38, expected a whole number from 352 up", {{108, 4, 0x7f7fffff}}},
    {1, "3 x 4 x 5 voxels of 2 bytes from byte 353, but the file has only 472 bytes", {{108, 4, 0x43b08000}}},
    {1,
     "3 x 4 x 5 voxels of 2 bytes from byte 4611686018427387904, but the file has only 472 bytes",
     {{108, 4, 0x5e800000}}},
    {2, "vox_offset is -1, expected a whole number from 544 up", {{168, 8, UINT64_MAX}}},
    {2, "vox_offset is 543, expected a whole number from 544 up", {{168, 8, 543}}},
    {2, "vox_offset is 9.22337e+18, expected a whole number from 544 up", {{168, 8, INT64_MAX}}},
    {2, "3 x 4 x 5 voxels of 2 bytes from byte 545, but the file has only 664 bytes", {{168, 8, 545}}},
    {1, "scl_inter is nan, expected a finite number", {{112, 4, F32_ONE}, {116, 4, F32_NAN}}},
    {1, "scl_inter is inf, expected a finite number", {{112, 4, F32_ONE}, {116, 4, F32_INF}}},
    {1, "sform: axis 1 has length nan, expected a finite one above 0", {{280, 4, F32_NAN}}},
    {1, "sform: axis 2 has length inf, expected a finite one above 0", {{300, 4, F32_INF}}},
    {1, "sform: axis 3 has length 0, expected a finite one above 0", {{320, 4, 0}}},
    {1, "sform: its axes are not three different directions", {{300, 4, 0}, {284, 4, F32_ONE}}},
    {1,
     "qform: axis 1 has length nan, expected a finite one above 0",
     {{252, 2, 1}, {254, 2, 0}, {256, 4, F32_NAN}}},
    {1, "qform: axis 2 has length 0, expected a finite one above 0", {{252, 2, 1}, {254, 2, 0}, {84, 4, 0}}},
    {1, "pixdim: axis 3 has length nan, expected a finite one above 0", {{254, 2, 0}, {88, 4, F32_NAN}}},
    {1, "spacing 1 is 1000 mm, expected 0.05 to 20", {{123, 1, 1}}},
    {1, "spacing 1 is 0.001 mm, expected 0.05 to 20", {{123, 1, 3}}},
    {1, "voxel (0, 0, 0) is 3.40282e+38, expected Hounsfield units", {{112, 4, F32_ONE}, {116, 4, 0x7f7fffff}}},
};

START_TEST(hostile)
{
    Built b = build(bad_files[_i].version, false, 4, 2, ras);
    for (int p = 0; p < 4 && bad_files[_i].patch[p].size; p++)
        put(&b, bad_files[_i].patch[p].at, bad_files[_i].patch[p].value, bad_files[_i].patch[p].size);
    Error e = {0};
    Volume v;
    char expected[300];
    failing.largest = 0;
    ck_assert_msg(!nifti_parse(b.bytes, b.n, "f", &v, NULL, &e), "read; expected: %s", bad_files[_i].message);
    ck_assert_uint_lt(failing.largest, 10000);
    ck_assert_int_eq(e.code, ERROR_INPUT);
    snprintf(expected, sizeof expected, "f: %s", bad_files[_i].message);
    ck_assert_str_eq(e.msg, expected);
}
END_TEST

/* gzip, whole members; returns the length. */
static size_t pack(const uint8_t *bytes, size_t n, uint8_t *out, size_t room)
{
    z_stream z = {0};
    ck_assert(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    z.next_in = (uint8_t *)bytes;
    z.avail_in = (unsigned)n;
    z.next_out = out;
    z.avail_out = (unsigned)room;
    ck_assert(deflate(&z, Z_FINISH) == Z_STREAM_END);
    deflateEnd(&z);
    return room - z.avail_out;
}

START_TEST(packed)
{
    Built b = build(1, true, 4, 2, ras);
    uint8_t out[4096];
    Error e = {0};
    Volume v;
    size_t n = pack(b.bytes, b.n, out, sizeof out);
    ck_assert_msg(nifti_parse(out, n, "f", &v, NULL, &e), "%s", e.msg);
    volume_free(&v);
    for (size_t k = 0; k < n;
         k++) { /* every prefix, each with its memory to itself for the address sanitizer */
        uint8_t *part = malloc(k ? k : 1);
        memcpy(part, out, k);
        e.code = 0;
        ck_assert_msg(!nifti_parse(part, k, "f", &v, NULL, &e) && e.code == ERROR_INPUT, "%zu: %s", k, e.msg);
        free(part);
    }
    out[n - 8] ^= 1; /* the checksum */
    ck_assert(!nifti_parse(out, n, "f", &v, NULL, &e));
    ck_assert_str_eq(e.msg, "f: gzip: incorrect data check");
    /* two members, cut inside the header */
    n = pack(b.bytes, 100, out, sizeof out);
    n += pack(b.bytes + 100, b.n - 100, out + n, sizeof out - n);
    ck_assert_msg(nifti_parse(out, n, "f", &v, NULL, &e), "%s", e.msg);
    volume_free(&v);
    n = pack(b.bytes, b.n - 1, out, sizeof out);
    ck_assert(!nifti_parse(out, n, "f", &v, NULL, &e) && e.code == ERROR_INPUT);
    ck_assert_str_eq(e.msg, "f: ends at byte 471, inside its voxels");
    n = pack(b.bytes, 200, out, sizeof out);
    ck_assert(!nifti_parse(out, n, "f", &v, NULL, &e));
    ck_assert_str_eq(e.msg, "f: ends at byte 200, inside its NIfTI header");
}
END_TEST

/* A few hundred bytes that ask for 18 GB. */
START_TEST(asks_too_much)
{
    Built b = build(1, false, 64, 8, ras);
    put(&b, 42, 1500, 2);
    put(&b, 44, 1500, 2);
    put(&b, 46, 1000, 2);
    uint8_t out[4096];
    Error e = {0};
    Volume v;
    size_t n = pack(b.bytes, 377, out, sizeof out);
    failing.largest = 0;
    ck_assert(!nifti_parse(b.bytes, 377, "f", &v, NULL, &e) && e.code == ERROR_INPUT);
    ck_assert_str_eq(e.msg,
                     "f: 1500 x 1500 x 1000 voxels of 8 bytes from byte 352, but the file has only 377 bytes");
    ck_assert(!nifti_parse(out, n, "f", &v, NULL, &e) && e.code == ERROR_INPUT);
    ck_assert_msg(
        strstr(e.msg, "1500 x 1500 x 1000 voxels of 8 bytes from byte 352, but it unpacks to at most "), "%s",
        e.msg);
    ck_assert_uint_lt(failing.largest, 100000);
}
END_TEST

/* Every prefix of plain files of both versions. */
START_TEST(prefixes)
{
    for (int version = 1; version <= 2; version++) {
        Built b = build(version, false, 4, 2, ras);
        for (size_t k = 0; k <= b.n; k++) {
            uint8_t *part = malloc(k ? k : 1);
            memcpy(part, b.bytes, k);
            Error e = {0};
            Volume v = {0};
            bool ok = nifti_parse(part, k, "f", &v, NULL, &e);
            ck_assert_msg(k == b.n ? ok : !ok && e.code == ERROR_INPUT, "%zu: %s", k, e.msg);
            volume_free(&v);
            free(part);
        }
    }
}
END_TEST

static Built allocation_sample;
static uint8_t packed_sample[4096];
static size_t packed_bytes;

static bool parse_plain(Error *e)
{
    Volume v = {0};
    bool ok = nifti_parse(allocation_sample.bytes, allocation_sample.n, "f", &v, NULL, e);
    volume_free(&v);
    return ok;
}
static bool parse_packed(Error *e)
{
    Volume v = {0};
    bool ok = nifti_parse(packed_sample, packed_bytes, "f", &v, NULL, e);
    volume_free(&v);
    return ok;
}
static bool write_packed(Error *e)
{
    float hu[2] = {1, 2};
    Volume v = {.nx = 2, .ny = 1, .nz = 1, .dx = 1, .dy = 1, .dz = 1, .hu = hu};
    return nifti_write(path, &v, NIFTI_I16, e);
}

START_TEST(allocations)
{
    allocation_sample = build(1, true, 4, 2, ras);
    packed_bytes = pack(allocation_sample.bytes, allocation_sample.n, packed_sample, sizeof packed_sample);
    ck_assert_int_ge(fail_each(parse_plain), 2);
    ck_assert_int_ge(fail_each(parse_packed), 4);
    snprintf(path, sizeof path, "%s/a.nii.gz", folder);
    ck_assert_int_ge(fail_each(write_packed), 4);
    unlink(path);
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
    tcase_add_loop_test(t, hostile, 0, sizeof bad_files / sizeof *bad_files);
    tcase_add_test(t, packed);
    tcase_add_test(t, asks_too_much);
    tcase_add_test(t, prefixes);
    tcase_add_test(t, allocations);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    rmdir(folder);
    return failed != 0;
}
