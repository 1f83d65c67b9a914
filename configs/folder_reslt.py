"""ResLT (Cui et al., 2022) on any folder of class folders, ResNet-10 at 224 pixels, 100 epochs, batch 64.

python -m ltjax.main --config=configs/folder_reslt.py --workdir=runs/folder_reslt --config.data.dir=DIR

DIR holds class folders (DIR/rose/1.jpg), or train/ and test/ (or val/) of class folders; without test images a fifth of
every class is held out (--config.data.test_fraction). The three groups of classes are made by their counts.

Arguments: ":alpha=0.95" (default 0.9; retune it), ":groups=2", ":epochs=30", ":backbone=resnet50", ":image_size=128",
":batch_size=128", ":experts=3" (on RIDE's network), ":pretrained=FILE" (fine-tuning: 30 epochs, a tenth of the rate for
the backbone), ":short" (ten epochs). Not tuned on any data set; for one GPU, or hours of CPU for a few thousand images.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.methods.reslt.settings import experts_on
from ltjax.settings.config_file import backbones, fine_tuned, user_runs

# as for ResNet-10 on ImageNet-LT, with the paper's classifier
BACKBONES = {
    "resnet10": {
        "batch_size": 64,
        "optimizer.learning_rate": 0.05,
        "reslt.gamma": -1.0,
        "reslt.conv_before_pool": False,
    },
}
WORDS = {
    "backbone": backbones(BACKBONES),
    "experts": experts_on("ride_resnet10"),
    "pretrained": fine_tuned,
}


def get_config(arg=None):
    config = new_config("reslt", recipe="folder")
    user_runs(config)
    config.data.update(name="folder", imbalance=1.0, augment="crop224_flip")
    config.model.backbone = "resnet10"
    config.epochs = 100
    config.batch_size = 64
    config.optimizer.update(learning_rate=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="step", warmup_epochs=5)
    config.reslt.update(alpha=0.9, head="conv", conv_before_pool=False)
    return with_words(config, arg, WORDS)
