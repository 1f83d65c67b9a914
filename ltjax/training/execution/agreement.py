"""What several processes have to agree on before they go on together."""

import jax
import numpy as np
from jax.experimental import multihost_utils


def everywhere(there: bool) -> bool:
    """Whether it is true in all processes, which must all call it; they wait for each other."""
    return highest(int(not there)) == 0


def highest(number: int) -> int:
    """The highest number of all processes, which must all call it; they wait for each other."""
    if jax.process_count() == 1:
        return number
    return int(np.max(multihost_utils.process_allgather(np.int32(number))))


def of_first(text: str) -> str:
    """The first process's text, of up to 1,000 bytes; all processes must call it."""
    if jax.process_count() == 1:
        return text
    sent = np.frombuffer(text.encode()[:1000].ljust(1000, b"\0"), np.uint8)
    got = np.asarray(multihost_utils.broadcast_one_to_all(sent), np.uint8)
    return got.tobytes().rstrip(b"\0").decode(errors="ignore")
