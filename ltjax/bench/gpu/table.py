"""The variants of ``python -m ltjax.bench gpu``: what each measures, and how long it may take."""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Variant:
    """A measurement in a process of its own.

    Attributes:
      part: 1 or 2, the call that it belongs to.
      seconds: its time limit.
      measurement: the name of a function in ``measurements.py``.
      about: what it shows, in a few words.
      fields: arguments of that function.
    """

    part: int
    seconds: float
    measurement: str
    about: str
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def _program(about: str, part: int = 1, seconds: float = 100, **fields: Any) -> Variant:
    return Variant(part, seconds, "program", about, fields)


# In the order of their value.
VARIANTS: dict[str, Variant] = {
    "versions": Variant(1, 60, "versions", "software and device"),
    "graphs": Variant(1, 60, "graphs", "a small scan: the same numbers with CUDA graphs, and the host's time"),
    "program": _program("bfloat16, as a run executes it"),
    "whole-run": Variant(1, 180, "whole_run", "200 epochs of CIFAR-100-LT with their evaluations, as ltjax.main"),
    "same-losses": Variant(1, 120, "same_losses", "float32: XLA's default options against graphs"),
    "no-graphs": _program("every kernel launched by the host", graphs="no"),
    "unfused-norm": _program("batch norm with two reductions a pass", norm="unfused"),
    "unpacked": _program("each array of the state carried alone", packed=False),
    "no-loop": _program("graphs without the loop over steps", graphs="no loop"),
    "serialize": _program("kernels of a graph one after the other", options={"mode": "SERIALIZE"}),
    "lhs": _program("kernels of a graph by the latency-hiding schedule", options={"mode": "LHS"}),
    "unroll-2": _program("two steps in each iteration", unroll=2),
    "call-12": _program("12 steps a call", length=12),
    "no-convolutions": _program("graphs without convolutions", graphs="no convolutions"),
    "xla-defaults": _program("XLA's own options", graphs="default"),
    "program-again": _program("the same as program, to see how times drift"),
    "seeds-8": _program("eight seeds in one program", 2, 300, seeds=8),
    "seeds-4": _program("four seeds in one program", 2, 200, seeds=4),
    "torch-loop": Variant(2, 150, "torch_loop", "training beside PyTorch's loop"),
    "resnet50": Variant(2, 200, "resnet50", "a step of ResNet-50 at 224 pixels beside torch.compile"),
    "profile": Variant(2, 120, "profile", "where the time of a step goes, without graphs"),
}
