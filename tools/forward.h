/* pcrl-forward's insides: tensors from a file through a model into a file, all in the reference's layout. One
 * function a model opens the weights, reads the inputs and runs; what comes out is whatever it names, and the
 * intermediate activations that models show to a tape's listener (tape_tap). */
#ifndef TOOLS_FORWARD_H
#define TOOLS_FORWARD_H
#include "models/llama.h"
#include "tools/cli.h"

enum { FORWARD_PARTS = 3 };

typedef struct ForwardOptions {
    CliCommon common;
    const char *weights, *config, *input, *output;
    const char *adapter, *base; /* a PEFT folder; pcrl-step's language model */
    const char *style;          /* of a ResNet: v1.5 or caffe; NULL: what its file says */
    DType quant;                /* of a language model's Linears; f32: as they are in the file */
    bool nested, release;       /* double quantisation; preset release, not paper */
    bool taps, strict;          /* all activations; an unknown tensor of the weights is an error */
} ForwardOptions;

/* How an activation lies in the reference. */
typedef enum {
    FORWARD_SAME,
    FORWARD_NCHW, /* (N,H,W,C) here, [N,C,H,W] there; of another number of dims: the same */
    FORWARD_ROWS, /* (N,H,W,C) here, [N,H*W,C] there; likewise */
} ForwardLayout;

/* What becomes of the taps whose name matches a shell pattern; the first row that matches counts. Those of no
 * row are the same and written with --taps only. */
typedef struct ForwardTap {
    const char *pattern; /* NULL ends the list */
    ForwardLayout layout;
    bool always;    /* part of the model's output, not only with --taps */
    const char *as; /* its name in the output; NULL: the tap's */
} ForwardTap;

typedef struct ForwardOutput {
    char name[PARAMS_NAME + 16];
    int ndim;
    int64_t dim[8];
    float *x;
} ForwardOutput;

typedef struct Forward Forward;

typedef struct ForwardModel {
    const char *name;
    const char *input;  /* names of its input's tensors, "?" before those that may be absent */
    const char *ignore; /* patterns of tensors that its public weights have and nothing reads */
    const char *allow;  /* options besides those of all: "config quant" */
    bool (*run)(Forward *f, Error *e);
} ForwardModel;

struct Forward {
    const ForwardOptions *o;
    const ForwardModel *model;
    Arena weights, state, step, scratch;
    Params params;
    Tape tape;
    Weights part[FORWARD_PARTS];
    TensorFile *input;
    const ForwardTap *tap;
    char prefix[32];        /* before the taps' names */
    const int32_t *lengths; /* [B]; what lies past them in (B,T,D) is written as 0; NULL: nothing is */
    int64_t B, T;
    ForwardOutput *out;
    int n_out, room;
    void **owned; /* host memory that lives as long as this */
    int n_owned, owned_room;
    double opened, started; /* seconds: weights are there, the model began to run */
};

/* ---- tools/forward.c ---- */

/* Opens arenas and the input, whose names must be the model's; runs; writes the output. */
bool forward_run(const ForwardModel *m, const ForwardOptions *o, Error *e);
/* Part i with the weights of that file. */
Weights *forward_part(Forward *f, int i, const char *path, Error *e);
/* To be called once all parts are open: names what nobody asked for. */
bool forward_opened(Forward *f, Error *e);
/* Host memory of this run, zeroed. */
void *forward_room(Forward *f, size_t bytes);
/* The tape's listener; user is the Forward. */
void forward_tap(void *user, const char *name, Tensor *x);
/* A tap of the model, or anything else that is to be written, under `name`. A second tensor of that name is
 * joined to the first along dim 0. */
void forward_put(Forward *f, const char *name, const Tensor *x, ForwardLayout layout);
/* The same for one number. */
void forward_put_number(Forward *f, const char *name, float x);
/* Word i of a text of words; false at the end. */
bool forward_word(const char *text, int i, char out[64]);

/* ---- tools/forward_input.c ---- */

bool forward_has(const Forward *f, const char *name);
/* The input `name` as host memory of this run. dim: a number, or minus a letter for any from 1 on, which is put
 * in its place. False names file, tensor, expected and found shape or type. */
bool forward_floats(Forward *f, const char *name, int ndim, int64_t *dim, float **x, Error *e);
bool forward_doubles(Forward *f, const char *name, int ndim, int64_t *dim, double **x, Error *e);
/* From I32 or I64; each must be in [low, high]. */
bool forward_ints(Forward *f, const char *name, int ndim, int64_t *dim, int64_t low, int64_t high, int32_t **x,
                  Error *e);
/* The input [...,C,H,W] as (n,H,W,C) on the step arena, n the product of what is before C; NULL and an Error as
 * above. */
Tensor *forward_image(Forward *f, const char *name, int ndim, int64_t *dim, Error *e);
/* Numbers of the host on the step arena, as i32. */
Tensor *forward_upload(Forward *f, int ndim, const int64_t *dim, const int32_t *x);

/* Puts file and tensor before e's message; false. */
bool forward_blame(const Forward *f, const char *name, Error *e);

/* ---- tools/forward_config.c ---- */

/* Sets w->prefix to "", a or b, whichever the file has `name` behind; "" if none. */
void forward_prefix(Weights *w, const char *name, const char *a, const char *b);
/* What --config says, where it was given, becomes what a BERT or Swin reads with its weights; false if it says
 * what these do not compute. */
bool forward_config(const Forward *f, Weights *w, double norm_eps, Error *e);

/* ---- the models ---- */

bool forward_resnet(Forward *f, Error *e);
bool forward_sam_encoder(Forward *f, Error *e);
bool forward_sam_decoder(Forward *f, Error *e);
bool forward_medclip_image(Forward *f, Error *e);
bool forward_swin(Forward *f, Error *e);
bool forward_medclip_text(Forward *f, Error *e);
bool forward_bert(Forward *f, Error *e);
bool forward_llama(Forward *f, Error *e);
bool forward_pcrl_step(Forward *f, Error *e);
#endif
