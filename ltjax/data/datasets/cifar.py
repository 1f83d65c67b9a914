"""CIFAR-10-LT and CIFAR-100-LT, from an ``.npz`` of ltjax, the official Python batches, or TFDS."""

from ltjax.data.balanced_set import BalancedSpec
from ltjax.data.dataset import Data
from ltjax.data.datasets.longtail import make_long_tailed
from ltjax.data.storage import cifar_npz, cifar_pickle, cifar_tfds
from ltjax.data.storage.find_dataset import StorageForm, find_dataset
from ltjax.settings import DataSettings

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
SPECS = {
    "cifar10": BalancedSpec("cifar10", tuple(CIFAR10_CLASSES.split()), TRAIN_SIZE, IMAGE_SHAPE, MEAN, STD),
    "cifar100": BalancedSpec("cifar100", tuple(CIFAR100_CLASSES.split()), TRAIN_SIZE, IMAGE_SHAPE, MEAN, STD),
}


def cifar10(settings: DataSettings) -> Data:
    """CIFAR-10-LT: 32 x 32 x 3, 10 classes, at most 5,000 images per class."""
    return _cifar(SPECS["cifar10"], settings)


def cifar100(settings: DataSettings) -> Data:
    """CIFAR-100-LT: 32 x 32 x 3, 100 classes, at most 500 images per class."""
    return _cifar(SPECS["cifar100"], settings)


FORMS = {
    "npz": StorageForm(cifar_npz.markers, cifar_npz.how_to_get, cifar_npz.read),
    "python": StorageForm(cifar_pickle.markers, cifar_pickle.how_to_get, cifar_pickle.read),
    "tfds": StorageForm(cifar_tfds.markers, cifar_tfds.how_to_get, cifar_tfds.read),
}


def _cifar(spec: BalancedSpec, settings: DataSettings) -> Data:
    form, path = find_dataset(FORMS, spec, settings)
    return make_long_tailed(spec, form.read(path, spec), settings)
