"""ResLT (Cui et al., 2022) on iNaturalist 2018, ResNet-50, 200 epochs, batch 256.

python -m ltjax.main --config=configs/inat_reslt.py --workdir=runs/inat_reslt --config.data.dir=DIR

Two branches, as in the authors' code: all classes, and the 6,600 rarest of the 8,142.

Arguments: ":backbone=resnet152" (batch 128, learning rate 0.05), ":experts=2" and ":experts=3" (RIDE's ResNet-50, table
7), ":alpha=0.9" (the paper's text; its code has 0.85), ":gamma=-1" (no normalised classifier at test), ":long" (360
epochs), ":strong,pretrained=FILE" (mixup, from ImageNet's weights: an .npz of a PyTorch state_dict).

For GPUs or TPUs; the authors took four NVIDIA 2080 Ti. The paper has 70.2 % (table 8), 73.2 % with ResNet-152 (section
4.3), 72.9 % with ":experts=3" (table 7), 70.5 % with ":long" and 72.3 % with ":strong,pretrained=FILE" (table 2); ours
is not measured yet.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("inat", "reslt", arg)
