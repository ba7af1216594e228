/* A CT volume in one fixed orientation, whatever file it came from: columns run from the patient's right to
 * the left (image left = patient right), rows from front to back, slices from the feet to the head. */
#ifndef DATA_VOLUME_H
#define DATA_VOLUME_H
#include "tensor/error.h"
#include <stddef.h>
#include <stdint.h>

typedef struct Volume {
    int nx, ny, nz;    /* columns, rows, slices */
    double dx, dy, dz; /* mm between neighbours */
    float *hu;         /* [nz][ny][nx], Hounsfield units; malloc'ed, free with volume_free */
} Volume;

void volume_free(Volume *v);

enum { VOLUME_MAX_SIDE = 4096 };
#define VOLUME_MAX_VOXELS ((uint64_t)1 << 30)

/* Checks extents (1..VOLUME_MAX_SIDE each, VOLUME_MAX_VOXELS in all) and spacing (0.05 to 20 mm), and allocates
 * *v with these three extents in the given order. `what` names the file in messages. */
bool volume_make(const int64_t extent[3], const double spacing[3], const char *what, Volume *v, Error *e);

/* Turns a volume read in file order (nx fastest) into the fixed orientation. axes: for each file axis, fastest
 * first, the direction in which its index grows: one of L R (patient's left, right), A P (front, back),
 * S I (head, feet), each axis once; "LPS" is already right. Takes over in->hu and clears *in. */
bool volume_orient(Volume *in, const char *axes, const char *what, Volume *out, Error *e);

/* False and the first place if any voxel is NaN or infinite, or |HU| is over 100 000. */
bool volume_check(const Volume *v, const char *what, Error *e);

/* How a headerless file is laid out. */
typedef struct RawLayout {
    const char *dtype; /* u8 i8 u16 i16 u32 i32 f32 f64, little-endian; a final 'b' (i16b) means big-endian */
    int64_t extent[3]; /* in file order, fastest first */
    double spacing[3]; /* mm, same order */
    const char *axes;  /* as for volume_orient */
    double slope, offset; /* HU = slope * stored + offset */
    uint64_t skip;        /* bytes before the first voxel */
} RawLayout;

/* The file must hold exactly skip + the voxels' bytes. Checked with volume_check. */
bool volume_read_raw(const char *path, const RawLayout *layout, Volume *v, Error *e);
#endif
