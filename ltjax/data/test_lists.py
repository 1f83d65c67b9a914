"""Long-tailed test lists: images of a test set whose classes are as frequent as in training, or the reverse.

Zhang et al., "Self-supervised aggregation of diverse experts for test-agnostic long-tailed recognition", NeurIPS 2022,
section 5.3, after Hong et al., "Disentangling label distribution" (LADE), CVPR 2021.
"""

import dataclasses
import math
import re

import numpy as np

from ltjax.class_counts import frequency_order
from ltjax.data.datasets.longtail import select
from ltjax.errors import InputError, shortened

DIRECTIONS = ("forward", "backward")
LIST = re.compile(rf"({'|'.join(DIRECTIONS)})(:.*)?|[a-z]+:[\d.]+")  # a list, or a word that looks like one
SEED = 0  # of the authors' lists


@dataclasses.dataclass(frozen=True)
class TestList:
    """A class distribution of test images.

    Attributes:
      name: "uniform", "forward:50" or "backward:50".
      ratio: images of the largest class by those of the smallest, 1 or more.
      backward: whether the rarest class of the training set has the most.
    """

    __test__ = False  # no test class, whatever pytest makes of its name

    name: str
    ratio: float = 1.0
    backward: bool = False

    def shares(self, class_counts: np.ndarray) -> np.ndarray:
        """float64 [C]: images of each class by those of the largest, ``ratio ** -(rank / (C - 1))``.

        The rank is by training images, the commonest first and ties by label.

        Example:
          >>> TestList("backward:4", 4.0, backward=True).shares(np.array([90, 5, 20]))
          array([0.25, 1.  , 0.5 ])
        """
        rank = np.argsort(frequency_order(class_counts))
        rank = len(rank) - 1 - rank if self.backward else rank
        # with 1 / ratio, as the authors' code has it, whose rounding decides what is cut off
        return (1 / self.ratio) ** (rank / max(len(rank) - 1, 1))

    def counts(self, class_counts: np.ndarray, test_counts: np.ndarray) -> np.ndarray:
        """int64 [C]: how many test images of each class the list has, rounded down.

        Of a balanced test set the largest class keeps all images, as in the authors' lists; otherwise the list is the
        largest one of these shares that the test images allow.

        Args:
          class_counts: training images of each class.
          test_counts: test images of each class.

        Example:
          >>> TestList("forward:50", 50.0).counts(np.array([500, 50, 5]), np.array([100, 100, 100]))
          array([100,  14,   2])
        """
        shares, present = self.shares(class_counts), test_counts > 0
        largest = float(np.min(test_counts[present] / shares[present])) if present.any() else 0.0
        found = np.minimum((largest * shares).astype(np.int64), test_counts)
        return np.asarray(found)

    def records(self, class_counts: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """int64: the test images of the list, positions in ``labels``, class after class.

        Which ones is drawn with a fixed seed as in the authors' code, so that a shorter list of a class is the
        beginning of a longer one. The uniform list of a balanced test set has all images.
        """
        test_counts = np.bincount(labels, minlength=len(class_counts))
        return select(labels, self.counts(class_counts, test_counts), SEED)


def parse_lists(text: str) -> tuple[TestList, ...]:
    """The lists that a text names, such as ``forward:50,uniform,backward:50``.

    Returns:
      (), if it names something else: one distribution (uniform, train, a file) for all test images.

    Raises:
      InputError: for an impossible ratio, or a list beside something that is none.
    """
    words = text.split(",")
    if text == "uniform" or not any(word == "uniform" or LIST.fullmatch(word.strip()) for word in words):
        return ()
    found = tuple(_parsed(word.strip()) for word in words)
    repeated = next((one.name for number, one in enumerate(found) if one in found[:number]), None)
    if repeated is not None:
        raise InputError(f"--test-prior: '{repeated}' stands there twice; remove one")
    return found


def _parsed(word: str) -> TestList:
    direction, colon, number = word.partition(":")
    if word == "uniform":
        return TestList("uniform")
    if direction not in DIRECTIONS or not colon:
        raise InputError(
            f"--test-prior: '{shortened(word)}' is no test list; allowed in a list: uniform, forward:RATIO and "
            "backward:RATIO, such as forward:50,uniform,backward:50"
        )
    try:
        ratio = float(number)
    except ValueError:
        ratio = math.nan
    if not (math.isfinite(ratio) and ratio >= 1):
        raise InputError(
            f"--test-prior: impossible ratio '{shortened(number)}' in '{shortened(word)}'; allowed: a number >= 1"
        )
    return TestList(f"{direction}:{ratio:g}", ratio, direction == "backward")
