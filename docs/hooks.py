"""What MkDocs cannot do by itself: equations as MathML, and tables that stand in one place only.

A line ``<!-- numbers: NAME -->`` becomes the measured and the published accuracy of that row of the tables,
``<!-- recent: NAME -->`` the measured one of a word of ``mnist5k_recent.py``, ``<!-- settings: NAME -->`` the settings
of a method or a block, ``<!-- refusals: all -->`` what each method refuses.
Everything is made at build time; the site loads no script and no font from elsewhere.
"""

import dataclasses
import html
import pathlib
import re

from ltjax.commands.paper_tables.benchmarks import TABLE_METHODS
from ltjax.methods import METHODS
from ltjax.settings import Settings, markdown

DOCS = pathlib.Path(__file__).parent
EQUATION = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
MARKER = re.compile(r"^<!-- (\w+): ([\w.]+) -->$", re.MULTILINE)
SETS = (("CIFAR-100-LT", "cifar100"), ("CIFAR-10-LT", "cifar10"))
FACTORS = (100, 50, 10)


def on_page_markdown(markdown: str, **_: object) -> str:
    filled = MARKER.sub(lambda match: TABLES[match[1]](match[2]), markdown)
    return filled.replace(" ± ", "\u00a0±\u00a0")  # a deviation stays on the line of its mean


def on_page_content(content: str, **_: object) -> str:
    return EQUATION.sub(lambda match: equation(match[2], match[1]), content)


def equation(latex: str, element: str) -> str:
    from latex2mathml.converter import convert  # only the site needs it

    display = "block" if element == "div" else "inline"
    return f'<{element} class="equation">{convert(html.unescape(latex).strip(), display=display)}</{element}>'


def numbers(name: str) -> str:
    """Rows of docs/results.md, and what the papers report."""
    family, _, word = TABLE_METHODS[name].config.partition(":")
    lines = measured_lines(f"mnist5k_{family}.py" + (f":{word}" if word else ""), "mnist-5k-lt")
    row = TABLE_METHODS[name]
    if row.source:
        lines += [
            f"Published ({row.source}), 200 epochs, ResNet-32, test accuracy in %:",
            "",
            "| data set | " + " | ".join(f"imbalance {factor}" for factor in FACTORS) + " |",
            "| --- | --- | --- | --- |",
        ]
        for title, dataset in SETS:
            values = getattr(row, dataset)
            if any(value is not None for value in values):
                cells = ["-" if value is None else f"{value:.2f}" for value in values]
                lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def recent(name: str) -> str:
    """A row of docs/results.md of mnist5k_recent.py, whose word the name is."""
    return "\n".join(measured_lines(f"mnist5k_recent.py:{name}", "methods-since-2021"))


def measured_lines(config: str, anchor: str) -> list[str]:
    """The config's row in docs/results.md as a table of its own, with a link to its conditions; empty without one."""
    found = measured(config)
    if not found:
        return []
    seeds = "three seeds" if "±" in found[0] else "one seed"
    return [
        f"Measured on MNIST-5k-LT, ResNet-8, {seeds} ([conditions](../results.md#{anchor})), test accuracy in %:",
        "",
        "| many | medium | few | all | parameters |",
        "| --- | --- | --- | --- | --- |",
        "| " + " | ".join(found) + " |",
        "",
    ]


def measured(config: str) -> list[str]:
    """many, medium, few, all, parameters of the config's row in docs/results.md; empty without one."""
    for line in (DOCS / "results.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 7 and cells[1] == f"`{config}`":
            return cells[2:]
    return []


def settings(name: str) -> str:
    """The settings of a method, or of a block: "run" is what no block has, "data" is config.data."""
    if name in METHODS:
        # all of them decide the result: the last column says nothing
        rows = markdown(METHODS[name].settings, f"config.{METHODS[name].block}.").splitlines()
        table = "\n".join(row.rpartition("|")[0].rpartition("|")[0] + "|" for row in rows)
    elif name == "run":
        lines = markdown(Settings).splitlines()
        table = "\n".join(line for line in lines if line.partition("`")[2].partition("`")[0].count(".") < 2)
    else:
        block = next(field.default for field in dataclasses.fields(Settings) if field.name == name)
        table = markdown(type(block), f"config.{name}.")
    return f'<div class="settings" markdown>\n\n{table.replace("<", "&lt;")}\n\n</div>\n'


def refusals(name: str) -> str:
    """What refuses the settings of all methods, and why: Method.refuses of every method; ``name`` is "all"."""
    del name
    methods: dict[tuple[str, str], list[str]] = {}
    for method, of in METHODS.items():
        for key, why in of.refuses.items():
            methods.setdefault((why, key), []).append(f"`{method}`")
    settings: dict[tuple[str, str], list[str]] = {}  # in one row: the same methods, the same reason
    for (why, key), names in methods.items():
        settings.setdefault((why, ", ".join(names)), []).append(f"`{key}`")
    rows = sorted((", ".join(sorted(keys)), names, why) for (why, names), keys in settings.items())
    lines = ["| Setting | Refused by | Why |", "| --- | --- | --- |"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, ""])


TABLES = {"numbers": numbers, "recent": recent, "settings": settings, "refusals": refusals}
