"""What a run of images with several labels leaves beside its results: thresholds.json and predictions.csv."""

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
from ltjax.training.workdir.predictions import path_of

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
