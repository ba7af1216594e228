/* Lesions over the finished anatomy: bleeds with their oedema, low-density areas, collections under the skull.
 */
#include "data/phantom_parts.h"
#include <math.h>

static float square(float v) { return v * v; }

float collection_depth(const Slice *s, const Point *p, const Lesion *l)
{
    if (l->shape == BLOB) return 0;
    float high = 1 - square((s->t - l->t) / l->half_height);
    if (high <= 0) return 0;
    float away = fabsf(p->angle - l->angle);
    if (away > 3.14159265f) away = 6.2831853f - away;
    float q = away / l->half_angle, profile = l->shape == CRESCENT ? 1 - q * q * q * q : 1 - q * q;
    return profile > 0 ? l->thickness * sqrtf(high) * profile : 0;
}

static float draw_collection(const Slice *s, const Point *p, const Lesion *l, float hu, uint32_t *bits)
{
    float thick = collection_depth(s, p, l);
    if (thick < 0.5f || p->in > thick + s->pixel) return hu;
    float amount = soft(thick - p->in, s->pixel);
    if (amount > 0.5f && p->in > 0) *bits |= 1u << l->bit;
    return mix(hu, l->hu, amount);
}

static float draw_blob(const Slice *s, const Point *p, const Lesion *l, float hu, uint32_t *bits)
{
    float dx = p->x0 - l->x, dy = p->y0 - l->y, dz = (s->t - l->t) * (float)PHANTOM_SLICE_MM;
    float reach = 1.4f * greater(l->rx, l->ry) + l->oedema + 3;
    if (fabsf(dx) > reach || fabsf(dy) > reach || fabsf(dz) > l->rz * 1.3f + l->oedema) return hu;
    float angle = atan2f(dx, dy);
    float edge =
        1 + l->wobble * cosf(2 * angle + l->phase[0]) + 0.7f * l->wobble * cosf(3 * angle + l->phase[1]);
    float q = sqrtf(square(dx / l->rx) + square(dy / l->ry) + square(dz / l->rz));
    float gx, gy, rough = 0.07f * lattice_noise(s->plan->head.folds + 11, dx / 4.5f, dy / 4.5f, s->t, &gx, &gy);
    float in = (edge + rough - q) * l->radius, brain = soft(p->d, 3);
    if (l->oedema > 0) hu = mix(hu, 17, soft(in + l->oedema, 3) * brain);
    float amount = soft(in, greater(2.2f, s->pixel)) * brain;
    if (amount > 0.5f) *bits |= 1u << l->bit;
    return mix(hu, l->hu, amount);
}

static float draw_calcium(const Slice *s, const Point *p, float hu, uint32_t *bits)
{
    const Plan *plan = s->plan;
    if (plan->found.side[FIND_FALX_CALCIFICATION] && s->t > 17.2f && s->t < 21.2f) {
        float along = fabsf(p->y - 18 * s->inner - 9), half = 2.0f + 0.5f * sinf(p->y * 0.5f);
        float amount = soft(half - p->ax, s->pixel) * soft(11 - along, 2) * soft(p->d, 2);
        if (amount > 0.5f) *bits |= 1u << plan->bit[FIND_FALX_CALCIFICATION];
        hu = mix(hu, 220, amount);
    }
    if (plan->found.side[FIND_BASAL_GANGLIA_CALCIFICATION] && s->t > 9 && s->t < 11.2f) {
        float q = sqrtf(square((p->ax - 20.5f) / 3.6f) + square((p->y - 5) / 4.6f));
        float amount = soft((1 - q) * 3.6f, s->pixel);
        if (amount > 0.5f) *bits |= 1u << (plan->bit[FIND_BASAL_GANGLIA_CALCIFICATION] + p->side);
        hu = mix(hu, 140, amount);
    }
    return hu;
}

float draw_lesions(const Slice *s, const Point *p, float hu, uint32_t *bits)
{
    const Plan *plan = s->plan;
    for (int i = 0; i < plan->n_lesions; i++) {
        const Lesion *l = &plan->lesion[i];
        hu = l->shape == BLOB ? draw_blob(s, p, l, hu, bits) : draw_collection(s, p, l, hu, bits);
    }
    return draw_calcium(s, p, hu, bits);
}
