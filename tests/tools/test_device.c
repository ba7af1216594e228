/* --device: what does not compute on a GPU opens no plug-in (strace sees every file that is opened), and where
 * there is no driver `cuda` refuses in one line and `auto` goes on with the CPU. */
#include "tests/models/main.h"
#include "tests/tools/run.h"
#include <check.h>
#include <dirent.h>
#include <stdbool.h>

static char folder[] = "/tmp/pcrl-device-XXXXXX", data[64];
static bool traceable;

/* Runs `tool args` under strace and returns whether it opened (or looked for) a plug-in or CUDA's driver. */
static bool opens_plugin(const char *tool, const char *args, int *code)
{
    char path[4096], command[8192], line[4096];
    tool_path(path, sizeof path, tool);
    snprintf(command, sizeof command, "strace -f -e trace=%%file -o %s/trace %s %s >%s/out 2>%s/err </dev/null",
             folder, path, args, folder, folder);
    int status = system(command);
    *code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    snprintf(path, sizeof path, "%s/trace", folder);
    FILE *f = fopen(path, "r");
    ck_assert_msg(f != NULL, "%s: strace left no trace", command);
    bool found = false;
    int lines = 0;
    for (; fgets(line, sizeof line, f); lines++)
        found |= strstr(line, "pcrl_cuda.so") || strstr(line, "pcrl_emu.so") || strstr(line, "libcuda.so");
    fclose(f);
    ck_assert_int_gt(lines, 5);
    return found;
}

START_TEST(help_and_version)
{
    char bin[4096];
    tool_path(bin, sizeof bin, "");
    DIR *d = opendir(bin);
    ck_assert_msg(d != NULL, "%s: no such folder", bin);
    int tools = 0, code;
    for (struct dirent *f; (f = readdir(d));) {
        if (strncmp(f->d_name, "pcrl-", 5)) continue;
        tools++;
        static const char *const args[] = {"--help", "--version"};
        for (int i = 0; i < 2; i++) {
            ck_assert_msg(!opens_plugin(f->d_name, args[i], &code), "%s %s opens a plug-in", f->d_name,
                          args[i]);
            ck_assert_msg(code == 0, "%s %s: exit %d", f->d_name, args[i], code);
        }
    }
    closedir(d);
    ck_assert_int_gt(tools, 5);
}
END_TEST

START_TEST(on_cpu)
{
    int code;
    char args[256];
    snprintf(args, sizeof args, "--device cpu %s", data);
    ck_assert(!opens_plugin("pcrl-report", args, &code));
    ck_assert_int_eq(code, 0);
    ck_assert(!opens_plugin("pcrl-train", "pcrl --dry-run --sizes paper --device cpu", &code));
    ck_assert_int_eq(code, 0);
    /* The test can fail: auto does look for one. */
    snprintf(args, sizeof args, "--device auto %s", data);
    ck_assert(opens_plugin("pcrl-report", args, &code));
    ck_assert_int_eq(code, 0);
}
END_TEST

static int lines(const char *text)
{
    int n = 0;
    for (; *text; text++) n += *text == '\n';
    return n;
}

START_TEST(without_driver)
{
    char plugin[4096];
    tool_path(plugin, sizeof plugin, "pcrl_cuda.so");
    bool built = access(plugin, F_OK) == 0;
    Run cpu, cuda, any;
    run_tool(&cpu, "pcrl-report", (const char *[]){"--device", "cpu", data, NULL});
    run_tool(&cuda, "pcrl-report", (const char *[]){"--device", "cuda", data, NULL});
    run_tool(&any, "pcrl-report", (const char *[]){data, NULL});
    ck_assert_int_eq(cpu.code, 0);
    ck_assert_int_eq(any.code, 0);
    ck_assert_int_gt((int)strlen(cpu.out), 20);
    ck_assert_str_eq(any.out, cpu.out);
    ck_assert_int_eq(cuda.code, 2);
    ck_assert_str_eq(cuda.out, "");
    ck_assert_msg(lines(cuda.err) == 1 && strstr(cuda.err, "device cuda: "), "%s", cuda.err);
    if (built)
        ck_assert_msg(strstr(any.err, "device cuda: ") && strstr(any.err, "; using the cpu\n"), "%s", any.err);
    else
        ck_assert_msg(strstr(cuda.err, "no plug-in") && !strstr(any.err, "cuda"), "%s%s", cuda.err, any.err);
}
END_TEST

START_TEST(compute)
{
    Run r;
    run_tool(&r, "pcrl-report", (const char *[]){"--device", "cpu", "--compute", "bf16", data, NULL});
    ck_assert_int_eq(r.code, 1);
    ck_assert_str_eq(r.err, "pcrl-report: --compute bf16: device cpu computes in f32\n");
    run_tool(&r, "pcrl-report", (const char *[]){"--device", "cpu", "--compute", "f16", data, NULL});
    ck_assert_int_eq(r.code, 1);
    ck_assert_msg(strstr(r.err, "--compute: expected f32, bf16 or auto, found 'f16'"), "%s", r.err);
}
END_TEST

/* The rows of starting in make bench: one for each device whose plug-in is there. */
START_TEST(start_in_bench)
{
    static const char *const row[] = {"--version", "--device cpu", "--device auto", "--device cuda",
                                      "--device emu"};
    static const char *const plugin[] = {NULL, NULL, NULL, "pcrl_cuda.so", "pcrl_emu.so"};
    Run r;
    char path[4096], want[64];
    run_tool(&r, "pcrl-bench",
             (const char *[]){"--device", "cpu", "--op", "start", "--seconds", "0", "--csv", NULL});
    ck_assert_msg(r.code == 0, "pcrl-bench: %s", r.err);
    for (int i = 0; i < 5; i++) {
        double median = 0, least = 0;
        bool built = true;
        if (plugin[i]) {
            tool_path(path, sizeof path, plugin[i]);
            built = access(path, R_OK) == 0;
        }
        snprintf(want, sizeof want, "system,\"start, %s\",whole,", row[i]);
        const char *at = strstr(r.out, want);
        ck_assert_msg((at != NULL) == built, "%s: %s", row[i], r.out);
        if (!at) continue;
        ck_assert_int_eq(sscanf(at + strlen(want), "%lf,%lf", &median, &least), 2);
        ck_assert_msg(least > 100 && least <= median && median < 60e6, "%s: %g us, least %g", row[i], median,
                      least);
    }
}
END_TEST

int main(void)
{
    Run r;
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    snprintf(data, sizeof data, "%s/data", folder);
    run_tool(&r, "pcrl-synth", (const char *[]){"--out", data, "--n", "1", "--size", "128", NULL});
    traceable = !getenv("SKIP_STRACE") && system("strace -o /dev/null true 2>/dev/null") == 0;
#ifdef __SANITIZE_ADDRESS__
    traceable = false; /* LeakSanitizer does not work under strace */
#endif
    if (!traceable) puts("not run: what strace would have to see");
    const TTest *tests[5];
    size_t n = 0;
    tests[n++] = compute;
    tests[n++] = start_in_bench;
    if (traceable) tests[n++] = help_and_version;
    if (traceable) tests[n++] = on_cpu;
    if (access("/dev/nvidiactl", F_OK)) tests[n++] = without_driver;
    int failed = run_tests("device", tests, n);
    char remove[128];
    snprintf(remove, sizeof remove, "rm -rf %s", folder);
    if (system(remove)) return EXIT_FAILURE;
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
