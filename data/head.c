#include "data/head.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NEED_RAYS = 7 };
static const double CELL_MM = 2, EROSION_MM = 4;
static const double SMALLEST_AREA = 4000, BASE_SHARE = 0.4, VERTEX_SHARE = 0.2, BASE_MM = 7, VERTEX_MM = 4;

/* One byte per cell: is it in the set? */
typedef struct Grid {
    int w, h, nz;
    int kx, ky;             /* voxels per cell */
    double cell_area;       /* mm^2 */
    int erosion;            /* steps of one cell */
    uint8_t *inside;        /* [nz][h][w] */
    uint8_t *kept;          /* [nz][h][w] */
    uint8_t *work[2];       /* [h][w] */
    int32_t *label, *stack; /* [h][w] */
} Grid;

static void grid_free(Grid *g)
{
    free(g->inside);
    free(g->kept);
    free(g->work[0]);
    free(g->work[1]);
    free(g->label);
    free(g->stack);
}

static bool grid_make(const Volume *v, Grid *g)
{
    g->kx = (int)fmax(1, floor(CELL_MM / v->dx + 0.3));
    g->ky = (int)fmax(1, floor(CELL_MM / v->dy + 0.3));
    g->w = v->nx / g->kx, g->h = v->ny / g->ky, g->nz = v->nz;
    double cx = g->kx * v->dx, cy = g->ky * v->dy;
    g->cell_area = cx * cy;
    g->erosion = (int)fmax(1, floor(EROSION_MM / fmax(cx, cy) + 0.5));
    size_t plane = (size_t)g->w * (size_t)g->h;
    if (!plane) return true; /* smaller than a cell: no head, and g->inside stays NULL */
    g->inside = calloc(plane, (size_t)v->nz);
    g->kept = calloc(plane, (size_t)v->nz);
    g->work[0] = malloc(plane), g->work[1] = malloc(plane);
    g->label = malloc(plane * sizeof *g->label), g->stack = malloc(plane * sizeof *g->stack);
    return g->inside && g->kept && g->work[0] && g->work[1] && g->label && g->stack;
}

/* Mean and maximum over a cell. */
static void cell_values(const Volume *v, const Grid *g, int cx, int cy, int z, float *mean, float *most)
{
    float sum = 0, m = -INFINITY;
    for (int y = cy * g->ky; y < (cy + 1) * g->ky; y++) {
        const float *row = v->hu + ((int64_t)z * v->ny + y) * v->nx;
        for (int x = cx * g->kx; x < (cx + 1) * g->kx; x++) {
            sum += row[x];
            if (row[x] > m) m = row[x];
        }
    }
    *mean = sum / (float)(g->kx * g->ky);
    *most = m;
}

/* rays[i] += 1 where going from cell i against (dx, dy) meets bone. `met` is scratch of the same shape. */
static void sweep(const Grid *g, const uint8_t *bone, int dx, int dy, uint8_t *met, uint8_t *rays)
{
    int y0 = dy < 0 ? g->h - 1 : 0, x0 = dx < 0 ? g->w - 1 : 0;
    int step_y = dy < 0 ? -1 : 1, step_x = dx < 0 ? -1 : 1;
    for (int j = 0, y = y0; j < g->h; j++, y += step_y)
        for (int i = 0, x = x0; i < g->w; i++, x += step_x) {
            int px = x - dx, py = y - dy, at = y * g->w + x;
            bool before = px >= 0 && px < g->w && py >= 0 && py < g->h && met[py * g->w + px];
            met[at] = bone[at] || before;
            rays[at] = (uint8_t)(rays[at] + met[at]);
        }
}

/* Fills g->inside of slice z; returns its area in cells. */
static int64_t find_inside(const Volume *v, Grid *g, int z, bool *any_head)
{
    size_t plane = (size_t)g->w * (size_t)g->h;
    uint8_t *bone = g->work[0], *met = g->work[1], *inside = g->inside + (size_t)z * plane;
    uint8_t *rays = (uint8_t *)g->label;
    for (int y = 0; y < g->h; y++)
        for (int x = 0; x < g->w; x++) {
            float mean, most;
            cell_values(v, g, x, y, z, &mean, &most);
            bone[y * g->w + x] = mean > 180 || most > 400;
            inside[y * g->w + x] = mean > -20 && mean < 120;
            *any_head |= mean > -300;
        }
    memset(rays, 0, plane);
    for (int dy = -1; dy <= 1; dy++)
        for (int dx = -1; dx <= 1; dx++)
            if (dx || dy) sweep(g, bone, dx, dy, met, rays);
    int64_t area = 0;
    for (size_t i = 0; i < plane; i++) {
        inside[i] = inside[i] && !bone[i] && rays[i] >= NEED_RAYS;
        area += inside[i];
    }
    return area;
}

/* dst = src eroded (grow = false) or dilated by one cell, 4-neighbourhood. Outside the grid counts as 0. */
static void morph(const Grid *g, const uint8_t *src, uint8_t *dst, bool grow)
{
    for (int y = 0; y < g->h; y++)
        for (int x = 0; x < g->w; x++) {
            const uint8_t *p = src + y * g->w + x;
            int n = (x > 0 && p[-1]) + (x + 1 < g->w && p[1]) + (y > 0 && p[-g->w]) + (y + 1 < g->h && p[g->w]);
            dst[y * g->w + x] = grow ? *p || n > 0 : *p && n == 4;
        }
}

/* g->erosion steps from src into work[0]; work[1] is scratch. */
static void morph_steps(Grid *g, const uint8_t *src, bool grow)
{
    memcpy(g->work[0], src, (size_t)g->w * (size_t)g->h);
    for (int i = 0; i < g->erosion; i++) {
        morph(g, g->work[0], g->work[1], grow);
        uint8_t *t = g->work[0];
        g->work[0] = g->work[1];
        g->work[1] = t;
    }
}

/* Marks the component of `set` round `seed` with `mark` in g->label; returns its size and how much of it lies
 * in `under` (NULL: 0). */
static int flood(Grid *g, const uint8_t *set, int seed, int mark, const uint8_t *under, int *over)
{
    int n = 0, top = 0;
    *over = 0;
    g->stack[top++] = seed;
    g->label[seed] = mark;
    while (top) {
        int at = g->stack[--top], x = at % g->w, y = at / g->w;
        n++;
        if (under && under[at]) ++*over;
        const int next[4] = {x > 0 ? at - 1 : -1, x + 1 < g->w ? at + 1 : -1, y > 0 ? at - g->w : -1,
                             y + 1 < g->h ? at + g->w : -1};
        for (int k = 0; k < 4; k++)
            if (next[k] >= 0 && set[next[k]] && !g->label[next[k]]) {
                g->label[next[k]] = mark;
                g->stack[top++] = next[k];
            }
    }
    return n;
}

/* Keeps in slice z the components that lie over `under`, or the largest one where under is NULL. kept holds the
 * eroded components; the area is counted after they have been grown back. */
static int64_t keep_slice(Grid *g, int z, const uint8_t *under)
{
    int plane = g->w * g->h, marks = 0, best = 0, best_size = 0;
    const uint8_t *inside = g->inside + (size_t)z * (size_t)plane;
    uint8_t *kept = g->kept + (size_t)z * (size_t)plane;
    morph_steps(g, inside, false);
    memset(g->label, 0, (size_t)plane * sizeof *g->label);
    for (int i = 0; i < plane; i++) {
        if (!g->work[0][i] || g->label[i]) continue;
        int over, size = flood(g, g->work[0], i, ++marks, under, &over);
        if (!under && size > best_size) best = marks, best_size = size;
        if (under && 2 * over >= size)
            for (int k = i; k < plane; k++) kept[k] |= g->label[k] == marks;
    }
    if (!under)
        for (int k = 0; best && k < plane; k++) kept[k] = g->label[k] == best;
    morph_steps(g, kept, true);
    int64_t area = 0;
    for (int k = 0; k < plane; k++) area += g->work[0][k] && inside[k];
    return area;
}

static void find_centre(const Volume *v, const Grid *g, Head *head)
{
    int x0 = g->w, x1 = -1, y0 = g->h, y1 = -1;
    for (int z = 0; z < g->nz; z++) {
        if (head->area[z] < head->largest / 2) continue;
        const uint8_t *kept = g->kept + (size_t)z * (size_t)g->w * (size_t)g->h;
        for (int y = 0; y < g->h; y++)
            for (int x = 0; x < g->w; x++)
                if (kept[y * g->w + x]) {
                    if (x < x0) x0 = x;
                    if (x > x1) x1 = x;
                    if (y < y0) y0 = y;
                    if (y > y1) y1 = y;
                }
    }
    head->centre_x = 0.5 * (x0 + x1 + 1) * g->kx * v->dx;
    head->centre_y = 0.5 * (y0 + y1 + 1) * g->ky * v->dy;
}

static bool measure(const Volume *v, Grid *g, const char *what, Head *head, Error *e)
{
    bool any_head = false;
    int64_t most = 0;
    int start = 0;
    for (int z = 0; g->inside && z < v->nz; z++) {
        int64_t area = find_inside(v, g, z, &any_head);
        if (area > most) most = area, start = z;
    }
    if (!any_head) return error_set(e, ERROR_INPUT, "%s: no head: nothing over -300 HU", what);

    size_t plane = (size_t)g->w * (size_t)g->h;
    head->area[start] = g->cell_area * (double)keep_slice(g, start, NULL);
    for (int z = start - 1; z >= 0; z--)
        head->area[z] = g->cell_area * (double)keep_slice(g, z, g->kept + (size_t)(z + 1) * plane);
    for (int z = start + 1; z < v->nz; z++)
        head->area[z] = g->cell_area * (double)keep_slice(g, z, g->kept + (size_t)(z - 1) * plane);
    for (int z = 0; z < v->nz; z++) head->largest = fmax(head->largest, head->area[z]);
    if (head->largest < SMALLEST_AREA)
        return error_set(
            e, ERROR_INPUT,
            "%s: no closed skull: at most %.0f mm2 of brain (0-80 HU) inside bone in a slice, expected "
            "%.0f or more; are the values Hounsfield units and the spacing right?",
            what, head->largest, SMALLEST_AREA);
    find_centre(v, g, head);
    return true;
}

bool head_find(const Volume *v, const char *what, Head *head, Error *e)
{
    Grid g = {0};
    Head found = {.nz = v->nz, .dz = v->dz, .area = calloc((size_t)v->nz, sizeof(double))};
    bool ok = found.area && grid_make(v, &g);
    ok = ok ? measure(v, &g, what, &found, e)
            : error_set(e, ERROR_MEMORY, "%s: no memory to look for the head", what);
    grid_free(&g);
    if (ok)
        *head = found;
    else
        free(found.area);
    return ok;
}

void head_free(Head *head)
{
    free(head->area);
    *head = (Head){0};
}

/* Position in mm where the area crosses `limit` between the slices z (at or above it) and z + step (below). */
static double crossing(const Head *h, int z, int step, double limit)
{
    double inner = h->area[z], outer = h->area[z + step];
    double t = inner > outer ? (inner - limit) / (inner - outer) : 0;
    return (z + 0.5 + step * t) * h->dz;
}

bool head_range(const Head *head, const char *what, double *from, double *to, Error *e)
{
    int low = 0, high;
    while (head->area[low] < head->largest) low++;
    high = low;
    double base = BASE_SHARE * head->largest, vertex = VERTEX_SHARE * head->largest;
    while (low > 0 && head->area[low - 1] >= base) low--;
    while (high + 1 < head->nz && head->area[high + 1] >= vertex) high++;
    double end = head->nz * head->dz;
    double a = low > 0 ? fmax(0, crossing(head, low, -1, base) - BASE_MM) : 0;
    double b = high + 1 < head->nz ? fmin(end, crossing(head, high, 1, vertex) + VERTEX_MM) : end;
    if (b - a < 60 || b - a > 180)
        return error_set(e, ERROR_INPUT,
                         "%s: the brain spans %.0f mm (%.0f to %.0f), expected 60 to 180; give the range with "
                         "--range A:B if this is a head",
                         what, b - a, a, b);
    *from = a, *to = b;
    return true;
}
