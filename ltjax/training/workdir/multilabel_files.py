"""What a run of images with several labels leaves beside its results: thresholds.json, predictions.csv, gallery.npz."""

import csv
import io
import json
import logging
from collections.abc import Sequence

import jax
import numpy as np
from etils import epath

from ltjax import escape
from ltjax.data import Data
from ltjax.data.storage.paths import write_atomically
from ltjax.training.several_labels import Scores
from ltjax.training.workdir.json_files import Record
from ltjax.training.workdir.predictions import OF_EACH, WRONG, path_of, thumbnails

FILE = "thresholds.json"
COLUMNS = ("path", "index", "labels", "classes", "predicted", "probabilities", "seed")
BETWEEN = ";"  # the classes of one cell


def write_thresholds(folder: epath.Path, record: Record) -> None:
    """Writes thresholds.json; the first process does.

    Args:
      folder: the workdir.
      record: {"thresholds": C probabilities, "fingerprint": of the run, ...}.
    """
    if jax.process_index() == 0:
        write_atomically(folder / FILE, json.dumps({"format": 1} | record, indent=2) + "\n")


def read_thresholds(folder: epath.Path, fingerprint: str, num_classes: int) -> np.ndarray | None:
    """The probability of each class from which on it counts, [C]; None if there are none of this run to be read."""
    path = folder / FILE
    try:
        record = json.loads(path.read_text())
        found = np.array(record["thresholds"], np.float64)
        if found.shape != (num_classes,) or not ((found > 0) & (found < 1)).all():
            raise ValueError(f"not {num_classes} probabilities")
        return found if record["fingerprint"] == fingerprint else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        logging.getLogger("ltjax").warning(
            "%s cannot be read (%s): a half is the threshold of every class; remove results.json and run the training "
            "command again, which fits them again", path, error,
        )  # fmt: skip
        return None


def write_predictions(
    workdir: epath.Path, data: Data, scores: Sequence[Scores], seeds: Sequence[int], thresholds: np.ndarray | None
) -> None:
    """Writes predictions.csv: a row for each test image and seed, safe to open in a spreadsheet.

    ``classes`` are the image's own, ``predicted`` those at their threshold or above, with their probabilities.
    """
    names = [str(name) for name in data.class_names or range(data.num_classes)]
    least = np.full(data.num_classes, 0.5) if thresholds is None else thresholds
    paths = [escape.csv_cell(path_of(data.test, record)) for record in range(len(data.test))]
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(COLUMNS)

    def joined(classes: np.ndarray) -> str:
        return escape.csv_cell(BETWEEN.join(names[label] for label in classes))

    for seed, one in zip(seeds, scores, strict=True):
        shares = one.probabilities()
        for record, path in enumerate(paths):
            own, said = np.flatnonzero(one.targets[record]), np.flatnonzero(shares[record] >= least)
            said = said[np.argsort(-shares[record, said], kind="stable")]
            listed = BETWEEN.join(f"{share:.6f}" for share in shares[record, said])
            numbers = " ".join(map(str, own))
            index = int(data.test.index[record])
            table.writerow([path, index, numbers, joined(own), joined(said), listed, seed])
    write_atomically(workdir / "predictions.csv", file.getvalue())


def chosen_labels(scores: Scores, thresholds: np.ndarray) -> dict[str, np.ndarray]:
    """The mistakes of the gallery, (record, class) int [n, 2]: "false", classes that are predicted of an image without
    them, the most probable first; "missed", classes of an image that are not predicted, the least probable first.

    At most ``OF_EACH`` of a class and ``WRONG`` in all.

    Example:
      >>> logits = np.array([[2.0, -3.0], [1.0, 4.0]], np.float32)
      >>> chosen = chosen_labels(Scores(logits, np.array([[False, True], [True, True]])), np.full(2, 0.5))
      >>> chosen["false"].tolist(), chosen["missed"].tolist()
      ([[0, 0]], [[0, 1]])
    """
    shares = scores.probabilities()
    said = shares >= thresholds

    def most(wrong: np.ndarray, confidence: np.ndarray) -> np.ndarray:
        pairs = np.argwhere(wrong)
        pairs = pairs[np.argsort(-confidence[wrong], kind="stable")]
        rank = np.zeros(len(pairs), np.int64)  # among those of its class
        for label in np.unique(pairs[:, 1]):
            of_class = pairs[:, 1] == label
            rank[of_class] = np.arange(of_class.sum())
        return pairs[rank < OF_EACH][:WRONG]

    return {"false": most(said & ~scores.targets, shares), "missed": most(~said & scores.targets, -shares)}


def write_gallery(workdir: epath.Path, data: Data, scores: Sequence[Scores], thresholds: np.ndarray | None) -> None:
    """Writes gallery.npz: pictures of the first seed's most confident mistakes, at most 128 pixels, and these mistakes.

    Raises:
      InputError: for images that cannot be read, or that are neither grey nor of three colours.
    """
    least = np.full(data.num_classes, 0.5) if thresholds is None else np.asarray(thresholds, np.float64)
    chosen, shares = chosen_labels(scores[0], least), scores[0].probabilities()
    records = np.unique(np.concatenate([pairs[:, 0] for pairs in chosen.values()]))
    arrays: dict[str, np.ndarray] = {
        "pictures": thumbnails(data.test.images(records)) if len(records) else np.zeros((0, 1, 1, 1), np.uint8),
        "record": records,
        "index": np.asarray(data.test.index)[records],
        "path": np.array([path_of(data.test, int(record)) for record in records], object).astype(str),
        "targets": scores[0].targets[records],
        "thresholds": least,
    }
    for name, pairs in chosen.items():
        arrays |= {
            f"{name}_image": np.searchsorted(records, pairs[:, 0]),
            f"{name}_class": pairs[:, 1],
            f"{name}_probability": shares[pairs[:, 0], pairs[:, 1]],
        }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_atomically(workdir / "gallery.npz", buffer.getvalue())
