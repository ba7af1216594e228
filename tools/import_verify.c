/* All that is wrong with CTRG-Brain on disk, in one pass. */
#include "tools/cli.h"
#include "tools/import_parts.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SIZES = 64 };

typedef struct Sizes {
    struct {
        int width, height;
        int64_t studies;
    } row[MAX_SIZES];
    int n;
    int64_t rest; /* studies of sizes beyond these */
} Sizes;

static void print_line(void *context, BrainIssue issue, const char *line)
{
    (void)issue;
    (void)context;
    puts(line);
}

static void count_size(Sizes *z, int width, int height)
{
    int i = 0;
    while (i < z->n && (z->row[i].width != width || z->row[i].height != height)) i++;
    if (i == MAX_SIZES) {
        z->rest++;
        return;
    }
    if (i == z->n) z->n++, z->row[i].width = width, z->row[i].height = height;
    z->row[i].studies++;
}

/* What reading the pictures of one study gave. */
typedef struct Pictures {
    int *width, *height; /* of file k; 0: it cannot be read */
    Error *why;
} Pictures;

static bool read_pictures(const Brain *b, const BrainStudy *s, Pictures *p)
{
    size_t n = (size_t)s->n_files + 1;
    *p = (Pictures){calloc(n, sizeof(int)), calloc(n, sizeof(int)), calloc(n, sizeof(Error))};
    if (!p->width || !p->height || !p->why) return false;
    for (int k = 0; k < s->n_files; k++) {
        Image image = {0};
        if (!brain_read_file(b, s, k, &image, &p->why[k])) continue;
        p->width[k] = image.width, p->height[k] = image.height;
        free(image.pixel);
    }
    return true;
}

static void tell_pictures(Brain *b, BrainStudy *s, const Pictures *p, Sizes *z)
{
    int first = 0;
    char words[400];
    for (int k = 0; k < s->n_files; k++)
        if (!p->width[k]) brain_issue(b, s, BRAIN_PICTURE, "%s", p->why[k].msg);
    while (first < s->n_files && !p->width[first]) first++;
    if (first == s->n_files) return;
    count_size(z, p->width[first], p->height[first]);
    if (p->width[first] != p->height[first])
        brain_issue(b, s, BRAIN_SHAPE, "%s/%lld: %d x %d pixels, expected square pictures", b->folder,
                    (long long)s->id, p->width[first], p->height[first]);
    for (int k = first + 1; k < s->n_files; k++) {
        if (!p->width[k] || (p->width[k] == p->width[first] && p->height[k] == p->height[first])) continue;
        brain_file_words(b, s, k, words, sizeof words);
        brain_issue(b, s, BRAIN_SIZE, "%s: %d x %d pixels, expected %d x %d as the first", words, p->width[k],
                    p->height[k], p->width[first], p->height[first]);
    }
}

static bool check_pictures(Brain *b, Sizes *z, Error *e)
{
    bool ok = true;
    CliProgress progress = cli_progress_start("reading pictures", 0, b->n_ids);
    int64_t done = 0;
#pragma omp parallel for ordered schedule(dynamic, 1)
    for (int i = 0; i < b->n_ids; i++) {
        BrainStudy *s = &b->study[b->by_id[i]];
        Pictures p = {0};
        bool read = !cli_interrupted() && read_pictures(b, s, &p);
#pragma omp ordered
        {
            if (read)
                tell_pictures(b, s, &p, z);
            else if (ok)
                ok = cli_interrupted() ? error_set(e, ERROR_INTERRUPTED, "stopped")
                                       : error_set(e, ERROR_MEMORY, "%s: no memory to check it", b->folder);
            cli_progress(&progress, ++done, NULL);
        }
        free(p.width);
        free(p.height);
        free(p.why);
    }
    cli_progress_end(&progress);
    return ok;
}

/* Studies whose findings another has word for word. */
static int by_text(const void *x, const void *y)
{
    return strcmp(*(const char *const *)x, *(const char *const *)y);
}
static bool count_texts(const Brain *b, int64_t *distinct, int64_t *texts, Error *e)
{
    const char **text = malloc(((size_t)b->n + 1) * sizeof *text);
    size_t n = 0;
    if (!text) return error_set(e, ERROR_MEMORY, "%s: no memory for its texts", b->annotations);
    for (int i = 0; i < b->n; i++)
        if (b->study[i].findings) text[n++] = b->study[i].findings;
    qsort(text, n, sizeof *text, by_text);
    *texts = (int64_t)n;
    *distinct = n > 0;
    for (size_t i = 1; i < n; i++) *distinct += strcmp(text[i], text[i - 1]) != 0;
    free(text);
    return true;
}

static int64_t print_counts(const Brain *b, const Sizes *z, int64_t distinct, int64_t texts)
{
    int64_t sum = 0, good = 0;
    import_print_notes(stdout, b);
    printf("note: %" PRId64 " findings, %" PRId64 " of them distinct\n", texts, distinct);
    for (int i = 0; i < z->n; i++)
        printf("note: %" PRId64 " studies of %d x %d pixels\n", z->row[i].studies, z->row[i].width,
               z->row[i].height);
    if (z->rest) printf("note: %" PRId64 " studies of further sizes\n", z->rest);
    for (int i = 0; i < b->n; i++) good += b->study[i].good;
    for (BrainIssue i = 0; i < BRAIN_ISSUES; i++) {
        if (b->issue[i]) printf("problem: %" PRId64 " %s\n", b->issue[i], brain_issue_words(i));
        sum += b->issue[i];
    }
    printf("%" PRId64 " problems; %" PRId64 " of %d studies can be used\n", sum, good, b->n);
    return sum;
}

bool ctrg_verify(const ImportCtrg *o, Error *e)
{
    const BrainOptions options = {o->annotations, o->manifest, o->most, print_line, NULL};
    Brain *b = brain_open(o->root, &options, e);
    if (!b) return false;
    Sizes sizes = {0};
    CleanUse use = {0};
    int64_t distinct = 0, texts = 0, problems = 0;
    ImportStudy *s = calloc((size_t)b->n, sizeof *s);
    bool ok = s || error_set(e, ERROR_MEMORY, "%s: no memory for its texts", b->annotations);
    ok = ok && import_texts(o, b, s, &use, e) && check_pictures(b, &sizes, e) &&
         count_texts(b, &distinct, &texts, e);
    if (ok) problems = print_counts(b, &sizes, distinct, texts);
    if (ok && o->clean) import_print_cleaning(stdout, &use);
    if (problems) ok = error_set(e, ERROR_INPUT, "%s: %" PRId64 " problems", b->root, problems);
    import_texts_free(s, b->n);
    brain_free(b);
    return ok;
}
