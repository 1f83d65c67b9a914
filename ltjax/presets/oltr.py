"""OLTR's settings and schedules (Liu et al., CVPR 2019; the authors' public code), and the memory on other ground."""

from ml_collections.config_dict import ConfigDict

from ltjax.errors import choose
from ltjax.presets.datasets import DATASETS
from ltjax.presets.settings import base

# epochs of the second stage: the authors' on ImageNet-LT and Places-LT, ours elsewhere
SECOND_EPOCHS = {"mnist5k": 10, "imagenet": 60, "places": 30}
PLACES_TO_STAND = ("own", "representation", "crt")


def settings() -> ConfigDict:
    """The method's own settings, the authors' values."""
    return ConfigDict(
        {
            "features": 0,  # width of a layer with ReLU behind the pooling (512 in the authors' networks); 0: none
            "train_backbone": True,  # in the second stage; False leaves the representation as it is
            "images_per_class": 4,  # that a visit to a class takes, of class-aware sampling
            "centroid_weight": 0.01,  # of the loss of features and centroids; 0 leaves the centroids where they start
            "repel_weight": 0.01,  # inside that loss, of the part that keeps other classes away ...
            "margin": 10.0,  # ... by this mean squared distance
            # a factor on the centroids' learning rate: with the weight of their loss it makes 0.01 of a rate of 0.1,
            # the authors' rate for centroids
            "centroid_rate": 10.0,
        }
    )


def configure_oltr(config: ConfigDict, dataset: str) -> None:
    """Two stages; on ImageNet-LT and Places-LT by the authors' rates, batches and epochs, elsewhere as usual."""
    config.method = "oltr"
    config.oltr = settings()
    if dataset in ("imagenet", "places"):
        config.oltr.features = 512
        config.update(epochs=30, batch_size=128)
        config.optimizer.learning_rate = 0.1  # on Places-LT the recipe's backbone_rate makes 0.001 of it
        _thirds(config.optimizer, config.epochs)
    config.second_stage_epochs = SECOND_EPOCHS.get(dataset, 60)
    config.second_stage_optimizer = config.optimizer.copy_and_resolve_references()
    _thirds(config.second_stage_optimizer, config.second_stage_epochs)


def on(config: ConfigDict, value: str) -> None:
    """``on=representation``: the memory alone is trained, on a representation learned as ours are; ``on=crt``: the same
    under cRT's schedule, by cross-entropy alone (Kang et al., 2020, table 2's OLTR** and appendix B.4)."""
    choose(dict.fromkeys(PLACES_TO_STAND), value, "on")
    configure_oltr(config, config.recipe)
    if value == "own":
        return
    usual = base("ce")
    DATASETS[config.recipe](usual)
    config.update(epochs=usual.epochs, batch_size=usual.batch_size)
    config.optimizer.update(usual.optimizer)
    config.oltr.update(features=0, train_backbone=False)
    second = usual.optimizer.copy_and_resolve_references()
    second.backbone_rate = 1.0
    _thirds(second, config.second_stage_epochs)
    if value == "crt":
        config.oltr.centroid_weight = 0.0
        config.second_stage_epochs = 30 if config.recipe == "inat" else 10
        second.schedule.update(name="cosine", unit="step")
        if config.recipe == "places":
            second.learning_rate = 0.1
    config.second_stage_optimizer = second


def short(config: ConfigDict) -> None:
    second = config.second_stage_optimizer
    config.second_stage_epochs = min(10, config.second_stage_epochs)
    second.update(nesterov=config.optimizer.nesterov, weight_decay=config.optimizer.weight_decay)
    if second.schedule.name == "step":
        _thirds(second, config.second_stage_epochs)


def _thirds(optimizer: ConfigDict, epochs: int) -> None:
    """A tenth of the rate after each third: the authors' schedule."""
    milestones = (max(1, round(epochs / 3)), max(2, round(epochs * 2 / 3)))
    optimizer.schedule.update(name="step", unit="epoch", warmup_epochs=0, milestones=milestones, decay=0.1)
