"""What the converter refuses, by name, and what each setting turns into. Run by ctest."""
import argparse
import json
import os
import pickle
import sys
import tempfile
import types
import unittest
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "models"))

import numpy as np  # noqa: E402

import convert_torchscale as converter  # noqa: E402

# Names that PyTorch would give the pickle, so that files can be written without it.
TORCH = types.ModuleType("torch")
TORCH._utils = types.ModuleType("torch._utils")
for storage in ("FloatStorage", "HalfStorage", "BFloat16Storage", "LongStorage"):
    setattr(TORCH, storage, type(storage, (), {"__module__": "torch"}))


def _rebuild_tensor_v2():
    raise AssertionError("only its name is pickled")


_rebuild_tensor_v2.__module__ = "torch._utils"
TORCH._utils._rebuild_tensor_v2 = _rebuild_tensor_v2
sys.modules["torch"], sys.modules["torch._utils"] = TORCH, TORCH._utils


class Storage:
    def __init__(self, key, kind, array):
        self.key, self.kind, self.array = key, kind, array


class Saved:
    """A tensor as torch.save pickles it."""

    def __init__(self, storage, shape, stride, offset=0):
        self.arguments = (storage, offset, shape, stride, False, {})

    def __reduce__(self):
        return _rebuild_tensor_v2, self.arguments


class Pickler(pickle.Pickler):
    def persistent_id(self, thing):
        if isinstance(thing, Storage):
            kind = getattr(TORCH, thing.kind)
            return ("storage", kind, thing.key, "cpu", thing.array.size)
        return None


def small_model(kind="FloatStorage", dtype=np.float32):
    """Names and arrays of a model of 1 layer, 2 heads of 4 x 6."""
    random = np.random.default_rng(1)
    shapes = {"embed_tokens.weight": (7, 8), "output_projection.weight": (7, 8)}
    shapes["layer_norm.weight"] = (8,)
    shapes.update({f"layers.0.retention.{p}_proj.weight": (8, 8) for p in "qk"})
    shapes.update({f"layers.0.retention.{p}_proj.weight": (12, 8) for p in "vg"})
    shapes["layers.0.retention.out_proj.weight"] = (8, 12)
    shapes.update({f"layers.0.{n}_layer_norm.weight": (8,) for n in ("retention", "final")})
    shapes.update({"layers.0.ffn.fc1.weight": (5, 8), "layers.0.ffn.gate.weight": (5, 8)})
    shapes["layers.0.ffn.fc2.weight"] = (8, 5)
    arrays = {}
    for name, shape in shapes.items():
        arrays[f"decoder.{name}"] = (kind, random.standard_normal(shape).astype(dtype))
    angle = np.repeat(1.0 / 10000 ** np.linspace(0, 1, 2), 2).astype(np.float32)
    decay = np.log(1 - 2.0 ** (-5 - np.arange(2))).astype(np.float32)
    arrays["decoder.retnet_rel_pos.angle"] = ("FloatStorage", angle)
    arrays["decoder.retnet_rel_pos.decay"] = ("FloatStorage", decay)
    return arrays


def save(path, arrays, content, short=None):
    """Writes what torch.save would; the storage of tensor `short` is cut."""
    model, storages = {}, []
    for name, (kind, array) in arrays.items():
        storage = Storage(str(len(storages)), kind, array)
        storages.append((name, storage))
        stride = tuple(s // array.itemsize for s in array.strides)
        model[name] = Saved(storage, array.shape, stride)
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("x/data.pkl", "w") as stream:
            Pickler(stream, protocol=2).dump({"model": model, **content})
        for name, storage in storages:
            data = storage.array.tobytes(order="A")  # as it lies in memory
            archive.writestr(f"x/data/{storage.key}", data[:-8] if name == short else data)


class ConvertTorchscale(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.checkpoint = os.path.join(folder.name, "checkpoint.pt")
        self.out = os.path.join(folder.name, "out")

    def convert(self, settings=None, arrays=None, content=None, short=None):
        model_settings = {"activation_fn": "swish", **(settings or {})}
        content = {"cfg": {"model": model_settings}, "args": None, **(content or {})}
        save(self.checkpoint, arrays or small_model(), content, short)
        converter.convert(self.checkpoint, self.out)
        with open(os.path.join(self.out, "config.json"), encoding="utf-8") as stream:
            return json.load(stream)

    def tensors(self):
        with open(os.path.join(self.out, "model.safetensors"), "rb") as stream:
            content = stream.read()
        size = int.from_bytes(content[:8], "little")
        return json.loads(content[8 : 8 + size]), content[8 + size :]

    def refused(self, message, **arguments):
        with self.assertRaisesRegex(converter.Refused, message):
            self.convert(**arguments)
        self.assertFalse(os.path.exists(self.out))

    def test_what_is_no_plain_retnet_is_refused_by_name(self):
        self.refused("moe_freq is 2", settings={"moe_freq": 2})
        self.refused("deepnorm is True", settings={"deepnorm": True})
        self.refused("multiway is True", settings={"multiway": True})
        self.refused("normalize_before is False", settings={"decoder_normalize_before": False})
        self.refused("no_output_layer is True", settings={"no_output_layer": True})
        self.refused("activation_fn is 'relu'", settings={"activation_fn": "relu"})
        self.refused("decoder_retention_heads", settings={"decoder_retention_heads": 3})

    def test_settings_become_keys(self):
        config = self.convert({"no_scale_embedding": False, "layernorm_eps": 1e-5})
        self.assertEqual(config["embedding_multiplier"], 8**0.5)
        self.assertEqual(config["norm_eps"], 1e-5)
        self.assertEqual(config["num_heads"], 2)
        self.assertEqual((config["expand_k"], config["expand_v"]), (1.0, 1.5))
        self.assertEqual(config["mlp_hidden_act"], "swish")
        self.assertNotIn("decay", config)
        self.assertFalse(config["tie_word_embeddings"])

    def test_settings_may_be_the_args_of_a_command(self):
        arguments = argparse.Namespace(no_scale_embedding=True)
        config = self.convert(content={"cfg": None, "args": arguments})
        self.assertEqual(config["mlp_hidden_act"], "gelu")

    def test_tied_embeddings_are_written_once(self):
        config = self.convert({"share_decoder_input_output_embed": True})
        self.assertTrue(config["tie_word_embeddings"])
        self.assertNotIn("lm_head.weight", self.tensors()[0])

    def test_rows_of_q_and_k_go_from_neighbours_to_halves(self):
        arrays = small_model()
        self.convert(arrays=arrays)
        header, data = self.tensors()
        begin, end = header["model.layers.0.attn.k_proj.weight"]["data_offsets"]
        written = np.frombuffer(data[begin:end], np.float32).reshape(8, 8)
        original = arrays["decoder.layers.0.retention.k_proj.weight"][1]
        np.testing.assert_array_equal(written, original[[0, 2, 1, 3, 4, 6, 5, 7]])

    def test_halves_keep_their_bits(self):
        arrays = small_model("BFloat16Storage", np.uint16)
        self.convert(arrays=arrays)
        header, data = self.tensors()
        entry = header["model.embeddings.weight"]
        self.assertEqual(entry["dtype"], "BF16")
        begin, end = entry["data_offsets"]
        self.assertEqual(data[begin:end], arrays["decoder.embed_tokens.weight"][1].tobytes())

    def test_strides_are_followed(self):
        arrays = small_model()
        kind, array = arrays["decoder.layers.0.ffn.fc2.weight"]
        arrays["decoder.layers.0.ffn.fc2.weight"] = (kind, np.asfortranarray(array))
        self.convert(arrays=arrays)
        header, data = self.tensors()
        begin, end = header["model.layers.0.mlp.down_proj.weight"]["data_offsets"]
        written = np.frombuffer(data[begin:end], np.float32).reshape(8, 5)
        np.testing.assert_array_equal(written, array)

    def test_other_decays_are_kept(self):
        arrays = small_model()
        arrays["decoder.retnet_rel_pos.decay"] = ("FloatStorage", np.log(np.float32([0.5, 0.75])))
        decay = self.convert(arrays=arrays)["decay"]
        np.testing.assert_allclose(decay, [0.5, 0.75], rtol=1e-6)

    def test_other_angles_are_refused(self):
        arrays = small_model()
        arrays["decoder.retnet_rel_pos.angle"] = ("FloatStorage", np.float32([1, 1, 0.5, 0.5]))
        self.refused("retnet_rel_pos.angle", arrays=arrays)

    def test_tensors_that_are_missing_or_of_no_place_are_named(self):
        arrays = small_model()
        bias = "decoder.layers.0.retention.q_proj.bias"
        arrays[bias] = ("FloatStorage", np.zeros((8, 1), np.float32))
        self.refused(bias, arrays=arrays)
        arrays = small_model()
        del arrays["decoder.layers.0.ffn.gate.weight"]
        self.refused("decoder.layers.0.ffn.gate.weight is missing", arrays=arrays)
        arrays = small_model("LongStorage", np.int64)
        self.refused("LongStorage is not read", arrays=arrays)

    def test_a_storage_that_is_too_short_is_refused(self):
        with self.assertRaisesRegex(converter.Refused, "decoder.embed_tokens.weight.*outside"):
            self.convert(short="decoder.embed_tokens.weight")

    def test_code_in_the_pickle_is_refused_and_not_run(self):
        self.refused("builtins.eval|__builtin__.eval", content={"extra": eval})
        self.refused("posix.system|os.system", content={"extra": os.system})

    def test_what_is_no_checkpoint_is_refused(self):
        with open(self.checkpoint, "wb") as stream:
            stream.write(b"no zip")
        with self.assertRaisesRegex(converter.Refused, "not a zip"):
            converter.convert(self.checkpoint, self.out)
        with zipfile.ZipFile(self.checkpoint, "w") as archive:
            archive.writestr("x/data.pkl", b"\x80\x02garbage")
        with self.assertRaisesRegex(converter.Refused, "cannot be read"):
            converter.convert(self.checkpoint, self.out)
        self.assertEqual(converter.main(["", self.checkpoint, self.out]), 1)
        self.assertEqual(converter.main([""]), 2)


if __name__ == "__main__":
    unittest.main()
