/* Phantoms in CQ500's layout: what three readers would have seen of them, and one line of reads.csv. */
#ifndef TESTS_DATA_CQ500_EXPORT_H
#define TESTS_DATA_CQ500_EXPORT_H
#include "data/cq500.h"
#include "data/phantom.h"
#include <stdio.h>

enum { IPH = 1, SDH = 3, EDH, SAH, CHRONIC = 8, MASS_EFFECT = 12, MIDLINE_SHIFT };

/* Bit l: the phantom has label l. */
static inline uint32_t phantom_labels(const Phantom *p)
{
    FindingSet found = phantom_findings(p);
    uint32_t labels = 0;
    for (int f = 0; f < FINDING_COUNT; f++) {
        const FindingKind *k = finding_kind(f);
        int bleed = k->density != DENSITY_HIGH         ? -1
                    : k->entity == ENTITY_SUBDURAL     ? SDH
                    : k->entity == ENTITY_EPIDURAL     ? EDH
                    : k->entity == ENTITY_SUBARACHNOID ? SAH
                    : k->parenchymal                   ? IPH
                                                       : -1;
        if (found.side[f] == SIDE_ABSENT) continue;
        if (bleed > 0) {
            labels |= 1u << CQ500_ICH | 1u << bleed;
            if (k->sided)
                labels |= (found.side[f] & 1u) << CQ500_LEFT | (found.side[f] >> 1 & 1u) << CQ500_RIGHT;
        }
        if (k->entity == ENTITY_SUBDURAL && k->density == DENSITY_LOW) labels |= 1u << CHRONIC;
        if (k->density == DENSITY_COMPRESSED) labels |= 1u << MASS_EFFECT;
        if (k->density == DENSITY_SHIFT) labels |= 1u << MIDLINE_SHIFT;
    }
    return labels;
}

/* The votes, of which one in five labels has a reader who disagrees with the two others. */
static inline void write_read(FILE *f, int number, uint32_t labels)
{
    fprintf(f, "CQ500-CT-%d,B%d", number, 1 + number % 2);
    for (int r = 0; r < CQ500_READERS; r++)
        for (int l = 0; l < CQ500_LABELS; l++) {
            int against = (number * 31 + l * 7) % (5 * CQ500_READERS);
            fprintf(f, ",%d", (int)(labels >> l & 1) ^ (against == r));
        }
    fputc('\n', f);
}
#endif
