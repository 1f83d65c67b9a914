"""What the end of a run fits on its validation images: a temperature, or a threshold for each class."""

import numpy as np

from ltjax.methods.stage import Tree
from ltjax.training import out_of_memory, several_labels
from ltjax.training.calibration import all_logits, calibrated, logits_of, prior_note, sampled, validation_source
from ltjax.training.execution.mesh import platform
from ltjax.training.open_stage import Run
from ltjax.training.workdir.calibration import write_calibration
from ltjax.training.workdir.multilabel_files import write_thresholds
from ltjax.training.workdir.results import AnyEvaluator, reading_of


def fit_temperature(run: Run, variables: Tree) -> None:
    """Fits the temperature on the validation images, where the data has some, and writes calibration.json."""
    config, (data, stages, mesh, fingerprint) = run.config, run.setup
    source = validation_source(data)
    if source is None:
        return
    logits = logits_of(stages[-1].predict, config, platform(mesh))
    source, reading = sampled(source, data.num_classes), reading_of(config, run.access.watch)
    try:
        with out_of_memory.in_evaluation(config):
            found = all_logits(logits, variables, source, config.evaluation.batch_size, mesh, reading)
        record = calibrated(found, source.labels, "validation", stages[-1].prior)
    except (ValueError, FloatingPointError, OSError) as error:  # the result does not depend on these images
        run.progress.report(f"no temperature is fitted on the validation images: {error}")
        return
    write_calibration(run.workdir, record | {"fingerprint": fingerprint})
    before, after = record["ece"]["before"], record["ece"]["after"]
    run.progress.report(
        f"temperature {record['temperature']:.4g}, fitted on {record['images']} validation images: calibration error "
        f"{before:.4f} without it, {after:.4f} with it{prior_note(record)}"
    )


def fit_thresholds(run: Run, variables: Tree, evaluator: AnyEvaluator) -> np.ndarray | None:
    """The threshold of each class on the validation images, where the data has some; writes thresholds.json."""
    data = run.setup.data
    source = validation_source(data)
    if source is None:
        return None
    try:
        with out_of_memory.in_evaluation(run.config):
            scores = several_labels.averaged(evaluator(variables, source))
    except (FloatingPointError, OSError) as error:  # the result does not depend on these images
        run.progress.report(f"no thresholds are fitted on the validation images: {error}")
        return None
    thresholds = several_labels.best_thresholds(scores)
    halves, fitted = (several_labels.quality([scores], one)[0] for one in (None, thresholds))
    record = {"thresholds": thresholds.tolist(), "split": "validation", "images": len(source)}
    record |= {"f1": {"of_a_half": halves, "of_thresholds": fitted}, "fingerprint": run.setup.fingerprint}
    write_thresholds(run.workdir, record)
    run.progress.report(
        f"a threshold for each class, fitted on {len(source)} validation images: macro-F1 of these images "
        f"{halves['macro_f1'] or 0:.4f} with a half for all, {fitted['macro_f1'] or 0:.4f} with them"
    )
    return thresholds
