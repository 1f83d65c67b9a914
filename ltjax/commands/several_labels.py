"""What evaluate and predict do with a run whose images have several labels, and what they refuse."""

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np

from ltjax.errors import InputError

# flag -> its value when it is not given; all of them are of one softmax over the classes, or of one label an image
OF_ONE_LABEL: Mapping[str, Any] = {
    "test_prior": None, "model_prior": None, "logit_adjustment": 0.0, "temperature": "run", "tta": "none",
    "aggregated": None, "fit_temperature": None, "images": None, "lists": (),
}  # fmt: skip


def check_flags(options: argparse.Namespace, but: tuple[str, ...] = ()) -> None:
    """Raises InputError, one line, for a flag that is of one label an image; those in ``but`` have another meaning."""
    for name, usual in OF_ONE_LABEL.items():
        given = getattr(options, name, usual)
        if name not in but and given != usual and given:
            flag = f"--{'aggregate' if name == 'aggregated' else name.replace('_', '-')}"
            raise InputError(
                f"{flag}: is of one label an image, but those of --run={options.run} have several; leave it out"
            )


def evaluate(finished: Any, of_training: Mapping[str, Any]) -> dict[str, Any]:
    """The record of results.json, of the test images evaluated again; ``of_training`` is what it has of the run."""
    from ltjax.training import several_labels
    from ltjax.training.workdir.results import evaluator_of, results_over_seeds, stage_reports, summarize_seeds

    config, data, stage = finished.config, finished.data, finished.stage
    evaluator = evaluator_of(config, data, stage, finished.mesh)
    assert isinstance(evaluator, several_labels.ScoreEvaluator)
    scores = evaluator(finished.variables, data.test)
    losses = [one.get("train_loss_last_epoch") for one in finished.results.get("per_seed", [finished.results])]
    reports, qualities = stage_reports(config, stage, finished.variables), several_labels.quality(scores)
    summaries = summarize_seeds(config, data, scores)
    return {**of_training, **results_over_seeds(config, summaries, losses, reports, qualities)}


def f1_line(record: Mapping[str, Any]) -> str:
    """F1 in one line."""
    from ltjax.report import percent

    spread = record.get("std", {})
    macro, micro = (percent(record[key], spread.get(key)) for key in ("macro_f1", "micro_f1"))
    return f"F1 at a probability of a half: mean over classes {macro}, all images and classes together {micro}"


def thresholds_of(finished: Any, folder: str, threshold: float | None) -> tuple[tuple[float, ...], str]:
    """(the probability from which on each class is predicted, where it comes from, in words).

    Args:
      finished: the run.
      folder: its workdir.
      threshold: one for all classes; None = those fitted on its validation images, or a half.
    """
    from ltjax.training.workdir.identity import absolute
    from ltjax.training.workdir.multilabel_files import FILE, read_thresholds

    classes = len(finished.model.names)
    if threshold is not None:
        return (threshold,) * classes, f"a class is predicted from a probability of {threshold:g} on (--threshold)"
    found = read_thresholds(absolute(folder), finished.model.fingerprint, classes)
    if found is None:
        return (0.5,) * classes, "a class is predicted from a probability of a half on: the run has no thresholds"
    return tuple(np.asarray(found).tolist()), f"a class is predicted from its threshold on, of the run's {FILE}"
