#include "tests/kernels/probe.h"
#include "tensor/probe.h"
#include "tensor/rng.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS = 4 * 70001, FLOATS = 40003, TAIL = 100003, SUMS = 40000 };

static void verdict(Harness *h, const char *what, bool ok, double got)
{
    *(ok ? &h->passed : &h->failed) += 1;
    if (!ok)
        printf("FAIL probe, %s [%s]: %.9g (SEED=%llu)\n", h->backend->name, what, got,
               (unsigned long long)h->seed);
}

static Tensor *words(Harness *h, int64_t n) { return tensor_new(&h->state, DTYPE_i32, 1, &n); }

/* Random bytes against Philox on the host, then copied, then folded into one word. */
static void check_words(Harness *h, uint32_t *host)
{
    const Probe *p = h->backend->probe;
    Tensor *x = words(h, WORDS), *y = words(h, WORDS), *one = words(h, 1);
    p->random_bytes(x->data, TAIL, h->seed);
    tensor_download(x, host);
    int64_t wrong = 0;
    for (int64_t i = 0; i < TAIL / 4; i++) {
        uint64_t seed = h->seed;
        Philox r = philox4x32((uint32_t)(i / 4), 0, 0x9e3779b9u, 0, (uint32_t)seed, (uint32_t)(seed >> 32));
        wrong += host[i] != r.v[i % 4];
    }
    verdict(h, "random bytes, wrong words", !wrong, (double)wrong);
    p->random_bytes(x->data, 4 * WORDS, h->seed);
    p->copy(y->data, x->data, 4 * WORDS);
    uint32_t *copied = malloc(4 * WORDS), sum = 0, got;
    if (!copied) die("out of memory for the probe");
    tensor_download(x, host);
    tensor_download(y, copied);
    verdict(h, "copy", !memcmp(host, copied, 4 * WORDS), 0);
    for (int i = 0; i < WORDS; i++) sum ^= host[i];
    for (int turn = 0; turn < 2; turn++) {
        p->read(y->data, 4 * WORDS, one->data);
        tensor_download(one, &got);
        verdict(h, turn ? "read again" : "read", got == sum, (double)got - (double)sum);
    }
    free(copied);
}

static void check_floats(Harness *h, float *host)
{
    const int64_t n = FLOATS;
    Tensor *x = tensor_new(&h->state, DTYPE_f32, 1, &n);
    h->backend->probe->random_floats(x->data, n, -0.5f, 1.5f, h->seed);
    tensor_download(x, host);
    double sum = 0, least = 9, most = -9;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)host[i];
        least = fmin(least, (double)host[i]);
        most = fmax(most, (double)host[i]);
    }
    verdict(h, "random floats, least", least >= -0.5 && least < -0.49, least);
    verdict(h, "random floats, most", most < 1.5 && most > 1.49, most);
    verdict(h, "random floats, mean", fabs(sum / (double)n - 0.5) < 0.02, sum / (double)n);
}

/* Three turns sum three times what one does, exactly, and time passes. */
static void check_mma(Harness *h, float *host)
{
    const Probe *p = h->backend->probe;
    const int64_t n = SUMS;
    Tensor *x = tensor_zeros(&h->state, DTYPE_f32, 1, &n), *y = tensor_zeros(&h->state, DTYPE_f32, 1, &n);
    p->mark(0);
    double one = p->mma(1, x->data, SUMS), three = p->mma(3, y->data, SUMS);
    p->mark(PROBE_MARKS - 1);
    double seconds = p->between(0, PROBE_MARKS - 1);
    tensor_download(x, host);
    tensor_download(y, host + SUMS);
    int wrong = 0, filled = 0;
    for (int i = 0; i < SUMS; i++) {
        wrong += host[SUMS + i] != 3 * host[i];
        filled += host[i] != 0;
    }
    verdict(h, "mma, wrong sums", !wrong, wrong);
    verdict(h, "mma, sums", filled > 1000, filled);
    verdict(h, "mma, operations", one > 0 && three == 3 * one, three / one);
    verdict(h, "seconds", seconds > 0 && seconds < 100, seconds);
}

void probe_check(Harness *h)
{
    if (!h->backend->probe) return;
    uint32_t *host = malloc(4 * WORDS);
    if (!host) die("out of memory for the probe");
    check_words(h, host);
    check_floats(h, (float *)host);
    check_mma(h, (float *)host);
    free(host);
    arena_check(&h->state);
    arena_pop(&h->state, (ArenaMark){0, 0});
}
