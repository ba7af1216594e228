"""llama.safetensors: a small LLaMA with right padding, LoRA, and the report path (parity rows 5, 7, 14, 24's L_g).

Written from the equations (RMSNorm, rotary positions in the HF layout, grouped-query attention, SwiGLU), in double.
"""
import numpy as np
import torch
from philox import INPUTS, WEIGHTS, Golden, fill, versions, weight

V, D, L, H, G, F, EPS, THETA = 512, 64, 2, 4, 2, 160, 1e-5, 500000.0
E = D // H
meta = versions()
torch.set_default_dtype(torch.float64)


def param(name, *shape):
    return torch.from_numpy(weight(name, shape)).double().requires_grad_()


def lora(name, *shape):
    return torch.from_numpy(fill(shape, WEIGHTS, name, 0.1)).double().requires_grad_()


W = {"embed": param("model.embed_tokens.weight", V, D), "norm": param("model.norm.weight", D),
     "head": param("lm_head.weight", V, D)}
for i in range(L):
    p = "model.layers.%d." % i
    for n, o, k in (("self_attn.q_proj", D, D), ("self_attn.k_proj", G * E, D), ("self_attn.v_proj", G * E, D),
                    ("self_attn.o_proj", D, D), ("mlp.gate_proj", F, D), ("mlp.up_proj", F, D), ("mlp.down_proj", D, F)):
        W["%d.%s" % (i, n)] = param(p + n + ".weight", o, k)
    for n in ("input_layernorm", "post_attention_layernorm"):
        W["%d.%s" % (i, n)] = param(p + n + ".weight", D)
    for n, o in (("q", D), ("v", G * E)):
        base = "base_model.model.model.layers.%d.self_attn.%s_proj.lora_" % (i, n)
        W["%d.%s.A" % (i, n)] = lora(base + "A.weight", 8, D)
        W["%d.%s.B" % (i, n)] = lora(base + "B.weight", o, 8)


def rmsnorm(x, w):
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + EPS) * w


def rope(x):
    T = x.shape[1]
    inverse = torch.tensor(THETA, dtype=torch.float32) ** (-torch.arange(0, E, 2, dtype=torch.float32) / E)
    angle = (torch.arange(T, dtype=torch.float32)[:, None] * inverse).double()[None, :, None, :]
    a, b = x[..., : E // 2], x[..., E // 2 :]
    return torch.cat((a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()), -1)


def linear(i, name, x, with_lora):
    y = x @ W["%d.%s" % (i, name)].T
    short = name[10:11]
    if with_lora and short in "qv" and name.startswith("self_attn"):
        y = y + 4.0 * ((x @ W["%d.%s.A" % (i, short)].T) @ W["%d.%s.B" % (i, short)].T)
    return y


def forward(x, length, with_lora, tap=None):
    B, T, _ = x.shape
    j = torch.arange(T)
    seen = (j[None, None, :] <= j[None, :, None]) & (j[None, None, :] < length[:, None, None])
    real = (j[None, :] < length[:, None]).double()[..., None]
    for i in range(L):
        n = rmsnorm(x, W["%d.input_layernorm" % i])
        q = rope(linear(i, "self_attn.q_proj", n, with_lora).reshape(B, T, H, E))
        k = rope(linear(i, "self_attn.k_proj", n, with_lora).reshape(B, T, G, E))
        v = linear(i, "self_attn.v_proj", n, with_lora).reshape(B, T, G, E)
        k, v = k.repeat_interleave(H // G, 2), v.repeat_interleave(H // G, 2)
        s = torch.einsum("bthe,bshe->bhts", q, k) / E**0.5
        s = s.masked_fill(~seen[:, None], -torch.inf).softmax(-1)
        y = torch.einsum("bhts,bshe->bthe", s, v).reshape(B, T, D)
        y = linear(i, "self_attn.o_proj", y, with_lora)
        if tap:
            tap("layers.%d.attn" % i, y * real)
        h = x + y
        n = rmsnorm(h, W["%d.post_attention_layernorm" % i])
        f = torch.nn.functional.silu(linear(i, "mlp.gate_proj", n, False)) * linear(i, "mlp.up_proj", n, False)
        x = h + linear(i, "mlp.down_proj", f, False)
        if tap:
            tap("layers.%d" % i, x * real)
    x = rmsnorm(x, W["norm"])
    if tap:
        tap("norm", x * real)
    return x


def ids(name, *shape):
    u = fill(shape, INPUTS, name, 1.0)
    return torch.from_numpy(((u + np.float32(1)) * np.float32(V / 2)).astype(np.int64))


def clear():
    for p in W.values():
        p.grad = None


def main():
    g = Golden(what="LLaMA from its equations, double", vocab=V, dim=D, layers=L, heads=H, kv_heads=G, ffn=F, **meta)
    id, length = ids("ids", 2, 33), torch.tensor([33, 21])
    label = torch.full((2, 33), -100)
    for b in range(2):
        label[b, : length[b] - 1] = id[b, 1 : length[b]]
    for name in ("plain", "lora"):
        clear()
        x = W["embed"][id].detach().requires_grad_()
        h = forward(x, length, name == "lora", lambda n, t: g.tap(name + "." + n, t))
        logits = h @ W["head"].T
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, V), label.reshape(-1), ignore_index=-100)
        loss.backward()
        g.tap(name + ".logits", logits[1, 20])
        g.tap(name + ".loss", loss)
        g.tap(name + ".dx", x.grad)
        want = ["0.q.A", "0.q.B", "1.v.A", "1.v.B"] if name == "lora" else ["0.self_attn.q_proj", "1.self_attn.v_proj",
                "1.mlp.down_proj", "0.input_layernorm", "norm", "head"]
        for n in want:
            g.tap(name + ".d." + n, W[n].grad)

    clear()
    before, after, eos, counts = [1, 5, 7], [9, 11, 12, 13], 2, [6, 9, 0]
    findings = ids("findings", 3, 9)
    hv = torch.from_numpy(fill((3, 24, D), INPUTS, "hv", 0.5)).double().requires_grad_()
    P = len(before) + 24 + len(after)
    rows = []
    for b in range(3):
        text = findings[b, : counts[b]]
        x = torch.cat((W["embed"][before], hv[b], W["embed"][after], W["embed"][text]))[None]
        h = forward(x, torch.tensor([x.shape[1]]), False)
        target = torch.cat((text, torch.tensor([eos])))
        rows.append(torch.nn.functional.cross_entropy(h[0, P - 1 :] @ W["head"].T, target, reduction="none"))
    loss = torch.cat(rows).mean()
    loss.backward()
    g.tap("pcrl.loss", loss)
    g.tap("pcrl.dhv", hv.grad)
    g.tap("pcrl.d.embed", W["embed"].grad)
    g.save("llama.safetensors")


if __name__ == "__main__":
    main()
