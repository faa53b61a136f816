#!/usr/bin/env python3
"""Converts a torchscale RetNet checkpoint into a folder that retnetd serves.

    convert_torchscale.py CHECKPOINT.pt OUT

writes OUT/config.json and OUT/model.safetensors. Needs numpy, not PyTorch: the file is a zip whose
pickle is read by an unpickler that makes plain containers and tensor descriptions and refuses every
other name.
"""
import collections
import functools
import json
import math
import os
import pickle
import struct
import sys
import zipfile

import numpy as np


class Refused(Exception):
    """A checkpoint that cannot be converted exactly; the message says why."""


# --- The file: settings and tensors, nothing executed. ---

# Storage class: name in safetensors, numpy type of its raw elements (halves are only moved).
STORAGES = {
    "FloatStorage": ("F32", "<f4"),
    "HalfStorage": ("F16", "<u2"),
    "BFloat16Storage": ("BF16", "<u2"),
}


class Namespace:
    """Stands for argparse.Namespace and other plain holders of settings."""


class Tensor:
    """A tensor of the zip, read when it is needed."""

    def __init__(self, storage, offset, size, stride):
        self.kind, self.key, self.storage_size = storage
        self.offset, self.shape, self.stride = int(offset), tuple(size), tuple(stride)


def rebuild_tensor(storage, offset, size, stride, *_unused):
    return Tensor(storage, offset, size, stride)


def rebuild_parameter(data, *_unused):
    return data


class Unpickler(pickle.Unpickler):
    ALLOWED = {
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("argparse", "Namespace"): Namespace,
        ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
        ("torch._utils", "_rebuild_parameter"): rebuild_parameter,
    }

    def find_class(self, module, name):
        if module == "torch" and name.endswith("Storage"):
            return name
        if (module, name) not in self.ALLOWED:
            raise Refused(f"the pickle asks for {module}.{name}, which is not read")
        return self.ALLOWED[module, name]

    def persistent_load(self, pid):
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage":
            raise Refused("the pickle refers to something that is not a storage")
        _, kind, key, _location, size = pid
        return kind, key, size


def storage_type(name, tensor):
    if tensor.kind not in STORAGES:
        raise Refused(f"decoder.{name}: a {tensor.kind} is not read; only {', '.join(STORAGES)}")
    return STORAGES[tensor.kind]


class CheckpointFile:
    def __init__(self, path):
        try:
            self.zip = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise Refused(f"not a zip file as torch.save has written them since 1.6: {error}")
        names = [name for name in self.zip.namelist() if name.split("/")[1:] == ["data.pkl"]]
        if len(names) != 1:
            raise Refused(f"expected one data.pkl in the zip, found {len(names)}")
        self.prefix = names[0][: -len("data.pkl")]
        if self.read("byteorder", b"little") != b"little":
            raise Refused("byteorder is not little")
        with self.zip.open(names[0]) as stream:
            try:
                self.content = Unpickler(stream).load()
            except Refused:
                raise
            except Exception as error:  # a broken pickle may raise almost anything
                raise Refused(f"data.pkl cannot be read: {error}")

    def read(self, name, default):
        try:
            return self.zip.read(self.prefix + name)
        except KeyError:
            return default

    def array(self, name, tensor):
        """The tensor's elements, as raw numbers of their size, and its safetensors type."""
        dtype, raw = storage_type(name, tensor)
        data = self.read(f"data/{tensor.key}", None)
        if data is None:
            raise Refused(f"decoder.{name}: storage {tensor.key} is missing in the zip")
        storage = np.frombuffer(data, raw, count=len(data) // np.dtype(raw).itemsize)
        last = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride))
        sides = tensor.shape + tensor.stride + (tensor.offset,)
        if min(sides) < 0 or (math.prod(tensor.shape) > 0 and last >= len(storage)):
            raise Refused(f"decoder.{name}: {tensor.shape} elements lie outside its storage")
        strides = [stride * storage.itemsize for stride in tensor.stride]
        view = np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides)
        return np.ascontiguousarray(view), dtype


# --- What it says. ---


def settings_of(content):
    """The model's settings: cfg.model where there is one, else args."""
    for holder in (content.get("cfg"), content.get("args")):
        if isinstance(holder, Namespace):
            holder = vars(holder)
        if isinstance(holder, dict) and "model" in holder and not isinstance(holder["model"], str):
            holder = holder["model"]
        if isinstance(holder, Namespace):
            holder = vars(holder)
        if isinstance(holder, dict) and holder:
            return holder
    raise Refused("no settings: neither cfg.model nor args is there")


# Setting: the value under which the model is a plain RetNet, which is also torchscale's default.
REQUIRED = {
    "moe_freq": 0,
    "use_xmoe": False,
    "deepnorm": False,
    "multiway": False,
    "decoder_normalize_before": True,
    "no_output_layer": False,
}


def check_settings(settings):
    for key, needed in REQUIRED.items():
        if settings.get(key, needed) != needed:
            raise Refused(f"{key} is {settings[key]!r}; only {needed!r} can be converted")


def expansion(width, hidden):
    """A factor with int(hidden · factor) = width."""
    factor = width / hidden
    return factor if int(hidden * factor) == width else np.nextafter(factor, math.inf).item()


def decays_of(array):
    """γ of each head from the buffer's ln γ, or None where they are the formula's."""
    heads = np.arange(len(array), dtype=np.float32)
    formula = np.log(1 - np.exp2(-5 - heads).astype(np.float32))
    if np.allclose(array, formula, rtol=1e-5, atol=0):
        return None
    return [float(gamma) for gamma in np.exp(array.astype(np.float64))]


def check_angles(array, key_dim):
    pairs = key_dim // 2
    formula = np.repeat(1.0 / 10000 ** np.linspace(0, 1, pairs), 2)
    if array.shape != formula.shape or not np.allclose(array, formula, rtol=1e-4, atol=0):
        raise Refused("retnet_rel_pos.angle is not 10000^-linspace(0, 1); no key could say so")


def config_of(settings, shapes, decays, heads):
    vocabulary, hidden = shapes["embed_tokens.weight"]
    activation = settings.get("activation_fn", "gelu")
    if activation not in ("gelu", "swish"):
        raise Refused(f"activation_fn is {activation!r}; only 'gelu' and 'swish' can be converted")
    unscaled = settings.get("no_scale_embedding", True)
    layers = {name.split(".")[1] for name in shapes if name.startswith("layers.")}
    config = {
        "architectures": ["RetNetForCausalLM"],
        "model_type": "retnet",
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": len(layers),
        "num_heads": heads,
        "expand_k": expansion(shapes["layers.0.retention.k_proj.weight"][0], hidden),
        "expand_v": expansion(shapes["layers.0.retention.v_proj.weight"][0], hidden),
        "intermediate_size": shapes["layers.0.ffn.fc1.weight"][0],
        "hidden_act": "swish",
        "mlp_hidden_act": activation,
        "norm_eps": settings.get("layernorm_eps", 1e-6),
        "elementwise_affine": False,
        "use_output_gate": True,
        "tie_word_embeddings": bool(settings.get("share_decoder_input_output_embed", False)),
        "rotary_base": 10000,
        "rotary_endpoint": True,
        "embedding_multiplier": 1.0 if unscaled else math.sqrt(hidden),
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }
    if decays is not None:
        config["decay"] = decays
    return config


WHOLE = {
    "embed_tokens.weight": "model.embeddings.weight",
    "layernorm_embedding.weight": "model.embeddings_norm.weight",
    "layer_norm.weight": "model.norm.weight",
    "output_projection.weight": "lm_head.weight",
}
IN_LAYER = {
    "retention_layer_norm.weight": "attn_norm.weight",
    "final_layer_norm.weight": "mlp_norm.weight",
    "retention.q_proj.weight": "attn.q_proj.weight",
    "retention.k_proj.weight": "attn.k_proj.weight",
    "retention.v_proj.weight": "attn.v_proj.weight",
    "retention.g_proj.weight": "attn.g_proj.weight",
    "retention.out_proj.weight": "attn.o_proj.weight",
    "ffn.fc1.weight": "mlp.gate_proj.weight",
    "ffn.gate.weight": "mlp.up_proj.weight",
    "ffn.fc2.weight": "mlp.down_proj.weight",
}
DROPPED = ("retnet_rel_pos.angle", "retnet_rel_pos.decay")


def new_name(name):
    if name in WHOLE:
        return WHOLE[name]
    parts = name.split(".", 2)
    if parts[0] == "layers" and len(parts) == 3 and parts[1].isdigit() and parts[2] in IN_LAYER:
        return f"model.layers.{parts[1]}.{IN_LAYER[parts[2]]}"
    raise Refused(f"decoder.{name}: the format has no place for this tensor")


def halves(array, heads):
    """Rows of each head from rotated neighbours (2i, 2i + 1) to halves (i, i + size / 2)."""
    rows = array.reshape(heads, -1, 2, array.shape[1])
    return rows.transpose(0, 2, 1, 3).reshape(array.shape)


# --- The new files. ---


def write_safetensors(path, tensors):
    """tensors: name, safetensors type, shape, and a function that gives the elements."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, dtype, shape, _load in tensors:
        end = offset + math.prod(shape) * (4 if dtype == "F32" else 2)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for _name, _dtype, _shape, load in tensors:
            file.write(load().tobytes())


def decoder_tensors(content):
    model = content.get("model")
    if not isinstance(model, dict):
        raise Refused("the file holds no model")
    tensors = {}
    for name, tensor in model.items():
        if not isinstance(tensor, Tensor) or not name.startswith("decoder."):
            raise Refused(f"{name}: not a tensor of the decoder")
        sides = 1 if "norm" in name or "retnet_rel_pos" in name else 2
        if len(tensor.shape) != sides:
            raise Refused(f"{name}: shape {tensor.shape}; it must have {sides} sides")
        tensors[name[len("decoder.") :]] = tensor
    needed = ["embed_tokens.weight", *DROPPED]
    needed += [f"layers.0.{name}" for name in IN_LAYER]
    for name in needed:
        if name not in tensors:
            raise Refused(f"decoder.{name} is missing")
    return tensors


def convert(path, out):
    file = CheckpointFile(path)
    if not isinstance(file.content, dict):
        raise Refused("the file holds no dictionary")
    settings = settings_of(file.content)
    check_settings(settings)
    tensors = decoder_tensors(file.content)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}

    def values(name):
        array, dtype = file.array(name, tensors[name])
        if dtype != "F32":
            raise Refused(f"decoder.{name} is {dtype}; only F32 is read")
        return array

    decay = values("retnet_rel_pos.decay")
    heads = len(decay)
    if settings.get("decoder_retention_heads", heads) != heads:
        raise Refused(f"decoder_retention_heads is not the {heads} of decoder.retnet_rel_pos.decay")
    config = config_of(settings, shapes, decays_of(decay), heads)
    key_width = shapes["layers.0.retention.k_proj.weight"][0]
    if heads == 0 or key_width % (2 * heads) != 0:
        raise Refused(f"{key_width} key channels are not an even number for each of {heads} heads")
    check_angles(values("retnet_rel_pos.angle"), key_width // heads)

    def elements(name):
        array = file.array(name, tensors[name])[0]
        turned = name.endswith(("retention.q_proj.weight", "retention.k_proj.weight"))
        return halves(array, heads) if turned else array

    written = []
    for name, tensor in tensors.items():
        tied = config["tie_word_embeddings"] and name == "output_projection.weight"
        if tied or name in DROPPED:
            continue
        load = functools.partial(elements, name)
        written.append((new_name(name), storage_type(name, tensor)[0], tensor.shape, load))
    os.makedirs(out, exist_ok=True)
    write_safetensors(os.path.join(out, "model.safetensors"), written)
    with open(os.path.join(out, "config.json"), "w", encoding="utf-8") as stream:
        json.dump(config, stream, indent=2)
        stream.write("\n")


def main(arguments):
    if len(arguments) != 3:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    try:
        convert(arguments[1], arguments[2])
    except (Refused, OSError) as error:
        print(f"convert_torchscale: {arguments[1]}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
