/* Writing NIfTI-1. The fixed orientation of data/volume.h is (left, back, head), NIfTI's world (right, front,
 * head): M = diag(-dx, -dy, dz), a half turn about the third axis, quaternion (0,0,0,1). */
#include "data/file.h"
#include "data/nifti.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { HEADER = 352, CHUNK = 65536 };

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

typedef struct Sink {
    FileWriter file;
    bool packed;
    z_stream z;
} Sink;

static void sink_write(Sink *s, const void *bytes, size_t n, bool last)
{
    if (!s->packed) {
        fwrite(bytes, 1, n, s->file.stream);
        return;
    }
    uint8_t out[CHUNK];
    s->z.next_in = (uint8_t *)bytes;
    s->z.avail_in = (unsigned)n;
    do {
        s->z.next_out = out;
        s->z.avail_out = sizeof out;
        deflate(&s->z, last ? Z_FINISH : Z_NO_FLUSH);
        fwrite(out, 1, sizeof out - s->z.avail_out, s->file.stream);
    } while (s->z.avail_out == 0);
}

static void put_i16(uint8_t *h, int at, int x)
{
    int16_t v = (int16_t)x;
    memcpy(h + at, &v, sizeof v);
}
static void put_f32(uint8_t *h, int at, double x)
{
    float v = (float)x;
    memcpy(h + at, &v, sizeof v);
}

static void make_header(uint8_t h[HEADER], const Volume *v, NiftiType type, double slope, double offset)
{
    const int extent[3] = {v->nx, v->ny, v->nz};
    const double spacing[3] = {v->dx, v->dy, v->dz};
    const int32_t size = 348;
    memset(h, 0, HEADER);
    memcpy(h, &size, sizeof size);
    put_i16(h, 40, 3);
    put_f32(h, 76, 1); /* qfac */
    for (int a = 0; a < 7; a++) put_i16(h, 42 + 2 * a, a < 3 ? extent[a] : 1);
    put_i16(h, 70, type == NIFTI_F32 ? 16 : 4);
    put_i16(h, 72, type == NIFTI_F32 ? 32 : 16);
    put_f32(h, 108, HEADER);
    put_f32(h, 112, slope);
    put_f32(h, 116, offset);
    h[123] = 2; /* mm */
    put_i16(h, 252, 1);
    put_i16(h, 254, 1);
    put_f32(h, 264, 1); /* quaternion (0,0,0,1) */
    for (int a = 0; a < 3; a++) {
        double step = a == 2 ? spacing[a] : -spacing[a], origin = -step * (extent[a] - 1) / 2;
        put_f32(h, 80 + 4 * a, spacing[a]);
        put_f32(h, 268 + 4 * a, origin);
        put_f32(h, 280 + 16 * a + 4 * a, step);
        put_f32(h, 280 + 16 * a + 12, origin);
    }
    memcpy(h + 344, "n+1", 4);
}

/* HU = slope * stored + offset. Whole numbers that fit are stored as they are. */
static void choose_scale(const Volume *v, size_t n, double *slope, double *offset)
{
    bool whole = true;
    float low = v->hu[0], high = v->hu[0];
    for (size_t i = 0; i < n; i++) {
        low = fminf(low, v->hu[i]);
        high = fmaxf(high, v->hu[i]);
        whole = whole && v->hu[i] == rintf(v->hu[i]);
    }
    *slope = 1;
    *offset = 0;
    if (whole && low >= -32768 && high <= 32767) return;
    *slope = high > low ? (float)(((double)high - low) / 65534) : 1;
    *offset = (float)(((double)high + low) / 2);
}

static void write_voxels(Sink *s, const Volume *v, size_t n, NiftiType type, double slope, double offset)
{
    int16_t raw[4096];
    for (size_t i = 0; i < n; i += 4096) {
        size_t count = n - i < 4096 ? n - i : 4096;
        for (size_t k = 0; type == NIFTI_I16 && k < count; k++)
            raw[k] = (int16_t)fmax(-32768, fmin(32767, rint((v->hu[i + k] - offset) / slope)));
        if (type == NIFTI_I16)
            sink_write(s, raw, count * sizeof *raw, i + count == n);
        else
            sink_write(s, v->hu + i, count * sizeof *v->hu, i + count == n);
    }
}

bool nifti_write(const char *path, const Volume *v, NiftiType type, Error *e)
{
    if (!volume_check(v, path, e)) return false;
    size_t length = strlen(path), n = (size_t)v->nx * (size_t)v->ny * (size_t)v->nz;
    double slope = 1, offset = 0;
    uint8_t header[HEADER];
    if (type == NIFTI_I16) choose_scale(v, n, &slope, &offset);
    make_header(header, v, type, slope, offset);
    Sink *s = calloc(1, sizeof *s);
    if (!s) return error_set(e, ERROR_MEMORY, "%s: out of memory", path);
    s->packed = length > 3 && strcmp(path + length - 3, ".gz") == 0;
    s->z.zalloc = z_alloc;
    s->z.zfree = z_free;
    bool ok = true;
    if (s->packed && deflateInit2(&s->z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        s->packed = false;
        ok = error_set(e, ERROR_MEMORY, "%s: gzip: out of memory", path);
    }
    if (ok && file_create(&s->file, path, e)) {
        sink_write(s, header, sizeof header, false);
        write_voxels(s, v, n, type, slope, offset);
        ok = file_commit(&s->file, e);
    } else {
        ok = false;
    }
    if (s->packed) deflateEnd(&s->z);
    free(s);
    return ok;
}
