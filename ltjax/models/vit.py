"""Vision transformers: those of timm and Hugging Face (AugReg), CLIP's image encoder, DINOv2."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.arrays import at_least_float32
from ltjax.errors import InputError
from ltjax.models.drop_path import drop_path, rate_of
from ltjax.models.norm import Dtype, stored_dtype
from ltjax.models.positions import resample_positions
from ltjax.models.recomputed import recomputed
from ltjax.models.sharding import gathered, parts
from ltjax.models.tuning import Tuning
from ltjax.models.tuning.adaptformer import AdaptFormer
from ltjax.models.tuning.lora import ENDING, LoRA
from ltjax.models.tuning.prompts import with_prompts

small_normal = nn.initializers.truncated_normal(0.02)


class Size(NamedTuple):
    """What a letter in a network's name stands for (Dosovitskiy et al., 2021, table 1; Touvron et al., 2021)."""

    width: int
    depth: int
    heads: int


SIZES = {"ti": Size(192, 12, 3), "s": Size(384, 12, 6), "b": Size(768, 12, 12), "l": Size(1024, 24, 16)}
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": functools.partial(nn.gelu, approximate=False),
    "quick_gelu": lambda x: x * nn.sigmoid(1.702 * x),
}


class Attention(nn.Module):
    """Multi-head self-attention: [B, T, d] -> [B, T, d], in ``dtype``; softmax in at least float32.

    Parameters: ``query``, ``key``, ``value``, ``output``, each {kernel [d, d], bias [d]}; head i has the columns
    i d / heads to (i + 1) d / heads of the first three. With a ``rank``, ``query_lora`` and ``value_lora`` beside them.

    causal: whether a token sees only itself and those before it.
    """

    heads: int
    dtype: Dtype
    param_dtype: Dtype
    rank: int = 0
    causal: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, tokens, width = x.shape

        def of(name: str) -> jax.Array:
            made = dense(name, width, self.dtype, self.param_dtype)(x)
            if self.rank and name != "key":
                made += LoRA(width, self.rank, self.dtype, self.param_dtype, name=f"{name}{ENDING}")(x)
            return made.reshape(batch, tokens, self.heads, width // self.heads)

        mixed = attend(of("query"), of("key"), of("value"), self.causal)
        return dense("output", width, self.dtype, self.param_dtype)(mixed.reshape(x.shape))


class MLP(nn.Module):
    """Two layers with an activation between them: [B, T, d] -> [B, T, d]. Parameters: ``fc1`` and ``fc2``."""

    hidden: int
    activation: str
    dtype: Dtype
    param_dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = dense("fc1", self.hidden, self.dtype, self.param_dtype)(x)
        return dense("fc2", x.shape[-1], self.dtype, self.param_dtype)(ACTIVATIONS[self.activation](y))


class Block(nn.Module):
    """x + attention(norm1(x)), then x + mlp(norm2(x)): [B, T, d] -> [B, T, d].

    With ``layer_scale`` each branch is multiplied by a trained vector [d] (``layer_scale1``, ``layer_scale2``) that
    starts at this value (Touvron et al., 2021); 0 = no such vectors. ``tuning`` may add a bottleneck (``adaptformer``)
    or low-rank updates (``attention/query_lora``, ``attention/value_lora``).
    """

    heads: int
    hidden: int
    activation: str
    epsilon: float
    layer_scale: float
    drop_rate: float
    dtype: Dtype
    param_dtype: Dtype
    tuning: Tuning = Tuning()
    causal: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        types = (self.dtype, self.param_dtype)
        rank = self.tuning.size if self.tuning.kind == "lora" else 0
        y = layer_norm("norm1", self.epsilon, *types)(x)
        y = Attention(self.heads, *types, rank, self.causal, name="attention")(y)
        x = self.add(x, y, "layer_scale1", train)
        y = layer_norm("norm2", self.epsilon, *types)(x)
        y = MLP(self.hidden, self.activation, *types, name="mlp")(y)
        y = self.add(x, y, "layer_scale2", train)
        if self.tuning.kind == "adaptformer":
            y += AdaptFormer(self.tuning.size, *types, name="adaptformer")(x)
        return y

    def add(self, x: jax.Array, branch: jax.Array, name: str, train: bool) -> jax.Array:
        if self.layer_scale:
            start = nn.initializers.constant(self.layer_scale)
            scale = self.param(name, start, (x.shape[-1],), self.param_dtype)
            branch = branch * scale.astype(self.dtype)
        return x + drop_path(self, branch, self.drop_rate, train)


class VisionTransformer(nn.Module):
    """ViT (Dosovitskiy et al., 2021), with what CLIP (Radford et al., 2021) and DINOv2 (Oquab et al., 2024) changed.

    Input: [B, H, W, channels]; H and W are multiples of ``patch``. The learned positions are those of ``grid`` x
    ``grid`` patches; images with other numbers of patches get them resampled (``ltjax.models.positions``).
    Output, in ``dtype``: the class token after the last norm as a map [B, 1, 1, d], with ``pool="mean"`` the patches'
    tokens as a map [B, H / patch, W / patch, d] that heads pool. d is ``projection`` where that is used, or ``width``.
    Features have both signs: there is no ReLU at the end, unless ``final_relu``.

    Parameters: ``patch_embedding`` {kernel [patch, patch, channels, width], bias}, ``class_token`` [width],
    ``position_embedding`` [1 + grid * grid, width], the class token's first, row after row; ``register_tokens``
    [registers, width]; ``pre_norm``; ``block0`` ... as in ``Block``; ``norm``; ``projection`` {kernel}. Parameters are
    float32 (float64 under float64) whatever the compute ``dtype`` is. There is no batch normalisation.

    patch, width, depth, heads: the size; the blocks' inner layer is 4 times as wide.
    grid: patches along a side of the images that the positions were learned on.
    pool: "class" or "mean".
    activation: "gelu" or "quick_gelu" (x sigmoid(1.702 x), of OpenAI's CLIP).
    epsilon: of the layer norms.
    pre_norm: a layer norm before the first block, and no bias in the patch embedding (CLIP).
    projection: width of CLIP's space of images and texts; 0 = no such layer.
    projected: false: the features are those before ``projection``, whose weights stay in the parameters.
    layer_scale: as in ``Block``; DINOv2's is 1e-5.
    registers: tokens without a position that no one reads (Darcet et al., 2024).
    antialias: positions are resampled with the filter that fits the change of size; false: with the four nearest.
    fc_norm: with pool="mean": the last norm is applied to the mean of the tokens, not to each; the map is [B, 1, 1, d].
    remat: blocks are computed again in the backward pass instead of kept.
    drop_path: the rate of the last block in stochastic depth, as in ``ltjax.models.drop_path``; 0 = off.
    tuning: what is trained beside frozen weights (``ltjax.models.tuning``); prompts are ``prompts0`` ... [n, width].

    Raises:
      InputError: if an image is not made of whole patches.

    Example:
      >>> net = vit("b", 16)()
      >>> images = jnp.zeros([1, 224, 224, 3])
      >>> made, variables = jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), images, train=False))
      >>> made.shape, sum(p.size for p in jax.tree.leaves(variables["params"]))
      ((1, 1, 1, 768), 85798656)
    """

    patch: int
    width: int
    depth: int
    heads: int
    grid: int = 14
    pool: str = "class"
    activation: str = "gelu"
    epsilon: float = 1e-6
    pre_norm: bool = False
    projection: int = 0
    projected: bool = True
    layer_scale: float = 0.0
    registers: int = 0
    antialias: bool = True
    fc_norm: bool = False
    remat: bool = False
    drop_path: float = 0.0
    final_relu: bool = False
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None
    tuning: Tuning = Tuning()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        del frozen_norm  # there is no batch normalisation
        types = (self.dtype, stored_dtype(self))
        x, (rows, columns) = self.tokens(x)
        if self.pre_norm:
            x = layer_norm("pre_norm", self.epsilon, *types)(x)
        kind: Any = Block
        if parts() > 1 and not self.is_initializing():  # a block's parameters are put together in the block itself
            kind = nn.map_variables(Block, "params", trans_in_fn=gathered)
        kind = recomputed(kind, static=(2,)) if self.remat else kind
        tokens, prompted = x.shape[1], {"prompts": 1, "deep_prompts": self.depth}.get(self.tuning.kind, 0)
        for index in range(self.depth):
            if index < prompted:
                x = with_prompts(self, x, tokens, index, self.tuning.size, self.patch, types[1])
            options = (self.heads, 4 * self.width, self.activation, self.epsilon, self.layer_scale)
            drop_rate = rate_of(self.drop_path, index + 1, self.depth)
            x = kind(*options, drop_rate, *types, self.tuning, name=f"block{index}")(x, train)
        return self.feature_map(x[:, :tokens], rows, columns)

    def tokens(self, x: jax.Array) -> tuple[jax.Array, tuple[int, int]]:
        """Images -> [B, 1 + registers + patches, width], and the numbers of patches along both sides."""
        batch, height, width = x.shape[:3]
        if height % self.patch or width % self.patch:
            raise InputError(
                f"images of {height} x {width} pixels are not made of whole patches of {self.patch} pixels; use a "
                f"multiple, such as config.data.image_size={max(1, round(height / self.patch)) * self.patch}"
            )
        stored = stored_dtype(self)
        patches = nn.Conv(
            self.width,
            (self.patch, self.patch),
            strides=self.patch,
            padding="VALID",
            use_bias=not self.pre_norm,
            dtype=self.dtype,
            param_dtype=stored,
            kernel_init=small_normal,
            name="patch_embedding",
        )(x.astype(self.dtype))
        rows, columns = patches.shape[1:3]
        positions = self.param("position_embedding", small_normal, (1 + self.grid**2, self.width), stored)
        positions = resample_positions(positions, (self.grid, self.grid), (rows, columns), self.antialias)
        first = self.param("class_token", small_normal, (self.width,), stored)[None]
        x = patches.reshape(batch, rows * columns, self.width) + positions[1:].astype(self.dtype)
        first = first + positions[:1]
        if self.registers:
            others = self.param("register_tokens", small_normal, (self.registers, self.width), stored)
            first = jnp.concatenate([first, others])
        first = jnp.broadcast_to(first.astype(self.dtype), (batch, *first.shape))
        return jnp.concatenate([first, x], axis=1), (rows, columns)

    def feature_map(self, x: jax.Array, rows: int, columns: int) -> jax.Array:
        """Tokens after the last block -> what the network returns."""
        types = (self.dtype, stored_dtype(self))
        batch = len(x)
        if self.pool == "class":
            x = x[:, :1]
        else:
            x = x[:, 1 + self.registers :]
            if self.fc_norm:
                x = x.astype(at_least_float32(self.dtype)).mean(1, keepdims=True)
        x = layer_norm("norm", self.epsilon, *types)(x)
        if self.projection:
            kernel = Kernel(self.projection, types[1], name="projection")(x.shape[-1])
            x = x @ kernel.astype(self.dtype) if self.projected else x
        x = nn.relu(x) if self.final_relu else x
        shape = (rows, columns) if x.shape[1] == rows * columns else (1, 1)
        return x.reshape(batch, *shape, x.shape[-1])

    def gathered_within(self) -> tuple[str, ...]:
        """The paths of parameters that, where devices share them, are put together where they are used."""
        return tuple(f"block{index}" for index in range(self.depth))

    def trainable_parts(self) -> Mapping[str, tuple[str, ...]]:
        """See ``HasTrainableParts``. The last stage is the last quarter of the blocks."""
        end = ("norm", "projection") if self.projection else ("norm",)
        first = self.depth - max(2, self.depth // 4)
        last = [f"block{index}" for index in range(max(0, first), self.depth)]
        return {"last_block": (last[-1], *end), "last_stage": (*last, *end)}


class Kernel(nn.Module):
    """A matrix [inputs, features] among the parameters, as ``kernel``; whether it is used is for the caller."""

    features: int
    param_dtype: Dtype

    @nn.compact
    def __call__(self, inputs: int) -> jax.Array:
        start = nn.initializers.normal(inputs**-0.5)
        return self.param("kernel", start, (inputs, self.features), self.param_dtype)


def attend(query: jax.Array, key: jax.Array, value: jax.Array, causal: bool = False) -> jax.Array:
    """softmax(query key^T / sqrt(d)) value of each head, [B, T, heads, d] each; on CUDA by cuDNN in half precision."""
    half = query.dtype in (jnp.bfloat16, jnp.float16)
    cudnn = half and query.shape[-1] % 8 == 0 and jax.default_backend() == "gpu"
    return jax.nn.dot_product_attention(query, key, value, is_causal=causal, implementation="cudnn" if cudnn else "xla")


def dense(name: str, features: int, dtype: Dtype, param_dtype: Dtype) -> nn.Dense:
    return nn.Dense(features, dtype=dtype, param_dtype=param_dtype, kernel_init=small_normal, name=name)


def layer_norm(name: str, epsilon: float, dtype: Dtype, param_dtype: Dtype) -> nn.LayerNorm:
    """Statistics in at least float32, and from the differences to the mean, as PyTorch has them."""
    return nn.LayerNorm(epsilon, dtype=dtype, param_dtype=param_dtype, use_fast_variance=False, name=name)


def vit(size: str, patch: int) -> Callable[..., VisionTransformer]:
    """The networks of timm and of Hugging Face's ViT, for 224 pixels."""
    return functools.partial(VisionTransformer, patch, *SIZES[size], grid=224 // patch)


def clip_vit(size: str, patch: int, projection: int) -> Callable[..., VisionTransformer]:
    """The image encoders of OpenAI's CLIP, for 224 pixels."""
    return functools.partial(
        VisionTransformer,
        patch,
        *SIZES[size],
        grid=224 // patch,
        activation="quick_gelu",
        epsilon=1e-5,
        pre_norm=True,
        projection=projection,
    )


def dinov2_vit(size: str, registers: int = 0) -> Callable[..., VisionTransformer]:
    """The networks of DINOv2, whose positions are those of 518 pixels."""
    antialias = registers > 0
    return functools.partial(
        VisionTransformer, 14, *SIZES[size], grid=37, layer_scale=1e-5, registers=registers, antialias=antialias
    )


VITS: dict[str, Callable[..., VisionTransformer]] = {
    **{f"vit_{size}{patch}": vit(size, patch) for size, patch in [("ti", 16), ("s", 16), ("b", 16), ("b", 32)]},
    **{f"vit_l{patch}": vit("l", patch) for patch in (16, 14)},
    "clip_vit_b32": clip_vit("b", 32, 512),
    "clip_vit_b16": clip_vit("b", 16, 512),
    "clip_vit_l14": clip_vit("l", 14, 768),
    **{f"dinov2_vit_{size}14": dinov2_vit(size) for size in ("s", "b", "l")},
    **{f"dinov2_vit_{size}14_reg": dinov2_vit(size, registers=4) for size in ("s", "b", "l")},
}
