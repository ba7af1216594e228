#include "tools/page.h"
#include "data/file.h"
#include "data/image.h"
#include "data/rle.h"
#include "tools/markup.h"
#include "tools/table.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The page around the data: tools/page.html, whose {{DATA}} is replaced. */
__asm__(".section .rodata\n"
        ".global page_template\n"
        "page_template:\n"
        ".incbin \"tools/page.html\"\n"
        ".byte 0\n"
        ".previous\n");
extern const char page_template[] __attribute__((visibility("hidden")));

enum { SLICES = CTRG_SLICES };

/* The picture as a JSON string; NULL on error. */
static json_t *data_url(const Image *image, Error *e)
{
    char *text = markup_png(image, e);
    json_t *url = text ? json_string(text) : NULL;
    if (text && !url) error_set(e, ERROR_MEMORY, "page: no memory for a picture");
    free(text);
    return url;
}

/* All slices below one another: grey, or HU + 1024 packed in red and green. */
static json_t *slices_url(const PageStudy *s, Error *e)
{
    size_t n = (size_t)SLICES * (size_t)s->size * (size_t)s->size;
    if (!s->hu) {
        Image grey = {s->size, SLICES * s->size, 1, (uint8_t *)(uintptr_t)s->pixel};
        return data_url(&grey, e);
    }
    Image packed = {s->size, SLICES * s->size, 3, calloc(n, 3)};
    if (!packed.pixel) {
        error_set(e, ERROR_MEMORY, "page: no memory for a study");
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        int value = s->hu[i] + 1024;
        value = value < 0 ? 0 : value;
        packed.pixel[3 * i] = (uint8_t)(value >> 8);
        packed.pixel[3 * i + 1] = (uint8_t)(value & 255);
    }
    json_t *url = data_url(&packed, e);
    free(packed.pixel);
    return url;
}

/* All slices' probabilities below one another, 0..255. */
static json_t *segment_url(const float *prob, Error *e)
{
    uint8_t grey[SLICES * GRID * GRID];
    for (int i = 0; i < SLICES * GRID * GRID; i++) {
        float p = prob[i] > 0 ? prob[i] : 0;
        grey[i] = (uint8_t)lrintf(255 * (p < 1 ? p : 1));
    }
    Image image = {GRID, SLICES * GRID, 1, grey};
    return data_url(&image, e);
}

/* u8[24][size][size]: the number from 1 of the truth row of a focal finding whose mask covers the pixel. *shown
 * gets for each slice whether it has any, best[k] the slice with most of row k (-1: none). */
static bool draw_masks(const PageStudy *s, uint8_t *mask, bool shown[SLICES], int best[], Error *e)
{
    size_t plane = (size_t)s->size * (size_t)s->size;
    uint8_t *one = malloc(plane);
    if (!one) return error_set(e, ERROR_MEMORY, "page: no memory for a mask");
    bool ok = true;
    for (int k = 0; ok && k < s->truth->n_truth; k++) {
        const CtrgTruth *t = &s->truth->truth[k];
        size_t most = 0, area[SLICES] = {0};
        bool focal = finding_kind(t->finding)->focal;
        for (int m = 0; ok && m < t->n_masks; m++) {
            int at = t->mask[m].slice;
            ok = ctrg_read_mask(s->truth, &t->mask[m], one, e);
            for (size_t i = 0; ok && i < plane; i++) {
                if (!one[i]) continue;
                area[at]++;
                if (focal) mask[(size_t)at * plane + i] = (uint8_t)(k + 1);
            }
        }
        best[k] = -1;
        for (int i = 0; i < SLICES; i++) {
            shown[i] |= focal && area[i] > 0;
            if (area[i] > most) most = area[i], best[k] = i;
        }
    }
    free(one);
    return ok;
}

/* Bytes of the end mark at p, 0 if there is none. */
static size_t end_mark(const char *p)
{
    static const char *const mark[] = {"，", "。", "；", ",", ";", "\n"};
    for (size_t i = 0; i < sizeof mark / sizeof *mark; i++)
        if (!strncmp(p, mark[i], strlen(mark[i]))) return strlen(mark[i]);
    return 0;
}

json_t *page_clauses(const char *report, const FindingSet *other, const char *absent)
{
    json_t *list = json_array();
    while (list && *report) {
        size_t n = 0, mark = 0;
        while (report[n] && !(mark = end_mark(report + n))) n++;
        char *text = strndup(report, n + mark);
        FindingSet said = text ? findings_parse(text) : (FindingSet){0};
        const char *state = "";
        for (int f = 0; f < FINDING_COUNT; f++) {
            if (said.side[f] == SIDE_ABSENT) continue;
            if (said.side[f] != other->side[f])
                state = absent;
            else if (!*state)
                state = "hit";
        }
        if (said.other) state = absent;
        json_array_append_new(list, json_pack("[s, s]", text ? text : "", state));
        free(text);
        report += n + mark;
    }
    return list;
}

static json_t *finding(int f, Side side, const char *state, int slice)
{
    const FindingKind *k = finding_kind(f);
    static const char *const english[] = {"", "left ", "right ", "bilateral ", ""};
    static const char *const chinese[] = {"", "左侧", "右侧", "双侧", ""};
    char zh[128], en[128];
    bool tissue = k->density == DENSITY_LOW || k->density == DENSITY_HIGH;
    snprintf(zh, sizeof zh, "%s%s %s%s", chinese[side], entity_name(k->entity), density_name(k->density),
             tissue ? "密度" : "");
    snprintf(en, sizeof en, "%s%s: %s", english[side], entity_english(k->entity), density_english(k->density));
    return json_pack("{s:s, s:s, s:s, s:i}", "text", zh, "english", en, "state", state, "slice", slice);
}

static FindingSet true_findings(const CtrgStudy *t)
{
    return t->has_truth ? ctrg_findings(t) : findings_parse(t->findings);
}

json_t *page_compare(const CtrgStudy *t, const char *report, const int *best)
{
    FindingSet truth = true_findings(t), said = findings_parse(report);
    json_t *list = json_array();
    for (int f = 0; f < FINDING_COUNT; f++) {
        if (truth.side[f] == SIDE_ABSENT) continue;
        int slice = -1;
        for (int k = 0; best && k < t->n_truth; k++)
            if (t->truth[k].finding == f) slice = best[k];
        json_array_append_new(
            list, finding(f, truth.side[f], said.side[f] == truth.side[f] ? "hit" : "missed", slice));
    }
    for (int f = 0; f < FINDING_COUNT; f++)
        if (said.side[f] != SIDE_ABSENT && said.side[f] != truth.side[f])
            json_array_append_new(list, finding(f, said.side[f], "wrong", -1));
    return list;
}

/* Adds what is known of the truth: its text, the comparison, masks. */
static bool add_truth(json_t *o, const PageStudy *s, Error *e)
{
    const CtrgStudy *t = s->truth;
    const char *report = s->report ? s->report : "";
    int best[FINDING_COUNT + LABEL_COUNT];
    if (!t || !*t->findings) {
        json_object_set_new(o, "report", *report ? json_pack("[[s, s]]", report, "") : json_array());
        json_object_set_new(o, "truth", json_array());
        json_object_set_new(o, "findings", json_array());
        return true;
    }
    FindingSet truth = true_findings(t), said = findings_parse(report);
    size_t n = (size_t)SLICES * (size_t)s->size * (size_t)s->size;
    if (t->has_truth && t->width == s->size && t->height == s->size) {
        bool shown[SLICES] = {false};
        uint8_t *mask = calloc(n, 1);
        if (!mask) return error_set(e, ERROR_MEMORY, "page: no memory for masks");
        Image image = {s->size, SLICES * s->size, 1, mask};
        json_t *url = draw_masks(s, mask, shown, best, e) ? data_url(&image, e) : NULL, *list = json_array();
        free(mask);
        for (int i = 0; i < SLICES; i++) json_array_append_new(list, json_boolean(shown[i]));
        json_object_set_new(o, "shown", list);
        if (!url) return false;
        json_object_set_new(o, "mask", url);
    } else
        for (int k = 0; k < t->n_truth; k++) best[k] = -1;
    json_object_set_new(o, "report", page_clauses(report, &truth, "wrong"));
    json_object_set_new(o, "truth", page_clauses(t->findings, &said, "missed"));
    json_object_set_new(o, "findings", page_compare(t, report, best));
    for (int k = t->n_truth - 1; k >= 0; k--)
        if (best[k] >= 0 && finding_kind(t->truth[k].finding)->focal)
            json_object_set_new(o, "start", json_integer(best[k]));
    return true;
}

/* A clue's mask as a picture of its own size, 0 or 255. */
static json_t *mask_url(const StudyClues *s, const Clue *c, Error *e)
{
    Rle rle;
    Image image = {s->width, s->height, 1, NULL};
    if (!rle_from_text(c->counts, strlen(c->counts), s->width, s->height, &rle, e)) return NULL;
    size_t n = (size_t)s->width * (size_t)s->height;
    image.pixel = malloc(n);
    if (!image.pixel) error_set(e, ERROR_MEMORY, "page: no memory for a mask");
    if (image.pixel) rle_decode(&rle, image.pixel);
    for (size_t i = 0; image.pixel && i < n; i++) image.pixel[i] = image.pixel[i] ? 255 : 0;
    json_t *url = image.pixel ? data_url(&image, e) : NULL;
    free(image.pixel);
    rle_free(&rle);
    return url;
}

/* The retrieved evidence: a list of {entity, text, slice, mask: a picture or null}. */
static bool add_clues(json_t *o, const StudyClues *s, Error *e)
{
    json_t *list = json_array();
    for (int i = 0; list && i < s->n; i++) {
        const Clue *c = &s->clue[i];
        json_t *url = c->counts ? mask_url(s, c, e) : json_null();
        json_t *row = url ? json_pack("{s:s, s:s, s:i, s:o}", "entity", clue_entity_name(c->entity), "text",
                                      c->text, "slice", c->slice, "mask", url)
                          : NULL;
        if (url && !row) error_set(e, ERROR_INPUT, "page: a clue's text is not UTF-8");
        if (!row) {
            json_decref(list);
            return false;
        }
        json_array_append_new(list, row);
    }
    return !json_object_set_new(o, "evidence", list) || error_set(e, ERROR_MEMORY, "page: no memory for clues");
}

static json_t *study_json(const PageStudy *s, Error *e)
{
    json_t *url = slices_url(s, e);
    if (!url) return NULL;
    json_t *o =
        json_pack("{s:s, s:s, s:i, s:f, s:b, s:o, s:b, s:i}", "name", s->name, "about",
                  s->about ? s->about : "", "size", s->size, "pixel_mm", s->pixel_mm, "packed", s->hu != NULL,
                  "image", url, "synthetic", s->truth && s->truth->has_truth, "start", -1);
    if (!o) error_set(e, ERROR_INPUT, "page: study '%.60s': its texts are not UTF-8", s->name);
    bool ok = o && add_truth(o, s, e);
    if (ok && s->segment) {
        json_t *segment = segment_url(s->segment, e);
        ok = segment && !json_object_set_new(o, "segment", segment);
    }
    ok = ok && (!s->clues || add_clues(o, s->clues, e));
    if (ok) return o;
    json_decref(o);
    return NULL;
}

static json_t *number_of(const json_t *x)
{
    return json_is_number(x) ? json_real(json_number_value(x)) : json_null();
}

/* [value, low, high], each null where it is undefined or not there. */
static json_t *cell(const json_t *value, const json_t *interval)
{
    return json_pack("[o, o, o]", number_of(value), number_of(json_array_get(interval, 0)),
                     number_of(json_array_get(interval, 1)));
}

/* A system's cells; own: its numbers at the top of the scores or among the controls. */
static json_t *score_cells(const json_t *system, const json_t *own)
{
    static const struct {
        const char *value, *interval;
    } shown[] = {{"all/f1", "lesion/f1"},
                 {"all/macro_f1", "lesion/macro_f1"},
                 {"focal/f1", "lesion/focal/f1"},
                 {"all/side", "lesion/side"},
                 {"exact", "lesion/exact"}};
    const json_t *intervals = json_object_get(own, "intervals");
    json_t *values = json_array();
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        json_array_append_new(
            values, cell(table_find(system, shown[i].value), table_find(intervals, shown[i].interval)));
    json_array_append_new(values, cell(json_array_get(table_find(system, "characters/bleu"), 3), NULL));
    json_array_append_new(values, cell(table_find(system, "characters/rouge_l"), NULL));
    return values;
}

static json_t *score_table(const json_t *scores)
{
    json_t *rows = json_array(),
           *columns =
               json_pack("[[s,s],[s,s],[s,s],[s,s],[s,s],[s,s],[s,s],[s,s]]", "系统", "system", "F1 全部所见",
                         "all findings, micro", "F1 各类平均", "macro", "F1 局灶病变", "focal lesions", "侧别",
                         "side accuracy", "全对", "exact set", "BLEU-4", "characters", "ROUGE-L", "characters");
    size_t i;
    const json_t *system, *systems = json_object_get(scores, "systems"),
                          *controls = json_object_get(scores, "controls");
    json_array_foreach(systems, i, system)
    {
        const char *name = json_string_value(json_object_get(system, "name"));
        const char *how = json_string_value(json_object_get(system, "how"));
        const json_t *own =
            i ? json_object_get(controls, name ? name : "") : scores; /* the first is the model */
        json_array_append_new(rows, json_pack("{s:s, s:s, s:o}", "name", name ? name : "", "how",
                                              how ? how : "", "values", score_cells(system, own)));
    }
    return json_pack("{s:o, s:o, s:O?}", "columns", columns, "rows", rows, "studies",
                     json_object_get(scores, "studies"));
}

/* Writes the template with the data in its place; '<' never occurs in the data as such, so nothing in it can
 * end the script element. */
static bool write_page(const char *path, const json_t *data, Error *e)
{
    static const char slot[] = "{{DATA}}";
    const char *at = strstr(page_template, slot);
    char *text = json_text(data, JSON_COMPACT);
    FileWriter w;
    if (!at) die("page: the template has no %s", slot);
    if (!text) return error_set(e, ERROR_MEMORY, "%s: no memory for the page", path);
    bool ok = file_create(&w, path, e);
    if (ok) {
        fwrite(page_template, 1, (size_t)(at - page_template), w.stream);
        for (const char *p = text; *p; p++)
            if (*p == '<')
                fputs("\\u003c", w.stream);
            else
                putc(*p, w.stream);
        fputs(at + sizeof slot - 1, w.stream);
        ok = file_commit(&w, e);
    }
    free(text);
    return ok;
}

bool page_write(const char *path, const char *title, const PageStudy *study, int n, const json_t *scores,
                Error *e)
{
    json_t *list = json_array(), *data = NULL;
    bool ok = n > 0 || error_set(e, ERROR_INPUT, "%s: no study to show", path);
    for (int i = 0; ok && i < n; i++) {
        json_t *one = study_json(&study[i], e);
        ok = one && !json_array_append_new(list, one);
    }
    if (ok) {
        data = json_pack("{s:s, s:O, s:o?}", "title", title, "studies", list, "scores",
                         scores ? score_table(scores) : NULL);
        ok = data ? write_page(path, data, e) : error_set(e, ERROR_INPUT, "%s: the title is not UTF-8", path);
    }
    json_decref(data);
    json_decref(list);
    return ok;
}
