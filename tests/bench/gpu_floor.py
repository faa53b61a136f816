"""The least that a GPU must move and compute for a step of a RetNet, and the time that takes at its data sheet's rates.

    python3 tests/bench/gpu_floor.py          prints the tables of docs/gpu.md

Weights are bf16, bases fp32, tails bf16. Nothing here was measured.
"""

import dataclasses

CHUNK = 64
VOCABULARY = 32_000
KEY, VALUE = 256, 512  # of a head
# Bytes a second of memory, and dense bf16 operations a second of the tensor cores (NVIDIA's data sheets, SXM).
GPUS = {"A100 80 GB": (2.039e12, 312e12), "H100": (3.35e12, 989e12), "H200": (4.8e12, 989e12)}


@dataclasses.dataclass
class Shape:
    name: str
    layers: int
    hidden: int

    @property
    def heads(self) -> int:
        return self.hidden // KEY

    @property
    def layer_parameters(self) -> int:
        """Of products: q and k, v and gate, out; then gate, up and down of the feed-forward network."""
        inner = -(-self.hidden * 2 * 2 // 3 // 256) * 256  # hidden_ratio 2, two thirds, up to a multiple of 256
        return 8 * self.hidden**2 + 3 * self.hidden * inner

    @property
    def step_parameters(self) -> int:
        """Those that every step multiplies with, the output projection included."""
        return self.layers * self.layer_parameters + VOCABULARY * self.hidden

    @property
    def base_bytes(self) -> int:
        return self.layers * self.heads * KEY * VALUE * 4

    @property
    def tail_token_bytes(self) -> int:
        return self.layers * self.heads * (KEY + VALUE) * 2

    def decode_bytes(self, batch: int) -> float:
        """Weights once; for each sequence its base, a fold's read and write in one step of 64, half a tail and a token."""
        state = self.base_bytes * (1 + 2 / CHUNK) + self.tail_token_bytes * (CHUNK / 2 + 1)
        return 2 * self.step_parameters + batch * state

    def retention_operations(self, tokens: int) -> float:
        """q·base, the fold, and half of a chunk's square twice, for each token and head."""
        a_token = 2 * KEY * VALUE * 2 + CHUNK / 2 * 2 * (KEY + VALUE)
        return tokens * self.layers * self.heads * a_token

    def prefill_operations(self, tokens: int) -> float:
        products = 2 * tokens * self.layers * self.layer_parameters + 2 * VOCABULARY * self.hidden
        return products + self.retention_operations(tokens)


SHAPES = [Shape("1.3B", 24, 2048), Shape("2.7B", 32, 2560), Shape("6.7B", 32, 4096)]


def main() -> None:
    print("| shape | batch | weights, GB | states, GB | operations, G |", *[f" {gpu}, ms |" for gpu in GPUS], sep="")
    print("|---|---|---|---|---|" + "---|" * len(GPUS))
    for shape in SHAPES:
        for batch in (1, 8, 64):
            total = shape.decode_bytes(batch)
            weights = 2 * shape.step_parameters
            operations = 2 * batch * shape.step_parameters
            times = [max(total / bandwidth, operations / peak) * 1e3 for bandwidth, peak in GPUS.values()]
            print(f"| {shape.name} | {batch} | {weights / 1e9:.2f} | {(total - weights) / 1e9:.2f} |"
                  f" {operations / 1e9:.0f} |" + "".join(f" {time:.2f} |" for time in times))
    print()
    print("| shape | tokens | operations, T | of retention |", *[f" {gpu}, ms |" for gpu in GPUS], sep="")
    print("|---|---|---|---|" + "---|" * len(GPUS))
    for shape in SHAPES:
        for tokens in (512, 2048):
            operations = shape.prefill_operations(tokens)
            times = [max(operations / peak, 2 * shape.step_parameters / bandwidth) * 1e3
                     for bandwidth, peak in GPUS.values()]
            print(f"| {shape.name} | {tokens} | {operations / 1e12:.2f} |"
                  f" {100 * shape.retention_operations(tokens) / operations:.0f} % |"
                  + "".join(f" {time:.2f} |" for time in times))


if __name__ == "__main__":
    main()
