"""Trains the tokenizer.json fixtures on the demo's books with PyPI's tokenizers, and keeps the ids that it gives:
make.py BOOKS, in the repository's root; BOOKS is the folder of models/demo/train.py. Needs tokenizers 0.22."""
import json
import pathlib
import random
import sys
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path("tests/testdata/tokenizers")
PIECES = 4000
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")


def lines_of(books: pathlib.Path) -> list[str]:
    return [line for path in sorted(books.glob("pg*.txt")) for line in path.read_text("utf-8").splitlines() if line]


def train(tokenizer: Tokenizer, lines: list[str], **options) -> None:
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(show_progress=False, **options))


def byte_level(lines: list[str], normalizer, pre_tokenizer, added: list[AddedToken], specials: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, lines, vocab_size=PIECES, special_tokens=specials,
          initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.add_tokens(added)
    return tokenizer


def fallback(lines: list[str], added: list[AddedToken]) -> dict:
    """The JSON of a tokenizer whose characters outside the alphabet are bytes, and whose spaces are U+2581."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    head = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    train(tokenizer, lines, vocab_size=PIECES, special_tokens=head, limit_alphabet=80)
    tokenizer.add_tokens(added)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    described = json.loads(tokenizer.to_str())
    described["added_tokens"] = [token for token in described["added_tokens"]
                                 if not token["content"].startswith("<0x")]
    return described


def gpt2(lines: list[str]) -> dict:
    tokenizer = byte_level(lines, None, pre_tokenizers.ByteLevel(add_prefix_space=False), [], ["<|endoftext|>"])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    described = json.loads(tokenizer.to_str())
    described["model"]["merges"] = [" ".join(pair) for pair in described["model"]["merges"]]
    return described


def neox(lines: list[str]) -> dict:
    added = [AddedToken(" " * count, normalized=True) for count in range(24, 1, -1)]
    added += [AddedToken("Pâté", normalized=True), AddedToken("end.", single_word=True, normalized=True)]
    tokenizer = byte_level(lines, normalizers.NFC(), pre_tokenizers.ByteLevel(add_prefix_space=False), added,
                           ["<|endoftext|>", "<|padding|>"])
    return json.loads(tokenizer.to_str())


def llama3(lines: list[str]) -> dict:
    pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
                                             pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    added = [AddedToken("<tool>", rstrip=True), AddedToken("<end>", lstrip=True, normalized=False),
             AddedToken("tale", single_word=True)]
    tokenizer = byte_level(lines, None, pre_tokenizer, added, ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"])
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=True),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 0)])])
    described = json.loads(tokenizer.to_str())
    described["model"]["ignore_merges"] = True
    return described


def llama(lines: list[str]) -> dict:
    described = fallback(lines, [AddedToken("<eot>", normalized=True), AddedToken("[INST]", normalized=False)])
    described["normalizer"] = {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
    described["pre_tokenizer"] = None
    template = Tokenizer.from_str(json.dumps(described))
    template.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    described["post_processor"] = json.loads(template.to_str())["post_processor"]
    return described


def mistral(lines: list[str]) -> dict:
    described = fallback(lines, [AddedToken("[INST]", normalized=False, rstrip=True),
                                 AddedToken("king", single_word=True)])
    described["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    return described


KINDS = {"gpt2": gpt2, "neox": neox, "llama3": llama3, "llama_json": llama, "mistral": mistral}

ODD = ["", " ", "  ", "   ", "\n", "\n\n", " \n", "\n ", "\r\n", "\t", "\t\t", "a", "b", "ab", "Once", " upon", "time",
       "it's", "IT'S", "'ll", "'LL", "'ſ", "don't", "'", "''", "é", "e\u0301", "\u0301", "A\u030a", "\u212b", "ﬁ", "1",
       "12", "1234", "٣", "Ⅷ", "½", "²", "漢字", "かな", "カ\u3099", "\u1112\u1161\u11ab", "한국어", "العربية", "👩‍👩‍👧", "🙂",
       "\u00a0", "\u3000", "\u2009", "\u200b", "\u2028", "\x85", "\x00", "\x7f", "\x01", "\ufeff", "▁", "▁▁", "Ġ", "Ċ",
       "<s>", "</s>", "<unk>", "<0x0A>", "<|endoftext|>", "<|eot_id|>", "<|begin_of_text|>", "<|padding|>", "<tool>",
       " <tool> ", "<end>", "  <end>", "tale", " tale", "tales", "king", " king ", "kings", "[INST]", " [INST] ",
       "<eot>", "<e", "ot>", "Pâté", "Pa\u0302te\u0301", "end.", "...", "…", "—", "“Yes,”", ", said ", "for (int i=0;",
       "{}", "//", "!?", "_", "<", ">", "\U0010ffff", "\ue000", "Ünï", "ß", "İ", "ǅ", "\u0345", "α\u0345", "\u1fb3"]


def known(code: int) -> str:
    """The character; nothing for a surrogate, and for what a later version of Unicode than 14 may assign."""
    is_new = unicodedata.category(chr(code)) == "Cn" and code < 0x40000
    return "" if is_new or 0xD800 <= code < 0xE000 else chr(code)


def odd_texts(count: int, seed: int) -> list[str]:
    """Texts of what is between the rules: spaces, marks, digits, added tokens and their halves, any character."""
    draw = random.Random(seed)
    texts = []
    while len(texts) < count:
        parts = []
        for _ in range(draw.randint(1, 16)):
            kind = draw.random()
            if kind < 0.8:
                parts.append(draw.choice(ODD))
            elif kind < 0.9:
                parts.append(known(draw.randrange(0x20, 0x3000)))
            else:
                parts.append(known(draw.randrange(0x110000)))
        texts.append("".join(parts))
    return texts


def main() -> None:
    lines = lines_of(pathlib.Path(sys.argv[1]))
    texts = odd_texts(180, seed=1) + random.Random(2).sample(lines, 30)
    expected = {"texts": texts, "kinds": {}}
    for name, make in KINDS.items():
        described = make(lines)
        path = HERE / name / "tokenizer.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(described, ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8")
        tokenizer = Tokenizer.from_file(str(path))
        ids = []
        for as_text in (True, False):
            tokenizer.encode_special_tokens = as_text
            ids.append([tokenizer.encode(text, add_special_tokens=False).ids for text in texts])
        # With special tokens parsed, null stands for the same ids.
        parsed = [None if plain == other else other for plain, other in zip(*ids)]
        expected["kinds"][name] = {"ids": ids[0], "parsed": parsed}
    text = json.dumps(expected, separators=(",", ":")).replace("],[", "],\n[")
    (HERE / "expected.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
