/* Stream capture: between its begin and its end what goes on the stream is kept instead of done, a launch of
 * the graph does it all again, with the addresses and parameters it had. Calls that a capture does not allow
 * fail. EMU_CALLS=file writes every kernel, copy, wait and allocation there as it is done, a line each.
 * EMU_DRY=n: nothing on the stream is done, downloads give zeros, and the device has n multiprocessors: what it
 * asks for, memory above all, without the work. */
#include "tests/emu/runner.h"
#include <stdio.h>
#include <stdlib.h>

namespace emu
{
/* One thing on the stream; its argument follows. */
struct Kept {
    Kept *next;
    Body *body;
    alignas(16) char argument[];
};
struct Graph {
    Kept *first, **end;
};
static Graph *open;

bool capturing(void) { return open != NULL; }

void not_captured(const char *call)
{
    if (open) fail({}, "%s while the stream is captured", call);
}

int dry(void)
{
    static const char *const n = getenv("EMU_DRY");
    return n ? atoi(n) : 0;
}

void enqueue(Body *body, const void *argument, size_t bytes)
{
    if (dry()) return;
    if (!open) {
        body((void *)(uintptr_t)argument);
        return;
    }
    Kept *k = (Kept *)aligned_alloc(16, (sizeof *k + bytes + 15) / 16 * 16);
    if (!k) fail({}, "no memory for a graph");
    k->next = NULL;
    k->body = body;
    memcpy(k->argument, argument, bytes);
    *open->end = k;
    open->end = &k->next;
}

void note(const char *call)
{
    static bool asked;
    static FILE *f;
    if (!asked) {
        const char *path = getenv("EMU_CALLS");
        if (path && !(f = fopen(path, "a"))) fail({}, "%s: cannot write", path);
        asked = true;
    }
    if (f) fprintf(f, "%s\n", call);
}
} // namespace emu

using namespace emu;

extern "C" {
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode)
{
    not_captured("cudaStreamBeginCapture");
    open = (Graph *)malloc(sizeof *open);
    if (!open) fail({}, "no memory for a graph");
    *open = {NULL, &open->first};
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t *graph)
{
    if (!open) fail({}, "cudaStreamEndCapture: nothing is captured");
    *graph = (cudaGraph_t)open;
    open = NULL;
    return cudaSuccess;
}
/* The executable takes the graph's nodes over, so that a graph serves one. */
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long)
{
    Graph *g = (Graph *)malloc(sizeof *g);
    if (!g) fail({}, "no memory for a graph");
    *g = *(Graph *)graph;
    ((Graph *)graph)->first = NULL;
    *exec = (cudaGraphExec_t)g;
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t)
{
    not_captured("cudaGraphLaunch");
    note("graph");
    for (Kept *k = ((Graph *)exec)->first; k; k = k->next) k->body(k->argument);
    return cudaSuccess;
}
static void free_graph(Graph *g)
{
    for (Kept *k = g->first, *next; k; k = next) {
        next = k->next;
        free(k);
    }
    free(g);
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    free_graph((Graph *)graph);
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    free_graph((Graph *)exec);
    return cudaSuccess;
}
}
