"""The numbers of a run as text: a plain table for the terminal, and report.md."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ltjax import escape
from ltjax.class_counts import frequency_order
from ltjax.report.run import GROUPS, Run, class_labels, group_sizes, measure, measured, several_seeds

CONVENTIONS = {
    "strict": "many: more than 100 training images, few: fewer than 20",
    "inclusive": "many: 100 training images or more, few: 20 or fewer",
    "index": "by frequency rank: thirds of the classes, or the positions in the config",
}
CAPTIONS = {
    "training": "Training curves",
    "gradients": "Gradients of frequent and rare classes compared with the full gradient",
    "class_losses": "Training loss of the watched classes",
    "accuracy_per_class": "Accuracy of each class against its number of training images",
    "confusion": "Confusion matrix, classes sorted by frequency",
    "weight_norms": "Norm of each class's classifier weights, classes sorted by frequency",
}
OPTIONAL = ("gradients", "class_losses")  # logged only on request, so their absence is not reported
DASH = "-"


def percent(fraction: float | None, deviation: float | None = None) -> str:
    """A fraction as percent with one decimal; a dash for None or not-a-number (an empty group).

    Example:
      >>> percent(0.4231), percent(None), percent(0.4231, 0.0068)
      ('42.3', '-', '42.3 ± 0.7')
    """
    if fraction is None or not math.isfinite(fraction):
        return DASH
    spread = "" if deviation is None or not math.isfinite(deviation) else f" ± {100 * deviation:.1f}"
    return f"{100 * fraction:.1f}{spread}"


def format_table(results: dict[str, Any]) -> str:
    """Plain text for the terminal: accuracy (all, mean class, many, medium, few) and the sizes of the groups.

    ``results`` is the content of results.json; the groups are those of its ``convention``. For several seeds every
    number is mean ± sample standard deviation, and a second table has the accuracies of each seed.

    Example:
      >>> shots = {"strict": {"classes": [1, 1, 0]}}
      >>> accuracy = {"all": 0.8, "mean_class": 0.75, "many": 0.9, "medium": 0.6, "few": None}
      >>> results = {"method": "ce", "dataset": "mnist5k", "split": "test", "epochs": 30, "convention": "strict"}
      >>> print(format_table(results | {"shots": shots, "accuracy": accuracy, "class_counts": [200, 50]}))
      ce on mnist5k, test split, last epoch (30)
                   all  mean class  many  medium  few
      accuracy %  80.0        75.0  90.0    60.0    -
      classes        2           2     1       1    0
      groups: strict (many: more than 100 training images, few: fewer than 20)
    """
    results = measured(results)
    accuracy, convention = results["accuracy"], results["convention"]
    deviation = _deviations(results)["accuracy"]
    total = str(len(results["class_counts"]))
    rows = [
        ["", *_seed_header(results)],
        [f"{measure(results)} %", *(percent(accuracy.get(key), deviation.get(key)) for key in seed_keys(results))],
        ["classes", total, total, *map(str, group_sizes(results))],
    ]
    lines = [escape.terminal(headline(results)), *_aligned(rows)]
    if several_seeds(results):
        lines += [explain_seeds(results), *_aligned([["seed", *_seed_header(results)], *_seed_rows(results)])]
    return "\n".join([*lines, f"groups: {convention} ({explain(convention)})"])


def seed_keys(results: dict[str, Any]) -> tuple[str, ...]:
    """The numbers of one line: of average precision "all" is the mean over classes already."""
    return ("all", "mean_class" if measure(results) == "accuracy" else "micro", *GROUPS)


def _seed_header(results: dict[str, Any]) -> list[str]:
    return [key.replace("_", " ") for key in seed_keys(results)]


def _seed_rows(results: dict[str, Any]) -> list[list[str]]:
    """One row per seed: the seed and its accuracies in the order of the header."""
    return [
        [str(one["seed"]), *(percent(one["accuracy"].get(key)) for key in seed_keys(results))]
        for one in results["per_seed"]
    ]


def explain_seeds(results: dict[str, Any]) -> str:
    return f"mean ± sample standard deviation (divisor n - 1) over n = {len(results['seeds'])} seeds"


def _deviations(results: dict[str, Any]) -> dict[str, Any]:
    """``std`` of results.json; for one seed the same structure without values."""
    without = {"accuracy": {}, "shots": {}, "per_class": [None] * len(results["class_counts"])}
    return without | results.get("std", {})


def format_report(run: Run, figures: Sequence[str], numbered: Mapping[int, str] | None = None) -> str:
    """The text of report.md: results, their conditions, figures (names from CAPTIONS), each class, the settings.

    ``numbered``: class -> name, of the classes that the figures show by number.
    """
    results = run.results
    parts = [f"# {escape.markdown(headline(results))}", _accuracy_section(results)]
    if results.get("views"):
        parts.append(_views_section(results))
    parts.append(_conditions_section(run))
    for name, caption in CAPTIONS.items():
        if name in figures:
            parts.append(f"## {caption}\n\n![{caption}]({name}.png)")
    if numbered:
        parts.append(format_numbered(numbered))
    missing = [caption for name, caption in CAPTIONS.items() if name not in (*figures, *OPTIONAL)]
    if missing:
        parts.append(f"Not drawn, because the run recorded no data for it: {'; '.join(missing)}.")
    parts.append(_classes_section(results))
    if run.config is not None:
        settings = json.dumps(run.config, indent=2, sort_keys=True)
        parts.append(_folded("Settings (config.json)", f"```json\n{settings}\n```"))
    return "\n\n".join(parts) + "\n"


def format_numbered(numbered: Mapping[int, str]) -> str:
    """The sentence on the classes that figures show by number, in Markdown.

    Example:
      >>> print(format_numbered({3: "玫瑰"}))
      In the figures a number stands for a class whose name no installed font can draw: 3 = 玫瑰.
    """
    listed = "; ".join(f"{c} = {escape.markdown(name)}" for c, name in numbered.items())
    return f"In the figures a number stands for a class whose name no installed font can draw: {listed}."


def headline(results: dict[str, Any]) -> str:
    rule = results.get("epoch_rule", "last")
    seeds = f", {len(results['seeds'])} seeds" if several_seeds(results) else ""
    run = f"{results['method']} on {results['dataset']}, {results['split']} split"
    return f"{run}, {rule} epoch ({results['epochs']}){seeds}"


def conventions(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The groups to show, by convention.

    Positions 3 and 6 are CIFAR-10's: with another number of classes they say nothing, unless the config chose them. Of
    9 and 10 classes they are the thirds.

    Example:
      >>> shots = {"strict": {"classes": [9, 9, 9]}, "index": {"classes": [3, 3, 21]}}
      >>> list(conventions({"convention": "strict", "shots": shots}))
      ['strict']
    """
    shown = {name: shots for name, shots in results["shots"].items() if shots}
    sizes = shown.get("index", {}).get("classes", [0, 0, 0])
    if results["convention"] != "index" and sizes[:2] == [3, 3] and sum(sizes) not in (9, 10):
        del shown["index"]
    return shown


def explain(convention: str) -> str:
    return CONVENTIONS.get(convention, "thresholds from the config")


def _aligned(rows: list[list[str]]) -> list[str]:
    """Aligns the first column left and the others right, with two spaces between."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def markdown_table(header: list[str], rows: list[list[str]], numbers: bool = True) -> str:
    """A Markdown table of cells in Markdown (a name from outside: ``escape.markdown``).

    The first column is aligned left, the others right if they are ``numbers``.
    """
    lines = [header, ["---", *["---:" if numbers else "---"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _folded(summary: str, content: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"


class Rows(NamedTuple):
    """A table of plain text: the header, and rows as long."""

    header: list[str]
    rows: list[list[str]]


def overall_rows(results: dict[str, Any]) -> Rows:
    """Accuracy over all classes; of average precision the mean over them, and that of all pairs of image and class."""
    accuracy, spread = results["accuracy"], _deviations(results)["accuracy"]
    keys: tuple[str, ...] = ("all", "mean_class", "worst_class", "harmonic_mean")
    if measure(results) != "accuracy":
        keys = ("all", "micro", "worst_class")
    cells = [percent(accuracy.get(key), spread.get(key)) for key in keys]
    return Rows([f"{measure(results)} (%)", *(key.replace("_", " ") for key in keys)], [["all classes", *cells]])


def group_rows(results: dict[str, Any]) -> Rows:
    """Accuracy of many, medium and few under each convention; a star marks that of the config."""
    rows, deviations = [], _deviations(results)
    for convention, shots in conventions(results).items():
        spread = deviations["shots"].get(convention) or {}
        groups = zip(GROUPS, shots["classes"], strict=True)
        cells = [f"{percent(shots.get(g), spread.get(g))} ({n})" for g, n in groups]
        mark = " *" if convention == results["convention"] else ""
        rows.append([f"{convention}{mark} ({explain(convention)})", *cells])
    return Rows([f"{measure(results)} (%) and number of classes", *GROUPS], rows)


def seed_table(results: dict[str, Any]) -> Rows:
    """Accuracy of each seed."""
    losses = [one.get("train_loss_last_epoch") for one in results["per_seed"]]
    each = zip(_seed_rows(results), losses, strict=True)
    rows = [[*cells, DASH if loss is None else f"{loss:.4g}"] for cells, loss in each]
    return Rows([f"seed: {measure(results)} (%)", *_seed_header(results), "mean training loss of the last epoch"], rows)


def view_rows(results: dict[str, Any]) -> Rows:
    """Accuracy by group of the result and of each view (a single branch, another fusion)."""
    keys = ("all", *GROUPS)
    found = [("the result", results["accuracy"], _deviations(results)["accuracy"])]
    found += [
        (name, view["accuracy"], view.get("std", {}).get("accuracy", {})) for name, view in results["views"].items()
    ]
    rows = [[name, *(percent(accuracy.get(key), spread.get(key)) for key in keys)] for name, accuracy, spread in found]
    return Rows(["accuracy (%)", *keys], rows)


def _as_markdown(table: Rows) -> str:
    return markdown_table(table.header, [[escape.markdown(first), *rest] for first, *rest in table.rows])


def _accuracy_section(results: dict[str, Any]) -> str:
    star = "\\* the convention in this run's config. A dash marks a group without classes."
    text = f"{_as_markdown(overall_rows(results))}\n\n{_as_markdown(group_rows(results))}\n\n{star}"
    if results.get("macro_f1") is not None or results.get("calibration_error"):
        text += f"\n\n{quality_line(results)}."
    return f"{text}\n\n{_seeds_section(results)}" if several_seeds(results) else text


def quality_line(results: dict[str, Any]) -> str:
    """Macro-F1 and the calibration error, in words."""
    spread, errors = results.get("std", {}), results.get("calibration_error") or {}
    known = {group: errors[group] for group in ("all", *GROUPS) if errors.get(group) is not None}
    deviations = spread.get("calibration_error") or {}
    listed = ", ".join(f"{group} {percent(value, deviations.get(group))}" for group, value in known.items())
    parts = (
        [f"Macro-F1 {percent(results['macro_f1'], spread.get('macro_f1'))} %"]
        if results.get("macro_f1") is not None
        else []
    )
    return "; ".join(parts + ([f"expected calibration error (15 bins) in %: {listed}"] if listed else []))


def _seeds_section(results: dict[str, Any]) -> str:
    """The meaning of ±, and the accuracy of each seed."""
    explained = f"Above: {explain_seeds(results)}. The groups follow the convention in the config."
    return f"## Each seed\n\n{explained}\n\n{_as_markdown(seed_table(results))}"


def _views_section(results: dict[str, Any]) -> str:
    return f"## Other views of the network\n\n{_as_markdown(view_rows(results))}"


def conditions(run: Run) -> list[tuple[str, str]]:
    """What the numbers depend on, (name, value) in plain text; rows that the run did not record are omitted."""
    results = run.results
    resumes, tested = results.get("resumes", []), results.get("test_index_sha256")
    rows = [
        ("training images", _training_images(run)),
        ("training index list", f"sha256 {results['train_index_sha256']}"),
        *([("test index list", f"sha256 {tested}")] if tested else []),
        *(("data", note) for note in results.get("data_notes", [])),
        ("parameters", f"{results['parameter_count']:,}"),
    ]
    if results.get("chosen"):
        rows.append(("selected by the run", _selected(results)))
    if results.get("train_loss_last_epoch") is not None:
        spread = results.get("std", {}).get("train_loss_last_epoch")
        loss = f"{results['train_loss_last_epoch']:.4g}" + (f" ± {spread:.2g}" if spread is not None else "")
        rows.append(("mean training loss of the last epoch", loss))
    rows += [
        ("epochs", f"{results['epochs']} ({results['step']:,} steps); the {results['epoch_rule']} epoch is reported"),
        ("seeds", ", ".join(map(str, results["seeds"]))),
        ("hardware", _flat(results["hardware"])),
        ("wall time", duration(results["wall_time_s"]) + (", all seeds together" if several_seeds(results) else "")),
        ("resumes", _resumes(resumes)),
    ]
    if results.get("step_ms") is not None:
        rows.append(("time per step", _step_time(results)))
    if any(results.get("commits", ())):
        rows.append(("commit", ", then ".join(one or "an unknown one" for one in results["commits"])))
    if results.get("versions"):
        rows.append(("versions", _flat(results["versions"])))
    if run.unreadable:
        rows.append(("metrics.jsonl", f"{run.unreadable} unreadable line(s), not included in the curves"))
    for name in run.damaged:
        again = "; remove results.json and run the training command again" if name == "evaluation.npz" else ""
        rows.append((name, f"damaged, so without what depends on it{again}"))
    return rows


def _training_images(run: Run) -> str:
    """The number of images, and the imbalance; one that was asked for and that whole numbers of images do not give."""
    counts, smallest = run.results["class_counts"], min(run.results["class_counts"])
    ratio = "some classes without images"
    if smallest:
        ratio = f"imbalance {max(counts) / smallest:.4g}"
        asked = ((run.config or {}).get("data") or {}).get("imbalance")
        if isinstance(asked, int | float) and asked > 1 and f"{asked:.4g}" != f"{max(counts) / smallest:.4g}":
            ratio += f" (config.data.imbalance={asked:g}, in whole images)"
    classes = f"{run.results['train_size']:,} in {len(counts):,} classes"
    return f"{classes}, {smallest:,} to {max(counts):,}, {ratio}"


def _conditions_section(run: Run) -> str:
    rows = [[name, escape.markdown(value)] for name, value in conditions(run)]
    return f"## What the numbers depend on\n\n{markdown_table(['', ''], rows, numbers=False)}"


def _selected(results: dict[str, Any]) -> str:
    """The hyper-parameters that the run selected; for several seeds the selection of each."""
    each = [one["chosen"] for one in results.get("per_seed", []) if one.get("chosen")]
    values_of = {name: [one[name] for one in each] or [value] for name, value in results["chosen"].items()}
    by_seed = ", one value per seed" if each else ""
    return "; ".join(f"{name} {', '.join(map(_value, values))}" for name, values in values_of.items()) + by_seed


def _value(value: Any) -> str:
    """A number with four digits, a list joined by slashes, anything else unchanged.

    Example:
      >>> _value(0.7), _value([0.123456, 2]), _value("cosine")
      ('0.7', '0.1235/2', 'cosine')
    """
    if isinstance(value, list | tuple):
        return "/".join(map(_value, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _step_time(results: dict[str, Any]) -> str:
    host = results.get("host_ms_per_step")
    on_host = f", {host:.3g} ms of it on the host" if host is not None else ""
    place = "; training images on the device" if results.get("data_on_device") else ""
    return f"{results['step_ms']:.3g} ms{on_host}{place}"


def _resumes(resumes: list[dict[str, Any]]) -> str:
    each = [
        f"{r['stage']} step {r['step']:,}" + (f" (forced: {r['forced']})" if "forced" in r else "") for r in resumes
    ]
    return f"{len(resumes)}: {', '.join(each)}" if resumes else "none"


def _flat(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def duration(seconds: float) -> str:
    """Seconds in seconds, minutes or hours.

    Example:
      >>> duration(42.31), duration(312), duration(7384)
      ('42.3 s', '5 min 12 s', '2 h 03 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _classes_section(results: dict[str, Any]) -> str:
    labels, counts = class_labels(results), results["class_counts"]
    accuracies, deviations = results["per_class"], _deviations(results)["per_class"]
    group = [name for name, size in zip(GROUPS, group_sizes(results), strict=True) for _ in range(size)]
    rows = [
        [f"{escape.markdown(labels[c])} ({g})", f"{counts[c]:,}", percent(accuracies[c], deviations[c])]
        for c, g in zip(frequency_order(counts), group, strict=True)
    ]
    header = ["class (group)", "training images", f"{measure(results)} (%)"]
    return _folded(f"{measure(results).capitalize()} of every class, most frequent first", markdown_table(header, rows))
