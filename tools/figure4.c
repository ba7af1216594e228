#include "tools/draw.h"
#include "tools/figure.h"
#include "tools/markup.h"
#include "tools/page.h"
#include <stdlib.h>
#include <string.h>

enum { MARGIN = 16, SCALE = 2, LINE = 12 * SCALE, CELL = 200, NAME = 630, TEXT = 4000 };
static const uint8_t INK[3] = {29, 35, 39}, PAPER[3] = {255, 255, 255}, TRUTH[3] = {255, 220, 60};

/* The slices are half as large as in figure 3. */
static int small_times(int size) { return (figure_times(size) + 1) / 2; }

/* A row of the comparison: a finding that the truth or a report names; FINDING_COUNT: claims outside the table.
 */
typedef struct Row {
    int finding;
    Side truth, said[2]; /* of the baseline, of ours */
} Row;

static int compare(const FigureStudy *s, Row row[FINDING_COUNT + 1])
{
    FindingSet truth = ctrg_findings(s->truth),
               said[2] = {findings_parse(s->baseline), findings_parse(s->ours)};
    int n = 0;
    for (int f = 0; f < FINDING_COUNT; f++)
        if (truth.side[f] != SIDE_ABSENT || said[0].side[f] != SIDE_ABSENT || said[1].side[f] != SIDE_ABSENT)
            row[n++] = (Row){f, (Side)truth.side[f], {(Side)said[0].side[f], (Side)said[1].side[f]}};
    if (said[0].other || said[1].other)
        row[n++] = (Row){FINDING_COUNT,
                         SIDE_ABSENT,
                         {said[0].other ? SIDE_NONE : SIDE_ABSENT, said[1].other ? SIDE_NONE : SIDE_ABSENT}};
    return n;
}

/* A report clause by clause, each in the colour of its worst claim against the other side's findings. */
static void put_report(FILE *f, const char *report, const FindingSet *other, bool is_truth)
{
    json_t *list = page_clauses(report, other, "");
    size_t i;
    const json_t *clause;
    json_array_foreach(list, i, clause)
    {
        const char *text = json_string_value(json_array_get(clause, 0));
        FindingSet claim = findings_parse(text);
        FigureState worst = claim.other ? FIGURE_INVENTED : FIGURE_NOTHING;
        for (int k = 0; k < FINDING_COUNT; k++) {
            if (claim.side[k] == SIDE_ABSENT) continue;
            FigureState state = is_truth ? figure_state((Side)claim.side[k], (Side)other->side[k])
                                         : figure_state((Side)other->side[k], (Side)claim.side[k]);
            if (state > worst) worst = state;
        }
        if (worst) fprintf(f, "<span class=\"claim %s\">", figure_class(worst));
        markup_text(f, text, TEXT);
        if (worst) fputs("</span>", f);
    }
    json_decref(list);
}

/* The study's first lesion, outlined; *out has no pixels if it has none. */
static bool draw_lesion(const FigureStudy *s, Image *out, Error *e)
{
    FigureTile tile[FIGURE_TILES];
    int n, times = small_times(s->size);
    size_t plane = (size_t)s->size * (size_t)s->size;
    *out = (Image){0};
    if (!figure_tiles(s, tile, &n, e)) return false;
    if (!n) return true;
    uint8_t *mask = malloc(plane);
    bool ok =
        (mask || error_set(e, ERROR_MEMORY, "study %lld: no memory for a mask", (long long)s->truth->id)) &&
        figure_mask(s, &tile[0], mask, e) && draw_new(out, s->size * times, s->size * times, e);
    if (ok) {
        draw_picture(out, 0, 0, s->pixel + plane * (size_t)tile[0].slice, s->size, 1, times);
        draw_outline(out, 0, 0, mask, s->size, times, TRUTH);
    }
    free(mask);
    return ok;
}

static void write_cell(Image *all, int x, int y, const Row *r, Side said)
{
    static const char *const side[] = {"", "on the left", "on the right", "on both sides", "without side"};
    FigureState state = figure_state(r->truth, said);
    if (state == FIGURE_NOTHING) return;
    draw_rectangle(all, x, y, CELL - 4, LINE - 4, figure_colour(state));
    draw_text(all, x + 6, y + 3, SCALE, PAPER,
              state == FIGURE_SIDE    ? side[said]
              : state == FIGURE_RIGHT ? "correct"
                                      : figure_class(state));
}

/* The comparison of one study as a grid. */
static void write_study(Image *all, int y, const FigureStudy *s, const Row *row, int n, const Image *lesion)
{
    char text[160], place[96];
    int x = MARGIN + (lesion->pixel ? lesion->width + MARGIN : 0);
    if (lesion->pixel) draw_copy(all, MARGIN, y, lesion);
    snprintf(text, sizeof text, "study %lld", (long long)s->truth->id);
    draw_text(all, x, y + 3, SCALE, INK, text);
    draw_text(all, x + NAME + 6, y + 3, SCALE, INK, "baseline");
    draw_text(all, x + NAME + CELL + 6, y + 3, SCALE, INK, "ours");
    for (int i = 0; i < n; i++) {
        int at = y + (i + 1) * LINE;
        if (row[i].finding < FINDING_COUNT) {
            Side side = row[i].truth ? row[i].truth : row[i].said[1] ? row[i].said[1] : row[i].said[0];
            figure_place(row[i].finding, side, place);
            snprintf(text, sizeof text, "%s: %s", place,
                     density_english(finding_kind(row[i].finding)->density));
        } else
            snprintf(text, sizeof text, "claims outside the table");
        draw_text(all, x, at + 3, SCALE, INK, text);
        for (int k = 0; k < 2; k++) write_cell(all, x + NAME + k * CELL, at, &row[i], row[i].said[k]);
    }
}

static bool put_study(FILE *f, const FigureStudy *s, const Image *lesion, Error *e)
{
    FindingSet truth = ctrg_findings(s->truth), ours = findings_parse(s->ours);
    char *url = lesion->pixel ? markup_png(lesion, e) : NULL;
    if (lesion->pixel && !url) return false;
    fprintf(f, "<tr><td>study %lld", (long long)s->truth->id);
    if (url) fprintf(f, "<img alt=\"\" width=\"160\" src=\"%s\">", url);
    free(url);
    fputs("</td><td>", f);
    put_report(f, s->truth->findings, &ours, true);
    fputs("</td><td>", f);
    put_report(f, s->baseline, &truth, false);
    fputs("</td><td>", f);
    put_report(f, s->ours, &truth, false);
    fputs("</td></tr>\n", f);
    return true;
}

static bool put_studies(FILE *f, const FigureStudy *study, int n, Image *all, Error *e)
{
    Row row[FINDING_COUNT + 1];
    int width = 0, height = MARGIN;
    for (int i = 0; i < n; i++) {
        int large = study[i].size * small_times(study[i].size), rows = (compare(&study[i], row) + 1) * LINE;
        if (large + NAME + 2 * CELL + 3 * MARGIN > width) width = large + NAME + 2 * CELL + 3 * MARGIN;
        height += (rows > large ? rows : large) + MARGIN;
    }
    if (!draw_new(all, width, height, e)) return false;
    fputs("<table>\n<tr><th></th><th>真实 truth</th><th>基线 baseline</th><th>本模型 ours</th></tr>\n", f);
    bool ok = true;
    for (int i = 0, y = MARGIN; ok && i < n; i++) {
        Image lesion;
        int rows = compare(&study[i], row), large = study[i].size * small_times(study[i].size);
        ok = draw_lesion(&study[i], &lesion, e) && put_study(f, &study[i], &lesion, e);
        if (ok) write_study(all, y, &study[i], row, rows, &lesion);
        free(lesion.pixel);
        y += ((rows + 1) * LINE > large ? (rows + 1) * LINE : large) + MARGIN;
    }
    fputs("</table>\n", f);
    return ok;
}

bool figure4_write(const char *folder, const FigureStudy *study, int n, const char *choice, Error *e)
{
    static const Figure figure = {
        "figure4", "图 4 Figure 4",
        "真实报告，以及基线（无对齐损失）与本模型的报告；每句按其所见着色。The true report beside "
        "those of the baseline (without "
        "alignment losses) and of the model; each clause has the colour of what it claims. In the "
        "truth: how our report "
        "stands to it.",
        put_studies};
    return figure_write(folder, &figure, study, n, choice, e);
}
