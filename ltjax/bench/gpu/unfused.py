"""Backbones whose batch norm makes two reductions a pass on a GPU, too, for config.model.backbone."""

import functools

from ltjax.models import ResNetCifar

FILE = __file__  # config.model.backbone is FILE:resnet32 or FILE:resnet8
resnet8, resnet32 = (functools.partial(ResNetCifar, depth=depth, fused_norm=False) for depth in (8, 32))
