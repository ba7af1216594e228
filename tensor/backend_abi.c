/* Compiled into the programs and into every plug-in: each hashes the op names and structs it was built with. */
#include "tensor/tape.h"

uint64_t backend_abi(void)
{
    uint64_t h = 14695981039346656037ull;
    const uint64_t sizes[] = {sizeof(Node), sizeof(Tensor), sizeof(Backend), sizeof(Arena), sizeof(Tape)};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) h = (h ^ sizes[i]) * 1099511628211ull;
    for (int i = 0; i < kernel_count; i++)
        for (const char *s = kernel_names[i];; s++) {
            h = (h ^ (unsigned char)*s) * 1099511628211ull;
            if (!*s) break;
        }
    return h;
}
