/* CTRG-Brain becomes three data sets. Each study's slices are followed by images/ID/study.json, its entry of
 * the annotations: where that is there and says what would be written now, the study is done. */
#include "data/file.h"
#include "data/json.h"
#include "data/sha256.h"
#include "tools/cli.h"
#include "tools/import_parts.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void tell(void *context, BrainIssue issue, const char *line)
{
    (void)issue;
    (void)context;
    cli_note("%s", line);
}

static bool path_in(char path[BRAIN_PATH], Error *e, const char *folder, const char *name)
{
    return snprintf(path, BRAIN_PATH, "%s/%s", folder, name) < BRAIN_PATH ||
           error_set(e, ERROR_INPUT, "%.400s: path too long", folder);
}

/* ---- one study ---- */

/* No file's name is in it. */
static json_t *entry(const ImportCtrg *o, const ImportStudy *s)
{
    const BrainStudy *from = s->from;
    char text[32], path[64];
    int64_t bytes = 0;
    snprintf(text, sizeof text, "%lld", (long long)from->id);
    json_t *images = json_array(), *slices = json_array();
    for (int i = 0; i < STUDY_SLICES; i++) {
        const BrainFile *f = &from->file[from->pick[i]];
        snprintf(path, sizeof path, "images/%s/%02d.png", text, i);
        json_array_append_new(images, json_string(path));
        json_array_append_new(slices, json_integer(f->number));
        bytes += f->bytes;
    }
    json_t *import = json_pack("{s:s, s:i, s:o, s:I, s:i}", "corpus", "CTRG-Brain", "series",
                               from->file[from->pick[0]].series, "slices", slices, "bytes", (json_int_t)bytes,
                               "pixels", o->study.size);
    return json_pack("{s:s, s:s, s:s, s:o, s:[], s:[], s:[], s:o}", "id", text, "findings", s->findings,
                     "impression", s->impression, "images", images, "finding_entities",
                     "finding_entities_lession", "finding_idx_images_contain_entity", "import", import);
}

/* folder/study.json says so, and no slice was taken away since. */
static bool is_done(const char *folder, const json_t *as)
{
    Error ignored = {0};
    char path[BRAIN_PATH + 32];
    snprintf(path, sizeof path, "%s/study.json", folder);
    json_t *there = access(path, F_OK) ? NULL : json_read(path, &ignored);
    bool same = there && json_equal(there, as);
    json_decref(there);
    for (int i = 0; same && i < STUDY_SLICES; i++) {
        snprintf(path, sizeof path, "%s/%02d.png", folder, i);
        same = !access(path, F_OK);
    }
    return same;
}

static bool read_slices(const ImportCtrg *o, const Brain *b, const BrainStudy *s, Study *study, Error *e)
{
    char(*path)[BRAIN_PATH] = malloc(STUDY_SLICES * sizeof *path), words[STUDY_SLICES][400];
    const char *at[STUDY_SLICES], *what[STUDY_SLICES];
    bool ok = path || error_set(e, ERROR_MEMORY, "%s: no memory for a study", b->folder);
    for (int i = 0; ok && i < STUDY_SLICES; i++) {
        brain_file_words(b, s, s->pick[i], words[i], sizeof words[i]);
        ok = brain_file_path(b, s, s->pick[i], path[i], e);
        at[i] = path[i], what[i] = words[i];
    }
    ok = ok && study_from_files(at, what, &o->study, study, e);
    free(path);
    return ok;
}

/* *bad: the fault is the input's, not the disk's. */
static bool write_study(const ImportCtrg *o, const Brain *b, const ImportStudy *s, const json_t *as, bool *bad,
                        Error *e)
{
    char folder[BRAIN_PATH], path[BRAIN_PATH + 32], name[64];
    snprintf(name, sizeof name, "%s/images/%lld", split_part_name(s->part), (long long)s->from->id);
    *bad = false;
    if (!path_in(folder, e, o->out, name)) return false;
    if (is_done(folder, as)) return true;
    Study study = {0};
    if (!read_slices(o, b, s->from, &study, e)) {
        *bad = e->code == ERROR_INPUT || e->code == ERROR_IO;
        return false;
    }
    snprintf(path, sizeof path, "%s/study.json", folder);
    unlink(path); /* no longer true from here on */
    bool ok = file_make_folder(folder, e);
    size_t plane = (size_t)study.size * (size_t)study.size;
    for (int i = 0; ok && i < STUDY_SLICES; i++) {
        Image image = {study.size, study.size, 1, study.pixel + (size_t)i * plane};
        snprintf(path, sizeof path, "%s/%02d.png", folder, i);
        ok = image_put_png(path, &image, e);
    }
    snprintf(path, sizeof path, "%s/study.json", folder);
    ok = ok && json_write(path, as, e);
    study_free(&study);
    return ok;
}

/* ---- all of them ---- */

/* Writes the slices of every good study; one whose pictures are at fault becomes an issue. */
static bool write_all(const ImportCtrg *o, Brain *b, ImportStudy *s, Error *e)
{
    bool ok = true;
    CliProgress progress = cli_progress_start("importing", 0, b->n);
    int64_t done = 0;
#pragma omp parallel for ordered schedule(dynamic, 1)
    for (int i = 0; i < b->n; i++) {
        bool go, bad = false, good = true;
#pragma omp atomic read
        go = ok;
        Error why = {0};
        if (go && b->study[i].good) {
            json_t *as = entry(o, &s[i]);
            if (cli_interrupted())
                good = error_set(&why, ERROR_INTERRUPTED, "%s: stopped; the same command goes on", o->out);
            else if (!as)
                good = error_set(&why, ERROR_MEMORY, "%s: no memory for an entry", o->out);
            else
                good = write_study(o, b, &s[i], as, &bad, &why);
            json_decref(as);
        }
#pragma omp ordered
        {
            if (!good && bad) {
                brain_issue(b, &b->study[i], BRAIN_PICTURE, "%s", why.msg);
            } else if (!good && ok) {
                *e = why;
#pragma omp atomic write
                ok = false;
            }
            cli_progress(&progress, ++done, NULL);
        }
    }
    cli_progress_end(&progress);
    return ok;
}

static int count_good(const Brain *b)
{
    int n = 0;
    for (int i = 0; i < b->n; i++) n += b->study[i].good;
    return n;
}

/* Every study can be used, or may be left out. */
static bool check_good(const ImportCtrg *o, const Brain *b, Error *e)
{
    int good = count_good(b);
    if (!good) return error_set(e, ERROR_INPUT, "%s: none of %d studies can be used", b->root, b->n);
    return good == b->n || o->skip_bad ||
           error_set(e, ERROR_INPUT, "%s: %d of %d studies cannot be used; --skip-bad leaves them out", b->root,
                     b->n - good, b->n);
}

/* ---- what is left beside the slices ---- */

static bool add(json_t *list, json_t *value)
{
    return list && value && json_array_append_new(list, value) == 0;
}

static json_t *id_text(int64_t id) { return json_sprintf("%lld", (long long)id); }

/* A part's annotations and its member of split.json: {"studies": n, "sha256": ..., "ids": [...]}. */
static bool write_part(const ImportCtrg *o, const Brain *b, const ImportStudy *s, SplitPart part, json_t *parts,
                       Error *e)
{
    json_t *list = json_array(), *ids = json_array();
    int64_t *id = malloc((size_t)b->n * sizeof *id);
    int n = 0;
    char hex[65], folder[BRAIN_PATH], path[BRAIN_PATH];
    bool ok = list && ids && id;
    for (int i = 0; ok && i < b->n; i++) {
        if (!b->study[i].good || s[i].part != part) continue;
        id[n++] = b->study[i].id;
        ok = add(list, entry(o, &s[i])) && add(ids, id_text(b->study[i].id));
    }
    if (ok) split_hash(id, n, hex);
    free(id);
    json_t *row = ok ? json_pack("{s:i, s:s, s:O}", "studies", n, "sha256", hex, "ids", ids) : NULL;
    ok = (row && !json_object_set_new(parts, split_part_name(part), row)) ||
         error_set(e, ERROR_MEMORY, "%s: no memory for its entries", o->out);
    if (ok) printf("%s\t%d\t%s\n", split_part_name(part), n, hex);
    ok =
        ok && path_in(folder, e, o->out, split_part_name(part)) && path_in(path, e, folder, "annotations.json");
    if (ok && n) ok = json_write(path, list, e);
    if (ok && !n) unlink(path); /* an earlier run's */
    if (ok && !n) cli_note("%s: no study in this part, so no data set", folder);
    json_decref(list);
    json_decref(ids);
    return ok;
}

/* What decides the ids of the parts and the slices' size; an earlier run's must be the same. */
static json_t *settings(const ImportCtrg *o, const Brain *b, const ImportStudy *s)
{
    Sha256 sum;
    char hex[65], line[64];
    sha256_open(&sum);
    for (int i = 0; i < b->n; i++)
        if (b->study[i].id >= 0) {
            int n =
                snprintf(line, sizeof line, "%lld %s\n", (long long)b->study[i].id, split_part_name(s[i].part));
            sha256_add(&sum, line, (size_t)n);
        }
    sha256_close(&sum, hex);
    return json_pack("{s:s, s:I, s:s, s:i, s:b}", "split", split_name(o->split), "seed",
                     (json_int_t)(o->split == SPLIT_SEED ? o->seed : 0), "parts_sha256", hex, "pixels",
                     o->study.size, "cleaned", o->clean);
}

static bool check_settings(const ImportCtrg *o, const json_t *now, Error *e)
{
    char path[BRAIN_PATH];
    const char *key;
    json_t *value;
    if (!path_in(path, e, o->out, "import.json") || !file_make_folder(o->out, e)) return false;
    if (access(path, F_OK)) return json_write(path, now, e);
    json_t *before = json_read(path, e);
    if (!before) return false;
    bool ok = true;
    json_object_foreach((json_t *)now, key, value)
    {
        if (!ok || json_equal(value, json_object_get(before, key))) continue;
        char *is = json_text(value, JSON_ENCODE_ANY),
             *was = json_text(json_object_get(before, key), JSON_ENCODE_ANY);
        ok = error_set(e, ERROR_INPUT, "%s: made with %s %.80s, now %.80s: choose another --out", path, key,
                       was ? was : "missing", is ? is : "missing");
        free(is);
        free(was);
    }
    json_decref(before);
    return ok;
}

static bool write_sets(const ImportCtrg *o, const Brain *b, const ImportStudy *s, json_t *split, Error *e)
{
    json_t *parts = json_object(), *out = json_array();
    bool ok = (parts && out) || error_set(e, ERROR_MEMORY, "%s: no memory for a split", o->out);
    for (SplitPart p = 0; ok && p < SPLIT_PARTS; p++) ok = write_part(o, b, s, p, parts, e);
    for (int i = 0; ok && i < b->n; i++)
        if (!b->study[i].good && b->study[i].id >= 0 && !add(out, id_text(b->study[i].id)))
            ok = error_set(e, ERROR_MEMORY, "%s: no memory for a split", o->out);
    char path[BRAIN_PATH];
    ok = ok && (!json_object_set(split, "parts", parts) && !json_object_set(split, "left_out", out)) &&
         path_in(path, e, o->out, "split.json") && json_write(path, split, e);
    if (ok) printf("left out\t%d\n", b->n - count_good(b));
    json_decref(parts);
    json_decref(out);
    return ok;
}

bool ctrg_import(const ImportCtrg *o, Error *e)
{
    const BrainOptions options = {o->annotations, o->manifest, o->most, tell, NULL};
    Brain *b = brain_open(o->root, &options, e);
    if (!b) return false;
    CleanUse use = {0};
    json_t *now = NULL;
    ImportStudy *s = calloc((size_t)b->n, sizeof *s);
    bool ok = s || error_set(e, ERROR_MEMORY, "%s: no memory for its texts", b->annotations);
    ok = ok && import_texts(o, b, s, &use, e) && import_split(o, b, s, e) && check_good(o, b, e);
    if (ok && !(now = settings(o, b, s))) ok = error_set(e, ERROR_MEMORY, "%s: no memory for settings", o->out);
    ok = ok && check_settings(o, now, e) && write_all(o, b, s, e) && check_good(o, b, e) &&
         write_sets(o, b, s, now, e);
    if (ok) import_print_notes(stdout, b);
    if (ok && o->clean) import_print_cleaning(stdout, &use);
    json_decref(now);
    import_texts_free(s, b->n);
    brain_free(b);
    return ok;
}
