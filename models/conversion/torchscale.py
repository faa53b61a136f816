"""torchscale's checkpoints: settings become a config.json, names and rows become fla's."""
import math
import re

import numpy as np

from conversion import Refused, shown
from conversion.layouts import TORCHSCALE, layout_of, tensors_of
from conversion.output import Entry
from conversion.pytorch_file import numbers
from conversion.unpickler import SERVED_TYPES, plain

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
TURNED = ("retention.q_proj.weight", "retention.k_proj.weight")
BUFFERS = ("retnet_rel_pos.angle", "retnet_rel_pos.decay")
# Buffers of fp32 are off their formulas by the rounding of fp32 alone.
TOLERANCE = 1e-5


def settings_of(content):
    """The model's settings: cfg.model where there is one, else args. Empty where there are none."""
    for key in ("cfg", "args"):
        holder = plain(content.get(key)) if isinstance(content, dict) else None
        if isinstance(holder, dict) and isinstance(holder.get("model"), dict):
            holder = holder["model"]
        if isinstance(holder, dict) and holder:
            return holder
    return {}


def number(settings, key, default):
    value = settings.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise Refused(f"{key} is {shown(value)}; it must be a number")
    return value


def decays_of(logarithms):
    """γ of each head from the buffer's ln γ, or None where they are the formula's 1 − 2^(−5−h)."""
    formula = np.log1p(-np.exp2(-5.0 - np.arange(len(logarithms))))
    if np.allclose(logarithms, formula, rtol=TOLERANCE, atol=0):
        return None
    decays = [float(gamma) for gamma in np.exp(logarithms)]
    if not all(0 < gamma < 1 for gamma in decays):
        raise Refused("retnet_rel_pos.decay has a head that does not decay, or is no number")
    return decays


def angles_of(angles, key_dim):
    """θ of each pair, or None where they are the formula's 10000^(−i/(d_k/2−1))."""
    pairs = key_dim // 2
    if angles.shape != (key_dim,) or not np.array_equal(angles[::2], angles[1::2]):
        raise Refused(f"retnet_rel_pos.angle does not hold the angles of {pairs} pairs, each twice")
    theta = angles[::2]
    formula = 10000.0 ** -np.linspace(0, 1, pairs)
    if pairs > 1 and np.allclose(theta, formula, rtol=TOLERANCE, atol=0):
        return None
    if not np.all(np.isfinite(theta)) or np.any(theta < 0):
        raise Refused("retnet_rel_pos.angle has an angle below 0, or one that is no number")
    return [float(angle) for angle in theta]


def expansion(width, hidden):
    """A factor with int(hidden · factor) = width."""
    factor = width / hidden
    return factor if int(hidden * factor) == width else np.nextafter(factor, math.inf).item()


def decoder_tensors(tensors):
    """The tensors by their names in the decoder. All that the model needs are there."""
    found = {}
    for name, tensor in tensors.items():
        short = name[len("decoder.") :] if name.startswith("decoder.") else name
        sides = 1 if "norm" in short or short in BUFFERS else 2
        new_name(short)
        if len(tensor.shape) != sides or 0 in tensor.shape:
            raise Refused(f"{name} has the shape {shown(tensor.shape)}; it must have {sides} sides")
        found[short] = tensor
    layers = {int(name.split(".")[1]) for name in found if name.startswith("layers.")}
    needed = ["embed_tokens.weight", "layer_norm.weight", *BUFFERS]
    needed += [f"layers.{n}.{name}" for n in range(max(layers) + 1) for name in IN_LAYER]
    for name in needed:
        if name not in found:
            raise Refused(f"the checkpoint is incomplete: decoder.{name} is not in it")
    return found


def new_name(name):
    """The tensor's name in the new file, None for a buffer."""
    if name in BUFFERS:
        return None
    if name in WHOLE:
        return WHOLE[name]
    parts = name.split(".", 2)
    if len(parts) == 3 and parts[0] == "layers" and parts[2] in IN_LAYER:
        if re.fullmatch("0|[1-9][0-9]{0,3}", parts[1]):
            return f"model.layers.{parts[1]}.{IN_LAYER[parts[2]]}"
    raise Refused(f"it holds a tensor {name}, which a RetNet of torchscale does not have")


def is_tied(settings, tensors):
    """Whether the output projection is the embedding. Files then hold it twice, or not at all."""
    head = tensors.get("output_projection.weight")
    if settings.get("share_decoder_input_output_embed", False):
        return True
    if head is None:
        raise Refused("the checkpoint is incomplete: decoder.output_projection.weight is not in it")
    return head.same_elements(tensors["embed_tokens.weight"])


def config_of(settings, tensors, heads):
    vocabulary, hidden = tensors["embed_tokens.weight"].shape
    activation = settings.get("activation_fn", "gelu")
    if activation not in ("gelu", "swish"):
        raise Refused(f"activation_fn is {shown(activation)}; retnetd has 'gelu' and 'swish'")
    unscaled = settings.get("no_scale_embedding", True)
    return {
        "architectures": ["RetNetForCausalLM"],
        "model_type": "retnet",
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": sum(name.endswith(".ffn.fc1.weight") for name in tensors),
        "num_heads": heads,
        "expand_k": expansion(tensors["layers.0.retention.k_proj.weight"].shape[0], hidden),
        "expand_v": expansion(tensors["layers.0.retention.v_proj.weight"].shape[0], hidden),
        "intermediate_size": tensors["layers.0.ffn.fc1.weight"].shape[0],
        "hidden_act": "swish",
        "mlp_hidden_act": activation,
        "norm_eps": number(settings, "layernorm_eps", 1e-6),
        "elementwise_affine": False,
        "normalized_retention": True,
        "use_output_gate": True,
        "tie_word_embeddings": bool(is_tied(settings, tensors)),
        "rotary_base": 10000,
        "rotary_endpoint": True,
        "embedding_multiplier": 1.0 if unscaled else math.sqrt(hidden),
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }


def halves(rows, heads):
    """An order of rows: a head's neighbours (2i, 2i + 1) become halves (i, i + d_k / 2)."""
    return np.arange(rows).reshape(heads, -1, 2).transpose(0, 2, 1).reshape(-1)


def convert(tensors, settings):
    """config.json and the entries of the new file, for tensors of torchscale's layout."""
    if settings.get("no_output_layer", False):
        raise Refused("no_output_layer is set: without an output projection no token can be chosen")
    tensors = decoder_tensors(tensors)
    logarithms = numbers(tensors["retnet_rel_pos.decay"])
    heads = len(logarithms)
    if settings.get("decoder_retention_heads", heads) != heads:
        raise Refused(f"decoder_retention_heads is not the {heads} of retnet_rel_pos.decay")
    for name, tensor in tensors.items():
        if name.endswith(TURNED) and tensor.shape[0] % (2 * heads) != 0:
            rows = tensor.shape[0]
            raise Refused(f"{name} has {rows} rows, not an even number for each of {heads} heads")
    config = config_of(settings, tensors, heads)
    key_dim = tensors["layers.0.retention.k_proj.weight"].shape[0] // heads
    theta = angles_of(numbers(tensors["retnet_rel_pos.angle"]), key_dim)
    if theta is not None:
        config["rotary_theta"] = theta
        del config["rotary_base"], config["rotary_endpoint"]
    decays = decays_of(logarithms)
    if decays is not None:
        config["decay"] = decays
    left_out = set(BUFFERS)
    if config["tie_word_embeddings"]:
        left_out.add("output_projection.weight")
    entries = []
    for name, tensor in tensors.items():
        if name in left_out:
            continue
        if tensor.dtype not in SERVED_TYPES:
            raise Refused(f"{name} is {tensor.dtype}; retnetd has {', '.join(SERVED_TYPES)}")
        rows = halves(tensor.shape[0], heads) if name.endswith(TURNED) else None
        entries.append(Entry(new_name(name), tensor, rows))
    return config, entries


def convert_file(file):
    """config.json and the entries of the new file, of a PyTorch file that stands alone."""
    settings = settings_of(file.content)
    tensors = tensors_of(file.content)
    if layout_of(tensors, settings) != TORCHSCALE:
        raise Refused("its layout is Hugging Face's: name its folder, which has config.json")
    if not settings:
        raise Refused("torchscale's tensors without settings: neither cfg.model nor args is in it")
    return convert(tensors, settings)
