/* CQ500 (Chilamkurthy et al. 2018): head CTs read by three radiologists each, as it is on disk.
 *
 * ROOT/reads.csv: a line a study; columns name (CQ500-CT-0 to CQ500-CT-490), Category (B1, B2: how it was
 * collected) and for each reader R1, R2, R3 fourteen findings, 0 or 1: R1:ICH ... R3:MidlineShift, in any
 * order. A finding is a study's when two of the three saw it.
 *
 * Anywhere under ROOT: a folder a study, named CQ500CT12 CQ500CT12 (or with dashes, once, or joined by _), and
 * in it, mostly below "Unknown Study", a folder a series with its DICOM files: "CT Plain", "CT PLAIN THIN",
 * "CT BONE", "CT 5mm", "CT POST CONTRAST-2". */
#ifndef DATA_CQ500_H
#define DATA_CQ500_H
#include "tensor/error.h"
#include <stddef.h>
#include <stdint.h>

enum { CQ500_READERS = 3, CQ500_LABELS = 14, CQ500_MAX_NUMBER = 999999 };

/* In the order of the file: ICH IPH IVH SDH EDH SAH BleedLocation-Left BleedLocation-Right ChronicBleed
 * Fracture CalvarialFracture OtherFracture MassEffect MidlineShift. ICH is any bleed within the skull. */
enum { CQ500_ICH = 0, CQ500_LEFT = 6, CQ500_RIGHT = 7 };
extern const char *const cq500_label[CQ500_LABELS];

typedef struct Cq500Read {
    int number;                 /* 12 of CQ500-CT-12 */
    int batch;                  /* 1 or 2 */
    int line;                   /* in the file, from 1 */
    uint8_t vote[CQ500_LABELS]; /* readers who saw it, 0..3 */
} Cq500Read;

typedef struct Cq500Reads {
    int n;
    Cq500Read *read; /* by number, ascending */
} Cq500Reads;

/* Bit l: two of the three readers saw label l. */
uint32_t cq500_majority(const uint8_t vote[CQ500_LABELS]);
/* Of a mirrored image: left and right bleeds change places. */
uint32_t cq500_mirror(uint32_t labels);

/* The file as comma-separated values: lines end in LF or CRLF, a byte-order mark is allowed, fields may be
 * quoted ("" is a quote), empty lines are passed over. Faults name file, line and what was expected: a column
 * missing, unknown or twice, a line with another number of fields, a vote other than 0 and 1, a study twice. On
 * false *r is untouched. */
bool cq500_reads(const char *path, Cq500Reads *r, Error *e);
/* The same from memory; `what` names it in messages. */
bool cq500_reads_parse(const char *bytes, size_t n, const char *what, Cq500Reads *r, Error *e);
void cq500_reads_free(Cq500Reads *r);

/* The number in a name that begins with CQ500-CT-12 or CQ500CT12 and goes on, if it does, with neither letter
 * nor digit; -1 of any other. */
int cq500_number(const char *name);

/* A folder that holds *.dcm files. */
typedef struct Cq500Series {
    int number;       /* of the folder above it that is named as a study */
    int files;        /* *.dcm */
    int kind;         /* CQ500_PLAIN, ... */
    char *path;       /* malloc'ed */
    const char *name; /* path's last part */
} Cq500Series;

/* What a series' name says. PLAIN: "plain", or "contrast" after "pre", "non" or "without". OTHER: not to be
 * used for the brain without contrast: bone, contrast, post, CECT, angiography (D3D, CTA), oral, IV, sharp
 * kernels (HRCT, HiRes), reformatted (DMPR, MIP, 3D), orbit, sinuses (PNS), scout, chest, abdomen, spine.
 * SILENT: neither
 * ("CT 5mm"). FEW: fewer files than a study's eight layers. */
enum { CQ500_PLAIN, CQ500_SILENT, CQ500_OTHER, CQ500_FEW };

typedef struct Cq500Scan {
    int n;
    Cq500Series *series; /* by study, and in a study the better one first */
    int strays;          /* folders with *.dcm files that are in no study's folder */
} Cq500Scan;

/* Every series under root. The better one: PLAIN before SILENT (OTHER and FEW are never chosen); then one of at
 * most 100 files (slices of 5 or 2.5 mm, whose window of the brain is that of a read) before longer ones, and
 * of those at most 100 files long the longest, of longer ones the shortest; then by name. Links to folders are
 * followed, ten folders deep and 100 000 in all. */
bool cq500_scan(const char *root, Cq500Scan *s, Error *e);
void cq500_scan_free(Cq500Scan *s);
/* The series of a study: how many, and where they begin in s->series. */
int cq500_find(const Cq500Scan *s, int number, int *first);
#endif
