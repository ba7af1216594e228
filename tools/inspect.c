/* One function a format; each adds its members to the same JSON object. A json_..._set_new that has no memory
 * returns -1; `put` gathers that. */
#include "tools/inspect.h"
#include "data/ctrg.h"
#include "data/file.h"
#include "data/gguf.h"
#include "data/image.h"
#include "data/json.h"
#include "data/nifti.h"
#include "data/tensor_file.h"
#include "kernels/ops.h"
#include "tensor/checked.h"
#include "tokenizer/bpe.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const size_t TEXT_LIMIT = (size_t)1 << 30;

static bool put(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}
static bool put_real(json_t *object, const char *key, double x)
{
    return isfinite(x) ? put(object, key, json_real(x)) : put(object, key, json_null());
}

/* ---- statistics of a run of values ---- */

typedef struct Stats {
    double low, high, sum, squares;
    uint64_t finite, nan, infinite;
} Stats;

static void stats_add(Stats *s, const float *x, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        if (isnan(x[i])) {
            s->nan++;
        } else if (isinf(x[i])) {
            s->infinite++;
        } else {
            if (!s->finite || x[i] < s->low) s->low = x[i];
            if (!s->finite || x[i] > s->high) s->high = x[i];
            s->sum += x[i];
            s->squares += (double)x[i] * x[i];
            s->finite++;
        }
    }
}

static bool put_stats(json_t *object, const Stats *s)
{
    double n = (double)s->finite;
    return put_real(object, "min", s->finite ? s->low : NAN) &&
           put_real(object, "max", s->finite ? s->high : NAN) &&
           put_real(object, "mean", s->finite ? s->sum / n : NAN) &&
           put_real(object, "rms", s->finite ? sqrt(s->squares / n) : NAN) &&
           put(object, "nan", json_integer((json_int_t)s->nan)) &&
           put(object, "inf", json_integer((json_int_t)s->infinite));
}

/* ---- weights ---- */

static uint64_t elements_of(const TensorEntry *t)
{
    return t->size / st_dtype_size(t->dtype) * (uint64_t)st_dtype_block(t->dtype);
}

static bool tensor_stats(const TensorFile *s, const TensorEntry *t, Stats *stats, Error *e)
{
    uint64_t n = elements_of(t), bytes;
    if (!u64_mul(n, sizeof(float), &bytes)) return error_set(e, ERROR_MEMORY, "%s: out of memory", s->path);
    float *x = malloc(bytes + 1);
    if (!x)
        return error_set(e, ERROR_MEMORY, "%s: tensor \"%.80s\": no memory for %llu values", s->path, t->name,
                         (unsigned long long)n);
    bool ok = tensor_file_read_f32(s, t, x, e);
    if (ok) stats_add(stats, x, n);
    free(x);
    return ok;
}

static bool is_number(StDType d) { return d != ST_BOOL && d != ST_F8_E4M3 && d != ST_F8_E5M2; }

static bool put_tensor(json_t *list, const TensorFile *s, const TensorEntry *t, bool with_stats, Error *e)
{
    json_t *row = json_object(), *shape = json_array();
    bool ok = row && shape;
    for (int i = 0; ok && i < t->ndim; i++) ok = json_array_append_new(shape, json_integer(t->dim[i])) == 0;
    ok = ok && put(row, "name", json_string(t->name)) &&
         put(row, "dtype", json_string(st_dtype_name(t->dtype))) && json_object_set(row, "shape", shape) == 0 &&
         put(row, "bytes", json_integer((json_int_t)t->size));
    if (!ok) error_set(e, ERROR_MEMORY, "%s: out of memory", s->path);
    if (ok && with_stats && is_number(t->dtype)) {
        Stats stats = {0};
        ok = tensor_stats(s, t, &stats, e);
        if (ok && !put_stats(row, &stats)) ok = error_set(e, ERROR_MEMORY, "%s: out of memory", s->path);
    }
    if (ok && json_array_append(list, row) != 0) ok = error_set(e, ERROR_MEMORY, "%s: out of memory", s->path);
    json_decref(shape);
    json_decref(row);
    return ok;
}

static bool put_tokenizer(json_t *out, const char *path, Error *e)
{
    Bpe *b = bpe_open(path, e);
    if (!b) return false;
    int special = 0, n = bpe_vocab_size(b);
    for (int32_t i = 0; i < n; i++) special += bpe_is_special(b, i);
    bpe_close(b);
    return (put(out, "tokens", json_integer(n)) && put(out, "special tokens", json_integer(special))) ||
           error_set(e, ERROR_MEMORY, "%s: out of memory", path);
}

/* What a GGUF file has besides tensors and single values: its lists by length and type, and what we make of its
 * tokenizer. */
static bool put_lists(json_t *out, const TensorFile *s, const char *path, Error *e)
{
    int n;
    const GgufArray *a = gguf_arrays(s, &n);
    json_t *lists = json_object(), *tokenizer = json_object();
    bool ok = lists && tokenizer && (!n || json_object_set(out, "lists", lists) == 0);
    for (int i = 0; ok && i < n; i++)
        ok = put(lists, a[i].key,
                 json_sprintf("%llu %s", (unsigned long long)a[i].n, gguf_type_name(a[i].type)));
    if (ok && gguf_array(s, "tokenizer.ggml.tokens")) {
        Error why = {0};
        bool known = put_tokenizer(tokenizer, path, &why);
        ok = known ? json_object_set(out, "tokenizer", tokenizer) == 0
                   : why.code != ERROR_MEMORY && put(out, "tokenizer not read", json_string(why.msg));
    }
    json_decref(lists);
    json_decref(tokenizer);
    return ok || error_set(e, ERROR_MEMORY, "%s: out of memory", path);
}

static bool put_tensors(json_t *out, const char *path, const InspectOptions *o, Error *e)
{
    TensorFile *s = tensor_file_open(path, e);
    if (!s) return false;
    json_t *meta = json_object(), *list = json_array();
    uint64_t bytes = 0, elements = 0;
    bool ok = meta && list;
    for (int i = 0; ok && i < s->n_meta; i++) ok = put(meta, s->meta_key[i], json_string(s->meta_value[i]));
    for (int i = 0; i < s->n; i++) {
        bytes += s->entry[i].size;
        elements += elements_of(&s->entry[i]);
    }
    if (s->n_part) ok = ok && put(out, "format", json_string(s->part[0].form->name));
    if (s->n_part != 1) ok = ok && put(out, "files", json_integer(s->n_part));
    ok = ok && put(out, "tensors in file", json_integer(s->n)) &&
         put(out, "elements", json_integer((json_int_t)elements)) &&
         put(out, "bytes of data", json_integer((json_int_t)bytes)) &&
         json_object_set(out, "metadata", meta) == 0;
    if (!ok) error_set(e, ERROR_MEMORY, "%s: out of memory", path);
    ok = ok && put_lists(out, s, path, e) &&
         (json_object_set(out, "tensors", list) == 0 || error_set(e, ERROR_MEMORY, "%s: out of memory", path));
    for (int i = 0; ok && i < s->n; i++)
        if (!o->tensor || strstr(s->entry[i].name, o->tensor))
            ok = put_tensor(list, s, &s->entry[i], o->stats, e);
    json_decref(meta);
    json_decref(list);
    tensor_file_close(s);
    return ok;
}

/* ---- pictures and volumes ---- */

static bool put_picture(json_t *out, const char *path, const InspectOptions *o, Error *e)
{
    Image image;
    Stats stats = {0};
    if (!image_read(path, &image, e)) return false;
    size_t n = (size_t)image.width * (size_t)image.height * (size_t)image.channels;
    for (size_t i = 0; o->stats && i < n; i++) stats_add(&stats, &(float){image.pixel[i]}, 1);
    free(image.pixel);
    return (put(out, "width", json_integer(image.width)) && put(out, "height", json_integer(image.height)) &&
            put(out, "channels", json_string(image.channels == 1 ? "grey" : "RGB")) &&
            (!o->stats || put_stats(out, &stats))) ||
           error_set(e, ERROR_MEMORY, "%s: out of memory", path);
}

static bool put_nifti(json_t *out, const char *path, const InspectOptions *o, Error *e)
{
    Volume v;
    char axes[4];
    Stats stats = {0};
    if (!nifti_read(path, &v, axes, e)) return false;
    if (o->stats) stats_add(&stats, v.hu, (uint64_t)v.nx * (uint64_t)v.ny * (uint64_t)v.nz);
    free(v.hu);
    return (put(out, "axes in the file", json_string(axes)) && put(out, "axes as read", json_string("LPS")) &&
            put(out, "voxels", json_pack("[i,i,i]", v.nx, v.ny, v.nz)) &&
            put(out, "spacing in mm", json_pack("[f,f,f]", v.dx, v.dy, v.dz)) &&
            (!o->stats || put_stats(out, &stats))) ||
           error_set(e, ERROR_MEMORY, "%s: out of memory", path);
}

/* ---- JSON ---- */

static bool put_annotations(json_t *out, Ctrg *c, const char *path, Error *e)
{
    if (!c) return false;
    int truths = 0, masks = 0, impressions = 0;
    for (int i = 0; i < c->n; i++) {
        truths += c->study[i].has_truth;
        impressions += c->study[i].impression[0] != 0;
        for (int t = 0; t < c->study[i].n_truth; t++) masks += c->study[i].truth[t].n_masks;
    }
    bool ok = put(out, "studies", json_integer(c->n)) &&
              put(out, "with impression", json_integer(impressions)) &&
              put(out, "with truth", json_integer(truths)) && put(out, "masks", json_integer(masks));
    if (ok && c->n) ok = put(out, "first findings", json_string(c->study[0].findings));
    ctrg_free(c);
    return ok || error_set(e, ERROR_MEMORY, "%s: out of memory", path);
}

/* Scalars and short lists of them as they are, other lists and objects by their size. */
static json_t *outline(const json_t *value)
{
    size_t n = json_array_size(value), plain = 0;
    while (plain < n && !json_is_array(json_array_get(value, plain)) &&
           !json_is_object(json_array_get(value, plain)))
        plain++;
    if (json_is_array(value) && plain == n && n <= 16) return json_deep_copy(value);
    if (json_is_array(value)) return json_sprintf("list of %zu", json_array_size(value));
    if (json_is_object(value)) return json_sprintf("object of %zu members", json_object_size(value));
    return json_deep_copy(value);
}

static json_t *outlines(json_t *object)
{
    json_t *all = json_object(), *value;
    const char *key;
    json_object_foreach(object, key, value) if (all && !put(all, key, outline(value)))
    {
        json_decref(all);
        return NULL;
    }
    return all;
}

static bool put_json(json_t *out, const char *path, Error *e)
{
    json_t *v = json_read(path, e);
    if (!v) return false;
    json_t *first = json_array_get(v, 0);
    bool annotations = json_object_get(first, "images") && json_object_get(first, "findings");
    bool tokenizer = json_object_get(v, "model") && json_object_get(v, "pre_tokenizer"), ok;
    if (annotations || tokenizer) {
        json_decref(v);
        ok = put(out, "format", json_string(annotations ? "annotations" : "tokenizer"));
        if (!ok) return error_set(e, ERROR_MEMORY, "%s: out of memory", path);
        if (tokenizer) return put_tokenizer(out, path, e);
        uint8_t *bytes;
        size_t n;
        if (!file_read(path, TEXT_LIMIT, &bytes, &n, e)) return false;
        ok = put_annotations(out, ctrg_parse((char *)bytes, n, path, NULL, NULL, e), path, e);
        free(bytes);
        return ok;
    }
    ok = json_is_object(v) ? put(out, "members", outlines(v)) : put(out, "value", outline(v));
    if (ok && json_is_object(first)) ok = put(out, "first of them", outlines(first));
    json_decref(v);
    return ok || error_set(e, ERROR_MEMORY, "%s: out of memory", path);
}

/* One value a line, as logs are written. */
static bool put_lines(json_t *out, const char *path, Error *e)
{
    uint8_t *bytes;
    size_t n, lines = 0, number = 0;
    if (!file_read(path, TEXT_LIMIT, &bytes, &n, e)) return false;
    json_t *first = NULL, *last = NULL;
    bool ok = true;
    for (char *at = (char *)bytes, *end = at + n, *next; ok && at < end; at = next) {
        char *newline = memchr(at, '\n', (size_t)(end - at)), what[512];
        next = newline ? newline + 1 : end;
        number++;
        size_t length = (size_t)((newline ? newline : end) - at);
        if (strspn(at, " \t\r") >= length) continue;
        snprintf(what, sizeof what, "%.400s: line %zu", path, number);
        json_decref(last);
        last = json_parse(at, length, what, e);
        ok = last != NULL;
        if (ok && !lines++) first = json_incref(last);
    }
    free(bytes);
    if (ok && (!put(out, "lines", json_integer((json_int_t)lines)) ||
               (first && !put(out, "first", json_is_object(first) ? outlines(first) : outline(first))) ||
               (last && !put(out, "last", json_is_object(last) ? outlines(last) : outline(last)))))
        ok = error_set(e, ERROR_MEMORY, "%s: out of memory", path);
    json_decref(first);
    json_decref(last);
    return ok;
}

/* ---- which ---- */

typedef enum Kind { UNKNOWN, TENSORS, NIFTI, PNG, JPEG, JSON, LINES, DATA_SET } Kind;

static const char *const kind_names[] = {"",     "weights", "NIfTI",      "PNG",
                                         "JPEG", "JSON",    "JSON lines", "data set"};

static Kind folder_kind(const char *folder)
{
    char path[4096];
    struct stat st;
    if (snprintf(path, sizeof path, "%s/annotations.json", folder) < (int)sizeof path && stat(path, &st) == 0)
        return DATA_SET;
    return tensor_file_in_folder(folder, path, sizeof path) ? TENSORS : UNKNOWN;
}

/* The first bytes decide. An index of shards is JSON like any other. */
static bool find_kind(const char *path, Kind *kind, Error *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return error_set(e, ERROR_IO, "%s: cannot open: %s", path, strerror(errno));
    bool folder = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
    uint8_t b[512] = {0};
    ssize_t n = folder ? 0 : read(fd, b, sizeof b);
    int number = errno;
    close(fd);
    if (n < 0) return error_set(e, ERROR_IO, "%s: cannot read: %s", path, strerror(number));
    if (!n && !folder) return error_set(e, ERROR_INPUT, "%s: is empty", path);
    uint32_t small, big;
    memcpy(&small, b, sizeof small);
    big = __builtin_bswap32(small);
    size_t length = strlen(path), blank = 0;
    while (blank < (size_t)n && strchr(" \t\r\n", b[blank])) blank++;
    *kind = folder                                                                  ? folder_kind(path)
            : !memcmp(b, "\x89PNG", 4)                                              ? PNG
            : (b[0] == 0xff && b[1] == 0xd8)                                        ? JPEG
            : (b[0] == 0x1f && b[1] == 0x8b)                                        ? NIFTI
            : (tensor_file_begins(b, (size_t)n) || tensor_file_is_index(path))      ? TENSORS
            : (small == 348 || small == 540 || big == 348 || big == 540)            ? NIFTI
            : (length > 6 && !strcmp(path + length - 6, ".jsonl"))                  ? LINES
            : (blank < (size_t)n && strchr("{[\"-0123456789tfn", b[blank]) && b[0]) ? JSON
                                                                                    : UNKNOWN;
    if (folder && *kind == UNKNOWN)
        return error_set(e, ERROR_INPUT, "%s: neither annotations.json nor weights in this folder", path);
    return *kind != UNKNOWN ||
           error_set(e, ERROR_INPUT,
                     "%s: begins with %02x %02x %02x %02x: neither weights, NIfTI, PNG, JPEG nor JSON", path,
                     b[0], b[1], b[2], b[3]);
}

json_t *inspect_file(const char *path, const InspectOptions *o, Error *e)
{
    Kind kind = UNKNOWN;
    if (!find_kind(path, &kind, e)) return NULL;
    json_t *out = json_object();
    bool ok = out && put(out, "file", json_string(path)) && put(out, "format", json_string(kind_names[kind]));
    if (!ok)
        error_set(e, ERROR_MEMORY, "%s: out of memory (or a name that is not UTF-8)", path);
    else if (kind == TENSORS)
        ok = put_tensors(out, path, o, e);
    else if (kind == NIFTI)
        ok = put_nifti(out, path, o, e);
    else if (kind == PNG || kind == JPEG)
        ok = put_picture(out, path, o, e);
    else if (kind == LINES)
        ok = put_lines(out, path, e);
    else if (kind == DATA_SET)
        ok = put_annotations(out, ctrg_open(path, NULL, NULL, e), path, e);
    else
        ok = put_json(out, path, e);
    if (ok) return out;
    json_decref(out);
    return NULL;
}

/* ---- the ops ---- */

static bool put_op(json_t *list, const char *name, bool gradient, bool twin)
{
    const char *backward = gradient ? "yes" : "none";
    return json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s,s:s}", "op", name, "cpu forward", "yes",
                                                 "cpu backward", backward, "cuda forward",
                                                 twin ? "yes" : "to come", "cuda backward",
                                                 !gradient ? "none"
                                                 : twin    ? "yes"
                                                           : "to come")) == 0;
}

json_t *inspect_ops(void)
{
    json_t *out = json_object(), *list = json_array();
    bool ok = out && list && json_object_set(out, "ops", list) == 0;
#define OP(name)            ok = ok && put_op(list, #name, true, true);
#define OP_NODIFF(name)     ok = ok && put_op(list, #name, false, true);
#define OP_CPU(name)        ok = ok && put_op(list, #name, true, false);
#define OP_CPU_NODIFF(name) ok = ok && put_op(list, #name, false, false);
#include "kernels/ops.def"
#undef OP
#undef OP_NODIFF
#undef OP_CPU
#undef OP_CPU_NODIFF
    json_decref(list);
    if (ok) return out;
    json_decref(out);
    return NULL;
}
