/* The series folders of CQ500. */
#include "data/cq500.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { DEPTH = 10, FOLDERS = 100000, LEAST_FILES = 8, MANY_FILES = 100, WORD = 32 };

/* ---- what a name says ---- */

static bool is_one_of(const char *word, const char *const *list)
{
    for (; *list; list++)
        if (!strcmp(word, *list)) return true;
    return false;
}

static int kind_of(const char *name)
{
    static const char *const without[] = {"pre", "non", "without", "wo", NULL},
                             *const other[] = {"bone",  "post",  "cect",    "d3d",       "cta",
                                               "angio", "oral",  "iv",      "hrct",      "hi",
                                               "dmpr",  "mpr",   "mip",     "3d",        "orbit",
                                               "pns",   "scout", "chest",   "neck",      "spine",
                                               "cor",   "sag",   "abdomen", "localizer", NULL};
    bool plain = false, bad = false;
    char word[WORD], before[WORD] = "";
    while (*name) {
        size_t n = 0;
        for (; isalnum((unsigned char)*name); name++)
            if (n < WORD - 1) word[n++] = (char)tolower((unsigned char)*name);
        word[n] = 0;
        bool contrast = !strcmp(word, "contrast");
        plain |= !strcmp(word, "plain") || (contrast && is_one_of(before, without));
        bad |= is_one_of(word, other) || !strncmp(word, "hires", 5) || strstr(word, "orbit") ||
               (contrast && !is_one_of(before, without));
        if (n) memcpy(before, word, sizeof word);
        name += *name && !isalnum((unsigned char)*name);
    }
    return bad ? CQ500_OTHER : plain ? CQ500_PLAIN : CQ500_SILENT;
}

/* ---- the walk ---- */

typedef struct Walk {
    Cq500Scan *scan;
    int room, folders;
    const char *root;
    Error *e;
} Walk;

static bool no_memory(const Walk *w)
{
    return error_set(w->e, ERROR_MEMORY, "%s: no memory for its series", w->root);
}

static bool is_dicom(const char *name)
{
    size_t n = strlen(name);
    return n > 4 && name[0] != '.' && !strcasecmp(name + n - 4, ".dcm");
}

static bool add_series(Walk *w, const char *path, int number, int files)
{
    Cq500Scan *s = w->scan;
    if (number < 0) {
        s->strays++;
        return true;
    }
    if (s->n == w->room) {
        int room = w->room ? 2 * w->room : 64;
        Cq500Series *more = realloc(s->series, (size_t)room * sizeof *more);
        if (!more) return no_memory(w);
        s->series = more;
        w->room = room;
    }
    char *copy = strdup(path);
    if (!copy) return no_memory(w);
    const char *name = strrchr(copy, '/') ? strrchr(copy, '/') + 1 : copy;
    int kind = files < LEAST_FILES ? CQ500_FEW : kind_of(name);
    s->series[s->n++] = (Cq500Series){number, files, kind, copy, name};
    return true;
}

/* Whether an entry is a folder, whatever kind of file system it is on. */
static bool is_folder(const char *path, const struct dirent *d)
{
    struct stat s;
    if (d->d_type != DT_UNKNOWN && d->d_type != DT_LNK) return d->d_type == DT_DIR;
    return !stat(path, &s) && S_ISDIR(s.st_mode);
}

/* path has room for 4096 bytes and is as it was afterwards. */
static bool walk(Walk *w, char *path, int number, int depth)
{
    if (depth > DEPTH || ++w->folders > FOLDERS)
        return error_set(w->e, ERROR_INPUT, "%s: folders more than %d deep or more than %d of them, at %s",
                         w->root, DEPTH, FOLDERS, path);
    DIR *dir = opendir(path);
    if (!dir) return error_set(w->e, ERROR_IO, "%s: %s", path, strerror(errno));
    size_t end = strlen(path);
    int files = 0;
    bool ok = true;
    for (struct dirent *d; ok && (d = readdir(dir));) {
        if (d->d_name[0] == '.') continue;
        if (end + strlen(d->d_name) + 2 > 4096) {
            ok = error_set(w->e, ERROR_INPUT, "%s/%s: path too long", path, d->d_name);
            continue;
        }
        snprintf(path + end, 4096 - end, "/%s", d->d_name);
        int inner = cq500_number(d->d_name);
        if (is_folder(path, d))
            ok = walk(w, path, inner >= 0 ? inner : number, depth + 1);
        else
            files += is_dicom(d->d_name);
        path[end] = 0;
    }
    closedir(dir);
    return ok && (!files || add_series(w, path, number, files));
}

/* ---- the choice ---- */

static int better(const void *a, const void *b)
{
    const Cq500Series *x = a, *y = b;
    if (x->number != y->number) return x->number < y->number ? -1 : 1;
    if (x->kind != y->kind) return x->kind - y->kind;
    bool long_x = x->files > MANY_FILES, long_y = y->files > MANY_FILES;
    if (long_x != long_y) return long_x - long_y;
    if (x->files != y->files) return long_x ? x->files - y->files : y->files - x->files;
    int by_name = strcmp(x->name, y->name);
    return by_name ? by_name : strcmp(x->path, y->path);
}

bool cq500_scan(const char *root, Cq500Scan *s, Error *e)
{
    char path[4096];
    Cq500Scan made = {0};
    Walk w = {.scan = &made, .root = root, .e = e};
    size_t n = strlen(root);
    while (n > 1 && root[n - 1] == '/') n--;
    if (n >= sizeof path) return error_set(e, ERROR_INPUT, "%.200s...: path too long", root);
    memcpy(path, root, n);
    path[n] = 0;
    if (!walk(&w, path, -1, 0)) {
        cq500_scan_free(&made);
        return false;
    }
    if (made.n) qsort(made.series, (size_t)made.n, sizeof *made.series, better);
    *s = made;
    return true;
}

void cq500_scan_free(Cq500Scan *s)
{
    for (int i = 0; i < s->n; i++) free(s->series[i].path);
    free(s->series);
    *s = (Cq500Scan){0};
}

int cq500_find(const Cq500Scan *s, int number, int *first)
{
    int n = 0;
    for (int i = 0; i < s->n; i++) {
        if (s->series[i].number != number) continue;
        if (!n++) *first = i;
    }
    return n;
}
