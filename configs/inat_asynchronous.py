"""Asynchronous modelling (anonymous, under review) on iNaturalist 2018, ResNet-50, 200 epochs per phase.

python -m ltjax.main --config=configs/inat_asynchronous.py --workdir=runs/inat_async --config.data.dir=DIR

Arguments: ":plain" (one phase, the paper's baseline), ":bank=10" (exemplars per class), ":split=4000" (classes in the
first phase), ":lambda=2" or ":lambda_base=2", ":literal" (the losses as printed: sums over nodes and over all classes,
raw features), ":one_rate" (the second phase at the first's rate, as printed), ":backbone=resnet152".

For any number of GPUs or TPUs. The paper reports 69.8 %, with ResNet-152 72.5 % (table 4); not measured here yet.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.settings.config_file import add_second_stage, large_runs


def get_config(arg=None):
    config = new_config("asynchronous", recipe="inat2018")
    large_runs(config)
    config.data.update(name="inat2018", imbalance=1.0, augment="crop224_flip", sampler="progressive")
    config.model.backbone = "resnet50"
    config.epochs = 200
    config.batch_size = 512
    config.optimizer.update(learning_rate=0.05, momentum=0.9, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="epoch")
    # algorithm 1 has one T and one learning rate; a tenth forgets less (docs/methods/asynchronous.md)
    add_second_stage(config, learning_rate=0.005)
    return with_words(config, arg)
