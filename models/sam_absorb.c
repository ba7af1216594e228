/* Products of an attention's projections, head by head (models/sam_predict.h). */
#include "models/sam_predict.h"
#include <math.h>
#include <stdlib.h>

/* A Linear on the host: weight (out,in), bias (out). */
typedef struct Host {
    float *weight, *bias;
    int64_t out, in;
} Host;

static float *room(int64_t n)
{
    float *x = calloc((size_t)n, sizeof *x);
    if (!x) die_memory("%lld products of SAM's projections", (long long)n);
    return x;
}

static Host host_new(int64_t out, int64_t in) { return (Host){room(out * in), room(out), out, in}; }

static Host host_read(const SamLinear *l)
{
    Host h = host_new(l->weight->dim[0], l->weight->dim[1]);
    tensor_download(l->weight, h.weight);
    tensor_download(l->bias, h.bias);
    return h;
}

static void host_free(Host *h)
{
    free(h->weight);
    free(h->bias);
}

/* On the arena's backend; frees h. */
static SamLinear host_move(Host h, Arena *home)
{
    SamLinear l = {tensor_new(home, DTYPE_f32, 2, (int64_t[]){h.out, h.in}),
                   tensor_new(home, DTYPE_f32, 1, &h.out)};
    tensor_upload(l.weight, h.weight);
    tensor_upload(l.bias, h.bias);
    host_free(&h);
    return l;
}

/* (in,out) of a weight (out,in). */
static float *turned(const Host *h)
{
    float *y = room(h->out * h->in);
    for (int64_t i = 0; i < h->out; i++)
        for (int64_t j = 0; j < h->in; j++) y[j * h->out + i] = h->weight[i * h->in + j];
    return y;
}

/* Rows (h,a) = k * sum over i of head h of left[i][a] right[i]; left (inner,A), right a Linear (inner,C), whose
 * bias takes part as a further column. */
static Host multiply(int64_t H, const float *left, int64_t A, const Host *right, double k)
{
    const int64_t C = right->in, D = right->out / H;
    Host y = host_new(H * A, C);
    double *sum = malloc((size_t)(C + 1) * sizeof *sum);
    if (!sum) die_memory("a product of SAM's projections");
    for (int64_t row = 0; row < H * A; row++) {
        for (int64_t c = 0; c <= C; c++) sum[c] = 0;
        for (int64_t i = row / A * D; i < (row / A + 1) * D; i++) {
            const double factor = k * (double)left[i * A + row % A];
            for (int64_t c = 0; c < C; c++) sum[c] += factor * (double)right->weight[i * C + c];
            sum[C] += factor * (double)right->bias[i];
        }
        for (int64_t c = 0; c < C; c++) y.weight[row * C + c] = (float)sum[c];
        y.bias[row] = (float)sum[C];
    }
    free(sum);
    return y;
}

/* Wo_h Wv_h as rows (h,a); its bias without that of `out`. */
static Host values(int64_t H, const SamAttention *a, Host *out)
{
    *out = host_read(&a->out);
    Host v = host_read(&a->v);
    float *left = turned(out);
    Host y = multiply(H, left, out->out, &v, 1);
    free(left);
    host_free(&v);
    return y;
}

static void open_to_image(SamPredictor *p, int i, const SamAttention *a, Arena *home)
{
    const int64_t H = p->net->config.heads, C = p->net->config.dim;
    Host q = host_read(&a->q), k = host_read(&a->k), out;
    p->to_image[i].q = host_move(multiply(H, k.weight, C, &q, 1 / sqrt((double)(q.out / H))), home);
    host_free(&q);
    host_free(&k);
    Host v = values(H, a, &out), y = host_new(C, H * C);
    for (int64_t c = 0; c < C; c++) {
        double bias = (double)out.bias[c];
        for (int64_t h = 0; h < H; h++) {
            for (int64_t x = 0; x < C; x++) y.weight[(c * H + h) * C + x] = v.weight[(h * C + c) * C + x];
            bias += (double)v.bias[h * C + c];
        }
        y.bias[c] = (float)bias;
    }
    p->to_image[i].out = host_move(y, home);
    host_free(&v);
    host_free(&out);
}

/* Layer 0 has its queries: there the keys of a head are cut out of all. */
static void open_to_token(SamPredictor *p, int i, const SamAttention *a, Arena *home)
{
    const int64_t H = p->net->config.heads, C = p->net->config.dim, I = p->net->config.inner;
    const double scale = 1 / sqrt((double)(I / H));
    Host q = host_read(&a->q), k = host_read(&a->k), out;
    if (i) {
        p->to_token[i].k = host_move(multiply(H, q.weight, C, &k, scale), home);
        p->to_token[i].bias = host_move(multiply(H, q.bias, 1, &k, scale), home);
    } else {
        float *one = room(I * I);
        for (int64_t j = 0; j < I; j++) one[j * I + j] = 1;
        p->to_token[i].k = host_move(multiply(H, one, I, &k, scale), home);
        free(one);
    }
    host_free(&q);
    host_free(&k);
    Host v = values(H, a, &out);
    for (int64_t c = 0; c < C; c++) v.bias[c] += out.bias[c]; /* once: a head's probabilities add up to 1 */
    p->to_token[i].v = host_move(v, home);
    host_free(&out);
}

void sam_predictor_open(SamPredictor *p, const SamDecoder *net, Arena *home)
{
    *p = (SamPredictor){.net = net, .savings = SAM_FILTER};
    for (int i = 0; i < SAM_LAYERS; i++) {
        if (i) open_to_image(p, i, &net->layer[i].to_image, home);
        open_to_token(p, i, &net->layer[i].to_token, home);
    }
    open_to_image(p, SAM_LAYERS, &net->final, home);
}
