"""Lets the exported model tell a tale, through the NumPy reference: slow, but needs no server."""

import argparse
import json
import pathlib

import numpy
import sentencepiece

from recurrent import Recurrent, log_softmax


def draw(logits: numpy.ndarray, temperature: float, top_p: float, random) -> int:
    """A token among the likeliest whose probabilities together reach top_p."""
    probabilities = numpy.exp(log_softmax(logits / temperature))
    order = numpy.argsort(-probabilities)
    before = numpy.cumsum(probabilities[order]) - probabilities[order]
    kept = order[before < top_p]
    return int(random.choice(kept, p=probabilities[kept] / probabilities[kept].sum()))


def tell(folder: pathlib.Path, prompt: str, tokens: int, seed: int, options) -> str:
    """The prompt and what the model makes of it, up to its end or the number of tokens."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    model, random = Recurrent(folder), numpy.random.default_rng(seed)
    states, ids = model.start(1), processor.encode(prompt, add_bos=True)
    length = len(ids) + tokens
    for position in range(length - 1):
        logits = model.step(numpy.array(ids[position : position + 1]), states, position)[0]
        if position < len(ids) - 1:
            continue
        ids.append(draw(logits, options.temperature, options.top_p, random))
        if ids[-1] == model.config["eos_token_id"]:
            break
    return processor.decode(ids)


def main() -> None:
    here = pathlib.Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=pathlib.Path, default=here)
    parser.add_argument("--prompt", default="")
    parser.add_argument("--tokens", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--top-p", type=float)
    options = parser.parse_args()
    defaults = json.loads((options.model / "generation_config.json").read_text())
    options.temperature = options.temperature or defaults["temperature"]
    options.top_p = options.top_p or defaults["top_p"]
    prompt = options.prompt.replace("\\n", "\n")
    print(tell(options.model, prompt, options.tokens, options.seed, options))


if __name__ == "__main__":
    main()
