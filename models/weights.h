/* Where a model gets its named tensors from. One Weights serves one part of a model (backbone, language model,
 * adapter, head) from one file of tensors (data/tensor_file.h), or from an initialisation rule where there is
 * no file, and writes the part back, as safetensors, under the same names.
 *
 * A frozen part is read straight into the `weights` arena, a strip at a time: loading takes at most what is
 * loaded and one tensor. A trainable part is declared in Params while the model opens, and filled by
 * weights_fill after params_alloc. Buffers (BatchNorm's running statistics) live in `state` beside the
 * trainables.
 *
 * Files always hold the reference's names and layout: conv weights [o,i,kh,kw] are turned to [o,kh,kw,i] on the
 * way in and back on the way out, those of transposed convs likewise; 4-bit Linears are stored as
 * weights_quant.h says: nf4 and fp4 as bitsandbytes does (P.weight U8 [n/2,1], P.weight.absmax, nested planes,
 * P.weight.quant_state.bitsandbytes__nf4 as JSON bytes).
 *
 * Errors stick: after the first one every weights_get returns NULL, and weights_ok says what went wrong. A
 * model's X_open ends with `return weights_ok(w, e)`; no tensor is used before. */
#ifndef MODELS_WEIGHTS_H
#define MODELS_WEIGHTS_H
#include "data/safetensors.h"
#include "tensor/params.h"

typedef enum {
    WEIGHT_PLAIN,
    WEIGHT_CONV,   /* [o,i,kh,kw] in the file, (o,kh,kw,i) in memory */
    WEIGHT_DECONV, /* [i,o,kh,kw] in the file, (i,kh,kw,o) in memory */
    WEIGHT_LINEAR, /* (out,in); may be 4-bit, or bf16 where the file has it so, when frozen */
    WEIGHT_TABLE,  /* (V,D), of embeddings or a language model's head; may be bf16 when frozen */
    WEIGHT_BUFFER, /* updated in place by ops, without gradient */
} WeightKind;

typedef enum {
    INIT_ZEROS,
    INIT_ONES,
    INIT_CONSTANT, /* a */
    INIT_NORMAL,   /* sd a */
    INIT_UNIFORM,  /* [-a, a) */
    INIT_KAIMING,  /* normal, sd sqrt(2 / fan_out): convs before a ReLU (He et al. 2015) */
    INIT_LINEAR, /* [-1/sqrt(f), 1/sqrt(f)), f = a where given (a bias), else the tensor's own fan-in: PyTorch's
                    default for Linear and Conv; of a transposed conv it is kh*kw*o */
} WeightInit;

typedef struct WeightSpec {
    int64_t dim[TENSOR_DIMS]; /* in memory; ends at the first 0 */
    WeightKind kind;
    WeightInit init;
    float a;
} WeightSpec;

/* Supplies values instead of the initialisation rule (tests: the shared generator). dim and x in the file's
 * layout. */
typedef void WeightsGenerator(void *user, const char *name, int ndim, const int64_t *dim, float *x);

typedef struct WeightsItem {
    char name[PARAMS_NAME];
    Tensor *tensor;
    WeightSpec spec;
    bool frozen;
} WeightsItem;

typedef struct WeightsMeta {
    char key[64], value[192];
} WeightsMeta;

typedef struct Weights {
    Arena *weights; /* frozen tensors */
    Arena *state;   /* buffers of a trainable part */
    Params *params; /* trainables; may be NULL for a frozen part */
    bool trainable; /* set before the model opens */
    DType quant; /* frozen WEIGHT_LINEARs of plain dtype become this 4-bit type; f32, which is 0: they do not */
    DType table; /* of frozen WEIGHT_TABLEs and plain WEIGHT_LINEARs that no file has: f32 or bf16. From a file:
                    bf16 where it has bf16 */
    bool nested; /* ... with double quantisation; nf4 and fp4 only */
    bool unfilled;      /* without a file: tensors as they will be, their values left to whoever asked */
    bool fresh_buffers; /* WEIGHT_BUFFERs that the file lacks are initialised (files without BatchNorm's
                           statistics) */
    uint64_t seed;      /* of the initialisation; each tensor has its own stream, named after it */
    const char *prefix; /* before every name that a model asks for ("text_model.model."), or NULL: for models
                           that are parts of others. Set by whoever opens them; names are kept with it. */
    WeightsGenerator *generator;
    void *user;

    TensorFile *file; /* NULL: everything is initialised */
    WeightsItem *item;
    int n, room;
    WeightsMeta *meta; /* written by weights_save; set by the model that opened this part */
    int n_meta, meta_room;
    Error error; /* the first one */
} Weights;

/* All switches off, no file. */
void weights_init(Weights *w, Arena *weights, Arena *state, Params *params, uint64_t seed);
/* Attaches a file. Names are found as they are or behind "module.", "backbone." or "module.backbone.". */
bool weights_open(Weights *w, const char *path, Error *e);
/* What follows those in the name of an entry. Which of a file's entries nobody asked for: tensor_file_unasked.
 */
const char *weights_bare(const char *name);
/* Closes the file and frees the lists; tensors belong to their arenas. */
void weights_close(Weights *w);

/* The tensor `name` (printf format). Its shape in the file must be spec.dim (in the file's layout). NULL after
 * an error, which names file, tensor, expected and found shape. A trainable's data is NULL until params_alloc.
 */
Tensor *weights_get(Weights *w, WeightSpec spec, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same values in host memory, in memory layout, without registering a tensor: for folding. x has the
 * product of spec.dim elements. Does nothing after an error. */
void weights_read(Weights *w, WeightSpec spec, float *x, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Whether `name` can be had in that shape, before anything of that size is allocated; otherwise a sticky error.
 */
bool weights_expect(Weights *w, WeightSpec spec, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The file's entry of that name (any prefix), or NULL. */
const TensorEntry *weights_entry(const Weights *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The shape of `name` in the file, in the file's layout; of a 4-bit weight, the (out,in) that its quant_state
 * declares. False and a sticky error if it is missing, empty or has another number of dims. */
bool weights_shape(Weights *w, int ndim, int64_t *dim, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* False and *e set if anything went wrong so far. */
bool weights_ok(const Weights *w, Error *e);
/* Records an error of the model that opens (sticky as well). */
void weights_fail(Weights *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Trainables and buffers: from the file, or initialised. After params_alloc, once. */
bool weights_fill(Weights *w, Error *e);

/* Metadata: of the attached file (NULL if absent), and to be written. A model writes what its shapes do not
 * tell. weights_meta_int/float fall back when absent and fail (sticky) on a malformed or out-of-range value. */
const char *weights_meta(const Weights *w, const char *key);
int64_t weights_meta_int(Weights *w, const char *key, int64_t fallback, int64_t low, int64_t high);
double weights_meta_float(Weights *w, const char *key, double fallback, double low, double high);
void weights_set_meta(Weights *w, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Writes n parts into one safetensors file, crash-safe: trainables and buffers, and the frozen tensors of parts
 * that were opened frozen if `frozen` (4-bit weights as weights_quant.h says). meta: key, value, ..., NULL;
 * NULL allowed. Later keys replace those that the models set. */
bool weights_save(Weights *const *part, int n, bool frozen, const char *const *meta, const char *path,
                  Error *e);
/* The same as shards of at most `limit` bytes in a folder (st_writer_save_shards). */
bool weights_save_shards(Weights *const *part, int n, bool frozen, const char *const *meta, const char *folder,
                         uint64_t limit, Error *e);

/* The same with random values in place of the tensors' own, of all of them, made while they are written: the
 * parts may lie on backend plan. Uniform, with the standard deviation that each initialisation has; ones are
 * within 0.8 and 1.2, zeros have 0.02. 4-bit weights have random codes and scales. */
typedef struct WeightsDraw {
    uint64_t seed; /* each tensor has its own stream, named after it */
    bool (*tick)(void *context, uint64_t bytes,
                 Error *e); /* so many more are made; false ends it. NULL: none */
    void *context;
} WeightsDraw;
bool weights_draw(Weights *const *part, int n, const WeightsDraw *draw, const char *path, Error *e);
/* Bytes of that file. */
bool weights_draw_size(Weights *const *part, int n, const char *path, uint64_t *bytes, Error *e);
#endif
