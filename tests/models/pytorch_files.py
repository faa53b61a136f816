"""Writes files as torch.save does, in both of its formats and without PyTorch, and reads what the
converter makes of them."""
import json
import os
import pickle
import struct
import sys
import tempfile
import types
import unittest
import zipfile

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "models"))

SCRIPT = os.path.join(ROOT, "models", "convert.py")

# Names that PyTorch would give the pickle.
TORCH = types.ModuleType("torch")
TORCH._utils = types.ModuleType("torch._utils")
KINDS = ("FloatStorage", "HalfStorage", "BFloat16Storage", "DoubleStorage", "LongStorage")
for kind_name in KINDS:
    setattr(TORCH, kind_name, type(kind_name, (), {"__module__": "torch"}))


def _rebuild_tensor_v2():
    raise AssertionError("only its name is pickled")


def _rebuild_parameter():
    raise AssertionError("only its name is pickled")


for function in (_rebuild_tensor_v2, _rebuild_parameter):
    function.__module__ = "torch._utils"
    setattr(TORCH._utils, function.__name__, function)
sys.modules["torch"], sys.modules["torch._utils"] = TORCH, TORCH._utils


class Storage:
    """`data`: the elements, or how many zeros there are, which are then a hole of the file."""

    def __init__(self, kind, data):
        self.kind, self.data = kind, data
        self.count = data if isinstance(data, int) else data.size

    def width(self):
        return {"HalfStorage": 2, "BFloat16Storage": 2, "FloatStorage": 4}.get(self.kind, 8)


class Saved:
    """A tensor as torch.save pickles it."""

    def __init__(self, storage, shape, stride, offset=0):
        self.storage, self.shape = storage, shape
        self.arguments = (storage, offset, shape, stride, False, {})

    def __reduce__(self):
        return _rebuild_tensor_v2, self.arguments


class Parameter:
    def __init__(self, tensor):
        self.tensor = tensor

    def __reduce__(self):
        return _rebuild_parameter, (self.tensor, True, {})


def tensor(array, kind="FloatStorage"):
    """A tensor with a storage of its own, in the order in which the array lies in memory."""
    stride = tuple(s // array.itemsize for s in array.strides)
    return Saved(Storage(kind, array.ravel(order="K")), array.shape, stride)


def zeros(shape, kind="FloatStorage"):
    """A tensor whose storage is a hole of the file."""
    stride = tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
    return Saved(Storage(kind, int(np.prod(shape))), shape, stride)


class Pickler(pickle.Pickler):
    def __init__(self, stream, stream_format):
        super().__init__(stream, protocol=2)
        self.storages, self.stream_format = [], stream_format

    def persistent_id(self, thing):
        if not isinstance(thing, Storage):
            return None
        if thing not in self.storages:
            self.storages.append(thing)
        key = str(self.storages.index(thing))
        pid = ("storage", getattr(TORCH, thing.kind), key, "cpu", thing.count)
        return (*pid, None) if self.stream_format else pid


def save_zip(path, content, compressed=False, short=None):
    """What torch.save writes since 1.6. `short`: a tensor whose storage is cut."""
    packing = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with open(path, "wb") as file, zipfile.ZipFile(file, "w", packing) as archive:
        with archive.open("x/data.pkl", "w") as stream:
            pickler = Pickler(stream, stream_format=False)
            pickler.dump(content)
        for key, storage in enumerate(pickler.storages):
            name = f"x/data/{key}"
            if isinstance(storage.data, int):
                hole_in_archive(file, archive, name, storage.count * storage.width())
                continue
            data = storage.data.tobytes()
            member = zipfile.ZipInfo(name)
            member.compress_type = packing
            member.extra = struct.pack("<HH9x", 0x4246, 9)  # padding, as PyTorch writes it
            archive.writestr(member, data[:-8] if short and storage is short.storage else data)


def hole_in_archive(file, archive, name, size):
    """A member of zeros that takes no space on the disk."""
    member = zipfile.ZipInfo(name)
    member.file_size = member.compress_size = size
    member.CRC, member.header_offset = 0, archive.start_dir
    file.seek(archive.start_dir)
    file.write(member.FileHeader(zip64=True))
    archive.start_dir = file.seek(size, os.SEEK_CUR)
    archive.filelist.append(member)
    archive.NameToInfo[name] = member


def save_stream(path, content):
    """What torch.save wrote before 1.6, and writes without _use_new_zipfile_serialization."""
    with open(path, "wb") as file:
        sizes = {"short": 2, "int": 4, "long": 4}
        machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": sizes}
        for part in (0x1950A86A20F9469CFC6C, 1001, machine):
            pickle.dump(part, file, protocol=2)
        pickler = Pickler(file, stream_format=True)
        pickler.dump(content)
        keys = sorted(str(key) for key in range(len(pickler.storages)))
        pickle.dump(keys, file, protocol=2)
        for key in keys:
            storage = pickler.storages[int(key)]
            file.write(struct.pack("<q", storage.count))
            if isinstance(storage.data, int):
                file.truncate(file.seek(storage.count * storage.width(), os.SEEK_CUR))
            else:
                file.write(storage.data.tobytes())


SAVERS = {"zip": save_zip, "stream": save_stream}


def small_model(kind="FloatStorage", dtype=np.float32):
    """Tensors of torchscale by name: 1 layer, 2 heads of 4 x 6, 7 tokens."""
    random = np.random.default_rng(1)
    shapes = {"embed_tokens.weight": (7, 8), "output_projection.weight": (7, 8)}
    shapes["layer_norm.weight"] = (8,)
    shapes.update({f"layers.0.retention.{p}_proj.weight": (8, 8) for p in "qk"})
    shapes.update({f"layers.0.retention.{p}_proj.weight": (12, 8) for p in "vg"})
    shapes["layers.0.retention.out_proj.weight"] = (8, 12)
    shapes.update({f"layers.0.{n}_layer_norm.weight": (8,) for n in ("retention", "final")})
    shapes.update({"layers.0.ffn.fc1.weight": (5, 8), "layers.0.ffn.gate.weight": (5, 8)})
    shapes["layers.0.ffn.fc2.weight"] = (8, 5)
    tensors = {}
    for name, shape in shapes.items():
        array = (8 * random.standard_normal(shape)).astype(dtype)
        tensors[f"decoder.{name}"] = tensor(array, kind)
    angle = np.repeat(1.0 / 10000 ** np.linspace(0, 1, 2), 2).astype(np.float32)
    decay = np.log(1 - 2.0 ** (-5 - np.arange(2))).astype(np.float32)
    tensors["decoder.retnet_rel_pos.angle"] = tensor(angle)
    tensors["decoder.retnet_rel_pos.decay"] = tensor(decay)
    return tensors


def elements(saved):
    """The elements of a contiguous tensor."""
    return saved.storage.data.reshape(saved.shape)


SYNCDOTH = {"embed_tokens": "model.embed_tokens", "output_projection": "lm_head"}


def syncdoth_model(**arguments):
    """The same with the names of syncdoth/RetNet, and its config.json."""
    tensors = {}
    for name, saved in small_model(**arguments).items():
        name = name[len("decoder.") :]
        first, rest = name.split(".", 1)
        tensors[f"{SYNCDOTH.get(first, 'model.' + first)}.{rest}"] = saved
    config = {"model_type": "retnet", "decoder_embed_dim": 8, "decoder_layers": 1}
    config |= {"decoder_retention_heads": 2, "decoder_value_embed_dim": 12, "use_glu": True}
    return tensors, config


def read_safetensors(path):
    """name: (type, shape, bytes)."""
    with open(path, "rb") as stream:
        content = stream.read()
    end = 8 + int.from_bytes(content[:8], "little")
    tensors = json.loads(content[8:end])
    del tensors["__metadata__"]
    found, covered = {}, 0
    for name, entry in tensors.items():
        begin, after = entry["data_offsets"]
        assert begin == covered, "a hole or an overlap"
        covered = after
        found[name] = (entry["dtype"], tuple(entry["shape"]), content[end + begin : end + after])
    assert end + covered == len(content), "bytes behind the last tensor"
    return found


class ConverterTest(unittest.TestCase):
    """A folder of its own for each test, with SOURCE and OUT in it."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()  # pylint: disable=consider-using-with
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.checkpoint = os.path.join(folder.name, "checkpoint.pt")
        self.source = os.path.join(folder.name, "source")
        self.out = os.path.join(folder.name, "out")

    def write_source(self, name, content):
        """A file of the folder SOURCE; dictionaries become JSON."""
        os.makedirs(self.source, exist_ok=True)
        with open(os.path.join(self.source, name), "w", encoding="utf-8") as stream:
            stream.write(content if isinstance(content, str) else json.dumps(content))

    def written(self, name="config.json"):
        with open(os.path.join(self.out, name), encoding="utf-8") as stream:
            return json.load(stream)

    def tensors(self, name="model.safetensors"):
        return read_safetensors(os.path.join(self.out, name))
