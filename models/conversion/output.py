"""The folder that is written: safetensors, one tensor at a time, and nothing half."""
import errno
import fcntl
import json
import os
import shutil
import struct
import sys
import time

from conversion import Refused
from conversion.pytorch_file import pieces

# A larger model is written as several files and an index of them.
SHARD_BYTES = 5_000_000_000
UNFINISHED = ".unfinished"


class Entry:
    """A tensor to be written under a name, its rows in the order `rows`, or as they are."""

    def __init__(self, name, tensor, rows=None):
        self.name, self.tensor, self.rows = name, tensor, rows
        self.bytes = tensor.bytes()


def size(count):
    """Bytes in words: 2.7 GB."""
    for unit, bytes_of in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= bytes_of:
            return f"{count / bytes_of:.1f} {unit}"
    return f"{count} bytes"


class Progress:
    """Says on standard error how far it is: a bar on a terminal, else a line every few seconds."""

    SECONDS = 5.0

    def __init__(self, total):
        self.total, self.done = total, 0
        self.terminal = sys.stderr.isatty()
        self.next = time.monotonic() + (0.0 if self.terminal else self.SECONDS)

    def add(self, count):
        self.done += count
        now = time.monotonic()
        if now >= self.next:
            self.next = now + (0.1 if self.terminal else self.SECONDS)
            self._show()

    def _show(self):
        share = self.done / max(1, self.total)
        text = f"{size(self.done)} of {size(self.total)}, {100 * share:.0f} %"
        if self.terminal:
            bar = ("#" * int(30 * share)).ljust(30, ".")
            print(f"\r[{bar}] {text} ", end="", file=sys.stderr, flush=True)
        else:
            print(f"convert: {text}", file=sys.stderr, flush=True)

    def finish(self):
        """Ends the line of the bar."""
        if self.terminal and self.done > 0:
            self._show()
            print(file=sys.stderr, flush=True)


def sync(path):
    """Makes a file's content, or a folder's entries, survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def shards_of(entries):
    """Entries by file. In each F32 comes first, so that elements lie at multiples of their size."""
    shards, filled = [[]], 0
    for entry in entries:
        if shards[-1] and filled + entry.bytes > SHARD_BYTES:
            shards.append([])
            filled = 0
        shards[-1].append(entry)
        filled += entry.bytes
    return [sorted(shard, key=lambda entry: -entry.tensor.storage.width) for shard in shards]


def write_safetensors(path, entries, progress):
    """The header's length, the header as JSON, and the elements in its order."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for entry in entries:
        end = offset + entry.bytes
        header[entry.name] = {
            "dtype": entry.tensor.dtype,
            "shape": list(entry.tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for entry in entries:
            for piece in pieces(entry.tensor, entry.rows):
                file.write(piece)
                progress.add(len(piece))
        file.flush()
        os.fsync(file.fileno())


class Output:
    """The folder OUT. Files are made in a folder of their own within it and moved at the end,
    config.json last: without it the folder is no model. A run that fails removes what it has made.
    """

    def __init__(self, path):
        self.path = path
        self.made = not os.path.lexists(path)
        os.makedirs(path, exist_ok=True)
        self.work = os.path.join(path, UNFINISHED)
        self.lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self.lock)
            raise Refused(f"{path}: another conversion is writing there") from error
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):  # file systems without locks
                raise
        for name in ("config.json", "model.safetensors", "model.safetensors.index.json"):
            if os.path.lexists(os.path.join(path, name)):
                os.close(self.lock)
                raise Refused(f"{path} holds a {name}; name a folder that is new or empty")
        shutil.rmtree(self.work, ignore_errors=True)  # of a run that was killed
        os.mkdir(self.work)

    def __enter__(self):
        return self

    def __exit__(self, kind, _error, _trace):
        shutil.rmtree(self.work, ignore_errors=True)
        if kind is not None and self.made:
            try:
                os.rmdir(self.path)
            except OSError:
                pass  # something else is in it by now
        os.close(self.lock)

    def weights(self, entries):
        """Writes all tensors. Returns the names of the files."""
        total = sum(entry.bytes for entry in entries)
        free = shutil.disk_usage(self.path).free
        if total > free:
            raise Refused(f"{self.path} has {size(free)} of space; the weights need {size(total)}")
        shards = shards_of(entries)
        progress = Progress(total)
        names = ["model.safetensors"]
        if len(shards) > 1:
            count = len(shards)
            names = [f"model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
        try:
            for name, shard in zip(names, shards):
                write_safetensors(os.path.join(self.work, name), shard, progress)
        finally:
            progress.finish()
        if len(shards) > 1:
            places = {entry.name: name for name, shard in zip(names, shards) for entry in shard}
            index = {"metadata": {"total_size": total}, "weight_map": places}
            self.json("model.safetensors.index.json", index)
        return names

    def json(self, name, content):
        with open(os.path.join(self.work, name), "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())

    def copy(self, source, name):
        shutil.copyfile(source, os.path.join(self.work, name))
        sync(os.path.join(self.work, name))

    def commit(self):
        """Gives the files their places."""
        names = sorted(os.listdir(self.work), key=lambda name: (name == "config.json", name))
        for name in names:
            os.rename(os.path.join(self.work, name), os.path.join(self.path, name))
        os.rmdir(self.work)
        sync(self.path)
