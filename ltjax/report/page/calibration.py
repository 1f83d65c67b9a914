"""Calibration: the expected calibration error of each group, and reliability diagrams."""

import numpy as np

from ltjax import metrics
from ltjax.class_counts import frequency_order
from ltjax.report.page.parts import group_of_ranks, paragraph, plain_table
from ltjax.report.page.svg import Chart, color
from ltjax.report.run import GROUPS, Predictions, Run
from ltjax.report.text import percent

BINS = 15
FEW_IMAGES = 10  # in a bin: drawn faint


def section(run: Run) -> str:
    """A table, and a diagram of all images and of each group; all seeds together in the diagrams."""
    if run.predictions is None:
        return paragraph("Not drawn: the workdir has no probabilities of the test images.", "missing")
    said, results = run.predictions, run.results
    ranks = np.argsort(frequency_order(results["class_counts"]))
    of = np.array(group_of_ranks(run))[ranks][said.label]
    masks = {"all": np.ones(len(said.label), bool)} | {group: of == group for group in GROUPS}
    stored, deviations = results.get("calibration_error", {}), results.get("std", {}).get("calibration_error", {})
    rows, figures = [], []
    for group, mask in masks.items():
        if not mask.any():
            continue
        confidence, right = said.probability[:, mask].ravel(), _right(said)[:, mask].ravel()
        counters = metrics.count_confidences(confidence, right, calibration_bins=BINS)
        error = stored.get(group)
        error = float(metrics.expected_calibration_error(counters)) if error is None else error
        mean, hits = float(np.nanmean(confidence)), float(right.mean())
        gap = 100 * (mean - hits)
        side = "overconfident" if gap > 0 else "underconfident"
        verdict = "about right" if abs(gap) < 1 else f"{side} by {abs(gap):.1f} points"
        rows.append(
            [group, f"{mask.sum():,}", percent(error, deviations.get(group)), percent(mean), percent(hits), verdict]
        )
        figures.append(_diagram(group, counters))
    header = ["images of", "test images", "calibration error (%)", "mean confidence (%)", "accuracy of images (%)", ""]
    note = (
        "Expected calibration error (Guo et al., 2017): the mean gap between confidence and accuracy over 15 equal "
        "bins of the largest probability. A calibrated network's bars end on the dashed line; bars below it are too "
        f"sure. Faint: fewer than {FEW_IMAGES} images."
    )
    return plain_table(header, rows) + f'<div class="grid small">{"".join(figures)}</div>' + paragraph(note, "note")


def _right(said: Predictions) -> np.ndarray:
    return said.prediction == said.label


def _diagram(group: str, counters: metrics.Counters) -> str:
    examples, accuracy, confidence = metrics.reliability(counters)
    title = f"Reliability of {'all images' if group == 'all' else f'images of {group}'}"
    chart = Chart(title, (0, 100), (0, 100), ("confidence (%)", f"accuracy (%): {group}"), size=(300, 260))
    css = "var(--muted)" if group == "all" else color(group)
    for i in np.flatnonzero(examples):
        low, high = 100 * i / len(examples), 100 * (i + 1) / len(examples)
        text = f"{examples[i]:,} images: confidence {percent(confidence[i])} %, accuracy {percent(accuracy[i])} %"
        chart.rectangle((low, high), (0, 100 * accuracy[i]), css, text, bool(examples[i] < FEW_IMAGES))
    chart.line(np.array([0.0, 100.0]), np.array([0.0, 100.0]), "var(--ink)", "--")
    return f"<figure>{chart.svg()}</figure>"
