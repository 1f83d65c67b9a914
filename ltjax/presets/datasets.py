"""What a data set brings to every method: its name, pictures, backbone, evaluation, and the usual schedule on it."""

from collections.abc import Callable

from ml_collections.config_dict import ConfigDict


def mnist5k(config: ConfigDict) -> None:
    """MNIST-5k-LT: 400 images in the largest class, 10 in the smallest; seconds on two cores."""
    config.epochs = 20
    config.batch_size = 64
    config.data.update(name="mnist5k", imbalance=40.0, augment="pad_crop")
    config.model.backbone = "resnet8"
    config.optimizer.nesterov = True
    config.optimizer.schedule.update(name="cosine", unit="step", warmup_epochs=2)
    config.evaluation.every_epochs = 5
    config.log_every_steps = 6


def _cifar(config: ConfigDict) -> None:
    """CIFAR-LT at LDAM-DRW's 200-epoch schedule."""
    config.data.augment = "pad_crop_flip"
    config.evaluation.update(every_epochs=20, shots="index")
    config.checkpoint.every_steps = 1000
    config.optimizer.weight_decay = 2e-4
    config.optimizer.schedule.update(warmup_epochs=5, decay=0.01)


def cifar10(config: ConfigDict) -> None:
    """CIFAR-10-LT."""
    _cifar(config)
    config.data.name = "cifar10"
    config.evaluation.index_boundaries = (3, 6)


def cifar100(config: ConfigDict) -> None:
    """CIFAR-100-LT."""
    _cifar(config)
    config.data.name = "cifar100"
    config.evaluation.index_boundaries = (35, 70)


def _large(config: ConfigDict) -> None:
    """224 pixels, cosine to zero, learning rate 0.2 for a batch of 512 (Kang et al., 2020, section 5.1)."""
    config.update(epochs=90, batch_size=512, log_every_steps=50, dtype="bfloat16")
    config.data.update(augment="crop224_flip_jitter", workers=8, imbalance=1.0)
    config.optimizer.learning_rate = 0.2
    config.optimizer.schedule.update(name="cosine", unit="epoch", warmup_epochs=0)
    config.evaluation.update(batch_size=512, every_epochs=10)
    config.checkpoint.every_steps = 1000


def imagenet(config: ConfigDict) -> None:
    """ImageNet-LT: 115,846 images, 1,000 classes."""
    _large(config)
    config.data.name = "imagenet_lt"
    config.model.backbone = "resnext50_32x4d"


def places(config: ConfigDict) -> None:
    """Places-LT: 62,500 images, 365 classes; from a ResNet-152 that ImageNet has trained."""
    _large(config)
    config.update(epochs=30, batch_size=256)
    config.data.name = "places_lt"
    config.model.backbone = "resnet152"
    config.optimizer.update(learning_rate=0.05, backbone_rate=0.01)


def inat(config: ConfigDict) -> None:
    """iNaturalist 2018: 437,513 images, 8,142 classes."""
    _large(config)
    config.epochs = 200
    config.data.update(name="inat2018", augment="crop224_flip")
    config.model.backbone = "resnet50"
    config.optimizer.weight_decay = 1e-4


def own(config: ConfigDict) -> None:
    """A few thousand pictures of one's own at 224 pixels; ours, not tuned on any set."""
    config.update(epochs=100, batch_size=64, log_every_steps=10)
    config.data.update(augment="crop224_flip", workers=4, imbalance=1.0)
    config.model.backbone = "resnet10"
    config.optimizer.update(learning_rate=0.05, nesterov=True)
    config.optimizer.schedule.update(name="cosine", unit="step", warmup_epochs=5)
    config.evaluation.update(batch_size=64, every_epochs=10)


def folder(config: ConfigDict) -> None:
    """Any folder of class folders (config.data.dir)."""
    own(config)
    config.data.name = "folder"


def lists(config: ConfigDict) -> None:
    """Any list files (config.data.train_list, test_list, val_list) of pictures under config.data.dir."""
    own(config)
    config.data.name = "list"


# the first word of a config file's name -> its recipe
DATASETS: dict[str, Callable[[ConfigDict], None]] = {
    "mnist5k": mnist5k,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "imagenet": imagenet,
    "places": places,
    "inat": inat,
    "folder": folder,
    "list": lists,
}
