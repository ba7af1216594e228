/* METEOR 1.5's alignment of two texts: a beam search over the truth's words from left to right, 40 paths wide,
 * for the most equal words, then the fewest chunks, then the least distance. It is the jar's search with its
 * ties and its misses, not the optimum; a synonym or a paraphrase counts for nothing in it. */
#ifndef LOSSES_METEOR_ALIGN_H
#define LOSSES_METEOR_ALIGN_H
#include "losses/meteor.h"
#include "losses/meteor_words.h"

/* Sets matched, matched_function and chunks of *out. False only without memory. */
bool meteor_align(const MeteorWord *said, int n_said, const MeteorWord *truth, int n_truth, MeteorStats *out,
                  Error *e);
#endif
