/* What the tests of pcrl-train's stages share: a folder, tools run in it, files and logs compared. */
#ifndef TESTS_TOOLS_STAGES_H
#define TESTS_TOOLS_STAGES_H
#include "data/file.h"
#include "data/json.h"
#include "tests/tools/run.h"
#include <check.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/pcrl-stage-XXXXXX";

/* A path in the test's folder; a ring of eight. */
static inline const char *at(const char *name)
{
    static char ring[8][256];
    static unsigned turn;
    char *s = ring[turn++ & 7];
    snprintf(s, sizeof ring[0], "%s/%s", folder, name);
    return s;
}

static inline int remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
    (void)s, (void)type, (void)f;
    return remove(path);
}

static inline void remove_folder(void) { nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

#define TOOL(name, ...) run_tool(&r, name, (const char *const[]){__VA_ARGS__, NULL})
/* A run that must succeed. */
#define RUN(...)                                                                                               \
    do {                                                                                                       \
        TOOL("pcrl-train", __VA_ARGS__);                                                                       \
        ck_assert_msg(r.code == 0, "%d: %s", r.code, r.err);                                                   \
    } while (0)

static inline bool same_file(const char *a, const char *b)
{
    uint8_t *x, *y;
    size_t n, m;
    ck_assert(file_read(a, 1 << 28, &x, &n, NULL));
    ck_assert(file_read(b, 1 << 28, &y, &m, NULL));
    bool same = n == m && !memcmp(x, y, n);
    free(x);
    free(y);
    return same;
}

static inline void copy_file(const char *from, const char *to)
{
    uint8_t *bytes;
    size_t n;
    ck_assert(file_read(from, 1 << 28, &bytes, &n, NULL) && file_write(to, bytes, n, NULL));
    free(bytes);
}

/* A term of the loss in the log's line for update `step`. */
static inline double logged(const char *path, int step, const char *term)
{
    char line[1024];
    double loss = -1;
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f)) {
        json_t *v = json_loads(line, 0, NULL);
        ck_assert_ptr_nonnull(v);
        if (json_integer_value(json_object_get(v, "step")) == step && json_object_get(v, term))
            loss = json_number_value(json_object_get(v, term));
        json_decref(v);
    }
    fclose(f);
    ck_assert_msg(loss >= 0, "%s: no %s of step %d", path, term, step);
    return loss;
}

/* The value of that name in the last validation. */
static inline double last_validation(const char *path, const char *name)
{
    char line[1024];
    double value = -1;
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f)) {
        json_t *v = json_loads(line, 0, NULL);
        if (json_is_true(json_object_get(v, "validation"))) value = json_number_value(json_object_get(v, name));
        json_decref(v);
    }
    fclose(f);
    return value;
}
#endif
