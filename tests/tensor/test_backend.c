/* Opening backends by name: the built-in ones, and plug-ins that are absent, not a library, without the symbol,
 * unable to serve, of another build, or right. The plug-ins are made here, by the compiler that made this
 * program, beside this program. */
#include "tensor/backend.h"
#include "tensor/arena.h"
#include "tests/tensor/death.h"
#include <libgen.h>

static char folder[4096], plugin[4200];

static void setup(void)
{
    ssize_t n = readlink("/proc/self/exe", folder, sizeof folder - 1);
    ck_assert_int_gt(n, 0);
    folder[n] = 0;
    dirname(folder); /* cuts in place */
    snprintf(plugin, sizeof plugin, "%s/pcrl_emu.so", folder);
    unlink(plugin);
}

static void teardown(void) { unlink(plugin); }

/* The plug-in `source`, with tensor/backend.h before it. */
static void make_plugin(const char *source)
{
    char command[4400];
    const char *cc = getenv("CC");
    snprintf(command, sizeof command, "%s -std=gnu17 -shared -fPIC -I. -x c - -o '%s'", cc ? cc : "cc", plugin);
    FILE *f = popen(command, "w");
    ck_assert_ptr_nonnull(f);
    fprintf(f, "#include \"tensor/backend.h\"\n#include <stdlib.h>\n%s", source);
    ck_assert_int_eq(pclose(f), 0);
}

static void assert_refused(const char *name, int code, const char *text)
{
    Error e = {0};
    ck_assert_ptr_null(backend_open(name, &e));
    ck_assert_msg(strstr(e.msg, text), "said '%s', expected '%s'", e.msg, text);
    ck_assert_int_eq(e.code, code);
}

START_TEST(built_in)
{
    Error e = {0};
    ck_assert_ptr_eq(backend_open("cpu", &e), &backend_cpu);
    ck_assert_ptr_eq(backend_open("plan", &e), &backend_plan);
    ck_assert_int_eq(e.code, 0);
    assert_refused("tpu", ERROR_USAGE, "unknown device 'tpu': expected cpu, cuda, emu or auto");
    assert_refused("", ERROR_USAGE, "unknown device ''");
}
END_TEST

START_TEST(absent)
{
    char want[4400];
    snprintf(want, sizeof want, "device emu: no plug-in %s (it is not built here)", plugin);
    assert_refused("emu", ERROR_INPUT, want);
}
END_TEST

START_TEST(not_a_library)
{
    FILE *f = fopen(plugin, "w");
    fputs("text", f);
    fclose(f);
    assert_refused("emu", ERROR_INPUT, "pcrl_emu.so: file too short");
}
END_TEST

START_TEST(without_the_symbol)
{
    make_plugin("int other;\n");
    assert_refused("emu", ERROR_INPUT, "pcrl_emu.so has no symbol pcrl_backend");
}
END_TEST

START_TEST(cannot_serve)
{
    make_plugin("const Backend *pcrl_backend(const HostApi *h, Error *e)\n"
                "{ (void)h; e->code = ERROR_INPUT; __builtin_strcpy(e->msg, \"no device\"); return 0; }\n");
    assert_refused("emu", ERROR_INPUT, "no device");
}
END_TEST

START_TEST(of_another_build)
{
    make_plugin("static Backend b = {.name = \"emu\", .abi = 0x1234};\n"
                "const Backend *pcrl_backend(const HostApi *h, Error *e) { (void)h; (void)e; return &b; }\n");
    char want[4400];
    snprintf(want, sizeof want,
             "device emu: %s is of another build: interface 0000000000001234, expected %016llx", plugin,
             (unsigned long long)backend_abi());
    assert_refused("emu", ERROR_INPUT, want);
}
END_TEST

START_TEST(right)
{
    make_plugin("static void *take(size_t n, Error *e) { (void)e; return aligned_alloc(256, n); }\n"
                "static void give(void *p, size_t n) { (void)n; free(p); }\n"
                "static Backend b = {.name = \"emu\", .alloc = take, .release = give};\n"
                "const Backend *pcrl_backend(const HostApi *h, Error *e)\n"
                "{ (void)e; if (!h->die || !h->scratch) return 0; b.abi = h->abi; return &b; }\n");
    Error e = {0};
    const Backend *b = backend_open("emu", &e);
    ck_assert_msg(b != NULL, "%s", e.msg);
    ck_assert_str_eq(b->name, "emu");
    Arena a;
    ck_assert(arena_open(&a, "weights", b, 1 << 16, &e));
    memset(arena_push(&a, 1 << 16), 1, 1 << 16);
    arena_close(&a);
}
END_TEST

/* The hash sees the ops and the structs, and is the same whenever it is asked for. */
START_TEST(abi)
{
    ck_assert_uint_eq(backend_abi(), backend_abi());
    ck_assert_uint_ne(backend_abi(), 0);
    ck_assert_int_gt(kernel_count, 10);
    for (int i = 0; i < kernel_count; i++) {
        ck_assert_ptr_nonnull(kernels_cpu[i].forward);
        ck_assert_ptr_nonnull(kernels_plan[i].forward);
        ck_assert_int_eq(!kernels_cpu[i].backward, !kernels_plan[i].backward);
    }
}
END_TEST

static void open_auto(void)
{
    Error e = {0};
    const Backend *b = backend_open("auto", &e);
    fprintf(stderr, "got %s", b ? b->name : e.msg);
}

static void touch_plan(void)
{
    Error e = {0};
    Arena a;
    if (!arena_open(&a, "step", &backend_plan, 1 << 16, &e)) die("%s", e.msg);
    *(volatile char *)arena_push(&a, 1) = 1;
}

static const DeathCase deaths[] = {{"auto", open_auto}, {"touch plan", touch_plan}};

START_TEST(auto_falls_back)
{
    assert_death("auto", DEATH_SURVIVED, "got cpu");
    make_plugin("const Backend *pcrl_backend(const HostApi *h, Error *e)\n"
                "{ (void)h; error_set(e, ERROR_INPUT, \"no driver\"); return 0; }\n");
    char cuda[4200];
    snprintf(cuda, sizeof cuda, "%s/pcrl_cuda.so", folder);
    ck_assert_int_eq(rename(plugin, cuda), 0);
    Death d = death_of("auto");
    unlink(cuda);
    ck_assert_str_eq(d.err, "no driver; using the cpu\ngot cpu");
}
END_TEST

START_TEST(auto_takes_what_serves)
{
    make_plugin(
        "static Backend b = {.name = \"cuda\"};\n"
        "const Backend *pcrl_backend(const HostApi *h, Error *e) { (void)e; b.abi = h->abi; return &b; }\n");
    char cuda[4200];
    snprintf(cuda, sizeof cuda, "%s/pcrl_cuda.so", folder);
    ck_assert_int_eq(rename(plugin, cuda), 0);
    Death d = death_of("auto");
    unlink(cuda);
    ck_assert_str_eq(d.err, "got cuda");
}
END_TEST

/* Nothing may touch a planned tensor: it faults at once. */
START_TEST(plan_is_not_memory)
{
    Death d = death_of("touch plan");
    ck_assert_int_ne(d.code, DEATH_SURVIVED);
    ck_assert_int_ne(d.code, DEATH_ABORT);
}
END_TEST

int main(int argc, char **argv)
{
    DEATH_MAIN(deaths, argc, argv);
    Suite *s = suite_create("backend");
    TCase *c = tcase_create("backend");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, built_in);
    tcase_add_test(c, absent);
    tcase_add_test(c, not_a_library);
    tcase_add_test(c, without_the_symbol);
    tcase_add_test(c, cannot_serve);
    tcase_add_test(c, of_another_build);
    tcase_add_test(c, right);
    tcase_add_test(c, abi);
    tcase_add_test(c, auto_falls_back);
    tcase_add_test(c, auto_takes_what_serves);
    tcase_add_test(c, plan_is_not_memory);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad != 0;
}
