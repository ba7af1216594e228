/* A series of DICOM files as a volume, through the program dcm2niix (Debian's package of that name), which
 * knows what scanners write: order and distance of slices, rescale slope and intercept, compressed pixels, a
 * tilted gantry. It is started as a process of its own, without a shell, found by PATH, and writes NIfTI into a
 * folder under TMPDIR (or /tmp) that is gone afterwards. */
#ifndef DATA_DICOM_H
#define DATA_DICOM_H
#include "data/volume.h"

/* Of the files that dcm2niix makes of a folder: one whose gantry tilt (_Tilt) or slice distance (_Eq) was
 * corrected instead of what it was made from, then the largest; *others says how many more volumes there were
 * (NULL allowed). ERROR_IO where the program is not there, with the package's name; ERROR_INPUT where it fails,
 * with the last line that it said, or makes no volume. */
bool dicom_read_series(const char *folder, Volume *v, int *others, Error *e);
#endif
