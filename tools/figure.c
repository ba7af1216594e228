#include "tools/figure.h"
#include "data/file.h"
#include "tools/markup.h"
#include <stdlib.h>
#include <string.h>

enum { TILE_PIXELS = 256 };

FigureState figure_state(Side truth, Side said)
{
    if (said == SIDE_ABSENT) return truth == SIDE_ABSENT ? FIGURE_NOTHING : FIGURE_MISSED;
    if (truth == SIDE_ABSENT) return FIGURE_INVENTED;
    return truth == said ? FIGURE_RIGHT : FIGURE_SIDE;
}

static const struct {
    const char *name, *english;
    uint8_t rgb[3];
} states[FIGURE_STATES] = {
    [FIGURE_NOTHING] = {"", "", {255, 255, 255}},
    [FIGURE_RIGHT] = {"right", "对 correct", {0, 158, 115}},
    [FIGURE_SIDE] = {"side", "侧别错 wrong side", {230, 159, 0}},
    [FIGURE_MISSED] = {"missed", "漏 missed", {86, 180, 233}},
    [FIGURE_INVENTED] = {"invented", "误 invented", {213, 94, 0}},
};
const uint8_t *figure_colour(FigureState s) { return states[s].rgb; }
const char *figure_class(FigureState s) { return states[s].name; }

void figure_place(int finding, Side side, char out[96])
{
    static const char *const english[] = {"", "left ", "right ", "bilateral ", ""};
    snprintf(out, 96, "%s%s", english[side], entity_english(finding_kind(finding)->entity));
}

void figure_name(int finding, Side side, char out[128])
{
    static const char *const chinese[] = {"", "左侧", "右侧", "双侧", ""};
    const FindingKind *k = finding_kind(finding);
    bool tissue = k->density == DENSITY_LOW || k->density == DENSITY_HIGH;
    snprintf(out, 128, "%s%s %s%s", chinese[side], entity_name(k->entity), density_name(k->density),
             tissue ? "密度" : "");
}

int figure_times(int size) { return size < TILE_PIXELS ? TILE_PIXELS / size : 1; }

bool figure_mask(const FigureStudy *s, const FigureTile *t, uint8_t *mask, Error *e)
{
    const CtrgTruth *row = &s->truth->truth[t->row];
    size_t plane = (size_t)s->size * (size_t)s->size;
    uint8_t *one = malloc(plane);
    if (!one) return error_set(e, ERROR_MEMORY, "study %lld: no memory for a mask", (long long)s->truth->id);
    bool ok = true;
    memset(mask, 0, plane);
    for (int m = 0; ok && m < row->n_masks; m++) {
        if (row->mask[m].slice != t->slice) continue;
        ok = ctrg_read_mask(s->truth, &row->mask[m], one, e);
        for (size_t i = 0; ok && i < plane; i++) mask[i] |= one[i];
    }
    free(one);
    return ok;
}

/* A row's slices, the largest mask first; *n of them are not empty. */
static bool sort_slices(const FigureStudy *s, int row, int slice[CTRG_SLICES], int *n, Error *e)
{
    size_t plane = (size_t)s->size * (size_t)s->size, area[CTRG_SLICES] = {0};
    uint8_t *mask = malloc(plane);
    bool ok = mask || error_set(e, ERROR_MEMORY, "study %lld: no memory for a mask", (long long)s->truth->id);
    *n = 0;
    for (int i = 0; ok && i < CTRG_SLICES; i++) {
        ok = figure_mask(s, &(FigureTile){row, i}, mask, e);
        for (size_t k = 0; ok && k < plane; k++) area[i] += mask[k];
        if (!ok || !area[i]) continue;
        int at = (*n)++;
        for (; at > 0 && area[slice[at - 1]] < area[i]; at--) slice[at] = slice[at - 1];
        slice[at] = i;
    }
    free(mask);
    return ok;
}

bool figure_tiles(const FigureStudy *s, FigureTile tile[FIGURE_TILES], int *n, Error *e)
{
    const CtrgStudy *t = s->truth;
    *n = 0;
    for (int place = 0; place < CTRG_SLICES; place++)
        for (int tissue = 1; tissue >= 0; tissue--)
            for (int row = 0; row < t->n_truth; row++) {
                const FindingKind *k = finding_kind(t->truth[row].finding);
                int slice[CTRG_SLICES], slices;
                if (!k->focal || k->parenchymal != tissue) continue;
                if (!sort_slices(s, row, slice, &slices, e)) return false;
                if (place < slices) tile[(*n)++] = (FigureTile){row, slice[place]};
                if (*n == FIGURE_TILES) return true;
            }
    return true;
}

static void write_head(FILE *f, const char *title, const char *about, const char *choice)
{
    fprintf(
        f,
        "<!DOCTYPE html>\n<html lang=\"zh\"><head><meta charset=\"utf-8\"><title>%s</title>\n<style>\n"
        "body{font:15px/1.6 \"Noto Sans CJK SC\",\"PingFang SC\",\"Microsoft YaHei\",\"WenQuanYi Micro "
        "Hei\",system-ui,"
        "sans-serif;margin:24px auto;max-width:1640px;padding:0 24px;color:#1d2327}\n"
        "h1{font-size:19px}h2{font-size:15px;margin:24px 0 8px}img{display:block}\n"
        ".tiles{display:flex;flex-wrap:wrap;gap:16px}figure{margin:0;width:min-content}figcaption{margin-top:"
        "6px}\n"
        "table{border-collapse:collapse;width:100%%}td,th{vertical-align:top;text-align:left;padding:8px 14px;"
        "border-top:1px solid #dcdfdc}th{font-weight:500;color:#5c676e}\n"
        "small{color:#5c676e}.claim{border-radius:3px;padding:1px 2px}\n",
        title);
    for (int s = FIGURE_RIGHT; s < FIGURE_STATES; s++)
        fprintf(f, ".%s{background:rgba(%d,%d,%d,.3)}\n", states[s].name, states[s].rgb[0], states[s].rgb[1],
                states[s].rgb[2]);
    fprintf(f, "</style></head><body>\n<h1>%s</h1>\n<p>%s %s</p>\n<p>", title, about, choice);
    for (int s = FIGURE_RIGHT; s < FIGURE_STATES; s++)
        fprintf(f, "<span class=\"claim %s\">%s</span> ", states[s].name, states[s].english);
    fputs("</p>\n<p><small>仅供研究使用，非医疗器械。图像左侧为患者右侧。Research use only, not a medical "
          "device. Image left is the "
          "patient's right.</small></p>\n",
          f);
}

bool figure_write(const char *folder, const Figure *figure, const FigureStudy *study, int n, const char *choice,
                  Error *e)
{
    char path[4096];
    FileWriter w;
    Image all = {0};
    if (snprintf(path, sizeof path, "%s/%s.html", folder, figure->name) >= (int)sizeof path - 8)
        return error_set(e, ERROR_INPUT, "%.100s...: path too long", folder);
    if (!file_make_folder(folder, e) || !file_create(&w, path, e)) return false;
    write_head(w.stream, figure->title, figure->about, choice);
    bool ok = figure->put(w.stream, study, n, &all, e);
    fputs("</body></html>\n", w.stream);
    if (ok)
        ok = file_commit(&w, e);
    else
        file_abandon(&w);
    snprintf(path, sizeof path, "%s/%s.png", folder, figure->name);
    ok = ok && image_write_png(path, &all, e);
    free(all.pixel);
    return ok;
}
