"""pcrl-forward beside the reference implementations at their public sizes: random weights in the references' own
files and names, one input each, every activation that has a name. By hand, not in CI:

    python3 tests/golden/check_forward.py [--tool build/release/bin/pcrl-forward] [--folder /tmp/x] [MODEL...]

Models: resnet, caffe (torchvision), sam, sam-l, sam-h (segment-anything), swin, bert, medclip, llama, llama-meta,
llama-other (transformers); without one all but sam-l and sam-h, which want some 5 GB. What is not installed is
skipped, and says so. Printed is the largest difference in units of the reference's root mean square; what else comes
out is listed. Ends with 1 if anything is over its tolerance."""
import argparse
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch

DTYPES = {"F32": np.float32, "F64": np.float64, "I32": np.int32, "I64": np.int64}
DEEP = 1e-4


def write(path, tensors):
    names = {np.dtype(v): k for k, v in DTYPES.items()}
    header, at = {}, 0
    arrays = {k: np.ascontiguousarray(x.numpy() if hasattr(x, "numpy") else x) for k, x in tensors.items()}
    for k, x in arrays.items():
        header[k] = {"dtype": names[x.dtype], "shape": x.shape, "data_offsets": [at, at + x.nbytes]}
        at += x.nbytes
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for x in arrays.values():
            f.write(x.tobytes())


def read(path):
    with open(path, "rb") as f:
        n = struct.unpack("<Q", f.read(8))[0]
        header, data = json.loads(f.read(n)), f.read()
    header.pop("__metadata__", None)
    return {k: np.frombuffer(data[slice(*h["data_offsets"])], DTYPES[h["dtype"]]).reshape(h["shape"])
            for k, h in header.items()}


def randomise(net, seed=1234):
    """Norms near 1, variances in [0.5, 1.5), last norms of residual branches near 0.3, other vectors within 0.1, the
    rest with the variance of He et al."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, x in net.state_dict().items():
            if not x.is_floating_point():
                continue
            a, add = 0.1, 0.0
            if name.endswith("running_var"):
                a, add = 0.5, 1.0
            elif name.endswith("bn3.weight"):
                add = 0.3
            elif x.ndim == 1 and name.endswith(".weight"):
                a, add = 0.2, 1.0
            elif x.ndim > 1:
                a = (6.0 / np.prod(x.shape[1:])) ** 0.5
            x.copy_((torch.rand(x.shape, generator=g) * 2 - 1) * a + add)
    return net.eval()


def given(shape, a=1.0, seed=5678):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1) * a


class Check:
    """One run of the tool against the reference's tensors `want`."""
    failed = 0

    def __init__(self, tool, folder):
        self.tool, self.folder = tool, folder

    def path(self, name):
        return os.path.join(self.folder, name)

    def __call__(self, model, weights, inputs, want, *args, tol=DEEP):
        source, to = self.path("input.safetensors"), self.path("output.safetensors")
        write(source, inputs)
        command = [*self.tool, model, "--weights", weights, "--input", source, "--output", to, "--taps", *args]
        start = time.time()
        run = subprocess.run(command, capture_output=True, text=True)
        print("%s %s, %.1f s\n  %s" % (model, " ".join(args), time.time() - start, run.stderr.strip()))
        if run.returncode:
            Check.failed += 1
            return
        got = read(to)
        for name, x in want.items():
            x = x.detach().double().numpy()
            if name not in got or got[name].shape != x.shape:
                print("  %-24s %s, wanted %s  OVER" % (name, got[name].shape if name in got else None, x.shape))
                Check.failed += 1
                continue
            error = np.abs(got[name] - x).max() / np.sqrt((x * x).mean())
            over = not error <= tol
            Check.failed += over
            print("  %-24s %-22s %.2e of %.0e%s" % (name, x.shape, error, tol, "  OVER" if over else ""))
        print("  not compared: %s" % (", ".join(sorted(set(got) - set(want))) or "none"))


def resnet(check, caffe=False):
    import torchvision
    net = torchvision.models.resnet101(weights=None)
    if caffe:
        net.maxpool = torch.nn.MaxPool2d(3, 2, 0, ceil_mode=True)
        for layer in (net.layer2, net.layer3, net.layer4):
            layer[0].conv1.stride, layer[0].conv2.stride = (2, 2), (1, 1)
    randomise(net)
    path, x, want = check.path("resnet101.pth"), given((1, 3, 512, 512), 2.0), {}
    torch.save(net.state_dict(), path)
    y = want["stem"] = net.maxpool(net.relu(net.bn1(net.conv1(x))))
    for i, layer in enumerate((net.layer1, net.layer2, net.layer3, net.layer4)):
        y = want["layer%d" % (i + 1)] = layer(y)
    want["grid"] = torch.nn.functional.adaptive_avg_pool2d(y, 14).flatten(2).transpose(1, 2)
    want["pooled"] = y.mean((2, 3))
    check("resnet", path, {"image": x}, want, "--resnet-style", "caffe" if caffe else "v1.5")


def sam(check, size="vit_b"):
    from segment_anything import sam_model_registry
    net = randomise(sam_model_registry[size]())
    path, x, want = check.path("sam.pth"), given((1, 3, 1024, 1024), 2.0), {}
    torch.save(net.state_dict(), path)
    encoder, prompt, decoder = net.image_encoder, net.prompt_encoder, net.mask_decoder
    hooks = [encoder.blocks[0].register_forward_pre_hook(lambda m, i: want.update({"patches": i[0]}))]
    for k, block in enumerate(encoder.blocks):
        hooks.append(block.register_forward_hook(lambda m, i, o, k=k: want.update({"blocks.%d" % k: o})))
    embedding = want["embedding"] = encoder(x)
    check("sam-encoder", path, {"image": x}, want)
    points, labels = given((5, 3, 2)) * 512 + 512, torch.tensor([[1, 0, -1]] * 5)
    box = torch.tensor([[100.0, 200, 300, 420]] * 5) + 20 * given((5, 4))
    mask = given((5, 1, 256, 256), 8.0)
    for inputs in ({"points": points, "labels": labels}, {"points": points, "labels": labels, "box": box},
                   {"box": box, "mask_input": mask}):
        sparse, dense = prompt((points, labels) if "points" in inputs else None, inputs.get("box"),
                               inputs.get("mask_input"))
        masks, iou = decoder.predict_masks(embedding, prompt.get_dense_pe(), sparse, dense)
        want = {"sparse": sparse, "masks": masks, "iou": iou}
        if "mask_input" in inputs:
            want["dense"] = dense
        check("sam-decoder", path, {"embedding": embedding.detach(), **inputs}, want)


def public_state(check, net):
    """As a file has it: transformers calls some modules otherwise in memory."""
    folder = check.path("saved")
    net.save_pretrained(folder)
    path = os.path.join(folder, "model.safetensors")
    if not os.path.exists(path):
        return torch.load(os.path.join(folder, "pytorch_model.bin"))
    return {k: torch.from_numpy(x.copy()) for k, x in read(path).items()}


def swin_model():
    from transformers import SwinConfig, SwinModel
    return randomise(SwinModel(SwinConfig()))


def swin_taps(net, want):
    def hook(name, module):
        module.register_forward_hook(
            lambda m, i, o: want.update({name: o[0] if isinstance(o, tuple) else o}))

    hook("embeddings", net.embeddings)
    for s, stage in enumerate(net.encoder.layers):
        for b, block in enumerate(stage.blocks):
            hook("stage.%d.block.%d" % (s, b), block)
        if stage.downsample is not None:
            hook("stage.%d.merge" % s, stage.downsample)
    hook("norm", net.layernorm)


def swin(check):
    net, path, want = swin_model(), check.path("pytorch_model.bin"), {}
    torch.save(public_state(check, net), path, _use_new_zipfile_serialization=False)
    swin_taps(net, want)
    x = given((2, 3, 224, 224), 2.0)
    want["pooled"] = net(x).pooler_output
    check("swin", path, {"image": x}, want)


def bert(check):
    from transformers import BertConfig, BertForMaskedLM
    net = randomise(BertForMaskedLM(BertConfig(vocab_size=28996)))
    path = check.path("bert.bin")
    torch.save(net.state_dict(), path)
    ids, lengths = (given((2, 77)) * 14498 + 14498).long(), torch.tensor([77, 40])
    mask = (torch.arange(77)[None] < lengths[:, None]).long()
    h = net.bert(ids, attention_mask=mask, output_hidden_states=True).hidden_states
    want = {"layer.%d" % (i - 1) if i else "embeddings": x * mask[..., None] for i, x in enumerate(h)}
    want["hidden"] = h[-1] * mask[..., None]
    check("bert", path, {"ids": ids, "lengths": lengths}, want)


def medclip(check):
    from transformers import BertConfig, BertModel
    vision, text = swin_model(), randomise(BertModel(BertConfig(vocab_size=28996)))
    heads = [torch.nn.Linear(768, 512, bias=False) for _ in range(2)]
    state = {"logit_scale": torch.tensor(2.6592)}
    for prefix, part in (("vision_model.model.", public_state(check, vision)),
                         ("text_model.model.", public_state(check, text)),
                         ("vision_model.projection_head.", heads[0].state_dict()),
                         ("text_model.projection_head.", heads[1].state_dict())):
        state.update({prefix + k: x for k, x in part.items()})
    path = check.path("medclip.bin")
    torch.save(state, path)
    x, ids = given((2, 1, 224, 224), 2.0).expand(-1, 3, -1, -1), (given((2, 20)) * 14498 + 14498).long()
    norm = torch.nn.functional.normalize
    pooled = vision(x).pooler_output
    check("medclip-image", path, {"image": x}, {"pooled": pooled, "embedding": norm(heads[0](pooled))})
    h = text(ids, output_hidden_states=True).hidden_states
    pooled = torch.stack((h[1], h[2], h[-1])).mean(2).mean(0)
    check("medclip-text", path, {"ids": ids}, {"pooled": pooled, "embedding": norm(heads[1](pooled))})


def llama(check, folder="llama", meta=False, **other):
    """Of LLaMA-3's kind; `other` is what only config.json says."""
    from transformers import LlamaConfig, LlamaForCausalLM
    config = dict(vocab_size=32000, hidden_size=1024, intermediate_size=2816, num_hidden_layers=8,
                  num_attention_heads=8, num_key_value_heads=2, rms_norm_eps=1e-5, rope_theta=500000.0,
                  max_position_embeddings=8192, tie_word_embeddings=False, attn_implementation="eager")
    net = randomise(LlamaForCausalLM(LlamaConfig(**{**config, **other})))
    path = check.path(folder)
    net.save_pretrained(path)
    ids, lengths = (given((2, 64)) * 16000 + 16000).long(), torch.tensor([64, 41])
    mask = (torch.arange(64)[None] < lengths[:, None]).long()
    y = net(ids, attention_mask=mask, output_hidden_states=True)
    real = mask[..., None]
    want = {"layers.%d" % (i - 1): x * real for i, x in enumerate(y.hidden_states[:-1]) if i}
    want.update({"hidden": y.hidden_states[-1] * real, "logits": y.logits * real})
    if meta:
        shutil.rmtree(path)
        save_as_meta(net, path)
    check("llama", path, {"ids": ids, "lengths": lengths}, want)


def save_as_meta(net, folder):
    """consolidated.00.pth and params.json: other names, and adjacent pairs in the rows of wq and wk."""
    c, state = net.config, {}
    names = {"model.embed_tokens": "tok_embeddings", "model.norm": "norm", "lm_head": "output",
             "self_attn.q_proj": "attention.wq", "self_attn.k_proj": "attention.wk", "self_attn.v_proj": "attention.wv",
             "self_attn.o_proj": "attention.wo", "mlp.gate_proj": "feed_forward.w1", "mlp.down_proj": "feed_forward.w2",
             "mlp.up_proj": "feed_forward.w3", "input_layernorm": "attention_norm",
             "post_attention_layernorm": "ffn_norm", "model.layers": "layers"}
    for name, x in net.state_dict().items():
        if "q_proj" in name or "k_proj" in name:
            heads = c.num_attention_heads if "q_proj" in name else c.num_key_value_heads
            x = x.reshape(heads, 2, -1, x.shape[1]).transpose(1, 2).reshape(x.shape)
        for k, v in names.items():
            name = name.replace(k, v)
        state[name] = x
    os.mkdir(folder)
    torch.save(state, os.path.join(folder, "consolidated.00.pth"))
    params = {"dim": c.hidden_size, "n_layers": c.num_hidden_layers, "n_heads": c.num_attention_heads,
              "n_kv_heads": c.num_key_value_heads, "vocab_size": c.vocab_size, "multiple_of": 256,
              "norm_eps": c.rms_norm_eps, "rope_theta": 500000.0}
    with open(os.path.join(folder, "params.json"), "w", encoding="utf-8") as f:
        json.dump(params, f)


def llama_other(check):
    llama(check, "other", num_attention_heads=16, num_key_value_heads=4, rms_norm_eps=1e-3, rope_theta=10000.0,
          tie_word_embeddings=True)


MODELS = {"resnet": resnet, "caffe": lambda check: resnet(check, True), "sam": sam,
          "sam-l": lambda check: sam(check, "vit_l"), "sam-h": lambda check: sam(check, "vit_h"), "swin": swin,
          "bert": bert, "medclip": medclip, "llama": llama,
          "llama-meta": lambda check: llama(check, meta=True), "llama-other": llama_other}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--tool", default="build/release/bin/pcrl-forward", help="with options, if any")
    p.add_argument("--folder", help="for weights and tensors, some GB; temporary if not given")
    p.add_argument("models", nargs="*", default=[m for m in MODELS if m not in ("sam-l", "sam-h")])
    o = p.parse_args()
    torch.manual_seed(1)
    for name in o.models:
        folder = tempfile.mkdtemp(dir=o.folder)
        try:
            with torch.no_grad():
                MODELS[name](Check(o.tool.split(), folder))
        except ImportError as e:
            print("SKIPPED %s: %s" % (name, e))
        finally:
            shutil.rmtree(folder)
    print("%d over" % Check.failed)
    sys.exit(Check.failed > 0)


if __name__ == "__main__":
    main()
