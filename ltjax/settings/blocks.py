"""The settings that all methods share. A method's block is defined beside the method."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from ltjax.errors import InputError
from ltjax.settings.ingredients import LossSettings, MixSettings
from ltjax.settings.model import ModelSettings
from ltjax.settings.optimizer import OptimizerSettings, StageOptimizer
from ltjax.settings.run_only import CheckpointSettings, FeatureSettings, TrackingSettings, tracker_names
from ltjax.settings.schema import (
    Block,
    Check,
    class_numbers,
    fraction,
    integer,
    number,
    number_of_epochs,
    one_of,
    read,
    replaced,
    seed,
    setting,
    settings_of,
    two_increasing,
)
from ltjax.settings.tuning import TuningSettings

S = TypeVar("S", bound="Settings")
_imbalance = Check(lambda v: 1 <= v <= 1e9, "a number >= 1 (and <= 1e9)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSettings(Block):
    """The data set, and how its images become batches."""

    name: str = setting("", "the data set: a name in ltjax, or your function as FILE.py:NAME or package.module:NAME")
    dir: str = setting(
        "", "the folder of the data; '' = $LTJAX_DATA_DIR if it is set, otherwise TFDS's default folder", run_only=True
    )
    source: str = setting(
        "auto",
        "the storage format: npz, python (CIFAR's official batches), list (list files of the large benchmarks), "
        "shards, tfds, or auto (the first of these that is found)",
        one_of("auto", "npz", "python", "list", "shards", "tfds"),
        run_only=True,
    )
    train_list: str = setting(
        "",
        "list file of the training images, with 'relative/path label' lines; a path as it is or relative to dir; "
        "'' = the published file name",
    )
    val_list: str = setting("", "list file of the validation images, like train_list")
    test_list: str = setting("", "list file of the test images, like train_list")
    class_names: str = setting(
        "",
        "a file with one class name per line, in label order (CIFAR and MNIST have their own); '' = the names of the "
        "image folders, or those that the data has",
    )
    image_column: str = setting(
        "",
        "for data.name=csv, parquet or arrow: the column of the images' paths or bytes; for webdataset: the ending of "
        "the images; '' = the only one that can be meant",
        added_later=True,
    )
    label_column: str = setting(
        "",
        "for data.name=csv, parquet or arrow: the column of the labels; for webdataset: cls, txt, or a field of the "
        ".json members; '' = label",
        added_later=True,
    )
    split_column: str = setting(
        "", "for data.name=csv: the column that says train, val or test; '' = none, a file is a split", added_later=True
    )
    allow_outside: bool = setting(
        False, "whether list files may name images outside of dir, with an absolute path or '..'", run_only=True
    )
    tfds: str = setting("", "for data.name=tfds: NAME or NAME:VERSION of the TFDS data set")
    test_fraction: float = setting(
        0.2, "fraction of each class held out for testing if the data set has no test images", fraction
    )
    image_size: int = setting(
        224,
        "side in pixels of the images that the network gets, for images of any size; evaluation takes a centre crop",
        integer(1, 4096),
    )
    resize: int = setting(256, "pixels of the shorter side before that crop: 1 to 1.5 image_size", integer(1, 8192))
    interpolation: str = setting(
        "bilinear",
        "how evaluation resizes images of any size",
        one_of("bilinear", "bicubic"),
        added_later=True,
    )
    preprocessing: str = setting(
        "backbone",
        "mean, std, resize and interpolation: backbone (those of the published weights, where config.model.backbone "
        "names a network with them; not the ResNets) or data (the data set's, data.resize and data.interpolation)",
        one_of("backbone", "data"),
        added_later=True,
    )
    imbalance: float = setting(
        100.0, "images of the largest class divided by images of the smallest; 1 = the full data set", _imbalance
    )
    profile: str = setting(
        "exp", "how the class sizes decrease: exponentially (exp) or in one step (step)", one_of("exp", "step")
    )
    selection_seed: int = setting(0, "seed of the choice of images that the long-tailed data set keeps", seed)
    validation_fraction: float = setting(
        0.0, "fraction of the training images to hold out for validation; 0 = none", fraction
    )
    validation_use: str = setting(
        "evaluate",
        "purpose of the held-out images: evaluate (they replace the test set) or choose (the method selects its "
        "hyper-parameters on them; the test set is evaluated)",
        one_of("evaluate", "choose"),
    )
    sampler: str = setting(
        "instance_balanced",
        "the order of the training images: instance_balanced, class_balanced, square_root, progressive (a part "
        "t/(T-1) of epoch t = 0 .. T-1 is class-balanced, the authors' code), progressive_paper (t/T, as printed), "
        "class_cycle, reversed, or your function as FILE.py:NAME or package.module:NAME",
    )
    augment: str = setting(
        "none", "the augmentation of the training images, such as pad_crop_flip or crop224_flip_jitter"
    )
    fast_decode: bool = setting(
        False,
        "decode large JPEGs for training at 1/2, 1/4 or 1/8 of their size wherever a crop keeps its output size",
        added_later=True,
    )
    workers: int = setting(
        0,
        "number of data loading processes, shared by all seeds; 0 = load in a thread of the main process",
        integer(0, 1024),
        run_only=True,
    )
    on_error: str = setting(
        "stop",
        "what to do if a training image cannot be read: stop the run, or skip it and substitute another of its class",
        one_of("stop", "skip"),
        run_only=True,
    )
    max_skipped: int = setting(
        100,
        "maximum number of skipped images, for on_error=skip; the run stops at the next one",
        integer(0),
        run_only=True,
    )
    verify: str = setting(
        "sample",
        "what a resume compares with the data that the run began with, besides names, labels and order: none, sample "
        "(pixels of images in memory; of files all sizes and the content of 256 in each split) or full (the content "
        "of every image)",
        one_of("none", "sample", "full"),
        run_only=True,
    )
    timeout: float = setting(
        600.0, "seconds to wait for a batch before the run stops; 0 = no limit", number(0, 1e6), run_only=True
    )
    on_device: str = setting(
        "auto",
        "whether all images are kept on the device as uint8: yes, no, or auto (if they are in memory and fit)",
        one_of("auto", "yes", "no"),
        run_only=True,
    )

    # not a setting: whether the labels of a TFDS data set are cached beside it, since reading them takes a full pass
    keep_labels: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationSettings(Block):
    """When and how the test images are classified."""

    batch_size: int = setting(
        500, "images per evaluation batch; does not change the result", integer(1, 65536), run_only=True
    )
    every_epochs: int = setting(
        0,
        "epochs between evaluations; 0 = only after the last epoch. The last epoch is always the one reported",
        integer(0),
    )
    shots: str = setting(
        "strict",
        "the groups of classes by training images: strict (many > 100, few < 20), inclusive (many >= 100, few <= 20) "
        "or index (by frequency rank)",
        one_of("strict", "inclusive", "index"),
    )
    index_boundaries: tuple[int, ...] = setting(
        (), "for shots=index: ranks where medium and few begin; () = thirds", two_increasing, former_default=(3, 6)
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class GradientSettings(Block):
    """The conflict between the gradients of frequent and rare classes, logged as gradient/..."""

    every_steps: int = setting(0, "training steps between measurements; 0 = off", integer(0))
    frequent_classes: int = setting(
        0, "number of classes that count as frequent; 0 = those with at least 20 training images", integer(0)
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(Block):
    """All settings of a run. ``method_settings`` is the method's block, stored under the name ``method_block``."""

    method: str = setting("ce", "the method: a name in ltjax, or your own as FILE.py:NAME or package.module:NAME")
    family: str = setting("", "the family of methods that the config file belongs to")
    recipe: str = setting("", "the data set that the config file is for")
    seed: int = setting(0, "seed of the initial weights, the data order and the augmentation", seed)
    num_seeds: int = setting(
        1,
        "number of seeds (seed, seed + 1, ...) trained together; results are their mean and standard deviation",
        integer(1, 1024),
    )
    seeds_by: str = setting(
        "auto",
        "how several seeds are trained together: vmap (not on GPUs), unroll, or auto (by the type of device)",
        one_of("auto", "vmap", "unroll"),
        run_only=True,
    )
    steps_per_call: int = setting(
        0,
        "training steps per call of the compiled program when the data is on the device; 0 = automatic",
        integer(0),
        run_only=True,
    )
    cuda_graphs: str = setting(
        "auto",
        "whether NVIDIA GPUs run programs as CUDA graphs: auto (on several without the loop over steps), yes, no",
        one_of("auto", "yes", "no"),
        run_only=True,
    )
    epochs: int = setting(200, "number of epochs of the first (or only) stage", number_of_epochs)
    batch_size: int = setting(
        128, "images per step over all devices; the last, incomplete batch of an epoch is dropped", integer(1)
    )
    micro_batches: int = setting(
        1,
        "number of parts of a batch that a step processes one after another, for a batch that does not fit in memory",
        integer(1),
        added_later=True,
    )
    fsdp: int = setting(
        1,
        "number of devices that share the parameters, gradients and optimizer state of training; 1 = each device has "
        "all of them",
        integer(1, 65536),
        run_only=True,
    )
    init_from: str = setting(
        "",
        "workdir of a finished run whose stage of the same name, or else whose last stage, replaces the first stage; "
        "'' = train the first stage",
    )
    dtype: str = setting(
        "float32",
        "type of the computation: float32, bfloat16 (parameters stay float32) or float64",
        one_of("float32", "bfloat16", "float64"),
    )
    data: DataSettings = setting(DataSettings(), "the data set, and how its images become batches")
    model: ModelSettings = setting(ModelSettings(), "the backbone of the network")
    tuning: TuningSettings = setting(TuningSettings(), "what is trained in the backbone")
    loss: LossSettings = setting(LossSettings(), "what softmax cross-entropy is changed by")
    mix: MixSettings = setting(MixSettings(), "two images of a batch in one")
    optimizer: OptimizerSettings = setting(OptimizerSettings(), "the optimizer of the first (or only) stage")
    second_stage_epochs: int | None = setting(
        None,
        "number of epochs of the second stage, if the method has one; None = the method's default",
        number_of_epochs,
        stored_if_set=True,
    )
    second_stage_optimizer: StageOptimizer | None = setting(
        None, "the optimizer of the second stage, if there is one", stored_if_set=True
    )
    evaluation: EvaluationSettings = setting(EvaluationSettings(), "when and how the test images are classified")
    gradients: GradientSettings = setting(GradientSettings(), "the diagnostic of gradient conflict")
    features: FeatureSettings = setting(FeatureSettings(), "stored features for second stages")
    watch_classes: tuple[int, ...] = setting(
        (), "classes whose mean training loss is logged as class_loss/<class>", class_numbers
    )
    log_every_steps: int = setting(20, "training steps between logged lines", integer(1))
    tracker: str = setting(
        "", "the experiment tracker that also gets the logged lines; '' = none", tracker_names, run_only=True
    )
    tracking: TrackingSettings = setting(TrackingSettings(), "the run's entry in the tracker")
    checkpoint: CheckpointSettings = setting(CheckpointSettings(), "checkpoints of the training state")

    # not settings themselves
    method_block: str = ""  # the name of the method's block; "" = it has none
    method_settings: Block = Block()
    unused: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # other methods' blocks, kept for config.json
    notes: tuple[str, ...] = ()  # remarks that the run reports; not stored

    def check(self, prefix: str) -> None:
        if self.steps_per_call > 1 and self.data.on_device == "no":
            raise InputError(
                f"{prefix}steps_per_call: several steps per call need the data on the device; remove "
                f"{prefix}data.on_device=no or set {prefix}steps_per_call=1"
            )
        if self.micro_batches > 1 and self.gradients.every_steps:
            raise InputError(
                f"{prefix}gradients.every_steps: the diagnostic needs whole batches; use 0 with "
                f"{prefix}micro_batches > 1"
            )
        if self.fsdp > 1 and self.num_seeds > 1:
            raise InputError(
                f"{prefix}fsdp: {self.fsdp} devices share one network, but {prefix}num_seeds is {self.num_seeds}; "
                f"train the seeds one by one, or set {prefix}fsdp=1"
            )
        if self.seed + self.num_seeds > 2**32:
            raise InputError(
                f"{prefix}num_seeds: the last seed is {self.seed + self.num_seeds - 1}, which must be below 2**32"
            )

    def to_dict(self) -> dict[str, Any]:
        """The settings as config.json stores them."""
        own = {self.method_block: self.method_settings.to_dict()} if self.method_block else {}
        return super().to_dict() | dict(self.unused) | own

    def replaced(self: S, changes: Mapping[str, Any]) -> S:
        """The settings with some values changed, by flat keys such as {"data.dir": "/data"}; checked."""
        prefix = f"{self.method_block}."
        of_method = {key for key in changes if self.method_block and key.startswith(prefix)}
        changed = replaced(self, {key: value for key, value in changes.items() if key not in of_method})
        if not of_method:
            return changed
        inner = {key.removeprefix(prefix): changes[key] for key in of_method}
        return dataclasses.replace(changed, method_settings=replaced(self.method_settings, inner, f"config.{prefix}"))

    def second_stage(self) -> tuple[int, StageOptimizer]:
        """The epochs and the optimizer of the second stage.

        Raises:
          InputError: if the config has no second stage.
        """
        for name in ("second_stage_epochs", "second_stage_optimizer"):
            if getattr(self, name) is None:
                raise InputError(
                    f"config.{name} is missing: config.method={self.method} needs it for its second stage; start from "
                    "a config file of this method"
                )
        assert self.second_stage_epochs is not None and self.second_stage_optimizer is not None
        return self.second_stage_epochs, self.second_stage_optimizer


def _check_block(values: Mapping[str, Any], block: str, block_type: type[Block]) -> None:
    """Raises InputError if the config's block of this name is that of another method, as baselines share the name."""
    fields, given = {field.name for field in settings_of(block_type)}, set(values[block])
    if given - fields and fields - given:
        raise InputError(
            f"config.method={values.get('method')} has other settings in config.{block} ({', '.join(sorted(fields))}) "
            f"than this config ({', '.join(sorted(given))}); start from a config file, or its word, of this method"
        )


def read_settings(
    values: Mapping[str, Any],
    block: str = "",
    block_type: type[Block] = Block,
    others: tuple[str, ...] = (),
    tolerant: bool = False,
) -> Settings:
    """Reads and checks the settings of a run.

    Args:
      values: nested mappings, from a config file or a config.json.
      block: the name of the method's block; "" = it has none.
      block_type: the class of that block.
      others: names of other methods' blocks, which are kept unchanged.
      tolerant: ignore settings that this version does not know.

    Raises:
      InputError: one line that names the setting, its value and what is allowed.
    """
    if block and block not in values:
        raise InputError(
            f"config.{block} is missing: config.method={values.get('method')} needs these settings; start from a "
            "config file of this method"
        )
    unused = {name: values[name] for name in others if name in values and name != block}
    common = {name: value for name, value in values.items() if name != block and name not in unused}
    settings = read(Settings, common, tolerant=tolerant)
    if block and not tolerant:
        _check_block(values, block, block_type)
    method_settings = read(block_type, values[block], f"config.{block}.", tolerant) if block else Block()
    return dataclasses.replace(settings, method_block=block, method_settings=method_settings, unused=unused)
