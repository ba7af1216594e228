"""llama_gguf.gguf: a small LLaMA as a GGUF file of the gguf package's writer, its weights in seven types, q and k in
Meta's order of rows. llama_gguf.json: logits of transformers on the dequantised weights (float32, eager attention), and
the config.json that transformers writes of it, now and before version 5."""
import json
import tempfile

import gguf
import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as Q
from philox import INPUTS, fill, weight

V, D, L, H, G, E, F, EPS, THETA = 96, 64, 2, 4, 2, 16, 96, 1e-6, 20000.0
LAYER = {"attn_norm": ("input_layernorm", Q.F32, (D,)), "attn_q": ("self_attn.q_proj", Q.Q4_0, (H * E, D)),
         "attn_k": ("self_attn.k_proj", Q.Q4_0, (G * E, D)), "attn_v": ("self_attn.v_proj", Q.Q8_0, (G * E, D)),
         "attn_output": ("self_attn.o_proj", Q.Q4_1, (D, H * E)),
         "ffn_norm": ("post_attention_layernorm", Q.F32, (D,)), "ffn_gate": ("mlp.gate_proj", Q.F16, (F, D)),
         "ffn_up": ("mlp.up_proj", Q.BF16, (F, D)), "ffn_down": ("mlp.down_proj", Q.Q4_0, (D, F))}


def tensors():
    yield "token_embd.weight", "model.embed_tokens.weight", Q.F32, (V, D)
    yield "output_norm.weight", "model.norm.weight", Q.F32, (D,)
    yield "output.weight", "lm_head.weight", Q.Q4_0, (V, D)
    for i in range(L):
        for name, (hf, type, shape) in LAYER.items():
            yield "blk.%d.%s.weight" % (i, name), "model.layers.%d.%s.weight" % (i, hf), type, shape


def to_meta(x, heads):
    return x.reshape(heads, 2, x.shape[0] // heads // 2, x.shape[1]).swapaxes(1, 2).reshape(x.shape)


def to_hf(x, heads):
    return x.reshape(heads, x.shape[0] // heads // 2, 2, x.shape[1]).swapaxes(1, 2).reshape(x.shape)


def write():
    w = gguf.GGUFWriter("llama_gguf.gguf", "llama")
    w.add_vocab_size(V)
    w.add_context_length(64)
    w.add_embedding_length(D)
    w.add_block_count(L)
    w.add_feed_forward_length(F)
    w.add_head_count(H)
    w.add_head_count_kv(G)
    w.add_layer_norm_rms_eps(EPS)
    w.add_rope_freq_base(THETA)
    w.add_rope_dimension_count(E)
    state = {}
    for name, hf, type, shape in tensors():
        x = weight(hf, shape)
        heads = H if "q_proj" in hf else G if "k_proj" in hf else 0
        raw = gguf.quantize(to_meta(x, heads) if heads else x, type)
        w.add_tensor(name, raw, raw_dtype=type)
        y = gguf.dequantize(raw, type).astype(np.float32).reshape(shape)
        state[hf] = torch.from_numpy((to_hf(y, heads) if heads else y).copy())
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return state


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    state = write()
    config = transformers.LlamaConfig(
        vocab_size=V, hidden_size=D, num_attention_heads=H, intermediate_size=F, num_hidden_layers=L,
        num_key_value_heads=G, head_dim=E, max_position_embeddings=64, tie_word_embeddings=False, rms_norm_eps=EPS,
        rope_parameters={"rope_type": "default", "rope_theta": THETA}, attn_implementation="eager")
    m = transformers.LlamaForCausalLM(config).eval().float()
    m.load_state_dict(state, strict=True)
    ids = ((fill((2, 11), INPUTS, "ids", 1.0) + np.float32(1)) * np.float32(V / 2)).astype(np.int64)
    y = m(torch.from_numpy(ids)).logits[:, -1]
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        now = json.load(open(folder + "/config.json"))
    before = {k: v for k, v in now.items() if k != "rope_parameters"}
    before.update(rope_theta=THETA, rope_scaling=None, torch_dtype="float32", transformers_version="4.40.0")
    out = {"transformers": transformers.__version__, "torch": torch.__version__, "gguf": "0.19.0",
           "ids": ids.tolist(), "logits": [[round(float(v), 6) for v in row] for row in y],
           "config": now, "config before 5": before}
    with open("llama_gguf.json", "w") as f:
        json.dump(out, f, separators=(",", ":"))
    print(now)


if __name__ == "__main__":
    main()
