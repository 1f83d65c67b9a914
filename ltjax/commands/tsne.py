"""Features of test images of finished runs, and their t-SNE (van der Maaten and Hinton, 2008) by scikit-learn."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ltjax.errors import InputError
from ltjax.report.compare import SeedGroup
from ltjax.report.compare.feature_map import FeatureMap, chosen_classes
from ltjax.report.run import group_sizes

IMAGES_PER_CLASS = 50  # as in figure 4 of "To balance or not to balance"
PERPLEXITY = 30.0
SEED = 0  # of the choice of images, and of t-SNE


def check_installed() -> None:
    """Raises InputError without scikit-learn, an optional package."""
    if importlib.util.find_spec("sklearn") is None:
        raise InputError("--tsne: scikit-learn is not installed; install it with: pip install 'ltjax[tsne]'")


def feature_maps(groups: Sequence[SeedGroup], data_dir: str | None, log: Callable[[str], None]) -> list[FeatureMap]:
    """The map of each row, of its first run and that run's first seed; all have the same images.

    Raises:
      InputError: a run whose data or checkpoint is not there.
    """
    from ltjax.commands.cli import use_devices
    from ltjax.training.finished_run import read_config

    dtypes = {read_config(_workdir(group), "RUN").dtype for group in groups}
    use_devices("float64" if "float64" in dtypes else "float32")
    results = groups[0].results
    chosen = chosen_classes(results["class_counts"], group_sizes(results))
    maps = []
    for group in groups:
        log(f"{group.label}: features of test images")
        features, classes = features_of_images(_workdir(group), chosen, data_dir)
        maps.append(FeatureMap(group.label, embedded(features), classes))
    return maps


def _workdir(group: SeedGroup) -> str:
    return group.members[0].path.removesuffix("results.json") or "."


def features_of_images(
    workdir: str, chosen: Mapping[str, Sequence[int]], data_dir: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """``features_of`` a workdir."""
    from ltjax.training.finished_run import open_finished

    return features_of(open_finished(workdir, {"data.dir": data_dir} if data_dir else {}, "RUN"), chosen)


def features_of(finished: Any, chosen: Mapping[str, Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """(float [n, d], int [n]): features of up to 50 test images of each class, of the first seed, and the classes."""
    from ltjax.training.evaluation import extract_features
    from ltjax.training.execution.seeds import split_seeds

    test = finished.data.test
    records = chosen_images(np.asarray(test.labels), [c for classes in chosen.values() for c in classes])
    variables = split_seeds(finished.variables, finished.config.num_seeds)[0]
    size = min(finished.config.evaluation.batch_size, len(records))
    features = extract_features(finished.stage.network, variables, test, records, size, finished.mesh)
    return features, np.asarray(test.labels)[records]


def chosen_images(labels: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """int [n]: up to 50 records of each of these classes, always the same ones."""
    random = np.random.default_rng(SEED)
    records: list[int] = []
    for of_class in classes:
        there = np.flatnonzero(labels == of_class)
        records += sorted(random.permutation(there)[:IMAGES_PER_CLASS].tolist())
    return np.array(records)


def embedded(features: Any) -> np.ndarray:
    """float [n, 2]: t-SNE from the first two principal components, the same for the same features."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    rows = np.asarray(features, np.float32)
    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    with threadpool_limits(1):  # the threads wait for each other longer than they compute, and change the last bits
        return TSNE(2, perplexity=perplexity, init="pca", random_state=SEED).fit_transform(rows)
