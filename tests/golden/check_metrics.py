"""pcrl-score beside the reference packages: pycocoevalcap (BLEU, ROUGE-L, CIDEr, METEOR's jar) on jieba's words. By
hand, not in CI:

    python3 tests/golden/check_metrics.py [--bin build/release/bin] [--studies 1200] [--rounds 5]
    python3 tests/golden/check_metrics.py --all ALL.json    (of make_metrics.py: its 1,000 pairs, each and every value)

Reports are those of phantoms, scored against the reports of other phantoms. Printed: the largest difference of each
metric, of the corpus and of single reports; the times of both, rounds interleaved, medians; what starting up takes
(the JVM and its tables, jieba's dictionary) stands apart. Ends with 1 if a difference
is over 1e-9 (METEOR 1e-6)."""
import argparse
import contextlib
import io
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

import jieba
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge

NAMES = ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "ROUGE-L (trailing space)", "CIDEr", "METEOR"]
TOLERANCE = [1e-9] * 7 + [1e-6]


def reports(args, n, seed):
    out = subprocess.run([os.path.join(args.bin, "pcrl-synth"), "--reports", "-n", str(n), "--seed-base", str(seed)],
                         check=True, capture_output=True)
    return [line.split("\t", 1)[1] for line in out.stdout.decode().splitlines()]


class Reference:
    """The packages, started: start is what that took."""

    def __init__(self, user=None):
        at = time.perf_counter()
        self.jieba = jieba.Tokenizer()
        with contextlib.redirect_stderr(io.StringIO()):
            self.jieba.initialize()
        if user:
            self.jieba.load_userdict(user)
        dictionary = time.perf_counter()
        self.meteor = Meteor()
        self.meteor.compute_score({0: ["a"]}, {0: ["a"]})  # the JVM answers once its tables are there
        self.start = dictionary - at, time.perf_counter() - dictionary

    def score(self, said, truth):
        words = [{i: [" ".join(self.jieba.cut(t, HMM=True)) + " " if t.strip() else "None "] for i, t in enumerate(x)}
                 for x in (said, truth)]
        res, gts = words
        bleu, bleu_each = Bleu(4).compute_score(gts, res, verbose=0)
        spaces, spaces_each = Rouge().compute_score(gts, res)
        cider, cider_each = Cider().compute_score(gts, res)
        meteor, meteor_each = self.meteor.compute_score(gts, res)
        return [*bleu, None, spaces, cider, meteor], list(zip(*bleu_each, [None] * len(said), spaces_each, cider_each, meteor_each))


def write(path, texts):
    with open(path, "w", encoding="utf-8") as f:
        json.dump([{"id": str(i), "findings": t} for i, t in enumerate(texts)], f, ensure_ascii=False)


class Ours:
    def __init__(self, args, folder, said, truth, level="jieba", user=None):
        self.names = [os.path.join(folder, f"{x}-{len(said)}.json") for x in ("ref", "hyp", "each")]
        write(self.names[0], truth)
        write(self.names[1], said)
        self.command = [os.path.join(args.bin, "pcrl-score"), "--ref", self.names[0], "--hyp", self.names[1], "--split", level,
                        "--bootstrap", "2", "--threads", "1", "--json", "--time"] + (["--user-dict", user] if user else [])

    def run(self):
        at = time.perf_counter()
        out = subprocess.run(self.command, check=True, capture_output=True, text=True)
        whole = time.perf_counter() - at
        self.took = [float(x) for x in re.search(r"([\d.]+) s to open.*pairs in ([\d.]+) s:", out.stderr).groups()]
        return json.loads(out.stdout), whole

    def values(self):
        self.command += ["--each", self.names[2]]
        whole, _ = self.run()
        with open(self.names[2], encoding="utf-8") as f:
            rows = [json.loads(line) for line in f]
        return [whole[n] for n in NAMES], [[r[n] for n in NAMES] for r in rows]


def compare(level, corpus, each, ours_corpus, ours_each):
    bad = False
    for k, name in enumerate(NAMES):
        if corpus[k] is None:
            continue
        of_corpus = abs(corpus[k] - ours_corpus[k])
        of_each = max(abs(a[k] - b[k]) for a, b in zip(each, ours_each))
        over = not (of_corpus <= TOLERANCE[k] and of_each <= TOLERANCE[k])
        bad |= over
        print(f"{level:6} {name:24} {ours_corpus[k]:.6f}  corpus off by {of_corpus:.1e}, a report by {of_each:.1e}{'  OVER' if over else ''}")
    return bad


def check_all(args, folder):
    """The pairs of make_metrics.py, everything."""
    with open(args.all, encoding="utf-8") as f:
        data = json.load(f)
    user = os.path.join(folder, "user.txt")
    with open(user, "w", encoding="utf-8") as f:
        f.write(data["user"])
    bad = False
    said, truth = zip(*data["pairs"])
    for level in ("char", "jieba"):
        if level == "char":  # METEOR of make_metrics.py is of the texts as they are, pcrl-score's of their characters
            data[level]["corpus"][7] = None
        corpus, each = Ours(args, folder, said, truth, level, user if level == "jieba" else None).values()
        bad |= compare(level, data[level]["corpus"], data[level]["each"], corpus, each)
    return bad


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--studies", type=int, default=1200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--all")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.all:
            return check_all(args, folder)
        truth, said = reports(args, args.studies, 9000000), reports(args, args.studies, 9500000)
        reference, ours = Reference(), Ours(args, folder, said, truth)
        times = [[], [], []]
        for _ in range(args.rounds):
            at = time.perf_counter()
            corpus, each = reference.score(said, truth)
            times[0].append(time.perf_counter() - at)
            times[1].append(ours.run()[1])
            times[2].append(ours.took)
        bad = compare("jieba", corpus, each, *ours.values())
    theirs, whole = (statistics.median(x) for x in times[:2])
    start, text = (statistics.median(x) for x in zip(*times[2]))
    print(f"{args.studies} reports, median of {args.rounds} rounds: cutting and metrics: the packages {theirs:.2f} s (before that, "
          f"jieba's dictionary {reference.start[0]:.2f} s, the JVM {reference.start[1]:.2f} s), ours {text:.3f} s (before that "
          f"{start:.2f} s), {theirs / text:.0f} times as fast; pcrl-score as a whole, with findings, keywords and controls, {whole:.2f} s")
    return bad


if __name__ == "__main__":
    sys.exit(main())
