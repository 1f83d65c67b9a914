"""Settings and schedules of CBS+RRS+SS (Zhang et al., 2019, section 4.4)."""

from collections.abc import Callable

from ml_collections.config_dict import ConfigDict, placeholder

from ltjax.presets.family import Family, setting


def settings() -> ConfigDict:
    """The method's own settings; the paper's values where it has them."""
    return ConfigDict(
        {
            # joint (CBS+RRS+SS), rrs_only, cbs_only, or finetuned (ftRRS+CBS: two stages)
            "variant": "joint",
            "weights": (0.5, 1.0, 1.0),  # of the balanced, the random and the rotation loss (eq. 2), as they are
            # random (predict one random angle for each image), all_four (each image at all four angles), none, or no
            # task: augmentation (classify each image upright and turned), augmentation_all_four (at all four angles)
            "rotation": "random",
            # Z of a class-balanced batch; None = the paper's 4, or the next number that divides the batch and needs no
            # more distinct classes than there are
            "images_per_class": placeholder(int),
            "features": 512,  # width of the layer with ReLU behind the pooling, part of f; 0 = without it
            "finetune_classifier": "new",  # finetuned: the second stage's classifier starts anew, or is kept
        }
    )


def configure(config: ConfigDict, dataset: str) -> None:
    config.auxiliary = settings()
    if dataset == "mnist5k":
        config.epochs = 4  # a step is four times as long as cross-entropy's
    else:
        SCHEDULES.get(dataset, lambda config: None)(config)
    config.second_stage_epochs = max(1, config.epochs * 2 // 3)  # of finetuned; as OLTR's 60 epochs are to 90
    config.second_stage_optimizer = config.optimizer.copy_and_resolve_references()


def _cifar(config: ConfigDict) -> None:
    """Not in the paper: the usual 200 epochs under the paper's cosine."""
    config.optimizer.weight_decay = 5e-4
    config.optimizer.schedule.update(name="cosine", unit="step", warmup_epochs=5)


def _imagenet(config: ConfigDict) -> None:
    """Table 1. Rates, batch and epochs "by referring to" OLTR: 0.1, 128, and its 30 + 60 epochs in one."""
    config.update(epochs=90, batch_size=128)
    config.model.backbone = "resnet10"
    config.evaluation.shots = "inclusive"
    config.optimizer.learning_rate = 0.1


def _places(config: ConfigDict) -> None:
    config.batch_size = 128
    config.evaluation.shots = "inclusive"


def _inat(config: ConfigDict) -> None:
    """Not in the paper: half of the usual batch (a step has four of them), half of its rate."""
    config.batch_size = 256
    config.optimizer.learning_rate = 0.1


SCHEDULES: dict[str, Callable[[ConfigDict], None]] = {
    "cifar10": _cifar,
    "cifar100": _cifar,
    "imagenet": _imagenet,
    "places": _places,
    "inat": _inat,
}


def _variant(name: str) -> Callable[[ConfigDict, str], None]:
    def apply(config: ConfigDict, value: str) -> None:
        if value:
            raise ValueError(f"'{name}' takes no value")
        config.auxiliary.variant = name

    return apply


def _no_task(config: ConfigDict, value: str) -> None:
    if value:
        raise ValueError("no_ss takes no value")
    config.auxiliary.rotation = "none"


def _weights(config: ConfigDict, value: str) -> None:
    """``weights=1:1`` (table 4) or ``weights=1:1:0.5``; what is left out stays."""
    given = tuple(float(number) for number in value.split(":"))
    config.auxiliary.weights = given + tuple(config.auxiliary.weights)[len(given) :]


def short(config: ConfigDict) -> None:
    config.second_stage_epochs = 10
    config.second_stage_optimizer = config.optimizer.copy_and_resolve_references()


FAMILY = Family(
    configure,
    {
        "rrs_only": _variant("rrs_only"),
        "cbs_only": _variant("cbs_only"),
        "ft": _variant("finetuned"),
        "no_ss": _no_task,
        "rotation": setting("auxiliary.rotation", str),
        "weights": _weights,
        "images_per_class": setting("auxiliary.images_per_class", int),
    },
    short=short,
)
