"""calibration.json beside model.json: the temperature that was fitted to the finished network, and on what."""

import json
import logging
import math

import jax
from etils import epath

from ltjax.data.storage.paths import write_atomically
from ltjax.training.workdir.json_files import Record

FILE = "calibration.json"


def write_calibration(folder: epath.Path, record: Record) -> None:
    """Writes calibration.json; the first process does.

    Args:
      folder: the workdir.
      record: {"temperature": T, "fingerprint": of the run, ...}.
    """
    if jax.process_index() == 0:
        write_atomically(folder / FILE, json.dumps({"format": 1} | record, indent=2) + "\n")


def read_calibration(folder: epath.Path, fingerprint: str) -> Record | None:
    """The record in a workdir; None if there is none of this run, or none that can be read (which is reported)."""
    path = folder / FILE
    try:
        record = json.loads(path.read_text())
        temperature = record["temperature"]
        if not (type(temperature) is float and math.isfinite(temperature) and temperature > 0):
            raise ValueError(f"temperature {temperature}")
        return record if record["fingerprint"] == fingerprint else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        logging.getLogger("ltjax").warning(
            "%s cannot be read (%s): fit it again with python -m ltjax.evaluate --fit-temperature", path, error
        )
        return None


def read_temperature(folder: epath.Path, fingerprint: str) -> float | None:
    """The temperature by which calibrated probabilities divide the logits; None where none was fitted."""
    record = read_calibration(folder, fingerprint)
    return None if record is None else float(record["temperature"])
