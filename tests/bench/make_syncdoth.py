#!/usr/bin/env python3
"""Writes a random checkpoint in the layout of syncdoth/RetNet, as large as asked for.

    make_syncdoth.py OUT [--layers N] [--hidden N] [--heads N] [--values N] [--intermediate N]
                         [--vocabulary N] [--shards N]

The defaults are the shape of Spiral-AI/Spiral-RetNet-3b-base as far as it is known: heads of 256 x 428, F32 in
three shards, 11.4 GB; layers, width and vocabulary are a guess that gives this size. Needs numpy.
"""
import argparse
import json
import math
import pathlib
import struct

import numpy as np


def shapes_of(options):
    """Name and shape of each tensor, in the order of the file."""
    hidden, values, wide = options.hidden, options.values, options.intermediate
    yield "model.embed_tokens.weight", [options.vocabulary, hidden]
    yield "model.layernorm_embedding.weight", [hidden]
    for layer in range(options.layers):
        prefix = f"model.layers.{layer}."
        yield prefix + "retention_layer_norm.weight", [hidden]
        for name, rows, columns in (("q_proj", hidden, hidden), ("k_proj", hidden, hidden),
                                    ("v_proj", values, hidden), ("g_proj", values, hidden),
                                    ("out_proj", hidden, values)):
            yield f"{prefix}retention.{name}.weight", [rows, columns]
        yield prefix + "final_layer_norm.weight", [hidden]
        for name, rows, columns in (("fc1", wide, hidden), ("gate", wide, hidden), ("fc2", hidden, wide)):
            yield f"{prefix}ffn.{name}.weight", [rows, columns]
    yield "model.layer_norm.weight", [hidden]
    yield "lm_head.weight", [options.vocabulary, hidden]
    yield "model.retnet_rel_pos.angle", [hidden // options.heads]
    yield "model.retnet_rel_pos.decay", [options.heads]


def numbers_of(name, shape, options, noise):
    """The tensor's numbers in pieces. Matrices repeat a block of noise: their values cost nothing to make."""
    if name.endswith(".angle"):
        theta = 1.0 / 10000 ** np.linspace(0, 1, shape[0] // 2)
        yield np.repeat(theta, 2)
    elif name.endswith(".decay"):
        yield np.log(1 - 2.0 ** (-5 - np.arange(shape[0])))
    elif len(shape) == 1:
        yield np.ones(shape[0])
    else:
        scale = np.float32(1 / math.sqrt(shape[1]))
        left = shape[0] * shape[1]
        while left > 0:
            yield noise[:left] * scale
            left -= len(noise)


def write_shard(path, tensors, options, noise):
    header, end = {}, 0
    for name, shape in tensors:
        begin, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in tensors:
            for part in numbers_of(name, shape, options, noise):
                file.write(part.astype("<f4").tobytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    for name, default in (("layers", 22), ("hidden", 3072), ("heads", 12), ("values", 5136),
                          ("intermediate", 5136), ("vocabulary", 65024), ("shards", 3)):
        parser.add_argument("--" + name, type=int, default=default)
    options = parser.parse_args()
    options.out.mkdir(parents=True)
    (options.out / "config.json").write_text(json.dumps({
        "model_type": "retnet", "decoder_embed_dim": options.hidden, "decoder_layers": options.layers,
        "decoder_retention_heads": options.heads, "decoder_value_embed_dim": options.values,
        "decoder_ffn_embed_dim": options.intermediate, "vocab_size": options.vocabulary,
        "activation_fn": "swish", "layernorm_eps": 1e-6, "tie_word_embeddings": False}, indent=1))
    noise = np.random.default_rng(1).standard_normal(1 << 24, dtype=np.float32)
    tensors = list(shapes_of(options))
    total = sum(4 * math.prod(shape) for _, shape in tensors)
    shards, begun = [[] for _ in range(options.shards)], 0
    for name, shape in tensors:
        shards[min(begun * options.shards // total, options.shards - 1)].append((name, shape))
        begun += 4 * math.prod(shape)
    weight_map = {}
    for i, shard in enumerate(shards):
        file = f"model-{i + 1:05}-of-{options.shards:05}.safetensors"
        write_shard(options.out / file, shard, options, noise)
        weight_map.update({name: file for name, _ in shard})
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (options.out / "model.safetensors.index.json").write_text(json.dumps(index))
    print(f"{options.out}: {total / 1e9:.1f} GB in {options.shards} shards")


if __name__ == "__main__":
    main()
