/* Reading the goldens of tests/golden/make_*.py: the shared weights and inputs, and comparison with taps. A
 * failure names the golden, the tap and the worst element. References are NCHW and [o,i,kh,kw], our tensors
 * (N,H,W,C) and (o,kh,kw,i): `turn` applies to both. */
#ifndef TESTS_GOLDEN_GOLDEN_H
#define TESTS_GOLDEN_GOLDEN_H
#include "data/safetensors.h"
#include "models/weights.h"
#include "tensor/rng.h"
#include "tensor/tape.h"
#include "tests/golden/device.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GOLDEN_WEIGHTS = 1234, GOLDEN_INPUTS = 5678, GOLDEN_SAMPLES = 256 };

/* Arenas and a tape for one test. */
typedef struct Rig {
    Arena weights, state, step, scratch;
    Tape tape;
    Params params;
} Rig;

static inline void rig_open(Rig *r, const Backend *backend)
{
    Error e = {0};
    const size_t room = (size_t)1 << 33;
    memset(r, 0, sizeof *r);
    bool ok = arena_open(&r->weights, "weights", backend, room, &e) &&
              arena_open(&r->state, "state", backend, room, &e) &&
              arena_open(&r->step, "step", backend, room, &e) &&
              arena_open(&r->scratch, "scratch", backend, room, &e);
    ck_assert_msg(ok, "%s", e.msg);
    tape_init(&r->tape, &r->step, &r->scratch, 8244);
    params_init(&r->params, &r->state);
}

static inline void rig_close(Rig *r)
{
    params_close(&r->params);
    arena_close(&r->weights);
    arena_close(&r->state);
    arena_close(&r->step);
    arena_close(&r->scratch);
}

/* philox.py's weight(): values by name and shape. For Weights.generator. */
static inline void golden_weight(void *user, const char *name, int ndim, const int64_t *dim, float *x)
{
    (void)user;
    size_t len = strlen(name);
    int64_t n = 1, fan_in = 1;
    for (int i = 0; i < ndim; i++) n *= dim[i];
    for (int i = 1; i < ndim; i++) fan_in *= dim[i];
    bool norm = ndim == 1 && len > 7 && !strcmp(name + len - 7, ".weight");
    float a = 0.1f, add = 0;
    if (strstr(name, "lora_"))
        a = 0.1f;
    else if (strstr(name, "logit_scale"))
        a = 0, add = 2.6592f;
    else if (len > 11 && !strcmp(name + len - 11, "running_var"))
        a = 0.5f, add = 1;
    else if (norm && strstr(name, "bn3.weight"))
        add = 0.3f;
    else if (norm)
        a = 0.2f, add = 1;
    else if (ndim > 1)
        a = (float)sqrt(6.0 / (double)fan_in);
    rng_fill(x, n, GOLDEN_WEIGHTS, name, a);
    for (int64_t i = 0; add != 0 && i < n; i++) x[i] += add;
}

/* Index in an (A,H,W,C) tensor of element i of its [A,C,H,W] reference. */
static inline int64_t golden_turned(const Tensor *x, int64_t i)
{
    int64_t C = x->dim[3], P = x->dim[1] * x->dim[2];
    int64_t a = i / (C * P), c = i / P % C, p = i % P;
    return (a * P + p) * C + c;
}

/* Fills x with the shared generator; turn: x is (N,H,W,C) of an NCHW reference. */
static inline Tensor *golden_fill(Tensor *x, const char *name, uint32_t seed, float a, bool turn)
{
    int64_t n = tensor_len(x);
    float *file = malloc(2 * (size_t)n * sizeof *file), *memory = file + n;
    ck_assert(file != NULL);
    rng_fill(file, n, seed, name, a);
    for (int64_t i = 0; i < n; i++) memory[turn ? golden_turned(x, i) : i] = file[i];
    tensor_upload(x, memory);
    free(file);
    return x;
}

typedef enum {
    GOLDEN_MAX, /* max abs difference <= tol * RMS of the reference */
    GOLDEN_L2,  /* L2 of the difference <= tol * L2 of the reference, over the samples */
} GoldenNorm;

static inline void golden_load(const TensorFile *g, const char *name, const char *part, int64_t n, float *x)
{
    char full[256];
    Error e = {0};
    snprintf(full, sizeof full, "%s.%s", name, part);
    const TensorEntry *entry = tensor_file_find(g, full);
    ck_assert_msg(entry && (int64_t)(entry->size / st_dtype_size(entry->dtype)) == n,
                  "%s: %s is not there or not of %lld elements", g->path, full, (long long)n);
    ck_assert_msg(tensor_file_read_f32(g, entry, x, &e), "%s", e.msg);
}

/* Compares host values in memory order with the tap `name`. */
static inline void golden_compare_host(const TensorFile *g, const char *name, const Tensor *shape,
                                       const float *x, bool turn, GoldenNorm norm, double tol)
{
    int64_t n = tensor_len(shape), samples = n < GOLDEN_SAMPLES ? n : GOLDEN_SAMPLES, worst = 0;
    float want[GOLDEN_SAMPLES], stats[2];
    golden_load(g, name, "samples", samples, want);
    golden_load(g, name, "stats", 2, stats);
    double rms = (double)stats[1] / sqrt((double)n), most = 0, sum = 0, sum_want = 0, l2 = 0;
    for (int64_t i = 0; i < samples; i++) {
        int64_t at = samples < n ? i * n / samples : i;
        double d = (double)x[turn ? golden_turned(shape, at) : at] - (double)want[i];
        if (!(fabs(d) <= most)) {
            most = fabs(d);
            worst = i;
        }
        sum += d * d;
        sum_want += (double)want[i] * (double)want[i];
    }
    for (int64_t i = 0; i < n; i++) l2 += (double)x[i] * (double)x[i];
    double got = norm == GOLDEN_MAX ? most / rms : sqrt(sum / sum_want);
    if (rms == 0 || (norm == GOLDEN_L2 && sum_want == 0)) got = most;
    ck_assert_msg(got <= tol,
                  "%s: %s differs by %.3g (allowed %.3g), worst at sample %lld: wants %.9g, is off by %.3g",
                  g->path, name, got, tol, (long long)worst, (double)want[worst], most);
    ck_assert_msg(fabs(sqrt(l2) - (double)stats[1]) <= 10 * tol * (double)stats[1] + 1e-30,
                  "%s: L2 norm of %s is %.9g, wants %.9g", g->path, name, sqrt(l2), (double)stats[1]);
}

static inline void golden_compare(const TensorFile *g, const char *name, const Tensor *x, bool turn,
                                  GoldenNorm norm, double tol)
{
    ck_assert_msg(x != NULL, "%s: %s was not computed", g->path, name);
    float *host = host_copy(x);
    golden_compare_host(g, name, x, host, turn, norm, tol);
    free(host);
}

static inline TensorFile *golden_open(const char *path)
{
    Error e = {0};
    TensorFile *g = safetensors_open(path, &e);
    ck_assert_msg(g != NULL, "%s", e.msg);
    return g;
}

#endif
