"""A backbone that starts from the weights in a file: config.model.pretrained."""

import io

import jax
import numpy as np
from flax import traverse_util

from ltjax.data.storage.paths import open_path
from ltjax.errors import InputError
from ltjax.methods.stage import Tree
from ltjax.models.weights.torch_resnet import import_resnet, import_resnet_cifar
from ltjax.settings import Settings
from ltjax.settings.user_paths import looked_for


def check_pretrained(config: Settings) -> None:
    """Raises InputError where the recipe is for pretrained weights and there is no file, or it does not exist.

    A run with config.init_from takes the backbone from another run and needs none.
    """
    model = config.model
    if config.init_from:
        return
    if model.needs_pretrained and not model.pretrained:
        raise InputError(
            "config.model.pretrained: this recipe fine-tunes pretrained weights; give --config.model.pretrained=FILE, "
            f"the weights of a {model.backbone} ('Pretrained backbones' in docs/guides/runs.md says how to make it), "
            "or train from random weights with the word from_scratch (--config=...:from_scratch)"
        )
    if model.pretrained and not open_path(model.pretrained).exists():
        raise InputError(
            f"config.model.pretrained={model.pretrained}: no such file{looked_for(model.pretrained)}; "
            "'Pretrained backbones' in docs/guides/runs.md "
            "says how to make it"
        )


def with_pretrained(variables: Tree, path: str) -> Tree:
    """The variables with the backbone from the file config.model.pretrained: an .npz of a PyTorch ResNet's state_dict.

    Raises:
      InputError: if the file cannot be read, or its backbone is not this one.
    """
    setting = f"config.model.pretrained={path}"
    try:
        with np.load(io.BytesIO(open_path(path).read_bytes())) as file:
            state_dict = {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        raise InputError(f"{setting}: not a readable .npz file ({' '.join(str(error).split())[:80]})") from None
    for_imagenet = any("downsample" in name or name.startswith("layer4") for name in state_dict)
    try:
        read = (import_resnet if for_imagenet else import_resnet_cifar)(state_dict)
    except InputError as error:
        raise InputError(f"{setting}: {error}") from None
    given = traverse_util.flatten_dict(read, sep="/")
    arrays = traverse_util.flatten_dict(variables, sep="/")
    for name, array in arrays.items():
        if name.partition("/")[2].startswith("backbone/"):
            if name not in given or given[name].shape != array.shape:
                there = list(given[name].shape) if name in given else "missing"
                raise InputError(
                    f"{setting}: {name} is {there}, but config.model.backbone needs {list(np.shape(array))}"
                )
            arrays[name] = jax.numpy.asarray(given[name], array.dtype)
    return traverse_util.unflatten_dict(arrays, sep="/")
