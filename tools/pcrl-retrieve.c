/* pcrl-retrieve: galleries and reports in, clues out. */
#include "data/file.h"
#include "data/sha256.h"
#include "tools/retrieve_page.h"
#include "tools/retriever.h"
#include "tools/score.h"
#include "tools/train.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char doc[] =
    "For each entity that a report describes, find the mask of the study's gallery (pcrl-masks) that looks "
    "most like "
    "what is said of it, by MedCLIP, and write the clues that pcrl-train pcrl --clues learns from. Research "
    "use only, "
    "not a medical device.\v"
    "An entity's candidates are the masks that the filter leaves, in the slices of the entity's layers. "
    "Filters: size "
    "(30 mm2 to 30 % of the head in that slice, stability at least 0.85), release (the paper's released code: "
    "of more "
    "than five masks the largest is dropped and the next five are kept). Layers: clinical, release (the "
    "released map; "
    "of the phantoms' clues it covers 77 %). Entities of which a report says only that they are normal are "
    "left out; "
    "--normal keeps them, as the released code does.\n"
    "\n"
    "Stopped and started again with the same settings, it goes on from OUT.partial.\n"
    "\n"
    "Examples:\n"
    "  pcrl-retrieve --gallery galleries --out clues.json studies\n"
    "  pcrl-retrieve --gallery galleries --filter release --layers release --normal --out release.json "
    "studies\n"
    "  pcrl-retrieve --gallery galleries --control random --seed 3 --out random.json studies\n"
    "  pcrl-retrieve --gallery galleries --reports reports.jsonl --out evidence.json studies\n"
    "  pcrl-retrieve --gallery galleries --id 12 --overlay pictures --out clues.json studies\n"
    "\n"
    "Exit codes: 0 ok, 1 usage, 2 bad input, 3 cannot read or write, 6 out of memory, 130 interrupted.";

enum {
    KEY_MODEL = 256,
    KEY_GALLERY,
    KEY_OUT,
    KEY_REPORTS,
    KEY_FILTER,
    KEY_LAYERS,
    KEY_QUERY,
    KEY_CROP,
    KEY_NORMAL,
    KEY_CONTROL,
    KEY_ID,
    KEY_LIMIT,
    KEY_OVERLAY,
    KEY_BATCH,
    MAX_IDS = 256,
    SAVE_SECONDS = 60
};

static const struct argp_option options[] = {
    {"gallery", KEY_GALLERY, "DIR", 0, "masks: DIR/ID.json of each study", 0},
    {"out", KEY_OUT, "FILE", 0, "the clues, crash-safe", 0},
    {"model", KEY_MODEL, "DIR", 0, "folder of medclip.safetensors and vocab.txt (data/mini)", 0},
    {"reports", KEY_REPORTS, "FILE", 0,
     "masks for the sentences of these reports (what pcrl-report prints), not of the annotations' findings; "
     "only "
     "studies with a report",
     0},
    {"filter", KEY_FILTER, "NAME", 0, "which masks may be chosen: size (default), release", 0},
    {"layers", KEY_LAYERS, "NAME", 0, "which entities a slice shows: clinical (default), release", 0},
    {"query", KEY_QUERY, "KIND", 0, "english: words from a table (default); raw: the Chinese clauses", 0},
    {"gallery-crop", KEY_CROP, 0, 0, "look at the mask's box with a margin, not at the slice without all else",
     0},
    {"normal", KEY_NORMAL, 0, 0, "also entities of which only normal things are said", 0},
    {"control", KEY_CONTROL, "KIND", 0, "random: any candidate, drawn by --seed", 0},
    {"id", KEY_ID, "N", 0, "this study alone (repeatable)", 0},
    {"studies", KEY_LIMIT, "N", 0, "the first N studies only", 0},
    {"overlay", KEY_OVERLAY, "DIR", 0, "also draw it: DIR/ID.png and, with the texts, DIR/ID.html", 0},
    {"batch", KEY_BATCH, "N", 0, "pictures embedded together (32)", 0},
    {0},
};

typedef struct Arguments {
    CliCommon common;
    RetrieveOptions retrieve;
    const char *model, *gallery, *out, *data, *overlay, *reports, *layers, *control;
    int64_t id[MAX_IDS];
    int n_ids, limit, batch;
} Arguments;

static void parse_name(int key, char *arg, Arguments *a, struct argp_state *state)
{
    if (key == KEY_FILTER && !(a->retrieve.filter = clue_filter_named(arg)))
        argp_error(state, "--filter %s: expected size or release", arg);
    if (key == KEY_LAYERS && !clue_layers_from_name(a->layers = arg, &a->retrieve.layers))
        argp_error(state, "--layers %s: expected clinical or release", arg);
    if (key == KEY_QUERY && strcmp(arg, "english") != 0 && strcmp(arg, "raw") != 0)
        argp_error(state, "--query %s: expected english or raw", arg);
    if (key == KEY_QUERY) a->retrieve.query = *arg == 'r' ? CLUE_QUERY_RAW : CLUE_QUERY_ENGLISH;
    if (key == KEY_CONTROL && strcmp(arg, "random") != 0)
        argp_error(state, "--control %s: expected random", arg);
    if (key == KEY_CONTROL) a->retrieve.random = true;
}

static void parse_end(const Arguments *a, struct argp_state *state)
{
    if (!a->data) argp_error(state, "which data set? a folder with annotations.json");
    if (!a->gallery) argp_error(state, "--gallery is missing");
    if (!a->out) argp_error(state, "--out is missing");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    Arguments *a = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &a->common; break;
    case KEY_MODEL: a->model = arg; break;
    case KEY_GALLERY: a->gallery = arg; break;
    case KEY_OUT: a->out = arg; break;
    case KEY_REPORTS: a->reports = arg; break;
    case KEY_FILTER:
    case KEY_LAYERS:
    case KEY_QUERY:
    case KEY_CONTROL: parse_name(key, arg, a, state); break;
    case KEY_CROP: a->retrieve.crop = true; break;
    case KEY_NORMAL: a->retrieve.normal = true; break;
    case KEY_ID:
        if (a->n_ids == MAX_IDS) argp_error(state, "--id: at most %d", MAX_IDS);
        a->id[a->n_ids++] = cli_int_option(state, "--id", arg, 0, INT64_MAX - 1);
        break;
    case KEY_LIMIT: a->limit = (int)cli_int_option(state, "--studies", arg, 1, 1 << 30); break;
    case KEY_OVERLAY: a->overlay = arg; break;
    case KEY_BATCH: a->batch = (int)cli_int_option(state, "--batch", arg, 1, 4096); break;
    case ARGP_KEY_ARG:
        if (a->data) argp_error(state, "one data set at a time");
        a->data = arg;
        break;
    case ARGP_KEY_END: parse_end(a, state); break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

/* ---- what is done, and how ---- */

/* The studies asked for, by id. *list is malloc'ed. */
static int by_id(const void *a, const void *b)
{
    const CtrgStudy *x = *(const CtrgStudy *const *)a, *y = *(const CtrgStudy *const *)b;
    return (x->id > y->id) - (x->id < y->id);
}

static bool pick(const Arguments *a, const Ctrg *c, const CtrgStudy ***list, int *n, Error *e)
{
    *list = calloc((size_t)c->n + 1, sizeof **list);
    *n = 0;
    if (!*list) return error_set(e, ERROR_MEMORY, "no memory for %d studies", c->n);
    for (int k = 0; k < c->n && !(a->limit && *n == a->limit); k++) {
        bool asked = !a->n_ids;
        if (!c->study[k].findings) continue; /* no line in --reports */
        for (int i = 0; i < a->n_ids; i++) asked |= a->id[i] == c->study[k].id;
        if (asked) (*list)[(*n)++] = &c->study[k];
    }
    for (int i = 0; i < a->n_ids; i++) {
        bool there = false;
        for (int k = 0; k < *n; k++) there |= (*list)[k]->id == a->id[i];
        if (!there && !a->limit) return error_set(e, ERROR_INPUT, "%s: no study %" PRId64, a->data, a->id[i]);
    }
    qsort(*list, (size_t)*n, sizeof **list, by_id);
    return true;
}

/* The reports take the place of the findings; NULL where there is none. */
static bool replace_findings(const char *path, Ctrg *c, Error *e)
{
    ScoreTruth truth;
    char **reports;
    if (!score_truth(c, &truth, e)) return false;
    bool ok = score_read_reports(path, &truth, true, true, &reports, NULL, e);
    for (int k = 0; ok && k < c->n; k++) {
        free(c->study[k].findings);
        c->study[k].findings = reports[k];
    }
    if (ok) free(reports);
    score_truth_free(&truth);
    return ok;
}

static bool hash_file(const char *path, char hex[65], Error *e)
{
    uint8_t *bytes;
    size_t n;
    Sha256 s;
    if (!file_read(path, (size_t)1 << 34, &bytes, &n, e)) return false;
    sha256_open(&s);
    sha256_add(&s, bytes, n);
    sha256_close(&s, hex);
    free(bytes);
    return true;
}

/* What the clues depend on besides data and galleries. */
static json_t *settings(const Arguments *a, Error *e)
{
    const RetrieveOptions *o = &a->retrieve;
    char hex[65] = "", reports[65] = "", path[4096];
    train_weights(path, a->model, "medclip");
    if (!o->random && !hash_file(path, hex, e)) return NULL;
    if (a->reports && !hash_file(a->reports, reports, e)) return NULL;
    json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:b}", "filter", o->filter->name, "layers", a->layers, "query",
                          o->query == CLUE_QUERY_RAW ? "raw" : "english", "picture", o->crop ? "crop" : "slice",
                          "normal", o->normal);
    bool ok = j && (o->random ? !json_object_set_new(j, "control", json_string("random")) &&
                                    !json_object_set_new(j, "seed", json_integer((json_int_t)o->seed))
                              : !json_object_set_new(j, "medclip_sha256", json_string(hex)));
    ok = ok && (!a->reports || !json_object_set_new(j, "reports_sha256", json_string(reports)));
    if (ok) return j;
    json_decref(j);
    error_set(e, ERROR_MEMORY, "no memory for the settings");
    return NULL;
}

/* The counts as they stand in the settings, so that a resumed run's add up. */
typedef struct CountName {
    const char *name;
    size_t at;
} CountName;
#define COUNT(name)                                                                                            \
    {                                                                                                          \
#name, offsetof(RetrieveCounts, name)                                                                  \
    }
static const CountName count_names[] = {COUNT(studies),      COUNT(no_gallery), COUNT(empty_gallery),
                                        COUNT(no_entity),    COUNT(described),  COUNT(normal),
                                        COUNT(no_candidate), COUNT(clues),      COUNT(masks),
                                        COUNT(kept),         COUNT(embedded)};
enum { COUNTS = sizeof count_names / sizeof *count_names };

static bool put_counts(Clues *c, const RetrieveCounts *counts, Error *e)
{
    json_t *j = json_object();
    bool ok = j;
    for (int i = 0; ok && i < COUNTS; i++) {
        int64_t value = *(const int64_t *)(const void *)((const char *)counts + count_names[i].at);
        ok = !json_object_set_new(j, count_names[i].name, json_integer((json_int_t)value));
    }
    ok = ok && !json_object_set(c->settings, "counts", j);
    json_decref(j);
    return ok || error_set(e, ERROR_MEMORY, "no memory for the counts");
}

static bool save(Clues *c, const char *path, const RetrieveCounts *counts, Error *e)
{
    return put_counts(c, counts, e) && clues_write(c, path, e);
}

/* ---- resuming ---- */

/* What an interrupted run of the same settings left: its first studies are those of the list. */
static bool resume(const char *path, const CtrgStudy *const *list, int n, Clues *c, RetrieveCounts *counts,
                   Error *e)
{
    if (access(path, F_OK) != 0) return true;
    Clues *old = clues_read(path, e);
    if (!old) return false;
    json_t *j = old->settings ? json_object_get(old->settings, "counts") : NULL;
    for (int i = 0; i < COUNTS; i++)
        *(int64_t *)(void *)((char *)counts + count_names[i].at) =
            json_integer_value(json_object_get(j, count_names[i].name));
    json_object_del(old->settings, "counts");
    bool same = json_equal(old->settings, c->settings) && old->n <= n;
    for (int k = 0; same && k < old->n; k++) same = old->study[k].id == list[k]->id;
    if (same) {
        free(c->study);
        c->study = old->study;
        c->n = old->n;
        old->study = NULL;
        old->n = 0;
        cli_note("going on after %d of %d studies (%s)", c->n, n, path);
    } else {
        error_set(e, ERROR_INPUT,
                  "%s: begun with other settings or studies; finish it with those, or delete it", path);
    }
    clues_free(old);
    return same;
}

/* ---- work ---- */

static bool retrieve_one(const Arguments *a, const RetrieveModel *m, const Ctrg *c, const CtrgStudy *s,
                         Clues *clues, RetrieveCounts *counts, Error *e)
{
    char path[4096];
    uint8_t *pixel;
    int width, height;
    StudyClues out;
    Gallery *g = NULL;
    if (!gallery_path(a->gallery, s->id, path, e)) return false;
    if (!access(path, F_OK) && !(g = gallery_open(a->gallery, s->id, e))) return false;
    bool ok = ctrg_read_slices(c, s, &pixel, &width, &height, e);
    if (ok) {
        ok = retrieve_study(m, &a->retrieve, s->id, s->findings, pixel, width, height, g, &out, counts, e);
        if (ok && a->overlay &&
            !retrieve_page_write(a->overlay, &out, s->findings, pixel, a->retrieve.query, e)) {
            clues_free_study(&out);
            ok = false;
        }
        free(pixel);
    }
    gallery_free(g);
    return ok && clues_add(clues, &out, e);
}

static void report(const Arguments *a, const RetrieveCounts *n)
{
    cli_note("%" PRId64 " clues of %" PRId64 " described entities (%" PRId64 " only normal, %" PRId64
             " without a candidate) in %" PRId64 " studies, %" PRId64 " of which describe no entity",
             n->clues, n->described, n->normal, n->no_candidate, n->studies, n->no_entity);
    cli_note("galleries: %" PRId64 " missing, %" PRId64 " without a mask that filter %s leaves; %" PRId64
             " of %" PRId64 " masks left; %" PRId64 " pictures embedded",
             n->no_gallery, n->empty_gallery, a->retrieve.filter->name, n->kept, n->masks, n->embedded);
}

static bool work(const Arguments *a, const RetrieveModel *m, const Ctrg *c, const CtrgStudy *const *list, int n,
                 Clues *clues, Error *e)
{
    char partial[4096];
    RetrieveCounts counts = {0};
    if (snprintf(partial, sizeof partial, "%s.partial", a->out) >= (int)sizeof partial)
        return error_set(e, ERROR_INPUT, "%.100s...: path too long", a->out);
    if (!resume(partial, list, n, clues, &counts, e)) return false;
    CliProgress p = cli_progress_start("clues", clues->n, n);
    double saved = cli_seconds();
    bool ok = true;
    while (ok && clues->n < n && !cli_interrupted()) {
        RetrieveCounts before = counts;
        ok = retrieve_one(a, m, c, list[clues->n], clues, &counts, e);
        cli_progress(&p, clues->n, NULL);
        if (!ok) counts = before;
        if (!ok || cli_seconds() - saved < SAVE_SECONDS) continue;
        ok = save(clues, partial, &counts, e);
        saved = cli_seconds();
    }
    cli_progress_end(&p);
    if (!ok) {
        if (clues->n)
            save(clues, partial, &counts, NULL); /* one bad file does not cost the studies before it */
        return false;
    }
    if (clues->n < n)
        return save(clues, partial, &counts, e) &&
               error_set(e, ERROR_INTERRUPTED, "stopped after %d of %d studies; the same call goes on from %s",
                         clues->n, n, partial);
    if (!save(clues, a->out, &counts, e)) return false;
    unlink(partial);
    report(a, &counts);
    return true;
}

static bool run(const Arguments *a, Error *e)
{
    Ctrg *c = ctrg_open(a->data, NULL, NULL, e);
    Clues *clues = calloc(1, sizeof *clues);
    const CtrgStudy **list = NULL;
    Retriever r = {0};
    int n = 0;
    if (c && !clues) error_set(e, ERROR_MEMORY, "no memory");
    bool ok = c && clues && (!a->reports || replace_findings(a->reports, c, e)) && pick(a, c, &list, &n, e) &&
              (clues->settings = settings(a, e)) &&
              (a->retrieve.random || retriever_open(&r, a->model, a->batch, &a->common, e));
    ok = ok && work(a, &r.model, c, list, n, clues, e);
    if (r.model.user) retriever_close(&r);
    clues_free(clues);
    free(list);
    ctrg_free(c);
    return ok;
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_common_argp, 0, "Common options:", 90}, {0}};
    static const struct argp argp = {options, parse, "DATA", doc, children, NULL, NULL};
    Arguments a = {.model = "data/mini", .layers = "clinical", .batch = 32};
    Error e = {0};
    a.retrieve.filter = clue_filter_named("size");
    a.retrieve.layers = CLUE_LAYERS_CLINICAL;
    cli_parse(&argp, argc, argv, &a);
    a.retrieve.seed = a.common.seed;
    cli_catch_interrupt();
    if (!run(&a, &e)) cli_fail(&e);
    return 0;
}
