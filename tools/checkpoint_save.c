/* Saving: everything is complete and on the disk before anything names it, and everything is named before
 * anything older goes. */
#include "data/file.h"
#include "data/sha256.h"
#include "tools/checkpoint.h"
#include "tools/checkpoint_parts.h"
#include "tools/cli.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

typedef struct Save {
    const char *run;
    CheckpointName name, before; /* before: what `latest` named, text "" if nothing */
    char path[CHECKPOINT_PATH], temporary[CHECKPOINT_PATH];
    StWriter *tensors;
    char *state; /* as in the file */
    char manifest[1024];
    uint64_t needed; /* bytes on the disk */
} Save;

static bool same(const CheckpointName *a, const CheckpointName *b) { return strcmp(a->text, b->text) == 0; }

/* ---- removing ---- */

/* "NAME.tmp-" with anything behind, NAME one of ours: whoever wrote it has lost the lock. */
static bool is_stale(const char *name)
{
    return strstr(name, ".tmp-") &&
           (!strncmp(name, "step_", 5) || !strncmp(name, "latest.", 7) || !strncmp(name, "best.", 5));
}

/* A file, or a folder of files. */
static bool remove_all(const char *path)
{
    char file[CHECKPOINT_PATH];
    if (unlink(path) == 0) return true;
    DIR *d = opendir(path);
    if (!d) return false;
    for (struct dirent *entry; (entry = readdir(d));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (checkpoint_join(file, path, entry->d_name, NULL)) unlink(file);
    }
    closedir(d);
    return rmdir(path) == 0;
}

static bool sweep_once(const char *run, Error *e)
{
    char path[CHECKPOINT_PATH];
    DIR *d = opendir(run);
    if (!d) return errno == ENOENT || errno == ENOTDIR || checkpoint_io_error(e, run, "read the folder");
    bool ok = true;
    struct dirent *entry;
    for (errno = 0; (entry = readdir(d)); errno = 0)
        if (is_stale(entry->d_name) && checkpoint_join(path, run, entry->d_name, e) && !remove_all(path))
            ok = checkpoint_io_error(e, path, "remove");
    if (errno) ok = checkpoint_io_error(e, run, "read the folder");
    closedir(d);
    return ok;
}

/* What a passing fault left is gone at the second try; what stays is named and tried again at the next save. */
static void sweep(const char *run)
{
    Error e = {0};
    if (!sweep_once(run, &e) && !sweep_once(run, &e)) cli_note("%s", e.msg);
}

/* A checkpoint goes in one step, so that none is ever found half removed; sweep does the rest. */
static bool drop(const char *run, const CheckpointName *name, Error *e)
{
    char path[CHECKPOINT_PATH], temporary[CHECKPOINT_PATH + 32];
    if (!checkpoint_join(path, run, name->text, e)) return false;
    snprintf(temporary, sizeof temporary, "%s.tmp-%ld", path, (long)getpid());
    return rename(path, temporary) == 0 || checkpoint_io_error(e, path, "remove");
}

/* ---- writing ---- */

static uint64_t disk_bytes(uint64_t bytes, uint64_t block) { return (bytes + block - 1) / block * block; }

/* Free bytes of the run folder's disk and its block; false where the system does not say. */
static bool disk_room(const char *run, uint64_t *room, uint64_t *block)
{
    struct statvfs v;
    if (statvfs(run, &v) != 0 || v.f_blocks == 0 || v.f_frsize == 0) return false;
    *room = (uint64_t)v.f_bavail * v.f_frsize;
    *block = v.f_frsize;
    return true;
}

static bool check_room(Save *s, uint64_t tensor_bytes, uint64_t state_bytes, Error *e)
{
    uint64_t room = 0, block = 1;
    bool known = disk_room(s->run, &room, &block);
    /* three files, their folder, two pointers */
    s->needed = disk_bytes(tensor_bytes, block) + disk_bytes(state_bytes, block) +
                disk_bytes(strlen(s->manifest), block) + 3 * block;
    if (!known || s->needed <= room) return true;
    return error_set(e, ERROR_IO, "%s: no space for a checkpoint: needs %llu bytes, %llu free", s->run,
                     (unsigned long long)s->needed, (unsigned long long)room);
}

/* State and manifest as text, and the room for it all. */
static bool prepare(Save *s, const json_t *state, Error *e)
{
    uint64_t bytes;
    char tensors_hex[65], state_hex[65];
    Sha256 hash;
    s->state = json_text(state, JSON_INDENT(2));
    if (!s->state)
        return error_set(e, ERROR_MEMORY, "%s: out of memory writing %s", s->run, checkpoint_file[1]);
    if (!st_writer_hash(s->tensors, s->temporary, &bytes, tensors_hex, e)) return false;
    sha256_open(&hash);
    sha256_add(&hash, s->state, strlen(s->state));
    sha256_close(&hash, state_hex);
    snprintf(s->manifest, sizeof s->manifest,
             "{\n  \"format\": \"%s\",\n  \"version\": 1,\n  \"step\": %lld,\n  \"files\": [\n"
             "    {\"name\": \"%s\", \"bytes\": %llu, \"sha256\": \"%s\"},\n"
             "    {\"name\": \"%s\", \"bytes\": %zu, \"sha256\": \"%s\"}\n  ]\n}\n",
             CHECKPOINT_FORMAT, (long long)s->name.step, checkpoint_file[0], (unsigned long long)bytes,
             tensors_hex, checkpoint_file[1], strlen(s->state), state_hex);
    return check_room(s, bytes, strlen(s->state), e);
}

/* A name that no folder has, newer than all of its step. */
static bool choose_name(Save *s, Error *e)
{
    CheckpointName *list;
    size_t n;
    if (!checkpoint_list(s->run, &list, &n, e)) return false;
    for (size_t i = n; i-- > 0;)
        if (list[i].step == s->name.step) s->name.again = list[i].again + 1;
    free(list);
    checkpoint_name(&s->name);
    if (!checkpoint_join(s->path, s->run, s->name.text, e)) return false;
    return snprintf(s->temporary, sizeof s->temporary, "%s.tmp-%ld", s->path, (long)getpid()) <
               (int)sizeof s->temporary ||
           error_set(e, ERROR_IO, "%.200s...: the name is too long", s->run);
}

static bool make_folder(const Save *s, Error *e)
{
    struct stat st;
    if (stat(s->run, &st) != 0) return checkpoint_io_error(e, s->run, "stat");
    if (mkdir(s->temporary, 0777) != 0) return checkpoint_io_error(e, s->temporary, "make the folder");
    if (chmod(s->temporary, st.st_mode & 07777) != 0) {
        /* a file system without modes: the new folder's own stand */
    }
    return true;
}

static bool write_files(const Save *s, Error *e)
{
    char path[CHECKPOINT_PATH];
    return checkpoint_join(path, s->temporary, checkpoint_file[0], e) && st_writer_save(s->tensors, path, e) &&
           checkpoint_join(path, s->temporary, checkpoint_file[1], e) &&
           file_write(path, s->state, strlen(s->state), e) &&
           checkpoint_join(path, s->temporary, CHECKPOINT_MANIFEST, e) &&
           file_write(path, s->manifest, strlen(s->manifest), e);
}

/* Under its name and on the disk, compared with what was meant. */
static bool place(const Save *s, Error *e)
{
    if (rename(s->temporary, s->path) != 0) return checkpoint_io_error(e, s->path, "make the folder");
    if (!file_sync_folder(s->path, e)) return false;
    if (checkpoint_verify(s->path, true, e)) return true;
    if (e->code == ERROR_INPUT) e->code = ERROR_IO; /* the disk's fault, not the user's */
    return false;
}

/* Tried again where the disk did not take it, since the old pointer is gone by then. */
static bool point(const Save *s, const char *which, Error *e)
{
    char path[CHECKPOINT_PATH], line[CHECKPOINT_NAME + 1];
    CheckpointName there;
    int n = snprintf(line, sizeof line, "%s\n", s->name.text);
    if (!checkpoint_join(path, s->run, which, e)) return false;
    for (int attempt = 0; attempt < 2; attempt++) {
        if (!file_write(path, line, (size_t)n, e)) return false;
        if (checkpoint_pointer(s->run, which, &there, e) && same(&there, &s->name)) return true;
    }
    return error_set(e, ERROR_IO, "%s: not what was written", path);
}

/* ---- what follows ---- */

/* Of the others the one to keep: what `latest` named before, else the newest that verifies. False where it
 * cannot be told; text "" where there is none. */
static bool find_previous(const Save *s, const CheckpointName *list, size_t n, CheckpointName *previous,
                          Error *e)
{
    char path[CHECKPOINT_PATH];
    for (size_t i = 0; i <= n; i++) {
        const CheckpointName *x = i == 0 ? &s->before : &list[i - 1];
        if (!x->text[0] || same(x, &s->name) || (i && same(x, &s->before))) continue;
        *previous = *x;
        if (!checkpoint_join(path, s->run, x->text, e)) return false;
        if (checkpoint_verify(path, false, e)) return true;
        if (e->code != ERROR_INPUT) return false;
        cli_note("checkpoint left out: %s", e->msg);
    }
    previous->text[0] = 0;
    return true;
}

/* The new checkpoint stands whatever happens here: what cannot be removed is named and stays until the next
 * save. */
static void rotate(const Save *s)
{
    CheckpointName *list = NULL, best, previous;
    size_t n = 0;
    Error e = {0};
    bool ok = checkpoint_pointer(s->run, "best", &best, &e) && checkpoint_list(s->run, &list, &n, &e) &&
              find_previous(s, list, n, &previous, &e);
    for (size_t i = 0; ok && i < n; i++)
        if (!same(&list[i], &s->name) && !same(&list[i], &best) && !same(&list[i], &previous))
            ok = drop(s->run, &list[i], &e);
    if (!ok) cli_note("older checkpoints are kept: %s", e.msg);
    free(list);
    sweep(s->run);
}

/* Back to what was there before, unless the new checkpoint is complete and named by now. */
static void give_up(const Save *s, Error *e)
{
    CheckpointName latest, best;
    Error ignored = {0};
    uint64_t room, block;
    bool known = checkpoint_pointer(s->run, "latest", &latest, &ignored) &&
                 checkpoint_pointer(s->run, "best", &best, &ignored);
    if (known && s->name.text[0] && !same(&latest, &s->name) && !same(&best, &s->name))
        drop(s->run, &s->name, &ignored);
    sweep(s->run);
    if (e->code == ERROR_IO && s->needed && !strstr(e->msg, "no space for") &&
        disk_room(s->run, &room, &block)) {
        Error why = *e;
        error_set(e, why.code, "%.400s (the checkpoint needs %llu bytes, %llu free)", why.msg,
                  (unsigned long long)s->needed, (unsigned long long)room);
    }
}

/* A damaged `latest` names no checkpoint; one that cannot be read might. */
static bool read_before(Save *s, Error *e)
{
    Error why = {0};
    if (checkpoint_pointer(s->run, "latest", &s->before, &why) || why.code == ERROR_INPUT) return true;
    return error_set(e, why.code, "%s", why.msg);
}

bool checkpoint_save(const char *run, int64_t step, StWriter *tensors, const json_t *state, bool best, Error *e)
{
    Save s = {.run = run, .name = {.step = step}, .tensors = tensors};
    Error why = {0};
    if (step < 0 || !json_is_object(state)) die("checkpoint_save: %s: step %lld", run, (long long)step);
    sweep(run);
    bool ok = read_before(&s, &why) && choose_name(&s, &why) && prepare(&s, state, &why) &&
              make_folder(&s, &why) && write_files(&s, &why) && place(&s, &why) &&
              (!best || point(&s, "best", &why)) && point(&s, "latest", &why);
    if (ok)
        rotate(&s);
    else
        give_up(&s, &why);
    free(s.state);
    return ok || error_set(e, why.code, "%s", why.msg);
}

/* The pointers go first, so that an end in between leaves none that names nothing. */
bool checkpoint_clear(const char *run, Error *e)
{
    static const char *const pointer[] = {"best", "latest"};
    char path[CHECKPOINT_PATH];
    CheckpointName *list;
    size_t n;
    sweep(run);
    if (!checkpoint_list(run, &list, &n, e)) return false;
    bool ok = true;
    for (int i = 0; ok && i < 2; i++)
        ok = checkpoint_join(path, run, pointer[i], e) &&
             (unlink(path) == 0 || errno == ENOENT || checkpoint_io_error(e, path, "remove"));
    for (size_t i = 0; ok && i < n; i++) ok = drop(run, &list[i], e);
    ok = ok && (!n || file_sync_folder(path, e));
    free(list);
    sweep(run);
    return ok;
}
