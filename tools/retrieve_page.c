#include "tools/retrieve_page.h"
#include "data/file.h"
#include "data/rle.h"
#include "tools/markup.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GAP = 2, TEXT = 1000 };
static const uint8_t TINT[3] = {255, 60, 40}, CONTOUR[3] = {110, 225, 255};
static const float OPACITY = 0.35f;

static bool no_memory(const StudyClues *s, Error *e)
{
    return error_set(e, ERROR_MEMORY, "study %" PRId64 ": no memory for its pictures", s->id);
}

/* In the mask, and a neighbour is not. */
static bool on_contour(const uint8_t *mask, int width, int height, int x, int y)
{
    const uint8_t *at = mask + (size_t)y * (size_t)width + x;
    return *at && (x == 0 || !at[-1] || x + 1 == width || !at[1] || y == 0 || !at[-width] || y + 1 == height ||
                   !at[width]);
}

static void draw(const uint8_t *grey, const uint8_t *mask, int width, int height, uint8_t *rgb)
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            size_t i = (size_t)y * (size_t)width + (size_t)x;
            uint8_t *left = rgb + 3 * ((size_t)y * (size_t)(2 * width + GAP) + (size_t)x),
                    *right = left + 3 * (width + GAP);
            memset(left, grey[i], 3);
            for (int c = 0; c < 3; c++)
                right[c] = mask[i] ? (uint8_t)lrintf((1 - OPACITY) * grey[i] + OPACITY * TINT[c]) : grey[i];
            if (on_contour(mask, width, height, x, y)) memcpy(right, CONTOUR, 3);
        }
}

bool retrieve_row(const StudyClues *s, const Clue *clue, const uint8_t *slice, Image *row, Error *e)
{
    Rle rle = {0};
    size_t n = (size_t)s->width * (size_t)s->height;
    if (clue->counts && !rle_from_text(clue->counts, strlen(clue->counts), s->width, s->height, &rle, e))
        return false;
    uint8_t *mask = calloc(n, 1), *rgb = calloc((size_t)s->height * (size_t)(2 * s->width + GAP), 3);
    bool ok = (mask && rgb) || no_memory(s, e);
    if (ok && clue->counts) rle_decode(&rle, mask);
    if (ok) draw(slice, mask, s->width, s->height, rgb);
    rle_free(&rle);
    free(mask);
    if (ok)
        *row = (Image){2 * s->width + GAP, s->height, 3, rgb};
    else
        free(rgb);
    return ok;
}

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"zh\"><head><meta charset=\"utf-8\"><title>Retrieved "
    "evidence</title>\n<style>"
    "body{font:15px/1.5 system-ui,sans-serif;margin:24px;background:#111;color:#ddd}td{padding:8px 16px 8px 0;"
    "vertical-align:top}img{image-rendering:pixelated}small{color:#999}h1{font-size:18px}</style></"
    "head><body>\n";

static bool put_row(FILE *f, const Clue *c, const Image *row, ClueQueryMode mode, Error *e)
{
    char *url = markup_png(row, e), *query = clue_query(c->entity, c->text, mode);
    if (url) {
        fputs("<tr><td><b>", f);
        markup_text(f, clue_entity_name(c->entity), TEXT);
        fprintf(f, "</b> %s<br>", clue_entity_english(c->entity));
        markup_text(f, c->text, TEXT);
        fputs("<br><small>", f);
        markup_text(f, query, TEXT);
        fprintf(f, "<br>层 layer %d, 切片 slice %d", c->slice / 3, c->slice);
        if (c->mask_index >= 0) fprintf(f, ", mask %d", c->mask_index);
        if (!isnan(c->score)) fprintf(f, ", 余弦 cosine %.3f", c->score);
        fprintf(f, "%s</small></td><td><img alt=\"\" src=\"%s\"></td></tr>\n", c->counts ? "" : ", no mask",
                url);
    }
    free(url);
    free(query);
    return url;
}

/* The rows below one another; whatever f has had is the page up to them. */
static bool put_rows(FILE *f, const StudyClues *s, const uint8_t *pixel, ClueQueryMode mode, Image *all,
                     Error *e)
{
    size_t plane = (size_t)s->width * (size_t)s->height, wide = 3 * (size_t)(2 * s->width + GAP);
    *all = (Image){2 * s->width + GAP, s->n * (s->height + GAP) - GAP, 3, NULL};
    all->pixel = calloc((size_t)all->height, wide);
    bool ok = all->pixel || no_memory(s, e);
    for (int i = 0; ok && i < s->n; i++) {
        Image row = {0};
        ok = retrieve_row(s, &s->clue[i], pixel + (size_t)s->clue[i].slice * plane, &row, e);
        if (ok) {
            memcpy(all->pixel + (size_t)i * (size_t)(s->height + GAP) * wide, row.pixel,
                   (size_t)row.height * wide);
            ok = put_row(f, &s->clue[i], &row, mode, e);
        }
        free(row.pixel);
    }
    return ok;
}

bool retrieve_page_write(const char *folder, const StudyClues *s, const char *findings, const uint8_t *pixel,
                         ClueQueryMode mode, Error *e)
{
    char path[4096];
    FileWriter w;
    int used = snprintf(path, sizeof path - 8, "%s/%" PRId64, folder, s->id);
    if (used >= (int)sizeof path - 8) return error_set(e, ERROR_INPUT, "%.100s...: path too long", folder);
    if (!file_make_folder(folder, e)) return false;
    snprintf(path + used, 8, ".html");
    if (!file_create(&w, path, e)) return false;
    Image all = {0};
    fputs(head, w.stream);
    fprintf(w.stream, "<h1>检索到的证据 Retrieved evidence: %" PRId64 "</h1>\n<p>", s->id);
    markup_text(w.stream, findings, 4 * TEXT);
    fputs("</p>\n<p><small>仅供研究使用，非医疗器械。Research use only, not a medical "
          "device.</small></p>\n<table>\n",
          w.stream);
    bool ok = !s->n || put_rows(w.stream, s, pixel, mode, &all, e);
    if (!s->n) fputs("<tr><td>没有线索 no clue</td></tr>\n", w.stream);
    fputs("</table></body></html>\n", w.stream);
    if (ok)
        ok = file_commit(&w, e);
    else
        file_abandon(&w);
    snprintf(path + used, 8, ".png");
    ok = ok && (!s->n || image_write_png(path, &all, e));
    free(all.pixel);
    return ok;
}
