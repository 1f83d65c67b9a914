"""Linear heads: from the backbone's feature map to logits. The last layer of each is named ``classifier``."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.arrays import product, rescale_columns
from ltjax.errors import InputError
from ltjax.models.layers import Weights, kaiming_normal, linear, unit_rows
from ltjax.models.norm import Dtype, stored_dtype
from ltjax.models.outputs import Outputs, pool


class LinearHead(nn.Module):
    """Global average pooling and one linear layer: feature map [B, h, w, d] -> logits [B, C], at least float32.

    bias: false leaves it out.
    bias_init_value: a constant to start the bias with: -log(C - 1) for sigmoid losses, so that every class starts with
      probability 1/C (Cui et al., Class-Balanced Loss, 2019, section 5.1). None: uniform within 1/sqrt(d).
    features: the size of a linear layer ``fc`` with ReLU between pooling and classifier (512 in OLTR). The head then
      returns ``Outputs`` whose features are what comes after it, [B, features].

    Raises:
      InputError: if there is a ``bias_init_value`` but no bias.

    Example:
      >>> LinearHead(10).init_with_output(jax.random.key(0), jnp.zeros([2, 8, 8, 64]), train=False)[0].shape
      (2, 10)
    """

    num_classes: int
    bias: bool = True
    bias_init_value: float | None = None
    features: int | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None

    @nn.compact
    def __call__(self, feature_map: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array | Outputs:
        if self.bias_init_value is not None and not self.bias:
            raise InputError("bias_init_value of the linear head: there is no bias to start; set bias=True or drop it")
        stored = stored_dtype(self)
        features = pool(feature_map)
        if self.features is not None:
            features = nn.relu(linear("fc", features, self.features, stored)(features))
        start = None if self.bias_init_value is None else nn.initializers.constant(self.bias_init_value)
        classifier = linear("classifier", features, self.num_classes, stored, bias_init=start, use_bias=self.bias)
        logits = classifier(features)
        return logits if self.features is None else Outputs(logits, features)


class MLPHead(nn.Module):
    """Pooling, hidden layers ``fc1``, ``fc2``, ... with ReLU, classifier (Kang et al., 2020, appendix B.6).

    [B, h, w, d] -> ``Outputs``: logits [B, C], features [B, hidden[-1]].

    Example:
      >>> head = MLPHead(10, hidden=(512, 256))
      >>> feature_map = jnp.zeros([2, 8, 8, 64])
      >>> outputs, _ = jax.eval_shape(lambda: head.init_with_output(jax.random.key(0), feature_map, train=False))
      >>> outputs.logits.shape, outputs.features.shape
      ((2, 10), (2, 256))
    """

    num_classes: int
    hidden: tuple[int, ...] = (2048,)
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None

    @nn.compact
    def __call__(self, feature_map: jax.Array, train: bool, frozen_norm: bool = False) -> Outputs:
        stored = stored_dtype(self)
        features = pool(feature_map)
        for number, size in enumerate(self.hidden, start=1):
            features = nn.relu(linear(f"fc{number}", features, size, stored)(features))
        return Outputs(linear("classifier", features, self.num_classes, stored)(features), features)


class LWSHead(nn.Module):
    """Learnable weight scaling ``(x W + b) * scale`` (Kang et al., 2020, section 4.2): [B, h, w, d] -> [B, C].

    Parameters: ``classifier`` as of ``LinearHead``, and ``scale`` [C], ones at first; it alone is to be trained.

    Example:
      >>> classifier = {"kernel": jnp.eye(2), "bias": jnp.ones(2)}
      >>> variables = {"params": {"classifier": classifier, "scale": jnp.array([1, 9.0])}}
      >>> LWSHead(2).apply(variables, jnp.ones([1, 4, 4, 2]), train=False).tolist()
      [[2.0, 18.0]]
    """

    num_classes: int
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None

    @nn.compact
    def __call__(self, feature_map: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        stored = stored_dtype(self)
        features = pool(feature_map)
        scale = self.param("scale", nn.initializers.ones_init(), (self.num_classes,), stored)
        return linear("classifier", features, self.num_classes, stored)(features) * scale


class TauHead(nn.Module):
    """The tau-normalised classifier ``x W / |w|^tau`` (Kang et al., 2020, eq. 3): [B, h, w, d] -> [B, C].

    Parameters: ``classifier`` as of ``LinearHead``, so that its variables fit, though the bias is not used; and the
    scalar ``tau``, given (a search over a grid) or trained (appendix B.5).

    Example:
      >>> classifier = {"kernel": jnp.array([[3.0, 0.5]]), "bias": jnp.ones(2)}
      >>> variables = {"params": {"classifier": classifier, "tau": jnp.array(1.0)}}
      >>> TauHead(2).apply(variables, jnp.full([1, 4, 4, 1], 7.0), train=False).tolist()
      [[7.0, 7.0]]
    """

    num_classes: int
    tau: float = 1.0
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None

    @nn.compact
    def __call__(self, feature_map: jax.Array, train: bool, frozen_norm: bool = False) -> jax.Array:
        stored = stored_dtype(self)
        features = pool(feature_map)
        weights = Weights(self.num_classes, kaiming_normal, bias=True, param_dtype=stored, name="classifier")
        kernel, _ = weights(features.shape[-1])
        exponent = self.param("tau", nn.initializers.constant(self.tau), (), stored)
        return product(features, rescale_columns(kernel, exponent))


class AuxiliaryHead(nn.Module):
    """Classifiers of balanced and of random batches and of rotations on one layer (CBS+RRS+SS, figure 1).

    Pooling, a linear layer ``fc`` with ReLU (d -> ``features``; 0: none), then up to three linear layers:
    ``classifier`` ("primary", class-balanced batches), ``auxiliary`` (uniform batches), ``rotation`` (four angles).
    [B, h, w, d] -> ``Outputs``: logits {classifier: [B, C] or [B, 4]}, features [B, features].

    rotation: false leaves the third one out everywhere.
    classifiers (option of the call): which to compute; the parameters of the others need not be there.

    Raises:
      InputError: if ``classifiers`` names an unknown one.

    Example:
      >>> head, feature_map = AuxiliaryHead(10), jnp.zeros([2, 8, 8, 64])
      >>> outputs, _ = jax.eval_shape(lambda: head.init_with_output(jax.random.key(0), feature_map, train=False))
      >>> {name: outputs.logits[name].shape for name in ("primary", "auxiliary", "rotation")}
      {'primary': (2, 10), 'auxiliary': (2, 10), 'rotation': (2, 4)}
    """

    num_classes: int
    features: int = 512
    rotation: bool = True
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None

    @nn.compact
    def __call__(
        self,
        feature_map: jax.Array,
        train: bool,
        frozen_norm: bool = False,
        classifiers: tuple[str, ...] = ("primary", "auxiliary", "rotation"),
    ) -> Outputs:
        layers = {"primary": ("classifier", self.num_classes), "auxiliary": ("auxiliary", self.num_classes)}
        layers |= {"rotation": ("rotation", 4)}
        if unknown := [name for name in classifiers if name not in layers]:
            raise InputError(f"classifiers of the auxiliary head: unknown {unknown[0]!r}; allowed: {', '.join(layers)}")
        stored = stored_dtype(self)
        features = pool(feature_map)
        if self.features > 0:
            features = nn.relu(linear("fc", features, self.features, stored)(features))
        logits = {}
        for classifier in classifiers:
            if classifier != "rotation" or self.rotation:
                name, size = layers[classifier]
                logits[classifier] = linear(name, features, size, stored)(features)
        return Outputs(logits, features)


class ProxyHead(nn.Module):
    """A linear head that also holds one proxy a class for losses on the features (Movshovitz-Attias et al., 2017).

    [B, h, w, d] -> ``Outputs``: logits {"classifier": [B, C], "proxies": [C, d]}, features [B, d]. The proxies start
    with random directions and length 1.

    Example:
      >>> head, feature_map = ProxyHead(10), jnp.zeros([2, 8, 8, 64])
      >>> outputs, _ = jax.eval_shape(lambda: head.init_with_output(jax.random.key(0), feature_map, train=False))
      >>> outputs.logits["classifier"].shape, outputs.logits["proxies"].shape
      ((2, 10), (10, 64))
    """

    num_classes: int
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None

    @nn.compact
    def __call__(self, feature_map: jax.Array, train: bool, frozen_norm: bool = False) -> Outputs:
        stored = stored_dtype(self)
        features = pool(feature_map)
        proxies = self.param("proxies", unit_rows, (self.num_classes, features.shape[-1]), stored)
        logits = linear("classifier", features, self.num_classes, stored)(features)
        return Outputs({"classifier": logits, "proxies": proxies}, features)
