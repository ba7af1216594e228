/* Synthetic head CT with its report: a drawn patient whose every finding is known to the voxel. Same seed and
 * options, same bytes, with any number of threads; findings and reports are the same on every machine, while
 * voxels may differ in the last bit where another C library rounds sines otherwise.
 *
 * Head coordinates in mm: x to the patient's left, y to the front, slice position t in units of 5 mm from the
 * skull base (0) to the vertex (24). Image rows run front to back, columns from the patient's right to the
 * left: the patient's right is on the left of the image. */
#ifndef DATA_PHANTOM_H
#define DATA_PHANTOM_H
#include "data/findings.h"
#include "tensor/error.h"

enum {
    PHANTOM_SLICES = 24,
    PHANTOM_STYLES = 4,
    PHANTOM_MAX_TRUTH = 16,
    PHANTOM_VERSION = 2, /* written to annotations; changes whenever the drawing changes */
};

typedef enum PhantomRegime {
    PHANTOM_BALANCED, /* every finding at 10-30 %, sides even: nothing can be guessed without looking */
    PHANTOM_CTRG,     /* the rates of CTRG-Brain */
} PhantomRegime;

typedef enum PhantomEdit {
    PHANTOM_AS_IS,
    PHANTOM_FLIP,   /* one lesion moves to the mirrored place */
    PHANTOM_REMOVE, /* one lesion is not there */
} PhantomEdit;

typedef struct PhantomOptions {
    PhantomRegime regime;
    int size;       /* pixels across, 64..1024 */
    int style;      /* house style of the report, 0..3; -1: drawn from the seed */
    uint64_t noise; /* 0; other numbers give twins that differ only in noise */
    PhantomEdit edit;
    int edit_truth;  /* which truth row of the unedited study the edit is about */
    double slice_mm; /* distance of slices, 5 for the 24-slice study; 1 to 10 */
    double below_mm; /* how far the volume reaches below the skull base, 0..60 */
} PhantomOptions;
PhantomOptions phantom_options(void); /* balanced, 128, style -1, 5 mm, the 24 slices */

/* One finding of the report. */
typedef struct PhantomTruth {
    int finding; /* 0..FINDING_COUNT-1 */
    Side side;
    double radius_mm; /* of the largest lesion (half the thickness of a collection); 0 for diffuse findings */
    double volume_ml; /* of its mask; 0 when only the text was made */
    char clause[160];
} PhantomTruth;

typedef struct Phantom {
    uint64_t seed;
    PhantomOptions options;
    int style;
    char report[2048], impression[1024];
    int n_truth;
    PhantomTruth truth[PHANTOM_MAX_TRUTH];
    /* The volume; NULL when only the text was made. */
    int n_slices, size;
    double pixel_mm, slice_mm;
    float *hu;      /* [n_slices][size][size], Hounsfield units */
    uint32_t *mask; /* the same shape: bit 2k: truth k, left or only side; bit 2k+1: truth k, right side */
    double
        *level; /* [n_slices] true position t of each slice: layer = floor(t / 3), below 0 = below the base */
} Phantom;

/* False only when memory is short or an edit does not apply (see phantom_editable). Release with phantom_free.
 */
bool phantom_make(uint64_t seed, const PhantomOptions *options, Phantom *p, Error *e);
/* The same report and truth without drawing: hu and mask stay NULL. About 10 us. */
bool phantom_text_only(uint64_t seed, const PhantomOptions *options, Phantom *p, Error *e);
void phantom_free(Phantom *p);

/* Whether truth row k may be edited so that the report changes in exactly that clause: no mass effect hangs on
 * it, and for a flip it has one side. */
bool phantom_editable(const Phantom *p, int k, PhantomEdit edit);

FindingSet phantom_findings(const Phantom *p);
/* The label of a mask bit: bit 0..31. */
int phantom_mask_label(const Phantom *p, int bit);

/* One slice under window 40/80 (0..80 HU to 0..255). dst: u8[size][size]. */
void phantom_window(const Phantom *p, int slice, uint8_t *dst);
#endif
