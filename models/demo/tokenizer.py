"""Trains the SentencePiece tokenizer and writes it in Hugging Face's form as well.

The two files must give the same ids, for a server may read either. That holds for the trainer
options below only: byte fallback, no normalization, no dummy prefix, no removal of spaces.
"""

import io
import json
import pathlib

import sentencepiece

VOCABULARY = 4096
UNK, BOS, EOS = 0, 1, 2
SPACE = "\u2581"


def train(tales: list[str]) -> bytes:
    """The serialized model. Lines are the sentences: a line break itself stays a byte piece."""
    lines = (line for tale in tales for line in tale.splitlines() if line)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines,
        model_writer=model,
        vocab_size=VOCABULARY,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        max_sentence_length=100000,
        unk_id=UNK,
        bos_id=BOS,
        eos_id=EOS,
        num_threads=2,
        minloglevel=1,
    )
    return model.getvalue()


def merges_of(processor: sentencepiece.SentencePieceProcessor) -> list[list[str]]:
    """Every split of a normal piece into two normal pieces.

    SentencePiece merges whichever neighbours form the piece of the lowest id, however that piece
    came about in training; so each possible split is a merge, ranked by the piece it makes, and
    for one piece in the order (left id, right id).
    """
    ids = {
        processor.id_to_piece(i): i
        for i in range(processor.get_piece_size())
        if not (processor.is_control(i) or processor.is_unknown(i) or processor.is_byte(i))
    }
    merges = []
    for piece in ids:
        splits = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        known = [split for split in splits if split[0] in ids and split[1] in ids]
        merges += sorted(known, key=lambda split: (ids[split[0]], ids[split[1]]))
    return [list(merge) for merge in merges]


def hugging_face_form(processor: sentencepiece.SentencePieceProcessor) -> dict:
    """The content of tokenizer.json."""
    special = [
        {
            "id": i,
            "content": processor.id_to_piece(i),
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for i in (UNK, BOS, EOS)
    ]
    bos = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    pair = {"Sequence": {"id": "B", "type_id": 1}}
    bos_again = {"SpecialToken": {"id": "<s>", "type_id": 1}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [bos, text],
            "pair": [bos, text, bos_again, pair],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [BOS], "tokens": ["<s>"]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {processor.id_to_piece(i): i for i in range(processor.get_piece_size())},
            "merges": merges_of(processor),
        },
    }


def write(model: bytes, folder: pathlib.Path) -> None:
    """All tokenizer files of a model directory."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    (folder / "tokenizer.model").write_bytes(model)
    form = hugging_face_form(processor)
    text = json.dumps(form, ensure_ascii=False, indent=1) + "\n"
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    settings = {
        "add_bos_token": True,
        "add_eos_token": False,
        "add_prefix_space": False,
        **names,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1000000,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps(names, indent=2) + "\n")
