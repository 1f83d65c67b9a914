"""Cross-entropy on ImageNet-LT, ResNeXt-50 (32x4d), 90 epochs.

python -m ltjax.main --config=configs/imagenet_ce.py --workdir=runs/imagenet_ce --config.data.dir=DIR

Meant for 8 GPUs of 16 GB or a v5e-8 slice in bfloat16 (batch 512); not run here yet.
Kang et al. (2020, Decoupling), table 2, "joint": 44.4 % (ResNet-10 34.8, ResNeXt-152 47.8). Ours is not measured yet.
Arguments: ":backbone=resnet10", ":epochs=180", ":sampler=progressive".
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("imagenet", "ce", arg)
