/* What must fail: text that is not understood, when it is read; wrong programs and launches, when they run. */
#include "tests/ptx/test_ptx.h"
#include "tests/tensor/death.h"

/* Body text stands between this and a return. */
static const char head[] =
    ".version 8.0\n.target sm_80\n.address_size 64\n"
    ".visible .entry fault(.param .u64 fault_param_0)\n{\n"
    ".reg .pred %p<4>;\n.reg .b16 %h<4>;\n.reg .b32 %r<9>;\n.reg .f32 %f<5>;\n.reg .b64 %d<9>;\n"
    ".shared .align 4 .b8 box[64];\n"
    "ld.param.u64 %d0, [fault_param_0]; mov.u32 %r0, %tid.x; setp.lt.u32 %p0, %r0, 7;\n";
typedef struct FaultCase {
    const char *name, *body, *said;
} FaultCase;

static const FaultCase unread[] = {
    {"opcode", "frobnicate.b32 %r1, %r2;", "e.ptx:13: fault: unknown opcode 'frobnicate.b32'"},
    {"modifier", "\nadd.rz.sat.s32 %r1, %r1, %r2;", "e.ptx:14: fault: unknown opcode 'add.rz.sat.s32'"},
    {"hint", "ld.global.L3::keep.u32 %r1, [%d0];", "unknown opcode 'ld.global.L3::keep.u32'"},
    {"wide vector", "ld.global.v4.u64 {%d1, %d2, %d3, %d4}, [%d0];", "unknown opcode 'ld.global.v4.u64'"},
    {"float atomics", "atom.global.add.f32 %f1, [%d0], %f2;", "unknown opcode 'atom.global.add.f32'"},
    {"call", "call.uni f, (%r1);", "unknown opcode 'call.uni'"},
    {"fragment", "mma.sync.aligned.m16n8k16.row.row.f32.bf16.bf16.f32 {%f1};",
     "unknown opcode 'mma.sync.aligned.m16n8k16.row.row"},
    {"compare", "setp.lo.s32 %p1, %r1, %r2;", "unknown opcode 'setp.lo.s32'"},
    {"conversion", "cvt.f16.f32 %h1, %f1;", "unknown opcode 'cvt.f16.f32'"},
    {"copy", "cp.async.ca.shared.global [%r1], [%d0], 3;", "cp.async of 3 bytes"},
    {"width", "add.s32 %r1, %d1, 3;", "%d1 has 64 bits, not 32"},
    {"name", "mov.u32 %r1, %clock;", "unknown name '%clock'"},
    {"range", "mov.u32 %r1, %r9;", "unknown name '%r9'"},
    {"label", "bra $nowhere;", "unknown label '$nowhere'"},
    {"table", "brx.idx %r1, $nothing;", "unknown branch table '$nothing'"},
    {"operand", "add.s32 %r1, %r2;", "expected ',', found ';'"},
    {"more", "add.s32 %r1, %r2, %r3, %r4;", "expected ';', found ','"},
    {"number", "mov.f32 %f1, 1.5;", "not a number that is known: '1.5'"},
    {"directive", ".noise 3;", "unknown directive '.noise'"},
};

static const FaultCase wrong[] = {
    {"misaligned", "ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%d0+4];",
     "e.ptx:13: fault block (0,0,0) thread (0,0,0): 16 bytes at the misaligned address"},
    {"shared end", "mul.lo.s32 %r1, %r0, 4; mov.u32 %r2, box; add.s32 %r2, %r2, %r1; st.shared.u32 [%r2], %r1;",
     "thread (16,0,0): 4 bytes at 64 of shared memory's 64"},
    {"generic end", "mov.u64 %d1, box; cvta.shared.u64 %d2, %d1; ld.u32 %r1, [%d2+64];",
     "4 bytes at 64 of shared"},
    {"space", "mov.u64 %d1, box; cvta.shared.u64 %d2, %d1; ld.global.u32 %r1, [%d2];",
     "a shared address where another"},
    {"null", "mov.u64 %d1, 8; st.global.u32 [%d1], %r1;", "4 bytes at the address 0x8"},
    {"wild", "mov.u64 %d1, 0x123456789000; @%p0 st.global.u32 [%d1], %r1;",
     "accesses memory that is not there"},
    {"parameters", "ld.param.u64 %d1, [fault_param_0+8];", "8 bytes outside the parameters"},
    {"divergent barrier", "@%p0 bra $a; bar.sync 0; bra $end;\n$a: bar.sync 0;\n$end:",
     "thread (0,0,0): divergent barrier: lanes 0x0000007f wait here, lanes 0xffffff80 at line 13"},
    {"half barrier", "@%p0 bar.sync 0;\nmov.u32 %r1, 1;\nbar.sync 0;",
     "divergent barrier: lanes 0x0000007f wait here"},
    {"barriers apart", "setp.lt.u32 %p1, %r0, 32; @%p1 bra $a; bar.sync 0; bra $end;\n$a: bar.sync 0;\n$end:",
     "divergent barrier: its warp waits here, others at line"},
    {"barriers crossed",
     "setp.lt.u32 %p1, %r0, 32; @%p1 bra $a; bar.sync 1, 64; bra $end;\n$a: bar.sync 2, 64;\n$end:",
     "for threads that wait elsewhere"},
    {"missing lanes", "@%p0 bra $end; shfl.sync.bfly.b32 %r1, %r0, 1, 31, -1;\n$end:",
     "e.ptx:13: fault block (0,0,0) thread (7,0,0): waits for lanes 0xffffffff, of which 0x0000007f are gone"},
    {"no member", "shfl.sync.bfly.b32 %r1, %r0, 1, 31, 15;",
     "thread (4,0,0): is not in its own member mask 0x0000000f"},
    {"from outside", "@%p0 shfl.sync.bfly.b32 %r1, %r0, 8, 31, 127;",
     "shuffle from lane 8, which takes no part"},
    {"masks",
     "mov.u32 %r1, 3; @%p0 mov.u32 %r1, 127; setp.lt.u32 %p1, %r0, 2; @%p1 mov.u32 %r1, 3; @%p0 "
     "vote.sync.all.pred %p2, %p0, %r1;",
     "thread (0,0,0): names members 0x00000003, lane 2 0x0000007f"},
    {"half matrix", "@%p0 ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r1}, [%r2];",
     "waits for lanes 0xffffffff"},
    {"row", "mov.u32 %r2, 8; ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r1}, [%r2];",
     "16 bytes at the misaligned address 0x8"},
    {"unwaited", "mov.u32 %r2, box; @%p0 cp.async.ca.shared.global [%r2], [%d0], 4; cp.async.commit_group;",
     "leaves with a cp.async under way"},
    {"uncommitted", "mov.u32 %r2, box; cp.async.ca.shared.global [%r2], [%d0], 4; cp.async.wait_group 0;",
     "leaves with a cp.async under way"},
    {"trap", "setp.eq.u32 %p1, %r0, 45; @%p1 trap;", "thread (45,0,0): trap"},
    {"endless", "$a: bra $a;", "does not come to an end"},
};

static const char *const launches[][2] = {
    {"symbol", "nothing: no PTX entry of that name"},
    {"arguments", "fault: 2 arguments, it takes 1"},
    {"bytes", "fault: argument 0 has 4 bytes, its parameter 8"},
    {"threads", "fault: 2048 threads a block, at most 1024"},
    {"shared", "fault: 64 + 101313 bytes of shared memory, at most 101376"},
    {"grid", "fault: grid dim 1 is 65536"},
    {"closed", "fault: launched before ptx_open"},
};
enum {
    UNREAD = sizeof unread / sizeof *unread,
    WRONG = sizeof wrong / sizeof *wrong,
    LAUNCHES = sizeof launches / sizeof *launches
};

/* Opens a folder that holds a kernel with this body. */
static bool open_body(const char *body, Error *e)
{
    char folder[] = "/tmp/pcrl-ptx-XXXXXX", path[64];
    if (!mkdtemp(folder)) return false;
    snprintf(path, sizeof path, "%s/e.ptx", folder);
    FILE *f = fopen(path, "w");
    if (!f) return false;
    fprintf(f, "%s%s ret;\n}\n", head, body);
    fclose(f);
    const bool ok = ptx_open(folder, e);
    unlink(path);
    rmdir(folder);
    return ok;
}

static void run_wrong(const FaultCase *c)
{
    Error e = {0};
    static uint8_t memory[64] __attribute__((aligned(64)));
    if (!open_body(c->body, &e)) {
        fprintf(stderr, "%s\n", e.msg);
        return;
    }
    setenv("PTX_STEPS", "100000", 1);
    LAUNCH("fault", DIM(1), DIM(64), 0, POINTER(memory));
}

static void run_launch(const char *name)
{
#define IS(text) !strcmp(name, text)
    Error e = {0};
    if (!IS("closed") && !open_body("", &e)) return;
    if (IS("symbol")) LAUNCH("nothing", DIM(1), DIM(1), 0, POINTER(NULL));
    if (IS("arguments")) LAUNCH("fault", DIM(1), DIM(1), 0, POINTER(NULL), INT(1));
    if (IS("bytes")) LAUNCH("fault", DIM(1), DIM(1), 0, INT(1));
    if (IS("threads")) LAUNCH("fault", DIM(1), DIM(64, 32), 0, POINTER(NULL));
    if (IS("shared")) LAUNCH("fault", DIM(1), DIM(1), 99 * 1024 - 63, POINTER(NULL));
    if (IS("grid")) LAUNCH("fault", DIM(1, 65536), DIM(1), 0, POINTER(NULL));
    if (IS("closed")) LAUNCH("fault", DIM(1), DIM(1), 0, POINTER(NULL));
#undef IS
}

int test_fault_run(const char *name)
{
    for (int i = 0; i < WRONG; i++)
        if (!strcmp(wrong[i].name, name)) run_wrong(&wrong[i]);
    for (int i = 0; i < LAUNCHES; i++)
        if (!strcmp(launches[i][0], name)) run_launch(name);
    if (!strcmp(name, "no wait")) {
        test_open("mutants/unwaited");
        test_gemm(false, 64, 64, 64);
    }
    return DEATH_SURVIVED;
}

/* What nvcc seldom writes, and is right: each thread's number, 32 bits. */
static const struct {
    const char *body;
    int want[8]; /* by thread % 8 */
} texts[] = {
    {"and.b32 %r1, %r0, 3;\n$t: .branchtargets $a, $b, $c, $a;\nbrx.idx %r1, $t;\n"
     "$a: mov.u32 %r2, 10; bra.uni $e;\n$b: mov.u32 %r2, 20; bra.uni $e;\n$c: mov.u32 %r2, 0x1E;\n$e:",
     {10, 20, 30, 10, 10, 20, 30, 10}},
    {"{ .reg .b32 x, %r0; mov.u32 %r0, 0b101; { .reg .b32 x; mov.u32 x, -7; add.s32 %r0, %r0, x; } mov.u32 "
     "%r2, %r0; }",
     {-2, -2, -2, -2, -2, -2, -2, -2}},
    {".global .align 4 .s32 list[3] = {5, -6};\nmov.u64 %d1, list+8; ld.global.s32 %r2, [%d1+-4]; /* not\n7 */",
     {-6, -6, -6, -6, -6, -6, -6, -6}},
    {"mov.pred %p1, 1; and.b32 %r1, %r0, 1; setp.eq.and.u32 %p1|%p2, %r1, 0, !%p1; selp.b32 %r2, 3, 4, %p1; "
     "@%p2 mov.u32 %r2, 5;",
     {4, 4, 4, 4, 4, 4, 4, 4}},
    {"set.lt.u32.s32 %r2, %r0, 0; mov.b32 {%h1, _}, %r0; mov.b32 %r3, {%h1, 0}; and.b32 %r3, %r3, 7; sub.s32 "
     "%r2, %r3, %r2;",
     {0, 1, 2, 3, 4, 5, 6, 7}},
    {"and.b32 %r2, %r0, 7; mov.f32 %f1, 0f3F800000; setp.gtu.f32 %p1, %f1, 0f7FC00000; @!%p1 mov.u32 %r2, 9;",
     {0, 1, 2, 3, 4, 5, 6, 7}},
};

START_TEST(text)
{
    enum { THREADS = 40 };
    static const char tail[] = "\nmul.wide.u32 %d8, %r8, 4; add.s64 %d8, %d0, %d8; st.global.u32 [%d8], %r2;";
    char body[2000];
    int y[THREADS];
    Error e = {0};
    snprintf(body, sizeof body, "mov.u32 %%r8, %%r0;\n%s%s", texts[_i].body, tail);
    ck_assert_msg(open_body(body, &e), "%s", e.msg);
    LAUNCH("fault", DIM(1), DIM(THREADS), 0, POINTER(y));
    for (int i = 0; i < THREADS; i++) ck_assert_int_eq(y[i], texts[_i].want[i % 8]);
}
END_TEST

START_TEST(not_read)
{
    Error e = {0};
    ck_assert_msg(!open_body(unread[_i].body, &e), "%s: was read", unread[_i].name);
    ck_assert_msg(strstr(e.msg, unread[_i].said), "%s: said '%s', expected '%s'", unread[_i].name, e.msg,
                  unread[_i].said);
}
END_TEST

START_TEST(no_folder)
{
    Error e = {0};
    ck_assert(!ptx_open("/nowhere", &e));
    ck_assert_str_eq(e.msg, "/nowhere: no PTX files");
}
END_TEST

START_TEST(not_run) { assert_death(wrong[_i].name, DEATH_ABORT, wrong[_i].said); }
END_TEST

START_TEST(no_wait)
{
    assert_death("no wait", DEATH_ABORT, "leaves with a cp.async under way that nothing waited for");
}
END_TEST

START_TEST(not_launched) { assert_death(launches[_i][0], DEATH_ABORT, launches[_i][1]); }
END_TEST

void test_faults(TCase *c)
{
    tcase_add_loop_test(c, not_read, 0, UNREAD);
    tcase_add_test(c, no_folder);
    tcase_add_test(c, no_wait);
    tcase_add_loop_test(c, text, 0, sizeof texts / sizeof *texts);
    tcase_add_loop_test(c, not_run, 0, WRONG);
    tcase_add_loop_test(c, not_launched, 0, LAUNCHES);
}
