"""A toy for asynchronous modelling: four classes, two of them frequent, and a backbone whose last ReLU can go."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from ltjax.models.norm import BatchNorm
from tests.training import toy

COUNTS = (6, 30, 22, 8)  # by label, not by frequency
FREQUENT = np.array([False, True, True, False])
BANK = 5


class Backbone(nn.Module):
    """The toy's, with the last ReLU to choose."""

    final_relu: bool = True
    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, train=False, frozen_norm=False):
        x = nn.Conv(4, (3, 3), use_bias=False, dtype=self.dtype, param_dtype=self.param_dtype, name="conv")(x)
        x = BatchNorm(dtype=self.dtype, param_dtype=self.param_dtype, name="norm")(x, train, frozen_norm)
        return nn.relu(x) if self.final_relu else x


def data(settings=None):
    base = toy.build(settings)
    train, test = toy.source(COUNTS, 0), toy.source((7, 7, 7, 7), 1)
    return dataclasses.replace(base, train=train, test=test, num_classes=4, class_counts=np.array(COUNTS))


def config(**changes):
    usual = {"asynchronous__bank_size": BANK, "data__sampler": "progressive", "watch_classes": (0, 1, 2, 3)}
    return toy.config("asynchronous", second_stage=True, **(usual | changes))
