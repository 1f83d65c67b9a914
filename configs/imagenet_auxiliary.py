"""CBS+RRS+SS (Zhang et al., 2019, To Balance or not to Balance) on ImageNet-LT, ResNet-10, 90 epochs.

python -m ltjax.main --config=configs/imagenet_auxiliary.py --workdir=runs/imagenet_auxiliary --config.data.dir=DIR

Arguments: ":no_ss" (CBS+RRS), ":rrs_only", ":cbs_only", ":ft" (ftRRS+CBS), ":weights=1:1", ":rotation=all_four" (or
augmentation, augmentation_all_four, none), ":images_per_class=4", ":short" (ten epochs), ":backbone=resnet50".

The paper's table 1, many / medium / few (>= 100, <= 20 images) / all (%): 52.4 / 39.5 / 21.0 / 41.9; table 2 with
ResNet-50: 60.2 / 44.0 / 23.1 / 47.3. Not measured here yet. A step has four batches of 128: meant for one
GPU of 80 GB.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.settings.config_file import add_second_stage, large_runs


def get_config(arg=None):
    config = new_config("auxiliary", recipe="imagenet_lt")
    large_runs(config)
    config.data.update(name="imagenet_lt", imbalance=1.0, augment="crop224_flip_jitter")
    config.model.update(backbone="resnet10", features=512)
    config.epochs = 90
    config.batch_size = 128
    config.optimizer.update(learning_rate=0.1, momentum=0.9, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="epoch")
    config.evaluation.update(shots="inclusive")
    add_second_stage(config, epochs=60)  # for ":ft": two thirds of the first stage, as OLTR's 60 of 90
    return with_words(config, arg)
