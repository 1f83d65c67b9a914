"""predictions.csv and gallery.npz: what the network says of each test image, and some of the images.

The gallery has the pictures of the report: the most confidently wrong test images, and some of the rarest classes. Both
are of the first seed.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from ltjax import escape, metrics
from ltjax.class_counts import frequency_order, shot_groups
from ltjax.data import Data, Source
from ltjax.data.storage.paths import write_atomically
from ltjax.errors import InputError
from ltjax.settings import EvaluationSettings
from ltjax.training.evaluation import Answers

COLUMNS = (
    "path", "index", "label", "class", "prediction", "predicted_class", "probability", "label_probability", "seed",
)  # fmt: skip
WRONG = 24  # pictures of confidently wrong images
RAREST, OF_EACH = 8, 3  # classes, and pictures of each
SIDE = 128  # pixels of a picture's longer side, at most
BINS = 15  # of confidence, as in Guo et al. (2017)


def each_seed(answers: Answers) -> list[Answers]:
    """[N] or [S, N] -> one ``Answers`` [N] for each seed."""
    if np.ndim(answers.prediction) == 1:
        return [answers]
    return [Answers(*parts) for parts in zip(*answers, strict=True)]


def quality(answers: Answers, data: Data, settings: EvaluationSettings) -> list[dict[str, Any]]:
    """Macro-F1, and the expected calibration error of all images and of those of each group; one record a seed."""
    labels, classes = np.asarray(data.test.labels), data.num_classes
    boundaries = (tuple(settings.index_boundaries) or None) if settings.shots == "index" else None
    groups = {"all": np.ones(classes, bool)} | shot_groups(data.class_counts, settings.shots, boundaries=boundaries)
    records = []
    for one in each_seed(answers):
        right, errors = one.prediction == labels, {}
        for name, mask in groups.items():
            there = mask[labels]
            counters = metrics.count_confidences(one.probability[there], right[there], calibration_bins=BINS)
            error = metrics.expected_calibration_error(counters)
            errors[name] = None if np.isnan(error) else float(error)
        examples, correct = np.bincount(labels, minlength=classes), np.bincount(labels[right], minlength=classes)
        predicted = np.bincount(one.prediction[one.prediction >= 0], minlength=classes)
        f1 = metrics.macro_f1(metrics.Counters(examples, correct), predicted)
        records.append({"macro_f1": None if np.isnan(f1) else float(f1), "calibration_error": errors})
    return records


def path_of(source: Source, record: int) -> str:
    """The name of an image, or else where it is stored; "" if neither is known."""
    if source.names is not None:
        return source.names[record]
    return "" if source.where is None else str(source.where(record))  # a user's data set may give a Path


def write_predictions(workdir: epath.Path, data: Data, answers: Answers, seeds: Sequence[int]) -> None:
    """Writes predictions.csv: a row for each test image and seed, safe to open in a spreadsheet."""
    labels, index = np.asarray(data.test.labels), np.asarray(data.test.index)
    names = [escape.csv_cell(str(name)) for name in data.class_names or range(data.num_classes)]
    paths = [escape.csv_cell(path_of(data.test, record)) for record in range(len(labels))]
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(COLUMNS)
    for seed, one in zip(seeds, each_seed(answers), strict=True):
        columns = (part.tolist() for part in (index, labels, *one))
        for path, number, label, prediction, share, of_label in zip(paths, *columns, strict=True):
            predicted = names[prediction] if prediction >= 0 else ""
            shares = (f"{share:.6f}", f"{of_label:.6f}")
            table.writerow([path, number, label, names[label], prediction, predicted, *shares, seed])
    write_atomically(workdir / "predictions.csv", file.getvalue())


def chosen_images(labels: np.ndarray, answers: Answers, class_counts: np.ndarray) -> dict[str, np.ndarray]:
    """The records of the gallery: "wrong", the most confidently wrong first, and "rarest", class by class.

    Of each of the rarest classes that have test images the most confidently wrong ones come first.

    Example:
      >>> answers = Answers(np.array([1, 1, 0]), np.array([0.9, 0.8, 0.7]), np.array([0.1, 0.8, 0.3]))
      >>> chosen = chosen_images(np.array([0, 1, 1]), answers, np.array([9, 2]))
      >>> chosen["wrong"].tolist(), chosen["rarest"].tolist()
      ([0, 2], [2, 1, 0])
    """
    wrong, share = answers.prediction != labels, np.nan_to_num(answers.probability)
    order = np.lexsort((-share, ~wrong))  # wrong before right, confident before doubtful
    rarest: list[int] = []
    tested = [c for c in frequency_order(class_counts)[::-1] if (labels == c).any()]
    for c in tested[:RAREST]:
        rarest += order[labels[order] == c][:OF_EACH].tolist()
    return {"wrong": order[wrong[order]][:WRONG], "rarest": np.array(rarest, np.int64)}


def write_gallery(
    workdir: epath.Path, data: Data, answers: Answers, read_images: Callable[[np.ndarray], np.ndarray] | None = None
) -> None:
    """Writes gallery.npz: the pictures as the network saw them, at most 128 pixels, with their paths and answers.

    Raises:
      InputError: for images that cannot be read, or that are neither grey nor of three colours.
    """
    labels, first = np.asarray(data.test.labels), each_seed(answers)[0]
    chosen = chosen_images(labels, first, data.class_counts)
    records = np.unique(np.concatenate(list(chosen.values())))
    arrays: Mapping[str, np.ndarray] = {
        "pictures": thumbnails((read_images or data.test.images)(records)),
        "record": records,
        "index": np.asarray(data.test.index)[records],
        "label": labels[records],
        "path": np.array([path_of(data.test, int(record)) for record in records], object).astype(str),
        **{name: part[records] for name, part in first._asdict().items()},
        **{name: np.searchsorted(records, found) for name, found in chosen.items()},
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_atomically(workdir / "gallery.npz", buffer.getvalue())


def discard_extras(workdir: epath.Path) -> None:
    """Removes what ``ltjax report`` has added to the report of an earlier network: its feature map and Grad-CAM."""
    for name in ("feature_map.npz", "grad_cam.npz"):
        (workdir / "report" / name).unlink(missing_ok=True)


def thumbnails(images: np.ndarray) -> np.ndarray:
    """uint8 [n, H, W, C] -> the same, with at most 128 pixels on the longer side.

    Example:
      >>> thumbnails(np.zeros([2, 256, 192, 3], np.uint8)).shape, thumbnails(np.zeros([2, 28, 28, 1], np.uint8)).shape
      ((2, 128, 96, 3), (2, 28, 28, 1))
    """
    from PIL import Image

    _, height, width, channels = images.shape
    if channels not in (1, 3):
        raise InputError(f"images with {channels} channels cannot be shown")
    scale = SIDE / max(height, width)
    if scale >= 1:
        return images
    size, mode = (round(width * scale), round(height * scale)), "L" if channels == 1 else "RGB"
    small = [Image.fromarray(image.squeeze(-1) if mode == "L" else image).resize(size, 5) for image in images]
    return np.stack([np.asarray(one).reshape(size[1], size[0], channels) for one in small])
