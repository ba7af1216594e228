/* What the sources (settings.c) and the resolution (settings_resolve.c) of settings share. */
#ifndef TOOLS_SETTINGS_PARTS_H
#define TOOLS_SETTINGS_PARTS_H
#include "tools/settings.h"

enum { SETTING_TEXT_ROOM = 24576 }; /* of any value as JSON */

/* Writes the value into the field at `to`; false and `to` untouched where it is not allowed. */
bool setting_from_text(const Setting *r, const char *text, void *to);
/* The value as it stands in a run file. */
void setting_text(const Setting *r, const TrainOptions *o, char *out, size_t room);
/* STAGE_RESNET, ...; 0 for another name or NULL. */
int stage_bit(const char *stage);

#define STAGE_NAMES "resnet, llama, sam, bert, medclip or pcrl"
#endif
