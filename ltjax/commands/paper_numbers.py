"""The rows of the tables that ``python -m ltjax.table`` makes: which config a method is, and what papers report."""

from typing import NamedTuple

RESLT = "Cui et al. (2022), table 5"
ASYNCHRONOUS = "asynchronous modelling, table 3"
Numbers = tuple[float | None, ...]
NONE: Numbers = (None, None, None)


class Row(NamedTuple):
    """A method of a table.

    Attributes:
      config: "family" or "family:words": ``configs/<data set>_<family>.py:<words>``.
      cifar100, cifar10: the papers' accuracy (%) at imbalance 100, 50 and 10; None where they have none.
      source: which paper and table the numbers are of.
      after: the row whose finished cell is the first stage (config.init_from).
    """

    config: str
    cifar100: Numbers = NONE
    cifar10: Numbers = NONE
    source: str = ""
    after: str = ""


class Table(NamedTuple):
    """sets: (data set, its imbalance factors), in the order in which they are made; rows: the most wanted first."""

    sets: tuple[tuple[str, tuple[int, ...]], ...]
    rows: dict[str, Row]


ROWS: dict[str, Row] = {
    "ce": Row("ce", (38.32, 43.85, None), (None, 78.50, None), f"{ASYNCHRONOUS} (CIFAR-100), {RESLT[:-1]}1 (CIFAR-10)"),
    "reslt": Row("reslt", (45.34, 49.98, 60.79), (80.44, 83.46, 89.06), RESLT),
    "ldam_drw": Row("baselines:ldam_drw", (42.04, 46.62, 58.71), (77.03, 81.03, 88.16), RESLT),
    "asynchronous_plain": Row("asynchronous:plain", (42.48, 47.61, None), NONE, ASYNCHRONOUS),
    "asynchronous": Row("asynchronous", (44.79, 49.32, None), NONE, ASYNCHRONOUS),
    "balanced_softmax": Row("baselines:balanced_softmax"),
    "bbn": Row("baselines:bbn", (42.56, 47.02, 59.12), (79.82, 82.18, 88.32), RESLT),
    "crt": Row("decoupling:crt", after="ce"),
    "lws": Row("decoupling:lws", after="ce"),
    "tau": Row("decoupling:tau", after="ce"),
    "ncm": Row("decoupling:ncm", after="ce"),
    "auxiliary": Row("auxiliary"),
    "mlp": Row("decoupling:mlp", after="ce"),
    "cosine": Row("decoupling:cosine", after="ce"),
    "focal": Row("baselines:focal", (38.41, 44.32, 55.78), (70.38, 76.72, 86.66), RESLT),
    "cb_ce": Row("baselines:cb_ce"),
    "cb_focal": Row("baselines:cb_focal", (39.60, 45.17, 57.99), (74.57, 79.27, 87.10), RESLT),
    "cost_sensitive": Row("baselines:cost_sensitive"),
    "ldam": Row("baselines:ldam", (39.60, None, 56.91), (73.35, None, 86.96), RESLT),
    "ce_drw": Row("baselines:ce_drw", (41.51, 45.29, 58.12), (76.34, 79.97, 87.56), RESLT),
    "ce_drs": Row("baselines:ce_drs", (41.61, 45.48, 58.11), (75.61, 79.81, 87.38), RESLT),
    "mixup": Row("baselines:mixup", (39.54, 44.99, 58.02), (73.06, 77.82, 87.10), RESLT),
    "causal_norm": Row("baselines:causal_norm", (44.10, 50.30, 59.60), (80.60, 83.60, 88.50), RESLT),
    "ride": Row("baselines:ride", (48.6, None, None), NONE, RESLT),
    "logit_adjustment": Row("baselines:logit_adjustment"),
    "lifted": Row("baselines:lifted"),
    "range": Row("baselines:range"),
    "triplet": Row("baselines:triplet"),
    "proxy": Row("baselines:proxy"),
    "oltr": Row("baselines:oltr"),
}

TABLES: dict[str, Table] = {
    "cifar": Table((("cifar100", (100, 50, 10)), ("cifar10", (100, 50, 10))), ROWS),
    "mnist5k": Table((("mnist5k", (40,)),), ROWS),
}


def published(row: Row, dataset: str, position: int) -> float | None:
    """The papers' accuracy (%) of a row at the data set's imbalance factor of this position.

    Example:
      >>> published(ROWS["reslt"], "cifar10", 1), published(ROWS["reslt"], "mnist5k", 0)
      (83.46, None)
    """
    numbers: Numbers = getattr(row, dataset, ())
    return numbers[position] if position < len(numbers) else None
