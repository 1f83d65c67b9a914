"""A backbone that starts from the weights in a file: config.model.pretrained."""

import io
import zipfile
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from ltjax.data.storage.paths import open_path
from ltjax.errors import InputError
from ltjax.methods.stage import Tree
from ltjax.models.weights.torch_resnet import import_resnet, import_resnet_cifar
from ltjax.settings import Settings
from ltjax.settings.user_paths import looked_for
from ltjax.training.workdir.checksums import listed, not_finite
from ltjax.training.workdir.fit import difference

HOW = "'Pretrained backbones' in docs/guides/runs.md says how to make it"
# How files begin that people have instead of an .npz.
OTHER_KINDS = {
    b"\x93NUMPY": "an .npy file of one array",
    b"\x80": "a pickled file, as older PyTorch writes it (.pth)",
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "a gzip file",
}


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
            f"the weights of a {model.backbone} ('Pretrained backbones' in docs/guides/runs.md says how to make it), "
            "or train from random weights with the word from_scratch (--config=...:from_scratch)"
        )
    if model.pretrained:
        _backbone(model.pretrained)


def check_fit(variables: Tree, config: Settings) -> None:
    """Raises InputError if config.model.pretrained is set and is no backbone of a network with these variables."""
    if config.model.pretrained and not config.init_from:
        _fitting(traverse_util.flatten_dict(variables, sep="/"), config.model.pretrained)


def with_pretrained(variables: Tree, path: str) -> Tree:
    """The variables with the backbone from the file config.model.pretrained: an .npz of a PyTorch ResNet's state_dict.

    Raises:
      InputError: if the file cannot be read, or its backbone is not this one.
    """
    arrays = traverse_util.flatten_dict(variables, sep="/")
    given = _fitting(arrays, path)
    arrays |= {name: jax.numpy.asarray(array, arrays[name].dtype) for name, array in given.items()}
    return traverse_util.unflatten_dict(arrays, sep="/")


def _fitting(arrays: dict[str, Any], path: str) -> dict[str, np.ndarray]:
    """The backbone in the file, after checking that it is that of a network with these arrays."""
    given = _backbone(path)
    wanted = {name: tuple(array.shape) for name, array in arrays.items() if _of_backbone(name)}
    other = difference(wanted, {name: array.shape for name, array in given.items()})
    if other:
        raise InputError(f"config.model.pretrained={path}: has another backbone than config.model.backbone: {other}")
    return given


def _of_backbone(name: str) -> bool:
    return name.partition("/")[2].startswith("backbone/")


def _backbone(path: str) -> dict[str, np.ndarray]:
    """The arrays of the backbone by their path in a network's variables.

    Raises:
      InputError: no such file, no .npz, no arrays of a ResNet, or values that are not finite.
    """
    setting = f"config.model.pretrained={path}"
    try:
        state_dict = _read(path)
        for_imagenet = any("downsample" in name or name.startswith("layer4") for name in state_dict)
        read = (import_resnet if for_imagenet else import_resnet_cifar)(state_dict)
    except InputError as error:
        raise InputError(f"{setting}: {error}") from None
    flat = traverse_util.flatten_dict(read, sep="/")
    given = {name: array for name, array in flat.items() if _of_backbone(name)}
    if broken := not_finite(given):
        raise InputError(f"{setting}: NaN or infinity in {listed(broken)}; make the file again from good weights")
    return given


def _read(given: str) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name. Every InputError begins with what is wrong with the file."""
    path = open_path(given)
    try:
        if path.is_dir():
            raise InputError("is a folder; give the .npz file")
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"no such file{looked_for(given)}; {HOW}") from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})") from None
    if not content.startswith(b"PK"):
        raise InputError(f"not a readable .npz file: it is {_kind(content)}; {HOW}")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
        if any(name.endswith("/data.pkl") for name in names):
            raise InputError(f"not a readable .npz file: it is a PyTorch file (.pth); {HOW}")
        if not names or not all(name.endswith(".npy") for name in names):
            others = [name for name in names if not name.endswith(".npy")]
            what = f"it also holds {listed(others)}" if others else "it holds no array"
            raise InputError(f"not a readable .npz file: {what}; {HOW}")
        with np.load(io.BytesIO(content)) as file:
            arrays = {name: file[name] for name in file.files}
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):  # numpy gives the bytes of a member that does not begin as an array
                raise ValueError(f"{name} is no array")
    except InputError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise many kinds for a damaged archive
        if "allow_pickle" in str(error):
            raise InputError(f"not a readable .npz file: it holds Python objects instead of numbers; {HOW}") from None
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise InputError(f"not a readable .npz file: cut short or damaged ({reason}); copy or make it again") from None
    kinds = [f"{name} ({array.dtype})" for name, array in arrays.items() if not np.issubdtype(array.dtype, np.number)]
    if kinds:
        raise InputError(f"not all of it is numbers: {listed(kinds)}; {HOW}")
    return arrays


def _kind(content: bytes) -> str:
    """What a file is that is no zip archive, from its beginning."""
    if not content:
        return "empty"
    if content[8:10] == b'{"':
        return "a safetensors file"
    return next((kind for begin, kind in OTHER_KINDS.items() if content.startswith(begin)), "of another kind")
