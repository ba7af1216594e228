/* Reports as they go to and fro between programs: an id and a text each. Read are, told by the content,
 *   a JSON list of objects    CTRG's annotations {"id", "findings"}, COCO's caption results {"image_id",
 *                             "caption"}
 *   one object                COCO's caption annotations {"annotations": [{"image_id", "caption"}, ...]}
 *   one object a line         {"id", "report"}, as our programs write them
 * In all of them a report's text may be under "report", "findings" or "caption" (exactly one of these), its id
 * under "image_id" or else "id". Ids are strings or whole numbers; 12 and "12" are the same. What else an
 * object has is not read, but counted by its name. Objects are parsed one by one, so that a million of them
 * take little more memory than their texts. */
#ifndef DATA_REPORT_LIST_H
#define DATA_REPORT_LIST_H
#include "tensor/error.h"
#include <stddef.h>
#include <stdint.h>

enum { REPORT_KEYS = 24 };

/* How often a member that is not read was there. */
typedef struct ReportKey {
    char name[40]; /* cut, if longer */
    int64_t n;
} ReportKey;

typedef struct ReportCounts {
    int reports, empty;         /* empty: without a character that is not white space */
    ReportKey key[REPORT_KEYS]; /* in the order in which they were met */
    int n_keys;
    int64_t other_keys; /* members with further names */
} ReportCounts;

typedef struct ReportList {
    int n;
    char **id, **text; /* (n) in the file's order */
    int *by_id;        /* (n) places in the order of the ids' bytes */
    int *place;        /* (n) the line (from 1) or the list's entry (from 0) that it was */
    bool lines;
    ReportCounts counts;
} ReportList;

/* False and one line in *e: what is no such file, an id twice, a missing or empty id, a missing text. No report
 * at all is an error too. The caller frees. */
bool report_list_read(const char *path, ReportList *out, Error *e);
/* The same from memory. `what` names the text in messages. */
bool report_list_parse(const char *text, size_t n, const char *what, ReportList *out, Error *e);
void report_list_free(ReportList *l);

/* Its place in the list, or -1. */
int report_list_find(const ReportList *l, const char *id);
/* "line 3" or "entry 2", for messages. */
const char *report_list_place(const ReportList *l, int i, char text[32]);

/* Whether a text has no character but white space (tensor/utf8.h). */
bool report_empty(const char *text);
#endif
