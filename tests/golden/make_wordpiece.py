"""wordpiece.json: a small vocabulary, and the ids that BERT's two uncased tokenizers (transformers) give some hundred
strings, cut to 77 (parity row 20). Both must agree, but for the final sigma, which only the older one knows: there the
faster one counts, that being what AutoTokenizer loads."""
import json
import os
import random
import tempfile

import transformers
from transformers import BertTokenizer, BertTokenizerFast

LETTERS = "abcdefghijklmnoprstuvwyz"  # no q, no x: words with them are unknown
WORDS = ("the a of in and no with left right there is are brain low high density lesion hemorrhage infarct basal ganglia "
         "thalamus lobe frontal temporal mid line ventricle un able strasse naive cafe resume i ı ø æ ς σ ß α").split()
SUFFIXES = "ing ed s es tion al ity able ly um ar ##ness ø σ ς α ß".replace("##", "").split()
HAN = "左右侧基底节区见低密度影脑室，。、"
JAMO = "ᄒ ᅡ ᆫ ᄀ ᅳ ᆯ".split()
VOCAB = (["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") +
         list("0123456789") + ["##%d" % i for i in range(10)] + list(LETTERS) + ["##" + c for c in LETTERS] +
         ["Brain", "LOW", "é", "##é"] + [w for w in dict.fromkeys(WORDS) if len(w) > 1 or w > "z"] +
         ["##" + s for s in SUFFIXES if len(s) > 1 or s > "z"] + list(HAN) + ["##底", "左侧", "か", "##か", "##き", "が"] +
         JAMO + ["##" + j for j in JAMO] + ["½", "°", "²", "€", "…", "¿", "😀"])

STRINGS = [
    "", " ", "\t\n\r ", "a", "The brain", "LOW DENSITY in the left Basal Ganglia.", "Brain BRAIN brain", "hemorrhages",
    "infarction", "unableness", "thalamus,right;left", "don't", "a-b--c", "mid-line", "3.5cm x 2cm", "x", "qq a", "axe",
    "café CAFÉ cafe\u0301", "Résumé naïve", "ÀÉÎÕÜ", "Å\u030a a\u030a", "straße STRASSE ẞ", "İstanbul I ı i̇", "Ørsted ÆON",
    "ΑΒΓ α σας", "\u212a \u2126 \u212b", "ǅ ǆ Ǆ", "ﬁ ﬂ", "①②③ ½ ²", "左侧基底节区见低密度影。", "左侧 left侧", "脑a脑1脑", "\uf900\uf967\ufa0e",
    "\U00020000a\U0002a6df\U0002f81a", "が か\u3099 ガ", "한글 한", "\u3000左\u3000右", "left\u00a0right", "left\u2028right\u2029a",
    "left\u200bright\u200d", "left\ufeffright", "a\ufffdb", "a\u0007b\x1bc", "a\u00adb", "\ue000a", "a\u0301\u0301b",
    "\u0301", "\u0301 a", "…¿a?", "$5 €5 £5", "a_b^c`d~e|f", "[CLS", "{a}(b)<c>", "1234567890", "20mm²", "37°", "😀 a😀", "👩\u200d⚕",
    "a" * 100, "a" * 101, "é" * 100 + " a", "é" * 101, "e\u0301" * 100, "e\u0301" * 101, "a " * 74, "a " * 75, "a " * 76, "a " * 300,
    "infarction " * 20, "左" * 74, "左" * 75, "左" * 76, "unable " * 36 + "unableness", "unable " * 37 + "unableness", "b" * 80,
    "ing", "##ing", "# # ing", "the##ing", "Σ ΣΑΣ αΣ", "ÿ Ÿ", "ŉ", "Ⅳ ⅳ", "ａＢｃ", "ß", "e\u0327\u0301", "\u1e69", "\u0958", "क\u093c",
    "\u0e33", "שָׁלוֹם", "العَرَبِيَّة", "\u1100\u1161", "а́бв Й", "a\u0903b", "“quoted” ‘a’ «b»", "a—b–c‐d", "a・b", "、。，！？：；（）", "\u180e a",
]
PARTS = (list("abexqZÉéüŁ7.,-'()/ ") + ["  ", "\t", "the", "ing", "tion", "Infarct", "LOBE", "left ", "左", "底", "侧", "𠀀", "，", "\u0301",
         "\u0327", "\u200d", "\u00a0", "\u3000", "½", "😀", "が", "한", "ё", "Ω", "ς", "\u00ad", "…", "\u2028"])


def random_strings(n):
    r = random.Random(77)
    for _ in range(n):
        yield "".join(r.choice(PARTS) for _ in range(r.choice((3, 8, 20, 60, 150))))


def main():
    assert len(set(VOCAB)) == len(VOCAB)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "vocab.txt")
        with open(path, "w", encoding="utf-8", newline="\n") as f:
            f.write("".join(t + "\n" for t in VOCAB))
        slow, fast = BertTokenizer(path, do_lower_case=True), BertTokenizerFast(path, do_lower_case=True)
        cases = []
        for s in STRINGS + list(random_strings(300)):
            a = slow(s, truncation=True, max_length=77)["input_ids"]
            b = fast(s, truncation=True, max_length=77)["input_ids"]
            if a != b:
                print("differ:", repr(s[:60]), a[:12], b[:12])
                assert "Σ" in s, s
            cases.append([s, b])
    unknown = sum(VOCAB.index("[UNK]") in ids for _, ids in cases)
    print(len(cases), "strings,", unknown, "with unknowns,", sum(len(i) for _, i in cases), "ids")
    with open("wordpiece.json", "w", encoding="utf-8", newline="\n") as f:
        json.dump({"transformers": transformers.__version__, "vocab": VOCAB, "cases": cases}, f, ensure_ascii=True,
                  separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main()
