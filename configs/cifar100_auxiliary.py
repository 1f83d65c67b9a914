"""CBS+RRS+SS (Zhang et al., 2019, To Balance or not to Balance) on CIFAR-100-LT (imbalance 100), ResNet-32, 200 epochs.

python -m ltjax.main --config=configs/cifar100_auxiliary.py --workdir=runs/cifar100_auxiliary --config.data.dir=DIR

Arguments: ":no_ss" (CBS+RRS), ":rrs_only", ":cbs_only", ":ft" (ftRRS+CBS), ":weights=1:1", ":rotation=all_four" (or
augmentation, augmentation_all_four, none), ":images_per_class=4", ":short" (ten epochs), ":imbalance=50".

The paper has no CIFAR results; not measured here yet. Meant for one GPU.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.settings.config_file import add_second_stage, cifar_runs


def get_config(arg=None):
    config = new_config("auxiliary", recipe="cifar100")
    cifar_runs(config)
    config.data.update(name="cifar100", imbalance=100.0, augment="pad_crop_flip")
    config.model.update(backbone="resnet32", features=512)
    config.epochs = 200
    config.batch_size = 128
    config.optimizer.update(learning_rate=0.1, momentum=0.9, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="step", warmup_epochs=5)
    config.optimizer.schedule.update(decay=0.01)
    config.evaluation.update(index_boundaries=(35, 70))
    add_second_stage(config, epochs=133)  # for ":ft": two thirds of the first stage, as OLTR's 60 of 90
    return with_words(config, arg)
