"""An idiomatic PyTorch training loop: a data set, a DataLoader with workers, and a step per batch."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ltjax.bench.peers.steps import Trainer


class Crops:
    """A map-style data set: element i is the padded, cropped and flipped image of the i-th draw, and its label.

    The draws come from ltjax's samplers and transforms, so that both sides see the same pixels. numpy does the same as
    torchvision's RandomCrop and RandomHorizontalFlip, but faster.
    """

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, records: np.ndarray, draws: Mapping[str, np.ndarray], pad: int
    ) -> None:
        """images: uint8 [N, H, W, C]; labels: [N]; records and each of draws (top, left, flip): [positions]."""
        self.images, self.labels, self.records, self.draws, self.pad = images, labels, records, draws, pad

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, position: int) -> tuple[Any, int]:
        import torch

        record = self.records[position]
        image = self.images[record]
        height, width, channels = image.shape
        padded = np.zeros((height + 2 * self.pad, width + 2 * self.pad, channels), np.uint8)
        padded[self.pad : self.pad + height, self.pad : self.pad + width] = image
        top, left = self.draws["top"][position], self.draws["left"][position]
        cut = padded[top : top + height, left : left + width]
        if self.draws["flip"][position]:
            cut = cut[:, ::-1]
        return torch.from_numpy(cut.transpose(2, 0, 1).copy()), int(self.labels[record])


class Loop:
    """One training step for each batch of the data set per call; returns the losses when all steps are done."""

    def __init__(self, trainer: Trainer, crops: Crops, batch_size: int, workers: int) -> None:
        from torch.utils.data import DataLoader

        self.trainer = trainer
        self.loader: Any = DataLoader(
            crops,  # type: ignore[arg-type]
            batch_size,
            num_workers=workers,
            pin_memory=trainer.images.device.type == "cuda",
            persistent_workers=workers > 0,
            drop_last=True,
        )

    def __call__(self) -> list[float]:
        import torch

        losses = []
        for images, labels in self.loader:
            self.trainer.feed(images, labels)
            losses.append(self.trainer.advance())
        self.trainer.images.wait()
        return torch.stack(losses).tolist()
