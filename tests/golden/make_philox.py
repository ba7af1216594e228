"""philox.safetensors: words of the shared generator, and Random123's known answers are in tests/tensor."""
from philox import Golden, dropout_scale, fill

g = Golden(what="rng_fill and dropout_scale")
g.put("fill", fill((1023,), 1234, "model.layers.0.self_attn.q_proj.weight", 0.05))
g.put("dropout", dropout_scale(1023, 8244 << 32 | 77, 5, 0.05))
g.save("philox.safetensors")
