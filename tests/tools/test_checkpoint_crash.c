/* A save that is killed, or fails, at each of its system calls; a disk that is full. Before it the run folder
 * holds three checkpoints (best, previous, latest) and the leavings of a dead process; the save under test is
 * the second at its step, becomes best, and removes two others, so it walks every path of saving. strace
 * injects the faults, by system call name and number: `when` counts each name alone. */
#include "tests/tools/checkpoint_fixture.h"
#include "tools/cli.h"
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

enum { OLD_BEST = 1, OLD = 3, NEW = 4, STEP = 3, NEXT = 5 };
static char folder[64], model[128], run[128], self[4096], trace[128], errors[128];
/* The first call of the save itself; what the loader does before is not under test. */
static const char begin[] = "/the-save-begins-here";

typedef struct Call {
    char name[32];
    int number;    /* the how manieth of its name */
    long returned; /* without a fault */
} Call;

/* ---- the save under test, in a process of its own ---- */

static int save_once(const char *where)
{
    Error e = {0};
    access(begin, F_OK);
    if (!save(where, STEP, NEW, true, &e)) cli_fail(&e);
    return 0;
}

/* Exit status; 128 + signal when it was killed. */
static int spawn(char *const argv[], const char *err)
{
    posix_spawn_file_actions_t files;
    pid_t pid;
    int status;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 2, err, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    bool ok = !posix_spawnp(&pid, argv[0], &files, NULL, argv, environ) && waitpid(pid, &status, 0) == pid;
    posix_spawn_file_actions_destroy(&files);
    if (!ok) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static char *text_of(const char *path)
{
    uint8_t *bytes;
    size_t n;
    Error e = {0};
    ck_assert_msg(file_read(path, 1 << 22, &bytes, &n, &e), "%s", e.msg);
    return (char *)bytes;
}

/* ---- the run folder before the save ---- */

static void copy_folder(const char *from, const char *to)
{
    DIR *d = opendir(from);
    ck_assert(d && mkdir(to, 0755) == 0);
    for (struct dirent *x; (x = readdir(d));) {
        char a[512], b[512];
        uint8_t *bytes;
        size_t n;
        if (!strcmp(x->d_name, ".") || !strcmp(x->d_name, "..")) continue;
        snprintf(a, sizeof a, "%s/%s", from, x->d_name);
        snprintf(b, sizeof b, "%s/%s", to, x->d_name);
        if (x->d_type == DT_DIR) {
            copy_folder(a, b);
            continue;
        }
        ck_assert(file_read(a, 1 << 20, &bytes, &n, NULL));
        put(b, bytes, n);
        free(bytes);
    }
    closedir(d);
}

static void fresh_run(void)
{
    remove_folder(run);
    copy_folder(model, run);
}

/* All its calls listed in `trace`. */
static int save_traced(void)
{
    return spawn((char *[]){(char *)"strace", (char *)"-o", trace, self, (char *)"--save", run, NULL}, errors);
}

/* With one fault, e.g. "signal=KILL", at that call. */
static int save_with_fault(char fault[96], const Call *c, const char *what)
{
    char only[64], inject[128];
    char *argv[16] = {(char *)"strace", (char *)"-o", trace, (char *)"-e", only, (char *)"-e", inject};
    int n = 7;
    fresh_run();
    snprintf(fault, 96, "%.31s:%.40s:when=%d", c->name, what, c->number);
    snprintf(only, sizeof only, "trace=%s", c->name);
    snprintf(inject, sizeof inject, "inject=%s", fault);
    /* no stop at other calls: two thirds of the time; strace 6.1 then loses an injected signal */
    if (strncmp(what, "signal", 6)) argv[n++] = (char *)"-f", argv[n++] = (char *)"--seccomp-bpf";
    argv[n++] = self, argv[n++] = (char *)"--save", argv[n++] = run;
    return spawn(argv, errors);
}

static void setup(void)
{
    Error e = {0};
    char name[64];
    make_temporary(folder, "pcrl-crash");
    snprintf(model, sizeof model, "%s/model", folder);
    snprintf(run, sizeof run, "%s/run", folder);
    snprintf(trace, sizeof trace, "%s/trace", folder);
    snprintf(errors, sizeof errors, "%s/errors", folder);
    ck_assert_int_eq(mkdir(model, 0755), 0);
    for (int k = 1; k <= OLD; k++) ck_assert_msg(save(model, k, k, k == OLD_BEST, &e), "%s", e.msg);
    pid_t dead;
    ck_assert_int_eq(posix_spawn(&dead, self, NULL, NULL, (char *[]){self, (char *)"--nothing", NULL}, environ),
                     0);
    ck_assert_int_eq(waitpid(dead, NULL, 0), dead);
    snprintf(name, sizeof name, "latest.tmp-%d-0", (int)dead);
    put(in(model, name), "x", 1);
    snprintf(name, sizeof name, "step_00000004.tmp-%d", (int)dead);
    ck_assert_int_eq(mkdir(in(model, name), 0755), 0);
    strcat(name, "/tensors.safetensors");
    put(in(model, name), "x", 1);
}

static void teardown(void)
{
    umount2(run, MNT_DETACH); /* where full_disk failed */
    remove_folder(folder);
}

/* ---- the calls ---- */

static Call call[1024];
static int n_calls;

static void list_calls(void)
{
    static Call seen[128];
    int n_seen = 0;
    bool begun = false;
    char *text = text_of(trace), *rest = text;
    n_calls = 0;
    for (char *line; (line = strsep(&rest, "\n"));) {
        size_t n = strcspn(line, "(");
        char *value = strrchr(line, '=');
        if (!islower((unsigned char)*line) || line[n] != '(' || n >= sizeof call->name) continue;
        Call c = {.returned = value ? strtol(value + 1, NULL, 10) : -1};
        memcpy(c.name, line, n);
        int i = 0;
        while (i < n_seen && strcmp(seen[i].name, c.name)) i++;
        if (i == n_seen) seen[n_seen++] = c;
        c.number = ++seen[i].number;
        if (begun) call[n_calls++] = c;
        begun |= strstr(line, begin) != NULL;
        ck_assert(n_seen < 128 && n_calls < 1024);
    }
    free(text);
    ck_assert_msg(n_calls > 50, "strace listed %d calls of a save", n_calls);
}

/* False (having said so) where strace is not to be used; fails where it cannot be. */
static bool trace_save(void)
{
#ifdef __SANITIZE_ADDRESS__
    puts("not run: the crash harness (LeakSanitizer does not work under strace)");
    return false;
#endif
    const char *skip = getenv("SKIP_STRACE");
    if (skip && !strcmp(skip, "1")) {
        puts("not run: the crash harness (SKIP_STRACE=1)");
        return false;
    }
    fresh_run();
    int code = save_traced();
    ck_assert_msg(
        code == 0,
        "strace (Debian package strace) does not work here (SKIP_STRACE=1 leaves this test out): %d: %s", code,
        text_of(errors));
    list_calls();
    return true;
}

/* ---- what must hold after each fault ---- */

static void one_of(const char *which, int a, int b, const char *fault)
{
    Error e = {0};
    int k = found(run, which, &e);
    ck_assert_msg(k == a || k == b, "%s: %s is checkpoint %d, expected %d or %d; %s", fault, which, k, a, b,
                  e.msg);
}

/* No checkpoint is half written or half removed, and what was the latest is still there. */
static void all_whole(const char *fault)
{
    DIR *d = opendir(run);
    Error e = {0};
    ck_assert_ptr_nonnull(d);
    for (struct dirent *x; (x = readdir(d));)
        if (!strncmp(x->d_name, "step_", 5) && !strstr(x->d_name, ".tmp-"))
            ck_assert_msg(contents(in(run, x->d_name), &e) > 0, "%s: %s", fault, e.msg);
    closedir(d);
    ck_assert_msg(contents(in(run, "step_00000003"), &e) == OLD, "%s: %s", fault, e.msg);
}

static void no_temporaries(const char *fault)
{
    int n = count(run, "", ".tmp-");
    for (const char *const *s =
             (const char *const[]){"step_00000001", "step_00000002", "step_00000003", "step_00000003.1", NULL};
         *s; s++)
        n += count(in(run, *s), "", ".tmp-");
    ck_assert_msg(n == 0, "%s: %d temporary files left", fault, n);
}

/* Standard error is put aside: the notes of what a fault left are expected. */
static int quiet(void)
{
    int kept = dup(2), null = open("/dev/null", O_WRONLY);
    dup2(null, 2);
    close(null);
    return kept;
}
static void aloud(int kept)
{
    dup2(kept, 2);
    close(kept);
}

START_TEST(killed)
{
    if (!trace_save()) return;
    int kept = quiet(), old = 0;
    for (int i = 0; i < n_calls; i++) {
        char fault[96];
        Error e = {0};
        int code = save_with_fault(fault, &call[i], "signal=KILL");
        ck_assert_msg(code == 128 + SIGKILL, "%s: exit status %d", fault, code);
        one_of("latest", OLD, NEW, fault);
        one_of("best", OLD_BEST, NEW, fault);
        all_whole(fault);
        old += found(run, "latest", &e) == OLD;
        /* and training goes on */
        ck_assert_msg(save(run, NEXT, NEXT, false, &e), "%s: then: %s", fault, e.msg);
        one_of("latest", NEXT, NEXT, fault);
        one_of("best", OLD_BEST, NEW, fault);
        no_temporaries(fault);
    }
    aloud(kept);
    ck_assert(old > 0 && old < n_calls);
    printf("killed at each of %d system calls: %d times the old checkpoint, %d times the new one, 0 lost\n",
           n_calls, old, n_calls - old);
}
END_TEST

/* Memory's own calls fail as memory does, and an end cannot fail. */
static bool can_fail(const Call *c)
{
    static const char *const cannot[] = {"brk",     "mmap",       "munmap", "mremap", "mprotect",
                                         "madvise", "exit_group", "getpid", "futex",  NULL};
    for (int i = 0; cannot[i]; i++)
        if (!strcmp(c->name, cannot[i])) return false;
    return true;
}

/* Success with a verified new checkpoint, or exit code 3 with the path and the old one; nothing half-made. */
static bool check_outcome(int code, const char *fault)
{
    char *log = text_of(trace), *said = text_of(errors);
    ck_assert_msg(strstr(log, "INJECTED"), "%s: the fault did not come: %s", fault, log);
    ck_assert_msg(code == 0 || code == ERROR_IO, "%s: exit status %d: %s", fault, code, said);
    if (code == 0) {
        one_of("latest", NEW, NEW, fault);
        one_of("best", NEW, NEW, fault);
    } else {
        ck_assert_msg(strstr(said, run), "%s: no path: %s", fault, said);
        one_of("latest", OLD, NEW, fault);
        one_of("best", OLD_BEST, NEW, fault);
    }
    all_whole(fault);
    if (code && strstr(fault, "write:error=ENOSPC"))
        ck_assert_msg(strstr(said, "(the checkpoint needs ") && strstr(said, " free)"), "%s: %s", fault, said);
    no_temporaries(fault);
    free(log);
    free(said);
    return code == 0;
}

START_TEST(failing_calls)
{
    static const char *const error[] = {"error=ENOSPC", "error=EIO",    "error=EDQUOT",
                                        "error=EINTR",  "error=EACCES", "error=EMFILE"};
    enum { ERRORS = sizeof error / sizeof *error };
    if (!trace_save()) return;
    int kept = quiet(), runs = 0, succeeded = 0;
    for (int i = 0; i < n_calls * ERRORS; i++) {
        char fault[96];
        if (!can_fail(&call[i / ERRORS])) continue;
        int code = save_with_fault(fault, &call[i / ERRORS], error[i % ERRORS]);
        succeeded += check_outcome(code, fault);
        runs++;
    }
    aloud(kept);
    ck_assert(succeeded > 0 && succeeded < runs);
    printf("%d failing system calls: %d saves succeeded, %d refused, 0 lost\n", runs, succeeded,
           runs - succeeded);
}
END_TEST

/* A disk that says it has written, or renamed, and has not; and one that writes only seven bytes. */
START_TEST(lying_disk)
{
    static const char *const lies[] = {"write", "rename", "renameat", "renameat2"};
    if (!trace_save()) return;
    int kept = quiet(), runs = 0, refused = 0;
    for (int i = 0; i < n_calls; i++) {
        for (int j = 0; j < 8; j++) {
            char fault[96], lie[40];
            if (strcmp(call[i].name, lies[j / 2])) continue;
            snprintf(lie, sizeof lie, "retval=%ld", j % 2 && call[i].returned > 7 ? 7 : call[i].returned);
            refused += !check_outcome(save_with_fault(fault, &call[i], lie), fault);
            runs++;
        }
    }
    aloud(kept);
    ck_assert(refused > 0);
    printf("%d calls that lied: %d saves succeeded, %d refused, 0 lost\n", runs, runs - refused, refused);
}
END_TEST

/* For lost power, which no process can play: until `latest` stands, nothing written is renamed before an fsync,
 * and nothing else is written or renamed before an fsync after a rename. */
START_TEST(synced_in_order)
{
    if (!trace_save()) return;
    int renames = 0, unsynced = 0;
    char *text = text_of(trace), *rest = text, *line = text;
    while ((line = strsep(&rest, "\n")) && !strstr(line, begin)) continue;
    ck_assert_ptr_nonnull(line);
    while (renames < 6 && (line = strsep(&rest, "\n"))) {
        bool rename = !strncmp(line, "rename", 6);
        if (!strncmp(line, "fsync(", 6)) unsynced = 0;
        ck_assert_msg(!rename || !unsynced, "after %s without fsync: %s", unsynced == 1 ? "write" : "rename",
                      line);
        if (!strncmp(line, "write(", 6)) {
            ck_assert_msg(unsynced != 2, "after rename without fsync: %s", line);
            unsynced = 1;
        }
        if (!rename) continue;
        unsynced = 2;
        renames++;
    }
    ck_assert_msg(renames == 6 && strstr(line, "/latest\")"), "rename %d of 6: %s", renames,
                  line ? line : "none");
    while ((line = strsep(&rest, "\n")) && strncmp(line, "fsync(", 6))
        ck_assert_msg(strncmp(line, "rename", 6) && strncmp(line, "unlink", 6), "before latest is safe: %s",
                      line);
    ck_assert_ptr_nonnull(line);
    free(text);
}
END_TEST

/* ---- a full disk ---- */

enum { SIZES = 20 };

/* The save of a checkpoint of 64 KiB where there may not be room for it; the old one is there. Returns whether
 * it succeeded. foreseen: a refusal comes before anything is written. */
static bool save_on_full_disk(const char *where, bool foreseen)
{
    Error e = {0};
    unsigned long long needed = 0, room = 0;
    bool ok = save(where, 2, 2, false, &e);
    int k = found(where, "latest", NULL);
    ck_assert_int_eq(count(where, "", ".tmp-"), 0);
    ck_assert_int_eq(k, ok ? 2 : 1);
    ck_assert_int_eq(contents(in(where, "step_00000001"), NULL), 1);
    ck_assert_int_eq(count(where, "step_", ""), ok ? 2 : 1);
    if (ok) return true;
    const char *numbers = strstr(e.msg, "needs ");
    ck_assert_int_eq(e.code, ERROR_IO);
    ck_assert_msg(!strncmp(e.msg, where, strlen(where)) && numbers, "%s", e.msg);
    ck_assert_msg(sscanf(numbers, "needs %llu bytes, %llu free", &needed, &room) == 2, "%s", e.msg);
    ck_assert_msg(needed > (unsigned long long)elements * 4 && (!foreseen || needed > room), "%s", e.msg);
    ck_assert_msg(!foreseen == !strstr(e.msg, ": no space for a checkpoint: needs"), "%s", e.msg);
    return false;
}

START_TEST(full_disk)
{
    int refused = 0;
    elements = 16384;
    for (int i = 0; i <= SIZES; i++) {
        char options[32];
        Error e = {0};
        remove_folder(run);
        ck_assert_int_eq(mkdir(run, 0755), 0);
        /* from what the old one takes to 2.5 checkpoints more; 0 would mean no limit */
        snprintf(options, sizeof options, "size=%dk", 80 + i * 165 / SIZES);
        if (mount("none", run, "tmpfs", 0, options) != 0) {
            fprintf(stderr, "SKIPPED: full_disk needs a tmpfs, which cannot be mounted here: %s\n",
                    strerror(errno));
            return;
        }
        bool ok = save(run, 1, 1, false, &e);
        if (ok) {
            refused += !save_on_full_disk(run, true);
        } else {
            ck_assert_msg(e.code == ERROR_IO && strstr(e.msg, "no space for a checkpoint: needs"), "%s", e.msg);
            ck_assert_int_eq(count(run, "", ""), 0);
            refused++;
        }
        ck_assert_int_eq(umount(run), 0);
    }
    ck_assert_msg(refused > 3 && refused < SIZES - 3, "%d of %d refused", refused, SIZES);
}
END_TEST

/* The disk seems to have room, and a write fails nevertheless. */
START_TEST(file_size_limit)
{
    struct rlimit old;
    Error e = {0};
    int refused = 0;
    elements = 16384;
    ck_assert_int_eq(mkdir(run, 0755), 0);
    ck_assert_msg(save(run, 1, 1, false, &e), "%s", e.msg);
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    for (int i = 0; i < SIZES; i++) {
        ck_assert_int_eq(
            setrlimit(RLIMIT_FSIZE, &(struct rlimit){(rlim_t)i * 65536 / (SIZES - 2), old.rlim_max}), 0);
        bool ok = save_on_full_disk(run, false);
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
        ck_assert_int_eq(ok, i == SIZES - 1); /* the header needs some bytes more than 65536 */
        refused += !ok;
    }
    ck_assert_int_eq(refused, SIZES - 1);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "--save")) return save_once(argv[2]);
    if (argc == 2) return 0;
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    Suite *s = suite_create("checkpoint crashes");
    TCase *t = tcase_create("crashes");
    tcase_set_timeout(t, 0);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, killed);
    tcase_add_test(t, failing_calls);
    tcase_add_test(t, lying_disk);
    tcase_add_test(t, synced_in_order);
    tcase_add_test(t, full_disk);
    tcase_add_test(t, file_size_limit);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
