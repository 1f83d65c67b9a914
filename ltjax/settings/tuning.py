"""The settings of parameter-efficient tuning: which of a pretrained backbone's parameters move."""

import dataclasses

from ltjax.settings.schema import Block, integer, one_of, refuse, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuningSettings(Block):
    """What is trained in the backbone. The head always is; what is frozen is in no checkpoint but the first."""

    name: str = setting(
        "all",
        "what is trained in the backbone: all, linear (nothing), bias or norm (those of the blocks), last_blocks; or "
        "what is added to a frozen vision transformer: adaptformer, lora, prompts (before the first block) or "
        "deep_prompts (before each)",
        one_of("all", "linear", "bias", "norm", "last_blocks", "prompts", "deep_prompts", "adaptformer", "lora"),
        added_later=True,
    )
    size: int = setting(
        0,
        "inner width of adaptformer, rank of lora, or number of prompts; 0 = for adaptformer and lora by the number of "
        "classes, so that they have about as many parameters as the classifier, and 10 prompts",
        integer(0, 4096),
        depends_on="tuning.name",
    )
    blocks: int = setting(
        1, "for last_blocks: how many of them are trained", integer(1, 1000), depends_on="tuning.name"
    )
    cached: bool = setting(
        False,
        "for linear: train and evaluate the head on features that are computed once, of the images without "
        "augmentation; it takes seconds",
        depends_on="tuning.name",
    )

    def check(self, prefix: str) -> None:
        if self.cached and self.name != "linear":
            refuse(f"{prefix}cached", self.cached, f"False with {prefix}name={self.name}: features change as it trains")
