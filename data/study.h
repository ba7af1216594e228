/* A study: 24 axial slices of a brain CT, 8 layers x 3 from the skull base to the upper cortex, as the models
 * read them.
 *
 * From a volume: the range from..to (given, or found by data/head.h) is cut into 24 equal steps; slice i sits
 * at the middle of step i and averages the 5 mm round it when the scan's own slices are thinner than 4 mm, else
 * it is the nearest slice of the scan. So short scans repeat slices and long ones skip.
 *
 * In the plane every study has the same scale: a field of view of STUDY_FIELD_MM round the middle of the brain,
 * as the phantoms have, whatever the scan's matrix (128 px: 1.58 mm, 224 px: 0.90 mm, 512 px: 0.39 mm a pixel).
 * Resampling is separable: a triangle filter as wide as the coarser of the two grids. Outside the scan is air.
 *
 * Grey values: window 40/80, so 0..80 HU to 0..255. Image left = patient right; rows run front to back. */
#ifndef DATA_STUDY_H
#define DATA_STUDY_H
#include "data/image.h"
#include "data/volume.h"

enum { STUDY_SLICES = 24, STUDY_LAYERS = 8, STUDY_MIN_SIZE = 64, STUDY_MAX_SIZE = 1024 };
#define STUDY_FIELD_MM 202.0
#define STUDY_SLAB_MM  5.0

typedef struct Study {
    int size;        /* pixels across */
    double pixel_mm; /* 0: not known (folders without a pixel size) */
    uint8_t *pixel;  /* [24][size][size], windowed */
    int16_t *hu;     /* the same shape, Hounsfield units -1024..3071; NULL when made from pictures */
    bool from_volume;
    double centre_x, centre_y; /* of the field of view, mm from the volume's corner; volumes only */
    bool automatic;            /* the range was found, not given */
    double from, to;           /* mm from the lower face of the scan's first slice */
    double at[STUDY_SLICES];   /* middle of each slice, mm */
    int first[STUDY_SLICES], last[STUDY_SLICES]; /* the scan's slices (or files) it is made of, from 0 */
} Study;

void study_free(Study *s);

/* 0..255 for a value under the window level/width (40/80): round(255 (hu - (level - width/2)) / width). */
uint8_t study_window(double hu, double level, double width);

typedef struct StudyOptions {
    int size;         /* STUDY_MIN_SIZE..STUDY_MAX_SIZE */
    double from, to;  /* mm; to <= from: automatic. For folders of other than 24: file numbers from 1 */
    double pixel_mm;  /* folders:   mm per pixel of the files; 0: unknown, the picture is scaled whole */
    bool any_count;   /* folders:   accept other than 24 files and repeat or skip */
    bool from_vertex; /* folders:   the first file is the uppermost slice */
} StudyOptions;
StudyOptions study_options(void); /* 128 px, automatic */

/* `what` names the input in messages. Faults: NaN, no head, no skull, a range outside the scan or with fewer
 * than 8 slices of the scan in it. */
bool study_from_volume(const Volume *v, const StudyOptions *o, const char *what, Study *s, Error *e);

/* Which of count slices study slice i takes, both from 0: short series repeat slices, long ones skip. */
static inline int study_pick(int i, int count) { return (2 * i + 1) * count / (2 * STUDY_SLICES); }

/* The PNG and JPEG files of a folder in the order of their names (numbers by value), already windowed, caudal
 * to cranial, all of one size. Exactly 24, or at least 8 with o->any_count. Messages call a file by its number
 * in that order, from 1: its name may be a patient's. */
bool study_from_folder(const char *folder, const StudyOptions *o, Study *s, Error *e);

/* 24 such files by their paths; what[i] is how messages call file i, never path[i]. */
bool study_from_files(const char *const path[STUDY_SLICES], const char *const what[STUDY_SLICES],
                      const StudyOptions *o, Study *s, Error *e);

/* Writes study `id` into a data set folder in CTRG's schema (data/ctrg.h): images/<id>/00.png .. 23.png, with
 * with_hu also hu/<id>/00.png .. (RGB: HU + 1024 = 256 R + G), and its entry in annotations.json, replacing an
 * entry of the same id and keeping all others. findings: the report, "" where there is none. */
bool study_write(const Study *s, const char *folder, int64_t id, const char *findings, bool with_hu, Error *e);

/* The same with a member `key` of that entry more, which is borrowed. */
struct json_t;
bool study_write_with(const Study *s, const char *folder, int64_t id, const char *findings, bool with_hu,
                      const char *key, struct json_t *value, Error *e);

/* Reads hu/<id>/NN.png back: int16 [24][*size][*size], malloc'ed. False with e->code 0 if there is none. */
bool study_read_hu(const char *folder, int64_t id, int16_t **hu, int *size, Error *e);
#endif
