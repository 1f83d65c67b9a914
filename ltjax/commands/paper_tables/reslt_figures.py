"""The sweeps of ResLT's figures (Cui et al., 2022), whose numbers the paper only draws."""

from collections.abc import Mapping

from ltjax.commands.paper_tables.structure import ALL, SHOTS, PaperTable, Result, Row

CIFAR = {"CIFAR-10-LT": "cifar10", "CIFAR-100-LT": "cifar100"}
RESLT, BBN = "reslt:imbalance=50", "baselines:bbn,imbalance=50"


def sweep(title: str, rows: Mapping[str, str], *notes: str) -> PaperTable:
    """Rows label -> "family:words", on both CIFAR sets with imbalance factor 0.02."""
    made = (
        Row((label,), tuple(Result("", f"{dataset}_{config}") for dataset in CIFAR.values()))
        for label, config in rows.items()
    )
    return PaperTable(title, ("Model",), tuple(made), tuple(CIFAR), ALL, notes=notes)


FIGURE_3 = sweep(
    "parameter specialization and the variants of figure 2, imbalance factor 0.02",
    {
        "(a)": f"{RESLT},variant=a",
        "(b)": f"{RESLT},variant=b",
        "(c)": f"{RESLT},variant=c",
        "(d)": f"{RESLT},variant=d",
        "(e) without parameter specialization": f"{RESLT},variant=e",
        "ResLT": RESLT,
    },
    "The classes of each variant's branches: docs/methods/reslt.md.",
)
FIGURE_4 = sweep(
    "model size, imbalance factor 0.02 (ImageNet-LT's part is table 6)",
    {
        f"{method}, ResNet-32({width}x)": config + (f",width={width}" if width > 1 else "")
        for width in (1, 2, 3)
        for method, config in (("BBN", BBN), ("ResLT", RESLT))
    },
)
# data set -> config and its own alpha, which needs no word
ALPHA_COLUMNS = {
    "CIFAR-10-LT": ("cifar10_reslt:imbalance=50", "0.998"),
    "CIFAR-100-LT": ("cifar100_reslt:imbalance=50", "0.99"),
    "ImageNet-LT": ("imagenet_reslt:backbone=resnet10", "0.99"),
}


def with_alpha(alpha: str) -> Row:
    configs = (config if alpha == own else f"{config},alpha={alpha}" for config, own in ALPHA_COLUMNS.values())
    return Row((alpha,), tuple(Result("", config) for config in configs))


FIGURE_5 = PaperTable(
    "alpha: CIFAR-LT with imbalance factor 0.02 and ResNet-32, ImageNet-LT with ResNet-10",
    ("alpha",),
    tuple(with_alpha(alpha) for alpha in ("0", "0.5", "0.9", "0.95", "0.98", "0.99", "0.995", "0.998", "1")),
    tuple(ALPHA_COLUMNS),
    ALL,
    notes=("The text names 0.99, 0.995 and 1; the other values are ours.",),
)
BRANCHES = {"Main branch": "branch_0", "Residual branch I": "branch_1", "Residual branch II": "branch_2", "All": ""}


def by_branch(title: str, columns: Mapping[str, str], shots: str) -> PaperTable:
    """The accuracy of each branch in the runs of these configs."""
    rows = (
        Row((label,), tuple(Result("", config, view=view) for config in columns.values()))
        for label, view in BRANCHES.items()
    )
    return PaperTable(title, ("Branch",), tuple(rows), tuple(columns), SHOTS, shots)


FIGURE_6_CIFAR = by_branch(
    "(a), (b): individual branches on CIFAR-LT, imbalance factor 0.01",
    {"CIFAR-100-LT": "cifar100_reslt", "CIFAR-10-LT": "cifar10_reslt"},
    "index",
)
FIGURE_6_IMAGENET = by_branch(
    "(c), (d): individual branches on ImageNet-LT",
    {"ResNet-10": "imagenet_reslt:backbone=resnet10", "ResNeXt-50": "imagenet_reslt"},
    "strict",
)
FIGURE_7 = sweep(
    "convolutions on top without branches, imbalance factor 0.02",
    {
        "1-Grouped convolution": f"{RESLT},variant=grouped_conv",
        "3-Separate convolutions": f"{RESLT},variant=separate_conv",
        "ResLT": RESLT,
    },
)

FIGURES = {
    "figure3": FIGURE_3, "figure4": FIGURE_4, "figure5": FIGURE_5, "figure6_cifar": FIGURE_6_CIFAR,
    "figure6_imagenet": FIGURE_6_IMAGENET, "figure7": FIGURE_7,
}  # fmt: skip
