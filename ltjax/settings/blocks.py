"""Every setting that all methods have. A method's own block lies beside the method."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from ltjax.errors import InputError
from ltjax.settings.schema import (
    Block,
    Check,
    fraction,
    integer,
    not_negative,
    number,
    one_of,
    positive,
    read,
    replaced,
    rising_epochs,
    seed,
    setting,
    two_rising,
)

S = TypeVar("S", bound="Settings")
_imbalance = Check(lambda v: 1 <= v < float("inf"), "a number >= 1")
_decay = Check(lambda v: 0 < v <= 1, "a number in (0, 1]")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSettings(Block):
    """The data set, and how its images become batches."""

    name: str = setting("", "the data set: a name that ltjax knows, or FILE.py:NAME or package.module:NAME of your own")
    dir: str = setting("", "the data's folder; '' = $LTJAX_DATA_DIR, or else TFDS's own directory", run_only=True)
    source: str = setting(
        "auto",
        "what is read: npz, python (CIFAR's official batches), list (the large sets' list files), shards or tfds",
        one_of("auto", "npz", "python", "list", "shards", "tfds"),
        run_only=True,
    )
    train_list: str = setting(
        "", "list file of 'relative/path label' lines, as given or under dir; '' = the data set's own name"
    )
    val_list: str = setting("", "likewise, of validation images")
    test_list: str = setting("", "likewise, of test images")
    class_names: str = setting("", "of lists: a file with one class name a line, by label; '' = the images' folders")
    tfds: str = setting("", "NAME or NAME:VERSION of data.name=tfds")
    test_fraction: float = setting(
        0.2, "part of every class that is held out for testing where a set has no test images", fraction
    )
    image_size: int = setting(224, "pixels, of images of any size; evaluation crops the centre", integer(1))
    resize: int = setting(256, "pixels of the shorter side before that crop", integer(1))
    imbalance: float = setting(
        100.0, "images of the largest class / images of the smallest; 1 = the set as it comes", _imbalance
    )
    profile: str = setting("exp", "how the classes' sizes fall: exponentially, or in one step", one_of("exp", "step"))
    selection_seed: int = setting(0, "chooses the images that the long-tailed set keeps", seed)
    validation_fraction: float = setting(0.0, "part of the training images to hold out; 0 = none", fraction)
    validation_use: str = setting(
        "evaluate",
        "evaluate: on the held-out images, not on the test set; choose: a method's choices, then the test set",
        one_of("evaluate", "choose"),
    )
    sampler: str = setting(
        "instance_balanced",
        "instance_balanced, class_balanced, square_root, progressive, class_cycle or reversed",
    )
    augment: str = setting("none", "the augmentation, such as pad_crop_flip or crop224_flip_jitter")
    workers: int = setting(
        0, "data processes, of all seeds together; 0 = a thread of this process", integer(0), run_only=True
    )
    on_error: str = setting(
        "stop",
        "at a training image that cannot be read; skip: take another one of its class",
        one_of("stop", "skip"),
        run_only=True,
    )
    max_skipped: int = setting(100, "with on_error=skip: at one more the run stops", integer(0), run_only=True)
    timeout: float = setting(
        600.0, "seconds without a batch after which the run stops; 0: never", not_negative, run_only=True
    )
    on_device: str = setting(
        "auto",
        "yes: all images lie on the device as uint8; auto: if they are in memory and fit; no",
        one_of("auto", "yes", "no"),
        run_only=True,
    )

    # not a setting: whether labels that took a pass over a TFDS set are kept beside it
    keep_labels: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSettings(Block):
    """The network's backbone; a method brings the head."""

    backbone: str = setting("resnet32", "a name that ltjax knows, or FILE.py:NAME or package.module:NAME of your own")
    width: int = setting(1, "of the CIFAR ResNets: a factor on all channels")
    zero_init: bool = setting(False, "the last batch norm of every block starts with scale 0")
    remat: bool = setting(False, "recompute every block in the backward pass: less memory, about a third more time")
    norm_group: int = setting(
        0, "images that share batch statistics, neighbours in the batch; 0: all of the batch", integer(0), later=True
    )
    pretrained: str = setting("", "an .npz of a PyTorch state_dict, where the backbone starts")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScheduleSettings(Block):
    """The learning rate over the epochs, as a factor on optimizer.learning_rate."""

    name: str = setting("step", "the curve", one_of("step", "cosine", "constant"))
    unit: str = setting("epoch", "how often the rate changes", one_of("epoch", "step"))
    warmup_epochs: int = setting(0, "epochs in which the rate rises linearly", integer(0))
    warmup_start: float = setting(0.0, "part of the rate where the warm-up starts", number(0, 1))
    milestones: tuple[int, ...] = setting(
        (160, 180), "step: finished epochs after which the rate is multiplied by decay", rising_epochs
    )
    decay: float = setting(0.1, "step: the factor", _decay)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageOptimizer(Block):
    """SGD of one stage."""

    learning_rate: float = setting(0.1, "the learning rate that the schedule starts from", positive)
    recipe_batch_size: int = setting(
        0,
        "batch size that this rate is for: the recipe's own; 0: not known",
        integer(0),
        only_with="optimizer.rate_rule",
    )
    momentum: float = setting(0.9, "of SGD", fraction)
    nesterov: bool = setting(False, "Nesterov's form of the momentum")
    weight_decay: float = setting(5e-4, "on every parameter", not_negative)
    backbone_rate: float = setting(1.0, "factor on the learning rate of the backbone", not_negative)
    schedule: ScheduleSettings = setting(ScheduleSettings(), "the learning rate over the epochs")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerSettings(StageOptimizer):
    """SGD of the (first) stage."""

    rate_rule: str = setting(
        "none",
        "rate of another batch size, in all stages: none (unchanged), linear (times the ratio), sqrt (times its root)",
        one_of("none", "linear", "sqrt"),
        later=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationSettings(Block):
    """When and how the test images are classified."""

    batch_size: int = setting(500, "images at a time", integer(1), run_only=True)
    every_epochs: int = setting(0, "0: only after the last epoch, which is the one reported", integer(0))
    shots: str = setting(
        "strict",
        "groups of classes: strict (many > 100, few < 20), inclusive (>= 100, <= 20) or index",
        one_of("strict", "inclusive", "index"),
    )
    index_boundaries: tuple[int, ...] = setting(
        (3, 6), "index: by frequency, before the first boundary many, from the second on few", two_rising
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class GradientSettings(Block):
    """How far the gradients of frequent and of rare classes point apart, logged as gradient/..."""

    every_steps: int = setting(0, "training steps between two measurements; 0: never", integer(0))
    frequent_classes: int = setting(
        0, "how many classes count as frequent; 0: those with at least 20 images", integer(0)
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureSettings(Block):
    """Features of all images by a frozen network, for second stages: made once and kept."""

    dir: str = setting(
        "", "where; '' = features/ in the workdir of the first stage (init_from) or of this run", run_only=True
    )
    memory_mb: float = setting(
        1000.0, "larger ones are mapped from their file, not loaded", not_negative, run_only=True
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointSettings(Block):
    """Checkpoints of the state in training."""

    every_steps: int = setting(200, "training steps between two checkpoints", integer(1), run_only=True)
    keep: int = setting(2, "how many of a stage are kept", integer(1), run_only=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(Block):
    """All settings of a run. ``own`` are the method's, stored under the name ``block``."""

    method: str = setting("ce", "a name that ltjax knows, or FILE.py:NAME or package.module:NAME of your own")
    family: str = setting("", "the config file's family of methods")
    recipe: str = setting("", "the data set that the config file is for")
    seed: int = setting(0, "of initialisation, data order and augmentation", seed)
    num_seeds: int = setting(
        1, "seed, seed + 1, ... trained in one program; results are their mean and deviation", integer(1)
    )
    seeds_by: str = setting(
        "auto",
        "how: vmap, unroll, or auto, what is faster on this kind of device",
        one_of("auto", "vmap", "unroll"),
        run_only=True,
    )
    steps_per_call: int = setting(
        0, "training steps of one program with the data on the device; 0 = automatic", integer(0), run_only=True
    )
    epochs: int = setting(200, "of the (first) stage", integer(1))
    batch_size: int = setting(
        128, "images a step, over all devices; the last, smaller batch of an epoch is dropped", integer(1)
    )
    micro_batches: int = setting(
        1,
        "parts of a batch that a step takes one after the other, where the whole does not fit",
        integer(1),
        later=True,
    )
    init_from: str = setting("", "workdir of a finished run whose last stage takes the place of the first stage")
    dtype: str = setting(
        "float32",
        "of the computation: float32, bfloat16 (parameters stay float32) or float64",
        one_of("float32", "bfloat16", "float64"),
    )
    data: DataSettings = setting(DataSettings(), "the data set, and how its images become batches")
    model: ModelSettings = setting(ModelSettings(), "the backbone")
    optimizer: OptimizerSettings = setting(OptimizerSettings(), "SGD of the (first) stage")
    second_stage_epochs: int | None = setting(
        None, "of the second stage, where the method has one; None = the method's", integer(1), only_given=True
    )
    second_stage_optimizer: StageOptimizer | None = setting(
        None, "SGD of the second stage, where there is one", only_given=True
    )
    evaluation: EvaluationSettings = setting(EvaluationSettings(), "when and how the test images are classified")
    gradients: GradientSettings = setting(GradientSettings(), "the gradient diagnostic")
    features: FeatureSettings = setting(FeatureSettings(), "features made once for second stages")
    watch_classes: tuple[int, ...] = setting((), "classes whose mean training loss is logged as class_loss/<class>")
    log_every_steps: int = setting(20, "training steps between two logged lines", integer(1))
    checkpoint: CheckpointSettings = setting(CheckpointSettings(), "checkpoints of the state in training")

    # not settings themselves
    block: str = ""  # the name of the method's own block; "" = it has none
    own: Block = Block()
    unused: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # blocks of other methods, kept in config.json
    notes: tuple[str, ...] = ()  # what the run has to report of its settings; not stored

    def check(self, prefix: str) -> None:
        if self.steps_per_call > 1 and self.data.on_device == "no":
            raise InputError(
                f"{prefix}steps_per_call: several steps a call need the data on the device, not on_device=no"
            )
        if self.micro_batches > 1 and self.gradients.every_steps:
            raise InputError(
                f"{prefix}gradients.every_steps: the diagnostic takes a batch as a whole; with config.micro_batches "
                "use 0"
            )
        if self.seed + self.num_seeds > 2**32:
            raise InputError(f"{prefix}num_seeds: the last seed {self.seed + self.num_seeds - 1} is not below 2**32")

    def to_dict(self) -> dict[str, Any]:
        """As config.json has them."""
        own = {self.block: self.own.to_dict()} if self.block else {}
        return super().to_dict() | dict(self.unused) | own

    def replaced(self: S, changes: Mapping[str, Any]) -> S:
        """The settings with other values under flat keys, such as {"data.dir": "/data"}; checked."""
        start = f"{self.block}."
        inside = {
            key.removeprefix(start): value for key, value in changes.items() if self.block and key.startswith(start)
        }
        made = replaced(self, {key: value for key, value in changes.items() if key.removeprefix(start) not in inside})
        return dataclasses.replace(made, own=replaced(self.own, inside, f"config.{start}")) if inside else made

    def second_stage(self) -> tuple[int, StageOptimizer]:
        """Epochs and optimizer of the second stage.

        Raises:
          InputError: if the config has none.
        """
        for name in ("second_stage_epochs", "second_stage_optimizer"):
            if getattr(self, name) is None:
                raise InputError(
                    f"config.{name} is missing: config.method={self.method} has a second stage; start from a config "
                    "file that has one"
                )
        assert self.second_stage_epochs is not None and self.second_stage_optimizer is not None
        return self.second_stage_epochs, self.second_stage_optimizer


def read_settings(
    values: Mapping[str, Any],
    block: str = "",
    own: type[Block] = Block,
    others: tuple[str, ...] = (),
    tolerant: bool = False,
) -> Settings:
    """Checked settings of nested mappings.

    Args:
      values: as a config file or config.json has them.
      block: the name of the method's own block; "" = it has none.
      own: the class of that block.
      others: names of the blocks of other methods, which are kept as they are.
      tolerant: leaves out what this ltjax does not know.

    Raises:
      InputError: one line.
    """
    if block and block not in values:
        raise InputError(
            f"config.{block} is missing: config.method={values.get('method')} needs its settings; start from a config "
            "file that has them"
        )
    unused = {name: values[name] for name in others if name in values and name != block}
    common = {name: value for name, value in values.items() if name != block and name not in unused}
    settings = read(Settings, common, tolerant=tolerant)
    of_method = read(own, values[block], f"config.{block}.", tolerant) if block else Block()
    return dataclasses.replace(settings, block=block, own=of_method, unused=unused)
