"""Writes a training checkpoint as a model directory in Hugging Face's (fla) layout."""

import argparse
import json
import pathlib
import shutil

import numpy
import safetensors.torch
import torch

import tokenizer
from recurrent import Recurrent, log_softmax
from retnet import RetNet, Shape

TOKENIZER_FILES = (
    "tokenizer.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
)


def config_of(shape: Shape) -> dict:
    """Every key that a reader may look at, so that nobody's defaults matter."""
    return {
        "architectures": ["RetNetForCausalLM"],
        "model_type": "retnet",
        "attn": None,
        "attn_mode": "chunk",
        "attnres_block_size": None,
        "bos_token_id": tokenizer.BOS,
        "elementwise_affine": True,
        "eos_token_id": tokenizer.EOS,
        "expand_k": 1.0,
        "expand_v": 2.0,
        "feature_map": None,
        "fuse_cross_entropy": True,
        "fuse_norm": True,
        "fuse_swiglu": True,
        "hidden_act": "swish",
        "hidden_ratio": 2,
        "hidden_size": shape.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": shape.intermediate_size,
        "max_position_embeddings": 2048,
        "norm_eps": shape.norm_eps,
        "num_heads": shape.num_heads,
        "num_hidden_layers": shape.num_hidden_layers,
        "num_kv_heads": None,
        "pad_token_id": None,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "use_output_gate": True,
        "use_short_conv": False,
        "vocab_size": shape.vocab_size,
    }


GENERATION = {
    "bos_token_id": tokenizer.BOS,
    "eos_token_id": tokenizer.EOS,
    "do_sample": True,
    "temperature": 0.7,
    "top_p": 0.95,
    "max_new_tokens": 400,
}


def write_json(path: pathlib.Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def export(work: pathlib.Path, checkpoint: str, folder: pathlib.Path) -> None:
    """The checkpoint of a work folder and its tokenizer, as a model directory."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = torch.load(work / checkpoint, weights_only=True)["model"]
    rounded = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in weights.items()}
    path = folder / "model.safetensors"
    safetensors.torch.save_file(rounded, path, metadata={"format": "pt"})
    path.chmod(0o644)  # the library leaves it to its owner alone
    write_json(folder / "config.json", config_of(Shape()))
    write_json(folder / "generation_config.json", GENERATION)
    for name in TOKENIZER_FILES:
        shutil.copyfile(work / name, folder / name)


def recurrent_losses(model: Recurrent, rows: numpy.ndarray) -> numpy.ndarray:
    """-log p of each next token, [rows, length], of rows [rows, length + 1]."""
    states, losses = model.start(len(rows)), []
    for position in range(rows.shape[1] - 1):
        logs = log_softmax(model.step(rows[:, position], states, position))
        losses.append(-numpy.take_along_axis(logs, rows[:, position + 1, None], axis=1)[:, 0])
    return numpy.stack(losses, axis=1)


def check(work: pathlib.Path, folder: pathlib.Path, length: int = 256, rows: int = 16) -> None:
    """The exported weights: the recurrent form must give the losses of the parallel form."""
    heldout = numpy.load(work / "heldout.npy")[: rows * length + 1].astype(numpy.int64)
    cut = numpy.stack([heldout[i * length : (i + 1) * length + 1] for i in range(rows)])
    model = RetNet(Shape(), length, dropout=0.0).eval()
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    tokens = torch.from_numpy(cut)
    with torch.no_grad():
        parallel = [model(row[None, :-1], row[None, 1:]).item() for row in tokens]
    recurrent = recurrent_losses(Recurrent(folder), cut).mean(axis=1)
    difference = numpy.abs(recurrent - numpy.array(parallel)).max()
    print(f"mean loss {recurrent.mean():.4f}, the two forms differ by at most {difference:.1e}")
    if difference > 1e-4:
        raise SystemExit("the forms do not agree")


def write_golden(work: pathlib.Path, folder: pathlib.Path, path: pathlib.Path) -> None:
    """What another implementation must give for the first 64 tokens of a held-out tale."""
    tokens = numpy.load(work / "heldout.npy")[:64].astype(numpy.int64)
    model = Recurrent(folder)
    states, logits = model.start(1), []
    for position, token in enumerate(tokens):
        logits.append(model.step(tokens[position : position + 1], states, position)[0])
    logs = log_softmax(numpy.stack(logits))
    golden = {
        "tokens": tokens.tolist(),
        "logits_first": logits[0].tolist(),
        "logits_last": logits[-1].tolist(),
        "logprobs": [float(logs[i, tokens[i + 1]]) for i in range(len(tokens) - 1)],
    }
    path.write_text(json.dumps(golden) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=pathlib.Path, required=True, help="the training's folder")
    parser.add_argument("--checkpoint", default="best.pt")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    parser.add_argument("--check", action="store_true", help="compare with the recurrent form")
    parser.add_argument("--golden", type=pathlib.Path, help="write reference logits to this file")
    options = parser.parse_args()
    export(options.work, options.checkpoint, options.out)
    if options.check:
        check(options.work, options.out)
    if options.golden:
        write_golden(options.work, options.out, options.golden)


if __name__ == "__main__":
    main()
