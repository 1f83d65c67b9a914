"""ResLT (Cui et al., 2022) on Places-LT, ResNet-152 from ImageNet weights, 30 epochs, batch 128.

python -m ltjax.main --config=configs/places_reslt.py:pretrained=FILE --workdir=runs/places_reslt --config.data.dir=DIR

FILE has the weights of a ResNet-152 trained on ImageNet (docs/guides/runs.md, "Pretrained backbones"). Arguments:
":alpha=0.9", ":gamma=-1" (no normalised classifier at test), ":groups=2" to 5, ":backbone_rate=0.01" (ours, not the
paper's: 5e-4 for the backbone, 0.05 for the head).

For GPUs or TPUs; the authors used four NVIDIA 2080 Ti. Their script for this set is not published: alpha and gamma are
those of ImageNet-LT, the groups end by count. The paper reports 39.8 %, 41.0 % from weights trained with CutMix (table
4); not measured here yet.
"""

from ltjax.errors import InputError
from ltjax.methods.configure import new_config, with_words
from ltjax.settings.config_file import backbones, large_runs

# gamma is not published; as ImageNet-LT. Batch and rate: section 4.1
BACKBONES = {
    "resnet152": {
        "batch_size": 128,
        "optimizer.learning_rate": 0.05,
        "reslt.gamma": 0.7,
        "reslt.conv_before_pool": True,
    },
}


def no_strong(config, value):
    raise InputError("strong: on Places-LT the paper changes the pretrained weights instead; give pretrained=FILE")


WORDS = {
    "backbone": backbones(BACKBONES),
    "strong": no_strong,
}


def get_config(arg=None):
    config = new_config("reslt", recipe="places_lt")
    large_runs(config)
    config.data.update(name="places_lt", imbalance=1.0, augment="crop224_flip_jitter")
    config.model.update(backbone="resnet152", needs_pretrained=True)
    config.epochs = 30
    config.batch_size = 128
    # section 4.1: 0.05 for all of ResNet-152
    config.optimizer.update(learning_rate=0.05, momentum=0.9, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="epoch")
    # not published: alpha and gamma as ImageNet-LT, groups by count
    config.reslt.update(alpha=0.99, head="conv", gamma=0.7)
    return with_words(config, arg, WORDS)
