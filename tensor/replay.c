#include "tensor/replay.h"

Replay replay_open(Tape *t, ReplayWork *work, void *context)
{
    return (Replay){.t = t, .work = work, .context = context};
}

static void check_place(const Arena *a, size_t want)
{
    if (a->used != want)
        die("replay: arena %s has %zu bytes in use, %zu when the work was done first", a->name, a->used, want);
}

static void run(Replay *r)
{
    ArenaMark mark = arena_mark(r->t->step);
    r->work(r->t, r->context);
    arena_pop(r->t->step, mark);
}

bool replay_captures(const Replay *r)
{
    const Tape *t = r->t;
    return t->step->backend->capture_begin && !t->debug && !t->trace && !t->tap && !t->step->guard &&
           !t->scratch->guard;
}

void replay_run(Replay *r)
{
    const Backend *backend = r->t->step->backend;
    if (r->t->recording) die("replay: what is recorded cannot be replayed");
    if (!r->runs) {
        r->step = r->t->step->used;
        r->scratch = r->t->scratch->used;
    }
    check_place(r->t->step, r->step);
    check_place(r->t->scratch, r->scratch);
    if (!r->runs++ || !replay_captures(r)) { /* the first run has memory mapped and kernels loaded */
        run(r);
        return;
    }
    if (!r->graph) {
        backend->capture_begin();
        run(r);
        r->graph = backend->capture_end();
    }
    backend->graph_launch(r->graph);
}

void replay_close(Replay *r)
{
    if (r->graph) r->t->step->backend->graph_free(r->graph);
    *r = (Replay){0};
}
