/* pcrl-forward's training step: every term of the joint loss and every gradient, from features, ids and masks.
 * Dropout is off. */
#include "models/llama_names.h"
#include "tools/adapter.h"
#include "tools/forward.h"
#include "tools/pcrl_step.h"
#include "tools/train.h"
#include <math.h>
#include <string.h>

enum { BASE, ADAPTER, HEAD };

typedef struct Step {
    Forward *f;
    Llama llama;
    Visual visual;
    PcrlPrompt prompt;
    PcrlTextPrompt text;
    StepBatch batch;
    int pass; /* of the language model: what taps are named after */
} Step;

static const StepOptions paper = {{1, 1, 1, 1}, .lm_mean = true, .align = {1, 1, 0.07f, false, false}},
                         release = {{1, 1, 1, 1},
                                    .lm_mean = true,
                                    .dice_smooth = true,
                                    .align = {1, 1, 0, true, true},
                                    .learn_tau = true};

/* ---- the model ---- */

static bool open_head(Step *s, Error *e)
{
    Weights *w = &s->f->part[HEAD];
    char path[4096];
    int64_t local[2] = {0}, align[2] = {0};
    HvMode mode = s->f->o->release ? HV_CONCAT48 : HV_LOCAL24;
    train_path(path, s->f->o->weights, "pcrl_heads.safetensors");
    if (!forward_part(s->f, HEAD, path, e)) return false;
    w->trainable = true;
    if (!weights_shape(w, 2, local, "local_visual_projector.weight") ||
        !weights_shape(w, 2, align, "local_visual_embed.weight"))
        return weights_ok(w, e);
    if (local[0] != s->llama.config.dim)
        return error_set(e, ERROR_INPUT,
                         "%s: the head joins %lld channels to width %lld, the language model has %lld", path,
                         (long long)local[1], (long long)local[0], (long long)s->llama.config.dim);
    return visual_create(&s->visual, w, local[1], local[0], align[0], mode, e);
}

static bool open_model(Step *s, Error *e)
{
    Forward *f = s->f;
    const ForwardOptions *o = f->o;
    Weights *base = &f->part[BASE], *adapter = &f->part[ADAPTER];
    char path[4096];
    int rank;
    double alpha, dropout;
    train_weights(path, o->weights, "llama");
    base->quant = o->quant;
    base->nested = o->nested;
    adapter->trainable = true;
    if (!forward_part(f, BASE, o->base ? o->base : path, e) ||
        (o->config && !llama_adopt(base->file, o->config, e)) || !llama_open(&s->llama, base, e) ||
        !adapter_open(o->weights, adapter, &rank, &alpha, &dropout, e) ||
        !llama_add_lora(&s->llama, adapter, rank, (float)alpha, 0, e) || !open_head(s, e))
        return false;
    for (int64_t i = 0; i < s->llama.config.layers; i++) /* the file's metadata may say otherwise */
        s->llama.layer[i].q_lora.dropout = s->llama.layer[i].v_lora.dropout = 0;
    params_alloc(&f->params);
    return weights_fill(adapter, e) && weights_fill(&f->part[HEAD], e) && forward_opened(f, e);
}

/* ---- the batch ---- */

static bool read_row(Step *s, const char *name, const int32_t **id, int *n, Error *e)
{
    int64_t dim[1] = {-'n'};
    int32_t *x;
    if (!forward_ints(s->f, name, 1, dim, 0, s->llama.config.vocab - 1, &x, e)) return false;
    *id = x;
    *n = (int)dim[0];
    return true;
}

static bool read_prompts(Step *s, Error *e)
{
    const int32_t *eos;
    int one;
    int64_t dim[1] = {1};
    if (!read_row(s, "prompt_before", &s->prompt.before, &s->prompt.n_before, e) ||
        !read_row(s, "prompt_after", &s->prompt.after, &s->prompt.n_after, e) ||
        !read_row(s, "text_before", &s->text.before, &s->text.n_before, e) ||
        !read_row(s, "text_after", &s->text.after, &s->text.n_after, e) || !read_row(s, "eos", &eos, &one, e))
        return false;
    if (one != dim[0])
        return error_set(e, ERROR_INPUT, "%s: tensor \"eos\": expected one id, found %d", s->f->input->path,
                         one);
    s->prompt.eos = s->text.pad = eos[0];
    s->text.pool_padded = s->f->o->release;
    return true;
}

/* Texts [*rows,t], each cut to its length in the tensor `lengths` if that is there. */
static bool read_texts(Step *s, const char *name, const char *lengths, int64_t *rows, int low,
                       const int32_t ***text, int **n, Error *e)
{
    int64_t dim[2] = {*rows, -'t'};
    int32_t *id, *length = NULL;
    if (!forward_ints(s->f, name, 2, dim, 0, s->llama.config.vocab - 1, &id, e)) return false;
    if (forward_has(s->f, lengths) && !forward_ints(s->f, lengths, 1, dim, low, dim[1], &length, e))
        return false;
    *rows = dim[0];
    *text = forward_room(s->f, (size_t)dim[0] * sizeof **text);
    *n = forward_room(s->f, (size_t)dim[0] * sizeof **n);
    for (int64_t i = 0; i < dim[0]; i++) {
        (*text)[i] = id + i * dim[1];
        (*n)[i] = length ? length[i] : (int)dim[1];
    }
    return true;
}

/* Tensors that say nothing without another, which is not there. */
static bool check_alone(const Forward *f, const char *other, const char *names, Error *e)
{
    char name[64];
    for (int i = 0; forward_word(names, i, name); i++)
        if (forward_has(f, name))
            return error_set(e, ERROR_INPUT, "%s: tensor \"%s\": expected \"%s\" too, found none",
                             f->input->path, name, other);
    return true;
}

/* What is said of slices, and the masks of what it is said of. */
static bool read_clues(Step *s, Error *e)
{
    Forward *f = s->f;
    StepBatch *b = &s->batch;
    int64_t n = -'n', dim[3] = {0, b->grid->dim[1], b->grid->dim[2]};
    const int32_t **text;
    int *n_text;
    int32_t *study, *slice, *masked = NULL;
    float *mask = NULL;
    if (!forward_has(f, "clues"))
        return check_alone(f, "clues", "clue_lengths clue_study clue_slice masks masked", e);
    if (!forward_has(f, "masks") && !check_alone(f, "masks", "masked", e)) return false;
    if (!read_texts(s, "clues", "clue_lengths", &n, 1, &text, &n_text, e) ||
        !forward_ints(f, "clue_study", 1, &n, 0, b->B - 1, &study, e) ||
        !forward_ints(f, "clue_slice", 1, &n, 0, VISUAL_SLICES - 1, &slice, e))
        return false;
    dim[0] = n;
    if (forward_has(f, "masks") && !forward_floats(f, "masks", 3, dim, &mask, e)) return false;
    if (forward_has(f, "masked") && !forward_ints(f, "masked", 1, &n, 0, 1, &masked, e)) return false;
    StepClue *clue = forward_room(f, (size_t)n * sizeof *clue);
    for (int64_t i = 0; i < n; i++) {
        bool has = mask && (!masked || masked[i]);
        clue[i] = (StepClue){study[i],  slice[i],   text[i],
                             n_text[i], (int32_t)i, has ? mask + i * dim[1] * dim[2] : NULL};
    }
    b->clue = clue;
    b->n_clues = (int)n;
    return true;
}

static bool read_batch(Step *s, Error *e)
{
    Forward *f = s->f;
    StepBatch *b = &s->batch;
    int64_t C = s->visual.channels, dim[5] = {-'b', VISUAL_SLICES, C, -'h', -'w'}, flat[3];
    float *pooled;
    const int32_t **findings;
    int *n_findings;
    if (!(b->grid = forward_image(f, "features", 5, dim, e))) return false;
    if (dim[3] % 2 || dim[4] % 2)
        return error_set(e, ERROR_INPUT,
                         "%s: tensor \"features\": expected maps of even sides, found %lldx%lld",
                         f->input->path, (long long)dim[3], (long long)dim[4]);
    memcpy(flat, dim, sizeof flat);
    b->B = dim[0];
    if (!forward_floats(f, "pooled", 3, flat, &pooled, e) ||
        !read_texts(s, "findings", "findings_lengths", dim, 0, &findings, &n_findings, e))
        return false;
    b->pooled = tape_tensor(&f->tape, DTYPE_f32, 2, (int64_t[]){b->B * VISUAL_SLICES, C});
    tensor_upload(b->pooled, pooled);
    b->findings = findings;
    b->n_findings = n_findings;
    return read_clues(s, e);
}

/* ---- the step ---- */

/* The language model runs once a branch: its taps get the branch's name. */
static void branch_tap(void *user, const char *name, Tensor *x)
{
    Step *s = user;
    static const StepTerm order[2][3] = {{TERM_REPORT, TERM_THEME}, {TERM_REPORT, TERM_ENTITY, TERM_THEME}};
    if (!strcmp(name, "layers.0.attn")) s->pass++;
    bool language = !strncmp(name, "layers.", 7) || !strcmp(name, "norm") || !strcmp(name, "text");
    const char *branch = language ? step_term_name[order[s->batch.n_clues > 0][s->pass - 1]] : "";
    snprintf(s->f->prefix, sizeof s->f->prefix, "%s%s", branch, language ? "." : "");
    forward_tap(s->f, name, x);
}

static void put_gradients(Forward *f)
{
    char name[PARAMS_NAME + 8];
    for (int k = ADAPTER; k <= HEAD; k++)
        for (int i = 0; i < f->part[k].n; i++) {
            const WeightsItem *item = &f->part[k].item[i];
            WeightKind kind = item->spec.kind;
            if (kind == WEIGHT_BUFFER) continue;
            snprintf(name, sizeof name, "grad.%s", item->name);
            forward_put(f, name, item->tensor->grad,
                        kind == WEIGHT_CONV || kind == WEIGHT_DECONV ? FORWARD_NCHW : FORWARD_SAME);
        }
}

bool forward_pcrl_step(Forward *f, Error *e)
{
    static const ForwardTap taps[] = {
        {"local_res.?", FORWARD_NCHW, false, NULL}, {"segment", FORWARD_NCHW, false, NULL}, {0}};
    Step s = {.f = f};
    Tape *t = &f->tape;
    float value[STEP_TERMS], sum = 0;
    char name[32];
    if (!open_model(&s, e) || !read_prompts(&s, e) || !read_batch(&s, e)) return false;
    const StepModel model = {&s.visual, &s.llama, &s.prompt, &s.text};
    const StepOptions *o = f->o->release ? &release : &paper;
    f->tap = taps;
    t->tap = branch_tap;
    t->tap_user = &s;
    t->recording = true;
    f->started = cli_seconds();
    params_zero_grad(&f->params);
    Tensor *term = tensor_new(&f->state, DTYPE_f32, 1, (int64_t[]){STEP_TERMS});
    pcrl_step(t, &model, &s.batch, o, term);
    tensor_download(term, value);
    for (int i = 0; i < STEP_TERMS; i++) {
        snprintf(name, sizeof name, "loss.%s", step_term_name[i]);
        forward_put_number(f, name, value[i]);
        sum += o->weight[i] * value[i];
    }
    forward_put_number(f, "loss", sum);
    put_gradients(f);
    return true;
}
