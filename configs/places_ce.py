r"""Cross-entropy on Places-LT, ResNet-152 from ImageNet weights, 30 epochs.

python -m ltjax.main --config=configs/places_ce.py --workdir=runs/places_ce --config.data.dir=DIR \
    --config.model.pretrained=FILE.npz

Meant for 8 GPUs of 16 GB or a v5e-8 slice in bfloat16 (batch 256); not run here yet.
Kang et al. (2020, Decoupling), table 4, "joint": 30.2 %. Ours is not measured yet.
Arguments: ":backbone=resnet10", ":epochs=180", ":sampler=progressive".
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("places", "ce", arg)
