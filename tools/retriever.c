#include "tools/retriever.h"
#include "data/medclip_image.h"
#include "tools/train.h"
#include <stdlib.h>
#include <string.h>

static bool images(void *user, const Image *item, int n, float *out, Error *e)
{
    Retriever *r = user;
    int64_t S = r->medclip.image, each = S * S * 3;
    for (int i = 0; i < n; i++)
        if (!medclip_pixels(&item[i], (int)S, r->pixels + i * each, e)) return false;
    Tensor *x = tape_tensor(&r->tape, DTYPE_f32, 4, (int64_t[]){n, S, S, 3});
    tensor_upload(x, r->pixels);
    tensor_download(medclip_image(&r->tape, &r->medclip, x), out);
    tape_reset(&r->tape);
    return true;
}

static bool text(void *user, const char *query, float *out, Error *e)
{
    Retriever *r = user;
    int64_t most = r->medclip.bert.config.positions;
    int32_t *ids;
    int n;
    if (most > RETRIEVER_MAX_TEXT) most = RETRIEVER_MAX_TEXT;
    if (!wordpiece_encode(&r->words, query, strlen(query), (int)most, &ids, &n, e)) return false;
    Tensor *x = tape_tensor(&r->tape, DTYPE_i32, 2, (int64_t[]){1, n});
    tensor_upload(x, ids);
    tensor_download(medclip_text(&r->tape, &r->medclip, x), out);
    tape_reset(&r->tape);
    free(ids);
    return true;
}

static bool open_model(Retriever *r, const char *folder, Error *e)
{
    char path[4096];
    train_weights(path, folder, "medclip");
    weights_init(&r->part, &r->weights, &r->state, NULL, 0);
    if (!weights_open(&r->part, path, e) || !medclip_open(&r->medclip, &r->part, e)) return false;
    const Medclip *m = &r->medclip;
    int64_t channels = m->is_resnet ? m->resnet.config.in_channels : m->swin.config.channels;
    if (channels != 3 || m->bert.config.positions < 2)
        return error_set(e, ERROR_INPUT,
                         "%s: images of %lld channels and %lld positions, expected 3 and 2 or more", path,
                         (long long)channels, (long long)m->bert.config.positions);
    train_path(path, folder, "vocab.txt");
    if (!wordpiece_open(&r->words, path, e)) return false;
    if (r->words.n > m->bert.config.vocab)
        return error_set(e, ERROR_INPUT, "%s: %d tokens, but the text tower has %lld", path, r->words.n,
                         (long long)m->bert.config.vocab);
    return true;
}

bool retriever_open(Retriever *r, const char *folder, int batch, const CliCommon *common, Error *e)
{
    memset(r, 0, sizeof *r);
    const Backend *backend = backend_open(common->device, e);
    const size_t capacity = common->memory ? common->memory : (size_t)16 << 30;
    DType compute;
    bool ok = backend && cli_compute(common, backend, false, &compute, e) &&
              arena_open(&r->weights, "weights", backend, capacity, e) &&
              arena_open(&r->state, "state", backend, capacity, e) &&
              arena_open(&r->step, "step", backend, capacity, e) &&
              arena_open(&r->scratch, "scratch", backend, capacity, e);
    if (ok) {
        tape_init(&r->tape, &r->step, &r->scratch, common->seed);
        r->tape.compute = compute;
        ok = open_model(r, folder, e);
    }
    if (ok) {
        size_t each = (size_t)(r->medclip.image * r->medclip.image * 3);
        r->pixels = malloc((size_t)batch * each * sizeof *r->pixels);
        ok = r->pixels || error_set(e, ERROR_MEMORY, "no memory for %d pictures of %lld px", batch,
                                    (long long)r->medclip.image);
    }
    if (!ok) {
        retriever_close(r);
        return false;
    }
    r->model = (RetrieveModel){r, (int)r->medclip.embed, batch, images, text};
    return true;
}

void retriever_close(Retriever *r)
{
    free(r->pixels);
    wordpiece_close(&r->words);
    weights_close(&r->part);
    arena_close(&r->scratch);
    arena_close(&r->step);
    arena_close(&r->state);
    arena_close(&r->weights);
    memset(r, 0, sizeof *r);
}
