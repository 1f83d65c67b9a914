"""Helpers for config files: a config with default values, and the words after the colon.

    def get_config(arg=None):
        config = new_config("reslt", recipe="cifar100")      # from ltjax.methods
        config.epochs = 200
        ...
        return with_words(config, arg)

``arg`` is the text after the colon on the command line, a comma-separated list of words and ``key=value`` pairs:
``configs/cifar100_reslt.py:short,imbalance=50``.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from ltjax.errors import InputError, did_you_mean
from ltjax.settings.blocks import Settings
from ltjax.settings.config_dict import Config, empty_config, unset
from ltjax.settings.epochs import scale_epochs
from ltjax.settings.schema import Block, block_type, flat, setting_of, settings_of, types_of

# Data sets of the user's images that are stored otherwise than as class folders or list files
FORMATS = ("csv", "coco", "parquet", "arrow", "webdataset")
# The effect of a word: a function (config, value) -> None (value is "" for a bare word), or settings by flat key.
Word = Callable[[Config, str], None] | Mapping[str, Any]


def config_of(block: type[Block]) -> Config:
    """The defaults of a block as a ConfigDict, which accepts only values of the settings' types."""
    made = empty_config()
    for field in settings_of(block):
        kind, default = types_of(block)[field.name], field.default
        inner = block_type(kind)
        if inner is not None and default is not None:
            made[field.name] = config_of(inner)
        elif default is not None:
            made[field.name] = default
        elif not setting_of(field).stored_if_set:
            made[field.name] = unset(optional_type(kind))
    return made


def optional_type(kind: Any) -> type:
    """``T`` of ``T | None``."""
    found = next(member for member in kind.__args__ if member is not type(None))
    assert isinstance(found, type)
    return found


def add_second_stage(config: Config, epochs: int | None = None, **changes: Any) -> None:
    """Adds a second stage with the first one's optimizer and these changes to it; epochs=None: the method's default."""
    config.second_stage_epochs = unset(int) if epochs is None else epochs
    config.second_stage_optimizer = config.optimizer.copy_and_resolve_references()
    del config.second_stage_optimizer["rate_rule"]  # one rule for all stages
    config.second_stage_optimizer.update(changes)


def cifar_runs(config: Config) -> None:
    """Evaluation and checkpoint intervals for CIFAR-LT; not part of any recipe."""
    config.evaluation.update(every_epochs=20, shots="index")
    config.checkpoint.every_steps = 1000


def large_runs(config: Config) -> None:
    """Precision, data loading, logging, evaluation and checkpoints for the large benchmarks; not part of any recipe."""
    config.update(dtype="bfloat16", log_every_steps=50)
    config.data.workers = 8
    config.evaluation.update(batch_size=512, every_epochs=10)
    config.checkpoint.every_steps = 1000


def user_runs(config: Config) -> None:
    """Data loading, logging and evaluation for a few thousand images of the user's.

    The groups in the results are thirds of the classes: thresholds of 100 and 20 images often leave one empty.
    """
    config.log_every_steps = 10
    config.data.workers = 4
    config.evaluation.update(batch_size=64, every_epochs=10, shots="index")


def sets(path: str, kind: Callable[[str], object] = float) -> Callable[[Config, str], None]:
    """A word ``key=value`` that sets one setting, such as ``sets("reslt.groups", int)``."""

    def apply(config: Config, value: str) -> None:
        config.update_from_flattened_dict({path: kind(value)})

    return apply


def backbones(table: Mapping[str, Mapping[str, Any]]) -> Callable[[Config, str], None]:
    """The word ``backbone=NAME``, for recipes that change other settings together with the backbone.

    Args:
      table: backbone -> settings by flat key, such as {"resnet152": {"batch_size": 128}}.
    """

    def apply(config: Config, value: str) -> None:
        config.model.backbone = value
        config.update_from_flattened_dict(table.get(value, {}))

    return apply


def short(config: Config, value: str) -> None:
    """Ten epochs, nesterov, weight decay 5e-4, cosine from 0.1 to 0 per step, no warm-up."""
    no_value(value)
    config.epochs = 10
    config.evaluation.every_epochs = 0
    config.checkpoint.every_steps = 200
    config.optimizer.update(nesterov=True, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="step", cosine_includes="start", warmup_epochs=0)


def from_scratch(config: Config, value: str) -> None:
    """Random weights where the recipe has pretrained ones, and the full learning rate for the backbone."""
    no_value(value)
    config.model.update(pretrained="", needs_pretrained=False)
    first, second = config.optimizer, config.get("second_stage_optimizer")
    if second is not None and second.backbone_rate == first.backbone_rate:  # the same low rate in both stages
        second.backbone_rate = 1.0
    first.backbone_rate = 1.0


def image_size(config: Config, value: str) -> None:
    """Crops of this side in pixels: in training, and in evaluation out of 256 / 224 of it, as torchvision's of 224."""
    side = int(value)
    if side < 1:
        raise ValueError
    crop = re.compile(r"^crop\d+(?=_)")
    if not crop.match(config.data.augment):
        raise InputError(
            f"--config=...:image_size={value}: the recipe's images keep their size (config.data.augment="
            f"{config.data.augment}); leave the word out"
        )
    config.data.update(image_size=side, resize=round(side * 256 / 224))
    cropped = {key: text for key, text in flat(config.to_dict()).items() if isinstance(text, str) and crop.match(text)}
    config.update_from_flattened_dict({key: crop.sub(f"crop{side}", text) for key, text in cropped.items()})


def stored_as(config: Config, value: str) -> None:
    """``format=parquet``: the user's images are stored so, and not in class folders or list files."""
    if config.recipe not in ("folder", "list"):
        raise InputError(f"--config=...:format={value}: only for configs/folder_*.py and configs/list_*.py")
    if value not in FORMATS:
        raise InputError(
            f"--config=...:format={value}: unknown format; allowed: {', '.join(FORMATS)}{did_you_mean(value, FORMATS)}"
        )
    config.data.name = value


def fine_tuned(config: Config, value: str) -> None:
    """``pretrained=FILE`` in a recipe for random weights: a tenth of the rate for the backbone, 30 % of the epochs."""
    config.model.pretrained = value
    _epochs(config, str(max(1, round(0.3 * config.epochs))))
    config.optimizer.backbone_rate = 0.1
    if "second_stage_optimizer" in config:
        config.second_stage_optimizer.backbone_rate = 0.1


def no_value(value: str) -> None:
    """Raises ValueError if a bare word was given a value."""
    if value:
        raise ValueError("this word takes no value")


def _epochs(config: Config, value: str) -> None:
    recipe = config.copy_and_resolve_references()
    config.epochs = int(value)
    scale_epochs(config, recipe, given=("epochs",))


COMMON: dict[str, Word] = {
    "short": short,
    "imbalance": sets("data.imbalance"),
    "backbone": sets("model.backbone", str),
    "width": sets("model.width", int),
    "sampler": sets("data.sampler", str),
    "batch_size": sets("batch_size", int),
    "epochs": _epochs,
    "backbone_rate": sets("optimizer.backbone_rate"),
    "features": sets("model.features", int),
    "from_scratch": from_scratch,
    "image_size": image_size,
    "format": stored_as,
}
# applied after the other words, whose results they change
LAST = {"from_scratch": 1, "image_size": 1, "pretrained": 1, "backbone_rate": 2, "epochs": 2, "short": 3}


def with_words(
    config: Config, arg: str | None, words: Mapping[str, Word], words_of: Callable[[str], Mapping[str, Word]]
) -> Config:
    """Applies the words after the colon to the config.

    Args:
      config: the recipe.
      arg: the words.
      words: the words of the config file; they override the method's, which override the common ones.
      words_of: method -> its words.

    Raises:
      InputError: for an unknown word or an invalid value.
    """
    asked = sorted(
        (word for word in (arg or "").split(",") if word), key=lambda word: LAST.get(word.partition("=")[0], 0)
    )
    sizes = [word for word in asked if word.partition("=")[0] == "batch_size"]
    for word in asked:
        if word not in sizes:
            _apply(config, COMMON | dict(words_of(config.method)) | dict(words), word, arg)
    _note_batch_size(config)
    for word in sizes:  # after the recipe's batch size is recorded
        _apply(config, COMMON, word, arg)
    return config


def _note_batch_size(config: Config) -> None:
    """Records the batch size that the learning rates are for; later overrides of the batch size leave it unchanged."""
    config.optimizer.recipe_batch_size = config.batch_size
    if "second_stage_optimizer" in config:
        config.second_stage_optimizer.recipe_batch_size = config.batch_size
        if "rate_rule" in config.second_stage_optimizer:
            del config.second_stage_optimizer["rate_rule"]


def _apply(config: Config, table: Mapping[str, Word], word: str, arg: str | None) -> None:
    key, _, value = word.partition("=")
    if key not in table:
        allowed = ", ".join(table)
        raise InputError(f"--config=...:{arg}: unknown argument '{word}'; allowed: {allowed}{did_you_mean(key, table)}")
    change = table[key]
    try:
        if callable(change):
            change(config, value)
        else:
            no_value(value)
            config.update_from_flattened_dict(change)
    except InputError:
        raise
    except (TypeError, ValueError):
        raise InputError(f"--config=...:{arg}: impossible value '{value}' for '{key}'") from None


def common_settings() -> Config:
    """The settings that all methods share, with their defaults."""
    return config_of(Settings)
