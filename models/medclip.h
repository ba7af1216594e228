/* MedCLIP (Wang et al. 2022): images and texts in one space, where the cosine is their similarity. The image
 * tower is a Swin or a ResNet (named apart by the weights' names), the text tower a BERT whose hidden states 1,
 * 2 and last are pooled (bert_pool); each is followed by a projection without bias and scaled to length 1.
 *
 *     v = l2norm(P_v tower(image)),  w = l2norm(P_w pool(text)),  logits = exp(min(logit_scale, ln 100)) v.w
 *
 * Names are the public checkpoint's: vision_model.model.* (Hugging Face's SwinModel, or torchvision's ResNet
 * with the projection as its fc), vision_model.projection_head.weight, text_model.model.*,
 * text_model.projection_head.weight, logit_scale. */
#ifndef MODELS_MEDCLIP_H
#define MODELS_MEDCLIP_H
#include "models/bert.h"
#include "models/resnet.h"
#include "models/swin.h"

typedef struct MedclipConfig {
    int64_t image; /* side of the images, px */
    int64_t embed; /* E */
    SwinConfig swin;
    BertConfig bert;
} MedclipConfig;

extern const MedclipConfig medclip_public; /* Swin-T at 224 px, BioClinicalBERT, 512 */

typedef struct Medclip {
    int64_t image, embed;
    bool is_resnet; /* which of the two towers is set */
    Swin swin;
    Resnet resnet;
    Bert bert;
    Tensor *image_projection, *text_projection; /* (E,dim) */
    Tensor *logit_scale;                        /* (1) */
} Medclip;

/* Sizes from names and shapes; "medclip.image_size" (224) and "bert.heads" from the file's metadata. */
bool medclip_open(Medclip *m, Weights *w, Error *e);
/* With a Swin, of the given configuration: from w's file if there is one, else initialised as the towers say,
 * the projections by PyTorch's default, logit_scale ln(1/0.07). */
bool medclip_create(Medclip *m, Weights *w, MedclipConfig config, Error *e);

/* While recording, n items are one batch. Otherwise they go one after the other, so that an item's embedding is
 * the same, bit for bit, in any batch, and the memory is that of one.
 *
 * x (n,image,image,3), normalised as data/medclip_image.h does -> (n,E), f32. A ResNet's BatchNorm goes by its
 * running statistics, in training too. Taps: the tower's, "image". */
Tensor *medclip_image(Tape *t, const Medclip *m, Tensor *x);
/* ids (n,T) i32 with [CLS] and [SEP], all of one length: padding would be pooled too -> (n,E), f32. Taps: the
 * tower's, "text". */
Tensor *medclip_text(Tape *t, const Medclip *m, Tensor *ids);
/* Texts of several lengths (n values on the host), right-padded with whatever: what medclip_text gives for each
 * alone, but for rounding. For training; embeddings to be compared come from medclip_text. */
Tensor *medclip_texts(Tape *t, const Medclip *m, Tensor *ids, const int32_t *lengths);
#endif
