#include "tools/bench_seeing.h"
#include "data/medclip_image.h"
#include "tools/work.h"
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

enum { RUNS_LEAST = 3, RUNS_MOST = 100, IMAGE = 512, TOKENS = 16 };

typedef struct Seeing {
    const BenchSystem *b;
    Arena weights, state, step, scratch;
    Tape tape;
    Weights w;
    Medclip m;
    Image image;
    float *pixel;
    Tensor *x, *ids; /* (1,224,224,3) (1,TOKENS) */
} Seeing;

/* One run: its seconds, or -1 and an Error. */
typedef double Row(Seeing *s, Error *e);

static double pixels(Seeing *s, Error *e)
{
    double from = cli_seconds();
    return medclip_pixels(&s->image, (int)s->m.image, s->pixel, e) ? cli_seconds() - from : -1;
}

static double finish(Seeing *s, double from)
{
    s->step.backend->sync();
    double seconds = cli_seconds() - from;
    tape_reset(&s->tape);
    return seconds;
}

static double image(Seeing *s, Error *e)
{
    (void)e;
    double from = cli_seconds();
    medclip_image(&s->tape, &s->m, s->x);
    return finish(s, from);
}

static double text(Seeing *s, Error *e)
{
    (void)e;
    double from = cli_seconds();
    medclip_text(&s->tape, &s->m, s->ids);
    return finish(s, from);
}

static void print_row(const Seeing *s, const char *name, BenchTimes t, double flops)
{
    double share = s->b->roofs ? flops / t.median / s->b->roofs->fma : 0;
    if (s->b->csv)
        printf("seeing,\"%s\",whole,%.2f,%.2f,,%.3f,%.4f,%s\n", name, t.median * 1e6, t.least * 1e6,
               flops / t.median * 1e-9, share, share > 0 ? "fma" : "");
    else
        printf("%-42s %11.4f %11.4f %8.3f", name, t.median, t.least, flops * 1e-9);
    if (!s->b->csv && share > 0) printf("  %5.1f %% of fma", share * 100);
    if (!s->b->csv) putchar('\n');
    fflush(stdout);
}

/* The first run is not counted: it touches memory and makes primitives. */
static bool time_row(Seeing *s, const char *name, Row *row, double flops, Error *e)
{
    double run[RUNS_MOST];
    int n = 0;
    if (row(s, e) < 0) return false;
    for (double start = cli_seconds();
         n < RUNS_LEAST || (n < RUNS_MOST && cli_seconds() - start < s->b->seconds); n++)
        if ((run[n] = row(s, e)) < 0) return false;
    print_row(s, name, bench_times(run, n), flops);
    return true;
}

static bool open_model(Seeing *s, Error *e)
{
    const Backend *backend = backend_open(s->b->common->device, e);
    size_t room = s->b->common->memory ? s->b->common->memory : (size_t)8 << 30;
    if (!backend || !arena_open(&s->weights, "weights", backend, room, e) ||
        !arena_open(&s->state, "state", backend, room, e) || !arena_open(&s->step, "step", backend, room, e) ||
        !arena_open(&s->scratch, "scratch", backend, room, e))
        return false;
    tape_init(&s->tape, &s->step, &s->scratch, s->b->common->seed);
    weights_init(&s->w, &s->weights, &s->state, NULL, s->b->common->seed);
    s->w.unfilled = true;
    if (!medclip_create(&s->m, &s->w, medclip_public, e)) return false;
    for (int i = 0; i < s->w.n; i++) tensor_fill(s->w.item[i].tensor, 0);
    int64_t side = s->m.image;
    s->x = tensor_zeros(&s->state, DTYPE_f32, 4, (int64_t[]){1, side, side, 3});
    s->ids = tensor_zeros(&s->state, DTYPE_i32, 2, (int64_t[]){1, TOKENS});
    s->pixel = calloc((size_t)(side * side * 3), sizeof *s->pixel);
    s->image = (Image){IMAGE, IMAGE, 1, calloc(IMAGE, IMAGE)};
    return (s->pixel && s->image.pixel) || error_set(e, ERROR_MEMORY, "no memory for an image of %d px", IMAGE);
}

static bool rows(Seeing *s, Error *e)
{
    if (!s->b->csv)
        printf("\nseeing: public sizes, weights zero, %d threads\n%-42s %11s %11s %8s  share of the FMA roof\n",
               omp_get_max_threads(), "", "s, median", "s, min", "GFLOP");
    return time_row(s, "MedCLIP, pixels of 512 px", pixels, 0, e) &&
           time_row(s, "MedCLIP, image, Swin-T", image, swin_work(&s->m.swin, s->m.image), e) &&
           time_row(s, "MedCLIP, text, 16 tokens", text, bert_work(&s->m.bert, TOKENS), e);
}

bool bench_seeing(const BenchSystem *b, Error *e)
{
    Seeing s = {.b = b};
    bool ok = open_model(&s, e) && rows(&s, e);
    weights_close(&s.w);
    arena_close(&s.weights);
    arena_close(&s.state);
    arena_close(&s.step);
    arena_close(&s.scratch);
    free(s.pixel);
    free(s.image.pixel);
    return ok;
}
