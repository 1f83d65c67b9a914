"""Asynchronous modelling (anonymous, under review) on CIFAR-10-LT (imbalance 100), ResNet-32, 200 epochs per phase.

python -m ltjax.main --config=configs/cifar10_asynchronous.py --workdir=runs/cifar10_async --config.data.dir=DIR

Arguments: ":plain" (one phase, the paper's baseline), ":bank=10" (exemplars per class), ":split=5" (classes in the
first phase), ":lambda=2" or ":lambda_base=2", ":literal" (the losses as printed: sums over nodes and over all classes,
raw features), ":one_rate" (the second phase at the first's rate, as printed), ":imbalance=50", ":short" (ten epochs
per phase).

For one GPU; not measured yet. The paper has no CIFAR-10 results, and at imbalance 100 all classes have 50 images or
more: the first phase takes the 7 most frequent, the same share as on CIFAR-100.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.settings.config_file import add_second_stage, cifar_runs


def get_config(arg=None):
    config = new_config("asynchronous", recipe="cifar10")
    cifar_runs(config)
    config.data.update(name="cifar10", imbalance=100.0, augment="pad_crop_flip", sampler="progressive")
    config.model.backbone = "resnet32"
    config.epochs = 200
    config.batch_size = 64
    config.optimizer.update(learning_rate=0.1, momentum=0.9, weight_decay=5e-4)
    config.optimizer.schedule.update(name="step", unit="epoch", milestones=(160, 180), decay=0.01)
    config.evaluation.update(index_boundaries=(3, 6))
    # every class has 50 images or more; 70 % as with the rule of 20 images on CIFAR-100
    config.asynchronous.update(split=7)
    # algorithm 1 has one T and one learning rate; a tenth forgets less (docs/methods/asynchronous.md)
    add_second_stage(config, learning_rate=0.01)
    return with_words(config, arg)
