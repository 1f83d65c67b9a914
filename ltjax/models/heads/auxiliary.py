"""The three classifiers of CBS+RRS+SS on one layer."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ltjax.errors import InputError
from ltjax.models.layers import linear, linear_init
from ltjax.models.norm import Dtype, stored_dtype
from ltjax.models.outputs import Outputs, pool


class AuxiliaryHead(nn.Module):
    """Classifiers of balanced and of random batches and of rotations on one layer (CBS+RRS+SS, figure 1).

    Pooling, then up to three linear layers: ``classifier`` ("primary", class-balanced batches), ``auxiliary`` (uniform
    batches), ``rotation`` (four angles). The paper's 512-d layer before them is ``HeadOnFeatureLayer``.
    [B, h, w, d] -> ``Outputs``: logits {classifier: [B, C] or [B, 4]}, features [B, d].

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
    rotation: bool = True
    dtype: Dtype = jnp.float32
    param_dtype: Dtype | None = None
    init_family: str = "cifar"

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
        init = linear_init(self.init_family, features.shape[-1])
        logits = {}
        for classifier in classifiers:
            if classifier != "rotation" or self.rotation:
                name, size = layers[classifier]
                logits[classifier] = linear(name, features, size, stored, init)(features)
        return Outputs(logits, features)
