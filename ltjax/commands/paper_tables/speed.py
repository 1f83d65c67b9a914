"""Milliseconds that a trained cell's network takes to classify 64 images, for tables with a column of speed."""

import json
import statistics
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath

from ltjax.data.datasets.stand_in import stand_in
from ltjax.settings import Settings
from ltjax.training.prepare import make_stages
from ltjax.training.workdir.json_files import read_object
from ltjax.training.workdir.provenance import hardware

FILE = "speed.json"
IMAGES = 64  # the batch of ResLT's table 7
REPEATS = 20


def measure(config: Settings, views: Sequence[str]) -> dict[str, Any]:
    """Times the last stage's prediction, and views of it, from images on the device to logits.

    The weights are random ones, on which the time does not depend.

    Args:
      config: the run's.
      views: names of views; "" = the result itself.

    Returns:
      {"images", "hardware", "ms": {view: median milliseconds}}.
    """
    data = stand_in(config.data)
    stage = make_stages(config, data)[-1]
    images = jnp.zeros((IMAGES, *data.image_shape), jnp.uint8)
    variables = jax.jit(lambda key: stage.network.init(key, images[:1], train=False))(jax.random.key(0))
    found = {}
    for view in dict.fromkeys(views):
        predict = jax.jit(stage.views[view] if view else stage.predict)
        times = []
        for _ in range(REPEATS + 2):
            began = time.perf_counter()
            predict(variables, images).block_until_ready()
            times.append(time.perf_counter() - began)
        found[view] = 1e3 * statistics.median(times[2:])  # the first two compile and warm up
    return {"images": IMAGES, "hardware": hardware(), "ms": found}


def measure_once(workdir: epath.Path, config: Settings, views: Sequence[str]) -> None:
    """Writes the workdir's speed.json unless it has all these views."""
    from ltjax.data.storage.paths import write_atomically

    known = read(workdir)
    if not {*views} <= {*known.get("ms", {})}:
        write_atomically(workdir / FILE, json.dumps(measure(config, views), indent=2) + "\n")


def read(workdir: epath.Path) -> dict[str, Any]:
    """The content of speed.json; empty without it, and where it is damaged, so that it is measured again."""
    path = workdir / FILE
    return (read_object(path) or {}) if path.exists() else {}
