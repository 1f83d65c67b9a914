"""report.html: a finished run for people, in one file without scripts that loads nothing from anywhere.

A part that fails is named in the page with its reason; the others are there.
"""

import json
from collections.abc import Callable
from typing import NamedTuple

from ltjax import escape
from ltjax.class_counts import frequency_order
from ltjax.report.page import by_class, calibration, confusion, curves, features, gallery
from ltjax.report.page.parts import folded, paragraph, plain_table, table
from ltjax.report.page.style import CSS
from ltjax.report.run import GROUPS, Run, class_labels, group_sizes, of_one_label, several_seeds
from ltjax.report.text import (
    conditions,
    explain,
    explain_seeds,
    group_rows,
    headline,
    overall_rows,
    percent,
    seed_table,
    view_rows,
)

# what a browser may load: the style and the pictures in the file itself, nothing else
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Part(NamedTuple):
    """A section of the page.

    Attributes:
      anchor: its address within the page.
      title: its heading.
      short: its name in the list at the top.
      content: makes its HTML.
      wanted: whether a run has it at all.
    """

    anchor: str
    title: str
    short: str
    content: Callable[[Run], str]
    wanted: Callable[[Run], bool] = lambda run: True


PARTS = (
    Part("accuracy", "Accuracy", "accuracy", lambda run: accuracy(run), of_one_label),
    Part("precision", "Average precision", "average precision", lambda run: accuracy(run), lambda run: several(run)),
    Part("worst", "Worst classes", "worst classes", lambda run: by_class.worst(run) + by_class.group_table(run)),
    Part("classes", "Accuracy against frequency", "by frequency", lambda run: by_class.accuracy(run), of_one_label),
    Part("classes", "Average precision against frequency", "by frequency", lambda run: by_class.accuracy(run),
         lambda run: several(run)),
    Part("confusion", "What is taken for what", "confusion", confusion.section, of_one_label),
    Part("gallery", "Test images", "images", gallery.section, of_one_label),
    Part("gallery", "Test images", "images", gallery.of_several, lambda run: several(run)),
    Part("calibration", "Calibration", "calibration", calibration.section, of_one_label),
    Part("curves", "Training", "training", curves.training),
    Part("watched", "Training loss of the watched classes", "watched classes", curves.class_losses,
         lambda run: curves.logged(run, "class_loss/")),
    Part("gradients", "Gradients of frequent and rare classes", "gradients", curves.gradients,
         lambda run: curves.logged(run, "gradient/")),
    Part("norms", "Classifier weights", "weight norms", by_class.weight_norms),
    Part("features", "Feature map", "feature map", features.section),
    Part("views", "Other views of the network", "views", lambda run: plain_table(*view_rows(run.results)),
         lambda run: bool(run.results.get("views"))),
    Part("conditions", "What the numbers depend on", "conditions", lambda run: depends_on(run)),
)  # fmt: skip


def several(run: Run) -> bool:
    """Whether the images of a run have several labels."""
    return not of_one_label(run)


def html_page(run: Run) -> str:
    """The page of a run; the same files give the same text."""
    parts = [part for part in PARTS if part.wanted(run)]
    title = escape.html(headline(run.results))
    links = "".join(f'<a href="#{part.anchor}">{part.short}</a>' for part in parts)
    body = "".join(
        f'<section id="{part.anchor}"><h2>{part.title}</h2>{_content(part.content, run)}</section>' for part in parts
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{title}</title><style>{CSS}</style></head><body><h1>{title}</h1>"
        f'<nav aria-label="Parts of the report">{links}</nav><main>{_content(tiles, run)}{body}</main></body></html>\n'
    )


def _content(make: Callable[[Run], str], run: Run) -> str:
    try:
        return make(run)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return paragraph(f"This part cannot be drawn: {reason}", "missing")


def tiles(run: Run) -> str:
    """The headline numbers."""
    results = run.results
    spread = results.get("std", {})
    of, errors = spread.get("accuracy", {}), results.get("calibration_error") or {}
    sizes = dict(zip(GROUPS, group_sizes(results), strict=True))
    worst = results["accuracy"].get("worst_class")
    found = [("accuracy of all images", "all", ""), ("mean over classes", "mean_class", "")]
    if not of_one_label(run):
        found = [("average precision, mean over classes", "all", ""), ("all images and classes together", "micro", "")]
    found += [(f"{group}: {sizes[group]:,} class{'' if sizes[group] == 1 else 'es'}", group, group) for group in GROUPS]
    tile = [_tile(label, percent(results["accuracy"].get(key), of.get(key)), group) for label, key, group in found]
    if results.get("macro_f1") is not None:
        tile.append(_tile("macro-F1", percent(results["macro_f1"], spread.get("macro_f1"))))
    if errors.get("all") is not None:
        tile.append(
            _tile("calibration error", percent(errors["all"], (spread.get("calibration_error") or {}).get("all")))
        )
    if worst is not None:
        tile.append(_tile("worst class", percent(worst, of.get("worst_class")), "", _worst_name(run)))
    seeds = f" {explain_seeds(results)}." if several_seeds(results) else ""
    groups = f"Groups: {results['convention']} ({explain(results['convention'])})."
    return f'<div class="tiles">{"".join(tile)}</div>{paragraph(f"All numbers in %. {groups}{seeds}", "note")}'


def _worst_name(run: Run) -> str:
    """The class of the lowest accuracy; the rarest of several."""
    accuracies = run.results["per_class"]
    tested = [c for c in frequency_order(run.results["class_counts"])[::-1].tolist() if accuracies[c] is not None]
    if not tested or several_seeds(run.results):
        return ""
    return class_labels(run.results)[min(tested, key=lambda c: accuracies[c])]


def _tile(label: str, value: str, group: str = "", below: str = "") -> str:
    css = f' style="border-color:currentColor" class="tile {group}"' if group else ' class="tile"'
    shown = f"<small>{escape.html(escape.shortened(escape.terminal(below), 30))}</small>" if below else ""
    number, sign, deviation = value.partition(" ±")
    spread = f"<small>{sign}{escape.html(deviation)}</small>" if sign else ""
    return f"<div{css}><b>{escape.html(number)}{spread}</b><span>{escape.html(label)}</span>{shown}</div>"


def accuracy(run: Run) -> str:
    """The tables of accuracies, of each convention and seed."""
    results = run.results
    text = plain_table(*overall_rows(results)) + plain_table(*group_rows(results))
    text += paragraph("* the convention in this run's config. A dash marks a group without classes.", "note")
    if not of_one_label(run):
        text += paragraph(
            "Average precision: all images in the order of their probability for the class, the mean precision down to "
            "each image of the class. F1 is of classes with a probability of at least a half.", "note",
        )  # fmt: skip
    if several_seeds(results):
        text += f"<h3>Each seed</h3>{plain_table(*seed_table(results))}"
    return text


def depends_on(run: Run) -> str:
    """The conditions, the test images, the table of all classes and the settings."""
    rows = [[escape.html(name), escape.html(value)] for name, value in conditions(run)]
    rows.append(["test images", escape.html(_tested(run))])
    text = table(["", ""], rows, kind="conditions") + by_class.all_classes(run)
    if run.config is not None:
        settings = json.dumps(run.config, indent=2, sort_keys=True)
        text += folded("Settings (config.json)", f'<pre tabindex="0">{_lines(settings)}</pre>')
    return text


def _tested(run: Run) -> str:
    """Which images the numbers are of."""
    number = "" if run.test_counts is None else f"{int(run.test_counts.sum()):,} images of the "
    listed = "; predictions.csv lists each with its prediction" if run.predictions is not None else ""
    return f"{number}{run.results['split']} split{listed}"


def _lines(text: str) -> str:
    return "\n".join(map(escape.html, text.split("\n")))
