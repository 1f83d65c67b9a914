"""Weights of vision transformers in PyTorch's layout, by the names of five libraries, as variables of a Network.

Read are the names of timm (AugReg, CLIP, DINOv2), of Hugging Face's ViT, CLIP and DINOv2 (with and without registers),
of open_clip and OpenAI's CLIP, and of DINOv2's own files. Text encoders in such a file are left out.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from ltjax.errors import InputError
from ltjax.models.positions import resample_positions

LISTED = 5  # names in an error
TOWERS = ("vision_model.", "visual.")  # the image encoder in a file that also has one of texts
WRAPPERS = ("module.", "vit.", "dinov2.", "dinov2_with_registers.", "vision_model.", "visual.")
BLOCK = re.compile(r"(?:blocks|(?:encoder\.)?layers?|transformer\.resblocks)\.(?P<index>\d+)\.(?P<rest>.+)")
# arrays that are no module's weight or bias
ARRAYS = {
    **dict.fromkeys(
        ("cls_token", "class_embedding", "embeddings.cls_token", "embeddings.class_embedding"), "class_token"
    ),
    **dict.fromkeys(
        (
            "pos_embed",
            "positional_embedding",
            "embeddings.position_embeddings",
            "embeddings.position_embedding.weight",
        ),
        "position_embedding",
    ),
    **dict.fromkeys(("reg_token", "register_tokens", "embeddings.register_tokens"), "register_tokens"),
}
MODULES = {
    **dict.fromkeys(
        ("patch_embed.proj", "conv1", "embeddings.patch_embedding", "embeddings.patch_embeddings.projection"),
        "patch_embedding",
    ),
    **dict.fromkeys(("norm_pre", "ln_pre", "pre_layrnorm"), "pre_norm"),
    **dict.fromkeys(("norm", "fc_norm", "ln_post", "layernorm", "post_layernorm"), "norm"),
    "visual_projection": "projection",
}
IN_BLOCKS = {
    **dict.fromkeys(("norm1", "ln_1", "layer_norm1", "layernorm_before"), "norm1"),
    **dict.fromkeys(("norm2", "ln_2", "layer_norm2", "layernorm_after"), "norm2"),
    **{
        f"{attention}.{name}": f"attention/{part}"
        for part, names in {
            "query": ("query", "q_proj"),
            "key": ("key", "k_proj"),
            "value": ("value", "v_proj"),
        }.items()
        for name, attentions in zip(names, (("attention.attention",), ("attention", "self_attn")), strict=True)
        for attention in attentions
    },
    "attn.qkv": "attention/qkv",
    **dict.fromkeys(
        ("attn.proj", "attn.out_proj", "self_attn.out_proj", "attention.o_proj", "attention.output.dense"),
        "attention/output",
    ),
    **dict.fromkeys(("mlp.fc1", "mlp.c_fc", "intermediate.dense"), "mlp/fc1"),
    **dict.fromkeys(("mlp.fc2", "mlp.c_proj", "output.dense"), "mlp/fc2"),
}
LAYER_SCALE = re.compile(r"(?:ls|layer_scale)(?P<number>[12])\.(?:gamma|lambda1)")
FUSED = re.compile(r"attn\.in_proj_(?P<leaf>weight|bias)")
CLASSIFIERS = ("head", "classifier")
UNUSED = re.compile(r"(?:embeddings\.)?(?:mask_token|position_ids)|pooler\..*|vit_pooler\..*")


def is_vit(state_dict: Mapping[str, np.ndarray]) -> bool:
    """Whether it has a vision transformer's class token.

    Example:
      >>> is_vit({"visual.class_embedding": np.zeros(8)}), is_vit({"fc.bias": np.zeros(8)})
      (True, False)
    """
    return any(ARRAYS.get(_inner(name)) == "class_token" for name in state_dict)


def import_vit(state_dict: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """State_dict of a vision transformer -> {"params", "batch_stats"} of ``Network(VisionTransformer(...), ...)``.

    A linear layer on the features becomes head/classifier, in timm's CLIP networks the projection. Positions without
    one for the class token get zeros there. dtypes stay.

    Raises:
      InputError: on a name that no such network has.

    Example:
      >>> tree = import_vit({"cls_token": np.zeros([1, 1, 8]), "blocks.0.attn.qkv.weight": np.zeros([24, 8])})
      >>> tree["params"]["backbone"]["block0"]["attention"]["key"]["kernel"].shape
      (8, 8)
    """
    found: dict[str, np.ndarray] = {}
    unknown = []
    for key, name in _image_encoder(state_dict).items():
        made = _translated(name, np.asarray(state_dict[key]), state_dict)
        if made is None:
            unknown.append(name)
        else:
            found |= made
    if unknown:
        more = f" and {len(unknown) - LISTED} more" if len(unknown) > LISTED else ""
        are = "is no array" if len(unknown) == 1 else "are no arrays"
        raise InputError(f"state_dict: {', '.join(map(repr, unknown[:LISTED]))}{more} {are} of a vision transformer")
    params: dict[str, Any] = {}
    for path, array in found.items():
        node = params
        *parents, leaf = path.split("/")
        for key in parents:
            node = node.setdefault(key, {})
        node[leaf] = array
    return {"params": params, "batch_stats": {}}


def not_of_the_backbone(state_dict: Mapping[str, np.ndarray]) -> list[str]:
    """The names of what ``import_vit`` leaves out or puts into the head.

    Example:
      >>> not_of_the_backbone({"cls_token": np.zeros([1, 1, 8]), "head.bias": np.zeros(10)})
      ['head.bias']
    """
    encoder, projected = _image_encoder(state_dict), _projects(state_dict)
    return [
        name
        for name in state_dict
        if (inner := encoder.get(name, "")) == ""
        or (inner.partition(".")[0] in CLASSIFIERS and not projected)
        or UNUSED.fullmatch(inner)
    ]


def fitted_positions(positions: np.ndarray, count: int) -> np.ndarray:
    """Positions [1 + g * g, d] as ``count`` = 1 + h * h of another square grid, as timm makes them of a file.

    Returned as they are where no square grid fits.

    Example:
      >>> fitted_positions(np.ones([5, 8], np.float32), 10).shape
      (10, 8)
    """
    sides = [math.isqrt(n - 1) for n in (len(positions), count)]
    if [side**2 + 1 for side in sides] != [len(positions), count]:
        return positions
    before, after = ((side, side) for side in sides)
    return np.asarray(resample_positions(jnp.asarray(positions), before, after, antialias=True))


def _inner(name: str) -> str:
    while prefix := next((one for one in WRAPPERS if name.startswith(one)), ""):
        name = name[len(prefix) :]
    return name


def _image_encoder(state_dict: Mapping[str, np.ndarray]) -> dict[str, str]:
    """name -> the name without what wraps it, of all arrays but those of a text encoder."""
    names = {name: name.removeprefix("module.") for name in state_dict}
    if any(name.startswith(TOWERS) for name in names.values()):
        names = {key: name for key, name in names.items() if name.startswith((*TOWERS, "visual_projection."))}
    return {key: _inner(name) for key, name in names.items()}


def _projects(state_dict: Mapping[str, np.ndarray]) -> bool:
    """Whether ``head`` is CLIP's projection, which timm keeps there with a bias of zeros, and not a classifier."""
    bias = state_dict.get("head.bias")
    return "norm_pre.weight" in state_dict and (bias is None or not np.any(bias))


def _translated(name: str, value: np.ndarray, state_dict: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """The arrays by path that this one becomes, none where it is not used; None where no network has it."""
    if UNUSED.fullmatch(name):
        return {}
    if name in ARRAYS:
        return {f"backbone/{ARRAYS[name]}": _tokens(ARRAYS[name], value)}
    if name == "proj":
        return {"backbone/projection/kernel": value}
    if block := BLOCK.fullmatch(name):
        return _in_block(f"backbone/block{block['index']}", block["rest"], value)
    module, _, leaf = name.rpartition(".")
    if module in CLASSIFIERS and leaf in ("weight", "bias"):
        if _projects(state_dict):
            return {} if leaf == "bias" else {"backbone/projection/kernel": value.T}
        return {f"head/classifier/{'kernel' if leaf == 'weight' else 'bias'}": value.T}
    return _leaf(f"backbone/{MODULES[module]}", leaf, value) if module in MODULES else None


def _in_block(block: str, name: str, value: np.ndarray) -> dict[str, np.ndarray] | None:
    if scale := LAYER_SCALE.fullmatch(name):
        return {f"{block}/layer_scale{scale['number']}": value}
    if fused := FUSED.fullmatch(name):
        name = f"attn.qkv.{fused['leaf']}"
    module, _, leaf = name.rpartition(".")
    if module not in IN_BLOCKS:
        return None
    place = f"{block}/{IN_BLOCKS[module]}"
    if module != "attn.qkv":
        return _leaf(place, leaf, value)
    made: dict[str, np.ndarray] = {}
    for part, array in zip(("query", "key", "value"), np.split(value, 3), strict=True):
        made |= _leaf(f"{block}/attention/{part}", leaf, array) or {}
    return made or None


def _leaf(place: str, leaf: str, value: np.ndarray) -> dict[str, np.ndarray] | None:
    """A module's weight or bias in Flax's layout."""
    if leaf == "bias":
        return {f"{place}/bias": value}
    if leaf != "weight":
        return None
    if value.ndim == 4:
        return {f"{place}/kernel": value.transpose(2, 3, 1, 0)}
    return {f"{place}/kernel": value.T} if value.ndim == 2 else {f"{place}/scale": value}


def _tokens(kind: str, value: np.ndarray) -> np.ndarray:
    """[1, T, d] or [T, d] -> [T, d], the class token [d]; positions with the class token's."""
    rows = value.reshape(-1, value.shape[-1])
    if kind == "class_token":
        return rows[0]
    if kind == "position_embedding" and math.isqrt(len(rows)) ** 2 == len(rows):
        return np.concatenate([np.zeros_like(rows[:1]), rows])
    return rows
