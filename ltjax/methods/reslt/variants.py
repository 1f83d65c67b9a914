"""What the paper's ablations and naive baselines change of ResLT (Cui et al., 2022, sections 3.1 and 3.3, figure 2)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Branch logits [..., K, B, C] -> one score [..., B, C]; the three of Algorithm 1, and the main branch alone.
FUSIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "sum": lambda logits: jnp.sum(logits, -3),
    "max": lambda logits: jnp.max(logits, -3),
    "softmax": lambda logits: jnp.sum(jax.nn.softmax(logits), -3),
    "main": lambda logits: logits[..., 0, :, :],
}


def nested(masks: np.ndarray) -> np.ndarray:
    """All classes, all but the commonest group, ..., the rarest group: ResLT itself."""
    return masks


def own_groups(masks: np.ndarray) -> np.ndarray:
    """bool [K, C] of nested masks [K, C]: each branch has its group alone: head, medium, tail.

    Example:
      >>> own_groups(np.array([[1, 1, 1], [0, 1, 1], [0, 0, 1]], bool)).astype(int).tolist()
      [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    """
    return masks & ~np.concatenate([masks[1:], np.zeros_like(masks[:1])])


def main_and_rarer_groups(masks: np.ndarray) -> np.ndarray:
    """All classes; medium alone; tail alone."""
    return np.concatenate([masks[:1], own_groups(masks)[1:]])


def all_classes(masks: np.ndarray) -> np.ndarray:
    """All classes for every branch."""
    return np.ones_like(masks)


class Variant(NamedTuple):
    """One row of the ablations.

    Attributes:
      classes: nested masks -> bool [K, C], the classes that each branch learns from.
      fusion: the name in FUSIONS of what is trained as the fusion and predicts.
      one_branch: the branches share all parameters.
      branches_alone: the fusion is not trained (alpha = 1).
      other_fusions: names in FUSIONS that are reported beside the result.
    """

    classes: Callable[[np.ndarray], np.ndarray] = nested
    fusion: str = "sum"
    one_branch: bool = False
    branches_alone: bool = False
    other_fusions: tuple[str, ...] = ()


# The letters are figure 2's. The text says of (a) to (c) that their branches learn from head, medium, tail or all
# classes, that (a) is a weak ResLT, and that the three branches of (b) and (c) are not nested. The reading here:
# (a) has all, medium and tail; (b) head, medium and tail; (c) all classes three times.
VARIANTS: dict[str, Variant] = {
    "full": Variant(),
    "a": Variant(classes=main_and_rarer_groups),
    "b": Variant(classes=own_groups),
    "c": Variant(classes=all_classes),
    "d": Variant(fusion="main", other_fusions=("sum",)),  # no additive shortcut: the others only regularise
    "e": Variant(one_branch=True),  # no parameter specialisation
    "baseline": Variant(classes=own_groups, branches_alone=True, other_fusions=("max", "softmax")),  # Algorithm 1
}

# ResLT's extra convolutions under plain cross-entropy (figure 7): the setting's value -> the head's form
CONVOLUTIONS = {"grouped_conv": "grouped", "separate_conv": "separate"}
