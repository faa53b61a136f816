"""Reading PyTorch's files: both formats alike, damaged ones and hostile ones. Run by ctest."""
import argparse
import builtins
import collections
import os
import pickle
import sys
import types
import unittest
import zipfile
from typing import Any
from unittest import mock

import numpy as np

import pytorch_files as files
from pytorch_files import SAVERS, ConverterTest, Saved, Storage, save_stream, save_zip, tensor

from conversion import Refused, unpickler
from conversion.layouts import tensors_of
from conversion.pytorch_file import PIECE_BYTES, PyTorchFile, numbers, pieces
from conversion.torchscale import settings_of
from conversion.unpickler import LARGEST_PICKLE


class Mark:
    """Makes a pickle call `function`."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class FilesTest(ConverterTest):
    def opened(self):
        file = PyTorchFile(self.checkpoint)
        self.addCleanup(file.close)
        return file

    def refused(self, *words):
        with self.assertRaises(Refused) as caught:
            file = self.opened()
            for saved in tensors_of(file.content).values():
                list(pieces(saved))
        message = str(caught.exception)
        for word in words:
            self.assertIn(word, message)
        self.assertNotIn("\n", message)

    def each_format(self, content):
        """Saves in each format; gives the opened file."""
        for name, saver in SAVERS.items():
            with self.subTest(name):
                saver(self.checkpoint, content)
                yield self.opened()
        with self.subTest("compressed"):
            save_zip(self.checkpoint, content, compressed=True)
            yield self.opened()


class Formats(FilesTest):
    def test_tensors_are_what_was_saved(self):
        random = np.random.default_rng(2)
        array = random.standard_normal((6, 10)).astype(np.float32)
        storage = Storage("FloatStorage", array.ravel())
        views = {
            "whole": (array, Saved(storage, (6, 10), (10, 1))),
            "rows": (array[2:5], Saved(storage, (3, 10), (10, 1), 20)),
            "columns": (array[:, 3:7], Saved(storage, (6, 4), (10, 1), 3)),
            "transposed": (array.T, Saved(storage, (10, 6), (1, 10))),
            "one": (array[1, 1], Saved(storage, (), (), 11)),
            "none": (array[:0], Saved(storage, (0, 10), (10, 1))),
            "alone": (array[:, :5], tensor(np.asfortranarray(array[:, :5]))),
        }
        for file in self.each_format({name: saved for name, (_, saved) in views.items()}):
            found = tensors_of(file.content)
            self.assertEqual(found["whole"].storage, found["rows"].storage)
            self.assertEqual(set(found), set(views))
            for name, (expected, _) in views.items():
                data = b"".join(pieces(found[name]))
                self.assertEqual((name, data), (name, expected.tobytes()))

    def test_tensors_of_more_than_a_piece(self):
        count = PIECE_BYTES // 2 + 1000
        array = np.arange(count, dtype=np.uint32).view(np.float32).reshape(-1, 8)
        turned = np.arange(len(array))[::-1]
        # Compressing is slow, and the others have more to go wrong.
        for saver in SAVERS.values():
            saver(self.checkpoint, {"a": tensor(array)})
            found = tensors_of(self.opened().content)["a"]
            parts = list(pieces(found))
            self.assertGreater(len(parts), 1)
            self.assertEqual(b"".join(parts), array.tobytes())
            parts = list(pieces(found, turned))
            self.assertGreater(len(parts), 1)
            self.assertEqual(b"".join(parts), array[turned].tobytes())

    def test_numbers_of_each_type(self):
        expected = [1.0, -0.5, 2.0**-14]
        for kind, array in (
            ("FloatStorage", np.float32(expected)),
            ("HalfStorage", np.float16(expected)),
            ("DoubleStorage", np.float64(expected)),
            ("BFloat16Storage", (np.float32(expected).view(np.uint32) >> 16).astype(np.uint16)),
        ):
            save_zip(self.checkpoint, {"a": tensor(array, kind)})
            self.assertEqual(list(numbers(tensors_of(self.opened().content)["a"])), expected)
        save_zip(self.checkpoint, {"a": tensor(np.arange(3), "LongStorage")})
        with self.assertRaisesRegex(Refused, "I64"):
            numbers(tensors_of(self.opened().content)["a"])

    def test_an_archive_of_more_than_four_gigabytes(self):
        first, last = np.float32([1, 2]), np.float32([3, 4])
        content = {"a": tensor(first), "hole": files.zeros((5 << 28,)), "b": tensor(last)}
        save_zip(self.checkpoint, content)
        self.assertGreater(os.path.getsize(self.checkpoint), 5 << 30)
        found = tensors_of(self.opened().content)
        self.assertEqual(list(numbers(found["a"])), [1, 2])
        self.assertEqual(list(numbers(found["b"])), [3, 4])

    def omegaconf(self, module, name):
        """A class of a stand-in for that package, so that it can be pickled."""
        made = type(name, (), {"__module__": f"omegaconf.{module}"})
        for full in ("omegaconf", made.__module__):
            sys.modules[full] = types.ModuleType(full)
            self.addCleanup(sys.modules.pop, full, None)
        setattr(sys.modules[made.__module__], name, made)
        return made

    def test_settings_of_each_kind(self):
        model = {"activation_fn": "gelu", "heads": [1, 2]}
        any_node = self.omegaconf("nodes", "AnyNode")
        dict_config = self.omegaconf("dictconfig", "DictConfig")

        def node(value):
            made = any_node()
            made.__dict__ = {"_metadata": collections.defaultdict(dict), "_val": value}
            return made

        def container(content):
            made = dict_config()
            made.__dict__ = {"_content": content, "_parent": None, "_metadata": [dict, str, Any]}
            return made

        for content in (
            {"cfg": {"model": model}},
            {"cfg": None, "args": argparse.Namespace(**model)},
            {"cfg": argparse.Namespace(model=argparse.Namespace(**model))},
            {"cfg": container({"model": container({k: node(v) for k, v in model.items()})})},
            {"args": model, "extra": {"loss": np.float64(2.5)}},
        ):
            for file in self.each_format(content):
                self.assertEqual(settings_of(file.content), model)

    def test_a_state_dict_with_members(self):
        content = collections.OrderedDict(a=tensor(np.float32([1])))
        content._metadata = {"version": 1}
        for file in self.each_format(content):
            self.assertEqual(list(tensors_of(file.content)), ["a"])


class Damaged(FilesTest):
    CONTENT = {"model": {"weight": tensor(np.arange(64, dtype=np.float32).reshape(8, 8))}}

    def test_a_file_cut_off_anywhere(self):
        """Each is refused when it is opened, before anything is written."""
        for saver in SAVERS.values():
            saver(self.checkpoint, self.CONTENT)
            with open(self.checkpoint, "rb") as stream:
                whole = stream.read()
            for length in range(len(whole)):
                with open(self.checkpoint, "wb") as stream:
                    stream.write(whole[:length])
                with self.subTest(saver=saver, length=length), self.assertRaises(Refused):
                    PyTorchFile(self.checkpoint)

    def test_a_file_with_any_byte_changed(self):
        """Is read or refused; nothing but Refused is raised."""
        for saver in SAVERS.values():
            saver(self.checkpoint, self.CONTENT)
            with open(self.checkpoint, "rb") as stream:
                whole = bytearray(stream.read())
            for position in range(0, len(whole) - 256):
                changed = bytearray(whole)
                changed[position] ^= 1 << position % 8
                with open(self.checkpoint, "wb") as stream:
                    stream.write(changed)
                try:
                    for saved in tensors_of(self.opened().content).values():
                        list(pieces(saved))
                except Refused:
                    pass

    def test_a_compressed_file_that_is_damaged(self):
        save_zip(self.checkpoint, self.CONTENT, compressed=True)
        with zipfile.ZipFile(self.checkpoint) as archive:
            member = archive.getinfo("x/data/0")
        with open(self.checkpoint, "r+b") as stream:
            stream.seek(member.header_offset + 30 + len(member.filename) + len(member.extra) + 8)
            stream.write(b"\xff\xff\xff\xff")
        self.refused("storage 0 cannot be unpacked")

    def test_a_storage_that_is_too_short(self):
        short = self.CONTENT["model"]["weight"]
        save_zip(self.checkpoint, self.CONTENT, short=short)
        self.refused("data/0 is cut off: 248 bytes of 256")

    def test_a_tensor_that_does_not_fit_its_storage(self):
        storage = Storage("FloatStorage", np.zeros(8, np.float32))
        for shape, stride, offset in (
            ((9,), (1,), 0),
            ((8,), (1,), 1),
            ((2, 2), (7, 1), 1),
            ((1 << 40,), (0,), 0),
            ((-8,), (1,), 0),
            ((8,), (-1,), 7),
            ((8,), (1,), -1),
            ((2.0,), (1,), 0),
            ((1 << 70,), (1,), 0),
            ((2, 2), (1,), 0),
        ):
            for saver in SAVERS.values():
                saver(self.checkpoint, {"a": Saved(storage, shape, stride, offset)})
                with self.subTest(shape=shape, stride=stride, offset=offset):
                    self.refused("tensor")

    def test_what_is_no_checkpoint(self):
        with zipfile.ZipFile(os.path.join(self.folder, "other.zip"), "w") as archive:
            archive.writestr("readme.txt", "no pickle")
        with open(os.path.join(self.folder, "other.zip"), "rb") as stream:
            other_zip = stream.read()
        for content, words in (
            (b"", "not a PyTorch file"),
            (b"<!DOCTYPE html>", "not a PyTorch file"),
            (b"\0" * 4096, "not a PyTorch file"),
            (pickle.dumps({"a": 1}), "magic number"),
            (pickle.dumps(0x1950A86A20F9469CFC6C) + pickle.dumps(7), "format 7"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS"),
            (other_zip, "0 data.pkl"),
        ):
            with open(self.checkpoint, "wb") as stream:
                stream.write(content)
            self.refused(words)
        for content in ([1, 2], {"a": 1}, {"model": {"state_dict": {}}}, "text"):
            save_zip(self.checkpoint, content)
            self.refused("no dictionary of tensors")

    def test_numbers_of_the_other_byte_order(self):
        save_zip(self.checkpoint, self.CONTENT)
        with zipfile.ZipFile(self.checkpoint, "a") as archive:
            archive.writestr("x/byteorder", "big")
        self.refused("big-endian")


class Hostile(FilesTest):
    """Pickles that would do something if anything of them were run."""

    def test_functions_are_refused_by_name_and_not_run(self):
        made = os.path.join(self.folder, "made")
        for function, arguments, name in (
            (os.system, (f"touch {made}",), f"{os.name}.system"),
            (builtins.eval, (f"open({made!r}, 'w')",), "builtins.eval"),
            (builtins.exec, (f"open({made!r}, 'w')",), "builtins.exec"),
            (builtins.getattr, (os, "system"), "builtins.getattr"),
            (os.mkdir, (made,), f"{os.name}.mkdir"),
            (builtins.open, (made, "w"), "io.open"),
        ):
            if function is builtins.getattr:
                arguments = ("text", "upper")
            for saver in SAVERS.values():
                saver(self.checkpoint, {"model": {}, "extra": Mark(function, *arguments)})
                with self.subTest(name):
                    self.refused(f"asks for {name}")
                    self.assertFalse(os.path.exists(made))
            save_zip(self.checkpoint, {"extra": function})  # not even named
            self.refused(f"asks for {name}")

    def test_types_that_settings_mention_make_nothing(self):
        for kind in (dict, list, bytes, int):
            save_zip(self.checkpoint, {"extra": Mark(kind, (1,))})
            self.refused("data.pkl")

    def raw_pickle(self, data):
        with zipfile.ZipFile(self.checkpoint, "w") as archive:
            archive.writestr("x/data.pkl", data)

    def test_opcodes_that_build_by_other_ways(self):
        for data, words in (
            (b"(S'x'\nios\nsystem\n.", "os.system"),  # INST
            (b"(cos\nsystem\nS'x'\no.", "os.system"),  # OBJ
            (b"cos\nsystem\n(S'x'\ntR.", "os.system"),  # REDUCE
            (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "os.system"),  # STACK_GLOBAL
            (b"\x80\x04\x8c\x08builtins\x8c\x0edict.__class__\x93.", "builtins.dict.__class__"),
            (b"\x80\x02\x82\x01.", "data.pkl"),  # EXT1
            (b"cargparse\nNamespace\n}S'a'\nI1\nsb.", "gives members"),  # to the class itself
            (b"ctorch._utils\n_rebuild_tensor_v2\n}b.", "gives members"),
            (b"Pmodule\n.", "not a storage"),
            (b"(S'module'\ntQ.", "whole module"),
            (b"(S'storage'\nS'FloatStorage'\nS'0'\nS'cpu'\nI-1\ntQ.", "size"),
            (b"(S'storage'\nS'OddStorage'\nS'0'\nS'cpu'\nI1\ntQ.", "type"),
        ):
            self.raw_pickle(data)
            with self.subTest(data):
                self.refused(words)

    def test_pickles_that_ask_for_much(self):
        for data in (
            b"\x80\x02Nr\xff\xff\xff\xff.",  # an object numbered 4,294,967,295
            b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x00.",  # 2^56 bytes
            b"\x80\x05\x96\x00\x00\x00\x00\x10\x00\x00\x00.",  # a bytearray of 64 GiB
            b"\x80\x04\x95\x00\x00\x00\x00\x10\x00\x00\x00.",  # a frame of 64 GiB
            b"]" + b"(a" * 100_000 + b".",
        ):
            self.raw_pickle(data)
            self.refused()
            with open(self.checkpoint, "wb") as stream:
                stream.write(data)
            self.refused()

    def test_a_pickle_that_never_ends(self):
        self.raw_pickle(b"]" * (LARGEST_PICKLE + 1))
        self.refused("that is no model's")
        with mock.patch.object(unpickler, "LARGEST_PICKLE", 1 << 20):
            for endless in (b"]", b"I1\n", b"\x80\x02U\xff" + b"a" * 255):
                with open(self.checkpoint, "wb") as stream:
                    stream.write(pickle.dumps(0x1950A86A20F9469CFC6C))
                    stream.write(endless * ((2 << 20) // len(endless)))
                self.refused("more than 1 MiB")

    def test_settings_that_hold_themselves(self):
        model = {"a": {}}
        model["a"]["b"] = model["a"]["c"] = model
        save_stream(self.checkpoint, {"cfg": {"model": model}})
        with self.assertRaisesRegex(Refused, "too deep"):
            settings_of(self.opened().content)


if __name__ == "__main__":
    unittest.main()
