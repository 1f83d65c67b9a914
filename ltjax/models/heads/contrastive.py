"""Heads that also project their features: what contrastive losses compare."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.models.layers import classifier_weights, linear, within_fan_in
from ltjax.models.norm import BatchNorm, Dtype, stored_dtype
from ltjax.models.outputs import Outputs, pool


class ProjectionMLP(nn.Module):
    """Layers with ReLU and a linear one: [..., d] -> [..., ``width``], at least float32.

    hidden: widths of the layers before the last; () = the last alone.
    norm: batch normalisation before each ReLU.
    """

    width: int
    hidden: tuple[int, ...] = ()
    norm: bool = True
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        stored = stored_dtype(self)
        for number, size in enumerate(self.hidden, start=1):
            x = linear(f"fc{number}", x, size, stored, within_fan_in(x.shape[-1]))(x)
            if self.norm:
                norm = BatchNorm(dtype=x.dtype, param_dtype=self.param_dtype, name=f"norm{number}")
                x = norm(x, train, frozen_norm)
            x = nn.relu(x)
        return linear("out", x, self.width, stored, within_fan_in(x.shape[-1]))(x)


class ContrastiveHead(nn.Module):
    """``inner``, a head, with a projection of its features beside it, for training: [B, h, w, d] -> ``Outputs``.

    project (option of the call): false: ``Outputs`` of ``inner``; true: logits {"classifier": [B, C], "projection":
      [B, width]} and, with ``prototypes``, "prototypes" [C, 1, width], what another such projection makes of the
      classifier's weights.
    hidden: widths of the projection's layers before the last; a 0 is the width of the features.
    norm: whether they have batch normalisation.

    Parameters: those of ``inner`` ("head/classifier"), ``projection`` and ``prototype_projection``.

    Example:
      >>> from ltjax.models.heads.linear import LinearHead
      >>> head, feature_map = ContrastiveHead(LinearHead(10), width=16, prototypes=True), jnp.zeros([2, 8, 8, 64])
      >>> variables = jax.eval_shape(lambda: head.init(jax.random.key(0), feature_map, train=False))
      >>> sorted(variables["params"])
      ['classifier', 'projection', 'prototype_projection']
      >>> made = jax.eval_shape(lambda v: head.apply(v, feature_map, train=False, project=True), variables)
      >>> {name: array.shape for name, array in made.logits.items()}
      {'classifier': (2, 10), 'projection': (2, 16), 'prototypes': (10, 1, 16)}
    """

    inner: nn.Module  # not `head`: HeadOnFeatureLayer has a field of that name, whose scope would be the same
    width: int
    hidden: tuple[int, ...] = (0,)
    norm: bool = True
    prototypes: bool = False
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None

    def setup(self) -> None:
        nn.share_scope(self, self.inner)

    @nn.compact
    def __call__(
        self, feature_map: jax.Array, train: bool, frozen_norm: bool = False, project: bool = False, **options: Any
    ) -> Outputs:
        made = self.inner(feature_map, train, frozen_norm, **options)
        made = made if isinstance(made, Outputs) else Outputs(made, pool(feature_map))
        if not (project or self.is_initializing()):
            return made
        logits = {
            "classifier": made.logits,
            "projection": self.mlp("projection", made.features)(made.features, train, frozen_norm),
        }
        if self.prototypes:
            weights = jnp.asarray(self.inner.variables["params"]["classifier"]["kernel"]).T.astype(made.features.dtype)
            rows = self.mlp("prototype_projection", weights)(weights, train, frozen_norm)
            logits["prototypes"] = rows[:, None]  # the last axis but one is that of the images
        return Outputs(logits, made.features)

    def mlp(self, name: str, inputs: jax.Array) -> ProjectionMLP:
        hidden = tuple(size or inputs.shape[-1] for size in self.hidden)
        return ProjectionMLP(self.width, hidden, self.norm, self.dtype, self.param_dtype, name=name)

    @nn.nowrap
    def classifier_weights(self, params: Mapping[str, Any]) -> jax.Array | None:
        """See ``HasClassifierWeights``: those of the inner head."""
        return classifier_weights(self.inner, params)
