#include "data/file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static bool io_error(Error *e, const char *path, const char *verb, int number)
{
    return error_set(e, ERROR_IO, "%s: cannot %s: %s", path, verb, strerror(number));
}

/* Reads until the end of the file or until limit + 1 bytes are there. Grows by doubling, so that memory follows
 * the bytes that exist and not the size that the file system declares. */
static bool read_all(int fd, const char *path, size_t limit, size_t expected, uint8_t **bytes, size_t *n,
                     Error *e)
{
    size_t room = (expected < limit ? expected : limit) + 1, used = 0;
    uint8_t *buffer = malloc(room + 1);
    while (buffer) {
        ssize_t got = read(fd, buffer + used, room - used);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            io_error(e, path, "read", errno);
            break;
        }
        used += (size_t)got;
        if (got == 0 && used <= limit) {
            buffer[used] = 0;
            *bytes = buffer;
            *n = used;
            return true;
        }
        if (used > limit) {
            error_set(e, ERROR_INPUT, "%s: longer than the limit of %zu bytes", path, limit);
            break;
        }
        if (used < room) continue;
        size_t more = room / 2 < limit - room + 1 ? room / 2 + 1 : limit - room + 1;
        uint8_t *larger = realloc(buffer, room + more + 1);
        if (!larger) {
            error_set(e, ERROR_MEMORY, "%s: out of memory reading %zu bytes", path, room + more);
            break;
        }
        buffer = larger;
        room += more;
    }
    if (!buffer) error_set(e, ERROR_MEMORY, "%s: out of memory reading %zu bytes", path, room);
    free(buffer);
    return false;
}

bool file_read(const char *path, size_t limit, uint8_t **bytes, size_t *n, Error *e)
{
    if (limit > SIZE_MAX - 4) limit = SIZE_MAX - 4;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return io_error(e, path, "open", errno);
    struct stat st;
    bool ok = fstat(fd, &st) == 0;
    if (!ok) {
        io_error(e, path, "stat", errno);
    } else if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > limit) {
        ok = error_set(e, ERROR_INPUT, "%s: %llu bytes, more than the limit of %zu", path,
                       (unsigned long long)st.st_size, limit);
    } else {
        size_t expected = S_ISREG(st.st_mode) ? (size_t)st.st_size : 65536;
        ok = read_all(fd, path, limit, expected, bytes, n, e);
    }
    close(fd);
    return ok;
}

bool file_create(FileWriter *w, const char *path, Error *e)
{
    static _Atomic unsigned serial;
    w->stream = NULL;
    if (strlen(path) >= sizeof w->path)
        return error_set(e, ERROR_IO, "%.60s...: name of %zu bytes, at most %zu", path, strlen(path),
                         sizeof w->path - 1);
    strcpy(w->path, path);
    struct stat st;
    mode_t mode = 0666;
    bool there = stat(path, &st) == 0;
    /* rename would replace a device or a pipe by a file */
    if (there && !S_ISREG(st.st_mode))
        return error_set(e, ERROR_IO, "%s: cannot write: not a regular file", path);
    int fd = -1;
    for (int attempt = 0; fd < 0 && attempt < 100; attempt++) {
        snprintf(w->temporary, sizeof w->temporary, "%s.tmp-%ld-%u", path, (long)getpid(), serial++);
        fd = open(w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (fd < 0 && errno != EEXIST) break;
    }
    if (fd < 0) return io_error(e, path, "create", errno);
    if (there && fchmod(fd, st.st_mode & 07777) != 0) {
        /* a file system without modes: the new file's own stand */
    }
    w->stream = fdopen(fd, "wb");
    if (w->stream) return true;
    int number = errno;
    close(fd);
    unlink(w->temporary);
    return io_error(e, path, "create", number);
}

enum { FOLDER = 4096 };

/* The folder that holds path; "" is the current one. */
static bool folder_of(const char *path, char folder[FOLDER], Error *e)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash == path ? 1 : slash ? (size_t)(slash - path) : 0;
    if (length >= FOLDER)
        return error_set(e, ERROR_IO, "%.60s...: name of %zu bytes, at most %d", path, length, FOLDER - 1);
    memcpy(folder, path, length);
    folder[length] = 0;
    return true;
}

bool file_check_room(const char *path, uint64_t bytes, Error *e)
{
    char folder[FOLDER];
    struct statvfs fs;
    if (statvfs(path, &fs) != 0) {
        if (!folder_of(path, folder, e)) return false;
        if (statvfs(*folder ? folder : ".", &fs) != 0)
            return io_error(e, path, "ask for the room of its folder", errno);
    }
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    return bytes <= free_bytes ||
           error_set(e, ERROR_IO, "%s: needs %llu bytes (%.1f GB), its file system has %llu free (%.1f GB)",
                     path, (unsigned long long)bytes, (double)bytes * 1e-9, (unsigned long long)free_bytes,
                     (double)free_bytes * 1e-9);
}

bool file_sync_folder(const char *path, Error *e)
{
    char folder[FOLDER];
    if (!folder_of(path, folder, e)) return false;
    size_t length = strlen(folder);
    int fd = open(length ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return io_error(e, length ? folder : ".", "open the folder of the new file", errno);
    bool ok = fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP;
    if (!ok) io_error(e, length ? folder : ".", "sync the folder of the new file", errno);
    close(fd);
    return ok;
}

bool file_commit(FileWriter *w, Error *e)
{
    /* after a failed write errno is still its own: nothing but writing was done since */
    int number = errno;
    bool ok = !ferror(w->stream);
    if (ok && (fflush(w->stream) != 0 || fsync(fileno(w->stream)) != 0)) {
        ok = false;
        number = errno;
    }
    if (fclose(w->stream) != 0 && ok) {
        ok = false;
        number = errno;
    }
    w->stream = NULL;
    if (ok && rename(w->temporary, w->path) != 0) {
        ok = false;
        number = errno;
    }
    if (ok) return file_sync_folder(w->path, e);
    unlink(w->temporary);
    return io_error(e, w->path, "write", number ? number : EIO);
}

void file_abandon(FileWriter *w)
{
    if (!w->stream) return;
    fclose(w->stream);
    w->stream = NULL;
    unlink(w->temporary);
}

bool file_write(const char *path, const void *bytes, size_t n, Error *e)
{
    FileWriter w;
    if (!file_create(&w, path, e)) return false;
    if (n) fwrite(bytes, 1, n, w.stream);
    return file_commit(&w, e);
}

bool file_make_folder(const char *path, Error *e)
{
    char part[4096];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof part)
        return error_set(e, ERROR_IO, "%.60s: a folder name of %zu bytes, expected 1 to %zu", path, length,
                         sizeof part - 1);
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != 0) continue;
        memcpy(part, path, i);
        part[i] = 0;
        struct stat st;
        if (mkdir(part, 0777) == 0) {
            if (!file_sync_folder(part, e)) return false;
            continue;
        }
        int number = errno;
        if (stat(part, &st) == 0 && S_ISDIR(st.st_mode)) continue;
        return io_error(e, part, "make the folder", number);
    }
    return true;
}
