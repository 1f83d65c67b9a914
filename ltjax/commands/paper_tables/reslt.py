"""The tables of "ResLT: residual learning for long-tailed recognition" (Cui et al., 2022)."""

from collections.abc import Mapping

from ltjax.commands.paper_tables.structure import PaperTable, Result, Row

METRICS: Mapping[str, str] = {"Many-shot": "many", "Medium-shot": "medium", "Few-shot": "few", "All": "all"}
BASELINE = "cifar10_reslt:imbalance=50,variant=baseline"

TABLES = {
    "1": PaperTable(
        "baselines on CIFAR-10-LT with imbalance factor 0.02, ResNet-32",
        ("Method",),
        (
            Row(("Baseline (CE)",), (Result("93.60 76.33 68.55 78.50", "cifar10_ce:imbalance=50"),)),
            Row(("Baseline (1)",), (Result("90.70 54.73 41.48 60.22", BASELINE, view="fusion_max"),)),
            Row(("Baseline (2)",), (Result("90.83 55.63 40.75 60.24", BASELINE),)),
            Row(("Baseline (3)",), (Result("86.73 45.50 55.33 61.80", BASELINE, view="fusion_softmax"),)),
            Row(("ResLT (Ours)",), (Result("85.83 81.47 81.43 83.46", "cifar10_reslt:imbalance=50"),)),
        ),
        metrics=METRICS,
        shots="index",
        notes=("Baselines (1) to (3) are one network, whose branches are fused in three ways (algorithm 1).",),
    ),
}
