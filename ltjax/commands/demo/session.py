"""What the page asks of a finished run: uploads in, answers out. Nothing here knows Gradio."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from etils import epath

from ltjax.commands.demo.neighbours import Index, Neighbour, build_index, key_of, padded, read_index
from ltjax.commands.demo.uploads import Upload
from ltjax.data import Data
from ltjax.errors import InputError
from ltjax.inference.model import Model
from ltjax.training.workdir.json_files import Record

TOP = 5  # classes of an answer
NEAREST = 6  # training images of an answer
BATCH = 8  # images of a call of the network


class Share(NamedTuple):
    """A class of an answer: its label and its probability."""

    label: int
    probability: float


class Answer(NamedTuple):
    """What the run makes of an image.

    Attributes:
      upload: the image.
      image: uint8 [H, W, channels], as the network got it.
      shares: the likeliest classes, the likeliest first.
      neighbours: the nearest training images, nearest first; none without their features.
    """

    upload: Upload
    image: npt.NDArray[np.uint8]
    shares: list[Share]
    neighbours: list[Neighbour]


@dataclasses.dataclass(frozen=True)
class Session:
    """A run that is open.

    Attributes:
      name: the workdir's name.
      model: the model.
      results: the content of results.json.
      index: the features of the training images; None without them.
      about_neighbours: a sentence about what is not there; "" where nothing is missing.
    """

    name: str
    model: Model
    results: Record
    index: Index | None
    about_neighbours: str

    def answers(self, uploads: Sequence[Upload]) -> tuple[list[Answer], list[str]]:
        """The answers, and a line for each image that cannot be read."""
        images, kept, problems = [], [], []
        for upload in uploads:
            try:
                images.append(self.model.preprocess(upload.path))
                kept.append(upload)
            except (InputError, OSError) as error:
                reason = str(error).removeprefix(f"{upload.path} cannot be read: ")
                problems.append(f"{upload.name}: {reason.replace(upload.path, upload.name)}")
        found: list[Answer] = []
        for begin in range(0, len(kept), BATCH):
            found += self._batch(kept[begin : begin + BATCH], np.stack(images[begin : begin + BATCH]))
        return found, problems

    def _batch(self, uploads: Sequence[Upload], images: npt.NDArray[np.uint8]) -> list[Answer]:
        outputs = self.model(padded(images, BATCH))
        count = len(uploads)
        probabilities = calibrated(outputs.logits, outputs.probabilities, self.model.temperature)[:count]
        nearest: list[list[Neighbour]] = [[] for _ in uploads]
        if self.index is not None:
            nearest = self.index.nearest(np.asarray(outputs.features)[:count], NEAREST)
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :TOP]
        return [
            Answer(upload, image, [Share(int(k), float(row[k])) for k in labels], neighbours)
            for upload, image, row, labels, neighbours in zip(
                uploads, images, probabilities, order, nearest, strict=True
            )
        ]


def calibrated(
    logits: npt.ArrayLike, probabilities: npt.ArrayLike, temperature: float | None
) -> npt.NDArray[np.float64]:
    """Probabilities [B, C]: the softmax of the logits over the temperature; without one, those given.

    Example:
      >>> [calibrated([[0.0, 2.0]], [[0.1, 0.9]], t).round(3).tolist() for t in (2.0, None)]
      [[[0.269, 0.731]], [[0.1, 0.9]]]
    """
    if temperature is None:
        return np.asarray(probabilities, np.float64)
    scaled = np.asarray(logits, np.float64) / temperature
    weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def training_index(
    workdir: epath.Path,
    model: Model,
    training_set: str,
    read_data: Callable[[], Data],
    build: bool,
    report: Callable[[str], None],
) -> tuple[Index | None, str]:
    """The features of the training images, and a sentence about what is not there.

    Args:
      workdir: the run's.
      model: its model.
      training_set: the hash of its training set.
      read_data: reads the data set where the run's config has it; InputError if it isn't there.
      build: compute the features if they are not in the workdir.
      report: shows a line.
    """
    key = key_of(model, training_set)
    stored = read_index(workdir, key, None)
    if stored is None and not build:
        return None, "To see the nearest training images, start the page with --neighbours."
    try:
        data = read_data()
        if data.fingerprint != training_set:
            raise InputError("they are others than those that the run was trained on")
    except InputError as error:
        report(f"note: no training images: {error}")
        lack = "The training images are not there" + ("" if stored is None else ": only the classes of the nearest")
        return stored, lack + ("." if stored is None else " are shown.")
    if stored is not None:
        return dataclasses.replace(stored, source=data.train), ""
    total = len(data.train)

    def progress(done: int) -> None:
        if done == total or done // 64 % 16 == 0:
            report(f"features of the training images: {done} of {total}")

    return build_index(workdir, key, model, data.train, progress), ""
