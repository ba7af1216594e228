/* pcrl-forward's models of images: ResNet, SAM's two halves, Swin, MedCLIP's image tower. */
#include "data/safetensors.h"
#include "models/medclip.h"
#include "models/sam_decoder.h"
#include "models/sam_encoder.h"
#include "tools/forward.h"

enum { LEAST_SIDE = 16 };

bool forward_resnet(Forward *f, Error *e)
{
    static const ForwardTap taps[] = {{"layer?", FORWARD_NCHW, true, NULL},
                                      {"grid", FORWARD_ROWS, true, NULL},
                                      {"pooled", FORWARD_SAME, true, NULL},
                                      {"stem", FORWARD_NCHW, false, NULL},
                                      {0}};
    Resnet net;
    Tensor *grid, *pooled;
    Weights *w = forward_part(f, 0, f->o->weights, e);
    if (!w || (f->o->style && !tensor_file_set_meta(w->file, "resnet.style", f->o->style, e)) ||
        !resnet_open(&net, w, e) || !forward_opened(f, e))
        return false;
    int64_t dim[4] = {-'n', net.config.in_channels, -'H', -'W'};
    Tensor *x = forward_image(f, "image", 4, dim, e);
    if (!x) return false;
    int64_t H = dim[2], W = dim[3], least = H < W ? H : W;
    if (least < LEAST_SIDE)
        return error_set(e, ERROR_INPUT,
                         "%s: tensor \"image\": expected sides of at least %d px, found %lldx%lld",
                         f->input->path, LEAST_SIDE, (long long)H, (long long)W);
    int64_t native = resnet_native_grid(&net.config, least);
    if (native < RESNET_GRID)
        cli_note("no grid: maps of %lldx%lld cells are not enlarged to %dx%d",
                 (long long)resnet_native_grid(&net.config, H), (long long)resnet_native_grid(&net.config, W),
                 RESNET_GRID, RESNET_GRID);
    f->tap = taps;
    f->started = cli_seconds();
    resnet_forward(&f->tape, &net, x, false, native < RESNET_GRID ? NULL : &grid, &pooled);
    return true;
}

bool forward_sam_encoder(Forward *f, Error *e)
{
    static const ForwardTap taps[] = {{"embedding", FORWARD_NCHW, true, NULL}, {0}};
    SamEncoder net;
    Weights *w = forward_part(f, 0, f->o->weights, e);
    if (!w || !sam_encoder_open(&net, w, e) || !forward_opened(f, e)) return false;
    int64_t dim[4] = {-'n', 3, net.config.image, net.config.image};
    Tensor *x = forward_image(f, "image", 4, dim, e);
    if (!x) return false;
    f->tap = taps;
    f->started = cli_seconds();
    sam_encoder_forward(&f->tape, &net, x);
    return true;
}

/* ---- SAM's decoder ---- */

static bool read_points(Forward *f, int64_t *n, SamPrompts *p, Error *e)
{
    int64_t dim[3] = {*n, -'k', 2};
    double *point;
    int32_t *label;
    if (!forward_has(f, "points") && !forward_has(f, "labels")) return true;
    if (!forward_doubles(f, "points", 3, dim, &point, e)) return false;
    if (dim[1] > SAM_POINTS)
        return error_set(e, ERROR_INPUT, "%s: tensor \"points\": expected at most %d points, found %lld",
                         f->input->path, SAM_POINTS, (long long)dim[1]);
    if (!forward_ints(f, "labels", 2, dim, -1, 1, &label, e)) return false;
    *n = dim[0];
    p->points = (int)dim[1];
    p->point = point;
    p->label = label;
    return true;
}

static bool read_boxes(Forward *f, int64_t *n, SamPrompts *p, Error *e)
{
    int64_t dim[2] = {*n, 4};
    double *box;
    if (!forward_has(f, "box")) return true;
    if (!forward_doubles(f, "box", 2, dim, &box, e)) return false;
    *n = dim[0];
    p->box = box;
    return true;
}

static bool read_masks(Forward *f, int64_t g, int64_t *n, SamPrompts *p, Error *e)
{
    int64_t dim[4] = {*n, 1, 4 * g, 4 * g};
    if (!forward_has(f, "mask_input")) return true;
    p->mask = forward_image(f, "mask_input", 4, dim, e);
    *n = dim[0];
    return p->mask;
}

/* As many of each kind as there are prompts, about so many images of g x g cells; at least one kind. */
static bool read_prompts(Forward *f, int64_t images, int64_t g, SamPrompts *p, Error *e)
{
    int64_t n = -'p';
    int32_t *image = NULL;
    if (!read_points(f, &n, p, e) || !read_boxes(f, &n, p, e) || !read_masks(f, g, &n, p, e)) return false;
    if (n < 0)
        return error_set(e, ERROR_INPUT, "%s: expected points, box or mask_input, found none", f->input->path);
    p->n = n;
    if (!forward_has(f, "image")) return true;
    bool ok = forward_ints(f, "image", 1, &n, 0, images - 1, &image, e);
    p->image = image;
    return ok;
}

bool forward_sam_decoder(Forward *f, Error *e)
{
    static const ForwardTap taps[] = {{"masks", FORWARD_SAME, true, NULL},
                                      {"iou", FORWARD_SAME, true, NULL},
                                      {"dense", FORWARD_NCHW, false, NULL},
                                      {"upscaled", FORWARD_NCHW, false, NULL},
                                      {0}};
    SamDecoder net;
    SamPrompts p = {0};
    Tensor *masks, *iou;
    Weights *w = forward_part(f, 0, f->o->weights, e);
    if (!w || !sam_decoder_open(&net, w, e) || !forward_opened(f, e)) return false;
    int64_t dim[4] = {forward_has(f, "image") ? -'m' : 1, net.config.dim, -'g', -'g'};
    Tensor *embedding = forward_image(f, "embedding", 4, dim, e);
    if (!embedding) return false;
    if (dim[2] != dim[3])
        return error_set(e, ERROR_INPUT, "%s: tensor \"embedding\": expected a square map, found %lldx%lld",
                         f->input->path, (long long)dim[2], (long long)dim[3]);
    if (!read_prompts(f, dim[0], dim[2], &p, e)) return false;
    f->tap = taps;
    f->started = cli_seconds();
    sam_decoder_forward(&f->tape, &net, embedding, &p, &masks, &iou);
    return true;
}

/* ---- Swin, alone and in MedCLIP ---- */

bool forward_swin(Forward *f, Error *e)
{
    static const ForwardTap taps[] = {
        {"pooled", FORWARD_SAME, true, NULL}, {"*", FORWARD_ROWS, false, NULL}, {0}};
    Swin net;
    Weights *w = forward_part(f, 0, f->o->weights, e);
    if (!w) return false;
    forward_prefix(w, "embeddings.patch_embeddings.projection.weight", "swin.", "vision_model.model.");
    if (!forward_config(f, w, 1e-5, e) || !swin_open(&net, w, e) || !forward_opened(f, e)) return false;
    int64_t dim[4] = {-'n', net.config.channels, -'H', -'W'};
    Tensor *x = forward_image(f, "image", 4, dim, e);
    if (!x) return false;
    if (dim[2] != dim[3])
        return error_set(e, ERROR_INPUT, "%s: tensor \"image\": expected square images, found %lldx%lld",
                         f->input->path, (long long)dim[2], (long long)dim[3]);
    if (!swin_check_side(&net, dim[2], e)) return forward_blame(f, "image", e);
    f->tap = taps;
    f->started = cli_seconds();
    swin_forward(&f->tape, &net, x);
    return true;
}

bool forward_medclip_image(Forward *f, Error *e)
{
    static const ForwardTap swin[] = {{"image", FORWARD_SAME, true, "embedding"},
                                      {"*", FORWARD_ROWS, false, NULL},
                                      {0}},
                            resnet[] = {{"image", FORWARD_SAME, true, "embedding"},
                                        {"*", FORWARD_NCHW, false, NULL},
                                        {0}};
    Medclip m;
    Weights *w = forward_part(f, 0, f->o->weights, e);
    if (!w || !medclip_open(&m, w, e) || !forward_opened(f, e)) return false;
    int64_t dim[4] = {-'n', m.is_resnet ? m.resnet.config.in_channels : m.swin.config.channels, m.image,
                      m.image};
    Tensor *x = forward_image(f, "image", 4, dim, e);
    if (!x) return false;
    f->tap = m.is_resnet ? resnet : swin;
    f->started = cli_seconds();
    medclip_image(&f->tape, &m, x);
    return true;
}
