"""Folders of Hugging Face with pytorch_model.bin, whole or in shards.

retnetd reads the names and rows of fla and syncdoth/RetNet itself, so that their tensors are only
packed anew, under their own names, beside the same config.json.
"""
import json
import os

from conversion import Refused, shown, torchscale
from conversion.layouts import TORCHSCALE, layout_of, tensors_of
from conversion.output import Entry
from conversion.pytorch_file import PyTorchFile
from conversion.unpickler import SERVED_TYPES

# What belongs to a tokenizer or to generation; copied where it is there.
COPIED = (
    "tokenizer.model",
    "spiece.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "generation_config.json",
    "chat_template.jinja",
)
TOKENIZERS = ("tokenizer.model", "spiece.model", "tokenizer.json")
SERVED_AS_IT_IS = ("model.safetensors", "model.safetensors.index.json")
WEIGHTS, INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
CONFIG = "config.json"
HEAD = "lm_head.weight"
EMBEDDINGS = ("model.embeddings.weight", "model.embed_tokens.weight")


def read_json(path):
    try:
        with open(path, encoding="utf-8") as stream:
            content = json.load(stream)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{os.path.basename(path)} is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise Refused(f"{os.path.basename(path)} holds no JSON object")
    return content


def weight_files(folder):
    """The names of the files with the weights; if there is an index, also each tensor's file."""
    if os.path.isfile(os.path.join(folder, WEIGHTS)):
        return [WEIGHTS], {}
    if os.path.isfile(os.path.join(folder, INDEX)):
        places = read_json(os.path.join(folder, INDEX)).get("weight_map")
        if not isinstance(places, dict) or not places:
            raise Refused(f"{INDEX} does not say in weight_map which file each tensor is in")
        files = set()
        for file in places.values():
            plain = isinstance(file, str) and os.path.basename(file) == file
            if not plain or not file or "\0" in file:
                raise Refused(f"{INDEX} names {shown(file)}, which is no file of this folder")
            files.add(file)
        for file in sorted(files):
            if not os.path.isfile(os.path.join(folder, file)):
                raise Refused(f"{file}, which {INDEX} names, is missing")
        return sorted(files), places
    names = sorted(os.listdir(folder))
    for name in ("flax_model.msgpack", "tf_model.h5"):
        if name in names:
            raise Refused(f"its weights are {name}; only PyTorch's files are read")
    alone = [name for name in names if name.endswith((".pt", ".pth", ".bin"))]
    hint = f"; for a checkpoint of torchscale name the file itself ({alone[0]})" if alone else ""
    raise Refused(f"neither {WEIGHTS} nor {INDEX} is in this folder{hint}")


def tensors_of_folder(path, opened):
    """The tensors of all files by name. `opened` receives the files, which stay in use."""
    names, places = weight_files(path)
    tensors = {}
    for name in names:
        try:
            opened.append(PyTorchFile(os.path.join(path, name)))
            found = tensors_of(opened[-1].content)
        except Refused as error:
            raise Refused(f"{name}: {error}") from error
        twice = next((tensor for tensor in found if tensor in tensors), None)
        if twice is not None:
            raise Refused(f"{twice} is in {name} and in another file")
        tensors.update(found)
        for tensor, file in places.items():
            if file == name and tensor not in found:
                raise Refused(f"{tensor} is not in {name}, although {INDEX} says so")
    return tensors


def convert_folder(path, opened, say):
    """config.json, or None where the folder's own is right, and the entries of the new file."""
    config_path = os.path.join(path, CONFIG)
    if not os.path.isfile(config_path):
        raise Refused(f"there is no {CONFIG} in this folder")
    config = read_json(config_path)
    tensors = tensors_of_folder(path, opened)
    if layout_of(tensors, config) == TORCHSCALE:
        return torchscale.convert(tensors, config)
    changed = leave_out_tied_head(tensors, config)
    entries, left_out = [], []
    for name, tensor in tensors.items():
        if tensor.dtype == "F64":
            raise Refused(f"{name} is of type F64; retnetd has {', '.join(SERVED_TYPES)}")
        if tensor.dtype in SERVED_TYPES:
            entries.append(Entry(name, tensor))
        else:
            left_out.append(f"{name} ({tensor.dtype})")
    if left_out:
        more = ", …" if len(left_out) > 5 else ""
        say(f"left out, for they are no weights: {', '.join(left_out[:5])}{more}")
    return config if changed else None, entries


def leave_out_tied_head(tensors, config):
    """Files may hold the embedding again as lm_head. Says whether `config` was changed for that."""
    embeddings = next((tensors[name] for name in EMBEDDINGS if name in tensors), None)
    head = tensors.get(HEAD)
    if head is None or embeddings is None:
        return False
    if config.get("tie_word_embeddings"):
        del tensors[HEAD]
        return False
    if not head.same_elements(embeddings):
        return False
    del tensors[HEAD]
    config["tie_word_embeddings"] = True
    return True
