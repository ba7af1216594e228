#include "tools/cli.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <omp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const char *argp_program_version = "pcrl 0.1";

static bool line_open; /* a progress line is on the terminal and has no newline yet */

enum { KEY_DEVICE = 0x1001, KEY_COMPUTE, KEY_NO_VENDOR, KEY_SEED, KEY_MEMORY, KEY_THREADS };

static const struct argp_option common_options[] = {
    {"device", KEY_DEVICE, "NAME", 0, "cpu, cuda, emu or auto (default auto)", 0},
    {"compute", KEY_COMPUTE, "TYPE", 0, "of activations: f32, bf16 (cuda, emu) or auto (bf16 on cuda)", 0},
    {"no-vendor", KEY_NO_VENDOR, NULL, 0, "on cuda: our own kernels only, no cuBLAS", 0},
    {"seed", KEY_SEED, "N", 0, "seed of every random choice (default 1)", 0},
    {"memory", KEY_MEMORY, "SIZE", 0, "memory the tool may take, e.g. 4G", 0},
    {"threads", KEY_THREADS, "N", 0, "threads (default: all cores)", 0},
    {0}};

static bool known_device(const char *name)
{
    static const char *const known[] = {"cpu", "cuda", "emu", "auto"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i])) return true;
    return false;
}

static error_t parse_common(int key, char *arg, struct argp_state *state)
{
    CliCommon *c = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        if (c) *c = (CliCommon){.device = "auto", .compute = "auto", .seed = 1};
        return 0;
    case KEY_DEVICE:
        if (!known_device(arg)) argp_error(state, "--device: expected cpu, cuda, emu or auto, found '%s'", arg);
        c->device = arg;
        return 0;
    case KEY_COMPUTE:
        if (strcmp(arg, "f32") && strcmp(arg, "bf16") && strcmp(arg, "auto"))
            argp_error(state, "--compute: expected f32, bf16 or auto, found '%s'", arg);
        c->compute = arg;
        return 0;
    case KEY_NO_VENDOR: cli_no_vendor(); return 0;
    case KEY_SEED: c->seed = (uint64_t)cli_int_option(state, "--seed", arg, 0, INT64_MAX); return 0;
    case KEY_MEMORY:
        if (!cli_size(arg, &c->memory))
            argp_error(state, "--memory: expected a size such as 512M, found '%s'", arg);
        return 0;
    case KEY_THREADS:
        c->threads = (int)cli_int_option(state, "--threads", arg, 1, 1024);
        omp_set_num_threads(c->threads);
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cli_common_argp = {.options = common_options, .parser = parse_common};

void cli_no_vendor(void)
{
    if (setenv("PCRL_VENDOR", "0", 1)) die("no-vendor: out of host memory");
}

bool cli_compute(const CliCommon *c, const Backend *b, bool dry_run, DType *out, Error *e)
{
    const char *name = c->compute ? c->compute : "auto";
    bool half = !strcmp(name, "bf16") || (!strcmp(name, "auto") && !strcmp(b->name, "cuda"));
    if (half && !dry_run && b->kernels == kernels_cpu)
        return error_set(e, ERROR_USAGE, "--compute bf16: device cpu computes in f32");
    *out = half ? DTYPE_bf16 : DTYPE_f32;
    return true;
}

/* GCC's OpenMP reads from the environment, as it is loaded, how long a thread that waits for the others spins
 * until it sleeps: milliseconds if nobody says. Where something else runs too, two threads soon share a core,
 * and each spins through its turn while the other has the work: a report then takes seven times as long. So the
 * program starts once more, with microseconds. glibc gives a constructor what main gets. */
__attribute__((constructor)) static void spin_less(int argc, char **argv)
{
    if (argc < 1 || getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) return;
    if (!setenv("GOMP_SPINCOUNT", "1000", 1)) execv("/proc/self/exe", argv);
}

void cli_parse(const struct argp *argp, int argc, char **argv, void *input)
{
    argp_err_exit_status = ERROR_USAGE;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    error_t rc = argp_parse(argp, argc, argv, 0, NULL, input);
    if (rc) cli_usage("%s", strerror(rc));
}

static void message(const char *format, va_list args)
{
    if (line_open) fputc('\n', stderr);
    line_open = false;
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

void cli_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    message(format, args);
    va_end(args);
}

void cli_fail(const Error *e)
{
    cli_note("%s", e->msg);
    exit(e->code ? e->code : ERROR_INTERNAL);
}

void cli_usage(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    message(format, args);
    va_end(args);
    fprintf(stderr, "Try '%s --help'.\n", program_invocation_short_name);
    exit(ERROR_USAGE);
}

bool cli_int(const char *text, int64_t low, int64_t high, int64_t *out)
{
    char *end;
    if (!isdigit((unsigned char)text[0]) && !(text[0] == '-' && isdigit((unsigned char)text[1]))) return false;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || *end || value < low || value > high) return false;
    *out = value;
    return true;
}

/* strtod takes hexadecimal, "inf" and leading blanks; these characters keep to plain decimal numbers. */
static bool plain_number(const char *text, size_t n, double *out)
{
    char copy[64];
    if (n == 0 || n >= sizeof copy || strspn(text, "+-.0123456789eE") < n) return false;
    memcpy(copy, text, n);
    copy[n] = 0;
    char *end;
    double value = strtod(copy, &end);
    if (end == copy || *end || !isfinite(value)) return false;
    *out = value;
    return true;
}

bool cli_number(const char *text, double low, double high, double *out)
{
    double value;
    if (!plain_number(text, strlen(text), &value) || value < low || value > high) return false;
    *out = value;
    return true;
}

bool cli_size(const char *text, uint64_t *out)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 19) return false;
    uint64_t value = strtoull(text, NULL, 10);
    const char *suffix = text + digits;
    unsigned shift = 0;
    if (*suffix) {
        static const char known[] = "KMGT";
        const char *at = strchr(known, toupper((unsigned char)*suffix));
        if (!at || suffix[1]) return false;
        shift = 10 * (unsigned)(at - known + 1);
    }
    if (value > UINT64_MAX >> shift) return false;
    *out = value << shift;
    return true;
}

bool cli_numbers(const char *text, char separator, int n, double *out)
{
    double value[16];
    if (n < 1 || n > 16) return false;
    for (int i = 0; i < n; i++) {
        const char *end = i + 1 < n ? strchr(text, separator) : text + strlen(text);
        if (!end || !plain_number(text, (size_t)(end - text), &value[i])) return false;
        text = end + 1;
    }
    memcpy(out, value, (size_t)n * sizeof *out);
    return true;
}

int64_t cli_int_option(struct argp_state *state, const char *option, const char *text, int64_t low,
                       int64_t high)
{
    int64_t value = low;
    if (!cli_int(text, low, high, &value))
        argp_error(state, "%s: expected a whole number from %lld to %lld, found '%s'", option, (long long)low,
                   (long long)high, text);
    return value;
}

double cli_number_option(struct argp_state *state, const char *option, const char *text, double low,
                         double high)
{
    double value = low;
    if (!cli_number(text, low, high, &value))
        argp_error(state, "%s: expected a number from %g to %g, found '%s'", option, low, high, text);
    return value;
}

void cli_quant_option(struct argp_state *state, const char *option, const char *text, DType *dtype,
                      bool *nested)
{
    static const struct {
        const char *name;
        DType dtype;
        bool nested;
    } forms[] = {{"nf4", DTYPE_nf4, false},   {"nf4-dq", DTYPE_nf4, true}, {"fp4", DTYPE_fp4, false},
                 {"fp4-dq", DTYPE_fp4, true}, {"q4_0", DTYPE_q4_0, false}, {"none", DTYPE_f32, false}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (!strcmp(forms[i].name, text)) {
            *dtype = forms[i].dtype;
            *nested = forms[i].nested;
            return;
        }
    argp_error(state, "%s: expected nf4, nf4-dq, fp4, fp4-dq, q4_0 or none, found '%s'", option, text);
}

double cli_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

CliProgress cli_progress_start(const char *label, int64_t done, int64_t total)
{
    double now = cli_seconds();
    return (CliProgress){.label = label,
                         .total = total,
                         .first = done,
                         .started = now,
                         .drawn = now - 1,
                         .terminal = isatty(STDERR_FILENO) == 1};
}

static void print_time(FILE *f, double seconds)
{
    long s = (long)(seconds + 0.5);
    if (s >= 3600)
        fprintf(f, "%ldh%02ldm", s / 3600, s % 3600 / 60);
    else if (s >= 60)
        fprintf(f, "%ldm%02lds", s / 60, s % 60);
    else
        fprintf(f, "%lds", s);
}

void cli_progress(CliProgress *p, int64_t done, const char *format, ...)
{
    if (!p->terminal) return;
    double now = cli_seconds(), spent = now - p->started;
    if (now - p->drawn < 0.2 && done < p->total) return;
    p->drawn = now;
    double rate = spent > 0 ? (double)(done - p->first) / spent : 0;
    fprintf(stderr, "\r\033[K%s  %lld/%lld", p->label, (long long)done, (long long)p->total);
    if (p->total > 0) fprintf(stderr, "  %lld %%", (long long)(100 * done / p->total));
    if (rate > 0) {
        fprintf(stderr, "  %.3g/s  ", rate);
        print_time(stderr, (double)(p->total - done) / rate);
        fputs(" left", stderr);
    }
    if (format) {
        va_list args;
        va_start(args, format);
        fputs("  ", stderr);
        vfprintf(stderr, format, args);
        va_end(args);
    }
    fflush(stderr);
    line_open = true;
}

void cli_progress_end(CliProgress *p)
{
    if (p->terminal && line_open) fputc('\n', stderr);
    line_open = false;
}

static volatile sig_atomic_t interrupts;

static void on_interrupt(int number)
{
    (void)number;
    if (++interrupts > 1) _exit(ERROR_INTERRUPTED);
}

void cli_catch_interrupt(void)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool cli_interrupted(void) { return interrupts > 0; }
