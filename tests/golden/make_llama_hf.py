"""llama_hf.safetensors: transformers' LlamaForCausalLM (parity rows 5, 7, 8): hidden states, logits, loss and gradients
of a right-padded batch, in f32; the same in bf16, where Hugging Face rounds the cosines and sines and Meta does not;
decoding with its cache; and which tokens its TopPLogitsWarper keeps. make_llama.py has the same from the equations.

Needs transformers; run in this folder."""
import numpy as np
import torch
import transformers
from philox import INPUTS, Golden, fill, versions, weight
from transformers import LlamaConfig, LlamaForCausalLM, TopPLogitsWarper
from transformers.models.llama import modeling_llama

V, D, L, H, G, F, T = 512, 64, 2, 4, 2, 160, 33
LENGTHS, PREFIX, STEPS = (33, 21), (20, 13), 12
meta = versions("transformers")
config = LlamaConfig(vocab_size=V, hidden_size=D, num_hidden_layers=L, num_attention_heads=H, num_key_value_heads=G,
                     intermediate_size=F, rms_norm_eps=1e-5, rope_theta=500000.0, max_position_embeddings=128,
                     tie_word_embeddings=False, attn_implementation="eager")


def network(dtype=torch.float32):
    net = LlamaForCausalLM(config)
    net.load_state_dict({k: torch.from_numpy(weight(k, v.shape)) for k, v in net.state_dict().items()})
    return net.to(dtype).eval()


def ids(name, *shape):
    u = fill(shape, INPUTS, name, 1.0)
    return torch.from_numpy(((u + np.float32(1)) * np.float32(V / 2)).astype(np.int64))


def rope_as_meta(q, k, cos, sin, unsqueeze_dim=1):
    """In f32 throughout, then rounded; the cosines come in f32."""
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    return tuple((x.float() * cos + modeling_llama.rotate_half(x.float()) * sin).to(x.dtype) for x in (q, k))


class ExactRotary(modeling_llama.LlamaRotaryEmbedding):
    def forward(self, x, position_ids):
        return super().forward(x.float(), position_ids)


def padded(g, prefix, net):
    """Taps of make_llama.py's batch; what lies past a length is zeroed."""
    id, length = ids("ids", 2, T), torch.tensor(LENGTHS)
    mask = (torch.arange(T)[None] < length[:, None]).long()
    label = id.masked_fill(mask == 0, -100)
    x = net.model.embed_tokens(id).detach().requires_grad_()
    attn = {}
    for i, layer in enumerate(net.model.layers):
        layer.self_attn.register_forward_hook(lambda m, a, y, i=i: attn.__setitem__(i, y[0]))
    y = net(inputs_embeds=x, attention_mask=mask, labels=label, output_hidden_states=True)
    y.loss.backward()
    real = mask[..., None].bool()

    def tap(name, t):
        g.tap(prefix + name, torch.where(real, t.float(), 0))

    # hidden_states: before the first layer, between the layers, after the norm. The last layer's own output has a hook.
    for i in range(L):
        tap("layers.%d.attn" % i, attn[i])
    tap("layers.0", y.hidden_states[1])
    tap("norm", y.hidden_states[2])
    g.tap(prefix + "logits", y.logits[1, 20].float())
    g.tap(prefix + "loss", y.loss.float())
    g.tap(prefix + "dx", x.grad.float())
    if prefix == "f32.":
        for i in range(L):
            for n in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj",
                      "mlp.up_proj", "mlp.down_proj", "input_layernorm", "post_attention_layernorm"):
                name = "model.layers.%d.%s.weight" % (i, n)
                g.tap(prefix + "d." + name, net.get_parameter(name).grad)
        for name in ("model.norm.weight", "lm_head.weight"):
            g.tap(prefix + "d." + name, net.get_parameter(name).grad)


def decode(g):
    """Each row alone: a prefix at once, then token by token with the cache; logits of every step."""
    net, id = network(), ids("cache.ids", 2, PREFIX[0] + STEPS)
    with torch.no_grad():
        for b, start in enumerate(PREFIX):
            y = net(id[b : b + 1, :start], use_cache=True)
            steps = [y.logits[0, -1]]
            for i in range(STEPS):
                y = net(id[b : b + 1, start + i : start + i + 1], cache=y.cache, use_cache=True)
                steps.append(y.logits[0, -1])
            whole = net(id[b : b + 1, : start + STEPS], use_cache=False).logits[0, start - 1 :]
            assert (torch.stack(steps) - whole).abs().max() < 1e-4
            for i, logits in enumerate(steps):
                g.tap("cache.%d.%d" % (b, i), logits)


def top_p(g):
    """Row 8: the logits of make_ops.py. kept: 64-bit sets; 0 where cumulative probabilities come within 1e-6 of the
    threshold, so that rounding decides."""
    logits = torch.from_numpy(fill((1000, 50), INPUTS, "logits", 4.0))
    for t in (0.3, 0.6, 1.0):
        for p in (0.5, 0.9, 1.0):
            scores = TopPLogitsWarper(p)(None, logits / t) if p < 1 else logits / t
            kept = torch.isfinite(scores).numpy()
            up = torch.sort((logits.double() / t).softmax(-1), descending=False).values.cumsum(-1)
            near = ((up - (1 - p)).abs() < 1e-6).any(-1).numpy() if p < 1 else np.zeros(1000, dtype=bool)
            q = scores.double().softmax(-1)
            words = (kept.astype(np.uint64) << np.arange(50, dtype=np.uint64)).sum(1, dtype=np.uint64)
            g.put("top_p.%g.%g.kept" % (t, p), np.where(near, 0, words).astype(np.uint64))
            g.tap("top_p.%g.%g" % (t, p), q)


def main():
    g = Golden(what="transformers LlamaForCausalLM", vocab=V, dim=D, layers=L, heads=H, kv_heads=G, ffn=F, **meta)
    padded(g, "f32.", network())
    padded(g, "bf16.hf.", network(torch.bfloat16))
    decode(g)
    top_p(g)
    modeling_llama.apply_rotary_pos_emb = rope_as_meta
    net = network(torch.bfloat16)
    net.model.rotary_emb = ExactRotary(config)
    padded(g, "bf16.meta.", net)
    g.save("llama_hf.safetensors")


if __name__ == "__main__":
    main()
