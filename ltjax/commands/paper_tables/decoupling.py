"""The tables of "Decoupling representation and classifier for long-tailed recognition" (Kang et al., 2020).

Table 6 compares the methods in words. Figures 1, 2 (right) and 5 print no numbers: theirs are rows without the paper's.
"""

from collections.abc import Iterable, Mapping

from ltjax.commands.paper_tables.structure import ALL, SHOTS, PaperTable, Result, Row, join_words, split_words

IMAGENET, INAT, PLACES = "imagenet_decoupling", "inat_decoupling", "places_decoupling"
# data set -> the run that is the first stage of all others; on Places-LT it trains the last block alone
JOINT = {IMAGENET: "imagenet_ce", INAT: "inat_ce", PLACES: "places_decoupling:joint"}
# the paper's method -> words; cRT is the recipes' default
WORDS = {"NCM": "ncm", "cRT": "", "τ-normalized": "tau", "LWS": "lws"}
METHODS = ("Joint", *WORDS)
COPIED = "Rows with † are numbers that the paper copies from others; ours are those methods in the recipes here."
TAU_INAT = (
    "The paper selects τ on the images that are the test set here; ours is selected on the training images, as in the "
    "rows 'train' of table 9."
)


def with_words(config: str, *words: str) -> str:
    """The config with further words behind the colon.

    Example:
      >>> with_words("inat_decoupling:ncm", "", "epochs=90")
      'inat_decoupling:ncm,epochs=90'
    """
    file, given = split_words(config)
    return join_words(file, (*given, *(word for word in words if word)))


def second(published: str, file: str, words: str = "", network: str = "") -> Result:
    """A second stage on the joint run of the same network ("backbone=resnet10", "epochs=90")."""
    first = with_words(JOINT[file], *network.split(","))
    return Result(published, with_words(file, words, *network.split(",")), first, weights=weights_of(file))


def joint(published: str, file: str, network: str = "") -> Result:
    return Result(published, with_words(JOINT[file], *network.split(",")), weights=weights_of(file))


def weights_of(config: str) -> str:
    return "resnet152" if config.startswith("places") else ""


def of_method(published: str, file: str, method: str, network: str = "") -> Result:
    """Joint training, or one of the four classifiers."""
    return joint(published, file, network) if method == "Joint" else second(published, file, WORDS[method], network)


def methods(file: str, networks: Iterable[str], printed: Mapping[str, tuple[str, ...]]) -> tuple[Row, ...]:
    """A row for each method: its numbers for each of the networks."""
    return tuple(
        Row((method,), tuple(of_method(n, file, method, net) for n, net in zip(numbers, networks, strict=True)))
        for method, numbers in printed.items()
    )


def backbones(file: str, printed: Mapping[str, tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]]) -> tuple[Row, ...]:
    """A row for each backbone and method: backbone -> (networks of the columns, numbers of each method)."""
    return tuple(
        Row((backbone, *row.labels), row.results)
        for backbone, (networks, numbers) in printed.items()
        for row in methods(file, networks, dict(zip(METHODS, numbers, strict=True)))
    )


def baselines(file: str, printed: Mapping[str, tuple[str, str]], words: str = "", columns: int = 1) -> tuple[Row, ...]:
    """Rows of compared methods, whose numbers are in the first column: label -> (the method's word, numbers)."""
    rows = []
    for label, (method, numbers) in printed.items():
        result = Result(numbers, with_words(f"{file}:{method}", words), weights=weights_of(file))
        rows.append(Row((label,), (result, *[Result()] * (columns - 1))))
    return tuple(rows)


def oltr(ground: str, numbers: Mapping[str, str]) -> tuple[Result, ...]:
    """OLTR by its authors' recipe (""), or its memory on the representation of joint training: backbone -> numbers."""
    words, first = (f"on={ground}", JOINT[IMAGENET]) if ground else ("", "")
    return tuple(
        Result(n, with_words("imagenet_baselines:oltr", words, net), with_words(first, net) if first else "")
        for net, n in numbers.items()
    )


X50, X152, R10 = "", "backbone=resnext152_32x4d", "backbone=resnet10"
TABLE_2 = (R10, X50, X152)


def table_2() -> tuple[Row, ...]:
    copied = {
        "FSLwF†": ("fslwf", "28.4"),
        "Focal Loss†": ("focal", "30.5"),
        "Range Loss†": ("range", "30.7"),
        "Lifted Loss†": ("lifted", "30.8"),
        "OLTR†": ("oltr", "35.6"),
    }
    ours = {
        "Joint": ("34.8", "44.4", "47.8"),
        "NCM": ("35.5", "47.3", "51.3"),
        "cRT": ("41.8", "49.5", "52.4"),
        "τ-normalized": ("40.6", "49.4", "52.8"),
        "LWS": ("41.4", "49.9", "53.3"),
    }
    return (
        *baselines("imagenet_baselines", copied, R10, 3),
        Row(("OLTR*",), oltr("", {R10: "34.1", X50: "37.7", X152: "24.8"})),
        Row(("OLTR**",), oltr("representation", {R10: "37.3", X50: "46.3", X152: "50.3"})),
        *methods(IMAGENET, TABLE_2, ours),
    )


def table_3() -> tuple[Row, ...]:
    copied = {"CB-Focal†": ("cb_focal", "61.1"), "LDAM†": ("ldam", "64.6"), "LDAM+DRW†": ("ldam_drw", "68.0")}
    ours = {
        "Joint": ("61.7", "65.8", "65.0", "69.0"),
        "NCM": ("58.2", "63.1", "61.9", "67.3"),
        "cRT": ("65.2", "67.6", "68.5", "71.2"),
        "τ-normalized": ("65.6", "69.3", "68.8", "72.5"),
        "LWS": ("65.9", "69.5", "69.1", "72.1"),
    }
    networks = ("epochs=90", "", "backbone=resnet152,epochs=90", "backbone=resnet152")
    return (*baselines("inat_baselines", copied, "epochs=90", 4), *methods(INAT, networks, ours))


def table_4() -> tuple[Row, ...]:
    copied = {
        "Lifted Loss†": ("lifted", "41.1 35.4 24.0 35.2"),
        "Focal Loss†": ("focal", "41.1 34.8 22.4 34.6"),
        "Range Loss†": ("range", "41.1 35.4 23.2 35.1"),
        "FSLwF†": ("fslwf", "43.9 29.9 29.5 34.9"),
        "OLTR†": ("oltr", "44.7 37.0 25.3 35.9"),
    }
    ours = {
        "Joint": ("45.7 27.3 8.2 30.2",),
        "NCM": ("40.4 37.1 27.3 36.4",),
        "cRT": ("42.0 37.6 24.9 36.7",),
        "τ-normalized": ("37.8 40.7 31.8 37.9",),
        "LWS": ("40.6 39.1 28.6 37.6",),
    }
    return (*baselines("places_baselines", copied), *methods(PLACES, ("",), ours))


SAMPLERS = {
    "Instance-balanced": ("", "65.9 37.5 7.7 44.4"),
    "Class-balanced": ("sampler=class_balanced", "61.8 40.1 15.5 45.1"),
    "Square-root": ("sampler=square_root", "64.3 41.2 17.0 46.8"),
    "Progressively-balanced": ("sampler=progressive", "61.9 43.2 19.4 47.2"),
}
# method -> decoupled from the representation, no extra training, no extra hyper-parameters, performance
IN_WORDS = {
    "Joint": ("no", "yes", "yes", "*"),
    "NCM": ("yes", "yes", "yes", "**"),
    "cRT": ("yes", "no", "yes", "***"),
    "τ-normalized": ("yes", "yes", "no", "***"),
    "LWS": ("yes", "no", "yes", "***"),
}
# backbone -> the networks of both columns; Joint, NCM, cRT, τ-normalized, LWS
TABLE_7 = {
    "*-50": (
        ("backbone=resnet50", X50),
        (
            ("64.0 33.8 5.8 41.6", "65.9 37.5 7.7 44.4"),
            ("53.1 42.3 26.5 44.3", "56.6 45.3 28.1 47.3"),
            ("58.8 44.0 26.1 47.3", "61.8 46.2 27.4 49.6"),
            ("56.6 44.2 27.4 46.7", "59.1 46.9 30.7 49.4"),
            ("57.1 45.2 29.3 47.7", "60.2 47.2 30.3 49.9"),
        ),
    ),
    "*-101": (
        ("backbone=resnet101", "backbone=resnext101_32x4d"),
        (
            ("66.6 36.8 7.1 44.2", "66.2 37.8 8.6 44.8"),
            ("56.8 45.1 28.8 47.4", "57.2 45.5 29.5 47.8"),
            ("61.6 46.5 28.0 49.8", "61.7 46.0 27.0 49.4"),
            ("59.4 47.0 30.6 49.6", "59.1 47.0 31.7 49.6"),
            ("60.1 47.6 31.2 50.2", "60.5 47.2 31.2 50.1"),
        ),
    ),
    "*-152": (
        ("backbone=resnet152", X152),
        (
            ("66.9 27.7 7.7 44.9", "69.1 41.4 10.4 47.8"),
            ("56.9 45.6 29.9 47.8", "60.3 49.0 33.6 51.3"),
            ("61.8 46.8 28.4 50.1", "64.7 49.1 29.4 52.4"),
            ("59.6 47.5 32.2 50.1", "62.2 50.1 35.8 52.8"),
            ("60.6 47.8 31.4 50.5", "63.5 50.4 34.2 53.3"),
        ),
    ),
}
TABLE_8 = {
    "ResNet-50": (
        ("epochs=90", ""),
        (
            ("72.2 63.0 57.2 61.7", "75.7 66.9 61.7 65.8"),
            ("55.5 57.9 59.3 58.2", "61.0 63.5 63.3 63.1"),
            ("69.0 66.0 63.2 65.2", "73.2 68.8 66.1 68.2"),
            ("65.6 65.3 65.9 65.6", "71.1 68.9 69.3 69.3"),
            ("65.0 66.3 65.5 65.9", "71.0 69.8 68.8 69.5"),
        ),
    ),
    "ResNet-101": (
        ("backbone=resnet101,epochs=90", "backbone=resnet101"),
        (
            ("75.9 66.0 59.9 64.6", "75.5 68.9 63.2 67.3"),
            ("58.6 61.9 61.8 61.5", "63.7 65.7 65.3 65.3"),
            ("73.0 68.9 65.7 68.1", "73.9 70.4 67.8 69.7"),
            ("69.7 68.3 68.3 68.5", "68.6 70.6 72.2 71.0"),
            ("69.6 69.1 67.9 68.7", "71.5 71.3 69.7 70.7"),
        ),
    ),
    "ResNet-152": (
        ("backbone=resnet152,epochs=90", "backbone=resnet152"),
        (
            ("75.2 66.3 60.7 65.0", "78.2 70.6 64.7 69.0"),
            ("59.3 61.9 62.6 61.9", "66.3 67.5 67.2 67.3"),
            ("73.6 69.3 66.3 68.5", "75.9 71.9 69.1 71.2"),
            ("69.8 68.5 68.9 68.8", "74.3 72.3 72.2 72.5"),
            ("69.4 69.5 68.6 69.1", "74.3 72.4 71.2 72.1"),
        ),
    ),
}


def row_of_9(dataset: str, split: str, learn: str, published: str, file: str, words: str) -> Row:
    return Row((dataset, split, learn), (second(published, file, words, "epochs=90" if file == INAT else ""),))


TABLE_9 = (
    row_of_9("ImageNet-LT", "val", "no", "0.7 59.1 46.9 30.7 49.4", IMAGENET, "tau"),
    row_of_9("ImageNet-LT", "train", "no", "0.7 59.1 46.9 30.7 49.4", IMAGENET, "tau,tau_from=train"),
    row_of_9("ImageNet-LT", "train", "yes", "0.6968 59.2 46.9 30.6 49.4", IMAGENET, "tau,tau_from=learned"),
    row_of_9("iNaturalist", "val", "no", "0.3 65.6 65.3 65.9 65.6", INAT, "tau=0.3"),
    row_of_9("iNaturalist", "train", "no", "0.2 69.0 65.2 63.6 65.0", INAT, "tau"),
    row_of_9("iNaturalist", "train", "yes", "0.3146 65.1 65.2 66.1 65.6", INAT, "tau,tau_from=learned"),
    row_of_9("Places-LT", "val", "no", "0.8 37.8 40.7 31.8 37.9", PLACES, "tau"),
    row_of_9("Places-LT", "train", "no", "0.6 41.4 39.3 25.3 37.4", PLACES, "tau,tau_from=train"),
    row_of_9("Places-LT", "train", "yes", "0.5246 42.6 38.3 22.7 36.8", PLACES, "tau,tau_from=learned"),
)
TABLE_10 = (
    Row(("1",), (second("61.7 45.9 26.8 49.4", IMAGENET), Result())),
    Row(
        ("2",),
        (
            second("60.8 44.4 24.5 48.0", IMAGENET, "mlp"),
            second("59.9 44.3 25.1 47.7", IMAGENET, "mlp,mlp_hidden=512"),
        ),
    ),
    Row(
        ("3",),
        (
            second("60.3 44.3 23.7 47.7", IMAGENET, "mlp,mlp_layers=3"),
            second("59.3 43.7 23.9 47.0", IMAGENET, "mlp,mlp_layers=3,mlp_hidden=512"),
        ),
    ),
)
TABLE_12 = {
    "NCM": ("ncm", "56.6 45.3 28.1 47.3"),
    "cRT": ("", "61.7 45.9 26.8 49.4"),
    "τ-normalized": ("tau", "59.1 46.9 30.7 49.4"),
    "cos": ("cosine", "60.4 46.8 29.3 49.7"),
    "cos(noRelu)": ("cosine_norelu", "60.7 46.9 28.0 49.6"),
}
FIGURE_5 = {
    "OLTR*": oltr("", dict.fromkeys(TABLE_2, "")),
    "OLTR**": oltr("representation", dict.fromkeys(TABLE_2, "")),
    "cRT + memory": oltr("crt", dict.fromkeys(TABLE_2, "")),
    "cRT": tuple(second("", IMAGENET, "", network) for network in TABLE_2),
    "τ-normalized": tuple(second("", IMAGENET, "tau", network) for network in TABLE_2),
}
AXIS = ("ResNet-10", "ResNeXt-50", "ResNeXt-152")
NO_NUMBERS = "The figure prints no numbers."


def one_group(title: str, header: str, rows: Iterable[tuple[str, Result]], *notes: str) -> PaperTable:
    return PaperTable(title, (header,), tuple(Row((label,), (result,)) for label, result in rows), notes=notes)


TABLES = {
    "1": one_group(
        "retraining or finetuning different parts of a ResNeXt-50 on ImageNet-LT (B: backbone, C: classifier, LB: last "
        "block)",
        "Re-train",
        (
            ("B+C", second("55.4 45.3 24.5 46.3", IMAGENET, "retrain=all")),
            ("B+C (0.1 x lr)", second("61.9 45.6 22.8 48.8", IMAGENET, "retrain=all,backbone_rate=0.1")),
            ("LB+C", second("61.4 45.8 24.5 48.9", IMAGENET, "retrain=last_block")),
            ("C", second("61.5 46.2 27.0 49.5", IMAGENET)),
        ),
    ),
    "2": PaperTable(
        "ImageNet-LT, accuracy for different backbones",
        ("Method",),
        table_2(),
        columns=AXIS,
        metrics=ALL,
        notes=(
            COPIED,
            "OLTR*: its authors' recipe; OLTR**: its memory on the representation of the row 'Joint'.",
        ),
    ),
    "3": PaperTable(
        "overall accuracy on iNaturalist 2018",
        ("Method",),
        table_3(),
        columns=("ResNet-50, 90 epochs", "ResNet-50, 200 epochs", "ResNet-152, 90 epochs", "ResNet-152, 200 epochs"),
        metrics=ALL,
        notes=(COPIED, TAU_INAT, "For cRT with ResNet-50 and 200 epochs, tables 8 and 11 have 68.2 instead of 67.6."),
    ),
    "4": PaperTable(
        "Places-LT, starting from a ResNet-152 pretrained on ImageNet", ("Method",), table_4(), notes=(COPIED,)
    ),
    "5": one_group(
        "ImageNet-LT, representation and classifier learned jointly under different sampling strategies, ResNeXt-50",
        "Sampling",
        ((name, joint(printed, IMAGENET, words)) for name, (words, printed) in SAMPLERS.items()),
        "Progressively-balanced: a part t/(T-1) of epoch t is class-balanced, as in the authors' code; "
        "sampler=progressive_paper has the t/T of equation 2.",
    ),
    "6": PaperTable(
        "ways of learning the classifier, compared in words",
        ("Method", "Decoupled from repr.", "No extra training", "No extra hyper-parameters", "Performance"),
        tuple(Row((name, *words), (of_method("", IMAGENET, name),)) for name, words in IN_WORDS.items()),
        columns=("ImageNet-LT: ResNeXt-50",),
        metrics={"All": "all"},
        notes=("The paper's table has no numbers; ours are those of the runs of table 2.",),
    ),
    "7": PaperTable(
        "ImageNet-LT with different backbones",
        ("Backbone", "Method"),
        backbones(IMAGENET, TABLE_7),
        columns=("ResNet", "ResNeXt"),
        notes=("ResNet-152, Joint: the paper's medium of 27.7 does not fit its 44.9 for all; 37.7 would.",),
    ),
    "8": PaperTable(
        "iNaturalist 2018 with different backbones and training epochs",
        ("Backbone", "Method"),
        backbones(INAT, TABLE_8),
        columns=("90 Epochs", "200 Epochs"),
        notes=(TAU_INAT,),
    ),
    "9": PaperTable(
        "determining τ on the training set",
        ("Dataset", "split", "learn"),
        TABLE_9,
        metrics={"τ": "report.tau", **SHOTS},
        notes=("The paper's validation images of iNaturalist are the test set here: its row 'val' has the paper's τ.",),
    ),
    "10": PaperTable(
        "MLP classifiers on ImageNet-LT, ResNeXt-50",
        ("Layers",),
        TABLE_10,
        columns=("hid-dim: 2048", "hid-dim: 512"),
        notes=("One layer is cRT, which has no hidden layer; tables 1 and 7 have other numbers of it.",),
    ),
    "11": one_group(
        "MLP classifiers on iNaturalist 2018, ResNet-50, 200 epochs, hidden layers of 2048",
        "Layers",
        (
            ("1", second("73.2 68.8 66.1 68.2", INAT)),
            ("2", second("60.4 61.8 60.6 61.2", INAT, "mlp")),
            ("3", second("68.5 63.6 60.1 62.8", INAT, "mlp,mlp_layers=3")),
        ),
    ),
    "12": one_group(
        "cosine similarity classifiers on ImageNet-LT, ResNeXt-50",
        "Classifier",
        ((name, second(printed, IMAGENET, words)) for name, (words, printed) in TABLE_12.items()),
    ),
    "figure1": PaperTable(
        "classifiers on representations learned under different sampling strategies, ImageNet-LT, ResNeXt-50",
        ("Sampling", "Method"),
        tuple(
            Row((sampling, method), (of_method(printed if method == "Joint" else "", IMAGENET, method, words),))
            for sampling, (words, printed) in SAMPLERS.items()
            for method in ("Joint", "NCM", "cRT", "τ-normalized")
        ),
        notes=("The figure prints no numbers; those of joint training are table 5's.",),
    ),
    "figure2": one_group(
        "accuracy against τ, ImageNet-LT, ResNeXt-50",
        "τ",
        ((f"{k / 10:g}", second("", IMAGENET, f"tau={k / 10:g}")) for k in range(21)),
        NO_NUMBERS,
    ),
    "figure5": PaperTable(
        "ImageNet-LT, accuracy for different backbones",
        ("Method",),
        tuple(Row((name,), results) for name, results in FIGURE_5.items()),
        columns=AXIS,
        metrics=ALL,
        notes=(NO_NUMBERS, "cRT + memory: OLTR's memory, trained under cRT's schedule."),
    ),
}
