#include "tools/bench_start.h"
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATH = 4096, ARGS = 32, STARTS_LEAST = 11, STARTS_MOST = 100, SAID = 160 };

/* A program or plug-in beside this one. */
static void beside(char *path, size_t room, const char *name)
{
    ssize_t n = readlink("/proc/self/exe", path, room - strlen(name) - 1);
    while (n > 0 && path[n - 1] != '/') n--;
    strcpy(path + (n > 0 ? n : 0), name);
}

double bench_run(const char *const *args, const char *err, int *status, Error *e)
{
    extern char **environ;
    char tool[PATH];
    const char *argv[ARGS] = {tool};
    beside(tool, sizeof tool, "pcrl-report");
    for (int i = 0; i < ARGS - 2 && args[i]; i++) argv[i + 1] = args[i];
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    if (err) {
        posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
        posix_spawn_file_actions_addopen(&files, 2, err, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    }
    pid_t pid;
    double from = cli_seconds();
    int fault = posix_spawn(&pid, tool, &files, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&files);
    if (fault) {
        error_set(e, ERROR_IO, "%s: cannot start: %s", tool, strerror(fault));
        return -1;
    }
    if (waitpid(pid, status, 0) != pid || !WIFEXITED(*status)) {
        error_set(e, ERROR_INTERNAL, "%s: ended with status %d", tool, *status);
        return -1;
    }
    *status = WEXITSTATUS(*status);
    return cli_seconds() - from;
}

/* What a start is called, and its device; NULL: --version. */
static const struct Start {
    const char *name, *device, *plugin;
} starts[] = {
    {"start, --version", NULL, NULL},
    {"start, --device cpu", "cpu", NULL},
    {"start, --device auto", "auto", NULL},
    {"start, --device cuda", "cuda", "pcrl_cuda.so"},
    {"start, --device emu", "emu", "pcrl_emu.so"},
};
enum { STARTS = sizeof starts / sizeof *starts, CPU = 1 };

typedef struct Place {
    const char *data;
    char model[PATH + 32], err[PATH + 32];
} Place;

static double start_once(const struct Start *s, const Place *p, Error *e)
{
    const char *const version[] = {"--version", NULL};
    const char *const open[] = {"--device", s->device, "--model", p->model, p->data, NULL};
    int status;
    double seconds = bench_run(s->device ? open : version, p->err, &status, e);
    if (seconds >= 0 && (status != 0) != (s->device != NULL)) {
        error_set(e, ERROR_INTERNAL, "pcrl-report, %s: ended with status %d", s->name, status);
        return -1;
    }
    return seconds;
}

/* What the last start said of a device that it did not get, or "". */
static void refusal(const Place *p, char said[SAID])
{
    FILE *f = fopen(p->err, "r");
    said[0] = 0;
    if (f && !fgets(said, SAID, f)) said[0] = 0;
    if (f) fclose(f);
    said[strcspn(said, "\n")] = 0;
    const char *from = strstr(said, "device ");
    if (!from)
        said[0] = 0;
    else
        memmove(said, from, strlen(from) + 1);
}

static void print_start(const BenchSystem *b, const char *name, BenchTimes t, double cpu, const char *said)
{
    if (b->csv)
        printf("system,\"%s\",whole,%.2f,%.2f,,,,\n", name, t.median * 1e6, t.least * 1e6);
    else
        printf("%-42s %11.4f %11.4f  %6.2f x cpu%s%s\n", name, t.median, t.least, t.median / cpu,
               *said ? "; " : "", said);
    fflush(stdout);
}

bool bench_start(const BenchSystem *b, const char *data, const char *folder, Error *e)
{
    double run[STARTS][STARTS_MOST];
    char said[STARTS][SAID], plugin[PATH];
    bool have[STARTS];
    Place p = {.data = data};
    int n = 0;
    snprintf(p.model, sizeof p.model, "%s/no-model", folder);
    snprintf(p.err, sizeof p.err, "%s/said", folder);
    for (int i = 0; i < STARTS; i++) {
        beside(plugin, sizeof plugin, starts[i].plugin ? starts[i].plugin : "pcrl-report");
        have[i] = access(plugin, R_OK) == 0;
    }
    /* The first round fills the system's cache of files. */
    const double from = cli_seconds();
    for (int k = -1; k < STARTS_LEAST || (k < STARTS_MOST && cli_seconds() - from < b->seconds); k++, n = k)
        for (int i = 0; i < STARTS; i++) {
            if (!have[i]) continue;
            double seconds = start_once(&starts[i], &p, e);
            if (seconds < 0) return false;
            if (k >= 0) run[i][k] = seconds;
            refusal(&p, said[i]);
        }
    const double cpu = bench_times(run[CPU], n).median;
    for (int i = 0; i < STARTS; i++)
        if (have[i])
            print_start(b, starts[i].name, bench_times(run[i], n), cpu, said[i]);
        else if (!b->csv)
            printf("%-42s not timed: no %s here\n", starts[i].name, starts[i].plugin);
    return true;
}
