#include "data/file.h"
#include "data/image.h"
#include "data/json.h"
#include "data/nifti.h"
#include "data/safetensors.h"
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <dirent.h>

static char folder[] = "/tmp/test-file-XXXXXX";
static char path[128];

/* Counted, then done. */
static int syncs;
int fsync(int fd)
{
    syncs++;
    return (int)syscall(SYS_fsync, fd);
}

static int entries(const char *in)
{
    DIR *d = opendir(in);
    int n = 0;
    for (struct dirent *x; d && (x = readdir(d));) n += x->d_name[0] != '.';
    if (d) closedir(d);
    return n;
}

START_TEST(round_trip)
{
    Error e = {0};
    uint8_t *bytes = NULL;
    size_t n = 0;
    snprintf(path, sizeof path, "%s/a", folder);
    ck_assert_msg(file_write(path, "hello", 5, &e), "%s", e.msg);
    ck_assert_msg(file_read(path, 5, &bytes, &n, &e), "%s", e.msg);
    ck_assert(n == 5 && memcmp(bytes, "hello", 6) == 0);
    free(bytes);
    ck_assert(!file_read(path, 4, &bytes, &n, &e) && e.code == ERROR_INPUT);
    ck_assert_msg(strstr(e.msg, "/a: 5 bytes, more than the limit of 4"), "%s", e.msg);
    ck_assert(file_write(path, NULL, 0, &e) && file_read(path, 0, &bytes, &n, &e));
    ck_assert(n == 0 && bytes[0] == 0);
    free(bytes);
    ck_assert_int_eq(entries(folder), 1);
    unlink(path);
}
END_TEST

/* What has no size: read as it comes, up to the limit. */
START_TEST(streams)
{
    Error e = {0};
    uint8_t *bytes;
    size_t n;
    ck_assert(!file_read("/dev/zero", 200000, &bytes, &n, &e) && e.code == ERROR_INPUT);
    ck_assert_str_eq(e.msg, "/dev/zero: longer than the limit of 200000 bytes");
    ck_assert_msg(file_read("/dev/null", 0, &bytes, &n, &e) && n == 0, "%s", e.msg);
    free(bytes);
    ck_assert_msg(file_read("/proc/self/status", 1 << 20, &bytes, &n, &e) && n > 100, "%s", e.msg);
    ck_assert_uint_eq(strlen((char *)bytes), n);
    free(bytes);
    int ends[2];
    ck_assert(pipe(ends) == 0 && write(ends[1], "pipe", 4) == 4 && close(ends[1]) == 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
    ck_assert_msg(file_read(path, 100, &bytes, &n, &e) && n == 4, "%s", e.msg);
    ck_assert_str_eq((char *)bytes, "pipe");
    free(bytes);
    close(ends[0]);
}
END_TEST

START_TEST(refused)
{
    Error e = {0};
    uint8_t *bytes;
    size_t n;
    FileWriter w;
    char expected[200];
    ck_assert(!file_read("/no/such", 9, &bytes, &n, &e) && e.code == ERROR_IO);
    ck_assert_str_eq(e.msg, "/no/such: cannot open: No such file or directory");
    ck_assert(!file_read(folder, 100000, &bytes, &n, &e) && e.code == ERROR_IO);
    snprintf(expected, sizeof expected, "%s: cannot read: Is a directory", folder);
    ck_assert_str_eq(e.msg, expected);
    ck_assert(!file_create(&w, "/no/such", &e) && e.code == ERROR_IO);
    ck_assert_str_eq(e.msg, "/no/such: cannot create: No such file or directory");
    ck_assert(!file_create(&w, "/dev/null", &e) && e.code == ERROR_IO); /* a rename would replace it */
    ck_assert_str_eq(e.msg, "/dev/null: cannot write: not a regular file");
    ck_assert(!file_create(&w, folder, &e) && e.code == ERROR_IO);
    char *longest = malloc(5000);
    memset(longest, 'x', 4999);
    longest[4999] = 0;
    ck_assert(!file_create(&w, longest, &e) && e.code == ERROR_IO);
    ck_assert(!file_make_folder(longest, &e) && e.code == ERROR_IO);
    free(longest);
    ck_assert_int_eq(entries(folder), 0);
}
END_TEST

START_TEST(abandoned)
{
    Error e = {0};
    FileWriter w;
    snprintf(path, sizeof path, "%s/a", folder);
    ck_assert(file_write(path, "old", 3, &e) && chmod(path, 0640) == 0);
    ck_assert(file_create(&w, path, &e));
    fputs("new", w.stream);
    ck_assert_int_eq(entries(folder), 2);
    file_abandon(&w);
    file_abandon(&w);
    ck_assert_int_eq(entries(folder), 1);
    uint8_t *bytes;
    size_t n;
    ck_assert(file_read(path, 9, &bytes, &n, &e) && n == 3 && bytes[0] == 'o');
    free(bytes);
    ck_assert(file_write(path, "newer", 5, &e));
    struct stat st;
    ck_assert(stat(path, &st) == 0 && st.st_size == 5 && (st.st_mode & 0777) == 0640);
    unlink(path);
}
END_TEST

START_TEST(folders)
{
    Error e = {0};
    char deep[160];
    snprintf(deep, sizeof deep, "%s/x/y//z/", folder);
    syncs = 0;
    ck_assert_msg(file_make_folder(deep, &e), "%s", e.msg);
    ck_assert_int_eq(syncs, 3); /* each new folder's parent */
    ck_assert_msg(file_make_folder(deep, &e), "%s", e.msg);
    ck_assert_int_eq(syncs, 3);
    snprintf(path, sizeof path, "%s/x/y/z/f", folder);
    ck_assert(file_write(path, "1", 1, &e));
    snprintf(deep, sizeof deep, "%s/g", path);
    ck_assert(!file_make_folder(deep, &e) && e.code == ERROR_IO);
    ck_assert_msg(strstr(e.msg, "/x/y/z/f: cannot make the folder: File exists"), "%s", e.msg);
    ck_assert(!file_make_folder("", &e) && e.code == ERROR_IO);
    unlink(path);
    for (int i = 0; i < 3; i++) {
        *strrchr(path, '/') = 0;
        rmdir(path);
    }
    ck_assert_int_eq(entries(folder), 0);
}
END_TEST

/* ---- a full disk: every writer, on a path where 64 KiB fit and a file of the old contents is ---- */

static uint8_t *noise; /* 1 MiB that does not compress */
enum { NOISE = 1 << 20 };

static bool write_bytes(Error *e) { return file_write(path, noise, NOISE, e); }
static bool write_tensors(Error *e)
{
    StWriter *w = st_writer_new();
    st_writer_add(w, "x", ST_U8, 1, (int64_t[]){NOISE}, noise);
    bool ok = st_writer_save(w, path, e);
    st_writer_free(w);
    return ok;
}
static bool write_picture(Error *e) { return image_write_png(path, &(Image){512, 512, 3, noise}, e); }
static bool write_volume(Error *e)
{
    static float hu[64 * 64 * 64];
    for (int i = 0; i < 64 * 64 * 64; i++) hu[i] = noise[i] + 256.0f * (noise[i + 1] & 15);
    return nifti_write(path, &(Volume){64, 64, 64, 1, 1, 1, hu}, NIFTI_I16, e);
}
static bool write_volume_packed(Error *e)
{
    char *end = path + strlen(path);
    strcpy(end, ".gz");
    bool ok = write_volume(e);
    *end = 0;
    return ok;
}
static bool write_json(Error *e)
{
    json_t *list = json_array();
    for (int i = 0; i < 20000; i++) json_array_append_new(list, json_integer(noise[i]));
    bool ok = json_write(path, list, e);
    json_decref(list);
    return ok;
}
/* Small enough to stay in the stream's buffer until the end. */
static bool write_late(Error *e)
{
    FileWriter w;
    if (!file_create(&w, path, e)) return false;
    for (int i = 0; i < 70000; i++) fputc('x', w.stream);
    return file_commit(&w, e);
}

/* The source is asked no more once the disk is full. */
static bool make_noise(void *context, uint64_t from, size_t n, void *to, Error *e)
{
    int *calls = context;
    (void)from, (void)e;
    memset(to, 'x', n);
    return ++*calls < 9;
}

static bool write_made(Error *e)
{
    const int64_t n = 8 * ST_CHUNK;
    int calls = 0;
    StWriter *w = st_writer_new();
    st_writer_add_from(w, "x", ST_U8, 1, &n, make_noise, &calls);
    bool ok = st_writer_save(w, path, e);
    st_writer_free(w);
    ck_assert_int_eq(calls, ok ? 8 : 1);
    return ok;
}

static void check_full(const char *in, const char *why)
{
    static bool (*const writers[])(Error *) = {write_bytes,         write_tensors, write_picture, write_volume,
                                               write_volume_packed, write_json,    write_late,    write_made};
    char expected[300];
    for (size_t i = 0; i < sizeof writers / sizeof *writers; i++) {
        Error e = {0};
        uint8_t *bytes;
        size_t n;
        bool ok = writers[i](&e);
        ck_assert_msg(!ok && e.code == ERROR_IO, "writer %zu: ok %d, code %d: %s", i, ok, e.code, e.msg);
        snprintf(expected, sizeof expected, "%s%s: cannot write: %s", path,
                 writers[i] == write_volume_packed ? ".gz" : "", why);
        ck_assert_str_eq(e.msg, expected);
        ck_assert_msg(file_read(path, 9, &bytes, &n, &e) && n == 3, "%s", e.msg);
        free(bytes);
        ck_assert_int_eq(entries(in), 1);
    }
}

START_TEST(full_disk)
{
    Error e = {0};
    if (mount("none", folder, "tmpfs", 0, "size=64k") != 0) {
        fprintf(stderr, "SKIPPED: full_disk needs a tmpfs, which cannot be mounted here: %s\n",
                strerror(errno));
        return;
    }
    snprintf(path, sizeof path, "%s/a", folder);
    bool ok = file_write(path, "old", 3, &e);
    if (ok) check_full(folder, "No space left on device");
    unlink(path);
    ck_assert(umount(folder) == 0 && ok);
}
END_TEST

START_TEST(file_size_limit)
{
    Error e = {0};
    struct rlimit old;
    snprintf(path, sizeof path, "%s/a", folder);
    ck_assert(file_write(path, "old", 3, &e) && getrlimit(RLIMIT_FSIZE, &old) == 0);
    signal(SIGXFSZ, SIG_IGN);
    ck_assert(setrlimit(RLIMIT_FSIZE, &(struct rlimit){65536, old.rlim_max}) == 0);
    check_full(folder, "File too large");
    ck_assert(setrlimit(RLIMIT_FSIZE, &old) == 0);
    ck_assert(write_tensors(&e));
    unlink(path);
}
END_TEST

START_TEST(room)
{
    Error e = {0};
    snprintf(path, sizeof path, "%s/not-yet", folder);
    ck_assert(file_check_room(path, 0, &e) && file_check_room(folder, 1, &e) &&
              file_check_room("not-yet", 1, &e));
    ck_assert(!file_check_room(path, UINT64_MAX, &e) && e.code == ERROR_IO);
    char start[4096];
    snprintf(start, sizeof start,
             "%s: needs 18446744073709551615 bytes (18446744073.7 GB), its file system has ", path);
    ck_assert_msg(!strncmp(e.msg, start, strlen(start)) && strstr(e.msg, " free ("), "%s", e.msg);
    ck_assert(!file_check_room("/no/such/folder/x", 1, &e) && e.code == ERROR_IO);
    ck_assert_str_eq(e.msg,
                     "/no/such/folder/x: cannot ask for the room of its folder: No such file or directory");
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return 1;
    noise = malloc(NOISE);
    for (uint32_t i = 0, x = 1; i < NOISE; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        noise[i] = (uint8_t)(x >> 8);
    }
    Suite *s = suite_create("file");
    TCase *t = tcase_create("file");
    tcase_add_test(t, round_trip);
    tcase_add_test(t, streams);
    tcase_add_test(t, refused);
    tcase_add_test(t, abandoned);
    tcase_add_test(t, folders);
    tcase_add_test(t, full_disk);
    tcase_add_test(t, file_size_limit);
    tcase_add_test(t, room);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    free(noise);
    rmdir(folder);
    return failed != 0;
}
