#include "tools/cq500.h"
#include "data/cq500_labels.h"
#include "data/dicom.h"
#include "tools/cli.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TRAINING, VALIDATION, SETS };

/* One data set: what was there before, and what is in it now. */
typedef struct Set {
    const char *folder;
    json_t *list; /* annotations.json, or NULL */
    int n, positive[CQ500_LABELS];
} Set;

typedef struct Job {
    const Cq500Import *o;
    Cq500Reads reads;
    Cq500Scan scan;
    Set set[SETS];
    bool *in; /* of each read: it is in its set */
    int disagreed[CQ500_LABELS];
    int written, kept, kept_alone, missing, failed, gone; /* kept_alone: of the kept, those that are missing */
    Error first;                                          /* of the failed */
} Job;

static bool open_set(Set *s, const char *folder, Error *e)
{
    char path[4096];
    s->folder = folder;
    if (!folder) return true;
    if (snprintf(path, sizeof path, "%s/annotations.json", folder) >= (int)sizeof path)
        return error_set(e, ERROR_INPUT, "%.200s...: path too long", folder);
    if (access(path, F_OK)) return true;
    s->list = json_read(path, e);
    if (!s->list) return false;
    for (size_t k = 0; k < json_array_size(s->list); k++) {
        const json_t *entry = json_array_get(s->list, k), *block = json_object_get(entry, "labels");
        const char *id = json_string_value(json_object_get(entry, "id"));
        if (!json_object_get(block, "votes"))
            return error_set(e, ERROR_INPUT,
                             "%s: study %.40s has no labels of CQ500, expected a data set of its own", path,
                             id ? id : "without an id");
    }
    return json_is_array(s->list) || error_set(e, ERROR_INPUT, "%s: expected a list of studies", path);
}

/* ---- what is there already ---- */

static bool files_there(const char *folder, const char *kind, int number)
{
    char path[4096];
    for (int i = 0; i < STUDY_SLICES; i++)
        if (snprintf(path, sizeof path, "%s/%s/%d/%02d.png", folder, kind, number, i) >= (int)sizeof path ||
            access(path, R_OK))
            return false;
    return true;
}

/* The study's first entry in annotations, or NULL. */
static json_t *entry_of(const json_t *list, int number)
{
    char id[16];
    snprintf(id, sizeof id, "%d", number);
    for (size_t k = 0; k < json_array_size(list); k++) {
        json_t *entry = json_array_get(list, k);
        const char *other = json_string_value(json_object_get(entry, "id"));
        if (other && !strcmp(other, id)) return entry;
    }
    return NULL;
}

static bool is_there(const Job *j, const Set *s, const Cq500Read *read)
{
    const json_t *entry = entry_of(s->list, read->number),
                 *mm = json_object_get(json_object_get(entry, "import"), "pixel_mm");
    return entry && cq500_block_is(json_object_get(entry, "labels"), read) &&
           fabs(json_number_value(mm) - STUDY_FIELD_MM / j->o->study.size) < 1e-9 &&
           files_there(s->folder, "images", read->number) &&
           (!j->o->hu || files_there(s->folder, "hu", read->number));
}

/* An earlier run may have had other sets: a study of both would be validated on what was learnt. */
static bool in_one_set(const Job *j, const Set *set, const Cq500Read *read, Error *e)
{
    const Set *other = &j->set[set == &j->set[TRAINING] ? VALIDATION : TRAINING];
    return !entry_of(other->list, read->number) ||
           error_set(e, ERROR_INPUT, "%s: holds study %d, which now belongs to %s: choose other folders",
                     other->folder, read->number, set->folder);
}

/* ---- one study ---- */

static bool read_series(const Job *j, const Cq500Series *series, Study *s, Error *e)
{
    Volume v = {0};
    int others;
    if (!dicom_read_series(series->path, &v, &others, e)) return false;
    bool ok = study_from_volume(&v, &j->o->study, series->path, s, e);
    if (ok && others) cli_note("%s: %d more volumes, the largest is taken", series->path, others);
    volume_free(&v);
    return ok;
}

/* The first series that is a head. False with ERROR_INPUT: there is none. */
static bool find_head(const Job *j, int number, int first, int n, Study *s, const char **series, Error *e)
{
    char why[sizeof e->msg] = "";
    int tried = 0;
    for (int k = first; k < first + n; k++) {
        const Cq500Series *x = &j->scan.series[k];
        if (x->kind != CQ500_PLAIN && x->kind != CQ500_SILENT) continue;
        *series = x->name;
        if (read_series(j, x, s, e)) {
            if (tried) cli_note("%s", why);
            return true;
        }
        if (cli_interrupted() || e->code != ERROR_INPUT) return false;
        if (tried++)
            cli_note("%s", e->msg);
        else
            memcpy(why, e->msg, sizeof why);
    }
    if (!tried)
        return error_set(e, ERROR_INPUT,
                         "CQ500-CT-%d: none of its %d series says to be plain or says nothing of it", number,
                         n);
    return error_set(e, ERROR_INPUT, "%.440s (%d series tried)", why, tried);
}

static bool write_study(const Job *j, const Set *set, const Cq500Read *read, const char *series, const Study *s,
                        Error *e)
{
    json_t *block = cq500_block(read, series);
    if (!block)
        return error_set(e, ERROR_INPUT, "CQ500-CT-%d: series \"%.100s\" is not UTF-8", read->number, series);
    bool ok = study_write_with(s, set->folder, read->number, "", j->o->hu, "labels", block, e);
    json_decref(block);
    return ok;
}

static void count(Job *j, Set *set, const Cq500Read *read)
{
    uint32_t labels = cq500_majority(read->vote);
    j->in[read - j->reads.read] = true;
    set->n++;
    for (int l = 0; l < CQ500_LABELS; l++) {
        set->positive[l] += labels >> l & 1;
        j->disagreed[l] += read->vote[l] % CQ500_READERS != 0;
    }
}

static bool import_study(Job *j, Set *set, const Cq500Read *read, Error *e)
{
    Study s = {0};
    const char *series = NULL;
    int first = 0, n = cq500_find(&j->scan, read->number, &first);
    if (!in_one_set(j, set, read, e)) return false;
    j->missing += !n;
    if (is_there(j, set, read)) {
        j->kept++;
        j->kept_alone += !n;
        count(j, set, read);
        return true;
    }
    if (!n) return true;
    if (!find_head(j, read->number, first, n, &s, &series, e)) {
        if (cli_interrupted() || e->code != ERROR_INPUT) return false;
        cli_note("%s", e->msg);
        if (!j->failed++) j->first = *e;
        return true;
    }
    bool ok = write_study(j, set, read, series, &s, e);
    study_free(&s);
    if (!ok) return false;
    j->written++;
    count(j, set, read);
    return true;
}

/* ---- all of them ---- */

static bool import_all(Job *j, Error *e)
{
    int seen[2] = {0}; /* without and with a bleed */
    CliProgress p = cli_progress_start("importing", 0, j->reads.n);
    bool ok = true;
    for (int k = 0; ok && k < j->reads.n; k++) {
        const Cq500Read *read = &j->reads.read[k];
        int bleed = cq500_majority(read->vote) >> CQ500_ICH & 1;
        bool fifth = seen[bleed]++ % CQ500_EVERY == CQ500_EVERY - 1;
        ok = import_study(j, &j->set[j->o->validation && fifth ? VALIDATION : TRAINING], read, e);
        cli_progress(&p, k + 1, "CQ500-CT-%d", read->number);
        if (cli_interrupted())
            ok = error_set(e, ERROR_INTERRUPTED, "stopped after %d studies; run again to go on", k + 1);
    }
    cli_progress_end(&p);
    return ok;
}

/* ---- what an earlier call left and this one does not have ---- */

/* Why an entry of annotations is not this import's; NULL: it is. */
static const char *why_out(const Job *j, const json_t *list, const json_t *entry)
{
    char own[16];
    const char *id = json_string_value(json_object_get(entry, "id"));
    int first, k = 0;
    for (; id && k < j->reads.n; k++) {
        snprintf(own, sizeof own, "%d", j->reads.read[k].number);
        if (!strcmp(own, id)) break;
    }
    if (!id || k == j->reads.n) return "it is not among the reads";
    if (entry_of(list, j->reads.read[k].number) != entry) return "it is there twice";
    if (j->in[k]) return NULL;
    return cq500_find(&j->scan, j->reads.read[k].number, &first)
               ? "it could not be imported"
               : "its votes, size or files are others now, and it has no folder";
}

/* *own: a new list, as an import into an empty folder leaves it; what is not of it is said and counted. */
static bool sort_out(Job *j, const Set *s, const json_t *list, json_t **own, Error *e)
{
    *own = json_array();
    bool ok = *own;
    for (int k = 0; ok && k < j->reads.n; k++) {
        json_t *entry = j->in[k] ? entry_of(list, j->reads.read[k].number) : NULL;
        ok = !entry || !json_array_append(*own, entry);
    }
    if (!ok) return error_set(e, ERROR_MEMORY, "%s: no memory for its entries", s->folder);
    for (size_t k = 0; k < json_array_size(list); k++) {
        const json_t *entry = json_array_get(list, k);
        const char *id = json_string_value(json_object_get(entry, "id")), *why = why_out(j, list, entry);
        if (why) cli_note("%s: study %.40s is taken out: %s", s->folder, id ? id : "without an id", why);
        j->gone += why != NULL;
    }
    return true;
}

/* The annotations become this import's alone; slices of studies that are taken out stay where they are. */
static bool leave_own(Job *j, const Set *s, Error *e)
{
    char path[4096];
    if (!s->list) return true; /* a new set, written in order */
    snprintf(path, sizeof path, "%s/annotations.json", s->folder);
    json_t *list = json_read(path, e), *own = NULL;
    bool ok = list && sort_out(j, s, list, &own, e);
    if (ok && !json_array_size(own)) {
        cli_note("%s: no study is left, so no data set", s->folder);
        ok = !unlink(path) || error_set(e, ERROR_IO, "%s: %s", path, strerror(errno));
    } else if (ok && !json_equal(own, list))
        ok = json_write(path, own, e);
    json_decref(own);
    json_decref(list);
    return ok;
}

static void print_table(const Job *j, FILE *out)
{
    const Set *s = j->set;
    fprintf(out, "label\ttraining\tvalidation\tdisagreed\nstudies\t%d\t%d\t-\n", s[TRAINING].n,
            s[VALIDATION].n);
    for (int l = 0; l < CQ500_LABELS; l++)
        fprintf(out, "%s\t%d\t%d\t%d\n", cq500_label[l], s[TRAINING].positive[l], s[VALIDATION].positive[l],
                j->disagreed[l]);
}

/* Studies on disk that no line of reads.csv is about. */
static int unread(const Job *j)
{
    int n = 0;
    for (int i = 0; i < j->scan.n; i++) {
        int number = j->scan.series[i].number, k = 0;
        if (i && j->scan.series[i - 1].number == number) continue;
        while (k < j->reads.n && j->reads.read[k].number != number) k++;
        n += k == j->reads.n;
    }
    return n;
}

static bool finish(Job *j, const char *reads, FILE *table, Error *e)
{
    int others = unread(j);
    if (j->missing == j->reads.n)
        return error_set(
            e, ERROR_INPUT,
            "%s: no series of the %d studies in %s, expected folders like \"CQ500CT12 CQ500CT12/Unknown "
            "Study/CT Plain\" with *.dcm files",
            j->o->root, j->reads.n, reads);
    if (!leave_own(j, &j->set[TRAINING], e) || !leave_own(j, &j->set[VALIDATION], e)) return false;
    if (j->missing)
        cli_note("%s: %d of %d studies have no folder under %s; %d of them are there already and stay", reads,
                 j->missing, j->reads.n, j->o->root, j->kept_alone);
    if (others) cli_note("%s: %d studies are not in %s, left out", j->o->root, others, reads);
    if (j->scan.strays)
        cli_note("%s: %d folders with *.dcm files are in no study's folder, left out", j->o->root,
                 j->scan.strays);
    cli_note("%d studies written, %d there already, %d left out, %d of earlier calls taken out", j->written,
             j->kept, j->failed, j->gone);
    print_table(j, table);
    return !j->failed || j->o->skip_bad ||
           error_set(e, ERROR_INPUT, "%d studies could not be imported, the first: %.400s", j->failed,
                     j->first.msg);
}

static bool begin(Job *j, Error *e)
{
    j->in = calloc((size_t)j->reads.n + 1, sizeof *j->in);
    return j->in || error_set(e, ERROR_MEMORY, "%s: no memory for its studies", j->o->root);
}

bool cq500_import(const Cq500Import *o, FILE *table, Error *e)
{
    Job j = {.o = o};
    char reads[4096];
    if (snprintf(reads, sizeof reads, o->reads ? "%s" : "%s/reads.csv", o->reads ? o->reads : o->root) >=
        (int)sizeof reads)
        return error_set(e, ERROR_INPUT, "%.200s...: path too long", o->root);
    bool ok = cq500_reads(reads, &j.reads, e) && begin(&j, e) && cq500_scan(o->root, &j.scan, e) &&
              open_set(&j.set[TRAINING], o->out, e) && open_set(&j.set[VALIDATION], o->validation, e) &&
              import_all(&j, e) && finish(&j, reads, table, e);
    json_decref(j.set[TRAINING].list);
    json_decref(j.set[VALIDATION].list);
    free(j.in);
    cq500_scan_free(&j.scan);
    cq500_reads_free(&j.reads);
    return ok;
}
