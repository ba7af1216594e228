/* Run folders with checkpoints of known contents: checkpoint k holds k in every element and in its state. */
#ifndef TESTS_TOOLS_CHECKPOINT_FIXTURE_H
#define TESTS_TOOLS_CHECKPOINT_FIXTURE_H
#include "data/file.h"
#include "tools/checkpoint.h"
#include <check.h>
#include <dirent.h>
#include <ftw.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int64_t elements = 4; /* of the one tensor */

static inline bool save(const char *run, int64_t step, int k, bool best, Error *e)
{
    float *x = malloc((size_t)elements * sizeof *x);
    for (int64_t i = 0; i < elements; i++) x[i] = (float)k;
    StWriter *w = st_writer_new();
    st_writer_add(w, "x", ST_F32, 1, &elements, x);
    json_t *state = json_pack("{s:i}", "k", k);
    bool ok = checkpoint_save(run, step, w, state, best, e);
    json_decref(state);
    st_writer_free(w);
    free(x);
    return ok;
}

/* k of a checkpoint that verifies and is whole; -1 and *e otherwise. */
static inline int contents(const char *path, Error *e)
{
    TensorFile *s;
    json_t *state;
    int64_t k = -1;
    if (!checkpoint_open(path, &s, &state, e)) return -1;
    float *x = malloc((size_t)elements * sizeof *x);
    bool ok = json_get_int(state, "k", path, &k, e) && tensor_file_load_f32(s, "x", 1, &elements, x, e);
    for (int64_t i = 0; ok && i < elements; i++)
        if (x[i] != (float)k) ok = error_set(e, ERROR_INPUT, "%s: x[%d] is not %d", path, (int)i, (int)k);
    free(x);
    tensor_file_close(s);
    json_decref(state);
    return ok ? (int)k : -1;
}

/* What checkpoint_find leads to; 0 where there is none; -1 and *e otherwise. */
static inline int found(const char *run, const char *which, Error *e)
{
    char path[4096];
    bool there;
    if (!checkpoint_find(run, which, path, &there, e)) return -1;
    return there ? contents(path, e) : 0;
}

/* How many entries of the folder begin with `start` and hold `part`. */
static inline int count(const char *folder, const char *start, const char *part)
{
    int n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *x; d && (x = readdir(d));)
        n += x->d_name[0] != '.' && !strncmp(x->d_name, start, strlen(start)) && strstr(x->d_name, part);
    if (d) closedir(d);
    return n;
}

/* FOLDER/NAME; a ring of eight. */
static inline const char *in(const char *folder, const char *name)
{
    static char ring[8][512];
    static unsigned turn;
    char *s = ring[turn++ & 7];
    snprintf(s, sizeof ring[0], "%s/%s", folder, name);
    return s;
}

/* Without fsync: the tests write thousands. */
static inline void put(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    ck_assert_msg(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0, "%s", path);
}

static inline int remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
    (void)s, (void)type, (void)f;
    return remove(path);
}
static inline void remove_folder(const char *path) { nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

/* A new folder, in memory where that can be had: only the crash of a process is tested, not of the machine. */
static inline void make_temporary(char path[64], const char *name)
{
    snprintf(path, 64, "/dev/shm/%s-XXXXXX", name);
    if (mkdtemp(path)) return;
    snprintf(path, 64, "/tmp/%s-XXXXXX", name);
    ck_assert_ptr_nonnull(mkdtemp(path));
}
#endif
