"""Checkpoints of one stage: `<folder>/<step>`, saved asynchronously and verified when read.

Step 0 holds what the stage's init made (`start`), every step the state; `meta` is what the loop needs to go on
(fingerprint of data and config, metrics not yet logged, time used).
"""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers as policies

from ltjax.errors import InputError
from ltjax.methods.stage import Tree

Meta = dict[str, Any]


class Restored(NamedTuple):
    step: int
    state: Tree
    meta: Meta


def abstract(tree: Tree, sharding: Any) -> Tree:
    """Shapes, dtypes and sharding of a tree."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), jnp.result_type(x), sharding=sharding), tree)


class Checkpoints:
    """The checkpoints of one stage."""

    def __init__(self, folder: epath.Path, keep: int | None):
        """Keeps step 0 and the `keep` newest; None opens them for reading only."""
        logging.getLogger("absl").setLevel(logging.ERROR)  # orbax logs every save
        self.folder = folder
        if keep is None:
            options = ocp.CheckpointManagerOptions(read_only=True)
        else:
            keep_these = policies.AnyPreservationPolicy([policies.LatestN(keep), policies.CustomSteps([0])])
            options = ocp.CheckpointManagerOptions(preservation_policy=keep_these, cleanup_tmp_directories=True)
        self.read_only = keep is None
        self.manager = ocp.CheckpointManager(folder, options=options)
        # A saved buffer must not be the one that the next step overwrites: on CPU the host's view shares its memory.
        self.copy = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))

    def save(self, step: int, state: Tree, meta: Meta, start: Tree | None = None) -> None:
        """Starts writing; an error of the previous save is raised here. An existing step is left as it is."""
        self.wait()
        if step in self.manager.all_steps():
            return
        items: dict[str, Any] = {
            "state": ocp.args.StandardSave(self.copy(state)),
            "meta": ocp.args.JsonSave(meta),
        }
        if start is not None:
            items["start"] = ocp.args.StandardSave(start)
        self.manager.save(step, args=ocp.args.Composite(**items), force=True)

    def wait(self) -> None:
        """Waits for the current save and raises its error."""
        try:
            self.manager.wait_until_finished()
            self.manager.check_for_errors()
        except Exception as error:
            raise OSError(f"{self.folder}: the checkpoint could not be written: {_line(error)}") from error

    def steps(self) -> list[int]:
        """Newest first."""
        return sorted(self.manager.all_steps(), reverse=True)

    def restore_start(self) -> Tree | None:
        """What the stage's init made, as host arrays; None if step 0 is missing or cannot be read."""
        if 0 not in self.manager.all_steps():
            return None
        try:
            restored = self.manager.restore(0, args=ocp.args.Composite(start=ocp.args.StandardRestore()))
            return restored["start"]
        except Exception as error:
            logging.getLogger("ltjax").warning("%s/0 cannot be read: %s", self.folder, _line(error))
            return None

    def restore(self, target: Tree, fingerprint: str) -> Restored | None:
        """The newest step that can be read, with the layout of `target`; None if there is none.

        Raises:
          InputError: if that step belongs to other data or another config.
        """
        unreadable = []
        for step in self.steps():
            try:
                items = ocp.args.Composite(state=ocp.args.StandardRestore(target), meta=ocp.args.JsonRestore())
                restored = self.manager.restore(step, args=items)
                state, meta = jax.block_until_ready(restored["state"]), restored["meta"]
            except Exception as error:
                logging.getLogger("ltjax").warning(
                    "%s/%d cannot be read and is skipped: %s", self.folder, step, _line(error)
                )
                unreadable.append(step)
                continue
            if meta["fingerprint"] != fingerprint:
                raise InputError(
                    f"{self.folder}/{step}: was trained on other data (fingerprint {meta['fingerprint'][:12]}, "
                    f"here {fingerprint[:12]}); use another --workdir or the data it was trained on"
                )
            self._drop(unreadable)
            return Restored(step, state, meta)
        self._drop(unreadable)
        return None

    def _drop(self, unreadable: list[int]) -> None:
        """Removes the steps that could not be read, so that the run can write them again."""
        for step in unreadable if not self.read_only else ():
            self.manager.delete(step)

    def close(self) -> None:
        self.wait()
        self.manager.close()


@contextlib.contextmanager
def checkpoints(folder: epath.Path, keep: int | None) -> Iterator[Checkpoints]:
    """Opens the checkpoints of a stage; at the end waits for the current save and raises its error."""
    opened = Checkpoints(folder, keep)
    try:
        yield opened
    finally:
        opened.close()


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
