"""metrics.safetensors: the scores of 1,000 report pairs by the reference packages: BLEU, ROUGE-L and CIDEr of
pycocoevalcap, METEOR by its jar, on characters and on jieba's words (with a user dictionary). The texts are made anew by
tests/golden/metric_pairs.h: reports of phantoms (pcrl-synth --reports), random strings (strings.py), and edits of them
by a Philox stream. Kept: the corpus' values, every fourth pair's, and SHA-256 of each hundred pairs' texts (a NUL after
each) and words (0x1F after each word, 0x1E after each text).

make_metrics.py PCRL_SYNTH [ALL.json]: with ALL.json every pair's texts and values too, for check_metrics.py."""
import hashlib
import importlib.metadata
import json
import subprocess
import sys
import tempfile

import jieba
import numpy as np
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge

import philox
import strings

SEED, N, BLOCK, STRIDE, PHANTOMS, LONG = 8244, 1000, 100, 4, 6000000, 10000
USER = "基底节区 3 n\n低密度影\n高密度影\n侧脑室旁\n半卵圆中心 n\n中线结构居中 100000\nT1WI 5\n"
MEASURES = [
    (9, ["左侧", "右侧", "额叶", "脑室", "病灶", "见", "低密度影", "大小约", "CT值约", "厚约", "较大层面", "，", "。"]),
    (3, [(0x30, 0x39)]), (2, [(0x31, 0x39)]), (1, [" "]),
    (3, ["cm", "mm", "HU ", "CT ", "MRI", "T1WI", "T2", "FLAIR ", "×", "x", "*", "-", ".", ",", "、", "II", "III", "级", "约", " a ", " in ", "the "]),
]
LONG_ROW = [(64, [(0x4E00, 0x9FD5)])]
SPECIAL = 16


def base_texts(synth):
    """The text that pair i is made of, truth unless it is special."""
    out = subprocess.run([synth, "--reports", "-n", str(N), "--seed-base", str(PHANTOMS)], check=True, capture_output=True)
    reports = [line.split("\t", 1)[1] for line in out.stdout.decode().splitlines()]
    typed = list(strings.strings(strings.REPORT, "report", N, SEED, 12))
    measures = list(strings.strings(MEASURES, "measures", N, SEED, 16))
    return [(reports, reports, typed, measures)[i % 4][i] for i in range(N)]


def edited(text, other, w):
    c, o = list(text), list(other)
    for _ in range(next(w) % 13):
        kind, at = next(w) % 3, next(w) % (len(c) + 1)
        if kind == 0:
            del c[at:at + 1 + next(w) % 5]
            continue
        source = o if kind == 1 else c
        start = next(w) % (len(source) + 1)
        c[at:at] = source[start:start + 1 + next(w) % (8 if kind == 1 else 20)]
    return "".join(c)


def clean(text):
    return "".join(" " if c in "\n\r\0|" else c for c in text)


def pairs(synth):
    base = base_texts(synth)
    long = "".join(strings.strings(LONG_ROW, "long", 600, SEED, 2))[:LONG]
    short = "".join(base[0:24:4])
    assert len(long) == LONG
    special = [("", ""), ("", base[4]), (base[4], ""), ("左", "左"), ("左", base[4]), (base[4], base[4]), (long, long),
               (long[5000:] + long[:4000], long), (long, base[8]), ("低密度影" * 100, base[8]), ("，" * 60, "，" * 90), ("CT", "CT 45HU"),
               ("a", "the a"), ("左侧额叶" * 20 + "右侧", "左侧额叶" * 30), (short, short[::-1]), (base[0] * 3, base[0] * 2)]
    assert len(special) == SPECIAL
    for i in range(N):
        other = base[(7 * i + 1) % N]
        w = iter(philox.words(4096, i, 0, SEED, philox.fnv1a32("edits")).tolist())
        said, truth = special[i] if i < SPECIAL else (other if i % 3 == 2 else edited(base[i], other, w), base[i])
        yield clean(said), clean(truth)


def reference(said, truth, raw):
    """Corpus values and (N,8) of the pairs: BLEU-1..4, ROUGE-L at white space and at spaces, CIDEr, METEOR."""
    res, gts = ({i: [t] for i, t in enumerate(x)} for x in (said, truth))
    bleu, bleu_each = Bleu(4).compute_score(gts, res, verbose=0)
    spaces, spaces_each = Rouge().compute_score(gts, res)
    split, split_each = Rouge().compute_score(*({i: [" ".join(t[0].split())] for i, t in x.items()} for x in (gts, res)))
    cider, cider_each = Cider().compute_score(gts, res)
    if raw:
        res, gts = ({i: [t] for i, t in enumerate(x)} for x in raw)
    meteor, meteor_each = Meteor().compute_score(gts, res)
    return np.array([*bleu, split, spaces, cider, meteor]), np.array([*bleu_each, split_each, spaces_each, cider_each, meteor_each]).T


def main(synth, everything=None):
    both = list(pairs(synth))
    folder = tempfile.mkdtemp()
    t = jieba.Tokenizer()
    t.tmp_dir = folder
    with tempfile.NamedTemporaryFile() as user:
        user.write(USER.encode())
        user.flush()
        t.load_userdict(user.name)
    words = [[list(t.cut(x, HMM=True)) for x in pair] for pair in both]
    g = philox.Golden(jieba=jieba.__version__, numpy=np.__version__, pycocoevalcap=importlib.metadata.version("pycocoevalcap"), meteor="1.5",
                      seed=SEED, pairs=N, stride=STRIDE, phantoms=PHANTOMS, user=USER)
    sums = [[hashlib.sha256("".join(x).encode()).digest() for x in (
        (x + "\0" for p in both[b:b + BLOCK] for x in p),
        ("".join(x + "\x1f" for x in cut) + "\x1e" for p in words[b:b + BLOCK] for cut in p))] for b in range(0, N, BLOCK)]
    g.put("sha256", np.frombuffer(b"".join(x for b in sums for x in b), dtype=np.uint8).reshape(N // BLOCK, 2, 32))
    none = [[x if x.strip() else "None" for x in p] for p in both]
    kept = {}
    for level in ("char", "jieba"):
        cut = [[["None"] if not x.strip() else list(x) if level == "char" else cut for x, cut in zip(*p)] for p in zip(both, words)]
        said, truth = ([" ".join(w for w in p[k] if w.strip() or level == "jieba") + " " for p in cut] for k in range(2))
        corpus, each = reference(said, truth, [[p[k] for p in none] for k in range(2)] if level == "char" else None)
        print(level, corpus)
        g.put(level + ".corpus", corpus)
        g.put(level + ".each", each[::STRIDE])
        kept[level] = {"corpus": corpus.tolist(), "each": each.tolist()}
    g.save("metrics.safetensors")
    if everything:
        with open(everything, "w", encoding="utf-8") as f:
            json.dump({"pairs": both, "user": USER, **kept}, f, ensure_ascii=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
