"""Which family of networks a state_dict is of, and what reads it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ltjax.models.weights import torch_convnext, torch_efficientnet_lite, torch_resnet, torch_vit

Arrays = Mapping[str, np.ndarray]


class Family(NamedTuple):
    """A family of networks whose weights are read.

    Attributes:
      recognises: whether the names of a state_dict are of this family.
      read: state_dict -> {"params", "batch_stats"} of a ``Network`` with this backbone.
      head: how the names of the arrays begin that are not the backbone's.
      others: state_dict -> their names, where the beginnings do not tell.
    """

    recognises: Callable[[Arrays], bool]
    read: Callable[[Arrays], dict[str, Any]]
    head: tuple[str, ...] = ()
    others: Callable[[Arrays], list[str]] | None = None

    def unused(self, state_dict: Arrays) -> list[str]:
        """The names of the arrays that are not the backbone's."""
        if self.others is not None:
            return self.others(state_dict)
        return [name for name in state_dict if name.removeprefix("module.").startswith(self.head)]


def _is_large_resnet(state_dict: Arrays) -> bool:
    return any("downsample" in name or name.startswith("layer4") for name in state_dict)


# the first one that recognises the names; what none does is read as the last one, which names what it does not know
FAMILIES = (
    Family(torch_vit.is_vit, torch_vit.import_vit, others=torch_vit.not_of_the_backbone),
    Family(torch_convnext.is_convnext, torch_convnext.import_convnext, ("head.fc.", "classifier.2.")),
    Family(
        torch_efficientnet_lite.is_efficientnet_lite,
        torch_efficientnet_lite.import_efficientnet_lite,
        ("_fc.", "classifier."),
    ),
    Family(_is_large_resnet, torch_resnet.import_resnet, torch_resnet.HEAD),
    Family(lambda state_dict: True, torch_resnet.import_resnet_cifar, torch_resnet.HEAD),
)


def family_of(state_dict: Arrays) -> Family:
    """The family of these weights.

    Example:
      >>> family_of({"_conv_stem.weight": np.zeros(1)}).head
      ('_fc.', 'classifier.')
    """
    return next(family for family in FAMILIES if family.recognises(state_dict))
