#include "tools/release.h"
#include "data/file.h"
#include "data/safetensors.h"
#include "tools/adapter.h"
#include "tools/features.h"
#include "tools/train.h"
#include <stdlib.h>
#include <string.h>

/* ---- the adapter ---- */

enum { MAX_LAYERS = 1000 };

/* ...layers.3.self_attn.q_proj.lora_A.default.weight: layer 3, part 0 (q A, q B, v A, v B). */
static bool parse_lora(const char *name, int *layer, int *part)
{
    char projection, matrix;
    int end = 0;
    const char *at = strstr(name, "layers.");
    if (!at || sscanf(at, "layers.%d.self_attn.%c_proj.lora_%c%n", layer, &projection, &matrix, &end) != 3 ||
        (strcmp(at + end, ".default.weight") && strcmp(at + end, ".weight")))
        return false;
    *part = 2 * (projection == 'v') + (matrix == 'B');
    return *layer >= 0 && *layer < MAX_LAYERS && (projection == 'q' || projection == 'v') &&
           (matrix == 'A' || matrix == 'B');
}

typedef struct Adapter {
    const TensorEntry *entry[MAX_LAYERS][4]; /* q A (r,D), q B (out,r), v A, v B */
    int layers;
    int64_t rank;
} Adapter;

static const char part_name[4][16] = {"q_proj.lora_A", "q_proj.lora_B", "v_proj.lora_A", "v_proj.lora_B"};

static bool find_adapter(const TensorFile *f, Adapter *a, Error *e)
{
    for (int i = 0; i < f->n; i++) {
        int layer, part;
        if (!strstr(f->entry[i].name, "lora_")) continue;
        if (!parse_lora(f->entry[i].name, &layer, &part))
            return error_set(e, ERROR_INPUT,
                             "%s: tensor \"%.120s\": expected a name like "
                             "language_model.model.layers.0.self_attn.q_proj.lora_A.default.weight",
                             f->path, f->entry[i].name);
        if (a->entry[layer][part])
            return error_set(e, ERROR_INPUT, "%s: layer %d's %s is there twice", f->path, layer,
                             part_name[part]);
        a->entry[layer][part] = &f->entry[i];
        if (layer >= a->layers) a->layers = layer + 1;
    }
    return a->layers || error_set(e, ERROR_INPUT,
                                  "%s: no tensor named lora_A or lora_B: not the authors' checkpoint", f->path);
}

/* All there, all of one rank. */
static bool check_adapter(const TensorFile *f, Adapter *a, Error *e)
{
    for (int i = 0; i < a->layers; i++)
        for (int part = 0; part < 4; part++) {
            char shape[200];
            const TensorEntry *t = a->entry[i][part], *first = a->entry[0][0];
            if (!t)
                return error_set(e, ERROR_INPUT, "%s: layer %d's %s is missing", f->path, i, part_name[part]);
            if (!i && !part) a->rank = t->ndim ? t->dim[0] : 0;
            bool matrix = t->ndim == 2 && t->dim[0] > 0 && t->dim[1] > 0 && a->rank <= 4096;
            bool fits = matrix &&
                        (part % 2 ? t->dim[1] == a->rank : t->dim[0] == a->rank && t->dim[1] == first->dim[1]);
            if (!fits)
                return error_set(e, ERROR_INPUT, "%s: layer %d's %s %s does not go with layer 0's rank of %lld",
                                 f->path, i, part_name[part],
                                 tensor_file_shape(t->ndim, t->dim, shape, sizeof shape), (long long)a->rank);
        }
    return true;
}

typedef struct Lent {
    const TensorFile *file;
    const TensorEntry *entry;
} Lent;

static bool give(void *context, uint64_t from, size_t n, void *to, Error *e)
{
    const Lent *l = context;
    return tensor_file_read_f32_part(l->file, l->entry, (int64_t)(from / sizeof(float)),
                                     (int64_t)(n / sizeof(float)), to, e);
}

/* Under PEFT's names, as f32. */
static bool write_adapter(const TensorFile *f, const Adapter *a, const ReleaseOptions *o, Error *e)
{
    char path[4096], name[128], number[32];
    StWriter *w = st_writer_new();
    Lent *lent = calloc((size_t)a->layers * 4, sizeof *lent);
    bool ok = lent || error_set(e, ERROR_MEMORY, "%s: out of memory", o->to);
    for (int i = 0; ok && i < 4 * a->layers; i++) {
        lent[i] = (Lent){f, a->entry[i / 4][i % 4]};
        snprintf(name, sizeof name, "base_model.model.model.layers.%d.self_attn.%s.weight", i / 4,
                 part_name[i % 4]);
        st_writer_add_from(w, name, ST_F32, 2, lent[i].entry->dim, give, &lent[i]);
    }
    snprintf(number, sizeof number, "%.9g", o->alpha);
    st_writer_meta(w, "lora.alpha", number);
    snprintf(number, sizeof number, "%.9g", o->dropout);
    st_writer_meta(w, "lora.dropout", number);
    train_path(path, o->to, "adapter_model.safetensors");
    ok = ok && st_writer_save(w, path, e) && adapter_save_config(o->to, (int)a->rank, o->alpha, o->dropout, e);
    st_writer_free(w);
    free(lent);
    return ok;
}

static bool import_adapter(const ReleaseOptions *o, Error *e)
{
    TensorFile *f = tensor_file_open(o->from, e);
    Adapter *a = f ? calloc(1, sizeof *a) : NULL;
    if (f && !a) error_set(e, ERROR_MEMORY, "%s: out of memory", o->from);
    bool ok = a && find_adapter(f, a, e) && check_adapter(f, a, e) && file_make_folder(o->to, e) &&
              write_adapter(f, a, o, e);
    if (ok) printf("%s: LoRA of rank %lld on q and v of %d layers\n", o->to, (long long)a->rank, a->layers);
    free(a);
    tensor_file_close(f);
    return ok;
}

/* ---- the head ---- */

typedef struct Head {
    const ReleaseOptions *o;
    Arena weights, state, step, scratch;
    Weights part, resnet_part;
    Visual visual;
    Resnet resnet;
    Tape tape;
    int missing; /* statistics */
} Head;

static bool open_head(Head *h, Error *e)
{
    const Backend *backend = backend_open(h->o->common->device, e);
    const size_t room = (size_t)64 << 30;
    if (!backend || !arena_open(&h->weights, "weights", backend, room, e) ||
        !arena_open(&h->state, "state", backend, room, e) || !arena_open(&h->step, "step", backend, room, e) ||
        !arena_open(&h->scratch, "scratch", backend, room, e))
        return false;
    tape_init(&h->tape, &h->step, &h->scratch, 0);
    weights_init(&h->part, &h->weights, &h->state, NULL, 0);
    weights_init(&h->resnet_part, &h->weights, &h->state, NULL, 0);
    h->part.fresh_buffers = true;
    int64_t local[2] = {0}, embed[2] = {0};
    if (!weights_open(&h->part, h->o->from, e)) return false;
    if (!weights_shape(&h->part, 2, local, "local_visual_projector.weight") ||
        !weights_shape(&h->part, 2, embed, "local_visual_embed.weight"))
        return weights_ok(&h->part, e);
    if (!visual_create(&h->visual, &h->part, local[1], local[0], embed[0], h->o->hv, e)) return false;
    for (int i = 0; i < h->part.n; i++)
        h->missing +=
            h->part.item[i].spec.kind == WEIGHT_BUFFER && !weights_entry(&h->part, "%s", h->part.item[i].name);
    return true;
}

static void close_head(Head *h)
{
    weights_close(&h->resnet_part);
    weights_close(&h->part);
    arena_close(&h->scratch);
    arena_close(&h->step);
    arena_close(&h->state);
    arena_close(&h->weights);
}

/* ---- its statistics ---- */

static bool open_resnet(Head *h, const TrainData *d, Error *e)
{
    char path[4096];
    train_weights(path, h->o->to, "resnet");
    if (!weights_open(&h->resnet_part, path, e) || !resnet_open(&h->resnet, &h->resnet_part, e) ||
        !resnet_check_side(&h->resnet, d->width, e))
        return false;
    return h->resnet.channels == h->visual.channels ||
           error_set(e, ERROR_INPUT, "%s: features of %lld channels, the head in %s takes %lld", path,
                     (long long)h->resnet.channels, h->o->from, (long long)h->visual.channels);
}

/* Studies [from, from + B) through local_res in training mode. */
static bool pass_batch(Head *h, const TrainData *d, int from, int B, Error *e)
{
    Tape *t = &h->tape;
    const int64_t C = h->visual.channels, slices = CTRG_SLICES;
    Tensor *grid = tape_tensor(t, DTYPE_f32, 4, (int64_t[]){B * slices, GRID, GRID, C}), *one, *pooled;
    for (int i = 0; i < B; i++) {
        uint8_t *pixel;
        if (!train_data_read(d, from + i, &pixel, e)) return false;
        ArenaMark mark = arena_mark(&h->step);
        study_features(t, &h->resnet, pixel, d->width, d->height, &one, &pooled);
        free(pixel);
        size_t bytes = tensor_bytes(one);
        grid->backend->move((char *)grid->data + (size_t)i * bytes, one->data, bytes);
        arena_pop(&h->step, mark);
    }
    visual_local(t, &h->visual, grid, true);
    tape_reset(t);
    return true;
}

static bool recalibrate(Head *h, Error *e)
{
    const ReleaseOptions *o = h->o;
    TrainData *d = train_data_open(o->data, (int)o->studies, false, false, e);
    bool ok = d && open_resnet(h, d, e);
    int batches = 0;
    CliProgress p = cli_progress_start("statistics", 0, ok ? d->n : 0);
    for (int from = 0; ok && from < d->n; from += (int)o->batch) {
        int B = d->n - from < o->batch ? d->n - from : (int)o->batch;
        h->visual.momentum = 1.0f / (float)++batches;
        ok = pass_batch(h, d, from, B, e);
        cli_progress(&p, from + B, NULL);
    }
    cli_progress_end(&p);
    if (ok) {
        weights_set_meta(&h->part, "visual.statistics", "%d studies", d->n);
        printf("%s: BatchNorm statistics of %d studies, %d batches\n", o->to, d->n, batches);
    }
    train_data_close(d);
    return ok;
}

/* Tensors that are neither head nor adapter, once as a number. */
static void note_others(const Head *h)
{
    int n = 0, at = 0;
    const TensorEntry *first = NULL, *t;
    while ((t = tensor_file_unasked(h->part.file, &at)))
        if (!strstr(t->name, "lora_") && !n++) first = t;
    if (n)
        cli_note("%s: %d tensors are no part of the model and left out: %.80s ...", h->o->from, n, first->name);
}

static bool import_head(const ReleaseOptions *o, Error *e)
{
    char path[4096];
    Head h = {.o = o};
    bool ok = open_head(&h, e);
    if (ok) note_others(&h);
    if (ok && o->data) {
        ok = recalibrate(&h, e);
    } else if (ok && h.missing) {
        weights_set_meta(&h.part, "visual.statistics", "missing");
        cli_note("%s: BatchNorm's running statistics (%d tensors) are not in the file: means are taken as 0, "
                 "variances as "
                 "1, and reports will be poor; --recalibrate DATA finds them on training studies",
                 o->from, h.missing);
    }
    train_path(path, o->to, "pcrl_heads.safetensors");
    ok = ok && weights_save((Weights *[]){&h.part}, 1, true, NULL, path, e);
    if (ok)
        printf("%s: head of %lld channels, width %lld, alignment %lld, %s\n", o->to,
               (long long)h.visual.channels, (long long)h.visual.dim, (long long)h.visual.embed,
               hv_name(o->hv));
    close_head(&h);
    return ok;
}

bool release_import(const ReleaseOptions *o, Error *e) { return import_adapter(o, e) && import_head(o, e); }
