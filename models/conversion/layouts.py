"""Which layout a checkpoint has, by its tensors' names and its settings. Others are refused."""
import re

from conversion import Refused, shown
from conversion.unpickler import Settings, Tensor

FLA, SYNCDOTH, TORCHSCALE = "fla", "syncdoth/RetNet", "torchscale"

# Keys under which a file may hold its tensors, and what wrappers put before all names.
NESTED_UNDER = ("state_dict", "model_state_dict", "model", "module")
WRAPPERS = ("module.", "_orig_mod.", "_forward_module.")


def tensors_of(content):
    """A file's tensors by name, out of dictionaries they are nested in and without wrappers."""
    for _ in range(4):
        if isinstance(content, Settings) or not isinstance(content, dict):
            break
        inner = [content[key] for key in NESTED_UNDER if isinstance(content.get(key), dict)]
        if inner:
            content = inner[0]
            continue
        found = {name: item for name, item in content.items() if isinstance(item, Tensor)}
        if not found:
            break
        if not all(isinstance(name, str) for name in found):
            raise Refused("its tensors have no names")
        return unwrapped(found)
    raise Refused("it holds no dictionary of tensors, also not under model or state_dict")


def unwrapped(tensors):
    while True:
        wrapper = next((w for w in WRAPPERS if all(name.startswith(w) for name in tensors)), None)
        if wrapper is None and all(name.startswith("model.") for name in tensors):
            # A module of Lightning: the model itself calls its parts model.… and lm_head.…
            inner = ("model.model.", "model.decoder.", "model.lm_head.")
            wrapper = "model." if any(name.startswith(inner) for name in tensors) else None
        if wrapper is None:
            return tensors
        tensors = {name[len(wrapper) :]: tensor for name, tensor in tensors.items()}


def refusal(layout, found, missing):
    why = f"which cannot be served: retnetd has {missing}"
    return Refused(f"its layout is {layout} ({found}), {why}")


# Tensors that give a layout away: a pattern, what it is called, and what the server lacks for it.
UNSERVED = (
    (
        r"(^|\.)retentions\.\d+\.W_[QKV]$",
        "Jamie-Stirling/RetNet's",
        "no group norm with weight and bias, no LayerNorm and no biases",
    ),
    (
        r"(^|\.)blocks\.\d+\.msr\.",
        "syncdoth/RetNet's of before October 2023",
        "no xPos with a decay for each key channel and no LayerNorm with biases",
    ),
    (
        r"(^|\.)layers\.\d+\.linear1\.weight$",
        "yet-another-retnet's",
        "no biases, no LayerNorm and no feed-forward part without a gate",
    ),
    (
        r"\.gt_proj\.weight$|(^|\.)(self|cross)_decoder\.",
        "YOCO's gated retention",
        "no decay that depends on the token and no attention over a cache",
    ),
    (r"\.(moe_layer|experts)\.", "a mixture of experts", "no experts"),
    (r"\.[AB]\.(weight|bias)$", "multiway", "one set of weights for a position, not two"),
)
# Names that torchscale and syncdoth/RetNet have in common.
RETENTION = re.compile(r"(^|\.)layers\.\d+\.retention\.[qkvg]_proj\.|\.ffn\.fc[12]\.")

# Settings of torchscale and syncdoth/RetNet: the value of the plain model, which absent keys have;
# for any other value, what the layout is called and what the server lacks for it.
PLAIN = {
    "moe_freq": (0, "a mixture of experts", "no experts"),
    "use_xmoe": (False, "a mixture of experts", "no experts"),
    "deepnorm": (False, "deepnorm", "no factor on the residual stream"),
    "multiway": (False, "multiway", "one set of weights for a position, not two"),
    "decoder_normalize_before": (True, "post-norm", "pre-norm alone"),
    "parallel_residual": (False, "XATL's", "no parallel residual and no biases"),
    "use_glu": (True, "a RetNet without a gated MLP", "no feed-forward part without a gate"),
    "use_ffn_rms_norm": (False, "a RetNet with a norm within the MLP", "no norm at that place"),
}
# Settings of fla that make another model of it.
FLA_VARIANTS = ("feature_map", "use_short_conv", "attn", "attnres_block_size")


def refuse_variants(settings):
    for key, (plain, layout, missing) in PLAIN.items():
        value = settings.get(key, plain)
        if value is not None and value != plain:
            raise refusal(layout, f"{key} is {shown(value)}", missing)


def refuse_first_version(names, settings):
    """Torchscale's family before LayerNorm, biases and the plain MLP went, which XATL kept."""
    bias = next((name for name in names if name.endswith(".bias")), None)
    gated = any(name.endswith(".ffn.gate.weight") for name in names)
    inner = next((name for name in names if ".ffn_layernorm." in name), None)
    if bias is None and inner is None and gated:
        return
    if bias is None and inner is None:
        raise refusal(PLAIN["use_glu"][1], "there is no ffn.gate", PLAIN["use_glu"][2])
    if bias is None:
        raise refusal(PLAIN["use_ffn_rms_norm"][1], inner, PLAIN["use_ffn_rms_norm"][2])
    if "use_bias" in settings or "use_rms_norm" in settings:
        raise refusal("XATL's", bias, "no biases and no LayerNorm")
    july = "torchscale's or syncdoth/RetNet's of July 2023"
    raise refusal(july, bias, "no biases, no LayerNorm and no feed-forward part without a gate")


def layout_of(names, settings):
    """FLA, SYNCDOTH or TORCHSCALE; raises what is wrong with any other. `settings` may be empty."""
    for pattern, layout, missing in UNSERVED:
        found = next((name for name in names if re.search(pattern, name)), None)
        if found is not None:
            raise refusal(layout, found, missing)
    if any(RETENTION.search(name) for name in names):
        refuse_variants(settings)
        refuse_first_version(names, settings)
        hugging_face = any(name.startswith("model.") for name in names)
        return SYNCDOTH if hugging_face else TORCHSCALE
    if settings.get("model_type", "retnet") != "retnet":
        raise Refused(f"model_type is {shown(settings['model_type'])}; only 'retnet' is served")
    if any(re.search(r"^model\.layers\.\d+\.attn\.[qkvg]_proj\.weight$", name) for name in names):
        for key in FLA_VARIANTS:
            if settings.get(key):
                raise refusal("a variant of fla's", f"{key} is {shown(settings[key])}", f"no {key}")
        return FLA
    first = min(names, default="none")
    raise Refused(
        f"the names of its tensors ({first}, …) are those of no layout that is served: fla, "
        "syncdoth/RetNet since October 2023, torchscale since September 2023"
    )
