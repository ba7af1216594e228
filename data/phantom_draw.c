/* From plan to voxels: for every slice what its pixels share, for every pixel its place in skull and brain,
 * then brain, base, lesions, vault, scalp, and noise over all. Slices are independent of each other. */
#include "data/phantom_parts.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static float square(float v) { return v * v; }

/* ---- geometry ---- */

/* Displacement along x at a point of the skull: tissue comes from x + this. */
static float pushed(const Slice *s, float x, float y)
{
    float sum = 0;
    for (int i = 0; i < s->plan->n_pushes; i++) {
        const Push *m = &s->plan->push[i];
        float level = expf(-square((s->t - m->t) / 6) * 0.5f);
        sum +=
            m->sign * m->amount * level * expf(-square(x / 38) * 0.5f - square((y - 0.5f * m->y) / 60) * 0.5f);
    }
    return sum;
}

static void tabulate_warp(const Plan *plan, float t, Warp w[WARP_CELLS][WARP_CELLS])
{
    uint32_t key = plan->head.folds;
    float gx, gy;
    for (int j = 0; j < WARP_CELLS; j++)
        for (int i = 0; i < WARP_CELLS; i++) {
            float x = (float)i * WARP_MM, y = (float)j * WARP_MM;
            w[j][i].x = 1.9f * lattice_noise(key + 31, x / 19, y / 19, t * 0.3f, &gx, &gy);
            w[j][i].y = 2.2f * lattice_noise(key + 33, x / 19, y / 19, t * 0.3f, &gx, &gy);
            w[j][i].cloud = lattice_noise(key + 5, x / 13, y / 13, t * 0.4f, &gx, &gy);
            w[j][i].faint = lattice_noise(key + 9, x / 16, y / 16, t * 0.7f, &gx, &gy);
        }
}

static Warp mix_warp(Warp a, Warp b, float k)
{
    return (Warp){mix(a.x, b.x, k), mix(a.y, b.y, k), mix(a.cloud, b.cloud, k), mix(a.faint, b.faint, k)};
}

static Warp warp_at(Warp w[WARP_CELLS][WARP_CELLS], float x, float y)
{
    float half = 0.5f * (WARP_CELLS - 1), u = x / WARP_MM + half, v = y / WARP_MM + half;
    int i = (int)u, j = (int)v;
    if (u < 0 || v < 0 || i >= WARP_CELLS - 1 || j >= WARP_CELLS - 1) return (Warp){0};
    u -= (float)i;
    v -= (float)j;
    return mix_warp(mix_warp(w[j][i], w[j][i + 1], u), mix_warp(w[j + 1][i], w[j + 1][i + 1], u), v);
}

/* Edges are never sharper than the scanner: 1.1 mm. */
static Slice slice_at(const Plan *plan, Warp (*warp)[WARP_CELLS], float t, float pixel)
{
    Slice s = {.plan = plan,
               .warp = warp,
               .t = t,
               .pixel = greater(pixel, 1.1f),
               .outer = head_outer(t),
               .inner = head_inner(t)};
    float mean = 0.5f * (plan->head.half_width + plan->head.half_length);
    float slope = (head_inner(t + 0.5f) - head_inner(t - 0.5f)) * mean / (float)PHANTOM_SLICE_MM;
    s.steep = t > 10 ? 1 / sqrtf(1 + slope * slope) : 1;
    s.narrowed[0] = s.narrowed[1] = 1;
    for (int i = 0; i < plan->n_pushes; i++) {
        const Push *m = &plan->push[i];
        float level = expf(-square((t - m->t) / 6) * 0.5f);
        s.narrowed[m->sign < 0] *= 1 - 0.65f * level;
        s.pushed = greater(s.pushed, m->amount * level);
    }
    return s;
}

/* Relative radius of the outer table: an egg, narrower in front. */
static float table_radius(const Head *h, float x, float y)
{
    float narrow = 1 - 0.055f * y / h->half_length;
    float u = fabsf(x) / (h->half_width * narrow), v = fabsf(y) / h->half_length;
    return powf(powf(u, h->power) + powf(v, h->power), 1 / h->power) + 1e-4f;
}

/* Thickness of the vault: thick in front and behind, thin at the temples. Only the mean is needed far inside.
 */
static float bone_thickness(const Slice *s, const Point *p, bool near_bone)
{
    const Head *h = &s->plan->head;
    float side = square(p->x0 / p->r), thick = h->skull * (1.25f - 0.4f * side);
    if (!near_bone) return thick;
    thick *=
        1 + 0.09f * sinf(3 * p->angle + h->wave[0] + 0.4f * s->t) + 0.06f * sinf(7 * p->angle + h->wave[1]);
    if (fabsf(p->x0) > 45 || s->t > 11) return thick;
    float near = expf(-square(p->x0 / 15) * 0.5f);
    if (p->y0 < 0) thick += 4 * near * expf(-square((s->t - 3.5f) / 2.2f) * 0.5f); /* occipital protuberance */
    if (p->y0 > 0) thick += (h->frontal_sinus ? 7 : 2) * near * expf(-square((s->t - 4.5f) / 2) * 0.5f);
    return thick;
}

/* ---- one pixel ---- */

typedef struct Pixel { /* the part of a point that all slices share */
    float x, y, r, angle, relative;
} Pixel;

static float distance_outside(const Slice *s, const Pixel *q) { return q->r - q->r / q->relative * s->outer; }

static Point point_at(const Slice *s, const Pixel *q)
{
    const Plan *plan = s->plan;
    Point p = {.x0 = q->x, .y0 = q->y, .r = q->r, .angle = q->angle};
    float table = q->r / q->relative * s->inner - q->r;
    p.in = table - bone_thickness(s, &p, table < 45);
    p.x = q->x + (plan->n_pushes ? pushed(s, q->x, q->y) : 0);
    p.y = q->y - plan->head.tilt * (s->t - 12);
    Warp w = warp_at(s->warp, q->x, q->y);
    p.x += w.x;
    p.y += w.y;
    p.cloud = w.cloud;
    p.faint = w.faint;
    p.ax = fabsf(p.x);
    p.side = p.x < 0;
    float deep = p.in;
    for (int i = 0; i < plan->n_lesions; i++) deep -= collection_depth(s, &p, &plan->lesion[i]);
    p.d = (deep - plan->shrink) * s->steep;
    return p;
}

static void mark(const Plan *plan, int finding, bool here, int right, uint32_t *bits)
{
    if (here && plan->bit[finding] >= 0) *bits |= 1u << (plan->bit[finding] + right);
}

/* Fluid over the tissue; with blood in it where there is subarachnoid haemorrhage. Marks what fluid shows. */
static float draw_fluid(const Slice *s, const Point *p, const Tissue *o, uint32_t *bits)
{
    const Plan *plan = s->plan;
    float outside = greater(o->sulcus * 0.9f, o->cistern), hu = o->hu;
    Side side = p->x0 > 0 ? SIDE_LEFT : SIDE_RIGHT;
    bool inside = p->in > 0;
    if ((plan->found.side[FIND_SUBARACHNOID_HIGH] & side) && has_blood(s->t)) {
        float clot = lesser(1, outside * 1.6f) * (1 - o->ventricle);
        hu = mix(hu, mix(plan->head.csf, plan->blood_hu, lesser(1, 1.5f * clot)), clot);
        mark(plan, FIND_SUBARACHNOID_HIGH, inside && clot > 0.6f, side == SIDE_RIGHT, bits);
    } else {
        hu = mix(hu, plan->head.csf, outside);
    }
    hu = mix(hu, plan->head.csf, o->ventricle);
    mark(plan, FIND_VENTRICLES_DILATED, o->ventricle > 0.5f, 0, bits);
    mark(plan, FIND_SULCI_WIDENED, inside && outside > 0.5f, 0, bits);
    Side pressed = (Side)plan->found.side[FIND_LATERAL_VENTRICLE_COMPRESSED];
    bool narrow = s->narrowed[p->side] < 0.85f;
    if (pressed)
        mark(plan, FIND_LATERAL_VENTRICLE_COMPRESSED, narrow && o->lateral > 0.5f, pressed == SIDE_RIGHT, bits);
    Side shift = (Side)plan->found.side[FIND_MIDLINE_SHIFT];
    if (shift && s->pushed > 3)
        mark(plan, FIND_MIDLINE_SHIFT, p->ax < 2 && p->d > 4 && fabsf(p->y) < 45, shift == SIDE_RIGHT, bits);
    return hu;
}

/* The dural sheet and normal calcifications. */
static float draw_details(const Slice *s, const Point *p, float hu)
{
    const Head *h = &s->plan->head;
    float t = s->t;
    bool whole = t > 16, front = t > 3.5f && p->y > 30 * s->inner + 8,
         back = t > 6.3f && p->y < -34 * s->inner - 6;
    if ((whole || front || back) && p->d > -1.5f) {
        float vein = p->y < 0 && p->in < 7 ? soft(5 - p->in - 1.2f * p->ax, 2) : 0; /* sagittal sinus */
        hu = mix(hu, 46, greater(0.65f * soft(0.6f - p->ax, s->pixel), 0.9f * vein));
    }
    if (h->pineal && t > 9.2f && t < 11)
        hu = mix(hu, 150, soft(2.4f - sqrtf(square(p->x) + square(p->y + 27)), s->pixel));
    if (h->choroid && t > 10.2f && t < 12.2f)
        hu = mix(hu, 130, soft(2.4f - sqrtf(square(p->ax - 18) + square((p->y + 36) * 0.8f)), s->pixel));
    return hu;
}

static float draw_pixel(const Slice *s, const Pixel *q, uint32_t *bits)
{
    const Plan *plan = s->plan;
    float out = distance_outside(s, q), hu = plan->head.csf;
    *bits = 0;
    if (out > plan->head.scalp + s->pixel) return -1000;
    Point p = point_at(s, q);
    if (p.in > -2 * s->pixel && out < 0) {
        Tissue o = {.hu = plan->head.white};
        draw_cortex(s, &p, &o);
        draw_posterior_fossa(s, &p, &o);
        draw_deep(s, &p, &o);
        hu = draw_fluid(s, &p, &o, bits);
        hu = draw_details(s, &p, hu);
        hu = draw_lesions(s, &p, hu, bits);
        if (p.in < 24) hu += 3 * expf(-greater(p.in, 0) / 4); /* cupping */
    }
    if (out < 0) hu = draw_base(s, &p, hu);
    return draw_vault(s, &p, out, hu);
}

/* ---- a slice ---- */

static void draw_holder(const Plan *plan, const Pixel *q, float pixel, float t, float *hu)
{
    if (!plan->head.holder || t > 16 || q->y > -60) return;
    float arc = fabsf(sqrtf(square(q->x) + square(q->y - 20)) - 122);
    *hu = mix(*hu, 120, soft(1 - arc, pixel));
}

/* Rows and columns, widened by one, that hold anything but air. */
typedef struct Box {
    int top, bottom, left, right; /* half open */
} Box;

static Box box_of(const float *hu, int n)
{
    Box b = {n, 0, n, 0};
    for (int y = 0; y < n; y++)
        for (int x = 0; x < n; x++) {
            if (hu[(size_t)y * n + x] < -500) continue;
            if (y < b.top) b.top = y;
            if (x < b.left) b.left = x;
            if (x >= b.right) b.right = x + 1;
            b.bottom = y + 1;
        }
    return b;
}

/* Grain: a function of seed, slice and pixel alone, so that twins differ in nothing else. Sums of four bytes
 * are near enough to a normal distribution; smoothed over neighbours as a reconstruction filter does. Air has
 * none. */
static void add_noise(const Phantom *p, float *grain, float sd, int k)
{
    int n = p->size, width = (n + 2 + 3) / 4 * 4;
    float *hu = p->hu + (size_t)k * n * n;
    Box b = box_of(hu, n);
    Rng r = rng_open(p->seed ^ p->options.noise * 0x9E3779B97F4A7C15ull, "phantom.noise");
    for (int y = b.top; y < b.bottom + 2; y++)
        for (int x = b.left / 4 * 4; x < b.right + 2; x += 4) {
            Philox f = philox4x32((uint32_t)(y * width + x), (uint32_t)k, 0, 0, r.key[0], r.key[1]);
            for (int i = 0; i < 4; i++) {
                uint32_t v = f.v[i];
                int sum = (int)((v & 255) + (v >> 8 & 255) + (v >> 16 & 255) + (v >> 24)) - 510;
                grain[y * width + x + i] = (float)sum;
            }
        }
    float centre = 0.6f, near = 0.12f, gain = sd / 147.8f; /* four bytes have sd 147.8 */
    for (int y = b.top; y < b.bottom; y++)
        for (int x = b.left; x < b.right; x++) {
            const float *g = &grain[(y + 1) * width + x + 1];
            hu[(size_t)y * n + x] += gain * (centre * g[0] + near * (g[-1] + g[1] + g[-width] + g[width]));
        }
}

static void draw_slice(const Plan *plan, const Pixel *pixels, float *grain, Phantom *p, int k)
{
    float t = (float)p->level[k], pixel = (float)p->pixel_mm;
    Warp warp[WARP_CELLS][WARP_CELLS];
    tabulate_warp(plan, t, warp);
    Slice s = slice_at(plan, warp, t, pixel);
    size_t n = (size_t)p->size * (size_t)p->size;
    for (size_t i = 0; i < n; i++) {
        float *hu = &p->hu[k * n + i];
        *hu = draw_pixel(&s, &pixels[i], &p->mask[k * n + i]);
        if (*hu > 0 && *hu < 90) *hu *= plan->head.gain;
        draw_holder(plan, &pixels[i], pixel, t, hu);
    }
    add_noise(p, grain, plan->head.noise_sd * (p->size > 300 ? 1.8f : p->size > 160 ? 1.4f : 1), k);
}

bool phantom_draw(const Plan *plan, Phantom *p, Error *e)
{
    const Head *h = &plan->head;
    int n = p->size;
    Pixel *pixels = malloc((size_t)n * (size_t)n * sizeof *pixels);
    float *grain = malloc((size_t)(n + 2) * (size_t)(n + 8) * sizeof *grain);
    if (!pixels || !grain) {
        free(pixels);
        free(grain);
        return error_set(e, ERROR_MEMORY, "phantom: no memory for a slice of %d x %d", n, n);
    }
    float c = cosf(h->turn), sn = sinf(h->turn), mm = (float)p->pixel_mm;
    for (int row = 0; row < n; row++)
        for (int column = 0; column < n; column++) {
            Pixel *q = &pixels[(size_t)row * n + column];
            float x = ((float)column - 0.5f * (float)(n - 1)) * mm - h->move_x;
            float y = (0.5f * (float)(n - 1) - (float)row) * mm + h->move_y;
            q->x = (c * x + sn * y) / h->scale;
            q->y = (c * y - sn * x) / h->scale;
            q->r = sqrtf(q->x * q->x + q->y * q->y) + 1e-3f;
            q->angle = atan2f(q->x, q->y);
            q->relative = table_radius(h, q->x, q->y);
        }
    for (int k = 0; k < p->n_slices; k++) draw_slice(plan, pixels, grain, p, k);
    free(pixels);
    free(grain);
    return true;
}
