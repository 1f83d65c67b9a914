"""What evaluate and predict can do to a network's logits: a temperature, another class distribution, mirror images.

    probabilities = softmax((logits - TAU log prior of the training set) / T + log(test prior / prior of the network))

The prior of the network is what its loss and its batches give its probabilities (``Stage.prior``): that of the training
set for cross-entropy, the uniform one for balanced softmax or balanced batches.
"""

import argparse
import csv
import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltjax import escape
from ltjax.classifiers import estimate_prior
from ltjax.data.storage.paths import open_path
from ltjax.errors import InputError, shortened
from ltjax.training.finished_run import Finished
from ltjax.training.workdir.calibration import read_calibration
from ltjax.training.workdir.identity import absolute

ESTIMATE = "estimate"
NUMBERS = 2**26  # probabilities that a prior is estimated from: of more images, evenly spaced ones are taken


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that ``read_flags`` reads."""
    parser.add_argument(
        "--test-prior",
        metavar="uniform|train|FILE|estimate",
        help="the class distribution of these images, to which the probabilities are corrected: uniform, that of the "
        "training set, a file of lines 'class,count' or 'class,share', or estimated from the images themselves (EM)",
    )
    parser.add_argument(
        "--model-prior",
        metavar="uniform|train|FILE",
        help="with --test-prior, the class distribution that the network's probabilities assume, if the method has no "
        "known one",
    )
    parser.add_argument(
        "--logit-adjustment",
        type=float,
        default=0.0,
        metavar="TAU",
        help="subtract TAU times the log prior of the training set from the logits",
    )
    parser.add_argument(
        "--temperature",
        default="run",
        metavar="run|none|NUMBER",
        help="what the logits are divided by: the temperature fitted for the run, where one was (the default), 1, or "
        "a number",
    )
    parser.add_argument("--tta", choices=("none", "flip"), default="none", help="flip: average with the mirror image")


def check_flags(options: Any) -> None:
    """Raises InputError for values that no run allows, before anything is opened."""
    tau = options.logit_adjustment
    if not math.isfinite(tau):
        raise InputError(f"--logit-adjustment: impossible value {tau}; allowed: a finite number")
    for flag, given in (("--test-prior", options.test_prior), ("--model-prior", options.model_prior)):
        if given == "":
            raise InputError(f"{flag}: is empty; give uniform, train or the path of a file of lines 'class,count'")
    if tau and options.test_prior:
        raise InputError("--logit-adjustment and --test-prior both correct the class distribution; give one of them")
    if options.model_prior and not options.test_prior:
        raise InputError("--model-prior: without --test-prior it changes nothing; add --test-prior=uniform, say")
    if options.temperature not in ("run", "none"):
        _positive(options.temperature)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"--temperature: impossible value {text}; allowed: run, none, or a number > 0")
    return value


@dataclasses.dataclass(frozen=True)
class Adjustment:
    """How logits become probabilities: ``softmax((logits + shift) / temperature + offset)``.

    Attributes:
      temperature: > 0.
      shift: float64 [C], of a logit adjustment: in the unit of the logits.
      offset: float64 [C], of another class prior: in the unit of log probabilities.
      model_prior: float64 [C], with which ``softmax(logits / temperature)`` goes, where it has to be known.
      tta: "flip" or "none".
      notes: what was done, one line each.
    """

    temperature: float
    shift: np.ndarray
    offset: np.ndarray
    model_prior: np.ndarray | None = None
    tta: str = "none"
    notes: tuple[str, ...] = ()

    def __call__(self, logits: jax.Array) -> jax.Array:
        """Adjusted logits [..., C]."""
        return logits / self.temperature + jnp.asarray(self.total_offset, logits.dtype)

    @property
    def total_offset(self) -> np.ndarray:
        """float64 [C], of ``softmax(logits / temperature + total_offset)``."""
        return self.shift / self.temperature + self.offset

    def with_estimate(self, logits: np.ndarray) -> "Adjustment":
        """Corrected to the class distribution of the images that have these logits [N, C], which it estimates."""
        assert self.model_prior is not None
        scaled = logits / np.asarray(self.temperature, logits.dtype)
        scaled -= scaled.max(axis=1, keepdims=True)
        np.exp(scaled, out=scaled)
        scaled /= scaled.sum(axis=1, keepdims=True)
        prior = estimate_prior(scaled, self.model_prior)
        doubt = collapsed(prior, np.bincount(scaled.argmax(axis=1), minlength=len(prior)))
        made = self.with_prior(prior)
        return dataclasses.replace(made, notes=(*made.notes, doubt)) if doubt else made

    def with_prior(self, prior: np.ndarray) -> "Adjustment":
        """Corrected to this class distribution, [C] shares."""
        assert self.model_prior is not None
        with np.errstate(divide="ignore"):
            # a class of share 0 keeps a tiny probability, so that its column of numbers stays finite
            ratio = np.log(np.maximum(prior, 1e-30)) - np.log(self.model_prior)
        return dataclasses.replace(self, offset=self.offset + ratio)

    def description(self) -> dict[str, Any]:
        """For a record: what the numbers depend on."""
        return {"temperature": self.temperature, "tta": self.tta, "offset": [float(x) for x in self.total_offset]}


def read_flags(options: Any, workdir: str, finished: Finished) -> Adjustment:
    """The adjustment that the flags ask for; with --test-prior=estimate the caller adds ``with_estimate``.

    Raises:
      InputError: for a prior that the run does not know, or a file that does not fit its classes.
    """
    record, counts = finished.model, np.asarray(finished.model.class_counts, np.float64)
    temperature, notes = _temperature(options.temperature, workdir, record.fingerprint)
    shift, model_prior = np.zeros(len(counts)), None
    if options.logit_adjustment:
        if (counts == 0).any():
            raise InputError("--logit-adjustment: a class has no training image and thus no prior; evaluate without it")
        shift = -options.logit_adjustment * np.log(counts / counts.sum())
        notes.append(f"with post-hoc logit adjustment, tau {options.logit_adjustment:g}")
    if options.tta == "flip":
        notes.append("each image is averaged with its mirror image (--tta=flip)")
    if options.test_prior:
        model_prior = _model_prior(options.model_prior, finished)
    made = Adjustment(temperature, shift, np.zeros(len(counts)), model_prior, options.tta, tuple(notes))
    if options.test_prior and options.test_prior != ESTIMATE:
        made = made.with_prior(_named_prior("--test-prior", options.test_prior, finished))
        made = dataclasses.replace(made, notes=(*made.notes, f"for the class distribution {options.test_prior}"))
    return made


def _temperature(given: str, workdir: str, fingerprint: str) -> tuple[float, list[str]]:
    if given != "run":
        value = 1.0 if given == "none" else _positive(given)
        return value, [f"temperature {value:.4g} (--temperature)"] if value != 1 else []
    found = read_calibration(absolute(workdir), fingerprint)
    if found is None:
        return 1.0, []
    value = float(found["temperature"])
    return value, [f"temperature {value:.4g}, fitted on {found.get('images')} {found.get('split')} images"]


def _model_prior(given: str | None, finished: Finished) -> np.ndarray:
    """The class distribution that the probabilities assume: as given, or the stage's."""
    if given:
        prior = _named_prior("--model-prior", given, finished)
        if not prior.all():
            label = finished.model.names[int(np.argmin(prior))]
            raise InputError(
                f"--model-prior={given}: class '{shortened(label)}' has a share of 0; give it a positive one"
            )
        return prior
    if finished.stage.prior is None:
        raise InputError(
            f"--test-prior: the probabilities of method {finished.config.method} (stage '{finished.stage.name}') go "
            "with no known class distribution; name the one to assume with --model-prior=train or --model-prior=uniform"
        )
    return np.asarray(finished.stage.prior, np.float64) / np.sum(finished.stage.prior)


def assumed_prior(given: str | None, finished: Finished) -> np.ndarray | None:
    """The class distribution that the probabilities assume: as given, or the stage's; None where that is unknown."""
    return None if not given and finished.stage.prior is None else _model_prior(given, finished)


def _named_prior(flag: str, given: str, finished: Finished) -> np.ndarray:
    """uniform, train or a file as float64 [C] that sums to 1."""
    counts = np.asarray(finished.model.class_counts, np.float64)
    if given == "uniform":
        return np.full(len(counts), 1 / len(counts))
    return counts / counts.sum() if given == "train" else prior_of_file(flag, given, finished.model.names)


def prior_of_file(flag: str, path: str, names: tuple[str, ...]) -> np.ndarray:
    """The shares in a file of lines ``class,count`` or ``class,share``, float64 [C].

    Names are written as in the tables of this package (``escape.csv_cell``) or as they are; a first line
    ``class,...`` is a header. Every class has a line.

    Raises:
      InputError: one line with file and line number: an unknown, repeated or missing class, or an impossible number.
    """
    try:
        text = open_path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(
            f"{flag}: {shortened(path)} cannot be read ({reason}); give uniform, train or the path of a file of lines "
            "'class,count'"
        ) from error
    label_of = {escape.csv_cell(name): label for label, name in enumerate(names)}
    label_of |= {name: label for label, name in enumerate(names)}
    found: dict[int, float] = {}
    for line, row in enumerate(csv.reader(text.splitlines()), 1):
        if not row or (line == 1 and row[0].strip().lower() == "class" and row[0] not in label_of):
            continue
        where = f"{flag}: {shortened(path)}, line {line}"
        if len(row) != 2:
            raise InputError(f"{where}: is not 'class,count'; write the class, a comma and a number")
        label = label_of.get(row[0], label_of.get(row[0].strip()))
        if label is None:
            some = ", ".join(shortened(name) for name in names[:3])
            raise InputError(f"{where}: unknown class '{shortened(row[0])}'; the run has {len(names)}, such as {some}")
        try:
            value = float(row[1])
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0):
            raise InputError(f"{where}: impossible number '{shortened(row[1])}'; allowed: a count or share >= 0")
        if label in found:
            raise InputError(f"{where}: class '{shortened(row[0])}' has a line before; remove one")
        found[label] = value
    missing = [name for label, name in enumerate(names) if label not in found]
    if missing:
        raise InputError(
            f"{flag}: {shortened(path)} has no line for {len(missing)} of {len(names)} classes, such as "
            f"'{shortened(missing[0])}'; write 0 for a class that does not occur"
        )
    total = sum(found.values())
    if not total > 0:
        raise InputError(f"{flag}: {shortened(path)}: all numbers are 0; give at least one class a positive one")
    return np.array([found[label] / total for label in range(len(names))])


def collapsed(prior: np.ndarray, predicted: np.ndarray) -> str:
    """A note on an estimated class distribution that has nearly everything in a class that the network rarely predicts.

    The estimate does that where probabilities are far from calibrated, such as those of a network that hardly trained.

    Args:
      prior: estimated shares, [C].
      predicted: images by the class that the network alone predicts, [C].

    Example:
      >>> collapsed(np.array([0.001, 0.999]), np.array([30, 10])).partition(":")[0]
      'the estimate puts 99.9% of the images in class 1, which the network alone predicts for 25.0%'
      >>> collapsed(np.array([0.001, 0.999]), np.array([1, 39]))
      ''
    """
    largest = int(prior.argmax())
    share = predicted[largest] / predicted.sum()
    if prior[largest] < 0.99 or share > 0.9:
        return ""
    return (
        f"the estimate puts {prior[largest]:.1%} of the images in class {largest}, which the network alone predicts "
        f"for {share:.1%}: its probabilities are not calibrated, so do not trust the estimate; give the distribution, "
        "or a --temperature"
    )
