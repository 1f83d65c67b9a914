"""What several processes have to agree on before they go on together."""

import jax
import numpy as np
from jax.experimental import multihost_utils


def everywhere(there: bool) -> bool:
    """Whether it is true in all processes, which must all call it; they wait for each other."""
    if jax.process_count() == 1:
        return there
    return bool(np.min(multihost_utils.process_allgather(np.int32(there))))
