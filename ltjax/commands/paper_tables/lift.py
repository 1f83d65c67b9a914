"""The tables of "Long-tail learning with foundation model: heavy fine-tuning hurts" (Shi et al., 2024): LIFT.

Rows of other papers' methods are left out. Of LIFT's own rows, only the accuracies over all classes with test-time
ensembling, and those of ImageNet-21k's network, are printed here; the others are "-", because they were not checked.
"""

from ltjax.commands.paper_tables.structure import ALL, SHOTS, PaperTable, Result, Row

CLIP, IMAGENET21K = "clip_vit_b16", "vit_b16_imagenet21k"
BOTH = "report_ensemble"  # the word: one run has the plain result, and the ensembled one as a view
IMBALANCES = ("", "imbalance=50", "imbalance=10")
TWO = ("ImageNet-LT", "Places-LT")
WITH_TTE = "LIFT with test-time ensembling"
RESIZED = "Images are resized to 224 pixels, as CLIP's weights take them; the authors' code crops 224 out of 256."
UNCHECKED = "The rows are those of the authors' scripts. A dash in place of the paper's number: it was not checked."


def run(dataset: str, *words: str, published: str = "", ensembled: bool = False, weights: str = CLIP) -> Result:
    """Of a run on a data set by these words; ``ensembled``: its view."""
    given = ",".join(word for word in words if word)
    config = f"{dataset}_lift:{given}" if given else f"{dataset}_lift"
    return Result(published, config, view="ensemble" if ensembled else "", weights=weights)


def missing(reason: str) -> tuple[Result, Result]:
    """Of a row of two data sets that cannot be run."""
    return Result(reason=reason), Result(reason=reason)


def main(title: str, dataset: str, published: str) -> PaperTable:
    """One of tables 1 to 3."""
    return PaperTable(
        f"{title}, CLIP's ViT-B/16",
        ("Methods",),
        (
            Row(("LIFT",), (run(dataset, BOTH),)),
            Row((WITH_TTE,), (run(dataset, BOTH, published=f"- - - {published}", ensembled=True),)),
        ),
        notes=(UNCHECKED, RESIZED),
        substitutes=("cifar10", "cifar100"),
    )


def of_two(
    title: str, header: tuple[str, ...], rows: dict[tuple[str, ...], tuple[Result, Result]], *notes: str
) -> PaperTable:
    """A table of ImageNet-LT and Places-LT."""
    made, notes = tuple(Row(labels, results) for labels, results in rows.items()), (UNCHECKED, RESIZED, *notes)
    return PaperTable(title, header, made, TWO, SHOTS, notes=notes, substitutes=("cifar10", "cifar100"))


def pair(*words: str, ensembled: bool = False) -> tuple[Result, Result]:
    """The same words on ImageNet-LT and Places-LT."""
    return run("imagenet", *words, ensembled=ensembled), run("places", *words, ensembled=ensembled)


def cifar(label: str, word: str, published: str, ensembled: bool = False, weights: str = CLIP) -> Row:
    """A row of table 4."""
    numbers = published.split() or [""] * len(IMBALANCES)
    return Row(
        (label,),
        tuple(
            run("cifar100", word, imbalance, published=number, ensembled=ensembled, weights=weights)
            for imbalance, number in zip(IMBALANCES, numbers, strict=True)
        ),
    )


TABLES = {
    "1": main("ImageNet-LT", "imagenet", "78.3"),
    "2": main("Places-LT", "places", "52.2"),
    "3": main("iNaturalist 2018", "inat", "80.4"),
    "4": PaperTable(
        "CIFAR-100-LT",
        ("Methods",),
        (
            cifar("LIFT", BOTH, ""),
            cifar(WITH_TTE, BOTH, "81.7 83.1 84.9", ensembled=True),
            cifar("LIFT, ViT-B/16 of ImageNet-21k", "imagenet21k", "89.1 90.2 91.3", weights=IMAGENET21K),
        ),
        ("imbalance 100", "imbalance 50", "imbalance 10"),
        ALL,
        notes=(UNCHECKED, "The classes of CIFAR-100 are among those of ImageNet-21k."),
        substitutes=("cifar10", "cifar100"),
    ),
    "5": of_two(
        "components",
        ("Lightweight fine-tuning", "Loss", "Classifier starts from", "Test-time ensembling"),
        {
            ("-", "cross-entropy", "random weights", "-"): pair("tuning=linear", "loss=cross_entropy", "start=random"),
            ("AdaptFormer", "cross-entropy", "random weights", "-"): pair("loss=cross_entropy", "start=random"),
            ("AdaptFormer", "logit adjustment", "random weights", "-"): pair(BOTH, "start=random"),
            ("AdaptFormer", "logit adjustment", "text", "-"): pair(BOTH),
            ("AdaptFormer", "logit adjustment", "text", "yes"): pair(BOTH, ensembled=True),
        },
    ),
    "6": of_two(
        "what is trained in the backbone; zero-shot CLIP",
        ("Methods",),
        {
            ("Zero-shot CLIP",): pair("zero_shot"),
            ("Classifier fine-tuning",): pair("tuning=linear", BOTH, ensembled=True),
            ("Full fine-tuning",): (
                run("imagenet", "tuning=all", "rate=0.0005", BOTH, ensembled=True),
                run("places", "tuning=all", "rate=0.001", BOTH, ensembled=True),
            ),
            ("Arbitrary lightweight fine-tuning",): missing("config.tuning does not train a random part of each array"),
            ("LIFT with BitFit",): pair("tuning=bias"),
            ("LIFT with VPT-shallow",): pair("tuning=prompts"),
            ("LIFT with VPT-deep",): pair("tuning=deep_prompts"),
            ("LIFT with Adapter",): missing("config.tuning has the bottleneck of AdaptFormer, beside the MLP, alone"),
            ("LIFT with LoRA",): pair("tuning=lora"),
            ("LIFT with AdaptFormer",): pair(BOTH),
        },
        "Classifier and full fine-tuning are with test-time ensembling, all other rows without.",
    ),
    "7": of_two(
        "what the classifier starts from, with test-time ensembling",
        ("Classifier starts from",),
        {
            ("random weights",): pair(BOTH, "start=random", ensembled=True),
            ("linear probing",): missing("config.lift.start has no classifier that is trained before"),
            ("class means",): pair(BOTH, "class_means", ensembled=True),
            ("text",): pair(BOTH, ensembled=True),
        },
    ),
    "16": PaperTable(
        "losses, with test-time ensembling",
        ("Losses",),
        tuple(
            Row((label,), tuple(run(dataset, BOTH, word, ensembled=True) for dataset in ("imagenet", "places", "inat")))
            for label, word in {
                "Cross-entropy": "loss=cross_entropy", "Focal": "loss=focal", "LDAM": "loss=ldam",
                "Class-balanced": "loss=class_balanced", "Generalised re-weighting": "loss=reweighted",
                "LADE": "loss=lade", "Logit adjustment": "",
            }.items()
        ),
        (*TWO, "iNaturalist 2018"),
        SHOTS,
        notes=(UNCHECKED, RESIZED, "LDAM's margins are subtracted from the cosines, not from the scaled logits."),
        substitutes=("cifar10", "cifar100"),
    ),
}  # fmt: skip
