"""Shared by the benchmarks: options, the description of the machine, alternating timing, summaries."""

import argparse
import functools
import importlib.metadata
import importlib.util
import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from ltjax.commands import cli
from ltjax.commands.text_output import writable

DTYPES = ("float32", "bfloat16")

Times = dict[str, list[float]]  # side -> seconds of each repetition


class Disagreement(FloatingPointError):
    """The sides of a benchmark compute different things, so their times must not be compared."""


class Parser(cli.Parser):
    """The argument parser of a benchmark, with the options that all of them have."""

    def __init__(self, name: str, description: str | None, repeats: int) -> None:
        super().__init__(f"bench {name}", f"ltjax.bench {name}", description)
        self.add_argument("--repeats", type=at_least(1), default=repeats, help="timed repetitions of each side")
        self.add_argument("--dtype", choices=DTYPES, default="float32", help="type of the computation")
        self.add_argument("--json", metavar="FILE", type=writable, help="also write the numbers to this file")


def at_least(least: int) -> Callable[[str], int]:
    """The argparse type of integers >= ``least``."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"impossible value '{text}'; allowed: an integer >= {least}")
        return value

    return convert


def interleaved(sides: Mapping[str, Callable[[], object]], repeats: int, warmup: int = 1) -> Times:
    """Times the sides alternately (a b a b ...), so that other load on the machine slows all of them alike.

    Args:
      sides: name -> a function without arguments that returns when its result is computed.
      repeats: timed calls per side.
      warmup: calls per side before that, for compilation and autotuning.

    Returns:
      name -> ``repeats`` seconds, in order.

    Example:
      >>> calls = []
      >>> times = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=2, warmup=1)
      >>> "".join(calls), {name: len(seconds) for name, seconds in times.items()}
      ('ababab', {'a': 2, 'b': 2})
    """
    times: Times = {name: [] for name in sides}
    for count in range(warmup + repeats):
        for name, call in sides.items():
            start = time.perf_counter()
            call()
            if count >= warmup:
                times[name].append(time.perf_counter() - start)
    return times


def median_ratio(times: Times, ours: str, peer: str) -> float:
    """The speed of ``ours`` relative to ``peer``: the median over repetitions of the ratio of their times.

    Example:
      >>> median_ratio({"ours": [1.0, 2.0, 1.0], "peer": [3.0, 4.0, 2.0]}, "ours", "peer")
      2.0
    """
    return statistics.median(p / o for o, p in zip(times[ours], times[peer], strict=True))


def summary(times: Times, images: int) -> dict[str, Any]:
    """The record of the times: a median per side, and the speed of the first side relative to the others.

    Example:
      >>> record = summary({"ltjax": [0.5], "torch": [1.0]}, images=8)
      >>> record["sides"]["ltjax"]["images_per_second"], record["speed_relative_to"]
      (16.0, {'torch': 2.0})
    """
    ours, *peers = times
    return {
        "sides": {
            name: {
                "median_ms": 1e3 * statistics.median(seconds),
                "images_per_second": images / statistics.median(seconds),
                "ms": [1e3 * s for s in seconds],
            }
            for name, seconds in times.items()
        },
        "speed_relative_to": {peer: median_ratio(times, ours, peer) for peer in peers},
    }


@functools.cache
def torch_installed() -> bool:
    return importlib.util.find_spec("torch") is not None


def environment() -> dict[str, Any]:
    """The machine and the versions that times depend on. Starts JAX."""
    import jax

    devices = jax.devices()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    record = {
        "platform": devices[0].platform,
        "device_kind": devices[0].device_kind,
        "devices": len(devices),
        "cores": cores,
        "load": os.getloadavg()[0]
        if hasattr(os, "getloadavg")
        else 0.0,  # mean of the last minute before the benchmark
        "jax": jax.__version__,
        "jaxlib": importlib.metadata.version("jaxlib"),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
        "torch": None,
        "torch_threads": None,
    }
    if torch_installed():
        import torch

        record |= {"torch": torch.__version__, "torch_threads": torch.get_num_threads()}
    return record


def describe(environment: Mapping[str, Any]) -> str:
    """The environment in one line, which benchmarks print first.

    Example:
      >>> describe({"platform": "cpu", "device_kind": "cpu", "devices": 1, "cores": 2, "jax": "0.10.2",
      ...           "XLA_FLAGS": "", "torch": None, "load": 0.1})
      'ran on the CPU, no accelerator: 2 cores; jax 0.10.2, XLA_FLAGS=""; torch is not installed'
    """
    e = environment
    where = "the CPU, no accelerator" if e["platform"] == "cpu" else f"{e['devices']} x {e['device_kind']}"
    torch = f"torch {e['torch']}, {e['torch_threads']} threads" if e["torch"] else "torch is not installed"
    line = f'ran on {where}: {e["cores"]} cores; jax {e["jax"]}, XLA_FLAGS="{e["XLA_FLAGS"]}"; {torch}'
    # PyTorch's threads wait for each other: one other busy program slows them by far more than half
    busy = e["load"] > e["cores"]  # a mean over a minute, which a benchmark just before does not exceed
    return line + (f"; BUSY (load {e['load']:.1f}): unreliable times, repeat on an idle machine" if busy else "")
