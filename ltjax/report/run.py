"""Reads the files of a run's workdir. Only results.json is required; missing files become None or empty."""

import dataclasses
import io
import json
from typing import Any, NamedTuple, TypeVar

import numpy as np
from etils import epath

from ltjax import escape
from ltjax.errors import InputError

G = TypeVar("G", "Gallery", "LabelGallery")

GROUPS = ("many", "medium", "few")
FEATURES, HEAT = "feature_map.npz", "grad_cam.npz"  # in the report's folder, made on request
NEEDED = (
    "method", "dataset", "split", "epochs", "seeds", "class_counts", "per_class", "accuracy", "convention", "shots",
    "train_index_sha256", "train_size", "parameter_count", "wall_time_s", "hardware",
)  # fmt: skip


def measured(results: dict[str, Any]) -> dict[str, Any]:
    """results.json with its numbers under "accuracy", whatever they measure, and "measure" where that is another word.

    Of images with several labels they are average precision.

    Example:
      >>> measured({"average_precision": {"all": 0.5}})["accuracy"], measure({"average_precision": {}})
      ({'all': 0.5}, 'average precision')
    """
    if "average_precision" not in results:
        return results

    def moved(one: dict[str, Any]) -> dict[str, Any]:
        return one | {"accuracy": one["average_precision"]}

    made = moved(results) | {"measure": measure(results)}
    if "std" in results:
        made |= {"std": moved(results["std"]), "per_seed": [moved(one) for one in results["per_seed"]]}
    return made


def measure(results: dict[str, Any]) -> str:
    """What the numbers of a run are: accuracy, or average precision."""
    return "average precision" if "average_precision" in results else "accuracy"


def of_one_label(run: "Run") -> bool:
    """Whether the images of a run have one label each, so that one is taken for another."""
    return "average_precision" not in run.results


class Predictions(NamedTuple):
    """The test images as the networks see them, of S seeds.

    label: int [N]; prediction: int [S, N], -1 for none; probability, label_probability: float [S, N].
    """

    label: np.ndarray
    prediction: np.ndarray
    probability: np.ndarray
    label_probability: np.ndarray


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Pictures of n test images, with the answers of the first seed.

    pictures: uint8 [n, H, W, 1 or 3]; record, index, label, prediction: int [n]; path: str [n], "" where there is none;
    probability, label_probability: float [n]; wrong, rarest: the positions of both lists, in their order.
    """

    pictures: np.ndarray
    record: np.ndarray
    index: np.ndarray
    label: np.ndarray
    path: np.ndarray
    prediction: np.ndarray
    probability: np.ndarray
    label_probability: np.ndarray
    wrong: np.ndarray
    rarest: np.ndarray


@dataclasses.dataclass(frozen=True)
class LabelGallery:
    """Pictures of n test images with several labels, and the mistakes of the first seed in them.

    pictures: uint8 [n, H, W, 1 or 3]; record, index: int [n]; path: str [n], "" where there is none; targets: bool
    [n, C], the classes of each; thresholds: float [C]. Of the k classes that are predicted wrongly, and of those that
    are missed, in their order: _image int [k], the position among the pictures; _class int [k];
    _probability float [k].
    """

    pictures: np.ndarray
    record: np.ndarray
    index: np.ndarray
    path: np.ndarray
    targets: np.ndarray
    thresholds: np.ndarray
    false_image: np.ndarray
    false_class: np.ndarray
    false_probability: np.ndarray
    missed_image: np.ndarray
    missed_class: np.ndarray
    missed_probability: np.ndarray


@dataclasses.dataclass(frozen=True)
class Run:
    """The content of one workdir.

    Attributes:
      results: results.json.
      metrics: one dict per logged step.
      config: config.json, or None.
      confusion: int [C, C] (rows are the true classes), summed over the seeds, or None.
      weight_norms: float [C], mean over the seeds, or None.
      test_counts: int [C], test images of each class, or None.
      predictions: of each test image, or None.
      gallery: some test images, or None.
      features: ``points`` [n, 2] and ``classes`` [n] of test images in the plane, or None.
      heat: uint8 [n, H, W, 3], the gallery's pictures with their Grad-CAM, or None.
      labels: some test images with several labels, or None.
      unreadable: number of lines in metrics.jsonl that are not JSON objects; a killed process can leave a partial line.
      damaged: the names of files that cannot be read, and count as missing.
    """

    results: dict[str, Any]
    metrics: list[dict[str, Any]]
    config: dict[str, Any] | None
    confusion: np.ndarray | None
    weight_norms: np.ndarray | None
    test_counts: np.ndarray | None
    unreadable: int
    damaged: tuple[str, ...] = ()
    predictions: Predictions | None = None
    gallery: Gallery | None = None
    features: dict[str, np.ndarray] | None = None
    heat: np.ndarray | None = None
    labels: LabelGallery | None = None


def read_run(workdir: epath.PathLike) -> Run:
    """Reads results.json, metrics.jsonl, config.json and the arrays of a workdir (a ``gs://`` path too).

    With several seeds (S) the arrays of evaluation.npz have a leading seed axis: confusion [S, C, C], weight_norms
    [S, C]. The confusion matrices are summed and the norms averaged here: with 8,142 classes a matrix takes half a GB.

    Raises:
      InputError: if results.json is missing or unreadable, if its numbers do not match its seeds, or if an array has
        another number of classes or seeds.
    """
    root = epath.Path(workdir)
    results_file = root / "results.json"
    if not results_file.exists():
        raise InputError(
            f"{results_file}: no such file; a report needs a finished run: train it with python -m ltjax.main"
        )
    results = _object(results_file)
    if results is None:
        raise InputError(f"{results_file}: is damaged; run the training command again, which makes it again")
    results = measured(results)
    absent = [key for key in NEEDED if key not in results]
    if absent:
        raise InputError(
            f"{results_file}: not the results of a run, for it has no {', '.join(absent)}; correct the path"
        )
    metrics, unreadable = _read_lines(root / "metrics.jsonl")
    config_file, arrays_file = root / "config.json", root / "evaluation.npz"
    config = _object(config_file) if config_file.exists() else None
    damaged = [config_file.name] if config is None and config_file.exists() else []
    arrays = _read_arrays(arrays_file, damaged)
    confusion, norms, total = (arrays.get(name) for name in ("confusion", "weight_norms", "total"))
    _check_seeds(results, results_file)
    if confusion is not None:
        _check_shape("confusion", confusion, 2, results, arrays_file)
        confusion = confusion.sum(0) if several_seeds(results) else confusion
    if norms is not None:
        _check_shape("weight_norms", norms, 1, results, arrays_file)
        norms = norms.mean(0) if several_seeds(results) else norms
    if total is not None:
        _check_shape("total", total, 1, results, arrays_file)
        total = total[0] if several_seeds(results) else total  # all seeds have the same test images
    predictions, pictures = _predictions(arrays), _read_arrays(root / "gallery.npz", damaged)
    gallery, labels = _pictures(pictures, Gallery), _pictures(pictures, LabelGallery)
    features = _read_arrays(root / "report" / FEATURES, damaged) or None
    heat = _read_arrays(root / "report" / HEAT, damaged).get("heat")
    heat = heat if gallery is not None and heat is not None and len(heat) == len(gallery.record) else None
    return Run(
        results, metrics, config, confusion, norms, total, unreadable, tuple(damaged), predictions, gallery, features,
        heat, labels,
    )  # fmt: skip


def _pictures(arrays: dict[str, np.ndarray], kind: type[G]) -> G | None:
    """The gallery of this kind in gallery.npz, or None."""
    fields = [field.name for field in dataclasses.fields(kind)]
    return kind(*(arrays[name] for name in fields)) if arrays.keys() >= set(fields) else None


def _predictions(arrays: dict[str, np.ndarray]) -> Predictions | None:
    """Those in evaluation.npz, where earlier versions have none; of one seed as of several."""
    if not arrays.keys() >= set(Predictions._fields):
        return None
    label, *others = (np.atleast_2d(arrays[name]) for name in Predictions._fields)
    return Predictions(label[0], *others)


def _object(path: epath.Path) -> dict[str, Any] | None:
    """The JSON object in a file; None if the file holds anything else."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _read_arrays(path: epath.Path, damaged: list[str]) -> dict[str, np.ndarray]:
    """The arrays of an .npz file; none of one that is missing or cannot be read, whose name joins ``damaged``."""
    if not path.exists():
        return {}
    try:
        with np.load(io.BytesIO(path.read_bytes())) as file:
            return {name: file[name] for name in file.files}
    except Exception:  # a damaged file raises nearly anything
        damaged.append(path.name)
        return {}


def state_of(workdir: epath.PathLike) -> str:
    """What a workdir holds, in words: finished, how far the run is, or that it holds no run."""
    root = epath.Path(workdir)
    if (root / "results.json").exists():
        return "finished"
    if not (root / "config.json").exists() and not (root / "checkpoints").exists():
        return "no run: neither results.json nor config.json"
    rows, _ = _read_lines(root / "metrics.jsonl")
    if not rows:
        return "not finished (no step is logged yet)"
    last = rows[-1]
    at = ", ".join(f"{key} {last[key]}" for key in ("stage", "epoch", "step") if key in last)
    return f"not finished (last logged: {at})"


def several_seeds(results: dict[str, Any]) -> bool:
    """Whether the numbers are means over seeds, with their deviations in ``std`` and each seed's in ``per_seed``.

    Example:
      >>> several_seeds({"seeds": [0]}), several_seeds({"seeds": [0, 1], "std": {}, "per_seed": []})
      (False, True)
    """
    return "std" in results


def _check_seeds(results: dict[str, Any], path: epath.Path) -> None:
    """Checks that ``std`` and ``per_seed`` exist exactly if there are several seeds, with one entry for each."""
    seeds, classes = results["seeds"], len(results["class_counts"])
    listed = [one["seed"] for one in results.get("per_seed", [])]
    lengths = {len(one["per_class"]) for one in [results, results.get("std", results), *results.get("per_seed", [])]}
    wrong = ""
    if several_seeds(results) != (len(seeds) > 1):
        wrong = f"has {len(seeds)} seed(s) {'with' if several_seeds(results) else 'without'} deviations ('std')"
    elif listed != (seeds if len(seeds) > 1 else []):
        wrong = f"has the seeds {seeds}, but 'per_seed' has {listed}"
    elif lengths != {classes}:
        wrong = f"has {classes} classes, but 'per_class' has {', '.join(map(str, sorted(lengths - {classes})))} numbers"
    if wrong:
        raise InputError(f"{path}: {wrong}; evaluate the run again")


def _check_shape(name: str, array: np.ndarray, axes: int, results: dict[str, Any], path: epath.Path) -> None:
    """Checks the shape: [C] * axes for one seed, [S] + [C] * axes for several."""
    classes, seeds = len(results["class_counts"]), len(results["seeds"])
    several = several_seeds(results)
    if array.shape != ((seeds,) if several else ()) + (classes,) * axes:
        has = f"{seeds} seeds and {classes} classes" if several else f"{classes} classes"
        raise InputError(f"{path}: {name} has shape {array.shape}, but results.json has {has}; evaluate the run again")


def _read_lines(path: epath.Path) -> tuple[list[dict[str, Any]], int]:
    """The JSON objects of a .jsonl file, and the number of unreadable lines."""
    if not path.exists():
        return [], 0
    rows, unreadable = [], 0
    for line in path.read_bytes().decode(errors="replace").split("\n"):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        elif line.strip():
            unreadable += 1
    return rows, unreadable


def group_sizes(results: dict[str, Any]) -> tuple[int, int, int]:
    """Number of classes in many, medium and few under the run's convention.

    Every convention splits the classes, sorted by frequency, at two positions, so the sizes determine the members.

    Example:
      >>> group_sizes({"convention": "strict", "shots": {"strict": {"classes": [3, 3, 4]}}})
      (3, 3, 4)
    """
    many, medium, few = results["shots"][results["convention"]]["classes"]
    return many, medium, few


def class_labels(results: dict[str, Any]) -> list[str]:
    """The names of the classes, to be told apart by eye (``escape.distinct``); their indices without ``class_names``.

    Example:
      >>> class_labels({"class_counts": [4, 2]})
      ['0', '1']
    """
    names = results.get("class_names")
    return escape.distinct(names) if names else [str(c) for c in range(len(results["class_counts"]))]
