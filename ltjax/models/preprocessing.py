"""How images were made for the weights that a backbone is published with: what they must be made like again."""

import dataclasses
import math

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What published weights take: the centre of a resized image, its values in units of ``std`` around ``mean``.

    Attributes:
      mean, std: of red, green and blue, for values scaled to 0 .. 1.
      crop: the part of the resized shorter side that the crop keeps, 1 = all of it.
      interpolation: "bilinear" or "bicubic", antialiased.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop: float
    interpolation: str = "bicubic"

    def resize(self, image_size: int) -> int:
        """Pixels of the shorter side before a crop of ``image_size``.

        Example:
          >>> PREPROCESSING["vit_b16"].resize(224), PREPROCESSING["dinov2_vit_b14"].resize(224)
          (248, 256)
        """
        return math.floor(image_size / self.crop)


# backbone -> what its published weights take. Those of residual networks take what config.data has by default.
PREPROCESSING: dict[str, Preprocessing] = {
    **dict.fromkeys(
        ("vit_ti16", "vit_s16", "vit_b16", "vit_b32", "vit_l16", "vit_l14"), Preprocessing(*HALF, crop=0.9)
    ),
    **dict.fromkeys(("clip_vit_b16", "clip_vit_b32", "clip_vit_l14"), Preprocessing(*OPENAI, crop=1.0)),
    **dict.fromkeys(
        [f"dinov2_vit_{size}14{registers}" for size in "sbl" for registers in ("", "_reg")],
        Preprocessing(*IMAGENET, crop=0.875),
    ),
    **dict.fromkeys(
        (*(f"convnext_{size}" for size in ("tiny", "small", "base", "large")), "efficientnet_lite0_timm"),
        Preprocessing(*IMAGENET, crop=0.875),
    ),
    "efficientnet_lite0": Preprocessing(*HALF, crop=0.875),
}
