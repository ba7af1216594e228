/* The whole training against the reference, under both presets: what leads to each term of the joint loss, the
 * terms, every gradient, three steps of AdamW; each term alone; branch by branch the same as jointly; the other
 * options. */
#include "tools/pcrl_step.h"
#include "tests/golden/golden.h"
#include "tests/models/main.h"

enum { C = 32, E = 16, SIDE = 4, B = 3, M = B * VISUAL_SLICES, CLUES = 9, STEPS = 3, MOST = 11, MOST_CLUE = 8 };
/* On the CPU less than the 3e-5 of itself by which weight decay alone moves a weight. */
#define TOLERANCE test_tolerance(TOL_STEP)
static const LlamaConfig small = {512, 64, 2, 4, 2, 16, 160, 1e-5f, 500000, false};
static const PcrlPrompt prompt = {(int32_t[]){1, 5, 7}, (int32_t[]){9, 11, 12, 13}, 3, 4, 2};

typedef struct Preset {
    const char *name;
    HvMode hv;
    PcrlTextPrompt text;
    StepOptions options;
} Preset;

static const Preset paper_preset = {
    "paper",
    HV_LOCAL24,
    {(int32_t[]){1, 21, 22, 23, 24}, (int32_t[]){25}, 5, 1, 2, false},
    {{1, 1, 1, 1}, .lm_mean = true, .align = {1, 1, 0.07f, false, false}},
};
static const Preset release_preset = {
    "release",
    HV_CONCAT48,
    {(int32_t[]){1, 31, 32}, (int32_t[]){33, 34, 35}, 3, 3, 2, true},
    {{1, 1, 1, 1}, .lm_mean = true, .dice_smooth = true, .align = {1, 1, 0, true, true}, .learn_tau = true},
};

typedef struct Model {
    const Preset *preset;
    TensorFile *golden;
    bool listens; /* compare taps */
    int seen, texts;
    Rig rig;
    Weights base, head, adapter;
    Llama llama;
    Visual visual;
    StepBatch batch;
    StepClue clue[CLUES];
    int32_t id[B][MOST], clue_id[CLUES][MOST_CLUE];
    const int32_t *findings[B];
    float mask[CLUES][SIDE * SIDE];
} Model;

/* make_llama.py's ids(). */
static void golden_ids(int32_t *id, int n, const char *name)
{
    float u[CLUES * MOST_CLUE];
    rng_fill(u, n, GOLDEN_INPUTS, name, 1);
    for (int i = 0; i < n; i++) id[i] = (int32_t)((u[i] + 1.0f) * 256.0f);
}

/* make_pcrl.py's. */
static void batch_open(Model *m)
{
    static const int n_findings[B] = {7, 11, 5}, n_text[CLUES] = {4, 6, 3, 8, 5, 6, 2, 5, 7};
    static const int32_t same_findings[B] = {0, 1, 2}, study[CLUES] = {0, 0, 1, 1, 1, 1, 2, 2, 2},
                         slice[CLUES] = {3, 10, 0, 7, 12, 23, 5, 17, 20};
    Arena *a = &m->rig.state;
    golden_ids(m->id[0], B * MOST, "findings");
    golden_ids(m->clue_id[0], CLUES * MOST_CLUE, "clues");
    rng_fill(m->mask[0], CLUES * SIDE * SIDE, GOLDEN_INPUTS, "masks", 1);
    for (int i = 0; i < B; i++) m->findings[i] = m->id[i];
    for (int i = 0; i < CLUES; i++) {
        for (int k = 0; k < SIDE * SIDE; k++) m->mask[i][k] = m->mask[i][k] > 0;
        m->clue[i] = (StepClue){study[i], slice[i], m->clue_id[i], n_text[i], i, m->mask[i]};
    }
    m->clue[5].text = m->clue[1].text; /* says the same */
    m->clue[5].same = m->clue[1].same;
    m->clue[4].mask = NULL;
    m->batch = (StepBatch){
        .B = B,
        .grid = golden_fill(tensor_f32(a, M, SIDE, SIDE, C), "grid17", GOLDEN_INPUTS, 2, true),
        .pooled = golden_fill(tensor_f32(a, M, C, 0, 0), "pooled", GOLDEN_INPUTS, 2, false),
        .findings = m->findings,
        .n_findings = n_findings,
        .same_findings = same_findings,
        .clue = m->clue,
        .n_clues = CLUES,
    };
}

/* Compares the reference's taps; others are the language model's own. */
static void listen(void *user, const char *name, Tensor *x)
{
    Model *m = user;
    char full[64], samples[80];
    if (!strcmp(name, "text")) name = m->texts++ ? "theme.text" : "entity.text";
    snprintf(full, sizeof full, "%s.%s", m->preset->name, name);
    snprintf(samples, sizeof samples, "%s.samples", full);
    if (!m->listens || !tensor_file_find(m->golden, samples)) return;
    golden_compare(m->golden, full, x, x->ndim == 4, GOLDEN_MAX, TOLERANCE);
    m->seen++;
}

static void model_open_on(Model *m, const Preset *p, const Backend *backend)
{
    Error e = {0};
    *m = (Model){.preset = p, .golden = golden_open("tests/golden/pcrl.safetensors")};
    rig_open(&m->rig, backend);
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
    batch_open(m);
    m->rig.tape.tap = listen;
    m->rig.tape.tap_user = m;
    m->rig.tape.recording = true;
}

static void model_open(Model *m, const Preset *p) { model_open_on(m, p, test_device()); }

static void model_close(Model *m)
{
    weights_close(&m->adapter);
    weights_close(&m->head);
    weights_close(&m->base);
    tensor_file_close(m->golden);
    rig_close(&m->rig);
}

/* Leaves the gradient in params. */
static void step(Model *m, const StepOptions *o, double term[STEP_TERMS])
{
    const StepModel model = {&m->visual, &m->llama, &prompt, &m->preset->text};
    float value[STEP_TERMS];
    params_zero_grad(&m->rig.params);
    Tensor *x = tensor_new(&m->rig.step, DTYPE_f32, 1, (int64_t[]){STEP_TERMS});
    pcrl_step(&m->rig.tape, &model, &m->batch, o, x);
    tensor_download(x, value);
    for (int i = 0; i < STEP_TERMS; i++) term[i] = (double)value[i];
    tape_reset(&m->rig.tape);
}

static void compare_value(const Model *m, double x, const char *format, const char *term, int number)
{
    const Tensor one = {.dtype = DTYPE_f32, .ndim = 1, .dim = {1}};
    const float value = (float)x;
    char part[64], name[96];
    snprintf(part, sizeof part, format, term, number);
    snprintf(name, sizeof name, "%s.%s", m->preset->name, part);
    golden_compare_host(m->golden, name, &one, &value, false, GOLDEN_MAX, TOLERANCE);
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
                           kind == WEIGHT_CONV || kind == WEIGHT_DECONV, GOLDEN_L2, TOLERANCE);
        }
}

static void three_steps(const Preset *p, bool joint)
{
    Model m;
    double term[STEP_TERMS];
    StepOptions o = p->options;
    o.joint = joint;
    model_open(&m, p);
    Params *q = &m.rig.params;
    for (int k = 0; k < STEPS; k++) {
        m.listens = k == 0;
        step(&m, &o, term);
        if (k == 0) ck_assert_int_eq(m.seen, 10);
        for (int i = 0; i < STEP_TERMS; i++)
            compare_value(&m, term[i], k ? "loss.%s.step%d" : "loss.%s", step_term_name[i], k);
        if (k == 0) compare_weights(&m, "d");
        op_adamw(&m.rig.tape, q->weight, q->grad, q->m, q->v,
                 (AdamwParams){1e-3f, 0.9f, 0.999f, 1e-8f, 0.01f, 1, k + 1});
    }
    compare_weights(&m, "after");
    model_close(&m);
}

START_TEST(paper) { three_steps(&paper_preset, false); }
END_TEST
START_TEST(paper_joint) { three_steps(&paper_preset, true); }
END_TEST
START_TEST(release) { three_steps(&release_preset, false); }
END_TEST
START_TEST(release_joint) { three_steps(&release_preset, true); }
END_TEST

static double norm(const float *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

/* The gradient of one term, and the two tensors of it that the reference keeps. */
static void alone(Model *m, int i, float *gradient)
{
    static const char *const kept[] = {"local_res.0.conv1.weight",
                                       "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"};
    const Params *q = &m->rig.params;
    StepOptions o = m->preset->options;
    double term[STEP_TERMS];
    for (int k = 0; k < STEP_TERMS; k++) o.weight[k] = k == i;
    step(m, &o, term);
    for (int k = 0; k < STEP_TERMS; k++) ck_assert_int_eq(isnan(term[k]) != 0, k != i);
    tensor_download(q->grad, gradient);
    compare_value(m, norm(gradient, q->len), "%s.norm", step_term_name[i], 0);
    for (int k = 0; k < 2; k++) {
        char name[192];
        const Tensor *w = params_find(q, kept[k]);
        ck_assert(w != NULL);
        snprintf(name, sizeof name, "%s.%s.d.%s", m->preset->name, step_term_name[i], kept[k]);
        golden_compare(m->golden, name, w->grad, k == 0, GOLDEN_L2, TOLERANCE);
    }
}

/* Under uneven weights the joint gradient is the weighted sum of the terms' own, and branch by branch it is the
 * same.
 */
static void compare_ways(const Preset *p)
{
    static const float weight[STEP_TERMS] = {3, 7, 0.5f, 2};
    Model m;
    double term[STEP_TERMS];
    model_open(&m, p);
    const Params *q = &m.rig.params;
    float *sum = calloc((size_t)q->len * 3, sizeof *sum), *got = sum + q->len, *want = got + q->len;
    ck_assert(sum != NULL);
    for (int i = 0; i < STEP_TERMS; i++) {
        alone(&m, i, got);
        for (int64_t k = 0; k < q->len; k++) sum[k] += weight[i] * got[k];
    }
    StepOptions o = p->options;
    memcpy(o.weight, weight, sizeof weight);
    step(&m, &o, term);
    tensor_download(q->grad, got);
    o.joint = true;
    step(&m, &o, term);
    tensor_download(q->grad, want);
    for (int64_t k = 0; k < q->len; k++) {
        sum[k] -= want[k];
        got[k] -= want[k];
    }
    double most = test_tolerance(TOL_BRANCHES) * norm(want, q->len);
    ck_assert_double_le(norm(got, q->len), most);
    ck_assert_double_le(norm(sum, q->len), most);
    free(sum);
    model_close(&m);
}

START_TEST(paper_branches) { compare_ways(&paper_preset); }
END_TEST
START_TEST(release_branches) { compare_ways(&release_preset); }
END_TEST

/* L_g as a sum; equal texts as no negatives; contrast within each study; nothing to learn from. */
static void compare_options(const Preset *p)
{
    Model m;
    double term[STEP_TERMS];
    model_open(&m, p);
    StepOptions o = p->options;
    o.lm_mean = false;
    o.mask_identical = true;
    step(&m, &o, term);
    compare_value(&m, term[TERM_REPORT], "loss.%s.sum", "report", 0);
    compare_value(&m, term[TERM_ENTITY], "loss.%s.masked", "entity", 0);
    o.mask_identical = false;
    o.sample_scope = true;
    step(&m, &o, term);
    compare_value(&m, term[TERM_ENTITY], "loss.%s.sample", "entity", 0);
    m.batch.n_clues = 0;
    step(&m, &o, term);
    ck_assert_double_eq(term[TERM_SEGMENT], 0);
    ck_assert_double_eq(term[TERM_ENTITY], 0);
    compare_value(&m, term[TERM_THEME], "loss.%s", "theme", 0);
    model_close(&m);
}

START_TEST(paper_options) { compare_options(&paper_preset); }
END_TEST
START_TEST(release_options) { compare_options(&release_preset); }
END_TEST

/* Peaks of the arenas that are planned; the gradient, where it is wanted. */
typedef struct Peaks {
    size_t weights, state, step, len;
} Peaks;

static Peaks peaks(const Backend *backend, Recompute recompute, bool joint, float **gradient)
{
    Model m;
    double term[STEP_TERMS];
    StepOptions o = paper_preset.options;
    o.joint = joint;
    model_open_on(&m, &paper_preset, backend);
    m.llama.recompute = recompute;
    for (int k = 0; k < 2; k++) step(&m, &o, term);
    const Params *q = &m.rig.params;
    Peaks p = {m.rig.weights.peak, m.rig.state.peak, m.rig.step.peak, (size_t)q->len};
    if (gradient) {
        *gradient = host_copy(q->grad);
        ck_assert(norm(*gradient, q->len) > 0);
    }
    model_close(&m);
    return p;
}

/* Recomputing changes no bit of the gradient; the plan is the peak, byte for byte; each way saves memory. */
START_TEST(memory)
{
    size_t bytes[3][2];
    for (int joint = 0; joint < 2; joint++) {
        float *gradient[3];
        for (int r = 0; r < 3; r++) {
            Peaks got = peaks(test_device(), (Recompute)r, joint, &gradient[r]),
                  plan = peaks(&backend_plan, (Recompute)r, joint, NULL);
            ck_assert_uint_eq(plan.weights, got.weights);
            ck_assert_uint_eq(plan.state, got.state);
            ck_assert_uint_eq(plan.step, got.step);
            ck_assert_mem_eq(gradient[0], gradient[r], got.len * sizeof **gradient);
            bytes[r][joint] = got.step;
        }
        for (int r = 0; r < 3; r++) free(gradient[r]);
        ck_assert_uint_lt(bytes[RECOMPUTE_MEDIUM][joint], bytes[RECOMPUTE_NONE][joint]);
        ck_assert_uint_lt(bytes[RECOMPUTE_FULL][joint], bytes[RECOMPUTE_MEDIUM][joint]);
    }
    for (int r = 0; r < 3; r++) ck_assert_uint_lt(bytes[r][0], bytes[r][1]);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {paper,         paper_joint,     release,
                                  release_joint, paper_branches,  release_branches,
                                  paper_options, release_options, memory};
    return run_tests("pcrl_step", tests, sizeof tests / sizeof *tests);
}
