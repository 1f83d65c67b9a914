"""Gradient conflict of several runs: cosines and norms of the gradients of frequent and of rare classes.

As figure 1 of "Asynchronous modeling: a dual-phase perspective for long-tailed recognition", which compares
CIFAR-100-LT with the full CIFAR-100: a run of each gives it.
"""

from collections.abc import Sequence

import numpy as np

from ltjax.report.compare.groups import SeedGroup
from ltjax.report.curves import Line, MetricsLog, Panel, draw_line, finish_panel
from ltjax.report.style import legend_label, line_styles, new_figure, png

PANELS = {
    "gradient/cosine_frequent": "cosine,\nfrequent classes",
    "gradient/cosine_rare": "cosine,\nrare classes",
    "gradient/norm_frequent": "norm,\nfrequent classes",
    "gradient/norm_rare": "norm,\nrare classes",
    "gradient/norm": "norm,\nall classes",
}
TITLE = "Gradients of frequent and of rare classes: cosine with the full gradient, and norm"


def gradient_conflict(groups: Sequence[SeedGroup]) -> bytes | None:
    """A panel for each cosine and norm, a line for each row that logged them; None if none did.

    Several seeds are their mean, with a band from the lowest to the highest.
    """
    logs = {group.label: [_log(group, i) for i in range(len(group.members))] for group in groups}
    styles = dict(zip(logs, line_styles(len(logs)), strict=True))
    lines: dict[str, list[tuple[Line, list[float]]]] = {}
    for metric in PANELS:
        for label, of_group in logs.items():
            line = joined([log.lines({metric: (legend_label(label), styles[label]["color"])}) for log in of_group])
            if line is not None:
                edges = [edge for edge, _ in of_group[0].stages]
                lines.setdefault(metric, []).append((line._replace(dashes=styles[label]["linestyle"]), edges))
    if not lines:
        return None
    figure = new_figure(8.4, 1 + 1.9 * len(lines))
    column = figure.subplots(len(lines), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (metric, of_panel) in zip(column, lines.items(), strict=True):
        for line, edges in of_panel:
            draw_line(axes, line, edges)
        cosine = metric.startswith("gradient/cosine")
        panel = Panel(PANELS[metric], [line for line, _ in of_panel], log=not cosine)
        finish_panel(axes, panel)
        if cosine:
            axes.set_ylim(top=1.05)
    for axes in column[1:]:
        legend = axes.get_legend()
        if legend is not None:
            legend.remove()
    first = column[0].legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)
    first.set_in_layout(False)
    column[0].set_title(TITLE)
    column[-1].set_xlabel("epoch")
    figure.align_ylabels(column.tolist())
    return png(figure)


def _log(group: SeedGroup, member: int) -> MetricsLog:
    run = group.members[member].run
    return MetricsLog(run.metrics, len(run.results["seeds"]))


def joined(runs: Sequence[Sequence[Line]]) -> Line | None:
    """One line of several runs' lines of a metric: the mean over all seeds, at the epochs that all runs logged.

    Args:
      runs: of each run its line, or nothing if it did not log the metric; such runs do not count.
    """
    lines = [of_run[0] for of_run in runs if of_run]
    if len(lines) < 2:
        return lines[0] if lines else None
    common = lines[0].x
    for line in lines[1:]:
        common = common[np.isin(common, line.x)]
    if not len(common):
        return None
    columns = []
    for line in lines:
        at = np.searchsorted(line.x, common)
        each = line.each[at]
        columns.append(each if np.isfinite(each).any() else line.y[at, None])  # one seed has no numbers of each
    each = np.concatenate(columns, axis=1)
    return lines[0]._replace(x=common, y=np.nanmean(each, axis=1), each=each)
