/* Shows what is in a file, or what the project can compute. */
#include "tools/cli.h"
#include "tools/inspect.h"
#include <stdio.h>

static const char doc[] =
    "Shows what is in weights (safetensors, PyTorch, GGUF), NIfTI, PNG, JPEG and JSON files, JSON line logs, "
    "tokenizers "
    "and data sets "
    "(folders)."
    "\vFiles are checked whole on the way: a damaged one is one line on standard error and exit code 2.\n\n"
    "Examples:\n"
    "  pcrl-inspect data/mini/llama.safetensors\n"
    "  pcrl-inspect --stats --tensor lora_A head.safetensors\n"
    "  pcrl-inspect --json head.nii.gz | python3 -m json.tool\n"
    "  pcrl-inspect train train/annotations.json train/1/00.png\n"
    "  pcrl-inspect --ops";

enum { KEY_OPS = 0x3001, KEY_JSON, KEY_STATS, KEY_TENSOR };

static const struct argp_option options[] = {
    {"stats", KEY_STATS, 0, 0, "read the values too: smallest, largest, mean, root mean square, NaN, infinite",
     1},
    {"tensor", KEY_TENSOR, "TEXT", 0, "list only tensors whose name contains TEXT", 1},
    {"json", KEY_JSON, 0, 0, "print one JSON object a file, one a line", 1},
    {"ops", KEY_OPS, 0, 0, "list every operation and where it runs", 1},
    {0}};

typedef struct Options {
    CliCommon common;
    InspectOptions inspect;
    bool json, ops;
    int first; /* of the files in argv */
} Options;

static error_t parse(int key, char *arg, struct argp_state *state)
{
    Options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->common; return 0;
    case KEY_STATS: o->inspect.stats = true; return 0;
    case KEY_TENSOR: o->inspect.tensor = arg; return 0;
    case KEY_JSON: o->json = true; return 0;
    case KEY_OPS: o->ops = true; return 0;
    case ARGP_KEY_ARGS: o->first = state->next; return 0;
    case ARGP_KEY_NO_ARGS:
        if (!o->ops) argp_error(state, "expected a file, or --ops");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static void show(const Options *o, json_t *object)
{
    if (o->json) {
        json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
        putchar('\n');
    } else {
        inspect_print(stdout, object);
    }
    json_decref(object);
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_common_argp, 0, "Common options:", 90}, {0}};
    static const struct argp argp = {options, parse, "[FILE...]", doc, children, NULL, NULL};
    Options o = {0};
    Error e = {0};
    int code = 0;
    cli_parse(&argp, argc, argv, &o);
    if (o.ops) {
        json_t *ops = inspect_ops();
        if (!ops) error_set(&e, ERROR_MEMORY, "no memory for the table of operations");
        if (!ops) cli_fail(&e);
        show(&o, ops);
    }
    for (int i = o.first; i && i < argc; i++) {
        json_t *object = inspect_file(argv[i], &o.inspect, &e);
        if (object) {
            if (!o.json && i > o.first) putchar('\n');
            show(&o, object);
        } else {
            cli_note("%s", e.msg);
            if (!code) code = e.code;
        }
    }
    if (fflush(stdout) || ferror(stdout)) {
        error_set(&e, ERROR_IO, "standard output: cannot write");
        cli_fail(&e);
    }
    return code;
}
