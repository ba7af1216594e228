"""The shared weight generator (Philox4x32-10, as tensor/rng.h's rng_fill), golden taps, and a safetensors writer.

A tap of a tensor stores its shape, its mean and L2 norm, and at most 256 elements at positions k*n//256 (all of
them when there are fewer), in the reference's layout. tests/golden/golden.h is the other side.
"""
import importlib
import importlib.metadata
import json
import struct

import numpy as np

SAMPLES = 256


def fnv1a32(name):
    h = 2166136261
    for c in name.encode():
        h = ((h ^ c) * 16777619) & 0xFFFFFFFF
    return h


def words(n, c2, c3, k0, k1):
    """The first n u32 of the stream with block counter (i, i >> 32, c2, c3) under key (k0, k1)."""
    blocks = np.arange((n + 3) // 4, dtype=np.uint64)
    mask = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    c = [blocks & mask, blocks >> shift, np.full_like(blocks, c2), np.full_like(blocks, c3)]
    k0, k1 = np.uint64(k0), np.uint64(k1)
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> shift) ^ c[1] ^ k0, p1 & mask, (p0 >> shift) ^ c[3] ^ k1, p0 & mask]
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & mask, (k1 + np.uint64(0xBB67AE85)) & mask
    return np.stack(c, 1).reshape(-1)[:n]


def fill(shape, seed, name, a):
    """Uniform in [-a, a), float32, bit-equal to rng_fill."""
    n = int(np.prod(shape))
    u = words(n, 0, 0, seed, fnv1a32(name))
    x = (u >> np.uint64(8)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)
    return (np.float32(a) * x).reshape(shape)


def dropout_scale(n, seed, call, p):
    """The mask of inverted dropout, as tensor/rng.h's dropout_scale."""
    u = words(n, call & 0xFFFFFFFF, call >> 32, seed & 0xFFFFFFFF, seed >> 32)
    unit = (u >> np.uint64(8)).astype(np.float32) * np.float32(2.0**-24)
    return np.where(unit < np.float32(p), np.float32(0), np.float32(1) / (np.float32(1) - np.float32(p)))


NAMES = {"float64": "F64", "float32": "F32", "int64": "I64", "int32": "I32", "uint64": "U64", "uint8": "U8",
         "uint16": "BF16"}  # the bits, numpy having no bf16


class Golden:
    """Tensors of one golden file."""

    def __init__(self, **meta):
        self.tensors = {}
        self.meta = {k: str(v) for k, v in meta.items()}

    def put(self, name, x):
        assert name not in self.tensors, name
        self.tensors[name] = np.ascontiguousarray(x)

    def tap(self, name, x):
        x = np.asarray(x.detach().numpy() if hasattr(x, "detach") else x)
        flat = x.reshape(-1).astype(np.float64)
        n = flat.size
        at = np.arange(n) if n <= SAMPLES else np.arange(SAMPLES) * n // SAMPLES
        self.put(name + ".shape", np.array(x.shape, dtype=np.int64))
        self.put(name + ".stats", np.array([flat.mean(), np.sqrt((flat**2).sum())]))
        self.put(name + ".samples", flat[at].astype(np.float32))

    def save(self, path, limit=256 * 1024):
        header, at = {"__metadata__": self.meta}, 0
        for name in sorted(self.tensors):
            x = self.tensors[name]
            header[name] = {"dtype": NAMES[str(x.dtype)], "shape": list(x.shape), "data_offsets": [at, at + x.nbytes]}
            at += x.nbytes
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        assert at + len(text) + 8 <= limit, (path, at)
        with open(path, "wb") as f:
            f.write(struct.pack("<Q", len(text)) + text)
            for name in sorted(self.tensors):
                f.write(self.tensors[name].tobytes())
        print(path, at + len(text) + 8, "bytes")


def versions(*packages):
    """Of torch, numpy and what else took part (by default torchvision); for a golden's metadata."""
    import torch

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    named = {}
    for name in packages or ("torchvision",):
        module = importlib.import_module(name)
        named[name] = getattr(module, "__version__", None) or importlib.metadata.version(name)
    return {"torch": torch.__version__, **named, "numpy": np.__version__, "seed_weights": WEIGHTS, "seed_inputs": INPUTS}


WEIGHTS, INPUTS = 1234, 5678


def weight(name, shape):
    """The rule by which tests make weights from names: norms near 1, variances in [0.5, 1.5), the last norm of a
    residual branch near 0.3, logit scales 2.6592, other vectors small, matrices and convs with the variance of He et
    al."""
    shape = tuple(shape)
    one = np.float32(1)
    if "logit_scale" in name:
        return np.full(shape, 2.6592, dtype=np.float32)
    if name.endswith("running_var"):
        return fill(shape, WEIGHTS, name, 0.5) + one
    if name.endswith("bn3.weight"):
        return fill(shape, WEIGHTS, name, 0.1) + np.float32(0.3)
    if len(shape) == 1 and name.endswith(".weight"):
        return fill(shape, WEIGHTS, name, 0.2) + one
    if len(shape) == 1:
        return fill(shape, WEIGHTS, name, 0.1)
    fan_in = int(np.prod(shape[1:]))
    return fill(shape, WEIGHTS, name, np.float32(np.sqrt(6.0 / fan_in)))
