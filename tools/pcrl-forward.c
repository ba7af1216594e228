/* pcrl-forward: a model's tensors in, its tensors out. */
#include "tools/forward.h"
#include <string.h>

static const char doc[] =
    "Run one model on tensors of a safetensors file, to compare it with another implementation, number by "
    "number. Weights are in any form that pcrl-inspect shows, under their public names; all tensors lie as "
    "PyTorch has them (NCHW). What comes out is f32."
    "\vMODEL, the tensors of its input (those with ? may be absent) and of its output:\n"
    "  resnet         image [n,3,H,W] -> layer1 to layer4, grid [n,196,C], pooled [n,C]\n"
    "  sam-encoder    image [n,3,S,S] -> embedding [n,C,g,g]\n"
    "  sam-decoder    embedding [1,C,g,g], ?points [p,k,2] in pixels of S, ?labels [p,k] (1, 0; -1: no point), "
    "?box [p,4], ?mask_input [p,1,4g,4g] -> masks [p,4,4g,4g] (logits), iou [p,4]; with ?image [p]: which of "
    "the embeddings [m,C,g,g] a prompt is about\n"
    "  medclip-image  image [n,3,S,S] -> embedding [n,E] of length 1\n"
    "  medclip-text   ids [n,T] -> embedding [n,E] of length 1; all T positions are pooled\n"
    "  swin           image [n,3,S,S] -> pooled [n,C]\n"
    "  bert           ids [b,t], ?lengths [b] -> embeddings, layer.0 to layer.N [b,t,D], hidden (the last)\n"
    "  llama          ids [b,t], ?lengths [b] -> logits [b,t,V], hidden [b,t,D] after the final norm\n"
    "  pcrl-step      a batch (below) -> loss.report, loss.segment, loss.entity, loss.theme, loss (their sum), "
    "grad.NAME of every trained parameter\n"
    "Floats may be F32, F16, BF16 or F64; ids and labels I32 or I64. Images come normalised. Rows of hidden "
    "states and logits past a length are 0.\n\n"
    "The batch of pcrl-step:\n"
    "  features [b,24,C,h,w], pooled [b,24,C]: of the ResNet\n"
    "  findings [b,t], ?findings_lengths [b]: ids of the reports, without the end of text\n"
    "  prompt_before, prompt_after: ids round the visual tokens; eos [1]\n"
    "  text_before, text_after: ids round a text whose feature is wanted\n"
    "  ?clues [n,u], ?clue_lengths [n]: ids of descriptions; ?clue_study [n] (0 to b-1), ?clue_slice [n] (0 to "
    "23): the slice they are of; ?masks [n,h,w] from 0 to 1, ?masked [n] (0: this one has no mask)\n"
    "Its --weights is a model folder: llama.safetensors (or llama.gguf, a folder llama, ...), "
    "pcrl_heads.safetensors, adapter_config.json and adapter_model.safetensors. Dropout is off, BatchNorm "
    "takes "
    "the batch's statistics.\n\n"
    "Tensors of the weights that the model does not read are named on standard error, but for those of the "
    "public files that it is known to leave out (another part of the same model, num_batches_tracked, a "
    "classifier).\n\n"
    "Examples:\n"
    "  pcrl-forward resnet --weights resnet101.pth --input x.safetensors --output y.safetensors --taps\n"
    "  pcrl-forward sam-encoder --weights sam_vit_b_01ec64.pth --input x.safetensors --output y.safetensors\n"
    "  pcrl-forward llama --weights Meta-Llama-3-8B --quant nf4-dq --input x.safetensors --output "
    "y.safetensors\n"
    "  pcrl-forward pcrl-step --weights data/mini --input batch.safetensors --output gradients.safetensors";

enum {
    KEY_WEIGHTS = 256,
    KEY_CONFIG,
    KEY_INPUT,
    KEY_OUTPUT,
    KEY_TAPS,
    KEY_STRICT,
    KEY_QUANT,
    KEY_STYLE,
    KEY_ADAPTER,
    KEY_BASE,
    KEY_PRESET
};

static const struct argp_option options[] = {
    {"weights", KEY_WEIGHTS, "FILE", 0, "the model's weights: a file or a folder", 0},
    {"input", KEY_INPUT, "FILE", 0, "its input", 0},
    {"output", KEY_OUTPUT, "FILE", 0, "what comes out, as safetensors", 0},
    {"config", KEY_CONFIG, "FILE", 0,
     "llama, pcrl-step: config.json or params.json of the language model, where it is not beside it; bert, "
     "swin: config.json",
     0},
    {"taps", KEY_TAPS, 0, 0, "write every intermediate activation that has a name too", 0},
    {"strict", KEY_STRICT, 0, 0, "a tensor of the weights that is not known is an error", 0},
    {"quant", KEY_QUANT, "FORM", 0,
     "llama, pcrl-step: Linears of the language model in 4 bits: nf4, nf4-dq, fp4, fp4-dq, q4_0 or none", 0},
    {"adapter", KEY_ADAPTER, "DIR", 0, "llama: with this PEFT adapter (LoRA on q_proj and v_proj)", 0},
    {"resnet-style", KEY_STYLE, "STYLE", 0,
     "resnet: v1.5 (stride on the 3x3) or caffe (on the first 1x1); the default is what the file says, else "
     "v1.5",
     0},
    {"base", KEY_BASE, "FILE", 0, "pcrl-step: the language model, instead of the folder's own", 0},
    {"preset", KEY_PRESET, "NAME", 0,
     "pcrl-step: paper (the printed equations, 24 local visual tokens; the default) or release (the "
     "authors' code, 48 tokens)",
     0},
    {0},
};

#define TOWERS "*position_ids *relative_position_index *pooler.dense.*"
static const ForwardModel models[] = {
    {"resnet", "image", "fc.weight fc.bias", "resnet-style", forward_resnet},
    {"sam-encoder", "image", "prompt_encoder.* mask_decoder.* pixel_mean pixel_std", "", forward_sam_encoder},
    {"sam-decoder", "embedding ?points ?labels ?box ?mask_input ?image", "image_encoder.* pixel_mean pixel_std",
     "", forward_sam_decoder},
    {"medclip-image", "image", TOWERS, "", forward_medclip_image},
    {"medclip-text", "ids", TOWERS, "", forward_medclip_text},
    {"swin", "image", TOWERS " classifier.* text_model.* vision_model.projection_head.weight logit_scale",
     "config", forward_swin},
    {"bert", "ids ?lengths", TOWERS " cls.* vision_model.* text_model.projection_head.weight logit_scale",
     "config", forward_bert},
    {"llama", "ids ?lengths", "*rotary_emb.inv_freq rope.freqs", "config quant adapter", forward_llama},
    {"pcrl-step",
     "features pooled findings ?findings_lengths prompt_before prompt_after eos text_before text_after ?clues "
     "?clue_lengths ?clue_study ?clue_slice ?masks ?masked",
     "*rotary_emb.inv_freq rope.freqs", "config quant base preset", forward_pcrl_step},
};
enum { MODELS = sizeof models / sizeof *models };

typedef struct Arguments {
    ForwardOptions o; /* first: the common options are its first field */
    const ForwardModel *model;
    const char *given[8]; /* options that only some models take */
    int n_given;
} Arguments;

static void choose(struct argp_state *state, const char *name)
{
    Arguments *a = state->input;
    if (a->model) argp_error(state, "one model at a time: %s, %s", a->model->name, name);
    for (int i = 0; i < MODELS; i++)
        if (!strcmp(models[i].name, name)) a->model = &models[i];
    if (!a->model) argp_error(state, "no model \"%s\"; see --help", name);
}

static const char *one_of(struct argp_state *state, const char *option, const char *a, const char *b,
                          const char *arg)
{
    if (strcmp(arg, a) && strcmp(arg, b))
        argp_error(state, "--%s: expected %s or %s, found '%s'", option, a, b, arg);
    return arg;
}

static void check(struct argp_state *state)
{
    const Arguments *a = state->input;
    if (!a->model)
        argp_error(state, "which model? resnet, sam-encoder, sam-decoder, medclip-image, medclip-text, swin, "
                          "bert, llama or pcrl-step");
    if (!a->o.weights || !a->o.input || !a->o.output)
        argp_error(state, "--weights, --input and --output are needed");
    for (int i = 0; i < a->n_given; i++)
        if (!strstr(a->model->allow, a->given[i]))
            argp_error(state, "--%s is not for %s", a->given[i], a->model->name);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    Arguments *a = state->input;
    ForwardOptions *o = &a->o;
    const char *only = NULL;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->common; break;
    case KEY_WEIGHTS: o->weights = arg; break;
    case KEY_INPUT: o->input = arg; break;
    case KEY_OUTPUT: o->output = arg; break;
    case KEY_TAPS: o->taps = true; break;
    case KEY_STRICT: o->strict = true; break;
    case KEY_CONFIG: only = "config", o->config = arg; break;
    case KEY_QUANT: only = "quant", cli_quant_option(state, "--quant", arg, &o->quant, &o->nested); break;
    case KEY_ADAPTER: only = "adapter", o->adapter = arg; break;
    case KEY_BASE: only = "base", o->base = arg; break;
    case KEY_STYLE: only = "resnet-style", o->style = one_of(state, only, "v1.5", "caffe", arg); break;
    case KEY_PRESET: only = "preset", o->release = *one_of(state, only, "paper", "release", arg) == 'r'; break;
    case ARGP_KEY_ARG: choose(state, arg); break;
    case ARGP_KEY_END: check(state); break;
    default: return ARGP_ERR_UNKNOWN;
    }
    if (only && a->n_given < 8) a->given[a->n_given++] = only;
    return 0;
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_common_argp, 0, "Common options:", 90}, {0}};
    static const struct argp argp = {options, parse, "MODEL", doc, children, NULL, NULL};
    Arguments a = {0};
    Error e = {0};
    cli_parse(&argp, argc, argv, &a);
    if (!forward_run(a.model, &a.o, &e)) cli_fail(&e);
    return 0;
}
