"""ResLT (Cui et al., 2022) on ImageNet-LT, ResNeXt-50, 180 epochs, batch 256.

python -m ltjax.main --config=configs/imagenet_reslt.py --workdir=runs/imagenet_reslt --config.data.dir=DIR

Arguments: ":backbone=resnet10", ":backbone=resnext101_32x4d" (batch 128, learning rate 0.05), ":experts=3"
(RIDE's ResNeXt-50, table 7; its view first_2_experts is the row of two), ":alpha=0.9" (figure 5), ":gamma=-1" (no
normalised classifier at test), ":strong" (mixup and AutoAugment, the latter in the place of colour jitter), ":long"
(360 epochs).

For GPUs or TPUs; the authors used four NVIDIA 2080 Ti. The paper reports 52.9 % (table 3; ResNet-10 43.8, ResNeXt-101
55.1, table 6), 57.6 % with ":experts=3" (table 7; its first two experts 56.4), 56.1 % with ":strong" (table 3); not
measured here yet.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.methods.reslt.settings import experts_on
from ltjax.settings.config_file import backbones, large_runs

# the authors' settings for each backbone: batch, rate, test-time normalisation, where training pools
BACKBONES = {
    "resnet10": {
        "batch_size": 256,
        "optimizer.learning_rate": 0.1,
        "reslt.gamma": 0.3,
        "reslt.conv_before_pool": False,
    },
    "resnext50_32x4d": {
        "batch_size": 256,
        "optimizer.learning_rate": 0.1,
        "reslt.gamma": 0.7,
        "reslt.conv_before_pool": True,
    },
    "resnext101_32x4d": {
        "batch_size": 128,
        "optimizer.learning_rate": 0.05,
        "reslt.gamma": 0.7,
        "reslt.conv_before_pool": True,
    },
    "ride_resnext50_32x4d": {
        "batch_size": 128,
        "optimizer.learning_rate": 0.05,
        "reslt.gamma": 0.7,
        "reslt.conv_before_pool": True,
    },
}
WORDS = {
    "backbone": backbones(BACKBONES),
    "experts": experts_on("ride_resnext50_32x4d", changes=BACKBONES["ride_resnext50_32x4d"]),
    "strong": {"reslt.mixup": 1.0, "data.augment": "crop224_flip_autoaugment"},
}


def get_config(arg=None):
    config = new_config("reslt", recipe="imagenet_lt")
    large_runs(config)
    config.data.update(name="imagenet_lt", imbalance=1.0, augment="crop224_flip_jitter")
    config.model.backbone = "resnext50_32x4d"
    config.epochs = 180
    config.batch_size = 256
    config.optimizer.update(learning_rate=0.1, momentum=0.9, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="epoch", cosine_includes="neither", warmup_epochs=5)
    # branches start at positions 0, 175 and 780 of the frequency order
    config.reslt.update(alpha=0.99, boundaries=(175, 780), head="conv", gamma=0.7)
    return with_words(config, arg, WORDS)
