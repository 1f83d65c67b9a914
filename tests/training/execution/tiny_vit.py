"""A vision transformer for MNIST's images, whose larger arrays are worth splitting."""

import functools

from ltjax.models import VisionTransformer

tiny_vit = functools.partial(VisionTransformer, patch=7, width=64, depth=2, heads=2, grid=4)
