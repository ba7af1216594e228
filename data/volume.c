#include "data/volume.h"
#include "data/file.h"
#include "tensor/checked.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void volume_free(Volume *v)
{
    free(v->hu);
    *v = (Volume){0};
}

bool volume_make(const int64_t extent[3], const double spacing[3], const char *what, Volume *v, Error *e)
{
    for (int a = 0; a < 3; a++) {
        if (extent[a] < 1 || extent[a] > VOLUME_MAX_SIDE)
            return error_set(e, ERROR_INPUT, "%s: extent %d is %lld, expected 1 to %d", what, a + 1,
                             (long long)extent[a], VOLUME_MAX_SIDE);
        if (!(spacing[a] >= 0.05 && spacing[a] <= 20))
            return error_set(e, ERROR_INPUT, "%s: spacing %d is %g mm, expected 0.05 to 20", what, a + 1,
                             spacing[a]);
    }
    uint64_t n;
    if (!u64_product(extent, 3, &n) || n > VOLUME_MAX_VOXELS)
        return error_set(e, ERROR_INPUT, "%s: %lld x %lld x %lld voxels, expected at most %llu", what,
                         (long long)extent[0], (long long)extent[1], (long long)extent[2],
                         (unsigned long long)VOLUME_MAX_VOXELS);
    float *hu = malloc(n * sizeof *hu);
    if (!hu) return error_set(e, ERROR_MEMORY, "%s: no memory for %llu voxels", what, (unsigned long long)n);
    *v = (Volume){.nx = (int)extent[0], .ny = (int)extent[1], .nz = (int)extent[2], .hu = hu};
    v->dx = spacing[0], v->dy = spacing[1], v->dz = spacing[2];
    return true;
}

/* For target axis a (0: towards left, 1: towards the back, 2: towards the head) which file axis it is and
 * whether that axis runs the other way. */
static bool read_axes(const char *axes, int from[3], bool reversed[3])
{
    static const char along[] = "LPS", against[] = "RAI";
    bool seen[3] = {false};
    if (strlen(axes) != 3) return false;
    for (int i = 0; i < 3; i++) {
        const char *p = strchr(along, axes[i]), *q = strchr(against, axes[i]);
        if (!p && !q) return false;
        int a = (int)(p ? p - along : q - against);
        if (seen[a]) return false;
        seen[a] = true;
        from[a] = i;
        reversed[a] = !p;
    }
    return true;
}

bool volume_orient(Volume *in, const char *axes, const char *what, Volume *out, Error *e)
{
    int from[3];
    bool reversed[3];
    if (!read_axes(axes, from, reversed))
        return error_set(e, ERROR_INPUT,
                         "%s: axes '%s', expected one of L R, one of A P, one of S I, in file order", what,
                         axes);
    if (!strcmp(axes, "LPS")) {
        *out = *in;
        *in = (Volume){0};
        return true;
    }
    const int64_t n[3] = {in->nx, in->ny, in->nz}, stride[3] = {1, in->nx, (int64_t)in->nx * in->ny};
    const double d[3] = {in->dx, in->dy, in->dz};
    int64_t extent[3], step[3], start = 0;
    double spacing[3];
    for (int a = 0; a < 3; a++) {
        extent[a] = n[from[a]];
        spacing[a] = d[from[a]];
        step[a] = reversed[a] ? -stride[from[a]] : stride[from[a]];
        if (reversed[a]) start += (extent[a] - 1) * stride[from[a]];
    }
    Volume turned;
    if (!volume_make(extent, spacing, what, &turned, e)) return false;
    float *dst = turned.hu;
    for (int64_t z = 0; z < extent[2]; z++)
        for (int64_t y = 0; y < extent[1]; y++) {
            const float *src = in->hu + start + z * step[2] + y * step[1];
            for (int64_t x = 0; x < extent[0]; x++) *dst++ = src[x * step[0]];
        }
    volume_free(in);
    *out = turned;
    return true;
}

bool volume_check(const Volume *v, const char *what, Error *e)
{
    int64_t n = (int64_t)v->nx * v->ny * v->nz;
    for (int64_t i = 0; i < n; i++)
        if (!(fabsf(v->hu[i]) <= 1e5f))
            return error_set(e, ERROR_INPUT, "%s: voxel (%lld, %lld, %lld) is %g, expected Hounsfield units",
                             what, (long long)(i % v->nx), (long long)(i / v->nx % v->ny),
                             (long long)(i / v->nx / v->ny), (double)v->hu[i]);
    return true;
}

/* The stored types: size in bytes, signed or not, floating or not. */
typedef struct RawType {
    const char *name;
    int bytes;
    char kind; /* 'u', 'i' or 'f' */
} RawType;

static const RawType raw_types[] = {{"u8", 1, 'u'},  {"i8", 1, 'i'},  {"u16", 2, 'u'}, {"i16", 2, 'i'},
                                    {"u32", 4, 'u'}, {"i32", 4, 'i'}, {"f32", 4, 'f'}, {"f64", 8, 'f'}};

static const RawType *raw_type(const char *name, bool *big_endian)
{
    for (size_t i = 0; i < sizeof raw_types / sizeof *raw_types; i++) {
        size_t n = strlen(raw_types[i].name);
        if (strncmp(name, raw_types[i].name, n)) continue;
        *big_endian = !strcmp(name + n, "b");
        if (!name[n] || *big_endian) return &raw_types[i];
    }
    return NULL;
}

static double raw_value(const uint8_t *p, const RawType *t, bool big_endian)
{
    uint64_t bits = 0;
    for (int i = 0; i < t->bytes; i++) bits |= (uint64_t)p[big_endian ? t->bytes - 1 - i : i] << 8 * i;
    if (t->kind == 'u') return (double)bits;
    if (t->kind == 'i') {
        int unused = 64 - 8 * t->bytes;
        return (double)((int64_t)(bits << unused) >> unused);
    }
    if (t->bytes == 8) {
        double d;
        memcpy(&d, &bits, sizeof d);
        return d;
    }
    uint32_t low = (uint32_t)bits;
    float f;
    memcpy(&f, &low, sizeof f);
    return (double)f;
}

bool volume_read_raw(const char *path, const RawLayout *layout, Volume *v, Error *e)
{
    bool big_endian = false;
    const RawType *type = raw_type(layout->dtype, &big_endian);
    if (!type)
        return error_set(
            e, ERROR_INPUT,
            "%s: dtype '%s', expected u8, i8, u16, i16, u32, i32, f32 or f64 (big-endian: i16b ...)", path,
            layout->dtype);
    int from[3];
    bool reversed[3];
    if (!read_axes(layout->axes, from, reversed))
        return error_set(e, ERROR_INPUT,
                         "%s: axes '%s', expected one of L R, one of A P, one of S I, in file order", path,
                         layout->axes);
    uint64_t voxels, bytes;
    if (!u64_product(layout->extent, 3, &voxels) || voxels > VOLUME_MAX_VOXELS ||
        !u64_mul(voxels, (uint64_t)type->bytes, &bytes) || !u64_add(bytes, layout->skip, &bytes))
        return error_set(e, ERROR_INPUT, "%s: more than %llu voxels", path,
                         (unsigned long long)VOLUME_MAX_VOXELS);

    struct stat there;
    if (!stat(path, &there) && S_ISREG(there.st_mode) && (uint64_t)there.st_size != bytes)
        return error_set(e, ERROR_INPUT, "%s: %lld bytes, expected %llu for %lld x %lld x %lld %s", path,
                         (long long)there.st_size, (unsigned long long)bytes, (long long)layout->extent[0],
                         (long long)layout->extent[1], (long long)layout->extent[2], layout->dtype);
    uint8_t *data;
    size_t n;
    if (!file_read(path, bytes, &data, &n, e)) return false;
    Volume in = {0};
    bool ok = n == bytes ||
              error_set(e, ERROR_INPUT, "%s: %zu bytes, expected %llu", path, n, (unsigned long long)bytes);
    ok = ok && volume_make(layout->extent, layout->spacing, path, &in, e);
    if (ok)
        for (uint64_t i = 0; i < voxels; i++) {
            const uint8_t *p = data + layout->skip + i * (uint64_t)type->bytes;
            in.hu[i] = (float)(layout->slope * raw_value(p, type, big_endian) + layout->offset);
        }
    free(data);
    ok = ok && volume_check(&in, path, e) && volume_orient(&in, layout->axes, path, v, e);
    volume_free(&in);
    return ok;
}
