"""A training step and an evaluation pass in PyTorch: channels_last, autocast for bfloat16, cuDNN's autotuning."""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ltjax.bench.peers.network import network_variables
from ltjax.errors import choose


def cross_entropy(logits: Any, labels: Any) -> Any:
    from torch.nn import functional

    return functional.cross_entropy(logits, labels)


def reslt_loss(alpha: float, masks: np.ndarray) -> Callable[[Any, Any], Any]:
    """(logits [K, B, C], labels [B]) -> (1 - alpha) fusion + alpha branches, with the pooled divisor; masks [K, C]."""
    import torch
    from torch.nn import functional

    on_device: dict[Any, Any] = {}  # device -> masks

    def loss(logits: Any, labels: Any) -> Any:
        if labels.device not in on_device:
            on_device[labels.device] = torch.from_numpy(masks).to(labels.device)
        counted = on_device[labels.device][:, labels].to(logits.dtype)
        branches = torch.stack([functional.cross_entropy(x, labels, reduction="none") for x in logits])
        branch = (branches * counted).sum() / counted.sum()
        return (1 - alpha) * functional.cross_entropy(logits.sum(0), labels) + alpha * branch

    return loss


def sgd(parameters: Any, settings: Any, learning_rate: float) -> Any:
    import torch

    return torch.optim.SGD(
        parameters,
        learning_rate,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
    )


def adamw(parameters: Any, settings: Any, learning_rate: float) -> Any:
    import torch

    return torch.optim.AdamW(
        parameters, learning_rate, betas=settings.betas, eps=settings.epsilon, weight_decay=settings.weight_decay
    )


# (parameters, settings as config.optimizer, learning rate) -> torch.optim.Optimizer
OPTIMIZERS: dict[str, Callable[[Any, Any, float], Any]] = {"sgd": sgd, "adamw": adamw}


class Images:
    """A uint8 batch on the device in channels_last, normalised there as in ltjax."""

    def __init__(self, images: np.ndarray, mean: Any, std: Any, platform: str, dtype: str) -> None:
        """images: uint8 [B, H, W, channels]; platform: JAX's ("cpu" or "gpu"); dtype: float32, bfloat16 or float64."""
        import torch

        self.device = torch.device("cuda" if platform == "gpu" else "cpu")
        self.stored = torch.float64 if dtype == "float64" else torch.float32
        self.dtype = dtype
        torch.backends.cudnn.benchmark = True
        self.batch = self.put(torch.from_numpy(images.transpose(0, 3, 1, 2)))
        self.mean, self.std = (
            torch.tensor(v, dtype=self.stored, device=self.device).view(1, -1, 1, 1) for v in (mean, std)
        )

    def place(self, network: Any) -> Any:
        """The network on the same device, in the same layout and dtype."""
        import torch

        return network.to(self.device, self.stored, memory_format=torch.channels_last)

    def put(self, batch: Any) -> Any:
        """A batch [B, channels, H, W] on the device, in channels_last."""
        import torch

        return batch.to(self.device, non_blocking=True).contiguous(memory_format=torch.channels_last)

    def normalised(self) -> Any:
        return (self.batch.to(self.stored) / 255 - self.mean) / self.std

    def autocast(self) -> Any:
        import torch

        if self.dtype != "bfloat16":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def wait(self) -> None:
        import torch

        if self.device.type == "cuda":
            torch.cuda.synchronize()


class Trainer:
    """One training step per call: forward, backward, update, statistics. Returns the loss when the step is done."""

    def __init__(
        self,
        network: Any,
        images: Images,
        labels: np.ndarray,
        loss: Callable[[Any, Any], Any],
        optimizer: Any,
        learning_rate: float,
        compiled: bool = False,
    ) -> None:
        """optimizer: the settings, as config.optimizer; compiled: use torch.compile.

        Raises:
          InputError: for an optimizer that is not in ``OPTIMIZERS``.
        """
        import torch

        self.network, self.images, self.loss = images.place(network).train(), images, loss
        self.forward = torch.compile(self.network) if compiled else self.network
        self.labels = torch.from_numpy(labels.astype(np.int64)).to(images.device)
        make = choose(OPTIMIZERS, optimizer.name, "PyTorch's side of the benchmark, config.optimizer.name")
        self.optimizer = make(self.network.parameters(), optimizer, learning_rate)

    def __call__(self) -> float:
        loss = self.advance()
        self.images.wait()
        return float(loss)

    def feed(self, images: Any, labels: Any) -> None:
        """Replaces the batch by one from the host: uint8 [B, channels, H, W] and int64 [B]."""
        self.images.batch = self.images.put(images)
        self.labels = labels.to(self.images.device, non_blocking=True)

    def advance(self) -> Any:
        """One step on the batch; returns the loss, which a GPU may still be computing."""
        self.optimizer.zero_grad()
        with self.images.autocast():
            loss = self.loss(self.forward(self.images.normalised()), self.labels)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def variables(self) -> dict[str, Any]:
        return network_variables(self.network)


class Evaluator:
    """One evaluation pass per call; returns the logits on the device when they are computed."""

    def __init__(self, network: Any, images: Images) -> None:
        self.network, self.images = images.place(network).eval(), images

    def __call__(self) -> Any:
        import torch

        with torch.inference_mode(), self.images.autocast():
            logits = self.network(self.images.normalised())
        self.images.wait()
        return logits
