"""CBS+RRS+SS (Zhang et al., 2019, To Balance or not to Balance) on iNaturalist 2018, ResNet-50, 200 epochs.

python -m ltjax.main --config=configs/inat_auxiliary.py --workdir=runs/inat_auxiliary --config.data.dir=DIR

Arguments: ":no_ss" (CBS+RRS), ":rrs_only", ":cbs_only", ":ft" (ftRRS+CBS), ":weights=1:1", ":rotation=all_four" (or
augmentation, augmentation_all_four, none), ":images_per_class=4", ":short" (ten epochs).

The paper has no iNaturalist results; not measured here yet. A step has four batches of 256: meant
for four GPUs of 80 GB.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.settings.config_file import add_second_stage, large_runs


def get_config(arg=None):
    config = new_config("auxiliary", recipe="inat2018")
    large_runs(config)
    config.data.update(name="inat2018", imbalance=1.0, augment="crop224_flip")
    config.model.update(backbone="resnet50", features=512)
    config.epochs = 200
    config.batch_size = 256
    config.optimizer.update(learning_rate=0.1, momentum=0.9, weight_decay=1e-4)
    config.optimizer.schedule.update(name="cosine", unit="epoch")
    add_second_stage(config, epochs=133)  # for ":ft": two thirds of the first stage, as OLTR's 60 of 90
    return with_words(config, arg)
