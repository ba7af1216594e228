/* Where the brain is in a head CT: the intracranial area of every slice, without any model.
 *
 * On a grid of about 2 mm per cell:
 *   bone     mean over 180 HU, or any voxel over 400
 *   inside   not bone, mean HU in the brain's range (0..80, widened to -20..120 for noise, blood and calcium),
 *            and a ray meets bone in at least 7 of the 8 directions: one gap (a burr hole, a craniotomy, the
 *            foramen magnum) does not open the skull
 *   kept     from the slice with most of it down and up: the parts of `inside` that remain connected after an
 *            erosion of 4 mm and lie at least half over what was kept in the neighbouring slice. This leaves
 *            out orbits, mouth and neck, which bone surrounds as well but the skull base parts from the brain.
 */
#ifndef DATA_HEAD_H
#define DATA_HEAD_H
#include "data/volume.h"

typedef struct Head {
    int nz;
    double dz;
    double *area;   /* [nz] mm^2, caudal to cranial; malloc'ed, head_free */
    double largest; /* its maximum */
    double centre_x,
        centre_y; /* mm from the volume's corner: middle of the box round all slices over half of it */
} Head;

/* False if there is no head (nothing over -300 HU), no closed skull, or less brain inside it than 4000 mm^2 in
 * the best slice; the message says what was found. `what` names the input. */
bool head_find(const Volume *v, const char *what, Head *head, Error *e);
void head_free(Head *head);

/* The part of the volume a study shows, in mm from the lower face of the first slice. Going down from the
 * largest slice the area falls under 40 % of the maximum where pons, temporal poles and petrous bones meet; the
 * skull base slices begin 7 mm below. Going up it falls under 20 % 4 mm below the last cortex. (Both distances
 * bring the phantoms' ranges to their true ends.) Ends of the volume limit the range. False if it is no head's:
 * shorter than 60 mm or longer than 180 mm. */
bool head_range(const Head *head, const char *what, double *from, double *to, Error *e);
#endif
