"""A process of ``python -m ltjax.bench scale``: times a training step on all its devices, and prints JSON."""

import json
import sys
from collections.abc import Sequence

from ltjax.bench import measure
from ltjax.commands.cli import guarded
from ltjax.training.execution import cpu_flags


def main(arguments: Sequence[str]) -> int:
    """Prints the milliseconds of each repetition as a JSON list on the last line."""
    parser = measure.Parser("scale", __doc__, repeats=5)
    parser.add_argument("--network", default="resnet8")
    parser.add_argument("--batch", type=measure.at_least(1), default=64)
    options = parser.parse_args(arguments)
    cpu_flags.prepare_cpu()
    import jax
    import numpy as np

    from ltjax.bench import problems
    from ltjax.training.execution import mesh as meshes
    from ltjax.training.execution.programs import streamed_step

    size = problems.default_size(options.network)
    problem = problems.make_problem(options.network, "ce", options.batch, 100, size, options.dtype)
    mesh = meshes.data_mesh()
    step = streamed_step(problem.stage, problems.execution(problem, mesh))
    state = meshes.put_replicated(problems.start(problem, problems.fresh_variables(problem), 0), mesh)
    index = np.arange(options.batch, dtype=np.int32)
    images, labels = problem.images, np.asarray(problem.labels, np.int32)
    batch = meshes.put_split({"image": {"image": images, "label": labels, "index": index}}, mesh)

    def once() -> None:
        nonlocal state
        state, metrics = step(state, {}, batch)
        jax.block_until_ready(metrics)

    times = measure.interleaved({"step": once}, options.repeats)["step"]
    print(json.dumps([1e3 * seconds for seconds in times]))
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
