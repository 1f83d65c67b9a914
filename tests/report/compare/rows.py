"""Rows of a comparison, made up without files."""

import numpy as np

from ltjax.report.compare.groups import Member, group_by_seed
from ltjax.report.run import Run
from tests.report.synthetic import counts_of, metrics_of, norms_of, results_of

COUNTS = counts_of(10, 500, 100)


def member(method="ce", *, seed=0, settings=None, name="", path="", epochs=200, counts=COUNTS, logged=(), **changes):
    """A run of one seed; its accuracies depend on the method and the seed."""
    settings = {"epochs": 200} if settings is None else settings
    random = np.random.default_rng([len(method), seed, len(str(settings))])
    level = np.log(np.asarray(counts) + 1.0) / np.log(max(counts) + 1.0)
    accuracies = np.clip(0.9 * level + random.normal(0, 0.05, len(counts)), 0, 1).round(3).tolist()
    results = results_of(counts, per_class=accuracies, method=method, seeds=[seed]) | changes
    run = Run(results, list(logged), None, None, norms_of(results, seed), np.full(len(counts), 100), 0)
    return Member(path or f"runs/{method}{seed}", name, run, settings, epochs)


def group(*arguments, **options):
    return group_by_seed([member(*arguments, **options)])[0]


def gradients(seed=0):
    rows = metrics_of(3, 2, seed=seed)
    names = ("cosine_frequent", "cosine_rare", "norm_frequent", "norm_rare", "norm")
    return [row | {f"gradient/{name}": 0.2 + 0.1 * i + 0.01 * seed for i, name in enumerate(names)} for row in rows]
