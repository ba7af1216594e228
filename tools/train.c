#include "tools/train.h"

void train_path(char *path, const char *folder, const char *name)
{
    snprintf(path, 4096, "%s/%s", folder, name);
}

void train_buffers(Trainer *t, const Weights *w)
{
    for (int i = 0; i < w->n; i++)
        if (w->item[i].spec.kind == WEIGHT_BUFFER) trainer_extra(t, w->item[i].name, w->item[i].tensor);
}
