"""pytorch-*.pth: what torch.save of an old and of a new version writes (parity row 29), and pytorch.safetensors with the
values that a reader must find, as raw bytes in C order ("file/name", dtype and shape in "file/name.is").

Run once under each version of torch: make_pytorch.py old, then make_pytorch.py new.
"""
import io
import json
import os
import sys
import zipfile

import numpy as np
import torch
from philox import Golden

OLD = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
NEW = ["uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2"]
NAMES = dict(zip(OLD + NEW, ["F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL", "U16", "U32", "U64",
                             "F8_E4M3", "F8_E5M2"]))


def values(dtypes):
    """Every dtype, views of every kind, storages shared, empty, scalar."""
    base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4) / 8 - 1
    x = {"type." + n: base[0].to(getattr(torch, n)) for n in dtypes}
    x.update({
        "whole": base, "turned": base.permute(2, 0, 1), "column": base[:, :, 1], "step": base[:, ::2, 1::2],
        "row": base[1, 2], "transposed": base[0].t(), "wide": base.reshape(6, 4)[1:5, 1:3],
        "half.turned": base[1].half().t(), "one": base[:1, 1:2, ::3], "scalar": base[1, 1, 2], "empty": base[:0],
        "empty.flat": torch.zeros(0, dtype=torch.int64), "parameter": torch.nn.Parameter(base[0, 1].clone()),
        "again": base, "bool.view": (base[0] > -0.7)[:, 1],
    })
    return x


def raw(x):
    x = x.detach().contiguous()
    same = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    return np.frombuffer((x if x.dtype == torch.bool else x.view(same)).numpy().tobytes(), dtype=np.uint8)


def optimizer():
    """A training script's file: tensors by dotted names, what is no tensor passed over."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    adam = torch.optim.AdamW(net.parameters(), lr=0.5)
    net(torch.randn(4, 3)).square().sum().backward()
    adam.step()
    return {"model": net.state_dict(), "optimizer": adam.state_dict(), "epoch": 3, "best": 0.25, "note": "é",
            "flags": (True, None, [1 << 40, -1])}


def flat(x, name=""):
    if torch.is_tensor(x):
        yield name, x
    elif isinstance(x, (dict, list, tuple)):
        for k, v in x.items() if isinstance(x, dict) else enumerate(x):
            yield from flat(v, "%s.%s" % (name, k) if name else str(k))


def as_zip64(path):
    """The same members with zip64 fields in each local header."""
    old = zipfile.ZipFile(path)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as new:
        for n in old.namelist():
            with new.open(zipfile.ZipInfo(n), "w", force_zip64=True) as f:
                f.write(old.read(n))
    open(path, "wb").write(out.getvalue())


def main():
    version = sys.argv[1]
    dtypes = OLD + (NEW if version == "new" else [])
    files = {"zip": {}, "legacy": {"_use_new_zipfile_serialization": False}, "p4": {"pickle_protocol": 4},
             "legacy-p3": {"_use_new_zipfile_serialization": False, "pickle_protocol": 3}}
    found = {}
    for name, how in files.items():
        path = "pytorch-%s-%s.pth" % (version, name)
        torch.save(values(dtypes), path, **how)
        if name == "p4":
            as_zip64(path)
        found[path] = dict(flat(values(dtypes)))
    path = "pytorch-%s-train.pth" % version
    torch.save(optimizer(), path)
    found[path] = dict(flat(optimizer()))
    path = "pytorch-%s-wrapped.pth" % version
    torch.save({"state_dict": {"model": {"a.weight": torch.ones(2), "b": [torch.zeros(1)]}}, "epoch": 1}, path)
    found[path] = {"a.weight": torch.ones(2), "b.0": torch.zeros(1)}

    meta = {"what": "torch.save's files, each value as raw bytes in C order"}
    kept = {}
    if os.path.exists("pytorch.safetensors"):  # what the other version left
        data = open("pytorch.safetensors", "rb").read()
        n = int.from_bytes(data[:8], "little")
        head = json.loads(data[8:8 + n])
        meta.update(head.pop("__metadata__"))
        for k, t in head.items():
            a, b = t["data_offsets"]
            if k.split("/")[0] not in found:
                kept[k] = np.frombuffer(data[8 + n + a:8 + n + b], dtype=np.uint8)
    meta["torch.%s" % version] = torch.__version__
    g = Golden(**meta)
    for k, x in kept.items():
        g.put(k, x)
    for path, tensors in found.items():
        for name, x in tensors.items():
            g.put("%s/%s" % (path, name), raw(x))
            shape = "(%s)" % ",".join(str(d) for d in x.shape)
            g.meta["%s/%s" % (path, name)] = "%s %s" % (NAMES[str(x.dtype)[6:]], shape)
    g.save("pytorch.safetensors")


if __name__ == "__main__":
    main()
