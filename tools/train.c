#include "tools/train.h"
#include <stdio.h>
#include <unistd.h>

TrainerOptions train_trainer(const TrainOptions *o, int64_t samples)
{
    int64_t update = o->batch * o->accumulate;
    return (TrainerOptions){.steps = o->steps,
                            .warm = o->warm,
                            .lr = o->lr,
                            .clip = o->clip,
                            .schedule = o->schedule,
                            .step_gamma = o->step_gamma,
                            .step_every = o->step_every ? o->step_every : (samples + update - 1) / update,
                            .accumulate = o->accumulate,
                            .save_every = o->save_every,
                            .log_every = o->log_every,
                            .validate_every = o->validate_every,
                            .stop_after = o->stop_after,
                            .dry_run = o->dry_run};
}

void train_path(char *path, const char *folder, const char *name)
{
    snprintf(path, 4096, "%s/%s", folder, name);
}

void train_weights(char *path, const char *folder, const char *stem)
{
    static const char *const ends[] = {".safetensors", ".pth", ".pt", ".bin", ".gguf"};
    char inside[4096];
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        snprintf(path, 4096, "%s/%s%s", folder, stem, ends[i]);
        if (access(path, F_OK) == 0) return;
    }
    train_path(inside, folder, stem);
    if (!tensor_file_in_folder(inside, path, 4096)) snprintf(path, 4096, "%s/%s%s", folder, stem, ends[0]);
}

bool train_run(Trainer *t, TrainerLoss *loss, void *context, Error *e)
{
    if (!trainer_run(t, loss, context, e)) return false;
    if (t->o.dry_run || t->step == t->first) return true;
    trainer_print_memory(t, stdout);
    trainer_print_times(t, stdout);
    return true;
}

void train_buffers(Trainer *t, const Weights *w)
{
    for (int i = 0; i < w->n; i++)
        if (w->item[i].spec.kind == WEIGHT_BUFFER) trainer_extra(t, w->item[i].name, w->item[i].tensor);
}
