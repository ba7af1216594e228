"""release.pth: a small checkpoint in the form that the authors' released code saves: a flat dict of those named_parameters
whose names contain "local", "global" or "lora". BatchNorm's running statistics are buffers, so they are not in it. Values of
philox.weight; sizes 16 channels, width 24, alignment 10, 2 layers of 24 with 12 rows of v, rank 4."""
import torch
from philox import WEIGHTS, fill, weight
from torch import nn

C, D, E, L, G, R = 16, 24, 10, 2, 12, 4


class Block(nn.Module):
    def __init__(self, first):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(C, C, 3, 2 if first else 1, 1, bias=False), nn.BatchNorm2d(C)
        self.conv2, self.bn2 = nn.Conv2d(C, C, 3, 1, 1, bias=False), nn.BatchNorm2d(C)
        if first:
            self.downsample = nn.Sequential(nn.Conv2d(C, C, 2, 2, bias=False), nn.BatchNorm2d(C))


class Scale(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.register_parameter(name, nn.Parameter(torch.zeros(())))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.local_res = nn.Sequential(Block(True), Block(False))
        self.local_seg = nn.Sequential(nn.ConvTranspose2d(C, C, 2, 2), nn.ReLU(), nn.Conv2d(C, 1, 1))
        self.local_visual_projector = nn.Linear(C, D)
        self.local_visual_embed, self.local_text_embed = nn.Linear(D, E), nn.Linear(D, E)
        self.global_visual_projector = nn.Sequential(nn.Linear(C, D), nn.Linear(D, D))
        self.global_visual_embed, self.global_text_embed = nn.Linear(D, E), nn.Linear(D, E)
        self.local_alignment, self.global_alignment = Scale("logit_scale_local"), Scale("logit_scale_global")
        self.local_text_embed_bert = nn.Linear(5, E)  # of an ablation: no part of the model
        self.head = nn.Linear(D, D)  # has none of the words


def main():
    state = {}
    for k, p in Net().named_parameters():
        if any(w in k for w in ("local", "global", "lora")):
            state[k] = nn.Parameter(torch.from_numpy(weight(k, p.shape)).reshape(p.shape))
    for i in range(L):
        for which, out in (("q", D), ("v", G)):
            for part, shape in (("A", (R, D)), ("B", (out, R))):
                k = "language_model.model.layers.%d.self_attn.%s_proj.lora_%s.default.weight" % (i, which, part)
                state[k] = nn.Parameter(torch.from_numpy(fill(shape, WEIGHTS, k, 0.1)))
    assert not any("running" in k for k in state)
    torch.save(state, "release.pth")


if __name__ == "__main__":
    main()
