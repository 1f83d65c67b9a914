"""The network of a finished run on this process's devices: images to logits, logits to the likeliest classes."""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from ltjax.commands.adjustment import Adjustment
from ltjax.commands.predict.batches import Elements, read_ahead
from ltjax.data.loading.unreadable import Fault
from ltjax.training.calibration import flipped_too, logits_of
from ltjax.training.evaluation import has_softmax, rows_at_once
from ltjax.training.execution import mesh as meshes
from ltjax.training.finished_run import Finished
from ltjax.training.several_labels import log_odds_of


class Network(NamedTuple):
    """What one process computes with; processes do not wait for each other.

    Attributes:
      logits: (variables, images split over the devices) -> [B, C], on the devices.
      variables: on all devices of this process.
      mesh: these devices.
      batch: images at a time, a multiple of the devices.
    """

    logits: Any
    variables: Any
    mesh: Mesh
    batch: int


def open_network(finished: Finished, tta: str, batch_size: int) -> Network:
    """The network, with its batch over all devices of this process."""
    mesh = Mesh(np.asarray(jax.local_devices()), (meshes.AXIS,))
    here = jax.tree.map(lambda x: np.asarray(x.addressable_data(0)), finished.variables)
    variables = jax.device_put(here, meshes.replicated(mesh))
    predict = flipped_too(finished.stage.predict) if tta == "flip" else finished.stage.predict
    mean_of_seeds = log_odds_of if finished.model.several_labels else logits_of
    of_images = mean_of_seeds(predict, finished.config, meshes.platform(mesh))
    program = jax.jit(of_images, in_shardings=(meshes.replicated(mesh), meshes.split(mesh)))
    return Network(program, variables, mesh, rows_at_once(batch_size, mesh))


class Chosen(NamedTuple):
    """Of a batch: the likeliest classes int32 [B, top], their probabilities [B, top], and whether they are finite."""

    labels: jax.Array
    probabilities: jax.Array
    finite: jax.Array


def choose(adjustment: Adjustment, top: int, several_labels: bool = False) -> Any:
    """logits [B, C] -> Chosen; ties go to the lower class. With several labels each class has a sigmoid."""
    shares_of = jax.nn.sigmoid if several_labels else jax.nn.softmax

    @jax.jit
    def chosen(logits: jax.Array) -> Chosen:
        adjusted = adjustment(logits)
        shares, labels = jax.lax.top_k(shares_of(adjusted), top)
        return Chosen(labels, shares, has_softmax(adjusted))

    return chosen


class Seen(NamedTuple):
    """Of a batch: which rows hold an image, the unreadable ones, and what was made of the logits, on the host."""

    mask: np.ndarray
    faults: list[Fault]
    found: Any


def outputs(network: Network, elements: Elements, workers: int, after: Any = None) -> Iterator[Seen]:
    """What ``after`` makes of the logits of every batch; one batch is computed while the next ones are read.

    Args:
      network: from ``open_network``.
      elements: the batches.
      workers: processes that read them; 0: threads.
      after: logits [B, C] -> a tree of arrays; None: the logits themselves.
    """
    faults: list[Fault] = []
    waiting: list[Seen] = []
    with contextlib.closing(read_ahead(elements, workers, faults.extend)) as batches:
        for batch in batches:
            images = jax.device_put(batch["image"], meshes.split(network.mesh))
            logits = network.logits(network.variables, images)
            waiting.append(Seen(batch["mask"], list(faults), logits if after is None else after(logits)))
            faults.clear()
            if len(waiting) > 1:
                first = waiting.pop(0)
                yield first._replace(found=jax.device_get(first.found))
        for last in waiting:
            yield last._replace(found=jax.device_get(last.found))
