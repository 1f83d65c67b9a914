"""Asynchronous modelling's settings and schedules (anonymous, "Asynchronous modeling", sections 3, 5, appendix A)."""

from collections.abc import Callable

from ml_collections.config_dict import ConfigDict, placeholder

from ltjax.presets.family import Family, setting

# Classes of the first phase where the rule of 20 images splits nothing: CIFAR-10 keeps the 70 % of CIFAR-100
SPLITS = {"cifar10": 7}
# Draws of an epoch of the second phase: five steps of 64. The 105 images that it has on MNIST-5k would make one
EPOCH_SIZES = {"mnist5k": 320}


def settings(dataset: str) -> ConfigDict:
    """The method's own settings; "literal" marks the paper's formula where the default is another reading."""
    return ConfigDict(
        {
            "plain": False,  # one phase over all classes, same head and sampling: the paper's "Ours (plain)"
            # number of classes, most frequent first, in the first phase; 0 = those with at least 20 images (appendix A)
            "split": SPLITS.get(dataset, 0),
            "bank_size": 10,  # exemplars of a frequent class; figure 2(a) has 2, 6, 10, 14, 18
            "similarity": "cosine",  # s of eqs. 2 to 7: cosine, or negative_l2, minus the distance
            # lambda = lambda_base * sqrt(old classes / new classes) (appendix A; 2.03, the best of figure 2(b)) ...
            "lambda_base": 1.0,
            "lambda_value": placeholder(float),  # ... unless this gives it
            # mean over the batch's nodes in eq. 8, so that the loss keeps the scale of the others; literal: sum
            "node_reduction": "mean",
            "normalize_features": True,  # of length 1 before eqs. 6 and 7; literal: false
            "temperature": 1.0,  # of the softmax of eq. 6, where the paper has none; lower sharpens it
            "margin": 0.5,  # m; the paper gives no value, this is LUCIR's (Hou et al., 2019)
            "margin_weight": 1.0,  # factor on the margin loss; 0 turns it off
            # the largest negatives that count (LUCIR's 2, "the highest negative score" of the text); literal: 0 = all
            "margin_top_k": 2,
            # exemplars: memory against rare classes, the purpose; literal: all, every image against every other class
            "margin_scope": "exemplars",
            "margin_reduction": "mean",  # over the negatives (LUCIR); literal: sum
            # draws that make an epoch of the second phase; 0 = as many as it has images, exemplars and rare ones
            "epoch_size": EPOCH_SIZES.get(dataset, 0),
        }
    )


def configure(config: ConfigDict, dataset: str) -> None:
    """The recipes of appendix A. Algorithm 1 has the same T in both phases; the schedule, too, as nothing is said."""
    config.asynchronous = settings(dataset)
    config.data.sampler = "progressive"  # in both phases (section 3.2.1)
    RECIPES.get(dataset, lambda config: None)(config)
    config.second_stage_epochs = placeholder(int)  # of the second phase; None = config.epochs
    _copy_optimizer(config)


def _copy_optimizer(config: ConfigDict) -> None:
    """The second phase's, a copy with settings of its own."""
    config.second_stage_optimizer = ConfigDict(config.optimizer.to_dict())


def resolve(config: ConfigDict) -> None:
    if config.second_stage_epochs is None:
        config.second_stage_epochs = config.epochs


def _cifar(config: ConfigDict) -> None:
    config.batch_size = 64
    config.optimizer.weight_decay = 5e-4
    config.optimizer.schedule.update(warmup_epochs=0)


def _large(config: ConfigDict) -> None:
    config.optimizer.update(learning_rate=0.05, weight_decay=5e-4)


def _imagenet(config: ConfigDict) -> None:
    _large(config)
    config.model.backbone = "resnet10"


def _places(config: ConfigDict) -> None:
    _large(config)  # 0.05 is the classifier's rate, the recipe's backbone_rate makes 5e-4 of it
    config.epochs = 60
    config.optimizer.schedule.update(name="step", milestones=(20, 40), decay=0.01)


RECIPES = {
    "cifar10": _cifar,
    "cifar100": _cifar,
    "imagenet": _imagenet,
    "places": _places,
    "inat": _large,
}


# Eqs. 6 to 9 as they are printed
LITERAL = {
    "node_reduction": "sum",
    "normalize_features": False,
    "margin_top_k": 0,
    "margin_scope": "all",
    "margin_reduction": "sum",
}


def _word(**changes: object) -> Callable[[ConfigDict, str], None]:
    def apply(config: ConfigDict, value: str) -> None:
        if value:
            raise ValueError("a word that takes no value")
        config.asynchronous.update(changes)

    return apply


def _epochs(config: ConfigDict, value: str) -> None:
    """Of both phases."""
    config.epochs = int(value)
    for optimizer in (config.optimizer, config.second_stage_optimizer):
        optimizer.schedule.warmup_epochs = min(optimizer.schedule.warmup_epochs, max(config.epochs - 1, 0))


ARGUMENTS = {
    "plain": _word(plain=True),
    "literal": _word(**LITERAL),
    "bank": setting("asynchronous.bank_size", int),
    "split": setting("asynchronous.split", int),
    "lambda": setting("asynchronous.lambda_value"),
    "lambda_base": setting("asynchronous.lambda_base"),
    "epochs": _epochs,
    "second_stage_epochs": setting("second_stage_epochs", int),
}

FAMILY = Family(configure, ARGUMENTS, resolve, _copy_optimizer)
