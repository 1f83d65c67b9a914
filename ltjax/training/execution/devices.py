"""Starts JAX: one line if it has no device of the kind asked for, or does not take a variable's value."""

import functools
import importlib.metadata
import os
import pathlib
import re
import subprocess
import sys
import traceback

from ltjax.errors import InputError, did_you_mean
from ltjax.training.execution import cpu_flags

# JAX_PLATFORMS -> the extra of ltjax that brings JAX's part for it.
EXTRAS = {"cuda": "gpu", "gpu": "gpu", "tpu": "tpu"}
PLATFORMS = ("cpu", "cuda", "gpu", "rocm", "tpu")
# Flags that every jaxlib in question has, and that need no check.
KNOWN_FLAGS = re.compile(
    r"--xla_(force_host_platform_device_count|backend_optimization_level|cpu_parallel_codegen_split_count)=[0-9]{1,4}"
)
# Reads XLA_FLAGS as the start of JAX does, which aborts the process for a mistake in them.
READ_FLAGS = "from jaxlib import _jax; _jax.CompileOptions().executable_build_options.debug_options"


def check_xla_flags() -> None:
    """Raises InputError for a flag in the user's XLA_FLAGS that XLA does not know, or for its value.

    It asks another process, which takes a third of a second; not for the most common flags.
    """
    own = [f"{name}={value}" for name, value in cpu_flags.flags_of(importlib.metadata.version("jaxlib")).items()]
    flags = os.environ.get("XLA_FLAGS", "")
    if any(flag not in own and not KNOWN_FLAGS.fullmatch(flag) for flag in flags.split()):
        _check_flags(flags)


@functools.cache
def _check_flags(flags: str) -> None:
    command, variables = [sys.executable, "-c", READ_FLAGS], os.environ | {"XLA_FLAGS": flags}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == 0 or "flag" not in done.stderr:  # another failure has nothing to do with the flags
        return
    found = re.findall(r"(?:Unknown flags? in XLA_FLAGS|Couldn't interpret value|Could not open file).*", done.stderr)
    reason = found[0].partition(" to read flags")[0].strip()[:200] if found else flags[:200]
    raise InputError(f"XLA_FLAGS: XLA does not take them: {reason}; correct or unset the variable")


def start_devices() -> str:
    """Starts JAX; returns a note if it computes on the CPU although something else was to be expected, or "".

    Raises:
      InputError: if JAX finds no device that it may use.
    """
    import jax

    try:
        kind = jax.devices()[0].platform
    except (RuntimeError, AssertionError) as error:
        raise InputError(explained(error) or " ".join(str(error).split())) from error
    asked = _asked()
    if kind != "cpu" or asked[:1] == ["cpu"]:
        return ""
    if asked:
        return f"JAX_PLATFORMS={','.join(asked)}: no {asked[0]} device here; computing on the CPU"
    if cpu_flags.has_accelerator():
        hidden = " (CUDA_VISIBLE_DEVICES is empty)" if os.environ.get("CUDA_VISIBLE_DEVICES") == "" else ""
        return f"JAX found no accelerator{hidden}, but its package for one is installed; computing on the CPU"
    return ""


def explained(error: BaseException) -> str | None:
    """The line for an error that the start of JAX raised; None for any other error."""
    frames = traceback.extract_tb(error.__traceback__)
    places = ["/".join(pathlib.PurePath(frame.filename).parts[-3:]) for frame in frames]
    text = " ".join(str(error).split())
    if isinstance(error, RuntimeError | AssertionError) and "jax/_src/xla_bridge.py" in places:
        return _no_device(text)
    if isinstance(error, ValueError) and places and places[-1] == "jax/_src/config.py":
        found = re.search(r"environment '(\w+)'|JAX flag (\w+)|environment variable (\w+)", text)
        name = next((one for one in found.groups() if one), "").upper() if found else ""
        if name in os.environ:
            return f"{name}={os.environ[name][:100]}: JAX does not take this value ({text}); correct or unset it"
    return None


def _no_device(reason: str) -> str:
    """What is asked for, why there is none, what there is, what to do."""
    asked = _asked()
    there = ", ".join(["cpu", *(name for name, known in _installed().items() if known)])
    if not asked:
        return f"JAX finds no device it can use: {reason}; set JAX_PLATFORMS=cpu to compute on the CPU"
    reason = reason.partition(" (set JAX_PLATFORMS")[0] or "no such device is visible"
    wrong = [name for name in asked if name not in PLATFORMS]
    if wrong:
        reason = f"'{wrong[0]}' is no platform of JAX{did_you_mean(wrong[0].strip().lower(), PLATFORMS)}"
    wanted = [name for name in asked if name in EXTRAS and not _installed().get(name.replace("gpu", "cuda"), False)]
    hint = f"; or install it: pip install 'ltjax[{EXTRAS[wanted[0]]}]'" if wanted else ""
    if asked[0] in ("cuda", "gpu") and "CUDA_VISIBLE_DEVICES" in os.environ:
        hint += f" (CUDA_VISIBLE_DEVICES={os.environ['CUDA_VISIBLE_DEVICES'][:100]})"
    return (
        f"JAX_PLATFORMS={','.join(asked)[:100]}: {reason[:300]}; JAX is installed here for: {there}; unset "
        f"JAX_PLATFORMS, or set it to one of these{hint}"
    )


def _installed() -> dict[str, bool]:
    return {
        "cuda": any(cpu_flags.installed(name) for name in ("jax-cuda12-plugin", "jax-cuda13-plugin")),
        "rocm": any(cpu_flags.installed(name) for name in ("jax-rocm60-plugin", "jax-rocm7-plugin")),
        "tpu": cpu_flags.installed("libtpu"),
    }


def _asked() -> list[str]:
    """The platforms that the user asks for."""
    return [name for name in os.environ.get("JAX_PLATFORMS", "").split(",") if name]
