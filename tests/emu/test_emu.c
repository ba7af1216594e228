/* The runner of CUDA kernels must pass what is right and catch what is wrong. Every fault has a process of
 * its own (tests/emu/cases.cu, faults.cu), under several thread orders, plain and built with sanitizers; what
 * it says is compared with a pattern. A fault that a build cannot see is not asked of it. */
#include <check.h>
#include <regex.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Fault {
    const char *name, *plain, *asan, *tsan; /* what each build says; NULL: not asked */
} Fault;

/* The line on stderr; %u is the seed. */
#define EMU(kernel, file, what)                                                                                \
    "^emu: kernel " kernel ", block \\([0-9,]*\\), thread \\([0-9,]*\\), seed %u: tests/emu/" file             \
    "\\.cu:[0-9]+: " what
/* Where no thread can be named. */
#define EMU_BLOCK(kernel, what)  "^emu: kernel " kernel ", block \\([0-9,]*\\), seed %u: " what
#define EMU_LAUNCH(kernel, what) "^emu: kernel " kernel ", seed %u: " what
#define WRONG(element, value)    "^wrong: element " element " is " value ","
#define RACE(where)              "^SUMMARY: ThreadSanitizer: data race " where
#define ASAN(what, where)        "^SUMMARY: AddressSanitizer: " what " " where

static const Fault faults[] = {
    {"short tail", WRONG("999", "-?nan"), NULL, NULL},
    {"long tail",
     EMU_LAUNCH("axpy_kernel<bug>", "device memory of 4000 bytes: byte 0 behind its end was written"),
     ASAN("use-after-poison", "tests/emu/cases.cu:[0-9]+ in void axpy_kernel"), NULL},
    {"misaligned vector", NULL, "runtime error: .*misaligned address .* for type 'const struct float4'", NULL},
    {"missing barrier", WRONG("[0-9]+", "-?nan"), NULL,
     RACE("tests/emu/cases.cu:[0-9]+ in void reverse_kernel")},
    {"missing barrier between vector calls", WRONG("[0-9]+", "-?nan"), NULL,
     RACE("tests/emu/cases.cu:[0-9]+ in void halves_kernel")},
    {"missing barrier before refill", WRONG("[0-9]+", "[-0-9.]+"), NULL,
     RACE("tests/emu/cases.cu:[0-9]+ in void reverse_kernel")},
    {"missing syncwarp", WRONG("[0-9]+", "-1"), NULL, RACE("tests/emu/cases.cu:[0-9]+ in void scan_kernel")},
    {"missing atomic", NULL, NULL, RACE("tests/emu/cases.cu:[0-9]+ in void total_kernel")},
    {"missing fence", NULL, NULL, RACE("tests/emu/cases.cu:[0-9]+ in void total_kernel")},
    {"missing fence after the atomic", NULL, NULL, RACE("tests/emu/cases.cu:[0-9]+ in void total_kernel")},
    {"loose wait", WRONG("0", "-?nan"), NULL, NULL},
    {"missing wait",
     EMU("gemm_kernel<bug>", "cases", "the thread ends with 1 cp.async that it never waited for"), NULL, NULL},
    {"missing barrier before cp.async", WRONG("[0-9]+", "-?nan"), NULL, RACE("kernels/mma.cuh:[0-9]+ in ")},
    {"dynamic without allowance",
     EMU_LAUNCH("dynamic_kernel", "tests/emu/cases.cu:[0-9]+: 80000 bytes of .* without ALLOW_DYN_SHARED"),
     NULL, NULL},
    {"divergent barrier",
     EMU("two_barriers_kernel", "faults",
         "divergent barrier: [0-9]+ other threads wait at tests/emu/faults.cu:"),
     "divergent barrier", "divergent barrier"},
    {"barrier after a return",
     EMU("early_return_kernel", "faults",
         "(barrier: [0-9]+ threads of the block have ended|this thread ends while [0-9]+ others wait)"),
     NULL, NULL},
    {"deadlock",
     EMU_BLOCK("deadlock_kernel",
               "deadlock: .* thread 0 at tests/emu/faults.cu:[0-9]+ \\(barrier\\), thread 48 at "
               "tests/emu/faults.cu:[0-9]+ \\(warp operation\\); 0 of 64"),
     NULL, NULL},
    {"divergent helper",
     EMU("two_sums_kernel", "faults", "divergent barrier: 32 other threads wait at tests/emu/faults"), NULL,
     NULL},
    {"divergent shuffle",
     EMU("shuffle_branches_kernel", "faults", "divergent shuffle: lane [0-9]+ \\(mask ffffffff\\)"),
     "divergent shuffle", "divergent shuffle"},
    {"shuffle in a tail",
     EMU("shuffle_tail_kernel", "faults",
         "(lane [0-9]+ ends while lanes|.* names lane [0-9]+, which has ended)"),
     NULL, NULL},
    {"shuffle in a short warp",
     EMU("shuffle_short_warp_kernel", "faults",
         "shuffle: mask ffffffff names lanes that the block does not have"),
     NULL, NULL},
    {"shuffle from outside the mask",
     EMU("shuffle_source_kernel", "faults", "shuffle: lane 0 reads lane 16, which is not in mask 0000ffff"),
     NULL, NULL},
    {"overlapping masks", EMU("shuffle_masks_kernel", "faults", "divergent shuffle: lane .* wait at"), NULL,
     NULL},
    {"not in its mask", "(is not in its own mask 0000ffff|deadlock: )", NULL, NULL},
    {"uninitialised shared read", WRONG("5", "-?nan"), WRONG("5", "-?nan"), NULL},
    {"shared write out of bounds",
     EMU_BLOCK("shared_overrun_kernel",
               "tests/emu/faults.cu:[0-9]+: shared array a \\(256 bytes\\): byte 0 behind"),
     ASAN("use-after-poison", "tests/emu/faults.cu:[0-9]+ in shared_overrun_kernel"), NULL},
    {"shared read out of bounds", WRONG("63", "-?nan"), "runtime error: index 63 out of bounds", NULL},
    {"too much static shared memory",
     EMU("static_limit_kernel", "faults", "with b 50000 bytes of static shared memory, at most 49152"), NULL,
     NULL},
    {"too much dynamic shared memory", "^cuda: early_return_kernel asks for 102400 bytes of shared memory",
     NULL, NULL},
    {"misaligned ldmatrix", EMU("ldmatrix_aligned_kernel", "faults", "ldmatrix: shared address .* not aligned"),
     NULL, NULL},
    {"ldmatrix of device memory",
     EMU("ldmatrix_global_kernel", "faults", "ldmatrix: .* not inside an array of shared memory"), NULL, NULL},
    {"misaligned cp.async", EMU("cp_async_aligned_kernel", "faults", "cp.async: source .* not aligned"), NULL,
     NULL},
    {"cp.async without commit", EMU("cp_async_commit_kernel", "faults", "the thread ends with 1 cp.async"),
     NULL, NULL},
    {"block too large", EMU_LAUNCH("index_kernel", "tests/emu/faults.cu:[0-9]+: block of 1025 x 1 x 1"), NULL,
     NULL},
    {"grid too large", EMU_LAUNCH("index_kernel", "tests/emu/faults.cu:[0-9]+: grid of 1 x 65536 x 1"), NULL,
     NULL},
    {"empty grid", EMU_LAUNCH("index_kernel", "tests/emu/faults.cu:[0-9]+: grid of 0 x 1 x 1"), NULL, NULL},
    {"host pointer as argument",
     EMU_LAUNCH("index_kernel", "tests/emu/faults.cu:[0-9]+: parameter 0 is 0x.* not device memory"), NULL,
     NULL},
    {"device memory on the host", "^emu: host code touches device memory at 0x",
     ASAN("SEGV", "tests/emu/faults.cu:[0-9]+ in host_access"), NULL},
    {"copy in the wrong direction", "^emu: cudaMemcpyAsync: host pointer 0x.* is device memory", NULL, NULL},
    {"copy out of bounds", "^emu: cudaMemcpyAsync: 260 bytes at 0x.* are not device memory", NULL, NULL},
    {"null pointer", "^emu: kernel wild_kernel, block .*, thread .*, seed %u: segmentation fault at \\(nil\\)",
     "null pointer", NULL},
    {"stack overflow", "^emu: kernel stack_kernel, block .*, thread .*, seed %u: the thread's stack overflows",
     NULL, NULL},
    {"launch in a kernel", EMU("launching_kernel", "faults", "a launch inside a kernel"), NULL, NULL},
    {"wait in a capture", "^emu: cudaStreamSynchronize while the stream is captured", NULL, NULL},
    {"read in a capture", "^emu: a copy from or to the host while the stream is captured", NULL, NULL},
    {"allocation in a capture", "^emu: cudaMalloc while the stream is captured", NULL, NULL},
};
enum { FAULTS = sizeof faults / sizeof *faults };

/* The builds of tests/emu/cases.cu, and under how many thread orders each must pass what is right and find what
 * is wrong. */
static const struct {
    const char *name, *prefix, *program;
    unsigned right, faults;
} builds[] = {
    {"plain", "", "emu/cases", 8, 4},
    {"asan", "", "emu/asan/emu/cases", 2, 2},
    /* libtsan cannot place its shadow where addresses are random. */
    {"tsan", "setarch -R ", "emu/tsan/emu/cases", 2, 2},
};
enum { PLAIN, WITH_ASAN, WITH_TSAN };

/* The exit status as of wait(2). */
static int output(const char *command, char *text, size_t room)
{
    FILE *f = popen(command, "r");
    ck_assert_ptr_nonnull(f);
    size_t n = fread(text, 1, room - 1, f);
    text[n] = 0;
    while (fgetc(f) != EOF) {}
    return pclose(f);
}

/* text gets stdout and stderr. */
static int run(int build, unsigned seed, const char *name, char *text, size_t room)
{
    const char *folder = getenv("BUILD");
    char command[1024];
    snprintf(command, sizeof command,
             "ulimit -c 0; EMU_SEED=%u TSAN_OPTIONS=halt_on_error=1:atexit_sleep_ms=0 exec %s'%s/%s' '%s' 2>&1",
             seed, builds[build].prefix, folder ? folder : "build/release", builds[build].program, name);
    return output(command, text, room);
}

static bool says(const char *text, const char *pattern, unsigned seed)
{
    char filled[1024];
    regex_t re;
    snprintf(filled, sizeof filled, pattern, seed); /* at most one %u */
    ck_assert_int_eq(regcomp(&re, filled, REG_EXTENDED | REG_NEWLINE | REG_NOSUB), 0);
    bool found = !regexec(&re, text, 0, NULL, 0);
    regfree(&re);
    return found;
}

static void check_right(int build)
{
    char text[1 << 16];
    for (unsigned seed = 0; seed < builds[build].right; seed++) {
        int status = run(build, seed, "right", text, sizeof text);
        ck_assert_msg(status == 0 && !strcmp(text, "right\n"), "%s, seed %u: status 0x%x: %s",
                      builds[build].name, seed, (unsigned)status, text);
    }
}

START_TEST(right_plain) { check_right(PLAIN); }
END_TEST
START_TEST(right_asan) { check_right(WITH_ASAN); }
END_TEST
START_TEST(right_tsan) { check_right(WITH_TSAN); }
END_TEST

START_TEST(fault_is_caught)
{
    const Fault *f = &faults[_i];
    const char *const patterns[] = {f->plain, f->asan, f->tsan};
    char text[1 << 16];
    for (int build = PLAIN; build <= WITH_TSAN; build++)
        for (unsigned seed = 0; patterns[build] && seed < builds[build].faults; seed++) {
            int status = run(build, seed, f->name, text, sizeof text);
            ck_assert_msg(status != 0 && says(text, patterns[build], seed),
                          "%s, %s, seed %u: expected /%s/, status 0x%x: %s", f->name, builds[build].name, seed,
                          patterns[build], (unsigned)status, text);
        }
}
END_TEST

/* What only TSan sees must be wrong in nothing else, or these cases would show nothing. */
START_TEST(races_alone)
{
    static const char *const names[] = {"missing atomic", "missing fence", "missing fence after the atomic"};
    char text[1 << 16];
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        ck_assert_msg(run(PLAIN, 0, names[i], text, sizeof text) == 0, "%s: %s", names[i], text);
}
END_TEST

/* What is right runs few of the kernels in the program. */
START_TEST(coverage)
{
    const char *folder = getenv("BUILD");
    char text[1 << 16], command[1024], counts[] = "/tmp/emu-coverage-XXXXXX";
    int fd = mkstemp(counts);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(setenv("EMU_COVERAGE", counts, 1), 0);
    ck_assert_int_eq(run(PLAIN, 0, "right", text, sizeof text), 0);
    ck_assert_int_eq(unsetenv("EMU_COVERAGE"), 0);
    snprintf(command, sizeof command, "tests/emu/coverage.sh '%s/%s' %s 2>&1",
             folder ? folder : "build/release", builds[PLAIN].program, counts);
    ck_assert_int_ne(output(command, text, sizeof text), 0);
    ck_assert_msg(says(text, "^never run: shuffle_tail_kernel\\(", 0), "%s", text);
    ck_assert_msg(says(text, "^never run with two blocks: vocabulary_kernel\\(", 0), "%s", text);
    ck_assert_msg(!says(text, "total_helper_kernel|transposed_kernel", 0), "%s", text);
    ck_assert_msg(
        says(text, "^[1-9][0-9] of [1-9][0-9] kernels ran, [1-9][0-9]* of them with several blocks$", 0), "%s",
        text);
    close(fd);
    unlink(counts);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("emu");
    TCase *tc = tcase_create("runner");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, right_plain);
    tcase_add_test(tc, right_asan);
    tcase_add_test(tc, right_tsan);
    tcase_add_test(tc, races_alone);
    tcase_add_test(tc, coverage);
    tcase_add_loop_test(tc, fault_is_caught, 0, FAULTS);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
