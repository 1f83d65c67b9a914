"""What a table of a paper is made of: plain data, and the cells (runs) that fill it.

A paper's table is rows of results. A result has the numbers that the paper prints and the config of the run that gives
ours. Cells are named by what is run, so that rows and tables with the same run share its workdir.
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ltjax.errors import InputError, did_you_mean

# Metrics: the paper's heading -> where our number is; see ``render.value_of`` for the places.
SHOTS: Mapping[str, str] = {"Many": "many", "Medium": "medium", "Few": "few", "All": "all"}
ALL: Mapping[str, str] = {"": "all"}
# The data sets that can take the place of a table's own.
SUBSTITUTES = ("mnist5k", "cifar10", "cifar100")
# Words of the recipes that belong to one data set or to large networks; a substitute has its own values.
NOT_SUBSTITUTED = frozenset((
    "backbone", "width", "batch_size", "epochs", "second_stage_epochs", "long", "pretrained", "from_scratch", "split",
    "gamma", "imbalance",
))  # fmt: skip
DATASETS = {
    "mnist5k": "mnist5k", "cifar10": "cifar10", "cifar100": "cifar100", "imagenet": "imagenet_lt",
    "places": "places_lt", "inat": "inat2018",
}  # fmt: skip
# Names of pretrained weights -> what they are, in a file that config.model.pretrained takes.
WEIGHTS = {
    "resnet152": "torchvision's ResNet-152, trained on ImageNet",
    "resnet152_cutmix": "CutMix's public ResNet-152, trained on ImageNet",
    "resnet50": "torchvision's ResNet-50, trained on ImageNet",
    "clip_vit_b16": "OpenAI's CLIP ViT-B/16, with merges.txt and vocab.json beside it",
    "vit_b16_imagenet21k": "timm's ViT-B/16, trained on ImageNet-21k",
}
ALSO_SUBSTITUTED = ("clip_vit_b16", "vit_b16_imagenet21k")  # the recipes of the substitutes take them, too
SMALL = ("mnist5k", "cifar10", "cifar100")


FINISHED = "finished"
SPEED = "speed"


class State(NamedTuple):
    """The state of a cell in words, and its results.json if it is finished with the settings of this command."""

    text: str
    results: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class Result:
    """The numbers of one row and column group.

    Attributes:
      published: what the paper prints, a word for each of the table's metrics, "-" where it prints none; "" = nothing.
      config: the run that gives ours, "FILE[:WORDS]" as in ``--config=configs/FILE.py:WORDS``; "" = none.
      starts_from: the config of the run that is its first stage (config.init_from); "" = it trains all stages.
      view: the name in the run's ``results["views"]`` of another prediction of the same network; "" = the run's result.
      weights: the pretrained weights that it needs, a name in WEIGHTS, for ``--weights=NAME=FILE``; "" = random ones.
      reason: why there is no run, or "".
    """

    published: str = ""
    config: str = ""
    starts_from: str = ""
    view: str = ""
    weights: str = ""
    reason: str = ""

    @property
    def runs(self) -> tuple["Result", ...]:
        """The results whose runs it takes: that of its first stage, and its own."""
        first = (dataclasses.replace(self, config=self.starts_from, starts_from=""),) if self.starts_from else ()
        return (*first, self) if self.config else ()


@dataclasses.dataclass(frozen=True)
class Row:
    """A row.

    Attributes:
      labels: what the paper prints in the columns of ``PaperTable.header``, in its words.
      results: one for each of ``PaperTable.columns``.
    """

    labels: tuple[str, ...]
    results: tuple[Result, ...]


@dataclasses.dataclass(frozen=True)
class PaperTable:
    """A table of a paper.

    Attributes:
      title: the paper's caption, in short.
      header: the headings of the columns of text.
      rows: from top to bottom.
      columns: the headings of the groups of numbers; "" for one group without a heading.
      metrics: the headings of the numbers in each group -> where ours are.
      shots: which classes are many, medium and few in this paper: strict, inclusive or index.
      notes: what a reader has to know, one sentence each.
      substitutes: the data sets that can take the place of its own.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[Row, ...]
    columns: tuple[str, ...] = ("",)
    metrics: Mapping[str, str] = dataclasses.field(default_factory=lambda: SHOTS)
    shots: str = "strict"
    notes: tuple[str, ...] = ()
    substitutes: tuple[str, ...] = SUBSTITUTES

    def cells(self, data: str = "", short: bool = False) -> list["Cell"]:
        """The runs of the table, each once, first stages before what starts from them.

        Args:
          data: the data set that takes the place of the table's own; "" = none.
          short: a tenth of the epochs, ten on CIFAR and MNIST.
        """
        found: dict[str, Cell] = {}
        for row in self.rows:
            for result in row.results:
                for run in result.runs:
                    cell = cell_of(run, data, short)
                    same = found.get(cell.name, cell)
                    found[cell.name] = dataclasses.replace(same, words=same.words | {*row.labels})
        return list(found.values())

    def views(self, cell: "Cell", data: str = "", short: bool = False) -> list[str]:
        """The views of a cell's run that the table shows; "" is the run's result."""
        results = [result for row in self.rows for result in row.results if result.config]
        return [result.view for result in results if cell_of(result, data, short).name == cell.name]


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run of a table.

    Attributes:
      name: of its workdir.
      config: "FILE[:WORDS]".
      starts_from: the name of the cell whose run is its first stage; "" = none.
      words: further words of --only that choose it.
      weights: the name of the pretrained weights that it needs; "" = none.
    """

    name: str
    config: str
    starts_from: str = ""
    words: frozenset[str] = frozenset()
    weights: str = ""

    @property
    def dataset(self) -> str:
        return pathlib.PurePath(self.config.partition(":")[0]).name.partition("_")[0]

    @property
    def labels(self) -> frozenset[str]:
        """The words of --only that choose it: its name, and the parts of it that other cells share."""
        file, _, words = self.config.partition(":")
        dataset, _, family = file.partition("_")
        return self.words | {self.name, dataset, family, file, *(word for word in words.split(",") if word)}


def cell_of(result: Result, data: str = "", short: bool = False) -> Cell:
    """The run of a result.

    Example:
      >>> cell_of(Result("41.8", "imagenet_decoupling:crt,backbone=resnet10", "imagenet_ce:backbone=resnet10")).name
      'imagenet_decoupling_crt_backbone-resnet10'
      >>> cell_of(Result("41.8", "imagenet_decoupling:crt,backbone=resnet10"), data="mnist5k").config
      'mnist5k_decoupling:crt'
    """

    def changed(config: str) -> str:
        if not config:
            return ""
        config = substituted(config, data) if data else config
        return shortened(config) if short else config

    config, first = changed(result.config), changed(result.starts_from)
    weights = "" if data and result.weights not in ALSO_SUBSTITUTED else result.weights
    return Cell(name_of(config, weights), config, name_of(first, weights) if first else "", weights=weights)


def name_of(config: str, weights: str = "") -> str:
    """The workdir's name.

    Example:
      >>> name_of("cifar100_reslt:imbalance=50,alpha=0.9"), name_of("inat_reslt:strong", "resnet50")
      ('cifar100_reslt_imbalance-50_alpha-0.9', 'inat_reslt_strong_from-resnet50')
    """
    words = [config, *([f"from={weights}"] if weights else [])]
    return re.sub(r"[^\w.-]", "-", re.sub("[:,]", "_", "_".join(words)))


def split_words(config: str) -> tuple[str, list[str]]:
    """ "FILE:a,b=1" -> ("FILE", ["a", "b=1"])."""
    file, _, words = config.partition(":")
    return file, [word for word in words.split(",") if word]


def join_words(file: str, words: Iterable[str]) -> str:
    text = ",".join(words)
    return f"{file}:{text}" if text else file


def substituted(config: str, data: str) -> str:
    """The same method on another data set, with that data set's network and epochs."""
    file, words = split_words(config)
    family = file.partition("_")[2]
    return join_words(f"{data}_{family}", (w for w in words if w.partition("=")[0] not in NOT_SUBSTITUTED))


def shortened(config: str) -> str:
    """Ten epochs on CIFAR and MNIST (the word ``short``); a tenth of the recipe's on the large data sets.

    Example:
      >>> shortened("cifar100_reslt:imbalance=50"), shortened("imagenet_reslt:backbone=resnet10")
      ('cifar100_reslt:imbalance=50,short', 'imagenet_reslt:backbone=resnet10,epochs=18')
    """
    from ltjax.settings import command_line

    file, words = split_words(config)
    kept = [word for word in words if not word.startswith("epochs=")]
    if file.partition("_")[0] in SMALL:
        return join_words(file, [*kept, "short"])
    epochs = command_line.load(f"configs/{join_words(f'{file}.py', words)}").epochs
    return join_words(file, [*kept, f"epochs={max(1, round(epochs / 10))}"])


def check_substitute(data: str) -> None:
    """Raises InputError unless the data set can take the place of a table's own."""
    if data and data not in SUBSTITUTES:
        hint = did_you_mean(data, SUBSTITUTES)
        raise InputError(f"--data: unknown value '{data}'; allowed: {', '.join(SUBSTITUTES)}{hint}")
