/* The brain at a point: cortex with its folds, deep grey, ventricles and cisterns, posterior fossa. Each
 * structure is a signed distance turned into coverage (soft), mixed over what lies below it; structures fade in
 * and out with t, which stands for partial volume between slices. */
#include "data/phantom_parts.h"
#include <math.h>

/* ---- noise ---- */

static float lattice_value(uint32_t key, int x, int y, int z)
{
    uint32_t h = key ^ (uint32_t)x * 0x8da6b343u ^ (uint32_t)y * 0xd8163841u ^ (uint32_t)z * 0xcb1ab31fu;
    h = (h ^ h >> 16) * 0x7feb352du;
    h = (h ^ h >> 15) * 0x846ca68bu;
    return (float)(int32_t)(h ^ h >> 16) * 0x1p-31f;
}

static int floor_int(float v)
{
    int i = (int)v;
    return i - ((float)i > v);
}

float lattice_noise(uint32_t key, float x, float y, float z, float *dx, float *dy)
{
    int ix = floor_int(x), iy = floor_int(y), iz = floor_int(z);
    float u = x - (float)ix, v = y - (float)iy, w = z - (float)iz;
    float su = u * u * (3 - 2 * u), sv = v * v * (3 - 2 * v), sw = w * w * (3 - 2 * w);
    float a[2][2]; /* [y][x], already mixed along z */
    for (int j = 0; j < 2; j++)
        for (int i = 0; i < 2; i++) {
            a[j][i] = lattice_value(key, ix + i, iy + j, iz);
            if (sw > 0) a[j][i] = mix(a[j][i], lattice_value(key, ix + i, iy + j, iz + 1), sw);
        }
    float low = mix(a[0][0], a[0][1], su), high = mix(a[1][0], a[1][1], su);
    *dx = 6 * u * (1 - u) * mix(a[0][1] - a[0][0], a[1][1] - a[1][0], sv);
    *dy = 6 * v * (1 - v) * (high - low);
    return mix(low, high, sv);
}

/* ---- shapes ---- */

static float square(float v) { return v * v; }
static float bump(float v, float width) { return expf(-square(v / width) * 0.5f); }

/* About the distance to an ellipse, > 0 inside. */
static float ellipse(float x, float y, float cx, float cy, float rx, float ry)
{
    float q = sqrtf(square((x - cx) / rx) + square((y - cy) / ry));
    return (1 - q) * lesser(rx, ry);
}

/* 1 from level a to level b, fading over `fade` at both ends. */
static float levels(float t, float a, float b, float fade)
{
    return lesser(soft(t - a, fade), soft(b - t, fade));
}

/* Coverage by a band of half width w at distance `away` from its centre line; thin bands never cover all. */
static float band(float away, float w, float pixel)
{
    return lesser(soft(w - away, pixel), lesser(1, 2 * w / pixel));
}

static void cover(float *c, float by)
{
    if (by > *c) *c = by;
}

/* ---- cortex ---- */

/* Distance to the nearest fold: a level set of lattice noise, along the surface and (stretched) into depth;
 * near the vertex, where the surface lies flat in the slice, in the slice's own plane. */
static float fold_distance(const Slice *s, const Point *p, uint32_t key)
{
    float along = 8.2f, deep = 19, gx, gy, flat = soft(s->t - 20.5f, 2.4f);
    float value = 0, slope = 0;
    if (flat < 1) {
        float n = lattice_noise(key, p->angle * 62 / along, p->d / deep, s->t * 0.34f, &gx, &gy);
        value += (1 - flat) * n;
        slope += (1 - flat) * sqrtf(square(gx / along) + square(gy / deep));
    }
    if (flat > 0) {
        float n = lattice_noise(key + 1, p->x / 9.5f, p->y / 8, s->t * 0.3f, &gx, &gy);
        value += flat * n;
        slope += flat * sqrtf(square(gx / 9.5f) + square(gy / 8));
    }
    return fabsf(value) / greater(slope, 0.028f);
}

/* Falx and the fissure between the hemispheres: in front from the frontal base up, behind above the tentorium,
 * whole above the ventricles. */
static float fissure_extent(const Slice *s, const Point *p)
{
    float t = s->t, front = 30 * s->inner + 6, back = -34 * s->inner - 4;
    float anterior = soft(p->y - front, 3) * soft(t - 3.2f, 0.6f);
    float posterior = soft(back - p->y, 3) * soft(t - 6, 0.8f);
    float whole = soft(t - 15.8f, 0.8f);
    return greater(whole, greater(anterior, posterior));
}

static void draw_fissure(const Slice *s, const Point *p, Tissue *o)
{
    float extent = fissure_extent(s, p);
    if (extent <= 0 || p->ax > 8) return;
    const Plan *plan = s->plan;
    float sulcus = plan->sulcus * (1 - plan->crowding[p->side] * 0.6f);
    float gx, gy, bend = 0.8f * lattice_noise(plan->head.folds + 7, p->y / 12, s->t * 0.5f, 0, &gx, &gy);
    float ax = fabsf(p->x + bend * 0.5f), open = lesser(1, 0.7f + 0.7f * bend * sulcus);
    o->hu = mix(o->hu, plan->head.grey, extent * soft(4 - p->ax, 2) * soft(p->d + 1, 2));
    cover(&o->sulcus, extent * greater(0.15f, open) * band(ax, 0.6f + 0.6f * sulcus, s->pixel) * 0.8f);
}

void draw_cortex(const Slice *s, const Point *p, Tissue *o)
{
    const Plan *plan = s->plan;
    const Head *h = &plan->head;
    float crowd = 1 - 0.75f * plan->crowding[p->side];
    bool blood =
        (plan->found.side[FIND_SUBARACHNOID_HIGH] & (p->x0 > 0 ? SIDE_LEFT : SIDE_RIGHT)) && has_blood(s->t);
    float fold = 99, depth = 0, wide = 0;
    if (p->d < 24) {
        float gx, gy;
        float vary = lattice_noise(h->folds + 3, p->angle * 2.6f, s->t * 0.25f, 0, &gx, &gy);
        depth = (12.5f + 6.5f * vary) * (s->t < 5 ? 0.6f : s->t < 14 ? 0.85f : 1);
    }
    if (p->d < depth + 4) {
        fold = fold_distance(s, p, h->folds);
        float taper = 1 - 0.55f * lesser(1, greater(0, p->d / (depth + 1)));
        float level = s->t < 6 ? 0.7f : s->t < 15 ? 0.8f : 1;
        wide = 0.78f * plan->sulcus * crowd * taper * level;
        float gx, gy, faint = lattice_noise(h->folds + 9, p->x / 16, p->y / 16, s->t * 0.7f, &gx, &gy);
        if (!blood)
            wide *= greater(0.45f, 1 + 0.5f * faint); /* folds cross the slice at all angles */
        else
            wide = greater(wide, 0.8f) * 1.5f;
        o->sulcus = band(fold, wide, s->pixel) * soft(depth - p->d, 2 * s->pixel);
    }
    float from_fluid = lesser(p->d, p->d < depth + 2.5f ? fold - wide : 99);
    o->hu = mix(h->white + 1.4f * p->cloud, h->grey, soft(3.2f - from_fluid, 3.2f) * (0.8f + 0.25f * p->cloud));
    cover(&o->sulcus, soft((plan->found.side[FIND_SULCI_WIDENED] ? 0.5f : 0.2f) - p->d, s->pixel));
    draw_fissure(s, p, o);
}

/* ---- deep structures ---- */

static void draw_sylvian(const Slice *s, const Point *p, Tissue *o)
{
    const Plan *plan = s->plan;
    float here = levels(s->t, 3.2f, 11.8f, 1);
    if (here <= 0 || p->ax < 28 || fabsf(p->y) > 32) return;
    bool wide = plan->found.side[FIND_SULCI_WIDENED];
    float crowd = 1 - 0.75f * plan->crowding[p->side], half = (wide ? 2.9f : 1.5f) * crowd;
    float bend = 1.6f * sinf(p->ax * 0.42f + plan->head.wave[p->side]);
    float stem = fabsf(p->y - (11 + (p->ax - 36) * 0.3f + bend)), in = s->inner;
    float lateral = soft(p->ax - 36 * in, 2) * soft(p->d + 2, 2);
    o->hu = mix(o->hu, plan->head.grey, here * soft(4.6f - stem, 2) * soft(p->ax - 34 * in, 2) * 0.9f);
    cover(&o->cistern,
          here * band(stem, half * (0.75f + 0.35f * soft(p->ax - 42 * in, 12)), s->pixel) * lateral);
    float island = levels(s->t, 6, 11.6f, 1);
    if (island <= 0) return;
    float arc = fabsf(p->ax - 38.5f * in - 0.011f * square(p->y - 6));
    o->hu = mix(o->hu, plan->head.grey, island * soft(3.6f - arc, 2) * soft(15 - fabsf(p->y - 6), 3) * 0.9f);
    cover(&o->cistern, island * band(arc, half * 0.7f, s->pixel) * soft(13 - fabsf(p->y - 5), 4));
}

static void draw_ganglia(const Slice *s, const Point *p, Tissue *o)
{
    const Head *h = &s->plan->head;
    float t = s->t, wider = s->plan->ventricle - 1;
    if (p->ax > 40 || p->y > 44 || p->y < -34) return;
    float thalamus =
        levels(t, 6.6f, 11.6f, 1.2f) * soft(ellipse(p->ax, p->y, 11.5f + wider, -11, 9.5f, 13), 2.5f);
    o->hu = mix(o->hu, h->grey - 1, 0.85f * thalamus);
    float head = levels(t, 7.4f, 13, 1.2f);
    float caudate = head * soft(ellipse(p->ax, p->y, 13.5f + 2.5f * wider, 23, 5.5f, 8.5f), 2.5f);
    o->hu = mix(o->hu, h->grey + 0.5f, 0.9f * caudate);
    float wedge = p->ax - 18.5f; /* lens-shaped: point towards the midline, base towards the insula */
    float lens = lesser(soft(9.5f - fabsf(p->y - 6 - 0.1f * wedge) - fabsf(wedge - 7) * 0.6f, 2.5f),
                        lesser(soft(wedge, 2.5f), soft(12.5f - wedge, 2.5f)));
    o->hu = mix(o->hu, h->grey + 0.5f, 0.9f * levels(t, 7.2f, 12.2f, 1.2f) * lens);
    float tail = levels(t, 12, 15.2f, 1) * soft(4 - fabsf(p->ax - 16 - 3 * wider), 2.5f) *
                 soft(18 - fabsf(p->y - 12), 4);
    o->hu = mix(o->hu, h->grey, 0.6f * tail);
}

/* The lateral ventricle of one side at relative width w: one curved tube. Its centre line leaves the midline to
 * the front and, more, to the back; below the roof of the thalamus only the horns at its ends are there. */
static float lateral_ventricle(const Slice *s, const Point *p, float w)
{
    float t = s->t, y = p->y + 2;
    if (p->ax > 46 || y > 52 || y < -66) return 0;
    float longer = sqrtf(w / s->plan->head.ventricle), grow = greater(0, w - 1);
    longer = lesser(longer, 1.25f);
    float line = 6.2f + 2.6f * grow + (y > 0 ? 0.0072f : 0.0082f) * y * y + 0.35f * greater(0, t - 12);
    float slant = 1 / sqrtf(1 + square(0.018f * y));
    float thick = (y < -18 ? 4.3f : 4.6f) * (1 - 0.1f * greater(0, t - 13)) * w;
    float horn = greater(soft(-16 - y, 12), soft(y - 18, 12)); /* the horns widen less than the body */
    thick *= mix(1, lesser(1, 1.22f - 0.22f * w), horn);
    float ahead = y > 0 ? y / (52 * longer) : y / (66 * longer);
    float swell = y > 0 ? 0.15f * bump(y - 24, 9) : 0.25f * bump(y + 34, 9) * levels(t, 9, 14, 2);
    thick *= 1.07f - square(ahead) + swell / (w * w);
    if (thick <= 0) return 0;
    float front = 38 * longer - 2 * greater(0, t - 13), back = 49 * longer - 3 * greater(0, t - 12);
    float tip = lesser((front - y) / 10, (y + back) / 16); /* the horns end round */
    if (tip <= 0) return 0;
    if (tip < 1) thick *= sqrtf(tip);
    float body = soft(t - 11.6f, 1.2f); /* the part between the horns */
    float horn_front = soft(t - 7, 1.4f) * soft(y - 19, 6), horn_back = soft(t - 8.8f, 1.4f) * soft(-26 - y, 6);
    float there = greater(body, greater(horn_front, horn_back)) * soft(17.8f - t, 1.2f);
    float septum = soft(p->ax - 0.7f, 1.2f);
    return soft((thick - fabsf(p->ax - line)) * slant, s->pixel) * there * septum;
}

static void draw_ventricles(const Slice *s, const Point *p, Tissue *o)
{
    const Plan *plan = s->plan;
    float t = s->t, w = plan->ventricle, narrow = s->narrowed[p->side];
    o->lateral = lateral_ventricle(s, p, w);
    cover(&o->ventricle, narrow < 1 ? lateral_ventricle(s, p, w * narrow) : o->lateral);
    float third = levels(t, 6, 11.2f, 1), half = (1.5f + 0.12f * (t - 6)) * powf(w, 1.2f) * sqrtf(narrow);
    half *= greater(0.3f, 1.12f - square((p->y + 3) / 13.5f));
    cover(&o->ventricle, third * band(p->ax, half, s->pixel) * soft(12.5f - fabsf(p->y + 3), 3));
    float smile = fabsf(p->y + 29 - p->ax * 0.4f); /* quadrigeminal cistern */
    cover(&o->cistern, levels(t, 5.8f, 8.8f, 1) * soft(2.6f - smile, s->pixel) * soft(9.5f - p->ax, 3) * 0.9f);
}

void draw_deep(const Slice *s, const Point *p, Tissue *o)
{
    draw_sylvian(s, p, o);
    if (s->t < 5.5f || s->t > 18.6f) return;
    draw_ganglia(s, p, o);
    draw_ventricles(s, p, o);
}

/* ---- posterior fossa and basal cisterns ---- */

static void draw_cerebellum(const Slice *s, const Point *p, Tissue *o)
{
    const Head *h = &s->plan->head;
    float t = s->t, small = t < 0 ? greater(0.35f, 1 + 0.11f * t) : t > 3 ? 1 - 0.13f * (t - 3) : 1;
    float here = soft(6.6f - t, 1);
    if (here <= 0 || p->y > -10) return;
    float lobe = ellipse(p->ax, p->y, 22 * small, -45, 28 * small, 24 * small);
    float worm = ellipse(p->ax, p->y, 0, -46, 14, 20 * small);
    float inside = greater(lobe, worm);
    if (inside < -6) return;
    float leaves =
        sinf(sqrtf(square(p->ax - 6) + square(p->y + 20)) * 1.5f + h->wave[2] + 0.8f * sinf(p->ax * 0.3f));
    o->hu = mix(o->hu, h->grey - 2.5f + 1.5f * leaves, here * soft(inside, 2));
    o->hu = mix(o->hu, h->white + 1.5f, here * 0.7f * soft(ellipse(p->ax, p->y, 19 * small, -40, 11, 9), 5));
    float rim = soft(2.2f * sqrtf(s->plan->sulcus) - fabsf(inside + 2), s->pixel);
    cover(&o->cistern, here * rim * 0.4f * soft(3 - t, 1.5f));
}

static void draw_brainstem(const Slice *s, const Point *p, Tissue *o)
{
    const Plan *plan = s->plan;
    const Head *h = &plan->head;
    float t = s->t, pons = soft(3.4f - t, 1), mid = levels(t, 3, 6.4f, 1);
    if (p->ax > 24 || p->y > 16 || p->y < -36) return;
    float thin = t < 0 ? greater(0.55f, 1 + 0.12f * t) : 1; /* towards the medulla */
    float stem = ellipse(p->x, p->y, 0, -8 + lesser(0, 1.5f * t), 15 * thin, 13 * thin);
    float notch = 3 * bump(p->x, 3) * soft(p->y + 6, 4);
    float heart = ellipse(p->x, p->y, 0, -12, 14.5f, 12.5f) - notch;
    o->hu = mix(o->hu, h->white + 4, greater(pons * soft(stem, 2.5f), mid * soft(heart, 2.5f)));
    float widen = sqrtf(plan->sulcus);
    float before = pons * soft(1.8f * widen - fabsf(stem + 2.2f), s->pixel) * soft(p->y + 12, 3);
    cover(&o->cistern, before * 0.9f);
    float around = ellipse(p->x, p->y, 0, -12, 16.5f, 14.8f) + 1.2f * cosf(3 * atan2f(p->x, p->y + 12));
    float wings =
        0.5f + 0.75f * square(p->x / (4 + sqrtf(square(p->x) + square(p->y + 12)))) + (p->y < -18 ? 0.35f : 0);
    cover(&o->cistern, mid * band(fabsf(around), 1.5f * widen * wings, s->pixel) * 0.95f);
    float fourth =
        soft(2.7f * plan->ventricle - fabsf(p->y + 24.5f + p->ax * 0.35f), s->pixel) * soft(7.5f - p->ax, 2.5f);
    cover(&o->ventricle, levels(t, -1.5f, 3.6f, 1) * fourth);
    if (mid > 0 && p->ax < 1.8f)
        cover(&o->ventricle, mid * 0.6f * soft(ellipse(p->x, p->y, 0, -20, 1.2f, 1.6f), s->pixel));
}

/* The star above the sella: three arms to a side. */
static void draw_star(const Slice *s, const Point *p, Tissue *o)
{
    float here = levels(s->t, 3, 6, 0.9f);
    if (here <= 0 || p->ax > 20 || fabsf(p->y - 8) > 20) return;
    float y = p->y - 9, r = sqrtf(square(p->x) + square(y)), angle = atan2f(p->x, y);
    float reach = (6.2f + 6 * square(cosf(angle * 3)) * (1 + 0.3f * cosf(angle))) * (1 - 0.07f * (s->t - 3));
    cover(&o->cistern, here * soft(reach - r, s->pixel));
    float optic = soft(1.6f - fabsf(p->ax - 4), 1.5f) * soft(3 - fabsf(y - 2), 2); /* chiasm and vessels */
    o->cistern *= 1 - 0.5f * here * optic;
}

static void draw_tentorium(const Slice *s, const Point *p, Tissue *o)
{
    float here = levels(s->t, 3.4f, 7, 0.8f);
    if (here <= 0 || p->y > -20) return;
    float open = 1 - 0.22f * greater(0, s->t - 3.5f); /* the two leaves close towards the straight sinus */
    float leaf = fabsf(p->ax - (11 + (-24 - p->y) * 0.95f) * open) * 0.75f;
    o->hu = mix(o->hu, 47, 0.75f * here * soft(1.0f - leaf, s->pixel) * soft(p->d, 1));
}

void draw_posterior_fossa(const Slice *s, const Point *p, Tissue *o)
{
    if (s->t > 7.6f) return;
    draw_cerebellum(s, p, o);
    draw_brainstem(s, p, o);
    draw_star(s, p, o);
    draw_tentorium(s, p, o);
}
