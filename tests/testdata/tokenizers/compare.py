"""Compares our tokenizers with PyPI's over the demo's books and 10,000 odd texts, for each fixture and variations of
them: compare.py BOOKS [TOOL] [KIND...], in the repository's root. TOOL is build/tokenize_lines."""
import copy
import json
import pathlib
import subprocess
import sys
import tempfile

from make import HERE, KINDS, LLAMA3, lines_of, odd_texts
from tokenizers import Tokenizer

QWEN2 = LLAMA3.replace("{1,3}", "")
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def metaspace(scheme: str, split: bool) -> dict:
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}


def split_by(expression: str) -> dict:
    return {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}


def digits(individual: bool, prefix: bool = False) -> dict:
    return {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": individual},
        {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": True}]}


def variations(name: str, described: dict) -> dict[str, dict]:
    """The fixture by its name, and others that differ in a few keys."""
    def changed(**keys) -> dict:
        other = copy.deepcopy(described)
        other["model"].update({key: keys.pop(key) for key in list(keys) if key in other["model"]})
        other.update(keys)
        return other
    kinds = {name: described}
    if name in ("llama_json", "mistral"):
        for scheme in ("always", "first", "never"):
            for split in (True, False):
                kinds[f"{name}, {scheme}, split {split}"] = changed(normalizer=None,
                                                                    pre_tokenizer=metaspace(scheme, split))
        without = {piece.replace("<0x", "<byte"): index for piece, index in described["model"]["vocab"].items()}
        for fuse in (True, False):
            for pre_tokenizer in (described["pre_tokenizer"], metaspace("always", True)):
                kinds[f"{name}, no fallback, fuse {fuse}, {pre_tokenizer and pre_tokenizer['split']}"] = changed(
                    byte_fallback=False, fuse_unk=fuse, vocab=without, pre_tokenizer=pre_tokenizer,
                    normalizer=None if pre_tokenizer else described["normalizer"])
        kinds[f"{name}, no unknown token"] = changed(byte_fallback=False, vocab=without, unk_token=None)
        some = {piece if index % 3 else piece.replace("<0x", "<byte"): index
                for piece, index in described["model"]["vocab"].items()}
        kinds[f"{name}, some bytes"] = changed(vocab=some)
        kinds[f"{name}, ignore merges"] = changed(ignore_merges=True)
    else:
        kinds[f"{name}, digits"] = changed(pre_tokenizer=digits(True))
        kinds[f"{name}, numbers"] = changed(pre_tokenizer=digits(False))
        kinds[f"{name}, prefix"] = changed(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True,
                                                          "trim_offsets": True, "use_regex": True})
        for pattern, expression in (("gpt2", GPT2), ("llama3", LLAMA3), ("qwen2", QWEN2)):
            kinds[f"{name}, split by {pattern}"] = changed(pre_tokenizer=split_by(expression))
    return kinds


def ours_of(tool: str, described: dict, texts: list[str], special: bool) -> list:
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "tokenizer.json").write_text(json.dumps(described), "utf-8")
        told = subprocess.run([tool, folder] + (["special"] if special else []), check=True, capture_output=True,
                              input="".join(json.dumps(text) + "\n" for text in texts).encode())
    return [json.loads(line) for line in told.stdout.splitlines()]


def compare(tool: str, described: dict, texts: list[str], special: bool) -> tuple[int, int, int, int]:
    """Tokens, and texts with other ids, with other ids in parts, with another text when they are detokenized."""
    theirs = Tokenizer.from_str(json.dumps(described))
    theirs.encode_special_tokens = not special
    ids = [encoding.ids for encoding in theirs.encode_batch(texts, add_special_tokens=False)]
    # What is prefixed, and invalid bytes, differ by design: their text is compared where it is the text itself.
    decoded = [theirs.decode(each, skip_special_tokens=True) for each in ids]
    other = parts = lost = 0
    for text, expected, back, (got, in_parts, stream) in zip(texts, ids, decoded,
                                                             ours_of(tool, described, texts, special)):
        if got != expected and other == 0:
            print("   first:", json.dumps(text), got, expected)
        if got == expected and in_parts != got and parts == 0:
            print("   first in parts:", json.dumps(text), got, in_parts)
        other += got != expected
        parts += in_parts != got
        if back == text and stream not in (text, " " + text):
            lost += 1
            if lost == 1:
                print("   first lost:", json.dumps(text), json.dumps(stream))
    return sum(map(len, ids)), other, parts, lost


def main() -> int:
    lines = lines_of(pathlib.Path(sys.argv[1]))
    tool = sys.argv[2] if len(sys.argv) > 2 else "build/tests/tokenize_lines"
    odd = odd_texts(10000, seed=3)
    failed = 0
    for name in sys.argv[3:] or KINDS:
        described = json.loads((HERE / name / "tokenizer.json").read_text("utf-8"))
        for kind, variation in variations(name, described).items():
            books = lines if kind == name else lines[::20]
            for what, texts, special in (("lines", books, False), ("odd texts", odd, False),
                                         ("odd texts, special tokens parsed", odd, True)):
                tokens, *faults = compare(tool, variation, texts, special)
                failed += sum(faults)
                print(f"{kind}: {len(texts)} {what}, {tokens} tokens: {faults[0]} have other ids, "
                      f"{faults[1]} in parts, {faults[2]} are not restored", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
