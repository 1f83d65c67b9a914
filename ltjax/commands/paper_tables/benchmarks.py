"""Tables of every method on one data set: the config of each, and the accuracies that papers report."""

from typing import NamedTuple

from ltjax.commands.paper_tables.structure import Cell, shortened

RESLT = "Cui et al. (2022), table 5"
ASYNCHRONOUS = "asynchronous modelling, table 3"
CE_SOURCE = f"{ASYNCHRONOUS} (CIFAR-100), Cui et al. (2022), table 1 (CIFAR-10)"
Numbers = tuple[float | None, ...]
NONE: Numbers = (None, None, None)


class TableMethod(NamedTuple):
    """A method of a table.

    Attributes:
      config: "family" or "family:words": ``configs/<data set>_<family>.py:<words>``.
      cifar100, cifar10: the accuracy (%) in the paper at imbalance 100, 50 and 10; None where it reports none.
      source: the paper and table of the numbers.
      starts_from: the method whose finished cell is its first stage (config.init_from).
    """

    config: str
    cifar100: Numbers = NONE
    cifar10: Numbers = NONE
    source: str = ""
    starts_from: str = ""


class Benchmark(NamedTuple):
    """Every method at every imbalance of some data sets.

    Attributes:
      datasets: (name, imbalance factors), in the order in which they are trained.
      methods: name -> method, the most important first.
    """

    datasets: tuple[tuple[str, tuple[int, ...]], ...]
    methods: dict[str, TableMethod]

    def cells(self, data: str = "", short: bool = False) -> list[Cell]:
        """Every cell in the order in which it is trained; ``data`` has to be ""."""
        assert not data
        return [
            _cell(dataset, imbalance, name, method, short)
            for dataset, factors in self.datasets
            for imbalance in factors
            for name, method in self.methods.items()
        ]


def _cell(dataset: str, imbalance: int, name: str, method: TableMethod, short: bool) -> Cell:
    family, colon, words = method.config.partition(":")
    config = f"{dataset}_{family}:{words}{',' if colon else ''}imbalance={imbalance}"
    place = f"{dataset}_if{imbalance}"
    shared = frozenset((f"if{imbalance}", name, place, f"{dataset}_{name}", f"if{imbalance}_{name}"))
    first = f"{place}_{method.starts_from}" if method.starts_from else ""
    return Cell(f"{place}_{name}", shortened(config) if short else config, first, shared)


TABLE_METHODS: dict[str, TableMethod] = {
    "ce": TableMethod("ce", (38.32, 43.85, None), (None, 78.50, None), CE_SOURCE),
    "reslt": TableMethod("reslt", (45.34, 49.98, 60.79), (80.44, 83.46, 89.06), RESLT),
    "ldam_drw": TableMethod("baselines:ldam_drw", (42.04, 46.62, 58.71), (77.03, 81.03, 88.16), RESLT),
    "asynchronous_plain": TableMethod("asynchronous:plain", (42.48, 47.61, None), NONE, ASYNCHRONOUS),
    "asynchronous": TableMethod("asynchronous", (44.79, 49.32, None), NONE, ASYNCHRONOUS),
    "balanced_softmax": TableMethod("baselines:balanced_softmax"),
    "bbn": TableMethod("baselines:bbn", (42.56, 47.02, 59.12), (79.82, 82.18, 88.32), RESLT),
    "crt": TableMethod("decoupling:crt", starts_from="ce"),
    "lws": TableMethod("decoupling:lws", starts_from="ce"),
    "crt_cached": TableMethod("decoupling:crt,cached", starts_from="ce"),
    "lws_cached": TableMethod("decoupling:lws,cached", starts_from="ce"),
    "tau": TableMethod("decoupling:tau", starts_from="ce"),
    "ncm": TableMethod("decoupling:ncm", starts_from="ce"),
    "auxiliary": TableMethod("auxiliary"),
    "mlp": TableMethod("decoupling:mlp", starts_from="ce"),
    "cosine": TableMethod("decoupling:cosine", starts_from="ce"),
    "focal": TableMethod("baselines:focal", (38.41, 44.32, 55.78), (70.38, 76.72, 86.66), RESLT),
    "cb_ce": TableMethod("baselines:cb_ce"),
    "cb_focal": TableMethod("baselines:cb_focal", (39.60, 45.17, 57.99), (74.57, 79.27, 87.10), RESLT),
    "cost_sensitive": TableMethod("baselines:cost_sensitive"),
    "ldam": TableMethod("baselines:ldam", (39.60, None, 56.91), (73.35, None, 86.96), RESLT),
    "ce_drw": TableMethod("baselines:ce_drw", (41.51, 45.29, 58.12), (76.34, 79.97, 87.56), RESLT),
    "ce_drs": TableMethod("baselines:ce_drs", (41.61, 45.48, 58.11), (75.61, 79.81, 87.38), RESLT),
    "mixup": TableMethod("baselines:mixup", (39.54, 44.99, 58.02), (73.06, 77.82, 87.10), RESLT),
    "causal_norm": TableMethod("baselines:causal_norm", (44.10, 50.30, 59.60), (80.60, 83.60, 88.50), RESLT),
    "ride": TableMethod("baselines:ride", (48.6, None, None), NONE, RESLT),
    "logit_adjustment": TableMethod("baselines:logit_adjustment"),
    "seql": TableMethod("baselines:seql"),
    "lifted": TableMethod("baselines:lifted"),
    "range": TableMethod("baselines:range"),
    "triplet": TableMethod("baselines:triplet"),
    "proxy": TableMethod("baselines:proxy"),
    "oltr": TableMethod("baselines:oltr"),
    "lfme": TableMethod("baselines:lfme"),
    "fsa": TableMethod("baselines:fsa"),
    "fslwf": TableMethod("baselines:fslwf"),
}

BENCHMARKS: dict[str, Benchmark] = {
    "cifar": Benchmark((("cifar100", (100, 50, 10)), ("cifar10", (100, 50, 10))), TABLE_METHODS),
    "mnist5k": Benchmark((("mnist5k", (40,)),), TABLE_METHODS),
}


def published(method: TableMethod, dataset: str, position: int) -> float | None:
    """The accuracy (%) that papers report of a method, at the data set's imbalance factor of this position.

    Example:
      >>> published(TABLE_METHODS["reslt"], "cifar10", 1), published(TABLE_METHODS["reslt"], "mnist5k", 0)
      (83.46, None)
    """
    numbers: Numbers = getattr(method, dataset, ())
    return numbers[position] if position < len(numbers) else None
