"""ops.safetensors and linear4.safetensors: single ops against torch in double (parity rows 1, 3, 8, 13, 14, 25, 26)."""
import json

import numpy as np
import torch
from philox import INPUTS, WEIGHTS, Golden, dropout_scale, fill, versions

meta = versions()
torch.set_default_dtype(torch.float64)
F = torch.nn.functional
g = Golden(what="single ops, double", **meta)


def tensor(name, shape, a=1.0, seed=INPUTS):
    return torch.from_numpy(fill(shape, seed, name, a)).double().requires_grad_()


def backward(name, y, **inputs):
    """Taps y and the gradients of sum(y * dy), dy named after the case, in y's own layout."""
    g.tap(name + ".y", y)
    dy = torch.from_numpy(fill(tuple(y.shape), INPUTS, name + ".dy", 1.0)).double()
    (y * dy).sum().backward()
    for key, x in inputs.items():
        g.tap(name + ".d" + key, x.grad)


# row 1: conv, BatchNorm, pools
for name, c, o, side, k, s, p in (("conv7", 8, 16, 33, 7, 2, 3), ("conv3", 16, 8, 14, 3, 1, 1), ("conv3s2", 8, 8, 15, 3, 2, 1),
                                  ("conv1s2", 64, 16, 15, 1, 2, 0), ("conv2s2", 16, 16, 14, 2, 2, 0), ("conv3w", 64, 64, 7, 3, 1, 1)):
    x, w, b = tensor(name + ".x", (2, c, side, side)), tensor(name + ".w", (o, c, k, k), 0.3), tensor(name + ".b", (o,))
    backward(name, F.conv2d(x, w, b, s, p), x=x, w=w, b=b)

for name, c, o, side, k, s, p in (("deconv7", 8, 16, 7, 2, 2, 0), ("deconv14", 64, 8, 14, 2, 2, 0), ("deconv15", 16, 64, 15, 2, 2, 0),
                                  ("deconv33", 32, 16, 33, 2, 2, 0), ("deconv4", 8, 8, 15, 4, 2, 1)):
    x, w, b = tensor(name + ".x", (2, c, side, side)), tensor(name + ".w", (c, o, k, k), 0.3), tensor(name + ".b", (o,))
    backward(name, F.conv_transpose2d(x, w, b, s, p), x=x, w=w, b=b)

bn = torch.nn.BatchNorm2d(16)
bn.weight.data, bn.bias.data = tensor("bn.w", (16,)).data + 1.5, tensor("bn.b", (16,)).data
for step in range(3):
    x = tensor("bn.x%d" % step, (2, 16, 7, 7), 2.0)
    bn.zero_grad()
    backward("bn%d" % step, bn(x), x=x, w=bn.weight, b=bn.bias)
g.tap("bn.mean", bn.running_mean)
g.tap("bn.var", bn.running_var)
bn.eval()
bn.zero_grad()
x = tensor("bn.x0", (2, 16, 7, 7), 2.0)
backward("bneval", bn(x), x=x, w=bn.weight, b=bn.bias)

for name, side, pad, ceil in (("max33", 33, 1, False), ("max14", 14, 0, True), ("max15", 15, 0, True)):
    x = tensor(name + ".x", (2, 8, side, side))
    backward(name, F.max_pool2d(x, 3, 2, pad, ceil_mode=ceil), x=x)
for name, side, out in (("adaptive16", 16, 14), ("adaptive17", 17, 14), ("adaptive14", 14, 14), ("global7", 7, 1)):
    x = tensor(name + ".x", (2, 8, side, side))
    backward(name, F.adaptive_avg_pool2d(x, out), x=x)

# row 3: resizing; nearest whole, in f32, to be met bit by bit
x = tensor("resize.mask", (1, 1, 512, 512))
for out in (14, 28, 7):
    g.put("nearest%d" % out, F.interpolate(x.float(), out, mode="nearest").detach().numpy().reshape(out, out))
y = F.interpolate(x, 14, mode="area")
assert torch.equal(y, F.adaptive_avg_pool2d(x, 14))
g.tap("area14", y)
x = tensor("bilinear.x", (1, 1, 256, 256))
up = F.interpolate(x, 1024, mode="bilinear", align_corners=False)
g.tap("bilinear.up", up)
backward("bilinear", F.interpolate(up, 512, mode="bilinear", align_corners=False), x=x)
x = tensor("ragged.x", (2, 3, 33, 15))
backward("ragged", F.interpolate(x, (14, 70), mode="bilinear", align_corners=False), x=x)

# maximum over slices, with ties; unit length
x = (tensor("reduce_max.x", (2, 12, 10)).detach() * 4).floor().requires_grad_()
backward("reduce_max", x.max(dim=1).values, x=x)
x = tensor("l2norm.x", (37, 64), 2.0)
backward("l2norm", F.normalize(x, dim=-1), x=x)

# row 8: which tokens stay, and the renormalised probabilities of the first row that differs per setting
logits = fill((1000, 50), INPUTS, "logits", 4.0).astype(np.float64)
for T in (0.3, 0.6, 1.0):
    for P in (0.5, 0.9, 1.0):
        z = logits / T
        p = np.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        order = np.argsort(-p, axis=1, kind="stable")
        sorted_p = np.take_along_axis(p, order, 1)
        before = np.cumsum(sorted_p, 1) - sorted_p
        keep = np.zeros_like(p, dtype=bool)
        np.put_along_axis(keep, order, before <= P + (1e-9 if P == 1 else 0), 1)
        close = (np.abs(before - P).min(1) < 1e-6) & (P < 1)  # float may decide either way: no bits
        assert close.sum() < 20
        q = np.where(keep, p, 0)
        q /= q.sum(1, keepdims=True)
        name = "top_p.%g.%g" % (T, P)
        g.put(name + ".kept", ((keep & ~close[:, None]).astype(np.uint64) << np.arange(50, dtype=np.uint64)).sum(1, dtype=np.uint64))
        g.tap(name, q)

# row 14: LoRA, with and without dropout
for name, p in (("lora", 0.0), ("lora.dropout", 0.05)):
    x, w = tensor("lora.x", (37, 64)), tensor("lora.w", (48, 64), 0.2, WEIGHTS)
    A, B = tensor("lora.A", (8, 64), 0.2, WEIGHTS), tensor("lora.B", (48, 8), 0.2, WEIGHTS)
    mask = torch.from_numpy(dropout_scale(37 * 64, 8244, 0, p).astype(np.float64)).reshape(37, 64)
    y = x @ w.T + 4.0 * ((x * mask) @ A.T) @ B.T
    backward(name, y, x=x, A=A, B=B)

# row 25: fused cross-entropy at LLaMA 3's vocabulary
h, w = tensor("ce.h", (70, 16), 2.0), tensor("ce.w", (128256, 16), 1.0, WEIGHTS)
label = torch.from_numpy(((fill((70,), INPUTS, "ce.label", 1.0) + np.float32(1)) * np.float32(64128)).astype(np.int64))
label[::7] = -100
loss = F.cross_entropy(h @ w.T, label, ignore_index=-100)
loss.backward()
g.put("ce.label", label.numpy().astype(np.int32))
g.tap("ce.loss", loss)
g.tap("ce.dh", h.grad)
g.tap("ce.dw", w.grad)

# row 26: AdamW under StepLR
w = tensor("adamw.w", (64,))
optimiser = torch.optim.AdamW([w], lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
schedule = torch.optim.lr_scheduler.StepLR(optimiser, 10, 0.85)
for step in range(1, 101):
    w.grad = tensor("adamw.g%d" % step, (64,)).detach()
    optimiser.step()
    schedule.step()
    if step in (1, 10, 50, 100):
        g.tap("adamw.%d" % step, w)

# row 13: a 4-bit Linear as bitsandbytes stores it, with and without nested scales
LEVELS = np.array([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
                   -0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725,
                   0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
                   0.7229568362236023, 1.0], dtype=np.float32)
EDGES = np.array([-0.8480964004993439, -0.6106329262256622, -0.4599952697753906, -0.33967943489551544,
                  -0.23460740596055984, -0.13791173323988914, -0.045525018125772476, 0.03979014977812767,
                  0.1202552504837513, 0.2035212516784668, 0.2920137718319893, 0.3893125355243683, 0.5016634166240692,
                  0.6427869200706482, 0.8614784181118011], dtype=np.float32)
points = [np.linspace(0.1, 1, 2**i + 1) for i in range(7)]
half = np.concatenate([(p[1:] + p[:-1]) / 2 * 10.0 ** (i - 6) for i, p in enumerate(points)])
MAP = np.sort(np.concatenate((half, -half, [0.0, 1.0]))).astype(np.float32)


def quantise(w):
    blocks = w.reshape(-1, 64)
    absmax = np.abs(blocks).max(1)
    x = blocks * (np.float32(1) / absmax)[:, None]
    codes = (x.reshape(-1)[:, None] > EDGES).sum(1).astype(np.uint8)
    return codes, absmax


def nest(absmax):
    offset = np.float32(absmax.astype(np.float64).mean())
    rest = absmax - offset
    outer = np.array([np.abs(rest[i : i + 256]).max() for i in range(0, rest.size, 256)], dtype=np.float32)
    x = rest / np.repeat(outer, 256)[: rest.size]
    return np.abs(x[:, None].astype(np.float64) - MAP).argmin(1).astype(np.uint8), outer, offset


four = Golden(what="4-bit Linears in bitsandbytes' layout", **meta)
w = fill((320, 192), WEIGHTS, "linear4", 0.05)
codes, absmax = quantise(w)
nested, outer, offset = nest(absmax)
for name in ("flat", "nested"):
    P = name + ".weight"
    state = {"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [320, 192]}
    four.put(P, (codes[0::2] << 4 | codes[1::2]).reshape(-1, 1))
    four.put(P + ".quant_map", LEVELS)
    scale = absmax
    if name == "nested":
        four.put(P + ".absmax", nested)
        four.put(P + ".nested_absmax", outer)
        four.put(P + ".nested_quant_map", MAP)
        state.update(nested_blocksize=256, nested_dtype="float32", nested_offset=float(offset))
        scale = MAP[nested] * np.repeat(outer, 256)[: nested.size] + offset
    else:
        four.put(P + ".absmax", absmax)
    four.put(P + ".quant_state.bitsandbytes__nf4", np.frombuffer(json.dumps(state).encode(), dtype=np.uint8))
    dense = torch.from_numpy((LEVELS[codes].reshape(-1, 64) * scale[:, None]).reshape(320, 192)).double()
    g.tap("linear4.%s.w" % name, dense)
    for M in (1, 3, 16, 65):
        x = tensor("linear4.x%d" % M, (M, 192))
        backward("linear4.%s.%d" % (name, M), x @ dense.T, x=x)
g.save("ops.safetensors", limit=400 * 1024)
four.save("linear4.safetensors")
