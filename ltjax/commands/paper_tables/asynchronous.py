"""The tables of "Asynchronous modeling: a dual-phase perspective for long-tailed recognition" (anonymous)."""

from ltjax.commands.paper_tables.structure import ALL, PaperTable, Result, Row

IMBALANCES = (":imbalance=200", "", ":imbalance=50")


def cifar(label: str, config: str, *published: str) -> Row:
    """A row of table 3; ``config`` is FAMILY or FAMILY:WORDS."""
    results = []
    for imbalance, number in zip(IMBALANCES, published, strict=True):
        words = imbalance.replace(":", ",") if ":" in config else imbalance
        results.append(Result(number, f"cifar100_{config}{words}"))
    return Row((label,), tuple(results))


TABLES = {
    "3": PaperTable(
        "CIFAR100-LT, overall results under different imbalance factors",
        ("Method",),
        (
            cifar("Cross Entropy", "ce", "35.63", "38.32", "43.85"),
            cifar("Focal loss (Lin et al., 2017)", "baselines:focal", "34.69", "38.41", "44.32"),
            cifar("Mixup (Zhang et al., 2017a)", "baselines:mixup", "36.20", "39.54", "44.99"),
            cifar("CB-Focal (Cui et al., 2019)", "baselines:cb_focal", "36.23", "39.60", "45.32"),
            cifar("LDAM (Cao et al., 2019)", "baselines:ldam_drw", "38.06", "42.04", "46.62"),
            cifar("BBN (Zhou et al., 2020)", "baselines:bbn", "37.93", "42.56", "47.02"),
            cifar("Ours (plain)", "asynchronous:plain", "39.35", "42.48", "47.61"),
            cifar("Ours", "asynchronous", "40.53", "44.79", "49.32"),
        ),
        columns=("200", "100", "50"),
        metrics=ALL,
        notes=("The row 'LDAM' has the numbers of LDAM with deferred re-weighting, which is what runs here.",),
    ),
}
