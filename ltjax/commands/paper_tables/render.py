"""A paper's table as Markdown: the paper's numbers beside ours, then the runs and what their numbers depend on."""

from collections.abc import Callable, Mapping
from typing import Any

from ltjax import escape
from ltjax.commands.paper_tables.benchmarks import Benchmark, published
from ltjax.commands.paper_tables.structure import SPEED, Cell, PaperTable, Result, Row, State, cell_of
from ltjax.report import Entry, commits_of, format_comparison, percent
from ltjax.report.text import DASH, markdown_table

GROUPS = ("many", "medium", "few")
RUNS = ["run", "state", "seeds", "parameters", "wall time (s)", "hardware", "training images", "data", "commit"]


StateOf = Callable[[Cell], State]


def paper_sections(table: PaperTable, state_of: StateOf, data: str = "", short: bool = False) -> list[str]:
    """The paragraphs of a paper's table: the table in the paper's form, its notes, and its runs."""
    states = {cell.name: state_of(cell) for cell in table.cells(data, short)}

    def state(result: Result) -> State:
        if not result.config:
            return State(f"not built: {result.reason}" if result.reason else "")
        return states[cell_of(result, data, short).name]

    header = [*table.header, *(_heading(c, m) for c in table.columns for m in table.metrics), "state"]
    rows = [_row(table, row, [state(result) for result in row.results]) for row in table.rows]
    shots = f" Many / medium / few: the `{table.shots}` groups." if {*table.metrics.values()} & {*GROUPS} else ""
    parts = [
        "Each number: the paper's / ours, mean ± sample standard deviation over the seeds; a number alone is the "
        f"paper's.{shots}",
        markdown_table(header, rows),
        *table.notes,
    ]
    if states:
        parts += ["## Runs", markdown_table(RUNS, [run_row(name, state) for name, state in states.items()])]
    return parts


def _heading(column: str, metric: str) -> str:
    return f"{column} {metric}".strip() or "All"


def _row(table: PaperTable, row: Row, states: list[State]) -> list[str]:
    numbers = []
    for result, state in zip(row.results, states, strict=True):
        printed = result.published.split() or [DASH] * len(table.metrics)
        for number, place in zip(printed, table.metrics.values(), strict=True):
            ours = value_of(state.results, place, table.shots, result.view) if state.results else DASH
            numbers.append(f"{number} / {ours}" if result.config else number)
    return [
        *row.labels,
        *numbers,
        escape.markdown("; ".join(dict.fromkeys(state.text for state in states if state.text))),
    ]


def value_of(results: Mapping[str, Any], place: str, shots: str = "strict", view: str = "") -> str:
    """A number of results.json as the table prints it, with its deviation if there are several seeds.

    Args:
      results: the run's.
      place: all; many, medium or few; parameters; speed (milliseconds for 64 images); report.NAME, a number that the
        last stage reports.
      shots: which groups many, medium and few are.
      view: the prediction whose accuracy it is; "" = the run's result.

    Example:
      >>> value_of({"accuracy": {"all": 0.4534}, "std": {"accuracy": {"all": 0.004}}}, "all")
      '45.3 ± 0.4'
      >>> value_of({"report": {"tau": 0.7}}, "report.tau"), value_of({"parameter_count": 470388}, "parameters")
      ('0.7', '470,388')
    """
    if place == "parameters":
        return f"{results['parameter_count']:,}"
    if place == SPEED:
        milliseconds = results.get("speed", {}).get("ms", {}).get(view)
        return DASH if milliseconds is None else f"{milliseconds:.1f}"
    deviations = results.get("std", {})
    block, _, key = place.rpartition(".")
    if block:
        number, deviation = results.get(block, {}).get(key), deviations.get(block, {}).get(key)
        return DASH if number is None else f"{number:.4g}" + (f" ± {deviation:.2g}" if deviation else "")
    if view:
        of_view = results["views"][view]
        return percent(of_view["accuracy"].get(key), of_view.get("std", {}).get("accuracy", {}).get(key))
    if key in GROUPS:
        return percent(results["shots"][shots].get(key), deviations.get("shots", {}).get(shots, {}).get(key))
    return percent(results["accuracy"].get(key), deviations.get("accuracy", {}).get(key))


def run_row(name: str, state: State) -> list[str]:
    results = state.results
    if results is None:
        return [f"`{name}`", escape.markdown(state.text), *[""] * (len(RUNS) - 2)]
    return [
        f"`{name}`",
        escape.markdown(state.text),
        str(len(results["seeds"])),
        f"{results['parameter_count']:,}",
        f"{results['wall_time_s']:,.1f}",
        escape.markdown(str(results["hardware"])),
        f"{results['train_size']:,}",
        f"`{results['train_index_sha256'][:12]}`",
        commits_of(results),
    ]


def benchmark_sections(
    table: Benchmark, state_of: StateOf, short: bool = False, only_finished: bool = False
) -> list[str]:
    """The paragraphs of a benchmark: a section for each data set and imbalance, and the sources of the numbers.

    With ``only_finished`` without the rows, and sections, that have no results.
    """
    states = {cell.name: state_of(cell) for cell in table.cells(short=short)}
    parts, cited = [], False
    for dataset, factors in table.datasets:
        for i, imbalance in enumerate(factors):
            entries = []
            for name, method in table.methods.items():
                state, number = states[f"{dataset}_if{imbalance}_{name}"], published(method, dataset, i)
                if only_finished and not state.results:
                    continue
                entries.append(Entry(name, state.results, state.text.partition(":")[0], number))
                cited = cited or bool(number)
            if entries:
                parts += [f"## {dataset}, imbalance {imbalance}", format_comparison(entries)]
    if cited:
        sources: dict[str, list[str]] = {}
        for name, method in table.methods.items():
            sources.setdefault(method.source, []).append(name)
        listed = ". ".join(f"{', '.join(names)}: {source}" for source, names in sources.items() if source)
        parts.append(f"Paper: all classes, full schedule. {listed}.")
    return parts
