"""The networks of ``ltjax.models`` in PyTorch, with the usual names in their state_dict: ours, or timm's transformers.

``ltjax.models.weights`` reads these names, so both sides of a benchmark can have the same weights.
"""

import functools
from typing import Any

from ltjax.errors import InputError
from ltjax.models import BACKBONES, ResNet, ResNetCifar, VisionTransformer
from ltjax.models.resnet import STAGES
from ltjax.models.weights.torch_resnet import import_resnet, import_resnet_cifar
from ltjax.models.weights.torch_vit import import_vit


@functools.cache
def layer_types() -> tuple[Any, Any, Any, Any]:
    """(convolution, CIFAR block, basic block, bottleneck), defined in a function because the classes need torch."""
    import torch
    from torch import nn
    from torch.nn import functional

    def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> Any:
        return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)

    class CifarBlock(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.conv1, self.bn1 = conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
            self.conv2, self.bn2 = conv(outputs, outputs, 3), nn.BatchNorm2d(outputs)
            self.stride, self.missing = stride, (outputs - inputs) // 2

        def forward(self, x: Any) -> Any:
            y = self.bn2(self.conv2(torch.relu_(self.bn1(self.conv1(x)))))
            if self.stride > 1 or self.missing:
                x = x[:, :, :: self.stride, :: self.stride]
                x = functional.pad(x, (0, 0, 0, 0, self.missing, self.missing))
            return torch.relu_(y + x)

    class Projected(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            changes = stride > 1 or inputs != outputs
            projection = [conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)] if changes else []
            self.downsample = nn.Sequential(*projection)

    class BasicBlock(Projected):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__(inputs, outputs, stride)
            self.conv1, self.bn1 = conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
            self.conv2, self.bn2 = conv(outputs, outputs, 3), nn.BatchNorm2d(outputs)

        def forward(self, x: Any) -> Any:
            y = self.bn2(self.conv2(torch.relu_(self.bn1(self.conv1(x)))))
            return torch.relu_(y + self.downsample(x))

    class Bottleneck(Projected):
        def __init__(self, inputs: int, inner: int, outputs: int, stride: int, groups: int) -> None:
            super().__init__(inputs, outputs, stride)
            self.conv1, self.bn1 = conv(inputs, inner, 1), nn.BatchNorm2d(inner)
            self.conv2, self.bn2 = conv(inner, inner, 3, stride, groups), nn.BatchNorm2d(inner)
            self.conv3, self.bn3 = conv(inner, outputs, 1), nn.BatchNorm2d(outputs)

        def forward(self, x: Any) -> Any:
            y = torch.relu_(self.bn1(self.conv1(x)))
            y = torch.relu_(self.bn2(self.conv2(y)))
            return torch.relu_(self.bn3(self.conv3(y)) + self.downsample(x))

    return conv, CifarBlock, BasicBlock, Bottleneck


def build_network(name: str, num_classes: int, *, reslt: bool = False, channels: int = 3, seed: int = 0) -> Any:
    """The torch.nn.Module of the backbone ``name`` in BACKBONES: float [B, channels, H, W] -> logits.

    A linear head gives [B, C]; ResLT's (three BatchNorms of the last map, one linear layer) [3, B, C].
    """
    import torch
    from torch import nn

    torch.manual_seed(seed)
    plan = BACKBONES[name]()
    if isinstance(plan, VisionTransformer) and not (plan.projection or plan.registers or reslt):
        return _timm(plan, name, num_classes, channels)
    if type(plan) is ResNetCifar:  # without experts or branches
        stem, stages, size = _cifar(plan, channels)
    elif type(plan) is ResNet:
        stem, stages, size = _imagenet(plan, channels)
    else:
        raise InputError(f"--network: '{name}' has no PyTorch version here; allowed: resnet*, resnext*, vit_*")

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


def _timm(plan: VisionTransformer, name: str, num_classes: int, channels: int) -> Any:
    """timm's vision transformer, for images of any number of patches."""
    import torch

    try:
        from timm.models.vision_transformer import VisionTransformer as TimmVisionTransformer
    except ImportError:
        raise InputError(
            f"--network: {name} is compared with timm's, which is not installed: pip install timm"
        ) from None
    network = TimmVisionTransformer(
        plan.grid * plan.patch, plan.patch, channels, num_classes, embed_dim=plan.width, depth=plan.depth,
        num_heads=plan.heads, init_values=plan.layer_scale or None, dynamic_img_size=True,
    )  # fmt: skip
    # no loss depends on the biases of the keys: at 0 their updates would be rounding alone, another on each side
    for block in network.blocks:
        torch.nn.init.normal_(block.attn.qkv.bias)
    return network


def _cifar(plan: ResNetCifar, channels: int) -> tuple[Any, list[list[Any]], int]:
    """Stem, blocks of each stage, and channels out."""
    conv, cifar_block, _, _ = layer_types()
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
    conv, _, basic, bottleneck = layer_types()
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
    """Sets random scales and statistics near 1 and 0; with the initial ones, half of batch norm would go unchecked."""
    import torch
    from torch import nn

    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            noise = torch.randn(3, module.num_features, generator=generator)
            module.weight.data, module.bias.data = 0.5 + 0.1 * noise[0], 0.1 * noise[1]
            module.running_mean, module.running_var = 0.1 * noise[2], 1 + 0.1 * noise[1].abs()


def network_variables(network: Any) -> dict[str, Any]:
    """The weights and batch statistics as numpy arrays in ltjax's layout."""
    arrays = {name: value.detach().cpu().numpy().copy() for name, value in network.state_dict().items()}
    if "cls_token" in arrays:
        return import_vit(arrays)
    return (import_resnet if network.conv1.kernel_size == (7, 7) else import_resnet_cifar)(arrays)
