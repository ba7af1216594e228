#include "tools/checkpoint.h"
#include "data/file.h"
#include "data/sha256.h"
#include "tools/checkpoint_parts.h"
#include "tools/cli.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const size_t MANIFEST_LIMIT = 65536;
const char *const checkpoint_file[CHECKPOINT_FILES] = {"tensors.safetensors", "state.json"};

bool checkpoint_io_error(Error *e, const char *path, const char *verb)
{
    return error_set(e, ERROR_IO, "%s: cannot %s: %s", path, verb, strerror(errno));
}

bool checkpoint_join(char path[CHECKPOINT_PATH], const char *folder, const char *name, Error *e)
{
    return snprintf(path, CHECKPOINT_PATH, "%s/%s", folder, name) < CHECKPOINT_PATH ||
           error_set(e, ERROR_IO, "%.200s...: the name is too long", folder);
}

/* ---- names ---- */

void checkpoint_name(CheckpointName *n)
{
    int used = snprintf(n->text, sizeof n->text, "step_%08lld", (long long)n->step);
    if (n->again) snprintf(n->text + used, sizeof n->text - (size_t)used, ".%ld", n->again);
}

/* Only what checkpoint_name writes is a name, so nothing with a slash or a dot of its own is. */
static bool name_parse(CheckpointName *n, const char *text)
{
    char *end;
    if (strncmp(text, "step_", 5) != 0) return false;
    n->step = strtoll(text + 5, &end, 10);
    n->again = *end == '.' ? strtol(end + 1, NULL, 10) : 0;
    checkpoint_name(n);
    return n->step >= 0 && n->again >= 0 && strcmp(n->text, text) == 0;
}

static int newest_first(const void *a, const void *b)
{
    const CheckpointName *x = a, *y = b;
    if (x->step != y->step) return x->step < y->step ? 1 : -1;
    return x->again < y->again ? 1 : x->again > y->again ? -1 : 0;
}

bool checkpoint_list(const char *run, CheckpointName **list, size_t *n, Error *e)
{
    *list = NULL;
    *n = 0;
    DIR *d = opendir(run);
    if (!d) return errno == ENOENT || checkpoint_io_error(e, run, "read the folder");
    bool ok = true;
    CheckpointName name;
    struct dirent *entry;
    for (errno = 0; ok && (entry = readdir(d)); errno = 0) {
        if (!name_parse(&name, entry->d_name)) continue;
        CheckpointName *more = realloc(*list, (*n + 1) * sizeof **list);
        ok = more || error_set(e, ERROR_MEMORY, "%s: out of memory reading the folder", run);
        if (!ok) break;
        *list = more;
        more[(*n)++] = name;
    }
    if (ok && errno) ok = checkpoint_io_error(e, run, "read the folder");
    closedir(d);
    if (*n) qsort(*list, *n, sizeof **list, newest_first);
    if (ok) return true;
    free(*list);
    *list = NULL;
    *n = 0;
    return false;
}

/* ---- verifying ---- */

/* What is not there, or not a file, is damage (ERROR_INPUT); what cannot be looked at is ERROR_IO. */
static bool file_size(const char *path, uint64_t *bytes, Error *e)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        if (errno != ENOENT && errno != ENOTDIR) return checkpoint_io_error(e, path, "stat");
        return error_set(e, ERROR_INPUT, "%s: missing", path);
    }
    if (!S_ISREG(st.st_mode)) return error_set(e, ERROR_INPUT, "%s: not a regular file", path);
    *bytes = (uint64_t)st.st_size;
    return true;
}

static bool hash_file(const char *path, bool from_disk, char hex[65], Error *e)
{
    unsigned char part[32768];
    Sha256 hash;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return checkpoint_io_error(e, path, "open");
    /* forget the pages just written, where the system takes the hint */
    if (from_disk) posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    sha256_open(&hash);
    ssize_t n;
    while ((n = read(fd, part, sizeof part)) > 0 || (n < 0 && errno == EINTR))
        if (n > 0) sha256_add(&hash, part, (size_t)n);
    bool ok = n == 0 || checkpoint_io_error(e, path, "read");
    close(fd);
    sha256_close(&hash, hex);
    return ok;
}

static bool check_file(const char *folder, const json_t *entry, int i, const char *manifest, bool from_disk,
                       Error *e)
{
    const char *name, *expected;
    char path[CHECKPOINT_PATH], found[65];
    int64_t bytes;
    uint64_t there;
    if (!json_get_string(entry, "name", manifest, &name, e) ||
        !json_get_int(entry, "bytes", manifest, &bytes, e) ||
        !json_get_string(entry, "sha256", manifest, &expected, e))
        return false;
    if (strcmp(name, checkpoint_file[i]) != 0)
        return error_set(e, ERROR_INPUT, "%s: file %d is \"%.80s\", expected %s", manifest, i, name,
                         checkpoint_file[i]);
    if (!checkpoint_join(path, folder, name, e) || !file_size(path, &there, e)) return false;
    if (bytes < 0 || (uint64_t)bytes != there)
        return error_set(e, ERROR_INPUT, "%s: damaged: %llu bytes, expected %lld", path,
                         (unsigned long long)there, (long long)bytes);
    if (!hash_file(path, from_disk, found, e)) return false;
    return strcmp(found, expected) == 0 ||
           error_set(e, ERROR_INPUT, "%s: damaged: SHA-256 %s, expected %.64s", path, found, expected);
}

static bool check_manifest(const char *folder, const json_t *m, const char *path, bool from_disk, Error *e)
{
    const char *format, *slash = strrchr(folder, '/');
    int64_t version, step;
    json_t *files;
    CheckpointName name;
    if (!json_get_string(m, "format", path, &format, e) || !json_get_int(m, "version", path, &version, e) ||
        !json_get_int(m, "step", path, &step, e) || !json_get_array(m, "files", path, &files, e))
        return false;
    if (strcmp(format, CHECKPOINT_FORMAT) != 0 || version != 1)
        return error_set(e, ERROR_INPUT, "%s: format \"%.40s\" version %lld, expected \"%s\" version 1", path,
                         format, (long long)version, CHECKPOINT_FORMAT);
    if (step < 0) return error_set(e, ERROR_INPUT, "%s: step %lld", path, (long long)step);
    /* a copy under a name of its own may say any step */
    if (name_parse(&name, slash ? slash + 1 : folder) && name.step != step)
        return error_set(e, ERROR_INPUT, "%s: step %lld in the folder of step %lld", path, (long long)step,
                         (long long)name.step);
    if (json_array_size(files) != CHECKPOINT_FILES)
        return error_set(e, ERROR_INPUT, "%s: %zu files, expected %d", path, json_array_size(files),
                         CHECKPOINT_FILES);
    for (int i = 0; i < CHECKPOINT_FILES; i++)
        if (!check_file(folder, json_array_get(files, (size_t)i), i, path, from_disk, e)) return false;
    return true;
}

bool checkpoint_verify(const char *folder, bool from_disk, Error *e)
{
    char path[CHECKPOINT_PATH];
    uint8_t *text;
    size_t n;
    uint64_t bytes;
    if (!checkpoint_join(path, folder, CHECKPOINT_MANIFEST, e) || !file_size(path, &bytes, e) ||
        !file_read(path, MANIFEST_LIMIT, &text, &n, e))
        return false;
    json_t *m = json_parse((const char *)text, n, path, e);
    free(text);
    bool ok = m && check_manifest(folder, m, path, from_disk, e);
    json_decref(m);
    return ok;
}

/* ---- finding ---- */

bool checkpoint_pointer(const char *run, const char *which, CheckpointName *name, Error *e)
{
    char path[CHECKPOINT_PATH];
    uint8_t *text;
    size_t n;
    struct stat st;
    name->text[0] = 0;
    if (!checkpoint_join(path, run, which, e)) return false;
    if (stat(path, &st) != 0) return errno == ENOENT || checkpoint_io_error(e, path, "stat");
    if (!S_ISREG(st.st_mode)) return error_set(e, ERROR_INPUT, "%s: not a regular file", path);
    if (!file_read(path, CHECKPOINT_NAME, &text, &n, e)) return false;
    bool ok = n > 0 && text[n - 1] == '\n' && strlen((char *)text) == n;
    if (ok) text[n - 1] = 0;
    if (!ok || !name_parse(name, (char *)text)) {
        name->text[0] = 0;
        ok = error_set(e, ERROR_INPUT, "%s: expected the name of a checkpoint folder, found \"%.40s\"", path,
                       text);
    }
    free(text);
    return ok;
}

static bool verify_name(const char *run, const CheckpointName *name, char path[CHECKPOINT_PATH], Error *e)
{
    return checkpoint_join(path, run, name->text, e) && checkpoint_verify(path, false, e);
}

/* The newest that verifies but `tried`, which is known to be damaged; *why keeps the first fault. */
static bool find_newest(const char *run, const CheckpointName *tried, char *path, bool *found, Error *why)
{
    CheckpointName *list;
    size_t n;
    if (!checkpoint_list(run, &list, &n, why)) return false;
    for (size_t i = 0; i < n && !*found; i++) {
        Error fault = {0};
        if (strcmp(list[i].text, tried->text) == 0) continue;
        *found = verify_name(run, &list[i], path, &fault);
        if (*found) break;
        cli_note("checkpoint left out: %s", fault.msg);
        if (!why->code) *why = fault;
    }
    free(list);
    return true;
}

bool checkpoint_find(const char *run, const char *which, char *path, bool *found, Error *e)
{
    CheckpointName name;
    Error why = {0};
    bool best = strcmp(which, "best") == 0;
    if (!best && strcmp(which, "latest") != 0) die("checkpoint_find: \"%s\", expected latest or best", which);
    *found = false;
    bool read = checkpoint_pointer(run, which, &name, &why);
    if (read && name.text[0]) *found = verify_name(run, &name, path, &why);
    if (!*found && !best) {
        if (why.code) cli_note("checkpoint left out: %s", why.msg);
        if (find_newest(run, &name, path, found, &why) && *found) cli_note("%s: taken instead", path);
    }
    if (*found || !why.code) return true;
    return error_set(e, why.code, "%s", why.msg);
}

bool checkpoint_open(const char *path, TensorFile **tensors, json_t **state, Error *e)
{
    char file[CHECKPOINT_PATH];
    if (!checkpoint_verify(path, false, e) || !checkpoint_join(file, path, checkpoint_file[1], e)) return false;
    *state = json_read(file, e);
    if (!*state) return false;
    *tensors = NULL;
    if (!json_is_object(*state))
        error_set(e, ERROR_INPUT, "%s: expected an object", file);
    else if (checkpoint_join(file, path, checkpoint_file[0], e))
        *tensors = safetensors_open(file, e);
    if (*tensors) return true;
    json_decref(*state);
    *state = NULL;
    return false;
}

/* ---- the lock ---- */

bool checkpoint_lock(const char *run, int *fd, Error *e)
{
    char path[CHECKPOINT_PATH], text[32];
    if (!checkpoint_join(path, run, "lock", e)) return false;
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (*fd < 0) return checkpoint_io_error(e, path, "open");
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0) {
        int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
        if (ftruncate(*fd, 0) == 0 && pwrite(*fd, text, (size_t)n, 0) == n) return true;
        checkpoint_io_error(e, path, "write");
    } else if (errno == EWOULDBLOCK) {
        ssize_t n = pread(*fd, text, sizeof text - 1, 0);
        text[n > 0 ? n : 0] = 0;
        long pid = strtol(text, NULL, 10);
        if (pid > 0)
            error_set(e, ERROR_IO, "%s: process %ld is training in this folder", path, pid);
        else
            error_set(e, ERROR_IO, "%s: another process is training in this folder", path);
    } else {
        checkpoint_io_error(e, path, "lock");
    }
    close(*fd);
    *fd = -1;
    return false;
}

/* The file stays: removing it could take the lock from under who is just opening it. */
void checkpoint_unlock(int fd)
{
    if (fd < 0) return;
    if (ftruncate(fd, 0) != 0) { /* a pid without a lock is no obstacle */
    }
    close(fd);
}
