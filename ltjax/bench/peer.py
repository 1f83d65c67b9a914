"""The same networks, losses and optimiser in plain PyTorch, for the benchmarks to run beside ours.

As a PyTorch user would write them for speed: channels_last, in-place ReLU, autocast for bfloat16, cuDNN's autotuning.
Their state_dict has the usual names, so that ``ltjax.models.weights.torch_resnet`` gives both sides the same weights.
PyTorch is imported when a function here is called, and never by the rest of ltjax.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ltjax.bench.measure import torch_installed
from ltjax.bench.peer_layers import layers
from ltjax.errors import InputError
from ltjax.models import BACKBONES, ResNet, ResNetCifar
from ltjax.models.resnet import STAGES
from ltjax.models.weights.torch_resnet import import_resnet, import_resnet_cifar


def unavailable(platform: str) -> str:
    """Why there is nothing to compare with on JAX's ``platform``; "" where there is."""
    if not torch_installed():
        return "PyTorch is not installed: ours alone"
    import torch

    if platform == "cpu" or (platform == "gpu" and torch.cuda.is_available()):
        return ""
    return f"PyTorch cannot use the {platform} here: ours alone"


def most_held() -> int | None:
    """The most bytes that PyTorch's allocator has held on the GPU since it was asked last; None without one."""
    if not torch_installed():
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    most = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    return most


def build(name: str, num_classes: int, *, reslt: bool = False, channels: int = 3, seed: int = 0) -> Any:
    """The torch.nn.Module of the backbone ``name`` in BACKBONES: float [B, channels, H, W] -> logits.

    A linear head gives [B, C]; ResLT's (three BatchNorms of the last map, one linear layer) [3, B, C].
    """
    import torch
    from torch import nn

    torch.manual_seed(seed)
    plan = BACKBONES[name]()
    if type(plan) is ResNetCifar:  # not one with experts or branches
        stem, stages, size = _cifar(plan, channels)
    elif type(plan) is ResNet:
        stem, stages, size = _imagenet(plan, channels)
    else:
        raise InputError(f"--network: '{name}' has no counterpart in PyTorch here; allowed: resnet*, resnext*")

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = stem, nn.BatchNorm2d(stem.out_channels)
            self.pool = nn.MaxPool2d(3, 2, 1) if stem.stride == (2, 2) else nn.Identity()
            self.stages = [f"layer{i}" for i in range(1, len(stages) + 1)]
            for stage, blocks in zip(self.stages, stages, strict=True):
                setattr(self, stage, nn.Sequential(*blocks))
            self.branches = [f"BN{letter}" for letter in "HMT"] if reslt else []
            for branch in self.branches:
                setattr(self, branch, nn.BatchNorm2d(size))
            self.fc = nn.Linear(size, num_classes)

        def forward(self, x: Any) -> Any:
            x = self.pool(torch.relu_(self.bn1(self.conv1(x))))
            for stage in self.stages:
                x = getattr(self, stage)(x)
            if not self.branches:
                return self.fc(x.mean((2, 3)))
            return torch.stack([self.fc(getattr(self, branch)(x).mean((2, 3))) for branch in self.branches])

    network = Network()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


def _cifar(plan: ResNetCifar, channels: int) -> tuple[Any, list[list[Any]], int]:
    """Stem, blocks of each stage, and channels out."""
    conv, cifar_block, _, _ = layers()
    widths = [16 * plan.width, 32 * plan.width, 64 * plan.width]
    inputs = widths[0]
    stages: list[list[Any]] = []
    for stage, width in enumerate(widths):
        stages.append([])
        for index in range((plan.depth - 2) // 6):
            stages[-1].append(cifar_block(inputs, width, 2 if stage and not index else 1))
            inputs = width
    return conv(channels, widths[0], 3), stages, inputs


def _imagenet(plan: ResNet, channels: int) -> tuple[Any, list[list[Any]], int]:
    """Stem, blocks of each stage, and channels out."""
    conv, _, basic, bottleneck = layers()
    inputs = 64
    stages: list[list[Any]] = []
    for stage, blocks in enumerate(STAGES[plan.depth]):
        stages.append([])
        width = 64 * 2**stage
        for index in range(blocks):
            stride = 2 if stage and not index else 1
            if plan.depth < 50:
                stages[-1].append(basic(inputs, width, stride))
                inputs = width
            else:
                inner = width * plan.group_width // 64 * plan.groups
                stages[-1].append(bottleneck(inputs, inner, 4 * width, stride, plan.groups))
                inputs = 4 * width
    return conv(channels, 64, 7, 2), stages, inputs


def settle_statistics(network: Any) -> None:
    """Random scales and statistics near 1 and 0: with those of a new network half of batch norm goes unchecked."""
    import torch
    from torch import nn

    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            noise = torch.randn(3, module.num_features, generator=generator)
            module.weight.data, module.bias.data = 0.5 + 0.1 * noise[0], 0.1 * noise[1]
            module.running_mean, module.running_var = 0.1 * noise[2], 1 + 0.1 * noise[1].abs()


@contextlib.contextmanager
def exact(platform: str) -> Iterator[None]:
    """For the checks: float32 products in float32 on both sides, where an accelerator would round them to TF32."""
    if platform == "cpu":
        yield
        return
    import jax

    settings: tuple[Any, ...] = ()
    if torch_installed():
        import torch

        settings = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [s.allow_tf32 for s in settings]
    try:
        for s in settings:
            s.allow_tf32 = False
        with jax.default_matmul_precision("highest"):
            yield
    finally:
        for s, value in zip(settings, before, strict=True):
            s.allow_tf32 = value


def variables(network: Any) -> dict[str, Any]:
    """The weights and batch statistics as numpy arrays, laid out as ours."""
    arrays = {name: value.detach().cpu().numpy().copy() for name, value in network.state_dict().items()}

    return (import_resnet if network.conv1.kernel_size == (7, 7) else import_resnet_cifar)(arrays)


def cross_entropy(logits: Any, labels: Any) -> Any:
    from torch.nn import functional

    return functional.cross_entropy(logits, labels)


def reslt_loss(alpha: float, masks: np.ndarray) -> Callable[[Any, Any], Any]:
    """(logits [K, B, C], labels [B]) -> (1 - alpha) fusion + alpha branches, with the pooled divisor; masks [K, C]."""
    import torch
    from torch.nn import functional

    members: dict[Any, Any] = {}  # the masks, once on the device of the labels

    def loss(logits: Any, labels: Any) -> Any:
        if labels.device not in members:
            members[labels.device] = torch.from_numpy(masks).to(labels.device)
        counted = members[labels.device][:, labels].to(logits.dtype)
        branches = torch.stack([functional.cross_entropy(x, labels, reduction="none") for x in logits])
        branch = (branches * counted).sum() / counted.sum()
        return (1 - alpha) * functional.cross_entropy(logits.sum(0), labels) + alpha * branch

    return loss


class Images:
    """A batch on the device, uint8 in channels_last, and its normalisation there, as ours does it."""

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
    """One training step a call: forward, backward, SGD, batch statistics. Returns the loss when all is done."""

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
        """optimizer: momentum, nesterov and weight_decay, as config.optimizer; compiled: through torch.compile."""
        import torch

        self.network, self.images, self.loss = images.place(network).train(), images, loss
        self.forward = torch.compile(self.network) if compiled else self.network
        self.labels = torch.from_numpy(labels.astype(np.int64)).to(images.device)
        self.sgd = torch.optim.SGD(
            self.network.parameters(),
            learning_rate,
            momentum=optimizer.momentum,
            nesterov=optimizer.nesterov,
            weight_decay=optimizer.weight_decay,
        )

    def __call__(self) -> float:
        loss = self.advance()
        self.images.wait()
        return float(loss)

    def feed(self, images: Any, labels: Any) -> None:
        """Takes another batch: uint8 [B, channels, H, W] and int64 [B], of the host."""
        self.images.batch = self.images.put(images)
        self.labels = labels.to(self.images.device, non_blocking=True)

    def advance(self) -> Any:
        """One step on the batch; the loss, which a GPU may still be computing."""
        self.sgd.zero_grad()
        with self.images.autocast():
            loss = self.loss(self.forward(self.images.normalised()), self.labels)
        loss.backward()
        self.sgd.step()
        return loss.detach()

    def variables(self) -> dict[str, Any]:
        return variables(self.network)


class Evaluator:
    """One evaluation pass a call; returns the logits on the device when they are there."""

    def __init__(self, network: Any, images: Images) -> None:
        self.network, self.images = images.place(network).eval(), images

    def __call__(self) -> Any:
        import torch

        with torch.inference_mode(), self.images.autocast():
            logits = self.network(self.images.normalised())
        self.images.wait()
        return logits
