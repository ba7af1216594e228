/* The whole training against the reference, under both presets: what leads to each term of the joint loss, the
 * terms, every gradient, three steps of AdamW; each term alone; and branch by branch the same as jointly. */
#include "losses/report.h"
#include "models/pcrl.h"
#include "models/visual.h"
#include "tests/golden/golden.h"
#include "tests/models/main.h"

enum { C = 32, E = 16, SIDE = 4, STUDIES = 3, M = STUDIES * VISUAL_SLICES, CLUES = 9, MASKS = 8, STEPS = 3 };
enum {
    MOST = 11,
    MOST_CLUE = 8,
    AGAIN = 5,
    SAID = 1,
    BARE = 4
}; /* clue 5 says what clue 1 says, 4 has no mask */
typedef enum { REPORT, SEGMENT, ENTITY, THEME, TERMS } Term;

static const double tolerance = 2e-5; /* weight decay alone moves a weight by 3e-5 of itself */
static const char *const term_name[TERMS] = {"report", "segment", "entity", "theme"};
static const LlamaConfig small = {512, 64, 2, 4, 2, 16, 160, 1e-5f, 500000, false};
static const PcrlPrompt prompt = {(int32_t[]){1, 5, 7}, (int32_t[]){9, 11, 12, 13}, 3, 4, 2};

typedef struct Preset {
    const char *name;
    HvMode hv;
    bool standard, smooth; /* contrast, Dice */
    PcrlTextPrompt text;
} Preset;

static const Preset paper_preset = {
    "paper", HV_LOCAL24, false, false, {(int32_t[]){1, 21, 22, 23, 24}, (int32_t[]){25}, 5, 1, 2, false}};
static const Preset release_preset = {
    "release", HV_CONCAT48, true, true, {(int32_t[]){1, 31, 32}, (int32_t[]){33, 34, 35}, 3, 3, 2, true}};

/* make_pcrl.py's batch. */
static const int n_findings[STUDIES] = {7, 11, 5}, n_clue[CLUES] = {4, 6, 3, 8, 5, 6, 2, 5, 7};
static const int32_t slices[CLUES] = {3, 10, 24, 31, 36, 47, 53, 65, 68};
static const int32_t same[CLUES] = {0, 1, 2, 3, 4, 1, 6, 7, 8};

typedef struct Batch {
    Tensor *grid, *pooled, *mask;  /* (M,4,4,C) (M,C) (MASKS,16) */
    Tensor *slice, *masked, *same; /* (CLUES) (MASKS) (CLUES) i32 */
    int32_t id[STUDIES][MOST], clue_id[CLUES][MOST_CLUE];
    const int32_t *findings[STUDIES], *clue[CLUES];
} Batch;

typedef struct Model {
    const Preset *preset;
    SafeTensors *golden;
    bool listens; /* compare taps */
    int seen;
    Rig rig;
    Weights base, head, adapter;
    Llama llama;
    Visual visual;
    Batch batch;
} Model;

/* make_llama.py's ids(). */
static void golden_ids(int32_t *id, int n, const char *name)
{
    float u[CLUES * MOST_CLUE];
    rng_fill(u, n, GOLDEN_INPUTS, name, 1);
    for (int i = 0; i < n; i++) id[i] = (int32_t)((u[i] + 1.0f) * 256.0f);
}

static Tensor *integers(Arena *a, int64_t n, const int32_t *host)
{
    Tensor *x = tensor_new(a, DTYPE_i32, 1, &n);
    tensor_upload(x, host);
    return x;
}

static void batch_open(Batch *b, Arena *a)
{
    float mask[CLUES * SIDE * SIDE];
    int32_t masked[MASKS];
    b->grid = golden_fill(tensor_f32(a, M, SIDE, SIDE, C), "grid17", GOLDEN_INPUTS, 2, true);
    b->pooled = golden_fill(tensor_f32(a, M, C, 0, 0), "pooled", GOLDEN_INPUTS, 2, false);
    golden_ids(b->id[0], STUDIES * MOST, "findings");
    golden_ids(b->clue_id[0], CLUES * MOST_CLUE, "clues");
    memcpy(b->clue_id[AGAIN], b->clue_id[SAID], sizeof b->clue_id[0]);
    for (int i = 0; i < STUDIES; i++) b->findings[i] = b->id[i];
    for (int i = 0; i < CLUES; i++) b->clue[i] = b->clue_id[i];
    rng_fill(mask, CLUES * SIDE * SIDE, GOLDEN_INPUTS, "masks", 1);
    for (int i = 0; i < CLUES * SIDE * SIDE; i++) mask[i] = mask[i] > 0;
    memmove(mask + BARE * SIDE * SIDE, mask + (BARE + 1) * SIDE * SIDE,
            (MASKS - BARE) * SIDE * SIDE * sizeof *mask);
    for (int i = 0; i < MASKS; i++) masked[i] = slices[i < BARE ? i : i + 1];
    b->mask = tensor_f32(a, MASKS, SIDE * SIDE, 0, 0);
    tensor_upload(b->mask, mask);
    b->slice = integers(a, CLUES, slices);
    b->masked = integers(a, MASKS, masked);
    b->same = integers(a, CLUES, same);
}

/* Compares a tap of the reference's; others are the language model's own. */
static void listen(void *user, const char *name, Tensor *x)
{
    Model *m = user;
    char full[64];
    snprintf(full, sizeof full, "%s.%s.samples", m->preset->name, name);
    if (!m->listens || !safetensors_find(m->golden, full)) return;
    snprintf(full, sizeof full, "%s.%s", m->preset->name, name);
    golden_compare(m->golden, full, x, x->ndim == 4, GOLDEN_MAX, tolerance);
    m->seen++;
}

static void model_open(Model *m, const Preset *p)
{
    Error e = {0};
    *m = (Model){.preset = p, .golden = golden_open("tests/golden/pcrl.safetensors")};
    rig_open(&m->rig, &backend_cpu);
    Weights *const part[] = {&m->base, &m->head, &m->adapter};
    for (int i = 0; i < 3; i++) {
        weights_init(part[i], &m->rig.weights, &m->rig.state, &m->rig.params, 1);
        part[i]->generator = golden_weight;
        part[i]->trainable = part[i] != &m->base;
    }
    ck_assert_msg(llama_create(&m->llama, &m->base, small, &e) &&
                      llama_add_lora(&m->llama, &m->adapter, 8, 32, 0, &e) &&
                      visual_create(&m->visual, &m->head, C, small.dim, E, p->hv, &e),
                  "%s", e.msg);
    params_alloc(&m->rig.params);
    for (int i = 0; i < 3; i++) ck_assert_msg(weights_fill(part[i], &e), "%s", e.msg);
    batch_open(&m->batch, &m->rig.state);
    m->rig.tape.tap = listen;
    m->rig.tape.tap_user = m;
    m->rig.tape.recording = true;
}

static void model_close(Model *m)
{
    weights_close(&m->adapter);
    weights_close(&m->head);
    weights_close(&m->base);
    safetensors_close(m->golden);
    rig_close(&m->rig);
}

static Tensor *tapped(Tape *t, Tensor *x, const char *name)
{
    tape_tap(t, x, "%s", name);
    return x;
}

static Tensor *segment(Model *m, const VisualTokens *y)
{
    Tape *t = &m->rig.tape;
    Tensor *V = tensor_reshape(t->step, y->V, 2, (int64_t[]){M, SIDE / 2 * SIDE / 2 * C});
    V = tensor_reshape(t->step, op_select(t, V, m->batch.masked), 4, (int64_t[]){MASKS, SIDE / 2, SIDE / 2, C});
    Tensor *p = op_sigmoid(t, visual_segment(t, &m->visual, V)); /* (MASKS,4,4,1) */
    p = tensor_reshape(t->step, p, 2, m->batch.mask->dim);
    return op_dice(t, p, m->batch.mask, m->preset->smooth);
}

static Tensor *contrast(Model *m, Tensor *v, Tensor *w, Tensor *scale, Tensor *equal)
{
    bool standard = m->preset->standard;
    return op_infonce(&m->rig.tape, v, w, standard ? scale : NULL, equal,
                      (InfonceParams){1, 1, 0.07f, standard, standard});
}

static Tensor *entity(Model *m, const VisualTokens *y)
{
    Tape *t = &m->rig.tape;
    const Visual *h = &m->visual;
    Tensor *text = pcrl_text(t, &m->llama, &m->preset->text, CLUES, m->batch.clue, n_clue); /* (CLUES,D) */
    tape_tap(t, text, "entity_text");
    Tensor *local = op_select(t, y->local, m->batch.slice);
    Tensor *v = tapped(t, visual_linear(t, &h->local_visual, local), "entity_visual"),
           *w = tapped(t, visual_linear(t, &h->local_text, text), "entity_words");
    tape_tap(t, contrast(m, v, w, h->local_scale, m->batch.same), "entity_masked");
    return contrast(m, v, w, h->local_scale, NULL);
}

static Tensor *theme(Model *m, const VisualTokens *y)
{
    Tape *t = &m->rig.tape;
    const Visual *h = &m->visual;
    Tensor *text = pcrl_text(t, &m->llama, &m->preset->text, STUDIES, m->batch.findings, n_findings);
    tape_tap(t, text, "theme_text");
    Tensor *global = tensor_reshape(t->step, y->global, 3, (int64_t[]){STUDIES, VISUAL_SLICES, small.dim});
    Tensor *v = tapped(t, visual_linear(t, &h->global_visual, op_reduce_max(t, global)), "theme_visual"),
           *w = tapped(t, visual_linear(t, &h->global_text, text), "theme_words");
    return contrast(m, v, w, h->global_scale, NULL);
}

static Tensor *report(Model *m, const VisualTokens *y)
{
    Tape *t = &m->rig.tape;
    PcrlRows rows = pcrl_rows(t, &m->llama, y->hv, &prompt, STUDIES, m->batch.findings, n_findings);
    return report_loss(t, rows.h, m->llama.head, rows.label, true);
}

static VisualTokens tokens(Model *m)
{
    return visual_tokens(&m->rig.tape, &m->visual, m->batch.grid, m->batch.pooled, true, true);
}

static Tensor *loss(Model *m, Term term, const VisualTokens *y)
{
    static Tensor *(*const branch[TERMS])(Model *, const VisualTokens *) = {report, segment, entity, theme};
    Tensor *x = branch[term](m, y);
    tape_tap(&m->rig.tape, x, "loss.%s", term_name[term]);
    return x;
}

/* All terms in one graph; leaves the gradients in params. */
static void joint(Model *m, float value[TERMS])
{
    Tape *t = &m->rig.tape;
    Tensor *sum = NULL;
    params_zero_grad(&m->rig.params);
    VisualTokens y = tokens(m);
    for (Term i = 0; i < TERMS; i++) {
        Tensor *x = loss(m, i, &y);
        tensor_download(x, &value[i]);
        sum = sum ? op_add(t, sum, x) : x;
    }
    tape_tap(t, sum, "loss");
    tape_backward(t, sum);
    tape_reset(t);
}

/* Gradients ("d") or values ("after") of everything trained; running statistics with the values. */
static void compare_weights(const Model *m, const char *what)
{
    const Weights *const part[] = {&m->head, &m->adapter};
    bool gradient = !strcmp(what, "d");
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < part[k]->n; i++) {
            const WeightsItem *item = &part[k]->item[i];
            const WeightKind kind = item->spec.kind;
            char name[192];
            if (gradient && kind == WEIGHT_BUFFER) continue;
            snprintf(name, sizeof name, "%s.%s.%s", m->preset->name, what, item->name);
            golden_compare(m->golden, name, gradient ? item->tensor->grad : item->tensor,
                           kind == WEIGHT_CONV || kind == WEIGHT_DECONV, GOLDEN_L2, tolerance);
        }
}

static void compare_value(const Model *m, float x, const char *format, const char *term, int step)
{
    const Tensor one = {.dtype = DTYPE_f32, .ndim = 1, .dim = {1}};
    char part[64], name[96];
    snprintf(part, sizeof part, format, term, step);
    snprintf(name, sizeof name, "%s.%s", m->preset->name, part);
    golden_compare_host(m->golden, name, &one, &x, false, GOLDEN_MAX, tolerance);
}

static void three_steps(const Preset *p)
{
    Model m;
    float value[TERMS];
    model_open(&m, p);
    Params *q = &m.rig.params;
    for (int step = 0; step < STEPS; step++) {
        m.listens = step == 0;
        joint(&m, value);
        if (step == 0) {
            ck_assert_int_eq(m.seen, 11 + TERMS + 1);
            compare_weights(&m, "d");
        } else {
            for (int i = 0; i < TERMS; i++) compare_value(&m, value[i], "loss.%s.step%d", term_name[i], step);
        }
        op_adamw(&m.rig.tape, q->weight, q->grad, q->m, q->v,
                 (AdamwParams){1e-3f, 0.9f, 0.999f, 1e-8f, 0.01f, 1, step + 1});
    }
    compare_weights(&m, "after");
    model_close(&m);
}

START_TEST(paper) { three_steps(&paper_preset); }
END_TEST
START_TEST(release) { three_steps(&release_preset); }
END_TEST

/* |x - y| / |y|, or |y| where x is NULL. */
static double distance(const float *x, const float *y, int64_t n)
{
    double difference = 0, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = x ? (double)x[i] - (double)y[i] : 0;
        difference += d * d;
        sum += (double)y[i] * (double)y[i];
    }
    return x ? sqrt(difference / sum) : sqrt(sum);
}

/* The gradient of one term, and the two tensors of it that the reference keeps. */
static void alone(Model *m, Term term, float *gradient)
{
    static const char *const kept[] = {"local_res.0.conv1.weight",
                                       "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"};
    const Params *q = &m->rig.params;
    params_zero_grad(&m->rig.params);
    VisualTokens y = tokens(m);
    tape_backward(&m->rig.tape, loss(m, term, &y));
    tape_reset(&m->rig.tape);
    tensor_download(q->grad, gradient);
    compare_value(m, (float)distance(NULL, gradient, q->len), "%s.norm", term_name[term], 0);
    for (int i = 0; i < 2; i++) {
        char name[192];
        const Tensor *w = params_find(q, kept[i]);
        ck_assert(w != NULL);
        snprintf(name, sizeof name, "%s.%s.d.%s", m->preset->name, term_name[term], kept[i]);
        golden_compare(m->golden, name, w->grad, i == 0, GOLDEN_L2, tolerance);
    }
}

/* The visual part once, then each branch forward and backward before the next begins. */
static void branches(Model *m)
{
    Tape *t = &m->rig.tape;
    params_zero_grad(&m->rig.params);
    VisualTokens y = tokens(m);
    for (Term i = 0; i < TERMS; i++) {
        TapeFork fork = tape_fork(t);
        tape_join(t, fork, loss(m, i, &y));
    }
    tape_backward(t, NULL);
    tape_reset(t);
}

/* The terms' gradients add up to the joint one, however the graph is walked. */
static void compare_ways(const Preset *p)
{
    Model m;
    float value[TERMS];
    model_open(&m, p);
    const Params *q = &m.rig.params;
    float *want = calloc((size_t)q->len * 3, sizeof *want), *got = want + q->len, *sum = got + q->len;
    ck_assert(want != NULL);
    joint(&m, value);
    tensor_download(q->grad, want);
    for (Term term = 0; term < TERMS; term++) {
        alone(&m, term, got);
        for (int64_t i = 0; i < q->len; i++) sum[i] += got[i];
    }
    ck_assert_double_le(distance(sum, want, q->len), 1e-6);
    branches(&m);
    tensor_download(q->grad, got);
    ck_assert_double_le(distance(got, want, q->len), 1e-6);
    free(want);
    model_close(&m);
}

START_TEST(paper_branches) { compare_ways(&paper_preset); }
END_TEST
START_TEST(release_branches) { compare_ways(&release_preset); }
END_TEST

int main(void)
{
    const TTest *const tests[] = {paper, release, paper_branches, release_branches};
    return run_tests("pcrl_step", tests, sizeof tests / sizeof *tests);
}
