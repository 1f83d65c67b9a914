"""CIFAR-10-LT and CIFAR-100-LT from an ``.npz`` of ours, the official python batches, or TFDS."""

from typing import Any

from ltjax.data.balanced import Card
from ltjax.data.dataset import Data
from ltjax.data.datasets.longtail import make_long_tailed
from ltjax.data.storage import cifar_npz, cifar_pickle, cifar_tfds
from ltjax.data.storage.find_dataset import locate

# Every CIFAR-LT paper normalises both data sets with these.
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
CIFAR10_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck"
CIFAR100_CLASSES = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
    caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
    flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
    motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
    poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
    squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
    wardrobe whale willow_tree wolf woman worm
"""
TRAIN_SIZE, IMAGE_SHAPE = 50_000, (32, 32, 3)
CARDS = {
    "cifar10": Card("cifar10", tuple(CIFAR10_CLASSES.split()), TRAIN_SIZE, IMAGE_SHAPE, MEAN, STD),
    "cifar100": Card("cifar100", tuple(CIFAR100_CLASSES.split()), TRAIN_SIZE, IMAGE_SHAPE, MEAN, STD),
}


def cifar10(settings: Any) -> Data:
    """CIFAR-10-LT: 32 x 32 x 3, 10 classes, at most 5,000 images a class."""
    return _cifar(CARDS["cifar10"], settings)


def cifar100(settings: Any) -> Data:
    """CIFAR-100-LT: 32 x 32 x 3, 100 classes, at most 500 images a class."""
    return _cifar(CARDS["cifar100"], settings)


# Ways in, in the order that "auto" tries them: a module with places(root, card) and read(path, card).
WAYS: dict[str, Any] = {"npz": cifar_npz, "python": cifar_pickle, "tfds": cifar_tfds}


def _cifar(card: Card, settings: Any) -> Data:
    way, path = locate(WAYS, card, settings)
    return make_long_tailed(card, way.read(path, card), settings)
