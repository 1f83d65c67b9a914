"""--resume=force: a run of another config or on other data goes on under this one, where its state fits."""

import json
from typing import Any

import jax
from etils import epath

from ltjax.data.digests import data_digests
from ltjax.data.digests import difference as data_digests_differ
from ltjax.data.storage.paths import write_atomically
from ltjax.errors import InputError
from ltjax.methods.stage import AnyStage
from ltjax.settings import Settings
from ltjax.training.execution.agreement import everywhere
from ltjax.training.execution.seeds import split_seeds
from ltjax.training.open_stage import resumes, shape_of_state
from ltjax.training.prepare import Setup, stage_steps
from ltjax.training.step.state import moving_part
from ltjax.training.workdir.checkpoint import Checkpoints, checkpoints, is_temporary
from ltjax.training.workdir.checksums import by_path
from ltjax.training.workdir.data_record import read_data_record
from ltjax.training.workdir.fit import difference

FLAG = "--resume=force"


def take_over(config: Settings, setup: Setup, folder: epath.Path, other: str) -> None:
    """Checks that the workdir's checkpoints fit this config and data, and notes in resumes.json that they are taken.

    A later start of the same config needs no flag. Nothing is noted where nothing differs.

    Args:
      config, setup: of this run.
      folder: the workdir.
      other: in words how its config differs; "" if only the data may.

    Raises:
      InputError: there is no checkpoint, or one that does not fit; the workdir is as it was.
    """
    found = {stage.name: _newest(config, setup, folder, stage) for stage in setup.stages}
    begun = {name: one for name, one in found.items() if one is not None}
    if not begun:
        there = sorted(path.name for path in (folder / "checkpoints").iterdir()) if folder.exists() else []
        raise InputError(
            f"{FLAG}: --workdir={folder} has no checkpoint of stage '{setup.stages[0].name}' to continue from"
            f"{f' (its stages: {chr(44).join(there)})' if there else ''}; use another --workdir"
        )
    last = list(begun)[-1]
    for stage in setup.stages:
        if stage.name in begun:
            _check_steps(stage, begun[stage.name][0], stage_steps(stage, config, setup.data), stage.name != last)
    strangers = sorted({fingerprint for _, fingerprint in begun.values()} - {setup.fingerprint})
    data = _data_difference(config, setup, folder) or ("the data differs" if strangers and not other else "")
    if (strangers or data) and jax.process_index() == 0:
        why = "; ".join(one for one in (other, data) if one)
        note = {"stage": last, "step": begun[last][0], "forced": why, "taken_over": strangers}
        write_atomically(folder / "resumes.json", json.dumps([*resumes(folder), note]) + "\n")
    everywhere(True)  # the others read it when they open the checkpoints


def _data_difference(config: Settings, setup: Setup, folder: epath.Path) -> str:
    """How the data differs from that which the run began with; "" if it does not, or nothing is recorded."""
    stored = read_data_record(folder)
    if stored is None:
        return ""
    return data_digests_differ(stored, data_digests(setup.data, config.data.verify), setup.data) or ""


def _newest(config: Settings, setup: Setup, folder: epath.Path, stage: AnyStage) -> tuple[int, str] | None:
    """(step, fingerprint) of the newest good checkpoint of a stage, which fits the stage; None if there is none."""
    place = folder / "checkpoints" / stage.name
    if not place.exists():
        return None
    with checkpoints(place, keep=None) as saved:
        for step in saved.steps():
            try:
                record, layout = saved.record(step), saved.layout(step)
            except Exception as error:  # opening the stage reports it
                if is_temporary(error):
                    raise
                continue
            other = difference(_arrays(_shape(config, setup, stage, saved)), _arrays(layout))
            if other:
                raise InputError(f"{FLAG}: {place}/{step} does not fit this config: {other}; use another --workdir")
            return step, record["fingerprint"]
    return None


def _shape(config: Settings, setup: Setup, stage: AnyStage, saved: Checkpoints) -> Any:
    extras = split_seeds(saved.extras(), config.num_seeds)[0]
    shape = shape_of_state(setup.data, stage, extras, config.num_seeds)
    return moving_part(shape, stage.updates) if stage.updates.frozen_once else shape


def _arrays(tree: Any) -> dict[str, tuple[Any, ...]]:
    """Shape and dtype of each array by path."""
    return {path: (*x.shape, str(x.dtype)) for path, x in by_path(tree).items()}


def _check_steps(stage: AnyStage, step: int, steps: int, ended: bool) -> None:
    """Raises InputError where a stage has other steps than it would have had, or more than it will have."""
    if step > steps or (ended and step != steps):
        raise InputError(
            f"{FLAG}: stage '{stage.name}' has {'ended after' if ended else 'already'} {step} steps, this config gives "
            f"it {steps}; keep batch size and epochs of finished stages, or use another --workdir"
        )
