"""A finished run as a model: images to logits, features and probabilities, for Python and for other JAX code.

    import ltjax

    model = ltjax.load("runs/mine")
    image = model.preprocess("photo.jpg")
    outputs = model(image[None])
    print(model.class_names[int(outputs.probabilities[0].argmax())])

The workdir is all that is needed, not the training data.
"""

import dataclasses
import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ltjax.arrays import any_promotion
from ltjax.errors import InputError
from ltjax.inference.preprocessing import preprocess
from ltjax.methods.stage import Tree
from ltjax.training.execution.seeds import over_seeds, seed_axis
from ltjax.training.finished_run import Finished, open_model, read_config
from ltjax.training.workdir.calibration import read_temperature
from ltjax.training.workdir.identity import absolute

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

Images: TypeAlias = jax.Array | npt.NDArray[np.generic]


class Outputs(NamedTuple):
    """What a model makes of a batch of images; all are float32, or float64 where the run was trained in it.

    Attributes:
      logits: [B, C], before the softmax. Of several networks (seeds): the logarithm of ``probabilities``. Of images
        with several labels: before a sigmoid for each class; of several networks the log odds.
      features: [B, D], what the classifier takes; those of several experts and of several seeds one after the other.
      probabilities: [B, C], the softmax of the logits, of images with several labels their sigmoid; of several networks
        the mean of theirs. Not calibrated: with a
        temperature they are ``jax.nn.softmax(logits / model.temperature)``.
    """

    logits: jax.Array
    features: jax.Array
    probabilities: jax.Array


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained model; ``ltjax.load`` makes it.

    Attributes:
      apply: (variables, images) -> Outputs. A pure function that is not compiled: take its gradient, ``vmap`` it, call
        it in a program of yours. Images are as in ``__call__``.
      variables: {"params": ..., "batch_stats": ...} on the default device; with several seeds every array has a
        leading seed axis.
      method: the name of the method that trained it.
      dataset: the name of its data set.
      class_names: C names; the numbers of the classes where the data set has no names.
      class_counts: training images of each class, C numbers.
      image_shape: (H, W, channels) of the images that the network takes.
      resize: pixels of an image's shorter side before the central H x W crop.
      interpolation: of that resizing, "bilinear" or "bicubic".
      mean, std: of each channel, for images scaled to 0 .. 1. The model applies them.
      temperature: what calibrated probabilities divide the logits by; None where none was fitted.
    """

    apply: Callable[[Tree, Images], Outputs]
    variables: Tree
    method: str
    dataset: str
    class_names: tuple[str, ...]
    class_counts: tuple[int, ...]
    image_shape: tuple[int, int, int]
    resize: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    temperature: float | None
    interpolation: str = "bilinear"

    def __call__(self, images: Images) -> Outputs:
        """The outputs for images, compiled once for each number of images.

        Args:
          images: [B, H, W, channels], of ``image_shape``: uint8, or float from 0 to 1.

        Raises:
          InputError: for images of another shape or type.
        """
        return self._compiled(self.variables, images)

    @functools.cached_property
    def _compiled(self) -> Callable[[Tree, Images], Outputs]:
        return jax.jit(self.apply)

    def preprocess(self, image: "str | os.PathLike[str] | PillowImage | Images") -> npt.NDArray[np.uint8]:
        """An image as the model takes it: upright, resized and cropped as the test images of the run were.

        Args:
          image: the path of a file, a Pillow image, or an array [h, w], [h, w, 1] or [h, w, 3], uint8 or float from 0
            to 1.

        Returns:
          uint8, of ``image_shape``; grey where the run's images are.

        Raises:
          InputError: for a file that cannot be read, or an array that is no image.
        """
        return preprocess(image, self.image_shape, self.resize, self.interpolation)


def load(run: "str | os.PathLike[str]") -> Model:
    """The model that a finished run has trained: its last checkpoint, restored from the workdir alone.

    Args:
      run: the workdir.

    Raises:
      InputError: no run, an unfinished run, damaged or diverged weights; a float64 run without ``jax_enable_x64``.
    """
    folder = os.fspath(run)
    if read_config(folder, "run").dtype == "float64" and jnp.zeros(()).dtype != jnp.float64:
        raise InputError(f"run={run}: was trained in float64; call jax.config.update('jax_enable_x64', True) first")
    return of_finished(open_model(folder, {}, key="run", several_labels=True), folder)


def of_finished(finished: Finished, folder: str) -> Model:
    """The model of a run that is open, and whose workdir is ``folder``."""
    record = finished.model
    return Model(
        apply=apply_of(finished),
        variables=jax.tree.map(lambda x: jnp.asarray(np.asarray(x)), finished.variables),
        method=finished.config.method,
        dataset=record.dataset,
        class_names=record.names,
        class_counts=record.class_counts,
        image_shape=record.image_shape,
        resize=record.resize,
        mean=record.mean,
        std=record.std,
        temperature=read_temperature(absolute(folder), record.fingerprint),
        interpolation=record.interpolation,
    )


def apply_of(finished: Finished) -> Callable[[Tree, Images], Outputs]:
    """(variables, images) -> Outputs, of one network or of several seeds."""
    stage, shape = finished.stage, finished.model.image_shape
    mean, std = np.array(finished.model.mean, np.float32), np.array(finished.model.std, np.float32)
    axis = seed_axis(finished.config, jax.default_backend())

    def one(variables: Tree, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        features = stage.network.apply(variables, images, train=False).features  # one program shares the common work
        return stage.predict(variables, images), features

    several = over_seeds(one, axis, (0, None))

    @any_promotion
    def apply(variables: Tree, images: Images) -> Outputs:
        logits, features = several(variables, as_network_input(images, shape, mean, std))
        if finished.model.several_labels:
            probabilities = jax.nn.sigmoid(logits)
            if axis[0] > 1:
                probabilities = probabilities.mean(0)
                logits = jnp.log(probabilities) - jnp.log1p(-probabilities)
            return Outputs(logits, side_by_side(features), probabilities)
        probabilities = jax.nn.softmax(logits)
        if axis[0] > 1:
            probabilities = probabilities.mean(0)
            logits = jax.nn.logsumexp(jax.nn.log_softmax(logits), 0) - np.log(axis[0])
        return Outputs(logits, side_by_side(features), probabilities)

    return apply


def as_network_input(
    images: Images, shape: tuple[int, int, int], mean: npt.NDArray[np.float32], std: npt.NDArray[np.float32]
) -> jax.Array:
    """uint8 images as they are, which the network normalises; float images from 0 to 1 normalised.

    Raises:
      InputError: for images of another shape or type.
    """
    images = jnp.asarray(images)
    if images.ndim != 4 or images.shape[1:] != shape:
        raise InputError(
            f"images: shape {list(images.shape)}; the model takes {['B', *shape]} (model.preprocess makes an image so)"
        )
    if images.dtype == jnp.uint8:
        return images
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise InputError(f"images: dtype {images.dtype} is neither uint8 (0 .. 255) nor float (0 .. 1); convert them")
    return (images - mean) / std


def side_by_side(features: jax.Array) -> jax.Array:
    """[..., B, D] -> [B, ... * D]: the features of several networks or experts of an image, one after the other.

    Example:
      >>> side_by_side(jnp.arange(12).reshape(2, 3, 2)).tolist()
      [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]
    """
    return jnp.moveaxis(features, -2, 0).reshape(features.shape[-2], -1)
