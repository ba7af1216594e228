/* Galleries of many studies. Each worker is a process with a model of its own, which takes the next study until
 * there is none; what they have to tell lies in memory that they share. */
#include "data/file.h"
#include "tools/masks.h"
#include <errno.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Worker {
    MaskCounts counts;
    Error error;
} Worker;

typedef struct Shared {
    int64_t next; /* study */
    int64_t done; /* slices */
    int stop;
    Worker worker[];
} Shared;

typedef struct Run {
    const MaskOptions *o;
    const Ctrg *data;
    CtrgStudy *const *study;
    int n, processes;
    Shared *shared;
    pid_t *pid; /* of the processes; 0: ended */
    CliProgress progress;
} Run;

/* Whether the study's gallery is there, with these settings and slices. One that cannot be read is an error. */
static bool is_there(const Run *r, const CtrgStudy *s, const json_t *settings, bool *there, bool *other,
                     Error *e)
{
    char path[4096];
    *there = *other = false;
    if (!gallery_path(r->o->out, s->id, path, e)) return false;
    if (access(path, F_OK)) return true;
    Gallery *g = gallery_open(r->o->out, s->id, e);
    if (!g) return false;
    uint32_t slices = 0;
    for (int i = 0; i < g->n; i++) slices |= 1u << g->slice[i].slice;
    *there = slices == r->o->slices && json_equal(g->settings, settings);
    *other = !*there;
    gallery_free(g);
    return true;
}

static void tick(void *context)
{
    Run *r = context;
    int64_t done = __atomic_add_fetch(&r->shared->done, 1, __ATOMIC_RELAXED);
    if (r->processes == 1) cli_progress(&r->progress, done, NULL);
}

static bool do_study(Run *r, MaskModel *m, const CtrgStudy *s, const json_t *settings, MaskCounts *c, Error *e)
{
    bool there, other;
    char path[4096];
    MaskStudy study;
    if (!is_there(r, s, settings, &there, &other, e)) return false;
    if (there) {
        c->skipped++;
        __atomic_add_fetch(&r->shared->done, mask_slices(r->o, CTRG_SLICES), __ATOMIC_RELAXED);
        return true;
    }
    if (!gallery_path(r->o->out, s->id, path, e) || !mask_study_read(&study, r->data, s, r->o, e)) return false;
    Gallery *g = mask_study_gallery(m, r->o, &study, settings, &c->times, tick, r, e);
    bool ok = g && gallery_write(g, path, e);
    if (ok) {
        c->studies++;
        c->slices += g->n;
        c->remade += other;
    }
    gallery_free(g);
    mask_study_free(&study);
    return ok;
}

static bool work(Run *r, Worker *w)
{
    MaskModel m;
    MaskOptions own = *r->o;
    own.common.memory /= (uint64_t)r->processes;
    if (!mask_model_open(&m, &own, &w->error)) return false;
    json_t *settings = mask_settings_json(&m, r->o, &w->error);
    bool ok = settings != NULL;
    while (ok && !__atomic_load_n(&r->shared->stop, __ATOMIC_RELAXED)) {
        int64_t k = __atomic_fetch_add(&r->shared->next, 1, __ATOMIC_RELAXED);
        if (k >= r->n) break;
        ok = do_study(r, &m, r->study[k], settings, &w->counts, &w->error);
    }
    json_decref(settings);
    mask_model_close(&m);
    return ok;
}

/* One process, if the device is not the CPU: it has one of its kind. */
static int processes(const MaskOptions *o, int n, Error *e)
{
    const Backend *backend = backend_open(o->common.device, e);
    if (!backend) return 0;
    int threads = o->common.threads ? o->common.threads : omp_get_max_threads();
    if (backend != &backend_cpu) return 1;
    return threads < n ? threads : n > 1 ? n : 1;
}

static void start(Run *r, int i)
{
    Worker *w = &r->shared->worker[i];
    int threads = r->o->common.threads ? r->o->common.threads : omp_get_max_threads();
    fflush(NULL);
    r->pid[i] = fork();
    if (r->pid[i] < 0) error_set(&w->error, ERROR_IO, "cannot start a process: %s", strerror(errno));
    if (r->pid[i]) return;
    omp_set_num_threads(threads / r->processes > 1 ? threads / r->processes : 1);
    _exit(work(r, w) ? 0 : w->error.code ? w->error.code : ERROR_INTERNAL);
}

/* Until all have ended; after a fault no study is begun. */
static void watch(Run *r)
{
    for (int left = r->processes; left > 0;) {
        left = 0;
        for (int i = 0; i < r->processes; i++) {
            Worker *w = &r->shared->worker[i];
            int status;
            if (r->pid[i] > 0 && waitpid(r->pid[i], &status, WNOHANG) == r->pid[i]) {
                r->pid[i] = 0;
                if (WIFSIGNALED(status))
                    error_set(&w->error, ERROR_INTERNAL, "a process ended by signal %d", WTERMSIG(status));
                else if (WEXITSTATUS(status) && !w->error.code)
                    error_set(&w->error, WEXITSTATUS(status), "a process ended with code %d",
                              WEXITSTATUS(status));
            }
            left += r->pid[i] > 0;
            if (w->error.code) r->shared->stop = 1;
        }
        if (cli_interrupted()) r->shared->stop = 1;
        cli_progress(&r->progress, __atomic_load_n(&r->shared->done, __ATOMIC_RELAXED), NULL);
        if (left) usleep(50000);
    }
}

static void add(MaskCounts *to, const MaskCounts *c)
{
    SamMaskTimes *t = &to->times;
    to->studies += c->studies, to->slices += c->slices, to->skipped += c->skipped, to->remade += c->remade;
    t->encoder += c->times.encoder, t->decoder += c->times.decoder, t->tail += c->times.tail;
    t->nms += c->times.nms, t->rle += c->times.rle, t->points += c->times.points;
    t->above_iou += c->times.above_iou, t->stable += c->times.stable, t->records += c->times.records;
}

bool mask_run(const MaskOptions *o, const Ctrg *data, CtrgStudy *const *study, int n, MaskCounts *counts,
              Error *e)
{
    Run r = {.o = o, .data = data, .study = study, .n = n, .processes = processes(o, n, e)};
    if (!r.processes || !file_make_folder(o->out, e)) return false;
    double begun = cli_seconds();
    size_t bytes = sizeof *r.shared + (size_t)r.processes * sizeof *r.shared->worker;
    r.shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    r.pid = calloc((size_t)r.processes, sizeof *r.pid);
    if (r.shared == MAP_FAILED || !r.pid)
        return error_set(e, ERROR_MEMORY, "no memory for %d processes", r.processes);
    r.progress = cli_progress_start("slices", 0, (int64_t)n * mask_slices(o, CTRG_SLICES));
    if (r.processes == 1)
        work(&r, &r.shared->worker[0]);
    else
        for (int i = 0; i < r.processes; i++) start(&r, i);
    if (r.processes > 1) watch(&r);
    cli_progress_end(&r.progress);
    bool ok = true;
    for (int i = 0; i < r.processes; i++) {
        const Worker *w = &r.shared->worker[i];
        add(counts, &w->counts);
        if (ok && w->error.code) ok = error_set(e, w->error.code, "%s", w->error.msg);
    }
    if (ok && cli_interrupted()) ok = error_set(e, ERROR_INTERRUPTED, "interrupted");
    counts->seconds = cli_seconds() - begun;
    counts->processes = r.processes;
    munmap(r.shared, bytes);
    free(r.pid);
    return ok;
}
