"""The runs of a table's cells: the arguments of each, and the state that its workdir shows."""

import argparse
import os
from collections.abc import Sequence

from ltjax.commands.cli import one_line
from ltjax.commands.paper_tables.structure import DATASETS, FINISHED, Cell, State
from ltjax.errors import InputError


def arguments(cell: Cell, options: argparse.Namespace, settings: Sequence[str], seed: int | None = None) -> list[str]:
    """The arguments of ``ltjax train`` for this cell; with ``seed`` for the run of this seed."""
    file, colon, words = cell.config.partition(":")
    folder, weights = options.data_dir.get(DATASETS.get(cell.dataset)), options.weights.get(cell.weights)
    inside = [] if seed is None else [f"seed_{seed}"]
    return [
        f"--config={file if file.endswith('.py') else f'configs/{file}.py'}{colon}{words}",
        f"--workdir={os.path.join(options.root, cell.name, *inside)}",
        f"--config.num_seeds={options.num_seeds if seed is None else 1}",
        *([] if seed is None else [f"--config.seed={seed}"]),
        *([f"--config.init_from={os.path.join(options.root, cell.starts_from, *inside)}"] if cell.starts_from else []),
        *([f"--config.model.pretrained={weights}"] if weights else []),
        *([f"--config.data.dir={folder}"] if folder else []),
        *settings,
    ]


def runs_of(cell: Cell, options: argparse.Namespace, settings: Sequence[str]) -> list[list[str]]:
    """The arguments of each run of a cell: one, or with --separate-seeds one for each seed."""
    seeds: Sequence[int | None] = range(options.num_seeds) if options.separate_seeds else (None,)
    return [arguments(cell, options, settings, seed) for seed in seeds]


def state_of_cell(cell: Cell, options: argparse.Namespace, settings: Sequence[str]) -> State:
    """The state of a cell, also of one whose weights are not given.

    With --separate-seeds it has the numbers of the seeds that are finished.
    """
    needed = missing_weights(cell, options)
    if needed:
        return State(f"needs weights: {needed}")
    other = mixed_up(cell, options)
    if other:
        return State(other)
    return joined([state_of(argv) for argv in runs_of(cell, options, settings)])


def mixed_up(cell: Cell, options: argparse.Namespace) -> str:
    """What is wrong where the cell's folder has a run of all seeds beside runs of single seeds, or ""."""
    from ltjax.training.workdir.identity import absolute

    folder = absolute(os.path.join(options.root, cell.name))
    if options.separate_seeds and (folder / "config.json").exists():
        return "holds a run of all its seeds: leave --separate-seeds out, or use another --root"
    if not options.separate_seeds and (folder / "seed_0" / "config.json").exists():
        return "holds a run for each seed: add --separate-seeds, or use another --root"
    return ""


def joined(states: Sequence[State]) -> State:
    """The state of a cell from those of its runs, one for each seed."""
    if len(states) == 1:
        return states[0]
    from ltjax.report.seeds import merged

    finished = [state.results for state in states if state.results]
    results = merged(finished) if finished else None
    data = {results["train_index_sha256"] for results in finished}
    if len(data) > 1:
        return State(f"its seeds are of different training images: {', '.join(one[:12] for one in sorted(data))}")
    waiting = [(seed, state.text) for seed, state in enumerate(states) if state.text != FINISHED]
    if not waiting:
        return State(FINISHED, results)
    seed, text = waiting[0]
    text = text if len(waiting) == len(states) else f"{len(finished)} of {len(states)} seeds; seed {seed}: {text}"
    return State(text, results)


def missing_weights(cell: Cell, options: argparse.Namespace) -> str:
    """How to give the pretrained weights that the cell needs, or ""."""
    return f"give --weights={cell.weights}=FILE" if cell.weights and cell.weights not in options.weights else ""


def state_of(argv: Sequence[str]) -> State:
    """The state of the run with these arguments; changes nothing and starts no device."""
    from ltjax.commands.paper_tables.speed import read as read_speed
    from ltjax.methods.configure import from_command_line
    from ltjax.settings.identity import difference
    from ltjax.training.workdir.identity import absolute, has_begun
    from ltjax.training.workdir.json_files import read_object

    try:
        config, workdir = from_command_line(argv)
    except InputError as error:
        return State(f"bad setting: {one_line(error)}")
    folder = absolute(workdir)
    stored, results = folder / "config.json", folder / "results.json"
    if not stored.exists():
        return State("a run without its config.json" if results.exists() else "not run yet")
    config_there = read_object(stored)
    if config_there is None:
        return State("its config.json is damaged")
    other = difference(config, config_there)
    if other:
        held = results.exists() or has_begun(folder)  # a run that failed before its first checkpoint is no obstacle
        return State(f"holds another config: {other}" if held else "not run yet")
    if not results.exists():
        return State("begun, not finished")
    found = read_object(results)
    if found is None:
        return State("its results.json is damaged")
    report = (folder / "report" / "report.md").exists()  # main writes it last
    speed = read_speed(folder)
    return State(FINISHED if report else "finished, without its report", found | ({"speed": speed} if speed else {}))
