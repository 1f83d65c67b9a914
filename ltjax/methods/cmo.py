"""CMO, context-rich minority oversampling: boxes of images that are mostly rare, pasted into the others.

Park et al., "The majority can help the minority: Context-rich minority oversampling for long-tailed classification",
CVPR 2022: CutMix whose backgrounds are the images as they come and whose foregrounds are drawn by class.
Half of the batches are pasted, none in the first and in the last epochs. The loss is that of another method, once for
the labels of the backgrounds and once for those of the foregrounds, in the shares of the pixels.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ltjax.data import Data
from ltjax.data.sampling.independent import power
from ltjax.methods.ce import cross_entropy_method
from ltjax.methods.ldam import LDAMDRWSettings, ldam_drw
from ltjax.methods.logit_adjustment import balanced_softmax
from ltjax.methods.mixing import box
from ltjax.methods.reweighting import DeferredWeightsSettings, deferred_reweighting
from ltjax.methods.ride import RIDESettings, ride
from ltjax.methods.stage import Apply, Context, Outcome, Stage
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import integer, number, one_of, positive

# what it goes with -> the function of its stage, and its settings
LOSSES: dict[str, tuple[Callable[..., list[Stage]], type[Block]]] = {
    "ce": (cross_entropy_method, Block),
    "ce_drw": (deferred_reweighting, DeferredWeightsSettings),
    "ldam_drw": (ldam_drw, LDAMDRWSettings),
    "balanced_softmax": (balanced_softmax, Block),
    "ride": (ride, RIDESettings),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CMOSettings(Block):
    """config.cmo: the authors' values."""

    loss: str = setting(
        "ce_drw", f"the method whose loss it is, with its defaults: {', '.join(LOSSES)}", one_of(*LOSSES)
    )
    probability: float = setting(0.5, "part of the batches that are pasted", number(0, 1))
    alpha: float = setting(
        1.0, "parameter of Beta(alpha, alpha), from which the share of the background is drawn", positive
    )
    foreground_power: float = setting(
        1.0,
        "foregrounds are drawn by the frequency of their class to the power of 1 less this: 1 = all classes alike (the "
        "authors' code), 2 = by inverse frequency (as printed)",
        number(0, 3),
    )
    first_epochs: int = setting(4, "number of epochs at the start without pasting", integer(0))
    last_epochs: int = setting(3, "number of epochs at the end without pasting", integer(0))


def cmo(config: Settings, settings: CMOSettings, data: Data) -> list[Stage]:
    """The stage of another method, on pasted images; config.cmo.loss names it."""
    make, of = LOSSES[settings.loss]
    (stage,) = make(config, of(), data)

    def objective(apply, params, model_state, batch, context):
        background, foreground = batch["image"], batch["foreground"]
        box_key, inner_key, share_key = jax.random.split(context.key, 3)
        share = drawn_share(share_key, settings, context)
        inside = box(box_key, background["image"].shape[1:3], share)
        images = jnp.where(inside[..., None], foreground["image"], background["image"])
        left, once = 1 - jnp.mean(inside), run_once(apply)

        def outcome(labels: jax.Array) -> Outcome:
            pasted = {"image": {**background, "image": images, "label": labels}}
            return stage.objective(once, params, model_state, pasted, context._replace(key=inner_key))

        behind, before = outcome(background["label"]), outcome(foreground["label"])
        terms = {name: term._replace(scale=left * term.scale) for name, term in behind.terms.items()}
        terms |= {f"{name}_foreground": term._replace(scale=(1 - left) * term.scale)
                  for name, term in before.terms.items()}  # fmt: skip
        larger = outcome(jnp.where(left >= 0.5, background["label"], foreground["label"]))
        return Outcome(terms, behind.model_state, {**larger.metrics, "cmo/background": left})

    streams = {**stage.streams, "foreground": power(1 - settings.foreground_power)}
    return [dataclasses.replace(stage, streams=streams, objective=objective, prior=None)]


def drawn_share(key: jax.Array, settings: CMOSettings, context: Context) -> jax.Array:
    """The share of the background: drawn in the epochs with pasting, for a part of the batches; else 1."""
    coin_key, share_key = jax.random.split(key)
    share = jax.random.beta(share_key, settings.alpha, settings.alpha)
    pastes = (context.epoch >= settings.first_epochs) & (context.epoch < context.epochs - settings.last_epochs)
    return jnp.where(pastes & (jax.random.uniform(coin_key) < settings.probability), share, 1)


def run_once(apply: Apply) -> Any:
    """The network for objectives that call it once, all on the same images."""
    made: list[Any] = []

    def once(*arguments: Any, **options: Any) -> Any:
        if not made:
            made.append(apply(*arguments, **options))
        return made[0]

    return once
