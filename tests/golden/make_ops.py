"""ops.safetensors: single ops against torch in double (parity rows 1, 3, 25, 26)."""
import numpy as np
import torch
from philox import INPUTS, WEIGHTS, Golden, fill, versions

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


# row 1: conv, BatchNorm, pools; of convs and BatchNorm every kind at every side, channels in turn
SIDES, CHANNELS = (7, 14, 15, 33), ((8, 16), (64, 64), (16, 8), (64, 16))
for i, (name, k, s, p) in enumerate((("conv7", 7, 2, 3), ("conv3", 3, 1, 1), ("conv3s2", 3, 2, 1), ("conv1s2", 1, 2, 0), ("conv2s2", 2, 2, 0))):
    for j, side in enumerate(SIDES):
        c, o = CHANNELS[(i + j) % 4]
        at = "%s.%d" % (name, side)
        x, w, b = tensor(at + ".x", (2, c, side, side)), tensor(at + ".w", (o, c, k, k), 0.3), tensor(at + ".b", (o,))
        backward(at, F.conv2d(x, w, b, s, p), x=x, w=w, b=b)

for name, c, o, side, k, s, p in (("deconv7", 8, 16, 7, 2, 2, 0), ("deconv14", 64, 8, 14, 2, 2, 0), ("deconv15", 16, 64, 15, 2, 2, 0),
                                  ("deconv33", 32, 16, 33, 2, 2, 0), ("deconv4", 8, 8, 15, 4, 2, 1)):
    x, w, b = tensor(name + ".x", (2, c, side, side)), tensor(name + ".w", (c, o, k, k), 0.3), tensor(name + ".b", (o,))
    backward(name, F.conv_transpose2d(x, w, b, s, p), x=x, w=w, b=b)

for i, side in enumerate(SIDES):
    c, at = CHANNELS[i][0], "bn.%d" % side
    bn = torch.nn.BatchNorm2d(c)
    bn.weight.data, bn.bias.data = tensor(at + ".w", (c,)).data + 1.5, tensor(at + ".b", (c,)).data
    for step in range(3):
        x = tensor("%s.x%d" % (at, step), (2, c, side, side), 2.0)
        bn.zero_grad()
        y = bn(x)
        if step == 2:
            backward(at + ".train", y, x=x, w=bn.weight, b=bn.bias)
    g.tap(at + ".mean", bn.running_mean)
    g.tap(at + ".var", bn.running_var)
    bn.eval()
    bn.zero_grad()
    x = tensor(at + ".x0", (2, c, side, side), 2.0)
    backward(at + ".eval", bn(x), x=x, w=bn.weight, b=bn.bias)

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

g.save("ops.safetensors")
