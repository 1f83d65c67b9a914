"""An idiomatic PyTorch input pipeline: a data set of files, torchvision's transforms, a DataLoader.

Where torchvision is not installed, "torch" has what its transforms call for Pillow images: crop, flip, jitter, ToTensor
and Normalize; "torchvision" is the package itself.
The random choices come from ltjax's transform, so that all sides make the same images; drawing takes no time here.
"""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ltjax.data.augment.color_jitter import NAMES, ORDERS, factor
from ltjax.data.augment.crops import random_box


class CroppedImages:
    """A map-style data set: element i is the augmented image of the i-th draw, and its label."""

    def __init__(
        self,
        paths: Sequence[str],
        records: np.ndarray,
        draws: Mapping[str, np.ndarray],
        size: int,
        normalize: tuple[Sequence[float], Sequence[float]] | None,
        format: str = "JPEG",
        by: str = "torch",
    ) -> None:
        """records and each of draws: [positions]; normalize: mean and std, or None for uint8 images; format: Pillow's
        name of the files' format; by: of ``WAYS``."""
        self.paths, self.records, self.draws, self.size, self.normalize = paths, records, draws, size, normalize
        self.format, self.by = format, by

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, position: int) -> tuple[Any, int]:
        import torch

        drawn = {name: values[position] for name, values in self.draws.items()}
        tensor = WAYS[self.by](self.paths[self.records[position]], drawn, self.size, self.format)
        if self.normalize is not None:
            mean, std = (torch.tensor(values).view(3, 1, 1) for values in self.normalize)
            tensor = tensor.to(torch.float32).div(255).sub_(mean).div_(std)
        return tensor, 0


def by_pillow(path: str, drawn: dict[str, Any], size: int, format: str) -> Any:
    """The augmented image, uint8 [3, size, size]."""
    import torch
    from PIL import Image, ImageEnhance

    image = Image.open(path, formats=[format]).convert("RGB")
    box = random_box(image.height, image.width, drawn)
    image = image.crop((box.left, box.top, box.left + box.width, box.top + box.height))
    image = image.resize((size, size), Image.Resampling.BILINEAR)
    if drawn["flip"]:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if "order" in drawn:
        enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
        for i in ORDERS[int(drawn["order"])]:
            image = enhancers[i](image).enhance(factor(drawn, NAMES[i]))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def by_torchvision(path: str, drawn: dict[str, Any], size: int, format: str) -> Any:
    """The same by torchvision's own functions."""
    from PIL import Image
    from torchvision.transforms.v2 import functional

    image: Any = Image.open(path, formats=[format]).convert("RGB")
    box = random_box(image.height, image.width, drawn)
    image = functional.resized_crop(image, box.top, box.left, box.height, box.width, [size, size], antialias=True)
    if drawn["flip"]:
        image = functional.horizontal_flip(image)
    if "order" in drawn:
        changes = (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation)
        for i in ORDERS[int(drawn["order"])]:
            image = changes[i](image, factor(drawn, NAMES[i]))
    return functional.pil_to_tensor(image)


WAYS: dict[str, Callable[..., Any]] = {"torch": by_pillow, "torchvision": by_torchvision}


def installed_ways() -> list[str]:
    """Those of ``WAYS`` that this environment has."""
    return [name for name in WAYS if name == "torch" or importlib.util.find_spec("torchvision") is not None]


def loader(images: CroppedImages, batch: int, workers: int) -> Any:
    """A DataLoader over the images in order. Workers are spawned, because JAX's threads do not survive a fork."""
    from torch.utils.data import DataLoader

    context = "spawn" if workers else None
    return DataLoader(images, batch, num_workers=workers, drop_last=True, multiprocessing_context=context)  # type: ignore[arg-type]
