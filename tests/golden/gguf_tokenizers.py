"""The tokenizer of a GGUF file as the tokenizers package computes it: byte-level BPE from the file's own tokens and
merges, and for each name of tokenizer.ggml.pre the steps that cut text, one after the other, as llama.cpp lists them
and as the models' own tokenizer.json has them."""
import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
          r"\s+(?!\S)|\s+")


def splits(*patterns):
    steps = [pre_tokenizers.Split(Regex(p), "isolated") for p in patterns]
    return pre_tokenizers.Sequence(steps + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


PRE = {
    "llama-bpe": splits(LLAMA3),
    # SmolLM2's tokenizer.json: single digits, then ByteLevel with its own pattern, which is GPT-2's
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                       pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]),
    "gpt-2": pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    "default": splits(r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"),
}
NORMAL = 1


def tokenizer(tokens, merges, types, pre):
    ids = {t: i for i, t in enumerate(tokens)}
    t = Tokenizer(models.BPE(vocab=ids, merges=[tuple(m.split(" ")) for m in merges], ignore_merges=pre == "llama-bpe"))
    t.pre_tokenizer = PRE[pre]
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s, k in zip(tokens, types) if k != NORMAL])
    return t


PARTS = ["a", "Z", "word", " the", "don't", "'ll", "'S", "’s", "1", "12", "345", "6789", "①", "½", "٣", "²", " ", "  ",
         "   ", "\t", "\n", "\n\n", "\r\n", "\u00a0", "\u3000", "\u2028", ".", ",", "...", "!?", "(", ")", "$", "+", "<=",
         "^", "~", "|", "`", "_", "-", "/", "\\", "\"", "#", "@", "©", "€", "→", "🙂", "👩‍⚕️", "é", "e\u0301", "ß", "Ω",
         "ж", "左侧", "低密度影", "，", "。", "、", "가", "ا", "\u200b", "\ufeff", "\x7f", "\x85", "\u180e"]


def strings(n, seed):
    """n strings of 1 to 24 of these parts."""
    r = np.random.default_rng(seed)
    return ["".join(r.choice(PARTS) for _ in range(r.integers(1, 25))) for _ in range(n)]
