#include "tools/prompt.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char prompt_before[] = "[Img]";
const char prompt_after[] = "[/Img][MRG]请观察这组脑CT图像，用中文写出影像所见。";

/* The first of these that is there, else the first. */
static void find_tokenizer(char path[4096], const char *folder)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer.model", "llama/tokenizer.json",
                                        "llama/tokenizer.model", "llama.gguf"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, 4096, "%s/%s", folder, names[i]);
        if (access(path, F_OK) == 0) return;
    }
    snprintf(path, 4096, "%s/%s", folder, names[0]);
}

bool prompt_open(Prompt *p, const char *folder, Error *e)
{
    char path[4096];
    memset(p, 0, sizeof *p);
    find_tokenizer(path, folder);
    p->bpe = bpe_open(path, e);
    if (!p->bpe) return false;
    p->bos = bpe_special(p->bpe, "<|begin_of_text|>");
    p->eos = bpe_special(p->bpe, "<|end_of_text|>");
    int n_before = 0, n_after = 0;
    int32_t *ids = NULL;
    bool ok =
        (p->bos >= 0 && p->eos >= 0) ||
        error_set(e, ERROR_INPUT, "%s: no <|begin_of_text|> or <|end_of_text|> among the added tokens", path);
    ok = ok && bpe_encode(p->bpe, prompt_before, strlen(prompt_before), false, &ids, &n_before, e);
    ok = ok && bpe_encode(p->bpe, prompt_after, strlen(prompt_after), false, &p->after, &n_after, e);
    if (ok) {
        p->before = malloc((size_t)(n_before + 1) * sizeof *p->before);
        if (!p->before) die("out of host memory");
        p->before[0] = p->bos;
        memcpy(p->before + 1, ids, (size_t)n_before * sizeof *ids);
        p->pcrl = (PcrlPrompt){p->before, p->after, n_before + 1, n_after, p->eos};
    }
    free(ids);
    if (!ok) prompt_close(p);
    return ok;
}

void prompt_close(Prompt *p)
{
    bpe_close(p->bpe);
    free(p->before);
    free(p->after);
    memset(p, 0, sizeof *p);
}

/* BOS (if `bos`) and the text, in which names of special tokens count. */
static bool encode(const Prompt *p, bool bos, const char *text, int32_t **out, int *n, Error *e)
{
    int32_t *ids;
    int count;
    if (!bpe_encode(p->bpe, text, strlen(text), true, &ids, &count, e)) return false;
    *out = malloc((size_t)(count + 1) * sizeof **out);
    if (!*out) die("out of host memory");
    (*out)[0] = p->bos;
    memcpy(*out + bos, ids, (size_t)count * sizeof *ids);
    *n = count + bos;
    free(ids);
    return true;
}

bool text_prompt_open(TextPrompt *p, const Prompt *prompt, const char *instruction, bool release,
                      bool pool_padded, Error *e)
{
    *p = (TextPrompt){0};
    if (strlen(instruction) > 512)
        return error_set(e, ERROR_USAGE, "--instruction: %zu bytes, expected at most 512", strlen(instruction));
    bool chat = release && bpe_special(prompt->bpe, "<|start_header_id|>") >= 0;
    char before[1024], after[1024];
    if (release) {
        snprintf(before, sizeof before, "%s",
                 chat
                     ? "<|start_header_id|>system<|end_header_id|>\n\nYou summarise brain CT reports.<|eot_id|>"
                       "<|start_header_id|>user<|end_header_id|>\n\n"
                     : "");
        snprintf(after, sizeof after,
                 chat ? "\n%s<|eot_id|><|start_header_id|>assistant<|end_header_id|>" : "\n%s\n", instruction);
    } else {
        snprintf(before, sizeof before, "%s\n", instruction);
        snprintf(after, sizeof after, "\n");
    }
    int n_before = 0, n_after = 0;
    bool ok = encode(prompt, true, before, &p->before, &n_before, e) &&
              encode(prompt, false, after, &p->after, &n_after, e);
    p->pcrl = (PcrlTextPrompt){p->before, p->after, n_before, n_after, prompt->eos, pool_padded};
    if (!ok) text_prompt_close(p);
    return ok;
}

void text_prompt_close(TextPrompt *p)
{
    free(p->before);
    free(p->after);
    *p = (TextPrompt){0};
}
