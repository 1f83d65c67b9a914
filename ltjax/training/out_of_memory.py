"""A device or the host runs out of memory: one line with what was asked for, what there is, and which settings help."""

import contextlib
import pathlib
from collections.abc import Iterator

import jax

from ltjax.errors import OutOfMemory
from ltjax.settings import Settings

KEPT = "the last checkpoint is kept"


@contextlib.contextmanager
def naming(work: str, advice: str) -> Iterator[None]:
    """Errors for lack of memory inside become ``OutOfMemory``, with what was done and what helps.

    Args:
      work: such as "in training".
      advice: such as "lower config.evaluation.batch_size (now 500)".
    """
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if not lacks_memory(error):
            raise
        raise OutOfMemory(described(error, work, advice)) from error


def lacks_memory(error: BaseException) -> bool:
    """Example:
    >>> lacks_memory(MemoryError()), lacks_memory(jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory"))
    (True, True)
    >>> lacks_memory(ValueError("RESOURCE_EXHAUSTED: Error writing local file"))
    False
    """
    if isinstance(error, jax.errors.JaxRuntimeError):
        return "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower()
    return isinstance(error, MemoryError)


def described(error: BaseException, work: str, advice: str) -> str:
    """The line of an error for lack of memory."""
    asked = " ".join(str(error).split()).removeprefix("RESOURCE_EXHAUSTED: ").rstrip(".")[:160]
    return f"out of memory {work}{f': {asked}' if asked else ''}; {memory()}; {advice}"


def memory() -> str:
    """What is in use and what there is, of the fullest device; of the host, where the devices do not report it."""
    fullest = ""
    most = -1.0
    for device in jax.local_devices():
        stats = device.memory_stats() or {}
        used, limit = stats.get("bytes_in_use"), stats.get("bytes_limit")
        if used is not None and limit and used / limit > most:
            most = used / limit
            peak = f", {_gb(stats['peak_bytes_in_use'])} at most" if "peak_bytes_in_use" in stats else ""
            fullest = f"{device.device_kind} uses {_gb(used)} of {_gb(limit)}{peak}"
    return fullest or _of_host()


def _of_host() -> str:
    try:
        lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
        kilobytes = {line.partition(":")[0]: 1024 * int(line.split()[1]) for line in lines}
        text = f"the host has {_gb(kilobytes['MemAvailable'])} of {_gb(kilobytes['MemTotal'])} left"
    except (OSError, ValueError, KeyError, IndexError):
        return "the host's memory is not known"
    with contextlib.suppress(ImportError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            text += f", and a process may have {_gb(limit)} (ulimit -v)"
    return text


def _gb(count: float) -> str:
    """Example:
    >>> _gb(1.5e9), _gb(2e6)
    ('1.50 GB', '0.00 GB')
    """
    return f"{count / 1e9:,.2f} GB"


def in_training(config: Settings) -> contextlib.AbstractContextManager[None]:
    """Around training steps."""
    advice = [f"raise config.micro_batches (now {config.micro_batches})"]
    if not config.model.remat:
        advice.append("set config.model.remat=true")
    advice.append(f"or lower config.batch_size (now {config.batch_size})")
    return naming("in training", f"{', '.join(advice)}; {KEPT}")


def in_evaluation(config: Settings) -> contextlib.AbstractContextManager[None]:
    """Around evaluation, and features of whole data sets."""
    now = config.evaluation.batch_size
    return naming("in evaluation", f"lower config.evaluation.batch_size (now {now}); {KEPT}")


def in_placement() -> contextlib.AbstractContextManager[None]:
    """Around putting the data on the device."""
    return naming("when the data was put on the device", "set config.data.on_device=no")
