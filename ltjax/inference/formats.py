"""The files of an export: safetensors, StableHLO by ``jax.export``, ONNX by ``jax2onnx``."""

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np
import numpy.typing as npt
from etils import epath

from ltjax.errors import InputError
from ltjax.inference.serving import (
    Corrections,
    array_spec,
    backbone_family,
    linear_classifier,
    networks,
    plain_programs,
    program,
)
from ltjax.models.weights.state_dict import state_dict_of
from ltjax.training.finished_run import Finished

PLATFORMS = ("cpu", "cuda", "tpu")
INPUT, OUTPUTS = "images", ("logits", "probabilities")


class Export(NamedTuple):
    """What is exported.

    Attributes:
      finished: a run ``in_float32``.
      corrections: of its logits.
      normalise: whether the programs take uint8 images and normalise them; else they take normalised float32 images.
    """

    finished: Finished
    corrections: Corrections
    normalise: bool = True


def needs(format_name: str) -> None:
    """Raises InputError, which names the extra, unless the packages of a format are installed."""
    packages, extra = PACKAGES[format_name]
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            missing = error.name or package
            raise InputError(
                f"--format={format_name}: {missing} is not installed; install it with: pip install 'ltjax[{extra}]'"
            ) from None


def write_safetensors(export: Export, folder: epath.Path) -> dict[str, Any]:
    """Writes model.safetensors, or model-seed0.safetensors and so on; returns what model.json says of it."""
    save: Any = _module("safetensors.numpy").save
    finished, seeds = export.finished, export.finished.config.num_seeds
    corrections = export.corrections if seeds == 1 else Corrections()  # of several seeds they are of the mean
    files, linear = [], True
    for number, variables in enumerate(networks(finished)):
        arrays = state_dict_of(variables)
        classifier = linear_classifier(finished, variables, corrections)
        if classifier is None:
            linear = False
        else:
            arrays = {name: array for name, array in arrays.items() if not name.startswith("head.")}
            arrays["fc.weight"], arrays["fc.bias"] = classifier
        files.append("model.safetensors" if seeds == 1 else f"model-seed{finished.config.seed + number}.safetensors")
        about = {"format": "pt", "backbone": finished.config.model.backbone, "method": finished.config.method}
        (folder / files[-1]).write_bytes(save(arrays, metadata=about))
    return {
        "files": files,
        "backbone": finished.config.model.backbone,
        "torchvision": linear and backbone_family(finished) == "imagenet" and finished.model.image_shape[-1] == 3,
        "classifier": "fc" if linear else "head",
        "corrected": linear and seeds == 1,
    }


def write_stablehlo(export: Export, folder: epath.Path) -> dict[str, Any]:
    """Writes model.stablehlo, a serialised ``jax.export.Exported`` for any number of images; returns its record."""
    batch = jax.export.symbolic_shape("b")[0]
    images = array_spec((batch, *export.finished.model.image_shape), _dtype(export))
    with plain_programs():
        exported = jax.export.export(jax.jit(_named(export)), platforms=PLATFORMS)(images)
    (folder / "model.stablehlo").write_bytes(bytes(exported.serialize()))
    return {"files": ["model.stablehlo"], "platforms": list(PLATFORMS), "jax": jax.__version__}


def write_onnx(export: Export, folder: epath.Path) -> dict[str, Any]:
    """Writes model.onnx, for any number of images, and compares it with the network in onnxruntime."""
    jax2onnx, onnxruntime = _module("jax2onnx"), _module("onnxruntime")
    shape = export.finished.model.image_shape
    served = program(export.finished, export.corrections)
    images = np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)
    given = images if export.normalise else images.astype(np.float32) / 128 - 1
    try:
        with plain_programs():
            made = jax2onnx.to_onnx(
                served,
                inputs=[array_spec((jax.export.symbolic_shape("B")[0], *shape), _dtype(export))],
                model_name="ltjax",
                input_names=[INPUT],
                output_names=list(OUTPUTS),
            )
        content = made.SerializeToString()
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        there = session.run(["probabilities"], {INPUT: given})[0]
    except Exception as error:  # each of both packages has kinds of its own
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"--format=onnx: this network cannot be converted ({reason}); export without onnx") from error
    here = np.asarray(jax.jit(served)(given)[1])
    difference = float(np.abs(there - here).max())
    if not difference < 1e-4:
        raise InputError(
            f"--format=onnx: the probabilities of onnxruntime {onnxruntime.__version__} differ from the network's by "
            f"{difference:.1g}; export without onnx, or update jax2onnx and onnxruntime"
        )
    (folder / "model.onnx").write_bytes(content)
    return {"files": ["model.onnx"], "opset": int(made.opset_import[0].version)}


WRITERS: Mapping[str, Callable[[Export, epath.Path], dict[str, Any]]] = {
    "safetensors": write_safetensors,
    "stablehlo": write_stablehlo,
    "onnx": write_onnx,
}
# format -> (its packages, the extra that brings them)
PACKAGES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "safetensors": (("safetensors",), "train"),
    "stablehlo": ((), "train"),
    "onnx": (("jax2onnx", "onnx", "onnxruntime"), "export"),
}


def _named(export: Export) -> Callable[[jax.Array], dict[str, jax.Array]]:
    served = program(export.finished, export.corrections)
    return lambda images: dict(zip(OUTPUTS, served(images), strict=True))


def _dtype(export: Export) -> npt.DTypeLike:
    return np.uint8 if export.normalise else np.float32


def _module(name: str) -> ModuleType:
    return importlib.import_module(name)
