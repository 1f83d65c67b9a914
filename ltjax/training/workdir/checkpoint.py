"""Checkpoints of one stage: `<folder>/<step>`, saved asynchronously and verified when read.

Step 0 holds what the stage's init made (`start`), every step the state; `meta` is what the loop needs to go on
(fingerprint of data and config, metrics not yet logged, time used), with a checksum of every array and of itself.
"""

import contextlib
import errno
import logging
import os
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
from ltjax.methods.stage import Tree, Updates
from ltjax.training.execution.agreement import everywhere, highest
from ltjax.training.out_of_memory import lacks_memory
from ltjax.training.step.state import moving_part, with_frozen
from ltjax.training.workdir.checksums import (
    Damaged,
    Record,
    by_path,
    check_record,
    checksums,
    compare,
    digest,
    host_arrays,
    listed,
    not_finite,
    sealed,
)

WEIGHTS = ("params/", "model_state/", "average/")  # what must be finite in a state
DAMAGED, DIVERGED = "damaged", "diverged"  # endings of the folders of steps that no run continues from
SMALL = 2**20  # bytes; a disk with less room is full
# Errors of reading that a damaged folder gives; every other OSError is one of the machine or of its storage.
OF_DAMAGE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ENAMETOOLONG}
OF_THE_MACHINE = (
    "RESOURCE_EXHAUSTED", "UNAVAILABLE", "DEADLINE_EXCEEDED", os.strerror(errno.EMFILE), os.strerror(errno.ENFILE),
    os.strerror(errno.EIO), os.strerror(errno.ESTALE),
)  # fmt: skip
# Loggers in which orbax reports every save, and its threads the trace of every error that is raised as well.
NOISY = ("absl", "asyncio", "concurrent.futures")
CLOUD = {"aiohttp", "botocore", "gcsfs", "google", "s3fs"}  # packages whose errors come from the network
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
            (images, settings), (our_images, our_settings) = (one.rpartition("-")[::2] for one in (there, here))
            if images != our_images:
                what, those = f"on other images (index {images[:12]}, here {our_images[:12]})", "those images"
            else:
                what, those = f"with other settings (checksum {settings}, here {our_settings})", "those settings"
            raise InputError(
                f"{where}: was trained {what}; use another --workdir or {those}, or continue here with --resume=force"
            )
        return there == here


class Restored(NamedTuple):
    step: int
    state: Tree
    meta: Record


def abstract(tree: Tree, sharding: Any) -> Tree:
    """Shapes, dtypes and sharding of a tree; ``sharding`` is one for all arrays (None: any), or one for each."""

    def shape_of(x: Any, sharding: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(np.shape(x), jnp.result_type(x), sharding=sharding)

    if sharding is None or isinstance(sharding, jax.sharding.Sharding):
        return jax.tree.map(lambda x: shape_of(x, sharding), tree)
    return jax.tree.map(shape_of, tree, sharding)


class Checkpoints:
    """The checkpoints of one stage."""

    def __init__(self, folder: epath.Path, keep: int | None):
        """Keeps step 0 and the `keep` newest, but at least two; None opens them for reading only.

        Two, because the newest may turn out to be damaged, or of a training that diverged in its last update.
        """
        self.levels = {name: logging.getLogger(name).level for name in NOISY}
        for name in NOISY:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.failed = False  # a step could not be read or written
        _drop_late_callbacks()
        self.folder = folder
        if keep is None:
            options = ocp.CheckpointManagerOptions(read_only=True)
        else:
            newest = policies.LatestN(max(keep, 2))
            keep_these = policies.AnyPreservationPolicy([newest, policies.CustomSteps([0])])
            options = ocp.CheckpointManagerOptions(preservation_policy=keep_these, cleanup_tmp_directories=True)
        self.read_only = keep is None
        self.apart: tuple[Updates, Tree, str] | None = None  # what `keep_apart` was given, and a checksum of it
        self.manager = ocp.CheckpointManager(folder, options=options)
        self.damaged: dict[int, str] = {}  # steps that `restore` could not read, and why
        # A saved buffer must not be the one that the next step overwrites: on CPU the host's view shares its memory.
        self.copy = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))

    def keep_apart(self, updates: Updates, frozen: Tree) -> None:
        """From here on steps hold only what `updates` train; `frozen` is the rest of what `restore` returns."""
        self.apart = updates, frozen, digest(host_arrays(frozen))

    def save(self, step: int, state: Tree, meta: Record, start: Tree | None = None) -> None:
        """Starts writing; an error of the previous save is raised here. An existing step is left as it is.

        Raises:
          FloatingPointError: if parameters or statistics of the network are not finite; such a state is not saved.
        """
        self.wait()
        if step in self.manager.all_steps():
            return
        state = self.copy(state if self.apart is None else moving_part(state, self.apart[0]))
        arrays = host_arrays(state)
        broken = not_finite({path: array for path, array in arrays.items() if path.startswith(WEIGHTS)})
        if broken:
            raise FloatingPointError(
                f"the network is not finite after step {step} of stage '{self.folder.name}' ({listed(broken)}); try a "
                "smaller config.optimizer.learning_rate"
            )
        record = meta | {"state": checksums(arrays)} | ({"frozen": self.apart[2]} if self.apart else {})
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
            self.failed = True
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
          OSError: if it cannot be read now, though nothing says that it is damaged.
        """
        if 0 not in self.manager.all_steps():
            return None
        start, failure = None, None
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
            failure = error
        if self._read_everywhere(0, failure):
            return start
        if failure is not None and not self.read_only:
            log.warning("%s/0 cannot be read, and what it holds is made again: %s", self.folder, _line(failure))
        return None

    def extras(self) -> Tree:
        """Zeros of the layout of `extras` in the newest readable state; {} if there is none."""
        for step in self.steps():
            try:
                extras = self.layout(step)["extras"]
                return jax.tree.map(lambda x: np.broadcast_to(np.zeros((), x.dtype), x.shape), extras)
            except Exception as error:  # `restore` reports what cannot be read
                if is_temporary(error):
                    raise
        return {}

    def layout(self, step: int) -> Any:
        """The state of a step as nested dicts and lists of objects with shape and dtype; no array is read."""
        with ocp.StandardCheckpointer() as reader:
            return reader.metadata(self.folder / str(step) / "state").item_metadata.tree

    def restore(self, target: Tree, owner: Owner) -> Restored | None:
        """The newest step that can be read, with the layout of `target`; None if there is none.

        Steps that cannot be read are reported, and kept beside the others as `<step>.damaged`.

        Raises:
          InputError: if that step belongs to other data or another config, or of several steps none can be read.
          OSError: if a step cannot be read now, though nothing says that it is damaged.
        """
        target = target if self.apart is None else moving_part(target, self.apart[0])
        for step in self.steps():
            restored = self._read(step, target, owner)
            if restored is not None:
                restored = self._whole(restored)
                break
        else:
            restored = None
        if restored is None and len(self.damaged) > 1 and not self.read_only:
            raise InputError(
                f"{self.folder}: none of its {len(self.damaged)} checkpoints can be read (see the lines above); copy "
                "the folder again, or remove it to train this stage from the beginning"
            )
        if self.damaged and not self.read_only:
            where = f"the last good step, {restored.step}" if restored else "the beginning: no step can be read"
            log.warning("%s: continues from %s; see the lines above", self.folder, where)
            self.set_aside(self.damaged, DAMAGED)
        return restored

    def _whole(self, restored: Restored) -> Restored:
        """The step with the frozen parameters.

        Raises:
          InputError: if they are not those that it was trained with.
        """
        if self.apart is None:
            return restored
        if restored.meta.get("frozen") != self.apart[2]:
            raise InputError(
                f"{self.folder}/{restored.step}: was trained with other frozen weights, and {self.folder}/0, which had "
                "them, cannot be read; restore the file of config.model.pretrained as it was, or copy the folder again"
            )
        return restored._replace(state=with_frozen(restored.state, self.apart[1]))

    def _read(self, step: int, target: Tree, owner: Owner) -> Restored | None:
        """One step; None if it is damaged, in any process."""
        restored, failure = None, None
        try:
            restored = self._verified(step, target, owner)
        except InputError:
            raise
        except Exception as error:
            failure = error
        if self._read_everywhere(step, failure):
            assert restored is not None
            if "state" not in restored.meta:
                log.warning("%s/%d is of an older ltjax, without checksums: it is not verified", self.folder, step)
            return restored
        self.damaged[step] = why = "another process cannot read it" if failure is None else _line(failure)
        if not self.read_only:
            log.warning("%s/%d cannot be read and is skipped: %s", self.folder, step, why)
        return None

    def _verified(self, step: int, target: Tree, owner: Owner) -> Restored:
        record = self.record(step)
        owner.made(f"{self.folder}/{step}", record)
        args = ocp.args.Composite(state=ocp.args.StandardRestore(target))
        state = jax.block_until_ready(self.manager.restore(step, args=args)["state"])
        if "state" in record:
            try:
                compare(record["state"], host_arrays(state))
            except Damaged:
                stored = self._in_stored_dtypes(step, target)
                if stored is None:
                    raise
                compare(record["state"], host_arrays(stored))
                state = jax.tree.map(_as, stored, target)
        return Restored(step, state, record)

    def _in_stored_dtypes(self, step: int, target: Tree) -> Tree | None:
        """The state as host arrays of the dtypes in which it was saved; None if these are those of `target`.

        A checksum is of the saved dtype. They differ where a float32 run reads one of float64 (config.init_from).
        """
        stored = {path: np.dtype(x.dtype) for path, x in by_path(self.layout(step)).items()}
        wanted = by_path(target)
        if all(stored.get(path, x.dtype) == x.dtype for path, x in wanted.items()):
            return None
        leaves = [np.broadcast_to(np.zeros((), stored.get(path, x.dtype)), x.shape) for path, x in wanted.items()]
        host = jax.tree.unflatten(jax.tree.structure(target), leaves)
        return self.manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(host)))["state"]

    def _read_everywhere(self, step: int, failure: Exception | None) -> bool:
        """Whether every process has read a step; False if it is damaged.

        Raises:
          OSError, or the error for lack of memory: in all processes, if one could not read it for a reason that says
            nothing of what the step holds. Nothing may be set aside then.
        """
        self.failed = self.failed or failure is not None
        mine = failure is not None and is_temporary(failure)
        worst = highest(2 if mine else int(failure is not None))
        if worst < 2:
            return worst == 0
        if failure is not None and lacks_memory(failure):
            raise failure
        reason = _line(failure) if failure is not None and mine else "in another process"
        raise OSError(
            f"{self.folder}/{step}: cannot be read now ({reason}); nothing was changed: run the same command again "
            "once the storage answers, or remove this folder to go on without it"
        ) from failure

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
        if not self.failed:  # after an error its threads may still log a trace of it
            for name, level in self.levels.items():
                logging.getLogger(name).setLevel(level)


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


def is_temporary(error: BaseException) -> bool:
    """Whether an error of reading comes from the machine, its storage or the network, not from what is stored.

    Example:
      >>> is_temporary(OSError(errno.ESTALE, "Stale file handle")), is_temporary(FileNotFoundError(2, "No such file"))
      (True, False)
      >>> is_temporary(ValueError("UNAVAILABLE: ...")), is_temporary(ValueError("Error decoding"))
      (True, False)
    """
    cause: BaseException | None = error
    while cause is not None:
        if lacks_memory(cause) or (isinstance(cause, OSError) and cause.errno not in OF_DAMAGE):
            return True
        if type(cause).__module__.partition(".")[0] in CLOUD or any(word in str(cause) for word in OF_THE_MACHINE):
            return True
        cause = cause.__cause__
    return False


def _as(array: np.ndarray, target: Any) -> jax.Array:
    """An array of the host with the dtype and sharding of `target`."""
    cast = np.asarray(array).astype(target.dtype)
    if target.sharding is None:
        return jnp.asarray(cast)
    return jax.make_array_from_callback(cast.shape, target.sharding, lambda index: cast[index])


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
