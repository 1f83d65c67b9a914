"""ResLT (Cui et al., 2022) on ImageNet-LT, ResNeXt-50, 180 epochs, batch 256.

python -m ltjax.main --config=configs/imagenet_reslt.py --workdir=runs/imagenet_reslt --config.data.dir=DIR

Arguments: ":backbone=resnet10", ":backbone=resnext101_32x4d" (batch 128, learning rate 0.05), ":experts=2" and
":experts=3" (RIDE's ResNeXt-50, table 7), ":alpha=0.9" (figure 5), ":gamma=-1" (no normalised classifier at test),
":strong" (mixup; the paper's row has AutoAugment too), ":long" (360 epochs).

For GPUs or TPUs; the authors took four NVIDIA 2080 Ti. The paper has 52.9 % (table 3; ResNet-10 43.8, ResNeXt-101 55.1,
table 6), 57.6 % with ":experts=3" (table 7), 56.1 % with mixup and AutoAugment (table 3); ours is not measured yet.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("imagenet", "reslt", arg)
