"""Checkpoints of one stage: `<folder>/<step>`, saved asynchronously and verified when read.

Step 0 holds what the stage's init made (`start`), every step the state; `meta` is what the loop needs to go on
(fingerprint of data and config, metrics not yet logged, time used), with a checksum of every array and of itself.
"""

import contextlib
import errno
import logging
import shutil
import sys
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers as policies

from ltjax.errors import InputError
from ltjax.methods.stage import Tree
from ltjax.training.execution.agreement import everywhere
from ltjax.training.workdir.checksums import (
    Damaged,
    Record,
    check_record,
    checksums,
    compare,
    host_arrays,
    listed,
    not_finite,
    sealed,
)

WEIGHTS = ("params/", "model_state/")  # what must be finite in a state
DAMAGED, DIVERGED = "damaged", "diverged"  # endings of the folders of steps that no run continues from
SMALL = 2**20  # bytes; a disk with less room is full
log = logging.getLogger("ltjax")


class Owner(NamedTuple):
    """Whose checkpoints a run continues from: its own, and those that --resume=force took over.

    Attributes:
      fingerprint: of the run's data and config.
      taken_over: fingerprints of other data or configs under which steps of this workdir were trained.
    """

    fingerprint: str
    taken_over: Collection[str] = ()

    def made(self, where: str, record: Record) -> bool:
        """Whether a checkpoint is of this data and config; False if it was taken over.

        Raises:
          InputError: if it is neither.
        """
        there, here = record["fingerprint"], self.fingerprint
        if there != here and there not in self.taken_over:
            raise InputError(
                f"{where}: was trained on other data (fingerprint {there[:12]}, here {here[:12]}); use another "
                "--workdir or the data it was trained on, or continue on this data with --resume=force"
            )
        return there == here


class Restored(NamedTuple):
    step: int
    state: Tree
    meta: Record


def abstract(tree: Tree, sharding: Any) -> Tree:
    """Shapes, dtypes and sharding of a tree."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), jnp.result_type(x), sharding=sharding), tree)


class Checkpoints:
    """The checkpoints of one stage."""

    def __init__(self, folder: epath.Path, keep: int | None):
        """Keeps step 0 and the `keep` newest, but at least two; None opens them for reading only.

        Two, because the newest may turn out to be damaged, or of a training that diverged in its last update.
        """
        for name in ("absl", "asyncio", "concurrent.futures"):
            # orbax logs every save, and in its threads the trace of every error that `wait` raises
            logging.getLogger(name).setLevel(logging.CRITICAL)
        _drop_late_callbacks()
        self.folder = folder
        if keep is None:
            options = ocp.CheckpointManagerOptions(read_only=True)
        else:
            newest = policies.LatestN(max(keep, 2))
            keep_these = policies.AnyPreservationPolicy([newest, policies.CustomSteps([0])])
            options = ocp.CheckpointManagerOptions(preservation_policy=keep_these, cleanup_tmp_directories=True)
        self.read_only = keep is None
        self.manager = ocp.CheckpointManager(folder, options=options)
        self.damaged: dict[int, str] = {}  # steps that `restore` could not read, and why
        # A saved buffer must not be the one that the next step overwrites: on CPU the host's view shares its memory.
        self.copy = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))

    def save(self, step: int, state: Tree, meta: Record, start: Tree | None = None) -> None:
        """Starts writing; an error of the previous save is raised here. An existing step is left as it is.

        Raises:
          FloatingPointError: if parameters or statistics of the network are not finite; such a state is not saved.
        """
        self.wait()
        if step in self.manager.all_steps():
            return
        state = self.copy(state)
        arrays = host_arrays(state)
        broken = not_finite({path: array for path, array in arrays.items() if path.startswith(WEIGHTS)})
        if broken:
            raise FloatingPointError(
                f"the network is not finite after step {step} of stage '{self.folder.name}' ({listed(broken)}); try a "
                "smaller config.optimizer.learning_rate"
            )
        record = meta | {"state": checksums(arrays)}
        items: dict[str, Any] = {"state": ocp.args.StandardSave(state)}
        if start is not None:
            items["start"] = ocp.args.StandardSave(start)
            record |= {"start": checksums(host_arrays(start))}
        items["meta"] = ocp.args.JsonSave(sealed(record))
        with self._written():
            self.manager.save(step, args=ocp.args.Composite(**items), force=True)

    def wait(self) -> None:
        """Waits for the current save and raises its error."""
        with self._written():
            self.manager.wait_until_finished()
            self.manager.check_for_errors()

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        """Any error of writing inside becomes an OSError of one line."""
        try:
            yield
        except Exception as error:
            room = "; the disk is full" if _is_full(self.folder, error) else ""
            raise OSError(
                f"{self.folder}: the checkpoint could not be written{room}; the one before is kept: make room, then "
                f"run the same command to resume ({_line(error)})"
            ) from error

    def steps(self) -> list[int]:
        """Newest first."""
        return sorted(self.manager.all_steps(), reverse=True)

    def restore_start(self, owner: Owner | None = None) -> Tree | None:
        """What the stage's init made, as host arrays; None if step 0 is missing, damaged or an earlier config's.

        Raises:
          InputError: if step 0 belongs to other data or another config than `owner`, which took over none of it.
        """
        if 0 not in self.manager.all_steps():
            return None
        try:
            record = self.record(0)
            if owner is not None and not owner.made(f"{self.folder}/0", record):
                return None
            start = self.manager.restore(0, args=ocp.args.Composite(start=ocp.args.StandardRestore()))["start"]
            if "start" in record:
                compare(record["start"], host_arrays(start))
        except InputError:
            raise
        except Exception as error:
            if not self.read_only:
                log.warning("%s/0 cannot be read, and what it holds is made again: %s", self.folder, _line(error))
            start = None
        return start if everywhere(start is not None) else None

    def extras(self) -> Tree:
        """Zeros of the layout of `extras` in the newest readable state; {} if there is none."""
        for step in self.steps():
            with contextlib.suppress(Exception):  # `restore` reports what cannot be read
                extras = self.layout(step)["extras"]
                return jax.tree.map(lambda x: np.broadcast_to(np.zeros((), x.dtype), x.shape), extras)
        return {}

    def layout(self, step: int) -> Any:
        """The state of a step as nested dicts and lists of objects with shape and dtype; no array is read."""
        with ocp.StandardCheckpointer() as reader:
            return reader.metadata(self.folder / str(step) / "state").item_metadata.tree

    def restore(self, target: Tree, owner: Owner) -> Restored | None:
        """The newest step that can be read, with the layout of `target`; None if there is none.

        Steps that cannot be read are reported, and kept beside the others as `<step>.damaged`.

        Raises:
          InputError: if that step belongs to other data or another config.
        """
        for step in self.steps():
            restored = self._read(step, target, owner)
            if restored is not None:
                break
        else:
            restored = None
        if self.damaged and not self.read_only:
            where = f"the last good step, {restored.step}" if restored else "the beginning: no step can be read"
            log.warning("%s: continues from %s; see the lines above", self.folder, where)
            self.set_aside(self.damaged, DAMAGED)
        return restored

    def _read(self, step: int, target: Tree, owner: Owner) -> Restored | None:
        """One step; None if it is damaged, in any process."""
        restored, why = None, "another process cannot read it"
        try:
            record = self.record(step)
            owner.made(f"{self.folder}/{step}", record)
            args = ocp.args.Composite(state=ocp.args.StandardRestore(target))
            state = jax.block_until_ready(self.manager.restore(step, args=args)["state"])
            if "state" in record:
                compare(record["state"], host_arrays(state))
            restored = Restored(step, state, record)
        except InputError:
            raise
        except Exception as error:
            why = _line(error)
        if everywhere(restored is not None):
            assert restored is not None
            if "state" not in restored.meta:
                log.warning("%s/%d is of an older ltjax, without checksums: it is not verified", self.folder, step)
            return restored
        self.damaged[step] = why
        if not self.read_only:
            log.warning("%s/%d cannot be read and is skipped: %s", self.folder, step, why)
        return None

    def record(self, step: int) -> Record:
        """What the loop needs to go on, and the checksums. Raises Damaged, or what reading it raises."""
        restored = self.manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))
        return check_record(restored["meta"])

    def set_aside(self, steps: Collection[int], ending: str) -> None:
        """Renames these steps to `<step>.<ending>`, so that the run can write them again and nothing is lost."""
        if jax.process_index() == 0:
            for step in steps:
                aside = self.folder / f"{step}.{ending}"
                if aside.exists():
                    aside.rmtree()
                (self.folder / str(step)).rename(aside)
        everywhere(True)  # the others wait until it is done
        self.manager.reload()

    def close(self) -> None:
        self.wait()
        self.manager.close()


def _drop_late_callbacks() -> None:
    """tensorstore reports to an event loop that a failed save has closed; without this Python prints a trace of it."""
    before = sys.unraisablehook
    if getattr(before, "__name__", "") == "without_late_callbacks":
        return

    def without_late_callbacks(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            before(unraisable)

    sys.unraisablehook = without_late_callbacks


def _is_full(folder: epath.Path, error: BaseException) -> bool:
    """Whether an error is one of a full disk or quota; tensorstore has it in its text alone."""
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return True
    full = ("No space left", "ENOSPC", "quota", "Error writing local file")
    with contextlib.suppress(OSError):
        if any(word in str(error) for word in full):
            return shutil.disk_usage(folder).free < SMALL or "quota" in str(error)
    return False


@contextlib.contextmanager
def checkpoints(folder: epath.Path, keep: int | None) -> Iterator[Checkpoints]:
    """Opens the checkpoints of a stage; at the end waits for the current save and raises its error."""
    opened = Checkpoints(folder, keep)
    try:
        yield opened
    finally:
        opened.close()


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, Damaged) else f"{type(error).__name__}: {text}"
