#include "tools/score.h"
#include "data/file.h"
#include "losses/rouge.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_LIMIT = 1 << 30, COMMONEST = 40, FIRST = 400 };

static bool no_memory(Error *e, int n)
{
    return error_set(e, ERROR_MEMORY, "no memory to score %d studies", n);
}

bool score_truth(const Ctrg *c, ScoreTruth *out, Error *e)
{
    size_t n = (size_t)c->n;
    *out = (ScoreTruth){c->n, calloc(n + 1, sizeof *out->id), calloc(n + 1, sizeof *out->report),
                        calloc(n + 1, sizeof *out->set), calloc(n + 1, sizeof *out->radius)};
    bool ok = out->id && out->report && out->set && out->radius;
    for (int i = 0; ok && i < c->n; i++) {
        const CtrgStudy *s = &c->study[i];
        out->id[i] = s->id;
        out->report[i] = strdup(s->findings);
        ok = out->report[i] != NULL;
        out->set[i] = s->has_truth ? ctrg_findings(s) : findings_parse(s->findings);
        for (int k = 0; k < s->n_truth; k++) {
            double *radius = &out->radius[i][s->truth[k].finding];
            if (s->truth[k].radius_mm > *radius) *radius = s->truth[k].radius_mm;
        }
    }
    if (ok) return true;
    score_truth_free(out);
    return no_memory(e, c->n);
}

void score_truth_free(ScoreTruth *t)
{
    for (int i = 0; t->report && i < t->n; i++) free(t->report[i]);
    free(t->id);
    free(t->report);
    free(t->set);
    free(t->radius);
    *t = (ScoreTruth){0};
}

void score_keep_reported(ScoreTruth *t, char **reports)
{
    int kept = 0;
    for (int i = 0; i < t->n; i++) {
        if (!reports[i]) {
            free(t->report[i]);
            continue;
        }
        reports[kept] = reports[i];
        t->id[kept] = t->id[i];
        t->report[kept] = t->report[i];
        t->set[kept] = t->set[i];
        if (kept != i) memcpy(t->radius[kept], t->radius[i], sizeof t->radius[i]);
        kept++;
    }
    t->n = kept;
}

Ctrg *score_open_annotations(const char *path, Error *e)
{
    char inside[4096];
    struct stat st;
    if (!stat(path, &st) && S_ISDIR(st.st_mode)) {
        if ((size_t)snprintf(inside, sizeof inside, "%s/annotations.json", path) >= sizeof inside) {
            error_set(e, ERROR_INPUT, "%s: path too long", path);
            return NULL;
        }
        path = inside;
    }
    uint8_t *bytes;
    size_t n;
    if (!file_read(path, FILE_LIMIT, &bytes, &n, e)) return NULL;
    Ctrg *c = ctrg_parse((const char *)bytes, n, path, NULL, NULL, e);
    free(bytes);
    return c;
}

typedef struct IdPlace {
    int64_t id;
    int place;
} IdPlace;

static int compare_ids(const void *a, const void *b)
{
    int64_t x = ((const IdPlace *)a)->id, y = ((const IdPlace *)b)->id;
    return x < y ? -1 : x > y;
}

/* The study that a line is about (-1: none of ours) and its report. */
static bool read_line(const char *line, size_t n, const char *what, const IdPlace *ids, int n_ids,
                      int64_t *number, int *place, char **report, Error *e)
{
    json_t *value = json_parse(line, n, what, e);
    if (!value) return false;
    const json_t *id = json_object_get(value, "id");
    const char *text, *name = json_string_value(id);
    char *rest = NULL;
    IdPlace key = {name ? strtoll(name, &rest, 10) : json_integer_value(id), 0};
    bool ok = json_is_object(value) && (json_is_integer(id) || (name && *name && !*rest));
    if (!ok)
        error_set(e, ERROR_INPUT, "%s: expected {\"id\": \"12\", \"report\": \"...\"} with a decimal id", what);
    ok = ok && json_get_string(value, "report", what, &text, e);
    if (ok) {
        const IdPlace *found = bsearch(&key, ids, (size_t)n_ids, sizeof key, compare_ids);
        *place = found ? found->place : -1;
        *number = key.id;
        *report = strdup(text);
        if (!*report) ok = no_memory(e, n_ids);
    }
    json_decref(value);
    return ok;
}

static bool read_lines(const char *path, char *bytes, size_t n, const IdPlace *ids, int n_ids, bool unknown,
                       char **reports, Error *e)
{
    int number = 0;
    for (char *line = bytes, *end; line < bytes + n; line = end + 1) {
        end = memchr(line, '\n', (size_t)(bytes + n - line));
        if (!end) end = bytes + n;
        char what[4200], *report;
        int place;
        int64_t id;
        snprintf(what, sizeof what, "%s: line %d", path, ++number);
        if (strspn(line, " \t\r") >= (size_t)(end - line)) continue; /* file_read ends the bytes with a 0 */
        if (!read_line(line, (size_t)(end - line), what, ids, n_ids, &id, &place, &report, e)) return false;
        if (place < 0) {
            free(report);
            if (!unknown)
                return error_set(e, ERROR_INPUT, "%s: study %lld is not in the truth", what, (long long)id);
        } else if (reports[place]) {
            free(report);
            return error_set(e, ERROR_INPUT, "%s: a second report for study %lld", what, (long long)id);
        } else {
            reports[place] = report;
        }
    }
    return true;
}

bool score_read_reports(const char *path, const ScoreTruth *t, bool missing, bool unknown, char ***reports,
                        Error *e)
{
    uint8_t *bytes = NULL;
    size_t n;
    IdPlace *ids = calloc((size_t)t->n + 1, sizeof *ids);
    char **out = calloc((size_t)t->n + 1, sizeof *out);
    bool ok = ids && out;
    if (!ok) no_memory(e, t->n);
    ok = ok && file_read(path, FILE_LIMIT, &bytes, &n, e);
    for (int i = 0; ok && i < t->n; i++) ids[i] = (IdPlace){t->id[i], i};
    if (ok) qsort(ids, (size_t)t->n, sizeof *ids, compare_ids);
    ok = ok && read_lines(path, (char *)bytes, n, ids, t->n, unknown, out, e);
    int lacking = 0, first = 0;
    for (int i = t->n - 1; ok && i >= 0; i--)
        if (!out[i]) {
            lacking++;
            first = i;
        }
    if (ok && lacking && !missing)
        ok = error_set(e, ERROR_INPUT, "%s: no report for study %lld (%d of %d studies have none)", path,
                       (long long)t->id[first], lacking, t->n);
    if (ok && lacking == t->n) ok = error_set(e, ERROR_INPUT, "%s: no report for any study of the truth", path);
    free(bytes);
    free(ids);
    if (!ok) {
        if (out) score_reports_free(out, t->n);
        return false;
    }
    *reports = out;
    return true;
}

void score_reports_free(char **reports, int n)
{
    for (int i = 0; i < n; i++) free(reports[i]);
    free(reports);
}

/* A report as tokens, each decoded alone and followed by a space. */
static bool cut_tokens(const Bpe *b, Words *w, const char *text, Tokens *out, Error *e)
{
    int32_t *ids;
    int n;
    size_t room = 1, k = 0;
    if (!bpe_encode(b, text, strlen(text), false, &ids, &n, e)) return false;
    for (int i = 0; i < n; i++) {
        size_t length;
        bpe_token(b, ids[i], &length);
        room += 3 * length + 1;
    }
    char *joined = malloc(room);
    bool ok = joined || no_memory(e, 1);
    for (int i = 0; ok && i < n; i++) {
        char *one;
        size_t length;
        ok = bpe_decode(b, &ids[i], 1, false, &one, &length, e);
        if (!ok) break;
        memcpy(joined + k, one, length);
        k += length;
        joined[k++] = ' ';
        free(one);
    }
    if (ok) joined[k] = 0;
    ok = ok && words_cut(w, joined, WORDS_SPLIT, out, e);
    free(joined);
    free(ids);
    return ok;
}

/* BLEU and ROUGE-L of all pairs, by characters (b NULL) or by tokens. */
static bool score_text(const ScoreTruth *t, char *const *reports, const Bpe *b, ScoreText *out, Error *e)
{
    Words *w = words_open(e);
    Tokens *said = calloc(2 * (size_t)t->n + 1, sizeof *said), *truth = said + t->n;
    bool ok = w && (said || no_memory(e, t->n));
    for (int i = 0; ok && i < t->n; i++)
        ok = b ? cut_tokens(b, w, reports[i], &said[i], e) && cut_tokens(b, w, t->report[i], &truth[i], e)
               : words_characters(reports[i], &said[i], e) && words_characters(t->report[i], &truth[i], e);
    ok = ok && bleu_score(said, truth, t->n, out->bleu, e) && rouge_l_mean(said, truth, t->n, &out->rouge_l, e);
    for (int i = 0; said && i < 2 * t->n; i++) tokens_free(&said[i]);
    free(said);
    words_close(w);
    return ok;
}

TupleTable score_table(uint8_t sided[FINDING_COUNT], uint8_t focal[FINDING_COUNT])
{
    for (int f = 0; f < FINDING_COUNT; f++) {
        sided[f] = finding_kind(f)->sided;
        focal[f] = finding_kind(f)->parenchymal;
    }
    return (TupleTable){FINDING_COUNT, sided, focal};
}

bool score_system(const ScoreTruth *t, char *const *reports, const Bpe *tokenizer, int repeats, uint64_t seed,
                  ScoreSystem *out, Error *e)
{
    uint8_t sided[FINDING_COUNT], focal[FINDING_COUNT];
    TupleTable table = score_table(sided, focal);
    FindingSet *said = calloc((size_t)t->n + 1, sizeof *said);
    TupleStudy *studies = calloc((size_t)t->n + 1, sizeof *studies);
    bool ok = (said && studies) || no_memory(e, t->n);
    for (int i = 0; ok && i < t->n; i++) {
        said[i] = findings_parse(reports[i]);
        studies[i] = (TupleStudy){t->set[i].side, said[i].side, t->radius[i], t->set[i].other, said[i].other};
    }
    if (ok) tuples_score(&table, studies, t->n, &out->tuples);
    ok = ok && tuples_bootstrap(&table, studies, t->n, repeats, seed, &out->spread, e) &&
         score_text(t, reports, NULL, &out->characters, e);
    out->has_tokens = tokenizer != NULL;
    ok = ok && (!tokenizer || score_text(t, reports, tokenizer, &out->tokens, e));
    free(said);
    free(studies);
    return ok;
}

typedef struct Common {
    const char *report;
    int first, count;
} Common;

static int compare_reports(const void *a, const void *b)
{
    const Common *x = a, *y = b;
    int order = strcmp(x->report, y->report);
    return order ? order : (x->first > y->first) - (x->first < y->first);
}

static int compare_counts(const void *a, const void *b)
{
    const Common *x = a, *y = b;
    return x->count != y->count ? (x->count < y->count ? 1 : -1)
                                : (x->first > y->first) - (x->first < y->first);
}

/* The distinct reports of train, commonest first. Returns how many. */
static int rank_reports(const Ctrg *train, Common *c)
{
    int n = 0;
    for (int i = 0; i < train->n; i++) c[i] = (Common){train->study[i].findings, i, 1};
    qsort(c, (size_t)train->n, sizeof *c, compare_reports);
    for (int i = 0; i < train->n; i++) {
        if (n && !strcmp(c[n - 1].report, c[i].report))
            c[n - 1].count++;
        else
            c[n++] = c[i];
    }
    qsort(c, (size_t)n, sizeof *c, compare_counts);
    return n;
}

/* Micro F1 of one report given to every study. */
static double constant_f1(const ScoreTruth *t, const char *report)
{
    FindingSet said = findings_parse(report);
    int64_t right = 0, total = 0;
    for (int i = 0; i < t->n; i++) {
        total += t->set[i].other + said.other;
        for (int f = 0; f < FINDING_COUNT; f++) {
            right += said.side[f] && said.side[f] == t->set[i].side[f];
            total += (said.side[f] != 0) + (t->set[i].side[f] != 0);
        }
    }
    return total ? 2 * (double)right / (double)total : 0;
}

bool score_best_constant(const ScoreTruth *t, const Ctrg *train, const char **report, int *tried, Error *e)
{
    Common *c = calloc((size_t)train->n + 1, sizeof *c);
    if (!c) return no_memory(e, train->n);
    int n = rank_reports(train, c);
    double best = -1;
    *tried = 0;
    for (int i = 0; i < n; i++) { /* the commonest, and of the rest those among the first */
        if (i >= COMMONEST && c[i].first >= FIRST) continue;
        double f1 = constant_f1(t, c[i].report);
        ++*tried;
        if (f1 <= best) continue;
        best = f1;
        *report = c[i].report;
    }
    free(c);
    if (*tried) return true;
    return error_set(e, ERROR_INPUT, "%s: no training report to choose a constant one from", train->folder);
}
