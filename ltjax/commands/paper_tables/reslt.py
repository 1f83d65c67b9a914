"""The tables of "ResLT: residual learning for long-tailed recognition" (Cui et al., 2022)."""

from collections.abc import Mapping

from ltjax.commands.paper_tables.not_built import NOT_BUILT
from ltjax.commands.paper_tables.reslt_figures import FIGURES
from ltjax.commands.paper_tables.structure import ALL, PaperTable, Result, Row

YES, NO = "✓", "✗"  # the column "One-stage"
SHOT_WORDS: Mapping[str, str] = {"Many-shot": "many", "Medium-shot": "medium", "Few-shot": "few", "All": "all"}
FACTORS = ("0.01", "0.02", "0.1")
EPOCHS_180 = (
    "Cross-entropy, mixup and decoupling train 180 epochs, as ResLT does (section 4.3); causal norm keeps its authors' "
    "schedule."
)
COPIED = "† numbers are copied from other papers, which train for other numbers of epochs."


def row(labels: tuple[str, ...], published: str, config: str = "", starts_from: str = "", **others: str) -> Row:
    """A row with one group of numbers."""
    return Row(labels, (Result(published, config, starts_from, **others),))


# Table 1

BASELINE = "cifar10_reslt:imbalance=50,variant=baseline"
TABLE_1 = PaperTable(
    "baselines on CIFAR-10-LT with imbalance factor 0.02, ResNet-32",
    ("Method",),
    (
        row(("Baseline (CE)",), "93.60 76.33 68.55 78.50", "cifar10_ce:imbalance=50"),
        row(("Baseline (1)",), "90.70 54.73 41.48 60.22", BASELINE, view="fusion_max"),
        row(("Baseline (2)",), "90.83 55.63 40.75 60.24", BASELINE),
        row(("Baseline (3)",), "86.73 45.50 55.33 61.80", BASELINE, view="fusion_softmax"),
        row(("ResLT (Ours)",), "85.83 81.47 81.43 83.46", "cifar10_reslt:imbalance=50"),
    ),
    metrics=SHOT_WORDS,
    shots="index",
    notes=("Baselines (1) to (3) are one network, whose branches are fused in three ways (algorithm 1).",),
)

# Tables 2 and 8: iNaturalist 2018

MIXUP = "inat_baselines:mixup"
TABLE_2 = PaperTable(
    "iNaturalist 2018, ResNet-50 (★: 360 epochs; §: mixup, from ImageNet's weights)",
    ("Method", "One-stage"),
    (
        row(("CB-Focal [53] †", YES), "61.1", "inat_baselines:cb_focal"),
        row(("LDAM [54] †", YES), "64.6", "inat_baselines:ldam"),
        row(("BBN [48] ★", YES), "69.6", "inat_baselines:bbn"),
        row(("τ-normalized [47]", YES), "69.3", "inat_decoupling:tau", "inat_ce"),
        row(("Causal Norm [49]", YES), "64.0", "inat_baselines:causal_norm"),
        row(("LDAM+DRW [54] †", NO), "68.0", "inat_baselines:ldam_drw"),
        row(("cRT [47]", NO), "67.6", "inat_decoupling", "inat_ce"),
        row(("LWS [47]", NO), "69.5", "inat_decoupling:lws", "inat_ce"),
        row(("LWS [47] §", NO), "71.4", "inat_decoupling:lws", MIXUP, weights="resnet50"),
        row(("ResLT", YES), "70.2", "inat_reslt"),
        row(("ResLT ★", YES), "70.5", "inat_reslt:long"),
        row(("ResLT §", YES), "72.3", "inat_reslt:strong", weights="resnet50"),
    ),
    metrics={"ResNet-50": "all"},
    notes=(COPIED, "BBN draws two batches a step, so that 180 epochs see the images of 360."),
)
TABLE_8 = PaperTable(
    "iNaturalist 2018, ResNet-50",
    ("Method", "Backbone Model", "One-stage"),
    (
        row(("CE (baseline)", "ResNet-50", YES), "75.7 66.9 61.7 65.8", "inat_ce"),
        row(("cRT", "ResNet-50", NO), "73.2 68.8 66.1 68.2", "inat_decoupling", "inat_ce"),
        row(("τ-normalize", "ResNet-50", YES), "71.1 68.9 69.3 69.3", "inat_decoupling:tau", "inat_ce"),
        row(("LWS", "ResNet-50", NO), "71.0 69.8 68.8 69.5", "inat_decoupling:lws", "inat_ce"),
        row(("ResLT", "ResNet-50", YES), "68.5 69.9 70.4 70.2", "inat_reslt"),
    ),
    metrics=SHOT_WORDS,
    notes=("Section 4.3 also reports ResLT with ResNet-152: 73.2 % (inat_reslt.py:backbone=resnet152).",),
)

# Tables 3 and 6: ImageNet-LT


def imagenet(words: str = "", family: str = "decoupling", backbone: str = "") -> str:
    """The config of 180 epochs."""
    all_words = [words, f"backbone={backbone}" if backbone else "", "epochs=180"]
    return f"imagenet_{family}:{','.join(word for word in all_words if word)}"


CE = imagenet(family="ce")
PLACES_NUMBERS = "the paper repeats table 4's row here: Places-LT and ResNet-152, without a run on ImageNet-LT"
TABLE_3 = PaperTable(
    "ImageNet-LT, ResNeXt-50 (§: mixup and AutoAugment)",
    ("Method", "One-stage"),
    (
        row(("Baseline(CE)", YES), "67.6 42.8 13.4 47.6", CE),
        row(("Mixup [55]", YES), "67.3 41.0 11.1 46.3", imagenet("mixup", "baselines")),
        row(("Lifted Loss [56] †", YES), "41.1 35.4 24.0 35.2", reason=PLACES_NUMBERS),
        row(("Focal Loss [44] †", YES), "41.1 34.8 22.4 34.6", reason=PLACES_NUMBERS),
        row(("Range Loss [57] †", YES), "41.1 35.4 23.2 35.1", reason=PLACES_NUMBERS),
        row(("τ-normalized [47]", YES), "60.9 49.2 36.8 51.5", imagenet("tau"), CE),
        row(("Causal Norm [49]", YES), "64.9 48.0 28.9 51.9", "imagenet_baselines:causal_norm"),
        row(("cRT [47]", NO), "63.7 47.6 28.3 50.7", imagenet(), CE),
        row(("LWS [47]", NO), "63.3 48.4 32.0 51.5", imagenet("lws"), CE),
        row(("ResLT", YES), "63.0 50.5 35.5 52.9", "imagenet_reslt"),
        row(("ResLT §", YES), "63.6 55.7 38.9 56.1", "imagenet_reslt:strong"),
    ),
    notes=(EPOCHS_180,),
)


def backbone_rows(label: str, backbone: str, ce: str, crt: str, tau: str, lws: str, reslt: str) -> tuple[Row, ...]:
    """Table 6's five methods with one backbone; "" is the config files' own."""
    joint = imagenet(family="ce", backbone=backbone)
    return (
        row(("CE (baseline)", label, YES), ce, joint),
        row(("cRT", label, NO), crt, imagenet(backbone=backbone), joint),
        row(("τ-normalize", label, YES), tau, imagenet("tau", backbone=backbone), joint),
        row(("LWS", label, NO), lws, imagenet("lws", backbone=backbone), joint),
        row(("ResLT", label, YES), reslt, f"imagenet_reslt:backbone={backbone}" if backbone else "imagenet_reslt"),
    )


RESNET_10 = backbone_rows(
    "ResNet-10", "resnet10",
    ce="59.7 29.4 5.7 37.3", crt="53.8 41.3 25.4 43.2", tau="50.4 42.1 26.7 42.7", lws="51.8 41.6 27.6 43.0",
    reslt="52.3 41.6 29.5 43.8",
)  # fmt: skip
RESNEXT_50 = backbone_rows(
    "ResNeXt-50", "",
    ce="66.8 42.0 14.0 47.0", crt="63.7 47.6 28.3 50.6", tau="62.3 48.9 33.7 51.5", lws="63.3 48.4 32.0 51.5",
    reslt="63.0 50.5 35.5 53.0",
)  # fmt: skip
RESNEXT_101 = backbone_rows(
    "ResNeXt-101-32x4d", "resnext101_32x4d",
    ce="69.6 44.6 15.6 49.6", crt="66.2 50.4 30.8 53.3", tau="65.3 51.5 35.2 53.9", lws="65.7 51.4 34.7 54.0",
    reslt="63.3 53.3 40.3 55.1",
)  # fmt: skip
SEQL = row(("SEQL†", "ResNet-10", YES), "- - - 36.4", "imagenet_baselines:seql,backbone=resnet10")
TABLE_6 = PaperTable(
    "ImageNet-LT with three backbones",
    ("Method", "Backbone Model", "One-stage"),
    (RESNET_10[0], SEQL, *RESNET_10[1:], *RESNEXT_50, *RESNEXT_101),
    metrics=SHOT_WORDS,
    notes=(
        EPOCHS_180,
        "The paper's ResNeXt-50 rows differ from those of table 3 by up to 3.1 points; they are the same runs here.",
    ),
)

# Table 4: Places-LT

JOINT = "places_decoupling:joint"
ON_PLACES = {"weights": "resnet152"}
TABLE_4 = PaperTable(
    "Places-LT, ResNet-152 from ImageNet's weights (§: trained with CutMix)",
    ("Method", "One-stage"),
    (
        row(("Baseline (CE)", YES), "45.7 27.3 8.2 30.2", JOINT, **ON_PLACES),
        row(("Lifted Loss [56] †", YES), "41.1 35.4 24.0 35.2", "places_baselines:lifted", **ON_PLACES),
        row(("Focal Loss [44] †", YES), "41.1 34.8 22.4 34.6", "places_baselines:focal", **ON_PLACES),
        row(("Range Loss [57] †", YES), "41.1 35.4 23.2 35.1", "places_baselines:range", **ON_PLACES),
        row(("τ-normalized [47]", YES), "37.8 40.7 31.8 37.9", "places_decoupling:tau", JOINT, **ON_PLACES),
        row(("OLTR [50]", NO), "44.7 37.0 25.3 35.9", "places_baselines:oltr", **ON_PLACES),
        row(("LFME [59]", NO), "39.3 39.6 24.2 36.2", "places_baselines:lfme", **ON_PLACES),
        row(("cRT [47]", NO), "42.0 37.6 24.9 36.7", "places_decoupling", JOINT, **ON_PLACES),
        row(("LWS [47]", NO), "40.6 39.1 28.6 37.6", "places_decoupling:lws", JOINT, **ON_PLACES),
        row(
            ("RIDE [52]", NO),
            "- - - -",
            reason="the paper prints no number, for want of public weights (section 3.3.2)",
        ),
        row(("ResLT", YES), "39.8 43.6 31.4 39.8", "places_reslt", **ON_PLACES),
        row(("ResLT §", YES), "40.3 44.4 34.7 41.0", "places_reslt", weights="resnet152_cutmix"),
    ),
    notes=(COPIED,),
)

# Table 5: CIFAR-LT


def on_cifar(labels: tuple[str, str], family: str, cifar10: str, cifar100: str, words: str = "") -> Row:
    """A row of table 5: numbers at the three factors on each set; "-" has no run."""

    def result(dataset: str, factor: str, number: str) -> Result:
        imbalance = "" if factor == "0.01" else f"imbalance={round(1 / float(factor))}"
        all_words = ",".join(word for word in (words, imbalance) if word)
        config = f"{dataset}_{family}:{all_words}" if all_words else f"{dataset}_{family}"
        return Result(number, "" if number == "-" else config)

    numbers = (("cifar10", cifar10), ("cifar100", cifar100))
    return Row(
        labels,
        tuple(result(d, f, n) for d, of_set in numbers for f, n in zip(FACTORS, of_set.split(), strict=True)),
    )


def baseline(label: str, one_stage: str, words: str, cifar10: str, cifar100: str) -> Row:
    return on_cifar((label, one_stage), "baselines", cifar10, cifar100, words)


def not_built(label: str, one_stage: str, name: str, published: str) -> Row:
    return Row((label, one_stage), tuple(Result(number, reason=NOT_BUILT[name]) for number in published.split()))


TABLE_5 = PaperTable(
    "CIFAR-10-LT and CIFAR-100-LT, ResNet-32 (§: mixup and AutoAugment)",
    ("Method", "One-stage"),
    (
        baseline("Mixup [55] †", YES, "mixup", "73.06 77.82 87.10", "39.54 44.99 58.02"),
        baseline("Focal [44] †", YES, "focal", "70.38 76.72 86.66", "38.41 44.32 55.78"),
        baseline("LDAM [54]", YES, "ldam", "73.35 - 86.96", "39.60 - 56.91"),
        baseline("BBN [48]", YES, "bbn", "79.82 82.18 88.32", "42.56 47.02 59.12"),
        baseline("CB-Focal [53] †", YES, "cb_focal", "74.57 79.27 87.10", "39.60 45.17 57.99"),
        baseline("Causal Norm [49]", YES, "causal_norm", "80.60 83.60 88.50", "44.10 50.30 59.60"),
        baseline("CE+DRW [54]", NO, "ce_drw", "76.34 79.97 87.56", "41.51 45.29 58.12"),
        baseline("CE+DRS [54]", NO, "ce_drs", "75.61 79.81 87.38", "41.61 45.48 58.11"),
        baseline("LDAM+DRW [54]", NO, "ldam_drw", "77.03 81.03 88.16", "42.04 46.62 58.71"),
        not_built("ELF(LDAM)+DRW [60]", NO, "ELF", "78.10 82.40 88.00 43.10 47.50 58.90"),
        baseline("RIDE (3 experts) [52]", NO, "ride", "- - -", "48.6 - -"),
        on_cifar(("ResLT", YES), "reslt", "80.44 83.46 89.06", "45.34 49.98 60.79"),
        on_cifar(("ResLT §", YES), "reslt", "82.40 85.17 89.70", "48.21 52.71 62.01", "strong"),
        on_cifar(("ResLT (3 experts)", YES), "reslt", "- - -", "49.73 54.51 63.73", "experts=3"),
    ),
    columns=tuple(f"{d} {f}" for d in ("CIFAR-10-LT", "CIFAR-100-LT") for f in FACTORS),
    metrics=ALL,
    notes=(COPIED,),
)

# Table 7: RIDE's backbones


def on_ride(backbone: str, ride: str, reslt: str, published: tuple[tuple[str, str, str], ...]) -> tuple[Row, ...]:
    """RIDE's rows at its own and at ResLT's epochs, then ResLT's: (method, epochs, numbers)."""
    long = f"epochs={published[-1][1]}"
    runs = (
        (f"{ride},experts=2", ""),
        (ride, ""),
        (f"{ride},experts=2,{long}", ""),
        (f"{ride},{long}", ""),
        (reslt, "first_2_experts"),
        (reslt, ""),
    )
    return tuple(
        row((backbone, method, epochs), numbers, config, view=view)
        for (method, epochs, numbers), (config, view) in zip(published, runs, strict=True)
    )


RIDE_2, RIDE_3 = "RIDE (2 experts) [52]", "RIDE (3 experts) [52]"
RESLT_2, RESLT_3 = "ResLT (2 experts)", "ResLT (3 experts)"
TABLE_7 = PaperTable(
    "RIDE's networks, and their speed for a batch of 64 images (the paper's on an NVIDIA 2080 Ti)",
    ("Backbone", "Method", "Epochs"),
    (
        *on_ride(
            "RIDEResNeXt-50 on ImageNet-LT",
            "imagenet_baselines:ride",
            "imagenet_reslt:experts=3",
            (
                (RIDE_2, "100", "13.8 67.3 50.7 27.2 53.9"),
                (RIDE_3, "100", "17.0 68.6 52.2 27.8 55.1"),
                (RIDE_2, "180", "13.8 66.9 51.2 31.2 54.5"),
                (RIDE_3, "180", "17.0 68.4 52.9 32.2 56.0"),
                (RESLT_2, "180", "13.9 63.3 55.4 44.3 56.4"),
                (RESLT_3, "180", "17.2 64.0 56.6 44.8 57.6"),
            ),
        ),
        *on_ride(
            "RIDEResNet-50 on iNaturalist 2018",
            "inat_baselines:ride",
            "inat_reslt:experts=3",
            (
                (RIDE_2, "100", "12.4 56.5 69.9 70.9 69.0"),
                (RIDE_3, "100", "15.9 62.0 71.6 72.0 70.8"),
                (RIDE_2, "200", "12.4 62.5 71.0 70.9 70.1"),
                (RIDE_3, "200", "15.9 68.3 72.6 71.8 71.7"),
                (RESLT_2, "200", "12.6 71.5 72.0 72.4 72.1"),
                (RESLT_3, "200", "16.2 73.0 72.6 73.1 72.9"),
            ),
        ),
    ),
    metrics={"Speed (ms)": "speed", **SHOT_WORDS},
    notes=(
        "ResLT's two experts are the first two of a run of three; RIDE's rows of two are trained.",
        "The paper prints no parameters; it reports 0.04 G multiply-adds more for three experts of ResLT than three of "
        "RIDE on ImageNet-LT. Here ResLT's heads have 0.035 G in all, 0.030 G more than RIDE's: 6.08 G against 6.05 G "
        "for the networks, and 64.2 M parameters against 42.9 M.",
        "On iNaturalist the paper's times fit experts with three quarters of the channels in both methods (here 5.86 G "
        "and 5.80 G); the authors' code trains ResLT with all channels, which is the recipe here: 8.76 G, and 142.9 M "
        "parameters (--config.reslt.reduce=True is the other).",
    ),
)

# Table 9

GROUPS = ("2", "3", "4", "5")


def by_groups(label: str, file: str, published: str) -> Row:
    configs = (file if groups == "3" else f"{file}:groups={groups}" for groups in GROUPS)
    return Row((label,), tuple(Result(*pair) for pair in zip(published.split(), configs, strict=True)))


TABLE_9 = PaperTable(
    "number of groups, imbalance factor 0.01, ResNet-32",
    ("Dataset",),
    (
        by_groups("CIFAR-10-LT", "cifar10_reslt", "78.83 80.44 80.80 80.44"),
        by_groups("CIFAR-100-LT", "cifar100_reslt", "45.11 45.34 45.34 45.14"),
    ),
    columns=tuple(f"#{groups}" for groups in GROUPS),
    metrics=ALL,
    notes=(
        "Three groups end where the authors' code has them; the others end by the images of a class, geometrically.",
    ),
)

TABLES = {
    "1": TABLE_1, "2": TABLE_2, "3": TABLE_3, "4": TABLE_4, "5": TABLE_5, "6": TABLE_6, "7": TABLE_7, "8": TABLE_8,
    "9": TABLE_9, **FIGURES,
}  # fmt: skip
