#!/usr/bin/env python3
"""Converts a RetNet checkpoint of PyTorch into a folder that retnetd serves."""
import argparse
import os
import signal
import sys

EXPLANATION = """
SOURCE is one of

  a folder of Hugging Face that holds pytorch_model.bin, or its shards and
  pytorch_model.bin.index.json, and config.json, in the layout of fla or of
  syncdoth/RetNet since October 2023. Names and numbers stay as they are; the
  files of the tokenizer are copied.

  a file of torchscale, such as checkpoint.pt, with the settings in it
  (cfg.model or args), saved since September 2023. There is no tokenizer in
  it: put tokenizer.model or tokenizer.json into OUT yourself.

OUT is a new or empty folder. It gets config.json and model.safetensors, or
several files and their index where the model is larger than 5 GB. Files get
their names when all of them are complete.

Safetensors need no conversion: give their folder to retnetd --model.

Nothing in SOURCE is run: PyTorch's files are pickles, which can hold any
program; convert.py reads tensors and plain settings and refuses the rest.
It needs numpy and not PyTorch, and holds at most one tensor in memory.

Exit status: 0 converted; 1 SOURCE cannot be converted, the message says why;
2 wrong usage, or SOURCE needs no conversion.
"""


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="convert.py",
        description=__doc__,
        epilog=EXPLANATION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SOURCE", help="a folder, or a .pt file of torchscale")
    parser.add_argument("out", metavar="OUT", help="the folder that is written")
    return parser.parse_args(arguments)


def say(message):
    """One line on standard error. Names in it may come from a foreign file."""
    line = "".join(char if char.isprintable() else "?" for char in message)
    print(f"convert: {line}", file=sys.stderr, flush=True)


def served_as_it_is(source):
    """The folder that retnetd serves without conversion, or None."""
    from conversion.hugging_face import SERVED_AS_IT_IS

    if os.path.isdir(source):
        names = (os.path.join(source, name) for name in SERVED_AS_IT_IS)
        return source if any(os.path.isfile(name) for name in names) else None
    if source.endswith((".safetensors", ".safetensors.index.json")):
        return os.path.dirname(source) or "."
    return None


def convert(source, out):
    """Writes the folder `out`. Raises Refused or OSError, and leaves nothing then."""
    from conversion import Refused, hugging_face, output, torchscale
    from conversion.pytorch_file import PyTorchFile

    opened = []
    try:
        if os.path.isdir(source):
            config, entries = hugging_face.convert_folder(source, opened, say)
            copied = [n for n in hugging_face.COPIED if os.path.isfile(os.path.join(source, n))]
        elif os.path.isfile(source):
            opened.append(PyTorchFile(source))
            config, entries = torchscale.convert_file(opened[0])
            copied = []
        else:
            raise Refused("there is no such file or folder")
        with output.Output(out) as folder:
            files = folder.weights(entries)
            for name in copied:
                folder.copy(os.path.join(source, name), name)
            if config is not None:
                folder.json(hugging_face.CONFIG, config)
            else:
                folder.copy(os.path.join(source, hugging_face.CONFIG), hugging_face.CONFIG)
            folder.commit()
    finally:
        for file in opened:
            file.close()
    total = output.size(sum(entry.bytes for entry in entries))
    print(f"{out}: {len(entries)} tensors, {total}: {', '.join(files + ['config.json'] + copied)}")
    if not any(name in hugging_face.TOKENIZERS for name in copied):
        say(f"no tokenizer: put tokenizer.model or tokenizer.json into {out} to serve text")


def interrupt(_signal, _frame):
    raise KeyboardInterrupt


def main(arguments):
    options = parse(arguments)
    try:
        import numpy  # noqa: F401  pylint: disable=unused-import
    except ImportError:
        say("numpy is missing: install python3-numpy, or run pip install numpy")
        return 1
    from conversion import Refused

    signal.signal(signal.SIGTERM, interrupt)  # what is half made is removed
    folder = served_as_it_is(options.source)
    if folder is not None:
        say(f"{options.source} needs no conversion: give safetensors to retnetd --model {folder}")
        return 2
    try:
        convert(options.source, options.out)
    except Refused as error:
        say(f"{options.source}: {error}")
        return 1
    except OSError as error:
        say(f"{error.filename or options.out}: {error.strerror or error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; nothing was written")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
