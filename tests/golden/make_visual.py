"""visual.safetensors: the trainable head in train and eval mode, with gradients; in "joint" also its segmentation head
on six of the slices, the embeds of the alignments and a learnable scale (parity row 22)."""
import torch
from philox import INPUTS, Golden, fill, versions, weight

C, D, E, M = 32, 20, 12, 24
meta = versions()
torch.set_default_dtype(torch.float64)
nn = torch.nn


class Basic(nn.Module):
    def __init__(self, C, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(C, C, 3, stride, 1, bias=False), nn.BatchNorm2d(C)
        self.conv2, self.bn2 = nn.Conv2d(C, C, 3, 1, 1, bias=False), nn.BatchNorm2d(C)
        if stride == 2:
            self.downsample = nn.Sequential(nn.Conv2d(C, C, 2, 2, bias=False), nn.BatchNorm2d(C))
        self.stride = stride

    def forward(self, x):
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (y + (self.downsample(x) if self.stride == 2 else x)).relu()


class Scale(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.register_parameter(name, nn.Parameter(torch.empty(())))


class Head(nn.Module):
    """Grids (M,C,h,w) and pooled features (M,C) of M slices; D the language model's width, E of the alignments."""

    def __init__(self, C, D, E):
        super().__init__()
        self.local_res = nn.Sequential(Basic(C, 2), Basic(C, 1))
        self.local_seg = nn.Sequential(nn.ConvTranspose2d(C, C, 2, 2), nn.ReLU(), nn.Conv2d(C, 1, 1))
        self.local_visual_projector = nn.Linear(C, D)
        self.global_visual_projector = nn.Sequential(nn.Linear(C, D), nn.Linear(D, D))
        self.local_visual_embed, self.local_text_embed = nn.Linear(D, E), nn.Linear(D, E)
        self.global_visual_embed, self.global_text_embed = nn.Linear(D, E), nn.Linear(D, E)
        self.local_alignment, self.global_alignment = Scale("logit_scale_local"), Scale("logit_scale_global")
        state = self.state_dict()
        self.load_state_dict({k: torch.from_numpy(weight(k, v.shape)) for k, v in state.items()
                              if v.is_floating_point()}, strict=False)

    def forward(self, grid, pooled, tap):
        """V (M,C,h/2,w/2), local and global tokens (M,D)."""
        for i in range(2):
            grid = self.local_res[i](grid)
            tap("local_res.%d" % i, grid)
        return grid, self.local_visual_projector(grid.mean((2, 3))), self.global_visual_projector(pooled)


def given(name, shape, a):
    return torch.from_numpy(fill(shape, INPUTS, name, a)).double()


def main():
    net = Head(C, D, E)
    # Of a few fills one whose activations keep 1e-5 away from the kinks of ReLU: in float none crosses.
    grid, pooled = given("grid2", (M, C, 14, 14), 2.0).requires_grad_(), given("pooled", (M, C), 2.0)
    g = Golden(what="trainable head, concat48", channels=C, dim=D, embed=E, **meta)

    def weighted(mode, name, x):
        g.tap(mode + "." + name, x)
        return (x * given(name + ".dy", x.shape, 1.0)).sum()

    def run(mode):
        net.zero_grad()
        grid.grad = None
        V, local, glob = net(grid, pooled, lambda n, x: g.tap(mode + "." + n, x))
        loss = weighted(mode, "hv", torch.cat((local, glob))[None])
        if mode == "joint":
            slices, one = [0, 3, 4, 11, 17, 23], glob.max(0, keepdim=True).values
            loss = loss + weighted(mode, "segment", net.local_seg(V[slices]))
            v = net.local_visual_embed(local[slices])
            w = net.local_text_embed(given("local_text", (6, D), 2.0))
            loss = loss + weighted(mode, "local_visual", v) + weighted(mode, "local_text", w)
            loss = loss + weighted(mode, "global_visual", net.global_visual_embed(one))
            loss = loss + weighted(mode, "global_text", net.global_text_embed(given("global_text", (1, D), 2.0)))
            v, w = nn.functional.normalize(v), nn.functional.normalize(w)
            s = net.local_alignment.logit_scale_local.exp() * v @ w.T
            contrast = sum(nn.functional.cross_entropy(x, torch.arange(6)) for x in (s, s.T)) / 2
            g.tap("joint.contrast", contrast)
            loss = loss + contrast
        loss.backward()
        g.tap(mode + ".dgrid", grid.grad)
        for name, p in net.named_parameters():
            if p.grad is not None:
                g.tap(mode + ".d." + name, p.grad)
        for name, b in net.named_buffers():
            if b.is_floating_point() and mode != "eval":
                g.tap(mode + ".after." + name, b)

    run("train")
    net.eval()
    run("eval")
    net = Head(C, D, E)
    run("joint")
    g.save("visual.safetensors")


if __name__ == "__main__":
    main()
