"""The branches of ResLT, and the convolutions without branches that the paper compares them with."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.arrays import product, rescale_columns
from ltjax.errors import InputError
from ltjax.models.layers import linear, linear_init, pointwise
from ltjax.models.norm import BatchNorm, Dtype, stored_dtype
from ltjax.models.outputs import Outputs, pool


class ResLTHead(nn.Module):
    """The residual branches of ResLT (Cui et al., 2022, section 3.2): [B, h, w, d] -> [K, B, C], at least float32.

    Branch 0 sees all classes, branch 1 medium and tail, ... (the loss decides); the fused score is the sum over K.
    The linear layer is one, shared by the branches.

    form "bn" (the authors' CIFAR network): K parallel BatchNorms of the map, pooling, linear layer.
    form "conv" (their ImageNet-LT network): one dense bias-free 1x1 convolution d -> K*d, BatchNorm, ReLU, pooling,
      split in K blocks of d. With ``conv_before_pool_in_training`` false it pools first; in evaluation (``train``
      false) it always does, as the authors' code does and the paper does not say.
    gamma: if a number, evaluation divides row c of the linear layer by ||w_c||^gamma and drops the bias (the authors'
      code; not in the paper). None evaluates W x + b.
    norm_group: images that share batch statistics, as in ``BatchNorm``; 0 = all of the batch.

    Raises:
      InputError: if ``form`` is neither, or ``branches`` is below 1.

    Example:
      >>> ResLTHead(10).init_with_output(jax.random.key(0), jnp.zeros([2, 8, 8, 64]), train=False)[0].shape
      (3, 2, 10)
    """

    num_classes: int
    branches: int = 3
    form: str = "bn"
    conv_before_pool_in_training: bool = True
    gamma: float | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None
    norm_group: int = 0
    init_family: str = "cifar"

    @nn.compact
    def __call__(self, feature_map: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        if self.branches < 1:
            raise InputError(f"branches of the ResLT head: {self.branches} is below 1; the paper has 3")
        stored = stored_dtype(self)
        if self.form == "bn":
            features = self._norm_branches(feature_map, stored, train, frozen_norm)
        elif self.form == "conv":
            features = self._conv_branches(feature_map, stored, train, frozen_norm)
        else:
            raise InputError(f"form of the ResLT head: unknown value '{self.form}'; allowed: bn, conv")
        init = linear_init(self.init_family, features.shape[-1])
        classifier = linear("classifier", features, self.num_classes, stored, init)
        logits = classifier(features)
        if self.gamma is None or train:
            return logits
        return product(features, rescale_columns(classifier.variables["params"]["kernel"], self.gamma))

    def classifier_weights(self, params: Mapping[str, Any]) -> jax.Array:
        """See ``HasClassifierWeights``: of all branches, over their norm to the power gamma if given."""
        kernel = jnp.asarray(params["classifier"]["kernel"])
        return kernel if self.gamma is None else rescale_columns(kernel, self.gamma)

    def _norm_branches(self, x: jax.Array, stored: Dtype, train: bool, frozen_norm: bool) -> jax.Array:
        norms = [
            BatchNorm(dtype=self.dtype, param_dtype=stored, group=self.norm_group, name=f"norm{k}")
            for k in range(self.branches)
        ]
        return jnp.stack([pool(norm(x, train, frozen_norm)) for norm in norms])

    def _conv_branches(self, x: jax.Array, stored: Dtype, train: bool, frozen_norm: bool) -> jax.Array:
        size = x.shape[-1]
        conv = pointwise("conv", self.branches * size, 1, self.dtype, stored, self.init_family)
        norm = BatchNorm(dtype=self.dtype, param_dtype=stored, group=self.norm_group, name="norm")
        pool_first = not (train and self.conv_before_pool_in_training)
        if pool_first:
            x = pool(x)[:, None, None, :]
        x = pool(nn.relu(norm(conv(x), train, frozen_norm)))
        return jnp.moveaxis(x.reshape(-1, self.branches, size), 1, 0)


class ConvTopHead(nn.Module):
    """More 1x1 convolutions, but no groups of classes (ResLT, section 4.2.1 and figure 7): [B, h, w, d] -> ``Outputs``.

    ``branches`` 1x1 convolutions d -> d, each with BatchNorm and ReLU, are pooled and averaged into one feature [B, d]
    for one linear layer, whose logits [B, C] plain cross-entropy trains.

    form "grouped": one convolution of ``branches`` groups over the map, repeated once a group (``conv``, ``norm``).
    form "separate": ``branches`` convolutions and norms (``conv0``, ``norm0``, ...). They can represent the same.
    norm_group: images that share batch statistics, as in ``BatchNorm``; 0 = all of the batch.

    Raises:
      InputError: if ``form`` is neither, or ``branches`` is below 1.

    Example:
      >>> head, feature_map = ConvTopHead(10), jnp.zeros([2, 8, 8, 64])
      >>> outputs, _ = jax.eval_shape(lambda: head.init_with_output(jax.random.key(0), feature_map, train=False))
      >>> outputs.logits.shape, outputs.features.shape
      ((2, 10), (2, 64))
    """

    num_classes: int
    form: str = "grouped"
    branches: int = 3
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None
    norm_group: int = 0
    init_family: str = "cifar"

    @nn.compact
    def __call__(self, feature_map: jax.Array, train: bool, frozen_norm: bool = False) -> Outputs:
        if self.branches < 1:
            raise InputError(f"branches of the convolutions on top: {self.branches} is below 1; the paper has 3")
        if self.form not in ("grouped", "separate"):
            raise InputError(
                f"form of the convolutions on top: unknown value '{self.form}'; allowed: grouped, separate"
            )
        stored, size = stored_dtype(self), feature_map.shape[-1]

        def activated(x: jax.Array, suffix: str, groups: int) -> jax.Array:
            conv = pointwise(f"conv{suffix}", groups * size, groups, self.dtype, stored, self.init_family)
            norm = BatchNorm(dtype=self.dtype, param_dtype=stored, group=self.norm_group, name=f"norm{suffix}")
            return pool(nn.relu(norm(conv(x), train, frozen_norm)))

        if self.form == "grouped":
            repeated = jnp.tile(feature_map, self.branches)
            branches = activated(repeated, "", self.branches).reshape(-1, self.branches, size)
        else:
            branches = jnp.stack([activated(feature_map, str(k), 1) for k in range(self.branches)], 1)
        features = branches.mean(1)
        init = linear_init(self.init_family, size)
        return Outputs(linear("classifier", features, self.num_classes, stored, init)(features), features)
