"""PyTorch's two file formats. Tensors are described at once; their elements come when asked for.

A zip archive (torch.save since 1.6): NAME/data.pkl has the objects, NAME/data/KEY the bytes of each
storage. Before that one stream: pickles of a magic number, a version, facts about the machine, the
objects and the list of storages' keys; then, for each key, the number of elements (int64) and their
bytes.
"""
import io
import os
import struct
import zipfile

import numpy as np

from conversion import Refused
from conversion.unpickler import LARGEST_PICKLE, read_pickle

MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001
# Elements are moved in pieces of about this size.
PIECE_BYTES = 16 << 20
# Elements are only moved, so that of their type the size alone matters.
RAW = {1: np.dtype("u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4"), 8: np.dtype("<u8")}


class PyTorchFile:
    """One open file. `content` is what was saved, with a Tensor (unpickler.py) for each tensor."""

    def __init__(self, path):
        self.path = path
        self.file = open(path, "rb")  # pylint: disable=consider-using-with
        self.size = os.fstat(self.file.fileno()).st_size
        self.members = {}  # key of a storage: its member of the archive, if it is compressed
        self.offsets = {}  # key of a storage: its first byte in the file, if it is not
        self.content = self.zip = None
        start = self.file.read(8)
        self.file.seek(0)
        try:
            if start == b"version ":
                raise Refused("a pointer of Git LFS, not the file: fetch it with git lfs pull")
            if start[:4] == b"PK\x03\x04":
                self._read_zip()
            else:
                self._read_stream()
        except Refused:
            self.close()
            raise

    def close(self):
        self.file.close()

    def _read_zip(self):
        try:
            self.zip = zipfile.ZipFile(self.file)  # pylint: disable=consider-using-with
        except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError) as error:
            raise Refused(f"the zip archive is damaged or cut off ({error})") from error
        members = {member.filename: member for member in self.zip.infolist()}
        pickles = [name for name in members if name.split("/")[1:] == ["data.pkl"]]
        if len(pickles) != 1:
            raise Refused(f"a zip archive, but not of PyTorch: it has {len(pickles)} data.pkl")
        prefix = pickles[0][: -len("data.pkl")]
        order = members.get(prefix + "byteorder")
        if order is not None and self._small(order) != b"little":
            raise Refused("its numbers are big-endian; only little-endian files are read")
        objects = io.BytesIO(self._small(members[pickles[0]]))
        self.content, storages = read_pickle(objects, "data.pkl")
        for key, storage in storages.items():
            storage.file = self
            member = members.get(f"{prefix}data/{key}")
            if member is None:
                raise Refused(f"the archive is incomplete: data/{key} is missing")
            self._place(member, key)
            needed = storage.count * storage.width
            if member.file_size < needed:
                raise Refused(f"data/{key} is cut off: {member.file_size} bytes of {needed}")

    def _small(self, member):
        """The whole content of a member that is never large."""
        if member.file_size > LARGEST_PICKLE:
            raise Refused(f"{member.filename} has {member.file_size} bytes; that is no model's")
        try:
            return self.zip.read(member)
        except Exception as error:  # BadZipFile, zlib.error, a password, an odd packing
            raise Refused(f"{member.filename} cannot be unpacked ({error})") from error

    def _place(self, member, key):
        """Finds the bytes of a storage in the archive."""
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            self.members[key] = member
            return
        self.file.seek(member.header_offset)
        header = self.file.read(30)  # the local header; its name and extra field follow
        if len(header) != 30 or header[:4] != b"PK\x03\x04":
            raise Refused(f"{member.filename} is damaged: it does not begin where the archive says")
        self.offsets[key] = member.header_offset + 30 + sum(struct.unpack("<HH", header[26:30]))
        if self.offsets[key] + member.file_size > self.size:
            raise Refused(f"{member.filename} is cut off: the file ends before it")

    def _read_stream(self):
        try:
            magic, _ = read_pickle(self.file, "its beginning")
        except Refused as error:
            raise Refused("not a PyTorch file: neither a zip archive nor pickles") from error
        if magic != MAGIC:
            raise Refused("not a PyTorch file: a pickle, but without PyTorch's magic number")
        version, _ = read_pickle(self.file, "its version")
        if version != VERSION:
            raise Refused(f"PyTorch's format {version!r} is not known; only {VERSION} is")
        machine, _ = read_pickle(self.file, "the note on its machine")
        if not isinstance(machine, dict) or machine.get("little_endian", True) is not True:
            raise Refused("its numbers are big-endian; only little-endian files are read")
        self.content, storages = read_pickle(self.file, "the pickle of its objects")
        keys, _ = read_pickle(self.file, "the list of its storages")
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise Refused("the list of its storages is damaged")
        if set(keys) != set(storages):
            raise Refused("the storages of its tensors are not those of its list of storages")
        for key in keys:
            storages[key].file = self
            count = self.file.read(8)
            if len(count) != 8:
                raise Refused(f"the file is cut off: it ends before storage {key}")
            if struct.unpack("<q", count)[0] != storages[key].count:
                raise Refused(f"storage {key} is damaged: its size is not that of the pickle")
            self.offsets[key] = self.file.tell()
            end = self.offsets[key] + storages[key].count * storages[key].width
            if end > self.size:
                raise Refused(f"the file is cut off: it ends within storage {key}")
            self.file.seek(end)

    def runs(self, key, begin, end):
        """Bytes begin … end − 1 of a storage, piece by piece."""
        if key in self.offsets:
            self.file.seek(self.offsets[key] + begin)
            source = self.file
        else:
            source = self.zip.open(self.members[key])
            source.seek(begin)
        while begin < end:
            piece = source.read(min(PIECE_BYTES, end - begin))
            if not piece:
                raise Refused(f"storage {key} is cut off")
            yield piece
            begin += len(piece)

    def span(self, key, raw, begin, end):
        """The same bytes as an array of type `raw`: mapped, or unpacked into memory."""
        if key in self.offsets:
            count = (end - begin) // raw.itemsize
            return np.memmap(self.file, raw, "r", self.offsets[key] + begin, (count,))
        return np.frombuffer(b"".join(self.runs(key, begin, end)), raw)


def pieces(tensor, rows=None):
    """The tensor's elements in row-major order, as bytes. `rows`: an order of rows."""
    storage = tensor.storage
    begin, end = tensor.offset * storage.width, tensor.end() * storage.width
    if tensor.elements() == 0:
        return
    try:
        if tensor.contiguous() and rows is None:
            yield from storage.file.runs(storage.key, begin, end)
            return
        flat = storage.file.span(storage.key, RAW[storage.width], begin, end)
    except (Refused, OSError):
        raise
    except Exception as error:  # BadZipFile, zlib.error, a password, an odd packing
        raise Refused(f"storage {storage.key} cannot be unpacked ({error})") from error
    strides = [stride * storage.width for stride in tensor.stride]
    view = np.lib.stride_tricks.as_strided(flat, tensor.shape, strides)
    order = np.arange(len(view)) if rows is None else rows
    step = max(1, PIECE_BYTES * len(view) // view.nbytes)
    for first in range(0, len(view), step):
        yield view[order[first : first + step]].tobytes()


def numbers(tensor):
    """A small tensor as an array of float64."""
    data = b"".join(pieces(tensor))
    if tensor.dtype == "BF16":
        array = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    elif tensor.dtype in ("F32", "F16", "F64"):
        array = np.frombuffer(data, f"<f{tensor.storage.width}")
    else:
        raise Refused(f"a tensor of angles or decays is of type {tensor.dtype}")
    return array.astype(np.float64).reshape(tensor.shape)
