"""llama3_ids.json: ids of 10,000 random strings (strings.py) under LLaMA-3's vocabulary (parity row 9), as the tokenizers
library gives them from a tokenizer.json and tiktoken from a tokenizer.model; the two must agree on every one. Of each 100
strings the SHA-256 of the texts (each with a NUL after it) and of the ids (count, ids; little-endian int32); a few
strings whole; and decoded bytes that are no UTF-8.

make_llama3_ids.py TOKENIZER_JSON TOKENIZER_MODEL (the second is in PyPI's package llama-models)"""
import base64
import hashlib
import json
import struct
import sys

import numpy as np
import tiktoken
import tokenizers

import strings

SEED, N, BLOCK, PARTS, WHOLE = 8244, 10000, 100, 40, 24
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEXTS = ["Hello world", "\n\n", "\n", "system", "user", "assistant", "Summarize the following cranial diagnosis in one word.",
         "左侧基底节区见小片状低密度影", "脑室、脑池", "颞叶", "蛛网膜下腔", "[Img]", "[/Img]", "[MRG]", "This is a test sentence.", "",
         "<|begin_of_text|>a<|eot_id|>", "左侧基底节区见小片状低密度影，边缘欠清晰，无占位效应。"]


def main(json_path, model_path):
    hf = tokenizers.Tokenizer.from_file(json_path)
    hf.encode_special_tokens = True
    ranks = {base64.b64decode(t): int(r) for t, r in (line.split() for line in open(model_path, "rb"))}
    tt = tiktoken.Encoding("llama3", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})

    def ids(text):
        a, b = hf.encode(text, add_special_tokens=False).ids, tt.encode_ordinary(text)
        assert a == b, (text, a, b)
        assert tt.decode(b) == text
        return b

    blocks, whole, texts, codes, count = [], [], hashlib.sha256(), hashlib.sha256(), 0
    for i, s in enumerate(strings.strings(strings.LATIN, "latin", N, SEED, PARTS)):
        x = ids(s)
        count += len(x)
        texts.update(s.encode() + b"\0")
        codes.update(struct.pack("<%di" % (1 + len(x)), len(x), *x))
        if i < WHOLE:
            whole.append([s, x])
        if i % BLOCK == BLOCK - 1:
            blocks.append([texts.hexdigest(), codes.hexdigest()])
            texts, codes = hashlib.sha256(), hashlib.sha256()
    rng = np.random.default_rng(SEED)
    fragments = []  # random ids, decoded: U+FFFD where a character is cut
    for _ in range(60):
        x = rng.integers(0, 128000, rng.integers(1, 9)).tolist()
        x[0] = int(rng.choice([252, 19817, 101921, 242, 32239, 115716, 17297, 90070]))
        fragments.append([x, tt.decode(x, errors="replace")])
    print(count, "ids,", sum("\ufffd" in t for _, t in fragments), "of", len(fragments), "decoded texts with U+FFFD")
    with open("llama3_ids.json", "w", encoding="utf-8", newline="\n") as f:
        json.dump({"tokenizers": tokenizers.__version__, "tiktoken": tiktoken.__version__, "seed": SEED, "parts": PARTS,
                   "block": BLOCK, "blocks": blocks, "whole": whole, "texts": [[t, ids(t)] for t in TEXTS],
                   "fragments": fragments}, f, ensure_ascii=True, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
