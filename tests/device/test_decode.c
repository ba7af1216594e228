/* Decoding on DEVICE: as a replayed graph, step by step, and on the CPU the same tokens; and what may not
 * happen while a graph is captured. */
#include "models/sampler.h"
#include "tensor/replay.h"
#include "tests/golden/golden.h"
#include "tests/models/main.h"
#include "tests/tensor/death.h"

enum { PREFIX = 7, MOST = 15, ROWS_MOST = 9 };
static const LlamaConfig small = {160, 32, 2, 4, 2, 8, 72, 1e-5f, 500000, false};
static const int32_t lengths[ROWS_MOST] = {7, 4, 6, 1, 7, 2, 5, 3, 7};

/* The device; the same without graphs; and counting their launches. */
static const Backend *device;
static Backend plain, counted;
static int launches, captures;

static void count_launch(void *graph)
{
    launches++;
    device->graph_launch(graph);
}

static void count_capture(void)
{
    captures++;
    device->capture_begin();
}

typedef struct Model {
    Rig rig;
    Weights base, adapter;
    Llama m;
} Model;

static void model_open(Model *o, const Backend *backend)
{
    Error e = {0};
    rig_open(&o->rig, backend);
    weights_init(&o->base, &o->rig.weights, &o->rig.state, &o->rig.params, 1);
    weights_init(&o->adapter, &o->rig.weights, &o->rig.state, &o->rig.params, 1);
    o->base.generator = o->adapter.generator = golden_weight;
    o->adapter.trainable = true;
    ck_assert_msg(llama_create(&o->m, &o->base, small, &e) &&
                      llama_add_lora(&o->m, &o->adapter, 8, 32, 0.1f, &e),
                  "%s", e.msg);
    params_alloc(&o->rig.params);
    ck_assert_msg(weights_fill(&o->base, &e) && weights_fill(&o->adapter, &e), "%s", e.msg);
}

static void model_close(Model *o)
{
    weights_close(&o->base);
    weights_close(&o->adapter);
    rig_close(&o->rig);
}

typedef struct Tokens {
    int32_t id[ROWS_MOST * MOST];
    int n[ROWS_MOST];
} Tokens;

static Tokens generate(Model *o, int64_t B, bool ragged, const SamplerOptions *options)
{
    Tokens y;
    memset(&y, 0xEE, sizeof y);
    Tape *t = &o->rig.tape;
    ArenaMark mark = arena_mark(&o->rig.state);
    Tensor *x = golden_fill(tensor_f32(&o->rig.state, B, PREFIX, small.dim, 0), "x", GOLDEN_INPUTS, 1, false);
    int64_t room = PREFIX + options->max_tokens; /* used to the last */
    LlamaCache cache = llama_cache(&o->rig.state, &o->m, B, room, t->compute);
    x = op_cast(t, x, t->compute);
    size_t used = o->rig.step.used;
    sampler_generate(t, &o->m, &cache, x, ragged ? lengths : NULL, options, y.id, y.n);
    ck_assert_uint_eq(o->rig.step.used, used);
    tape_reset(t);
    arena_pop(&o->rig.state, mark);
    return y;
}

/* Rows that have ended have nothing behind. */
static void compare(const char *what, const Tokens *got, const Tokens *want, int64_t B, int most)
{
    for (int64_t b = 0; b < B; b++) {
        ck_assert_msg(got->n[b] == want->n[b], "%s: row %d of %d has %d tokens, expected %d", what, (int)b,
                      (int)B, got->n[b], want->n[b]);
        for (int i = 0; i < got->n[b]; i++)
            ck_assert_msg(got->id[b * most + i] == want->id[b * most + i],
                          "%s: row %d of %d, token %d: %d, expected %d", what, (int)b, (int)B, i,
                          got->id[b * most + i], want->id[b * most + i]);
    }
}

static Model cpu, steps, graph;

static void models_open(void)
{
    model_open(&cpu, &backend_cpu);
    model_open(&steps, &plain);
    model_open(&graph, &counted);
}

static void models_close(void)
{
    model_close(&cpu);
    model_close(&steps);
    model_close(&graph);
}

/* On all three; graphs must have been used as the header says. Returns the CPU's. */
static Tokens check(int64_t B, bool ragged, const SamplerOptions *o)
{
    Tokens want = generate(&cpu, B, ragged, o), one = generate(&steps, B, ragged, o), all;
    int longest = 0;
    launches = captures = 0;
    all = generate(&graph, B, ragged, o);
    compare("step by step", &one, &want, B, o->max_tokens);
    compare("as a graph", &all, &want, B, o->max_tokens);
    for (int64_t b = 0; b < B; b++)
        if (want.n[b] > longest) longest = want.n[b];
    /* Of the steps the first is the prefill's, the second warms up. An end is seen a look later. */
    if (!device->capture_begin) return want;
    ck_assert_int_eq(captures, o->max_tokens > 2);
    if (longest == o->max_tokens)
        ck_assert_int_eq(launches, o->max_tokens > 2 ? o->max_tokens - 2 : 0);
    else
        ck_assert_int_le(launches, longest + 1 + SAMPLER_LOOK - 2);
    return want;
}

static void check_sampling(float temperature, uint64_t seed)
{
    static const int64_t rows[] = {1, 3, ROWS_MOST};
    models_open();
    for (int i = 0; i < 3; i++) {
        int64_t B = rows[i];
        SamplerOptions o = {temperature, 0.9f, seed, MOST, NULL, 0, NULL};
        Tokens all = check(B, i != 0, &o);
        int32_t stop[ROWS_MOST];
        for (int64_t b = 0; b < B; b++) stop[b] = all.id[b * MOST + 2 + (int)b % 5];
        o.stop = stop;
        o.n_stop = 1; /* row 0 ends early */
        Tokens some = check(B, i != 0, &o);
        ck_assert_int_le(some.n[0], 2);
        o.n_stop = (int)B; /* all do */
        some = check(B, i != 0, &o);
        for (int64_t b = 0; b < B; b++) ck_assert_int_lt(some.n[b], 7);
    }
    models_close();
}

START_TEST(greedy) { check_sampling(0, 0); }
END_TEST
START_TEST(sampled) { check_sampling(1.2f, 0x700000005); }
END_TEST

/* Fewer tokens than it takes to capture anything. */
START_TEST(few_tokens)
{
    models_open();
    for (int most = 1; most <= 4; most++) {
        SamplerOptions o = {0.7f, 0.9f, 3, most, NULL, 0, NULL};
        check(2, true, &o);
    }
    models_close();
}
END_TEST

/* Debugging downloads after every op: then nothing is captured. */
START_TEST(debugging)
{
    SamplerOptions o = {0, 1, 1, 6, NULL, 0, NULL};
    models_open();
    launches = 0;
    graph.rig.tape.debug = graph.rig.step.guard = graph.rig.scratch.guard = true;
    Tokens got = generate(&graph, 2, true, &o), want = generate(&cpu, 2, true, &o);
    graph.rig.tape.debug = graph.rig.step.guard = graph.rig.scratch.guard = false;
    compare("debugging", &got, &want, 2, o.max_tokens);
    ck_assert_int_eq(launches, 0);
    models_close();
}
END_TEST

/* ---- what must die ---- */

static Rig rig;

/* Not in a test: nothing may be asserted. */
static void open_here(void)
{
    Error e = {0};
    const size_t room = 1 << 26;
    if (!arena_open(&rig.state, "state", device, room, &e) ||
        !arena_open(&rig.step, "step", device, room, &e) ||
        !arena_open(&rig.scratch, "scratch", device, room, &e))
        fprintf(stderr, "%s\n", e.msg);
    tape_init(&rig.tape, &rig.step, &rig.scratch, 1);
}

static Tensor *captured(void)
{
    open_here();
    Tensor *x = tensor_zeros(&rig.state, DTYPE_f32, 1, (int64_t[]){64});
    device->capture_begin();
    return x;
}

static void upload(void) { tensor_upload(captured(), (float[64]){0}); }
static void download(void) { tensor_download(captured(), (float[64]){0}); }
static void waiting(void)
{
    captured();
    device->sync();
}
static void growth(void)
{
    captured();
    arena_push(&rig.state, 1 << 20);
}
static void opening(void)
{
    Arena a;
    captured();
    arena_open(&a, "more", device, 1 << 20, NULL);
}
static void closing(void)
{
    captured();
    arena_close(&rig.state);
}
static void twice(void)
{
    captured();
    device->capture_begin();
}

static void scaled(Tape *t, void *x) { op_scale(t, x, 2); }

static void moved(void)
{
    open_here();
    Tensor *x = tensor_zeros(&rig.state, DTYPE_f32, 1, (int64_t[]){64});
    Replay r = replay_open(&rig.tape, scaled, x);
    replay_run(&r);
    arena_push(&rig.step, 1);
    replay_run(&r);
}

static void grown(Tape *t, void *first)
{
    tape_tensor(t, DTYPE_f32, 1, (int64_t[]){*(bool *)first ? 64 : 4096});
    *(bool *)first = false;
}

static void larger(void)
{
    bool first = true;
    open_here();
    Replay r = replay_open(&rig.tape, grown, &first);
    replay_run(&r);
    replay_run(&r);
}

static const DeathCase deaths[] = {
    {"upload", upload}, {"download", download}, {"waiting", waiting},
    {"growth", growth}, {"opening", opening},   {"closing", closing},
    {"twice", twice},   {"moved", moved},       {"larger", larger},
};

START_TEST(not_while_captured)
{
    static const char *const what[] = {
        "an upload",          "a download",      "a wait", "an arena grows", "an arena is opened",
        "an arena is closed", "another capture", NULL,     "an arena grows"};
    for (size_t i = 0; i < sizeof deaths / sizeof *deaths; i++) {
        char line[128] = "fatal: replay: arena step has 256 bytes in use, 0 when";
        if (what[i])
            snprintf(line, sizeof line, "fatal: %s: %s while a graph is captured\n", device->name, what[i]);
        assert_death(deaths[i].name, DEATH_ABORT, line);
    }
}
END_TEST

int main(int argc, char **argv)
{
    Error e = {0};
    const char *name = getenv("DEVICE");
    device = backend_open(name ? name : "cpu", &e);
    if (!device) {
        fprintf(stderr, "test_decode: %s\n", e.msg);
        return EXIT_FAILURE;
    }
    DEATH_MAIN(deaths, argc, argv);
    plain = counted = *device;
    plain.capture_begin = NULL;
    if (counted.capture_begin) {
        counted.capture_begin = count_capture;
        counted.graph_launch = count_launch;
    }
    const TTest *const tests[] = {greedy, sampled, few_tokens, debugging, not_while_captured};
    int failed = run_tests("decode", tests, sizeof tests / sizeof *tests - !device->capture_begin);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
