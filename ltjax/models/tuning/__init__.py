"""Parameter-efficient tuning of vision transformers: small modules beside frozen weights.

adaptformer.py   a bottleneck beside the MLP of each block
lora.py          low-rank updates of query and value, which can be merged into them
prompts.py       tokens that are trained, before the first block or before each
"""

from typing import NamedTuple

# what is trained in the backbone: name -> whether it adds parameters to it, which only a vision transformer can have
KINDS = {
    "all": False,
    "linear": False,
    "bias": False,
    "norm": False,
    "last_blocks": False,
    "prompts": True,
    "deep_prompts": True,
    "adaptformer": True,
    "lora": True,
}


class Tuning(NamedTuple):
    """What a vision transformer has beside its own parameters.

    kind: a name in ``KINDS``; those that add no parameters are all the same to the network.
    size: inner width of the bottlenecks, rank of the low-rank updates, or number of prompts.
    """

    kind: str = "all"
    size: int = 0


def bottleneck(num_classes: int, blocks: int) -> int:
    """The inner width with which all blocks have about as many parameters as the classifier.

    2^floor(log2(C / 2L)) of C classes and L blocks, at least 1 (Shi et al., "Long-tail learning with foundation model:
    heavy fine-tuning hurts", ICML 2024, section 5.1).

    Example:
      >>> bottleneck(100, 12), bottleneck(1000, 12), bottleneck(8142, 12), bottleneck(3, 12)
      (4, 32, 256, 1)
    """
    width = 1
    while 4 * width * blocks <= num_classes:
        width *= 2
    return width
