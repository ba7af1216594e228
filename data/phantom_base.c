/* Bone, air and fat: the vault with scalp, the skull base with orbits and sinuses, and the face below it. */
#include "data/phantom_parts.h"
#include <math.h>

static float square(float v) { return v * v; }
static float bump(float v, float width) { return expf(-square(v / width) * 0.5f); }
static float ellipse(float x, float y, float cx, float cy, float rx, float ry)
{
    return (1 - sqrtf(square((x - cx) / rx) + square((y - cy) / ry))) * lesser(rx, ry);
}

float draw_vault(const Slice *s, const Point *p, float out, float hu)
{
    const Head *h = &s->plan->head;
    if (p->in > s->pixel && out < -s->pixel) return hu;
    float bone =
        soft(-p->in, s->pixel) * soft(-out, s->pixel) * soft(s->t + 0.7f, 1); /* the vault ends at the base */
    if (bone > 0) {
        float middle = lesser(-p->in, -out); /* depth in the bone: cortex outside, diploe within */
        hu = mix(hu, mix(1150, 480, soft(middle - 1.8f, 1.2f)), bone);
        float wide = fabsf(p->x0 + 2) - 17 * (1 - 0.1f * fabsf(s->t - 4.5f));
        if (h->frontal_sinus && p->y0 > 0 && s->t > 1.5f && s->t < 7.5f)
            hu = mix(hu, -900, soft(middle - 1.4f, 1) * soft(-wide, 2));
    }
    float skin = h->scalp;
    hu = mix(hu, 35, soft(out, s->pixel));
    float muscle = bump(fabsf(p->angle) - 1.15f, 0.3f) * soft(9 - s->t, 4); /* temporalis */
    hu = mix(hu, mix(-85, 55, lesser(1, 1.6f * muscle)), soft(out - 0.6f, 1) * soft(skin - 1.6f - out, 1.2f));
    return mix(hu, -1000, soft(out - skin, s->pixel));
}

/* Where the floor of the anterior fossa is cut: everything in front of this line is orbit or face. */
static float front_line(const Slice *s, float ax)
{
    return 26 + 7.5f * s->t + 7 * bump(ax - 36, 11) - 4 * bump(ax, 12);
}

static float draw_orbits(const Slice *s, const Point *p, float ax, float front, float hu)
{
    float orbit = soft(front, 1.5f) * soft(p->in + 3, 2), t = s->t;
    hu = mix(hu, mix(-70, 30, soft(ax - 44, 6)), orbit);
    float cy = 57, globe = ellipse(ax, p->y0, 30, cy, 12, 12) - 12 * greater(0, fabsf(t - 1.2f) / 2.6f - 0.35f);
    hu = mix(hu, 42, orbit * soft(globe, s->pixel));
    hu = mix(hu, 16, orbit * soft(globe - 1.6f, s->pixel));
    float nerve = fabsf(ax - 13 - (p->y0 - 22) * 0.55f);
    hu = mix(hu, 38, orbit * soft(2.2f - nerve, 2) * soft(46 - p->y0, 2) * soft(1.6f - fabsf(t - 1.2f), 1));
    float wall = fabsf(ax - 46 + 0.25f * (p->y0 - 40)); /* outer wall, then the wall towards the nose */
    hu = mix(hu, 800, orbit * soft(1.7f - wall, s->pixel) * soft(66 - p->y0, 3));
    float cells = soft(11.5f - ax, s->pixel) * orbit;
    if (cells <= 0) return hu;
    float gx, gy, pattern = lattice_noise(s->plan->head.folds + 21, p->x0 / 4, p->y0 / 5, t, &gx, &gy);
    float air = soft(fabsf(pattern) - 0.08f, 0.12f) * soft(10.5f - ax, 1);
    hu = mix(hu, mix(420, -900, air), cells);
    return hu;
}

static float draw_temporal_bones(const Slice *s, const Point *p, float ax, float hu)
{
    float t = s->t, in = p->in, y = p->y0;
    float ridge = fabsf(y - (-4 - (ax - 20) * 0.42f)) * 0.92f;
    float tall = 6.2f - 1.9f * greater(0, t - 0.3f), gx, gy;
    float petrous = 0;
    if (ax > 14.5f && t < 3.2f && ridge < 1.35f * tall + 1) {
        float lumps = lattice_noise(s->plan->head.folds + 29, p->x0 / 7, y / 7, t, &gx, &gy);
        petrous = soft(tall * (1 + 0.35f * lumps) - ridge, 2) * soft(ax - 16, 3) * soft(in + 3, 2) *
                  soft(2.8f - t, 0.8f);
        hu = mix(hu, 950, petrous);
    }
    float mastoid =
        soft(ellipse(ax, y, 55 * s->outer / 0.8f, -27, 9, 13), 2) * soft(3 - t, 1.5f) * soft(in + 9, 2);
    if (mastoid > 0) {
        float cell = lattice_noise(s->plan->head.folds + 23, p->x0 / 2.6f, y / 2.6f, t, &gx, &gy);
        hu = mix(hu, cell > 0.05f ? -700 : 650, mastoid * soft(4 - in, 2));
    }
    float canal = soft(2.4f - fabsf(y + 13), 1.5f) * soft(ax - 34, 2) * soft(46 - ax, 2) *
                  soft(0.8f - fabsf(t - 0.6f), 0.5f);
    return mix(hu, -600, canal * petrous);
}

/* Muscle with fat between, the jaw, and air in nose, antra and throat: below t = 0, in front of the fossa. */
static float face(const Slice *s, float x, float y, float cell)
{
    float t = s->t, ax = fabsf(x), gx, gy;
    float strands = lattice_noise(s->plan->head.folds + 27, x / 9, y / 9, t * 0.5f, &gx, &gy);
    float hu = mix(-70, 55, soft(strands + 0.15f, 0.3f));
    float antrum = ellipse(ax, y, 25, 42, 14, 17) - 2 * greater(0, fabsf(t + 4) - 3);
    hu = mix(hu, 650, soft(antrum + 1.8f, s->pixel));
    hu = mix(hu, -950, soft(antrum, s->pixel));
    float nose = lesser(11 - ax, 26 - fabsf(y - 42));
    hu = mix(hu, ax < 1.3f || cell > 0.25f ? 60 : -950, soft(nose, 2));
    hu = mix(hu, -950, soft(ellipse(ax, y, 0, 7, 13, 7), 2));
    float jaw = fabsf(ellipse(ax, y, 47, 12, 5, 11));
    return mix(hu, 950, soft(2.5f - jaw, 1.5f) * soft(ax - 40, 2));
}

/* Below t = 0 the cavity is the posterior fossa alone, closing towards the foramen magnum. */
static float draw_below(const Slice *s, const Point *p, float hu)
{
    float t = s->t, x = p->x0, y = p->y0, ax = fabsf(x), blend = soft(-t, 1);
    if (blend <= 0) return hu;
    float close = greater(0.2f, 1 + 0.135f * t); /* relative size of the fossa */
    float cavity = ellipse(x, y, 0, -32 + 0.5f * t, 46 * close, 36 * close);
    float gx, gy, cell = lattice_noise(s->plan->head.folds + 25, x / 3, y / 3, t, &gx, &gy);
    float low = face(s, x, y, cell);
    low = mix(low, cell > 0 ? -700 : 650,
              soft(ellipse(ax, y, 50, -24, 10, 14), 2) * soft(t + 5, 2)); /* mastoid */
    low = mix(low, 800 + 250 * cell, soft(cavity + 6.5f, s->pixel));
    low = mix(low, hu, soft(cavity, s->pixel));
    return mix(hu, low, blend);
}

float draw_base(const Slice *s, const Point *p, float hu)
{
    float t = s->t;
    if (t > 6.5f) return hu;
    float ax = fabsf(p->x0), front = p->y0 - front_line(s, ax);
    if (t > -1) {
        hu = draw_temporal_bones(s, p, ax, hu);
        if (front > -4) {
            hu = draw_orbits(s, p, ax, front, hu);
            hu = mix(hu, 850, soft(1.6f - fabsf(front), s->pixel) * soft(p->in, 2));
        }
        float sphenoid = ellipse(ax, p->y0, 7.5f, 15, 8.5f, 9) - 4 * greater(0, t - 1.4f);
        hu = mix(hu, 700, soft(sphenoid + 2.2f, s->pixel) * soft(2.9f - t, 0.6f));
        hu = mix(hu, -950, soft(sphenoid, s->pixel));
        float clivus = ellipse(p->x0, p->y0, 0, 7.5f, 11, 4) - 3 * greater(0, t - 1.8f);
        hu = mix(hu, 650, soft(clivus, s->pixel));
        float wing = soft(2.2f - fabsf(front + 3 + 0.1f * ax), 2) * soft(ax - 18, 3) * soft(3.6f - t, 0.8f) *
                     soft(t - 2, 1);
        hu = mix(hu, 500, 0.8f * wing * soft(p->in, 2));
        float bar =
            soft(4.5f - fabsf(p->y0 + 5), 4) * soft(17 - ax, 4) * soft(2.4f - t, 1); /* beam hardening */
        if (hu > -50 && hu < 100) hu -= 4 * bar;
    }
    return draw_below(s, p, hu);
}
