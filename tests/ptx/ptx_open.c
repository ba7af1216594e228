/* Folders of PTX, kernels by name, launches. */
#include "tests/ptx/ptx_parse.h"
#include <dirent.h>
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Memory that lives until ptx_close. */
typedef struct Kept {
    struct Kept *next;
} Kept;
enum { KEPT_HEAD = 256 };

static Kept *kept;
static Kernel *kernels, **last = &kernels;

void *ptx_keep(size_t bytes)
{
    Kept *k = aligned_alloc(KEPT_HEAD, KEPT_HEAD + (bytes + KEPT_HEAD) / KEPT_HEAD * KEPT_HEAD);
    if (!k) ptx_die("out of memory: %zu bytes", bytes);
    k->next = kept;
    kept = k;
    return memset((uint8_t *)k + KEPT_HEAD, 0, bytes);
}

void *ptx_grow(void *array, uint32_t n, size_t size)
{
    if (n & (n - 1)) return array;
    void *p = realloc(array, (n ? 2 * (size_t)n : 1) * size);
    if (!p) ptx_die("out of memory: %u times %zu bytes", n, size);
    return p;
}

Kernel *ptx_add_kernel(void)
{
    Kernel *k = ptx_keep(sizeof *k);
    *last = k;
    last = &k->next;
    return k;
}

static void write_coverage(void)
{
    const char *path = getenv("PTX_COVERAGE");
    FILE *f = path && *path ? fopen(path, "a") : NULL;
    if (path && *path && !f) ptx_die("%s: cannot be written", path);
    for (const Kernel *k = kernels; f && k; k = k->next)
        if (k->ran) fprintf(f, "%s\n", k->name);
    if (f && fclose(f)) ptx_die("%s: cannot be written", path);
}

void ptx_close(void)
{
    write_coverage();
    for (Kernel *k = kernels; k; k = k->next) {
        free(k->code);
        free(k->args);
        free(k->constants);
        free(k->targets);
        free(k->params);
        free(k->specials);
    }
    kernels = NULL;
    last = &kernels;
    while (kept) {
        Kept *next = kept->next;
        free(kept);
        kept = next;
    }
}

static bool refuse(Error *e, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (e) {
        e->code = code;
        vsnprintf(e->msg, sizeof e->msg, format, args);
    }
    va_end(args);
    return false;
}

/* The file's text with a NUL behind it, or NULL. */
static char *read_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    char *text = NULL;
    long n = -1;
    if (f && !fseek(f, 0, SEEK_END) && (n = ftell(f)) >= 0 && !fseek(f, 0, SEEK_SET))
        text = malloc((size_t)n + 1);
    if (text && fread(text, 1, (size_t)n, f) != (size_t)n) {
        free(text);
        text = NULL;
    }
    if (text) text[n] = 0;
    if (f) fclose(f);
    return text;
}

static bool parse_text(Parser *p)
{
    if (setjmp(p->fail)) return false;
    ptx_parse(p);
    return true;
}

static bool read_file(const char *folder, const char *name, Error *e)
{
    const size_t n = strlen(folder) + strlen(name) + 2;
    char *path = ptx_keep(n);
    snprintf(path, n, "%s/%s", folder, name);
    char *text = read_text(path);
    if (!text) return refuse(e, ERROR_IO, "%s: cannot be read", path);
    Parser *p = ptx_keep(sizeof *p);
    p->file = path, p->at = text, p->line = 1, p->error = e;
    const bool ok = parse_text(p);
    free(p->symbols);
    free(p->labels);
    free(p->fixups);
    free(p->known);
    free(p->dynamic);
    free(p->scopes);
    free(text);
    return ok;
}

static int is_ptx(const struct dirent *d)
{
    const size_t n = strlen(d->d_name);
    return n > 4 && !strcmp(d->d_name + n - 4, ".ptx");
}

bool ptx_open(const char *folder, Error *e)
{
    static bool registered;
    ptx_close();
    if (!registered) atexit(ptx_close);
    registered = true;
    struct dirent **names = NULL;
    const int n = scandir(folder, &names, is_ptx, alphasort);
    bool ok = n > 0 || refuse(e, ERROR_IO, "%s: no PTX files", folder);
    for (int i = 0; i < n; i++) {
        ok = ok && read_file(folder, names[i]->d_name, e);
        free(names[i]);
    }
    free(names);
    if (!ok) ptx_close();
    return ok;
}

static Kernel *kernel_find(const char *symbol)
{
    if (!kernels) ptx_die("%s: launched before ptx_open", symbol);
    for (Kernel *k = kernels; k; k = k->next)
        if (!strcmp(k->name, symbol)) return k;
    ptx_die("%s: no PTX entry of that name", symbol);
}

static void check_launch(const Kernel *k, const unsigned grid[3], const unsigned block[3], size_t dynamic_bytes)
{
    static const unsigned grid_limit[3] = {INT32_MAX, 65535, 65535}, block_limit[3] = {1024, 1024, 64};
    for (int i = 0; i < 3; i++) {
        if (grid[i] < 1 || grid[i] > grid_limit[i]) ptx_die("%s: grid dim %d is %u", k->name, i, grid[i]);
        if (block[i] < 1 || block[i] > block_limit[i]) ptx_die("%s: block dim %d is %u", k->name, i, block[i]);
        if (k->required[0] && block[i] != k->required[i])
            ptx_die("%s: block dim %d is %u, must be %u", k->name, i, block[i], k->required[i]);
    }
    const unsigned threads = block[0] * block[1] * block[2];
    if (threads > k->max_threads)
        ptx_die("%s: %u threads a block, at most %u", k->name, threads, k->max_threads);
    if (k->shared_bytes + dynamic_bytes > SHARED_LIMIT)
        ptx_die("%s: %u + %zu bytes of shared memory, at most %d", k->name, k->shared_bytes, dynamic_bytes,
                SHARED_LIMIT);
}

void ptx_launch_symbol(const char *symbol, const unsigned grid[3], const unsigned block[3],
                       size_t dynamic_bytes, void *const *arg, const size_t *arg_bytes, int n_args)
{
    Kernel *k = kernel_find(symbol);
    check_launch(k, grid, block, dynamic_bytes);
    if (n_args != (int)k->n_params) ptx_die("%s: %d arguments, it takes %u", symbol, n_args, k->n_params);
    for (int i = 0; i < n_args; i++) {
        const Param *p = &k->params[i];
        if (arg_bytes[i] != p->bytes)
            ptx_die("%s: argument %d has %zu bytes, its parameter %u", symbol, i, arg_bytes[i], p->bytes);
        memcpy(k->param + p->at, arg[i], p->bytes);
    }
    ptx_run(k, grid, block, dynamic_bytes);
}

void ptx_launch_kernel(const void *kernel, const char *text, const unsigned grid[3], const unsigned block[3],
                       size_t dynamic_bytes, void *const *arg, const size_t *arg_bytes, int n_args)
{
    Dl_info info;
    if (!dladdr(kernel, &info) || !info.dli_sname || info.dli_saddr != kernel)
        ptx_die("%s: the kernel is not among its library's dynamic symbols", text);
    ptx_launch_symbol(info.dli_sname, grid, block, dynamic_bytes, arg, arg_bytes, n_args);
}
