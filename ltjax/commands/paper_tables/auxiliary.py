"""The tables of "To Balance or Not to Balance" (Zhang et al., 2019): CBS+RRS+SS."""

from collections.abc import Mapping

from ltjax.commands.paper_tables.structure import PaperTable, Result, Row

METRICS: Mapping[str, str] = {"Many shot": "many", "Medium shot": "medium", "Low shot": "few", "Overall": "all"}
IMAGENET = "imagenet_auxiliary"
IMAGENET_50 = "imagenet_auxiliary:backbone=resnet50"
PLACES = "places_auxiliary"
PLACES_50 = "places_auxiliary:backbone=resnet50"
FSLWF = "its classifier needs a first stage on the frequent classes alone, and the paper gives no recipe for it here"
OTHER_STRATEGY = (
    "the paper trains MemoryNet with 'our training strategy' without saying which of its two stages that changes; "
    "MemoryNet [19] is the recipe of its authors"
)
COMPARED = (
    "The compared methods have the 512-d layer of the paper's networks; lifted loss, focal loss, range loss, FSLwF and "
    "MemoryNet [19] are numbers that the paper copies."
)


def with_words(config: str, words: str) -> str:
    """The config with further words."""
    return f"{config}{',' if ':' in config else ':'}{words}" if words else config


def table(
    title: str, columns: Mapping[str, str], rows: tuple[tuple[str, str, tuple[str, ...]], ...], header: str, *notes: str
) -> PaperTable:
    """A table of variants of the method itself: (label, words, published numbers of each column)."""
    return PaperTable(
        title,
        (header,),
        tuple(
            Row((label,), tuple(result(config, words, n) for config, n in zip(columns.values(), numbers, strict=True)))
            for label, words, numbers in rows
        ),
        columns=tuple(columns),
        metrics=METRICS,
        shots="inclusive",
        notes=notes,
    )


def result(config: str, words: str, published: str) -> Result:
    """Of the method with these words; ftRRS+CBS starts from the run of RRS-Only."""
    first = with_words(config, "rrs_only") if words == "ft" else ""
    return Result(published, with_words(config, words), first, weights="resnet152" if config == PLACES else "")


ABLATIONS = {"ImageNet-LT: ResNet-10": IMAGENET, "Places-LT: ResNet-50": PLACES_50}
RRS_ONLY = ("53.4 23.5 4.3 32.4", "39.1 12.0 0.3 19.3")
CBS_ONLY = ("35.4 31.5 18.6 31.2", "32.1 22.9 4.6 22.4")
CBS_RRS = ("51.0 38.5 21.0 40.9", "35.6 29.3 11.3 27.8")
CBS_RRS_SS = ("52.4 39.5 21.0 41.9", "35.8 31.0 12.7 28.9")

TABLES = {
    "3": table(
        "auxiliary learning and stage-wise training",
        ABLATIONS,
        (
            ("RRS-Only", "rrs_only", RRS_ONLY),
            ("CBS-Only", "cbs_only", CBS_ONLY),
            ("ftRRS+CBS", "ft", ("48.3 35.2 16.4 37.6", "29.3 27.6 10.3 24.6")),
            ("CBS+RRS†", "no_ss", CBS_RRS),
        ),
        "Methods",
    ),
    "4": table(
        "CBS:RRS ratios, CBS+RRS†",
        ABLATIONS,
        (
            ("0:1 (RRS-Only)", "rrs_only", RRS_ONLY),
            ("0.5:1", "no_ss", CBS_RRS),
            ("1:1", "no_ss,weights=1:1", ("49.4 37.7 19.8 39.6", "37.8 27.6 7.8 27.1")),
            ("1:0.5", "no_ss,weights=1:0.5", ("46.0 35.5 17.8 37.0", "34.9 26.9 6.9 25.6")),
            ("1:0 (CBS-Only)", "cbs_only", CBS_ONLY),
        ),
        "CBS:RRS Weights",
    ),
    "5": table(
        "rotations as data augmentation and as self-supervised task",
        ABLATIONS,
        (
            ("w/o Rotation", "no_ss", CBS_RRS),
            ("Rotation Augmentation", "rotation=augmentation_all_four", ("50.5 39.1 22.1 41.0", "35.3 28.2 11.4 27.2")),
            ("CBS+RRS†+SS†", "", CBS_RRS_SS),
        ),
        "Methods",
        "The augmentation classifies each image at all four angles ('the four versions of rotated images').",
    ),
}
