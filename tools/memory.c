#include "tools/memory.h"
#include <stdint.h>
#include <string.h>

/* The process's peak in bytes; 0 where the system does not tell it. */
static uint64_t resident_peak(void)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    unsigned long long kb = 0;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %llu kB", &kb) == 1) break;
    if (f) fclose(f);
    return (uint64_t)kb << 10;
}

static void print_line(const char *name, uint64_t bytes, const char *what, FILE *out)
{
    fprintf(out, "memory %-8s %15llu bytes %9.3f GiB%s%s\n", name, (unsigned long long)bytes,
            (double)bytes / 0x1p30, *what ? "  " : "", what);
}

void memory_print(const Arena *const arena[MEMORY_ARENAS], const char *state, FILE *out)
{
    const char *const what[MEMORY_ARENAS] = {"frozen weights", state, "activations and their gradients",
                                             "inside one kernel"};
    uint64_t total = 0, resident = resident_peak();
    bool plan = arena[0]->backend == &backend_plan;
    for (int i = 0; i < MEMORY_ARENAS; i++) {
        if (!arena[i]->peak) continue;
        print_line(arena[i]->name, arena[i]->peak, what[i], out);
        total += arena[i]->peak;
    }
    if (plan)
        fprintf(out,
                "memory scratch    not planned: what a kernel needs while it runs is its device's own; a run "
                "ends with it\n");
    print_line("all", total, plan ? "without scratch" : "", out);
    if (!plan && resident) print_line("resident", resident, "the whole process at its peak", out);
}
