/* SAM for pcrl-masks: from a file, or of random weights. */
#include "data/sha256.h"
#include "tools/masks.h"
#include "tools/train.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char mask_model_sizes[] = "vit-b, vit-l or vit-h";

/* Table 1 of Dosovitskiy et al. 2021, and which blocks attend globally (Li et al. 2022). */
typedef struct Size {
    const char *name;
    int64_t width, heads;
    int depth;
    uint64_t global;
} Size;
static const Size sizes[] = {
    {"vit-b", 768, 12, 12, 1 << 2 | 1 << 5 | 1 << 8 | 1 << 11},
    {"vit-l", 1024, 16, 24, 1 << 5 | 1 << 11 | 1 << 17 | 1 << 23},
    {"vit-h", 1280, 16, 32, 1u << 7 | 1u << 15 | 1u << 23 | 1u << 31},
};

static const Size *find_size(const char *name)
{
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (!strcmp(sizes[i].name, name)) return &sizes[i];
    return NULL;
}

bool mask_model_known(const char *random) { return find_size(random) != NULL; }

bool mask_model_size(const char *name, SamEncoderConfig *encoder, SamDecoderConfig *decoder)
{
    const Size *s = find_size(name);
    if (!s) return false;
    *encoder = (SamEncoderConfig){.image = 1024,
                                  .patch = 16,
                                  .width = s->width,
                                  .heads = s->heads,
                                  .mlp = 4 * s->width,
                                  .window = 14,
                                  .out = 256,
                                  .global = s->global,
                                  .depth = s->depth};
    *decoder = (SamDecoderConfig){.image = 1024,
                                  .dim = 256,
                                  .heads = 8,
                                  .inner = 128,
                                  .mlp = 2048,
                                  .masks = 4,
                                  .iou_hidden = 256,
                                  .mask_hidden = 16};
    return true;
}

static bool open_random(MaskModel *m, const char *name, Error *e)
{
    SamEncoderConfig encoder;
    SamDecoderConfig decoder;
    if (!mask_model_size(name, &encoder, &decoder)) die("masks: no SAM of size %s", name);
    return sam_encoder_create(&m->encoder, &m->part, encoder, e) &&
           sam_decoder_create(&m->decoder, &m->part, decoder, e);
}

static bool open_file(MaskModel *m, const char *folder, Error *e)
{
    char path[4096];
    train_weights(path, folder, "sam");
    if (!weights_open(&m->part, path, e) || !sam_encoder_open(&m->encoder, &m->part, e) ||
        !sam_decoder_open(&m->decoder, &m->part, e))
        return false;
    if (m->encoder.config.out != m->decoder.config.dim)
        return error_set(e, ERROR_INPUT, "%s: the encoder ends with %lld channels, the decoder takes %lld",
                         path, (long long)m->encoder.config.out, (long long)m->decoder.config.dim);
    if (m->decoder.config.masks < 2)
        return error_set(e, ERROR_INPUT,
                         "%s: tensor mask_decoder.mask_tokens.weight: one mask token, expected more", path);
    sam_mask_settings_read(&m->settings, &m->part);
    return weights_ok(&m->part, e);
}

/* The step arena has what --memory leaves beside weights and the scratch memory of kernels. */
static bool open_step(MaskModel *m, uint64_t memory, Error *e)
{
    const Backend *backend = m->weights.backend;
    uint64_t taken = m->weights.used + m->state.used, scratch = memory ? memory / 8 : (uint64_t)4 << 30,
             step = memory ? memory - scratch : (uint64_t)4 << 30;
    if (memory && step < taken + (64 << 20))
        return error_set(e, ERROR_MEMORY, "--memory %llu MB: the weights alone take %llu MB of it",
                         (unsigned long long)(memory >> 20), (unsigned long long)(taken >> 20));
    return arena_open(&m->step, "step", backend, memory ? step - taken : step, e) &&
           arena_open(&m->scratch, "scratch", backend, scratch, e);
}

bool mask_model_open(MaskModel *m, const MaskOptions *o, Error *e)
{
    memset(m, 0, sizeof *m);
    m->settings = sam_mask_settings();
    const Backend *backend = backend_open(o->common.device, e);
    const size_t room = (size_t)16 << 30;
    DType compute;
    bool ok = backend && cli_compute(&o->common, backend, false, &compute, e) &&
              arena_open(&m->weights, "weights", backend, room, e) &&
              arena_open(&m->state, "state", backend, room, e);
    if (ok) {
        weights_init(&m->part, &m->weights, &m->state, NULL, o->common.seed);
        ok = o->random ? open_random(m, o->random, e) : open_file(m, o->model, e);
    }
    if (ok) sam_predictor_open(&m->predictor, &m->decoder, &m->weights);
    ok = ok && open_step(m, o->common.memory, e);
    for (int i = 0; ok && i < SAM_MASK_FIELDS; i++)
        if (o->set[i]) sam_mask_set(&m->settings, i, o->value[i]);
    m->settings.batch = o->batch;
    ok = ok && sam_mask_settings_check(&m->settings, e);
    if (!ok) {
        mask_model_close(m);
        return false;
    }
    tape_init(&m->tape, &m->step, &m->scratch, o->common.seed);
    m->tape.compute = compute;
    m->source = sam_mask_source(&m->segmenter, &m->encoder, &m->predictor);
    return true;
}

void mask_model_close(MaskModel *m)
{
    weights_close(&m->part);
    arena_close(&m->scratch);
    arena_close(&m->step);
    arena_close(&m->state);
    arena_close(&m->weights);
    memset(m, 0, sizeof *m);
}

static bool hash_file(const char *path, char hex[65], Error *e)
{
    static uint8_t bytes[1 << 16];
    FILE *f = fopen(path, "rb");
    if (!f) return error_set(e, ERROR_IO, "%s: cannot open", path);
    Sha256 s;
    sha256_open(&s);
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, f)) > 0;) sha256_add(&s, bytes, n);
    bool ok = !ferror(f) || error_set(e, ERROR_IO, "%s: cannot read", path);
    fclose(f);
    sha256_close(&s, hex);
    return ok;
}

json_t *mask_settings_json(const MaskModel *m, const MaskOptions *o, Error *e)
{
    char model[80];
    if (o->random)
        snprintf(model, sizeof model, "random %s, seed %llu", o->random, (unsigned long long)o->common.seed);
    else if (!hash_file(m->part.file->path, model, e))
        return NULL;
    json_t *j = json_object();
    for (int i = 0; i < SAM_MASK_FIELDS; i++) {
        double v = sam_mask_get(&m->settings, i);
        json_object_set_new(j, sam_mask_field[i].name,
                            sam_mask_field[i].whole ? json_integer((json_int_t)v) : json_real(v));
    }
    if (!j || json_object_set_new(j, "model", json_string(model)) ||
        json_object_size(j) != SAM_MASK_FIELDS + 1) {
        json_decref(j);
        error_set(e, ERROR_MEMORY, "no memory for the settings");
        return NULL;
    }
    return j;
}
