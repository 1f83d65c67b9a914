"""The rule of an update (SGD or AdamW), which parameters have weight decay, and sharpness-aware minimisation.

All functions take flat dicts of parameters, "a/b/c" -> array.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ltjax.errors import InputError, choose
from ltjax.methods.common import FEATURE_EXTRACTOR
from ltjax.methods.stage import under
from ltjax.settings import StageOptimizer


def make_optimizer(settings: StageOptimizer, undecayed: Sequence[str] = ()) -> optax.GradientTransformation:
    """The optimizer of a stage, without the learning rate: the step multiplies what it returns by minus the rate.

    Args:
      settings: of the stage.
      undecayed: path prefixes of the parameters without weight decay, whatever the settings are.
    """
    make = choose(OPTIMIZERS, settings.name, "config.optimizer.name")
    return make(settings, weight_decay(settings, undecayed))


def sgd(settings: StageOptimizer, decay: optax.GradientTransformation) -> optax.GradientTransformation:
    """SGD as the papers' scripts have it: g + wd p, momentum, Nesterov."""
    return optax.chain(decay, optax.trace(settings.momentum, nesterov=settings.nesterov))


def adamw(settings: StageOptimizer, decay: optax.GradientTransformation) -> optax.GradientTransformation:
    """Adam's update plus wd p (Loshchilov & Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2).

    The decay is multiplied by the learning rate and its schedule, as in PyTorch and optax.
    """
    mean, square = settings.betas
    return optax.chain(optax.scale_by_adam(mean, square, settings.epsilon), decay)


OPTIMIZERS: Mapping[str, Callable[[StageOptimizer, optax.GradientTransformation], optax.GradientTransformation]] = {
    "sgd": sgd,
    "adamw": adamw,
}


def weight_decay(settings: StageOptimizer, undecayed: Sequence[str] = ()) -> optax.GradientTransformation:
    """Adds ``settings.weight_decay`` times each parameter and its factor (``decay_factors``).

    Its state is that of ``optax.add_decayed_weights``, masked where ``undecayed`` names something: checkpoints hold it.
    """
    empty = optax.MaskedState(optax.EmptyState()) if undecayed else optax.EmptyState()

    def add(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        factors = decay_factors(params, settings, undecayed)
        added = {
            path: update + settings.weight_decay * factors[path] * params[path] if factors[path] else update
            for path, update in updates.items()
        }
        return added, state

    return optax.GradientTransformation(lambda params: empty, add)


def decay_factors(
    params: Mapping[str, jax.Array], settings: StageOptimizer, undecayed: Sequence[str] = ()
) -> dict[str, float]:
    """For each path the factor on the weight decay: 0 for those without, else the backbone's or the head's.

    Example:
      >>> params = {"backbone/norm/scale": jnp.ones(4), "head/classifier/kernel": jnp.ones([4, 3])}
      >>> list(decay_factors(params, StageOptimizer(decay_norms_and_biases=False, head_decay=2.0)).values())
      [0.0, 2.0]
    """

    def factor(path: str, array: jax.Array) -> float:
        if any(under(path, prefix) for prefix in undecayed):
            return 0.0
        if not settings.decay_norms_and_biases and jnp.ndim(array) <= 1:
            return 0.0
        of_backbone = any(under(path, prefix) for prefix in FEATURE_EXTRACTOR)
        return settings.backbone_decay if of_backbone else settings.head_decay

    return {path: factor(path, array) for path, array in params.items()}


def sharpened_classes(settings: StageOptimizer, class_counts: np.ndarray, key: str) -> np.ndarray | None:
    """bool [C]: the classes whose loss SAM sharpens (ImbSAM, ``sam_below``); None = all of them, or no SAM.

    Args:
      settings: of the stage.
      class_counts: [C], training images.
      key: of ``settings``, for errors.

    Raises:
      InputError: if no class has so few images.

    Example:
      >>> sharpened_classes(StageOptimizer(sam_rho=0.05, sam_below=20), np.array([100, 20, 19]), "config.optimizer")
      array([False, False,  True])
    """
    if not settings.sam_below:
        return None
    chosen: np.ndarray = np.asarray(class_counts) < settings.sam_below
    if not chosen.any():
        raise InputError(
            f"{key}.sam_below: {settings.sam_below} is without effect: the rarest class has {min(class_counts)} "
            f"training images; use a larger number, or 0 to sharpen the loss of all classes"
        )
    return chosen


def sharpest(params: Mapping[str, jax.Array], gradients: Mapping[str, jax.Array], rho: float) -> dict[str, jax.Array]:
    """The parameters at distance ``rho`` along their gradient: where the loss is largest within it, to first order.

    Foret et al., "Sharpness-aware minimization for efficiently improving generalization", ICLR 2021, equation 2 with
    p = 2: params + rho * gradients / |gradients|, with one norm over all of ``gradients``. Parameters without a
    gradient there stay as they are, and so do all where the norm is 0.
    """
    norm = jnp.sqrt(sum(jnp.vdot(gradient, gradient) for gradient in gradients.values()))
    scale = rho / jnp.where(norm > 0, norm, 1)
    return {
        path: (array + scale * gradients[path]).astype(array.dtype) if path in gradients else array
        for path, array in params.items()
    }
