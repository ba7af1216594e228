"""jieba.json: words of 5,000 sentences by jieba 0.42.1 (Debian's python3-jieba), with and without the hidden Markov
model, with and without a user dictionary (parity row 28). Of the sentences every other one is the report of a phantom
(pcrl-synth --reports), the rest are random (strings.py). Of each 100 the SHA-256 of the texts (each with a NUL after it)
and of the words in each of the four ways (each word with 0x1F, each sentence with 0x1E after it); a few sentences whole.

make_jieba.py PCRL_SYNTH"""
import hashlib
import json
import subprocess
import sys
import tempfile

import jieba

import strings

SEED, N, BLOCK, PARTS, WHOLE, PHANTOMS = 8244, 5000, 100, 16, 12, 5000000
# Frequencies given and not, tags, spaces inside words, what only looks like frequency and tag, a byte order mark, words
# that the model must not make (frequency 0), words of the dictionary given again, Latin.
USER = ("\ufeff基底节区见 3 n\n小片状低密度影\n左侧基底节 5\n脑干 nz\n低密度 0\n\n  \n颞叶 12 n \r\n半卵圆中心 n\n中线结构居中 100000\nT1WI 5\nCT值45HU\n"
        "腔隙性 脑梗死 4 n\n大 脑\n张三丰 9 NZ\n二〇二四年\n建议复查 1 n x\n克雅 0\n氏病 0 n\n晓明 0\n阿尔茨海默 0\nGCS评分 3\n侧脑室旁\n侧脑室旁 7\n"
        "L4/5 3\n,，\n3.14 2\n左\n右 0\n B超 99999\n高密度影周围\n").encode()
SENTENCES = ["左侧基底节区见小片状低密度影，边缘欠清晰，无占位效应。", "", "a", "CT", "\r\n\r\r\n", "我来到北京清华大学", "他来到了网易杭研大厦",
             "小明硕士毕业于中国科学院计算所，后在日本京都大学深造", "3.5cm×2.0cm，CT值约45HU，50%以上", "1.2.3%abc-._+#&", "蛛网膜下腔出血？", "𠀀𠀁龦龧"]


def sentences(synth):
    out = subprocess.run([synth, "--reports", "-n", str(N // 2), "--seed-base", str(PHANTOMS)], check=True, capture_output=True)
    reports = [line.split("\t", 1)[1] for line in out.stdout.decode().splitlines()]
    assert len(reports) == N // 2
    for report, other in zip(reports, strings.strings(strings.REPORT, "report", N // 2, SEED, PARTS)):
        yield report
        yield other


def main(synth):
    assert jieba.__version__ == "0.42.1"
    texts = list(sentences(synth))
    ways, names = [], []
    with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile() as user:
        user.write(USER)
        user.flush()
        for own in (False, True):  # in this order: the words that the model must not make are of the whole module
            t = jieba.Tokenizer()
            t.tmp_dir = folder
            if own:
                t.load_userdict(user.name)
            for hmm in (True, False):
                ways.append([list(t.cut(s, HMM=hmm)) for s in texts + SENTENCES])
                names.append({"user": own, "hmm": hmm})
    for w in ways:
        assert all("".join(x) == s for x, s in zip(w, texts + SENTENCES))
    blocks = []
    for b in range(0, N, BLOCK):
        sums = ["".join(s + "\0" for s in texts[b:b + BLOCK])]
        sums += ["".join("".join(x + "\x1f" for x in words) + "\x1e" for words in w[b:b + BLOCK]) for w in ways]
        blocks.append([hashlib.sha256(x.encode()).hexdigest() for x in sums])
    some = list(range(WHOLE)) + list(range(N, N + len(SENTENCES)))
    whole = [[(texts + SENTENCES)[i]] + [w[i] for w in ways] for i in some]
    print([sum(map(len, w)) for w in ways], "words;", [sum(a != b for a, b in zip(ways[0], w)) for w in ways], "sentences differ from the first way")
    with open("jieba.json", "w", encoding="utf-8", newline="\n") as f:
        json.dump({"jieba": jieba.__version__, "seed": SEED, "parts": PARTS, "phantoms": PHANTOMS, "block": BLOCK, "ways": names,
                   "user": USER.decode(), "blocks": blocks, "whole": whole}, f, ensure_ascii=True, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
