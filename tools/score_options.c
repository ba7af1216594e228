#include "tools/score_options.h"
#include "tensor/utf8.h"
#include "tokenizer/jieba.h"
#include <string.h>

enum {
    KEY_REF = 0x100,
    KEY_HYP,
    KEY_SPLIT,
    KEY_DICT,
    KEY_USER,
    KEY_JSON,
    KEY_ROW,
    KEY_EACH,
    KEY_TIME,
    KEY_BOOTSTRAP,
    KEY_AGAINST,
    KEY_KEYWORDS,
    KEY_PARTIAL,
    KEY_PAIRS,
    KEY_MASKS,
    KEY_MASK_CONTROL,
    KEY_GALLERY,
    KEY_CLUES,
    KEY_CLUE_CONTROL
};

static const struct argp_option options[] = {
    {0, 0, 0, 0, "Texts alone:", 1},
    {"ref", KEY_REF, "FILE", 0, "the true reports", 1},
    {"hyp", KEY_HYP, "FILE", 0, "the reports that are scored", 1},

    {0, 0, 0, 0, "A data set with its truth:", 2},
    {"truth", 't', "FILE", 0, "annotations.json of the studies that were reported, or its folder", 2},
    {"reports", 'r', "FILE", 0, "the reports that are scored", 2},
    {"pairs", KEY_PAIRS, "DATA=FILE", 0,
     "also scores FILE, the reports of a data set with counterfactuals and twins: do they follow the image?",
     2},
    {"masks", KEY_MASKS, "FILE", 0, "also scores the segmentation that pcrl-report --masks wrote: Dice", 2},
    {"mask-control", KEY_MASK_CONTROL, "NAME=FILE", 0, "adds a control of --masks (repeatable)", 2},
    {"gallery", KEY_GALLERY, "DIR", 0,
     "also scores the galleries of pcrl-masks: which lesions does a mask cover, before and after the filters?",
     2},
    {"clues", KEY_CLUES, "FILE", 0, "also scores the clues of pcrl-retrieve: top-1 and Dice", 2},
    {"clue-control", KEY_CLUE_CONTROL, "NAME=FILE", 0, "adds a control of --clues (repeatable)", 2},

    {0, 0, 0, 0, "How texts are cut into words:", 3},
    {"split", KEY_SPLIT, "HOW", 0, "jieba, char (default), space or llama3; --truth adds char to the others",
     3},
    {"tokenizer", 'k', "FILE", 0, "tokenizer.json, tokenizer.model or a GGUF file: scores over its tokens, too",
     3},
    {"dict", KEY_DICT, "DIR", 0, "jieba's folder (default Debian's: " JIEBA_FOLDER ")", 3},
    {"user-dict", KEY_USER, "FILE", 0, "jieba: a dictionary more, WORD [FREQUENCY] [TAG] a line", 3},

    {0, 0, 0, 0, "Controls and comparisons:", 4},
    {"train", 'n', "FILE", 0,
     "the training reports: adds the controls commonest, constant, constant-text and random", 4},
    {"control", 'c', "NAME=FILE", 0, "adds a control: reports made without the right image (repeatable)", 4},
    {"against", KEY_AGAINST, "NAME=FILE", 0,
     "another model's reports of the same studies: a paired test of the difference (repeatable)", 4},
    {"bootstrap", KEY_BOOTSTRAP, "N", 0,
     "resamples for intervals, tests and standard deviations (default 1000)", 4},

    {0, 0, 0, 0, "What is scored and printed:", 5},
    {"partial", KEY_PARTIAL, 0, 0,
     "score only the studies that both files have (--gallery and --clues: that they have)", 5},
    {"keywords", KEY_KEYWORDS, "FILE", 0, "also scores the keywords of FILE, one a line, mentioned or not", 5},
    {"json", KEY_JSON, 0, 0, "print one JSON object instead of tables", 5},
    {"row", KEY_ROW, 0, 0, "print only the rows of a table like the paper's, times 100", 5},
    {"time", KEY_TIME, 0, 0, "say on standard error how long a processor took for the model's text metrics", 5},
    {"each", KEY_EACH, "FILE", 0, "also writes the scores of each study, a JSON object a line", 5},
    {0}};

static const char doc[] =
    "Scores brain CT reports: texts beside texts (--ref, --hyp), or the reports of a data set of ours beside "
    "its truth (--truth, --reports), with the same numbers and controls.\v"
    "Reports are lines {\"id\": \"12\", \"report\": \"...\"}, a JSON list of {\"id\", \"findings\"} or "
    "{\"image_id\", \"caption\"}, or COCO's {\"annotations\": [...]}. Every true report needs one that is "
    "scored, and the other way round. A report without a word is scored as the word None, and counted.\n"
    "\n"
    "A report is read clause by clause into findings (entity, side, density); printed are micro F1 over all of "
    "them, macro F1 over the kinds of finding, side accuracy, the same for focal lesions of the brain tissue "
    "alone, by lesion radius and by finding. The text metrics are those of the captioning evaluation code: "
    "BLEU-1 to 4, METEOR, ROUGE-L and CIDEr; clinical labels are 24 keywords that are mentioned or not, and 24 "
    "findings that are claimed or not, with their sides. The last lines say how each is computed.\n"
    "\n"
    "A score means little without its controls, which have every number that the model has. With --train there "
    "are the commonest training report; two constant reports, the best of 440 by lesion F1 and of 40 by "
    "BLEU-4, "
    "chosen on the training set alone; and random training reports. shuffled is the model's reports of other "
    "studies, unless --control shuffled=FILE has it made from shuffled images; blank images are for --control, "
    "too. "
    "Intervals hold 95 % of the scores of resampled studies; the model is compared with each control and with "
    "each "
    "--against by a paired test on the same resamples.\n"
    "\n"
    "--gallery and --clues need no --reports. Counted are the focal findings with masks; a lesion is a "
    "connected part of one on one side (of subarachnoid blood: all of a side), looked at in the slice where it "
    "is largest, and its size is the diameter of the circle of its area there. A gallery covers it if a mask "
    "of that slice has an IoU of at least 0.5 with it. A clue is right if its mask has, in its slice, an IoU "
    "of at least 0.5 with the finding's mask on the left, the right or both sides.\n"
    "\n"
    "Examples:\n"
    "  pcrl-score --ref test.json --hyp results.json --split jieba --user-dict nouns.txt\n"
    "  pcrl-score --ref test.json --hyp results.json --split llama3 --tokenizer tokenizer.model --row\n"
    "  pcrl-score --ref test.json --hyp reports.jsonl --split jieba --each each.jsonl --json\n"
    "  pcrl-score --truth test/annotations.json --reports reports.jsonl\n"
    "  pcrl-score --truth test --reports reports.jsonl --train train --control shuffled=shuffled.jsonl "
    "--control blank=blank.jsonl\n"
    "  pcrl-score --ref test.json --hyp ours.json --against theirs=theirs.json --train train.json\n"
    "  pcrl-score --truth test --reports reports.jsonl --pairs pairs=pairs.jsonl --masks masks.safetensors\n"
    "  pcrl-score --truth test --gallery galleries --clues clues.json --clue-control random=random.json\n"
    "\n"
    "Exit codes: 0 ok, 1 usage, 2 bad input, 3 cannot read or write, 6 out of memory.";

/* "NAME=FILE" into its parts. */
static void split(struct argp_state *state, const char *option, const char *arg, char *name, size_t room,
                  const char **path)
{
    const char *equals = strchr(arg, '=');
    size_t n = equals ? (size_t)(equals - arg) : 0;
    if (!n || !equals[1] || n >= room) {
        argp_error(state, "%s: expected NAME=FILE, found '%s'", option, arg);
        return;
    }
    memcpy(name, arg, n);
    name[n] = 0;
    *path = equals + 1;
}

static void add_control(struct argp_state *state, const char *option, const char *arg, ScoreControls *list)
{
    if (list->n == SCORE_CONTROLS) {
        argp_error(state, "%s: at most %d", option, SCORE_CONTROLS);
        return;
    }
    ScoreControl *c = &list->of[list->n++];
    split(state, option, arg, c->name, sizeof c->name, &c->path);
    if (utf8_valid_prefix(c->name, strlen(c->name)) < strlen(c->name))
        argp_error(state, "%s: expected a NAME in UTF-8, found other bytes", option);
}

static int times_there(const ScoreControls *list, const char *name)
{
    int n = 0;
    for (int i = 0; i < list->n; i++) n += !strcmp(list->of[i].name, name);
    return n;
}

/* Systems are told apart by their names. */
static void check_names(struct argp_state *state, const ScoreOptions *o)
{
    static const char *const ours[] = {"model", "commonest", "constant", "constant-text", "random"};
    if (times_there(&o->against, "shuffled"))
        argp_error(state, "--against: 'shuffled' is the name of a control");
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (times_there(&o->control, ours[i]) || times_there(&o->against, ours[i]))
            argp_error(state, "--control, --against: '%s' is the name of what is scored anyway", ours[i]);
    for (int i = 0; i < o->control.n + o->against.n; i++) {
        const char *name = i < o->control.n ? o->control.of[i].name : o->against.of[i - o->control.n].name;
        if (times_there(&o->control, name) + times_there(&o->against, name) > 1)
            argp_error(state, "--control, --against: '%s' twice", name);
    }
}

static void set_split(struct argp_state *state, ScoreOptions *o, const char *arg)
{
    if (!text_split_from_name(arg, &o->split))
        argp_error(state, "--split: expected jieba, char, space or llama3, found '%s'", arg);
}

/* Options that do not go together. */
static void check(struct argp_state *state, const ScoreOptions *o)
{
    bool texts = o->ref || (o->reports && !o->truth);
    if (o->truth && o->ref) argp_error(state, "--ref and --truth: expected one of them");
    if (!o->truth && !o->ref) argp_error(state, texts ? "--ref is missing" : "--ref or --truth is missing");
    if (o->ref && !o->reports) argp_error(state, "--hyp is missing");
    if (!o->reports && !o->gallery && !o->clues) argp_error(state, "--reports is missing");
    if (o->ref && (o->masks || o->gallery || o->clues || o->pair_reports))
        argp_error(state, "--masks, --pairs, --gallery and --clues need --truth");
    if (!o->reports && (o->masks || o->train || o->control.n || o->against.n || o->keywords ||
                        o->pair_reports || o->cutter.tokenizer || o->each || o->row || o->time))
        argp_error(
            state,
            "--masks, --train, --control, --against, --keywords, --pairs, --tokenizer, --each, --time and "
            "--row need --reports");
    check_names(state, o);
    if (o->mask_control.n && !o->masks) argp_error(state, "--mask-control needs --masks");
    if (o->clue_control.n && !o->clues) argp_error(state, "--clue-control needs --clues");
    if (o->split == SPLIT_TOKENS && !o->cutter.tokenizer)
        argp_error(state, "--split llama3 needs --tokenizer FILE");
    if (o->split != SPLIT_JIEBA && (o->cutter.dictionary || o->cutter.user))
        argp_error(state, "--dict and --user-dict need --split jieba");
    if (o->row && o->json) argp_error(state, "--row and --json: expected one of them");
}

static error_t parse_cutter(int key, char *arg, struct argp_state *state, ScoreOptions *o)
{
    switch (key) {
    case KEY_SPLIT: set_split(state, o, arg); return 0;
    case 'k': o->cutter.tokenizer = arg; return 0;
    case KEY_DICT: o->cutter.dictionary = arg; return 0;
    case KEY_USER: o->cutter.user = arg; return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    ScoreOptions *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->common; return 0;
    case KEY_REF: o->ref = arg; return 0;
    case 't': o->truth = arg; return 0;
    case KEY_HYP:
    case 'r':
        if (o->reports) argp_error(state, "--hyp and --reports mean the same: expected one of them");
        o->reports = arg;
        return 0;
    case 'n': o->train = arg; return 0;
    case 'c': add_control(state, "--control", arg, &o->control); return 0;
    case KEY_PAIRS: split(state, "--pairs", arg, o->pairs, sizeof o->pairs, &o->pair_reports); return 0;
    case KEY_MASKS: o->masks = arg; return 0;
    case KEY_MASK_CONTROL: add_control(state, "--mask-control", arg, &o->mask_control); return 0;
    case KEY_GALLERY: o->gallery = arg; return 0;
    case KEY_CLUES: o->clues = arg; return 0;
    case KEY_CLUE_CONTROL: add_control(state, "--clue-control", arg, &o->clue_control); return 0;
    case KEY_AGAINST: add_control(state, "--against", arg, &o->against); return 0;
    case KEY_KEYWORDS: o->keywords = arg; return 0;
    case KEY_BOOTSTRAP: o->bootstrap = (int)cli_int_option(state, "--bootstrap", arg, 2, 1000000); return 0;
    case KEY_PARTIAL: o->partial = true; return 0;
    case KEY_JSON: o->json = true; return 0;
    case KEY_ROW: o->row = true; return 0;
    case KEY_EACH: o->each = arg; return 0;
    case KEY_TIME: o->time = true; return 0;
    case ARGP_KEY_ARG: argp_error(state, "unexpected argument '%s'", arg); return 0;
    case ARGP_KEY_END: check(state, o); return 0;
    default: return parse_cutter(key, arg, state, o);
    }
}

void score_options_parse(int argc, char **argv, ScoreOptions *o)
{
    static const struct argp_child children[] = {{&cli_common_argp, 0, "Common options:", 90}, {0}};
    static const struct argp argp = {options, parse, NULL, doc, children, NULL, NULL};
    *o = (ScoreOptions){.bootstrap = 1000, .split = SPLIT_CHAR};
    cli_parse(&argp, argc, argv, o);
}
