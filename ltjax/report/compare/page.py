"""comparison.md: the table, what its numbers depend on, the figures with their explanations, and which run is which."""

from collections.abc import Mapping, Sequence
from typing import Any

from ltjax import escape
from ltjax.report.compare.differences import ASPECTS
from ltjax.report.compare.groups import SeedGroup
from ltjax.report.compare.table import Comparison, as_markdown
from ltjax.report.text import CONVENTIONS, duration, markdown_table

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
    lines = [f"Accuracy in %{spread}.{' For all rows: ' + same + '.' if same else ''}"]
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
) -> str:
    """The text of comparison.md.

    Args:
      table, groups: the rows.
      found: the differences between them.
      figures: names of the figures that are drawn.
      missing: figure -> why it is not drawn.
      notes: further remarks below the table.
    """
    parts = ["# Comparison", as_markdown(table), explain(groups, found), *notes]
    parts.append("The same table: [table.csv](table.csv), [table.tex](table.tex).")
    for name in CAPTIONS:
        if name in figures:
            parts.append(f"## {CAPTIONS[name]}\n\n{EXPLAINED[name]}\n\n![{CAPTIONS[name]}]({name}.png)")
    if missing:
        reasons = "\n".join(f"- {CAPTIONS[name]}: {escape.markdown(why)}." for name, why in missing.items())
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
