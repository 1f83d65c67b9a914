"""CLIP's text tower: tokens to a vector in the space of images and texts (Radford et al., ICML 2021, section 2.4)."""

import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from ltjax.errors import InputError
from ltjax.models.norm import Dtype
from ltjax.models.vit import Block, Kernel, layer_norm, small_normal

HEAD_WIDTH = 64  # of every published CLIP: a tower of width 512 has 8 heads


class TextTower(nn.Module):
    """Token numbers int [B, T] -> [B, projection]: what the last block makes of the end token, normed and projected.

    Each token sees itself and those before it. Parameters: ``token_embedding`` [vocabulary, width],
    ``position_embedding`` [length, width], ``block0`` ... as of a vision transformer, ``norm``, ``projection/kernel``.

    end: the number of the token that ends a text; the first one counts.
    """

    width: int
    depth: int
    heads: int
    vocabulary: int
    length: int
    projection: int
    end: int
    activation: str = "quick_gelu"
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        types = (self.dtype, self.param_dtype)
        embedding = self.param("token_embedding", small_normal, (self.vocabulary, self.width), self.param_dtype)
        positions = self.param("position_embedding", small_normal, (self.length, self.width), self.param_dtype)
        x = (embedding[tokens] + positions[: tokens.shape[1]]).astype(self.dtype)
        for index in range(self.depth):
            options = (self.heads, 4 * self.width, self.activation, 1e-5, 0.0, 0.0)
            x = Block(*options, *types, causal=True, name=f"block{index}")(x, False)
        ends = jnp.argmax(tokens == self.end, axis=1)
        x = layer_norm("norm", 1e-5, *types)(x[jnp.arange(len(x)), ends])
        kernel = Kernel(self.projection, self.param_dtype, name="projection")(self.width)
        return x @ kernel.astype(self.dtype)


def text_tower(
    arrays: Mapping[str, np.ndarray], end: int, activation: str = "quick_gelu", heads: int = 0
) -> tuple[TextTower, dict[str, Any]]:
    """The tower in a file of CLIP weights, and its variables {"params": ...}.

    Args:
      arrays: by the names of Hugging Face (``text_model.encoder.layers.0...``) or of OpenAI and open_clip
        (``transformer.resblocks.0...``); those of the image encoder are left out.
      end: the number of the end token.
      activation: that of the image encoder beside it.
      heads: 0 = one for each 64 channels.

    Raises:
      InputError: if there is no text tower, or a part of one.
    """
    params = _named(arrays)
    flat = {"/".join(path): array for path, array in params.items()}
    needed = ("token_embedding", "position_embedding", "norm/scale", "projection/kernel", "block0/mlp/fc1/kernel")
    missing = [name for name in needed if name not in flat]
    if missing:
        raise InputError(
            f"no text tower of CLIP: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing; give the "
            "weights of a whole CLIP, such as model.safetensors of openai/clip-vit-base-patch16"
        )
    vocabulary, width = flat["token_embedding"].shape
    depth = 1 + max(int(match[1]) for name in flat if (match := re.match(r"block(\d+)/", name)))
    tower = TextTower(
        width,
        depth,
        heads or max(1, width // HEAD_WIDTH),
        vocabulary,
        len(flat["position_embedding"]),
        flat["projection/kernel"].shape[1],
        end,
        activation,
    )
    variables = {"params": traverse_util.unflatten_dict(params)}
    shapes = jax.eval_shape(tower.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 8), jnp.int32))
    if jax.tree.map(jnp.shape, shapes) != jax.tree.map(jnp.shape, variables):
        raise InputError("no text tower of CLIP: its arrays do not fit together; copy the file of weights again")
    return tower, jax.tree.map(lambda array: np.asarray(array, np.float32), variables)


Path = tuple[str, ...]
WHOLE = {
    "token_embedding.weight": ("token_embedding",),
    "positional_embedding": ("position_embedding",),
    "ln_final.weight": ("norm", "scale"),
    "ln_final.bias": ("norm", "bias"),
    "text_model.embeddings.token_embedding.weight": ("token_embedding",),
    "text_model.embeddings.position_embedding.weight": ("position_embedding",),
    "text_model.final_layer_norm.weight": ("norm", "scale"),
    "text_model.final_layer_norm.bias": ("norm", "bias"),
}
IN_BLOCK = {
    "ln_1": "norm1", "layer_norm1": "norm1", "ln_2": "norm2", "layer_norm2": "norm2",
    "self_attn.q_proj": "attention/query", "self_attn.k_proj": "attention/key", "self_attn.v_proj": "attention/value",
    "attn.out_proj": "attention/output", "self_attn.out_proj": "attention/output",
    "mlp.c_fc": "mlp/fc1", "mlp.fc1": "mlp/fc1", "mlp.c_proj": "mlp/fc2", "mlp.fc2": "mlp/fc2",
}  # fmt: skip
BLOCK = re.compile(r"(?:transformer\.resblocks|text_model\.encoder\.layers)\.(\d+)\.(.+)\.(weight|bias)")
JOINED = re.compile(r"transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)")


def _named(arrays: Mapping[str, np.ndarray]) -> dict[Path, np.ndarray]:
    """The arrays of the text tower by their paths in its parameters, in Flax's layout."""
    found: dict[Path, np.ndarray] = {}
    for name, given in arrays.items():
        array = np.asarray(given)
        if name in WHOLE:
            found[WHOLE[name]] = array
        elif name == "text_projection":
            found["projection", "kernel"] = array
        elif name == "text_projection.weight":
            found["projection", "kernel"] = array.T
        elif match := JOINED.fullmatch(name):
            for part, piece in zip(("query", "key", "value"), np.split(array, 3), strict=True):
                leaf = ("kernel", piece.T) if match[2] == "weight" else ("bias", piece)
                found[f"block{match[1]}", "attention", part, leaf[0]] = leaf[1]
        elif (match := BLOCK.fullmatch(name)) and match[2] in IN_BLOCK:
            inner = IN_BLOCK[match[2]].split("/")
            weight = "scale" if "norm" in inner[-1] else "kernel"
            path = (f"block{match[1]}", *inner, weight if match[3] == "weight" else "bias")
            found[path] = array.T if array.ndim == 2 else array
    return found
