/* NIfTI-1 and NIfTI-2 in one file (.nii, or gzipped), read into the one orientation of data/volume.h. */
#ifndef DATA_NIFTI_H
#define DATA_NIFTI_H
#include "data/volume.h"

/* Reads either version, either byte order, gzipped or not (told by content, not by name); u8, i8, i16, u16,
 * i32, u32, f32, f64 with scl_slope and scl_inter. Orientation from sform, else qform, else (neither is set)
 * the format's old default: first axis to the patient's left, second to the front, third to the head. Axes that
 * are oblique are taken as the nearest ones. Spacing in mm. Exactly one volume (trailing dims of 1 are
 * allowed). axes, if not NULL, gets the directions in the file, as for volume_orient ("LAS" for example).
 * On false *v is untouched. */
bool nifti_read(const char *path, Volume *v, char axes[4], Error *e);
/* The same from memory; `what` names it in messages. */
bool nifti_parse(const uint8_t *bytes, size_t n, const char *what, Volume *v, char axes[4], Error *e);

typedef enum NiftiType {
    NIFTI_F32, /* exact */
    NIFTI_I16  /* exact for whole numbers from -32768 to 32767, else scaled to the range of the values */
} NiftiType;

/* NIfTI-1, gzipped where path ends in .gz, crash-safe. sform and qform say where the patient is; the origin is
 * the volume's middle. */
bool nifti_write(const char *path, const Volume *v, NiftiType type, Error *e);
#endif
