"""sam_encoder.safetensors and sam_decoder.safetensors: SAM's image encoder, small, in windows larger than what they
leave over; its prompt encoder and mask decoder at real sizes, with gradients (parity rows 15 and 16). transformers' image
encoder must agree. Needs segment-anything 1.0."""
from functools import partial

import numpy as np
import torch
from philox import INPUTS, Golden, fill, versions, weight
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer
from transformers import SamVisionConfig
from transformers.models.sam.modeling_sam import SamVisionEncoder

meta = versions("torchvision", "segment_anything", "transformers")
nn = torch.nn


def given(name, shape, a=1.0):
    return torch.from_numpy(fill(shape, INPUTS, name, a)).double()


def load(net, prefix):
    net.load_state_dict({k: torch.from_numpy(weight(prefix + k, v.shape)) for k, v in net.state_dict().items()})
    return net.double().eval()


def gradients(g, case, prefix, net):
    for name, p in net.named_parameters():
        # A bias of all keys moves no softmax: its gradient is rounding alone.
        if p.grad is not None and not name.endswith("k_proj.bias"):
            g.tap(case + "d." + prefix + name, p.grad)


def second_opinion(net, x, y):
    """The same weights in transformers' encoder."""
    config = SamVisionConfig(image_size=256, hidden_size=64, num_hidden_layers=4, num_attention_heads=4, mlp_dim=256,
                             window_size=14, global_attn_indexes=[1, 3], output_channels=256)
    other, state = SamVisionEncoder(config).double().eval(), {}
    for name, p in net.state_dict().items():
        for ours, theirs in (("patch_embed.proj", "patch_embed.projection"), ("blocks.", "layers."), ("norm1", "layer_norm1"),
                             ("norm2", "layer_norm2"), ("neck.0", "neck.conv1"), ("neck.1", "neck.layer_norm1"),
                             ("neck.2", "neck.conv2"), ("neck.3", "neck.layer_norm2")):
            name = name.replace(ours, theirs)
        state[name] = p
    other.load_state_dict(state)
    with torch.no_grad():
        off = (other(x)[0] - y).abs().max().item()
    print("transformers' encoder is %.2g away" % off)
    assert off < 1e-5  # its layers are in double, its softmax is not


def encoder():
    net = load(ImageEncoderViT(img_size=256, patch_size=16, embed_dim=64, depth=4, num_heads=4, out_chans=256,
                               norm_layer=partial(nn.LayerNorm, eps=1e-6), use_rel_pos=True, window_size=14,
                               global_attn_indexes=(1, 3)), "image_encoder.")
    g = Golden(what="SAM encoder: 64 channels, 4 blocks, 4 heads, windows of 14, global 1 and 3", **meta)
    net.blocks[0].register_forward_pre_hook(lambda m, x: g.tap("patches", x[0]))
    for i, block in enumerate(net.blocks):
        block.register_forward_hook(lambda m, x, y, i=i: g.tap("blocks.%d" % i, y))
    x = given("image", (2, 3, 256, 256), 2.0).requires_grad_()
    y = net(x)
    g.tap("embedding", y)
    second_opinion(net, x, y)
    (y * given("embedding.dy", y.shape)).sum().backward()
    g.tap("dx", x.grad)
    gradients(g, "", "image_encoder.", net)
    g.save("sam_encoder.safetensors")


def build(grid, image):
    prompt = PromptEncoder(256, (grid, grid), (image, image), 16)
    mask = MaskDecoder(transformer_dim=256, transformer=TwoWayTransformer(2, 256, 8, 2048))
    load(prompt, "prompt_encoder.")
    # Its features are those of f32, whatever the rest computes in.
    prompt.pe_layer.float()
    return prompt, load(mask, "mask_decoder.")


# Points, labels, boxes of two prompts; a mask prompt; the image that each asks about.
CASES = {
    "one": ([[[37.3, 101.77]], [[200.0, 13.25]]], [[1], [0]], None, False, [1, 0]),
    "three": ([[[3.1, 4.2], [250.9, 77.0], [128.0, 128.0]], [[17.5, 99.5], [30.25, 200.1], [0.0, 255.0]]],
              [[1, 0, -1], [1, 1, 0]], None, False, [0, 1]),
    "box": ([[[60.0, 70.5]], [[100.2, 90.0]]], [[1], [0]], [[20.5, 30.0, 120.25, 140.0], [0.0, 0.0, 255.0, 255.0]],
            False, [0, 0]),
    "mask": (None, None, [[20.5, 30.0, 120.25, 140.0], [64.0, 32.0, 96.0, 200.0]], True, [1, 0]),
    "bare": (None, None, None, True, [0, 1]),
    "large": ([[[517.3, 1001.77]]], [[1]], None, False, [0]),
}


def forward(g, case, prompt, mask, embedding, dense_input):
    """All four masks and their IoU, prompt by prompt where they ask about different images."""
    points, labels, boxes, _, image = CASES[case]
    parts = {}

    def keep(name, x):
        parts.setdefault(name, []).append(x)

    def keep_layer(i):
        def hook(m, x, y):
            keep("layers.%d.queries" % i, y[0])
            keep("layers.%d.keys" % i, y[1])
        return hook

    hooks = [layer.register_forward_hook(keep_layer(i)) for i, layer in enumerate(mask.transformer.layers)]
    hooks.append(mask.transformer.register_forward_hook(lambda m, x, y: keep("tokens", y[0])))
    hooks.append(mask.output_upscaling.register_forward_hook(
        lambda m, x, y: keep("upscaled", y.permute(0, 2, 3, 1))))
    for i, k in enumerate(image):
        one = slice(i, i + 1)
        sparse, dense = prompt(
            None if points is None else (torch.tensor(points, dtype=torch.float64)[one], torch.tensor(labels)[one]),
            None if boxes is None else torch.tensor(boxes, dtype=torch.float64)[one],
            None if dense_input is None else dense_input[one])
        if sparse.shape[1]:
            keep("sparse", sparse)
        if dense_input is not None:
            keep("dense", dense.permute(0, 2, 3, 1))
        args = (embedding[k:k + 1], prompt.get_dense_pe(), sparse, dense)
        masks, iou = mask.predict_masks(*args)
        seen = {name: len(x) for name, x in parts.items()}
        for several, which in ((True, slice(1, None)), (False, slice(0, 1))):
            m, q = mask(*args, multimask_output=several)
            assert torch.equal(m, masks[:, which]) and torch.equal(q, iou[:, which])
        parts.update({name: x[:seen[name]] for name, x in parts.items()})
        keep("masks", masks)
        keep("iou", iou)
    for h in hooks:
        h.remove()
    parts = {name: torch.cat(x) for name, x in parts.items()}
    for name, x in parts.items():
        g.tap(case + "." + name, x)
    return parts["masks"], parts["iou"]


def decoder():
    g = Golden(what="SAM prompt encoder and mask decoder: 256 channels, 8 heads, grids of 16 and (large) 64", **meta)
    for case, (points, labels, boxes, masked, image) in CASES.items():
        grid, side = (64, 1024) if case == "large" else (16, 256)
        prompt, mask = build(grid, side)
        for name, x, kind in (("point", points, np.float64), ("label", labels, np.int32), ("box", boxes, np.float64)):
            if x is not None:
                g.put(case + "." + name, np.array(x, dtype=kind))
        g.put(case + ".image", np.array(image, dtype=np.int32))
        embedding = given(case + ".embedding", (max(image) + 1, 256, grid, grid)).requires_grad_()
        dense = given(case + ".mask", (len(image), 1, 4 * grid, 4 * grid), 8.0).requires_grad_() if masked else None
        masks, iou = forward(g, case, prompt, mask, embedding, dense)
        if case not in ("three", "mask"):
            continue
        loss = (masks * given(case + ".masks.dy", masks.shape)).sum() + (iou * given(case + ".iou.dy", iou.shape)).sum()
        loss.backward()
        g.tap(case + ".d.embedding", embedding.grad)
        gradients(g, case + ".", "prompt_encoder.", prompt)
        if masked:
            g.tap(case + ".d.mask", dense.grad)
        else:
            gradients(g, case + ".", "mask_decoder.", mask)
    g.save("sam_decoder.safetensors")


if __name__ == "__main__":
    encoder()
    decoder()
