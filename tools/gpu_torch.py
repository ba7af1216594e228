"""PyTorch's time for the work of pcrl-gpu's kernel cases, on the same GPU in the same run, as rows of the same table.

gpu_torch.py CASES TABLE SECONDS [DEVICE]   CASES: what pcrl-gpu --list prints; TABLE: is added to. Each case is timed as
pcrl-gpu does it: after a read of more than the last-level cache holds, between two events, median of at least five
runs; forward, and backward where there is one; in f32 (products as TF32) and in bf16. A 4-bit weight is a plain one
here: PyTorch has none. DEVICE: cuda (cpu tries the script)."""

import statistics
import struct
import sys
import time

import torch
import torch.nn.functional as F

RUNS_LEAST, RUNS_MOST, ROW_SECONDS = 5, 50, 0.08


def images(x):
    """(N,H,W,C) in memory -> (N,C,H,W), channels last; rows of channels as they are."""
    return x.permute(0, 3, 1, 2) if x.dim() == 4 else x


class Case:
    """Inputs of one case as tensors, made by position; integers where the op wants them."""

    def __init__(self, op, shapes, params, dtype, device):
        self.op, self.shapes, self.params, self.dtype, self.device = op, shapes, params, dtype, device
        self.leaves = []

    def x(self, i, grad=True, positive=False):
        if i >= len(self.shapes) or not self.shapes[i]:
            return None
        x = torch.rand(self.shapes[i], device=self.device) * 2 - 1
        x = (x.abs() + 0.5 if positive else x).to(self.dtype)
        if grad:
            self.leaves.append(x.requires_grad_())
        return x

    def ids(self, i, most):
        return torch.randint(0, most, self.shapes[i], device=self.device)

    def unpack(self, form):
        return struct.unpack_from(form, self.params)


def matmul(c):
    turn_a, turn_b = c.unpack("??")
    scale = c.unpack("<2xxxf")[0] if c.shapes[3:] and c.shapes[3] else 0
    a, b, bias, low, high = (c.x(i, grad=c.op == "matmul" or i != 1) for i in range(5))

    def run():
        y = torch.matmul(a.mT if turn_a else a, b.mT if turn_b else b)
        if bias is not None:
            y = y + bias
        return y if low is None else y + scale * (a @ low.mT) @ high.mT

    return run


def conv2d(c):
    stride, pad = c.unpack("<ii")
    x, w, bias = c.x(0), c.x(1), c.x(2)
    return lambda: F.conv2d(images(x), images(w), bias, stride, pad)


def deconv2d(c):
    stride, pad = c.unpack("<ii")
    x, w, bias = c.x(0), c.x(1), c.x(2)
    return lambda: F.conv_transpose2d(images(x), w.permute(0, 3, 1, 2), bias, stride, pad)


def rmsnorm(c):
    x, w = c.x(0), c.x(1, positive=True)
    if hasattr(F, "rms_norm"):
        return lambda: F.rms_norm(x, x.shape[-1:], w, 1e-5)
    return lambda: x * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-5).to(x.dtype) * w


def layernorm(c):
    x, w, b = c.x(0), c.x(1, positive=True), c.x(2)
    return lambda: F.layer_norm(x, x.shape[-1:], w, b, 1e-5)


def window(c):
    size, shift = c.unpack("<ii")
    x = c.x(0)
    n, height, width, channels = x.shape
    rows, columns = -(-height // size), -(-width // size)

    def run():
        y = F.pad(x, (0, 0, 0, columns * size - width, 0, rows * size - height))
        y = y.roll((-shift, -shift), (1, 2)) if shift else y
        return y.view(n, rows, size, columns, size, channels).transpose(2, 3).reshape(-1, size, size, channels)

    return run


def unwindow(c):
    height, width, shift = c.unpack("<iii")
    x = c.x(0)
    size, channels = x.shape[2:]
    rows, columns = -(-height // size), -(-width // size)

    def run():
        y = x.view(-1, rows, columns, size, size, channels).transpose(2, 3)
        y = y.reshape(-1, rows * size, columns * size, channels)
        y = y.roll((shift, shift), (1, 2)) if shift else y
        return y[:, :height, :width].contiguous()

    return run


def batchnorm(c):
    eps, momentum, train = c.unpack("<ff?")
    x, g, b = c.x(0), c.x(1, positive=True), c.x(2)
    mean, var = (c.x(i, grad=False, positive=i == 4) for i in (3, 4))
    return lambda: F.batch_norm(images(x), mean, var, g, b, train, momentum, eps)


def attention(c):
    scale, causal = c.unpack("<f?")
    q, k, v = c.x(0), c.x(1), c.x(2)
    groups = c.shapes[0][2] // c.shapes[1][2]
    shared = tuple(int(n) for n in torch.__version__.split(".")[:2]) >= (2, 5)  # knows shared keys and values

    def run():
        if shared:
            a, b, d = (t.transpose(1, 2) for t in (q, k, v))
            return F.scaled_dot_product_attention(a, b, d, is_causal=causal, scale=scale, enable_gqa=True)
        keys, values = (t.transpose(1, 2).repeat_interleave(groups, 1) for t in (k, v))
        return F.scaled_dot_product_attention(q.transpose(1, 2), keys, values, is_causal=causal, scale=scale)

    return run


def rope(c):
    x = c.x(0)
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[1], device=c.device)[:, None] * 500000 ** (-torch.arange(half, device=c.device) / half)
    cos, sin = (f(angle)[None, :, None, :].to(c.dtype) for f in (torch.cos, torch.sin))

    def run():
        a, b = x[..., :half], x[..., half:]
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

    return run


def kv_append(c):
    cache, x = c.x(0, grad=False), c.x(1, grad=False)
    rows, at = torch.arange(c.shapes[2][0], device=c.device), c.ids(2, c.shapes[0][1])

    def run():
        cache[rows, at] = x[:, 0]
        return cache

    return run


def cross_entropy(c):
    h, w, label = c.x(0), c.x(1, grad=False), c.ids(2, c.shapes[1][0])
    return lambda: F.cross_entropy((h @ w.mT).float(), label)


def infonce(c):
    v, w = c.x(0), c.x(1)
    to = torch.arange(v.shape[0], device=c.device)

    def run():
        s = F.normalize(v, dim=-1) @ F.normalize(w, dim=-1).mT / 0.07
        return F.cross_entropy(s.float(), to) + F.cross_entropy(s.mT.float(), to)

    return run


def dice(c):
    p, y = c.x(0), c.x(1, grad=False)

    def run():
        a, b = p.flatten(1), y.flatten(1)
        return (1 - (2 * (a * b).sum(1) + 1) / (a.sum(1) + b.sum(1) + 1)).mean()

    return run


def multilabel(c):
    x, y, weight = c.x(0), c.x(1, grad=False, positive=True), c.x(2, grad=False, positive=True)
    return lambda: F.binary_cross_entropy_with_logits(x, y, weight, reduction="sum")


def focal(c):
    alpha, gamma = c.unpack("<ff")
    x, y = c.x(0), c.x(1, grad=False, positive=True)

    def run():
        p = torch.sigmoid(x)
        e = F.binary_cross_entropy_with_logits(x, y, reduction="none")
        return ((alpha * y + (1 - alpha) * (1 - y)) * (p * (1 - y) + (1 - p) * y) ** gamma * e).sum()

    return run


def adamw(c):
    w = c.x(0, grad=False).requires_grad_()
    w.grad = c.x(1, grad=False)
    o = torch.optim.AdamW([w], lr=1e-4, **({"fused": True} if c.device == "cuda" else {}))

    def run():
        o.step()
        return w

    return run


def top_p(c):
    x = c.x(0, grad=False)

    def run():
        p, order = torch.softmax(x.float() / 0.05, -1).sort(-1, descending=True)
        p = torch.where(p.cumsum(-1) - p > 0.5, 0, p)
        return order.gather(-1, torch.multinomial(p, 1))

    return run


def pool(f):
    def make(c):
        kernel, stride, pad, ceil = c.unpack("<iii?")
        x = c.x(0)
        return lambda: f(images(x), kernel, stride, pad, ceil)

    return make


def resize(c):
    height, width, mode = c.unpack("<iii")
    x = c.x(0)
    return lambda: F.interpolate(images(x), (height, width), mode=("nearest", "bilinear", "area")[mode])


def adaptive_pool(c):
    size, x = c.unpack("<ii"), c.x(0)
    return lambda: F.adaptive_avg_pool2d(images(x), size)


def one(f):
    def make(c):
        x = c.x(0)
        return lambda: f(x)

    return make


def two(f):
    def make(c):
        x, y = c.x(0), c.x(1)
        return lambda: f(x, y)

    return make


def looked_up(c):
    x, at = c.x(0), c.ids(1, c.shapes[0][0])
    return lambda: F.embedding(at, x) if c.op == "embed" else x.index_select(0, at)


OPS = {
    "matmul": matmul, "matmul_q": matmul, "conv2d": conv2d, "deconv2d": deconv2d, "rmsnorm": rmsnorm,
    "batchnorm": batchnorm, "attention": attention, "rope": rope, "kv_append": kv_append, "cross_entropy": cross_entropy,
    "infonce": infonce, "dice": dice, "multilabel": multilabel, "adamw": adamw, "top_p": top_p, "resize": resize,
    "adaptive_pool": adaptive_pool, "layernorm": layernorm, "window": window, "unwindow": unwindow, "focal": focal,
    "select": looked_up, "embed": looked_up, "gelu": one(F.gelu),
    "max_pool": pool(lambda x, k, s, p, ceil: F.max_pool2d(x, k, s, p, 1, ceil)),
    "avg_pool": pool(lambda x, k, s, p, ceil: F.avg_pool2d(x, k, s)),
    "relu": one(F.relu), "sigmoid": one(torch.sigmoid), "scale": one(lambda x: x * -1.75), "sum": one(torch.sum),
    "l2norm": one(lambda x: F.normalize(x, dim=-1)), "softmax": one(lambda x: torch.softmax(x, -1)),
    "sqnorm": one(lambda x: x.pow(2).sum()), "argmax": one(lambda x: x.argmax(-1)),
    "reduce_max": one(lambda x: x.max(1).values),
    "add": two(torch.add), "sub": two(torch.sub), "mul": two(torch.mul), "add_bias": two(torch.add),
    "swiglu": two(lambda g, u: F.silu(g) * u), "concat": two(lambda a, b: torch.cat((a, b), 1)),
}  # fmt: skip
NO_BACKWARD = {"kv_append", "adamw", "top_p", "argmax", "sqnorm"}


class Clock:
    def __init__(self, device):
        self.device = device
        cache = 0
        if device == "cuda":
            cache = getattr(torch.cuda.get_device_properties(0), "L2_cache_size", 64 << 20)
        self.flush = torch.rand(max(cache, 1 << 16), device=device)  # 4 bytes each

    def mark(self):
        if self.device != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def times(self, run):
        """Seconds of each run, sorted."""
        run()
        seconds, start = [], time.perf_counter()
        while len(seconds) < RUNS_LEAST or (len(seconds) < RUNS_MOST and time.perf_counter() - start < ROW_SECONDS):
            marks = []
            for _ in range(RUNS_LEAST):
                self.flush.sum()
                first = self.mark()
                run()
                marks.append((first, self.mark()))
            if self.device == "cuda":
                torch.cuda.synchronize()
                seconds += [a.elapsed_time(b) * 1e-3 for a, b in marks]
            else:
                seconds += [b - a for a, b in marks]
        return sorted(seconds)


def rows(clock, op, what, shapes, params, dtype, device):
    c = Case(op, shapes, params, dtype, device)
    run = OPS[op](c)
    name = f"PyTorch {op}, {'bf16' if dtype == torch.bfloat16 else 'f32'}"
    y = run()
    dy = torch.rand_like(y) if op not in NO_BACKWARD and y.is_floating_point() else None
    timed = [(name, clock.times(lambda: run()))]
    if dy is not None and c.leaves:
        y = run()
        timed.append((name + ", backward", clock.times(lambda: torch.autograd.grad(y, c.leaves, dy, retain_graph=True))))
    for title, s in timed:
        ms = [1e3 * v for v in (statistics.median(s), s[0], s[-1])]
        yield f"| {title} | {what} | {ms[0]:.5g} | {ms[1]:.5g} to {ms[2]:.5g} | {len(s)} | - | - | - | - | - |"


def main():
    cases, table, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    device = sys.argv[4] if len(sys.argv) > 4 else "cuda"
    out = open(table, "a", buffering=1)
    if device == "cuda" and not torch.cuda.is_available():
        print(f"\nPyTorch {torch.__version__}: installed, but sees no GPU.", file=out)
        return 0
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    print(f"\n## PyTorch {torch.__version__}, eager\n\n| what | case | ms, median | least to most | runs | GB/s | TFLOP/s |"
          " tok/s | share of roof | share of floor |\n|---|---|---|---|---|---|---|---|---|---|", file=out)  # fmt: skip
    clock, until, failed = Clock(device), time.perf_counter() + seconds, 0
    for line in open(cases, encoding="utf-8"):
        op, what, text, params = line.rstrip("\n").split("\t")
        shapes = [None if s == "-" else [int(d) for d in s.split(",")] for s in text.split(" ")]
        for dtype in (torch.float32, torch.bfloat16):
            if time.perf_counter() > until:
                print(f"| {op} | from here on not run: the time for this part is spent | | | | | | | | |", file=out)
                return failed
            try:
                for row in rows(clock, op, what, shapes, bytes.fromhex(params), dtype, device):
                    print(row, file=out)
            except Exception as e:  # the next case is no worse for it
                failed = 1
                print(f"| PyTorch {op} | {what}: {type(e).__name__}: {str(e).splitlines()[0][:100]} | | | | | | | | |", file=out)
    return failed


if __name__ == "__main__":
    sys.exit(main())
