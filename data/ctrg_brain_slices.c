/* Folders, the manifest, and the 24 slices of a study; see ctrg_brain.h. */
#include "data/ctrg_brain_parts.h"
#include "data/json.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { LEAST_SLICES = 8, SERIES_DIGITS = 4, NUMBER_DIGITS = 6 };

static bool no_memory(const Brain *b, Error *e)
{
    return error_set(e, ERROR_MEMORY, "%s: no memory for its files", b->folder);
}

/* ---- names ---- */

/* The digits before name[*end], of which there are at most `most`, and the _ before them, where *end moves. */
static bool take_number(const char *name, size_t *end, size_t most, int *out)
{
    size_t at = *end;
    while (at && name[at - 1] >= '0' && name[at - 1] <= '9') at--;
    if (at == *end || *end - at > most || !at || name[at - 1] != '_') return false;
    *out = atoi(name + at);
    *end = at - 1;
    return true;
}

/* NAME_SERIES_NUMBER_NUMBER.jpg */
static bool parse_name(const char *name, int *series, int number[2])
{
    const char *dot = strrchr(name, '.');
    size_t end = dot ? (size_t)(dot - name) : strlen(name);
    return take_number(name, &end, NUMBER_DIGITS, &number[1]) &&
           take_number(name, &end, NUMBER_DIGITS, &number[0]) &&
           take_number(name, &end, SERIES_DIGITS, series) && end > 0;
}

bool brain_file_path(const Brain *b, const BrainStudy *s, int k, char path[BRAIN_PATH], Error *e)
{
    int n = snprintf(path, BRAIN_PATH, "%s/%lld/%s", b->folder, (long long)s->id, s->file[k].name);
    return n < BRAIN_PATH || error_set(e, ERROR_INPUT, "%.400s: path too long", b->folder);
}

void brain_file_words(const Brain *b, const BrainStudy *s, int k, char *words, size_t room)
{
    const BrainFile *f = &s->file[k];
    if (f->series)
        snprintf(words, room, "%.300s/%lld: series %02d, slice %d", b->folder, (long long)s->id, f->series,
                 f->number);
    else
        snprintf(words, room, "%.300s/%lld: slice %d", b->folder, (long long)s->id, f->number);
}

bool brain_read_file(const Brain *b, const BrainStudy *s, int k, Image *image, Error *e)
{
    char path[BRAIN_PATH], words[400];
    brain_file_words(b, s, k, words, sizeof words);
    return brain_file_path(b, s, k, path, e) && image_read_as(path, words, image, e);
}

/* ---- folders ---- */

static int no_dots(const struct dirent *d) { return d->d_name[0] != '.'; }

static void free_list(struct dirent **list, int n)
{
    for (int i = 0; i < n; i++) free(list[i]);
    free(list);
}

static int by_number(const void *x, const void *y)
{
    const BrainFile *a = x, *b = y;
    if (a->series != b->series) return a->series - b->series;
    return a->number != b->number ? a->number - b->number : strcmp(a->name, b->name);
}

/* The bytes of folder/id/name; -1 if it is not a file. */
static int64_t bytes_of(const Brain *b, const BrainStudy *s, const char *name)
{
    char path[BRAIN_PATH];
    struct stat st;
    int n = snprintf(path, sizeof path, "%s/%lld/%s", b->folder, (long long)s->id, name);
    return n < BRAIN_PATH && !stat(path, &st) && S_ISREG(st.st_mode) ? (int64_t)st.st_size : -1;
}

/* The files of one folder. Those of another name than the corpus's count only where no file has such a name. */
static bool add_files(Brain *b, BrainStudy *s, struct dirent **list, int n, Error *e)
{
    int formed = 0, plain = 0, series, number[2];
    for (int i = 0; i < n; i++)
        if (image_is_name(list[i]->d_name))
            *(parse_name(list[i]->d_name, &series, number) ? &formed : &plain) += 1;
    s->file = calloc((size_t)(formed + plain) + 1, sizeof *s->file);
    if (!s->file) return no_memory(b, e);
    b->plain += !formed && plain;
    if (formed && plain)
        brain_issue(b, s, BRAIN_NAME, "%s/%lld: %d of %d pictures are not named NAME_SERIES_NUMBER_NUMBER",
                    b->folder, (long long)s->id, plain, formed + plain);
    for (int i = 0; i < n; i++) {
        const char *name = list[i]->d_name;
        int64_t bytes = image_is_name(name) ? bytes_of(b, s, name) : -1;
        BrainFile f = {.number = s->n_files + 1, .bytes = bytes};
        bool has_form = parse_name(name, &series, number);
        b->others += bytes < 0;
        if (bytes < 0 || (formed && !has_form)) continue;
        if (formed) f.series = series, f.number = number[0];
        if (formed && number[0] != number[1])
            brain_issue(b, s, BRAIN_NUMBER, "%s/%lld: series %02d, slice %d: its name says %d and %d",
                        b->folder, (long long)s->id, series, number[0], number[0], number[1]);
        if (!(f.name = strdup(name))) return no_memory(b, e);
        s->file[s->n_files++] = f;
    }
    b->pictures += s->n_files;
    qsort(s->file, (size_t)s->n_files, sizeof *s->file, by_number);
    for (int k = 1; k < s->n_files; k++)
        if (s->file[k].series == s->file[k - 1].series && s->file[k].number == s->file[k - 1].number)
            brain_issue(b, s, BRAIN_TWICE, "%s/%lld: series %02d: slice %d is there twice", b->folder,
                        (long long)s->id, s->file[k].series, s->file[k].number);
    return true;
}

static bool list_files(Brain *b, BrainStudy *s, Error *e)
{
    char path[BRAIN_PATH];
    struct dirent **list;
    if (snprintf(path, sizeof path, "%s/%lld", b->folder, (long long)s->id) >= BRAIN_PATH)
        return error_set(e, ERROR_INPUT, "%.400s: path too long", b->folder);
    int n = scandir(path, &list, no_dots, versionsort);
    if (n < 0)
        return error_set(e, errno == ENOMEM ? ERROR_MEMORY : ERROR_IO, "%.400s: %s", path, strerror(errno));
    bool ok = add_files(b, s, list, n, e);
    free_list(list, n);
    return ok;
}

bool brain_list_folders(Brain *b, Error *e)
{
    struct dirent **list;
    int n = scandir(b->folder, &list, no_dots, versionsort);
    if (n < 0) return error_set(e, ERROR_IO, "%.400s: %s", b->folder, strerror(errno));
    for (int i = 0; i < n; i++) {
        char path[BRAIN_PATH];
        struct stat st;
        int64_t id;
        BrainStudy *s = NULL;
        bool folder = snprintf(path, sizeof path, "%s/%s", b->folder, list[i]->d_name) < BRAIN_PATH &&
                      !stat(path, &st) && S_ISDIR(st.st_mode),
             number = brain_id(list[i]->d_name, &id);
        if (number) s = brain_find(b, id);
        if (!folder)
            b->others++;
        else if (s)
            s->folder = true;
        else if (number)
            brain_issue(b, NULL, BRAIN_NO_ENTRY, "%s/%lld: the annotations have no study %lld", b->folder,
                        (long long)id, (long long)id);
        else
            brain_issue(b, NULL, BRAIN_NO_ENTRY, "%s: folder %d of %d is not named by an id", b->folder, i + 1,
                        n);
    }
    free_list(list, n);
    for (int i = 0; i < b->n_ids; i++) {
        BrainStudy *s = &b->study[b->by_id[i]];
        if (!s->folder)
            brain_issue(b, s, BRAIN_NO_FOLDER, "%s: no folder of study %lld", b->folder, (long long)s->id);
        else if (!list_files(b, s, e))
            return false;
    }
    return true;
}

/* ---- 24 of them ---- */

static void count_notes(Brain *b, const BrainStudy *s)
{
    int repeats = 0;
    for (int i = 1; i < STUDY_SLICES; i++) repeats += s->pick[i] == s->pick[i - 1];
    int skips = s->pick[STUDY_SLICES - 1] - s->pick[0] + 1 - (STUDY_SLICES - repeats);
    b->repeat_studies += repeats > 0;
    b->repeats += repeats;
    b->skip_studies += skips > 0;
    b->skips += skips;
}

/* How many files from `first` on are of its series. */
static int run(const BrainStudy *s, int first)
{
    int n = 1;
    while (first + n < s->n_files && s->file[first + n].series == s->file[first].series) n++;
    return n;
}

static void pick(Brain *b, BrainStudy *s)
{
    int first = 0, n = s->n_files ? run(s, 0) : 0, series = 0;
    for (int k = 0, m; k < s->n_files; k += m, series++)
        if ((m = run(s, k)) > n) first = k, n = m;
    b->several += series > 1;
    if (series > 1 && !b->o.most)
        brain_issue(b, s, BRAIN_SERIES,
                    "%s/%lld: %d slices of %d series, expected one series (the largest is %02d, of %d)",
                    b->folder, (long long)s->id, s->n_files, series, s->file[first].series, n);
    if (n < LEAST_SLICES)
        brain_issue(b, s, BRAIN_FEW, "%s/%lld: %d slices, expected at least %d (one a layer)", b->folder,
                    (long long)s->id, n, LEAST_SLICES);
    if (n < LEAST_SLICES || (series > 1 && !b->o.most)) return;
    for (int i = 0; i < STUDY_SLICES; i++) s->pick[i] = first + study_pick(i, n);
    count_notes(b, s);
}

void brain_pick_evenly(Brain *b)
{
    for (int i = 0; i < b->n_ids; i++)
        if (b->study[b->by_id[i]].folder) pick(b, &b->study[b->by_id[i]]);
}

/* ---- the manifest ---- */

/* What follows the last FOLDER/ in a path, FOLDER being the name of b->folder; NULL: it has none. */
static const char *below(const Brain *b, const char *path)
{
    const char *base = strrchr(b->folder, '/') + 1, *found = NULL;
    size_t n = strlen(base);
    for (const char *at = path; (at = strstr(at, base)); at++)
        if (at[n] == '/' && (at == path || at[-1] == '/')) found = at + n + 1;
    return found;
}

static int find_file(const BrainStudy *s, const char *name)
{
    for (int k = 0; k < s->n_files; k++)
        if (!strcmp(s->file[k].name, name)) return k;
    return -1;
}

/* Image i of the row of s. */
static bool find_image(Brain *b, BrainStudy *s, int i, const json_t *value)
{
    const char *path = json_string_value(value), *rest = path ? below(b, path) : NULL;
    long long id = (long long)s->id;
    char folder[32];
    int series, number[2], n = snprintf(folder, sizeof folder, "%lld/", id);
    if (!rest || strncmp(rest, folder, (size_t)n) || strchr(rest + n, '/')) {
        brain_issue(b, s, BRAIN_PLACE, "%s: study %lld: image %d %s", b->manifest, id, i,
                    !path   ? "is not a string"
                    : !rest ? "is not in the folder of samples"
                            : "is not in the study's folder");
        return false;
    }
    s->pick[i] = find_file(s, rest + n);
    if (s->pick[i] >= 0) return true;
    if (parse_name(rest + n, &series, number))
        brain_issue(b, s, BRAIN_MISSING, "%s: study %lld: image %d (series %02d, slice %d) is missing",
                    b->manifest, id, i, series, number[0]);
    else
        brain_issue(b, s, BRAIN_MISSING, "%s: study %lld: image %d is missing", b->manifest, id, i);
    return false;
}

static void read_row(Brain *b, BrainStudy *s, const json_t *row)
{
    long long id = (long long)s->id;
    if (json_array_size(row) != STUDY_SLICES) {
        brain_issue(b, s, BRAIN_COUNT, "%s: study %lld: %zu images, expected %d", b->manifest, id,
                    json_array_size(row), STUDY_SLICES);
        return;
    }
    bool ok = true;
    for (int i = 0; i < STUDY_SLICES; i++) ok = find_image(b, s, i, json_array_get(row, (size_t)i)) && ok;
    if (!ok) return;
    for (int i = 1; i < STUDY_SLICES; i++) {
        const BrainFile *last = &s->file[s->pick[i - 1]], *f = &s->file[s->pick[i]];
        if (f->series != last->series) {
            brain_issue(b, s, BRAIN_SERIES, "%s: study %lld: image %d is of series %02d after %02d",
                        b->manifest, id, i, f->series, last->series);
            return;
        }
        if (f->number < last->number) {
            brain_issue(b, s, BRAIN_ORDER, "%s: study %lld: image %d is slice %d after %d", b->manifest, id, i,
                        f->number, last->number);
            return;
        }
    }
    b->several += s->file[0].series != s->file[s->n_files - 1].series;
    count_notes(b, s);
}

bool brain_read_manifest(Brain *b, Error *e)
{
    Error why = {0};
    json_t *rows = json_read(b->manifest, &why), *row;
    const char *key;
    if (why.code == ERROR_MEMORY) return error_set(e, why.code, "%s", why.msg);
    if (!rows || !json_is_object(rows)) {
        json_hide_text(&why);
        if (rows) error_set(&why, ERROR_INPUT, "%s: not an object of rows by id", b->manifest);
        brain_issue(b, NULL, BRAIN_MANIFEST, "%s", why.msg);
        for (int i = 0; i < b->n; i++) b->study[i].good = false;
        json_decref(rows);
        return true;
    }
    bool *listed = calloc((size_t)b->n, sizeof *listed);
    size_t at = 0; /* row, from 1 */
    if (!listed) {
        json_decref(rows);
        return no_memory(b, e);
    }
    json_object_foreach(rows, key, row)
    {
        at++;
        int64_t id;
        BrainStudy *s = brain_id(key, &id) ? brain_find(b, id) : NULL;
        if (!s) {
            if (brain_id(key, &id))
                brain_issue(b, NULL, BRAIN_UNKNOWN, "%s: the annotations have no study %lld", b->manifest,
                            (long long)id);
            else
                brain_issue(b, NULL, BRAIN_UNKNOWN, "%s: row %zu is not named by an id", b->manifest, at);
            continue;
        }
        listed[s - b->study] = true;
        if (s->folder) read_row(b, s, row);
    }
    for (int i = 0; i < b->n_ids; i++) {
        BrainStudy *s = &b->study[b->by_id[i]];
        if (!listed[b->by_id[i]])
            brain_issue(b, s, BRAIN_UNLISTED, "%s: no row of study %lld", b->manifest, (long long)s->id);
    }
    free(listed);
    json_decref(rows);
    return true;
}
