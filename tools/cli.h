/* What every program shares at its edge: argp with our exit codes, the common options, numbers on the command
 * line, the way from an Error to an exit code, a progress line, and the interrupt flag.
 *
 * Machine-readable output goes to stdout; messages and progress go to stderr. Before main, where neither
 * OMP_WAIT_POLICY nor GOMP_SPINCOUNT is set, the program starts once more with GOMP_SPINCOUNT=1000. */
#ifndef TOOLS_CLI_H
#define TOOLS_CLI_H
#include "tensor/tape.h"
#include <argp.h>
#include <stdint.h>

/* The options every tool takes. Zero-initialised is not the default: cli_common_argp sets them at INIT. */
typedef struct CliCommon {
    const char *device;  /* "cpu" | "cuda" | "emu" | "auto"; default "auto" */
    const char *compute; /* of activations: "f32" | "bf16" | "auto"; default "auto", as NULL */
    bool no_vendor;      /* pcrl-train's setting; --no-vendor elsewhere acts at once */
    uint64_t seed;       /* default 1 */
    uint64_t memory;     /* bytes; default 0 = the tool's own */
    int threads;         /* default 0 = OpenMP's own; a value given is set with omp_set_num_threads */
} CliCommon;

/* A child parser for --device, --compute, --no-vendor, --seed, --memory, --threads. Use:
 *   static const struct argp_child children[] = {{&cli_common_argp, 0, "Common options:", 90}, {0}};
 * and in the tool's own parser: case ARGP_KEY_INIT: state->child_inputs[0] = &options->common; */
extern const struct argp cli_common_argp;

/* Keeps a device that is opened from now on from NVIDIA's libraries (cuBLAS). */
void cli_no_vendor(void);

/* The type that --compute means on a device: auto is bf16 on cuda and f32 elsewhere. ERROR_USAGE for bf16 on
 * cpu, unless it is only planned (a dry run). */
bool cli_compute(const CliCommon *c, const Backend *b, bool dry_run, DType *out, Error *e);

/* argp_parse with a usage error ending in exit code 1 and with --version. Also ignores SIGPIPE's and SIGXFSZ's
 * signals, so that a closed pipe or a file limit is an error of write() with a message. */
void cli_parse(const struct argp *argp, int argc, char **argv, void *input);

/* "NAME: message" on stderr, then exit with e->code (ERROR_INTERNAL if it is 0). Ends an open progress line. */
__attribute__((noreturn)) void cli_fail(const Error *e);

/* The same for a fault found on the command line after parsing: exit code 1. */
__attribute__((noreturn, format(printf, 1, 2))) void cli_usage(const char *format, ...);

/* "NAME: message" on stderr, and on it goes. */
__attribute__((format(printf, 1, 2))) void cli_note(const char *format, ...);

/* Numbers: the whole text must be one number in [low, high], else false and *out untouched. cli_size takes the
 * suffixes K, M, G, T (powers of 1024). No locale, no leading blanks; cli_number refuses nan and inf. */
bool cli_int(const char *text, int64_t low, int64_t high, int64_t *out);
bool cli_number(const char *text, double low, double high, double *out);
bool cli_size(const char *text, uint64_t *out);

/* "a,b,c" into exactly n numbers; "a:b" with separator ':'. */
bool cli_numbers(const char *text, char separator, int n, double *out);

/* The same inside an argp parser: a fault becomes a usage error that names the option and the range. */
int64_t cli_int_option(struct argp_state *state, const char *option, const char *text, int64_t low,
                       int64_t high);
double cli_number_option(struct argp_state *state, const char *option, const char *text, double low,
                         double high);

/* What Linears are kept in, likewise: nf4, nf4-dq (double quantisation), fp4, fp4-dq, q4_0, or none: f32. */
void cli_quant_option(struct argp_state *state, const char *option, const char *text, DType *dtype,
                      bool *nested);

/* One line on stderr, rewritten at most five times a second, only when stderr is a terminal:
 *   resnet  1200/4000  30 %  41.2/s  1m08s left  loss 0.412
 * A NULL format means no note. */
typedef struct CliProgress {
    const char *label;
    int64_t total, first; /* first: the count at the start, e.g. of a resumed run; the rate ignores it */
    double started, drawn;
    bool terminal;
} CliProgress;
CliProgress cli_progress_start(const char *label, int64_t done, int64_t total);
__attribute__((format(printf, 3, 4))) void cli_progress(CliProgress *p, int64_t done, const char *format, ...);
void cli_progress_end(CliProgress *p);

/* Seconds on a clock that only moves forward. */
double cli_seconds(void);

/* After cli_catch_interrupt the first SIGINT or SIGTERM only raises the flag that cli_interrupted reads, so
 * that work can be saved; the second ends the process at once with code 130. */
void cli_catch_interrupt(void);
bool cli_interrupted(void);
#endif
