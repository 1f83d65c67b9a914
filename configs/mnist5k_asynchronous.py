"""Asynchronous modelling (anonymous, under review) on MNIST-5k-LT (imbalance 40): 8 classes first, then 2.

python -m ltjax.main --config=configs/mnist5k_asynchronous.py --workdir=runs/mnist5k_async

Arguments: ":plain" (one phase, the paper's baseline), ":bank=10" (exemplars of a class), ":split=6" (classes of the
first phase), ":lambda=2" or ":lambda_base=2", ":literal" (the losses as printed: sums over nodes and over all classes,
raw features), ":epochs=5" (of each phase).

Two CPU cores; test accuracy of the last epoch, seed 0, many / medium / few / all (%): 91.8 / 89.8 / 89.0 / 90.4. The
paper has no such data. Its second phase has 105 images; an epoch of it is 320 draws, five steps.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("mnist5k", "asynchronous", arg)
