#include "tools/system.h"
#include "tools/adapter.h"
#include "tools/features.h"
#include "tools/memory.h"
#include "tools/train.h"
#include <stdlib.h>
#include <string.h>

static bool open_part(Weights *w, System *s, const char *folder, const char *stem, Error *e)
{
    char path[4096];
    train_weights(path, folder, stem);
    weights_init(w, &s->weights, &s->state, NULL, 0);
    return weights_open(w, path, e);
}

static bool open_models(System *s, const char *folder, Error *e)
{
    int rank;
    double alpha, dropout;
    if (!open_part(&s->resnet_part, s, folder, "resnet", e) || !resnet_open(&s->resnet, &s->resnet_part, e))
        return false;
    s->side = (int)weights_meta_int(&s->resnet_part, "resnet.side", 0, 0, 16384);
    if (!open_part(&s->llama_part, s, folder, "llama", e) || !llama_open(&s->llama, &s->llama_part, e))
        return false;
    weights_init(&s->adapter_part, &s->weights, &s->state, NULL, 0);
    if (!adapter_open(folder, &s->adapter_part, &rank, &alpha, &dropout, e) ||
        !llama_add_lora(&s->llama, &s->adapter_part, rank, (float)alpha, (float)dropout, e))
        return false;
    if (!open_part(&s->head_part, s, folder, "pcrl_heads", e) || !visual_open(&s->visual, &s->head_part, e))
        return false;
    if (s->visual.channels != s->resnet.channels || s->visual.dim != s->llama.config.dim)
        return error_set(
            e, ERROR_INPUT,
            "%s/pcrl_heads.safetensors: the head joins %lld channels to width %lld, expected %lld and %lld",
            folder, (long long)s->visual.channels, (long long)s->visual.dim, (long long)s->resnet.channels,
            (long long)s->llama.config.dim);
    if (!prompt_open(&s->prompt, folder, e)) return false;
    if (bpe_vocab_size(s->prompt.bpe) > s->llama.config.vocab)
        return error_set(e, ERROR_INPUT, "%s/tokenizer.json: %d ids, but the language model has %lld", folder,
                         bpe_vocab_size(s->prompt.bpe), (long long)s->llama.config.vocab);
    return true;
}

bool system_open(System *s, const char *folder, const CliCommon *common, bool plan, Error *e)
{
    memset(s, 0, sizeof *s);
    const Backend *backend = backend_open(plan ? "plan" : common->device, e);
    const size_t capacity = common->memory ? common->memory : (size_t)16 << 30;
    DType compute;
    bool ok = backend && cli_compute(common, backend, plan, &compute, e) &&
              arena_open(&s->weights, "weights", backend, capacity, e) &&
              arena_open(&s->state, "state", backend, capacity, e) &&
              arena_open(&s->step, "step", backend, capacity, e) &&
              arena_open(&s->scratch, "scratch", backend, capacity, e);
    if (ok) {
        tape_init(&s->tape, &s->step, &s->scratch, common->seed);
        s->tape.compute = compute;
        ok = open_models(s, folder, e);
    }
    if (!ok) system_close(s);
    return ok;
}

void system_close(System *s)
{
    prompt_close(&s->prompt);
    Weights *part[] = {&s->resnet_part, &s->llama_part, &s->adapter_part, &s->head_part};
    for (int i = 0; i < 4; i++) weights_close(part[i]);
    arena_close(&s->scratch);
    arena_close(&s->step);
    arena_close(&s->state);
    arena_close(&s->weights);
    memset(s, 0, sizeof *s);
}

bool system_check_size(const System *s, int width, int height, Error *e)
{
    if (width != height || (s->side && width != s->side))
        return error_set(e, ERROR_INPUT, "slices of %dx%d, but the model takes %s%dx%d (pcrl-import --size)",
                         width, height, s->side ? "" : "square ones, for example ", s->side ? s->side : 512,
                         s->side ? s->side : 512);
    return resnet_check_side(&s->resnet, width, e);
}

void system_print_memory(const System *s, FILE *out)
{
    memory_print((const Arena *const[]){&s->weights, &s->state, &s->step, &s->scratch}, "keys and values", out);
}

int64_t system_token_count(const System *s) { return hv_slots(s->visual.mode) * s->visual.dim; }

bool system_check_segmentation(const System *s, Error *e)
{
    return s->visual.up.weight ||
           error_set(e, ERROR_INPUT, "%s: no segmentation head (local_seg) in it", s->head_part.file->path);
}

void system_visual_tokens(System *s, const uint8_t *pixel, int width, int height, float *hv, float *prob)
{
    Tensor *grid, *pooled;
    study_features(&s->tape, &s->resnet, pixel, width, height, &grid, &pooled);
    VisualTokens v = visual_tokens(&s->tape, &s->visual, grid, pooled, false, false);
    tensor_download(v.hv, hv); /* (1,slots,D) */
    if (prob) {
        Tensor *logit = visual_segment(&s->tape, &s->visual, v.V); /* (24,14,14,1) */
        tensor_download(op_sigmoid(&s->tape, logit), prob);
    }
    tape_reset(&s->tape);
}

bool system_reports(System *s, const float *hv, int64_t B, const SamplerOptions *o, char **text, Error *e)
{
    ArenaMark mark = arena_mark(&s->state);
    int64_t slots = hv_slots(s->visual.mode);
    LlamaCache cache = llama_cache(&s->state, &s->llama, B,
                                   pcrl_prefix_length(&s->prompt.pcrl, slots) + o->max_tokens, s->tape.compute);
    int32_t *ids = malloc((size_t)(B * o->max_tokens) * sizeof *ids);
    int *n = malloc((size_t)B * sizeof *n);
    if (!ids || !n) die("out of host memory for %lld reports", (long long)B);
    Tensor *x = tape_tensor(&s->tape, DTYPE_f32, 3, (int64_t[]){B, slots, s->visual.dim});
    tensor_upload(x, hv);
    SamplerOptions own = *o;
    own.stop = &s->prompt.eos;
    own.n_stop = 1;
    pcrl_generate(&s->tape, &s->llama, &cache, x, &s->prompt.pcrl, B, &own, ids, n);
    tape_reset(&s->tape);
    arena_pop(&s->state, mark);
    bool ok = true;
    for (int64_t b = 0; b < B; b++) {
        text[b] = NULL;
        ok = ok && bpe_decode(s->prompt.bpe, ids + b * o->max_tokens, n[b], false, &text[b], NULL, e);
    }
    for (int64_t b = 0; !ok && b < B; b++) {
        free(text[b]);
        text[b] = NULL;
    }
    free(ids);
    free(n);
    return ok;
}
