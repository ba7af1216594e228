"""swin.safetensors, bert.safetensors, medclip.safetensors: transformers' SwinModel and BertForMaskedLM, torchvision's
ResNet-50 and Pillow, put together as MedCLIP does (parity rows 18, 19, 21). All in double but for the pixels."""
import os
import tempfile
import warnings

import numpy as np
import torch
import torchvision
import transformers
from make_wordpiece import VOCAB
from philox import INPUTS, Golden, fill, versions, weight
from PIL import Image
from transformers import BertConfig, BertForMaskedLM, BertModel, BertTokenizerFast, SwinConfig, SwinModel

warnings.filterwarnings("ignore")
VISION, TEXT = "vision_model.model.", "text_model.model."
MEAN, SD = 0.5862785803043838, 0.27950088968644304
meta = dict(versions(), transformers=transformers.__version__)
torch.set_default_dtype(torch.float64)


def given(name, shape, a):
    return torch.from_numpy(fill(shape, INPUTS, name, a)).double()


def ids(name, shape, vocab):
    u = fill(shape, INPUTS, name, 1.0)
    return torch.from_numpy(((u + np.float32(1)) * np.float32(vocab / 2)).astype(np.int64))


def load(net, prefix):
    """Weights by name; the state's integers, which follow from the configuration, stay."""
    state = {k: torch.from_numpy(weight(prefix + k, v.shape)).double() for k, v in net.state_dict().items()
             if v.is_floating_point() and not k.startswith("cls.predictions.decoder")}
    net.load_state_dict(state, strict=False)
    return net.double().eval()


def grads(g, key, net):
    """But of the keys' biases, which move all scores of a query alike: 0 but for rounding."""
    for name, p in net.named_parameters():
        if p.grad is not None and not name.endswith("key.bias"):
            g.tap(key + name, p.grad)


def swin(side, patch, width, depths, heads, window):
    return load(SwinModel(SwinConfig(image_size=side, patch_size=patch, embed_dim=width, depths=depths, num_heads=heads,
                                     window_size=window)), VISION)


def swin_taps(net, tap):
    """Names of ours at the modules whose outputs they are."""
    def hook(name, module):
        module.register_forward_hook(lambda m, i, o: tap(name, o[0] if isinstance(o, tuple) else o))

    hook("embeddings", net.embeddings)
    for s, stage in enumerate(net.encoder.layers):
        for b, block in enumerate(stage.blocks):
            hook("stage.%d.block.%d" % (s, b), block)
        if stage.downsample is not None:
            hook("stage.%d.merge" % s, stage.downsample)
    hook("norm", net.layernorm)


def make_swin():
    g = Golden(what="transformers SwinModel", **meta)
    net = swin(224, 4, 96, [2, 2, 6, 2], [3, 6, 12, 24], 7)
    count = sum(p.numel() for p in net.parameters())
    assert count == 27519354, count
    swin_taps(net, lambda n, x: g.tap("full." + n, x))
    with torch.no_grad():
        g.tap("full.pooled", net(given("image224", (1, 3, 224, 224), 2.0)).pooler_output)
    # 18 x 18 and 9 x 9 tokens: both padded, and shifted.
    net = swin(36, 2, 24, [2, 2], [3, 6], 4)
    swin_taps(net, lambda n, x: g.tap("tiny." + n, x))
    x = given("image36", (2, 3, 36, 36), 2.0).requires_grad_()
    y = net(x).pooler_output
    g.tap("tiny.pooled", y)
    (y * given("pooled.dy", y.shape, 1.0)).sum().backward()
    g.tap("tiny.dx", x.grad)
    grads(g, "tiny.d." + VISION, net)
    g.save("swin.safetensors")


def second_opinion(net, id, hidden):
    """torch's own encoder layers, with the weights of net."""
    x = hidden[0]
    for i, layer in enumerate(net.bert.encoder.layer):
        other = torch.nn.TransformerEncoderLayer(64, 4, 128, 0.0, "gelu", layer_norm_eps=1e-12, batch_first=True).eval()
        a, o = layer.attention.self, layer.attention.output
        state = {"self_attn.in_proj_weight": torch.cat((a.query.weight, a.key.weight, a.value.weight)),
                 "self_attn.in_proj_bias": torch.cat((a.query.bias, a.key.bias, a.value.bias))}
        for name, m in (("self_attn.out_proj", o.dense), ("norm1", o.LayerNorm), ("linear1", layer.intermediate.dense),
                        ("linear2", layer.output.dense), ("norm2", layer.output.LayerNorm)):
            state.update({name + ".weight": m.weight, name + ".bias": m.bias})
        other.load_state_dict(state)
        with torch.no_grad():
            x = other(x)
        off = (x - hidden[i + 1]).abs().max().item()
        assert off < 1e-12, off
    print("torch's layers are %.2g away" % off)


def make_bert():
    V, D, T, R = 100, 64, 17, 5
    g = Golden(what="transformers BertForMaskedLM", **meta)
    net = load(BertForMaskedLM(BertConfig(vocab_size=V, hidden_size=D, num_hidden_layers=2, num_attention_heads=4,
                                          intermediate_size=128, max_position_embeddings=20)), "")
    id, label = ids("ids", (2, T), V), torch.full((2, T), -100)
    for k, at in enumerate(ids("places", (R,), 2 * T)):
        label[at // T, at % T] = ids("labels", (R,), V)[k]
    y = net(id, labels=label, output_hidden_states=True)
    second_opinion(net, id, y.hidden_states)
    for i, h in enumerate(y.hidden_states):
        g.tap("layer.%d" % (i - 1) if i else "embeddings", h)
    h = y.hidden_states
    g.tap("pooled", (h[1].mean(1) + h[2].mean(1) + h[-1].mean(1)) / 3)
    g.tap("logits", y.logits[1])
    g.tap("loss", y.loss)
    y.loss.backward()
    grads(g, "d.", net)
    with torch.no_grad():
        h = net.bert(id, attention_mask=(torch.arange(T)[None] < torch.tensor([[T], [11]])).long()).last_hidden_state
        g.tap("masked", h[1, :11])
    g.save("bert.safetensors")


def pixels(name, height, width, channels):
    u = fill((height, width, channels), INPUTS, name, 1.0)
    return ((u + np.float32(1)) * np.float32(127.5)).astype(np.uint8)


def preprocess(x, side):
    """MedCLIP's: into the middle of a black grey square, bicubic, normalised; (side,side)."""
    image = Image.fromarray(x if x.shape[2] == 3 else x[:, :, 0])
    w, h = image.size
    size = max(side, w, h)
    square = Image.new("L", (size, size), 0)
    square.paste(image, (int((size - w) / 2), int((size - h) / 2)))
    grey = np.asarray(square.resize((side, side), Image.BICUBIC)).astype(np.float32)
    return (grey / np.float32(255) - np.float32(MEAN)) / np.float32(SD)


def tower_resnet(g):
    net = torchvision.models.resnet50(weights=None)
    net.fc = torch.nn.Linear(2048, 512, bias=False)
    count = sum(p.numel() for p in net.parameters())
    assert count == 24556608, count
    load(net, VISION)
    with torch.no_grad():
        y = net(given("image64", (2, 3, 64, 64), 2.0))
        g.tap("resnet.image", torch.nn.functional.normalize(y, dim=1))


SHAPES = [("wide", 41, 50, 3), ("tall", 64, 21, 1), ("small", 9, 20, 3), ("exact", 32, 32, 1), ("odd", 33, 40, 1)]
TEXTS = ["Low density lesion in the left basal ganglia.", "Hemorrhage", "左侧基底节区见低密度影。", "no midline able-bodied infarction",
         "café x"]


def make_medclip():
    side, E = 32, 40
    g = Golden(what="MedCLIP of SwinModel and BertModel; torchvision resnet50; Pillow", pillow=Image.__version__, **meta)
    vision = swin(side, 4, 24, [2, 2], [3, 6], 4)
    text = load(BertModel(BertConfig(vocab_size=len(VOCAB), hidden_size=64, num_hidden_layers=3, num_attention_heads=4,
                                     intermediate_size=128, max_position_embeddings=80), add_pooling_layer=False), TEXT)
    heads = {n: torch.from_numpy(weight(n, s)).double().requires_grad_() for n, s in
             (("vision_model.projection_head.weight", (E, 48)), ("text_model.projection_head.weight", (E, 64)),
              ("logit_scale", (1,)))}
    x = [preprocess(pixels(*shape), side) for shape in SHAPES]
    for shape, p in zip(SHAPES, x):
        g.tap("pixels." + shape[0], p)
    for name, h, w, c in (("large", 300, 411, 3), ("narrow", 100, 230, 1)):
        g.tap("pixels." + name, preprocess(pixels(name, h, w, c), 224))
    x = torch.from_numpy(np.stack(x)).double()[:, None].expand(-1, 3, -1, -1)
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "vocab.txt"), "w", encoding="utf-8", newline="\n") as f:
            f.write("".join(t + "\n" for t in VOCAB))
        tokens = BertTokenizerFast(f.name, do_lower_case=True)
        encoded = [tokens(s, truncation=True, max_length=77, return_tensors="pt")["input_ids"] for s in TEXTS]
    rows = []
    for e in encoded:
        h = text(e, output_hidden_states=True).hidden_states
        rows.append(torch.stack((h[1], h[2], h[-1])).mean(2).mean(0))
    image = torch.nn.functional.normalize(vision(x).pooler_output @ heads["vision_model.projection_head.weight"].T)
    words = torch.nn.functional.normalize(torch.cat(rows) @ heads["text_model.projection_head.weight"].T)
    g.tap("image", image)
    g.tap("text", words)
    s = heads["logit_scale"].exp() * image @ words.T
    g.tap("logits", s)
    g.put("best", s.argmax(0).numpy().astype(np.int64))
    loss = sum(torch.nn.functional.cross_entropy(m, torch.arange(len(TEXTS))) for m in (s, s.T)) / 2
    g.tap("loss", loss)
    loss.backward()
    for name, p in heads.items():
        g.tap("d." + name, p.grad)
    grads(g, "d." + VISION, vision)
    grads(g, "d." + TEXT, text)
    tower_resnet(g)
    g.save("medclip.safetensors")


if __name__ == "__main__":
    make_swin()
    make_bert()
    make_medclip()
