"""Cross-entropy on iNaturalist 2018, ResNet-50, 200 epochs.

python -m ltjax.main --config=configs/inat_ce.py --workdir=runs/inat_ce --config.data.dir=DIR

Meant for 8 GPUs of 16 GB or a v5e-16 slice in bfloat16 (batch 512); not run here yet.
Kang et al. (2020, Decoupling), table 3, "joint": 65.8 % (90 epochs 61.7; ResNet-152 69.0). Ours is not measured yet.
Arguments: ":backbone=resnet10", ":epochs=180", ":sampler=progressive".
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("inat", "ce", arg)
