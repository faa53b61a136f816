"""Writes the tokenizers of README.md that test where a text may be cut: train.py FOLDER, in the repository's root."""
import io
import os
import sys

import sentencepiece

LINES = [line for line in open("models/demo/README.md").read().splitlines() if line.strip()]
LINES += ["Once upon a time there was a king's son.", "é è ê ü ﬁ ﬂ １２ ｆｕｌｌ", "漢字 かな ガギグ", "naïve café Ångström",
          "x  y   z", "Ünïcödé — “quotes” … end", "e\u0301a\u0308o\u0302", "for (int i = 0; i < n; ++i) {",
          "<eot>hello<eot>"] * 3
RULES = [("e\u0301", "é"), ("a\u0308", "ä"), ("o\u0302", "ô"), ("ﬁ", "fi"), ("ﬂ", "fl"), ("１", "1"), ("２", "2"),
         ("\u00a0", " "), ("\u3000", " "), ("\t", " "), ("\u200b", ""), ("...", "…"), ("km", "k m"), ("\u0308", ""),
         ("ab", "c"), ("(c", "x")]
COMMON = dict(vocab_size=400, hard_vocab_limit=False, minloglevel=2, unk_id=0, bos_id=1, eos_id=2,
              character_coverage=0.9995)
KEPT = dict(normalization_rule_name="identity", remove_extra_whitespaces=False)


def kinds(rules: str) -> dict[str, dict]:
    return {
        "llama": dict(model_type="bpe", byte_fallback=True, add_dummy_prefix=True, **KEPT),
        "rules": dict(model_type="bpe", byte_fallback=True, normalization_rule_tsv=rules, remove_extra_whitespaces=False,
                      add_dummy_prefix=False, user_defined_symbols=["<eot>", "km", "(c", "ﬁx"]),
        "unigram": dict(model_type="unigram", byte_fallback=True, normalization_rule_tsv=rules,
                        user_defined_symbols=["<eot>", "ab", "km"]),
        "symbols": dict(model_type="unigram", byte_fallback=False, add_dummy_prefix=True, split_by_whitespace=False,
                        user_defined_symbols=["<eot>", " x"], **KEPT),
        "nfkc": dict(model_type="bpe", byte_fallback=False, normalization_rule_name="nmt_nfkc"),
        "suffix": dict(model_type="bpe", byte_fallback=True, treat_whitespace_as_suffix=True, **KEPT),
    }


def main() -> None:
    folder = sys.argv[1]
    rules = os.path.join(folder, "rules.tsv")

    def code_points(text: str) -> str:
        return " ".join(f"{ord(character):X}" for character in text)
    with open(rules, "w") as file:
        file.writelines(f"{code_points(before)}\t{code_points(after)}\n" for before, after in RULES)
    for name, options in kinds(rules).items():
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(LINES * 2), model_writer=model,
                                                 **COMMON, **options)
        os.makedirs(os.path.join(folder, name), exist_ok=True)
        with open(os.path.join(folder, name, "tokenizer.model"), "wb") as file:
            file.write(model.getvalue())
    os.remove(rules)


main()
