"""A recipe of ingredients for iNaturalist 2018, ResNet-50, 200 epochs.

python -m ltjax.main --config=configs/inat_best.py --workdir=runs/best --config.data.dir=DIR
python -m ltjax.table --table=ablation:inat_best --root=runs/ablation --epochs=10 --config.data.dir=DIR

Words: ":base" leaves all ingredients out, ":base,balanced" puts that one in, ":no_balanced" leaves it out; further
words as everywhere, such as ":epochs=5".

Provisional: no run has chosen these ingredients yet. They are what the literature agrees on; the ablation on training
images that are held out (--config.data.validation_fraction=0.2) and runs of full length are open.
"""

from ltjax.methods.configure import new_config
from ltjax.methods.ingredients import with_ingredients
from ltjax.settings.config_file import large_runs

# ingredient -> settings that it changes, in the order of the ablation table
INGREDIENTS = {
    "balanced": {"loss.tau": 1.0},
}
# candidates that are left out; a word puts one in
OTHERS = {
    "randaugment": {"data.augment": "crop224_flip_randaugment"},
    "cosine_head": {"model.head": "cosine"},
    "mixup": {"mix.name": "mixup"},
    "cutmix": {"mix.name": "cutmix"},
    "remix": {"mix.name": "remix"},
    "smoothing": {"loss.label_smoothing": 0.1},
    "average": {"optimizer.ema_decay": 0.999},
    "sam": {"optimizer.sam_rho": 0.05},
    "drop_path": {"model.drop_path": 0.1},
}


def get_config(arg=None):
    config = new_config("ce", recipe="inat2018", family="best")
    large_runs(config)
    config.data.update(name="inat2018", imbalance=1.0, augment="crop224_flip")
    config.model.backbone = "resnet50"
    config.epochs = 200
    config.batch_size = 512
    config.optimizer.update(learning_rate=0.2, momentum=0.9, weight_decay=1e-4)
    config.optimizer.schedule.update(name="cosine", unit="epoch", cosine_includes="end")
    return with_ingredients(config, arg, INGREDIENTS, OTHERS)
