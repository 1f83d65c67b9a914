"""The tables of "To Balance or Not to Balance" (Zhang et al., 2019): CBS+RRS+SS."""

from collections.abc import Mapping

from ltjax.commands.paper_tables.structure import PaperTable, Result, Row

METRICS: Mapping[str, str] = {"Many shot": "many", "Medium shot": "medium", "Low shot": "few", "Overall": "all"}
PLACES = "places_auxiliary"
# The heading of a group of numbers -> the method's config.
PRETRAINED = {"ImageNet-LT: ResNet-10": "imagenet_auxiliary", "Places-LT: ResNet-152": PLACES}
RESNET50 = {
    "ImageNet-LT: ResNet-50": "imagenet_auxiliary:backbone=resnet50",
    "Places-LT: ResNet-50": "places_auxiliary:backbone=resnet50,from_scratch",
}
ABLATIONS = {
    "ImageNet-LT: ResNet-10": "imagenet_auxiliary",
    "Places-LT: ResNet-50": "places_auxiliary:backbone=resnet50,from_scratch",
}
# The same for the compared methods: what stands before and after the word that names the method.
COMPARED_PRETRAINED = (
    ("imagenet_baselines:", ",backbone=resnet10", ""),
    ("places_baselines:", "", "resnet152"),
)
COMPARED_RESNET50 = (
    ("imagenet_baselines:", ",backbone=resnet50", ""),
    ("places_baselines:", ",backbone=resnet50,from_scratch", ""),
)
OTHER_STRATEGY = (
    "the paper trains MemoryNet* with 'our training strategy' and does not say which of the two stages that changes; "
    "MemoryNet [19] in table 1 is its authors' recipe"
)
COMPARED = (
    "The compared methods have the 512-d layer that all networks of the paper have (`features=512`; MemoryNet by its "
    "authors' recipe, on ImageNet-LT in the second stage), and the recipes of `configs/*_baselines.py`: the paper "
    "gives none."
)


def with_words(config: str, words: str) -> str:
    """The config with further words."""
    return f"{config}{',' if ':' in config else ':'}{words}" if words else config


def table(title: str, columns: Mapping[str, str], header: str, rows: tuple[Row, ...], *notes: str) -> PaperTable:
    """A table of this paper, whose groups of numbers are ``columns``."""
    return PaperTable(title, (header,), rows, tuple(columns), METRICS, "inclusive", notes)


def variant(columns: Mapping[str, str], label: str, words: str, *published: str) -> Row:
    """A row of the method itself with these words; ftRRS+CBS starts from the run of RRS-Only."""
    results = []
    for config, numbers in zip(columns.values(), published, strict=True):
        first = with_words(config, "rrs_only") if words == "ft" else ""
        weights = "resnet152" if config == PLACES else ""
        results.append(Result(numbers, with_words(config, words), first, weights=weights))
    return Row((label,), tuple(results))


def compared(columns: tuple[tuple[str, str, str], ...], label: str, method: str, *published: str) -> Row:
    """A row of a compared method, on the 512-d layer."""
    layer = "" if method == "oltr" else ",features=512"
    return Row(
        (label,),
        tuple(
            Result(numbers, f"{before}{method}{layer}{after}", weights=weights)
            for (before, after, weights), numbers in zip(columns, published, strict=True)
        ),
    )


def not_built(label: str, reason: str, *published: str) -> Row:
    """A row of the paper's numbers alone."""
    return Row((label,), tuple(Result(numbers, reason=reason) for numbers in published))


def four_variants(columns: Mapping[str, str], *published: tuple[str, str]) -> tuple[Row, ...]:
    """The last rows of tables 1 and 2."""
    names = {"RRS-Only": "rrs_only", "CBS-Only": "cbs_only", "CBS+RRS†": "no_ss", "CBS+RRS†+SS†": ""}
    return tuple(
        variant(columns, label, words, *numbers)
        for (label, words), numbers in zip(names.items(), published, strict=True)
    )


RRS_ONLY = ("53.4 23.5 4.3 32.4", "39.1 12.0 0.3 19.3")
CBS_ONLY = ("35.4 31.5 18.6 31.2", "32.1 22.9 4.6 22.4")
CBS_RRS = ("51.0 38.5 21.0 40.9", "35.6 29.3 11.3 27.8")
CBS_RRS_SS = ("52.4 39.5 21.0 41.9", "35.8 31.0 12.7 28.9")

TABLES = {
    "1": table(
        "ImageNet-LT with ResNet-10 from scratch, Places-LT with pretrained ResNet-152",
        PRETRAINED,
        "Methods",
        (
            compared(COMPARED_PRETRAINED, "Lifted Loss [29]", "lifted", "35.8 30.4 17.9 30.8", "41.1 35.4 24.0 35.2"),
            compared(COMPARED_PRETRAINED, "Focal Loss [17]", "focal", "36.4 29.9 16.0 30.5", "41.1 34.8 22.4 34.6"),
            compared(COMPARED_PRETRAINED, "Range Loss [38]", "range", "35.8 30.3 17.6 30.7", "41.1 35.4 23.2 35.1"),
            compared(
                COMPARED_PRETRAINED, "Cost-Sensitive [10]", "cost_sensitive", "37.2 30.9 15.9 31.2",
                "38.8 36.9 20.9 34.2",
            ),
            compared(COMPARED_PRETRAINED, "FSLwF [7]", "fslwf", "40.9 22.1 15.0 28.4", "43.9 29.9 29.5 34.9"),
            compared(COMPARED_PRETRAINED, "MemoryNet [19]", "oltr", "43.2 35.1 18.5 35.6", "44.7 37.0 25.3 35.9"),
            not_built("MemoryNet* [19]", OTHER_STRATEGY, "47.9 37.0 16.6 38.3", "44.4 39.3 27.3 38.6"),
            *four_variants(
                PRETRAINED,
                ("53.4 23.5 4.3 32.4", "47.4 27.1 10.5 31.0"),
                ("35.4 31.5 18.6 31.2", "46.9 34.9 18.1 35.7"),
                ("51.0 38.5 21.0 40.9", "42.5 40.3 32.2 39.4"),
                ("52.4 39.5 21.0 41.9", "42.5 40.6 32.6 39.6"),
            ),
        ),
        COMPARED,
    ),
    "2": table(
        "ImageNet-LT and Places-LT with ResNet-50 from scratch",
        RESNET50,
        "Methods",
        (
            compared(COMPARED_RESNET50, "Triplet Loss [12]", "triplet", "48.3 39.5 19.3 40.0", "30.4 27.8 6.8 24.3"),
            compared(COMPARED_RESNET50, "Focal Loss [17]", "focal", "49.0 39.2 19.1 40.1", "26.2 22.8 6.2 20.5"),
            compared(COMPARED_RESNET50, "Proxy Loss [23]", "proxy", "49.0 38.9 17.7 39.8", "30.3 24.4 4.8 22.4"),
            compared(
                COMPARED_RESNET50, "Cost-Sensitive [10]", "cost_sensitive", "48.0 38.8 19.6 39.6",
                "27.1 26.4 16.9 24.6",
            ),
            not_built("MemoryNet* [19]", OTHER_STRATEGY, "56.6 39.3 16.4 42.7", "34.1 26.2 8.2 25.3"),
            *four_variants(
                RESNET50,
                ("61.3 32.2 7.2 39.9", "39.1 12.0 0.3 19.3"),
                ("51.1 38.2 16.7 40.1", "32.1 22.9 4.6 22.4"),
                ("59.0 43.5 22.8 46.5", "35.6 29.3 11.3 27.8"),
                ("60.2 44.0 23.1 47.3", "35.8 31.0 12.7 28.9"),
            ),
        ),
        COMPARED,
    ),
    "3": table(
        "auxiliary learning and stage-wise training",
        ABLATIONS,
        "Methods",
        (
            variant(ABLATIONS, "RRS-Only", "rrs_only", *RRS_ONLY),
            variant(ABLATIONS, "CBS-Only", "cbs_only", *CBS_ONLY),
            variant(ABLATIONS, "ftRRS+CBS", "ft", "48.3 35.2 16.4 37.6", "29.3 27.6 10.3 24.6"),
            variant(ABLATIONS, "CBS+RRS†", "no_ss", *CBS_RRS),
        ),
    ),
    "4": table(
        "CBS:RRS ratios under CBS+RRS†",
        ABLATIONS,
        "CBS:RRS Weights",
        (
            variant(ABLATIONS, "0:1 (RRS-Only)", "rrs_only", *RRS_ONLY),
            variant(ABLATIONS, "0.5:1", "no_ss", *CBS_RRS),
            variant(ABLATIONS, "1:1", "no_ss,weights=1:1", "49.4 37.7 19.8 39.6", "37.8 27.6 7.8 27.1"),
            variant(ABLATIONS, "1:0.5", "no_ss,weights=1:0.5", "46.0 35.5 17.8 37.0", "34.9 26.9 6.9 25.6"),
            variant(ABLATIONS, "1:0 (CBS-Only)", "cbs_only", *CBS_ONLY),
        ),
    ),
    "5": table(
        "rotations as data augmentation and as self-supervised task",
        ABLATIONS,
        "Methods",
        (
            variant(ABLATIONS, "w/o Rotation", "no_ss", *CBS_RRS),
            variant(
                ABLATIONS, "Rotation Augmentation", "rotation=augmentation_all_four", "50.5 39.1 22.1 41.0",
                "35.3 28.2 11.4 27.2",
            ),
            variant(ABLATIONS, "CBS+RRS†+SS†", "", *CBS_RRS_SS),
        ),
        "The augmentation classifies each image at all four angles ('the four versions of rotated images').",
    ),
}  # fmt: skip
