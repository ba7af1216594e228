/* pcrl-table: the paper's experiments as tables, from what its runs left behind. */
#include "tools/cli.h"
#include "tools/table_page.h"
#include <string.h>

static const char doc[] =
    "Prints the paper's tables from scores that were computed before; it computes none itself."
    "\vtable2 reads RUN/result.json, one for each trained row and seed, and prints every row's mean and range "
    "over seeds, its "
    "controls below it, and what each clue does, seed by seed. --write keeps the ranges, --check compares with "
    "kept ones: the "
    "F1s of rows and controls and the rows' side accuracy. Exit code 2 if one is outside.\n\n"
    "table1 reads what pcrl-score --json printed, once for each tokenizer, and prints the model and its "
    "controls in the columns of "
    "the paper's Table 1; several files of one tokenizer are seeds.\n\n"
    "page writes docs/results.md: each claim beside the controls it has to beat, with 95 % intervals.\n\n"
    "Examples:\n"
    "  pcrl-table table2 --write results/table2.json build/table2/*/result.json\n"
    "  pcrl-table table2 --check results/table2.json build/table2/*-1/result.json\n"
    "  pcrl-table table1 build/table1/jieba.json build/table1/llama3.json\n"
    "  pcrl-table page --out docs/results.md --table1 jieba.json --retrieval data/mini/scores-masks.json "
    "build/table2/*/result.json";

enum { KEY_WRITE = 0x3001, KEY_CHECK, KEY_MARGIN, KEY_TABLE1, KEY_RETRIEVAL, MAX_ONE = 64 };

static const struct argp_option options[] = {
    {"write", KEY_WRITE, "FILE", 0, "write the ranges over seeds", 0},
    {"check", KEY_CHECK, "FILE", 0, "compare with the ranges that --write wrote", 0},
    {"margin", KEY_MARGIN, "X", 0, "by how much --check widens a range on each side (default 0.03)", 0},
    {"out", 'o', "FILE", 0, "page: where it goes", 0},
    {"table1", KEY_TABLE1, "SCORES", 0, "page: a file of table1 (repeatable)", 0},
    {"retrieval", KEY_RETRIEVAL, "SCORES", 0, "page: what pcrl-score --gallery --clues --json printed", 0},
    {0}};

typedef struct Options {
    CliCommon common;
    const char *what, *write, *check, *out, *retrieval, *one[MAX_ONE];
    double margin;
    char **path;
    int n, n_one;
} Options;

static error_t parse(int key, char *arg, struct argp_state *state)
{
    Options *o = state->input;
    bool page;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->common; return 0;
    case KEY_WRITE: o->write = arg; return 0;
    case KEY_CHECK: o->check = arg; return 0;
    case KEY_MARGIN: o->margin = cli_number_option(state, "--margin", arg, 0, 1); return 0;
    case 'o': o->out = arg; return 0;
    case KEY_RETRIEVAL: o->retrieval = arg; return 0;
    case KEY_TABLE1:
        if (o->n_one == MAX_ONE) argp_error(state, "--table1: at most %d", MAX_ONE);
        o->one[o->n_one++] = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (!o->what) {
            o->what = arg;
            return 0;
        }
        o->path = state->argv + state->next - 1;
        o->n = state->argc - state->next + 1;
        state->next = state->argc;
        return 0;
    case ARGP_KEY_END:
        if (!o->what || (strcmp(o->what, "table1") && strcmp(o->what, "table2") && strcmp(o->what, "page")))
            argp_error(state, "expected table1, table2 or page as the first argument, found '%s'",
                       o->what ? o->what : "");
        page = o->what && !strcmp(o->what, "page");
        if (page && !o->out) argp_error(state, "page: --out is missing");
        if (page ? o->write || o->check : o->out || o->n_one || o->retrieval)
            argp_error(state, "--write and --check are of the tables, --out, --table1 and --retrieval of page");
        if (!o->n) argp_error(state, "expected files of %s", o->what);
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static bool table1(const Options *o, int *outside, Error *e)
{
    TableOne t;
    if (!table_one_read((const char *const *)o->path, o->n, &t, e)) return false;
    table_one_print(stdout, &t);
    if (o->check) putchar('\n');
    bool ok = (!o->write || table_one_write(o->write, &t, e)) &&
              (!o->check || table_one_check(o->check, &t, o->margin, stdout, outside, e));
    table_one_free(&t);
    return ok;
}

static bool table2(const Options *o, int *outside, Error *e)
{
    Table t;
    if (!table_read((const char *const *)o->path, o->n, &t, e)) return false;
    table_print(stdout, &t);
    if (o->check) putchar('\n');
    bool ok = (!o->write || table_write(o->write, &t, e)) &&
              (!o->check || table_check(o->check, &t, o->margin, stdout, outside, e));
    table_free(&t);
    return ok;
}

static bool page(const Options *o, int *outside, Error *e)
{
    Table two = {0};
    TableOne one = {0};
    json_t *retrieval = o->retrieval ? json_read(o->retrieval, e) : NULL;
    (void)outside;
    bool ok = (retrieval || !o->retrieval) && table_read((const char *const *)o->path, o->n, &two, e) &&
              (!o->n_one || table_one_read(o->one, o->n_one, &one, e)) &&
              table_page_write(o->out, &(TablePage){&two, o->n_one ? &one : NULL, retrieval, o->retrieval}, e);
    table_one_free(&one);
    table_free(&two);
    json_decref(retrieval);
    return ok;
}

static bool run(const Options *o, Error *e)
{
    int outside = 0;
    if (!(!strcmp(o->what, "page") ? page : !strcmp(o->what, "table1") ? table1 : table2)(o, &outside, e))
        return false;
    if (fflush(stdout) || ferror(stdout))
        return error_set(e, ERROR_IO, "standard output: cannot write the table");
    return !outside ||
           error_set(e, ERROR_INPUT, "%d of the numbers are outside the ranges of %s", outside, o->check);
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_common_argp, 0, "Common options:", 90}, {0}};
    static const struct argp argp = {
        options, parse, "table1 SCORES...\ntable2 RESULT...\npage RESULT...", doc, children, NULL, NULL};
    Options o = {.margin = 0.03};
    Error e = {0};
    cli_parse(&argp, argc, argv, &o);
    if (!run(&o, &e)) cli_fail(&e);
    return 0;
}
