"""A run that starts where another one ended: config.init_from."""

from etils import epath
from flax import traverse_util

from ltjax.errors import InputError
from ltjax.methods.stage import Previous, Tree
from ltjax.settings import Settings
from ltjax.settings.identity import SHORT_NAMES
from ltjax.settings.user_paths import looked_for
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.seeds import seeds_of
from ltjax.training.finished_run import open_model
from ltjax.training.open_stage import owner_of, shape_of_state
from ltjax.training.prepare import Setup
from ltjax.training.workdir.checkpoint import abstract, checkpoints
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


def open_source(config: Settings, setup: Setup, workdir: epath.Path) -> Previous | None:
    """The end of the run config.init_from, as the stage before the first one, whose network it must fit.

    Of a run with a stage of the same name (the first phase of asynchronous modelling) it is the end of that stage.

    None without that setting, and if the first stage has been saved in the workdir: the other run may be gone by then.

    Raises:
      InputError: other training images, other seeds or another network.
    """
    if not config.init_from or _is_saved(config, setup, workdir):
        return None
    data, stage = setup.data, setup.stages[0]
    setting = f"config.init_from={config.init_from}"
    source = open_model(config.init_from, {"data.dir": config.data.dir}, "config.init_from", stage.name)
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


def _is_saved(config: Settings, setup: Setup, workdir: epath.Path) -> bool:
    """Whether the workdir has a whole first stage, so that the source is not needed."""
    folder = workdir / "checkpoints" / setup.stages[0].name
    if not (folder / "0").exists():
        return False
    target = abstract(shape_of_state(setup.data, setup.stages[0], {}, config.num_seeds), meshes.replicated(setup.mesh))
    owner = owner_of(workdir, setup.fingerprint)
    with checkpoints(folder, keep=None) as saved:
        return saved.restore_start(owner) is not None and saved.restore(target, owner) is not None


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
