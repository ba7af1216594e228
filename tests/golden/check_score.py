"""By hand: check_score.py BIN [N], the folder of the programs. pcrl-score beside pycocoevalcap 1.2 (its METEOR jar needs Java)
and jieba 0.42.1 on N generated pairs of reports (1200), empty, equal, one-word, long, Latin and digits among them: every study's
numbers and the corpus', by jieba's words and by characters, and how long each took: seconds of the processor, of the JVM all of
its threads'; starts apart (jieba's dictionary, the JVM until its first pair). PASS or FAIL a line; fails as a whole if any does."""
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time

import jieba
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge

BIN = os.path.abspath(sys.argv[1])
N = int(sys.argv[2]) if len(sys.argv) > 2 else 1200
KEYS = ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L (trailing space)", "CIDEr"]
failed = 0


def check(name, ok, more):
    global failed
    failed += not ok
    print("%s  %s: %s" % ("PASS" if ok else "FAIL", name, more))


def clause(r):
    return r.choice(["左侧", "右侧", "双侧", "两侧"]) + r.choice(["基底节区", "额叶", "颞叶", "丘脑", "侧脑室旁", "放射冠"]) + r.choice(
        ["见小片状低密度影", "见斑片状低密度影，边缘欠清晰", "见团块状高密度影，周围见低密度水肿带", "见约%d.%dmm低密度灶" % (r.randrange(9), r.randrange(9))])


def report(r):
    kind = r.randrange(40)
    if kind < 4:
        return ["", "正常", " \n", "CT"][kind]
    rest = ["中线结构居中", "中线结构左移", "脑沟、脑池增宽加深", "各脑室、脑池大小形态正常", "幕下小脑、脑干无异常", "骨窗示颅骨未见明显骨折征象",
            "双侧大脑半球对称", "Head CT: no acute bleed", "CT值约%d-%dHU" % (r.randrange(40), r.randrange(90)), "片状影\n边界清"]
    clauses = [clause(r) for _ in range(r.randint(0, 3))] + r.sample(rest, r.randint(1, 5))
    return "，".join(clauses * (8 if kind == 4 else 1)) + "。"


def pairs(r):
    for _ in range(N):
        truth = report(r)
        yield truth, truth if r.randrange(20) == 0 else report(r)


def words(text, split):
    text = text.replace("\n", " ")
    if not text.strip():
        cut = ["None"]
    elif split == "jieba":
        cut = jieba.cut(text, HMM=True)
    else:
        cut = [c for c in text if not c.isspace()]
    return "".join(w + " " for w in cut)


def children():
    u = resource.getrusage(resource.RUSAGE_CHILDREN)
    return u.ru_utime + u.ru_stime


def meteor(truth, said):
    """Corpus, each, seconds: of the JVM's whole life."""
    before = children()
    m = Meteor()
    score, each = m.compute_score(truth, said)
    m.meteor_p.stdin.close()
    m.meteor_p.wait()
    return score, each, children() - before


def reference(truth, said):
    """The numbers of the corpus and of each study, and what each metric took."""
    seconds, corpus, each = {}, {}, {}

    def run(key, scorer):
        start = time.process_time()
        score, single = scorer.compute_score(truth, said)
        seconds[key] = time.process_time() - start
        return score, single
    score, single = run("BLEU", Bleu(4))
    for k in range(4):
        corpus[KEYS[k]], each[KEYS[k]] = score[k], single[k]
    corpus[KEYS[5]], each[KEYS[5]] = run("ROUGE-L", Rouge())
    corpus[KEYS[6]], each[KEYS[6]] = run("CIDEr", Cider())
    first = next(iter(truth))
    start = meteor({first: truth[first]}, {first: said[first]})[2]
    corpus["METEOR"], each["METEOR"], whole = meteor(truth, said)
    seconds["METEOR"] = max(whole - start, 0)
    return corpus, each, seconds, start


def ours(folder, split):
    out = subprocess.run([BIN + "/pcrl-score", "--ref", folder + "/ref.json", "--hyp", folder + "/hyp.json", "--split", split, "--json",
                          "--each", folder + "/each", "--time", "--bootstrap", "2"], check=True, capture_output=True, text=True)
    took = re.search(r"([\d.]+) s to open.*pairs in ([\d.]+) s: cut ([\d.]+), BLEU ([\d.]+), METEOR ([\d.]+), ROUGE-L ([\d.]+), CIDEr ([\d.]+)",
                     out.stderr)
    with open(folder + "/each") as f:
        return json.loads(out.stdout), [json.loads(line) for line in f], [float(x) for x in took.groups()]


start = time.process_time()
jieba.initialize()
dictionary = time.process_time() - start
texts = list(pairs(random.Random(7)))
with tempfile.TemporaryDirectory() as folder:
    for k, name in ((0, "ref"), (1, "hyp")):
        with open("%s/%s.json" % (folder, name), "w") as f:
            json.dump([{"id": str(i), "findings": t[k]} for i, t in enumerate(texts)], f, ensure_ascii=False)
    for split in ("jieba", "char"):
        start = time.process_time()
        truth = {i: [words(t[0], split)] for i, t in enumerate(texts)}
        said = {i: [words(t[1], split)] for i, t in enumerate(texts)}
        cut = time.process_time() - start
        corpus, each, seconds, jvm = reference(truth, said)
        o, studies, took = ours(folder, split)
        for key in KEYS:
            tolerance = 1e-6 if key == "METEOR" else 1e-9
            worst = max(abs(s[key] - x) for s, x in zip(studies, each[key]))
            check("%s, %s" % (split, key), abs(o[key] - corpus[key]) <= tolerance and worst <= tolerance,
                  "corpus %.9f, off by %.1e; %d studies by at most %.1e" % (corpus[key], abs(o[key] - corpus[key]), N, worst))
        theirs = [cut, seconds["BLEU"], seconds["METEOR"], seconds["ROUGE-L"], seconds["CIDEr"]]
        print("time  %-8s %9s %9s %9s %9s %9s %9s   start" % (split, "cut", "BLEU", "METEOR", "ROUGE-L", "CIDEr", "in all"))
        print("time  packages %9.3f %9.3f %9.3f %9.3f %9.3f %9.3f   JVM %.3f%s" % (
            *theirs, sum(theirs), jvm, ", dictionary %.3f" % dictionary if split == "jieba" else ""))
        print("time  ours     %9.3f %9.3f %9.3f %9.3f %9.3f %9.3f   %.3f" % (*took[2:], took[1], took[0]))
        print("time  ratio    " + " ".join("%9.1f" % (a / max(b, 1e-3)) for a, b in zip(theirs + [sum(theirs)], took[2:] + [took[1]])))
sys.exit(failed > 0)
