/* NIfTI headers are read field by field at their offsets (348 bytes in version 1, 540 in version 2), so that
 * byte order and version are two tables and no struct. Voxel (i,j,k) lies at world = M (i,j,k) + origin, world
 * = mm to the patient's right, front, head; only the directions and lengths of M's columns matter here. */
#include "data/nifti.h"
#include "data/file.h"
#include "tensor/checked.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { HEADER_1 = 348, HEADER_2 = 540, CHUNK = 65536 };
static const size_t FILE_LIMIT = (size_t)1 << 33;
/* deflate never unpacks one byte to more than 1032 (zlib's technical details) */
static const uint64_t DEFLATE_RATIO = 1032;

/* ---- bytes in: the file's own or unpacked on the way; nothing is allocated by declared size ---- */

typedef struct Source {
    const char *what;
    const uint8_t *next;
    size_t remaining; /* of the file */
    bool packed, ended;
    z_stream z;
    uint64_t given; /* bytes handed out */
} Source;

static void *z_alloc(void *opaque, unsigned n, unsigned size)
{
    (void)opaque;
    return calloc(n, size);
}
static void z_free(void *opaque, void *p)
{
    (void)opaque;
    free(p);
}

static bool source_open(Source *s, const uint8_t *bytes, size_t n, const char *what, Error *e)
{
    *s = (Source){.what = what, .next = bytes, .remaining = n};
    s->packed = n >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b;
    if (!s->packed) return true;
    s->z.zalloc = z_alloc;
    s->z.zfree = z_free;
    return inflateInit2(&s->z, 15 + 16) == Z_OK || error_set(e, ERROR_MEMORY, "%s: gzip: out of memory", what);
}

static void source_close(Source *s)
{
    if (s->packed) inflateEnd(&s->z);
}

/* How many bytes can still come, at most. */
static uint64_t source_bound(const Source *s)
{
    uint64_t most;
    if (!s->packed) return s->remaining;
    return u64_mul(s->remaining, DEFLATE_RATIO, &most) && u64_add(most, CHUNK, &most) ? most : UINT64_MAX;
}

/* Unpacks at most n bytes; *got < n only at the end of the stream (all members of it). */
static bool unpack(Source *s, uint8_t *dst, size_t n, size_t *got, Error *e)
{
    *got = 0;
    while (*got < n && !s->ended) {
        s->z.next_in = (uint8_t *)s->next;
        s->z.avail_in = s->remaining < CHUNK ? (unsigned)s->remaining : CHUNK;
        s->z.next_out = dst + *got;
        s->z.avail_out = n - *got < CHUNK ? (unsigned)(n - *got) : CHUNK;
        unsigned in = s->z.avail_in, out = s->z.avail_out;
        int r = inflate(&s->z, Z_NO_FLUSH);
        s->next += in - s->z.avail_in;
        s->remaining -= in - s->z.avail_in;
        *got += out - s->z.avail_out;
        if (r == Z_STREAM_END) {
            s->ended = s->remaining < 2 || s->next[0] != 0x1f || s->next[1] != 0x8b;
            if (!s->ended) inflateReset(&s->z);
        } else if (r == Z_MEM_ERROR) {
            return error_set(e, ERROR_MEMORY, "%s: gzip: out of memory", s->what);
        } else if (r == Z_BUF_ERROR || (r == Z_OK && s->remaining == 0 && s->z.avail_out > 0)) {
            return error_set(e, ERROR_INPUT, "%s: gzip: the file ends early, after %llu unpacked bytes",
                             s->what, (unsigned long long)(s->given + *got));
        } else if (r != Z_OK) {
            return error_set(e, ERROR_INPUT, "%s: gzip: %s", s->what, s->z.msg ? s->z.msg : "damaged");
        }
    }
    return true;
}

static bool source_read(Source *s, uint8_t *dst, size_t n, const char *of, Error *e)
{
    size_t got = n < s->remaining ? n : s->remaining;
    if (s->packed) {
        if (!unpack(s, dst, n, &got, e)) return false;
    } else {
        memcpy(dst, s->next, got);
        s->next += got;
        s->remaining -= got;
    }
    s->given += got;
    return got == n || error_set(e, ERROR_INPUT, "%s: ends at byte %llu, inside its %s", s->what,
                                 (unsigned long long)s->given, of);
}

/* Reads on to the checksum at the end of a packed file. What follows the voxels is not ours, but little. */
static bool source_finish(Source *s, Error *e)
{
    uint8_t rest[4096];
    for (int i = 0; s->packed && !s->ended && i < 4096; i++) {
        size_t got;
        if (!unpack(s, rest, sizeof rest, &got, e)) return false;
    }
    return true;
}

/* ---- the header ---- */

typedef struct Header {
    int version;
    bool swapped;
    uint8_t raw[HEADER_2];
    int datatype, bytes; /* of one voxel */
    int64_t extent[3];
    double spacing[3];
    char axes[4];
    double slope, offset;
    uint64_t skip; /* where the voxels begin */
} Header;

static uint64_t field(const Header *h, int at, int size)
{
    uint64_t v = 0;
    for (int i = 0; i < size; i++) v |= (uint64_t)h->raw[at + (h->swapped ? size - 1 - i : i)] << (8 * i);
    return v;
}
static int field_i16(const Header *h, int at) { return (int16_t)field(h, at, 2); }
static int32_t field_i32(const Header *h, int at) { return (int32_t)field(h, at, 4); }
static double field_f32(const Header *h, int at)
{
    uint32_t bits = (uint32_t)field(h, at, 4);
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static double field_f64(const Header *h, int at)
{
    uint64_t bits = field(h, at, 8);
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* A real field: f32 at `at1` in version 1, f64 at `at2` in version 2. */
static double real(const Header *h, int at1, int at2)
{
    return h->version == 1 ? field_f32(h, at1) : field_f64(h, at2);
}

static bool read_version(Header *h, Source *s, Error *e)
{
    if (!source_read(s, h->raw, HEADER_1, "NIfTI header", e)) return false;
    int32_t size = field_i32(h, 0);
    if (size != HEADER_1 && size != HEADER_2) {
        h->swapped = true;
        size = field_i32(h, 0);
    }
    if (size != HEADER_1 && size != HEADER_2) {
        h->swapped = false;
        return error_set(e, ERROR_INPUT, "%s: not a NIfTI file: header size is %d, expected 348 or 540",
                         s->what, field_i32(h, 0));
    }
    h->version = size == HEADER_1 ? 1 : 2;
    if (h->version == 2 && !source_read(s, h->raw + HEADER_1, HEADER_2 - HEADER_1, "NIfTI header", e))
        return false;
    const uint8_t *magic = h->raw + (h->version == 1 ? 344 : 4);
    const char *expected = h->version == 1 ? "n+1" : "n+2\0\r\n\032\n";
    if (magic[0] == 'n' && magic[1] == 'i' && magic[2] == '0' + h->version && magic[3] == 0)
        return error_set(e, ERROR_INPUT, "%s: the header of a pair (.hdr, .img), expected both in one .nii",
                         s->what);
    if (memcmp(magic, expected, h->version == 1 ? 4 : 8) != 0)
        return error_set(e, ERROR_INPUT, "%s: magic %02x %02x %02x %02x, expected n+%d and 0", s->what,
                         magic[0], magic[1], magic[2], magic[3], h->version);
    return true;
}

static bool read_extent(Header *h, const char *what, Error *e)
{
    int64_t dim[8];
    for (int i = 0; i < 8; i++)
        dim[i] = h->version == 1 ? field_i16(h, 40 + 2 * i) : (int64_t)field(h, 16 + 8 * i, 8);
    if (dim[0] < 2 || dim[0] > 7)
        return error_set(e, ERROR_INPUT, "%s: dim[0] is %lld, expected 2 to 7 dims", what, (long long)dim[0]);
    for (int i = 1; i <= 7; i++) {
        if (i > dim[0]) dim[i] = 1;
        if (i <= 3 ? dim[i] < 1 || dim[i] > VOLUME_MAX_SIDE : dim[i] != 1)
            return error_set(e, ERROR_INPUT, "%s: dim[%d] is %lld, expected 1%s", what, i, (long long)dim[i],
                             i <= 3 ? " to 4096" : " (one volume)");
        if (i <= 3) h->extent[i - 1] = dim[i];
    }
    return true;
}

static bool read_type(Header *h, const char *what, Error *e)
{
    static const struct {
        int code, bytes;
    } types[] = {{2, 1}, {4, 2}, {8, 4}, {16, 4}, {64, 8}, {256, 1}, {512, 2}, {768, 4}};
    h->datatype = field_i16(h, h->version == 1 ? 70 : 12);
    int bits = field_i16(h, h->version == 1 ? 72 : 14);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].code == h->datatype) h->bytes = types[i].bytes;
    if (h->bytes == 0)
        return error_set(e, ERROR_INPUT,
                         "%s: datatype %d, expected 2 (u8), 4 (i16), 8 (i32), 16 (f32), 64 (f64), 256 (i8), "
                         "512 (u16) or 768 (u32)",
                         what, h->datatype);
    if (bits != 8 * h->bytes)
        return error_set(e, ERROR_INPUT, "%s: bitpix is %d, expected %d for datatype %d", what, bits,
                         8 * h->bytes, h->datatype);
    return true;
}

/* Slope 0 or not finite: the stored values are the values. */
static bool read_scaling(Header *h, const char *what, Error *e)
{
    h->slope = real(h, 112, 176);
    h->offset = real(h, 116, 184);
    if (h->slope == 0 || !isfinite(h->slope)) {
        h->slope = 1;
        h->offset = 0;
    }
    return isfinite(h->offset) ||
           error_set(e, ERROR_INPUT, "%s: scl_inter is %g, expected a finite number", what, h->offset);
}

static bool read_skip(Header *h, const char *what, Error *e)
{
    int least = h->version == 1 ? HEADER_1 + 4 : HEADER_2 + 4;
    double at = h->version == 1 ? field_f32(h, 108) : (double)(int64_t)field(h, 168, 8);
    /* written so that NaN fails */
    if (!(at >= least && at <= 0x1p62 && at == floor(at)))
        return error_set(e, ERROR_INPUT, "%s: vox_offset is %g, expected a whole number from %d up", what, at,
                         least);
    h->skip = h->version == 1 ? (uint64_t)at : field(h, 168, 8);
    return true;
}

static void matrix_of_sform(const Header *h, double m[3][3])
{
    for (int w = 0; w < 3; w++)
        for (int a = 0; a < 3; a++) m[w][a] = real(h, 280 + 16 * w + 4 * a, 400 + 32 * w + 8 * a);
}

/* Rotation by the unit quaternion (a,b,c,d), third column turned where pixdim[0] < 0, columns scaled. */
static void matrix_of_qform(const Header *h, double m[3][3])
{
    double b = real(h, 256, 352), c = real(h, 260, 360), d = real(h, 264, 368);
    double sum = b * b + c * c + d * d, a = sum < 1 ? sqrt(1 - sum) : 0;
    if (sum > 1) {
        double k = 1 / sqrt(sum);
        b *= k;
        c *= k;
        d *= k;
    }
    double r[3][3] = {{a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)},
                      {2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)},
                      {2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c}};
    for (int w = 0; w < 3; w++)
        for (int k = 0; k < 3; k++) {
            double length = fabs(real(h, 80 + 4 * k, 112 + 8 * k));
            m[w][k] = r[w][k] * length * (k == 2 && real(h, 76, 104) < 0 ? -1 : 1);
        }
}

/* The assignment of file axes to world axes with the largest sum of |cosines|, and the sign of each. */
static bool nearest_axes(double m[3][3], const double length[3], char axes[4])
{
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    const int *best = NULL;
    double most = 0;
    for (int o = 0; o < 6; o++) {
        double sum = 0, least = 1;
        for (int a = 0; a < 3; a++) {
            double cosine = fabs(m[orders[o][a]][a]) / length[a];
            sum += cosine;
            least = fmin(least, cosine);
        }
        if (least > 0.01 && sum > most) {
            most = sum;
            best = orders[o];
        }
    }
    for (int a = 0; best && a < 3; a++) axes[a] = (m[best[a]][a] > 0 ? "RAS" : "LPI")[best[a]];
    axes[3] = 0;
    return best != NULL;
}

static bool read_orientation(Header *h, const char *what, Error *e)
{
    int qform = field_i16(h, 252), sform = field_i16(h, 254), units = h->raw[123] & 7;
    if (h->version == 2) {
        qform = field_i32(h, 344);
        sform = field_i32(h, 348);
        units = field_i32(h, 500) & 7;
    }
    const char *name = sform > 0 ? "sform" : qform > 0 ? "qform" : "pixdim";
    double m[3][3] = {{0}}, length[3], unit = units == 1 ? 1000 : units == 3 ? 0.001 : 1;
    if (sform > 0)
        matrix_of_sform(h, m);
    else if (qform > 0)
        matrix_of_qform(h, m);
    else /* first axis to the left, as in the format's ancestor */
        for (int a = 0; a < 3; a++) m[a][a] = fabs(real(h, 80 + 4 * a, 112 + 8 * a)) * (a == 0 ? -1 : 1);
    for (int a = 0; a < 3; a++) {
        length[a] = sqrt(m[0][a] * m[0][a] + m[1][a] * m[1][a] + m[2][a] * m[2][a]);
        if (!(length[a] > 0 && length[a] < INFINITY))
            return error_set(e, ERROR_INPUT, "%s: %s: axis %d has length %g, expected a finite one above 0",
                             what, name, a + 1, length[a]);
        h->spacing[a] = length[a] * unit;
    }
    return nearest_axes(m, length, h->axes) ||
           error_set(e, ERROR_INPUT, "%s: %s: its axes are not three different directions", what, name);
}

/* ---- the voxels ---- */

#define CONVERT(type)                                                                                          \
    for (size_t i = 0; i < n; i++) {                                                                           \
        type x;                                                                                                \
        memcpy(&x, raw + i * sizeof x, sizeof x);                                                              \
        dst[i] = (float)(h->slope * (double)x + h->offset);                                                    \
    }                                                                                                          \
    break

static void convert(const Header *h, uint8_t *raw, size_t n, float *dst)
{
    for (size_t i = 0; h->swapped && h->bytes > 1 && i < n; i++)
        for (int a = 0, b = h->bytes - 1; a < b; a++, b--) {
            uint8_t *p = raw + i * (size_t)h->bytes, t = p[a];
            p[a] = p[b];
            p[b] = t;
        }
    switch (h->datatype) {
    case 2: CONVERT(uint8_t);
    case 4: CONVERT(int16_t);
    case 8: CONVERT(int32_t);
    case 16: CONVERT(float);
    case 64: CONVERT(double);
    case 256: CONVERT(int8_t);
    case 512: CONVERT(uint16_t);
    case 768: CONVERT(uint32_t);
    }
}

static bool read_voxels(const Header *h, Source *s, float *dst, Error *e)
{
    uint8_t raw[CHUNK];
    uint64_t left = (uint64_t)h->extent[0] * (uint64_t)h->extent[1] * (uint64_t)h->extent[2];
    for (uint64_t skip = h->skip - s->given; skip > 0;) {
        size_t n = skip < CHUNK ? (size_t)skip : CHUNK;
        if (!source_read(s, raw, n, "header", e)) return false;
        skip -= n;
    }
    while (left > 0) {
        size_t n = left < CHUNK / 8 ? (size_t)left : CHUNK / 8;
        if (!source_read(s, raw, n * (size_t)h->bytes, "voxels", e)) return false;
        convert(h, raw, n, dst);
        dst += n;
        left -= n;
    }
    return source_finish(s, e);
}

/* Compares what the header declares with what the file can hold, before anything of that size is allocated. */
static bool check_room(const Header *h, const Source *s, Error *e)
{
    uint64_t voxels, bytes, end, bound = source_bound(s);
    bool fits = u64_product(h->extent, 3, &voxels) && u64_mul(voxels, (uint64_t)h->bytes, &bytes) &&
                u64_add(bytes, h->skip, &end);
    if (fits && end - s->given <= bound) return true;
    uint64_t all;
    if (!u64_add(bound, s->given, &all)) all = UINT64_MAX;
    return error_set(e, ERROR_INPUT,
                     "%s: %lld x %lld x %lld voxels of %d bytes from byte %llu, but %s %llu bytes", s->what,
                     (long long)h->extent[0], (long long)h->extent[1], (long long)h->extent[2], h->bytes,
                     (unsigned long long)h->skip, s->packed ? "it unpacks to at most" : "the file has only",
                     (unsigned long long)all);
}

static bool read_volume(Source *s, Volume *v, char axes[4], Error *e)
{
    Header h = {0};
    if (!read_version(&h, s, e) || !read_extent(&h, s->what, e) || !read_type(&h, s->what, e) ||
        !read_scaling(&h, s->what, e) || !read_skip(&h, s->what, e) || !read_orientation(&h, s->what, e) ||
        !check_room(&h, s, e))
        return false;
    Volume file = {0}, right = {0};
    if (!volume_make(h.extent, h.spacing, s->what, &file, e)) return false;
    if (!read_voxels(&h, s, file.hu, e) || !volume_orient(&file, h.axes, s->what, &right, e)) {
        volume_free(&file);
        return false;
    }
    if (!volume_check(&right, s->what, e)) {
        volume_free(&right);
        return false;
    }
    *v = right;
    if (axes) memcpy(axes, h.axes, 4);
    return true;
}

bool nifti_parse(const uint8_t *bytes, size_t n, const char *what, Volume *v, char axes[4], Error *e)
{
    Source s;
    if (!source_open(&s, bytes, n, what, e)) return false;
    bool ok = read_volume(&s, v, axes, e);
    source_close(&s);
    return ok;
}

bool nifti_read(const char *path, Volume *v, char axes[4], Error *e)
{
    uint8_t *bytes;
    size_t n;
    if (!file_read(path, FILE_LIMIT, &bytes, &n, e)) return false;
    bool ok = nifti_parse(bytes, n, path, v, axes, e);
    free(bytes);
    return ok;
}
