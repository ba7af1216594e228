#include "models/medclip.h"

static const char vision[] = "vision_model.model.", text[] = "text_model.model.";

const MedclipConfig medclip_public = {
    .image = 224,
    .embed = 512,
    .swin = {.channels = 3,
             .patch = 4,
             .width = 96,
             .ffn = 4,
             .stages = 4,
             .window = 7,
             .depth = {2, 2, 6, 2},
             .heads = {3, 6, 12, 24}},
    .bert = {.vocab = 28996, .dim = 768, .layers = 12, .heads = 12, .ffn = 3072, .positions = 512, .types = 2},
};

/* ---- opening ---- */

static Tensor *projection(Weights *w, int64_t E, int64_t dim, const char *name)
{
    return weights_get(w, (WeightSpec){{E, dim}, WEIGHT_LINEAR, INIT_LINEAR, 0}, "%s.weight", name);
}

/* What both ways have in common, the towers being there. */
static bool finish(Medclip *m, Weights *w, Error *e)
{
    static const float scale = 2.6592600f; /* ln(1/0.07) */
    Error side = {0};
    w->prefix = NULL;
    if (!w->error.code && !m->is_resnet && !swin_check_side(&m->swin, m->image, &side))
        weights_fail(w, "%s", side.msg);
    if (!w->error.code && m->bert.config.layers < 2)
        weights_fail(w, "BERT of %lld layer: expected at least two", (long long)m->bert.config.layers);
    if (!w->error.code) {
        m->image_projection = m->is_resnet
                                  ? projection(w, m->embed, m->resnet.channels, "vision_model.model.fc")
                                  : projection(w, m->embed, m->swin.dim, "vision_model.projection_head");
        m->text_projection = projection(w, m->embed, m->bert.config.dim, "text_model.projection_head");
        m->logit_scale = weights_get(w, (WeightSpec){{1}, .init = INIT_CONSTANT, .a = scale}, "logit_scale");
    }
    weights_set_meta(w, "medclip.image_size", "%lld", (long long)m->image);
    return weights_ok(w, e);
}

bool medclip_create(Medclip *m, Weights *w, MedclipConfig c, Error *e)
{
    *m = (Medclip){.image = c.image, .embed = c.embed};
    if (c.image < 1 || c.embed < 1)
        weights_fail(w, "MedCLIP of %lld px and %lld dims: sizes must be positive", (long long)c.image,
                     (long long)c.embed);
    w->prefix = vision;
    swin_create(&m->swin, w, c.swin, NULL);
    w->prefix = text;
    bert_create(&m->bert, w, c.bert, NULL);
    return finish(m, w, e);
}

bool medclip_open(Medclip *m, Weights *w, Error *e)
{
    int64_t dim[2] = {0};
    w->prefix = NULL;
    bool resnet = weights_entry(w, "vision_model.model.conv1.weight");
    *m = (Medclip){.is_resnet = resnet};
    if (!resnet && !weights_entry(w, "vision_model.model.embeddings.patch_embeddings.projection.weight"))
        weights_fail(w, "no image tower: neither vision_model.model.embeddings.patch_embeddings.projection."
                        "weight (Swin) nor vision_model.model.conv1.weight (ResNet)");
    m->image = weights_meta_int(w, "medclip.image_size", 224, 1, 4096);
    weights_shape(w, 2, dim, "text_model.projection_head.weight");
    m->embed = dim[0];
    w->prefix = vision;
    if (resnet)
        resnet_open(&m->resnet, w, NULL);
    else
        swin_open(&m->swin, w, NULL);
    w->prefix = text;
    bert_open(&m->bert, w, NULL);
    return finish(m, w, e);
}

/* ---- forward ---- */

/* One of the towers: x (n,...) -> (n,E). */
typedef Tensor *Tower(Tape *t, const Medclip *m, Tensor *x, const int32_t *lengths);

static Tensor *image_tower(Tape *t, const Medclip *m, Tensor *x, const int32_t *lengths)
{
    (void)lengths;
    Tensor *pooled;
    if (m->is_resnet)
        resnet_forward(t, &m->resnet, x, false, NULL, &pooled);
    else
        pooled = swin_forward(t, &m->swin, x);
    return op_l2norm(t, op_linear(t, pooled, m->image_projection, NULL, NULL));
}

static Tensor *text_tower(Tape *t, const Medclip *m, Tensor *ids, const int32_t *lengths)
{
    return op_l2norm(t, op_linear(t, bert_pool(t, &m->bert, ids, lengths), m->text_projection, NULL, NULL));
}

/* While recording all at once. Otherwise one after the other: how a product rounds depends on its number of
 * rows, and an embedding must not depend on its neighbours. */
static Tensor *embed(Tape *t, const Medclip *m, Tower *tower, Tensor *x, const int32_t *lengths)
{
    if (t->recording) return tower(t, m, x, lengths);
    const int64_t n = x->dim[0], dim[2] = {n, m->embed};
    Tensor *y = tape_tensor(t, DTYPE_f32, 2, dim);
    for (int64_t i = 0; i < n; i++) {
        ArenaMark mark = arena_mark(t->step);
        Tensor *one = tower(t, m, tensor_slice(t->step, x, i, 1), lengths ? lengths + i : NULL);
        y->backend->move((float *)y->data + i * m->embed, one->data, tensor_bytes(one));
        arena_pop(t->step, mark);
    }
    return y;
}

Tensor *medclip_image(Tape *t, const Medclip *m, Tensor *x)
{
    int64_t channels = m->is_resnet ? m->resnet.config.in_channels : m->swin.config.channels;
    if (x->ndim != 4 || x->dim[1] != m->image || x->dim[2] != m->image || x->dim[3] != channels)
        die("medclip: expected images (n,%lld,%lld,%lld), got %s", (long long)m->image, (long long)m->image,
            (long long)channels, tensor_text(x));
    Tensor *y = embed(t, m, image_tower, x, NULL);
    tape_tap(t, y, "image");
    return y;
}

Tensor *medclip_texts(Tape *t, const Medclip *m, Tensor *ids, const int32_t *lengths)
{
    Tensor *y = embed(t, m, text_tower, ids, lengths);
    tape_tap(t, y, "text");
    return y;
}

Tensor *medclip_text(Tape *t, const Medclip *m, Tensor *ids) { return medclip_texts(t, m, ids, NULL); }
