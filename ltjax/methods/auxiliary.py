"""CBS+RRS+SS: auxiliary learning for long-tailed recognition (Zhang et al., To Balance or not to Balance, 2019).

Class-balanced sampling (CBS) trains the classifier h that is used; regular random sampling (RRS) trains a second one,
and telling how an image was turned (SS, self-supervision) a third. All share the feature extractor f, which so learns
from all images while h sees balanced classes only. One step (algorithm 1) with S = config.batch_size:

    balanced = Z images of each of S / Z distinct classes              random = S images
    turned   = each of these 2S images, turned by 0, 90, 180 or 270 degrees
    loss     = w1 CE(h(f(balanced))) + w2 CE(h_a(f(random))) + w3 CE(h_s(f(turned)))        (eq. 2)

After training h_a and h_s are thrown away: the last stage has the parameters of a plain network.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.class_counts import frequency_order
from ltjax.data import Data
from ltjax.data.sampling.class_cycle import distinct_classes
from ltjax.data.sampling.sampler import Sampler
from ltjax.losses import cross_entropy, rotate
from ltjax.methods.common import (
    accuracy,
    build_network,
    carry_over,
    classify,
    configured_sampler,
    dtypes,
    evaluate_network,
    fresh,
    predicts,
    rates,
    sampled_prior,
    uniform_prior,
    watched,
)
from ltjax.methods.stage import (
    AnyStage,
    Apply,
    Batch,
    ClosedForm,
    Context,
    Features,
    Outcome,
    Previous,
    Stage,
    Start,
    Term,
    Tree,
    Updates,
)
from ltjax.methods.views import together
from ltjax.models import AuxiliaryHead, LinearHead, Network
from ltjax.settings import Block, Check, Settings, config_file, setting
from ltjax.settings.config_dict import Config
from ltjax.settings.config_file import Word, sets
from ltjax.settings.schema import integer, one_of

ONLY_IN_TRAINING = ("auxiliary", "rotation")  # h_a and h_s, as the head names them
TASKS = ("random", "all_four")  # the angle is predicted, of one turned copy of each image or of all four
AUGMENTATIONS = ("augmentation", "augmentation_all_four")  # the turned copies are classified instead (table 5)
ROTATIONS = (*TASKS, *AUGMENTATIONS, "none")


_weights = Check(
    lambda v: len(v) == 3 and all(0 <= w < float("inf") for w in v) and v[0] > 0,
    "three numbers >= 0 (balanced, random, rotation), the first above 0: it trains the classifier that is used "
    "(table 4's 0:1 is the variant rrs_only)",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AuxiliarySettings(Block):
    """config.auxiliary; the paper's values where it has them (Zhang et al., 2019, section 4.4)."""

    variant: str = setting(
        "joint",
        "the form of the method: joint (CBS+RRS+SS), rrs_only, cbs_only, or finetuned (ftRRS+CBS, two stages)",
        one_of("joint", "rrs_only", "cbs_only", "finetuned"),
    )
    weights: tuple[float, ...] = setting(
        (0.5, 1.0, 1.0), "weights of the balanced, the random and the rotation loss (eq. 2), not normalised", _weights
    )
    rotation: str = setting(
        "random",
        "the rotation task: random (predict one random angle of each image), all_four (each image "
        "at all four angles), none; or rotation without a task: augmentation (classify each image "
        "upright and turned), augmentation_all_four (at all four angles)",
        one_of(*ROTATIONS),
    )
    images_per_class: int | None = setting(
        None,
        "images of each class (Z) in a class-balanced batch, a divisor of config.batch_size; None "
        "= the paper's 4, or the next number that divides the batch and needs no more distinct "
        "classes than there are",
        integer(1),
    )
    finetune_classifier: str = setting(
        "new",
        "for variant=finetuned: the second stage's classifier is new, or kept from the first",
        one_of("new", "kept"),
    )


def short(config: Config, value: str) -> None:
    """The common ``short``, in both stages."""
    config_file.short(config, value)
    config_file.add_second_stage(config, 10)


def weights(config: Config, value: str) -> None:
    """``weights=1:1`` (table 4) or ``weights=1:1:0.5``; what is left out stays."""
    given = tuple(float(number) for number in value.split(":"))
    config.auxiliary.weights = given + tuple(config.auxiliary.weights)[len(given) :]


WORDS: dict[str, Word] = {
    "rrs_only": {"auxiliary.variant": "rrs_only"},
    "cbs_only": {"auxiliary.variant": "cbs_only"},
    "ft": {"auxiliary.variant": "finetuned"},
    "no_ss": {"auxiliary.rotation": "none"},
    "rotation": sets("auxiliary.rotation", str),
    "weights": weights,
    "images_per_class": sets("auxiliary.images_per_class", int),
    "short": short,
}


def auxiliary(config: Settings, settings: AuxiliarySettings, data: Data) -> list[AnyStage]:
    """The variant that config.auxiliary names: the method, or what the paper compares it with."""
    return VARIANTS[settings.variant](watching(config, data), settings, data)


def joint(config: Settings, settings: AuxiliarySettings, data: Data) -> list[AnyStage]:
    """CBS+RRS+SS, and CBS+RRS where the rotation is no task; the stage after it has f and h alone."""
    head = AuxiliaryHead(data.num_classes, rotation=settings.rotation in TASKS, **dtypes(config))
    network = build_network(config, data, head)

    def predict(variables: Tree, images: jax.Array) -> jax.Array:
        return evaluate_network(network, variables, images, classifiers=("primary",)).logits["primary"]

    train = Stage(
        "train",
        network=network,
        epochs=config.epochs,
        optimizer=config.optimizer,
        streams={"balanced": class_balanced_batches(config, settings, data), "random": configured_sampler(config)},
        init=fresh(network, data),
        objective=joint_objective(config, settings),
        predict=predict,
        updates=Updates(rates=rates(config.optimizer)),
        epoch_size=epoch_size(config, data),
        prior=uniform_prior(data),
    )
    plain = plain_network(config, data)
    return [
        train,
        ClosedForm(
            "primary", network=plain, init=without_auxiliary, predict=predicts(plain), prior=uniform_prior(data)
        ),
    ]


def joint_objective(config: Settings, settings: AuxiliarySettings) -> Callable[..., Outcome]:
    """Eq. 2."""
    rotation = settings.rotation
    balanced_weight, random_weight, rotation_weight = settings.weights

    def objective(apply: Apply, params: Tree, model_state: Tree, batch: Batch, context: Context) -> Outcome:
        images, labels = (together(batch["balanced"][key], batch["random"][key]) for key in ("image", "label"))
        if rotation in AUGMENTATIONS:
            images = augmented(rotation, context.key, images)
            labels = copied(labels, images)
        outputs, model_state = apply(params, model_state, images, classifiers=("primary", "auxiliary"))
        size = len(batch["balanced"]["label"])
        balanced, balanced_labels = (by_stream(x, size)[0] for x in (outputs.logits["primary"], labels))
        random, random_labels = (by_stream(x, size)[1] for x in (outputs.logits["auxiliary"], labels))
        balanced_loss, random_loss = cross_entropy(balanced, balanced_labels), cross_entropy(random, random_labels)
        terms = {
            "balanced": Term(balanced_loss, scale=balanced_weight),
            "random": Term(random_loss, scale=random_weight),
        }
        metrics = {
            "accuracy": accuracy(balanced, balanced_labels),
            "accuracy/random": accuracy(random, random_labels),
            **watched(config, balanced_loss, balanced_labels),
            **{f"{name}/random": loss for name, loss in watched(config, random_loss, random_labels).items()},
        }
        if rotation in TASKS:
            turned, angles = turn(rotation, context.key, images)
            outputs, model_state = apply(params, model_state, turned, classifiers=("rotation",))
            terms["rotation"] = Term(cross_entropy(outputs.logits["rotation"], angles), scale=rotation_weight)
            metrics["accuracy/rotation"] = accuracy(outputs.logits["rotation"], angles)
        return Outcome(terms, model_state, metrics)

    return objective


def turn(rotation: str, key: jax.Array, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Turned images of a joint batch and their angles: each by a random one, or each by all four."""
    if rotation.endswith("all_four"):
        angles = jnp.tile(jnp.arange(4, dtype=jnp.int32), len(images))
        return rotate(together(*[images] * 4), angles), angles
    drawn = jax.random.randint(key, (2, len(images) // 2), 0, 4, dtype=jnp.int32)  # of one stream, then of the other
    angles = together(*drawn)
    return rotate(images, angles), angles


def augmented(rotation: str, key: jax.Array, images: jax.Array) -> jax.Array:
    """What the rotation task would have seen beside the images themselves, upright ones only once."""
    turned, _ = turn(rotation, key, images)
    return turned if rotation.endswith("all_four") else together(images, turned)


def copied(labels: jax.Array, images: jax.Array) -> jax.Array:
    """The labels of all copies of each image."""
    return together(*[labels] * (len(images) // len(labels)))


def by_stream(values: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """(balanced, random) parts of what was made of a joint batch of two times ``size`` images, of all their copies."""
    copies = values.reshape(size, 2, -1, *values.shape[1:])
    return copies[:, 0].reshape(-1, *values.shape[1:]), copies[:, 1].reshape(-1, *values.shape[1:])


def without_auxiliary(key: jax.Array, previous: Previous | None, features: Features) -> Start:
    """f and h as they were trained."""
    del key, features
    assert previous is not None
    params = {**previous.variables["params"]}
    params["head"] = {name: array for name, array in params["head"].items() if name not in ONLY_IN_TRAINING}
    return Start({**previous.variables, "params": params})


def rrs_only(config: Settings, settings: AuxiliarySettings, data: Data) -> list[AnyStage]:
    """Regular random sampling: conventional training."""
    return [plain_stage("train", config, settings, data, "random")]


def cbs_only(config: Settings, settings: AuxiliarySettings, data: Data) -> list[AnyStage]:
    """Class-balanced sampling from the first step on."""
    return [plain_stage("train", config, settings, data, "balanced")]


def finetuned(config: Settings, settings: AuxiliarySettings, data: Data) -> list[AnyStage]:
    """ftRRS+CBS (table 3): regular random sampling first, then all of the network under class-balanced sampling."""
    network = plain_network(config, data)
    reinitialise = ("head/classifier",) if settings.finetune_classifier == "new" else ()
    epochs, optimizer = config.second_stage()
    finetune = plain_stage(
        "finetune",
        config,
        settings,
        data,
        "balanced",
        epochs=epochs,
        optimizer=optimizer,
        init=carry_over(network, data, reinitialise=reinitialise),
        updates=Updates(rates=rates(optimizer)),
    )
    return [plain_stage("train", config, settings, data, "random"), finetune]


def plain_network(config: Settings, data: Data) -> Network:
    """f and h alone: what all variants are tested with."""
    return build_network(config, data, LinearHead(data.num_classes, **dtypes(config)))


def plain_stage(
    name: str, config: Settings, settings: AuxiliarySettings, data: Data, stream: str, **fields: Any
) -> Stage:
    """One classifier on one of the two streams."""
    network = plain_network(config, data)
    sampler = class_balanced_batches(config, settings, data) if stream == "balanced" else configured_sampler(config)
    usual: dict[str, Any] = {
        "epochs": config.epochs,
        "optimizer": config.optimizer,
        "init": fresh(network, data),
        "updates": Updates(rates=rates(config.optimizer)),
    }
    return Stage(
        name,
        network=network,
        streams={stream: sampler},
        objective=classify(stream, cross_entropy, config=config),
        predict=predicts(network),
        epoch_size=epoch_size(config, data),
        prior=uniform_prior(data) if stream == "balanced" else sampled_prior(config, data),
        **(usual | fields),
    )


def class_balanced_batches(config: Settings, settings: AuxiliarySettings, data: Data) -> Sampler:
    """Algorithm 1, lines 2 to 7."""
    present = int(np.count_nonzero(data.class_counts))
    wanted = settings.images_per_class or images_per_class(config.batch_size, present)
    return distinct_classes(config.batch_size, wanted)


def images_per_class(batch_size: int, num_classes: int) -> int:
    """The paper's Z = 4, or the smallest above it that divides the batch and asks for no more classes than there are.

    Example:
      >>> images_per_class(128, 1000), images_per_class(128, 10), images_per_class(64, 10)
      (4, 16, 8)
    """
    fits = (z for z in range(4, batch_size) if batch_size % z == 0 and batch_size // z <= num_classes)
    return next(fits, batch_size)


def epoch_size(config: Settings, data: Data) -> int:
    """So that an epoch has ceil(N / S) steps: the random stream has seen every image."""
    return -(-len(data.train) // config.batch_size) * config.batch_size


def watching(config: Settings, data: Data) -> Settings:
    """The config, watching the most and the least frequent class (figure 2) if it watches none."""
    if config.watch_classes:
        return config
    order = frequency_order(data.class_counts)
    return dataclasses.replace(config, watch_classes=(int(order[0]), int(order[-1])))


VARIANTS: Mapping[str, Callable[[Settings, AuxiliarySettings, Data], list[AnyStage]]] = {
    "joint": joint,
    "rrs_only": rrs_only,
    "cbs_only": cbs_only,
    "finetuned": finetuned,
}
