"""gguf_tokenizer.gguf: a small vocabulary (256 bytes, 271 merges, a token that no merge makes, two control tokens) as a
GGUF file's keys.
gguf_tokenizer.json: ids of 300 strings for each name of tokenizer.ggml.pre, as the tokenizers package has them."""
import json

import gguf
import tokenizers
from gguf_tokenizers import PRE, strings, tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

TEXT = ["The patient's head: no 12 mm lesion, it's 345 cases. don't  do   this\n\n(left) ... !? the word the",
        "左侧基底节区见小片状低密度影，边缘欠清晰，无占位效应。 右侧", "1234567890 100 200 ①②½ ²", "a+b <= c ^ d ~ e | f",
        "élève café e\u0301 Ωж 🙂🙂 👩‍⚕️ €uro ©©", "\t\tif x:\r\n    y = 12  \u00a0\u3000z"]


def main():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)  # merges across all splits
    t.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=556, min_frequency=1, show_progress=False,
                                                    initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    model = json.loads(t.to_str())["model"]
    vocab, merges = model["vocab"], [" ".join(m) for m in model["merges"]]
    tokens = ["<|end|>", "<|start|>"] + sorted(vocab, key=vocab.get) + ["Ġzq"]
    types = [3, 3] + [1] * (len(vocab) + 1)
    w = gguf.GGUFWriter("gguf_tokenizer.gguf", "llama")
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list(tokens)
    w.add_token_types(types)
    w.add_token_merges(merges)
    w.add_eos_token_id(0)
    w.add_bos_token_id(1)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()
    texts = TEXT + ["a zq zqx"] + strings(300, 1)
    out = {"tokenizers": tokenizers.__version__, "gguf": "0.19.0", "tokens": len(tokens), "texts": texts, "ids": {}}
    for pre in PRE:
        one = tokenizer(tokens, merges, types, pre)
        out["ids"][pre] = [one.encode(s, add_special_tokens=False).ids for s in texts]
    with open("gguf_tokenizer.json", "w") as f:
        json.dump(out, f, ensure_ascii=True, separators=(",", ":"))
    different = sum(out["ids"]["smollm"][i] != out["ids"]["gpt-2"][i] for i in range(len(texts)))
    print(len(tokens), "tokens;", different, "texts differ between smollm and gpt-2")


if __name__ == "__main__":
    main()
