/* Stage pcrl: the paper's training. ResNet frozen, its features cached; the 4-bit language model frozen;
 * trained are the whole head and LoRA on q and v, on the findings' tokens, the masks of described lesions, and
 * the alignment of slices with descriptions and of scans with findings (tools/pcrl_step). --warmup-steps trains
 * the head alone before. */
#include "tools/train_pcrl.h"
#include "data/file.h"
#include "tools/adapter.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool pcrl_read_features(const PcrlSet *s, Tape *t, int64_t B, const int64_t *study, Tensor **grid,
                        Tensor **pooled, Error *e)
{
    int64_t C = s->features.channels, per = CTRG_SLICES * GRID_CELLS * C;
    uint16_t *g = malloc((size_t)(B * per) * sizeof *g);
    float *f = malloc((size_t)(B * CTRG_SLICES * C) * sizeof *f);
    if (!g || !f) die("out of host memory for a batch");
    bool ok = true;
    for (int64_t i = 0; ok && i < B; i++)
        ok = features_read(&s->features, study[i], g + i * per, f + i * CTRG_SLICES * C, e);
    *grid = tape_tensor(t, DTYPE_bf16, 4, (int64_t[]){B * CTRG_SLICES, GRID, GRID, C});
    *pooled = tape_tensor(t, DTYPE_f32, 2, (int64_t[]){B * CTRG_SLICES, C});
    if (ok) {
        tensor_upload(*grid, g);
        tensor_upload(*pooled, f);
    }
    free(g);
    free(f);
    return ok;
}

void pcrl_draw(Rng *rng, int64_t n, int64_t B, int64_t *study)
{
    for (int64_t i = 0; i < B; i++) {
        bool fresh;
        do {
            study[i] = rng_below(rng, n);
            fresh = true;
            for (int64_t j = 0; j < i && n >= B; j++) fresh &= study[j] != study[i];
        } while (!fresh);
    }
}

static const float *text_feature(const PcrlJob *j, Tape *t, const PcrlTexts *x, int32_t number, Error *e)
{
    if (x->feature[number]) return x->feature[number];
    float *y = malloc((size_t)j->bert.model.config.dim * sizeof *y);
    if (!y) die("out of host memory for a text's feature");
    x->feature[number] = y;
    if (bert_texts_feature(&j->bert, t, x->text[number], y, e)) return y;
    x->feature[number] = NULL;
    free(y);
    return NULL;
}

/* Of the branches that are run. */
static bool fill_text_features(PcrlJob *j, Tape *t, const PcrlTexts *x, Error *e)
{
    StepBatch *b = &j->batch;
    bool ok = true, theme = j->step.weight[TERM_THEME] != 0, entity = j->step.weight[TERM_ENTITY] != 0;
    for (int64_t i = 0; ok && theme && i < b->B; i++)
        ok = (j->findings_feature[i] = text_feature(j, t, x, j->same[i], e)) != NULL;
    for (int i = 0; ok && entity && i < b->n_clues; i++)
        ok = (j->clue_feature[i] = text_feature(j, t, x, j->clue[i].same, e)) != NULL;
    b->width = j->bert.model.config.dim;
    b->findings_feature = theme ? j->findings_feature : NULL;
    b->clue_feature = entity ? j->clue_feature : NULL;
    return ok;
}

bool pcrl_fill_batch(PcrlJob *j, Tape *t, const PcrlSet *s, int64_t B, const int64_t *study, Error *e)
{
    int n = 0;
    for (int64_t b = 0; b < B; b++) {
        const StudyText *x = &s->texts.study[study[b]];
        j->findings[b] = x->ids;
        j->n_findings[b] = x->n_ids;
        j->same[b] = x->same;
        if (n + x->n_clues > j->room) {
            j->room = 2 * (n + x->n_clues);
            j->clue = realloc(j->clue, (size_t)j->room * sizeof *j->clue);
            j->clue_feature = realloc(j->clue_feature, (size_t)j->room * sizeof *j->clue_feature);
            if (!j->clue || !j->clue_feature) die("out of host memory for %d clues", j->room);
        }
        for (int i = 0; i < x->n_clues; i++) {
            const ClueText *c = &x->clue[i];
            j->clue[n++] = (StepClue){(int32_t)b, c->slice, c->ids, c->n_ids, c->same, c->mask};
        }
    }
    j->batch.B = B;
    j->batch.findings = j->findings;
    j->batch.n_findings = j->n_findings;
    j->batch.same_findings = j->same;
    j->batch.clue = j->clue;
    j->batch.n_clues = n;
    return j->stage->o->text_features != TEXTS_BERT || fill_text_features(j, t, &s->texts, e);
}

/* "loss" is the weighted sum, then the terms unweighted; a branch that is switched off has no name. */
static void name_terms(const StepOptions *step, TrainerOptions *o)
{
    o->term[0] = "loss";
    for (int i = 0, n = 1; i < STEP_TERMS; i++) {
        if (step->weight[i] == 0) continue;
        o->weight[n] = step->weight[i];
        o->term[n++] = step_term_name[i];
    }
}

static bool loss(Trainer *t, void *context, Error *e)
{
    PcrlJob *j = context;
    PcrlStage *s = j->stage;
    if (s->o->dry_run) {
        pcrl_dry_batch(j, t, s->o->sizes == SIZES_PAPER);
    } else {
        pcrl_draw(&t->rng, s->train.data->n, s->o->batch, j->study);
        if (!pcrl_fill_batch(j, &t->tape, &s->train, s->o->batch, j->study, e) ||
            !pcrl_read_features(&s->train, &t->tape, s->o->batch, j->study, &j->batch.grid, &j->batch.pooled,
                                e))
            return false;
    }
    Tensor *term = tape_tensor(&t->tape, DTYPE_f32, 1, (int64_t[]){STEP_TERMS});
    pcrl_step(&t->tape, &j->model, &j->batch, &j->step, term);
    for (int i = 0, n = 1; i < STEP_TERMS; i++)
        if (j->step.weight[i] != 0) trainer_term(t, n++, tensor_slice(t->tape.step, term, i, 1), 1);
    return true;
}

static StepOptions step_options(const TrainOptions *o)
{
    bool learn = o->tau == TAU_LEARN;
    return (StepOptions){
        .weight = {(float)o->weight_report, (float)o->weight_segment, (float)o->weight_entity,
                   (float)o->weight_theme},
        .lm_mean = o->lm_reduction == REDUCE_MEAN,
        .dice_smooth = o->dice == DICE_SMOOTH,
        .align = {.alpha_v = (float)o->alpha_v,
                  .alpha_w = (float)o->alpha_w,
                  .tau = 0.07f,
                  .include_self = o->contrast == CONTRAST_STANDARD,
                  .mean = o->contrast_reduction == REDUCE_MEAN},
        .learn_tau = learn,
        .sample_scope = o->eca_scope == ECA_SCOPE_SAMPLE,
        .mask_identical = o->mask_identical,
        .joint = o->backward == BACKWARD_JOINT,
    };
}

/* The 4-bit base: of the model folder, or LLaMA3-8B without a file. */
static bool open_base(PcrlJob *j, bool paper, Error *e)
{
    const TrainOptions *o = j->stage->o;
    j->base.quant = o->quant == QUANT_FP4 ? DTYPE_fp4 : DTYPE_nf4;
    j->base.nested = o->quant == QUANT_NF4;
    j->base.table = DTYPE_bf16;
    if (paper) return llama_create(&j->llama, &j->base, llama_3_8b, e);
    return weights_open(&j->base, j->stage->llama, e) && llama_open(&j->llama, &j->base, e);
}

static bool open_texts(PcrlStage *s, PcrlSet *set, Tape *t, const char *clues, Error *e)
{
    const TrainOptions *o = s->o;
    PcrlTextOptions options = {.clues = clues,
                               .merge = o->eca_unit == ECA_UNIT_SLICE,
                               .paper24 = o->entities == ENTITIES_24,
                               .resize = o->mask_resize == MASK_AREA ? RESIZE_AREA : RESIZE_NEAREST,
                               .keep = o->text_features == TEXTS_BERT};
    return pcrl_texts_open(&set->texts, t, set->data, s->prompt.bpe, &options, e);
}

static bool open_sets(PcrlJob *j, Trainer *t, Error *e)
{
    PcrlStage *s = j->stage;
    const float *w = j->step.weight;
    bool need = w[TERM_SEGMENT] != 0 || w[TERM_ENTITY] != 0;
    char path[PCRL_PATH];
    if (!open_texts(s, &s->train, &t->tape, need ? s->clues : NULL, e)) return false;
    if (need && !s->train.texts.clues)
        return error_set(e, ERROR_INPUT, "%s: no clue of any of the %d training studies", s->clues,
                         s->train.data->n);
    if (w[TERM_SEGMENT] != 0 && !s->train.texts.masks)
        return error_set(e, ERROR_INPUT, "%s: %lld clues, but not one mask (--weight-segment 0 trains without)",
                         s->clues, (long long)s->train.texts.clues);
    if (!s->validation.data) return true;
    train_path(path, s->o->validation, "clues.json");
    return open_texts(s, &s->validation, &t->tape, need ? path : NULL, e);
}

/* What head and adapter begin with: the warm-up's head, those of --init, or nothing. */
static bool open_start(PcrlJob *j, Error *e)
{
    const PcrlStage *s = j->stage;
    const TrainOptions *o = s->o;
    if (o->warmup_steps && !o->dry_run) return weights_open(&j->head, s->warm, e);
    if (!o->init) return true;
    char heads[PCRL_PATH];
    int rank;
    double alpha, dropout;
    train_path(heads, o->init, "pcrl_heads.safetensors");
    if (!weights_open(&j->head, heads, e) || !adapter_open(o->init, &j->adapter, &rank, &alpha, &dropout, e))
        return false;
    return (rank == o->lora_rank && alpha == o->lora_alpha && dropout == o->lora_dropout) ||
           error_set(e, ERROR_INPUT,
                     "%s/adapter_config.json: rank %d, alpha %g, dropout %g; expected %lld, %g, %g", o->init,
                     rank, alpha, dropout, (long long)o->lora_rank, o->lora_alpha, o->lora_dropout);
}

/* The frozen BERT and the Linears after it: those of the file that the head begins with, or new ones. */
static bool open_bert(PcrlJob *j, Trainer *t, bool paper, Error *e)
{
    const PcrlStage *s = j->stage;
    if (s->o->text_features != TEXTS_BERT) return true;
    if (paper ? !bert_texts_plan(&j->bert, &t->weights, &t->state, e)
              : !bert_texts_open(&j->bert, &t->weights, &t->state, s->bert, s->vocab, e))
        return false;
    j->bert.mean = s->o->bert_pool == BERT_MEAN;
    if (j->head.file && weights_entry(&j->head, "local_text_embed_bert.weight") &&
        !weights_open(&j->embeds, j->head.file->path, e))
        return false;
    return visual_add_bert(&j->visual, &j->embeds, j->bert.model.config.dim, e);
}

static void open_batch(PcrlJob *j)
{
    const TrainOptions *o = j->stage->o;
    size_t B = (size_t)(o->batch > o->validation_studies ? o->batch : o->validation_studies);
    j->study = calloc(B, sizeof *j->study);
    j->findings = calloc(B, sizeof *j->findings);
    j->n_findings = calloc(B, sizeof *j->n_findings);
    j->same = calloc(B, sizeof *j->same);
    j->findings_feature = calloc(B, sizeof *j->findings_feature);
    if (!j->study || !j->findings || !j->n_findings || !j->same || !j->findings_feature)
        die("out of host memory for a batch");
}

static bool open_job(PcrlJob *j, Trainer *t, Error *e)
{
    PcrlStage *s = j->stage;
    const TrainOptions *o = s->o;
    bool paper = o->dry_run && o->sizes == SIZES_PAPER;
    weights_init(&j->base, &t->weights, &t->state, NULL, 0);
    weights_init(&j->head, &t->weights, &t->state, &t->params, o->common.seed);
    weights_init(&j->adapter, &t->weights, &t->state, &t->params, o->common.seed);
    weights_init(&j->embeds, &t->weights, &t->state, &t->params, o->common.seed);
    j->head.trainable = j->adapter.trainable = j->embeds.trainable = true;
    if (!open_base(j, paper, e)) return false;
    if (!paper && bpe_vocab_size(s->prompt.bpe) > j->llama.config.vocab)
        return error_set(e, ERROR_INPUT, "%s/tokenizer.json: %d ids, but the language model has %lld", o->model,
                         bpe_vocab_size(s->prompt.bpe), (long long)j->llama.config.vocab);
    j->llama.recompute = (Recompute)o->recompute;
    if (!paper && !open_start(j, e)) return false;
    int64_t C = paper ? PAPER_CHANNELS : s->train.features.channels;
    if (!visual_create(&j->visual, &j->head, C, j->llama.config.dim, paper ? PAPER_EMBED : o->embed,
                       (HvMode)o->hv, e) ||
        !open_bert(j, t, paper, e) ||
        !llama_add_lora(&j->llama, &j->adapter, (int)o->lora_rank, (float)o->lora_alpha, (float)o->lora_dropout,
                        e))
        return false;
    params_alloc(&t->params);
    train_buffers(t, &j->head);
    open_batch(j);
    if (!weights_fill(&j->head, e) || !weights_fill(&j->embeds, e) || !weights_fill(&j->adapter, e))
        return false;
    j->model = (StepModel){&j->visual, &j->llama, &s->prompt.pcrl, &s->text.pcrl};
    return paper || open_sets(j, t, e);
}

static void close_job(PcrlJob *j)
{
    Weights *part[] = {&j->adapter, &j->embeds, &j->head, &j->base};
    for (int i = 0; i < 4; i++) weights_close(part[i]);
    bert_texts_close(&j->bert);
    free(j->study);
    free(j->findings);
    free(j->n_findings);
    free(j->same);
    free(j->findings_feature);
    free(j->clue_feature);
    free(j->clue);
}

static bool joint(PcrlStage *s, Error *e)
{
    const TrainOptions *o = s->o;
    PcrlJob j = {.stage = s, .step = step_options(o)};
    TrainerOptions options = train_trainer(o, s->train.data ? s->train.data->n : 0);
    char folder[PCRL_PATH];
    train_path(folder, o->out, "pcrl");
    options.stage = "pcrl";
    options.folder = folder;
    name_terms(&j.step, &options);
    options.floor = 0.01;
    options.weight_decay = 0.01;
    options.beta2 = 0.999;
    options.validate = s->validation.data ? pcrl_validate : NULL;
    Trainer t;
    bool ok = trainer_open(&t, &options, &o->common, e) && open_job(&j, &t, e) && train_run(&t, loss, &j, e);
    if (ok && !o->dry_run)
        ok = trainer_load_best(&t, e) &&
             weights_save((Weights *[]){&j.head, &j.embeds}, 2, false, NULL, s->heads, e) &&
             adapter_save(o->model, &j.adapter, (int)o->lora_rank, o->lora_alpha, o->lora_dropout, e);
    close_job(&j);
    trainer_close(&t);
    return ok;
}

/* The width of a ResNet's grid features, from its shapes. */
static bool resnet_channels(const char *path, int64_t *channels, Error *e)
{
    enum { CAPACITY = 1 << 30 };
    Arena weights, state;
    Weights part;
    Resnet net;
    if (!arena_open(&weights, "weights", &backend_plan, CAPACITY, e)) return false;
    bool ok = arena_open(&state, "state", &backend_plan, CAPACITY, e);
    if (ok) {
        weights_init(&part, &weights, &state, NULL, 0);
        ok = weights_open(&part, path, e) && resnet_open(&net, &part, e);
        if (ok) *channels = net.channels;
        weights_close(&part);
        arena_close(&state);
    }
    arena_close(&weights);
    return ok;
}

static bool open_set(PcrlStage *s, PcrlSet *set, const char *folder, const char *name, int limit,
                     const Backend *b, Error *e)
{
    set->data = train_data_open(folder, limit, false, s->o->warmup_steps > 0, e);
    if (!set->data) return false;
    if (s->o->dry_run) return resnet_channels(s->resnet, &set->features.channels, e);
    return features_open(&set->features, s->o->cache, name, s->resnet, set->data, b, e);
}

static void close_set(PcrlSet *set)
{
    features_close(&set->features);
    pcrl_texts_close(&set->texts);
    train_data_close(set->data);
}

/* Data, features and prompts; the paper's sizes need none of them. */
static bool open_stage(PcrlStage *s, Error *e)
{
    const TrainOptions *o = s->o;
    const Backend *backend = backend_open(o->common.device, e);
    if (!backend || (!o->dry_run && !file_make_folder(o->out, e)) || !prompt_open(&s->prompt, o->model, e) ||
        !text_prompt_open(&s->text, &s->prompt, o->instruction, o->text_prompt == PROMPT_RELEASE,
                          o->text_pool == POOL_PADDED, e) ||
        !open_set(s, &s->train, o->data, "train", (int)o->studies, backend, e))
        return false;
    return !o->validation || !o->validate_every ||
           open_set(s, &s->validation, o->validation, "validation", (int)o->validation_studies, backend, e);
}

/* Found missing before the features are computed. */
static bool find_bert(PcrlStage *s, Error *e)
{
    const TrainOptions *o = s->o;
    if (o->text_features != TEXTS_BERT) return true;
    if (o->bert)
        snprintf(s->bert, sizeof s->bert, "%s", o->bert);
    else
        train_weights(s->bert, o->model, "medclip");
    train_path(s->vocab, o->model, "vocab.txt");
    const char *missing = access(s->bert, F_OK) ? s->bert : access(s->vocab, F_OK) ? s->vocab : NULL;
    return !missing || error_set(e, ERROR_INPUT,
                                 "%s: missing; --text-features bert reads texts with the BERT of the model "
                                 "folder's medclip or of --bert, and its vocab.txt",
                                 missing);
}

/* The same for clues: sets without a truth block have none until pcrl-retrieve finds them. */
static bool find_clues(const PcrlStage *s, Error *e)
{
    const TrainOptions *o = s->o;
    StepOptions step = step_options(o);
    char beside[PCRL_PATH];
    const char *missing = access(s->clues, F_OK) ? s->clues : NULL;
    if (step.weight[TERM_SEGMENT] == 0 && step.weight[TERM_ENTITY] == 0) return true;
    if (!missing && o->validation && o->validate_every) {
        train_path(beside, o->validation, "clues.json");
        if (access(beside, F_OK)) missing = beside;
    }
    return !missing || error_set(e, ERROR_IO,
                                 "%s: missing; pcrl-retrieve finds a data set's clues (--weight-segment 0 "
                                 "--weight-entity 0 train without)",
                                 missing);
}

bool train_pcrl(const TrainOptions *o, Error *e)
{
    PcrlStage *s = calloc(1, sizeof *s);
    if (!s) die("out of host memory");
    s->o = o;
    bool paper = o->dry_run && o->sizes == SIZES_PAPER;
    if (!paper) {
        train_weights(s->resnet, o->model, "resnet");
        train_weights(s->llama, o->model, "llama");
        train_path(s->heads, o->model, "pcrl_heads.safetensors");
        train_path(s->warm, o->out, "warmup.safetensors");
        if (o->clues)
            snprintf(s->clues, sizeof s->clues, "%s", o->clues);
        else
            train_path(s->clues, o->data, "clues.json");
    }
    bool ok = paper || (find_bert(s, e) && find_clues(s, e) && open_stage(s, e));
    ok = ok && (!o->warmup_steps || o->dry_run || pcrl_warmup(s, e));
    ok = ok && joint(s, e);
    close_set(&s->validation);
    close_set(&s->train);
    text_prompt_close(&s->text);
    prompt_close(&s->prompt);
    free(s);
    return ok;
}
