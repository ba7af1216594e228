#include "tools/settings.h"
#include <stddef.h>

#define FIELD(f)             offsetof(TrainOptions, f), sizeof(((TrainOptions *)0)->f)
#define INT(f, low, high)    SETTING_INT, FIELD(f), low, high, NULL
#define NUMBER(f, low, high) SETTING_NUMBER, FIELD(f), low, high, NULL
#define TEXT(f)              SETTING_TEXT, FIELD(f), 0, 0, NULL
#define CHOICE(f, words)     SETTING_CHOICE, FIELD(f), 0, 0, words
#define FLAG(f)              SETTING_FLAG, FIELD(f), 0, 0, NULL
#define LIST(f, low, high)   SETTING_LIST, FIELD(f), low, high, NULL
#define COUNT                (1 << 30)

/* {name, field, default, preset release where it differs, stages, help}; -1 and 0 as "the stage's own" become
 * its number in settings_resolve.c. */
const Setting settings_table[] = {
    {"data", TEXT(data), NULL, NULL, STAGE_ALL, "training data set (as pcrl-synth writes it)"},
    {"out", TEXT(out), NULL, NULL, STAGE_ALL,
     "run folder: RUN/run.json; log, page and checkpoints there or in a folder for each part"},
    {"model", TEXT(model), NULL, NULL, STAGE_ALL,
     "model folder: parts of earlier stages in, this stage's part out"},
    {"steps", INT(steps, 0, COUNT), "0", NULL, STAGE_ALL,
     "updates; 0: the stage's own (resnet 2400, sam 2000, the others 1000)"},
    {"batch", INT(batch, 0, 1 << 16), "0", NULL, STAGE_ALL,
     "samples a micro-batch; 0: the stage's own (resnet 64 slices, llama 24 reports, sam 4 slices, bert 32 "
     "texts, "
     "medclip 32 masks, pcrl 16 studies)"},
    {"accumulate", INT(accumulate, 1, 1 << 16), "1", NULL, STAGE_ALL,
     "micro-batches an update, their gradients averaged"},
    {"lr", NUMBER(lr, 0, 10), "0", NULL, STAGE_ALL,
     "learning rate at its highest; 0: the stage's own (llama 0.0015, pcrl 0.001, the others 0.002)"},
    {"schedule", CHOICE(schedule, "cosine|step"), "cosine", NULL, STAGE_ALL,
     "of the learning rate: cosine to nearly 0, or times --step-gamma every --step-every updates"},
    {"step-gamma", NUMBER(step_gamma, 0, 1), "0.85", NULL, STAGE_ALL, "factor of the step schedule"},
    {"step-every", INT(step_every, 0, COUNT), "0", NULL, STAGE_ALL,
     "updates between two steps of that schedule; 0: one epoch"},
    {"warm", INT(warm, -1, COUNT), "-1", NULL, STAGE_ALL,
     "updates with a rising learning rate; -1: the stage's own (pcrl 30, the others 50)"},
    {"clip", NUMBER(clip, -1, 1e9), "-1", NULL, STAGE_ALL,
     "global gradient norm above which it is scaled down; 0: none; -1: the stage's own (resnet 0, the others "
     "1)"},
    {"studies", INT(studies, 0, COUNT), "0", NULL, STAGE_ALL, "use the first N studies only; 0: all"},
    {"save-every", INT(save_every, 1, COUNT), "200", NULL, STAGE_ALL,
     "updates between checkpoints; the newest two and the best one stay"},
    {"log-every", INT(log_every, 1, COUNT), "25", NULL, STAGE_ALL, "updates between lines of log.jsonl"},
    {"validate-every", INT(validate_every, 0, COUNT), "0", NULL,
     STAGE_RESNET | STAGE_SAM | STAGE_MEDCLIP | STAGE_PCRL,
     "updates between validations; the best weights are kept; 0: no validation"},
    {"validation", TEXT(validation), NULL, NULL, STAGE_RESNET | STAGE_SAM | STAGE_MEDCLIP | STAGE_PCRL,
     "data set to validate on"},
    {"validation-studies", INT(validation_studies, 1, COUNT), "50", NULL,
     STAGE_RESNET | STAGE_SAM | STAGE_MEDCLIP | STAGE_PCRL, "how many of its studies are used"},
    {"stop-after", INT(stop_after, 0, COUNT), "0", NULL, STAGE_ALL | STAGE_CALL,
     "save and stop after N updates of a part, such as the warm-up (exit code 130): run again to go on; 0: no "
     "such limit"},
    {"restart", FLAG(restart), "no", NULL, STAGE_ALL | STAGE_CALL,
     "start anew although the run folder has a checkpoint"},
    {"dry-run", FLAG(dry_run), "no", NULL, STAGE_ALL | STAGE_CALL,
     "print the trainable tensors and the memory plan; train and write nothing"},
    {"sizes", CHOICE(sizes, "files|paper"), "files", NULL, STAGE_PCRL | STAGE_CALL,
     "of a dry run: those of the files, or the paper's (ResNet-101 at 512 pixels, LLaMA3-8B in 4 bits, batch "
     "4 unless it is given), which needs none"},

    {"stem", INT(stem, 1, 4096), "16", NULL, STAGE_RESNET, "channels after the stem"},
    {"widths", LIST(width, 1, 4096), "16,32,32,32", NULL, STAGE_RESNET, "of the bottlenecks' 3x3"},
    {"depths", LIST(depth, 1, 64), "2,2,2,2", NULL, STAGE_RESNET | STAGE_MEDCLIP, "blocks a stage"},
    {"strides", LIST(stride, 1, 2), "1,2,1,1", NULL, STAGE_RESNET,
     "of a stage's first block (128 pixels to 16x16 to 14x14)"},

    {"labels", CHOICE(labels, "truth|bleed|cq500"), "truth", NULL, STAGE_RESNET,
     "what it learns: the truth block's lesions, on grid cells and slices; or of CQ500's labels, on slices "
     "that all "
     "have their study's, whether there is a bleed, two classes, or all fourteen findings"},
    {"backbone", TEXT(backbone), NULL, NULL, STAGE_RESNET,
     "weights to begin with (torchvision's names), whose sizes then count; an fc of other classes is replaced; "
     "for "
     "bleed and cq500"},

    {"vocab", INT(vocab, 260, 1 << 20), "512", NULL, STAGE_LLAMA, "ids of the BPE vocabulary"},
    {"dim", INT(dim, 8, 1 << 16), "192", NULL, STAGE_LLAMA | STAGE_SAM | STAGE_BERT | STAGE_MEDCLIP,
     "width (sam: of the image encoder; medclip: of the image tower's first stage, doubled from stage to "
     "stage)"},
    {"layers", INT(layers, 1, 1024), "4", NULL, STAGE_LLAMA | STAGE_SAM | STAGE_BERT, "blocks"},
    {"heads", INT(heads, 1, 1024), "6", NULL, STAGE_LLAMA | STAGE_SAM | STAGE_BERT | STAGE_MEDCLIP,
     "query heads (medclip: of the first stage, doubled as the width)"},
    {"kv-heads", INT(kv_heads, 1, 1024), "3", NULL, STAGE_LLAMA, "key/value heads"},
    {"ffn", INT(ffn, 8, 1 << 20), "512", NULL, STAGE_LLAMA | STAGE_SAM | STAGE_BERT,
     "inner width of the feed-forward part"},
    {"slot-steps", INT(slot_steps, 0, COUNT), "800", NULL, STAGE_LLAMA,
     "updates on label slots after the text; 0: none"},
    {"prefix-share", NUMBER(prefix_share, 0, 1), "0.7", NULL, STAGE_LLAMA,
     "share of text samples that begin with their findings"},

    {"image", INT(image, 16, 4096), "224", NULL, STAGE_SAM | STAGE_MEDCLIP,
     "pixels a side of what the model reads (sam: of the data set's slices too)"},
    {"patch", INT(patch, 1, 256), "8", NULL, STAGE_SAM | STAGE_MEDCLIP, "pixels a side of a token"},
    {"window", INT(window, 1, 256), "7", NULL, STAGE_SAM | STAGE_MEDCLIP,
     "tokens a side of an attention window"},
    {"global-every", INT(global_every, 1, 1024), "2", NULL, STAGE_SAM,
     "every so many blocks one attends over the whole grid"},
    {"decoder-dim", INT(decoder_dim, 8, 1 << 16), "32", NULL, STAGE_SAM, "width of prompts and mask decoder"},
    {"decoder-heads", INT(decoder_heads, 1, 1024), "4", NULL, STAGE_SAM, "its attention heads"},
    {"decoder-ffn", INT(decoder_ffn, 8, 1 << 20), "128", NULL, STAGE_SAM,
     "inner width of its feed-forward parts"},
    {"dense-steps", INT(dense_steps, 0, COUNT), "400", NULL, STAGE_SAM,
     "first updates, of the image encoder alone: it learns what each cell is"},
    {"prompts", INT(prompts, 1, 1024), "6", NULL, STAGE_SAM, "points a slice"},
    {"points-per-side", INT(points_per_side, 1, 256), "24", NULL, STAGE_SAM,
     "what the file recommends for finding all masks: points a side of the grid"},
    {"pred-iou-thresh", NUMBER(pred_iou_thresh, 0, 1), "0.5", NULL, STAGE_SAM,
     "... the least IoU that the model must foresee"},
    {"stability-score-thresh", NUMBER(stability_score_thresh, 0, 1), "0.7", NULL, STAGE_SAM,
     "... the least stability"},
    {"min-mask-region-area", INT(min_mask_region_area, 0, 1 << 20), "0", NULL, STAGE_SAM,
     "... pixels under which holes are filled and islands dropped"},

    {"positions", INT(positions, 8, 1 << 16), "128", NULL, STAGE_BERT, "tokens a text has at most"},

    {"stages", INT(stages, 1, 4), "4", NULL, STAGE_MEDCLIP,
     "of the image tower: the first so many of --depths"},
    {"bert", TEXT(bert), NULL, NULL, STAGE_MEDCLIP | STAGE_PCRL,
     "BERT that the text tower begins with (stage bert's RUN/bert.safetensors); pcrl: that of --text-features "
     "bert, a BERT's file or a MedCLIP's (default: medclip of the model folder)"},
    {"regions", NUMBER(regions, 0, 1), "0.5", NULL, STAGE_MEDCLIP,
     "share of a batch that is no lesion but a region of one grey class"},

    {"preset", CHOICE(preset, "paper|release"), "paper", NULL, STAGE_PCRL,
     "the article's equations as printed, or what its code does: the defaults of the settings that name a "
     "release value, each of which beats it, wherever given"},
    {"hv", CHOICE(hv, "local24|concat48|global24|sum24"), "local24", "concat48", STAGE_PCRL, "visual tokens"},
    {"dice", CHOICE(dice, "printed|smooth"), "printed", "smooth", STAGE_PCRL,
     "segmentation loss: equation 3, or 1-(2S+1)/(P+Y+1)"},
    {"contrast", CHOICE(contrast, "printed|standard"), "printed", "standard", STAGE_PCRL,
     "denominators of equations 6 and 9: without the pair itself, or with it"},
    {"contrast-reduction", CHOICE(contrast_reduction, "sum|mean"), "sum", "mean", STAGE_PCRL,
     "of equations 6 and 9 over the pairs"},
    {"tau", CHOICE(tau, "fixed|learn"), "fixed", "learn", STAGE_PCRL,
     "temperature; with the printed contrast a learnt scale lets the loss fall without bound"},
    {"eca-unit", CHOICE(eca_unit, "slice|entity"), "slice", NULL, STAGE_PCRL, "what entities are aligned by"},
    {"eca-scope", CHOICE(eca_scope, "batch|sample"), "batch", NULL, STAGE_PCRL,
     "where the negatives of equation 6 come from"},
    {"text-features", CHOICE(text_features, "llama|bert"), "llama", NULL, STAGE_PCRL,
     "what reads the texts that are aligned: the language model, or a frozen BERT without instruction, by its "
     "last hidden state"},
    {"bert-pool", CHOICE(bert_pool, "cls|mean"), "cls", NULL, STAGE_PCRL,
     "what stands for a text that BERT reads: [CLS], or the mean over all its places"},
    {"text-prompt", CHOICE(text_prompt, "paper|release"), "paper", "release", STAGE_PCRL,
     "words around the text that is aligned"},
    {"text-pool", CHOICE(text_pool, "last|padded"), "last", "padded", STAGE_PCRL,
     "token that stands for a text: its last, or the last of the padded row"},
    {"instruction", TEXT(instruction), "Summarize the following cranial diagnosis in one word.", NULL,
     STAGE_PCRL, "the words that ask for a text's representation"},
    {"entities", CHOICE(entities, "26|24"), "26", NULL, STAGE_PCRL, "entity list"},
    {"lm-reduction", CHOICE(lm_reduction, "sum|mean"), "mean", NULL, STAGE_PCRL,
     "of equation 1 over the tokens"},
    {"quant", CHOICE(quant, "nf4|fp4"), "nf4", "fp4", STAGE_PCRL, "4-bit format of the frozen language model"},
    {"mask-resize", CHOICE(mask_resize, "nearest|area"), "nearest", NULL, STAGE_PCRL,
     "how masks come to the grid"},
    {"mask-identical", FLAG(mask_identical), "no", NULL, STAGE_PCRL,
     "equal texts are not each other's negatives"},
    {"weight-report", NUMBER(weight_report, 0, 1e6), "1", NULL, STAGE_PCRL,
     "of equation 1 in equation 10; 0: without it"},
    {"weight-segment", NUMBER(weight_segment, 0, 1e6), "1", NULL, STAGE_PCRL, "of equation 3; 0: without it"},
    {"weight-entity", NUMBER(weight_entity, 0, 1e6), "1", NULL, STAGE_PCRL, "of equation 6; 0: without it"},
    {"weight-theme", NUMBER(weight_theme, 0, 1e6), "1", NULL, STAGE_PCRL, "of equation 9; 0: without it"},
    {"alpha-v", NUMBER(alpha_v, 0, 1e6), "1", NULL, STAGE_PCRL, "image-to-text share of equations 6 and 9"},
    {"alpha-w", NUMBER(alpha_w, 0, 1e6), "1", NULL, STAGE_PCRL, "text-to-image share"},
    {"embed", INT(embed, 1, 1 << 16), "512", NULL, STAGE_MEDCLIP | STAGE_PCRL, "width of the alignment space"},
    {"recompute", CHOICE(recompute, "none|medium|full"), "medium", NULL, STAGE_PCRL,
     "what the backward pass computes again instead of keeping it"},
    {"backward", CHOICE(backward, "branches|joint"), "branches", NULL, STAGE_PCRL,
     "one backward pass a branch (less memory), or one for all"},
    {"clues", TEXT(clues), NULL, NULL, STAGE_PCRL, "clue file (default: clues.json of the data set)"},
    {"init", TEXT(init), NULL, NULL, STAGE_PCRL,
     "model folder whose heads and adapter it begins with, in the place of new ones"},
    {"warmup-steps", INT(warmup_steps, 0, COUNT), "0", NULL, STAGE_PCRL,
     "updates of the head alone, towards --slots, before all else"},
    {"lora-rank", INT(lora_rank, 1, 4096), "8", NULL, STAGE_PCRL, "of the adapters on q and v"},
    {"lora-alpha", NUMBER(lora_alpha, 0, 1e6), "32", NULL, STAGE_PCRL, "their scale times the rank"},
    {"lora-dropout", NUMBER(lora_dropout, 0, 0.99), "0.05", NULL, STAGE_PCRL, "before them"},
    {"cache", TEXT(cache), NULL, NULL, STAGE_PCRL, "folder of the feature cache"},
    {"slots", TEXT(slots), NULL, NULL, STAGE_PCRL, "slot embeddings of stage llama, for the warm-up"},

    {"device", SETTING_TEXT, FIELD(common.device), 0, 0, "auto|cpu|cuda|emu", "auto", NULL, STAGE_ALL,
     "where it computes; auto: cuda if it can be had, else cpu"},
    {"compute", SETTING_TEXT, FIELD(common.compute), 0, 0, "auto|f32|bf16", "auto", NULL, STAGE_ALL,
     "type of activations; auto: bf16 on cuda, else f32"},
    {"no-vendor", FLAG(common.no_vendor), "no", NULL, STAGE_ALL, "on cuda: our own kernels only, no cuBLAS"},
    {"seed", INT(common.seed, 0, 0x1p53), "1", NULL, STAGE_ALL, "seed of every random choice"},
    {"memory", SETTING_SIZE, FIELD(common.memory), 0, 0, NULL, "0", NULL, STAGE_ALL,
     "of each of four arenas at most, e.g. 4G; 0: the machine's"},
    {"threads", INT(common.threads, 0, 1024), "0", NULL, STAGE_ALL, "threads; 0: all cores"},
};
const int settings_count = sizeof settings_table / sizeof *settings_table;
_Static_assert(sizeof settings_table / sizeof *settings_table <= SETTINGS_MAX, "raise SETTINGS_MAX");
