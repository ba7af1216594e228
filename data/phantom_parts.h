/* The stages of the phantom, shared by data/phantom*.c only: what is wrong with the patient (phantom_plan.c),
 * what the report says (phantom_report.c), what a slice looks like (phantom_draw.c and the parts it calls).
 * Lengths in mm, angles in radians (0 front, + towards the patient's left), positions t as in phantom.h. */
#ifndef DATA_PHANTOM_PARTS_H
#define DATA_PHANTOM_PARTS_H
#include "data/phantom.h"
#include "tensor/rng.h"

#define PHANTOM_FIELD_MM 202.0 /* width of the image */
#define PHANTOM_SLICE_MM 5.0   /* one unit of t */

/* ---- the plan ---- */

typedef struct Head {
    float half_width, half_length, power; /* superellipse of the outer table at the widest level */
    float skull, scalp;                   /* thickness */
    float turn, scale, move_x, move_y;    /* pose in the scanner */
    float level_offset, tilt;             /* units of t; mm of y per unit of t */
    float ventricle, sulcus, shrink;      /* relative width, relative width, gap between brain and skull */
    float white, grey, csf;               /* HU */
    float noise_sd, gain, wave[4];        /* of the scanner: grain, calibration of soft tissue */
    uint32_t folds;                       /* key of the cortical folding */
    bool pineal, choroid, holder, frontal_sinus;
} Head;

typedef enum LesionShape { BLOB, CRESCENT, LENS_SHAPE } LesionShape;

typedef struct Lesion {
    LesionShape shape;
    int finding;
    Side side;        /* LEFT, RIGHT or NONE */
    float x, y, t;    /* centre of a blob; t also of a collection */
    float radius;     /* of a blob, or half the thickness of a collection */
    float rx, ry, rz; /* half axes of a blob */
    float hu, oedema; /* width of the oedema round a bleed */
    float wobble, phase[2];
    float angle, thickness, half_angle, half_height; /* of a collection; half_height in units of t */
    int bit;                                         /* of Phantom.mask; -1 until the report is made */
} Lesion;

typedef struct Push {         /* displacement of the brain away from a mass */
    float sign, y, t, amount; /* sign of x of the mass */
} Push;

enum { PLAN_LESIONS = 48, PLAN_PUSHES = 4 };
typedef struct Plan {
    Head head;
    FindingSet found; /* what is wrong, by finding */
    int n_lesions, n_pushes;
    Lesion lesion[PLAN_LESIONS];
    Push push[PLAN_PUSHES];
    float crowding[2];               /* 0..1: narrowed sulci on the left, right */
    float ventricle, sulcus, shrink; /* the patient's own, times what is wrong */
    float blood_hu;                  /* of subarachnoid blood */
    int bit[FINDING_COUNT];          /* first mask bit of a finding; -1 */
} Plan;

/* Samples the findings of `seed`, and everything that follows from them. */
void phantom_plan(uint64_t seed, const PhantomOptions *o, Plan *plan);
/* Replans with other findings: anatomy and the lesions that stay are the same. */
void phantom_replan(uint64_t seed, const FindingSet *found, Plan *plan);
/* Radius of the inner table in direction `angle` at t. */
float head_rim(const Head *h, float angle, float t);
/* Relative size of the outer and inner table at t (1 at the widest level). */
float head_outer(float t);
float head_inner(float t);

/* ---- the report ---- */

/* Fills style, report, impression and truth of p, and the mask bits of the plan. */
void phantom_write_report(Plan *plan, Phantom *p);
/* Whether a lesion of this plan pushes the midline because of finding f. */
bool plan_pushes(const Plan *plan, int finding);

/* ---- drawing ---- */

/* Lattice noise with smooth interpolation, about -1..1; gradient with respect to x and y. */
float lattice_noise(uint32_t key, float x, float y, float z, float *dx, float *dy);

/* fminf and fmaxf are calls under -O2, because of NaN. */
static inline float lesser(float a, float b) { return a < b ? a : b; }
static inline float greater(float a, float b) { return a > b ? a : b; }

/* Coverage of a pixel by an area whose edge is `distance` away (> 0 inside), by an edge `width` wide. */
static inline float soft(float distance, float width)
{
    float c = distance / width + 0.5f;
    return c < 0 ? 0 : c > 1 ? 1 : c;
}
static inline float mix(float from, float to, float amount) { return from + amount * (to - from); }

/* What makes every patient's anatomy a little irregular, tabulated every WARP_MM over the image: a smooth
 * displacement of about 2 mm, clouds in the white matter, and how steeply the folds cross the slice. */
enum { WARP_CELLS = 28 };
#define WARP_MM 8.0f
typedef struct Warp {
    float x, y, cloud, faint;
} Warp;

/* What every pixel of one slice shares. */
typedef struct Slice {
    const Plan *plan;
    Warp (*warp)[WARP_CELLS]; /* [WARP_CELLS][WARP_CELLS], rows along y */
    float t, pixel;           /* pixel: mm, the width of edges */
    float outer, inner;       /* sizes of the tables at this level */
    float steep;              /* cosine of the inner table's slope: true depth / depth in the slice */
    float narrowed[2];        /* width of the left, right ventricle relative to its own */
    float pushed;             /* largest displacement at this level */
} Slice;

/* One point of it. */
typedef struct Point {
    float x0, y0, r, angle; /* in the skull */
    float x, y, ax;         /* in the brain: pushed aside and levelled; ax = |x| */
    float in;               /* depth below the inner table */
    float d;                /* true depth below the brain's surface */
    float cloud, faint;     /* -1..1 */
    int side;               /* 0 left, 1 right */
} Point;

/* Levels that subarachnoid blood reaches. */
static inline bool has_blood(float t) { return t > 3 && t < 19; }

/* What the brain part found at a point. */
typedef struct Tissue {
    float hu;
    float ventricle; /* coverage by ventricles */
    float lateral;   /* coverage by the lateral ventricle of this side at its uncompressed width */
    float sulcus;    /* coverage by sulci, fissures and the rim of fluid */
    float cistern;   /* coverage by cisterns */
} Tissue;

void draw_cortex(const Slice *s, const Point *p, Tissue *out);
void draw_deep(const Slice *s, const Point *p, Tissue *out);
void draw_posterior_fossa(const Slice *s, const Point *p, Tissue *out);
/* Bone, air and soft tissue of the skull base, sinuses and face, over hu. */
float draw_base(const Slice *s, const Point *p, float hu);
/* Vault and scalp, over hu; `out` is the distance outside the outer table. */
float draw_vault(const Slice *s, const Point *p, float out, float hu);
/* Collections and blobs: hu, and their mask bits into *bits. */
float draw_lesions(const Slice *s, const Point *p, float hu, uint32_t *bits);
/* Thickness of extra-axial collections at a point. */
float collection_depth(const Slice *s, const Point *p, const Lesion *l);

/* All of it, into p->hu and p->mask. */
bool phantom_draw(const Plan *plan, Phantom *p, Error *e);
#endif
