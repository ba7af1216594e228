/* The phantom's public face: plan, edit, report, volume. */
#include "data/phantom_parts.h"
#include "tensor/checked.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

PhantomOptions phantom_options(void)
{
    return (PhantomOptions){.regime = PHANTOM_BALANCED, .size = 128, .style = -1, .slice_mm = PHANTOM_SLICE_MM};
}

bool phantom_editable(const Phantom *p, int k, PhantomEdit edit)
{
    if (edit == PHANTOM_AS_IS) return true;
    if (k < 0 || k >= p->n_truth) return false;
    int f = p->truth[k].finding;
    Side side = p->truth[k].side;
    if (edit == PHANTOM_FLIP && side != SIDE_LEFT && side != SIDE_RIGHT) return false;
    FindingSet found = phantom_findings(p);
    Plan plan;
    phantom_replan(p->seed, &found, &plan);
    return !plan_pushes(&plan, f);
}

static void check_options(const PhantomOptions *o)
{
    if (o->size < 64 || o->size > 1024) die("phantom: size %d is not in 64..1024", o->size);
    if (o->style < -1 || o->style >= PHANTOM_STYLES) die("phantom: style %d is not in -1..3", o->style);
    if (!(o->slice_mm >= 1 && o->slice_mm <= 10))
        die("phantom: slice distance %g is not in 1..10 mm", o->slice_mm);
    if (!(o->below_mm >= 0 && o->below_mm <= 60))
        die("phantom: %g mm below the base is not in 0..60", o->below_mm);
}

static bool make_text(uint64_t seed, const PhantomOptions *o, Plan *plan, Phantom *p, Error *e)
{
    check_options(o);
    memset(p, 0, sizeof *p);
    p->seed = seed;
    p->options = *o;
    phantom_plan(seed, o, plan);
    phantom_write_report(plan, p);
    if (o->edit == PHANTOM_AS_IS) return true;
    if (!phantom_editable(p, o->edit_truth, o->edit))
        return error_set(e, ERROR_INPUT, "phantom %llu: finding %d of %d cannot be %s alone",
                         (unsigned long long)seed, o->edit_truth, p->n_truth,
                         o->edit == PHANTOM_FLIP ? "mirrored" : "removed");
    FindingSet found = plan->found;
    int f = p->truth[o->edit_truth].finding;
    found.side[f] = o->edit == PHANTOM_REMOVE ? SIDE_ABSENT : (uint8_t)side_mirror((Side)found.side[f]);
    phantom_replan(seed, &found, plan);
    memset(p->report, 0, sizeof p->report);
    memset(p->impression, 0, sizeof p->impression);
    phantom_write_report(plan, p);
    return true;
}

bool phantom_text_only(uint64_t seed, const PhantomOptions *options, Phantom *p, Error *e)
{
    Plan plan;
    return make_text(seed, options, &plan, p, e);
}

/* Slice k's centre is at t = (k + 0.5) * spacing, counted from the lowest slice's lower edge; the volume ends
 * at the vertex. */
static bool make_room(const Plan *plan, Phantom *p, Error *e)
{
    const PhantomOptions *o = &p->options;
    double span = PHANTOM_SLICES * PHANTOM_SLICE_MM + o->below_mm;
    p->n_slices = (int)floor(span / o->slice_mm + 0.5);
    p->size = o->size;
    p->slice_mm = o->slice_mm;
    p->pixel_mm = PHANTOM_FIELD_MM / o->size;
    uint64_t voxels = (uint64_t)p->n_slices * (uint64_t)o->size * (uint64_t)o->size;
    p->hu = malloc(voxels * sizeof *p->hu);
    p->mask = malloc(voxels * sizeof *p->mask);
    p->level = malloc((size_t)p->n_slices * sizeof *p->level);
    if (!p->hu || !p->mask || !p->level) {
        phantom_free(p);
        return error_set(e, ERROR_MEMORY, "phantom: no memory for %llu voxels", (unsigned long long)voxels);
    }
    for (int k = 0; k < p->n_slices; k++)
        p->level[k] = ((k + 0.5) * o->slice_mm - o->below_mm) / PHANTOM_SLICE_MM + plan->head.level_offset;
    return true;
}

static void measure(Phantom *p)
{
    size_t n = (size_t)p->n_slices * (size_t)p->size * (size_t)p->size;
    uint64_t count[PHANTOM_MAX_TRUTH] = {0};
    for (size_t i = 0; i < n; i++)
        for (uint32_t bits = p->mask[i]; bits;) {
            int k = __builtin_ctz(bits) / 2;
            count[k]++;
            bits &= ~(3u << 2 * k);
        }
    for (int k = 0; k < p->n_truth; k++)
        p->truth[k].volume_ml = (double)count[k] * p->pixel_mm * p->pixel_mm * p->slice_mm / 1000;
}

bool phantom_make(uint64_t seed, const PhantomOptions *options, Phantom *p, Error *e)
{
    Plan plan;
    if (!make_text(seed, options, &plan, p, e) || !make_room(&plan, p, e)) return false;
    if (!phantom_draw(&plan, p, e)) {
        phantom_free(p);
        return false;
    }
    measure(p);
    return true;
}

void phantom_free(Phantom *p)
{
    free(p->hu);
    free(p->mask);
    free(p->level);
    p->hu = NULL;
    p->mask = NULL;
    p->level = NULL;
}

FindingSet phantom_findings(const Phantom *p)
{
    FindingSet set = {0};
    for (int k = 0; k < p->n_truth; k++) findings_add(&set, p->truth[k].finding, p->truth[k].side);
    return set;
}

int phantom_mask_label(const Phantom *p, int bit)
{
    if (bit < 0 || bit >= 2 * p->n_truth) die("phantom_mask_label: bit %d of %d findings", bit, p->n_truth);
    const FindingKind *k = finding_kind(p->truth[bit / 2].finding);
    return k->first_label + (k->sided && bit & 1);
}

void phantom_window(const Phantom *p, int slice, uint8_t *dst)
{
    size_t n = (size_t)p->size * (size_t)p->size;
    const float *hu = p->hu + (size_t)slice * n;
    for (size_t i = 0; i < n; i++) {
        float v = hu[i] * (255 / 80.0f) + 0.5f;
        dst[i] = v <= 0 ? 0 : v >= 255 ? 255 : (uint8_t)v;
    }
}
