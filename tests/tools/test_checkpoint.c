/* The checkpoint store: what is kept and what goes, damage of every byte, hostile manifests, the lock. */
#include "tests/tools/checkpoint_fixture.h"
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static char run[64];

static void setup(void) { make_temporary(run, "pcrl-checkpoint"); }
static void teardown(void) { remove_folder(run); }

static void must_save(int64_t step, int k, bool best)
{
    Error e = {0};
    ck_assert_msg(save(run, step, k, best, &e), "%s", e.msg);
    ck_assert_int_eq(count(run, "", ".tmp-"), 0);
}

static void expect(const char *which, int k)
{
    Error e = {0};
    int got = found(run, which, &e);
    ck_assert_msg(got == k, "%s: checkpoint %d, expected %d; %s", which, got, k, e.msg);
}

/* ---- standard error into a file while `heard` is wanted ---- */

static int real_stderr = -1, heard_fd = -1;
static void listen(void)
{
    char file[] = "/tmp/pcrl-heard-XXXXXX";
    fflush(stderr);
    real_stderr = dup(2);
    heard_fd = mkstemp(file);
    unlink(file);
    dup2(heard_fd, 2);
}
/* What was said since listen or the last call. */
static const char *heard(void)
{
    static char text[4096];
    fflush(stderr);
    ssize_t n = pread(heard_fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    ck_assert(ftruncate(heard_fd, 0) == 0 && lseek(heard_fd, 0, SEEK_SET) == 0);
    return text;
}
static void listen_end(void)
{
    fflush(stderr);
    dup2(real_stderr, 2);
    close(real_stderr);
    close(heard_fd);
}

/* ---- saving ---- */

START_TEST(nothing_there)
{
    Error e = {0};
    expect("latest", 0);
    expect("best", 0);
    ck_assert_int_eq(found(in(run, "none"), "latest", &e), 0);
    ck_assert(!save(in(run, "none"), 1, 1, false, &e) && e.code == ERROR_IO);
    ck_assert_msg(strstr(e.msg, "/none: cannot stat: No such file or directory"), "%s", e.msg);
    put(in(run, "file"), "", 0);
    ck_assert(!save(in(run, "file"), 1, 1, false, &e) && e.code == ERROR_IO);
    ck_assert_msg(strstr(e.msg, "/file/latest: cannot stat: Not a directory"), "%s", e.msg);
    ck_assert_int_eq(count(run, "", ""), 1);
}
END_TEST

START_TEST(one_checkpoint)
{
    struct stat st;
    uint8_t *text;
    size_t n;
    Error e = {0};
    ck_assert_int_eq(chmod(run, 02750), 0);
    must_save(12, 3, false);
    expect("latest", 3);
    expect("best", 0);
    ck_assert_int_eq(count(run, "", ""), 2);
    ck_assert(stat(in(run, "step_00000012"), &st) == 0 && (st.st_mode & 07777) == 02750);
    ck_assert_int_eq(count(in(run, "step_00000012"), "", ""), 3);
    ck_assert(file_read(in(run, "latest"), 100, &text, &n, &e));
    ck_assert_str_eq((char *)text, "step_00000012\n");
    free(text);
    /* a copy elsewhere is a checkpoint too */
    ck_assert_int_eq(rename(in(run, "step_00000012"), in(run, "copy")), 0);
    ck_assert_int_eq(contents(in(run, "copy"), &e), 3);
}
END_TEST

START_TEST(what_stays)
{
    for (int k = 1; k <= 6; k++) must_save(k, k, k == 2);
    expect("latest", 6);
    expect("best", 2);
    ck_assert_int_eq(count(run, "step_", ""), 3);
    ck_assert_int_eq(contents(in(run, "step_00000005"), NULL), 5);
    must_save(7, 7, true);
    expect("best", 7);
    ck_assert_int_eq(count(run, "step_", ""), 2);
    ck_assert_int_eq(contents(in(run, "step_00000006"), NULL), 6);
    /* training anew in the same folder: the step is lower, the checkpoint is the latest */
    must_save(1, 8, false);
    must_save(2, 9, false);
    expect("latest", 9);
    expect("best", 7);
    ck_assert_int_eq(contents(in(run, "step_00000001"), NULL), 8);
    ck_assert_int_eq(count(run, "step_", ""), 3);
}
END_TEST

START_TEST(same_step)
{
    for (int k = 1; k <= 4; k++) {
        must_save(5, k, k == 3);
        expect("latest", k);
    }
    expect("best", 3);
    ck_assert_int_eq(count(run, "step_00000005", ""), 2);
    ck_assert_int_eq(contents(in(run, "step_00000005.3"), NULL), 4);
}
END_TEST

START_TEST(cleared)
{
    Error e = {0};
    ck_assert_msg(checkpoint_clear(in(run, "none"), &e), "%s", e.msg);
    ck_assert_msg(checkpoint_clear(run, &e), "%s", e.msg);
    for (int k = 1; k <= 4; k++) must_save(k, k, k == 2);
    put(in(run, "log.jsonl"), "x", 1);
    ck_assert_msg(checkpoint_clear(run, &e), "%s", e.msg);
    expect("latest", 0);
    expect("best", 0);
    ck_assert_int_eq(count(run, "", ""), 1); /* the log stays */
    must_save(1, 5, false);
    expect("latest", 5);
    expect("best", 0);
}
END_TEST

START_TEST(no_memory)
{
    Error e = {0};
    json_t *state = json_object();
    must_save(1, 1, false);
    ck_assert(!checkpoint_save(run, 2, NULL, state, true, &e) && e.code == ERROR_MEMORY);
    json_decref(state);
    ck_assert_int_eq(count(run, "", ""), 2);
    expect("latest", 1);
}
END_TEST

START_TEST(stale_files)
{
    char name[64];
    Error e = {0};
    /* in a container the number is soon another process's */
    snprintf(name, sizeof name, "step_00000009.tmp-%d", (int)getppid());
    ck_assert_int_eq(mkdir(in(run, name), 0700), 0);
    strcat(name, "/tensors.safetensors");
    put(in(run, name), "x", 1);
    put(in(run, "latest.tmp-1-0"), "x", 1);
    put(in(run, "best.tmp-1-0"), "x", 1);
    put(in(run, "log.jsonl.tmp-1-0"), "x", 1); /* not ours */
    ck_assert_msg(save(run, 1, 1, false, &e), "%s", e.msg);
    ck_assert_int_eq(count(run, "", ".tmp-"), 1);
    ck_assert_int_eq(count(run, "log.jsonl", ".tmp-"), 1);
}
END_TEST

/* ---- damage ---- */

typedef struct Whole {
    char path[512];
    uint8_t *bytes;
    size_t n;
} Whole;

static Whole keep(const char *folder, const char *name)
{
    Whole w;
    Error e = {0};
    snprintf(w.path, sizeof w.path, "%s/%s/%s", run, folder, name);
    ck_assert_msg(file_read(w.path, 100000, &w.bytes, &w.n, &e), "%s", e.msg);
    return w;
}

static const char *const files[] = {"tensors.safetensors", "state.json", "MANIFEST.json"};

/* Each byte of each file changed, each file cut at each place: the one before is found, and the damage named.
 */
START_TEST(every_byte)
{
    must_save(1, 1, false);
    must_save(2, 2, false);
    Whole w = keep("step_00000002", files[_i]);
    listen();
    int harmless = 0;
    for (size_t i = 0; i < 4 * w.n; i++) {
        uint8_t was = w.bytes[i / 4], change = (uint8_t[]){0x01, 0x80, 0xff, 0}[i % 4];
        w.bytes[i / 4] ^= change;
        put(w.path, w.bytes, change ? w.n : i / 4);
        w.bytes[i / 4] = was;
        Error e = {0};
        int k = found(run, "latest", &e);
        const char *said = heard();
        /* a cut of the last newline leaves the manifest as good as it was */
        if (k == 2 && _i == 2 && i / 4 == w.n - 1 && !change) {
            harmless++;
            continue;
        }
        ck_assert_msg(k == 1, "%s: byte %zu ^ %02x: checkpoint %d; %s", files[_i], i / 4, change, k, e.msg);
        /* a damaged manifest may put the blame on the file it lists */
        ck_assert_msg(strstr(said, "step_00000002/"), "%s", said);
        ck_assert_msg(_i == 2 || strstr(said, files[_i]), "%s", said);
    }
    listen_end();
    ck_assert_int_eq(harmless, _i == 2);
    put(w.path, w.bytes, w.n);
    expect("latest", 2);
    free(w.bytes);
}
END_TEST

START_TEST(missing_files)
{
    must_save(1, 1, true);
    must_save(2, 2, false);
    Whole w = keep("step_00000002", files[_i]);
    listen();
    for (int kind = 0; kind < 3; kind++) {
        unlink(w.path);
        if (kind == 1) ck_assert_int_eq(mkdir(w.path, 0700), 0);
        if (kind == 2) ck_assert_int_eq(mkfifo(w.path, 0600), 0);
        expect("latest", 1);
        const char *said = heard();
        ck_assert_msg(strstr(said, w.path) && strstr(said, kind ? "not a regular file" : "missing"), "%s",
                      said);
        ck_assert_msg(strstr(said, "step_00000001: taken instead"), "%s", said);
        remove(w.path);
    }
    listen_end();
    /* nothing left to fall back to */
    Error e = {0};
    remove_folder(in(run, "step_00000001"));
    listen();
    ck_assert(found(run, "latest", &e) == -1 && e.code == ERROR_INPUT);
    ck_assert_msg(strstr(e.msg, w.path), "%s", e.msg);
    ck_assert(found(run, "best", &e) == -1 && e.code == ERROR_INPUT);
    ck_assert_msg(strstr(e.msg, "step_00000001/MANIFEST.json: missing"), "%s", e.msg);
    listen_end();
    free(w.bytes);
}
END_TEST

static const struct {
    const char *text;
    size_t n;
} pointers[] = {{"", 0},
                {"\n", 1},
                {"step_00000001", 13},
                {"step_00000007\n", 14},
                {"step_1\n", 7},
                {"step_-0000001\n", 14},
                {"step_00000001.0\n", 16},
                {"step_00000001\nx\n", 16},
                {"step_00000001\0\n", 15},
                {"../step_00000001\n", 17},
                {"step_00000001/../step_00000001\n", 31},
                {"step_99999999999999999999999999999999999999999\n", 47},
                {"step_00000001.999999999999999999999999999999999999999999\n", 57}};

START_TEST(bad_pointers)
{
    must_save(1, 1, true);
    must_save(2, 2, false);
    put(in(run, "latest"), pointers[_i].text, pointers[_i].n);
    put(in(run, "best"), pointers[_i].text, pointers[_i].n);
    listen();
    expect("latest", 2);
    Error e = {0};
    ck_assert(found(run, "best", &e) == -1 && e.code == ERROR_INPUT);
    /* who does not know what is best removes nothing, until that is known again */
    bool ok = save(run, 3, 3, false, &e);
    listen_end();
    ck_assert(ok);
    expect("latest", 3);
    must_save(4, 4, true);
    expect("best", 4);
    ck_assert_int_eq(count(run, "step_", ""), 2);
    unlink(in(run, "latest"));
    listen();
    expect("latest", 4);
    listen_end();
}
END_TEST

/* Going on from an older one: the damaged one goes, and the one before stays until there are two again. */
START_TEST(saving_after_damage)
{
    must_save(1, 1, false);
    must_save(2, 2, false);
    put(in(run, "step_00000002/state.json"), "{\"k\": 3}", 8);
    listen();
    must_save(2, 4, false);
    listen_end();
    expect("latest", 4);
    ck_assert_int_eq(count(run, "step_", ""), 2);
    ck_assert_int_eq(contents(in(run, "step_00000001"), NULL), 1);
    ck_assert_int_eq(contents(in(run, "step_00000002.1"), NULL), 4);
}
END_TEST

/* ' for "; $ stands for the two good files. */
static const struct {
    const char *text, *message;
} manifests[] = {
    {"", "not JSON"},
    {"[]", "expected an object"},
    {"{}", "key \"format\" is missing"},
    {"{'format': 1, 'version': 1, 'step': 1, 'files': [$]}", "key \"format\": expected a string"},
    {"{'format': 'x', 'version': 1, 'step': 1, 'files': [$]}", "format \"x\" version 1, expected"},
    {"{'format': 'pcrl checkpoint', 'version': 2, 'step': 1, 'files': [$]}", "version 2, expected"},
    {"{'format': 'pcrl checkpoint', 'version': 1, 'step': '1', 'files': [$]}",
     "key \"step\": expected an integer"},
    {"{'format': 'pcrl checkpoint', 'version': 1, 'step': -1, 'files': [$]}", "step -1"},
    {"{'format': 'pcrl checkpoint', 'version': 1, 'step': 7, 'files': [$]}", "step 7 in the folder of step 1"},
    {"{'format': 'pcrl checkpoint', 'version': 1, 'step': 1, 'files': {}}", "key \"files\": expected an array"},
    {"{'format': 'pcrl checkpoint', 'version': 1, 'step': 1, 'files': []}", "0 files, expected 2"},
    {"{'format': 'pcrl checkpoint', 'version': 1, 'step': 1, 'files': [$, 3]}", "3 files, expected 2"},
    {"{'format': 'pcrl checkpoint', 'version': 1, 'step': 1, 'files': [1, 2]}", "expected an object"},
    {"{'format': 'pcrl checkpoint', 'version': 1, 'step': 1, 'step': 1, 'files': [$]}", "not JSON: duplicate"},
    {"{'format': 'pcrl checkpoint', 'version': 1, 'step': 1, 'files': ["
     "{'name': '../latest', 'bytes': 14, 'sha256': ''}, {}]}",
     "file 0 is \"../latest\", expected tensors.safetensors"},
    {"{'format': 'pcrl checkpoint', 'version': 1, 'step': 1, 'files': ["
     "{'name': 'tensors.safetensors', 'bytes': 9223372036854775807, 'sha256': ''}, {}]}",
     "bytes, expected 9223372036854775807"},
    {"{'format': 'pcrl checkpoint', 'version': 1, 'step': 1, 'files': ["
     "{'name': 'tensors.safetensors', 'bytes': 99999999999999999999, 'sha256': ''}, {}]}",
     "not JSON: too big integer"},
    {"{'format': 'pcrl checkpoint', 'version': 1, 'step': 1, 'files': ["
     "{'name': 'tensors.safetensors', 'bytes': -1, 'sha256': ''}, {}]}",
     "bytes, expected -1"},
    {"{'format': 'pcrl checkpoint', 'version': 1, 'step': 1, 'files': ["
     "{'name': 'tensors.safetensors', 'bytes': 1.5, 'sha256': ''}, {}]}",
     "key \"bytes\": expected an integer"},
    {"{'format': 'pcrl checkpoint', 'version': 1, 'step': 1, 'files': ["
     "{'name': 'tensors.safetensors', 'bytes': @, 'sha256': ''}, {}]}",
     "tensors.safetensors: damaged: SHA-256"},
    {"{'format': 'pcrl checkpoint', 'version': 1, 'step': 1, 'files': ["
     "{'name': 'tensors.safetensors', 'bytes': @, 'sha256': null}, {}]}",
     "key \"sha256\": expected a string"},
};

START_TEST(hostile_manifests)
{
    must_save(1, 1, false);
    Whole w = keep("step_00000001", "MANIFEST.json"), t = keep("step_00000001", "tensors.safetensors");
    char *good = strstr(strchr((char *)w.bytes, '['), "{"), *end = strchr(good, ']'), text[2048];
    size_t n = 0;
    for (const char *p = manifests[_i].text; *p; p++) {
        if (*p == '$')
            n += (size_t)snprintf(text + n, sizeof text - n, "%.*s", (int)(end - good), good);
        else if (*p == '@')
            n += (size_t)snprintf(text + n, sizeof text - n, "%zu", t.n);
        else
            text[n++] = *p == '\'' ? '"' : *p;
    }
    put(w.path, text, n);
    Error e = {0};
    ck_assert_int_eq(contents(in(run, "step_00000001"), &e), -1);
    ck_assert_int_eq(e.code, ERROR_INPUT);
    ck_assert_msg(strstr(e.msg, manifests[_i].message) && strstr(e.msg, "/step_00000001/"), "%s", e.msg);
    free(w.bytes);
    free(t.bytes);
}
END_TEST

/* The same text with right values is accepted, so each refusal above is for the reason it names; and a manifest
 * is never read past its limit. */
START_TEST(manifest_limit)
{
    must_save(1, 1, false);
    Whole w = keep("step_00000001", "MANIFEST.json");
    static char text[70000];
    memset(text, ' ', sizeof text);
    memcpy(text, w.bytes, w.n);
    put(w.path, text, 65536);
    expect("latest", 1);
    put(w.path, text, 65537);
    Error e = {0};
    ck_assert_int_eq(contents(in(run, "step_00000001"), &e), -1);
    ck_assert_msg(strstr(e.msg, "MANIFEST.json: 65537 bytes, more than the limit"), "%s", e.msg);
    free(w.bytes);
}
END_TEST

/* ---- the lock ---- */

/* This program as another trainer: takes the lock, says so, and waits for its end. */
static int hold_lock(const char *folder)
{
    int fd;
    Error e = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* also where the test fails */
    if (!checkpoint_lock(folder, &fd, &e)) return e.code;
    if (write(1, "x", 1) != 1) return 99;
    for (;;) pause();
}

START_TEST(two_trainers)
{
    int ends[2], fd;
    char byte, expected[64];
    pid_t pid;
    Error e = {0};
    posix_spawn_file_actions_t actions;
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    ck_assert_int_eq(
        posix_spawn(&pid, "/proc/self/exe", &actions, NULL, (char *[]){"x", "--lock", run, NULL}, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    ck_assert_int_eq(read(ends[0], &byte, 1), 1);
    close(ends[0]);
    ck_assert(!checkpoint_lock(run, &fd, &e) && fd == -1 && e.code == ERROR_IO);
    snprintf(expected, sizeof expected, "/lock: process %d is training in this folder", (int)pid);
    ck_assert_msg(strstr(e.msg, expected), "%s", e.msg);
    /* killed: its lock is no obstacle, though its pid still stands in the file */
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_msg(checkpoint_lock(run, &fd, &e), "%s", e.msg);
    int second;
    ck_assert(!checkpoint_lock(run, &second, &e));
    snprintf(expected, sizeof expected, "process %d is", (int)getpid());
    ck_assert_msg(strstr(e.msg, expected), "%s", e.msg);
    checkpoint_unlock(fd);
    ck_assert_msg(checkpoint_lock(run, &fd, &e), "%s", e.msg);
    checkpoint_unlock(fd);
    ck_assert(!checkpoint_lock(in(run, "none"), &fd, &e) && e.code == ERROR_IO);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "--lock")) return hold_lock(argv[2]);
    Suite *s = suite_create("checkpoint");
    TCase *t = tcase_create("checkpoint");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, nothing_there);
    tcase_add_test(t, one_checkpoint);
    tcase_add_test(t, what_stays);
    tcase_add_test(t, same_step);
    tcase_add_test(t, cleared);
    tcase_add_test(t, no_memory);
    tcase_add_test(t, stale_files);
    tcase_add_loop_test(t, every_byte, 0, 3);
    tcase_add_loop_test(t, missing_files, 0, 3);
    tcase_add_loop_test(t, bad_pointers, 0, sizeof pointers / sizeof *pointers);
    tcase_add_test(t, saving_after_damage);
    tcase_add_loop_test(t, hostile_manifests, 0, sizeof manifests / sizeof *manifests);
    tcase_add_test(t, manifest_limit);
    tcase_add_test(t, two_trainers);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
