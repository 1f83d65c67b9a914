"""Cross-entropy on any folder of class folders, ResNet-10 at 224 pixels, 100 epochs, batch 64.

python -m ltjax.main --config=configs/folder_ce.py --workdir=runs/folder_ce --config.data.dir=DIR

DIR holds class folders (DIR/rose/1.jpg), or train/ and test/ (or val/) of class folders; without test images a fifth of
every class is held out (--config.data.test_fraction). Classes, counts and groups come from the folder.

Arguments: ":epochs=30", ":backbone=resnet50", ":batch_size=128", ":sampler=square_root", ":short" (ten epochs).
Not tuned on any set; for one GPU, or hours of CPU for a few thousand pictures.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("folder", "ce", arg)
