"""Which parameters of the backbone a stage trains: config.tuning, for every method that trains a backbone."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util

from ltjax.data import Data
from ltjax.errors import InputError
from ltjax.methods.stage import AnyStage, Stage, under
from ltjax.models.network import Network, representation
from ltjax.models.tuning import KINDS, Tuning, bottleneck
from ltjax.models.tuning.lora import ENDING
from ltjax.models.tuning.prompts import NUMBER
from ltjax.settings import Settings

BACKBONE = "backbone"
BLOCK = re.compile(r"(?:^|_)block\d+$")  # block3 of a vision transformer, stage2_block0 of a residual network


def tuning_of(config: Settings, num_classes: int, depth: int) -> Tuning:
    """config.tuning for a transformer of ``depth`` blocks, its size filled in."""
    name, size = config.tuning.name, config.tuning.size
    if not size:
        size = NUMBER if "prompts" in name else bottleneck(num_classes, depth)
    return Tuning(name, size)


def tuned(backbone: Any, config: Settings, num_classes: int) -> Any:
    """The backbone with what config.tuning adds to it.

    Raises:
      InputError: if it cannot have that.
    """
    if not KINDS[config.tuning.name]:
        return backbone
    if not isinstance(getattr(backbone, "tuning", None), Tuning):
        others = ", ".join(name for name, adds in KINDS.items() if not adds)
        raise InputError(
            f"config.tuning.name: {config.tuning.name} is for vision transformers, and config.model.backbone="
            f"{config.model.backbone} is none; take one of them, such as vit_b16, or one of {others}"
        )
    return backbone.clone(tuning=tuning_of(config, num_classes, backbone.depth))


def with_tuning(stages: Sequence[AnyStage], config: Settings, data: Data) -> list[AnyStage]:
    """The stages, of which those that train the backbone train only what config.tuning names, and the head.

    Raises:
      InputError: if the network has no such part, or the stage trains another one.
    """
    if config.tuning.name == "all":
        return list(stages)

    def one(stage: AnyStage) -> AnyStage:
        if not isinstance(stage, Stage) or not stage.updates.trains_within(BACKBONE):
            return stage
        sizes = parameter_sizes(stage.network, data)
        paths = [path for path in sizes if stage.updates.trains(path)]
        of_backbone = [path for path in paths if under(path, BACKBONE)]
        chosen = set(select_paths(of_backbone, config.tuning.name, config.tuning.blocks))
        if not chosen and config.tuning.name != "linear":
            raise InputError(
                f"config.tuning.name: the network of config.method={config.method} with config.model.backbone="
                f"{config.model.backbone} has nothing that {config.tuning.name} trains; use all or linear"
            )
        trainable = tuple(path for path in paths if path in chosen or not under(path, BACKBONE))
        updates = dataclasses.replace(stage.updates, trainable=trainable, norm="frozen", frozen_once=True)
        moving, whole = sum(sizes[path] for path in trainable), sum(sizes.values())
        note = (
            f"config.tuning.name={config.tuning.name}: {moving:,} of the network's {whole:,} parameters are trained "
            f"({moving / whole:.2%}) in stage '{stage.name}'"
        )
        found = dataclasses.replace(stage, updates=updates, notes=(*stage.notes, note))
        return on_features(found, config) if config.tuning.cached else found

    return [one(stage) for stage in stages]


def on_features(stage: Stage, config: Settings) -> Stage:
    """The stage, whose backbone is frozen, on features that are computed once.

    Raises:
      InputError: if it needs more of the images than their features.
    """
    plain = isinstance(stage.network, Network) and stage.network.attention is None
    if not plain or stage.augment or config.mix.name != "none":
        raise InputError(
            f"config.tuning.cached: True, but config.method={config.method} with these settings needs the images "
            "themselves; take a method of one view and one head, such as ce or balanced_softmax, or cached=False"
        )
    return dataclasses.replace(stage, representation=representation(stage.network))


def parameter_sizes(network: Any, data: Data) -> dict[str, int]:
    """Path -> how many numbers, of the network's parameters; none is made."""
    images = jax.ShapeDtypeStruct((1, *data.image_shape), jnp.uint8)
    shapes = jax.eval_shape(lambda x: network.init(jax.random.key(0), x, train=False), images)
    return {path: shape.size for path, shape in traverse_util.flatten_dict(shapes["params"], sep="/").items()}


def select_paths(paths: Iterable[str], name: str, blocks: int = 1) -> list[str]:
    """Of the backbone's parameters those that config.tuning.name trains.

    Args:
      paths: such as "backbone/block0/mlp/fc1/kernel".
      blocks: for last_blocks, how many.

    Example:
      >>> paths = [f"backbone/block{n}/{part}" for n in (1, 9, 10) for part in ("norm1/bias", "mlp/fc1/bias")]
      >>> select_paths(paths, "last_blocks", 1)
      ['backbone/block10/norm1/bias', 'backbone/block10/mlp/fc1/bias']
      >>> select_paths([*paths, "backbone/norm/bias"], "norm")
      ['backbone/block1/norm1/bias', 'backbone/block9/norm1/bias', 'backbone/block10/norm1/bias']
    """
    split = {path: path.split("/")[1:] for path in paths}
    inside = sorted({parts[0] for parts in split.values() if BLOCK.search(parts[0])}, key=_numbers)
    last = set(inside[-blocks:])
    chosen: Mapping[str, Callable[[list[str]], bool]] = {
        "linear": lambda parts: False,
        "bias": lambda parts: parts[0] in inside and parts[-1] == "bias",
        "norm": lambda parts: parts[0] in inside and re.search(r"norm\d*$", parts[-2]) is not None,
        "last_blocks": lambda parts: parts[0] in last,
        "prompts": lambda parts: parts[0].startswith("prompts"),
        "deep_prompts": lambda parts: parts[0].startswith("prompts"),
        "adaptformer": lambda parts: "adaptformer" in parts,
        "lora": lambda parts: any(part.endswith(ENDING) for part in parts),
    }
    return [path for path, parts in split.items() if chosen[name](parts)]


def _numbers(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]
