"""The curves of the page: those of report.md, with every seed's line."""

from collections.abc import Sequence

import numpy as np

from ltjax import escape
from ltjax.report.curves import (
    MetricsLog,
    Panel,
    class_loss_panels,
    gradient_panels,
    is_logarithmic,
    training_panels,
)
from ltjax.report.figures import labels_with_counts
from ltjax.report.page.parts import paragraph
from ltjax.report.page.svg import Chart, color, legend, thinned
from ltjax.report.run import Run


def training(run: Run) -> str:
    """Loss, its terms, accuracy and learning rate."""
    log = _log(run)
    panels = [panel for panel in training_panels(log) if panel.lines]
    if not panels:
        return paragraph(
            "No curve: the log has no training step. The classifier of such a run was computed in closed form."
            if run.metrics
            else "No curve: metrics.jsonl is missing or empty.",
            "missing",
        )
    seeds = f" Bold: the mean of {log.seeds} seeds; thin: each of them." if log.seeds > 1 else ""
    note = f"Each point averages as many steps as the others; its place is the end of these steps.{seeds}"
    return paragraph(note, "note") + grid(panels, log)


def gradients(run: Run) -> str:
    """Conflict between the gradients of frequent and rare classes."""
    log = _log(run)
    return grid([panel for panel in gradient_panels(log) if panel.lines], log)


def class_losses(run: Run) -> str:
    """Training loss of the watched classes."""
    log = _log(run)
    return grid([panel for panel in class_loss_panels(log, labels_with_counts(run.results)) if panel.lines], log)


def logged(run: Run, start: str) -> bool:
    """Whether a metric whose name begins like this is in the log."""
    return any(name.startswith(start) for row in run.metrics for name in row)


def _log(run: Run) -> MetricsLog:
    return MetricsLog(run.metrics, len(run.results["seeds"]))


def grid(panels: Sequence[Panel], log: MetricsLog) -> str:
    """The panels side by side, as many as the page has room for."""
    return f'<div class="grid">{"".join(_figure(panel, log) for panel in panels)}</div>'


def _figure(panel: Panel, log: MetricsLog) -> str:
    values = np.concatenate([line.y for line in panel.lines] + [line.each.ravel() for line in panel.lines])
    values = values[np.isfinite(values)]
    logarithmic = is_logarithmic(panel) and bool(values.min() > 0)
    low, high = (given if given is not None else None for given in panel.limits)
    if low is None:
        low = float(values.min()) if logarithmic else float(min(values.min(), 0.0))
    if high is None:
        high = float(values.max()) * (1.15 if logarithmic else 1.05) or 1.0
    title = panel.title + (" (log scale)" if logarithmic else "")
    end = float(log.x.max()) or 1.0
    chart = Chart(
        f"{title} over epochs", (0.0, end), (low, max(high, low + 1e-12)), ("epoch", title), (False, logarithmic)
    )
    for edge, stage in log.stages if len(log.stages) > 1 else []:
        chart.edge(edge, escape.shortened(stage, 16))
    entries = []
    for line in panel.lines:
        css = color(line.color)
        # no line crosses from one stage into the next
        edges = np.searchsorted(line.x, [edge for edge, _ in log.stages[1:]], side="right")
        for part in np.split(np.arange(len(line.x)), edges):
            if not len(part):
                continue
            x, y = thinned(line.x[part], line.y[part])
            each = thinned(line.x[part], line.each[part])[1]
            for seed in range(each.shape[1]):
                if np.isfinite(each[:, seed]).any():
                    chart.line(x, each[:, seed], css, line.dashes, faint=True)
            chart.line(x, y, css, line.dashes, dotted=len(x) <= 30)
        known = line.y[np.isfinite(line.y)]
        entries.append((css, line.dashes, f"{line.label.strip()}: {known[-1]:.3g} at the end"))
    return f"<figure>{chart.svg()}<figcaption>{legend(entries)}</figcaption></figure>"
