"""Toy networks with two branches and with experts, and one step of a method taken apart."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ltjax.methods import METHODS
from ltjax.models.bbn import BRANCHES
from ltjax.training.step.state import create_state
from ltjax.training.step.step import make_apply, make_context
from tests.training import toy

ROWS = np.array([0, 25, 40, 7, 1, 38])  # two images of each of the toy's classes


class TwoBranches(nn.Module):
    """The toy backbone twice over a common one."""

    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, train=False, frozen_norm=False, branch=None):
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = toy.Backbone(**types, name="common")(x, train, frozen_norm)
        asked = BRANCHES if branch is None else (branch,)
        return jnp.concatenate([toy.Backbone(**types, name=name)(x, train, frozen_norm) for name in asked], -1)


class Experts(nn.Module):
    """The toy backbone for each expert over a common one."""

    experts: int = 3
    reduce: bool = True
    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, train=False, frozen_norm=False):
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = toy.Backbone(**types, name="common")(x, train, frozen_norm)
        return jnp.stack([toy.Backbone(**types, name=f"expert{e}")(x, train, frozen_norm) for e in range(self.experts)])


class DepthExperts(Experts):
    """The same without the choice of the channels."""

    reduce: None = None


BACKBONES = {"toy": toy.Backbone, "bbn_toy": TwoBranches, "ride_toy": Experts, "shike_toy": DepthExperts}


class Step:
    """A method's only stage at its start, and its objective on a fixed batch, not compiled as a whole.

    batch: every stream has the images ``rows`` of the toy, in its own order.
    """

    def __init__(self, config, rows=ROWS, epoch=0, seed=0):
        data = toy.build(None)
        (self.stage,) = METHODS[config.method](config, data)
        start = self.stage.init(jax.random.key(seed), None, None)
        self.state = create_state(self.stage, start, seed)
        self.images = jnp.stack([data.train.read(i) for i in rows])
        self.labels = jnp.asarray(data.train.labels[rows])
        self.batch = {
            name: {"image": self.images[::turn], "label": self.labels[::turn]}
            for name, turn in zip(self.stage.streams, (1, -1), strict=False)
        }
        self.context = make_context(self.stage, self.state, {}, 5)._replace(epoch=jnp.int32(epoch))
        self.apply = make_apply(self.stage)

    @property
    def variables(self):
        return {"params": self.state.params, **self.state.model_state}

    def outcome(self, params=None):
        params = self.state.params if params is None else params
        return self.stage.objective(self.apply, params, self.state.model_state, self.batch, self.context)

    def loss(self, params=None):
        return sum(term.scale * term.mean() for term in self.outcome(params).terms.values())

    def means(self):
        return {name: float(term.mean()) for name, term in self.outcome().terms.items()}

    def logits(self, **options):
        """In training mode, of the first stream's images."""
        return self.apply(self.state.params, self.state.model_state, self.images, **options)[0].logits
