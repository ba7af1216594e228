#include "tools/sam_begin.h"
#include "tensor/rng.h"
#include <stdlib.h>
#include <string.h>

static const float place_gain = 2.5f, frequency = 2.5f, token_sd = 0.2f, value_gain = 1.5f;

/* Sets x (C/2,C) to rows of the unit matrix times gain: those of the dims that hold a place, each frequency's
 * sine and cosine together, or of the others. turned: the transpose. */
static void pick_dims(float *x, int64_t C, bool place, bool turned, float gain)
{
    int64_t rows = C / 2;
    memset(x, 0, (size_t)(rows * C) * sizeof *x);
    for (int64_t i = 0; i < rows; i++) {
        int64_t dim = i / 2 + i % 2 * rows + (place ? 0 : C / 4);
        x[turned ? dim * rows + i : i * C + dim] = gain;
    }
}

static void begin_linear(const SamLinear *l, const float *weight)
{
    tensor_upload(l->weight, weight);
    tensor_fill(l->bias, 0);
}

static void begin_normal(Tensor *x, float sd, Rng *rng)
{
    int64_t n = tensor_len(x);
    float *host = malloc((size_t)n * sizeof *host);
    if (!host) die("out of host memory for a tensor");
    for (int64_t i = 0; i < n; i++) host[i] = sd * (float)rng_normal(rng);
    tensor_upload(x, host);
    free(host);
}

void sam_begin(const SamEncoder *encoder, const SamDecoder *d, uint64_t seed)
{
    const SamAttention *const all[] = {&d->layer[0].to_image, &d->layer[0].to_token, &d->layer[1].to_image,
                                       &d->layer[1].to_token, &d->final};
    Tensor *const token[] = {d->iou_token, d->mask_tokens, d->point[0],    d->point[1],
                             d->point[2],  d->point[3],    d->not_a_point, d->no_mask};
    int64_t C = d->config.dim;
    float *x = malloc((size_t)(C * C) * sizeof *x);
    if (!x) die("out of host memory for a tensor");
    Rng rng = rng_open(seed, "sam focus");
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        pick_dims(x, C, true, false, place_gain);
        begin_linear(&all[i]->q, x);
        begin_linear(&all[i]->k, x);
        pick_dims(x, C, false, false, 1);
        begin_linear(&all[i]->v, x);
        pick_dims(x, C, false, true, value_gain);
        begin_linear(&all[i]->out, x);
    }
    for (int64_t i = 0; i < C * C; i++) x[i] = i % (C + 1) ? 0 : 1;
    begin_linear(&d->layer[0].self.v, x);
    begin_linear(&d->layer[0].self.out, x);
    for (size_t i = 0; i < sizeof token / sizeof *token; i++) begin_normal(token[i], token_sd, &rng);
    for (int64_t i = 0; i < C; i++) x[i] = i % (C / 2) < C / 4 ? frequency * (float)rng_normal(&rng) : 0;
    tensor_upload(d->gauss, x); /* (2,C/2) */
    for (int64_t i = 0; i < C; i++) x[i] = i % (C / 2) >= C / 4;
    tensor_upload(encoder->neck_norm[1].weight, x);
    free(x);
}
