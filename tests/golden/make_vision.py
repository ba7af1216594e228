"""vision.safetensors: the ops of vision transformers and of mask training against torch and torchvision in double."""
import torch
from philox import INPUTS, Golden, fill, versions
from torchvision.ops import sigmoid_focal_loss

meta = versions()
torch.set_default_dtype(torch.float64)
F = torch.nn.functional
g = Golden(what="ops of vision transformers, double", **meta)


def tensor(name, shape, a=1.0):
    return torch.from_numpy(fill(shape, INPUTS, name, a)).double().requires_grad_()


def backward(name, y, **inputs):
    """Taps y and the gradients of sum(y * dy), dy named after the case."""
    g.tap(name + ".y", y)
    dy = torch.from_numpy(fill(tuple(y.shape), INPUTS, name + ".dy", 1.0)).double()
    (y * dy).sum().backward()
    for key, x in inputs.items():
        g.tap(name + ".d" + key, x.grad)


for name, rows, width, eps in (("layernorm96", 49, 96, 1e-5), ("layernorm768", 70, 768, 1e-12), ("layernorm1280", 9, 1280, 1e-6)):
    x, w, b = tensor(name + ".x", (rows, width), 3.0), tensor(name + ".w", (width,)), tensor(name + ".b", (width,))
    backward(name, F.layer_norm(x + 1.5, (width,), w, b, eps), x=x, w=w, b=b)

x = tensor("gelu.x", (37, 641), 8.0)
backward("gelu", F.gelu(x), x=x)


def windows(x, size, shift):
    """As Swin's layers do it: pad, roll, cut."""
    H, W = x.shape[1:3]
    x = F.pad(x, (0, 0, 0, -W % size, 0, -H % size)).roll((-shift, -shift), (1, 2))
    n, h, w, c = x.shape
    return x.view(n, h // size, size, w // size, size, c).transpose(2, 3).reshape(-1, size, size, c)


for name, H, W, size, shift in (("window14", 16, 16, 14, 0), ("window7", 17, 12, 7, 3), ("window4", 8, 8, 4, 2), ("window8", 5, 6, 8, 4)):
    x = tensor(name + ".x", (2, H, W, 12))
    backward(name, windows(x, size, shift), x=x)

for name, alpha, gamma in (("focal", 0.25, 2.0), ("focal.steep", 0.75, 3.5)):
    x = tensor(name + ".x", (6, 37, 37), 8.0)
    y = (tensor(name + ".target", (6, 37, 37)) > 0.5).double()
    loss = sigmoid_focal_loss(x, y, alpha, gamma, "sum") / 37**2
    loss.backward()
    g.tap(name + ".loss", loss)
    g.tap(name + ".dx", x.grad)

g.save("vision.safetensors")
