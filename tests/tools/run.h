/* Runs one of our programs from $BUILD/bin and keeps what it said. */
#ifndef TESTS_TOOLS_RUN_H
#define TESTS_TOOLS_RUN_H
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Programs take ten times as long: for tests that start many alike. */
#ifdef __SANITIZE_ADDRESS__
enum { SANITIZED = true };
#else
enum { SANITIZED = false };
#endif

typedef struct Run {
    int code;                    /* exit status; 128 + signal when it was killed; -1 when it did not start */
    char out[262144], err[8192]; /* the first bytes, NUL-terminated */
} Run;

static void run_keep(int fd, char *text, size_t n)
{
    lseek(fd, 0, SEEK_SET);
    ssize_t got = read(fd, text, n - 1);
    text[got > 0 ? got : 0] = 0;
    close(fd);
}

/* Where a program of this build is. */
static inline void tool_path(char *path, size_t room, const char *tool)
{
    const char *build = getenv("BUILD");
    snprintf(path, room, "%s/bin/%s", build ? build : "build/release", tool);
}

/* Whether a process has a handler for a signal; before that the signal ends it. */
static inline bool run_catches(pid_t pid, int signal)
{
    char path[64], line[256];
    unsigned long long caught = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f) && sscanf(line, "SigCgt: %llx", &caught) != 1) {}
    if (f) fclose(f);
    return caught >> (signal - 1) & 1;
}

/* args ends with NULL and leaves the program's name out. Standard input is empty. */
static inline void run_tool(Run *r, const char *tool, const char *const args[])
{
    extern char **environ;
    char path[4096], out[] = "/tmp/pcrl-out-XXXXXX", err[] = "/tmp/pcrl-err-XXXXXX", *argv[64] = {path};
    tool_path(path, sizeof path, tool);
    for (int i = 0; i < 62 && args[i]; i++) argv[i + 1] = strdup(args[i]);
    int fd[2] = {mkstemp(out), mkstemp(err)}, status = 0;
    unlink(out);
    unlink(err);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, fd[0], 1);
    posix_spawn_file_actions_adddup2(&files, fd[1], 2);
    pid_t pid;
    r->code = -1;
    if (!posix_spawn(&pid, path, &files, NULL, argv, environ) && waitpid(pid, &status, 0) == pid)
        r->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    posix_spawn_file_actions_destroy(&files);
    run_keep(fd[0], r->out, sizeof r->out);
    run_keep(fd[1], r->err, sizeof r->err);
    for (int i = 1; argv[i]; i++) free(argv[i]);
}
#endif
