#include "tools/features.h"
#include "data/file.h"
#include "tensor/half.h"
#include "tools/cli.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t hash(uint64_t h, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) h = (h ^ ((const unsigned char *)bytes)[i]) * 1099511628211ull;
    return h;
}

/* Ties a cache to its sources: the ResNet file's bytes, and every study's number, seed and size. */
static bool source_key(char key[32], const char *resnet, const TrainData *d, Error *e)
{
    uint8_t *bytes;
    size_t n;
    if (!file_read(resnet, (size_t)1 << 32, &bytes, &n, e)) return false;
    uint64_t h = hash(14695981039346656037ull, bytes, n);
    free(bytes);
    for (int k = 0; k < d->n; k++) {
        const CtrgStudy *s = &d->ctrg->study[k];
        h = hash(h, &s->id, sizeof s->id);
        h = hash(h, &s->seed, sizeof s->seed);
        h = hash(h, &s->width, sizeof s->width);
        h = hash(h, s->findings, strlen(s->findings));
    }
    snprintf(key, 32, "%016llx", (unsigned long long)h);
    return true;
}

void slices_normalise(const uint8_t *pixel, size_t n, int64_t channels, float *x)
{
    static const float mean[3] = {0.485f, 0.456f, 0.406f}, sd[3] = {0.229f, 0.224f, 0.225f};
    for (size_t i = 0; i < n; i++)
        for (int64_t c = 0; c < channels; c++)
            x[i * (size_t)channels + (size_t)c] =
                channels == 3 ? ((float)pixel[i] / 255 - mean[c]) / sd[c] : slice_normal(pixel[i]);
}

void study_features(Tape *t, const Resnet *net, const uint8_t *pixel, int width, int height, Tensor **grid,
                    Tensor **pooled)
{
    int64_t C = net->config.in_channels;
    Tensor *x = tape_tensor(t, DTYPE_f32, 4, (int64_t[]){CTRG_SLICES, height, width, C});
    float *host = malloc((size_t)tensor_len(x) * sizeof *host);
    if (!host) die("out of host memory for a study");
    slices_normalise(pixel, (size_t)width * (size_t)height * CTRG_SLICES, C, host);
    tensor_upload(x, host);
    free(host);
    resnet_forward(t, net, x, false, grid, pooled);
}

typedef struct Machine {
    Arena weights, state, step, scratch;
    Weights part;
    Resnet net;
    Tape tape;
} Machine;

static bool machine_open(Machine *m, const char *resnet, const Backend *backend, Error *e)
{
    const size_t capacity = (size_t)8 << 30;
    memset(m, 0, sizeof *m);
    if (!arena_open(&m->weights, "weights", backend, capacity, e) ||
        !arena_open(&m->state, "state", backend, capacity, e) ||
        !arena_open(&m->step, "step", backend, capacity, e) ||
        !arena_open(&m->scratch, "scratch", backend, capacity, e))
        return false;
    weights_init(&m->part, &m->weights, &m->state, NULL, 0);
    tape_init(&m->tape, &m->step, &m->scratch, 0);
    return weights_open(&m->part, resnet, e) && resnet_open(&m->net, &m->part, e);
}

static void machine_close(Machine *m)
{
    weights_close(&m->part);
    arena_close(&m->scratch);
    arena_close(&m->step);
    arena_close(&m->state);
    arena_close(&m->weights);
}

static bool compute(const char *path, const char *name, const char *key, const char *resnet, const TrainData *d,
                    const Backend *backend, Error *e)
{
    Machine m;
    bool ok = machine_open(&m, resnet, backend, e) && resnet_check_side(&m.net, d->width, e);
    if (!ok) {
        machine_close(&m);
        return false;
    }
    int64_t C = m.net.channels, slices = (int64_t)d->n * CTRG_SLICES, per = CTRG_SLICES * GRID_CELLS * C;
    uint16_t *grid = malloc((size_t)(slices * GRID_CELLS * C) * sizeof *grid);
    float *pooled = malloc((size_t)(slices * C) * sizeof *pooled), *host = malloc((size_t)per * sizeof *host);
    if (!grid || !pooled || !host) {
        ok = error_set(e, ERROR_MEMORY, "%s: no memory for the features of %d studies (%.1f GB)", path, d->n,
                       (double)(slices * GRID_CELLS * C) * 2e-9);
    }
    double begun = cli_seconds();
    CliProgress p = cli_progress_start(name, 0, d->n);
    for (int64_t k = 0; ok && k < d->n; k++) {
        Tensor *g, *f;
        uint8_t *pixel;
        if (!(ok = train_data_read(d, k, &pixel, e))) break;
        study_features(&m.tape, &m.net, pixel, d->width, d->height, &g, &f);
        free(pixel);
        tensor_download(g, host);
        for (int64_t i = 0; i < per; i++) grid[k * per + i] = bf16_from_float(host[i]);
        tensor_download(f, pooled + k * CTRG_SLICES * C);
        tape_reset(&m.tape);
        cli_progress(&p, k + 1, NULL);
        if (cli_interrupted())
            ok = error_set(e, ERROR_INTERRUPTED, "%s: stopped; features are made anew next time", path);
    }
    cli_progress_end(&p);
    if (ok) {
        cli_note("%s: features of %d studies in %.2f s", path, d->n, cli_seconds() - begun);
        StWriter *w = st_writer_new();
        st_writer_meta(w, "source", key);
        st_writer_add(w, "grid", ST_BF16, 4, (int64_t[]){slices, GRID, GRID, C}, grid);
        st_writer_add(w, "pooled", ST_F32, 2, (int64_t[]){slices, C}, pooled);
        ok = st_writer_save(w, path, e);
        st_writer_free(w);
    }
    free(grid);
    free(pooled);
    free(host);
    machine_close(&m);
    return ok;
}

bool features_open(Features *f, const char *folder, const char *name, const char *resnet, const TrainData *data,
                   const Backend *backend, Error *e)
{
    char path[4096], key[32];
    memset(f, 0, sizeof *f);
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, name);
    if (!file_make_folder(folder, e) || !source_key(key, resnet, data, e)) return false;
    if (access(path, F_OK) == 0) {
        f->file = safetensors_open(path, NULL);
        const char *found = f->file ? tensor_file_meta(f->file, "source") : NULL;
        if (!found || strcmp(found, key)) {
            cli_note("%s: of another ResNet or data set; making it anew", path);
            tensor_file_close(f->file);
            f->file = NULL;
        }
    }
    if (!f->file && !compute(path, name, key, resnet, data, backend, e)) return false;
    if (!f->file) f->file = safetensors_open(path, e);
    if (!f->file) return false;
    f->grid = tensor_file_find(f->file, "grid");
    f->pooled = tensor_file_find(f->file, "pooled");
    if (!f->grid || !f->pooled || f->grid->ndim != 4 || f->grid->dtype != ST_BF16 || f->grid->dim[1] != GRID ||
        f->grid->dim[2] != GRID || f->pooled->ndim != 2 || f->grid->dim[0] != (int64_t)data->n * CTRG_SLICES) {
        features_close(f);
        return error_set(e, ERROR_INPUT, "%s: expected bf16 grid (%d,%d,%d,C) and pooled, found something else",
                         path, data->n * CTRG_SLICES, GRID, GRID);
    }
    f->n = data->n;
    f->channels = f->grid->dim[3];
    return true;
}

void features_close(Features *f)
{
    tensor_file_close(f->file);
    memset(f, 0, sizeof *f);
}

bool features_read(const Features *f, int64_t k, uint16_t *grid, float *pooled, Error *e)
{
    uint64_t n = (uint64_t)(CTRG_SLICES * GRID_CELLS * f->channels) * sizeof *grid,
             m = (uint64_t)(CTRG_SLICES * f->channels) * sizeof *pooled;
    return (!grid || tensor_file_read_part(f->file, f->grid, (uint64_t)k * n, n, grid, e)) &&
           (!pooled || tensor_file_read_part(f->file, f->pooled, (uint64_t)k * m, m, pooled, e));
}
