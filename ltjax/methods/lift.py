"""LIFT: a few parameters of a pretrained backbone, and a cosine classifier that starts from class means or from text.

Shi, Wei, Zhou, Shao, Han and Li, "Long-tail learning with foundation model: heavy fine-tuning hurts", ICML 2024, and
the authors' public code. One stage of few epochs, with config.tuning (AdaptFormer in the recipes) and a logit-adjusted
loss. Features are those of CLIP's class token before the projection; a text t becomes the weights P t of its class,
P [d, p] the projection. Zero-shot CLIP trains nothing: config.lift.zero_shot.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.arrays import unit
from ltjax.class_counts import effective_number_weights, inverse_frequency_weights
from ltjax.classifiers import class_means_of_rows
from ltjax.data import Data
from ltjax.errors import InputError
from ltjax.losses import cross_entropy, focal_loss, ldam_loss
from ltjax.methods.common import (
    build_network,
    classify,
    dtypes,
    evaluate_network,
    fresh,
    one_stage,
    predicts,
    softmax_loss,
    softmax_prior,
)
from ltjax.methods.lade import WHOLE_BATCH, with_densities
from ltjax.methods.refusals import LADE, MIX
from ltjax.methods.stage import ClosedForm, Features, Outcome, Predict, Prepare, Stage, Start, Texts, Tree
from ltjax.models import CosineHead, Network, representation
from ltjax.models.network import enlarged, normalised
from ltjax.models.tuning import Tuning
from ltjax.settings import Block, Check, Settings, setting
from ltjax.settings.config_file import Word, sets
from ltjax.settings.schema import fraction, integer, not_negative, one_of, positive, refuse

templates = Check(
    lambda v: all(one.count("{}") == 1 for one in v.split("|")), "texts with one {} each, separated by vertical bars"
)
TEMPLATE = "a photo of a {}."
CODE = re.compile(r"n\d{8}|\d+")  # a folder of ImageNet (WordNet's number), of iNaturalist (the label)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LIFTSettings(Block):
    """config.lift: the values of the authors' code."""

    start: str = setting(
        "class_means",
        "what the classifier starts from: class_means (of the frozen features), text (CLIP's of the class names) or "
        "random",
        one_of("class_means", "text", "random"),
    )
    templates: str = setting(
        TEMPLATE,
        "for start=text: what is said of a class, {} its name; several are separated by a vertical bar",
        templates,
    )
    scale: float = setting(25.0, "factor on the cosines of features and weights", positive)
    loss: str = setting(
        "logit_adjusted",
        "the loss: logit_adjusted (by tau), cross_entropy, focal, ldam, class_balanced (effective numbers), reweighted "
        "(by the shares of the classes) or lade",
        one_of("logit_adjusted", "cross_entropy", "focal", "ldam", "class_balanced", "reweighted", "lade"),
    )
    tau: float = setting(1.0, "for loss=logit_adjusted: factor on the log prior", not_negative)
    gamma: float = setting(2.0, "for loss=focal: power of 1 - p", not_negative)
    beta: float = setting(0.9999, "for loss=class_balanced: beta of the effective number of images", fraction)
    rho: float = setting(
        1.0, "for loss=reweighted: power of the class weights (1 / share)^rho", not_negative, added_later=True
    )
    alpha: float = setting(
        0.1, "for loss=lade: factor on the regularizer; 0: logit adjustment alone", not_negative, added_later=True
    )
    penalty: float = setting(0.1, "for loss=lade: factor on the regularizer's square", not_negative, added_later=True)
    weighted_by: Literal["label", "class"] = setting(
        "class",
        "for loss=lade: what the importance weight of an image is by: class (the one whose density is estimated) or "
        "label (its own, as in LADE's paper)",
        one_of("label", "class"),
        added_later=True,
    )
    ensemble: str = setting(
        "none",
        "test-time ensembling, the mean of the logits of five crops (centre and corners) of the enlarged image: none, "
        "report (beside the result, as a view) or predict (it is the result, and what predict and export make)",
        one_of("none", "report", "predict"),
    )
    expand: int = setting(24, "pixels by which the image is enlarged for it", integer(1, 1024))
    zero_shot: bool = setting(
        False, "train nothing: the classes' names, by CLIP's text tower, are the classifier of its projected features"
    )

    def check(self, prefix: str) -> None:
        if self.zero_shot and self.start != "text":
            refuse(f"{prefix}start", self.start, f"text with {prefix}zero_shot=true")
        if self.zero_shot and self.ensemble != "none":
            refuse(f"{prefix}ensemble", self.ensemble, f"none with {prefix}zero_shot=true")


def lift(config: Settings, settings: LIFTSettings, data: Data) -> list[Stage] | list[ClosedForm]:
    """One stage; config.tuning says what it trains beside the classifier."""
    if settings.zero_shot:
        return [zero_shot(config, settings, data)]
    network = unprojected(build_network(config, data, cosine_head(config, settings.scale, data)))
    objective, prior = objective_of(config, settings, data)
    plain, several = predicts(network), ensembled(network, settings.expand)
    return one_stage(
        config,
        data,
        network,
        objective,
        predict=several if settings.ensemble == "predict" else plain,
        views={"ensemble": several} if settings.ensemble == "report" else {},
        whole_batch=WHOLE_BATCH if settings.loss == "lade" and settings.alpha else "",
        prior=prior,
        prepare=start_of(settings, network, data),
    )


def zero_shot(config: Settings, settings: LIFTSettings, data: Data) -> ClosedForm:
    """Each image has the class whose name is nearest to it in CLIP's space; nothing is trained."""
    network = build_network(config, data, cosine_head(config, settings.scale, data))

    def prepare(start: Start, features: Features, texts: Texts) -> Start:
        del features
        projection_of(start.variables)
        return start._replace(variables=with_kernel(start.variables, text_vectors(settings.templates, data, texts).T))

    return ClosedForm("train", network, fresh(network, data), predicts(network), prepare=prepare)


def cosine_head(config: Settings, scale: float, data: Data) -> CosineHead:
    return CosineHead(data.num_classes, scale=scale, learn_scale=False, normed_init=True, **dtypes(config))


def unprojected(network: Network) -> Network:
    """The network on the features before CLIP's projection, where its backbone has one."""
    if not getattr(network.backbone, "projection", 0):
        return network
    return network.clone(backbone=network.backbone.clone(projected=False))


def objective_of(
    config: Settings, settings: LIFTSettings, data: Data
) -> tuple[Callable[..., Outcome], np.ndarray | None]:
    """config.lift.loss as the objective of the stage, and the stage's prior.

    Raises:
      InputError: if images are mixed whose densities the loss estimates.
    """
    if settings.loss == "lade":
        if config.mix.name != "none":
            why = LADE[MIX]
            refuse("config.mix.name", config.mix.name, f"'none' with config.lift.loss=lade: {why}")
        loss, prior = softmax_loss(config, data, 1.0), softmax_prior(config, data, tau=1.0)
        return with_densities(loss, config, data, settings.alpha, settings.penalty, settings.weighted_by), prior
    loss, weights, prior = loss_of(config, settings, data)
    each = None if weights is None else lambda labels, context: weights[labels]
    return classify("image", loss, config=config, weights=each), prior


def loss_of(config: Settings, settings: LIFTSettings, data: Data) -> tuple[Callable[..., jax.Array], Any, Any]:
    """config.lift.loss without lade: (logits, labels) -> [B]; the weights of the classes in its mean, or None; the
    prior."""
    counts, name = data.class_counts, settings.loss
    if name == "focal":
        return lambda logits, labels: focal_loss(logits, labels, gamma=settings.gamma), None, None
    if name == "ldam":  # its margins are those of cosines
        scale = settings.scale

        def ldam(logits: jax.Array, labels: jax.Array) -> jax.Array:
            return ldam_loss(logits / scale, labels, class_counts=counts, scale=scale)

        return ldam, None, None
    weighting = {
        "class_balanced": lambda: effective_number_weights(counts, settings.beta),
        "reweighted": lambda: inverse_frequency_weights(counts, settings.rho),  # the mean divides by their sum
    }
    if name in weighting:
        weights = weighting[name]()
        return cross_entropy, jnp.asarray(weights), softmax_prior(config, data, weights, tau=0.0)
    tau = settings.tau if name == "logit_adjusted" else 0.0
    return softmax_loss(config, data, tau), None, softmax_prior(config, data, tau=tau)


def start_of(settings: LIFTSettings, network: Network, data: Data) -> Prepare | None:
    """config.lift.start as what is done to the start of the stage."""
    frozen = representation(network)
    if getattr(frozen.backbone, "tuning", None) is not None:
        frozen = frozen.clone(backbone=frozen.backbone.clone(tuning=Tuning()))  # without prompts, which are random

    def from_means(start: Start, features: Features, texts: Texts) -> Start:
        del texts
        seen = features(start.variables, np.arange(len(data.train)), network=frozen)
        means = class_means_of_rows(seen, data.train.labels, data.num_classes)
        return start._replace(variables=with_kernel(start.variables, means.T))

    def from_text(start: Start, features: Features, texts: Texts) -> Start:
        del features
        kernel = projection_of(start.variables) @ text_vectors(settings.templates, data, texts).T
        return start._replace(variables=with_kernel(start.variables, kernel))

    starts: dict[str, Prepare | None] = {"class_means": from_means, "text": from_text, "random": None}
    return starts[settings.start]


def text_vectors(given: str, data: Data, texts: Texts) -> np.ndarray:
    """float [C, p]: of each class the mean vector of its templates.

    Raises:
      InputError: if the classes have no names, or codes.
    """
    if data.class_names is None or all(CODE.fullmatch(name) for name in data.class_names):
        codes = f"codes (such as {data.class_names[0]}) in place of" if data.class_names else "no"
        raise InputError(
            f"config.data: {data.name} has {codes} class names to make a classifier of; give "
            "--config.data.class_names=FILE, a name per line, by label, or start from class means "
            "(config.lift.start=class_means)"
        )
    names = [name.replace("_", " ") for name in data.class_names]
    return np.asarray(texts([[one.format(name) for one in given.split("|")] for name in names]))


def projection_of(variables: Tree) -> np.ndarray:
    """float [d, p], CLIP's projection of image features.

    Raises:
      InputError: if the backbone has none.
    """
    found = variables["params"]["backbone"].get("projection")
    if found is None:
        raise InputError(
            "config.model.backbone: has no space of images and texts; take a CLIP, such as clip_vit_b16, or "
            "config.lift.start=class_means"
        )
    return np.asarray(found["kernel"], np.float32)


def with_kernel(variables: Tree, kernel: Any) -> Tree:
    """The variables with the columns of this kernel [d, C], of length 1, as those of the classifier."""
    params = variables["params"]
    before = params["head"]["classifier"]["kernel"]
    made = unit(jnp.asarray(kernel, before.dtype), axis=0)
    head = {**params["head"], "classifier": {**params["head"]["classifier"], "kernel": made}}
    return {**variables, "params": {**params, "head": head}}


def ensembled(network: Network, expand: int) -> Predict:
    """The mean logits of five crops of the image, enlarged by this number of pixels: its centre and its corners."""

    def predict(variables: Tree, images: jax.Array) -> jax.Array:
        side = network.size or images.shape[1]
        larger = enlarged(normalised(images, network.mean, network.std, network.dtype), side + expand)
        corners = [(0, 0), (0, expand), (expand, 0), (expand, expand), (expand // 2, expand // 2)]
        crops = jnp.stack([larger[:, top : top + side, left : left + side] for top, left in corners])
        return jax.lax.map(lambda crop: evaluate_network(network, variables, crop).logits, crops).mean(0)

    return predict


WORDS: dict[str, Word] = {
    "zero_shot": {"lift.zero_shot": True, "lift.scale": 100.0, "tuning.name": "all"},
    "class_means": {"lift.start": "class_means"},
    "imagenet21k": {"model.backbone": "vit_b16", "lift.start": "class_means"},
    "tuning": sets("tuning.name", str),
    "ensemble": {"lift.ensemble": "predict"},
    "report_ensemble": {"lift.ensemble": "report"},
    "start": sets("lift.start", str),
    "loss": sets("lift.loss", str),
    "rate": sets("optimizer.learning_rate"),
}
