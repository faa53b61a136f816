"""The exported model in its recurrent form, in NumPy and float64: the reference for the rest.

It reads nothing but the model directory and shares no code with the training, so agreement of the
two says that both the export and the mathematics are right.
"""

import json
import pathlib

import numpy


def read_safetensors(path: pathlib.Path) -> dict[str, numpy.ndarray]:
    """All tensors as float64. NumPy has no bf16: its 16 bits are the upper half of an fp32."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + size]).items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "BF16":
            raise ValueError(f"{name} is {entry['dtype']}, but the demo model is stored in BF16")
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        upper = numpy.frombuffer(data[begin:end], dtype="<u2").astype(numpy.uint32) << 16
        tensors[name] = upper.view(numpy.float32).astype(numpy.float64).reshape(entry["shape"])
    return tensors


def silu(x: numpy.ndarray) -> numpy.ndarray:
    return x / (1 + numpy.exp(-x))


class Recurrent:
    """Feeds one token of each row at a time; a row's whole past is in its states."""

    def __init__(self, folder: pathlib.Path):
        self.config = json.loads((folder / "config.json").read_text())
        self.weights = read_safetensors(folder / "model.safetensors")
        self.layers = self.config["num_hidden_layers"]
        self.heads = self.config["num_heads"]
        self.key_dim = self.config["hidden_size"] // self.heads
        self.gamma = 1 - 2.0 ** (-5 - numpy.arange(self.heads))
        exponents = numpy.arange(0, self.key_dim, 2) / self.key_dim
        self.angles = 10000.0**-exponents

    def start(self, rows: int) -> list[numpy.ndarray]:
        """Empty states, one a layer: [rows, heads, key_dim, value_dim]."""
        shape = rows, self.heads, self.key_dim, 2 * self.key_dim
        return [numpy.zeros(shape) for _ in range(self.layers)]

    def norm(self, x: numpy.ndarray, name: str) -> numpy.ndarray:
        mean = numpy.mean(x * x, axis=-1, keepdims=True)
        return x / numpy.sqrt(mean + self.config["norm_eps"]) * self.weights[f"{name}.weight"]

    def project(self, x: numpy.ndarray, name: str) -> numpy.ndarray:
        return x @ self.weights[f"{name}.weight"].T

    def rotate(self, x: numpy.ndarray, position: int) -> numpy.ndarray:
        cos, sin = numpy.cos(position * self.angles), numpy.sin(position * self.angles)
        first, second = numpy.split(x, 2, axis=-1)
        return numpy.concatenate((first * cos - second * sin, first * sin + second * cos), axis=-1)

    def retain(self, y: numpy.ndarray, name: str, state: numpy.ndarray, position: int):
        """Retention of one layer over y [rows, hidden]; updates its state in place."""
        split = len(y), self.heads, -1
        q, k, v = (self.project(y, f"{name}.{part}_proj").reshape(split) for part in "qkv")
        q = self.rotate(q, position) * self.key_dim**-0.5
        k = self.rotate(k, position)
        state *= self.gamma[:, None, None]
        state += k[..., :, None] * v[..., None, :]
        output = self.norm((q[..., None, :] @ state)[..., 0, :], f"{name}.g_norm_swish_gate")
        gated = output.reshape(len(y), -1) * silu(self.project(y, f"{name}.g_proj"))
        return self.project(gated, f"{name}.o_proj")

    def step(self, tokens: numpy.ndarray, states: list[numpy.ndarray], position: int):
        """Logits [rows, vocabulary] after tokens [rows], the ones at this position."""
        embeddings = self.weights["model.embeddings.weight"]
        x = embeddings[tokens]
        for layer, state in enumerate(states):
            name = f"model.layers.{layer}"
            x = x + self.retain(self.norm(x, f"{name}.attn_norm"), f"{name}.attn", state, position)
            z = self.norm(x, f"{name}.mlp_norm")
            gate = silu(self.project(z, f"{name}.mlp.gate_proj"))
            up = self.project(z, f"{name}.mlp.up_proj")
            x = x + self.project(gate * up, f"{name}.mlp.down_proj")
        return self.norm(x, "model.norm") @ embeddings.T


def log_softmax(logits: numpy.ndarray) -> numpy.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - numpy.log(numpy.exp(shifted).sum(axis=-1, keepdims=True))
