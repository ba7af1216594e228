/* How far vec.h's dispatch may go: the environment lowers it, so that every path can be tested on one machine.
 */
#include "kernels/vec.h"
#include <stdlib.h>

int vec_limit = 3;

__attribute__((constructor)) static void read_limit(void)
{
    const char *v = getenv("VEC_LEVEL");
    if (v && *v >= '0' && *v <= '3' && !v[1]) vec_limit = *v - '0';
}
