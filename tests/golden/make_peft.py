"""peft.safetensors: peft's LoRA layer with and without dropout, with gradients in double; peft/: an adapter of 32 layers
as peft saves it, and the logits that transformers gets with it; peft/bin/: one of 2 layers as older versions saved it (parity
row 14).

Needs peft and transformers; run in this folder."""
import os
import shutil

import numpy as np
import torch
from peft import LoraConfig, get_peft_model, inject_adapter_in_model
from philox import INPUTS, WEIGHTS, Golden, dropout_scale, fill, versions, weight
from transformers import LlamaConfig, LlamaForCausalLM

meta = versions("peft", "transformers", "safetensors")


class Mask(torch.nn.Module):
    """In the place of a dropout layer: the mask that tensor/rng.h draws for it."""

    def __init__(self, p):
        super().__init__()
        self.mask = torch.from_numpy(dropout_scale(37 * 64, 8244, 0, p).astype(np.float64)).reshape(37, 64)

    def forward(self, x):
        return x * self.mask


def given(name, shape, a=1.0, seed=INPUTS):
    return torch.from_numpy(fill(shape, seed, name, a)).double()


def make_layer(g):
    """The layer of make_ops.py."""
    for name, p in (("lora", 0.0), ("lora.dropout", 0.05)):
        base = torch.nn.Linear(64, 48, bias=False).double()
        base.weight.data = given("lora.w", (48, 64), 0.2, WEIGHTS)
        config = LoraConfig(r=8, lora_alpha=32, lora_dropout=p, target_modules=["0"])
        layer = inject_adapter_in_model(config, torch.nn.Sequential(base))[0].double()
        layer.lora_A["default"].weight.data = given("lora.A", (8, 64), 0.2, WEIGHTS)
        layer.lora_B["default"].weight.data = given("lora.B", (48, 8), 0.2, WEIGHTS)
        if p:
            assert isinstance(layer.lora_dropout["default"], torch.nn.Dropout)
            layer.lora_dropout["default"] = Mask(p)
        x = given("lora.x", (37, 64)).requires_grad_()
        y = layer.train()(x)
        (y * given(name + ".dy", y.shape)).sum().backward()
        g.tap(name + ".y", y)
        g.tap(name + ".dx", x.grad)
        g.tap(name + ".dA", layer.lora_A["default"].weight.grad)
        g.tap(name + ".dB", layer.lora_B["default"].weight.grad)


def adapter(layers):
    config = LlamaConfig(vocab_size=64, hidden_size=16, num_hidden_layers=layers, num_attention_heads=2, num_key_value_heads=1,
                         intermediate_size=24, rms_norm_eps=1e-5, rope_theta=500000.0, max_position_embeddings=64,
                         tie_word_embeddings=False, attn_implementation="eager")
    net = LlamaForCausalLM(config)
    net.load_state_dict({k: torch.from_numpy(weight(k, v.shape)) for k, v in net.state_dict().items()})
    net = get_peft_model(net, LoraConfig(r=8, lora_alpha=32, lora_dropout=0.05, target_modules=["q_proj", "v_proj"], bias="none",
                                         task_type="CAUSAL_LM"))
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == layers * 8 * (16 + 16 + 16 + 8)
    for name, p in net.named_parameters():
        if "lora_" in name:
            name = name.replace(".default", "")
            p.data = torch.from_numpy(fill(tuple(p.shape), WEIGHTS, name, 0.1))
    net.peft_config["default"].base_model_name_or_path = "llama"
    return net


def make_adapter(g):
    shutil.rmtree("peft", ignore_errors=True)
    adapter(2).save_pretrained("peft/bin", safe_serialization=False)
    net = adapter(32)
    net.save_pretrained("peft")
    for folder in ("peft", "peft/bin"):
        os.remove(folder + "/README.md")
    id = torch.arange(24).reshape(2, 12) * 37 % 64
    g.put("ids", id.numpy().astype(np.int32))
    with torch.no_grad():
        g.tap("logits", net.double().eval()(id).logits)
        with net.disable_adapter():
            g.tap("plain.logits", net(id).logits)


if __name__ == "__main__":
    g = Golden(what="peft's LoRA", **meta)
    make_layer(g)
    make_adapter(g)
    g.save("peft.safetensors")
