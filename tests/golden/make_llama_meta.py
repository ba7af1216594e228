"""llama_meta/consolidated.00.pth and params.json: a tiny LLaMA as Meta writes it, and llama_meta.safetensors: its logits,
plain and with LoRA (parity row 6), and the same weights in Hugging Face's form (bf16, "hf." before the names).

The reference computes in Meta's manner, in double: adjacent pairs of a head's rows as complex numbers, turned by
position. LoRA's rows lie in Hugging Face's order, as PEFT's files have them.
"""
import json
import os

import numpy as np
import torch
from philox import INPUTS, WEIGHTS, Golden, fill, versions, weight

V, D, L, H, G, F, EPS, THETA, T = 96, 32, 2, 4, 2, 80, 1e-5, 500000.0, 17
E = D // H
NAMES = {"attention.wq": ("self_attn.q_proj", H * E, D), "attention.wk": ("self_attn.k_proj", G * E, D),
         "attention.wv": ("self_attn.v_proj", G * E, D), "attention.wo": ("self_attn.o_proj", D, H * E),
         "feed_forward.w1": ("mlp.gate_proj", F, D), "feed_forward.w2": ("mlp.down_proj", D, F),
         "feed_forward.w3": ("mlp.up_proj", F, D)}
NORMS = {"attention_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}


def to_meta(w):
    """hf_row[h*E + s*E/2 + j] = meta_row[h*E + 2j + s]"""
    return w.reshape(-1, 2, E // 2, w.shape[1]).transpose(1, 2).reshape(w.shape)


def hf_weights():
    """bf16, by Hugging Face's names, and what Meta calls them."""
    hf, meta = {}, {}

    def add(theirs, ours, *shape):
        w = torch.from_numpy(weight(ours, shape)).bfloat16()
        hf[ours] = w
        meta[theirs] = to_meta(w) if theirs.endswith(("wq.weight", "wk.weight")) else w

    add("tok_embeddings.weight", "model.embed_tokens.weight", V, D)
    for i in range(L):
        for n, (ours, *shape) in NAMES.items():
            add("layers.%d.%s.weight" % (i, n), "model.layers.%d.%s.weight" % (i, ours), *shape)
        for n, ours in NORMS.items():
            add("layers.%d.%s.weight" % (i, n), "model.layers.%d.%s.weight" % (i, ours), D)
    add("norm.weight", "model.norm.weight", D)
    add("output.weight", "lm_head.weight", V, D)
    return hf, meta


def lora(i, which, part, *shape):
    name = "base_model.model.model.layers.%d.self_attn.%s_proj.lora_%s.weight" % (i, which, part)
    return torch.from_numpy(fill(shape, WEIGHTS, name, 0.1)).double()


def rmsnorm(x, w):
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + EPS) * w


def rope(x):
    inverse = torch.tensor(THETA, dtype=torch.float32) ** (-torch.arange(0, E, 2, dtype=torch.float32) / E)
    angle = (torch.arange(T, dtype=torch.float32)[:, None] * inverse).double()
    turn = torch.polar(torch.ones_like(angle), angle)[:, None, :]
    pairs = torch.view_as_complex(x.reshape(T, -1, E // 2, 2))
    return torch.view_as_real(pairs * turn).reshape(x.shape)


def forward(w, ids, with_lora):
    x = w["tok_embeddings.weight"][ids]
    seen = torch.ones(T, T, dtype=torch.bool).tril()
    for i in range(L):
        p = "layers.%d." % i
        n = rmsnorm(x, w[p + "attention_norm.weight"])
        q, k, v = (n @ w[p + "attention.w%s.weight" % c].T for c in "qkv")
        if with_lora:
            dq = 4.0 * (n @ lora(i, "q", "A", 8, D).T) @ to_meta(lora(i, "q", "B", H * E, 8)).T
            q, v = q + dq, v + 4.0 * (n @ lora(i, "v", "A", 8, D).T) @ lora(i, "v", "B", G * E, 8).T
        q, k, v = rope(q.reshape(T, H, E)), rope(k.reshape(T, G, E)), v.reshape(T, G, E)
        k, v = k.repeat_interleave(H // G, 1), v.repeat_interleave(H // G, 1)
        s = torch.einsum("the,she->hts", q, k) / E**0.5
        s = s.masked_fill(~seen, -torch.inf).softmax(-1)
        x = x + torch.einsum("hts,she->the", s, v).reshape(T, D) @ w[p + "attention.wo.weight"].T
        n = rmsnorm(x, w[p + "ffn_norm.weight"])
        f = torch.nn.functional.silu(n @ w[p + "feed_forward.w1.weight"].T) * (n @ w[p + "feed_forward.w3.weight"].T)
        x = x + f @ w[p + "feed_forward.w2.weight"].T
    return rmsnorm(x, w["norm.weight"]) @ w["output.weight"].T


def main():
    hf, meta = hf_weights()
    os.makedirs("llama_meta", exist_ok=True)
    angle = torch.arange(E // 2, dtype=torch.float32)
    torch.save({**meta, "rope.freqs": angle}, "llama_meta/consolidated.00.pth")
    with open("llama_meta/params.json", "w") as f:
        json.dump({"dim": D, "n_layers": L, "n_heads": H, "n_kv_heads": G, "vocab_size": V, "multiple_of": 16,
                   "ffn_dim_multiplier": 1.0, "norm_eps": EPS, "rope_theta": THETA}, f)
        f.write("\n")
    g = Golden(what="LLaMA in Meta's form, computed in Meta's manner, double", **versions())
    g.meta.update({"llama.heads": str(H), "llama.kv_heads": str(G), "llama.norm_eps": "1e-5", "llama.rope_theta": "500000"})
    u = fill((T,), INPUTS, "ids", 1.0)
    ids = torch.from_numpy(((u + np.float32(1)) * np.float32(V / 2)).astype(np.int64))
    w = {k: x.double() for k, x in meta.items()}
    for name in ("plain", "lora"):
        g.put(name + ".logits", forward(w, ids, name == "lora").float().numpy())
    for k, x in hf.items():
        g.put("hf." + k, x.view(torch.int16).numpy().view(np.uint16))
    g.save("llama_meta.safetensors")


if __name__ == "__main__":
    main()
