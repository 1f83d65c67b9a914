"""Compiles a run for any TPU slice, or for the GPUs of this machine: does it fit, and how long does it take?

python -m ltjax.dryrun --config=configs/inat_reslt.py --topology=v5e:16x16 [--config.KEY=VALUE ...]

It compiles the train and evaluation steps of ltjax.main with the real compiler (for TPUs that of libtpu: pip install
'ltjax[tpu]'; no TPU is needed) and prints per chip: memory, FLOPs, bytes, collectives, and the shortest time that the
chip's peak rates allow. The data set need not be on this machine. Exit status: 0 fits, 1 does not fit, 2 bad input.
"""

import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from ltjax.commands.cli import Parser, guarded
from ltjax.commands.text_output import writable, write_json
from ltjax.settings import Settings


def parse(argv: Sequence[str]) -> tuple[Any, list[str]]:
    """The options of this command, and the arguments for the config."""
    parser = Parser("dryrun", "ltjax.dryrun", __doc__)
    parser.add_argument("--topology", default="local", help="such as v5e:16x16; default: this machine's accelerators")
    parser.add_argument("--stage", metavar="NAME", help="only this stage; default: all trained stages")
    parser.add_argument("--no-largest", action="store_true", help="do not search for the largest batch that fits")
    parser.add_argument("--json", metavar="FILE", type=writable, help="also write the numbers to this file")
    return parser.parse_known_args(argv)


def run(argv: Sequence[str]) -> int:
    from ltjax.dryrun import devices

    options, rest = parse(argv)
    devices.prepare(options.topology)
    from ltjax.methods.configure import from_command_line

    rest = [word for word in rest if not word.startswith(("--workdir=", "-workdir="))]
    config, _ = from_command_line([*rest, "--workdir=none"])
    source = next(word.partition("=")[2] for word in rest if word.startswith(("--config=", "-config=")))
    import jax

    if config.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    return report(config, source, devices.open_slice(options.topology), options.stage, options.no_largest, options.json)


def report(
    config: Settings, source: str, target: Any, stage: str | None, no_largest: bool, json: pathlib.Path | None
) -> int:
    """Compiles, prints, and writes the JSON; returns the exit status."""
    from ltjax.dryrun import plan as plans
    from ltjax.dryrun import text
    from ltjax.dryrun.progress import reported

    with reported("preparing the run's data and shapes", log):
        plan = plans.plan_for(config, target)
    stages = plans.chosen_stages(plan, stage)
    print("\n".join(text.heading(plan, target, source)), flush=True)
    programs = plans.compile_all(plan, stages, target, log)
    fits, lines = text.verdict(plan, programs, target)
    tries = []
    if not no_largest and stages:
        index = max(range(len(stages)), key=lambda i: programs[i].needed)  # the stage that needs most memory
        tries = plans.find_largest(plan, stages[index], programs[index], target, log)
        lines.append(text.largest_line(tries, target.chips, programs[index].name))
    if fits:
        plans.check_epoch(plan, stages)
    print("\n" + text.program_table(plan, programs, target))
    print("\n".join([*(text.run_lines(plan, programs, target) if fits else []), *lines]))
    print("\n" + text.footnotes(programs))
    write_json(json, text.record(plan, programs, target, source, fits, tries))
    return 0 if fits else 1


def log(line: str) -> None:
    """Prints progress on stderr; stdout has only the report."""
    print(line, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return guarded(run, argv)


if __name__ == "__main__":
    sys.exit(main())
