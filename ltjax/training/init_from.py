"""A run that starts where another one ended: config.init_from."""

from typing import Any

from etils import epath
from flax import traverse_util

from ltjax.data import Data
from ltjax.errors import InputError
from ltjax.methods.stage import AnyStage, Previous, Tree
from ltjax.training.execution.seeds import seeds_of
from ltjax.training.finished_run import open_finished
from ltjax.training.open_stage import shape_of_state
from ltjax.training.workdir.identity import absolute


def check_source(config: Any) -> None:
    """Raises InputError, with the command that makes it, unless config.init_from is the workdir of a finished run."""
    if not config.init_from or (absolute(config.init_from) / "results.json").exists():
        return
    seeds = f" --config.num_seeds={config.num_seeds}" if config.num_seeds > 1 else ""
    seeds += f" --config.seed={config.seed}" if config.seed else ""
    raise InputError(
        f"config.init_from={config.init_from}: no finished run; such a command makes it: python -m ltjax.main "
        f"--config=configs/{config.recipe or 'DATASET'}_ce.py --workdir={config.init_from} "
        f"--config.data.imbalance={config.data.imbalance:g} --config.epochs={config.epochs}{seeds}"
    )


def open_source(config: Any, data: Data, stage: AnyStage, workdir: epath.Path) -> Previous | None:
    """The end of the run config.init_from, as what stood before the stage ``stage``, whose network it must fit.

    None without that setting, and when the workdir's first stage has it already: the other run may be gone by then.

    Raises:
      InputError: other training images, other seeds or another network.
    """
    if not config.init_from or (workdir / "checkpoints" / stage.name / "0").exists():
        return None
    where = f"config.init_from={config.init_from}"
    source = open_finished(config.init_from, {"data.dir": config.data.dir}, "config.init_from")
    if source.data.fingerprint != data.fingerprint:
        raise InputError(f"{where}: was trained on other images (imbalance, selection seed or validation split differ)")
    if seeds_of(source.config) != seeds_of(config):
        raise InputError(
            f"{where}: has the seeds {list(seeds_of(source.config))}, this run {list(seeds_of(config))}; set "
            "config.seed and config.num_seeds alike"
        )
    shape = shape_of_state(data, stage, {}, config.num_seeds)
    wanted = {"params": shape.params, **shape.model_state}
    return Previous(stage.name, _fitting(wanted, source.variables, where), {})


def _fitting(wanted: Tree, variables: Tree, where: str) -> Tree:
    """``variables``, after checking that they are those of the network ``wanted`` describes."""
    own = traverse_util.flatten_dict(wanted, sep="/")
    given = traverse_util.flatten_dict(variables, sep="/")
    for path in sorted(own.keys() | given.keys()):
        here, there = (list(tree[path].shape) if path in tree else "nothing" for tree in (own, given))
        if here != there:
            raise InputError(f"{where}: another network: {path} is {there} there and {here} here")
    return variables
