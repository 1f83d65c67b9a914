"""Asynchronous modelling (anonymous, under review) on Places-LT, ResNet-152 from ImageNet weights, 60 epochs per phase.

python -m ltjax.main --config=configs/places_asynchronous.py --workdir=runs/places_async --config.data.dir=DIR \\
    --config.model.pretrained=FILE

Arguments: ":plain" (one phase, the paper's baseline), ":bank=10" (exemplars per class), ":split=250" (classes in the
first phase), ":lambda=2" or ":lambda_base=2", ":literal" (the losses as printed: sums over nodes and over all classes,
raw features), ":one_rate" (the second phase at the first's rate, as printed), ":backbone=resnet50", ":from_scratch"
(random weights, one rate for all).

For any number of GPUs or TPUs. The paper reports 39.8 %, many / medium / few 44.2 / 40.2 / 30.9 (plain 37.6: 46.2 /
36.3 / 24.5) (table 1); not measured here yet.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.settings.config_file import add_second_stage, large_runs


def get_config(arg=None):
    config = new_config("asynchronous", recipe="places_lt")
    large_runs(config)
    config.data.update(name="places_lt", imbalance=1.0, augment="crop224_flip_jitter", sampler="progressive")
    config.model.update(backbone="resnet152", needs_pretrained=True)
    config.epochs = 60
    config.batch_size = 256
    # the head's rate is 0.05, the backbone's 5e-4
    config.optimizer.update(learning_rate=0.05, momentum=0.9, weight_decay=5e-4, backbone_rate=0.01)
    config.optimizer.schedule.update(name="step", unit="epoch", milestones=(20, 40), decay=0.01)
    # algorithm 1 has one T and one learning rate; a tenth forgets less (docs/methods/asynchronous.md)
    add_second_stage(config, learning_rate=0.005)
    return with_words(config, arg)
