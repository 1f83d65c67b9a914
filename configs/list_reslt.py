"""ResLT (Cui et al., 2022) on the pictures of list files, ResNet-10 at 224 pixels, 100 epochs, batch 64.

python -m ltjax.main --config=configs/list_reslt.py --workdir=runs/list_reslt --config.data.dir=DIR
    --config.data.train_list=train.txt --config.data.test_list=test.txt                     (one command)

Lines are 'relative/path label', paths relative to DIR. Without a test list a fifth of every class is held out
(--config.data.test_fraction); --config.data.val_list names images to make choices on, --config.data.class_names a file
with the classes' names. The three groups of classes are made by their counts.

Arguments: ":alpha=0.95" (default 0.9; retune it), ":groups=2", ":epochs=30", ":backbone=resnet50", ":batch_size=128",
":short" (ten epochs). Not tuned on any set; for one GPU, or hours of CPU for a few thousand pictures.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("list", "reslt", arg)
