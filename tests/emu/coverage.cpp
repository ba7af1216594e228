/* Which kernels ran: with EMU_COVERAGE=FILE a process that ends well adds a line for each, its offset in the
 * plug-in and the blocks of its largest launch, or 0 where the source itself says one block (coverage.sh). */
#include "tests/emu/runner.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

namespace emu
{
struct Ran {
    const void *kernel;
    uint64_t blocks;
    Ran *next;
};
static Ran *all;

void count_launch(const void *kernel, uint64_t blocks, bool single)
{
    if (single) blocks = 0;
    for (Ran *k = all; k; k = k->next)
        if (k->kernel == kernel) {
            if (blocks > k->blocks) k->blocks = blocks;
            return;
        }
    Ran *k = (Ran *)malloc(sizeof *k);
    if (!k) fail({}, "no memory");
    *k = {kernel, blocks, all};
    all = k;
}

__attribute__((destructor)) static void write_counts(void)
{
    const char *path = getenv("EMU_COVERAGE");
    Dl_info self;
    if (!path || !*path || !all) return;
    FILE *f = fopen(path, "a");
    for (const Ran *k = all; f && k; k = k->next) {
        if (!dladdr(k->kernel, &self)) fail({}, "a kernel lies in no file");
        fprintf(f, "%lx %llu\n", (unsigned long)((const char *)k->kernel - (const char *)self.dli_fbase),
                (unsigned long long)k->blocks);
    }
    if (!f || fclose(f)) fail({}, "cannot write %s", path);
}
} // namespace emu
