"""mixup and CutMix: cross-entropy on what is made of two images, for the labels of both in the shares of each.

Zhang et al., ICLR 2018, eq. 1 and 2; Yun et al., ICCV 2019, eq. 1.
"""

import dataclasses
import functools

from ltjax.data import Data
from ltjax.methods.ce import cross_entropy_method
from ltjax.methods.mixing import Draw, mix, mixed_stage, paste
from ltjax.methods.stage import Stage
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import not_negative


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixupSettings(Block):
    """config.baseline of ``mixup`` and ``cutmix``."""

    alpha: float = setting(
        1.0, "parameter of Beta(alpha, alpha), from which the mixing share is drawn; 1: uniform", not_negative
    )


def mixup(config: Settings, settings: MixupSettings, data: Data) -> list[Stage]:
    """Blends; one share a batch, Beta(alpha, alpha)."""
    return _on_pairs(config, data, functools.partial(mix, alpha=settings.alpha))


def cutmix(config: Settings, settings: MixupSettings, data: Data) -> list[Stage]:
    """Boxes of other images; one box a batch, of an area that Beta(alpha, alpha) draws."""
    return _on_pairs(config, data, functools.partial(paste, alpha=settings.alpha))


def _on_pairs(config: Settings, data: Data, draw: Draw) -> list[Stage]:
    """Cross-entropy on mixed images: config.mix of ``ce``. Logs the accuracy on the labels of the larger share."""
    return [mixed_stage(stage, draw, config.method) for stage in cross_entropy_method(config, Block(), data)]
