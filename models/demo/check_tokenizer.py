"""Compares tokenizer.json with tokenizer.model over a folder of texts and random Unicode."""

import argparse
import pathlib
import random
import sys

import sentencepiece
import tokenizers

SPECIAL = ("<s>", "</s>", "<unk>")


def odd_strings(count: int) -> list[str]:
    """Strings of all planes, with runs of spaces. U+2581 is left out: it stands for the space."""
    source = random.Random(1)
    strings = []
    for _ in range(count):
        characters = []
        for _ in range(source.randrange(1, 40)):
            limit = source.choice((0x80, 0x80, 0x250, 0x3000, 0x110000))
            code = source.choice((32, 10, source.randrange(1, limit)))
            if code != 0x2581 and not 0xD800 <= code < 0xE000:
                characters.append(chr(code))
        strings.append("".join(characters))
    return [string for string in strings if not any(text in string for text in SPECIAL)]


def compare(texts: list[str], ours, theirs) -> tuple[int, int, int]:
    """(texts with other ids, texts that do not come back, tokens)."""
    different = lost = count = 0
    for text in texts:
        ids = ours.encode(text)
        encoded = theirs.encode(text, add_special_tokens=False).ids
        different += ids != encoded
        lost += theirs.decode(encoded) != text or ours.decode(ids) != text
        count += len(ids)
    return different, lost, count


def main() -> int:
    here = pathlib.Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path, default=here)
    options = parser.parse_args()
    path = str(options.model / "tokenizer.model")
    ours = sentencepiece.SentencePieceProcessor(model_file=path)
    theirs = tokenizers.Tokenizer.from_file(str(options.model / "tokenizer.json"))
    lines = []
    for book in sorted(options.corpus.glob("pg*.txt")):
        lines += book.read_text(encoding="utf-8").splitlines(keepends=True)
    failed = 0
    for name, texts in (("lines of the books", lines), ("odd strings", odd_strings(10000))):
        different, lost, count = compare(texts, ours, theirs)
        failed += different + lost
        print(f"{len(texts)} {name}, {count} tokens: {different} differ, {lost} not restored")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
