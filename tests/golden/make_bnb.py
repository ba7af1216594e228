"""bnb_nf4.safetensors, bnb_fp4.safetensors: 4-bit codes of bitsandbytes (parity row 10): of a 4096 x 4096 matrix of the
shared generator the first 64 rows and SHA-256 of all, and small cases whole. linear4.safetensors, bnb.safetensors: Linear4bit
layers as bitsandbytes saves them, with products and input gradients in double (rows 11, 13). bnb/*/: a small LLaMA that
transformers quantised and saved, with logits of the dequantised weights in bnb.safetensors.

Needs bitsandbytes, transformers, accelerate and safetensors; run in this folder."""
import ctypes
import hashlib
import json
import os
import shutil

import bitsandbytes
import bitsandbytes.functional as B
import numpy as np
import torch
import transformers
from philox import INPUTS, WEIGHTS, Golden, fill, versions, weight
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

meta = versions("bitsandbytes", "transformers", "accelerate", "safetensors")
SIDE, ROWS = 4096, 64

# The thresholds of bitsandbytes' CUDA kernel, which are ours: as C rounds them, not by way of double, since some lie half way
# between two floats. On the CPU it takes the middles of its table.
strtof = ctypes.CDLL(None).strtof
strtof.restype = ctypes.c_float


def floats(text):
    return np.array([strtof(t.encode(), None) for t in text.split()], dtype=np.float32)


NF4 = floats("-0.8480964004993439 -0.6106329262256622 -0.4599952697753906 -0.33967943489551544 -0.23460740596055984 "
             "-0.13791173323988914 -0.045525018125772476 0.03979014977812767 0.1202552504837513 0.2035212516784668 "
             "0.2920137718319893 0.3893125355243683 0.5016634166240692 0.6427869200706482 0.8614784179118011")
FP4 = floats("0.00260417 0.0859375 0.20833333 0.29166667 0.4166667 0.583333 0.8333333")
RANK = np.array([0, 1, 6, 7, 4, 5, 2, 3], dtype=np.uint8)


def sha(x):
    """As 64 characters."""
    return np.frombuffer(hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest().encode(), dtype=np.uint8)


def dequantise(packed, state):
    """In f32 and as one row: of several rows that are not whole blocks, bitsandbytes 0.50 on the CPU takes wrong scales."""
    shape, dtype, state.shape, state.dtype = state.shape, state.dtype, torch.Size((state.shape.numel(),)), torch.float32
    dense = B.dequantize_4bit(packed, state)
    state.shape, state.dtype = shape, dtype
    return dense.reshape(shape)


def quantise(kind, w):
    """Codes one a byte, padded to an even number, absmax and dequantised values by bitsandbytes."""
    packed, state = B.quantize_4bit(w, blocksize=64, quant_type=kind)
    dense = dequantise(packed, state).numpy().reshape(-1)
    packed = packed.numpy().reshape(-1)
    return np.stack((packed >> 4, packed & 15), 1).reshape(-1), state.absmax.numpy(), dense


def scaled(w):
    """x = w * (1/absmax), in f32."""
    w = w.reshape(-1)
    top = np.array([np.abs(w[i : i + 64]).max() for i in range(0, w.size, 64)], dtype=np.float32)
    inverse = np.divide(np.float32(1), top, out=np.zeros_like(top), where=top > 0)
    return np.clip(w * np.repeat(inverse, 64)[: w.size], -1, 1)


def by_kernel(kind, x):
    """Codes by the CUDA kernel's thresholds."""
    if kind == "nf4":
        return np.searchsorted(NF4, x, side="left").astype(np.uint8)
    return RANK[np.searchsorted(FP4, np.abs(x), side="left")] | np.where(x < 0, 8, 0).astype(np.uint8)


def one_zero(kind, codes):
    """fp4 has two zeros, 0 and 8; on the CPU the one that is taken depends on a sort. Here it is always 0."""
    return np.where(codes == 8, 0, codes) if kind == "fp4" else codes


def pack(codes):
    return codes[0::2] << 4 | codes[1::2]


def store(g, kind, name, w, rows=None):
    """The codes (of the first ROWS rows), hashes, and where codes are not those of the kernel's thresholds ("sliver")."""
    codes, absmax, dense = quantise(kind, torch.from_numpy(w))
    codes = one_zero(kind, codes)
    x = scaled(w)
    mine = one_zero(kind, by_kernel(kind, x))
    at = np.nonzero(codes[: x.size] != mine)[0]
    for i in at:
        middle = np.abs(np.abs(x[i]) - (np.abs(NF4) if kind == "nf4" else FP4)).min()
        assert middle < 5e-7, (kind, name, i, x[i])
    g.put(name + ".sliver", at.astype(np.int64))
    g.put(name + ".sliver.codes", codes[at])
    g.put(name + ".codes", pack(codes if rows is None else codes[: rows * w.shape[1]]))
    if rows is None:
        g.put(name + ".absmax", absmax)
    g.put(name + ".sha256.codes", sha(pack(codes)))
    g.put(name + ".sha256.absmax", sha(absmax))
    g.put(name + ".sha256.dense", sha(dense + np.float32(0)))
    print(kind, name, "slivers:", [(int(i), float(x[i]), int(mine[i]), int(codes[i])) for i in at])


def cases():
    yield "bf16", torch.from_numpy(fill((48, 160), WEIGHTS, "case.bf16", 0.05)).bfloat16().float().numpy()
    w = fill((8, 64), WEIGHTS, "case.zero", 0.05)
    w[3] = 0
    yield "zero", w
    w = fill((8, 64), WEIGHTS, "case.outlier", 0.05)
    w[5, 17] = -1000
    yield "outlier", w
    for n in (1000, 999, 63, 65, 1):
        yield "ragged%d" % n, fill((n,), WEIGHTS, "case.ragged", 0.05)


def make_codes(kind):
    g = Golden(what="bitsandbytes' 4-bit codes, " + kind, **meta)
    store(g, kind, "matrix", fill((SIDE, SIDE), WEIGHTS, "matrix", 0.05), ROWS)
    for name, w in cases():
        store(g, kind, name, w)
    bf16 = torch.from_numpy(dict(cases())["bf16"])  # the same, given as bf16
    assert all(np.array_equal(a, b) for a, b in zip(quantise(kind, bf16.bfloat16())[:2], quantise(kind, bf16)[:2]))
    g.save("bnb_%s.safetensors" % kind)


VARIANTS = [("nf4", False, torch.float32), ("nf4", True, torch.bfloat16), ("fp4", False, torch.float16),
            ("fp4", True, torch.bfloat16)]


def variant(kind, nested):
    return kind + ("_nested" if nested else "")


def restored(state):
    """absmax in f32, un-nested."""
    if not state.nested:
        return state.absmax.numpy()
    return (B.dequantize_blockwise(state.absmax, state.state2) + state.offset).numpy()


def make_linears(g):
    """Row 13."""
    state = {}
    for kind, nested, _ in VARIANTS:
        name = variant(kind, nested)
        layer = bitsandbytes.nn.Linear4bit(192, 320, bias=False, quant_type=kind, compress_statistics=nested)
        w = torch.from_numpy(fill((320, 192), WEIGHTS, "linear4", 0.05))
        layer.weight = bitsandbytes.nn.Params4bit(w, requires_grad=False, quant_type=kind, compress_statistics=nested)
        layer = layer.to("cpu")
        assert layer.weight.bnb_quantized
        state.update({name + "." + k: v for k, v in layer.state_dict().items()})
        dense = dequantise(layer.weight.data, layer.weight.quant_state).double()
        g.put("linear4.%s.absmax" % name, restored(layer.weight.quant_state))
        g.tap("linear4.%s.w" % name, dense)
        for M in (1, 3, 16, 65):
            x = torch.from_numpy(fill((M, 192), INPUTS, "linear4.x%d" % M, 1.0)).double().requires_grad_()
            key = "linear4.%s.%d" % (name, M)
            y = x @ dense.T
            g.tap(key + ".y", y)
            (y * torch.from_numpy(fill((M, 320), INPUTS, key + ".dy", 1.0)).double()).sum().backward()
            g.tap(key + ".dx", x.grad)
    save_file(state, "linear4.safetensors", metadata={"made": json.dumps(meta)})  # of several keys the order would be random
    assert os.path.getsize("linear4.safetensors") < 256 * 1024


def make_llama(g):
    """Row 11: folders as save_pretrained writes them. In blocks of 64 a row of down_proj is two and a half."""
    config = LlamaConfig(vocab_size=96, hidden_size=64, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
                         intermediate_size=160, rms_norm_eps=1e-5, rope_theta=500000.0, max_position_embeddings=128,
                         tie_word_embeddings=False, attn_implementation="eager")
    net = LlamaForCausalLM(config)
    net.load_state_dict({k: torch.from_numpy(weight(k, v.shape)) for k, v in net.state_dict().items()})
    shutil.rmtree("bnb", ignore_errors=True)
    id = torch.arange(40).reshape(2, 20) * 37 % 96
    g.put("llama.ids", id.numpy().astype(np.int32))
    for kind, nested, dtype in VARIANTS:
        name, plain = variant(kind, nested), "bnb/plain"
        net.to(dtype).save_pretrained(plain)
        options = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_use_double_quant=nested,
                                     bnb_4bit_compute_dtype=torch.float32)
        four = AutoModelForCausalLM.from_pretrained(plain, quantization_config=options, dtype=dtype, device_map="cpu")
        four.save_pretrained("bnb/" + name)
        shutil.rmtree(plain)
        os.remove("bnb/%s/generation_config.json" % name)
        dense = load_file("bnb/%s/model.safetensors" % name)
        dense = {k: v.float() for k, v in dense.items() if v.is_floating_point() and ".weight." not in k}
        for path, layer in four.named_modules():
            if isinstance(layer, bitsandbytes.nn.Linear4bit):
                state = layer.weight.quant_state
                w = dense[path + ".weight"] = dequantise(layer.weight.data, state)
                g.put("llama.%s.%s.absmax" % (name, path), restored(state))
                g.put("llama.%s.%s.sha256" % (name, path), sha(w.numpy() + np.float32(0)))
        reference = LlamaForCausalLM(config)
        reference.load_state_dict(dense)
        with torch.no_grad():
            g.tap("llama.%s.logits" % name, reference.double().eval()(id).logits)


if __name__ == "__main__":
    make_codes("nf4")
    make_codes("fp4")
    g = Golden(what="4-bit Linears and a LLaMA of bitsandbytes", **meta)
    make_linears(g)
    make_llama(g)
    g.save("bnb.safetensors")
