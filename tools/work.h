/* Operations that must be done: the products of convolutions, Linears, attention and output head. */
#ifndef TOOLS_WORK_H
#define TOOLS_WORK_H
#include "models/llama.h"
#include "models/medclip.h"
#include "models/resnet.h"
#include "models/visual.h"

double resnet_work(const Resnet *net, int64_t side, int64_t images);
/* Of visual_forward. Training: the same again for each weight's gradient, and for each input's that wants one;
 * the features want none. */
double head_work(const Visual *v, int64_t studies, bool training);
/* A prefix and n tokens after it; the last of n + 1 choices is EOS. */
double llama_work(const Llama *m, int64_t prefix, int64_t n);
/* An image of that side; whole windows, whatever lies in them. */
double swin_work(const Swin *m, int64_t side);
/* A text of that many tokens. */
double bert_work(const Bert *m, int64_t tokens);
#endif
