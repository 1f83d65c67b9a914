"""The blocks of the ResNets in plain PyTorch, with the usual names."""

import functools
from typing import Any


@functools.cache
def layers() -> tuple[Any, Any, Any, Any]:
    """(convolution, CIFAR block, basic block, bottleneck): classes of torch can only be made once torch is there."""
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
