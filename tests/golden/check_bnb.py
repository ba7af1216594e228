"""By hand: check_bnb.py BIN, the folder of the programs. Both directions of 4-bit files and adapters, through real files:
what pcrl-convert writes is opened by bitsandbytes (Linear4bit) and by transformers' AutoModelForCausalLM, with the same scales,
values and logits; what transformers and peft write goes through pcrl-forward with the same logits. PASS or FAIL a line; fails as
a whole if any does.

Needs bitsandbytes, transformers, accelerate, peft and safetensors."""
import os
import subprocess
import sys
import tempfile

import bitsandbytes
import bitsandbytes.functional as B
import numpy as np
import peft
import torch
import transformers
from philox import WEIGHTS, fill, weight
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

torch.set_num_threads(1)
BIN = os.path.abspath(sys.argv[1])
failed = 0


def check(name, ok, more=""):
    global failed
    failed += not ok
    print("%s  %s%s" % ("PASS" if ok else "FAIL", name, more and ": " + more))


def near(name, a, b, limit):
    """By the largest difference, against the root mean square of b."""
    off = ((a.double() - b.double()).abs().max() / b.double().square().mean().sqrt()).item()
    check(name, off <= limit, "%.2g (allowed %.2g)" % (off, limit))


def run(*args):
    done = subprocess.run([os.path.join(BIN, args[0]), *args[1:]], capture_output=True, text=True)
    if done.returncode:
        check(" ".join(args), False, done.stderr.strip())
        sys.exit(1)


def forward(weights, ids, *more):
    save_file({"ids": ids.int()}, "in.safetensors")
    run("pcrl-forward", "llama", "--weights", weights, "--input", "in.safetensors", "--output", "out.safetensors", *more)
    return load_file("out.safetensors")["logits"]


def dequantise(layer):
    """In f32, as one row: of rows that are not whole blocks, bitsandbytes on the CPU takes wrong scales."""
    s = layer.weight.quant_state
    shape, s.shape, s.dtype = s.shape, torch.Size((s.shape.numel(),)), torch.float32
    w, s.shape = B.dequantize_4bit(layer.weight.data, s).reshape(shape), shape
    return w


def linears(net):
    return {path: m for path, m in net.named_modules() if isinstance(m, bitsandbytes.nn.Linear4bit)}


def dense(net, config):
    """net with its 4-bit weights dequantised, in f32."""
    out = LlamaForCausalLM(config)
    state = {k: v.float() for k, v in net.state_dict().items() if ".weight." not in k and v.is_floating_point()}
    out.load_state_dict({**state, **{path + ".weight": dequantise(m) for path, m in linears(net).items()}})
    return out.eval()


def restored(planes, name):
    """absmax as the file's own planes say it."""
    absmax = planes[name + ".absmax"]
    if absmax.dtype == torch.float32:
        return absmax
    text = next(bytes(v.numpy()).decode() for k, v in planes.items() if k.startswith(name + ".quant_state."))
    offset = torch.tensor(float(text.split('"nested_offset":')[1].split(",")[0].rstrip("}")))
    outer = planes[name + ".nested_absmax"].repeat_interleave(256)[: absmax.numel()]
    return planes[name + ".nested_quant_map"][absmax.long()] * outer + offset


def absmax_of(layer):
    s = layer.weight.quant_state
    return B.dequantize_blockwise(s.absmax, s.state2) + s.offset if s.nested else s.absmax


def ours_there(name, flags, plain, config, ids):
    """pcrl-convert, then transformers and Linear4bit."""
    run("pcrl-convert", *flags, "--shard-size", "100K", plain, name)
    planes = {}
    for shard in sorted(f for f in os.listdir(name) if f.endswith(".safetensors")):
        planes.update(load_file(os.path.join(name, shard)))
    net = AutoModelForCausalLM.from_pretrained(name, device_map="cpu").eval()
    layers = linears(net)
    check(name + ": every Linear in 4 bits", len(layers) == 7 * config.num_hidden_layers, str(len(layers)))
    check(name + ": scales in transformers are the file's",
          all(torch.equal(absmax_of(m), restored(planes, p + ".weight")) for p, m in layers.items()))
    check(name + ": codes too", all(torch.equal(m.weight.data, planes[p + ".weight"]) for p, m in layers.items()))
    for path, m in layers.items():
        alone = bitsandbytes.nn.Linear4bit(m.in_features, m.out_features, bias=False, quant_type=m.weight.quant_type)
        alone.weight = bitsandbytes.nn.Params4bit.from_prequantized(
            planes[path + ".weight"], {k[len(path) + 8 :]: v for k, v in planes.items() if k.startswith(path + ".weight.")},
            device="cpu")
        if not torch.equal(dequantise(alone), dequantise(m)):
            check(name + ": Params4bit.from_prequantized of " + path, False)
            break
    else:
        check(name + ": Params4bit.from_prequantized", True)
    for m in layers.values():
        m.support_avx512bf16_for_cpu = False  # else products are taken in bf16, whatever the compute type
    with torch.no_grad():
        near(name + ": logits of AutoModelForCausalLM against pcrl-forward's", net(ids).logits, forward(name, ids), 1e-5)


def theirs_here(name, options, plain, config, ids):
    """save_pretrained, then pcrl-forward."""
    net = AutoModelForCausalLM.from_pretrained(plain, quantization_config=options, dtype=torch.float32, device_map="cpu").eval()
    net.save_pretrained(name)
    with torch.no_grad():
        near(name + ": logits", forward(name, ids), dense(net, config)(ids).logits, 1e-5)


def adapters(plain, config, ids):
    options = peft.LoraConfig(r=4, lora_alpha=8, lora_dropout=0.1, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    net = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(plain), options)
    for name, p in net.named_parameters():
        if "lora_" in name:
            p.data = torch.from_numpy(fill(tuple(p.shape), WEIGHTS, name, 0.1))
    net.save_pretrained("adapter")
    with torch.no_grad():
        want = net.eval()(ids).logits
    near("adapter of peft: logits", forward(plain, ids, "--adapter", "adapter"), want, 1e-5)
    model = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../data/mini")
    mine = load_file(model + "/adapter_model.safetensors")
    base = json_sizes(model)
    net = peft.PeftModel.from_pretrained(LlamaForCausalLM(base), model)
    there = peft.get_peft_model_state_dict(net)
    check("adapter of ours in peft: %d keys" % len(mine), set(there) == set(mine))
    check("adapter of ours in peft: values", all(torch.equal(there[k].float(), v.float()) for k, v in mine.items()))
    net.save_pretrained("again")
    check("adapter of ours, written by peft: the same tensors",
          all(torch.equal(v, mine[k]) for k, v in load_file("again/adapter_model.safetensors").items()))


def json_sizes(model):
    """The configuration of the mini model, by pcrl-convert's own config.json."""
    run("pcrl-convert", "--nf4", "--shard-size", "1G", model + "/llama.safetensors", "mini")
    return LlamaConfig.from_pretrained("mini")


def main():
    print("torch %s, transformers %s, bitsandbytes %s, peft %s" % (torch.__version__, transformers.__version__,
                                                                 bitsandbytes.__version__, peft.__version__))
    config = LlamaConfig(vocab_size=96, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                         intermediate_size=192, rms_norm_eps=1e-5, rope_theta=500000.0, max_position_embeddings=128,
                         tie_word_embeddings=False, attn_implementation="eager")
    net = LlamaForCausalLM(config)
    net.load_state_dict({k: torch.from_numpy(weight(k, v.shape)) for k, v in net.state_dict().items()})
    ids = torch.arange(40).reshape(2, 20) * 37 % 96
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        net.save_pretrained("plain")
        with torch.no_grad():
            near("plain: logits", forward("plain", ids), net.eval()(ids).logits, 1e-5)
        for kind in ("nf4", "fp4"):
            for nested in (True, False):
                name = kind + ("_nested" if nested else "")
                ours_there("ours_" + name, ["--" + kind] + ([] if nested else ["--plain-absmax"]), "plain", config, ids)
                options = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_use_double_quant=nested,
                                             bnb_4bit_compute_dtype=torch.float32)
                theirs_here("theirs_" + name, options, "plain", config, ids)
        adapters("plain", config, ids)
        os.chdir("/")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
