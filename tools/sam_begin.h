#ifndef TOOLS_SAM_BEGIN_H
#define TOOLS_SAM_BEGIN_H
#include "models/sam_decoder.h"
#include "models/sam_encoder.h"

/* Where training begins: a mask has to do with its point from the first update on. From PyTorch's projections,
 * which know nothing of each other, a small decoder soon finds masks that are the same for all points, and
 * stays there. Half of the dims hold a place (the other frequencies are 0), half what is there (the neck's last
 * norm is 0 in the former). Between tokens and image, queries and keys read the place, values the rest: what
 * holds a place attends to the cells round it and takes up what they are. The first attention among tokens,
 * which has no residual, hands on what it reads, and of all tokens the point's is the largest: so each token
 * holds its place. The frequencies are higher than the reference's, as a lesion is a cell or two. */
void sam_begin(const SamEncoder *encoder, const SamDecoder *d, uint64_t seed);
#endif
