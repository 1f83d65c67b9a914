"""The study: its trials lie in SQLite in its folder, or in Optuna's journal where SQLite's locks do not reach.

What a trial tries depends on the seed, its number and the trials before it alone: a study that was killed goes on as
if it had not been. A process holds a lock in the folder of the trial that it works on; a trial without a holder was
left by one that ended, and is taken up again.
"""

import contextlib
import importlib.util
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from etils import epath

from ltjax.commands.tune.space import Dimension
from ltjax.errors import InputError
from ltjax.settings import Settings
from ltjax.settings.identity import difference
from ltjax.training.workdir.lock import InUse, Lock, on_local_disk

if TYPE_CHECKING:
    import optuna

SQLITE, JOURNAL = "study.db", "study.journal"
STUDY_LOCK, TRIAL_LOCK = "study.lock", "trial.lock"
PATIENCE = 60.0  # seconds that another process may take to choose its trial


class Definition(NamedTuple):
    """What every start of a study has to have in common.

    Attributes:
      settings: of a run without the searched ones.
      space: the searched ones.
      seed: of the proposals.
      objective: the accuracy that is maximised.
      pruning: whether hopeless trials end early.
    """

    settings: Settings
    space: Sequence[Dimension]
    seed: int
    objective: str
    pruning: bool

    def to_json(self) -> dict[str, object]:
        space = {one.key: one.to_json() for one in self.space}
        options = {"seed": self.seed, "objective": self.objective, "pruning": self.pruning}
        made: dict[str, object] = json.loads(json.dumps({"space": space, "options": options}))
        return made | {"settings": json.loads(json.dumps(self.settings.to_dict()))}


class Claimed(NamedTuple):
    """A trial of this process, its folder, and the lock in it."""

    trial: "optuna.Trial"
    folder: epath.Path
    lock: Lock


def check_package() -> None:
    """Raises InputError if Optuna is not installed."""
    if importlib.util.find_spec("optuna") is None:
        raise InputError("optuna is not installed; install it with: pip install 'ltjax[tune]'")


def open_study(folder: epath.Path, definition: Definition, first: int = 0) -> "optuna.Study":
    """The study of a folder, a new one if it has none.

    Args:
      folder: the study's.
      definition: what it searches.
      first: the number of the first evaluation that may end a trial.

    Raises:
      InputError: if it is one of other settings, or cannot be read.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if "://" in str(folder):
        raise InputError(f"--study={folder}: a study needs a folder of this machine or of a shared disk")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--study={folder}: cannot be made ({error.strerror}); use another --study") from None
    pruner = optuna.pruners.MedianPruner(n_warmup_steps=first) if definition.pruning else optuna.pruners.NopPruner()
    with _choosing(folder):
        try:
            study = optuna.create_study(
                storage=_storage(folder), study_name="ltjax", direction="maximize", pruner=pruner, load_if_exists=True
            )
            stored = study.user_attrs.get("definition")
        except Exception as error:  # SQLAlchemy's, and what a journal that is cut off raises
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"--study={folder}: cannot be read ({reason}); use another --study") from error
        if stored is None:
            study.set_user_attr("definition", definition.to_json())
        else:
            _check_same(folder, definition, stored)
    return study


def _storage(folder: epath.Path) -> "optuna.storages.BaseStorage":
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    journal, database = folder / JOURNAL, folder / SQLITE
    if journal.exists() or not (database.exists() or on_local_disk(folder)):
        return optuna.storages.JournalStorage(JournalFileBackend(str(journal), JournalFileOpenLock(str(journal))))
    from sqlalchemy.engine import URL

    url = URL.create("sqlite", database=str(database)).render_as_string()
    return optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": PATIENCE}})


def _check_same(folder: epath.Path, definition: Definition, stored: Mapping[str, object]) -> None:
    ours = definition.to_json()
    changed = [name for name in ("options", "space") if stored.get(name) != ours[name]]
    settings = stored.get("settings")
    other = difference(definition.settings, settings) if isinstance(settings, Mapping) else "its settings are lost"
    if changed:
        there, here = stored.get(changed[0]), ours[changed[0]]
        other = f"its {changed[0]} are {json.dumps(there)} there and {json.dumps(here)} here"
    if other:
        raise InputError(f"--study={folder}: holds another study: {other}; use another --study, or the same command")


@contextlib.contextmanager
def _choosing(folder: epath.Path) -> Iterator[None]:
    """One process at a time opens the study or chooses a trial."""
    began = time.monotonic()
    while True:
        lock = Lock(folder, name=STUDY_LOCK)
        try:
            lock.take()
            break
        except InUse:
            if time.monotonic() - began > PATIENCE:
                raise
            time.sleep(0.1)
    try:
        yield
    finally:
        lock.release()


def next_trial(study: "optuna.Study", definition: Definition, total: int, folder: epath.Path) -> Claimed | None:
    """A trial that another process has left, or else a new one; None if there are ``total`` already."""
    import optuna

    with _choosing(folder):
        trials = study.get_trials(deepcopy=False)
        for left in trials:
            if left.state == optuna.trial.TrialState.RUNNING:
                lock = _claim(folder, left.number)
                if lock is not None:
                    study.sampler = _sampler(definition.seed, left.number)
                    return _suggested(optuna.Trial(study, left._trial_id), definition, folder, lock)
        if len(trials) >= total:
            return None
        study.sampler = _sampler(definition.seed, len(trials))
        trial = study.ask()
        lock = _claim(folder, trial.number)
        assert lock is not None  # nobody else chooses now
        return _suggested(trial, definition, folder, lock)


def folder_of(folder: epath.Path, number: int) -> epath.Path:
    """The workdir of a trial."""
    return folder / "trials" / f"{number:04d}"


def _claim(folder: epath.Path, number: int) -> Lock | None:
    """The lock of a trial; None if a living process has it."""
    place = folder_of(folder, number)
    place.mkdir(parents=True, exist_ok=True)
    lock = Lock(place, name=TRIAL_LOCK)
    try:
        lock.take()
    except InUse:
        return None
    return lock


def _sampler(seed: int, number: int) -> "optuna.samplers.BaseSampler":
    import optuna

    return optuna.samplers.TPESampler(seed=int(np.random.SeedSequence([seed, number]).generate_state(1)[0]))


def _suggested(trial: "optuna.Trial", definition: Definition, folder: epath.Path, lock: Lock) -> Claimed:
    """The trial with a value for each setting; one that was left has them already, and keeps them."""
    for dimension in definition.space:
        if dimension.choices:
            trial.suggest_categorical(dimension.key, dimension.choices)
        elif isinstance(dimension.low, int) and isinstance(dimension.high, int):
            step = int(dimension.step or 1)
            trial.suggest_int(dimension.key, dimension.low, dimension.high, step=step, log=dimension.log)
        else:
            trial.suggest_float(dimension.key, dimension.low, dimension.high, step=dimension.step, log=dimension.log)
    return Claimed(trial, folder_of(folder, trial.number), lock)
