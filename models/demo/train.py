"""Trains the demo model on a CPU; stop it at any time and start it again with the same command.

The learning rate rises to its peak and then falls in a straight line to zero at the last step.
Another number of epochs on resuming bends that line from where it is, so a run can be made longer
or shorter while it goes on.
"""

import argparse
import json
import math
import pathlib
import time

import numpy
import sentencepiece
import torch

import corpus
import tokenizer
from retnet import RetNet, Shape

WARMUP_STEPS = 200
REPORT_EVERY = 50


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=pathlib.Path, required=True, help="folder of pgN.txt")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="checkpoints and log")
    parser.add_argument("--epochs", type=float, default=8.0)
    parser.add_argument("--length", type=int, default=256, help="tokens of a sample")
    parser.add_argument("--rows", type=int, default=8, help="samples of a step")
    parser.add_argument("--peak", type=float, default=3e-3, help="highest learning rate")
    parser.add_argument("--decay", type=float, default=0.1, help="weight decay")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--stop-after", type=int, help="stop at this step, for measurements")
    parser.add_argument("--evaluate-every", type=int, default=500)
    return parser.parse_args()


def prepare(folder: pathlib.Path, work: pathlib.Path) -> tuple[numpy.ndarray, numpy.ndarray]:
    """(training, held-out) token streams, each tale between <s> and </s>; cached in work."""
    paths = work / "training.npy", work / "heldout.npy"
    if not all(path.exists() for path in paths):
        splits = corpus.split_tales(corpus.read_tales(folder))
        model = tokenizer.train(splits[0])
        tokenizer.write(model, work)
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        for path, tales in zip(paths, splits):
            ids = [processor.encode(tale, add_bos=True, add_eos=True) for tale in tales]
            numpy.save(path, numpy.concatenate(ids).astype(numpy.int32))
    return numpy.load(paths[0]), numpy.load(paths[1])


def samples(stream: numpy.ndarray, length: int, offset: int) -> torch.Tensor:
    """The stream from offset, cut into rows [count, length + 1]: inputs and targets overlap."""
    count = (len(stream) - offset - 1) // length
    rows = numpy.stack(
        [stream[offset + i * length : offset + (i + 1) * length + 1] for i in range(count)]
    )
    return torch.from_numpy(rows.astype(numpy.int64))


class Order:
    """Which samples step n sees. It depends on n alone: a resumed run goes on as it would have."""

    def __init__(self, stream: numpy.ndarray, length: int, rows: int):
        self.stream, self.length, self.rows = stream, length, rows
        self.steps_per_epoch = (len(stream) - length) // length // rows
        self.epoch = -1

    def __getitem__(self, step: int) -> torch.Tensor:
        epoch, index = divmod(step, self.steps_per_epoch)
        if epoch != self.epoch:
            random = numpy.random.default_rng(epoch)
            cut = samples(self.stream, self.length, int(random.integers(self.length)))
            self.data, self.epoch = cut[torch.from_numpy(random.permutation(len(cut)))], epoch
        return self.data[index * self.rows : (index + 1) * self.rows]


class Trainer:
    """Everything that a checkpoint restores."""

    def __init__(self, options: argparse.Namespace, order: Order, heldout: numpy.ndarray):
        torch.manual_seed(1)
        self.options, self.order = options, order
        self.heldout = samples(heldout, options.length, 0)
        self.model = RetNet(Shape(), options.length, options.dropout)
        self.optimizer = self.make_optimizer()
        self.forward = torch.compile(self.model) if options.compile else self.model
        self.step, self.seconds, self.best = 0, 0.0, math.inf
        self.total = round(options.epochs * order.steps_per_epoch)
        self.anchor = (WARMUP_STEPS, options.peak)  # (step, rate) from which the rate falls
        self.work = options.work
        if (self.work / "last.pt").exists():
            self.load()

    def make_optimizer(self) -> torch.optim.Optimizer:
        parameters = list(self.model.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim == 2], "weight_decay": self.options.decay},
            {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.options.peak, betas=(0.9, 0.98), fused=True)

    def rate(self, step: int) -> float:
        if step < WARMUP_STEPS:
            return self.options.peak * (step + 1) / WARMUP_STEPS
        start, rate = self.anchor
        return rate * max(0.0, (self.total - step) / (self.total - start))

    def load(self) -> None:
        saved = torch.load(self.work / "last.pt", weights_only=True)
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step, self.seconds, self.best = saved["step"], saved["seconds"], saved["best"]
        self.anchor = tuple(saved["anchor"])
        if self.total != saved["total"] and self.step > WARMUP_STEPS:
            wanted, self.total = self.total, saved["total"]
            self.anchor = (self.step, self.rate(self.step))
            self.total = wanted
        torch.manual_seed(self.step)

    def save(self, name: str) -> None:
        """Writes a temporary file and renames it: a stop in between leaves the old one whole."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
            "anchor": list(self.anchor),
            "total": self.total,
        }
        torch.save(state, self.work / f"{name}.part")
        (self.work / f"{name}.part").rename(self.work / name)

    def loss(self, rows: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.options.bf16):
            return self.forward(rows[:, :-1], rows[:, 1:])

    def advance(self) -> float:
        """One optimizer step; returns its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(self.step)
        loss = self.loss(self.order[self.step])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return loss.item()

    @torch.no_grad()
    def evaluate(self) -> float:
        """Mean loss over the held-out rows; a last short step is left out."""
        self.model.eval()
        whole = len(self.heldout) // self.options.rows * self.options.rows
        losses = [self.loss(rows) for rows in self.heldout[:whole].split(self.options.rows)]
        self.model.train()
        return torch.stack(losses).mean().item()

    def run(self) -> None:
        """Trains to the end; saves the last state often and the best on the held-out tales."""
        stop = min(self.total, self.options.stop_after or self.total)
        began, losses = time.monotonic(), []
        while self.step < stop:
            losses.append(self.advance())
            due = self.step % self.options.evaluate_every == 0 or self.step == stop
            if not due and self.step % REPORT_EVERY:
                continue
            spent = time.monotonic() - began
            tokens = len(losses) * self.options.rows * self.options.length
            entry = {
                "step": self.step,
                "epoch": round(self.step / self.order.steps_per_epoch, 3),
                "training": round(sum(losses) / len(losses), 4),
                "rate": round(self.rate(self.step), 7),
                "tokens_per_second": round(tokens / spent),
                "minutes": round((self.seconds + spent) / 60, 2),
            }
            if due:
                entry["heldout"] = round(self.evaluate(), 4)
            self.report(entry)
            self.seconds += time.monotonic() - began
            began, losses = time.monotonic(), []
            self.keep(entry.get("heldout", math.inf))

    def keep(self, heldout: float) -> None:
        better = heldout < self.best
        self.best = min(self.best, heldout)
        self.save("last.pt")
        if better:
            self.save("best.pt")

    def report(self, entry: dict) -> None:
        line = json.dumps(entry)
        print(line, flush=True)
        with (self.work / "curve.jsonl").open("a") as file:
            file.write(line + "\n")


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    training, heldout = prepare(options.corpus, options.work)
    trainer = Trainer(options, Order(training, options.length, options.rows), heldout)
    count = sum(parameter.numel() for parameter in trainer.model.parameters())
    print(
        f"{count} parameters, {len(training)} training and {len(heldout)} held-out tokens, "
        f"{trainer.total} steps, from step {trainer.step}",
        flush=True,
    )
    trainer.run()


if __name__ == "__main__":
    main()
