"""resample.safetensors: Pillow's resize (parity row 4): of each case its shape and the SHA-256 of the result.

A case is (channels, width, height, new width, new height, filter: 0 bilinear, 1 bicubic). Case i's pixels are the bytes
floor((x + 1) * 128) of x = fill(..., INPUTS, "resample.i", 1); those of odd cases are 0 or 255, whichever is nearer, so that
bicubic overshoots.
"""
import hashlib

import numpy as np
import PIL
from philox import INPUTS, WEIGHTS, Golden, fill, words
from PIL import Image

FIXED = [(1, 13, 17, 34, 26, 0), (3, 13, 17, 34, 26, 1), (3, 13, 17, 7, 5, 0), (1, 13, 17, 7, 5, 1), (3, 13, 17, 224, 224, 0),
         (1, 13, 17, 224, 224, 1), (3, 512, 512, 1024, 1024, 0), (1, 500, 333, 224, 224, 1), (1, 224, 224, 224, 224, 1),
         (1, 16384, 1, 1, 1, 1)]


def random_cases(n):
    """Sides of 1 to 400, small ones as often as large ones."""
    u = words(6 * n, 0, 0, WEIGHTS, INPUTS).reshape(n, 6)
    sides = np.floor(400.0 ** ((u >> np.uint64(8)).astype(np.float64) * 2.0**-24)).astype(np.int64)
    return [(3 if c & 1 else 1, *s, int(f & 1)) for c, s, f in zip(u[:, 0].tolist(), sides[:, 1:5].tolist(), u[:, 5].tolist())]


cases = FIXED + random_cases(200)
sums = []
for i, (channels, width, height, w, h, bicubic) in enumerate(cases):
    x = np.floor((fill((height, width, channels), INPUTS, "resample.%d" % i, 1.0) + np.float32(1)) * np.float32(128))
    pixels = x.astype(np.uint8)
    if i % 2:
        pixels = np.where(pixels < 128, 0, 255).astype(np.uint8)
    image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    image = image.resize((w, h), Image.Resampling.BICUBIC if bicubic else Image.Resampling.BILINEAR)
    sums.append(np.frombuffer(hashlib.sha256(image.tobytes()).digest(), dtype=np.uint8))
g = Golden(what="8-bit resize", pillow=PIL.__version__, seed_inputs=INPUTS)
g.put("cases", np.array(cases, dtype=np.int32))
g.put("sha256", np.stack(sums))
g.save("resample.safetensors")
