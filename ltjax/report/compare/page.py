"""comparison.md: the table, what its numbers depend on, the figures with their explanations, and which run is which."""

from collections.abc import Mapping, Sequence
from typing import Any

from ltjax import escape
from ltjax.report.compare.differences import ASPECTS
from ltjax.report.compare.groups import SeedGroup, same_classes
from ltjax.report.compare.table import Comparison, as_markdown, signed
from ltjax.report.run import class_labels
from ltjax.report.text import CONVENTIONS, duration, markdown_table, percent

CAPTIONS = {
    "accuracy_by_class": "Accuracy by class",
    "class_gains": "Gain by class over the baseline",
    "weight_norms": "Classifier weight norms",
    "views": "Branches and experts",
    "sweep": "Accuracy against a setting",
    "gradients": "Gradient conflict",
    "features": "Features of test images (t-SNE)",
}
EXPLAINED = {
    "accuracy_by_class": "Above: training images of each class. Below: test accuracy. With many classes each point is "
    "the mean over neighbouring classes; the axis says over how many.",
    "class_gains": "Each bar is the accuracy of the row minus that of the baseline. The means of many, medium, few and "
    "all classes are above each panel.",
    "weight_norms": "L2 norm of the weights with which each class is scored, mean over the seeds. A line that falls "
    "with the rank scores frequent classes higher.",
    "views": "The result, and each branch, expert or other fusion of the same network alone. Error bars: one sample "
    "standard deviation.",
    "sweep": "The runs of a line differ in this setting only. Error bars: one sample standard deviation over the "
    "seeds. Dashed: the other rows.",
    "gradients": "Cosine of the gradient of frequent and of rare classes with the full gradient, and their norms, in "
    "the steps that measured them. Bands: from the lowest to the highest seed.",
    "features": "Up to six classes of each group, evenly spaced by frequency, up to 50 test images each; t-SNE of the "
    "backbone's features (first seed, perplexity 30, fixed random state). Numbers are class indices. Distances between "
    "far clusters mean nothing.",
}


OF_SEVERAL_LABELS = (
    "Average precision in %: all images in the order of their probability for a class, the mean precision down to each "
    "image of the class; all, many, medium and few are means over classes, micro is of all images and classes together"
)
MOST_CLASSES = 10  # that gain, and that lose, in the table of a row and a baseline


def worded(text: str, measure: str) -> str:
    """A text about accuracy as one about another measure.

    Example:
      >>> worded("Accuracy by class: the accuracy", "average precision")
      'Average precision by class: the average precision'
    """
    return text.replace("Accuracy", measure.capitalize()).replace("accuracy", measure)


def class_differences(groups: Sequence[SeedGroup], baselines: Sequence[SeedGroup]) -> str:
    """For every other row and every baseline a table of the classes that gain and lose most; "" without a baseline."""
    if not baselines or not same_classes(groups):
        return ""
    names, counts = class_labels(groups[0].results), groups[0].results["class_counts"]
    others = [group for group in groups if not any(group is base for base in baselines)]
    tables = []
    for group, base in [(group, base) for group in others or baselines[1:] for base in baselines if group is not base]:
        pairs = [
            (c, ours - theirs)
            for c, (ours, theirs) in enumerate(zip(group.results["per_class"], base.results["per_class"], strict=True))
            if ours is not None and theirs is not None
        ]
        pairs.sort(key=lambda pair: (-pair[1], pair[0]))
        shown = pairs if len(pairs) <= 2 * MOST_CLASSES else pairs[:MOST_CLASSES] + pairs[-MOST_CLASSES:]
        rows = [
            [escape.markdown(names[c]), f"{counts[c]:,}", _of_class(group, c), _of_class(base, c), signed(gain)]
            for c, gain in shown
        ]
        if not rows:
            continue
        left_out = len(pairs) - len(rows)
        most = f" The {left_out} between them are left out." if left_out else ""
        title = escape.markdown(f"{group.label} over {base.label}")
        header = ["class", "training images", escape.markdown(group.label), escape.markdown(base.label), "difference"]
        tables.append(f"### {title}\n\n{markdown_table(header, rows)}\n\nClasses by their difference.{most}")
    return "\n\n".join(["## Classes", *tables]) if tables else ""


def _of_class(group: SeedGroup, label: int) -> str:
    spread = group.results.get("std", {}).get("per_class")
    return percent(group.results["per_class"][label], None if spread is None else spread[label])


def explain(groups: Sequence[SeedGroup], found: Mapping[str, str]) -> str:
    """What the numbers of the table depend on, in Markdown: what is the same for all rows, then what differs.

    Args:
      groups: the rows.
      found: ``differences`` of them, which the user allowed.
    """
    results = groups[0].results
    convention = results["convention"]
    common = {
        "test": escape.markdown(f"{results['dataset']}, {results['split']} images"),
        "data": f"{results['train_size']:,} training images in {len(results['class_counts']):,} classes, index list "
        f"sha256 `{results['train_index_sha256'][:12]}`",
        "epochs": f"{groups[0].epochs} epochs in all, the last one is evaluated",
        "groups": f"groups {convention} of {_sizes(results)} classes "
        f"({CONVENTIONS.get(convention, 'thresholds from the config')})",
    }
    same = "; ".join(text for aspect, text in common.items() if aspect not in found)
    several = any(len(group.results["seeds"]) > 1 for group in groups)
    spread = ", mean ± sample standard deviation over the seeds" if several else ""
    what = "Accuracy in %" if groups[0].measure == "accuracy" else OF_SEVERAL_LABELS
    joined = "" if not spread else spread if what == "Accuracy in %" else spread.replace(", ", "; ", 1)
    lines = [f"{what}{joined}.{' For all rows: ' + same + '.' if same else ''}"]
    for aspect, how in found.items():
        lines.append(f"**The rows differ in {ASPECTS[aspect]}:** {escape.markdown(how)}.")
    return "\n\n".join(lines)


def page(
    table: Comparison,
    groups: Sequence[SeedGroup],
    found: Mapping[str, str],
    figures: Sequence[str],
    missing: Mapping[str, str],
    notes: Sequence[str] = (),
    baselines: Sequence[SeedGroup] = (),
) -> str:
    """The text of comparison.md.

    Args:
      table, groups: the rows.
      found: the differences between them.
      figures: names of the figures that are drawn.
      missing: figure -> why it is not drawn.
      notes: further remarks below the table.
      baselines: those of the rows that gains are over; with several labels an image the page has a table of classes.
    """
    parts = ["# Comparison", as_markdown(table), explain(groups, found), *notes]
    parts.append("The same table: [table.csv](table.csv), [table.tex](table.tex).")
    what = groups[0].measure
    captions = {name: worded(caption, what) for name, caption in CAPTIONS.items()}
    if what != "accuracy" and (classes := class_differences(groups, baselines)):
        parts.append(classes)
    for name, caption in captions.items():
        if name in figures:
            parts.append(f"## {caption}\n\n{worded(EXPLAINED[name], what)}\n\n![{caption}]({name}.png)")
    if missing:
        reasons = "\n".join(f"- {captions[name]}: {escape.markdown(why)}." for name, why in missing.items())
        parts.append(f"## Not drawn\n\n{reasons}")
    parts.append(f"## The runs\n\n{_runs(groups)}")
    return "\n\n".join(parts) + "\n"


def _sizes(results: Mapping[str, Any]) -> str:
    return " / ".join(map(str, results["shots"][results["convention"]]["classes"]))


def _runs(groups: Sequence[SeedGroup]) -> str:
    rows = []
    for group in groups:
        for member in group.members:
            results = member.run.results
            rows.append(
                [escape.markdown(group.label), escape.markdown_code(member.path), ", ".join(map(str, results["seeds"])),
                 str(member.epochs), f"{results['parameter_count']:,}", duration(results["wall_time_s"]),
                 escape.markdown(str(results["hardware"]))]
            )  # fmt: skip
    return markdown_table(["row", "run", "seeds", "epochs", "parameters", "wall time", "hardware"], rows, numbers=False)
