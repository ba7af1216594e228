/* Texts read by a frozen BERT: the feature against bert_forward on a padded batch, whichever file the BERT is
 * in; what a training step makes of it against equations 5, 6, 8 and 9 in double and the slopes of central
 * differences; files without a BERT. */
#include "tools/bert_texts.h"
#include "data/file.h"
#include "tests/golden/golden.h"
#include "tests/models/main.h"
#include "tools/pcrl_step.h"

enum {
    C = 32,
    E = 16,
    SIDE = 4,
    B = 3,
    M = B * VISUAL_SLICES,
    CLUES = 6,
    TEXTS = B + CLUES,
    MOST = 12,
    W = 24
};
static const LlamaConfig llama = {64, 32, 2, 2, 1, 16, 64, 1e-5f, 500000, false};
static const PcrlPrompt prompt = {(int32_t[]){1}, (int32_t[]){2}, 1, 1, 2};
static const PcrlTextPrompt text_prompt = {(int32_t[]){1}, (int32_t[]){2}, 1, 1, 2, false};
static const char vocab[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n左\n右\n侧\n高\n低\n密\n度\n影\n脑\n。\n";
enum { V = 15 };
static const BertConfig small = {V, W, 2, 2, 48, MOST, 2};
/* Findings, then descriptions: the second findings are longer than MOST, two descriptions are equal. */
static const char *const text[TEXTS] = {
    "左侧脑低密度影。",
    "右侧脑高密度影。左侧脑低密度影。",
    "脑。",
    "左侧低密度影",
    "右侧高密度",
    "脑",
    "左侧低密度影",
    "影",
    "高低 左右",
};

static const char *vocab_path(void)
{
    static char path[80];
    snprintf(path, sizeof path, "%s.txt", test_path());
    return path;
}

/* A BERT under `prefix` in test_path(), and the vocabulary. */
static void write_bert(const char *prefix)
{
    Rig r;
    Weights w;
    Bert bert;
    Error e = {0};
    rig_open(&r, &backend_cpu);
    weights_init(&w, &r.weights, &r.state, &r.params, 1);
    w.trainable = true;
    w.generator = golden_weight;
    w.prefix = prefix;
    ck_assert_msg(bert_create(&bert, &w, small, &e), "%s", e.msg);
    params_alloc(&r.params);
    ck_assert_msg(weights_fill(&w, &e) && weights_save((Weights *[]){&w}, 1, false, NULL, test_path(), &e) &&
                      file_write(vocab_path(), vocab, strlen(vocab), &e),
                  "%s", e.msg);
    weights_close(&w);
    rig_close(&r);
}

static void texts_open(BertTexts *b, Rig *r, bool mean)
{
    Error e = {0};
    ck_assert_msg(bert_texts_open(b, &r->weights, &r->state, test_path(), vocab_path(), &e), "%s", e.msg);
    b->mean = mean;
}

/* The same features another way: all texts in one padded batch, their places averaged in double. */
static void padded_features(const BertTexts *b, Tape *t, float (*out)[W])
{
    int32_t id[TEXTS * MOST] = {0}, length[TEXTS];
    const int64_t n = TEXTS;
    Error e = {0};
    for (int i = 0; i < TEXTS; i++) {
        int32_t *ids;
        ck_assert(wordpiece_encode(&b->words, text[i], strlen(text[i]), MOST, &ids, &length[i], &e));
        memcpy(id + i * MOST, ids, (size_t)length[i] * sizeof *ids);
        free(ids);
    }
    ck_assert_int_eq(length[1], MOST); /* cut */
    Tensor *x = tape_tensor(t, DTYPE_i32, 2, (const int64_t[]){TEXTS, MOST}),
           *l = tape_tensor(t, DTYPE_i32, 1, &n);
    tensor_upload(x, id);
    tensor_upload(l, length);
    float *h = host_copy(bert_forward(t, &b->model, x, l));
    for (int i = 0; i < TEXTS; i++)
        for (int d = 0; d < W; d++) {
            double sum = 0;
            int places = b->mean ? length[i] : 1;
            for (int k = 0; k < places; k++) sum += (double)h[(i * MOST + k) * W + d];
            out[i][d] = (float)(sum / places);
        }
    free(h);
    tape_reset(t);
}

static void check_features(const char *prefix, bool mean)
{
    Rig r;
    BertTexts b;
    Error e = {0};
    float want[TEXTS][W], got[TEXTS][W], again[W];
    write_bert(prefix);
    rig_open(&r, test_device());
    texts_open(&b, &r, mean);
    ck_assert_mem_eq(&b.model.config.vocab, &small.vocab, sizeof small.vocab);
    padded_features(&b, &r.tape, want);
    r.tape.recording = true;
    for (int i = 0; i < TEXTS; i++) ck_assert(bert_texts_feature(&b, &r.tape, text[i], got[i], &e));
    ck_assert(bert_texts_feature(&b, &r.tape, text[1], again, &e)); /* after others: the same bits */
    ck_assert_mem_eq(again, got[1], sizeof again);
    ck_assert_mem_eq(got[6], got[3], sizeof again);
    ck_assert_mem_ne(got[4], got[3], sizeof again);
    ck_assert(r.tape.recording && r.step.used == 0);
    for (int i = 0; i < TEXTS; i++)
        for (int d = 0; d < W; d++)
            ck_assert_float_eq_tol(got[i][d], want[i][d], (float)test_tolerance(TOL_BERT));
    ck_assert(!bert_texts_feature(&b, &r.tape, "\xff", again, &e));
    bert_texts_close(&b);
    rig_close(&r);
    unlink(test_path());
    unlink(vocab_path());
}

START_TEST(features)
{
    check_features("", false);
    check_features("bert.", true);
    check_features("text_model.model.", false);
}
END_TEST

/* ---- the step ---- */

typedef struct Kept {
    float R_v[2][CLUES][E], R_w[2][CLUES][E]; /* entity, theme */
    int seen, texts;
} Kept;

static void listen(void *user, const char *name, Tensor *x)
{
    static const char *const names[] = {"entity.R_v", "entity.R_w", "theme.R_v", "theme.R_w"};
    Kept *k = user;
    k->texts += !strcmp(name, "text");
    for (int i = 0; i < 4; i++)
        if (!strcmp(name, names[i])) {
            ck_assert(x->dim[0] == (i < 2 ? CLUES : B) && x->dim[1] == E);
            tensor_download(x, i % 2 ? k->R_w[i / 2][0] : k->R_v[i / 2][0]);
            k->seen++;
        }
}

/* Equation 6, printed or in the standard form: n pairs of width E. same: -1 apart, else equal texts. */
static double contrast(int n, const float (*v)[E], const double (*w)[E], const int32_t *same, bool standard)
{
    double s[CLUES][CLUES], loss = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            double dot = 0, a = 0, b = 0;
            for (int d = 0; d < E; d++) {
                dot += (double)v[i][d] * w[j][d];
                a += (double)v[i][d] * (double)v[i][d];
                b += w[j][d] * w[j][d];
            }
            s[i][j] = dot / sqrt(a * b) / (double)0.07f;
        }
    for (int i = 0; i < n; i++)
        for (int way = 0; way < 2; way++) {
            double sum = 0;
            for (int j = 0; j < n; j++)
                if (j == i ? standard : same[i] != same[j]) sum += exp(way ? s[j][i] : s[i][j]);
            loss += (log(sum) - s[i][i]) / 2;
        }
    return standard ? loss / n : loss;
}

/* The loss of n texts' features through a Linear; elements of it may be moved. */
typedef struct Oracle {
    int n;
    const float (*v)[E], (*feature)[W];
    double weight[E][W], bias[E];
    const int32_t *same;
    bool standard;
} Oracle;

static double oracle_loss(const Oracle *o)
{
    static double w[CLUES][E];
    for (int i = 0; i < o->n; i++)
        for (int e = 0; e < E; e++) {
            w[i][e] = o->bias[e];
            for (int d = 0; d < W; d++) w[i][e] += o->weight[e][d] * (double)o->feature[i][d];
        }
    return contrast(o->n, o->v, (const double(*)[E])w, o->same, o->standard);
}

static double oracle_slope(const Oracle *o, double *at)
{
    const double h = 1e-4, x = *at;
    double y[2];
    for (int i = 0; i < 2; i++) {
        *at = i ? x - h : x + h;
        y[i] = oracle_loss(o);
    }
    *at = x;
    return (y[0] - y[1]) / (2 * h);
}

/* |got - want| <= tolerance * |want|, over n numbers. */
static void close_to(const char *what, const float *got, const double *want, int n, double tolerance)
{
    double apart = 0, length = 0;
    for (int i = 0; i < n; i++) {
        apart += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        length += want[i] * want[i];
    }
    ck_assert_msg(length > 0 && sqrt(apart) <= tolerance * sqrt(length), "%s: off by %g of %g", what,
                  sqrt(apart), sqrt(length));
}

typedef struct Model {
    Rig rig;
    Weights base, head, embeds, adapter;
    Llama llama;
    Visual visual;
    BertTexts bert;
    StepClue clue[CLUES];
    float feature[TEXTS][W];
    const float *at[TEXTS];
    StepBatch batch;
    Kept kept;
} Model;

static void batch_open(Model *m)
{
    static const int32_t study[CLUES] = {0, 0, 1, 1, 2, 2}, slice[CLUES] = {3, 10, 0, 7, 5, 23},
                         same[B] = {0, 1, 2};
    static const int32_t ids[1] = {5}, *const findings[B] = {ids, ids, ids};
    static const int n_findings[B] = {1, 1, 1};
    Arena *a = &m->rig.state;
    Error e = {0};
    for (int i = 0; i < TEXTS; i++) {
        ck_assert(bert_texts_feature(&m->bert, &m->rig.tape, text[i], m->feature[i], &e));
        m->at[i] = m->feature[i];
    }
    for (int i = 0; i < CLUES; i++) m->clue[i] = (StepClue){study[i], slice[i], NULL, 0, i == 3 ? 0 : i, NULL};
    m->batch = (StepBatch){
        .B = B,
        .grid = golden_fill(tensor_f32(a, M, SIDE, SIDE, C), "grid17", GOLDEN_INPUTS, 2, true),
        .pooled = golden_fill(tensor_f32(a, M, C, 0, 0), "pooled", GOLDEN_INPUTS, 2, false),
        .findings = findings,
        .n_findings = n_findings,
        .same_findings = same,
        .clue = m->clue,
        .n_clues = CLUES,
        .width = W,
        .findings_feature = m->at,
        .clue_feature = m->at + B,
    };
}

static void model_open(Model *m, bool mean)
{
    Error e = {0};
    *m = (Model){0};
    write_bert("bert.");
    rig_open(&m->rig, test_device());
    Weights *const part[] = {&m->base, &m->head, &m->embeds, &m->adapter};
    for (int i = 0; i < 4; i++) {
        weights_init(part[i], &m->rig.weights, &m->rig.state, &m->rig.params, 1);
        part[i]->generator = golden_weight;
        part[i]->trainable = i > 0;
    }
    texts_open(&m->bert, &m->rig, mean);
    ck_assert_msg(llama_create(&m->llama, &m->base, llama, &e) &&
                      llama_add_lora(&m->llama, &m->adapter, 2, 4, 0, &e) &&
                      visual_create(&m->visual, &m->head, C, llama.dim, E, HV_LOCAL24, &e) &&
                      visual_add_bert(&m->visual, &m->embeds, W, &e),
                  "%s", e.msg);
    params_alloc(&m->rig.params);
    for (int i = 0; i < 4; i++) ck_assert_msg(weights_fill(part[i], &e), "%s", e.msg);
    batch_open(m);
    m->rig.tape.tap = listen;
    m->rig.tape.tap_user = &m->kept;
    m->rig.tape.recording = true;
    params_zero_grad(&m->rig.params);
}

static void model_close(Model *m)
{
    Weights *const part[] = {&m->adapter, &m->embeds, &m->head, &m->base};
    for (int i = 0; i < 4; i++) weights_close(part[i]);
    bert_texts_close(&m->bert);
    rig_close(&m->rig);
    unlink(test_path());
    unlink(vocab_path());
}

/* One branch: loss, the Linear's gradients, and that of the image's bias, whose slope is the sum of those by
 * R_v. */
static void check_branch(Model *m, bool theme, const StepOptions *o, double term)
{
    const VisualLinear *l = theme ? &m->visual.global_text_bert : &m->visual.local_text_bert;
    static const int32_t apart[CLUES] = {0, 1, 2, 3, 4, 5}, equal[CLUES] = {0, 1, 2, 0, 4, 5};
    const double tolerance = test_tolerance(TOL_STEP),
                 weight = (double)o->weight[theme ? TERM_THEME : TERM_ENTITY];
    float padded[TEXTS][W];
    static double slope[E * W];
    padded_features(&m->bert, &m->rig.tape, padded);
    Oracle x = {.n = theme ? B : CLUES,
                .v = (const float(*)[E])m->kept.R_v[theme],
                .feature = (const float(*)[W])padded + (theme ? 0 : B),
                .same = o->mask_identical && !theme ? equal : apart,
                .standard = o->align.include_self};
    float *w = host_copy(l->weight), *b = host_copy(l->bias), *dw = host_copy(l->weight->grad),
          *db = host_copy(l->bias->grad);
    for (int i = 0; i < E * W; i++) x.weight[i / W][i % W] = (double)w[i];
    for (int i = 0; i < E; i++) x.bias[i] = (double)b[i];
    double want = oracle_loss(&x);
    ck_assert_msg(fabs(term - want) <= tolerance * fabs(want), "%s: %g, wants %g", theme ? "theme" : "entity",
                  term, want);
    for (int i = 0; i < E * W; i++) slope[i] = weight * oracle_slope(&x, &x.weight[i / W][i % W]);
    close_to("weight", dw, slope, E * W, tolerance);
    for (int i = 0; i < E; i++) slope[i] = weight * oracle_slope(&x, &x.bias[i]);
    close_to("bias", db, slope, E, tolerance);
    free(w), free(b), free(dw), free(db);
}

/* No gradient reached this. */
static void untouched(const Params *p, const char *name)
{
    const Tensor *x = params_find(p, name);
    ck_assert_msg(x != NULL, "%s", name);
    float *g = host_copy(x->grad);
    for (int64_t i = 0; i < tensor_len(x); i++) ck_assert_msg(g[i] == 0, "%s", name);
    free(g);
}

static void check_step(bool mean, bool standard, bool joint)
{
    Model m;
    model_open(&m, mean);
    StepOptions o = {.weight = {0, 0, 2, 3},
                     .align = {1, 1, 0.07f, standard, standard},
                     .mask_identical = mean,
                     .joint = joint};
    const StepModel model = {&m.visual, &m.llama, &prompt, &text_prompt};
    float value[STEP_TERMS];
    Tensor *term = tensor_new(&m.rig.state, DTYPE_f32, 1, (int64_t[]){STEP_TERMS});
    pcrl_step(&m.rig.tape, &model, &m.batch, &o, term);
    tensor_download(term, value);
    tape_reset(&m.rig.tape);
    m.rig.tape.recording = false;
    ck_assert_int_eq(m.kept.seen, 4);
    ck_assert_int_eq(m.kept.texts, 0); /* the language model read nothing */
    check_branch(&m, false, &o, (double)value[TERM_ENTITY]);
    check_branch(&m, true, &o, (double)value[TERM_THEME]);
    untouched(&m.rig.params, "local_text_embed.weight");
    untouched(&m.rig.params, "global_text_embed.bias");
    untouched(&m.rig.params, "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight");
    float *image = host_copy(m.visual.local_visual.weight->grad), most = 0;
    for (int i = 0; i < E * llama.dim; i++) most = fmaxf(most, fabsf(image[i]));
    ck_assert(most > 0); /* but the images learn */
    free(image);
    model_close(&m);
}

START_TEST(printed) { check_step(false, false, false); }
END_TEST
START_TEST(printed_joint) { check_step(true, false, true); }
END_TEST
START_TEST(standard) { check_step(false, true, false); }
END_TEST
START_TEST(standard_mean) { check_step(true, true, false); }
END_TEST

/* ---- files ---- */

static void refused(const char *message)
{
    Rig r;
    BertTexts b;
    Error e = {0};
    rig_open(&r, &backend_cpu);
    ck_assert(!bert_texts_open(&b, &r.weights, &r.state, test_path(), vocab_path(), &e));
    ck_assert_int_eq(e.code, ERROR_INPUT);
    ck_assert_msg(strstr(e.msg, message) && !strncmp(e.msg, test_path(), strlen(test_path())), "%s", e.msg);
    bert_texts_close(&b);
    rig_close(&r);
}

START_TEST(bad_files)
{
    static const char more[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\n";
    Error e = {0};
    write_bert("vision_model.model.");
    refused(": no BERT: neither text_model.model.embeddings.word_embeddings.weight (MedCLIP's) nor "
            "bert.embeddings.word_embeddings.weight nor embeddings.word_embeddings.weight");
    write_bert("bert.");
    ck_assert(file_write(vocab_path(), more, strlen(more), &e));
    refused(".txt: 16 tokens, but BERT (");
    ck_assert(file_write(vocab_path(), "a\n", 2, &e));
    refused(".txt: ");
    unlink(test_path());
    unlink(vocab_path());
}
END_TEST

/* The authors' BERT, planned: 167,356,416 weights with its pooler, which is not read. */
START_TEST(paper_size)
{
    Rig r;
    BertTexts b;
    Error e = {0};
    rig_open(&r, &backend_plan);
    ck_assert_msg(bert_texts_plan(&b, &r.weights, &r.state, &e), "%s", e.msg);
    ck_assert_uint_ge(r.weights.used, 4 * (size_t)(167356416 - 768 * 769));
    ck_assert_uint_lt(r.weights.used, 4 * (size_t)167356416);
    bert_texts_close(&b);
    rig_close(&r);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {features,      printed,   printed_joint, standard,
                                  standard_mean, bad_files, paper_size};
    return run_tests("bert_texts", tests, sizeof tests / sizeof *tests);
}
