"""A backbone that starts from the weights in a file: config.model.pretrained."""

import re
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from ltjax.errors import InputError
from ltjax.methods.stage import Tree
from ltjax.models.weights.families import family_of
from ltjax.models.weights.torch_vit import fitted_positions
from ltjax.settings import Settings
from ltjax.training.workdir.checksums import listed, not_finite
from ltjax.training.workdir.fit import difference
from ltjax.training.workdir.weight_file import read_weights

EXPERT = re.compile(r"(?<=/backbone/)expert\d+/")
POSITIONS = "params/backbone/position_embedding"
# what no network that is pretrained has: experts' layers, and what config.tuning adds
NEW = re.compile(r"/backbone/expert\d+/shallow_|/adaptformer/|_lora/|/backbone/prompts\d+$")


def check_pretrained(config: Settings) -> None:
    """Raises InputError where the recipe is for pretrained weights and there is no file, or it is no file of weights.

    A run with config.init_from takes the backbone from another run and needs none.
    """
    model = config.model
    if config.init_from:
        return
    if model.needs_pretrained and not model.pretrained:
        raise InputError(
            "config.model.pretrained: this recipe fine-tunes pretrained weights; give --config.model.pretrained=FILE, "
            f"the weights of a {model.backbone} ('Pretrained backbones' in docs/guides/runs.md says where they are), "
            "or train from random weights with the word from_scratch (--config=...:from_scratch)"
        )
    if model.pretrained:
        _backbone(model.pretrained)


def check_fit(variables: Tree, config: Settings) -> None:
    """Raises InputError if config.model.pretrained is set and is no backbone of a network with these variables."""
    if config.model.pretrained and not config.init_from:
        _fitting(traverse_util.flatten_dict(variables, sep="/"), config.model.pretrained)


def with_pretrained(variables: Tree, path: str, report: Callable[[str], None] | None = None) -> Tree:
    """The variables with the backbone from config.model.pretrained, a state_dict of PyTorch (``read_weights``).

    ``report`` gets a line of what was loaded, and of what in the file is not used.

    Raises:
      InputError: if the file cannot be read, or its backbone is not this one.
    """
    arrays = traverse_util.flatten_dict(variables, sep="/")
    given, unused = _fitting(arrays, path)
    if report is not None:
        size = sum(array.size for name, array in given.items() if name.startswith("params/"))
        rest = f"; not used: {listed(unused)}" if unused else ""
        report(
            f"config.model.pretrained={path}: the backbone is loaded, {len(given)} arrays, {size:,} parameters{rest}"
        )
    arrays |= {name: jax.numpy.asarray(array, arrays[name].dtype) for name, array in given.items()}
    return traverse_util.unflatten_dict(arrays, sep="/")


def _fitting(arrays: dict[str, Any], path: str) -> tuple[dict[str, np.ndarray], list[str]]:
    """The backbone in the file, after checking that it is that of a network with these arrays; what is not used."""
    given, unused = _backbone(path)
    wanted = {name: tuple(array.shape) for name, array in arrays.items() if _of_backbone(name) and not NEW.search(name)}
    given = _for_experts(given, wanted)
    if POSITIONS in given and POSITIONS in wanted:
        given[POSITIONS] = fitted_positions(given[POSITIONS], wanted[POSITIONS][0])
    other = difference(wanted, {name: array.shape for name, array in given.items()})
    if other:
        raise InputError(f"config.model.pretrained={path}: has another backbone than config.model.backbone: {other}")
    return given, unused


def _for_experts(given: dict[str, np.ndarray], wanted: Iterable[str]) -> dict[str, np.ndarray]:
    """The arrays of the file, those of the stages that each expert has for itself copied to every expert."""
    copied = {name: EXPERT.sub("", name) for name in wanted if EXPERT.search(name)}
    repeated = {name: given[single] for name, single in copied.items() if single in given}
    return {name: array for name, array in given.items() if name not in copied.values()} | repeated


def _of_backbone(name: str) -> bool:
    return name.partition("/")[2].startswith("backbone/")


def _backbone(path: str) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of the backbone by their path in a network's variables, and the file's names of the others.

    Raises:
      InputError: no such file, none that is read, no arrays of a network that is known, or values that are not finite.
    """
    setting = f"config.model.pretrained={path}"
    try:
        state_dict = read_weights(path)
        family = family_of(state_dict)
        read = family.read(state_dict)
    except InputError as error:
        raise InputError(f"{setting}: {error}") from None
    flat = traverse_util.flatten_dict(read, sep="/")
    given = {name: array for name, array in flat.items() if _of_backbone(name)}
    if broken := not_finite(given):
        raise InputError(f"{setting}: NaN or infinity in {listed(broken)}; make the file again from good weights")
    return given, family.unused(state_dict)
