"""PyTorch's time for the models that pcrl-gpu times, in the same run, as rows of the same table.

gpu_torch_models.py SIZES TABLE SECONDS [DEVICE]   SIZES: mini or paper; TABLE: is added to; DEVICE: cuda (cpu tries the
script). Eager PyTorch, written out: LLaMA in bf16 (it has no 4-bit weights), decoded greedily with a cache and asked for
the same numbers of tokens; ResNet-101 with folded BatchNorm, channels last; forward and backward of the training step's
language model, LoRA on q and v, all activations kept, without the visual head and the update."""

import math
import statistics
import sys
import time

import torch
import torch.nn.functional as F

RUNS = 5
PAPER = dict(vocab=128256, dim=4096, layers=32, heads=32, kv=8, head=128, ffn=14336)
MINI = dict(vocab=96, dim=64, layers=2, heads=2, kv=1, head=32, ffn=64)


class Llama:
    def __init__(self, c, device):
        self.c, self.device = c, device

        def matrix(out, into):
            return torch.randn(out, into, device=device, dtype=torch.bfloat16).mul_(0.02)

        D, Q, K, ffn = c["dim"], c["heads"] * c["head"], c["kv"] * c["head"], c["ffn"]
        shapes = dict(q=(Q, D), k=(K, D), v=(K, D), o=(D, Q), gate=(ffn, D), up=(ffn, D), down=(D, ffn))
        self.layers = [{n: matrix(*s) for n, s in shapes.items()} for _ in range(c["layers"])]
        self.embed, self.head = matrix(c["vocab"], D), matrix(c["vocab"], D)
        self.norm = torch.ones(D, device=device, dtype=torch.bfloat16)
        self.lora = None

    def add_lora(self):
        def pair(out):
            a = torch.randn(8, self.c["dim"], device=self.device, dtype=torch.bfloat16).mul_(0.02)
            b = torch.randn(out, 8, device=self.device, dtype=torch.bfloat16).mul_(0.02)
            return a.requires_grad_(), b.requires_grad_()

        c = self.c
        self.lora = [(pair(c["heads"] * c["head"]), pair(c["kv"] * c["head"])) for _ in self.layers]
        return [t for layer in self.lora for ab in layer for t in ab]

    def rms(self, x):
        if hasattr(F, "rms_norm"):
            return F.rms_norm(x, x.shape[-1:], self.norm, 1e-5)
        return x * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-5).to(x.dtype) * self.norm

    def rope(self, x, at):
        half = x.shape[-1] // 2
        angle = at[:, None] * 500000 ** (-torch.arange(half, device=self.device) / half)
        cos, sin = (f(angle)[:, None].to(x.dtype) for f in (torch.cos, torch.sin))
        a, b = x[..., :half], x[..., half:]
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

    def forward(self, x, cache=None, start=0):
        """x (B,T,D) at positions start.. -> hidden states (B,T,D)."""
        c, (B, T, _) = self.c, x.shape
        at = torch.arange(start, start + T, device=self.device)
        for i, w in enumerate(self.layers):
            n = self.rms(x)
            q, k, v = (F.linear(n, w[name]) for name in "qkv")
            if self.lora:
                (qa, qb), (va, vb) = self.lora[i]
                q, v = q + 4 * (n @ qa.mT) @ qb.mT, v + 4 * (n @ va.mT) @ vb.mT
            q = self.rope(q.view(B, T, c["heads"], c["head"]), at).transpose(1, 2)
            k = self.rope(k.view(B, T, c["kv"], c["head"]), at).transpose(1, 2)
            v = v.view(B, T, c["kv"], c["head"]).transpose(1, 2)
            if cache is not None:
                cache[i][0][:, :, start : start + T], cache[i][1][:, :, start : start + T] = k, v
                k, v = (side[:, :, : start + T] for side in cache[i])
            k, v = (t.repeat_interleave(c["heads"] // c["kv"], 1) for t in (k, v))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=T > 1, scale=1 / math.sqrt(c["head"]))
            x = x + F.linear(y.transpose(1, 2).reshape(B, T, -1), w["o"])
            n = self.rms(x)
            x = x + F.linear(F.silu(F.linear(n, w["gate"])) * F.linear(n, w["up"]), w["down"])
        return self.rms(x)

    @torch.no_grad()
    def generate(self, x, tokens):
        B, T, c = x.shape[0], x.shape[1], self.c
        size = (B, c["kv"], T + tokens, c["head"])
        cache = [[torch.empty(size, device=self.device, dtype=x.dtype) for _ in "kv"] for _ in self.layers]
        h = self.forward(x, cache)
        for i in range(tokens):
            token = F.linear(h[:, -1], self.head).argmax(-1)
            token.tolist()
            if i + 1 < tokens:
                h = self.forward(self.embed[token][:, None], cache, T + i)


def resnet(sizes, device, dtype):
    """A function of images, and the images."""
    stem, widths, depths, strides, N, side = sizes

    def conv(out, k, into, gain):
        w = torch.randn(out, into, k, k, device=device, dtype=dtype).mul_(math.sqrt(gain / (into * k * k)))
        return w.to(memory_format=torch.channels_last), torch.zeros(out, device=device, dtype=dtype)

    first, blocks, into = conv(stem, 7, 3, 2), [], stem
    for width, depth, stride in zip(widths, depths, strides):
        for b in range(depth):
            s = 1 if b else stride
            short = conv(4 * width, 1, into, 1) if s > 1 or into != 4 * width else None
            three = conv(width, 1, into, 2), conv(width, 3, width, 2), conv(4 * width, 1, width, 0.1)
            blocks.append((*three, short, s))
            into = 4 * width
    x = torch.randn(N, 3, side, side, device=device, dtype=dtype).to(memory_format=torch.channels_last)

    @torch.no_grad()
    def run():
        y = F.max_pool2d(F.relu_(F.conv2d(x, *first, stride=2, padding=3)), 3, 2, 1)
        for one, two, three, short, s in blocks:
            z = F.relu_(F.conv2d(F.relu_(F.conv2d(y, *one)), *two, stride=s, padding=1))
            y = F.relu_(F.conv2d(z, *three).add_(y if short is None else F.conv2d(y, *short, stride=s)))
        return F.adaptive_avg_pool2d(y, 14), y.mean((2, 3))

    return run


def training(model, parts, report):
    """Texts (count, tokens) and reports (count, tokens, predicted), one branch after the other."""
    leaves = model.add_lora()

    def ids(count, tokens):
        return torch.randint(0, model.c["vocab"], (count, tokens), device=model.device)

    def run():
        for count, tokens in parts:
            model.forward(model.embed[ids(count, tokens)])[:, -1].float().pow(2).mean().backward()
        count, tokens, predicted = report
        h = model.forward(model.embed[ids(count, tokens)])[:, -predicted:].flatten(0, 1)
        F.cross_entropy(F.linear(h, model.head).float(), ids(count, predicted).flatten()).backward()
        for t in leaves:
            t.grad = None

    return run


class Table:
    def __init__(self, path, seconds, device):
        self.out, self.until, self.device = open(path, "a", buffering=1), time.perf_counter() + seconds, device
        self.failed = 0

    def clock(self, run):
        if self.device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    def row(self, what, detail, measure, tokens=0):
        """measure: the seconds of one run."""
        if time.perf_counter() > self.until:
            print(f"| PyTorch {what} | not run: the time for this part is spent | | | | | | | | |", file=self.out)
            return
        try:
            measure()
            s = sorted(measure() for _ in range(RUNS))
            ms = [1e3 * v for v in (statistics.median(s), s[0], s[-1])]
            rate = f"{1e3 * tokens / ms[0]:.4g}" if tokens else "-"
            print(f"| PyTorch {what} | {detail} | {ms[0]:.5g} | {ms[1]:.5g} to {ms[2]:.5g} | {RUNS} | - | - | {rate} | - | - |",
                  file=self.out)  # fmt: skip
        except Exception as e:  # the next row is no worse for it
            self.failed = 1
            print(f"| PyTorch {what} | {type(e).__name__}: {str(e).splitlines()[0][:100]} | | | | | | | | |", file=self.out)
        if self.device == "cuda":
            torch.cuda.empty_cache()


def main():
    paper, device = sys.argv[1] == "paper", sys.argv[4] if len(sys.argv) > 4 else "cuda"
    table = Table(sys.argv[2], float(sys.argv[3]), device)
    if device == "cuda" and not torch.cuda.is_available():
        return 0  # gpu_torch.py has said so
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    print(f"\n## PyTorch {torch.__version__}, eager: models\n\n| what | case | ms, median | least to most | runs | GB/s |"
          " TFLOP/s | tok/s | share of roof | share of floor |\n|---|---|---|---|---|---|---|---|---|---|", file=table.out)  # fmt: skip
    batches, prefix, prompt, tokens = ((1, 4, 16), 84, 300, 32) if paper else ((1, 2, 3), 5, 9, 2)
    model = Llama(PAPER if paper else MINI, device)

    def text(B, T):
        return torch.randn(B, T, model.c["dim"], device=device, dtype=torch.bfloat16).mul_(0.02)

    for B in batches:
        x = text(B, prefix)

        first = []  # what a generation takes beyond the least that its first token took

        def decode():
            first.extend(table.clock(lambda: model.generate(x, 1)) for _ in range(0 if first else RUNS))
            return (table.clock(lambda: model.generate(x, tokens + 1)) - min(first)) / tokens

        table.row(f"decode, batch {B}", "a token of each row; bf16 weights", decode, B)
    x = text(1, prompt)
    table.row(f"prompt of {prompt} tokens", "to the first token; bf16 weights", lambda: table.clock(lambda: model.generate(x, 1)), prompt)  # fmt: skip
    sizes = (64, (64, 128, 256, 512), (3, 4, 23, 3), (1, 2, 2, 2), 96, 512) if paper else (4, (4, 4, 4, 8), (1,) * 4, (1,) * 4, 2, 56)  # fmt: skip
    for dtype, name in ((torch.bfloat16, "bf16"), (torch.float32, "f32")):
        run = resnet(sizes, device, dtype)
        table.row(f"{sizes[4]} slices of {sizes[5]}x{sizes[5]}", f"{name}, channels last", lambda: table.clock(run))
        del run
    parts, report = (((28, 80), (4, 220)), (4, 300, 206)) if paper else (((4, 5), (2, 6)), (2, 30, 5))
    total = sum(a * b for a, b in parts) + report[0] * report[1]
    step = training(model, parts, report)
    table.row("training step", f"{total} tokens, language model alone; bf16 weights", lambda: table.clock(step), total)
    return table.failed


if __name__ == "__main__":
    sys.exit(main())
