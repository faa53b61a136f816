"""The held-out loss of the exported model: whole tales, each read from its first word to its end.

Training sees 256 tokens at a time, a server reads thousands; so the loss is also given by how far
into the tale a token stands, where a state that went astray would show.
"""

import argparse
import math
import pathlib

import numpy
import sentencepiece

import corpus
from recurrent import Recurrent, log_softmax

EDGES = (0, 64, 256, 1024, 4096, 1 << 30)
CHUNK = 64  # tokens after which a server rounds a state that it keeps in 16 bits


def to_bf16(x: numpy.ndarray) -> numpy.ndarray:
    """To the nearest, ties to even."""
    bits = x.astype(numpy.float32).view(numpy.uint32)
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) & numpy.uint32(0xFFFF0000)
    return bits.view(numpy.float32).astype(numpy.float64)


ROUNDINGS = {
    "fp32": lambda x: x,
    "bf16": to_bf16,
    "fp16": lambda x: numpy.clip(x, -65504, 65504).astype(numpy.float16).astype(numpy.float64),
}


def tale_losses(model: Recurrent, tales: list[list[int]], rounding) -> numpy.ndarray:
    """-log p of every next token, [tales, longest]; NaN after the end of a tale.

    All tales advance together, the longest first, so that those still running stay in front.
    """
    tales = sorted(tales, key=len, reverse=True)
    losses = numpy.full((len(tales), len(tales[0])), numpy.nan)
    states = model.start(len(tales))
    for position in range(len(tales[0]) - 1):
        rows = sum(len(tale) > position + 1 for tale in tales)
        states = [state[:rows] for state in states]
        tokens = numpy.array([tale[position] for tale in tales[:rows]])
        following = numpy.array([tale[position + 1] for tale in tales[:rows]])
        logs = log_softmax(model.step(tokens, states, position))
        if (position + 1) % CHUNK == 0:
            states = [rounding(state) for state in states]
        losses[:rows, position] = -logs[numpy.arange(rows), following]
    return losses


def main() -> None:
    here = pathlib.Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path, default=here)
    parser.add_argument("--tales", type=int, help="only the first so many held-out tales")
    parser.add_argument("--state-type", choices=ROUNDINGS, default="fp32", help="as retnetd's")
    options = parser.parse_args()
    path = str(options.model / "tokenizer.model")
    processor = sentencepiece.SentencePieceProcessor(model_file=path)
    texts = corpus.split_tales(corpus.read_tales(options.corpus))[1][: options.tales]
    tales = [processor.encode(text, add_bos=True, add_eos=True) for text in texts]
    losses = tale_losses(Recurrent(options.model), tales, ROUNDINGS[options.state_type])
    tokens, nats = int(numpy.isfinite(losses).sum()), float(numpy.nansum(losses))
    characters = sum(map(len, texts))
    print(f"{len(tales)} tales, {tokens} tokens, {characters} characters")
    print(f"{nats / tokens:.4f} nats/token, {nats / math.log(2) / characters:.4f} bits/character")
    for begin, end in zip(EDGES, EDGES[1:]):
        part = losses[:, begin:end]
        if numpy.isfinite(part).any():
            label = f"from token {begin}" + (f" to {end}" if end < 1 << 30 else "")
            print(f"{label}: {numpy.nanmean(part):.4f}")


if __name__ == "__main__":
    main()
