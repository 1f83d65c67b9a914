"""The tables of "Decoupling representation and classifier for long-tailed recognition" (Kang et al., 2020)."""

from ltjax.commands.paper_tables.structure import PaperTable, Result, Row

JOINT = "imagenet_ce"

TABLES = {
    "1": PaperTable(
        "retraining or finetuning different parts of a ResNeXt-50 on ImageNet-LT (B: backbone, C: classifier, LB: last "
        "block)",
        ("Re-train",),
        (
            Row(("B+C",), (Result("55.4 45.3 24.5 46.3", "imagenet_decoupling:retrain=all", JOINT),)),
            Row(
                ("B+C (0.1 x lr)",),
                (Result("61.9 45.6 22.8 48.8", "imagenet_decoupling:retrain=all,backbone_rate=0.1", JOINT),),
            ),
            Row(("LB+C",), (Result("61.4 45.8 24.5 48.9", "imagenet_decoupling:retrain=last_block", JOINT),)),
            Row(("C",), (Result("61.5 46.2 27.0 49.5", "imagenet_decoupling", JOINT),)),
        ),
    ),
}
