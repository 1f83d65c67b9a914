"""Oracles of the backbones: slow float64 networks in numpy, NCHW, on weights in PyTorch's names and layout."""

import functools
import zlib
from typing import Any

import numpy as np

from tests.losses import oracle
from tests.reference.differences import gradient

State = dict[str, np.ndarray]
BLOCKS = {
    "resnet10": (1, 1, 1, 1),
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
    "resnext50_32x4d": (3, 4, 6, 3),
    "resnext101_32x4d": (3, 4, 23, 3),
    "resnext152_32x4d": (3, 8, 36, 3),
}
# Parameters with 1000 classes, as the papers' and the public networks' tables have them.
PUBLISHED = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnext50_32x4d": 25_028_904,
}


def convolution(x: Any, weight: Any, stride: int = 1, groups: int = 1) -> Any:
    """x [B, C, H, W] and weight [O, C / groups, k, k], with (k - 1) / 2 zeros around x."""
    weight = weight.astype(np.float64)
    pad = (weight.shape[-1] - 1) // 2
    x = np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], (2, 3))[:, :, ::stride, ::stride]
    parts = zip(np.split(windows, groups, 1), np.split(weight, groups), strict=True)
    return np.concatenate([np.tensordot(w, k, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2) for w, k in parts], 1)


class Pass:
    """One pass over a network: with the batch's statistics, which then move the running ones, or with those."""

    def __init__(self, state: State, train: bool) -> None:
        self.state, self.train, self.after = state, train, {}

    def norm(self, x: Any, name: str) -> Any:
        weight, bias, mean, var = (
            self.state[f"{name}.{leaf}"].astype(np.float64)
            for leaf in ("weight", "bias", "running_mean", "running_var")
        )
        if self.train:
            count = x.size // x.shape[1]
            old_mean, old_var, mean, var = mean, var, x.mean((0, 2, 3)), x.var((0, 2, 3))
            self.after[f"{name}.running_mean"] = 0.9 * old_mean + 0.1 * mean
            self.after[f"{name}.running_var"] = 0.9 * old_var + 0.1 * var * count / (count - 1)
        scale = weight / np.sqrt(var + 1e-5)
        return x * scale[:, None, None] + (bias - mean * scale)[:, None, None]

    def conv_norm(self, x: Any, prefix: str, number: int, stride: int = 1, groups: int = 1) -> Any:
        x = convolution(x, self.state[f"{prefix}conv{number}.weight"], stride, groups)
        return self.norm(x, f"{prefix}bn{number}")


def cifar_features(run: Pass, images: Any, blocks: int) -> Any:
    """Three stages of basic blocks; a shortcut takes every second pixel and pads channels on both sides."""
    x = np.maximum(run.conv_norm(images, "", 1), 0)
    for stage in (1, 2, 3):
        for block in range(blocks):
            stride, name = (2 if stage > 1 and block == 0 else 1), f"layer{stage}.{block}."
            y = np.maximum(run.conv_norm(x, name, 1, stride), 0)
            y = run.conv_norm(y, name, 2)
            missing = (y.shape[1] - x.shape[1]) // 2
            x = np.maximum(y + np.pad(x[:, :, ::stride, ::stride], [(0, 0), (missing, missing), (0, 0), (0, 0)]), 0)
    return x.mean((2, 3))


def large_features(run: Pass, images: Any, name: str) -> Any:
    """A 7x7 stem with max pooling, four stages; a shortcut is projected where the shape changes."""
    x = np.maximum(run.conv_norm(images, "", 1, 2), 0)
    x = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=-np.inf)
    x = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))[:, :, ::2, ::2].max((4, 5))
    for stage, blocks in enumerate(BLOCKS[name], start=1):
        for block in range(blocks):
            stride, prefix = (2 if stage > 1 and block == 0 else 1), f"layer{stage}.{block}."
            if is_bottleneck(name):
                y = np.maximum(run.conv_norm(x, prefix, 1), 0)
                y = np.maximum(run.conv_norm(y, prefix, 2, stride, 32 if "next" in name else 1), 0)
                y = run.conv_norm(y, prefix, 3)
            else:
                y = run.conv_norm(np.maximum(run.conv_norm(x, prefix, 1, stride), 0), prefix, 2)
            if f"{prefix}downsample.0.weight" in run.state:
                x = convolution(x, run.state[f"{prefix}downsample.0.weight"], stride)
                x = run.norm(x, f"{prefix}downsample.1")
            x = np.maximum(x + y, 0)
    return x.mean((2, 3))


def is_bottleneck(name: str) -> bool:
    return int(name.removeprefix("resnext").removeprefix("resnet").split("_")[0]) >= 50


def norm_shapes(name: str, size: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{leaf}": (size,) for leaf in ("weight", "bias", "running_mean", "running_var")}


def cifar_shapes(blocks: int, num_classes: int, channels: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (16, channels, 3, 3), **norm_shapes("bn1", 16)}
    inputs = 16
    for stage, size in enumerate((16, 32, 64), start=1):
        for block in range(blocks):
            for number in (1, 2):
                shapes[f"layer{stage}.{block}.conv{number}.weight"] = (size, inputs, 3, 3)
                shapes |= norm_shapes(f"layer{stage}.{block}.bn{number}", size)
                inputs = size
    return shapes | {"linear.weight": (num_classes, 64), "linear.bias": (num_classes,)}


def large_shapes(name: str, num_classes: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7), **norm_shapes("bn1", 64)}
    inputs = 64
    for stage, blocks in enumerate(BLOCKS[name], start=1):
        size = 32 * 2**stage
        for block in range(blocks):
            prefix = f"layer{stage}.{block}."
            out = 4 * size if is_bottleneck(name) else size
            inner, groups = (2 * size, 32) if "next" in name else (size, 1)
            if is_bottleneck(name):
                kernels = [(inner, inputs, 1, 1), (inner, inner // groups, 3, 3), (out, inner, 1, 1)]
            else:
                kernels = [(size, inputs, 3, 3), (size, size, 3, 3)]
            for number, kernel in enumerate(kernels, start=1):
                shapes[f"{prefix}conv{number}.weight"] = kernel
                shapes |= norm_shapes(f"{prefix}bn{number}", kernel[0])
            if inputs != out or (stage > 1 and block == 0):
                shapes[f"{prefix}downsample.0.weight"] = (out, inputs, 1, 1)
                shapes |= norm_shapes(f"{prefix}downsample.1", out)
            inputs = out
    return shapes | {"fc.weight": (num_classes, inputs), "fc.bias": (num_classes,)}


def derived(key: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """One array of a network from its name and a seed, of a size that keeps activations near one."""
    draw = np.random.RandomState((zlib.crc32(key.encode()) + seed) % 2**32).standard_normal(shape).astype(np.float32)
    if len(shape) == 4:
        return draw * np.float32(np.sqrt(2 / np.prod(shape[1:])))
    if len(shape) == 2:
        return draw * np.float32(1 / np.sqrt(shape[1]))
    if key.endswith("running_var"):
        return 1 + np.float32(0.1) * np.abs(draw)
    if key.endswith("weight"):
        return np.float32(0.5) + np.float32(0.1) * draw
    return np.float32(0.1) * draw


def logits_of(state: State, layer: str, features: Any) -> Any:
    return features @ state[f"{layer}.weight"].T.astype(np.float64) + state[f"{layer}.bias"]


DIFFERENTIATED = ("conv1.weight", "bn1.weight", "layer3.0.bn2.bias", "linear.bias")


def resnet32_cifar() -> Any:
    """A network of one block a stage on small images: the slow gradients of four of its arrays take seconds."""
    rng = np.random.default_rng(0)
    state = {key: derived(key, shape, 1) for key, shape in cifar_shapes(1, 10, 1).items()}
    images, labels = rng.normal(size=(3, 1, 7, 7)).astype(np.float32), rng.integers(0, 10, 3)

    def passed(state: State, train: bool) -> tuple[Any, Any, State]:
        run = Pass(state, train)
        features = cifar_features(run, images.astype(np.float64), 1)
        return logits_of(state, "linear", features), features, run.after

    def loss(values: Any, key: str) -> float:
        return float(np.mean(oracle.cross_entropy(passed({**state, key: values}, True)[0], labels)))

    case = {f"param.{key}": value for key, value in state.items()} | {"inputs": images, "labels": labels}
    case["eval_logits"], case["eval_features"], _ = passed(state, False)
    case["train_logits"], case["train_features"], after = passed(state, True)
    case |= {f"after.{key}": value for key, value in after.items()}
    case["ce_loss"] = float(np.mean(oracle.cross_entropy(case["train_logits"], labels)))
    for key in DIFFERENTIATED:
        case[f"ce_grad.{key}"] = gradient(functools.partial(loss, key=key), state[key], 1e-6)
    return {"linear": case}


def resnet_large() -> Any:
    made = {}
    for name in ("resnet10", "resnet18", "resnet50", "resnext50_32x4d"):
        state = {key: derived(key, shape, 7) for key, shape in large_shapes(name, 20).items()}
        images = np.random.default_rng(1).normal(size=(2, 3, 40, 40)).astype(np.float32)
        case: dict[str, Any] = {"seed": np.array(7), "inputs": images, "num_classes": np.array(20)}
        case["checksum"] = sum(np.abs(value.astype(np.float64)).sum() for value in state.values())
        for mode in ("eval", "train"):
            run = Pass(state, mode == "train")
            case[f"{mode}_features"] = large_features(run, images.astype(np.float64), name)
            case[f"{mode}_logits"] = logits_of(state, "fc", case[f"{mode}_features"])
        kept = [f"{norm}.running_{leaf}" for norm in ("bn1", "layer4.0.bn1") for leaf in ("mean", "var")]
        made[name] = case | {f"after.{key}": run.after[key] for key in kept}
    return made


def param_counts() -> Any:
    made = {}
    for name in BLOCKS:
        shapes = {k: s for k, s in large_shapes(name, 1000).items() if "running" not in k}
        sizes = {key: int(np.prod(shape)) for key, shape in shapes.items()}
        backbone = sum(size for key, size in sizes.items() if not key.startswith("fc"))
        made[name] = {"with_1000_classes": PUBLISHED.get(name, sum(sizes.values())), "backbone_only": backbone}
        made[name]["feature_dim"] = shapes["fc.weight"][1]
    return made


ORACLES = {"resnet32_cifar": resnet32_cifar, "resnet_large": resnet_large, "param_counts": param_counts}
