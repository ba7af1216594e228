/* What --dry-run prints, and of it the memory at the end of a run. */
#include "tools/memory.h"
#include "tools/trainer.h"
#include <string.h>

static bool is_lora(const char *name) { return strstr(name, ".lora_"); }

/* The part of a name that its group goes by: "lora", or what stands before the first dot. */
static int group_length(const char *name) { return (int)strcspn(name, "."); }

static bool same_group(const char *a, const char *b)
{
    if (is_lora(a) || is_lora(b)) return is_lora(a) && is_lora(b);
    int n = group_length(a);
    return n == group_length(b) && !strncmp(a, b, (size_t)n);
}

static void shape_text(const Tensor *x, char *text, size_t room)
{
    size_t at = 0;
    for (int i = 0; i < x->ndim && at < room; i++)
        at += (size_t)snprintf(text + at, room - at, "%s%lld", i ? "," : "(", (long long)x->dim[i]);
    if (at < room) snprintf(text + at, room - at, ")");
}

void trainer_print_parameters(const Trainer *t, FILE *out)
{
    const Params *p = &t->params;
    int64_t lora = 0, total = params_count(p), group = 0;
    fprintf(out, "%-72s %-20s %12s\n", "trainable tensor", "shape", "numbers");
    for (int i = 0; i < p->n; i++) {
        const char *name = p->entry[i].name;
        int64_t n = tensor_len(p->entry[i].tensor);
        char shape[96];
        shape_text(p->entry[i].tensor, shape, sizeof shape);
        fprintf(out, "%-72s %-20s %12lld\n", name, shape, (long long)n);
        group += n;
        lora += is_lora(name) ? n : 0;
        if (i + 1 < p->n && same_group(name, p->entry[i + 1].name)) continue;
        fprintf(out, "  %-91.*s %12lld\n", is_lora(name) ? 4 : group_length(name),
                is_lora(name) ? "LoRA" : name, (long long)group);
        group = 0;
    }
    fprintf(out, "trainable %lld, of which LoRA %lld (%.2f %%)\n", (long long)total, (long long)lora,
            total ? 100 * (double)lora / (double)total : 0);
}

void trainer_print_memory(const Trainer *t, FILE *out)
{
    memory_print((const Arena *const[]){&t->weights, &t->state, &t->step_arena, &t->scratch},
                 "trainable weights, gradients, moments, statistics", out);
}

void trainer_print_times(const Trainer *t, FILE *out)
{
    const TrainerTimes *s = &t->times;
    fprintf(
        out,
        "seconds  opening %.2f, forward and backward %.2f, optimiser %.2f, validation %.2f, saving %.2f; %lld "
        "updates\n",
        s->opening, s->passes, s->updates, s->validating, s->saving, (long long)(t->step - t->first));
}
