"""ResLT (Cui et al., 2022) on iNaturalist 2018, ResNet-50, 200 epochs, batch 256.

python -m ltjax.main --config=configs/inat_reslt.py --workdir=runs/inat_reslt --config.data.dir=DIR

Two branches, as in the authors' code: all classes, and the 6,600 rarest of the 8,142.

Arguments: ":backbone=resnet152" (batch 128, learning rate 0.05), ":experts=3" (RIDE's ResNet-50 and five epochs of
warm-up, table 7; its view first_2_experts is the row of two), ":alpha=0.9" (the paper's text; its code has 0.85),
":gamma=-1" (no normalised classifier at test), ":long" (360 epochs), ":strong,pretrained=FILE" (mixup, from ImageNet's
weights: an .npz of a PyTorch state_dict; ":strong,from_scratch" from random ones).

For GPUs or TPUs; the authors used four NVIDIA 2080 Ti. The paper reports 70.2 % (table 8), 73.2 % with ResNet-152
(section 4.3), 72.9 % with ":experts=3" (table 7; its first two experts 72.1), 70.5 % with ":long" and 72.3 % with
":strong,pretrained=FILE" (table 2); not measured here yet.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.methods.reslt.settings import experts_on
from ltjax.settings.config_file import backbones, large_runs

# the authors' settings for each backbone: batch, rate, schedule; gamma is published for ResNet-50 alone
BACKBONES = {
    "resnet50": {"batch_size": 256, "optimizer.learning_rate": 0.1, "reslt.gamma": 0.3, "reslt.conv_before_pool": True},
    "resnet152": {
        "batch_size": 128,
        "optimizer.learning_rate": 0.05,
        "reslt.gamma": 0.3,
        "reslt.conv_before_pool": True,
    },
    "ride_resnet50": {
        "batch_size": 256,
        "optimizer.learning_rate": 0.1,
        "optimizer.schedule.warmup_epochs": 5,
        "optimizer.schedule.cosine_includes": "neither",
        "reslt.gamma": 0.3,
        "reslt.conv_before_pool": True,
    },
}
WORDS = {
    "backbone": backbones(BACKBONES),
    "experts": experts_on("ride_resnet50", reduce=False, changes=BACKBONES["ride_resnet50"]),
    "long": {"epochs": 360, "optimizer.schedule.milestones": (320, 360)},
    "strong": {"reslt.mixup": 1.0, "model.needs_pretrained": True},  # table 2
}


def get_config(arg=None):
    config = new_config("reslt", recipe="inat2018")
    large_runs(config)
    # section 4.1: ResNet-50, 200 epochs, images of 224 x 224, batch 256, SGD with momentum 0.9, cosine from 0.1 to 0;
    # weight decay and augmentation are those of the authors' code
    config.data.update(name="inat2018", imbalance=1.0, augment="crop224_flip")
    config.model.backbone = "resnet50"
    config.epochs = 200
    config.batch_size = 256
    config.optimizer.update(learning_rate=0.1, momentum=0.9, weight_decay=1e-4)
    config.optimizer.schedule.update(name="cosine", unit="epoch")
    # two branches: all classes and the 6,600 rarest; the paper's text has alpha 0.90
    config.reslt.update(alpha=0.85, groups=2, boundaries=(1542,), head="conv", gamma=0.3)
    return with_words(config, arg, WORDS)
