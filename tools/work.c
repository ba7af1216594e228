#include "tools/work.h"
#include "tools/features.h"

static double conv_work(const Tensor *w, int64_t images, int64_t side)
{
    return 2.0 * (double)(images * side * side) * (double)tensor_len(w);
}

static double linear_work(const Tensor *w, double rows) { return w ? 2 * rows * (double)tensor_len(w) : 0; }

double resnet_work(const Resnet *net, int64_t side, int64_t images)
{
    bool caffe = net->config.caffe;
    side = (side - 1) / 2 + 1;
    double sum = conv_work(net->stem.weight, images, side);
    side = caffe ? (side - 2) / 2 + 1 : (side - 1) / 2 + 1;
    for (int i = 0; i < RESNET_STAGES; i++)
        for (int k = 0; k < net->config.depth[i]; k++) {
            const ResnetBlock *b = &net->block[i][k];
            int64_t out = (side - 1) / b->stride + 1;
            sum += conv_work(b->conv[0].weight, images, caffe ? out : side);
            sum += conv_work(b->conv[1].weight, images, out) + conv_work(b->conv[2].weight, images, out);
            if (b->shortcut.weight) sum += conv_work(b->shortcut.weight, images, out);
            side = out;
        }
    return sum;
}

double head_work(const Visual *v, int64_t studies, bool training)
{
    const int64_t M = studies * VISUAL_SLICES, side = GRID / 2;
    const double first = training ? 2 : 1, later = training ? 3 : 1;
    double sum = 0;
    if (v->mode != HV_GLOBAL24)
        sum += first * (conv_work(v->conv[0][0].weight, M, side) + conv_work(v->shortcut.weight, M, side)) +
               later * (conv_work(v->conv[0][1].weight, M, side) + conv_work(v->conv[1][0].weight, M, side) +
                        conv_work(v->conv[1][1].weight, M, side) + linear_work(v->local.weight, (double)M));
    return sum + first * linear_work(v->global[0].weight, (double)M) +
           later * linear_work(v->global[1].weight, (double)M);
}

double llama_work(const Llama *m, int64_t prefix, int64_t n)
{
    const double tokens = (double)(prefix + n);
    double sum = linear_work(m->head, (double)n + 1);
    for (int64_t i = 0; i < m->config.layers; i++) {
        const LlamaLayer *l = &m->layer[i];
        const Tensor *w[] = {l->q,    l->k,        l->v,        l->o,        l->gate,    l->up,
                             l->down, l->q_lora.A, l->q_lora.B, l->v_lora.A, l->v_lora.B};
        for (size_t k = 0; k < sizeof w / sizeof *w; k++) sum += linear_work(w[k], tokens);
        sum += 2 * tokens * (tokens + 1) * (double)(m->config.heads * m->config.head_dim);
    }
    return sum;
}

double swin_work(const Swin *m, int64_t side)
{
    const SwinConfig *c = &m->config;
    int64_t h = side / c->patch, s = c->window;
    double sum = conv_work(m->patch, 1, h);
    for (int64_t i = 0; i < c->stages; i++, h /= 2) {
        int64_t wide = (h + s - 1) / s * s;
        double inside = (double)(wide * wide), tokens = (double)(h * h), C = (double)(c->width << i);
        for (int64_t k = 0; k < c->depth[i]; k++) {
            const SwinBlock *b = &m->stage[i].block[k];
            const Tensor *w[] = {b->q.weight, b->k.weight, b->v.weight, b->dense.weight};
            for (size_t j = 0; j < sizeof w / sizeof *w; j++) sum += linear_work(w[j], inside);
            sum += 4 * inside * (double)(s * s) * C;
            sum += linear_work(b->intermediate.weight, tokens) + linear_work(b->output.weight, tokens);
        }
        sum += linear_work(m->stage[i].merge.weight, tokens / 4);
    }
    return sum;
}

double bert_work(const Bert *m, int64_t tokens)
{
    double n = (double)tokens, sum = 0;
    for (int64_t i = 0; i < m->config.layers; i++) {
        const BertLayer *l = &m->layer[i];
        const Tensor *w[] = {l->q.weight,     l->k.weight, l->v.weight, l->dense.weight, l->intermediate.weight,
                             l->output.weight};
        for (size_t k = 0; k < sizeof w / sizeof *w; k++) sum += linear_work(w[k], n);
        sum += 4 * n * n * (double)m->config.dim;
    }
    return sum;
}
