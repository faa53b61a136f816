"""Reads the pickles of PyTorch files as plain data. Nothing that a pickle names is imported or run.

A pickle is a program for a small machine: it may name any function of Python and call it. This
reader knows a short list of names, has its own stand-ins for them, and refuses every other name.
"""
import collections
import math
import pickle

from conversion import Refused, shown

# PyTorch's storages: the type of their elements, as safetensors calls it, and the bytes of one.
STORAGES = {
    "DoubleStorage": ("F64", 8),
    "FloatStorage": ("F32", 4),
    "HalfStorage": ("F16", 2),
    "BFloat16Storage": ("BF16", 2),
    "LongStorage": ("I64", 8),
    "IntStorage": ("I32", 4),
    "ShortStorage": ("I16", 2),
    "CharStorage": ("I8", 1),
    "ByteStorage": ("U8", 1),
    "BoolStorage": ("BOOL", 1),
}
# What retnetd computes with.
SERVED_TYPES = ("F32", "F16", "BF16")
# A pickle has some hundred bytes for a tensor. Made of nothing but small objects, one of this size
# fills a gigabyte.
LARGEST_PICKLE = 16 << 20
# More elements than any file has; sums and products of a few such numbers are harmless.
MOST_ELEMENTS = 1 << 48


class Storage:
    """Elements that tensors are views of. The pickle has the key; the bytes lie elsewhere."""

    def __init__(self, key, kind, count):
        self.key, self.count = key, count
        self.dtype, self.width = STORAGES[kind]
        self.file = None  # whose storage it is; known when the pickle is read


class Tensor:
    """A view of a storage: offset and strides are counted in elements."""

    def __init__(self, storage, offset, shape, stride):
        self.storage, self.offset = storage, offset
        self.shape, self.stride = tuple(shape), tuple(stride)
        numbers = (offset, *self.shape, *self.stride)
        if not isinstance(storage, Storage) or len(self.shape) != len(self.stride):
            raise Refused("the pickle holds a tensor that is no view of a storage")
        possible = all(type(n) is int and 0 <= n < MOST_ELEMENTS for n in numbers)
        if not possible or self.elements() > storage.count or self.end() > storage.count:
            raise Refused(f"a tensor of shape {shown(self.shape)} does not fit its storage")

    @property
    def dtype(self):
        return self.storage.dtype

    def elements(self):
        return math.prod(self.shape)

    def bytes(self):
        return self.elements() * self.storage.width

    def end(self):
        """The first element of the storage that lies behind the tensor."""
        if self.elements() == 0:
            return 0
        return self.offset + 1 + sum((n - 1) * s for n, s in zip(self.shape, self.stride))

    def contiguous(self):
        expected = 1
        for side, stride in zip(reversed(self.shape), reversed(self.stride)):
            if side != 1 and stride != expected:
                return False
            expected *= side
        return True

    def same_elements(self, other):
        """Whether both are one view of one storage, as tied weights are."""
        mine = (self.offset, self.shape, self.stride)
        return self.storage is other.storage and mine == (other.offset, other.shape, other.stride)


class Settings:
    """Stands for argparse.Namespace and omegaconf's containers. `vars` has what they hold."""


class Inert:
    """Stands for a type that settings mention and that nothing may be made of."""


def make_tensor(storage, offset, shape, stride, *_requires_grad_and_hooks):
    return Tensor(storage, offset, shape, stride)


def make_parameter(tensor, *_requires_grad_and_hooks):
    return tensor


def make_nothing(*_arguments):
    """Stands for numpy's numbers, which training leaves beside the model. They are not needed."""


def make_dictionary(*_arguments):
    return {}


FUNCTIONS = {
    "torch._utils._rebuild_tensor": make_tensor,
    "torch._utils._rebuild_tensor_v2": make_tensor,
    "torch._utils._rebuild_parameter": make_parameter,
    "torch._utils._rebuild_parameter_with_state": make_parameter,
    "collections.OrderedDict": collections.OrderedDict,
    "collections.defaultdict": make_dictionary,
    "numpy.dtype": make_nothing,
    "numpy.core.multiarray.scalar": make_nothing,
    "numpy._core.multiarray.scalar": make_nothing,
    "_codecs.encode": make_nothing,
}
SETTINGS = {
    "argparse.Namespace",
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.base.Metadata",
    "omegaconf.base.ContainerMetadata",
    *(
        f"omegaconf.nodes.{kind}Node"
        for kind in ("Any", "Boolean", "Bytes", "Enum", "Float", "Integer", "Path", "String")
    ),
}
# Types that omegaconf's metadata mentions. Old protocols have the names of Python 2 for some.
MENTIONED = {
    "typing.Any",
    *(f"builtins.{name}" for name in ("bool", "bytes", "dict", "float", "int", "list", "long")),
    *(f"builtins.{name}" for name in ("str", "tuple", "unicode")),
}


class Limited:
    """A stream of which a pickle may read LARGEST_PICKLE bytes."""

    def __init__(self, stream):
        self.stream, self.left = stream, LARGEST_PICKLE

    def _count(self, bytes_read):
        self.left -= bytes_read
        if self.left < 0:
            raise Refused(f"its pickle has more than {LARGEST_PICKLE >> 20} MiB, as no model's has")

    def read(self, size):
        self._count(size)
        return self.stream.read(size)

    def readinto(self, buffer):
        self._count(len(buffer))
        return self.stream.readinto(buffer)

    def readline(self):
        line = self.stream.readline(max(0, self.left) + 1)
        self._count(len(line))
        return line


class Unpickler(pickle._Unpickler):  # pylint: disable=protected-access
    """Python's own unpickler, the one in Python: its memo of objects grows with what is put into
    it. The one in C makes a memo of as many entries as the pickle says.
    """

    dispatch = dict(pickle._Unpickler.dispatch)  # pylint: disable=protected-access

    def __init__(self, stream):
        super().__init__(Limited(stream))
        self.storages = {}  # by key

    def find_class(self, module, name):
        module = {"__builtin__": "builtins"}.get(module, module)  # Python 2's name of it
        full = f"{module}.{name}"
        if module == "torch" and name in STORAGES:
            return name
        if full in FUNCTIONS:
            return FUNCTIONS[full]
        if full in SETTINGS:
            return Settings
        if full in MENTIONED:
            return Inert()
        raise Refused(f"the pickle asks for {full[:200]}, which this reader neither knows nor runs")

    def persistent_load(self, pid):
        """A storage: ("storage", type, key, device, elements), in old files also its part."""
        if isinstance(pid, tuple) and pid and pid[0] == "module":
            raise Refused("it holds a whole module with its code; save its state_dict() instead")
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            raise Refused("the pickle refers to something that is not a storage")
        _, kind, key, _device, count = pid[:5]
        if len(pid) == 6 and pid[5] is not None:
            raise Refused("it holds views of storages as PyTorch before 0.4 wrote them")
        if kind not in STORAGES or not isinstance(key, str):
            raise Refused("the pickle refers to a storage without a type or a key")
        if type(count) is not int or not 0 <= count < MOST_ELEMENTS:
            raise Refused(f"storage {key} has the impossible size {shown(count)}")
        storage = self.storages.setdefault(key, Storage(key, kind, count))
        if (storage.dtype, storage.count) != (STORAGES[kind][0], count):
            raise Refused(f"storage {key} is described in two ways")
        return storage

    def load_build(self):
        """Gives an object its members. Settings need them; those of a state_dict are dropped."""
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Settings) and isinstance(state, dict):
            vars(target).update((name, state[name]) for name in state if isinstance(name, str))
        elif not isinstance(target, (collections.OrderedDict, Tensor, type(None))):
            raise Refused(f"the pickle gives members to a {type(target).__name__}")

    dispatch[pickle.BUILD[0]] = load_build


def read_pickle(stream, where):
    """The next pickle of `stream`, and the storages that it mentions, by key."""
    unpickler = Unpickler(stream)
    try:
        return unpickler.load(), unpickler.storages
    except Refused:
        raise
    except MemoryError as error:
        raise Refused(f"{where} asks for more memory than there is") from error
    except Exception as error:  # a broken pickle may raise almost anything
        reason = str(error)[:200] or type(error).__name__
        raise Refused(f"{where} is damaged or cut off ({reason})") from error


MOST_SETTINGS = 100_000


def plain(value):
    """Settings as dictionaries and lists. What else is in them stays as it is."""
    seen = 0

    def convert(item, depth):
        nonlocal seen
        seen += 1
        if depth > 50 or seen > MOST_SETTINGS:  # also where one holds itself
            raise Refused("its settings are nested too deep, or too many")
        if isinstance(item, Settings):
            members = vars(item)
            held = [name for name in ("_content", "_val") if name in members]  # omegaconf's
            return convert(members[held[0]] if held else members, depth + 1)
        if isinstance(item, dict):
            return {key: convert(part, depth + 1) for key, part in item.items()}
        if isinstance(item, (list, tuple)):
            return [convert(part, depth + 1) for part in item]
        return item

    return convert(value, 0)
