"""ResLT (Cui et al., 2022) on any folder of class folders, ResNet-10 at 224 pixels, 100 epochs, batch 64.

python -m ltjax.main --config=configs/folder_reslt.py --workdir=runs/folder_reslt --config.data.dir=DIR

DIR holds class folders (DIR/rose/1.jpg), or train/ and test/ (or val/) of class folders; without test images a fifth of
every class is held out (--config.data.test_fraction). The three groups of classes are made by their counts.

Arguments: ":alpha=0.95" (default 0.9; retune it), ":groups=2", ":epochs=30", ":backbone=resnet50", ":batch_size=128",
":short" (ten epochs). Not tuned on any set; for one GPU, or hours of CPU for a few thousand pictures.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("folder", "reslt", arg)
