"""visual.safetensors: local_res and projectors in train and eval mode, with gradients (parity row 22 without the
segmentation part)."""
import torch
from philox import INPUTS, Golden, fill, versions, weight

C, D, M = 16, 20, 24
meta = versions()
torch.set_default_dtype(torch.float64)
nn = torch.nn


class Basic(nn.Module):
    def __init__(self, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(C, C, 3, stride, 1, bias=False), nn.BatchNorm2d(C)
        self.conv2, self.bn2 = nn.Conv2d(C, C, 3, 1, 1, bias=False), nn.BatchNorm2d(C)
        if stride == 2:
            self.downsample = nn.Sequential(nn.Conv2d(C, C, 2, 2, bias=False), nn.BatchNorm2d(C))
        self.stride = stride

    def forward(self, x):
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (y + (self.downsample(x) if self.stride == 2 else x)).relu()


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.local_res = nn.Sequential(Basic(2), Basic(1))
        self.local_visual_projector = nn.Linear(C, D)
        self.global_visual_projector = nn.Sequential(nn.Linear(C, D), nn.Linear(D, D))

    def forward(self, grid, pooled, tap):
        for i in range(2):
            grid = self.local_res[i](grid)
            tap("local_res.%d" % i, grid)
        local = self.local_visual_projector(grid.mean((2, 3)))
        return torch.cat((local[None], self.global_visual_projector(pooled)[None]), 1)


net = Head()
state = {k: torch.from_numpy(weight(k, v.shape)) for k, v in net.state_dict().items() if v.dtype == torch.float64}
net.load_state_dict(state, strict=False)
grid = torch.from_numpy(fill((M, C, 14, 14), INPUTS, "grid", 2.0)).double().requires_grad_()
pooled = torch.from_numpy(fill((M, C), INPUTS, "pooled", 2.0)).double()
weights = torch.from_numpy(fill((1, 48, D), INPUTS, "dy", 1.0)).double()
g = Golden(what="trainable head, concat48", channels=C, dim=D, **meta)
for mode in ("train", "eval"):
    net.train(mode == "train")
    net.zero_grad()
    grid.grad = None
    hv = net(grid, pooled, lambda n, x: g.tap(mode + "." + n, x))
    g.tap(mode + ".hv", hv)
    (hv * weights).sum().backward()
    g.tap(mode + ".dgrid", grid.grad)
    for name, p in net.named_parameters():
        g.tap(mode + ".d." + name, p.grad)
    for name, b in net.named_buffers():
        if b.dtype == torch.float64 and mode == "train":
            g.tap("train.after." + name, b)
g.save("visual.safetensors")
