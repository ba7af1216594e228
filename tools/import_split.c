/* Texts and parts of the studies of CTRG-Brain. */
#include "tools/import_parts.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool import_texts(const ImportCtrg *o, Brain *b, ImportStudy *out, CleanUse *use, Error *e)
{
    for (int i = 0; i < b->n; i++) {
        BrainStudy *s = &b->study[i];
        const char *findings = s->findings ? s->findings : "", *impression = s->impression ? s->impression : "";
        out[i].from = s;
        out[i].findings = o->clean && s->findings ? ctrg_clean(findings, use) : strdup(findings);
        out[i].impression = o->clean && s->impression ? ctrg_clean(impression, use) : strdup(impression);
        if (!out[i].findings || !out[i].impression)
            return error_set(e, ERROR_MEMORY, "%s: no memory for its texts", b->annotations);
        const char *left = out[i].findings;
        if (s->findings && findings[strspn(findings, " \t\r\n")] && !left[strspn(left, " \t\r\n")])
            brain_issue(b, s, BRAIN_CLEANED, "%s: study %lld: cleaning leaves nothing of findings",
                        b->annotations, (long long)s->id);
    }
    return true;
}

void import_texts_free(ImportStudy *s, int n)
{
    for (int i = 0; s && i < n; i++) {
        free(s[i].findings);
        free(s[i].impression);
    }
    free(s);
}

/* ---- by position ---- */

/* Appends a file's ids; each must be a study's. */
static bool add_order(const char *path, const Brain *b, int64_t *order, int *n, Error *e)
{
    int64_t *id;
    int count;
    if (!split_read_ids(path, &id, &count, e)) return false;
    bool ok = true;
    for (int i = 0; ok && i < count; i++) {
        if (!brain_find(b, id[i]))
            ok = error_set(e, ERROR_INPUT, "%s: the annotations have no study %lld", path, (long long)id[i]);
        else if (*n == b->n_ids)
            ok = error_set(e, ERROR_INPUT, "%s: more ids than the %d studies of the annotations", path,
                           b->n_ids);
        else
            order[(*n)++] = id[i];
    }
    free(id);
    return ok;
}

/* The ids in the order that positions count in. */
static bool read_order(const ImportCtrg *o, const Brain *b, int64_t *order, bool *seen, Error *e)
{
    int n = 0;
    for (int i = 0; i < o->n_order; i++)
        if (!add_order(o->order[i], b, order, &n, e)) return false;
    for (int i = 0; !o->n_order && i < b->n; i++)
        if (b->study[i].id >= 0 && brain_find(b, b->study[i].id) == &b->study[i]) order[n++] = b->study[i].id;
    for (int i = 0; i < n; i++) {
        size_t k = (size_t)(brain_find(b, order[i]) - b->study);
        if (seen[k])
            return error_set(e, ERROR_INPUT, "%s: study %lld is in an earlier file of the order too",
                             o->order[o->n_order - 1], (long long)order[i]);
        seen[k] = true;
    }
    if (n < b->n_ids)
        return error_set(e, ERROR_INPUT, "%s: the order has %d ids, the annotations %d", b->annotations, n,
                         b->n_ids);
    return true;
}

static bool by_position(const ImportCtrg *o, const Brain *b, ImportStudy *s, Error *e)
{
    size_t n = (size_t)b->n_ids + 1;
    int64_t *order = malloc(n * sizeof *order);
    uint8_t *part = malloc(n);
    bool *seen = calloc((size_t)b->n, sizeof *seen);
    bool ok =
        (order && part && seen) || error_set(e, ERROR_MEMORY, "%s: no memory for a split", b->annotations);
    ok = ok && read_order(o, b, order, seen, e) && split_positions(o->split, o->seed, b->n_ids, part, e);
    for (int i = 0; ok && i < b->n_ids; i++) s[brain_find(b, order[i]) - b->study].part = (SplitPart)part[i];
    free(order);
    free(part);
    free(seen);
    return ok;
}

/* ---- as lists say ---- */

/* A part's list, under the groups' names. */
static bool find_list(const char *folder, SplitPart part, char *path, size_t room, Error *e)
{
    static const char *const names[SPLIT_PARTS][3] = {
        {"train.json", "seg_mask_anno_train.json", "../seg_mask_anno_train.json"},
        {"validation.json", "val.json"},
        {"test.json"}};
    for (int i = 0; i < 3 && names[part][i]; i++)
        if (snprintf(path, room, "%s/%s", folder, names[part][i]) < (int)room && !access(path, F_OK))
            return true;
    return error_set(e, ERROR_INPUT, "%.400s: no %s in this folder", folder, names[part][0]);
}

static bool add_list(const char *path, SplitPart part, const Brain *b, ImportStudy *s, bool *seen, Error *e)
{
    int64_t *id;
    int n;
    if (!split_read_ids(path, &id, &n, e)) return false;
    bool ok = true;
    for (int i = 0; ok && i < n; i++) {
        const BrainStudy *found = brain_find(b, id[i]);
        size_t k = found ? (size_t)(found - b->study) : 0;
        if (!found)
            ok = error_set(e, ERROR_INPUT, "%s: the annotations have no study %lld", path, (long long)id[i]);
        else if (seen[k])
            ok = error_set(e, ERROR_INPUT, "%s: study %lld is in another part too", path, (long long)id[i]);
        else
            s[k].part = part, seen[k] = true;
    }
    free(id);
    return ok;
}

static bool by_lists(const ImportCtrg *o, const Brain *b, ImportStudy *s, Error *e)
{
    char folder[BRAIN_PATH], path[BRAIN_PATH];
    if (snprintf(folder, sizeof folder, "%s%s", o->splits ? o->splits : b->root, o->splits ? "" : "/splits") >=
        BRAIN_PATH)
        return error_set(e, ERROR_INPUT, "%.400s: path too long", b->root);
    bool *seen = calloc((size_t)b->n, sizeof *seen), ok = true;
    if (!seen) return error_set(e, ERROR_MEMORY, "%s: no memory for a split", b->annotations);
    for (SplitPart part = 0; ok && part < SPLIT_PARTS; part++)
        ok = find_list(folder, part, path, sizeof path, e) && add_list(path, part, b, s, seen, e);
    for (int i = 0; ok && i < b->n_ids; i++)
        if (!seen[b->by_id[i]])
            ok = error_set(e, ERROR_INPUT, "%.400s: study %lld is in none of the lists", folder,
                           (long long)b->study[b->by_id[i]].id);
    free(seen);
    return ok;
}

bool import_split(const ImportCtrg *o, const Brain *b, ImportStudy *s, Error *e)
{
    return o->split == SPLIT_FILES ? by_lists(o, b, s, e) : by_position(o, b, s, e);
}

/* ---- what is printed ---- */

static void note(FILE *out, int64_t n, const char *words)
{
    if (n) fprintf(out, "note: %" PRId64 " %s\n", n, words);
}

void import_print_notes(FILE *out, const Brain *b)
{
    note(out, b->n, "studies");
    note(out, b->pictures, "pictures");
    if (b->repeats)
        fprintf(out, "note: %" PRId64 " studies repeat slices, %" PRId64 " in all\n", b->repeat_studies,
                b->repeats);
    if (b->skips)
        fprintf(out, "note: %" PRId64 " studies skip slices, %" PRId64 " in all\n", b->skip_studies, b->skips);
    note(out, b->several, "studies take one of several series");
    note(out, b->plain, "folders of plain names, taken in the order of their names");
    note(out, b->others, "other files");
}

void import_print_cleaning(FILE *out, const CleanUse *use)
{
    static const char *const verbs[] = {"replaced", "dropped", "stripped"};
    fprintf(out, "cleaning: %" PRId64 " of %" PRId64 " texts changed\n", use->changed, use->texts);
    for (int i = 0; i < CLEAN_RULES; i++) {
        const CleanRule *r = ctrg_clean_rule(i);
        if (use->rule[i]) fprintf(out, "cleaning: %" PRId64 " %s\t%s\n", use->rule[i], verbs[r->kind], r->from);
    }
}
