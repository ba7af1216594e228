#include "tools/draw.h"
#include "tools/evidence.h"
#include "tools/figure.h"
#include "tools/markup.h"
#include "tools/page.h"
#include <stdlib.h>
#include <string.h>

enum { MOST = 4, GAP = 4, MARGIN = 16, SCALE = 2, LINE = 10 * SCALE, TEXT = 1000 };
static const uint8_t INK[3] = {29, 35, 39}, TRUTH[3] = {255, 220, 60};

/* A tile's two pictures: the slice with the true lesion's outline, and what the segmentation head saw there. */
static bool draw_tile(const FigureStudy *s, const FigureTile *t, Image *out, Error *e)
{
    int times = figure_times(s->size), large = s->size * times;
    size_t plane = (size_t)s->size * (size_t)s->size, wide = (size_t)large * (size_t)large;
    const uint8_t *slice = s->pixel + plane * (size_t)t->slice;
    uint8_t *mask = malloc(plane), *grey = malloc(wide), *rgb = malloc(3 * wide);
    bool ok = (mask && grey && rgb) ||
              error_set(e, ERROR_MEMORY, "study %lld: no memory for its pictures", (long long)s->truth->id);
    *out = (Image){0};
    ok = ok && figure_mask(s, t, mask, e) && draw_new(out, 2 * large + GAP, large, e);
    if (ok) {
        draw_picture(out, 0, 0, slice, s->size, 1, times);
        draw_outline(out, 0, 0, mask, s->size, times, TRUTH);
        for (int y = 0; y < large; y++)
            for (int x = 0; x < large; x++) grey[y * large + x] = slice[y / times * s->size + x / times];
        evidence_draw(grey, large, s->segment + GRID_CELLS * t->slice, rgb);
        draw_picture(out, large + GAP, 0, rgb, large, 3, 1);
    }
    free(mask);
    free(grey);
    free(rgb);
    return ok;
}

/* The first clause of the report that claims the finding, on whichever side; NULL: none. malloc'ed. */
static char *sentence(const char *report, int finding)
{
    FindingSet nothing = {0};
    json_t *list = page_clauses(report, &nothing, "");
    char *out = NULL;
    size_t i;
    const json_t *clause;
    json_array_foreach(list, i, clause)
    {
        const char *text = json_string_value(json_array_get(clause, 0));
        FindingSet said = findings_parse(text);
        if (!out && said.side[finding] != SIDE_ABSENT) out = strdup(text);
    }
    json_decref(list);
    return out;
}

static bool put_tile(FILE *f, const FigureStudy *s, const FigureTile *t, const Image *picture,
                     FigureState state, Error *e)
{
    const CtrgTruth *row = &s->truth->truth[t->row];
    char *url = markup_png(picture, e), *said = sentence(s->ours, row->finding), name[128], place[96];
    if (url) {
        figure_name(row->finding, row->side, name);
        figure_place(row->finding, row->side, place);
        fprintf(f,
                "<figure><img alt=\"\" src=\"%s\"><figcaption><b>%s</b> <small>%s, %s; 切片 slice "
                "%d</small><br>真实 truth: ",
                url, name, place, density_english(finding_kind(row->finding)->density), t->slice);
        markup_text(f, row->clause, TEXT);
        fprintf(f, "<br>报告 report: <span class=\"claim %s\">", figure_class(state));
        markup_text(f, said ? said : "未提及 not named", TEXT);
        fputs("</span></figcaption></figure>\n", f);
    }
    free(url);
    free(said);
    return url;
}

/* The PNG's caption of a tile: where, what, and what the report made of it. */
static void write_tile(Image *all, int x, int y, const CtrgTruth *row, FigureState state, Side said)
{
    static const char *const side[] = {"", "on the left", "on the right", "on both sides", "without side"};
    char text[160], place[96];
    figure_place(row->finding, row->side, place);
    draw_text(all, x, y, SCALE, INK, place);
    snprintf(text, sizeof text, "%s: ", density_english(finding_kind(row->finding)->density));
    draw_text(all, x, y + LINE, SCALE, INK, text);
    x += draw_text_width(text, SCALE) + SCALE;
    if (state == FIGURE_SIDE)
        snprintf(text, sizeof text, "said %s", side[said]);
    else
        snprintf(text, sizeof text, "%s", state == FIGURE_RIGHT ? "correct" : "not said");
    draw_text(all, x, y + LINE, SCALE, figure_colour(state), text);
}

static bool put_study(FILE *f, const FigureStudy *s, Image *all, int y, Error *e)
{
    FigureTile tile[FIGURE_TILES];
    FindingSet said = findings_parse(s->ours);
    char text[64];
    int n;
    if (!figure_tiles(s, tile, &n, e)) return false;
    snprintf(text, sizeof text, "study %lld", (long long)s->truth->id);
    draw_text(all, MARGIN, y, SCALE, INK, text);
    fprintf(f, "<h2>%s</h2>\n<div class=\"tiles\">\n", text);
    for (int i = 0; i < n; i++) {
        const CtrgTruth *row = &s->truth->truth[tile[i].row];
        Side side = (Side)said.side[row->finding];
        FigureState state = figure_state(row->side, side);
        Image picture;
        bool ok = draw_tile(s, &tile[i], &picture, e) && put_tile(f, s, &tile[i], &picture, state, e);
        if (ok) {
            int x = MARGIN + i * (picture.width + MARGIN);
            draw_copy(all, x, y + LINE, &picture);
            write_tile(all, x, y + LINE + picture.height + 3 * SCALE, row, state, side);
        }
        free(picture.pixel);
        if (!ok) return false;
    }
    fputs("</div>\n", f);
    return true;
}

static bool put_studies(FILE *f, const FigureStudy *study, int n, Image *all, Error *e)
{
    int width = 0, height = MARGIN;
    for (int i = 0; i < n; i++) {
        int large = study[i].size * figure_times(study[i].size),
            wide = MARGIN + FIGURE_TILES * (2 * large + GAP + MARGIN);
        if (wide > width) width = wide;
        height += large + 4 * LINE + MARGIN;
    }
    if (!draw_new(all, width, height, e)) return false;
    bool ok = true;
    for (int i = 0, y = MARGIN; ok && i < n; i++) {
        ok = put_study(f, &study[i], all, y, e);
        y += study[i].size * figure_times(study[i].size) + 4 * LINE + MARGIN;
    }
    return ok;
}

bool figure3_write(const char *folder, const FigureStudy *study, int n, const char *choice, Error *e)
{
    static const Figure figure = {
        "figure3", "图 3 Figure 3",
        "每个病变：真实范围（黄线），分割头的概率（蓝到红，浅蓝线为 0.5），以及描述它的句子。Each "
        "lesion: its true outline (yellow), "
        "the segmentation head's probability (blue to red, contour at 0.5 in light blue), and the "
        "sentence that names it.",
        put_studies};
    return figure_write(folder, &figure, study, n < MOST ? n : MOST, choice, e);
}
