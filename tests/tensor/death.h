/* Tests of code that must not come back: the test program starts itself again with a case's name, and the test
 * reads exit status and message. main() begins with DEATH_MAIN. */
#ifndef TESTS_TENSOR_DEATH_H
#define TESTS_TENSOR_DEATH_H
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DEATH_SURVIVED = 99, DEATH_UNKNOWN = 98, DEATH_ABORT = 128 + SIGABRT };

typedef struct DeathCase {
    const char *name;
    void (*run)(void); /* must not return, unless the test expects DEATH_SURVIVED */
} DeathCase;

typedef struct Death {
    int code;       /* exit status, or 128 + signal; -1: it could not be started */
    char err[8192]; /* the first bytes of standard error, NUL-terminated */
} Death;

/* Runs the case of this program. The environment is the test's own (setenv before, unsetenv after). */
static inline Death death_of(const char *name)
{
    extern char **environ;
    Death d = {.code = -1};
    char file[] = "/tmp/pcrl-death-XXXXXX";
    char *argv[] = {(char *)"death", (char *)"--death", (char *)name, NULL};
    int fd = mkstemp(file), status = 0;
    if (fd < 0) return d;
    unlink(file);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, fd, 2);
    pid_t pid;
    if (!posix_spawn(&pid, "/proc/self/exe", &files, NULL, argv, environ) && waitpid(pid, &status, 0) == pid)
        d.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    posix_spawn_file_actions_destroy(&files);
    ssize_t n = pread(fd, d.err, sizeof d.err - 1, 0);
    d.err[n > 0 ? n : 0] = 0;
    close(fd);
    return d;
}

/* The case ends with this code and a message that holds `text`. */
static inline void assert_death(const char *name, int code, const char *text)
{
    Death d = death_of(name);
    ck_assert_msg(d.code == code, "%s: exit status %d, expected %d; it said: %s", name, d.code, code, d.err);
    ck_assert_msg(strstr(d.err, text), "%s: said '%s', expected '%s'", name, d.err, text);
}

static inline int death_run(const DeathCase *cases, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(cases[i].name, name)) {
            cases[i].run();
            return DEATH_SURVIVED;
        }
    return DEATH_UNKNOWN;
}

#define DEATH_MAIN(cases, argc, argv)                                                                          \
    do {                                                                                                       \
        if ((argc) == 3 && !strcmp((argv)[1], "--death"))                                                      \
            return death_run(cases, sizeof(cases) / sizeof *(cases), (argv)[2]);                               \
    } while (0)

#endif
