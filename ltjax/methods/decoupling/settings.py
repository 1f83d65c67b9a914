"""Decoupling's settings (Kang et al., 2020, section 5.1 and appendix B, the authors' public code), and its words."""

import dataclasses
from typing import Literal

from ltjax.settings import Block, Settings, config_file, setting
from ltjax.settings.config_dict import Config
from ltjax.settings.config_file import Word, sets
from ltjax.settings.schema import Check, integer, not_negative, one_of, positive, refuse

ONE_STAGE = "joint"  # representation and classifier trained jointly, and that is all
SECOND_STAGES = ("crt", "lws", "tau", "ncm", "mlp", "cosine", ONE_STAGE)
PARTS = ("classifier", "last_block", "last_stage", "all")  # of a network
_layers = Check(lambda v: 2 <= v <= 9, "2 to 9; the paper has 2 and 3")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecouplingSettings(Block):
    """config.decoupling."""

    second_stage: str = setting(
        "crt", "the second stage: crt, lws, tau, ncm, mlp, cosine; or joint: none", one_of(*SECOND_STAGES)
    )
    representation: str = setting(
        "all", "what the first stage trains: all, or the classifier with last_block or last_stage", one_of(*PARTS[1:])
    )
    norm: str = setting(
        "auto",
        "batch normalisation in the second stage: frozen (the first stage's statistics), batch "
        "(those of each batch, and the stored ones are updated, as in the authors' code) or auto "
        "(batch if the backbone is trained, otherwise frozen)",
        one_of("auto", "frozen", "batch"),
    )
    cached: bool = setting(
        False,
        "train the classifier on features that are computed once, of the images without "
        "augmentation, instead of through the network on augmented images (the paper's way): "
        "it takes seconds, and the result differs",
    )
    solver: str = setting(
        "sgd",
        "for crt and lws on features: sgd (the paper's steps), or lbfgs (the optimum that these "
        "steps approach, from all images at once)",
        one_of("sgd", "lbfgs"),
        added_later=True,
    )
    images_per_class: int = setting(
        4, "images taken at each visit to a class by class-aware sampling (the authors' code)", integer(1)
    )
    retrain: str = setting(
        "classifier",
        "for crt, what is trained: classifier, or the classifier with last_block, last_stage or "
        "all (table 1); the backbone's learning rate is scaled by "
        "config.second_stage_optimizer.backbone_rate",
        one_of(*PARTS),
    )
    tau_from: str = setting(
        "auto",
        "how tau is found: train (by class-averaged accuracy on the training images, B.5), "
        "validation (the same on validation images), auto (validation if there are such images, "
        "otherwise train), learned (trained on balanced batches, B.5) or value",
        one_of("auto", "train", "validation", "learned", "value"),
    )
    tau: float = setting(1.0, "the value of tau for tau_from=value", not_negative)
    ncm_features: Literal["raw", "l2", "centered_l2"] = setting(
        "centered_l2",
        "features of NCM: raw, l2 (length 1) or centered_l2 (minus the mean of all, then length "
        "1; the authors' default)",
        one_of("raw", "l2", "centered_l2"),
    )
    ncm_metric: str = setting(
        "euclidean",
        "metric of NCM: euclidean (the authors' default), cosine or dot",
        one_of("cosine", "euclidean", "dot"),
    )
    mlp_layers: int = setting(2, "number of layers of the MLP; the paper has 2 and 3 (B.6)", _layers)
    mlp_hidden: int = setting(
        2048, "width of the MLP's hidden layers; the paper has 2048 and 512 (B.6)", integer(1, 65536)
    )
    cosine_relu: bool = setting(True, "keep the last ReLU of the backbone; false leaves it out (B.7)")
    cosine_scale: float = setting(
        10.0, "initial value of the learned scale (Gidaris and Komodakis, 2018, section 3.2)", positive
    )

    def check(self, prefix: str) -> None:
        if self.second_stage != "crt" and self.retrain != "classifier":  # the others leave the representation as it is
            refuse(f"{prefix}retrain", self.retrain, f"classifier with {prefix}second_stage={self.second_stage}")
        for key, why in (("cached", self._not_cached()), ("solver", self._not_solved())):
            if why:
                refuse(f"{prefix}{key}", getattr(self, key), why)

    def _not_cached(self) -> str:
        """Why features do not stay true, as something before the classifier changes; "" = they do."""
        if not self.cached:
            return ""
        if self.second_stage == ONE_STAGE:
            return "False for joint, which has no second stage"
        if self.second_stage == "crt" and self.retrain != "classifier":
            return f"False with retrain={self.retrain}, which trains the backbone"
        return "False with norm=batch, whose statistics change with every batch" if self.norm == "batch" else ""

    def trains_second_stage(self) -> bool:
        """Whether the second stage has epochs: class means and a chosen tau are closed forms."""
        return self.second_stage not in ("ncm", ONE_STAGE) and (
            self.second_stage != "tau" or self.tau_from == "learned"
        )

    def _not_solved(self) -> str:
        """All images at once need fixed features, one minimum needs logits linear in what is trained."""
        if self.solver != "lbfgs":
            return ""
        if self.second_stage not in ("crt", "lws"):
            return f"sgd for {self.second_stage}; lbfgs finds crt and lws"
        return "" if self.cached else "sgd without cached=True, for lbfgs takes features"


def resolve(config: Settings, settings: DecouplingSettings) -> Settings:
    """The epochs of a second stage that gives none: 10 (on iNaturalist 30), LWS 5.

    They are at most three times the first stage's, so that a try of one epoch is quick; else they do not go with them:
    the authors' second stage on iNaturalist has 30 epochs after 90 as after 200.
    """
    if config.second_stage_epochs is not None:
        return config
    longest = 30 if config.data.name == "inat2018" else 10
    epochs = 5 if settings.second_stage == "lws" else longest
    most = 3 * config.epochs
    if epochs <= most or not settings.trains_second_stage():
        return dataclasses.replace(config, second_stage_epochs=epochs)
    note = f"config.second_stage_epochs={most} instead of {epochs}, three times config.epochs"
    return dataclasses.replace(config, second_stage_epochs=most, notes=(*config.notes, note))


def short(config: Config, value: str) -> None:
    """The common ``short``; the second stage has its momentum and weight decay."""
    config_file.short(config, value)
    same = {name: config.optimizer[name] for name in ("nesterov", "weight_decay")}
    config.second_stage_optimizer.update(same)


def from_scratch(config: Config, value: str) -> None:
    """The common ``from_scratch``; the first stage trains all of the network."""
    config_file.from_scratch(config, value)
    config.decoupling.representation = "all"


def _solver(config: Config, value: str) -> None:
    config.decoupling.update(solver=value, cached=True)


def _tau(config: Config, value: str) -> None:
    """The bare word is the second stage; with a value it is the value of tau, too."""
    config.decoupling.second_stage = "tau"
    if value:
        config.decoupling.update(tau_from="value", tau=float(value))


WORDS: dict[str, Word] = {
    **{name: {"decoupling.second_stage": name} for name in SECOND_STAGES},
    "cosine_norelu": {"decoupling.second_stage": "cosine", "decoupling.cosine_relu": False},
    **{key: sets(f"decoupling.{key}", str) for key in ("tau_from", "ncm_features", "ncm_metric", "norm", "retrain")},
    **{key: sets(f"decoupling.{key}", int) for key in ("mlp_layers", "mlp_hidden", "images_per_class")},
    "tau": _tau,
    "cached": {"decoupling.cached": True},
    "solver": _solver,
    "backbone_rate": sets("second_stage_optimizer.backbone_rate"),
    "second_stage_epochs": sets("second_stage_epochs", int),
    "short": short,
    "from_scratch": from_scratch,
}
