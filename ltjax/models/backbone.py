"""What a backbone is to the rest of the package: the protocol of ours, and of a user's own."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax


class Backbone(Protocol):
    """A flax module that makes a feature map of images. ``BACKBONES`` maps the names of config.model.backbone to these.

    Required:
      fields ``dtype`` (of the computation) and ``param_dtype``, both with defaults: methods set them from config.dtype.
      ``__call__(x, train, frozen_norm=False)``: float [B, H, W, channels] (normalised) -> feature map [B, h, w, d] in
        ``dtype``. With ``train`` batch normalisation uses the batch's statistics and updates the running ones; with
        ``frozen_norm`` it uses the running ones also in training.

    Optional fields, each asked for only where a setting or a method wants it:
      ``width``, ``zero_init``, ``remat``, ``norm_group``, ``drop_path``: the settings config.model.* of these names.
      ``final_relu``: false = signed features, for the methods with a cosine classifier that wants them.
      ``experts``, ``reduce``: the number and size of RIDE's experts; the map then is [E, B, h, w, d].

    Optional methods: ``HasTrainableParts``; ``gathered_within() -> paths`` of parameters that the backbone itself puts
      together with ``ltjax.models.sharding.gathered`` (config.fsdp), block by block.

    What images its published weights take is in ``ltjax/models/preprocessing.py``, by the backbone's name.

    Example: see ``ResNetCifar``; a minimal one is

        class Small(nn.Module):
            dtype: Any = jnp.float32
            param_dtype: Any = jnp.float32

            @nn.compact
            def __call__(self, x, train, frozen_norm=False):
                x = nn.Conv(16, (3, 3), strides=2, dtype=self.dtype, param_dtype=self.param_dtype)(x)
                x = BatchNorm(dtype=self.dtype, param_dtype=self.param_dtype)(x, train, frozen_norm)
                return nn.relu(x)
    """

    dtype: Any
    param_dtype: Any

    def __call__(self, x: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array: ...


@runtime_checkable
class HasTrainableParts(Protocol):
    """A backbone that knows its last parts: what config.decoupling.retrain=last_block and last_stage train.

    ``trainable_parts()`` maps "last_block" and "last_stage" to path prefixes inside the backbone's parameters, such as
    {"last_block": ("stage3_block4",), "last_stage": ("stage3_block0", ..., "stage3_block4")}.
    """

    def trainable_parts(self) -> Mapping[str, tuple[str, ...]]: ...


def last_parts(last_stage: list[str]) -> dict[str, tuple[str, ...]]:
    """``HasTrainableParts.trainable_parts`` of a network whose last stage is made of these blocks, in order."""
    return {"last_block": (last_stage[-1],), "last_stage": tuple(last_stage)}
