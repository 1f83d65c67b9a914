"""Asynchronous modelling (anonymous, under review) on ImageNet-LT, ResNet-10, 90 epochs per phase.

python -m ltjax.main --config=configs/imagenet_asynchronous.py --workdir=runs/imagenet_async --config.data.dir=DIR

Arguments: ":plain" (one phase, the paper's baseline), ":bank=10" (exemplars per class), ":split=700" (classes in the
first phase), ":lambda=2" or ":lambda_base=2", ":literal" (the losses as printed: sums over nodes and over all classes,
raw features), ":one_rate" (the second phase at the first's rate, as printed), ":backbone=resnet50".

For any number of GPUs or TPUs. The paper reports 42.0 % (plain 41.3 %), with ResNet-50 51.0 % (49.7 %), with
ResNet-152 53.0 % (51.7 %) (table 2); not measured here yet. It gives neither epochs nor batch size; these
are the usual ones for the data set.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.settings.config_file import add_second_stage, large_runs


def get_config(arg=None):
    config = new_config("asynchronous", recipe="imagenet_lt")
    large_runs(config)
    config.data.update(name="imagenet_lt", imbalance=1.0, augment="crop224_flip_jitter", sampler="progressive")
    config.model.backbone = "resnet10"
    config.epochs = 90
    config.batch_size = 512
    config.optimizer.update(learning_rate=0.05, momentum=0.9, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="epoch")
    # algorithm 1 has one T and one learning rate; a tenth forgets less (docs/methods/asynchronous.md)
    add_second_stage(config, learning_rate=0.005)
    return with_words(config, arg)
