/* What is wrong with the patient: findings by the rates of a regime, then the lesions, masses and the anatomy
 * they change. Every finding draws from its own random stream, so removing or mirroring one leaves all others
 * as they were.
 *
 * The ranges keep what is called abnormal apart from what is normal (ventricle width 0.85-1.15 against
 * 1.75-2.3, sulci 0.8-1.2 against 2.6-3.4 and so on), keep lesions of different places apart, and put a floor
 * under every size, so that what the report says can be seen. */
#include "data/phantom_parts.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static float uniform(Rng *r, double low, double high) { return (float)rng_range(r, low, high); }
static bool chance(Rng *r, double p) { return rng_unit(r) < p; }
static float radians(float degrees) { return degrees * (float)(3.14159265358979323846 / 180); }

/* The stream of one copy (0 single or left, 1 right of both) of a finding. */
static Rng finding_stream(uint64_t seed, const char *what, int finding, int copy)
{
    char name[64];
    snprintf(name, sizeof name, "phantom.%s.%d.%d", what, finding, copy);
    return rng_open(seed, name);
}

/* ---- findings ---- */

static const int low_rows[] = {
    FIND_BASAL_GANGLIA_LOW,     FIND_THALAMUS_LOW,   FIND_PERIVENTRICULAR_LOW, FIND_CORONA_RADIATA_LOW,
    FIND_CENTRUM_SEMIOVALE_LOW, FIND_FRONTAL_LOW,    FIND_TEMPORAL_LOW,        FIND_PARIETAL_LOW,
    FIND_OCCIPITAL_LOW,         FIND_CEREBELLUM_LOW, FIND_BRAINSTEM_LOW,
};
static const int high_rows[] = {
    FIND_BASAL_GANGLIA_HIGH, FIND_THALAMUS_HIGH,  FIND_FRONTAL_HIGH,    FIND_TEMPORAL_HIGH,
    FIND_PARIETAL_HIGH,      FIND_OCCIPITAL_HIGH, FIND_CEREBELLUM_HIGH, FIND_BRAINSTEM_HIGH,
};
enum { LOWS = 11, HIGHS = 8 };

static Side random_side(Rng *r, double both)
{
    double u = rng_unit(r);
    return u < both ? SIDE_BOTH : u < both + (1 - both) / 2 ? SIDE_LEFT : SIDE_RIGHT;
}

static void add(FindingSet *set, int finding, Side side)
{
    findings_add(set, finding, finding_kind(finding)->sided ? side : SIDE_NONE);
}

/* Every finding at 8-30 %, sides even, places even. */
static FindingSet sample_balanced(Rng *r)
{
    FindingSet set = {0};
    if (chance(r, 0.08)) return set;
    double u = rng_unit(r);
    int n = u < 0.28 ? 0 : u < 0.68 ? 1 : u < 0.92 ? 2 : 3, place[LOWS];
    for (int i = 0; i < LOWS; i++) place[i] = low_rows[i];
    for (int i = 0; i < n; i++) {
        int j = i + (int)rng_below(r, LOWS - i), row = place[j];
        place[j] = place[i];
        add(&set, row, random_side(r, 0.14));
    }
    u = rng_unit(r);
    if (u < 0.30) {
        add(&set, high_rows[rng_below(r, HIGHS)], random_side(r, 0));
    } else if (u < 0.54) {
        double v = rng_unit(r);
        int row = v < 0.36 ? FIND_SUBDURAL_HIGH : v < 0.66 ? FIND_SUBDURAL_LOW : FIND_EPIDURAL_HIGH;
        add(&set, row, random_side(r, 0));
    }
    if (chance(r, 0.15)) add(&set, FIND_SUBARACHNOID_HIGH, random_side(r, 0.30));
    if (chance(r, 0.18)) add(&set, FIND_VENTRICLES_DILATED, SIDE_NONE);
    if (chance(r, 0.25)) add(&set, FIND_SULCI_WIDENED, SIDE_NONE);
    if (chance(r, 0.12)) add(&set, FIND_FALX_CALCIFICATION, SIDE_NONE);
    if (chance(r, 0.10)) findings_add(&set, FIND_BASAL_GANGLIA_CALCIFICATION, SIDE_BOTH);
    return set;
}

/* How often each low place occurs on CTRG-Brain, and how often on both sides then. */
static const struct {
    double rate, both;
} ctrg_low[LOWS] = {{.65, .86}, {.045, .3}, {.42, .92}, {.14, .8},  {.21, .9}, {.038, .2},
                    {.012, .2}, {.025, .2}, {.037, .2}, {.037, .2}, {.06, 0}};
static const double ctrg_high[HIGHS] = {.04, .011, .006, .006, .006, .004, .004, .006};

static FindingSet sample_ctrg(Rng *r)
{
    FindingSet set = {0};
    if (chance(r, 0.11)) return set;
    int n = 0;
    for (int i = 0; i < LOWS; i++) {
        bool there = chance(r, ctrg_low[i].rate);
        Side side = random_side(r, ctrg_low[i].both);
        if (there && n < 5) add(&set, low_rows[i], side), n++;
    }
    double u = rng_unit(r), sum = 0;
    for (int i = 0; i < HIGHS; i++) {
        if (u >= sum && u < sum + ctrg_high[i]) add(&set, high_rows[i], random_side(r, 0));
        sum += ctrg_high[i];
    }
    if (u >= sum && u < sum + 0.04) {
        double v = rng_unit(r);
        int row = v < 0.5 ? FIND_SUBDURAL_HIGH : v < 0.85 ? FIND_SUBDURAL_LOW : FIND_EPIDURAL_HIGH;
        add(&set, row, random_side(r, 0));
    }
    if (chance(r, 0.038)) add(&set, FIND_SUBARACHNOID_HIGH, random_side(r, 0.5));
    if (chance(r, 0.17)) add(&set, FIND_VENTRICLES_DILATED, SIDE_NONE);
    if (chance(r, 0.55)) add(&set, FIND_SULCI_WIDENED, SIDE_NONE);
    if (chance(r, 0.008)) add(&set, FIND_FALX_CALCIFICATION, SIDE_NONE);
    if (chance(r, 0.005)) findings_add(&set, FIND_BASAL_GANGLIA_CALCIFICATION, SIDE_BOTH);
    return set;
}

/* Two densities in one place would hide one of them: the low one goes. */
static void drop_hidden(FindingSet *set)
{
    for (int i = 0; i < HIGHS; i++) {
        int low = finding_index(finding_kind(high_rows[i])->entity, DENSITY_LOW);
        if (set->side[high_rows[i]]) set->side[low] = SIDE_ABSENT;
    }
    if (set->side[FIND_BASAL_GANGLIA_HIGH]) set->side[FIND_BASAL_GANGLIA_CALCIFICATION] = SIDE_ABSENT;
    if (set->side[FIND_BASAL_GANGLIA_CALCIFICATION]) set->side[FIND_BASAL_GANGLIA_LOW] = SIDE_ABSENT;
}

/* ---- the head ---- */

static Head sample_head(uint64_t seed)
{
    Rng r = rng_open(seed, "phantom.head");
    Head h = {0};
    h.half_width = uniform(&r, 65, 71);
    h.half_length = uniform(&r, 80, 89);
    h.power = uniform(&r, 2.15, 2.4);
    h.skull = uniform(&r, 4.5, 7);
    h.scalp = uniform(&r, 3, 6);
    h.turn = radians(uniform(&r, -7, 7));
    h.scale = uniform(&r, 0.94, 1.03);
    h.move_x = uniform(&r, -5, 5);
    h.move_y = uniform(&r, -5, 5);
    h.level_offset = uniform(&r, -0.35, 0.35);
    h.tilt = uniform(&r, -0.6, 0.6);
    h.ventricle = uniform(&r, 0.85, 1.15);
    h.sulcus = uniform(&r, 0.8, 1.2);
    h.shrink = uniform(&r, 0, 0.6);
    h.white = uniform(&r, 26, 29.5);
    h.grey = uniform(&r, 34, 37.5);
    h.csf = uniform(&r, 3, 9);
    h.noise_sd = uniform(&r, 3.2, 5.2);
    h.gain = uniform(&r, 0.83, 1.04);
    for (int i = 0; i < 4; i++) h.wave[i] = uniform(&r, 0, 6.2831853);
    h.folds = rng_u32(&r);
    h.pineal = chance(&r, 0.4);
    h.choroid = chance(&r, 0.3);
    h.holder = chance(&r, 0.5);
    h.frontal_sinus = chance(&r, 0.6);
    return h;
}

/* A dome over the widest level; below the base face and neck narrow slowly. */
static float table_size(float t, float height)
{
    float below = t < 0 ? t : 0, z = ((t - below) / 24 - 0.42f) / height, q = 1 - z * z;
    return (q > 0.0004f ? sqrtf(q) : 0.02f) * (1 + 0.02f * below);
}

float head_outer(float t) { return table_size(t, 0.655f); }

/* The inner table closes 7 mm below the outer one, so slices near the vertex show thick bone. */
float head_inner(float t) { return table_size(t, t > 10 ? 0.605f : 0.655f); }

float head_rim(const Head *h, float angle, float t)
{
    float x = fabsf(sinf(angle)) / h->half_width, y = fabsf(cosf(angle)) / h->half_length;
    return head_inner(t) / powf(powf(x, h->power) + powf(y, h->power), 1 / h->power) - h->skull;
}

/* ---- lesions ---- */

static bool is_lobe(Entity e)
{
    return e == ENTITY_FRONTAL || e == ENTITY_TEMPORAL || e == ENTITY_PARIETAL || e == ENTITY_OCCIPITAL;
}

/* Centre for a lesion of radius `radius` in a lobe: so deep that it reaches the cortex without leaving it. */
static void place_in_lobe(Rng *r, const Head *h, Lesion *l)
{
    static const struct {
        Entity lobe;
        float from, to, low, high; /* degrees, t */
    } where[] = {{ENTITY_FRONTAL, 22, 50, 7, 19.5f},
                 {ENTITY_TEMPORAL, 78, 104, 4.4f, 8},
                 {ENTITY_PARIETAL, 102, 145, 17, 20.8f},
                 {ENTITY_OCCIPITAL, 148, 165, 6.8f, 13}};
    int k = 0;
    while (where[k].lobe != finding_kind(l->finding)->entity) k++;
    l->t = uniform(r, where[k].low, where[k].high);
    float angle = radians(uniform(r, where[k].from, where[k].to));
    float depth = head_rim(h, angle, l->t) - 0.7f * l->radius - uniform(r, 2, 6);
    if (depth < 14) depth = 14;
    l->x = depth * sinf(angle);
    l->y = depth * cosf(angle);
}

/* Centre on the left side; the caller mirrors it. */
static void place_blob(Rng *r, const Head *h, Lesion *l)
{
    static const struct {
        Entity entity;
        float x[2], y[2], t[2];
    } where[] = {{ENTITY_BASAL_GANGLIA, {20, 27}, {0, 14}, {9.4f, 11.7f}},
                 {ENTITY_THALAMUS, {11, 14}, {-14, -8}, {7.8f, 10.4f}},
                 {ENTITY_PERIVENTRICULAR, {29, 33}, {26, 33}, {13, 15.8f}},
                 {ENTITY_CORONA_RADIATA, {27, 33}, {-8, 8}, {13, 15.8f}},
                 {ENTITY_CENTRUM_SEMIOVALE, {18, 27}, {-18, 20}, {18.8f, 20.6f}},
                 {ENTITY_CEREBELLUM, {18, 27}, {-50, -40}, {1.2f, 3.4f}},
                 {ENTITY_BRAINSTEM, {-3, 3}, {-11, -6}, {1.8f, 5}}};
    Entity e = finding_kind(l->finding)->entity;
    if (is_lobe(e)) {
        place_in_lobe(r, h, l);
        return;
    }
    int k = 0;
    while (where[k].entity != e) k++;
    l->x = uniform(r, where[k].x[0], where[k].x[1]);
    l->y = uniform(r, where[k].y[0], where[k].y[1]);
    l->t = uniform(r, where[k].t[0], where[k].t[1]);
    if (e == ENTITY_PERIVENTRICULAR && chance(r, 0.5)) l->y = -l->y;
}

static Lesion *new_lesion(Plan *plan, int finding, Side side)
{
    if (plan->n_lesions == PLAN_LESIONS) die("phantom: more than %d lesions", PLAN_LESIONS);
    Lesion *l = &plan->lesion[plan->n_lesions++];
    *l = (Lesion){.finding = finding, .side = side, .bit = -1};
    return l;
}

static void shape_blob(Rng *r, Lesion *l, double wide, double tall)
{
    l->shape = BLOB;
    l->rx = l->radius * uniform(r, 0.85, wide);
    l->ry = l->radius * uniform(r, 0.9, tall);
    l->rz = greater(6, 0.9f * l->radius);
    l->phase[0] = uniform(r, 0, 6.2831853);
    l->phase[1] = uniform(r, 0, 6.2831853);
}

static void set_side(Lesion *l)
{
    if (l->side == SIDE_RIGHT) l->x = -l->x;
}

static void plan_low(uint64_t seed, Plan *plan, int finding, Side side, int copy)
{
    Rng r = finding_stream(seed, "low", finding, copy);
    Entity e = finding_kind(finding)->entity;
    bool big = is_lobe(e) || e == ENTITY_CEREBELLUM, tight = e == ENTITY_THALAMUS || e == ENTITY_BRAINSTEM;
    int n = e == ENTITY_BRAINSTEM || e == ENTITY_THALAMUS ? 1 : 1 + chance(&r, 0.35);
    for (int i = 0; i < n; i++) {
        Lesion *l = new_lesion(plan, finding, side);
        l->radius = big && i == 0 ? uniform(&r, 8, 15) : tight ? uniform(&r, 5, 6) : uniform(&r, 5, 7.5);
        if (e == ENTITY_CEREBELLUM && l->radius > 12) l->radius -= 3;
        place_blob(&r, &plan->head, l);
        shape_blob(&r, l, 1.2, 1.2);
        l->hu = e == ENTITY_PERIVENTRICULAR ? uniform(&r, 12, 17) : uniform(&r, 8, 15);
        l->wobble = 0.12f;
        set_side(l);
    }
}

static void push_from(Plan *plan, Side side, float y, float t, float amount)
{
    if (plan->n_pushes == PLAN_PUSHES) die("phantom: more than %d masses", PLAN_PUSHES);
    plan->push[plan->n_pushes++] = (Push){side == SIDE_LEFT ? 1 : -1, y, t, amount};
    findings_add(&plan->found, FIND_MIDLINE_SHIFT, side_mirror(side));
    findings_add(&plan->found, FIND_LATERAL_VENTRICLE_COMPRESSED, side);
}

static void plan_high(uint64_t seed, Plan *plan, int finding, Side side)
{
    Rng r = finding_stream(seed, "high", finding, 0);
    Entity e = finding_kind(finding)->entity;
    Lesion *l = new_lesion(plan, finding, side);
    l->radius = is_lobe(e) || e == ENTITY_BASAL_GANGLIA ? uniform(&r, 9, 19)
                : e == ENTITY_CEREBELLUM                ? uniform(&r, 7, 12)
                                                        : uniform(&r, 5.5, 8.5);
    place_blob(&r, &plan->head, l);
    shape_blob(&r, l, 1.1, 1.3);
    l->hu = uniform(&r, 60, 74);
    l->oedema = uniform(&r, 3.5, 7);
    l->wobble = 0.13f;
    float amount = uniform(&r, 5.5, 6.5) + (l->radius - 12.5f) * 0.6f;
    set_side(l);
    if (l->radius > 12.5f) {
        push_from(plan, side, l->y, l->t, amount);
        plan->crowding[side == SIDE_RIGHT] = 0.8f;
    }
}

static void plan_collection(uint64_t seed, Plan *plan, int finding, Side side)
{
    Rng r = finding_stream(seed, "collection", finding, 0);
    bool lens = finding == FIND_EPIDURAL_HIGH;
    Lesion *l = new_lesion(plan, finding, side);
    l->shape = lens ? LENS_SHAPE : CRESCENT;
    l->angle = radians(uniform(&r, 65, 110));
    l->t = uniform(&r, 10.5, 16.5);
    l->thickness = lens ? uniform(&r, 13, 22) : uniform(&r, 7, 13);
    l->half_angle = radians(lens ? uniform(&r, 21, 29) : uniform(&r, 50, 68));
    l->half_height = lens ? uniform(&r, 3.2, 4.5) : uniform(&r, 5, 7);
    l->radius = l->thickness / 2;
    l->hu = finding_kind(finding)->density == DENSITY_HIGH ? uniform(&r, 58, 70) : uniform(&r, 13, 19);
    float amount = uniform(&r, 5.5, 8.5);
    if (side == SIDE_RIGHT) l->angle = -l->angle;
    plan->crowding[side == SIDE_RIGHT] = 0.7f;
    if (l->thickness > (lens ? 16 : 9.5f)) push_from(plan, side, 0, l->t, amount);
}

bool plan_pushes(const Plan *plan, int finding)
{
    const FindingKind *k = finding_kind(finding);
    if (finding == FIND_MIDLINE_SHIFT || finding == FIND_LATERAL_VENTRICLE_COMPRESSED) return true;
    bool may = k->density == DENSITY_HIGH && k->parenchymal;
    may = may || k->entity == ENTITY_SUBDURAL || k->entity == ENTITY_EPIDURAL;
    return may && plan->n_pushes > 0; /* there is at most one bleed or collection */
}

static void plan_lesions(uint64_t seed, Plan *plan)
{
    FindingSet asked = plan->found;
    for (int i = 0; i < LOWS; i++) {
        int f = low_rows[i], side = asked.side[f];
        if (side == SIDE_BOTH) {
            plan_low(seed, plan, f, SIDE_LEFT, 0);
            plan_low(seed, plan, f, SIDE_RIGHT, 1);
        } else if (side != SIDE_ABSENT) {
            plan_low(seed, plan, f, (Side)side, 0);
        }
    }
    for (int i = 0; i < HIGHS; i++)
        if (asked.side[high_rows[i]]) plan_high(seed, plan, high_rows[i], (Side)asked.side[high_rows[i]]);
    static const int collections[] = {FIND_SUBDURAL_HIGH, FIND_SUBDURAL_LOW, FIND_EPIDURAL_HIGH};
    for (int i = 0; i < 3; i++)
        if (asked.side[collections[i]])
            plan_collection(seed, plan, collections[i], (Side)asked.side[collections[i]]);
}

void phantom_replan(uint64_t seed, const FindingSet *found, Plan *plan)
{
    memset(plan, 0, sizeof *plan);
    plan->head = sample_head(seed);
    plan->found = *found;
    plan->found.side[FIND_MIDLINE_SHIFT] = plan->found.side[FIND_LATERAL_VENTRICLE_COMPRESSED] = SIDE_ABSENT;
    plan_lesions(seed, plan);
    Rng r = rng_open(seed, "phantom.widths");
    float dilation = uniform(&r, 1.75, 2.3), widening = uniform(&r, 2.6, 3.4), gap = uniform(&r, 1.8, 3.2);
    bool dilated = found->side[FIND_VENTRICLES_DILATED], widened = found->side[FIND_SULCI_WIDENED];
    plan->blood_hu = uniform(&r, 52, 64);
    plan->ventricle = plan->head.ventricle * (dilated ? dilation : 1);
    plan->sulcus = plan->head.sulcus * (widened ? widening : 1);
    plan->shrink = plan->head.shrink + (widened ? gap : 0);
    for (int f = 0; f < FINDING_COUNT; f++) plan->bit[f] = -1;
}

void phantom_plan(uint64_t seed, const PhantomOptions *o, Plan *plan)
{
    Rng r = rng_open(seed, o->regime == PHANTOM_CTRG ? "phantom.findings.ctrg" : "phantom.findings");
    FindingSet found = o->regime == PHANTOM_CTRG ? sample_ctrg(&r) : sample_balanced(&r);
    drop_hidden(&found);
    phantom_replan(seed, &found, plan);
}
