"""Reads the weights of a PyTorch network from a file: .npz, .safetensors, .pth, one of a model hub or in a package.

Nothing in a file is executed. The names are those of the public ResNets whichever file they come from: what wrappers
put before them (``module.``, ``backbone.``) is removed.
"""

import importlib.util
import io
import pathlib
import re
import zipfile
from collections.abc import Mapping

import ml_dtypes
import numpy as np

from ltjax.data.storage.paths import open_path
from ltjax.errors import InputError
from ltjax.settings.user_paths import looked_for
from ltjax.training.workdir.checksums import listed
from ltjax.training.workdir.torch_file import is_torch_zip, read_torch_file

HOW = "'Pretrained backbones' in docs/guides/runs.md says which files are read"
PREFIXES = ("module.", "backbone.", "model.", "encoder.", "net.", "resnet.")
HUB = "hf://"
PACKAGE = "package://"  # a file inside an installed Python package: package://PACKAGE/FILE
HUB_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w./-]+?))?(?:/(?P<file>[^@]+))?")
HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # in this order
# How files begin that people have instead.
OTHER_KINDS = {
    b"\x93NUMPY": "an .npy file of one array",
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "a gzip file",
}
# A .safetensors begins with the length of its header in 8 bytes, at most 10^8, and the header is JSON.
HEADER = b"\0\0\0\0{"
SAFETENSORS = {"F64": "f8", "F32": "f4", "F16": "f2", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1", "U8": "u1"}


def read_weights(given: str) -> dict[str, np.ndarray]:
    """The arrays of a state_dict by name, without the prefixes that wrappers give them.

    Args:
      given: a path, also in a bucket, or hf://OWNER/NAME, hf://OWNER/NAME@REVISION, hf://OWNER/NAME/FILE, or
        package://PACKAGE/FILE.

    Raises:
      InputError: no such file or none that is read; it begins with what is wrong with the file.
    """
    content = _content(given)
    zipped = content.startswith(b"PK")
    if content[4:9] == HEADER:  # first: the length before it may begin as pickles and zips do
        arrays = _read_safetensors(content)
    elif content.startswith(b"\x80") or (zipped and (is_torch_zip(content) or _is_torch_name(given))):
        arrays = read_torch_file(content)
    elif zipped:
        arrays = _read_npz(content)
    else:
        kind = (
            "empty"
            if not content
            else next((k for b, k in OTHER_KINDS.items() if content.startswith(b)), "of another kind")
        )
        raise InputError(f"not a readable .npz, .safetensors or .pth file: it is {kind}; {HOW}")
    kinds = [f"{name} ({array.dtype})" for name, array in arrays.items() if not np.issubdtype(array.dtype, np.number)]
    if kinds:
        raise InputError(f"not all of it is numbers: {listed(kinds)}; {HOW}")
    return without_prefixes(arrays)


def without_prefixes(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays by their names in the network itself.

    Raises:
      InputError: if two arrays then have one name.

    Example:
      >>> list(without_prefixes({"module.backbone.conv1.weight": np.zeros(1), "module.fc.bias": np.zeros(1)}))
      ['conv1.weight', 'fc.bias']
    """
    named: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        inner = name
        while prefix := next((one for one in PREFIXES if inner.startswith(one)), ""):
            inner = inner[len(prefix) :]
        if inner in named:
            raise InputError(f"two networks in one file: '{name}' and another one are both '{inner}'; keep one of them")
        named[inner] = array
    return named


def _is_torch_name(given: str) -> bool:
    return given.endswith((".pth", ".pt", ".bin", ".pth.tar"))


def _content(given: str) -> bytes:
    found = {HUB: hub_file, PACKAGE: package_file}
    path = next((find(given) for scheme, find in found.items() if given.startswith(scheme)), None) or open_path(given)
    try:
        if path.is_dir():
            raise InputError("is a folder; give the file of weights in it")
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"no such file{looked_for(given)}; {HOW}") from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})") from None


def hub_file(given: str) -> pathlib.Path:
    """The local copy of a file of a model hub, which is downloaded unless it is there.

    Raises:
      InputError: huggingface_hub is not installed, the name is malformed, or the file cannot be downloaded.
    """
    named = HUB_NAME.fullmatch(given.removeprefix(HUB))
    if named is None:
        raise InputError("is not of the form hf://OWNER/NAME, hf://OWNER/NAME@REVISION or hf://OWNER/NAME/FILE")
    try:
        import huggingface_hub
    except ImportError:
        raise InputError(
            'needs huggingface_hub; pip install "ltjax[hub]", or download the file and name its path'
        ) from None
    tried = [named["file"]] if named["file"] else HUB_FILES
    for name in tried:
        try:
            return pathlib.Path(huggingface_hub.hf_hub_download(named["repo"], name, revision=named["revision"]))
        except Exception as error:  # of the network, the account, the name: many kinds
            known = huggingface_hub.errors
            # the second one, without a network, is of the first kind, too
            if isinstance(error, known.EntryNotFoundError) and not isinstance(error, known.LocalEntryNotFoundError):
                continue
            reason = " ".join(str(error).split())[:150] or type(error).__name__
            raise InputError(f"cannot be downloaded ({type(error).__name__}: {reason})") from None
    raise InputError(
        f"the repository {named['repo']} has no {' and no '.join(tried)}; name the file: {HUB}{named['repo']}/FILE"
    )


def package_file(given: str) -> pathlib.Path:
    """A file inside an installed package, which is not imported.

    Raises:
      InputError: the package is not installed, or has no such file.
    """
    package, _, inside = given.removeprefix(PACKAGE).partition("/")
    found = importlib.util.find_spec(package) if package.isidentifier() and inside else None
    if found is None or not found.submodule_search_locations:
        raise InputError(f"the package {package!a} is not installed; pip install {package.replace('_', '-')}")
    return pathlib.Path(next(iter(found.submodule_search_locations))) / inside


def _read_safetensors(content: bytes) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, deserialize

    try:
        found = deserialize(content)
    except SafetensorError as error:
        reason = " ".join(str(error).split())[:80]
        raise InputError(
            f"not a readable .safetensors file: cut short or damaged ({reason}); copy or make it again"
        ) from None
    arrays = {}
    for name, one in sorted(found, key=lambda item: item[0]):  # the library has them in another order each time
        kind, shape = one["dtype"], one["shape"]
        if kind == "BF16":
            arrays[name] = np.frombuffer(one["data"], ml_dtypes.bfloat16).astype(np.float32).reshape(shape)
        elif kind in SAFETENSORS:
            arrays[name] = np.frombuffer(one["data"], f"<{SAFETENSORS[kind]}").reshape(shape)
        else:
            raise InputError(f"'{name}' has the type {kind}, which is not read; save it as float32")
    return arrays


def _read_npz(content: bytes) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
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
    return arrays
