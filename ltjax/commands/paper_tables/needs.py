"""What is missing to make a table: data, pretrained weights, and hours on the hardware at hand (an estimate)."""

import functools
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ltjax.commands.cli import one_line
from ltjax.commands.paper_tables.structure import WEIGHTS
from ltjax.data import build
from ltjax.data.datasets.stand_in import stand_in
from ltjax.data.storage.paths import open_path
from ltjax.errors import InputError
from ltjax.hardware.chips import of_kind
from ltjax.hardware.flops import matrix_flops
from ltjax.methods.stage import Stage
from ltjax.settings import DataSettings, Settings
from ltjax.settings.user_paths import looked_for
from ltjax.training.prepare import make_stages, stage_steps
from ltjax.training.workdir.provenance import hardware

OF_PEAK = 0.2  # of a chip's published rate, as ResNets reach it
OF_CONVOLUTION = 0.5  # of the rate of one convolution, on chips that are not in the table
HOUR = 3600.0


def missing_data(settings: Sequence[DataSettings]) -> dict[str, str]:
    """Data set -> why it cannot be read here, for those that cannot."""
    found: dict[str, str] = {}
    for one in {(data.name, data.dir): data for data in settings}.values():
        try:
            build(one)
        except InputError as error:
            found[one.name] = one_line(error)
    return found


def needs(runs: Sequence[Settings], weights: Sequence[str], given: Mapping[str, str]) -> list[str]:
    """What the runs need, a line each.

    Args:
      runs: the settings of the cells that are not finished.
      weights: the names of the pretrained weights that the cells need.
      given: name -> file of the weights that the user has given.
    """
    absent = missing_data([run.data for run in runs])
    names = sorted({run.data.name for run in runs})
    lines = [f"data: {name} is {'missing: ' + absent[name] if name in absent else 'here'}" for name in names]
    for name in sorted({*weights} - {""}):
        here = f"given: {given[name]}" if name in given else f"missing: give --weights={name}=FILE, {WEIGHTS[name]}"
        if name in given and "://" not in given[name] and not open_path(given[name]).is_file():
            here = f"missing: --weights={name}={given[name]}: no such file{looked_for(given[name])}"
        lines.append(f"weights: {name} is {here}")
    if not runs:
        return [*lines, "hours: none, all cells are finished"]
    possible, flops = 0, 0.0
    for run in runs:
        try:
            flops += training_flops(run)
            possible += 1
        except InputError as error:
            lines.append(f"cannot run: {one_line(error)}")
    rate, source = sustained_rate({run.dtype for run in runs})
    hours, speed = significant(flops / rate / HOUR), f"{rate / 1e12:.2g} TFLOP/s ({source})"
    return [
        *lines,
        f"hours: about {hours} for {possible} unfinished cells with all seeds on {hardware()}; an estimate from "
        f"{flops:.1e} FLOP at {speed}",
    ]


def training_flops(config: Settings) -> float:
    """Floating-point operations of a run's training: products and convolutions of the trained stages, all seeds.

    A stage that trains the backbone costs three forward passes an image, one with a frozen backbone one. Not counted
    are evaluations, and what an objective computes besides one pass of each of its images: the rotated images of
    CBS+RRS+SS double its cost, a teacher adds a third.
    """
    data = stand_in(config.data)
    total = 0.0
    for stage in make_stages(config, data):
        if not isinstance(stage, Stage):
            continue
        trainable = stage.updates.trainable
        passes = 3 if not trainable or any(path.startswith("backbone") for path in trainable) else 1
        images = stage_steps(stage, config, data) * config.batch_size * len(stage.streams)
        if stage.representation is not None:  # computed once, then the head alone
            passes, images = 1, len(data.train)
        total += passes * images * forward_flops(stage.network, data.image_shape)
    return config.num_seeds * total


def forward_flops(network: Any, image_shape: tuple[int, ...]) -> int:
    """Of one image, traced once for each network."""
    key = (repr(network), image_shape)
    if key not in _TRACED:
        images = jax.ShapeDtypeStruct((1, *image_shape), jnp.uint8)
        traced = jax.make_jaxpr(lambda k, x: network.init(k, x, train=False))(jax.random.key(0), images)
        _TRACED[key] = matrix_flops(traced)
    return _TRACED[key]


_TRACED: dict[tuple[str, tuple[int, ...]], int] = {}


def sustained_rate(dtypes: set[str]) -> tuple[float, str]:
    """FLOP/s of all devices in training, and where the number comes from."""
    devices, slowest = jax.devices(), "float32" if "float32" in dtypes else "bfloat16"
    chip = of_kind(devices[0].device_kind)
    if chip is not None:
        return len(devices) * OF_PEAK * chip.flops[slowest], f"{OF_PEAK:.0%} of the peak of {chip.name}, {slowest}"
    return OF_CONVOLUTION * _rate_of_convolution(), f"{OF_CONVOLUTION:.0%} of what a convolution reaches here, float32"


@functools.cache
def _rate_of_convolution() -> float:
    """FLOP/s of a 3 x 3 convolution of 128 channels, 16 images of 28 x 28, the best of ten."""
    images, kernel = jnp.ones((16, 28, 28, 128)), jnp.ones((3, 3, 128, 128))
    convolve = jax.jit(
        lambda x, k: jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    )
    convolve(images, kernel).block_until_ready()
    best = math.inf
    for _ in range(10):
        began = time.perf_counter()
        convolve(images, kernel).block_until_ready()
        best = min(best, time.perf_counter() - began)
    return matrix_flops(jax.make_jaxpr(convolve)(images, kernel)) / best


def significant(value: float) -> str:
    """Two significant digits.

    Example:
      >>> significant(1234.5), significant(0.01234)
      ('1,200', '0.012')
    """
    if value <= 0:
        return "0"
    digits = 1 - math.floor(math.log10(value))
    return f"{round(value, digits):,.{max(digits, 0)}f}"
