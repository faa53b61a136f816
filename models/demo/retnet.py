"""The model for training: RetNet in its parallel form, with Hugging Face (fla) parameter names."""

import dataclasses
import math

import torch
from torch import nn
from torch.nn import functional


@dataclasses.dataclass(frozen=True)
class Shape:
    """Sizes of the model. Keys are as wide as the hidden state, values twice as wide."""

    vocab_size: int = 4096
    hidden_size: int = 192
    num_hidden_layers: int = 6
    num_heads: int = 3
    intermediate_size: int = 512
    norm_eps: float = 1e-6

    @property
    def key_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def value_dim(self) -> int:
        return 2 * self.key_dim


class RmsNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight over the last axis, in fp32."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


def rotation_tables(length: int, key_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin of position n times angle i, each [length, key_dim / 2]."""
    exponents = torch.arange(0, key_dim, 2, dtype=torch.float64) / key_dim
    positions = torch.arange(length, dtype=torch.float64)
    angles = torch.outer(positions, 10000.0**-exponents)
    return angles.cos().float(), angles.sin().float()


def decay_matrix(length: int, heads: int) -> torch.Tensor:
    """gamma^(n - m) for m <= n, else 0: [heads, length, length]."""
    gamma = 1 - 2.0 ** (-5 - torch.arange(heads, dtype=torch.float64))
    distance = torch.arange(length)[:, None] - torch.arange(length)[None, :]
    powers = gamma[:, None, None] ** distance.clamp(min=0)
    return torch.where(distance >= 0, powers, torch.zeros(())).float()


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotates the pairs (i, i + key_dim / 2) of x [rows, heads, length, key_dim]."""
    first, second = x.float().chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, first * sin + second * cos), dim=-1)


class Retention(nn.Module):
    """Multi-scale retention with the gated output."""

    def __init__(self, shape: Shape):
        super().__init__()
        hidden, values = shape.hidden_size, shape.num_heads * shape.value_dim
        self.heads, self.key_dim = shape.num_heads, shape.key_dim
        self.q_proj = nn.Linear(hidden, hidden, bias=False)
        self.k_proj = nn.Linear(hidden, hidden, bias=False)
        self.v_proj = nn.Linear(hidden, values, bias=False)
        self.g_proj = nn.Linear(hidden, values, bias=False)
        self.g_norm_swish_gate = RmsNorm(shape.value_dim, shape.norm_eps)
        self.o_proj = nn.Linear(values, hidden, bias=False)

    def split(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, length, heads * d] to [rows, heads, length, d]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, y: torch.Tensor, tables: tuple[torch.Tensor, ...]) -> torch.Tensor:
        cos, sin, decay = tables
        q = rotate(self.split(self.q_proj(y)), cos, sin) * self.key_dim**-0.5
        k = rotate(self.split(self.k_proj(y)), cos, sin)
        v = self.split(self.v_proj(y))
        scores = (q @ k.transpose(-1, -2)).float() * decay  # [rows, heads, length, length]
        output = self.g_norm_swish_gate(scores @ v).transpose(1, 2).flatten(-2)
        return self.o_proj(output * functional.silu(self.g_proj(y).float()))


class FeedForward(nn.Module):
    """The gated feed-forward part."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.up_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.down_proj = nn.Linear(shape.intermediate_size, shape.hidden_size, bias=False)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.down_proj(functional.silu(self.gate_proj(z)) * self.up_proj(z))


class Block(nn.Module):
    """Retention and feed-forward part, each after a norm, added to the residual stream."""

    def __init__(self, shape: Shape, dropout: float):
        super().__init__()
        self.attn_norm = RmsNorm(shape.hidden_size, shape.norm_eps)
        self.attn = Retention(shape)
        self.mlp_norm = RmsNorm(shape.hidden_size, shape.norm_eps)
        self.mlp = FeedForward(shape)
        self.dropout = dropout

    def drop(self, x: torch.Tensor) -> torch.Tensor:
        return functional.dropout(x, self.dropout, self.training)

    def forward(self, x: torch.Tensor, tables: tuple[torch.Tensor, ...]) -> torch.Tensor:
        x = x + self.drop(self.attn(self.attn_norm(x), tables)).float()
        return x + self.drop(self.mlp(self.mlp_norm(x))).float()


class Decoder(nn.Module):
    """The stack, under the name `model` that the checkpoint's tensors begin with."""

    def __init__(self, shape: Shape, dropout: float):
        super().__init__()
        self.embeddings = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(Block(shape, dropout) for _ in range(shape.num_hidden_layers))
        self.norm = RmsNorm(shape.hidden_size, shape.norm_eps)


class RetNet(nn.Module):
    """Logits of every position from tokens [rows, length]; every row starts with no state."""

    def __init__(self, shape: Shape, length: int, dropout: float):
        super().__init__()
        self.shape, self.dropout = shape, dropout
        self.model = Decoder(shape, dropout)
        cos, sin = rotation_tables(length, shape.key_dim)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        decay = decay_matrix(length, shape.num_heads)
        self.register_buffer("decay", decay, persistent=False)
        self.initialize()

    def initialize(self) -> None:
        """Unit-variance projections; those that write to the residual stream start smaller."""
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2:
                continue
            scale = parameter.shape[1] ** -0.5
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                scale /= math.sqrt(2 * self.shape.num_hidden_layers)
            if "embeddings" in name:
                scale = 0.02
            nn.init.normal_(parameter, std=scale)

    def forward(self, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean negative log-likelihood, in nats, of targets [rows, length]."""
        length = tokens.shape[1]
        tables = self.cos[:length], self.sin[:length], self.decay[:, :length, :length]
        x = self.model.embeddings(tokens)
        x = functional.dropout(x, self.dropout, self.training)
        for layer in self.model.layers:
            x = layer(x, tables)
        logits = functional.linear(self.model.norm(x), self.model.embeddings.weight)
        return functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
