"""A run that starts where another one ended: config.init_from."""

from collections.abc import Callable

from etils import epath
from flax import traverse_util

from ltjax.errors import InputError
from ltjax.methods.stage import Previous, Tree
from ltjax.settings import Settings
from ltjax.settings.identity import SHORT_NAMES
from ltjax.settings.user_paths import looked_for
from ltjax.training.execution.seeds import seeds_of
from ltjax.training.finished_run import open_model
from ltjax.training.open_stage import shape_of_state
from ltjax.training.prepare import Setup
from ltjax.training.workdir.data_record import split_difference
from ltjax.training.workdir.fit import difference
from ltjax.training.workdir.identity import absolute


def check_source(config: Settings) -> None:
    """Raises InputError, with the command that makes it, unless config.init_from is the workdir of a finished run."""
    if not config.init_from or (absolute(config.init_from) / "results.json").exists():
        return
    seeds = f" --config.num_seeds={config.num_seeds}" if config.num_seeds > 1 else ""
    seeds += f" --config.seed={config.seed}" if config.seed else ""
    name = SHORT_NAMES.get(config.recipe, config.recipe) or "DATASET"
    raise InputError(
        f"config.init_from={config.init_from}: not a finished run{looked_for(config.init_from)}; make it first, "
        "for example by: python -m "
        f"ltjax.main --config=configs/{name}_ce.py --workdir={config.init_from} "
        f"--config.data.imbalance={config.data.imbalance:g} --config.epochs={config.epochs}{seeds}"
    )


def open_source(config: Settings, setup: Setup, workdir: epath.Path) -> Callable[[], Previous | None]:
    """Gives the end of the run config.init_from, as the stage before the first one; None without that setting.

    It is opened at once for a run that begins, which needs it. Once the first stage has been saved in the workdir it
    is opened only if that checkpoint turns out to be damaged: the other run may be gone by then.

    Raises:
      InputError: other training images, other seeds or another network.
    """
    if not config.init_from:
        return lambda: None
    if (workdir / "checkpoints" / setup.stages[0].name / "0").exists():
        return lambda: _source(config, setup)
    source = _source(config, setup)
    return lambda: source


def _source(config: Settings, setup: Setup) -> Previous:
    """The end of the other run, whose network the first stage's must fit.

    Of a run with a stage of the same name (the first phase of asynchronous modelling) it is the end of that stage.
    """
    data, stage = setup.data, setup.stages[0]
    setting = f"config.init_from={config.init_from}"
    several = data.train.label_sets is not None
    source = open_model(config.init_from, {"data.dir": config.data.dir}, "config.init_from", stage.name, several)
    if source.data.fingerprint != data.fingerprint:
        raise InputError(f"{setting}: trained on other images (imbalance, selection seed or validation split differ)")
    other = split_difference(absolute(config.init_from), data, config.data.verify, "train")
    if other is not None:
        raise InputError(f"{setting}: was trained on other data: {other}; restore the data, or train that run again")
    if seeds_of(source.config) != seeds_of(config):
        raise InputError(
            f"{setting}: has the seeds {list(seeds_of(source.config))}, this run {list(seeds_of(config))}; set "
            "config.seed and config.num_seeds to the same values"
        )
    shape = shape_of_state(data, stage, {}, config.num_seeds)
    wanted = {"params": shape.params, **shape.model_state}
    return Previous(stage.name, _fitting(wanted, source.variables, setting), {})


def _fitting(wanted: Tree, variables: Tree, setting: str) -> Tree:
    """``variables``, after checking that they are those of the network ``wanted`` describes."""
    expected, given = (
        {path: tuple(array.shape) for path, array in traverse_util.flatten_dict(tree, sep="/").items()}
        for tree in (wanted, variables)
    )
    other = difference(expected, given)
    if other:
        raise InputError(f"{setting}: has another network: {other}")
    return variables
