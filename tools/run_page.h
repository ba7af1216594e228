/* What a run folder has come to, for people: curves and one page. */
#ifndef TOOLS_RUN_PAGE_H
#define TOOLS_RUN_PAGE_H
#include "tensor/error.h"

/* Reads folder/log.jsonl (tools/run_log.h) and, where it is there, folder/run.json (or, in the folder of a part
 * of a stage, the one above), the run's settings as one JSON object; writes folder/curves.svg and
 * folder/index.html, each crash-safe. The page needs no other file: stage and state ("steps" of the settings,
 * if they are of this stage or name none, says of how many), the curves, the skipped updates, the validations
 * with the best one marked, the settings. */
bool run_page_write(const char *folder, Error *e);
#endif
