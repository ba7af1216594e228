"""pcrl.safetensors: the whole training of PCRL on three toy studies, in double, under both presets (parity row 24).

Of each preset: every term of the joint loss and what leads to it, every gradient, the gradients of each term alone, and
parameters and running statistics after three steps of AdamW on the same batch."""
import numpy as np
import torch
from make_llama import D, V, W, forward, ids, meta
from make_visual import Head, given
from philox import Golden

C, E, B, N, SIDE = 32, 16, 3, 24, 4
TERMS = "report", "segment", "entity", "theme"
before, after, eos = [1, 5, 7], [9, 11, 12, 13], 2
PRESETS = {
    "paper": {"hv": "local24", "standard": False, "smooth": False, "pool": "last",
              "text_before": [1, 21, 22, 23, 24], "text_after": [25]},
    "release": {"hv": "concat48", "standard": True, "smooth": True, "pool": "padded",
                "text_before": [1, 31, 32], "text_after": [33, 34, 35]},
}
findings = [row[:n] for row, n in zip(ids("findings", B, 11), (7, 11, 5))]
# One clue a slice: study * 24 + slice. Clues 1 and 5 say the same; clue 4 has no mask.
slices = [3, 10, 24 + 0, 24 + 7, 24 + 12, 24 + 23, 48 + 5, 48 + 17, 48 + 20]
clues = [row[:n] for row, n in zip(ids("clues", 9, 8), (4, 6, 3, 8, 5, 6, 2, 5, 7))]
clues[5] = clues[1]
masked = [0, 1, 2, 3, 5, 6, 7, 8]
masks = (given("masks", (9, SIDE, SIDE), 1.0) > 0).double()[masked]
# Of a few fills one whose activations keep 2e-5 away from the kinks of ReLU in all steps: in float none crosses.
grid, pooled = given("grid17", (B * N, C, SIDE, SIDE), 2.0), given("pooled", (B * N, C), 2.0)


def dice(p, y, smooth):
    p, y = p.flatten(1), y.flatten(1)
    if smooth:
        return (1 - (2 * (p * y).sum(1) + 1) / (p.sum(1) + y.sum(1) + 1)).mean()
    return (1 - 2 * (p * y).sum(1) / ((p * p).sum(1) + (y * y).sum(1) + 1e-6)).mean()


def contrast(v, w, scale=None, same=None):
    """Equations 6 and 9 with both alphas 1. scale: the standard form (j = i in the denominator, mean) at a learnable
    log 1/tau; without it the printed form at tau 0.07. same: numbers of texts; equal ones are no negatives."""
    n = len(v)
    s = (v / v.norm(dim=1, keepdim=True)) @ (w / w.norm(dim=1, keepdim=True)).T
    s = s / 0.07 if scale is None else s * scale.clamp(max=np.log(100)).exp()
    one = torch.eye(n, dtype=torch.bool)
    out = torch.zeros(n, n, dtype=torch.bool) if same is None else (same[:, None] == same[None]) & ~one
    if scale is None:
        out = out | one
    e = s.exp().masked_fill(out, 0)
    loss = -(s.diag() - e.sum(1).log() + s.diag() - e.sum(0).log()).sum() / 2
    return loss if scale is None else loss / n


def text_features(texts, o):
    """(n,D): of before | text | after, right-padded with EOS to the longest of them."""
    rows = [torch.cat((torch.tensor(o["text_before"]), x, torch.tensor(o["text_after"]))) for x in texts]
    id = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=eos)
    length = torch.tensor([len(x) for x in rows])
    h = forward(W["embed"][id], length, True)
    return h[:, -1] if o["pool"] == "padded" else h[torch.arange(len(rows)), length - 1]


def report_losses(hv):
    """Of every predicted token."""
    rows = []
    for b in range(B):
        x = torch.cat((W["embed"][before], hv[b], W["embed"][after], W["embed"][findings[b]]))[None]
        h = forward(x, torch.tensor([x.shape[1]]), True)[0, len(before) + len(hv[b]) + len(after) - 1 :]
        target = torch.cat((findings[b], torch.tensor([eos])))
        rows.append(torch.nn.functional.cross_entropy(h @ W["head"].T, target, reduction="none"))
    return torch.cat(rows)


def losses(net, o, tap):
    def scale(module):
        return next(module.parameters()) if o["standard"] else None

    maps, local, glob = net(grid, pooled, tap)
    local, glob = local.reshape(B, N, D), glob.reshape(B, N, D)
    hv = torch.cat((local, glob), 1) if o["hv"] == "concat48" else local
    segment = net.local_seg(maps[[slices[i] for i in masked]])
    entity_text, theme_text = text_features(clues, o), text_features(findings, o)
    entity_visual = net.local_visual_embed(local.reshape(B * N, D)[slices])
    entity_words = net.local_text_embed(entity_text)
    theme_visual = net.global_visual_embed(glob.max(1).values)
    theme_words = net.global_text_embed(theme_text)
    for name, x in {"hv": hv, "segment": segment, "entity.text": entity_text, "entity.R_v": entity_visual,
                    "entity.R_w": entity_words, "theme.text": theme_text, "theme.R_v": theme_visual,
                    "theme.R_w": theme_words}.items():
        tap(name, x)
    local_scale, same = scale(net.local_alignment), torch.tensor([0, 1, 2, 3, 4, 1, 6, 7, 8])
    pair, rows = (entity_visual, entity_words, local_scale), report_losses(hv)
    tap("loss.report.sum", rows.sum())
    tap("loss.entity.masked", contrast(*pair, same))
    own = [torch.tensor(slices) // N == b for b in range(B)]
    tap("loss.entity.sample", sum(contrast(entity_visual[i], entity_words[i], local_scale) for i in own) / B)
    return {"report": rows.mean(), "segment": dice(segment.sigmoid(), masks[:, None], o["smooth"]),
            "entity": contrast(*pair), "theme": contrast(theme_visual, theme_words, scale(net.global_alignment))}


def parameters(net):
    """Of the head under their own names and of LoRA under PEFT's; leaves."""
    lora = {"base_model.model.model.layers.%s.self_attn.%s_proj.lora_%s.weight" % tuple(k.split(".")): x
            for k, x in W.items() if k[-2:] in (".A", ".B")}
    return {**dict(net.named_parameters()), **lora}


def gradients(net, params, o, terms):
    for p in params.values():
        p.grad = torch.zeros_like(p)  # of what a preset leaves out: zero, not none
    loss = losses(net, o, lambda name, x: None)
    sum(loss[name] for name in terms).backward()
    return {name: p.grad.clone() for name, p in params.items()}


def check(net, params, o, gradient):
    """The gradient along one random direction against central differences."""
    h, value = 1e-7, []  # a step of 1e-6 crosses a kink of a ReLU
    step = {name: given("check." + name, p.shape, 1.0) for name, p in params.items()}
    with torch.no_grad():
        for sign in (h, -2 * h, h):
            for name, p in params.items():
                p += sign * step[name]
            value.append(sum(losses(net, o, lambda name, x: None).values()).item())
    want = (value[0] - value[1]) / (2 * h)
    got = sum((gradient[name] * step[name]).sum().item() for name in params)
    assert abs(got - want) < 1e-6 * abs(want), (got, want)


def restart(params, start):
    with torch.no_grad():
        for name, p in params.items():
            p.copy_(start[name])


def main():
    g = Golden(what="three AdamW steps of PCRL, presets paper and release, double", channels=C, dim=D, embed=E,
               vocab=V, **meta)
    for preset, o in PRESETS.items():
        def tap(name, x):
            g.tap(preset + "." + name, x)

        net = Head(C, D, E)
        params = parameters(net)
        start = {name: p.detach().clone() for name, p in params.items()}
        joint = gradients(net, params, o, TERMS)
        check(net, params, o, joint)
        restart(params, start)
        rest = dict(joint)
        for term in TERMS:
            alone = gradients(net, params, o, (term,))
            tap(term + ".norm", torch.stack([(x**2).sum() for x in alone.values()]).sum().sqrt())
            for name in "local_res.0.conv1.weight", "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight":
                tap("%s.d.%s" % (term, name), alone[name])
            rest = {name: rest[name] - alone[name] for name in rest}
        assert max(x.abs().max() for x in rest.values()) < 1e-10
        net = Head(C, D, E)  # running statistics as they were
        params = parameters(net)
        optimizer = torch.optim.AdamW(params.values(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
        for step in range(3):
            for p in params.values():
                p.grad = torch.zeros_like(p)
            loss = losses(net, o, tap if step == 0 else lambda name, x: None)
            total = sum(loss.values())
            total.backward()
            for name, x in (*(("loss." + k, x) for k, x in loss.items()), ("loss", total)):
                tap(name if step == 0 else "%s.step%d" % (name, step), x)
            for name, p in params.items() if step == 0 else ():
                tap("d." + name, p.grad)
            optimizer.step()
        for name, x in (*params.items(), *net.named_buffers()):
            if x.is_floating_point():
                tap("after." + name, x)
        restart(params, start)  # LoRA is the next preset's too
    g.save("pcrl.safetensors")


if __name__ == "__main__":
    main()
