"""gguf.gguf and gguf.safetensors: a file of the gguf package's own writer, and its values as that package's numpy
decoding gives them (parity row 12).

Of every block type 4 rows of 512 values: random codes; scales that are random, 0, -0, the largest and smallest
fp16, subnormal ones, infinite and NaN. F16 has every 32nd of the 65536 bit patterns, BF16 likewise. Keys of
every type, with values at the ends of their ranges.
"""
import gguf
import numpy as np
from gguf import GGMLQuantizationType as Q
from philox import INPUTS, Golden, fill

ROWS, COLS = 4, 512
SPECIAL = np.array([0x0000, 0x8000, 0x7BFF, 0xFBFF, 0x0001, 0x8001, 0x03FF, 0x0400, 0x7C00, 0xFC00, 0x7E00],
                   dtype=np.uint16)
# of each type: bytes of a block, where its fp16 scales stand
FORMS = {Q.Q4_0: (18, [0]), Q.Q4_1: (20, [0, 2]), Q.Q8_0: (34, [0]), Q.Q4_K: (144, [0, 2]), Q.Q6_K: (210, [208])}


def random_bytes(name, *shape):
    return ((fill(shape, INPUTS, name, 1.0) + np.float32(1)) * np.float32(128)).astype(np.uint8)


def blocks(type):
    size, scales = FORMS[type]
    per_row = COLS // gguf.GGML_QUANT_SIZES[type][0]
    raw = random_bytes(type.name, ROWS * per_row, size)
    for k, at in enumerate(scales):
        d = (fill((len(raw),), INPUTS, "%s.%d" % (type.name, at), 0.2)).astype(np.float16).view(np.uint16)
        n = len(SPECIAL) if len(raw) > len(SPECIAL) else len(raw) - 2
        d[:n] = np.roll(SPECIAL, 3 * k)[:n]  # the other blocks stay random
        raw[:, at : at + 2] = d.view(np.uint8).reshape(-1, 2)
    return raw.reshape(ROWS, per_row * size)


def main():
    g = Golden(what="the gguf package's numpy decoding", gguf="0.19.0", numpy=np.__version__, seed_inputs=INPUTS)
    w = gguf.GGUFWriter("gguf.gguf", "llama")
    w.add_uint8("k.u8", 255)
    w.add_int8("k.i8", -128)
    w.add_uint16("k.u16", 65535)
    w.add_int16("k.i16", -32768)
    w.add_uint32("k.u32", 2**32 - 1)
    w.add_int32("k.i32", -(2**31))
    w.add_uint64("k.u64", 2**64 - 1)
    w.add_int64("k.i64", -(2**63))
    w.add_float32("k.f32", float(np.float32(1e-5)))
    w.add_float64("k.f64", 0.1)
    w.add_bool("k.yes", True)
    w.add_bool("k.no", False)
    w.add_string("k.text", "右侧基底节")
    w.add_array("list.text", ["<s>", "Ġa", "病"])
    w.add_array("list.i32", [-1, 2, 3, 2**31 - 1])
    w.add_array("list.f32", [0.5, -0.25])
    w.add_array("list.bool", [True, False, True])
    with np.errstate(all="ignore"):
        for type in FORMS:
            raw = blocks(type)
            w.add_tensor("w." + type.name, raw, raw_shape=raw.shape, raw_dtype=type)
            g.put(type.name, gguf.dequantize(raw, type).astype(np.float32))
        half = (np.arange(0, 65536, 32, dtype=np.uint16)).reshape(ROWS, COLS)
        w.add_tensor("w.F16", half.view(np.float16))
        g.put("F16", gguf.dequantize(half.view(np.float16), Q.F16))
        w.add_tensor("w.BF16", half.view(np.uint8), raw_shape=(ROWS, 2 * COLS), raw_dtype=Q.BF16)
        g.put("BF16", gguf.dequantize(half.view(np.uint8), Q.BF16))
    x = fill((2, 3, 5), INPUTS, "F32", 1.0)
    w.add_tensor("w.F32", x)
    g.put("F32", x)
    w.add_tensor("w.I16", np.array([-5, 7, -32768], dtype=np.int16))
    g.put("I16", np.array([-5, 7, -32768], dtype=np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    g.save("gguf.safetensors")


if __name__ == "__main__":
    main()
