"""CBS+RRS+SS (Zhang et al., 2019) on Places-LT, ResNet-152 from ImageNet weights, 30 epochs.

python -m ltjax.main --config=configs/places_auxiliary.py --workdir=runs/places_auxiliary --config.data.dir=DIR \\
    --config.model.pretrained=FILE

Arguments: ":no_ss" (CBS+RRS), ":rrs_only", ":cbs_only", ":ft" (ftRRS+CBS), ":weights=1:1", ":rotation=all_four" (or
augmentation, augmentation_all_four, none), ":images_per_class=4", ":short" (ten epochs),
":backbone=resnet50,from_scratch" (random weights, one rate for all: tables 2 to 5).

The paper's table 1, many / medium / few (>= 100, <= 20 images) / all (%): 42.5 / 40.6 / 32.6 / 39.6; table 2 with
":backbone=resnet50,from_scratch": 35.8 / 31.0 / 12.7 / 28.9. Not measured here yet. A step has four batches of 128:
meant for four GPUs of 80 GB.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.settings.config_file import add_second_stage, large_runs


def get_config(arg=None):
    config = new_config("auxiliary", recipe="places_lt")
    large_runs(config)
    config.data.update(name="places_lt", imbalance=1.0, augment="crop224_flip_jitter")
    config.model.update(backbone="resnet152", needs_pretrained=True, features=512)
    config.epochs = 30
    config.batch_size = 128
    # OLTR's rates, which the paper refers to: the classifiers' is 0.1, that of the backbone and the 512-d layer 0.001
    config.optimizer.update(learning_rate=0.1, momentum=0.9, weight_decay=5e-4, backbone_rate=0.01)
    config.optimizer.schedule.update(name="cosine", unit="epoch")
    config.evaluation.update(shots="inclusive")
    add_second_stage(config, epochs=20)  # for ":ft": two thirds of the first stage, as OLTR's 60 of 90
    return with_words(config, arg)
