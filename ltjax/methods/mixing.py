"""mixup, CutMix, remix: every image of a batch is blended with another one of the batch, or gets a box of it pasted.

On the device, inside the objective, by the step's key; one share (and one box) a batch, as in the authors' code.
``with_mix`` gives any method whose images have losses of their own the settings config.mix: its objective runs once for
each of the two labels on the outputs of one pass, and every term is shared out between them.

Zhang et al., "mixup: Beyond empirical risk minimization", ICLR 2018, section 2. Yun et al., "CutMix: Regularization
strategy to train strong classifiers with localizable features", ICCV 2019, section 3.1. Chou et al., "Remix: Rebalanced
mixup", ECCV workshops 2020, equations 5 to 7.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.data import Data
from ltjax.errors import InputError
from ltjax.methods.stage import AnyStage, Apply, Batch, Context, Outcome, Stage, Term, Tree, under
from ltjax.settings import MixSettings, Settings

OWN_DRAWS = 1  # folded into the step's key: what a mixed objective draws itself


class Mixed(NamedTuple):
    """A mixed batch; ``ltjax.losses.mixup_loss`` takes the last three."""

    images: jax.Array  # of the shape and dtype that came in
    labels_a: jax.Array  # [B], those of the batch
    labels_b: jax.Array  # [B], those of the images mixed in
    lam: jax.Array  # in [0, 1], the share of labels_a: a scalar, or [B] (remix)

    @property
    def larger(self) -> jax.Array:
        """[B]: the label of the larger share in each."""
        return jnp.where(self.lam >= 0.5, self.labels_a, self.labels_b)


def mix(
    key: jax.Array, images: jax.Array, labels: jax.Array, alpha: float, probability: float = 1.0, stream: int = 0
) -> Mixed:
    """``lam x_i + (1 - lam) x_j`` with ``lam ~ Beta(alpha, alpha)``, one a batch, and j a random order of the batch.

    Args:
      key: of this step (context.key).
      images: [B, H, W, channels]; uint8 stays uint8, rounded to the nearest level, so that the network normalises it
        as it does any image. Floats are mixed as they are.
      labels: int [B].
      alpha: 0 mixes nothing (lam = 1); 1 draws the share uniformly.
      probability: of the batch being mixed; else lam = 1.
      stream: of several streams of a step, which have the same share, the number; each has an order of its own.

    Returns:
      ``Mixed(images, labels_a, labels_b, lam)``.

    Example:
      >>> mixed = mix(jax.random.key(0), jnp.zeros([4, 2, 2, 1], jnp.uint8), jnp.arange(4), alpha=1.0)
      >>> mixed.images.dtype, mixed.labels_a.tolist(), sorted(mixed.labels_b.tolist()), 0 <= mixed.lam <= 1
      (dtype('uint8'), [0, 1, 2, 3], [0, 1, 2, 3], Array(True, dtype=bool))
    """
    share_key, order_key = jax.random.split(key)
    lam = _share(share_key, alpha, probability)
    other = _order(order_key, stream, len(labels))
    exact = jnp.promote_types(images.dtype, jnp.float32)
    # the others are picked as they are stored: over several devices it is a quarter of what their floats would be
    blend = lam * images.astype(exact) + (1 - lam) * images[other].astype(exact)
    if jnp.issubdtype(images.dtype, jnp.integer):
        blend = jnp.round(blend)
    return Mixed(blend.astype(images.dtype), labels, labels[other], lam)


def paste(
    key: jax.Array, images: jax.Array, labels: jax.Array, alpha: float, probability: float = 1.0, stream: int = 0
) -> Mixed:
    """CutMix: a box of each image is replaced by the same box of another one.

    The box is that of ``box`` with ``share ~ Beta(alpha, alpha)``; ``lam`` is the share of the pixels that is left.

    Args:
      key: of this step (context.key).
      images: [B, H, W, channels], of any dtype.
      labels: int [B].
      alpha: 0 pastes nothing (lam = 1); 1 draws the share uniformly.
      probability: of the batch being mixed; else lam = 1.
      stream: of several streams of a step, which have the same box, the number; each has an order of its own.

    Returns:
      ``Mixed(images, labels_a, labels_b, lam)``.

    Example:
      >>> pasted = paste(jax.random.key(1), jnp.zeros([2, 8, 8, 1], jnp.uint8), jnp.arange(2), alpha=1.0)
      >>> pasted.images.shape, pasted.images.dtype, 0 <= float(pasted.lam) <= 1
      ((2, 8, 8, 1), dtype('uint8'), True)
    """
    share_key, order_key, middle_key = jax.random.split(key, 3)
    inside = box(middle_key, images.shape[1:3], _share(share_key, alpha, probability))
    other = _order(order_key, stream, len(labels))
    return Mixed(jnp.where(inside[..., None], images[other], images), labels, labels[other], 1 - jnp.mean(inside))


def box(key: jax.Array, sides: Sequence[int], share: jax.Array) -> jax.Array:
    """bool [H, W]: CutMix's box, whose sides are those of the image times ``sqrt(1 - share)``.

    Its middle lies anywhere inside the image; it is clipped to the image.
    """
    size = jnp.array(sides)
    half = (size * jnp.sqrt(1 - share)).astype(jnp.int32) // 2
    middle = jax.random.randint(key, (2,), 0, size)
    rows, columns = (
        (jnp.arange(side) >= middle[i] - half[i]) & (jnp.arange(side) < middle[i] + half[i])
        for i, side in enumerate(sides)
    )
    return rows[:, None] & columns[None, :]


def remix(
    key: jax.Array,
    images: jax.Array,
    labels: jax.Array,
    alpha: float,
    probability: float = 1.0,
    stream: int = 0,
    *,
    class_counts: Any,
    kappa: float = 3.0,
    tau: float = 0.5,
) -> Mixed:
    """mixup whose label goes to the rarer class alone, where its share of the image is large enough.

    Equation 7, for classes of n_i and n_j training images: the share of the label i is 0 where ``n_i / n_j >= kappa``
    and ``lam < tau``, 1 where ``n_i / n_j <= 1 / kappa`` and ``1 - lam < tau``, else lam.

    Args:
      key, images, labels, alpha, probability, stream: those of ``mix``.
      class_counts: [C].
      kappa: the ratio of two classes' images from which on their pairs are treated so, at least 1.
      tau: the share of the image of the frequent class below which its label does not count.

    Returns:
      ``Mixed(images, labels_a, labels_b, lam)``, lam [B] being the shares of the labels.
    """
    mixed = mix(key, images, labels, alpha, probability, stream)
    counts = jnp.asarray(np.asarray(class_counts), mixed.lam.dtype)
    ours, theirs, lam = counts[mixed.labels_a], counts[mixed.labels_b], mixed.lam
    for_theirs = (ours >= kappa * theirs) & (lam < tau)
    for_ours = (theirs >= kappa * ours) & (1 - lam < tau)
    return mixed._replace(lam=jnp.where(for_theirs, 0, jnp.where(for_ours, 1, lam)))


def _order(key: jax.Array, stream: int, size: int) -> jax.Array:
    return jax.random.permutation(jax.random.fold_in(key, stream) if stream else key, size)


def _share(key: jax.Array, alpha: float, probability: float) -> jax.Array:
    if alpha == 0 or probability == 0:
        return jnp.ones(())
    # Beta(1, 1) is uniform, without the rejection loops of a gamma variate
    share = jax.random.uniform(key) if alpha == 1 else jax.random.beta(key, alpha, alpha)
    if probability == 1:
        return share
    return jnp.where(jax.random.uniform(jax.random.fold_in(key, 1)) < probability, share, 1)


def blend(terms_a: Mapping[str, Term], terms_b: Mapping[str, Term], lam: jax.Array) -> dict[str, Term]:
    """The objective's terms for a mixed batch: those for the labels a in the share ``lam``, those for b in the rest.

    Each term is reduced by its own weights first, so that a term over few of the labels stays a mean over these.

    Example:
      >>> ones, fives = Term(jnp.ones(3)), Term(jnp.full(3, 5.0), jnp.array([1.0, 0.0, 0.0]))
      >>> float(blend({"x": ones}, {"x": fives}, jnp.float32(0.75))["x"].mean())
      2.0
    """
    return {
        name: Term(lam * term.mean() + (1 - lam) * terms_b[name].mean(), None, term.scale)
        for name, term in terms_a.items()
    }


Draw = Callable[..., Mixed]  # (key, images, labels, stream=number) -> Mixed


def with_mix(stages: Sequence[AnyStage], config: Settings, data: Data) -> list[AnyStage]:
    """The stages, of which those that train the backbone on images mix them as config.mix says.

    A stage that trains a classifier on a frozen backbone sees images as they are: mixing is for the representation
    (Zhong et al., "Improving calibration for long-tailed recognition", CVPR 2021, section 3.1).
    """
    settings = config.mix
    if settings.name == "none":
        return list(stages)
    draw = drawn_by(settings, data)

    def mixed(stage: AnyStage) -> AnyStage:
        if not isinstance(stage, Stage) or not _trains_backbone(stage):
            return stage
        # remix: its labels are those of rarer classes, by shares that nobody knows
        prior = None if settings.name == "remix" else stage.prior
        return dataclasses.replace(mixed_stage(stage, draw), prior=prior)

    return [mixed(stage) for stage in stages]


def drawn_by(settings: MixSettings, data: Data) -> Draw:
    """The function that mixes a batch, for config.mix.name other than none."""
    for_rare = functools.partial(remix, class_counts=data.class_counts, kappa=settings.kappa, tau=settings.tau)
    functions: dict[str, Draw] = {"mixup": mix, "cutmix": paste, "remix": for_rare}
    return functools.partial(functions[settings.name], alpha=settings.alpha, probability=settings.probability)


def _trains_backbone(stage: Stage) -> bool:
    trainable = stage.updates.trainable
    on_images = stage.representation is None
    return on_images and (not trainable or any(under(prefix, "backbone") for prefix in trainable))


def mixed_stage(stage: Stage, draw: Draw, name: str = "mix") -> Stage:
    """The stage on mixed images: its objective for either label of each image, in the shares of both.

    The network runs once; what the objective makes of its outputs is computed for the labels a, for the labels b, and,
    for the metrics, for those of the larger share. Every stream is mixed within itself, all in the same share. The
    share is logged as <name>/lam.

    Args:
      stage: its objective gives each image a loss of its own, and reads the labels of its batch alone.
      draw: see ``Draw``.
      name: of the logged share.
    """

    def objective(apply: Apply, params: Tree, model_state: Tree, batch: Batch, context: Context) -> Outcome:
        mixed = {
            stream: draw(context.key, batch[stream]["image"], batch[stream]["label"], stream=number)
            for number, stream in enumerate(sorted(batch))
        }
        once = _Once(apply)
        inner = context._replace(key=jax.random.fold_in(context.key, OWN_DRAWS))

        def outcome(labels_of: Callable[[Mixed], jax.Array]) -> Outcome:
            changed = {
                stream: {**batch[stream], "image": of.images, "label": labels_of(of)} for stream, of in mixed.items()
            }
            return stage.objective(once.again(), params, model_state, changed, inner)

        of_a, of_b = outcome(lambda of: of.labels_a), outcome(lambda of: of.labels_b)
        seen = outcome(lambda of: of.larger).metrics
        if of_a.extras is not None:
            raise InputError(
                f"config.mix.name: stage '{stage.name}' keeps running values of its images and labels, which a mixed "
                "image has two of; use none"
            )
        lam = next(iter(mixed.values())).lam
        if lam.ndim and len(mixed) > 1:
            raise InputError(
                f"config.mix.name: remix gives every image a share of its own, and stage '{stage.name}' has "
                f"{len(mixed)} streams of images in one loss; use mixup or cutmix"
            )
        terms = {term: shared_out(of_a.terms[term], of_b.terms[term], lam, stage.name) for term in of_a.terms}
        return Outcome(terms, of_a.model_state, {**seen, f"{name}/lam": jnp.mean(lam)})

    return dataclasses.replace(stage, objective=objective)


def shared_out(of_a: Term, of_b: Term, lam: jax.Array, stage: str = "") -> Term:
    """The term of mixed images: the values for the labels a in the share ``lam``, those for b in the rest.

    ``sum(lam w_a v_a + (1 - lam) w_b v_b) / sum(lam w_a + (1 - lam) w_b)``. Where the labels b are those of the batch
    in another order, and one share is for all, it is ``lam`` times the mean for a plus ``1 - lam`` times that for b.

    Args:
      of_a, of_b: values of one shape, the images on the last axis if ``lam`` is [B].
      lam: a scalar or [B].
      stage: its name, for errors.

    Raises:
      InputError: for a share for each image, and values that are not of single images.

    Example:
      >>> ones, fives = Term(jnp.ones(2), jnp.array([1.0, 0.0])), Term(jnp.full(2, 5.0), jnp.array([0.0, 1.0]))
      >>> float(shared_out(ones, fives, jnp.float32(0.75)).mean())
      2.0
    """
    if lam.ndim and of_a.values.shape[-1:] != lam.shape:
        raise InputError(
            f"config.mix.name: remix gives every image a share of its own, and the loss of stage '{stage}' is not one "
            "of each image; use mixup or cutmix"
        )
    lam = lam.astype(of_a.values.dtype)
    if of_a.weights is None and of_b.weights is None:
        return Term(lam * of_a.values + (1 - lam) * of_b.values, None, of_a.scale)
    parts = [(share * _ones_if_none(term), term.values) for share, term in ((lam, of_a), (1 - lam, of_b))]
    weights = parts[0][0] + parts[1][0]
    total = sum(jnp.where(weight == 0, 0, weight * values) for weight, values in parts)
    return Term(total / jnp.where(weights == 0, 1, weights), weights, of_a.scale)


def _ones_if_none(term: Term) -> jax.Array:
    return jnp.ones_like(term.values) if term.weights is None else term.weights


class _Once:
    """A network whose n-th call of every run of an objective is that of the first run: the images are the same."""

    def __init__(self, apply: Apply) -> None:
        self.apply = apply
        self.made: list[tuple[Any, Tree]] = []
        self.calls = 0

    def again(self) -> "_Once":
        """The same network at the beginning of another run."""
        self.calls = 0
        return self

    def __call__(
        self, params: Tree, model_state: Tree, images: jax.Array, train: bool = True, **options: Any
    ) -> tuple[Any, Tree]:
        if self.calls == len(self.made):
            self.made.append(self.apply(params, model_state, images, train, **options))
        self.calls += 1
        return self.made[self.calls - 1]
