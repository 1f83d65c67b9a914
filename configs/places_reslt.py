"""ResLT (Cui et al., 2022) on Places-LT, ResNet-152 from ImageNet, 30 epochs, batch 128.

python -m ltjax.main --config=configs/places_reslt.py:pretrained=FILE --workdir=runs/places_reslt --config.data.dir=DIR

FILE is an .npz of a PyTorch state_dict of the ResNet-152 that ImageNet has trained. Arguments: ":alpha=0.9",
":gamma=-1" (no normalised classifier at test), ":groups=2" to 5.

For GPUs or TPUs; the authors took four NVIDIA 2080 Ti. Their script for this set is not published: alpha and gamma are
those of ImageNet-LT, the groups end by count. The paper has 39.8 %, 41.0 % from weights trained with CutMix (table 4);
ours is not measured yet.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("places", "reslt", arg)
