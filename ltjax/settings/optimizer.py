"""The settings of the optimizer: the rule of an update, its learning rate over the epochs, the averages of weights."""

import dataclasses

from ltjax.settings.schema import (
    Block,
    Check,
    fraction,
    increasing_epochs,
    integer,
    not_negative,
    number,
    one_of,
    positive,
    refuse,
    setting,
)

_decay = Check(lambda v: 0 < v <= 1, "a number in (0, 1]")
_betas = Check(lambda v: len(v) == 2 and all(0 <= b < 1 for b in v), "two numbers in [0, 1), such as (0.9,0.999)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScheduleSettings(Block):
    """The learning rate over the epochs, as a factor on optimizer.learning_rate."""

    name: str = setting("step", "the shape of the schedule", one_of("step", "cosine", "constant"))
    unit: str = setting(
        "epoch", "whether the learning rate changes after each epoch or after each step", one_of("epoch", "step")
    )
    warmup_epochs: int = setting(0, "number of epochs of linear warm-up; 0 = none", integer(0))
    warmup_start: float = setting(0.0, "fraction of the learning rate at which the warm-up starts", number(0, 1))
    milestones: tuple[int, ...] = setting(
        (160, 180),
        "for the step schedule: the learning rate is multiplied by decay after each of these numbers of epochs",
        increasing_epochs,
    )
    decay: float = setting(0.1, "for the step schedule: the factor at each milestone", _decay)
    cosine_includes: str = setting(
        "start",
        "for the cosine schedule: the end of the half cosine that an epoch (or step) lies on: start (the first has the "
        "full learning rate), end (the last has 0) or neither",
        one_of("start", "end", "neither"),
        added_later=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageOptimizer(Block):
    """The optimizer of one stage."""

    name: str = setting(
        "sgd", "the rule of an update: sgd (with momentum) or adamw", one_of("sgd", "adamw"), added_later=True
    )
    learning_rate: float = setting(0.1, "the base learning rate, which the schedule multiplies", positive)
    recipe_batch_size: int = setting(
        0,
        "the batch size that the learning rate was chosen for, set by the recipe; 0 = unknown",
        integer(0),
        depends_on="optimizer.rate_rule",
    )
    momentum: float = setting(0.9, "the momentum of sgd; without effect on adamw", fraction)
    nesterov: bool = setting(False, "use Nesterov momentum in sgd; without effect on adamw")
    betas: tuple[float, ...] = setting(
        (0.9, 0.999),
        "for adamw: the decay of the running means of the gradient and of its square",
        _betas,
        added_later=True,
    )
    epsilon: float = setting(
        1e-8, "for adamw: what is added to the root of the mean square", positive, added_later=True
    )
    weight_decay: float = setting(
        5e-4,
        "weight decay on all parameters: sgd adds it to the gradient; adamw subtracts it from the weights, times the "
        "learning rate",
        not_negative,
    )
    decay_norms_and_biases: bool = setting(
        True, "whether weight decay acts on parameters of at most one axis, too: norms and biases", added_later=True
    )
    backbone_decay: float = setting(1.0, "factor on the weight decay for the backbone", not_negative, added_later=True)
    head_decay: float = setting(
        1.0, "factor on the weight decay for the head, which is all but the backbone", not_negative, added_later=True
    )
    backbone_rate: float = setting(1.0, "factor on the learning rate for the backbone", not_negative)
    sam_rho: float = setting(
        0.0,
        "radius of sharpness-aware minimisation: the gradient is that at the worst weights within this distance, so a "
        "step takes two; 0 = off",
        not_negative,
        added_later=True,
    )
    sam_below: int = setting(
        0,
        "for sam_rho: only the loss of classes with fewer training images than this is sharpened (ImbSAM); 0 = that of "
        "all classes",
        integer(0),
        added_later=True,
    )
    ema_decay: float = setting(
        0.0,
        "decay per step of the moving average of weights and batch statistics, which replaces them in evaluation, "
        "later stages and the finished model; 0 = off",
        fraction,
        added_later=True,
    )
    schedule: ScheduleSettings = setting(ScheduleSettings(), "the learning rate over the epochs")

    def check(self, prefix: str) -> None:
        if self.sam_below and not self.sam_rho:
            refuse(f"{prefix}sam_below", self.sam_below, f"0 with {prefix}sam_rho=0")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerSettings(StageOptimizer):
    """The optimizer of the first (or only) stage."""

    rate_rule: str = setting(
        "none",
        "how a batch size other than the recipe's scales the learning rate of all stages: none, linear (by the ratio "
        "of the batch sizes) or sqrt (by its square root)",
        one_of("none", "linear", "sqrt"),
        added_later=True,
    )
