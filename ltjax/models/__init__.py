"""Networks (Flax Linen): a table of backbones by name, heads, and the networks that join them."""

import functools
from collections.abc import Callable

import flax.linen as nn

from ltjax.models.attention import ModulatedAttention
from ltjax.models.backbone import Backbone, HasTrainableParts
from ltjax.models.bbn import BBNNetwork, LargeTwoBranchBackbone, TwoBranchBackbone
from ltjax.models.causal_norm import CausalNormNetwork
from ltjax.models.convnext import SIZES, ConvNeXt
from ltjax.models.depth_experts import DepthExpertBackbone, LargeDepthExpertBackbone
from ltjax.models.efficientnet_lite import EfficientNetLite
from ltjax.models.experts import ExpertBackbone, ExpertsHead, LargeExpertBackbone
from ltjax.models.heads.aligned import AlignedHead
from ltjax.models.heads.auxiliary import AuxiliaryHead
from ltjax.models.heads.class_means import MeanHead
from ltjax.models.heads.consistency import ConsistencyHead
from ltjax.models.heads.contrastive import ContrastiveHead
from ltjax.models.heads.cosine import CausalNormHead, CosineHead
from ltjax.models.heads.feature_layer import HeadOnFeatureLayer
from ltjax.models.heads.feature_map import FeatureMapHead
from ltjax.models.heads.generator import GeneratorHead, generated_weights
from ltjax.models.heads.linear import LinearHead, MLPHead, ProxyHead
from ltjax.models.heads.memory import MemoryHead
from ltjax.models.heads.rescaled import LWSHead, TauHead
from ltjax.models.heads.reslt import ConvTopHead, ResLTHead
from ltjax.models.layers import HasClassifierWeights, classifier_weights
from ltjax.models.network import Network, Representation, representation
from ltjax.models.norm import BatchNorm
from ltjax.models.outputs import Outputs
from ltjax.models.resnet import ResNet
from ltjax.models.resnet_cifar import ResNetCifar
from ltjax.models.vit import VITS, VisionTransformer

# name in a config -> constructor of a backbone, see ltjax/models/backbone.py; every one of these takes dtype,
# param_dtype and remat, residual networks also final_relu and zero_init, the CIFAR family width, experts their number
BACKBONES: dict[str, Callable[..., nn.Module]] = {
    # images of about 32 pixels
    **{f"resnet{depth}": functools.partial(ResNetCifar, depth=depth) for depth in (8, 14, 20, 32, 44, 56)},
    **{f"ride_resnet{depth}": functools.partial(ExpertBackbone, depth=depth) for depth in (8, 32)},
    **{f"shike_resnet{depth}": functools.partial(DepthExpertBackbone, depth=depth) for depth in (8, 32)},
    **{f"bbn_resnet{depth}": functools.partial(TwoBranchBackbone, depth=depth) for depth in (8, 32)},
    # images of about 224 pixels
    **{f"resnet{depth}": functools.partial(ResNet, depth=depth) for depth in (10, 18, 34, 50, 101, 152)},
    **{
        f"resnext{depth}_32x4d": functools.partial(ResNet, depth=depth, groups=32, group_width=4)
        for depth in (50, 101, 152)
    },
    **{f"ride_resnet{depth}": functools.partial(LargeExpertBackbone, depth=depth) for depth in (10, 50, 152)},
    "ride_resnext50_32x4d": functools.partial(LargeExpertBackbone, depth=50, groups=32, group_width=4),
    **{f"shike_resnet{depth}": functools.partial(LargeDepthExpertBackbone, depth=depth) for depth in (10, 50, 152)},
    "shike_resnext50_32x4d": functools.partial(LargeDepthExpertBackbone, depth=50, groups=32, group_width=4),
    **{f"bbn_resnet{depth}": functools.partial(LargeTwoBranchBackbone, depth=depth) for depth in (10, 50)},
    **{f"convnext_{size}": functools.partial(ConvNeXt, size=size) for size in SIZES},
    "efficientnet_lite0": EfficientNetLite,
    "efficientnet_lite0_timm": functools.partial(EfficientNetLite, padding="symmetric", epsilon=1e-5),
    # vision transformers, for images of about 224 pixels
    **VITS,
}

__all__ = [
    "BACKBONES",
    "AlignedHead",
    "AuxiliaryHead",
    "BBNNetwork",
    "Backbone",
    "BatchNorm",
    "CausalNormHead",
    "CausalNormNetwork",
    "ConsistencyHead",
    "ContrastiveHead",
    "ConvNeXt",
    "ConvTopHead",
    "CosineHead",
    "DepthExpertBackbone",
    "EfficientNetLite",
    "ExpertBackbone",
    "ExpertsHead",
    "FeatureMapHead",
    "GeneratorHead",
    "HasClassifierWeights",
    "HasTrainableParts",
    "HeadOnFeatureLayer",
    "LWSHead",
    "LargeDepthExpertBackbone",
    "LargeExpertBackbone",
    "LargeTwoBranchBackbone",
    "LinearHead",
    "MLPHead",
    "MeanHead",
    "MemoryHead",
    "ModulatedAttention",
    "Network",
    "Outputs",
    "ProxyHead",
    "Representation",
    "ResLTHead",
    "ResNet",
    "ResNetCifar",
    "TauHead",
    "TwoBranchBackbone",
    "VisionTransformer",
    "classifier_weights",
    "generated_weights",
    "representation",
]
