#!/usr/bin/env python3
"""A RetNet in double precision, which measures the golden checkpoints.

    float64_model.py FOLDER...

prints, for each sequence of FOLDER/golden.safetensors, the greatest error of this model's logits, and what
rounding every stored activation to bf16 costs. With --write these two errors become FOLDER/golden.json.
Needs numpy. docs/retnet.md has the mathematics.
"""
import json
import math
import pathlib
import struct
import sys

import numpy as np

TYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "I32": "<i4", "I64": "<i8"}
FLA = {
    "embeddings": "model.embeddings", "embeddings_norm": "model.embeddings_norm", "norm": "model.norm",
    "retention_norm": "attn_norm", "q": "attn.q_proj", "k": "attn.k_proj", "v": "attn.v_proj",
    "g": "attn.g_proj", "output": "attn.o_proj", "mlp_norm": "mlp_norm", "gate": "mlp.gate_proj",
    "up": "mlp.up_proj", "down": "mlp.down_proj"}
SYNCDOTH = {
    "embeddings": "model.embed_tokens", "embeddings_norm": "model.layernorm_embedding",
    "norm": "model.layer_norm", "retention_norm": "retention_layer_norm", "q": "retention.q_proj",
    "k": "retention.k_proj", "v": "retention.v_proj", "g": "retention.g_proj",
    "output": "retention.out_proj", "mlp_norm": "final_layer_norm", "gate": "ffn.fc1", "up": "ffn.gate",
    "down": "ffn.fc2"}


def read_safetensors(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    tensors = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        array = np.frombuffer(data[begin:end], TYPES[entry["dtype"]])
        if entry["dtype"] == "BF16":
            array = (array.astype(np.uint32) << 16).view(np.float32)
        if entry["dtype"][0] != "I":
            array = array.astype(np.float64)
        tensors[name] = array.reshape(entry["shape"])
    return tensors


def to_bf16(array):
    """To the nearest, ties to even."""
    bits = array.astype(np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1) >> 16 << 16).astype(np.uint32)
    return rounded.view(np.float32).astype(np.float64)


def silu(x):
    return x / (1 + np.exp(-x))


class Model:
    """`stored` is applied to every activation that a server would store."""

    def __init__(self, folder, stored=lambda array: array):
        self.stored = stored
        self.config = json.loads((folder / "config.json").read_text())
        self.tensors = {}
        for path in sorted(folder.glob("*.safetensors")):
            if path.name != "golden.safetensors":
                self.tensors.update(read_safetensors(path))
        self.is_syncdoth = "decoder_embed_dim" in self.config
        self.names = SYNCDOTH if self.is_syncdoth else FLA
        self.read_syncdoth() if self.is_syncdoth else self.read_fla()

    def read_fla(self):
        get = self.config.get
        hidden = get("hidden_size", 2048)
        self.layers, self.heads = get("num_hidden_layers", 24), get("num_heads", 8)
        self.kv_heads = get("num_kv_heads") or self.heads
        self.key_dim = int(hidden * get("expand_k", 1.0)) // self.heads
        self.value_dim = int(hidden * get("expand_v", 2.0)) // self.heads
        self.epsilon, self.multiplier = get("norm_eps", 1e-6), 1.0
        self.theta = 10000.0 ** (-2 * np.arange(self.key_dim // 2) / self.key_dim)
        self.gamma = 1 - 2.0 ** (-5 - np.arange(self.heads))
        self.gated, self.tied = get("use_output_gate", True), get("tie_word_embeddings", False)

    def read_syncdoth(self):
        config = self.config
        hidden = config["decoder_embed_dim"]
        self.layers, self.heads = config["decoder_layers"], config["decoder_retention_heads"]
        self.kv_heads = self.heads
        self.key_dim = hidden // self.heads
        self.value_dim = config["decoder_value_embed_dim"] // self.heads
        self.epsilon = config["layernorm_eps"]
        self.multiplier = 1.0 if config["no_scale_embedding"] else math.sqrt(hidden)
        self.theta = self.tensors["model.retnet_rel_pos.angle"][::2]
        self.gamma = np.exp(self.tensors["model.retnet_rel_pos.decay"])
        self.gated, self.tied = True, config["tie_word_embeddings"]

    def norm(self, x, weight=None):
        y = x / np.sqrt((x * x).mean(-1, keepdims=True) + self.epsilon)
        return y if weight is None else y * weight

    def rotate(self, x):
        """x [tokens, heads, key_dim]: neighbours or halves by the angles of their position."""
        angles = np.arange(len(x))[:, None, None] * self.theta
        cosine, sine = np.cos(angles), np.sin(angles)
        half = self.key_dim // 2
        a, b = ((slice(0, None, 2), slice(1, None, 2)) if self.is_syncdoth
                else (slice(0, half), slice(half, None)))
        y = np.empty_like(x)
        y[..., a] = x[..., a] * cosine - x[..., b] * sine
        y[..., b] = x[..., a] * sine + x[..., b] * cosine
        return y

    def retain(self, q, k, v):
        """The parallel form. [tokens, heads, value_dim]"""
        tokens = len(q)
        n = np.arange(tokens)
        distance = n[:, None] - n
        o = np.empty((tokens, self.heads, self.value_dim))
        for head, gamma in enumerate(self.gamma):
            kv_head = head // (self.heads // self.kv_heads)
            decay = np.where(distance >= 0, gamma ** np.maximum(distance, 0), 0)
            o[:, head] = (q[:, head] @ k[:, kv_head].T * decay) @ v[:, kv_head]
            if self.is_syncdoth:
                o[:, head] /= np.sqrt((1 - gamma ** (n + 1)) / (1 - gamma))[:, None]
        return o

    def layer(self, prefix, x):
        tokens, stored = len(x), self.stored
        weight = lambda name: self.tensors[prefix + self.names[name] + ".weight"]
        z = stored(self.norm(x, weight("retention_norm")))
        project = lambda name, heads: stored(z @ weight(name).T).reshape(tokens, heads, -1)
        q = stored(self.rotate(project("q", self.heads)) * self.key_dim ** -0.5)
        k = stored(self.rotate(project("k", self.kv_heads)))
        o = stored(self.retain(q, k, project("v", self.kv_heads)))
        head_norm = self.tensors.get(prefix + "attn.g_norm_swish_gate.weight",
                                     self.tensors.get(prefix + "attn.g_norm.weight"))
        o = self.norm(o, head_norm).reshape(tokens, -1)
        if self.gated:
            o = o * silu(stored(z @ weight("g").T))
        x = stored(x + stored(o) @ weight("output").T)
        z = stored(self.norm(x, weight("mlp_norm")))
        gate = weight("gate")
        if prefix + self.names["up"] + ".weight" in self.tensors:
            up = weight("up")
        else:
            gate, up = np.split(gate, 2)
        return stored(x + stored(silu(stored(z @ gate.T)) * stored(z @ up.T)) @ weight("down").T)

    def logits(self, tokens):
        weight = lambda name: self.tensors.get(self.names[name] + ".weight")
        x = self.stored(weight("embeddings")[tokens] * self.multiplier)
        if weight("embeddings_norm") is not None:
            x = self.stored(self.norm(x, weight("embeddings_norm")))
        for layer in range(self.layers):
            x = self.layer(f"model.layers.{layer}.", x)
        head = weight("embeddings") if self.tied else self.tensors["lm_head.weight"]
        return self.stored(self.norm(x, weight("norm"))) @ head.T


def measure(folder):
    golden = read_safetensors(folder / "golden.safetensors")
    sequences = []
    while f"{len(sequences)}.tokens" in golden:
        prefix = f"{len(sequences)}."
        tokens, expected = golden[prefix + "tokens"], golden[prefix + "logits"]
        positions = golden.get(prefix + "positions", np.arange(len(tokens)))
        exact = Model(folder).logits(tokens)[positions] - expected
        rounded = Model(folder, to_bf16).logits(tokens)[positions] - expected
        sequences.append({
            "length": len(tokens), "logits_kept": len(positions), "logits_std": float(expected.std()),
            "float64_max_error": float(abs(exact).max()),
            "bf16_activations_max_error": float(abs(rounded).max()),
            "bf16_activations_rms_error": float(np.sqrt((rounded ** 2).mean()))})
    return sequences


def main():
    arguments = sys.argv[1:]
    write = "--write" in arguments
    for folder in (pathlib.Path(name) for name in arguments if name != "--write"):
        sequences = measure(folder)
        for sequence in sequences:
            print(folder.name, json.dumps(sequence))
        if write:
            text = json.dumps({"sequences": sequences}, indent=1)
            (folder / "golden.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
