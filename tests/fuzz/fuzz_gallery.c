/* A gallery and a clue file. A gallery that is understood is written and read again as it was. */
#include "data/clues.h"
#include "data/gallery.h"
#include "tests/fuzz/fuzz.h"

enum { PIXELS = 1 << 20 };

static void gallery(const uint8_t *bytes, size_t n)
{
    Error e = {0};
    Gallery *g = gallery_parse((const char *)bytes, n, "input", &e);
    if (!g) {
        fuzz_refused(&e);
        return;
    }
    uint8_t *plane =
        (int64_t)g->width * g->height <= PIXELS ? malloc((size_t)g->width * (size_t)g->height) : NULL;
    for (int k = 0; plane && k < g->n; k++)
        for (int i = 0; i < g->slice[k].n; i++) {
            int64_t area = 0;
            if (!gallery_mask(g, &g->slice[k].mask[i], plane, &e)) die("a checked mask is refused: %s", e.msg);
            for (int p = 0; p < g->width * g->height; p++) area += plane[p];
            if (area != g->slice[k].mask[i].area) die("slice %d: another area", g->slice[k].slice);
        }
    free(plane);
    char path[64];
    snprintf(path, sizeof path, "/tmp/pcrl-fuzz-%d.json", (int)getpid());
    Gallery *again = gallery_write(g, path, &e) ? gallery_read(path, &e) : NULL;
    if (!again || again->n != g->n || again->id != g->id) die("does not survive writing: %s", e.msg);
    unlink(path);
    gallery_free(again);
    gallery_free(g);
}

static void clues(const uint8_t *bytes, size_t n)
{
    Error e = {0};
    FuzzFile f = fuzz_file(bytes, n);
    Clues *c = clues_read(f.path, &e);
    if (!c) fuzz_refused(&e);
    for (int k = 0; c && k < c->n; k++) {
        ClueUnit *unit;
        int count;
        if ((int64_t)c->study[k].width * c->study[k].height > PIXELS) continue;
        for (int way = 0; way < 4; way++)
            if (clue_units(&c->study[k], way & 1, way & 2, &unit, &count, &e))
                clue_units_free(unit, count);
            else
                fuzz_refused(&e);
    }
    clues_free(c);
    fuzz_close(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    gallery(bytes, n);
    clues(bytes, n);
    return 0;
}
