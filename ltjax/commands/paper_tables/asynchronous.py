"""The tables of "Asynchronous modeling: a dual-phase perspective for long-tailed recognition" (anonymous)."""

from collections.abc import Sequence

from ltjax.commands.paper_tables.not_built import NOT_BUILT
from ltjax.commands.paper_tables.structure import ALL, PaperTable, Result, Row

METHOD = ("Method",)
EXTENDED = "the paper does not say what its extended parameters are"
CITED = {
    "Lifted Loss (Oh Song et al., 2016)": "baselines:lifted",
    "Focal Loss (Lin et al., 2017)": "baselines:focal",
    "Range Loss (Zhang et al., 2017b)": "baselines:range",
    "FSLwF (Gidaris & Komodakis, 2018)": "baselines:fslwf",
    "FSA (Chu et al., 2020)": "baselines:fsa",
    "OLTR (Liu et al., 2019)": "baselines:oltr",
    "CB-Focal (Cao et al., 2019)": "baselines:cb_focal",
    "LDAM (Cao et al., 2019)": "baselines:ldam_drw",
    "BBN (Zhou et al., 2020)": "baselines:bbn",
    "Joint (Kang et al., 2020)": "ce",
    "NCM (Kang et al., 2020)": "decoupling:ncm",
    "cRT (Kang et al., 2020)": "decoupling",
    "LWS (Kang et al., 2020)": "decoupling:lws",
    "Ours (plain)": "asynchronous:plain",
    "Ours": "asynchronous",
}
MISSING = {
    "IEM (Zhu & Yang, 2020)": NOT_BUILT["IEM"],
    "Ours†": EXTENDED,
}
LDAM = "The row 'LDAM' has the numbers of LDAM with deferred re-weighting, which is what runs here."


def with_words(config: str, words: str) -> str:
    """FILE[:WORDS] with further words."""
    return f"{config}{',' if ':' in config else ':'}{words}" if words else config


def result(dataset: str, label: str, published: str, words: str = "") -> Result:
    """Of a method by the paper's name; a decoupled one starts from the joint run of the same backbone."""
    if label in MISSING:
        return Result(published, reason=MISSING[label])
    family = CITED[label]
    places = dataset == "places"
    if places and family == "ce":
        family = "decoupling:joint"  # Kang et al. train the last block there
    joint = "places_decoupling:joint" if places else with_words(f"{dataset}_ce", words)
    first = joint if label.startswith(("NCM", "cRT", "LWS")) else ""
    config = with_words(f"{dataset}_{family}", words)
    return Result(published, config, first, weights="resnet152" if places else "")


def row(dataset: str, label: str, published: Sequence[str], backbones: Sequence[str]) -> Row:
    """A row with a number for each backbone; "" is the recipe's own, and no number is no run."""
    words = [f"backbone={backbone}" if backbone else "" for backbone in backbones]
    results = [
        result(dataset, label, number, word) if number else Result()
        for number, word in zip(published, words, strict=True)
    ]
    return Row((label,), tuple(results))


def places(label: str, published: str) -> Row:
    return row("places", label, (published,), ("",))


def imagenet(label: str, *published: str) -> Row:
    return row("imagenet", label, published, ("resnet10", "resnet50", "resnet152"))


def ours_on_imagenet(label: str, *published: str) -> Row:
    return row("imagenet", label, published, ("", "resnet50", "resnet152"))  # the recipe's is ResNet-10


def inat(label: str, *published: str) -> Row:
    return row("inat", label, published, ("", "resnet152"))


IMBALANCES = (":imbalance=200", "", ":imbalance=50")


def cifar(label: str, config: str, *published: str) -> Row:
    """A row of table 3; ``config`` is FAMILY or FAMILY:WORDS."""
    results = []
    for imbalance, number in zip(IMBALANCES, published, strict=True):
        words = imbalance.replace(":", ",") if ":" in config else imbalance
        results.append(Result(number, f"cifar100_{config}{words}"))
    return Row((label,), tuple(results))


def by_backbone(backbone: str, *published: str) -> tuple[Row, ...]:
    """The rows of table 5 with this backbone."""
    labels = [label for label in CITED if "Kang" in label or label.startswith("Ours")]
    words = f"backbone={backbone.replace('ResNet-', 'resnet')}"
    return tuple(
        Row((backbone, label), (result("imagenet", label, numbers, words),))
        for label, numbers in zip(labels, published, strict=True)
    )


def sweep(
    config: str, word: str, values: Sequence[str], default: str, weights: str = "", labels: tuple[str, ...] = ()
) -> tuple[Row, ...]:
    """Rows of a figure, whose numbers are not printed; ``default`` is the recipe's value, which needs no word."""
    return tuple(
        Row(
            (*labels, value), (Result("", config if value == default else f"{config}:{word}={value}", weights=weights),)
        )
        for value in values
    )


TABLES = {
    "1": PaperTable(
        "Places-LT",
        METHOD,
        (
            places("Joint (Kang et al., 2020)", "45.7 27.3 8.2 30.2"),
            places("Lifted Loss (Oh Song et al., 2016)", "41.1 35.4 24.0 35.2"),
            places("Focal Loss (Lin et al., 2017)", "41.1 34.8 22.4 34.6"),
            places("Range Loss (Zhang et al., 2017b)", "41.1 35.4 23.2 35.1"),
            places("FSLwF (Gidaris & Komodakis, 2018)", "43.9 29.9 29.5 34.9"),
            places("OLTR (Liu et al., 2019)", "44.7 37.0 25.3 35.9"),
            places("NCM (Kang et al., 2020)", "40.4 37.1 27.3 36.4"),
            places("cRT (Kang et al., 2020)", "42.0 37.6 24.9 36.7"),
            places("LWS (Kang et al., 2020)", "40.6 39.1 28.6 37.6"),
            places("IEM (Zhu & Yang, 2020)", "46.8 39.2 28.0 39.7"),
            places("Ours (plain)", "46.2 36.3 24.5 37.6"),
            places("Ours", "44.2 40.2 30.9 39.8"),
            places("Ours†", "44.5 40.9 31.8 40.4"),
        ),
        notes=("Row 'Joint' is that of Kang et al. (2020), table 4, which this table copies.",),
    ),
    "2": PaperTable(
        "ImageNet-LT with different backbones",
        METHOD,
        (
            imagenet("FSLwF (Gidaris & Komodakis, 2018)", "28.4", "", ""),
            imagenet("Focal Loss (Lin et al., 2017)", "30.5", "", ""),
            imagenet("Range Loss (Zhang et al., 2017b)", "30.7", "", ""),
            imagenet("Lifted Loss (Oh Song et al., 2016)", "30.8", "", ""),
            imagenet("FSA (Chu et al., 2020)", "35.2", "", ""),
            imagenet("IEM (Zhu & Yang, 2020)", "43.2", "", ""),
            imagenet("OLTR (Liu et al., 2019)", "35.6", "36.7", "43.2"),
            imagenet("Joint (Kang et al., 2020)", "34.8", "41.6", "44.9"),
            imagenet("NCM (Kang et al., 2020)", "35.5", "44.3", "47.8"),
            imagenet("cRT (Kang et al., 2020)", "41.8", "47.3", "50.1"),
            imagenet("LWS (Kang et al., 2020)", "41.4", "47.7", "50.5"),
            ours_on_imagenet("Ours (plain)", "41.3", "49.7", "51.7"),
            ours_on_imagenet("Ours", "42.0", "51.0", "53.0"),
            ours_on_imagenet("Ours†", "43.8", "52.2", "53.8"),
        ),
        columns=("ResNet-10", "ResNet-50", "ResNet-152"),
        metrics=ALL,
    ),
    "3": PaperTable(
        "CIFAR100-LT, overall results under different imbalance factors",
        METHOD,
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
        notes=(LDAM,),
    ),
    "4": PaperTable(
        "iNaturalist 2018",
        METHOD,
        (
            inat("CB-Focal (Cao et al., 2019)", "61.1", ""),
            inat("LDAM (Cao et al., 2019)", "68.0", ""),
            inat("BBN (Zhou et al., 2020)", "69.6", ""),
            inat("NCM (Kang et al., 2020)", "63.1", "67.3"),
            inat("Joint (Kang et al., 2020)", "65.8", "69.0"),
            inat("FSA (Chu et al., 2020)", "65.9", "69.1"),
            inat("cRT (Kang et al., 2020)", "67.6", "71.2"),
            inat("LWS (Kang et al., 2020)", "69.5", "72.1"),
            inat("Ours", "69.8", "72.5"),
        ),
        columns=("ResNet-50", "ResNet-152"),
        metrics=ALL,
        notes=(LDAM, "cRT with ResNet-50 is 67.6 in table 3 of Kang et al. (2020) and 68.2 in their table 8."),
    ),
    "5": PaperTable(
        "ImageNet-LT by many, medium and few shots",
        ("Backbone", *METHOD),
        (
            *by_backbone(
                "ResNet-50",
                "64.0 33.8 5.8 41.6",
                "53.1 42.3 26.5 44.3",
                "58.8 44.0 26.1 47.3",
                "57.1 45.2 29.3 47.7",
                "66.3 45.0 19.2 49.7",
                "64.6 48.3 22.1 51.0",
            ),
            *by_backbone(
                "ResNet-101",
                "66.6 36.8 7.1 44.2",
                "56.8 45.1 28.8 47.4",
                "61.6 46.5 28.0 49.8",
                "60.1 47.6 31.2 50.2",
                "67.8 46.5 20.6 51.2",
                "65.8 49.1 23.5 52.1",
            ),
            *by_backbone(
                "ResNet-152",
                "66.9 27.7 7.7 44.9",
                "56.9 45.6 29.9 47.8",
                "61.8 46.8 28.4 50.1",
                "60.6 47.8 31.4 50.5",
                "67.9 47.3 21.5 51.7",
                "66.5 50.6 23.6 53.0",
            ),
        ),
        notes=(
            "Joint with ResNet-152: the medium-shot 27.7, copied from Kang et al. (2020), does not fit its 44.9 of all "
            "classes (37.7 does).",
        ),
    ),
    "figure2a": PaperTable(
        "Places-LT by the size of the memory bank",
        ("Exemplars of a class",),
        sweep("places_asynchronous", "bank", ("2", "6", "10", "14", "18"), "10", "resnet152"),
        notes=("The paper prints no numbers but the range of all classes, 39.4 to 39.8, with the best at 10.",),
    ),
    "figure2b": PaperTable(
        "Places-LT by lambda, as a multiple of sqrt(old classes / new classes) = 2.03",
        ("lambda / 2.03",),
        sweep("places_asynchronous", "lambda_base", ("0.25", "0.5", "1", "2", "4"), "1", "resnet152"),
        notes=(
            "The paper's best is 2.03, and its text does not name the four other values. The text defines the first "
            "value as sqrt(C / C1), which is 1.11, the appendix as sqrt(old / new), which is 2.03.",
        ),
    ),
    "figure3": PaperTable(
        "the number of classes of the first phase",
        ("Data set", "Classes of the first phase"),
        (
            *sweep("cifar100_asynchronous", "split", ("50", "60", "70", "80", "90"), "70", labels=("CIFAR100-LT",)),
            *sweep(
                "places_asynchronous",
                "split",
                ("200", "250", "294", "320", "345"),
                "294",
                "resnet152",
                labels=("Places-LT",),
            ),
            *sweep(
                "imagenet_asynchronous", "split", ("700", "800", "864", "900", "950"), "864", labels=("ImageNet-LT",)
            ),
        ),
        notes=(
            "The paper prints no numbers, and of the points only its choices, 70, 294 and 864. CIFAR100-LT has "
            "imbalance factor 100; the backbone on ImageNet-LT is not given.",
        ),
    ),
}
