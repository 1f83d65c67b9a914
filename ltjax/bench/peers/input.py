"""An idiomatic PyTorch input pipeline: a data set of files, torchvision's transforms on Pillow images, a DataLoader.

torchvision itself is not needed: its crop, flip, jitter, ToTensor and Normalize are the Pillow and tensor calls below.
The random choices come from ltjax's transform, so that both sides make the same images; drawing takes no time here.
"""

from collections.abc import Mapping, Sequence
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
    ) -> None:
        """records and each of draws: [positions]; normalize: mean and std, or None for uint8 images; format: Pillow's
        name of the files' format."""
        self.paths, self.records, self.draws, self.size, self.normalize = paths, records, draws, size, normalize
        self.format = format

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, position: int) -> tuple[Any, int]:
        import torch
        from PIL import Image, ImageEnhance

        drawn = {name: values[position] for name, values in self.draws.items()}
        image = Image.open(self.paths[self.records[position]], formats=[self.format]).convert("RGB")
        box = random_box(image.height, image.width, drawn)
        image = image.crop((box.left, box.top, box.left + box.width, box.top + box.height))
        image = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
        if drawn["flip"]:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if "order" in drawn:
            enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
            for i in ORDERS[int(drawn["order"])]:
                image = enhancers[i](image).enhance(factor(drawn, NAMES[i]))
        tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        if self.normalize is not None:
            mean, std = (torch.tensor(values).view(3, 1, 1) for values in self.normalize)
            tensor = tensor.to(torch.float32).div(255).sub_(mean).div_(std)
        return tensor, 0


def loader(images: CroppedImages, batch: int, workers: int) -> Any:
    """A DataLoader over the images in order. Workers are spawned, because JAX's threads do not survive a fork."""
    from torch.utils.data import DataLoader

    context = "spawn" if workers else None
    return DataLoader(images, batch, num_workers=workers, drop_last=True, multiprocessing_context=context)  # type: ignore[arg-type]
