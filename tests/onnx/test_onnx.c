/* ONNX's published node cases (Debian's libonnx-testdata, or the folder PCRL_ONNX) through our ops, on the CPU
 * or DEVICE: a case is a model of a few nodes, its inputs and the outputs that the standard asks for. Reals
 * must be within TOL_PRODUCT of their RMS, whole numbers equal. A case that our ops cannot express is skipped
 * and named with the reason; fewer cases run than tests/onnx/families.h says is a failure. The reader's own
 * faults are tested with broken files. */
#include "data/file.h"
#include "tests/models/main.h"
#include "tests/onnx/families.h"
#include "tests/onnx/onnx_bad.h"
#include "tests/onnx/run.h"
#include <dirent.h>
#include <sys/stat.h>

enum { MOST_CASES = 2048, MOST_BYTES = 64 << 20, REASONS = 64 };

static const struct {
    const char *type;
    Operator *run;
    int reals;
} operators[] = {
#define OPERATOR(type, function, reals) {#type, onnx_##function, reals},
#include "tests/onnx/operators.def"
#undef OPERATOR
};

static const char *data_folder(void)
{
    const char *folder = getenv("PCRL_ONNX");
    return folder && *folder ? folder : "/usr/share/libonnx-testdata/data";
}

/* ---- one case ---- */

typedef struct File {
    char path[1024];
    uint8_t *bytes;
    size_t n;
} File;

/* The bytes are kept until the pool is cleared: names point into them. */
static File open_file(Run *r, const char *format, const char *folder, int i)
{
    File f;
    Error e = {0};
    uint8_t *bytes;
    snprintf(f.path, sizeof f.path, format, folder, i);
    ck_assert_msg(file_read(f.path, MOST_BYTES, &bytes, &f.n, &e), "%s", e.msg);
    f.bytes = pool_take(&r->pool, f.n + 1, 1);
    memcpy(f.bytes, bytes, f.n);
    free(bytes);
    return f;
}

static Value read_value(Run *r, const char *format, const char *folder, int i)
{
    File f = open_file(r, format, folder, i);
    Error e = {0};
    Value v;
    ck_assert_msg(onnx_tensor(f.path, f.bytes, f.n, &r->pool, &v, &e), "%s", e.msg);
    return v;
}

static bool is_initialised(const OnnxModel *m, Text name)
{
    for (int i = 0; i < m->n_init; i++)
        if (text_same(m->init[i].name, name)) return true;
    return false;
}

/* Initialisers, and inputs that are none from input_0.pb on. */
static void read_inputs(Run *r, const char *folder)
{
    const OnnxModel *m = r->model;
    for (int i = 0; i < m->n_init; i++) r->value[r->n_values++] = m->init[i];
    for (int i = 0, file = 0; i < m->n_in; i++) {
        if (is_initialised(m, m->in[i])) continue;
        Value v = read_value(r, "%s/test_data_set_0/input_%d.pb", folder, file++);
        v.name = m->in[i];
        r->value[r->n_values++] = v;
    }
}

/* NULL: it ran. */
static const char *run_node(Run *r)
{
    const OnnxNode *n = r->node;
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        if (!text_is(n->type, operators[i].type)) continue;
        for (int k = 0; k < operators[i].reals; k++) {
            const Value *v = given(r, k);
            if (v && (!v->f || v->type == ONNX_FLOAT16))
                return run_unable(r, "dtype %s", onnx_type_name(v->type));
            if (v && v->beyond) return "doubles beyond the range of f32";
            if (v && !v->n) return "an empty tensor";
        }
        return operators[i].run(r);
    }
    return run_unable(r, "%.*s: none of our ops", (int)n->type.n, n->type.at);
}

static void compare(const char *what, const Value *got, const Value *want)
{
    double squares = 0, tolerance = test_tolerance(TOL_PRODUCT);
    ck_assert_msg(!got->f == !want->f && got->ndim == want->ndim &&
                      !memcmp(got->dim, want->dim, (size_t)want->ndim * sizeof *want->dim),
                  "%s: other dims or another type than expected", what);
    for (int64_t i = 0; want->i && i < want->n; i++)
        ck_assert_msg(got->i[i] == want->i[i], "%s: element %lld is %lld, expected %lld", what, (long long)i,
                      (long long)got->i[i], (long long)want->i[i]);
    for (int64_t i = 0; want->f && i < want->n; i++) squares += (double)want->f[i] * (double)want->f[i];
    for (int64_t i = 0; want->f && i < want->n; i++) {
        double off = fabs((double)got->f[i] - (double)want->f[i]);
        ck_assert_msg(off <= tolerance * (squares > 0 ? sqrt(squares / (double)want->n) : 1),
                      "%s: element %lld is %.9g, expected %.9g", what, (long long)i, (double)got->f[i],
                      (double)want->f[i]);
    }
}

/* NULL: it ran and is right. Else why not, in r->reason or constant. */
static const char *run_case(Run *r, const char *folder)
{
    File f = open_file(r, "%s/model.onnx", folder, 0);
    Error e = {0};
    OnnxModel model;
    const char *why = NULL;
    ck_assert_msg(onnx_model(f.path, f.bytes, f.n, &r->pool, &model, &e), "%s", e.msg);
    r->model = &model;
    read_inputs(r, folder);
    for (int i = 0; i < model.n_nodes && !why; i++) {
        r->node = &model.node[i];
        why = run_node(r);
    }
    if (!why && !r->tensors) why = "no arithmetic: nothing of ours would run";
    for (int i = 0; i < model.n_out && !why; i++) {
        Value want = read_value(r, "%s/test_data_set_0/output_%d.pb", folder, i),
              *got = run_find(r, model.out[i]);
        ck_assert_msg(got != NULL, "%s: no output %d", folder, i);
        compare(folder, got, &want);
    }
    return why;
}

/* ---- all cases ---- */

typedef struct Tally {
    char reason[REASONS][160];
    char *names[REASONS];
    int count[REASONS], n, run, skipped, others;
    char *other; /* families that are not for us */
} Tally;

static void append(char **to, const char *text)
{
    size_t have = *to ? strlen(*to) : 0, more = strlen(text);
    *to = realloc(*to, have + more + 2);
    ck_assert(*to != NULL);
    snprintf(*to + have, more + 2, " %s", text);
}

static void skip(Tally *t, const char *why, const char *name)
{
    int i = 0;
    while (i < t->n && strcmp(t->reason[i], why)) i++;
    ck_assert_int_lt(i, REASONS);
    if (i == t->n) snprintf(t->reason[t->n++], sizeof t->reason[0], "%s", why);
    append(&t->names[i], name);
    t->count[i]++;
    t->skipped++;
}

static bool is_for_us(const char *name)
{
    char word[128];
    for (size_t n = strcspn(name, "_");; n += 1 + strcspn(name + n + 1, "_")) {
        snprintf(word, sizeof word, " %.*s ", (int)n, name);
        if (strstr(families, word)) return true;
        if (!name[n]) return false;
    }
}

static const char *mistake_in(const char *name)
{
    for (size_t i = 0; i < sizeof mistaken / sizeof *mistaken; i++)
        if (!strcmp(name, mistaken[i].name)) return mistaken[i].why;
    return NULL;
}

static int is_case(const struct dirent *d) { return !strncmp(d->d_name, "test_", 5); }

static void run_folder(Run *r, const char *path, bool by_family, Tally *t)
{
    struct dirent **entry;
    int n = scandir(path, &entry, is_case, alphasort);
    char family[64] = "";
    ck_assert_msg(n > 0 && n < MOST_CASES, "%s: %d cases", path, n);
    for (int i = 0; i < n; i++) {
        const char *name = entry[i]->d_name + 5;
        char folder[768];
        snprintf(folder, sizeof folder, "%s/%s", path, entry[i]->d_name);
        if (by_family && !is_for_us(name)) {
            size_t length = strcspn(name, "_0123456789");
            if (strncmp(family, name, length) || family[length]) {
                snprintf(family, sizeof family, "%.*s", (int)length, name);
                append(&t->other, family);
            }
            t->others++;
        } else if (mistake_in(name)) {
            skip(t, mistake_in(name), name);
        } else {
            const char *why = run_case(r, folder);
            if (why)
                skip(t, why, name);
            else
                t->run++;
            run_clear(r);
        }
        free(entry[i]);
    }
    free(entry);
}

static void report(const char *folder, Tally *t)
{
    printf("onnx %s: %d run, %d skipped\n", folder, t->run, t->skipped);
    for (int i = 0; i < t->n; i++) {
        printf("  %3d  %s:%s\n", t->count[i], t->reason[i], t->names[i]);
        free(t->names[i]);
    }
    if (t->others) printf("  %3d  of other families:%s\n", t->others, t->other);
    free(t->other);
}

START_TEST(published_cases)
{
    struct stat s;
    char path[512];
    const char *data = data_folder();
    if (stat(data, &s)) {
        ck_assert_msg(!getenv("PCRL_ONNX"), "PCRL_ONNX=%s: no such folder", data);
        printf("SKIPPED: ONNX's node cases: no %s (apt-get install libonnx-testdata, or PCRL_ONNX=folder)\n",
               data);
        return;
    }
    Run r = {0};
    rig_open(&r.rig, test_device());
    r.rig.tape.recording = true;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        Tally t = {0};
        snprintf(path, sizeof path, "%s/%s", data, folders[i].folder);
        run_folder(&r, path, folders[i].by_family, &t);
        report(folders[i].folder, &t);
        ck_assert_msg(t.run >= folders[i].least, "%s: %d cases ran, expected %d", path, t.run,
                      folders[i].least);
    }
    rig_close(&r.rig);
}
END_TEST

/* ---- the reader ---- */

/* Bytes with nothing behind them that may be read. */
static bool reads(bool is_model, const void *bytes, size_t n, Error *e)
{
    uint8_t *copy = malloc(n ? n : 1);
    ck_assert(copy != NULL);
    memcpy(copy, bytes, n);
    Pool pool = {0};
    OnnxModel m;
    Value v;
    bool ok = is_model ? onnx_model("file", copy, n, &pool, &m, e) : onnx_tensor("file", copy, n, &pool, &v, e);
    pool_clear(&pool);
    free(copy);
    return ok;
}

START_TEST(broken_files)
{
    for (size_t i = 0; i < sizeof bad_onnx / sizeof *bad_onnx; i++) {
        const BadOnnx *b = &bad_onnx[i];
        Error e = {0};
        ck_assert_msg(!reads(b->is_model, b->bytes, b->n, &e), "broken file %zu was read", i);
        ck_assert_int_eq(e.code, ERROR_INPUT);
        ck_assert_msg(!strncmp(e.msg, "file: ", 6) && !strcmp(e.msg + 6, b->message),
                      "broken file %zu: said '%s', expected '%s'", i, e.msg, b->message);
    }
}
END_TEST

/* opset 13; one node Sum with an attribute of each kind; an initialiser, an input, an output. */
#define VALUE "\x08\x02\x10\x01\x42\x01y\x4a\x08pqrstuvw"
static const char small_model[] =
    "\x42\x02\x10\x0d\x3a\x54\x0a\x35\x0a\x01x\x0a\x01y\x12\x01z\x22\x03Sum\x2a\x25\x0a\x01n\x15stuv\x18\x07"
    "\x22\x02st\x2a\x11" VALUE "\x42\x02\x01\x02\x2a\x11" VALUE "\x5a\x03\x0a\x01x\x62\x03\x0a\x01z";

START_TEST(every_prefix_and_every_byte)
{
    const size_t n = sizeof small_model - 1;
    Error e = {0};
    char copy[sizeof small_model];
    ck_assert_msg(reads(true, small_model, n, &e), "%s", e.msg);
    for (size_t i = 0; i < n; i++) ck_assert(!reads(true, small_model, i, &e));
    for (size_t i = 0; i < n; i++)
        for (int byte = 0; byte < 256; byte++) {
            memcpy(copy, small_model, n);
            copy[i] = (char)byte;
            reads(true, copy, n, &e);
        }
    const size_t tensor = sizeof VALUE - 1;
    ck_assert(reads(false, VALUE, tensor, &e));
    for (size_t i = 0; i < tensor; i++) ck_assert(!reads(false, VALUE, i, &e));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {broken_files, every_prefix_and_every_byte, published_cases};
    return run_tests("onnx", tests, sizeof tests / sizeof *tests);
}
