#include "data/dicom.h"
#include "data/nifti.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM "dcm2niix"
extern char **environ;
enum { ROOM = 4096, SAID = 4096 };

/* ---- its folder ---- */

static bool make_folder(char path[ROOM], Error *e)
{
    const char *tmp = getenv("TMPDIR");
    int n = snprintf(path, ROOM, "%s/pcrl-dicom-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (n < 0 || n >= ROOM) return error_set(e, ERROR_INPUT, "TMPDIR: path too long");
    return mkdtemp(path) || error_set(e, ERROR_IO, "%s: %s", path, strerror(errno));
}

/* The program makes files alone. */
static void remove_folder(const char *path)
{
    char name[2 * ROOM];
    DIR *d = opendir(path);
    for (struct dirent *f; d && (f = readdir(d));) {
        snprintf(name, sizeof name, "%s/%s", path, f->d_name);
        if (strcmp(f->d_name, ".") && strcmp(f->d_name, "..")) unlink(name);
    }
    if (d) closedir(d);
    rmdir(path);
}

/* ---- the process ---- */

/* The last line with words in what it said, in printable ASCII. */
static void last_words(int log, char said[SAID])
{
    ssize_t n = 0;
    off_t end = lseek(log, 0, SEEK_END);
    if (end > 0) n = pread(log, said, SAID - 1, end > SAID - 1 ? end - (SAID - 1) : 0);
    while (n > 0 && said[n - 1] <= ' ') n--;
    said[n < 0 ? 0 : n] = 0;
    char *line = strrchr(said, '\n');
    if (line) memmove(said, line + 1, strlen(line));
    for (char *c = said; *c; c++)
        if (*c < ' ' || *c > '~') *c = '?';
    if (!*said) snprintf(said, SAID, "it said nothing");
}

/* The program takes some paths that are not there for files (it does not ask how its stat ended), and of a file
 * all that is beside it: with "/." behind it a folder that has gone since is at worst looked for again. */
static bool start(const char *folder, const char *out, int log, pid_t *pid, Error *e)
{
    char input[ROOM];
    int n = snprintf(input, ROOM, "%s%s/.", *folder == '-' ? "./" : "", folder);
    if (n < 0 || n >= ROOM) return error_set(e, ERROR_INPUT, "%.200s...: path too long", folder);
    const char *const argv[] = {PROGRAM, "-b", "n", "-z", "n", "-f", "volume", "-o", out, input, NULL};
    posix_spawn_file_actions_t files;
    int rc = posix_spawn_file_actions_init(&files);
    if (!rc) {
        rc = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
        if (!rc) rc = posix_spawn_file_actions_adddup2(&files, log, 1);
        if (!rc) rc = posix_spawn_file_actions_adddup2(&files, log, 2);
        if (!rc) rc = posix_spawnp(pid, PROGRAM, &files, NULL, (char *const *)(uintptr_t)argv, environ);
        posix_spawn_file_actions_destroy(&files);
    }
    if (rc == ENOENT)
        return error_set(e, ERROR_IO,
                         "%s: the program " PROGRAM " is not in PATH; it is in Debian's package dcm2niix",
                         folder);
    return !rc ||
           error_set(e, rc == ENOMEM ? ERROR_MEMORY : ERROR_IO, "%s: " PROGRAM ": %s", folder, strerror(rc));
}

static bool convert(const char *folder, const char *out, Error *e)
{
    char path[ROOM + 8], said[SAID];
    pid_t pid;
    int status;
    snprintf(path, sizeof path, "%s/log", out);
    int log = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (log < 0) return error_set(e, ERROR_IO, "%s: %s", path, strerror(errno));
    bool ok = start(folder, out, log, &pid, e);
    if (ok) {
        pid_t ended;
        while ((ended = waitpid(pid, &status, 0)) < 0 && errno == EINTR) continue;
        last_words(log, said);
        if (ended < 0) /* whoever started us ignores SIGCHLD */
            ok = error_set(e, ERROR_IO, "%s: how " PROGRAM " ended is not known: %s", folder, strerror(errno));
        else if (!WIFEXITED(status))
            ok = error_set(e, ERROR_INPUT, "%s: " PROGRAM " ended with signal %d: %.200s", folder,
                           WTERMSIG(status), said);
        else if (WEXITSTATUS(status))
            ok = error_set(e, ERROR_INPUT, "%s: " PROGRAM " ended with code %d: %.200s", folder,
                           WEXITSTATUS(status), said);
    }
    close(log);
    return ok;
}

/* ---- what it made ---- */

static bool ends_with(const char *text, size_t n, const char *end)
{
    size_t m = strlen(end);
    return n >= m && !memcmp(text + n - m, end, m);
}

/* 1 for each correction in volume_Tilt_1.nii, volume_Tilt_Eq_1.nii, volume_Eq_1.nii. */
static int corrections(const char *name)
{
    return (strstr(name, "_Tilt") != NULL) + (strstr(name, "_Eq") != NULL);
}

static bool best_volume(const char *folder, const char *out, char path[2 * ROOM], int *others, Error *e)
{
    int n = 0, most = -1;
    off_t largest = 0;
    char name[2 * ROOM];
    DIR *d = opendir(out);
    if (!d) return error_set(e, ERROR_IO, "%s: %s", out, strerror(errno));
    for (struct dirent *f; (f = readdir(d));) {
        struct stat s;
        int fixed = corrections(f->d_name);
        snprintf(name, sizeof name, "%s/%s", out, f->d_name);
        if (!ends_with(name, strlen(name), ".nii") || stat(name, &s)) continue;
        n += !fixed;
        if (fixed < most || (fixed == most && s.st_size < largest)) continue;
        if (fixed == most && s.st_size == largest && strcmp(name, path) > 0) continue;
        most = fixed;
        largest = s.st_size;
        memcpy(path, name, sizeof name);
    }
    closedir(d);
    if (others) *others = n > 1 ? n - 1 : 0;
    return most >= 0 || error_set(e, ERROR_INPUT, "%s: " PROGRAM " found no volume in it", folder);
}

bool dicom_read_series(const char *folder, Volume *v, int *others, Error *e)
{
    char out[ROOM], path[2 * ROOM];
    struct stat s;
    if (stat(folder, &s)) return error_set(e, ERROR_IO, "%s: %s", folder, strerror(errno));
    if (!S_ISDIR(s.st_mode)) /* of a file the program would take all that is beside it */
        return error_set(e, ERROR_INPUT, "%s: not a folder, expected one of DICOM files", folder);
    if (!make_folder(out, e)) return false;
    bool ok = convert(folder, out, e) && best_volume(folder, out, path, others, e);
    if (ok && !nifti_read(path, v, NULL, e)) {
        char why[sizeof e->msg];
        if (e) {
            memcpy(why, e->msg, sizeof why);
            error_set(e, e->code, "%s: %.300s", folder, why);
        }
        ok = false;
    }
    remove_folder(out);
    return ok;
}
